//! A regression tree that grows row by row.

use serde::{Deserialize, Serialize};

use super::Step;
use super::hoeffding_tree::{HoeffdingOptions, MAX_NODES};
use super::split_values::SplitValues;

/// Both sides of a split need so many rows.
pub(super) const LEAST_ROWS: f64 = 5.0;

/// A Hoeffding tree for numbers: of `[y, x...]` the mean of the leaf that the rows before make of x, then y is learned if it is
/// known. A leaf is split where the second best split reduces the variance by a share of the best that is below one by more than the
/// bound of Hoeffding, or where the bound is so small that it does not matter. `None` before the first row with y.
///
/// Source: Ikonomovska, Gama, Dzeroski, "Learning model trees from evolving data streams", Data Mining and Knowledge Discovery 23
/// (2011); as river's `HoeffdingTreeRegressor` with `leaf_prediction="mean"` and its `TEBSTSplitter`, which looks at values of so many
/// digits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoeffdingRegressor {
    options: HoeffdingOptions,
    digits: usize,
    features: usize,
    /// The first one is the root.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Node {
    Leaf(Leaf),
    /// To `below` where the feature is at most the threshold, else to the node after it.
    Split {
        feature: usize,
        threshold: f64,
        below: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Leaf {
    depth: usize,
    /// The rows of the leaf, and those before its split that lie here.
    target: Variance,
    /// Rows at the last attempt to split it.
    attempted_at: f64,
    /// The values of each feature; none in a leaf that is not split any more.
    values: Option<Vec<SplitValues>>,
}

/// Number, mean and squared distances of values, which can be added and taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Variance {
    pub(super) n: f64,
    mean: f64,
    squares: f64,
}

impl Variance {
    pub(super) fn add(&mut self, x: f64) {
        self.n += 1.0;
        let before = x - self.mean;
        self.mean += before / self.n;
        self.squares += before * (x - self.mean);
    }

    /// Of the values of both.
    pub(super) fn with(mut self, other: &Self) -> Self {
        let n = self.n + other.n;
        if n > 0.0 {
            self.squares += other.squares + (self.mean - other.mean).powi(2) * self.n * other.n / n;
            self.mean = (self.n * self.mean + other.n * other.mean) / n;
        }
        self.n = n;
        self
    }

    /// Of the values without those of the other one.
    pub(super) fn without(mut self, other: &Self) -> Self {
        let n = self.n - other.n;
        if n <= 0.0 {
            return Self::default();
        }
        self.mean = (self.n * self.mean - other.n * other.mean) / n;
        self.squares -= other.squares + (self.mean - other.mean).powi(2) * n * other.n / self.n;
        self.n = n;
        self
    }

    /// Of a sample; zero of fewer than two values.
    fn variance(&self) -> f64 {
        if self.n > 1.0 { self.squares / (self.n - 1.0) } else { 0.0 }
    }

    /// By how much less the variance is within two sides; zero if one has too few rows.
    pub(super) fn reduction(&self, sides: &[Self; 2]) -> f64 {
        if sides.iter().any(|side| side.n < LEAST_ROWS) {
            return 0.0;
        }
        sides.iter().fold(self.variance(), |rest, side| rest - side.n / self.n * side.variance())
    }
}

/// A split of a leaf.
pub(super) struct Candidate {
    pub(super) merit: f64,
    pub(super) threshold: f64,
    pub(super) sides: [Variance; 2],
}

impl Leaf {
    fn new(depth: usize, target: Variance, features: usize) -> Self {
        let values = Some(vec![SplitValues::default(); features]);
        Self { depth, attempted_at: target.n, target, values }
    }

    fn learn(&mut self, y: f64, x: &[f64], digits: usize) {
        self.target.add(y);
        for (values, x) in self.values.iter_mut().flatten().zip(x) {
            values.insert(rounded(*x, digits), y);
        }
    }

    /// Whether the leaf is to be split, by which feature and how.
    fn attempt(&mut self, options: &HoeffdingOptions) -> Option<(usize, Candidate)> {
        let values = self.values.as_mut()?;
        if self.target.n - self.attempted_at < options.grace {
            return None;
        }
        self.attempted_at = self.target.n;
        let candidates = values.iter().enumerate();
        let mut candidates: Vec<(usize, Candidate)> =
            candidates.filter_map(|(feature, values)| Some((feature, values.best(&self.target)?))).collect();
        // Of equal ones the last feature counts.
        candidates.sort_by(|a, b| a.1.merit.total_cmp(&b.1.merit));
        let (feature, best) = candidates.pop()?;
        // Not to split is one more choice, below all others.
        let second = candidates.last().map_or(f64::NEG_INFINITY, |(_, candidate)| candidate.merit);
        let bound = ((1.0 / options.delta).ln() / (2.0 * self.target.n)).sqrt();
        if best.merit > 0.0 && (second / best.merit < 1.0 - bound || bound < options.tau) {
            return Some((feature, best));
        }
        if best.merit > 0.0 && second > 0.0 {
            let least = second / best.merit - 2.0 * bound;
            values.iter_mut().for_each(|values| values.forget_below(best.merit * least, &self.target));
        }
        None
    }
}

