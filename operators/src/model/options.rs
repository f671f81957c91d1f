//! What `CREATE MODEL ... WITH (...)` says, typed and checked.

use std::str::FromStr;

use lineshaft_engine::declaration::{OptionError, Options};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Task;

/// An algorithm with its options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Algorithm {
    /// Bagged decision trees that vote. Defaults: 100 trees, depth 10, leaves of 1 row, `m` = square root of the
    /// number of features.
    RandomForestClassifier(ForestOptions),
    /// Bagged decision trees that are averaged. Defaults as above, leaves of 5 rows, `m` = a third of the features
    /// (Breiman, "Random forests", 2001).
    RandomForestRegressor(ForestOptions),
    /// Least squares by singular values.
    LinearRegression,
    /// Least squares with penalty `alpha |w|^2` on the weights of standardised features.
    Ridge {
        /// Weight of the penalty, at least 0; 1 if not given.
        alpha: f64,
    },
    /// Maximum likelihood with penalty `alpha / 2 |w|^2` on the weights of standardised features.
    LogisticRegression {
        /// Weight of the penalty, at least 0; 1 if not given.
        alpha: f64,
    },
    /// Lloyd's algorithm from k-means++ starts.
    KMeans {
        /// Number of clusters, at least 2.
        k: usize,
        /// Most iterations, 100 if not given.
        max_iter: usize,
        /// Whether distances are measured in standard deviations of each feature; true if not given.
        standardize: bool,
    },
}

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

impl Algorithm {
    /// The names that `algorithm = '...'` takes.
    pub const NAMES: [&str; 6] = [
        "random_forest_classifier",
        "random_forest_regressor",
        "linear_regression",
        "ridge",
        "logistic_regression",
        "kmeans",
    ];

    /// Its name in a query file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RandomForestClassifier(_) => "random_forest_classifier",
            Self::RandomForestRegressor(_) => "random_forest_regressor",
            Self::LinearRegression => "linear_regression",
            Self::Ridge { .. } => "ridge",
            Self::LogisticRegression { .. } => "logistic_regression",
            Self::KMeans { .. } => "kmeans",
        }
    }

    /// What its models give.
    pub fn task(&self) -> Task {
        match self {
            Self::RandomForestClassifier(_) | Self::LogisticRegression { .. } => Task::Classification,
            Self::RandomForestRegressor(_) | Self::LinearRegression | Self::Ridge { .. } => Task::Regression,
            Self::KMeans { .. } => Task::Clustering,
        }
    }
}

/// How to train a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The name of the model.
    pub name: String,
    /// The algorithm with its options.
    pub algorithm: Algorithm,
    /// The column to predict; `None` for clustering. All other columns are features.
    pub target: Option<String>,
    /// Decides the held-back part and everything random in the algorithm.
    pub seed: u64,
    /// Share of the rows that is held back for the metrics, in `[0, 1)`.
    pub test_fraction: f64,
}

impl Training {
    /// Reads the options of a model.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn from_options(name: &str, options: &Options) -> Result<Self, Vec<OptionError>> {
        let mut reader =
            Reader { options, known: vec!["algorithm", "seed", "test_fraction"], errors: Vec::new() };
        let algorithm = reader.algorithm();
        let seed = reader.number("seed", 0_u64, |_| true, "a whole number of at least 0");
        let test_fraction =
            reader.number("test_fraction", 0.2, |f| (0.0..1.0).contains(f), "a number in [0, 1)");
        let Some(algorithm) = algorithm else {
            return Err(reader.errors);
        };
        let target = reader.target(&algorithm);
        reader.refuse_unknown(algorithm.name());
        if !reader.errors.is_empty() {
            return Err(reader.errors);
        }
        Ok(Self { name: name.to_owned(), algorithm, target, seed, test_fraction })
    }

    /// A hash of everything that decides what is trained, the text of the query included: a stored model with the
    /// same hash need not be trained again.
    pub fn definition_hash(&self, query: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{self:?}\n{}\n{query}", env!("CARGO_PKG_VERSION")));
        hex(&hash.finalize())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes options out one by one and notes what is wrong.
struct Reader<'a> {
    options: &'a Options,
    known: Vec<&'static str>,
    errors: Vec<OptionError>,
}

