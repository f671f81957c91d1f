//! A forest in one flat array (`trees`): how a random forest scores.
//!
//! Sums run over the trees in order, so predictions equal smartcore's bit for bit.
//!
//! The same layout serves single trees, boosted trees and isolation trees: they differ in what is made of the leaves.

mod complete;
pub(super) mod trees;

use serde::{Deserialize, Serialize};

use super::{Features, Model, Task};
pub(crate) use trees::GrownNode;
use trees::{At, Trees};

/// Trees with a number in each leaf: a value of a regression, or the index of a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    trees: Trees,
    /// The value of each node; read at leaves.
    values: Vec<f64>,
    combination: Combination,
    counted: Box<Counted>,
}

/// What is known of the training rows at each node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counted {
    /// How many there were; empty where nothing is explained.
    covers: Vec<u32>,
    /// For each class which share of them is of it; none where probabilities are votes.
    shares: Vec<Vec<f64>>,
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

impl Forest {
    /// Lays trees out. `None` if a link leads out of its tree or there are too many nodes for 32 bits.
    pub(crate) fn new(grown: &[Vec<GrownNode>], combination: Combination) -> Option<Self> {
        let (mut trees, mut values) = (Trees::default(), Vec::new());
        for tree in grown {
            values.extend(trees.push(tree)?.into_iter().map(|index| tree[index].value));
        }
        Some(Self { trees, values, combination, counted: Box::default() })
    }

    /// Counts how many of the training rows come to each node, so that predictions can be explained.
    pub(crate) fn count(&mut self, features: &Features<'_>) {
        let mut covers = vec![0_u32; self.trees.nodes()];
        self.trees.for_each_step(features, |place| covers[place as usize] += 1);
        self.counted.covers = covers;
    }

    /// Makes probabilities of what the training rows of a leaf are, not of the votes of the trees: a single tree would be sure of
    /// whatever it says. `target` holds the index of the class of each row, of so many classes.
    pub(crate) fn share_out(&mut self, features: &Features<'_>, target: &[u32], classes: usize) {
        let mut shares = vec![vec![0.0; self.trees.nodes()]; classes];
        for (class, shares) in (0_u32..).zip(&mut shares) {
            let rows: Vec<usize> = (0..target.len()).filter(|row| target[*row] == class).collect();
            let columns: Vec<Vec<f64>> = features
                .columns()
                .iter()
                .map(|column| rows.iter().map(|row| column[*row]).collect())
                .collect();
            let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
            self.trees.for_each_step(&Features::new(&columns), |place| shares[place as usize] += 1.0);
            for (share, cover) in shares.iter_mut().zip(&self.counted.covers) {
                *share /= f64::from(*cover).max(1.0);
            }
        }
        self.counted.shares = shares;
    }

    pub(super) fn trees(&self) -> usize {
        self.trees.len()
    }

    pub(super) fn root(&self, tree: usize) -> u32 {
        self.trees.root(tree)
    }

    /// What is at a node; of the votes of a classifier those for the class with this index count.
    pub(super) fn branch(&self, place: u32, class: usize) -> Branch {
        let value = self.values[place as usize];
        match (self.trees.at(place), self.combination) {
            (At::Split { feature, threshold, children }, _) => Branch::Split { feature, threshold, children },
            (At::Leaf, Combination::Votes(_)) if !self.counted.shares.is_empty() => {
                Branch::Leaf(self.counted.shares.get(class).map_or(0.0, |shares| shares[place as usize]))
            }
            (At::Leaf, Combination::Votes(_)) => Branch::Leaf(f64::from(u8::from(index(value) == class))),
            (At::Leaf, _) => Branch::Leaf(value),
        }
    }

    pub(super) fn cover(&self, place: u32) -> f64 {
        self.counted.covers.get(place as usize).copied().unwrap_or_default().into()
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

    /// Calls `visit(row, leaf value)` for every row and tree; for each row in the order of the trees.
    fn for_each_leaf(&self, features: &Features<'_>, visit: impl FnMut(usize, f64)) {
        self.trees.for_each_leaf(features, &self.values, visit);
    }

    /// Votes of the trees: `classes` numbers a row.
    fn votes(&self, features: &Features<'_>, classes: usize) -> Vec<u32> {
        let mut votes = vec![0_u32; features.rows() * classes];
        self.for_each_leaf(features, |row, class| votes[row * classes + index(class)] += 1);
        votes
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

    /// The share of the trees that vote for the class, or the mean of the shares that it has in their leaves.
    #[expect(clippy::cast_precision_loss, reason = "few trees")]
    fn predict_proba(&self, features: &Features<'_>, class: usize) -> Option<Vec<f64>> {
        let Combination::Votes(classes) = self.combination else { return None };
        if class >= classes {
            return None;
        }
        let trees = self.trees.len() as f64;
        if let Some(shares) = self.counted.shares.get(class) {
            let mut sums = vec![0.0; features.rows()];
            self.trees.for_each_end(features, |row, place| sums[row] += shares[place as usize]);
            sums.iter_mut().for_each(|sum| *sum /= trees);
            return Some(sums);
        }
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
        (name == "base" && !self.counted.covers.is_empty()).then(|| vec![self.base(class); features.rows()])
    }

    fn contributions_to(&self, name: &str, class: usize, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        (name == self.explained() && !self.counted.covers.is_empty()).then(|| self.shap(class, features))
    }
}

#[cfg(test)]
impl Forest {
    /// Puts in how many rows came to the nodes of the trees as they were grown.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of rows")]
    pub(crate) fn set_covers(&mut self, grown: &[Vec<GrownNode>], rows: &[Vec<f64>]) {
        self.counted.covers = vec![0; self.trees.nodes()];
        for (tree, (grown, rows)) in grown.iter().zip(rows).enumerate() {
            let mut todo = vec![(self.root(tree), 0)];
            while let Some((place, index)) = todo.pop() {
                self.counted.covers[place as usize] = rows[index] as u32;
                if let Some((_, _, low, high)) = grown[index].split {
                    let At::Split { children: [left, right], .. } = self.trees.at(place) else { continue };
                    todo.extend([(left, low), (right, high)]);
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
