//! Models: trained on a table, stored as a versioned artefact, scored by batch.
//!
//! ```text
//! WITH (...) -> Training --train(table)--> Trained --Artifact::save--> models/<name>/v<N>.model
//!                                             |
//!                         feature columns --predict / predict_proba--> one column
//! ```
//!
//! A row with a NULL, NaN or infinite feature is left out of training (and counted), and scores to NULL.
//! The fit comes from smartcore, one family a file; scoring is our own, over columns.

pub mod artifact;
mod classes;
pub mod forest;
mod kmeans;
mod linear;
mod logistic_regression;
mod matrix;
pub mod metrics;
mod options;
pub(crate) mod random;
mod random_forest;
mod score;
mod train;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

pub use artifact::Artifact;
pub use classes::Classes;
pub use forest::Forest;
pub use kmeans::Centroids;
pub use linear::Affine;
pub use logistic_regression::Logistic;
pub use matrix::Features;
pub use metrics::Metric;
pub use options::{Algorithm, Training};
pub use train::{Trained, train};

/// What a model gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// One of the classes of the target.
    Classification,
    /// A number.
    Regression,
    /// The number of a cluster.
    Clustering,
}

/// A fitted model over complete rows: no feature is NULL, NaN or infinite.
pub trait Model: Send + Sync + Debug {
    /// What [`Model::predict`] gives.
    fn task(&self) -> Task;

    /// One value a row: the number of a regression, the index of the class, the index of the cluster.
    fn predict(&self, features: &Features<'_>) -> Vec<f64>;

    /// The probability of the class with this index for each row; `None` if the model has no probabilities.
    fn predict_proba(&self, _features: &Features<'_>, _class: usize) -> Option<Vec<f64>> {
        None
    }
}

/// The fitted models that an artefact can hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fitted {
    /// Random forests.
    Forest(Forest),
    /// Linear and ridge regression.
    Affine(Affine),
    /// Logistic regression.
    Logistic(Logistic),
    /// k-means.
    Centroids(Centroids),
}

impl Fitted {
    fn model(&self) -> &dyn Model {
        match self {
            Self::Forest(model) => model,
            Self::Affine(model) => model,
            Self::Logistic(model) => model,
            Self::Centroids(model) => model,
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
}
