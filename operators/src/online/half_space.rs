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
///
/// The rows of a part are those of its two halves, so only leaves count. What a window gives does not change in the next one, so
/// the sum of a way down is made once, when a window ends: a row goes down and takes what its leaf has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct HalfSpaceTrees {
    trees: usize,
    height: usize,
    window: usize,
    seed: u64,
    features: usize,
    /// Tree by tree; the children of node i are 2 i + 1 and 2 i + 2.
    splits: Vec<Split>,
    /// Those of the last level, tree by tree.
    leaves: Vec<Leaf>,
    seen: usize,
    is_first_window: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Split {
    threshold: f64,
    feature: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Leaf {
    /// What the rows of the window before give on the way down to it.
    score: f64,
    /// Rows of the window before, and of this one.
    reference: u32,
    latest: u32,
}

impl HalfSpaceTrees {
    /// With so many trees (from 1 up) of a height (1 to 15), windows of so many rows (from 1 up), and a seed.
    pub fn new(trees: usize, height: usize, window: usize, seed: u64) -> Option<Self> {
        let is_valid = (1..=1000).contains(&trees) && (1..=MAX_HEIGHT).contains(&height) && window > 0;
        is_valid.then_some(Self {
            trees,
            height,
            window,
            seed,
            features: 0,
            splits: Vec::new(),
            leaves: Vec::new(),
            seen: 0,
            is_first_window: true,
        })
    }

    fn leaves_of_tree(&self) -> usize {
        1 << self.height
    }

    fn splits_of_tree(&self) -> usize {
        self.leaves_of_tree() - 1
    }

    fn nodes_of_tree(&self) -> usize {
        self.splits_of_tree() + self.leaves_of_tree()
    }

    /// Divides the space; `unit` draws numbers in [0, 1).
    fn build(&mut self, features: usize, mut unit: impl FnMut() -> f64) {
        self.features = features;
        self.leaves = vec![Leaf::default(); self.trees * self.leaves_of_tree()];
        let size = self.splits_of_tree();
        self.splits = vec![Split::default(); self.trees * size];
        for tree in self.splits.chunks_exact_mut(size) {
            divide(tree, 0, &mut vec![(0.0, 1.0); features], &mut unit);
        }
    }

    /// The score of a row, which then counts. Trees go down side by side, so that the processor need not wait for one of them.
    fn score_and_learn(&mut self, row: &[f64]) -> f64 {
        let (splits, leaves) = (self.splits_of_tree(), self.leaves_of_tree());
        // Masses are whole numbers and weights powers of two: the sum has the same bits in any order.
        let mut score = 0.0;
        for (trees, leaves_of_trees) in
            self.splits.chunks(LANES * splits).zip(self.leaves.chunks_mut(LANES * leaves))
        {
            let mut places = [0; LANES];
            for _ in 0..self.height {
                for (tree, place) in trees.chunks_exact(splits).zip(&mut places) {
                    let split = &tree[*place];
                    let is_below = row[split.feature as usize] < split.threshold;
                    *place = 2 * *place + 2 - usize::from(is_below);
                }
            }
            for (tree, place) in leaves_of_trees.chunks_exact_mut(leaves).zip(places) {
                let leaf = &mut tree[place - splits];
                leaf.latest += 1;
                score += leaf.score;
            }
        }
        1.0 - score / number(self.trees * self.window * self.nodes_of_tree())
    }

    /// Ends a window with its last row.
    fn end_row(&mut self) {
        self.seen += 1;
        if self.seen == self.window {
            for leaf in &mut self.leaves {
                leaf.reference = std::mem::take(&mut leaf.latest);
            }
            self.sum_ways();
            (self.seen, self.is_first_window) = (0, false);
        }
    }

    /// Sums what each way down gives: at every node its rows times two for each level above, until one has few.
    fn sum_ways(&mut self) {
        let least = LEAST_SHARE * number(self.window);
        let (splits, leaves) = (self.splits_of_tree(), self.leaves_of_tree());
        // The sum up to a node, and what the nodes below it count for.
        let mut ways = vec![(0.0, 1.0); splits + leaves];
        for tree in self.leaves.chunks_exact_mut(leaves) {
            let masses = masses(tree.iter().map(|leaf| leaf.reference));
            for (place, mass) in masses.iter().enumerate() {
                let (sum, weight) = if place == 0 { (0.0, 1.0) } else { ways[(place - 1) / 2] };
                let mass = f64::from(*mass);
                ways[place] = (sum + mass * weight, weight * if mass < least { 0.0 } else { 2.0 });
            }
            for (leaf, (score, _)) in tree.iter_mut().zip(&ways[splits..]) {
                leaf.score = *score;
            }
        }
    }
}

/// The rows of all nodes of a tree, from those of its leaves.
fn masses(leaves: impl ExactSizeIterator<Item = u32>) -> Vec<u32> {
    let splits = leaves.len() - 1;
    let mut masses = vec![0; splits];
    masses.extend(leaves);
    for place in (0..splits).rev() {
        masses[place] = masses[2 * place + 1] + masses[2 * place + 2];
    }
    masses
}

/// Splits a node and what is below it: a feature by chance and by its extent, at a place by chance.
fn divide(tree: &mut [Split], place: usize, extents: &mut [(f64, f64)], unit: &mut impl FnMut() -> f64) {
    if place >= tree.len() {
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
        if self.splits.is_empty() && !row.is_empty() {
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

/// How it is written down: every node with its rows.
#[derive(Clone, Serialize, Deserialize)]
struct Saved {
    trees: usize,
    height: usize,
    window: usize,
    seed: u64,
    features: usize,
    nodes: Vec<Node>,
    seen: usize,
    is_first_window: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Node {
    feature: u32,
    threshold: f64,
    reference: u32,
    latest: u32,
}

impl From<HalfSpaceTrees> for Saved {
    fn from(of: HalfSpaceTrees) -> Self {
        let leaf = Split::default();
        let mut nodes = Vec::with_capacity(of.trees * of.nodes_of_tree());
        let leaves = of.leaves.chunks_exact(of.leaves_of_tree());
        for (splits, leaves) in of.splits.chunks_exact(of.splits_of_tree()).zip(leaves) {
            let reference = masses(leaves.iter().map(|leaf| leaf.reference));
            let latest = masses(leaves.iter().map(|leaf| leaf.latest));
            let splits = splits.iter().chain(std::iter::repeat(&leaf));
            nodes.extend(reference.into_iter().zip(latest).zip(splits).map(
                |((reference, latest), split)| Node {
                    feature: split.feature,
                    threshold: split.threshold,
                    reference,
                    latest,
                },
            ));
        }
        let HalfSpaceTrees { trees, height, window, seed, features, seen, is_first_window, .. } = of;
        Self { trees, height, window, seed, features, nodes, seen, is_first_window }
    }
}

impl From<Saved> for HalfSpaceTrees {
    fn from(saved: Saved) -> Self {
        let Saved { trees, height, window, seed, features, nodes, seen, is_first_window } = saved;
        let (splits, leaves) = (Vec::new(), Vec::new());
        let mut of = Self { trees, height, window, seed, features, splits, leaves, seen, is_first_window };
        for tree in nodes.chunks_exact(of.nodes_of_tree()) {
            let (splits, leaves) = tree.split_at(of.splits_of_tree());
            of.splits.extend(splits.iter().map(|it| Split { threshold: it.threshold, feature: it.feature }));
            of.leaves.extend(leaves.iter().map(|it| Leaf {
                score: 0.0,
                reference: it.reference,
                latest: it.latest,
            }));
        }
        of.sum_ways();
        of
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
    #[test]
    fn what_is_written_down_goes_on_with_the_same_scores() {
        let mut trees = HalfSpaceTrees::new(18, 5, 40, 3).unwrap();
        let mut random = Random::new(4);
        for row in 0..400 {
            if row % 7 == 0 {
                let written = postcard::to_allocvec(&trees).unwrap();
                let read: HalfSpaceTrees = postcard::from_bytes(&written).unwrap();
                assert_eq!(read, trees);
                trees = read;
            }
            trees.step(&[random.unit(), random.unit(), random.unit()], 0);
        }
    }
}
