//! The fit of one model on complete rows.

use super::target::Chosen;
use super::{Algorithm, Fitted, Training, kmeans, linear, logistic_regression, pca, random_forest};

/// Fits the algorithm of `training`; `classes` is the number of classes of the whole table.
///
/// # Errors
/// If the rows do not determine a model.
pub(crate) fn fit(
    training: &Training,
    columns: &[Vec<f64>],
    target: &Chosen,
    classes: usize,
) -> Result<Fitted, String> {
    match (&training.algorithm, target) {
        (Algorithm::KMeans { k, max_iter, standardize }, _) => {
            kmeans::fit(*k, *max_iter, *standardize, training.seed, columns).map(Fitted::Centroids)
        }
        (Algorithm::PcaT2Spe(options), _) => pca::fit(options, columns).map(Fitted::PcaMonitor),
        (algorithm, Chosen::Numbers(target)) => regression(algorithm, training.seed, columns, target),
        (algorithm, Chosen::Classes(target)) => {
            classification(algorithm, training.seed, columns, target, classes)
        }
        (algorithm, Chosen::None) => Err(format!("{} needs a target", algorithm.name())),
    }
}

fn regression(
    algorithm: &Algorithm,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[f64],
) -> Result<Fitted, String> {
    if target.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits()) {
        return Err(format!(
            "the target is {} in each of the {} training rows, so there is nothing to learn; give rows that differ",
            target[0],
            target.len()
        ));
    }
    match algorithm {
        Algorithm::RandomForestRegressor(options) => {
            random_forest::fit_regressor(options, seed, columns, target).map(Fitted::Forest)
        }
        Algorithm::Ridge { alpha } => linear::fit_ridge(*alpha, columns, target).map(Fitted::Affine),
        Algorithm::LinearRegression => linear::fit_linear(columns, target).map(Fitted::Affine),
        other => Err(format!("{} is not a regression", other.name())),
    }
}

fn classification(
    algorithm: &Algorithm,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[u32],
    classes: usize,
) -> Result<Fitted, String> {
    if target.windows(2).all(|pair| pair[0] == pair[1]) {
        return Err(format!(
            "the target has one class only in the {} training rows, so there is nothing to learn; give rows of at \
             least two classes",
            target.len()
        ));
    }
    match algorithm {
        Algorithm::RandomForestClassifier(options) => {
            random_forest::fit_classifier(options, seed, columns, target, classes).map(Fitted::Forest)
        }
        Algorithm::LogisticRegression { alpha } => {
            logistic_regression::fit(*alpha, columns, target).map(Fitted::Logistic)
        }
        other => Err(format!("{} is not a classifier", other.name())),
    }
}
