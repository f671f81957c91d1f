//! A decision tree that grows row by row.

use serde::{Deserialize, Serialize};

use super::{Step, number};
use crate::model::normal_cdf;

/// Places in the range of a feature where a split is looked for, as in river.
const SPLITS: usize = 10;
/// Both sides of a split need more than this share of the rows.
const LEAST_SHARE: f64 = 0.01;
/// A tree of so many nodes grows no more; its leaves go on counting.
pub(super) const MAX_NODES: usize = 4_095;
/// Where one class has more than this share, there is nothing to split.
const PURE_SHARE: f64 = 0.99;

/// A Hoeffding tree: of `[y, x...]` the class that the rows before make of x, then y, a number that names a class, is learned if it
/// is known. A leaf is split where the best split gains more than the second best by the bound of Hoeffding, or where the bound is so
/// small that it does not matter. `None` before the first row with a class.
///
/// Source: Domingos, Hulten, "Mining high-speed data streams", KDD 2000; as river's `HoeffdingTreeClassifier` with
/// `leaf_prediction="mc"`: normal distributions for the features of each class, gain of information, majorities in the leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoeffdingTree {
    options: HoeffdingOptions,
    features: usize,
    /// In the order in which they came.
    classes: Vec<f64>,
    /// The first one is the root.
    nodes: Vec<Node>,
}

/// Options of a Hoeffding tree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoeffdingOptions {
    /// Rows of a leaf between two attempts to split it, from 1 up.
    pub grace: f64,
    /// The probability that a split is not the best one, in (0, 1).
    pub delta: f64,
    /// The bound below which the best split is taken anyway, from 0 up.
    pub tau: f64,
    /// Most splits from root to leaf.
    pub max_depth: usize,
}

impl HoeffdingOptions {
    /// True if each is in its range.
    pub(super) fn is_valid(&self) -> bool {
        self.grace >= 1.0 && self.delta > 0.0 && self.delta < 1.0 && self.tau >= 0.0
    }
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
    /// Rows of each class, and those of the leaf before the split that are taken to lie here.
    counts: Vec<f64>,
    /// Rows since the last attempt to split it.
    since_attempt: f64,
    /// For each feature the values of each class; none in a leaf that is not split any more.
    values: Option<Vec<Vec<Normal>>>,
}

/// Values of one class: number, mean, squared distances and extent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Normal {
    n: f64,
    mean: f64,
    squares: f64,
    least: f64,
    greatest: f64,
}

impl Default for Normal {
    fn default() -> Self {
        Self { n: 0.0, mean: 0.0, squares: 0.0, least: f64::INFINITY, greatest: f64::NEG_INFINITY }
    }
}

impl Normal {
    fn add(&mut self, x: f64) {
        self.n += 1.0;
        let before = x - self.mean;
        self.mean += before / self.n;
        self.squares += before * (x - self.mean);
        self.least = self.least.min(x);
        self.greatest = self.greatest.max(x);
    }

    /// How many of the rows are at most at a place.
    fn below(&self, place: f64) -> f64 {
        if place < self.least {
            return 0.0;
        }
        if place >= self.greatest {
            return self.n;
        }
        let deviation = (self.squares / (self.n - 1.0)).sqrt();
        if deviation > 0.0 { normal_cdf((place - self.mean) / deviation) * self.n } else { 0.0 }
    }
}

/// A split of a leaf: rows of each class below and above.
struct Candidate {
    merit: f64,
    feature: usize,
    threshold: f64,
    sides: [Vec<f64>; 2],
}

fn entropy(counts: &[f64]) -> f64 {
    let counted = counts.iter().filter(|count| **count > 0.0);
    let (mut sum, mut entropy) = (0.0, 0.0);
    for count in counted {
        entropy -= count * count.log2();
        sum += count;
    }
    if sum > 0.0 { (entropy + sum * sum.log2()) / sum } else { 0.0 }
}

fn total(counts: &[f64]) -> f64 {
    counts.iter().sum()
}

impl Leaf {
    fn new(depth: usize, counts: Vec<f64>, features: usize) -> Self {
        Self { depth, since_attempt: 0.0, counts, values: Some(vec![Vec::new(); features]) }
    }

