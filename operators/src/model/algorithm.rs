//! The algorithms of `CREATE MODEL`, each with its options.

use lineshaft_engine::declaration::OptionError;
use serde::{Deserialize, Serialize};

use super::pca::PcaMonitor;
use super::reader::{Reader, did_you_mean};
use super::{Centroids, Task};

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
    /// Hotelling's T2 and the squared prediction error of a principal component model of normal operation.
    PcaT2Spe(PcaOptions),
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

impl Algorithm {
    /// The names that `algorithm = '...'` takes.
    pub const NAMES: [&str; 7] = [
        "random_forest_classifier",
        "random_forest_regressor",
        "linear_regression",
        "ridge",
        "logistic_regression",
        "kmeans",
        "pca_t2_spe",
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
            Self::PcaT2Spe(_) => "pca_t2_spe",
        }
    }

    /// What its models give.
    pub fn task(&self) -> Task {
        match self {
            Self::RandomForestClassifier(_) | Self::LogisticRegression { .. } => Task::Classification,
            Self::RandomForestRegressor(_) | Self::LinearRegression | Self::Ridge { .. } => Task::Regression,
            Self::KMeans { .. } => Task::Clustering,
            Self::PcaT2Spe(_) => Task::Anomaly,
        }
    }

    /// The names of the further figures of a row, see [`super::Model::value`].
    pub fn values(&self) -> &'static [&'static str] {
        match self {
            Self::PcaT2Spe(_) => &PcaMonitor::VALUES,
            Self::KMeans { .. } => &Centroids::VALUES,
            _ => &[],
        }
    }

    /// The names of the figures that are explained by feature, see [`super::Model::contributions`].
    pub fn contributions(&self) -> &'static [&'static str] {
        match self {
            Self::PcaT2Spe(_) => &PcaMonitor::CONTRIBUTIONS,
            _ => &[],
        }
    }

    /// Reads `algorithm` and its options; `None` if the algorithm is not known.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let Some(name) = reader.text("algorithm") else {
            let help = format!("give one of {}", Self::NAMES.join(", "));
            reader.errors.push(OptionError::general("a model needs the option `algorithm`").help(help));
            return None;
        };
        match name.as_str() {
            "random_forest_classifier" => Some(Self::RandomForestClassifier(forest(reader, 1))),
            "random_forest_regressor" => Some(Self::RandomForestRegressor(forest(reader, 5))),
            "linear_regression" => Some(Self::LinearRegression),
            "ridge" => Some(Self::Ridge { alpha: alpha(reader) }),
            "logistic_regression" => Some(Self::LogisticRegression { alpha: alpha(reader) }),
            "kmeans" => Some(kmeans(reader)),
            "pca_t2_spe" => Some(Self::PcaT2Spe(pca(reader))),
            _ => {
                let message = format!("there is no algorithm {name:?}");
                let help = did_you_mean(&name, &Self::NAMES);
                reader.errors.push(OptionError::of("algorithm", message).help(help));
                None
            }
        }
    }
}

fn forest(reader: &mut Reader<'_>, min_samples_leaf: usize) -> ForestOptions {
    ForestOptions {
        trees: reader.number("trees", 100, |&n| (1..=10_000).contains(&n), "a whole number from 1 to 10000"),
        max_depth: reader.number("max_depth", 10, |&n| (1..=64).contains(&n), "a whole number from 1 to 64"),
        min_samples_leaf: reader.at_least_one("min_samples_leaf", min_samples_leaf),
        m: reader.optional("m", |&n: &usize| n > 0, "a whole number of at least 1"),
    }
}

fn alpha(reader: &mut Reader<'_>) -> f64 {
    reader.number("alpha", 1.0, |&a: &f64| a >= 0.0 && a.is_finite(), "a number of at least 0")
}

fn kmeans(reader: &mut Reader<'_>) -> Algorithm {
    if !reader.has("k") {
        reader.errors.push(OptionError::general("kmeans needs the option `k`, the number of clusters"));
    }
    Algorithm::KMeans {
        k: reader.number("k", 2, |&k| (2..=100_000).contains(&k), "a whole number of at least 2"),
        max_iter: reader.at_least_one("max_iter", 100),
        standardize: reader.number("standardize", true, |_| true, "true or false"),
    }
}

fn pca(reader: &mut Reader<'_>) -> PcaOptions {
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
        confidence: reader.number(
            "confidence",
            0.99,
            |&c: &f64| c > 0.0 && c < 1.0,
            "a number between 0 and 1",
        ),
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