impl Reader<'_> {
    fn algorithm(&mut self) -> Option<Algorithm> {
        let Some(name) = self.options.get("algorithm") else {
            let help = format!("give one of {}", Algorithm::NAMES.join(", "));
            self.errors.push(OptionError::general("a model needs the option `algorithm`").help(help));
            return None;
        };
        match name.as_str() {
            "random_forest_classifier" => Some(Algorithm::RandomForestClassifier(self.forest(1))),
            "random_forest_regressor" => Some(Algorithm::RandomForestRegressor(self.forest(5))),
            "linear_regression" => Some(Algorithm::LinearRegression),
            "ridge" => Some(Algorithm::Ridge { alpha: self.alpha() }),
            "logistic_regression" => Some(Algorithm::LogisticRegression { alpha: self.alpha() }),
            "kmeans" => Some(self.kmeans()),
            _ => {
                let message = format!("there is no algorithm {name:?}");
                let help = did_you_mean(name, &Algorithm::NAMES);
                self.errors.push(OptionError::of("algorithm", message).help(help));
                None
            }
        }
    }

    fn forest(&mut self, min_samples_leaf: usize) -> ForestOptions {
        ForestOptions {
            trees: self.number(
                "trees",
                100,
                |&n| (1..=10_000).contains(&n),
                "a whole number from 1 to 10000",
            ),
            max_depth: self.number(
                "max_depth",
                10,
                |&n| (1..=64).contains(&n),
                "a whole number from 1 to 64",
            ),
            min_samples_leaf: self.number(
                "min_samples_leaf",
                min_samples_leaf,
                |&n| n > 0,
                "a whole number of at least 1",
            ),
            m: self.optional("m", |&n: &usize| n > 0, "a whole number of at least 1"),
        }
    }

    fn alpha(&mut self) -> f64 {
        self.number("alpha", 1.0, |&a: &f64| a >= 0.0 && a.is_finite(), "a number of at least 0")
    }

    fn kmeans(&mut self) -> Algorithm {
        if !self.options.contains_key("k") {
            self.errors.push(OptionError::general("kmeans needs the option `k`, the number of clusters"));
        }
        Algorithm::KMeans {
            k: self.number("k", 2, |&k| (2..=100_000).contains(&k), "a whole number of at least 2"),
            max_iter: self.number("max_iter", 100, |&n| n > 0, "a whole number of at least 1"),
            standardize: self.number("standardize", true, |_| true, "true or false"),
        }
    }

    fn target(&mut self, algorithm: &Algorithm) -> Option<String> {
        if algorithm.task() == Task::Clustering {
            return None;
        }
        self.known.push("target");
        let target = self.options.get("target").cloned();
        if target.is_none() {
            let message = format!("{} needs the option `target`, the column to predict", algorithm.name());
            self.errors.push(OptionError::general(message));
        }
        target
    }

    fn number<T: FromStr>(&mut self, name: &'static str, default: T, valid: fn(&T) -> bool, what: &str) -> T {
        self.optional(name, valid, what).unwrap_or(default)
    }

    fn optional<T: FromStr>(&mut self, name: &'static str, valid: fn(&T) -> bool, what: &str) -> Option<T> {
        self.known.push(name);
        let text = self.options.get(name)?;
        let value = text.trim().parse().ok().filter(valid);
        if value.is_none() {
            self.errors.push(OptionError::of(name, format!("{name} = {text:?} is not {what}")));
        }
        value
    }

    fn refuse_unknown(&mut self, algorithm: &str) {
        for name in self.options.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let message = format!("{algorithm} has no option {name:?}");
            self.errors.push(OptionError::of(name, message).help(did_you_mean(name, &self.known)));
        }
    }
}

/// The nearest of the known names, or all of them.
fn did_you_mean(name: &str, known: &[&str]) -> String {
    let nearest =
        known.iter().max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
    match nearest {
        Some(near) if strsim::jaro_winkler(name, near) > 0.8 => format!("did you mean {near:?}?"),
        _ => format!("known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests;
