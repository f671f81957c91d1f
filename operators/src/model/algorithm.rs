//! The algorithms of `CREATE MODEL`, each with its options: [`TABLE`] has a row for each.

use lineshaft_engine::declaration::OptionError;
use serde::{Deserialize, Serialize};

use super::dbscan::{self, Dbscan, DbscanOptions};
use super::forecast::{self, ForecastOptions};
use super::hyper_parameters::{
    BoostingOptions, ForestOptions, IsolationOptions, Loss, MlpOptions, NearestOptions, PcaOptions,
    TreeOptions, alpha, boosting, forest, isolation, kmeans, mlp, nearest, pca, tree,
};
use super::pca::PcaMonitor;
use super::reader::{Reader, did_you_mean};
use super::svm::{self, SvmOptions};
use super::{Centroids, IsolationForest, Task};

/// An algorithm with its options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Algorithm {
    /// Bagged decision trees that vote. Defaults: 100 trees, depth 10, leaves of 1 row, `m` = square root of the
    /// number of features.
    RandomForestClassifier(ForestOptions),
    /// Bagged decision trees that are averaged. Defaults as above, leaves of 5 rows, `m` = a third of the features
    /// (Breiman, "Random forests", 2001).
    RandomForestRegressor(ForestOptions),
    /// Trees with drawn thresholds, each over all rows, that are averaged. Defaults as above, `m` = all features.
    ExtraTreesRegressor(ForestOptions),
    /// Trees of which each corrects those before it.
    GradientBoostingRegressor(BoostingOptions),
    /// One tree whose leaves are classes. Defaults: depth 10, leaves of 1 row.
    DecisionTreeClassifier(TreeOptions),
    /// One tree whose leaves are means. Defaults: depth 10, leaves of 5 rows.
    DecisionTreeRegressor(TreeOptions),
    /// Least squares by singular values.
    LinearRegression,
    /// Least squares with penalty `alpha |w|^2` on the weights of standardised features.
    Ridge {
        /// Weight of the penalty, at least 0; 1 if not given.
        alpha: f64,
    },
    /// Least squares with penalty `alpha |w|_1`, which makes weights zero.
    Lasso {
        /// Weight of the penalty, at least 0; 1 if not given.
        alpha: f64,
    },
    /// Least squares with both penalties.
    ElasticNet {
        /// Weight of the penalty, at least 0; 1 if not given.
        alpha: f64,
        /// Share of `|w|_1` in it, in `[0, 1]`; 0.5 if not given.
        l1_ratio: f64,
    },
    /// Maximum likelihood with penalty `alpha / 2 |w|^2` on the weights of standardised features.
    LogisticRegression {
        /// Weight of the penalty, at least 0; 1 if not given.
        alpha: f64,
    },
    /// Normal distributions per class and feature.
    NaiveBayes,
    /// The vote of the nearest training rows.
    KnnClassifier(NearestOptions),
    /// The mean of the nearest training rows.
    KnnRegressor(NearestOptions),
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
    /// How few random cuts set a row apart from the others.
    IsolationForest(IsolationOptions),
    /// A neural network of dense layers.
    Mlp(MlpOptions),
    /// The next values of the target from its own past.
    Forecast(ForecastOptions),
    /// Clusters of any shape where rows are dense, and noise between them.
    Dbscan(DbscanOptions),
    /// The widest margin between each two classes, by a kernel.
    Svc(SvmOptions),
    /// The flattest function within a tube around the target, by a kernel.
    Svr(SvmOptions),
    /// What an ONNX file describes: not trained here.
    Onnx(Task),
    /// A net of a safetensors file, likewise.
    Safetensors(Task),
}

/// What is known of an algorithm before it is trained.
struct Entry {
    name: &'static str,
    task: Task,
    /// See [`Algorithm::values`].
    values: &'static [&'static str],
    /// See [`Algorithm::contributions`].
    contributions: &'static [&'static str],
    /// See [`Algorithm::transforms`].
    transforms: bool,
    read: fn(&mut Reader<'_>) -> Algorithm,
}

