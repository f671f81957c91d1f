//! Models: trained on a table, stored as a versioned artefact, scored by batch.
//!
//! ```text
//! WITH (...) -> Training --train(table)--> Trained --Artifact::save--> models/<name>/v<N>.model
//!                                             |
//!        key, feature columns --predict / predict_proba / value / contributions / nearest_cases--> one column
//! ```
//!
//! A row with a NULL, NaN or infinite feature is left out of training (and counted), and scores to NULL.
//! Forecasters (`forecast/`) have no features but the number of steps ahead.
//!
//! Trees, linear models and k-means are fitted by smartcore, the others here, one family a file; scoring is our own, over
//! columns.

mod algorithm;
pub mod artifact;
mod augment;
mod balance;
mod boosting;
mod candidates;
pub mod cases;
mod classes;
mod dbscan;
mod decision_tree;
mod distribution;
pub(crate) mod eigen;
mod elastic_net;
mod evaluate;
mod file;
mod fit;
pub mod forecast;
pub mod forest;
mod gate;
mod hyper_parameters;
mod importance;
mod isolation_forest;
mod kmeans;
mod linear;
mod logistic_regression;
mod matrix;
pub mod metrics;
mod mirror;
mod mlp;
mod naive_bayes;
mod nearest;
pub mod onnx;
mod options;
mod pca;
pub(crate) mod random;
mod random_forest;
mod reader;
pub mod safetensors;
mod score;
mod search;
mod shap;
mod split;
mod svm;
mod target;
#[cfg(test)]
mod testing;
mod train;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

pub use algorithm::Algorithm;
pub use artifact::Artifact;
pub use augment::Augment;
pub use balance::Balance;
pub use cases::{CaseOptions, Cases};
pub use classes::Classes;
pub use dbscan::Dbscan;
pub(crate) use distribution::normal_cdf;
pub use file::FileOptions;
pub use forecast::Forecast;
pub use forest::Forest;
pub use gate::Gate;
pub use importance::Importance;
pub use isolation_forest::IsolationForest;
pub use kmeans::Centroids;
pub use linear::Affine;
pub use logistic_regression::Logistic;
pub use matrix::Features;
pub use metrics::Metric;
pub use mlp::Mlp;
pub use naive_bayes::NaiveBayes;
pub use nearest::Nearest;
pub use onnx::OnnxModel;
pub use options::{Constant, Missing, Training};
pub use pca::PcaMonitor;
pub use search::{Run, Trial};
pub use split::Split;
pub use svm::SupportVectors;
pub use train::{LeftOut, Models, Trained, train};

/// What a model gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// One of the classes of the target.
    Classification,
    /// A number.
    Regression,
    /// The number of a cluster.
    Clustering,
    /// Whether a row is unlike normal operation, which is what the model was trained on.
    Anomaly,
}

/// A fitted model over complete rows: no feature is NULL, NaN or infinite.
pub trait Model: Send + Sync + Debug {
    /// What [`Model::predict`] gives.
    fn task(&self) -> Task;

    /// One value a row: the number of a regression, the index of the class, the index of the cluster,
    /// one for an anomaly and else zero.
    fn predict(&self, features: &Features<'_>) -> Vec<f64>;

    /// The probability of the class with this index for each row; `None` if the model has no probabilities.
    fn predict_proba(&self, _features: &Features<'_>, _class: usize) -> Option<Vec<f64>> {
        None
    }

    /// A further figure of each row, such as its distance to the centre; `None` if the model has none of this name.
    fn value(&self, _name: &str, _features: &Features<'_>) -> Option<Vec<f64>> {
        None
    }

    /// The row in other coordinates: for each row a number per coordinate; `None` if the model has none.
    fn transform(&self, _features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        None
    }

    /// How much each feature adds to a figure: for each row a number per feature, in their order. `None` if the model
    /// does not explain a figure of this name.
    fn contributions(&self, _name: &str, _features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        None
    }

    /// [`Model::value`] of the class with this index. A model that has it of one class only gives that.
    fn value_of(&self, name: &str, _class: usize, features: &Features<'_>) -> Option<Vec<f64>> {
        self.value(name, features)
    }

    /// [`Model::contributions`] to the figure of the class with this index, likewise.
    fn contributions_to(&self, name: &str, _class: usize, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        self.contributions(name, features)
    }

    /// The figures after each epoch of its training; empty if it was not trained in epochs.
    fn epochs(&self) -> Vec<Vec<Metric>> {
        Vec::new()
    }
}

/// The fitted models that an artefact can hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fitted {
    /// Trees: forests, boosted trees and single ones.
    Forest(Forest),
    /// Linear and ridge regression.
    Affine(Affine),
    /// Logistic regression.
    Logistic(Logistic),
    /// k-means.
    Centroids(Centroids),
    /// Principal components with T2 and SPE.
    PcaMonitor(PcaMonitor),
    /// Random cuts.
    IsolationForest(IsolationForest),
    /// Gaussian naive Bayes.
    NaiveBayes(NaiveBayes),
    /// Nearest neighbours.
    Nearest(Nearest),
    /// Dense layers.
    Mlp(Mlp),
    /// The next values of a series.
    Forecast(Forecast),
    /// Clusters by density.
    Dbscan(Dbscan),
    /// Support vectors.
    SupportVectors(SupportVectors),
    /// What a file describes, of whatever format.
    Onnx(OnnxModel),
}

impl Fitted {
    fn model(&self) -> &dyn Model {
        match self {
            Self::Forest(model) => model,
            Self::Affine(model) => model,
            Self::Logistic(model) => model,
            Self::Centroids(model) => model,
            Self::PcaMonitor(model) => model,
            Self::IsolationForest(model) => model,
            Self::NaiveBayes(model) => model,
            Self::Nearest(model) => model,
            Self::Mlp(model) => model,
            Self::Forecast(model) => model,
            Self::Dbscan(model) => model,
            Self::SupportVectors(model) => model,
            Self::Onnx(model) => model,
        }
    }
}

impl Model for Fitted {
    fn task(&self) -> Task {
        self.model().task()
    }

    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        self.model().predict(features)
    }

    fn predict_proba(&self, features: &Features<'_>, class: usize) -> Option<Vec<f64>> {
        self.model().predict_proba(features, class)
    }

    fn value(&self, name: &str, features: &Features<'_>) -> Option<Vec<f64>> {
        self.model().value(name, features)
    }

    fn contributions(&self, name: &str, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        self.model().contributions(name, features)
    }

    fn transform(&self, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        self.model().transform(features)
    }

    fn value_of(&self, name: &str, class: usize, features: &Features<'_>) -> Option<Vec<f64>> {
        self.model().value_of(name, class, features)
    }

    fn contributions_to(&self, name: &str, class: usize, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        self.model().contributions_to(name, class, features)
    }

    fn epochs(&self) -> Vec<Vec<Metric>> {
        self.model().epochs()
    }
}