    fn learn(&mut self, class: usize, x: &[f64]) {
        if self.counts.len() <= class {
            self.counts.resize(class + 1, 0.0);
        }
        self.counts[class] += 1.0;
        self.since_attempt += 1.0;
        for (of_classes, x) in self.values.iter_mut().flatten().zip(x) {
            if of_classes.len() <= class {
                of_classes.resize(class + 1, Normal::default());
            }
            of_classes[class].add(*x);
        }
    }

    /// The best split of one feature; `None` if no place leaves enough rows on both sides.
    fn best_of(&self, feature: usize, of_classes: &[Normal]) -> Option<Candidate> {
        let least = of_classes.iter().map(|values| values.least).fold(f64::INFINITY, f64::min);
        let greatest = of_classes.iter().map(|values| values.greatest).fold(f64::NEG_INFINITY, f64::max);
        let width = (greatest - least) / (number(SPLITS) + 1.0);
        let mut best: Option<Candidate> = None;
        for place in 1..=SPLITS {
            let threshold = least + width * number(place);
            if !(least < threshold && threshold < greatest) {
                continue;
            }
            let below: Vec<f64> = of_classes.iter().map(|values| values.below(threshold)).collect();
            let above: Vec<f64> =
                of_classes.iter().zip(&below).map(|(values, below)| values.n - below).collect();
            let Some(merit) = self.merit(&below, &above) else { continue };
            if best.as_ref().is_none_or(|best| merit > best.merit) {
                best = Some(Candidate { merit, feature, threshold, sides: [below, above] });
            }
        }
        best
    }

    /// The gain of information; `None` if a side has hardly any rows.
    fn merit(&self, below: &[f64], above: &[f64]) -> Option<f64> {
        let sums = [total(below), total(above)];
        let all = sums[0] + sums[1];
        if sums.iter().any(|sum| sum / all <= LEAST_SHARE) {
            return None;
        }
        let after = (sums[0] * entropy(below) + sums[1] * entropy(above)) / all;
        Some(entropy(&self.counts) - after)
    }

    fn is_pure(&self) -> bool {
        self.counts.iter().filter(|count| **count > 0.0).count() < 2
    }

    /// Whether the leaf is to be split, and how. One that cannot be is not looked at again.
    fn attempt(&mut self, options: &HoeffdingOptions) -> Option<Candidate> {
        let rows = total(&self.counts);
        let values = self.values.as_ref()?;
        if self.since_attempt < options.grace {
            return None;
        }
        self.since_attempt = 0.0;
        if self.is_pure() {
            return None;
        }
        let greatest = self.counts.iter().copied().fold(0.0, f64::max);
        if greatest / rows > PURE_SHARE {
            self.values = None;
            return None;
        }
        let best = values.iter().enumerate().map(|(feature, of_classes)| self.best_of(feature, of_classes));
        let mut best: Vec<Option<Candidate>> = best.collect();
        // Not to split is one more choice, below all others.
        best.push(None);
        let merit =
            |candidate: &Option<Candidate>| candidate.as_ref().map_or(f64::NEG_INFINITY, |best| best.merit);
        // Of equal ones the last feature counts, and the choice not to split least of all.
        best.rotate_right(1);
        best.sort_by(|a, b| merit(a).total_cmp(&merit(b)));
        let classes = self.counts.iter().filter(|count| **count > 0.0).count().max(2);
        let range = number(classes).log2();
        let bound = (range * range * (1.0 / options.delta).ln() / (2.0 * rows)).sqrt();
        let chosen = best.pop()?;
        let gain = merit(&chosen) - best.last().map_or(f64::NEG_INFINITY, merit);
        if !(gain > bound || bound < options.tau) {
            return None;
        }
        if chosen.is_none() {
            self.values = None;
        }
        chosen
    }

    /// The class with the most rows; of equal ones the least.
    fn class(&self, classes: &[f64]) -> Option<f64> {
        let most = self.counts.iter().copied().fold(0.0, f64::max);
        let with_most = self.counts.iter().zip(classes).filter(|(count, _)| **count >= most);
        with_most.map(|(_, class)| *class).reduce(f64::min)
    }
}

