//! A forest in one flat array: how a random forest scores.
//!
//! A step of the descent is `node = node.left + (x[node.feature] > node.threshold)`, without a branch: siblings are
//! neighbours, and a leaf leads to itself. Rows go in blocks, and a block goes down one tree after the other, so the
//! tree stays in the cache and the descents of different rows overlap in the processor.
//!
//! Sums run over the trees in order, so predictions equal smartcore's bit for bit.
//!
//! The same layout serves single trees, boosted trees and isolation trees: they differ in what is made of the leaves.

use serde::{Deserialize, Serialize};

use super::{Features, Model, Task};

/// Rows that go down a tree together: enough to overlap their loads, few enough for the first-level cache.
const BLOCK: usize = 64;

/// One node, 16 bytes. A leaf has threshold `+inf` and itself as `left`, so every finite row stays there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    threshold: f64,
    feature: u32,
    /// Where rows go whose feature is at most the threshold; the others go to the next node.
    left: u32,
}

/// Where a tree begins and how many steps lead to its deepest leaf.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Tree {
    root: u32,
    depth: u32,
}

/// Trees with a number in each leaf: a value of a regression, or the index of a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    trees: Vec<Tree>,
    nodes: Vec<Node>,
    /// The value of each node; read at leaves.
    values: Vec<f64>,
    /// How many training rows came to each node; empty where nothing is explained.
    covers: Vec<u32>,
    combination: Combination,
}

/// What is made of the leaves that a row ends in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Combination {
    /// Their mean.
    Mean,
    /// The class with most votes, of so many.
    Votes(usize),
    /// `base + rate * (their sum)`, added up in order.
    Sum {
        /// Where the sum begins.
        base: f64,
        /// What each leaf is multiplied by.
        rate: f64,
    },
}

/// What is at a node.
pub(super) enum Branch {
    /// The value of a leaf.
    Leaf(f64),
    /// Where a row goes: to the first child if its feature is at most the threshold.
    Split { feature: usize, threshold: f64, children: [u32; 2] },
}

/// A tree as it was grown: nodes with links, the root first.
pub(crate) struct GrownNode {
    /// The value if it is a leaf.
    pub(crate) value: f64,
    /// Feature, threshold, child for `x <= threshold`, child for the others; `None` for a leaf.
    pub(crate) split: Option<(usize, f64, usize, usize)>,
}

impl Forest {
    /// Lays trees out breadth first. `None` if a link leads out of its tree or
    /// there are too many nodes for 32 bits.
    pub(crate) fn new(trees: &[Vec<GrownNode>], combination: Combination) -> Option<Self> {
        let (trees_laid, nodes, values, covers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut forest = Self { trees: trees_laid, nodes, values, covers, combination };
        for tree in trees {
            forest.push_tree(tree)?;
        }
        Some(forest)
    }

    fn push_tree(&mut self, grown: &[GrownNode]) -> Option<()> {
        let root = self.push_leaf(grown.first()?.value)?;
        let mut level = vec![(root, 0_usize)];
        let mut depth = 0;
        loop {
            let mut below = Vec::new();
            for &(place, index) in &level {
                let Some((feature, threshold, low, high)) = grown[index].split else {
                    continue;
                };
                let left = self.push_leaf(grown.get(low)?.value)?;
                let right = self.push_leaf(grown.get(high)?.value)?;
                let node = Node { threshold, feature: u32::try_from(feature).ok()?, left };
                self.nodes[place as usize] = node;
                below.push((left, low));
                below.push((right, high));
            }
            if below.is_empty() {
                break;
            }
            depth += 1;
            level = below;
        }
        self.trees.push(Tree { root, depth });
        Some(())
    }

    fn push_leaf(&mut self, value: f64) -> Option<u32> {
        let place = u32::try_from(self.nodes.len()).ok()?;
        self.nodes.push(Node { threshold: f64::INFINITY, feature: 0, left: place });
        self.values.push(value);
        Some(place)
    }

    /// Counts how many of the training rows come to each node, so that predictions can be explained.
    pub(crate) fn count(&mut self, features: &Features<'_>) {
        let mut covers = vec![0_u32; self.nodes.len()];
        let width = features.columns().len();
        let mut block = vec![0.0; width * BLOCK];
        for start in (0..features.rows()).step_by(BLOCK) {
            let rows = BLOCK.min(features.rows() - start);
            fill(&mut block, features, start, rows);
            for (tree, row) in self.trees.iter().flat_map(|tree| (0..rows).map(move |row| (tree, row))) {
                let row = &block[row * width..][..width];
                let mut place = tree.root;
                loop {
                    covers[place as usize] += 1;
                    let node = &self.nodes[place as usize];
                    if node.left == place {
                        break;
                    }
                    place = node.left + u32::from(row[node.feature as usize] > node.threshold);
                }
            }
        }
        self.covers = covers;
    }

    pub(super) fn trees(&self) -> usize {
        self.trees.len()
    }

    pub(super) fn root(&self, tree: usize) -> u32 {
        self.trees[tree].root
    }

    /// What is at a node; of the votes of a classifier those for the class with this index count.
    pub(super) fn branch(&self, place: u32, class: usize) -> Branch {
        let node = &self.nodes[place as usize];
        let value = self.values[place as usize];
        match self.combination {
            _ if node.left != place => Branch::Split {
                feature: node.feature as usize,
                threshold: node.threshold,
                children: [node.left, node.left + 1],
            },
            Combination::Votes(_) => Branch::Leaf(f64::from(u8::from(index(value) == class))),
            _ => Branch::Leaf(value),
        }
    }

    pub(super) fn cover(&self, place: u32) -> f64 {
        self.covers.get(place as usize).copied().unwrap_or_default().into()
    }

    /// What the sum over the trees is multiplied by.
    #[expect(clippy::cast_precision_loss, reason = "few trees")]
    pub(super) fn scale(&self) -> f64 {
        match self.combination {
            Combination::Sum { rate, .. } => rate,
            _ => 1.0 / self.trees.len() as f64,
        }
    }

    /// What is added to it.
    pub(super) fn begin(&self) -> f64 {
        if let Combination::Sum { base, .. } = self.combination { base } else { 0.0 }
    }

    /// The name of the figure that is explained.
    fn explained(&self) -> &'static str {
        if let Combination::Votes(_) = self.combination { "probability" } else { "prediction" }
    }

