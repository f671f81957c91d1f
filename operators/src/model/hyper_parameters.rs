//! The options of the algorithms, and how they are read.

use lineshaft_engine::declaration::OptionError;
use serde::{Deserialize, Serialize};

use super::Algorithm;
use super::reader::Reader;

/// Options of a random forest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForestOptions {
    /// Number of trees.
    pub trees: u16,
    /// Most splits from root to leaf.
    pub max_depth: u16,
    /// Least training rows of a leaf.
    pub min_samples_leaf: usize,
    /// Features tried at a split.
    pub m: Option<usize>,
}

/// Options of boosted trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoostingOptions {
    /// Number of trees; 100 if not given.
    pub trees: u16,
    /// Most splits from root to leaf; 6 if not given.
    pub max_depth: u16,
    /// What each tree is multiplied by, in `(0, 1]`; 0.1 if not given.
    pub learning_rate: f64,
    /// Least training rows of a leaf; 1 if not given.
    pub min_samples_leaf: usize,
    /// Weight of the penalty on leaf values, at least 0; 1 if not given.
    pub lambda: f64,
    /// Least gain of a split, at least 0; 0 if not given.
    pub gamma: f64,
    /// Share of the rows that each tree sees, drawn by the seed, in `(0, 1]`; 1 if not given.
    pub subsample: f64,
}

/// Options of a single decision tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeOptions {
    /// Most splits from root to leaf.
    pub max_depth: u16,
    /// Least training rows of a leaf.
    pub min_samples_leaf: usize,
}

/// Options of nearest neighbours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearestOptions {
    /// Number of neighbours, at least 1; 5 if not given.
    pub k: usize,
    /// Whether distances are measured in standard deviations of each feature; true if not given.
    pub standardize: bool,
}

/// Options of an isolation forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IsolationOptions {
    /// Number of trees; 100 if not given.
    pub trees: u16,
    /// Rows that each tree sees; 256 if not given.
    pub sample: usize,
    /// Share of the training rows that the limit lets pass, in `(0, 1)`; 0.99 if not given.
    pub confidence: f64,
}

/// Options of a monitor by principal components.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PcaOptions {
    /// How many components are kept; 0.9 of the variance if not given.
    pub components: Components,
    /// Share of the rows of normal operation that each limit lets pass, in `(0, 1)`; 0.99 if not given.
    pub confidence: f64,
    /// How the limit of T2 is set.
    pub t2_limit: T2Limit,
    /// How the limit of SPE is set.
    pub spe_limit: SpeLimit,
}

/// Options of a neural network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MlpOptions {
    /// What is made small, which decides what the network gives.
    pub loss: Loss,
    /// Units of each hidden layer; one of 16 if not given.
    pub hidden: Vec<usize>,
    /// What is done with the output of a hidden unit.
    pub activation: Activation,
    /// How often all rows are gone through; 100 if not given.
    pub epochs: usize,
    /// Rows of a batch; 32 if not given.
    pub batch_size: usize,
    /// Length of a step of Adam, above 0; 0.001 if not given.
    pub learning_rate: f64,
    /// Training ends after so many epochs in which it did not get better; 0, if not given, for never.
    pub patience: usize,
    /// Share of the rows, the last ones, by which that is seen, in `(0, 1)`; 0.1 if not given.
    pub validation_fraction: f64,
}

/// What is made small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// The mean squared error: a regression. If not given.
    Mse,
    /// The cross-entropy: a classification.
    CrossEntropy,
}

/// What is done with the output of a hidden unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `max(x, 0)`. If not given.
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

impl MlpOptions {
    /// The last ones of so many rows that are not trained on, because the training ends early by them.
    pub(crate) fn validation_rows(&self, rows: usize) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a number of rows"
        )]
        let share = (rows as f64 * self.validation_fraction).ceil() as usize;
        if self.patience == 0 { 0 } else { share.min(rows) }
    }
}

pub(crate) fn mlp(reader: &mut Reader<'_>) -> MlpOptions {
    MlpOptions {
        loss: reader.choice("loss", &[("mse", Loss::Mse), ("cross_entropy", Loss::CrossEntropy)]),
        hidden: hidden(reader),
        activation: reader.choice(
            "activation",
            &[("relu", Activation::Relu), ("tanh", Activation::Tanh), ("sigmoid", Activation::Sigmoid)],
        ),
        epochs: reader.at_least_one("epochs", 100),
        batch_size: reader.at_least_one("batch_size", 32),
        learning_rate: reader.number(
            "learning_rate",
            0.001,
            |rate: &f64| *rate > 0.0 && rate.is_finite(),
            "a number above 0",
        ),
        patience: reader.number("patience", 0, |_| true, "a whole number of at least 0"),
        validation_fraction: reader.number(
            "validation_fraction",
            0.1,
            |share| *share > 0.0 && *share < 1.0,
            "a number in (0, 1)",
        ),
    }
}