impl HoeffdingTree {
    /// A tree without rows; `None` if an option is out of its range.
    pub fn new(options: HoeffdingOptions) -> Option<Self> {
        options.is_valid().then(|| Self { options, features: 0, classes: Vec::new(), nodes: Vec::new() })
    }

    /// The place of the leaf of a row.
    fn leaf(&self, x: &[f64]) -> usize {
        let mut place = 0;
        while let Node::Split { feature, threshold, below } = &self.nodes[place] {
            place = if x[*feature] <= *threshold { *below } else { below + 1 };
        }
        place
    }

    #[expect(clippy::float_cmp, reason = "the number is the name of a class")]
    fn class_index(&mut self, y: f64) -> usize {
        self.classes.iter().position(|class| *class == y).unwrap_or_else(|| {
            self.classes.push(y);
            self.classes.len() - 1
        })
    }

    fn learn(&mut self, place: usize, y: f64, x: &[f64]) {
        let class = self.class_index(y);
        let is_full = self.nodes.len() >= MAX_NODES;
        let Node::Leaf(leaf) = &mut self.nodes[place] else { return };
        leaf.learn(class, x);
        if leaf.depth >= self.options.max_depth || is_full {
            leaf.values = None;
            return;
        }
        let Some(Candidate { feature, threshold, sides, .. }) = leaf.attempt(&self.options) else { return };
        let depth = leaf.depth + 1;
        let below = self.nodes.len();
        self.nodes.extend(sides.map(|counts| Node::Leaf(Leaf::new(depth, counts, x.len()))));
        self.nodes[place] = Node::Split { feature, threshold, below };
    }
}

impl Step for HoeffdingTree {
    fn step(&mut self, row: &[f64], _time: i64) -> Option<f64> {
        let (y, x) = (row[0], &row[1..]);
        if self.nodes.is_empty() {
            self.features = x.len();
            self.nodes.push(Node::Leaf(Leaf::new(0, Vec::new(), x.len())));
        }
        if self.features != x.len() {
            return None;
        }
        let place = self.leaf(x);
        let predicted = match &self.nodes[place] {
            Node::Leaf(leaf) => leaf.class(&self.classes),
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
    use crate::model::random::Random;
    use crate::testing::units;

    // river takes the rows since the last attempt as a difference of sums, which rounding may leave just below a whole number.
    const OPTIONS: HoeffdingOptions = HoeffdingOptions { grace: 19.5, delta: 0.1, tau: 0.2, max_depth: 20 };

    /// 3,000 rows of three classes in two of three features, with some noise.
    fn rows() -> Vec<[f64; 4]> {
        let mut unit = units(11);
        let mut row = |_| {
            let (a, b, c, noise) = (unit(), unit(), unit(), unit());
            let class = if a < 0.4 {
                1.0
            } else if b < 0.5 {
                2.0
            } else {
                7.0
            };
            [if noise < 0.05 { 1.0 } else { class }, a, b, c]
        };
        (0..3000).map(&mut row).collect()
    }

    #[test]
    fn each_prediction_is_that_of_river() {
        let mut tree = HoeffdingTree::new(OPTIONS).unwrap();
        let expected = numbers("hoeffding_tree");
        for (place, (row, expected)) in rows().iter().zip(expected).enumerate() {
            let found = tree.step(row, 0).unwrap_or(-1.0);
            assert!((found - expected).abs() < 0.5, "row {place}: {found}, not {expected}");
        }
        assert!(tree.nodes.len() > 5, "{}", tree.nodes.len());
    }

    #[test]
    fn a_tree_is_the_same_after_a_restart_and_stays_within_its_depth() {
        let options = HoeffdingOptions { max_depth: 2, ..OPTIONS };
        let mut tree = HoeffdingTree::new(options).unwrap();
        let mut restarted = tree.clone();
        let mut random = Random::new(1);
        for row in rows() {
            let row = [row[0], row[1], row[2], random.unit()];
            assert_eq!(tree.step(&row, 0), restarted.step(&row, 0));
            restarted = postcard::from_bytes(&postcard::to_allocvec(&restarted).unwrap()).unwrap();
        }
        assert!(tree.nodes.len() <= 7);
        assert_eq!(HoeffdingTree::new(HoeffdingOptions { delta: 0.0, ..OPTIONS }), None);
    }
}
