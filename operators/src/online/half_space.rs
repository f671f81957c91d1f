//! Half-space trees: how few of the last rows share a row's part of the space.

use serde::{Deserialize, Serialize};

use super::{Step, number};
use crate::model::random::Random;

/// Splits keep this share of an extent away from its ends, as in river.
const PADDING: f64 = 0.15;
/// A node with a smaller share of the rows of a window ends the way down.
const LEAST_SHARE: f64 = 0.1;
/// More is a mistake: a tree of height h has 2^(h + 1) - 1 nodes.
const MAX_HEIGHT: usize = 15;
/// Trees that a row goes down side by side.
const LANES: usize = 16;

/// The anomaly score of rows `[x...]` of features between 0 and 1, from 0 to 1: near 1 where few rows of the window before lie in
/// the same parts of the space, which random trees divide in halves before the first row. `None` in the first window.
///
/// Source: Tan, Ting, Liu, "Fast anomaly detection for streaming data", IJCAI 2011; with the splits and the score of river's
/// `HalfSpaceTrees`, from other random numbers. A row is scored before it counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HalfSpaceTrees {
    trees: usize,
    height: usize,
    window: usize,
    seed: u64,
    features: usize,
    /// Tree by tree; the children of node i are 2 i + 1 and 2 i + 2.
    nodes: Vec<Node>,
    seen: usize,
    is_first_window: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Node {
    feature: u32,
    threshold: f64,
    /// Rows of the window before, and of this one.
    reference: u32,
    latest: u32,
}

/// How far a row has gone down a tree.
#[derive(Clone, Copy)]
struct Way {
    /// The next node.
    place: usize,
    /// What it counts for: 0 below a node with few rows.
    weight: f64,
    /// The sum so far.
    score: f64,
}

impl HalfSpaceTrees {
    /// With so many trees (from 1 up) of a height (1 to 15), windows of so many rows (from 1 up), and a seed.
    pub fn new(trees: usize, height: usize, window: usize, seed: u64) -> Option<Self> {
        let is_valid = (1..=1000).contains(&trees) && (1..=MAX_HEIGHT).contains(&height) && window > 0;
        let (features, nodes, seen) = (0, Vec::new(), 0);
        is_valid.then_some(Self { trees, height, window, seed, features, nodes, seen, is_first_window: true })
    }

    fn nodes_of_tree(&self) -> usize {
        (1 << (self.height + 1)) - 1
    }

    /// Divides the space; `unit` draws numbers in [0, 1).
    fn build(&mut self, features: usize, mut unit: impl FnMut() -> f64) {
        self.features = features;
        let size = self.nodes_of_tree();
        self.nodes = vec![Node::default(); self.trees * size];
        for tree in self.nodes.chunks_exact_mut(size) {
            divide(tree, 0, &mut vec![(0.0, 1.0); features], &mut unit);
        }
    }

    /// The score of a row, which then counts. Trees go down side by side, so that the processor need not wait for one of them.
    fn score_and_learn(&mut self, row: &[f64]) -> f64 {
        let least = LEAST_SHARE * number(self.window);
        let size = self.nodes_of_tree();
        // Masses are whole numbers and weights powers of two: the sum has the same bits in any order.
        let mut score = 0.0;
        for trees in self.nodes.chunks_mut(LANES * size) {
            let mut ways = [Way { place: 0, weight: 1.0, score: 0.0 }; LANES];
            for _ in 0..=self.height {
                for (tree, way) in trees.chunks_exact_mut(size).zip(&mut ways) {
                    let node = &mut tree[way.place];
                    let mass = f64::from(node.reference);
                    way.score += mass * way.weight;
                    way.weight *= if mass < least { 0.0 } else { 2.0 };
                    node.latest += 1;
                    let is_below = row[node.feature as usize] < node.threshold;
                    way.place = 2 * way.place + 2 - usize::from(is_below);
                }
            }
            score += ways.iter().map(|way| way.score).sum::<f64>();
        }
        1.0 - score / number(self.trees * self.window * size)
    }

    /// Ends a window with its last row.
    fn end_row(&mut self) {
        self.seen += 1;
        if self.seen == self.window {
            for node in &mut self.nodes {
                node.reference = std::mem::take(&mut node.latest);
            }
            (self.seen, self.is_first_window) = (0, false);
        }
    }
}

/// Splits a node and what is below it: a feature by chance and by its extent, at a place by chance.
fn divide(tree: &mut [Node], place: usize, extents: &mut [(f64, f64)], unit: &mut impl FnMut() -> f64) {
    if 2 * place + 1 >= tree.len() {
        return;
    }
    let total: f64 = extents.iter().map(|(low, high)| high - low).sum();
    let drawn = unit() * total;
    let mut sum = 0.0;
    let feature = extents.iter().position(|(low, high)| {
        sum += high - low;
        drawn < sum
    });
    let feature = feature.unwrap_or(extents.len() - 1);
    let (low, high) = extents[feature];
    let (start, end) = (low + PADDING * (high - low), high - PADDING * (high - low));
    let threshold = start + (end - start) * unit();
    tree[place].feature = u32::try_from(feature).unwrap_or_default();
    tree[place].threshold = threshold;
    extents[feature] = (low, threshold);
    divide(tree, 2 * place + 1, extents, unit);
    extents[feature] = (threshold, high);
    divide(tree, 2 * place + 2, extents, unit);
    extents[feature] = (low, high);
}

impl Step for HalfSpaceTrees {
    fn step(&mut self, row: &[f64], _time: i64) -> Option<f64> {
        if self.nodes.is_empty() && !row.is_empty() {
            let mut random = Random::new(self.seed);
            self.build(row.len(), || random.unit());
        }
        if self.features != row.len() || row.is_empty() {
            return None;
        }
        let score = self.score_and_learn(row);
        let is_scored = !self.is_first_window;
        self.end_row();
        is_scored.then_some(score)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn scores_are_those_of_river_with_its_random_numbers() {
        let mut draws = numbers("half_space_draws").into_iter();
        let mut trees = HalfSpaceTrees::new(4, 3, 25, 0).unwrap();
        trees.build(2, || draws.next().unwrap());
        assert_eq!(draws.next(), None);
        check("half_space_trees", &trees.into());
    }

    #[test]
    fn a_row_apart_from_the_others_has_the_greatest_score() {
        let mut trees = HalfSpaceTrees::new(25, 8, 250, 7).unwrap();
        let mut random = Random::new(2);
        let mut usual = Vec::new();
        for _ in 0..1000 {
            let x = 0.4 + 0.1 * random.unit();
            usual.extend(trees.step(&[x, 1.0 - x], 0));
        }
        let apart = trees.step(&[0.9, 0.9], 0).unwrap();
        assert!(usual.iter().all(|score| *score < apart), "{apart}");
    }
}