const NOTHING: &[&str] = &[];
/// What the contributions begin at.
const BASE: &[&str] = &["base"];
const PREDICTION: &[&str] = &["prediction"];
const PROBABILITY: &[&str] = &["probability"];

const fn entry(
    name: &'static str,
    task: Task,
    (values, contributions): (&'static [&'static str], &'static [&'static str]),
    read: fn(&mut Reader<'_>) -> Algorithm,
) -> Entry {
    Entry { name, task, values, contributions, transforms: false, read }
}

const TABLE: &[Entry] = {
    use Algorithm as A;
    use Task::{Anomaly, Classification, Clustering, Regression};
    &[
        entry("random_forest_classifier", Classification, (BASE, PROBABILITY), |r| {
            A::RandomForestClassifier(forest(r, 1))
        }),
        entry("random_forest_regressor", Regression, (BASE, PREDICTION), |r| {
            A::RandomForestRegressor(forest(r, 5))
        }),
        entry("extra_trees_regressor", Regression, (BASE, PREDICTION), |r| {
            A::ExtraTreesRegressor(forest(r, 5))
        }),
        entry("gradient_boosting_regressor", Regression, (BASE, PREDICTION), |r| {
            A::GradientBoostingRegressor(boosting(r))
        }),
        entry("decision_tree_classifier", Classification, (BASE, PROBABILITY), |r| {
            A::DecisionTreeClassifier(tree(r, 1))
        }),
        entry("decision_tree_regressor", Regression, (BASE, PREDICTION), |r| {
            A::DecisionTreeRegressor(tree(r, 5))
        }),
        entry("linear_regression", Regression, (BASE, PREDICTION), |_| A::LinearRegression),
        entry("ridge", Regression, (BASE, PREDICTION), |r| A::Ridge { alpha: alpha(r) }),
        entry("lasso", Regression, (BASE, PREDICTION), |r| A::Lasso { alpha: alpha(r) }),
        entry("elastic_net", Regression, (BASE, PREDICTION), |r| A::ElasticNet {
            alpha: alpha(r),
            l1_ratio: r.number("l1_ratio", 0.5, |ratio| (0.0..=1.0).contains(ratio), "a number in [0, 1]"),
        }),
        entry("logistic_regression", Classification, (BASE, &["log_odds"]), |r| A::LogisticRegression {
            alpha: alpha(r),
        }),
        entry("naive_bayes", Classification, (NOTHING, NOTHING), |_| A::NaiveBayes),
        entry("knn_classifier", Classification, (NOTHING, NOTHING), |r| A::KnnClassifier(nearest(r))),
        entry("knn_regressor", Regression, (NOTHING, NOTHING), |r| A::KnnRegressor(nearest(r))),
        entry("svc", Classification, (&["decision"], NOTHING), |r| A::Svc(svm::options(r, false))),
        entry("svr", Regression, (NOTHING, NOTHING), |r| A::Svr(svm::options(r, true))),
        entry("kmeans", Clustering, (&Centroids::VALUES, NOTHING), kmeans),
        entry("dbscan", Clustering, (&Dbscan::VALUES, NOTHING), |r| A::Dbscan(dbscan::options(r))),
        Entry {
            transforms: true,
            ..entry("pca_t2_spe", Anomaly, (&PcaMonitor::VALUES, &PcaMonitor::CONTRIBUTIONS), |r| {
                A::PcaT2Spe(pca(r))
            })
        },
        entry("isolation_forest", Anomaly, (&IsolationForest::VALUES, NOTHING), |r| {
            A::IsolationForest(isolation(r))
        }),
        entry("mlp", Regression, (NOTHING, NOTHING), |r| A::Mlp(mlp(r))),
    ]
};