/// To so many digits, ties as the decimal number that it is.
fn rounded(x: f64, digits: usize) -> f64 {
    // Zero has no sign here: it is one value.
    format!("{x:.digits$}").parse().unwrap_or(x) + 0.0
}

impl HoeffdingRegressor {
    /// A tree without rows; `None` if an option is out of its range.
    pub fn new(options: HoeffdingOptions, digits: usize) -> Option<Self> {
        (options.is_valid() && digits <= 15).then(|| Self { options, digits, features: 0, nodes: Vec::new() })
    }

    /// The place of the leaf of a row.
    fn leaf(&self, x: &[f64]) -> usize {
        let mut place = 0;
        while let Node::Split { feature, threshold, below } = &self.nodes[place] {
            place = if x[*feature] <= *threshold { *below } else { below + 1 };
        }
        place
    }

    fn learn(&mut self, place: usize, y: f64, x: &[f64]) {
        let is_full = self.nodes.len() >= MAX_NODES;
        let Node::Leaf(leaf) = &mut self.nodes[place] else { return };
        leaf.learn(y, x, self.digits);
        if leaf.depth >= self.options.max_depth || is_full {
            leaf.values = None;
            return;
        }
        let Some((feature, split)) = leaf.attempt(&self.options) else { return };
        let (depth, below) = (leaf.depth + 1, self.nodes.len());
        self.nodes.extend(split.sides.map(|side| Node::Leaf(Leaf::new(depth, side, x.len()))));
        self.nodes[place] = Node::Split { feature, threshold: split.threshold, below };
    }
}

impl Step for HoeffdingRegressor {
    fn step(&mut self, row: &[f64], _time: i64) -> Option<f64> {
        let (y, x) = (row[0], &row[1..]);
        if self.nodes.is_empty() {
            self.features = x.len();
            self.nodes.push(Node::Leaf(Leaf::new(0, Variance::default(), x.len())));
        }
        if self.features != x.len() {
            return None;
        }
        let place = self.leaf(x);
        let predicted = match &self.nodes[place] {
            Node::Leaf(leaf) => (leaf.target.n > 0.0).then_some(leaf.target.mean),
            Node::Split { .. } => None,
        };
        if y.is_finite() {
            self.learn(place, y, x);
        }
        predicted
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::testing::units;

    const OPTIONS: HoeffdingOptions = HoeffdingOptions { grace: 50.0, delta: 0.01, tau: 0.1, max_depth: 20 };

    /// 3,000 rows: steps and a slope in two of three features, with some noise.
    fn rows() -> Vec<[f64; 4]> {
        let mut unit = units(11);
        let mut row = |_| {
            let (a, b, c, noise) = (unit() * 4.0, unit() * 10.0, unit(), unit());
            [if a < 1.5 { 3.0 } else { b } + noise, a, b, c]
        };
        (0..3000).map(&mut row).collect()
    }

    #[test]
    fn each_prediction_is_that_of_river() {
        let mut tree = HoeffdingRegressor::new(OPTIONS, 1).unwrap();
        let expected = numbers("hoeffding_regression");
        for (place, (row, expected)) in rows().iter().zip(expected).enumerate() {
            let found = tree.step(row, 0).unwrap_or_default();
            assert!(
                (found - expected).abs() < 1e-9 * expected.abs().max(1.0),
                "row {place}: {found}, not {expected}"
            );
        }
        assert!(tree.nodes.len() > 20, "{}", tree.nodes.len());
    }

    #[test]
    fn a_tree_is_the_same_after_a_restart_and_stays_within_its_depth() {
        let options = HoeffdingOptions { max_depth: 2, ..OPTIONS };
        let mut tree = HoeffdingRegressor::new(options, 2).unwrap();
        let mut restarted = tree.clone();
        for row in rows() {
            assert_eq!(tree.step(&row, 0), restarted.step(&row, 0));
            restarted = postcard::from_bytes(&postcard::to_allocvec(&restarted).unwrap()).unwrap();
        }
        assert!(tree.nodes.len() <= 7);
        assert_eq!(HoeffdingRegressor::new(HoeffdingOptions { tau: -1.0, ..OPTIONS }, 1), None);
    }
}