/// `'64 64'`, `'16'`, or `'none'`: with no hidden layer the outputs are linear in the inputs.
fn hidden(reader: &mut Reader<'_>) -> Vec<usize> {
    let Some(text) = reader.text("hidden") else { return vec![16] };
    if text.trim() == "none" {
        return Vec::new();
    }
    let units: Result<Vec<usize>, _> = text.split_whitespace().map(str::parse).collect();
    match units {
        Ok(units) if !units.is_empty() && units.iter().all(|units| (1..=4096).contains(units)) => units,
        _ => {
            let message = format!("hidden = {text:?} is not the numbers of units of the hidden layers");
            let help = "write them with blanks between, such as hidden = '64 64'; or 'none'";
            reader.errors.push(OptionError::of("hidden", message).help(help));
            vec![16]
        }
    }
}

/// How many principal components are kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Components {
    /// So many.
    Number(usize),
    /// The fewest that explain more than this share of the variance, in `(0, 1)`.
    Variance(f64),
}

/// How the limit of T2 is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum T2Limit {
    /// By the F distribution: mean and covariance are those of the training rows. If not given.
    F,
    /// By the chi-squared distribution, the limit of F for many rows.
    ChiSquared,
    /// The quantile over the training rows.
    Quantile,
}

/// How the limit of SPE is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpeLimit {
    /// By the variances of the components that are left out. If not given.
    JacksonMudholkar,
    /// The quantile over the training rows.
    Quantile,
}

pub(crate) fn forest(reader: &mut Reader<'_>, min_samples_leaf: usize) -> ForestOptions {
    ForestOptions {
        trees: trees(reader),
        max_depth: max_depth(reader, 10),
        min_samples_leaf: reader.at_least_one("min_samples_leaf", min_samples_leaf),
        m: reader.optional("m", |&n: &usize| n > 0, "a whole number of at least 1"),
    }
}

pub(crate) fn tree(reader: &mut Reader<'_>, min_samples_leaf: usize) -> TreeOptions {
    let max_depth = max_depth(reader, 10);
    TreeOptions { max_depth, min_samples_leaf: reader.at_least_one("min_samples_leaf", min_samples_leaf) }
}

pub(crate) fn boosting(reader: &mut Reader<'_>) -> BoostingOptions {
    let share = |x: &f64| *x > 0.0 && *x <= 1.0;
    let penalty = |x: &f64| *x >= 0.0 && x.is_finite();
    BoostingOptions {
        trees: trees(reader),
        max_depth: max_depth(reader, 6),
        learning_rate: reader.number("learning_rate", 0.1, share, "a number in (0, 1]"),
        min_samples_leaf: reader.at_least_one("min_samples_leaf", 1),
        lambda: reader.number("lambda", 1.0, penalty, "a number of at least 0"),
        gamma: reader.number("gamma", 0.0, penalty, "a number of at least 0"),
        subsample: reader.number("subsample", 1.0, share, "a number in (0, 1]"),
    }
}

fn trees(reader: &mut Reader<'_>) -> u16 {
    reader.number("trees", 100, |&n| (1..=10_000).contains(&n), "a whole number from 1 to 10000")
}

fn max_depth(reader: &mut Reader<'_>, default: u16) -> u16 {
    reader.number("max_depth", default, |&n| (1..=64).contains(&n), "a whole number from 1 to 64")
}

pub(crate) fn nearest(reader: &mut Reader<'_>) -> NearestOptions {
    NearestOptions {
        k: reader.at_least_one("k", 5),
        standardize: reader.number("standardize", true, |_| true, "true or false"),
    }
}

pub(crate) fn isolation(reader: &mut Reader<'_>) -> IsolationOptions {
    IsolationOptions {
        trees: trees(reader),
        sample: reader.number("sample", 256, |&n| n >= 2, "a whole number of at least 2"),
        confidence: confidence(reader),
    }
}

fn confidence(reader: &mut Reader<'_>) -> f64 {
    reader.number("confidence", 0.99, |&c: &f64| c > 0.0 && c < 1.0, "a number between 0 and 1")
}

pub(crate) fn alpha(reader: &mut Reader<'_>) -> f64 {
    reader.number("alpha", 1.0, |&a: &f64| a >= 0.0 && a.is_finite(), "a number of at least 0")
}

pub(crate) fn kmeans(reader: &mut Reader<'_>) -> Algorithm {
    if !reader.has("k") {
        reader.errors.push(OptionError::general("kmeans needs the option `k`, the number of clusters"));
    }
    Algorithm::KMeans {
        k: reader.number("k", 2, |&k| (2..=100_000).contains(&k), "a whole number of at least 2"),
        max_iter: reader.at_least_one("max_iter", 100),
        standardize: reader.number("standardize", true, |_| true, "true or false"),
    }
}

pub(crate) fn pca(reader: &mut Reader<'_>) -> PcaOptions {
    let components = reader.number(
        "components",
        0.9,
        |&c: &f64| (c > 0.0 && c < 1.0) || (c >= 1.0 && c.fract() == 0.0 && c <= 1e6),
        "a number of components, or a share of the variance between 0 and 1",
    );
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let components = if components < 1.0 {
        Components::Variance(components)
    } else {
        Components::Number(components as usize)
    };
    PcaOptions {
        components,
        confidence: confidence(reader),
        t2_limit: reader.choice(
            "t2_limit",
            &[("f", T2Limit::F), ("chi2", T2Limit::ChiSquared), ("quantile", T2Limit::Quantile)],
        ),
        spe_limit: reader.choice(
            "spe_limit",
            &[("jackson_mudholkar", SpeLimit::JacksonMudholkar), ("quantile", SpeLimit::Quantile)],
        ),
    }
}
