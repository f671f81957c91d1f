//! The fit of one model on complete rows.

use super::mlp::Goal;
use super::target::Chosen;
use super::{
    Algorithm, Fitted, Training, boosting, dbscan, decision_tree, elastic_net, forecast, isolation_forest,
    kmeans, linear, logistic_regression, mlp, naive_bayes, nearest, pca, random_forest, svm,
};

/// Fits the algorithm of `training`; `classes` is the number of classes of the whole table.
///
/// # Errors
/// If the rows do not determine a model.
pub(crate) fn fit(
    training: &Training,
    columns: &[Vec<f64>],
    target: &Chosen,
    classes: usize,
    copies: usize,
) -> Result<Fitted, String> {
    match (&training.algorithm, target) {
        (Algorithm::KMeans { k, max_iter, standardize }, _) => {
            kmeans::fit(*k, *max_iter, *standardize, training.seed, columns).map(Fitted::Centroids)
        }
        (Algorithm::Dbscan(options), _) => dbscan::fit(options, columns).map(Fitted::Dbscan),
        (Algorithm::PcaT2Spe(options), _) => pca::fit(options, columns).map(Fitted::PcaMonitor),
        (Algorithm::IsolationForest(options), _) => {
            isolation_forest::fit(options, training.seed, columns).map(Fitted::IsolationForest)
        }
        (Algorithm::Forecast(options), Chosen::Numbers(target)) => forecast::fit(options, target),
        (Algorithm::Mlp(options), Chosen::Numbers(target)) => {
            varies(target)?;
            mlp::fit(options, training.seed, columns, &Goal::Numbers(target), copies).map(Fitted::Mlp)
        }
        (Algorithm::Mlp(options), Chosen::Classes(target)) => {
            has_classes(target)?;
            mlp::fit(options, training.seed, columns, &Goal::Classes(target, classes), copies)
                .map(Fitted::Mlp)
        }
        (algorithm, Chosen::Numbers(target)) => regression(algorithm, training.seed, columns, target),
        (algorithm, Chosen::Classes(target)) => {
            classification(algorithm, training.seed, columns, target, classes)
        }
        (algorithm, Chosen::None) => Err(format!("{} needs a target", algorithm.name())),
    }
}

fn varies(target: &[f64]) -> Result<(), String> {
    if target.windows(2).any(|pair| pair[0].to_bits() != pair[1].to_bits()) {
        return Ok(());
    }
    Err(format!(
        "the target is {} in each of the {} training rows, so there is nothing to learn; give rows that differ",
        target[0],
        target.len()
    ))
}

fn has_classes(target: &[u32]) -> Result<(), String> {
    if target.windows(2).any(|pair| pair[0] != pair[1]) {
        return Ok(());
    }
    Err(format!(
        "the target has one class only in the {} training rows, so there is nothing to learn; give rows of at \
         least two classes",
        target.len()
    ))
}

fn regression(
    algorithm: &Algorithm,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[f64],
) -> Result<Fitted, String> {
    varies(target)?;
    match algorithm {
        Algorithm::RandomForestRegressor(options) => {
            random_forest::fit_regressor(options, seed, columns, target).map(Fitted::Forest)
        }
        Algorithm::ExtraTreesRegressor(options) => {
            random_forest::fit_extra_trees(options, seed, columns, target).map(Fitted::Forest)
        }
        Algorithm::GradientBoostingRegressor(options) => {
            boosting::fit(options, seed, columns, target).map(Fitted::Forest)
        }
        Algorithm::DecisionTreeRegressor(options) => {
            decision_tree::fit_regressor(options, seed, columns, target).map(Fitted::Forest)
        }
        Algorithm::KnnRegressor(options) => {
            nearest::fit(options.k, options.standardize, columns, target.to_vec(), 0).map(Fitted::Nearest)
        }
        Algorithm::Lasso { alpha } => elastic_net::fit(*alpha, 1.0, columns, target).map(Fitted::Affine),
        Algorithm::ElasticNet { alpha, l1_ratio } => {
            elastic_net::fit(*alpha, *l1_ratio, columns, target).map(Fitted::Affine)
        }
        Algorithm::Ridge { alpha } => linear::fit_ridge(*alpha, columns, target).map(Fitted::Affine),
        Algorithm::Svr(options) => svm::fit_numbers(options, columns, target).map(Fitted::SupportVectors),
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
    has_classes(target)?;
    match algorithm {
        Algorithm::RandomForestClassifier(options) => {
            random_forest::fit_classifier(options, seed, columns, target, classes).map(Fitted::Forest)
        }
        Algorithm::LogisticRegression { alpha } => {
            logistic_regression::fit(*alpha, columns, target).map(Fitted::Logistic)
        }
        Algorithm::DecisionTreeClassifier(options) => {
            decision_tree::fit_classifier(options, seed, columns, target, classes).map(Fitted::Forest)
        }
        Algorithm::Svc(options) => {
            svm::fit_classes(options, columns, target, classes).map(Fitted::SupportVectors)
        }
        Algorithm::NaiveBayes => naive_bayes::fit(columns, target, classes).map(Fitted::NaiveBayes),
        Algorithm::KnnClassifier(options) => {
            let target = target.iter().map(|&class| f64::from(class)).collect();
            nearest::fit(options.k, options.standardize, columns, target, classes).map(Fitted::Nearest)
        }
        other => Err(format!("{} is not a classifier", other.name())),
    }
}