impl Algorithm {
    /// The names that `algorithm = '...'` takes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|entry| entry.name).chain(forecast::NAMES)
    }

    /// Its name in a query file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RandomForestClassifier(_) => "random_forest_classifier",
            Self::RandomForestRegressor(_) => "random_forest_regressor",
            Self::ExtraTreesRegressor(_) => "extra_trees_regressor",
            Self::GradientBoostingRegressor(_) => "gradient_boosting_regressor",
            Self::DecisionTreeClassifier(_) => "decision_tree_classifier",
            Self::DecisionTreeRegressor(_) => "decision_tree_regressor",
            Self::LinearRegression => "linear_regression",
            Self::Ridge { .. } => "ridge",
            Self::Lasso { .. } => "lasso",
            Self::ElasticNet { .. } => "elastic_net",
            Self::LogisticRegression { .. } => "logistic_regression",
            Self::NaiveBayes => "naive_bayes",
            Self::KnnClassifier(_) => "knn_classifier",
            Self::KnnRegressor(_) => "knn_regressor",
            Self::Svc(_) => "svc",
            Self::Svr(_) => "svr",
            Self::KMeans { .. } => "kmeans",
            Self::Dbscan(_) => "dbscan",
            Self::PcaT2Spe(_) => "pca_t2_spe",
            Self::IsolationForest(_) => "isolation_forest",
            Self::Mlp(_) => "mlp",
            Self::Forecast(options) => options.method.name(),
            Self::Onnx(_) => "onnx",
            Self::Safetensors(_) => "safetensors",
        }
    }

    /// Its row of the table; forecasters have none.
    fn entry(&self) -> Option<&'static Entry> {
        TABLE.iter().find(|entry| entry.name == self.name())
    }

    /// How many of so many training rows only tell when the training ends.
    pub(crate) fn validation_rows(&self, rows: usize) -> usize {
        if let Self::Mlp(options) = self { options.validation_rows(rows) } else { 0 }
    }

    /// What its models give.
    pub fn task(&self) -> Task {
        match self {
            Self::Onnx(task) | Self::Safetensors(task) => *task,
            Self::Mlp(MlpOptions { loss: Loss::CrossEntropy, .. }) => Task::Classification,
            _ => self.entry().map_or(Task::Regression, |entry| entry.task),
        }
    }

    /// The names of the further figures of a row, see [`super::Model::value`].
    pub fn values(&self) -> &'static [&'static str] {
        self.entry().map_or(NOTHING, |entry| entry.values)
    }

    /// The names of the figures that are explained by feature, see [`super::Model::contributions`].
    pub fn contributions(&self) -> &'static [&'static str] {
        self.entry().map_or(NOTHING, |entry| entry.contributions)
    }

    /// True if its models give the probability of a class.
    pub fn has_probabilities(&self) -> bool {
        self.task() == Task::Classification && !matches!(self, Self::Svc(_))
    }

    /// True if its models give a row in other coordinates, see [`super::Model::transform`].
    pub fn transforms(&self) -> bool {
        self.entry().is_some_and(|entry| entry.transforms)
    }

    /// Reads `algorithm` and its options; `None` if the algorithm is not known.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let names: Vec<&str> = Self::names().collect();
        let Some(name) = reader.text("algorithm") else {
            let help = format!("give one of {}", names.join(", "));
            reader.errors.push(OptionError::general("a model needs the option `algorithm`").help(help));
            return None;
        };
        // Principal components are one algorithm, whether they watch or transform.
        let known = if name == "pca" { "pca_t2_spe" } else { name.as_str() };
        if let Some(entry) = TABLE.iter().find(|entry| entry.name == known) {
            return Some((entry.read)(reader));
        }
        forecast::read(&name, reader).map(Self::Forecast).or_else(|| {
            let message = format!("there is no algorithm {name:?}");
            let help = did_you_mean(&name, &names);
            reader.errors.push(OptionError::of("algorithm", message).help(help));
            None
        })
    }
}
