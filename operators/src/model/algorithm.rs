//! The algorithms of `CREATE MODEL`, each with its options.

use lineshaft_engine::declaration::OptionError;
use serde::{Deserialize, Serialize};

use super::forecast::{self, ForecastOptions};
use super::hyper_parameters::{
    BoostingOptions, ForestOptions, IsolationOptions, Loss, MlpOptions, NearestOptions, PcaOptions,
    TreeOptions, alpha, boosting, forest, isolation, kmeans, mlp, nearest, pca, tree,
};
use super::pca::PcaMonitor;
use super::reader::{Reader, did_you_mean};
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
    /// What an ONNX file describes: not trained here.
    Onnx(Task),
}

impl Algorithm {
    /// The names that `algorithm = '...'` takes.
    pub const NAMES: [&str; 24] = [
        "random_forest_classifier",
        "random_forest_regressor",
        "extra_trees_regressor",
        "gradient_boosting_regressor",
        "decision_tree_classifier",
        "decision_tree_regressor",
        "linear_regression",
        "ridge",
        "lasso",
        "elastic_net",
        "logistic_regression",
        "naive_bayes",
        "knn_classifier",
        "knn_regressor",
        "kmeans",
        "pca_t2_spe",
        "isolation_forest",
        "mlp",
        "seasonal_naive",
        "holt_winters",
        "theta",
        "croston",
        "tsb",
        "forecast_combination",
    ];

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
            Self::KMeans { .. } => "kmeans",
            Self::PcaT2Spe(_) => "pca_t2_spe",
            Self::IsolationForest(_) => "isolation_forest",
            Self::Mlp(_) => "mlp",
            Self::Forecast(options) => options.method.name(),
            Self::Onnx(_) => "onnx",
        }
    }

    /// What its models give.
    pub fn task(&self) -> Task {
        match self {
            Self::RandomForestClassifier(_)
            | Self::DecisionTreeClassifier(_)
            | Self::LogisticRegression { .. }
            | Self::NaiveBayes
            | Self::KnnClassifier(_) => Task::Classification,
            Self::RandomForestRegressor(_)
            | Self::ExtraTreesRegressor(_)
            | Self::GradientBoostingRegressor(_)
            | Self::DecisionTreeRegressor(_)
            | Self::LinearRegression
            | Self::Ridge { .. }
            | Self::Lasso { .. }
            | Self::ElasticNet { .. }
            | Self::KnnRegressor(_)
            | Self::Forecast(_) => Task::Regression,
            Self::Onnx(task) => *task,
            Self::KMeans { .. } => Task::Clustering,
            Self::PcaT2Spe(_) | Self::IsolationForest(_) => Task::Anomaly,
            Self::Mlp(MlpOptions { loss: Loss::Mse, .. }) => Task::Regression,
            Self::Mlp(MlpOptions { loss: Loss::CrossEntropy, .. }) => Task::Classification,
        }
    }

    /// The names of the further figures of a row, see [`super::Model::value`].
    pub fn values(&self) -> &'static [&'static str] {
        match self {
            Self::PcaT2Spe(_) => &PcaMonitor::VALUES,
            Self::IsolationForest(_) => &IsolationForest::VALUES,
            Self::KMeans { .. } => &Centroids::VALUES,
            Self::NaiveBayes
            | Self::KnnClassifier(_)
            | Self::KnnRegressor(_)
            | Self::Mlp(_)
            | Self::Onnx(_) => &[],
            // What the contributions begin at.
            _ => &["base"],
        }
    }

    /// The names of the figures that are explained by feature, see [`super::Model::contributions`].
    pub fn contributions(&self) -> &'static [&'static str] {
        match self {
            Self::PcaT2Spe(_) => &PcaMonitor::CONTRIBUTIONS,
            Self::RandomForestClassifier(_) | Self::DecisionTreeClassifier(_) => &["probability"],
            Self::LogisticRegression { .. } => &["log_odds"],
            Self::RandomForestRegressor(_)
            | Self::ExtraTreesRegressor(_)
            | Self::GradientBoostingRegressor(_)
            | Self::DecisionTreeRegressor(_)
            | Self::LinearRegression
            | Self::Ridge { .. }
            | Self::Lasso { .. }
            | Self::ElasticNet { .. } => &["prediction"],
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
            "extra_trees_regressor" => Some(Self::ExtraTreesRegressor(forest(reader, 5))),
            "gradient_boosting_regressor" => Some(Self::GradientBoostingRegressor(boosting(reader))),
            "decision_tree_classifier" => Some(Self::DecisionTreeClassifier(tree(reader, 1))),
            "decision_tree_regressor" => Some(Self::DecisionTreeRegressor(tree(reader, 5))),
            "linear_regression" => Some(Self::LinearRegression),
            "lasso" => Some(Self::Lasso { alpha: alpha(reader) }),
            "elastic_net" => Some(Self::ElasticNet {
                alpha: alpha(reader),
                l1_ratio: reader.number("l1_ratio", 0.5, |r| (0.0..=1.0).contains(r), "a number in [0, 1]"),
            }),
            "naive_bayes" => Some(Self::NaiveBayes),
            "knn_classifier" => Some(Self::KnnClassifier(nearest(reader))),
            "knn_regressor" => Some(Self::KnnRegressor(nearest(reader))),
            "isolation_forest" => Some(Self::IsolationForest(isolation(reader))),
            "ridge" => Some(Self::Ridge { alpha: alpha(reader) }),
            "logistic_regression" => Some(Self::LogisticRegression { alpha: alpha(reader) }),
            "kmeans" => Some(kmeans(reader)),
            "mlp" => Some(Self::Mlp(mlp(reader))),
            "pca_t2_spe" => Some(Self::PcaT2Spe(pca(reader))),
            other => forecast::read(other, reader).map(Self::Forecast).or_else(|| {
                let message = format!("there is no algorithm {other:?}");
                let help = did_you_mean(other, &Self::NAMES);
                reader.errors.push(OptionError::of("algorithm", message).help(help));
                None
            }),
        }
    }
}