    /// Calls `visit(row, leaf value)` for every tree, tree by tree within a block of rows.
    fn for_each_leaf(&self, features: &Features<'_>, mut visit: impl FnMut(usize, f64)) {
        let width = features.columns().len();
        let mut block = vec![0.0; width * BLOCK];
        for start in (0..features.rows()).step_by(BLOCK) {
            let rows = BLOCK.min(features.rows() - start);
            fill(&mut block, features, start, rows);
            for tree in &self.trees {
                for (row, &leaf) in self.descend(tree, &block, width, rows)[..rows].iter().enumerate() {
                    visit(start + row, self.values[leaf as usize]);
                }
            }
        }
    }

    /// The leaves of the first `rows` rows of the block.
    fn descend(&self, tree: &Tree, block: &[f64], width: usize, rows: usize) -> [u32; BLOCK] {
        let mut places = [tree.root; BLOCK];
        for _ in 0..tree.depth {
            for (place, row) in places[..rows].iter_mut().zip(block.chunks_exact(width)) {
                let node = &self.nodes[*place as usize];
                *place = node.left + u32::from(row[node.feature as usize] > node.threshold);
            }
        }
        places
    }

    /// Votes of the trees: `classes` numbers a row.
    fn votes(&self, features: &Features<'_>, classes: usize) -> Vec<u32> {
        let mut votes = vec![0_u32; features.rows() * classes];
        self.for_each_leaf(features, |row, class| votes[row * classes + index(class)] += 1);
        votes
    }
}

/// Row-major copy of a block, so that a row is one or two cache lines.
fn fill(block: &mut [f64], features: &Features<'_>, start: usize, rows: usize) {
    let width = features.columns().len();
    for (feature, column) in features.columns().iter().enumerate() {
        for (row, &value) in column[start..start + rows].iter().enumerate() {
            block[row * width + feature] = value;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "leaves hold small whole numbers"
)]
fn index(class: f64) -> usize {
    class as usize
}

/// The first of the largest, as smartcore breaks ties.
#[expect(clippy::cast_precision_loss, reason = "few classes")]
fn largest(votes: &[u32]) -> f64 {
    let mut best = 0;
    for (class, &count) in votes.iter().enumerate() {
        if count > votes[best] {
            best = class;
        }
    }
    best as f64
}

impl Model for Forest {
    fn task(&self) -> Task {
        match self.combination {
            Combination::Votes(_) => Task::Classification,
            Combination::Mean | Combination::Sum { .. } => Task::Regression,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "few trees")]
    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        let (base, rate) = match self.combination {
            Combination::Votes(classes) => {
                return self.votes(features, classes).chunks_exact(classes).map(largest).collect();
            }
            Combination::Mean => (0.0, 1.0),
            Combination::Sum { base, rate } => (base, rate),
        };
        let mut sums = vec![base; features.rows()];
        self.for_each_leaf(features, |row, value| sums[row] += rate * value);
        if self.combination == Combination::Mean {
            let trees = self.trees.len() as f64;
            sums.iter_mut().for_each(|sum| *sum /= trees);
        }
        sums
    }

    /// The share of the trees that vote for the class.
    #[expect(clippy::cast_precision_loss, reason = "few trees")]
    fn predict_proba(&self, features: &Features<'_>, class: usize) -> Option<Vec<f64>> {
        let Combination::Votes(classes) = self.combination else { return None };
        if class >= classes {
            return None;
        }
        let trees = self.trees.len() as f64;
        let votes = self.votes(features, classes);
        Some(votes.chunks_exact(classes).map(|row| f64::from(row[class]) / trees).collect())
    }

    fn value(&self, name: &str, features: &Features<'_>) -> Option<Vec<f64>> {
        self.value_of(name, 1, features)
    }

    fn contributions(&self, name: &str, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        self.contributions_to(name, 1, features)
    }

    fn value_of(&self, name: &str, class: usize, features: &Features<'_>) -> Option<Vec<f64>> {
        (name == "base" && !self.covers.is_empty()).then(|| vec![self.base(class); features.rows()])
    }

    fn contributions_to(&self, name: &str, class: usize, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        (name == self.explained() && !self.covers.is_empty()).then(|| self.shap(class, features))
    }
}

#[cfg(test)]
impl Forest {
    /// Puts in how many rows came to the nodes of the trees as they were grown.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of rows")]
    pub(crate) fn set_covers(&mut self, grown: &[Vec<GrownNode>], rows: &[Vec<f64>]) {
        self.covers = vec![0; self.nodes.len()];
        for (tree, (grown, rows)) in grown.iter().zip(rows).enumerate() {
            let mut todo = vec![(self.root(tree), 0)];
            while let Some((place, index)) = todo.pop() {
                self.covers[place as usize] = rows[index] as u32;
                if let Some((_, _, low, high)) = grown[index].split {
                    let left = self.nodes[place as usize].left;
                    todo.extend([(left, low), (left + 1, high)]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(value: f64) -> GrownNode {
        GrownNode { value, split: None }
    }

    fn split(feature: usize, threshold: f64, low: usize, high: usize) -> GrownNode {
        GrownNode { value: f64::NAN, split: Some((feature, threshold, low, high)) }
    }

    /// `x0 <= 1 ? 10 : (x1 <= 5 ? 20 : 30)`.
    fn lopsided() -> Vec<GrownNode> {
        vec![split(0, 1.0, 1, 2), leaf(10.0), split(1, 5.0, 3, 4), leaf(20.0), leaf(30.0)]
    }

    #[test]
    fn a_row_ends_in_its_leaf_however_deep_it_is() {
        let forest = Forest::new(&[lopsided(), vec![leaf(0.0)]], Combination::Mean).unwrap();
        let (a, b) = (vec![1.0, 1.5, 1.5, -1e300, 1e300], vec![9.0, 5.0, 5.1, 0.0, 1e300]);
        let predicted = forest.predict(&Features::new(&[&a, &b]));
        assert_eq!(predicted, [5.0, 10.0, 15.0, 5.0, 15.0]);
    }

    #[test]
    fn a_tie_goes_to_the_first_class() {
        let vote = |class: f64| vec![leaf(class)];
        let forest =
            Forest::new(&[vote(2.0), vote(1.0), vote(2.0), vote(1.0)], Combination::Votes(3)).unwrap();
        let column = vec![0.0; 3];
        let columns = [column.as_slice()];
        let features = Features::new(&columns);
        assert_eq!(forest.predict(&features), [1.0; 3]);
        assert_eq!(forest.predict_proba(&features, 2), Some(vec![0.5; 3]));
        assert_eq!(forest.predict_proba(&features, 3), None);
    }

    #[test]
    fn boosted_trees_are_added_to_the_base() {
        let combination = Combination::Sum { base: 7.0, rate: 0.5 };
        let forest = Forest::new(&[lopsided(), vec![leaf(-2.0)]], combination).unwrap();
        assert_eq!(forest.predict(&Features::new(&[&[0.0], &[0.0]])), [11.0]);
    }

    #[test]
    fn blocks_do_not_disturb_each_other() {
        let forest = Forest::new(&[lopsided()], Combination::Mean).unwrap();
        let a: Vec<f64> = (0..1_000).map(|row| f64::from(row % 3)).collect();
        let b: Vec<f64> = (0..1_000).map(|row| f64::from(row % 11)).collect();
        let whole = forest.predict(&Features::new(&[&a, &b]));
        let one_by_one: Vec<f64> = (0..1_000)
            .flat_map(|row| forest.predict(&Features::new(&[&a[row..=row], &b[row..=row]])))
            .collect();
        assert_eq!(whole, one_by_one);
    }
}
