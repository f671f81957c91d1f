//! From a table to a model with its figures.

use arrow::array::{ArrayRef, RecordBatch};
use lineshaft_engine::error::{Error, Result};
use serde::{Deserialize, Serialize};

use super::matrix::{gather, numbers, slices};
use super::{
    Algorithm, Classes, Features, Fitted, Metric, Model, Task, Training, kmeans, linear, logistic_regression,
    metrics, random, random_forest,
};

/// A fitted model with what was learned about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// How it was trained.
    pub training: Training,
    /// Names of the features, in the order in which `predict` takes them.
    pub features: Vec<String>,
    /// The classes of a classifier.
    pub classes: Option<Classes>,
    /// Rows that it was fitted on.
    pub rows: usize,
    /// Rows that were held back for the metrics.
    pub test_rows: usize,
    /// Rows left out because a feature or the target was NULL, NaN or infinite.
    pub dropped_rows: usize,
    /// Figures on the held-back rows; empty if there were none.
    pub metrics: Vec<Metric>,
    /// The model.
    pub model: Fitted,
}

/// Fits a model on all columns of `table` except the target.
///
/// Which rows are held back depends on the seed and the number of the row only, so `table` must come in an order
/// that is the same each time.
///
/// # Errors
/// If a column is not a number, the target is missing, or the rows do not determine a model.
pub fn train(training: &Training, table: &RecordBatch) -> Result<Trained> {
    let name = &training.name;
    let error = |reason: String| Error::operator(format!("model {name:?}"), reason);
    let (features, columns) = feature_columns(training, table)?;
    let target = target(training, table)?;
    let (kept, dropped_rows) = complete_rows(&columns, &target, table.num_rows());
    if kept.is_empty() {
        return Err(error(no_rows(table.num_rows())));
    }
    let (test, train): (Vec<usize>, Vec<usize>) = kept.iter().partition(|&&row| held_back(training, row));
    if train.is_empty() {
        let reason = format!(
            "all {} complete rows fell into the held-back part; lower test_fraction or give more rows",
            test.len()
        );
        return Err(error(reason));
    }
    let model = fit(training, &gather(&columns, &train), &target.gather(&train)).map_err(error)?;
    let metrics = measure(&model, &gather(&columns, &test), &target.gather(&test), target.classes());
    Ok(Trained {
        training: training.clone(),
        features,
        classes: target.into_classes(),
        rows: train.len(),
        test_rows: test.len(),
        dropped_rows,
        metrics,
        model,
    })
}

fn no_rows(found: usize) -> String {
    if found == 0 {
        return "its training query gave no rows; check the files and the WHERE clause".to_owned();
    }
    format!(
        "each of the {found} training rows has a NULL or NaN; leave the empty column out or fill it with COALESCE"
    )
}

/// A hash of seed and row number decides, so the choice for a row does not depend on how many rows there are.
fn held_back(training: &Training, row: usize) -> bool {
    let bits = random::mix(random::mix(training.seed) ^ row as u64);
    random::unit(bits) < training.test_fraction
}

fn feature_columns(training: &Training, table: &RecordBatch) -> Result<(Vec<String>, Vec<Vec<f64>>)> {
    let schema = table.schema();
    let is_feature = |name: &String| Some(name) != training.target.as_ref();
    let names: Vec<String> =
        schema.fields().iter().map(|field| field.name().clone()).filter(is_feature).collect();
    if names.is_empty() {
        let reason = "its training query has no feature column beside the target";
        return Err(Error::operator(format!("model {:?}", training.name), reason));
    }
    let column = |(field, array): (&std::sync::Arc<arrow::datatypes::Field>, &ArrayRef)| {
        is_feature(field.name()).then(|| numbers(&training.name, field.name(), array))
    };
    let columns: Result<_> = schema.fields().iter().zip(table.columns()).filter_map(column).collect();
    Ok((names, columns?))
}

/// The target of each row.
enum Target {
    None,
    Numbers(Vec<f64>),
    Classes(Classes, Vec<Option<u32>>),
}

/// The target of chosen rows, complete.
enum Chosen {
    None,
    Numbers(Vec<f64>),
    Classes(Vec<u32>),
}

impl Target {
    fn is_known(&self, row: usize) -> bool {
        match self {
            Self::None => true,
            Self::Numbers(numbers) => numbers[row].is_finite(),
            Self::Classes(_, indices) => indices[row].is_some(),
        }
    }

    fn gather(&self, rows: &[usize]) -> Chosen {
        match self {
            Self::None => Chosen::None,
            Self::Numbers(numbers) => Chosen::Numbers(rows.iter().map(|&row| numbers[row]).collect()),
            Self::Classes(_, indices) => {
                Chosen::Classes(rows.iter().filter_map(|&row| indices[row]).collect())
            }
        }
    }

    fn classes(&self) -> usize {
        if let Self::Classes(classes, _) = self { classes.len() } else { 0 }
    }

    fn into_classes(self) -> Option<Classes> {
        if let Self::Classes(classes, _) = self { Some(classes) } else { None }
    }
}

fn target(training: &Training, table: &RecordBatch) -> Result<Target> {
    let Some(name) = &training.target else {
        return Ok(Target::None);
    };
    let model = &training.name;
    let Some(column) = table.column_by_name(name) else {
        let schema = table.schema();
        let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let reason =
            format!("target {name:?} is not a column of its training query, which has {}", known.join(", "));
        return Err(Error::operator(format!("model {model:?}"), reason));
    };
    if training.algorithm.task() == Task::Classification {
        let (classes, indices) = Classes::of(model, name, column)?;
        return Ok(Target::Classes(classes, indices));
    }
    if !column.data_type().is_numeric() {
        let reason = format!(
            "target {name:?} is {}, but {} predicts a number; use a classifier or another target",
            column.data_type(),
            training.algorithm.name()
        );
        return Err(Error::operator(format!("model {model:?}"), reason));
    }
    Ok(Target::Numbers(numbers(model, name, column)?))
}

fn complete_rows(columns: &[Vec<f64>], target: &Target, rows: usize) -> (Vec<usize>, usize) {
    let complete =
        |&row: &usize| target.is_known(row) && columns.iter().all(|column| column[row].is_finite());
    let kept: Vec<usize> = (0..rows).filter(complete).collect();
    let dropped = rows - kept.len();
    (kept, dropped)
}

fn fit(training: &Training, columns: &[Vec<f64>], target: &Chosen) -> Result<Fitted, String> {
    match (&training.algorithm, target) {
        (Algorithm::KMeans { k, max_iter, standardize }, _) => {
            kmeans::fit(*k, *max_iter, *standardize, training.seed, columns).map(Fitted::Centroids)
        }
        (algorithm, Chosen::Numbers(target)) => fit_regression(algorithm, training, columns, target),
        (algorithm, Chosen::Classes(target)) => fit_classification(algorithm, training, columns, target),
        (algorithm, Chosen::None) => Err(format!("{} needs a target", algorithm.name())),
    }
}

fn fit_regression(
    algorithm: &Algorithm,
    training: &Training,
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
            random_forest::fit_regressor(options, training.seed, columns, target).map(Fitted::Forest)
        }
        Algorithm::Ridge { alpha } => linear::fit_ridge(*alpha, columns, target).map(Fitted::Affine),
        Algorithm::LinearRegression => linear::fit_linear(columns, target).map(Fitted::Affine),
        other => Err(format!("{} is not a regression", other.name())),
    }
}

fn fit_classification(
    algorithm: &Algorithm,
    training: &Training,
    columns: &[Vec<f64>],
    target: &[u32],
) -> Result<Fitted, String> {
    if target.windows(2).all(|pair| pair[0] == pair[1]) {
        return Err(format!(
            "the target has one class only in the {} training rows, so there is nothing to learn; give rows of at \
             least two classes",
            target.len()
        ));
    }
    // The number of classes counts those of the held-back part as well.
    let classes = training_classes(target);
    match algorithm {
        Algorithm::RandomForestClassifier(options) => {
            random_forest::fit_classifier(options, training.seed, columns, target, classes)
                .map(Fitted::Forest)
        }
        Algorithm::LogisticRegression { alpha } => {
            logistic_regression::fit(*alpha, columns, target).map(Fitted::Logistic)
        }
        other => Err(format!("{} is not a classifier", other.name())),
    }
}

fn training_classes(target: &[u32]) -> usize {
    target.iter().max().map_or(0, |&class| class as usize + 1)
}

fn measure(model: &Fitted, columns: &[Vec<f64>], truth: &Chosen, classes: usize) -> Vec<Metric> {
    let slices = slices(columns);
    let features = Features::new(&slices);
    if features.rows() == 0 {
        return Vec::new();
    }
    match (truth, model) {
        (Chosen::None, Fitted::Centroids(model)) => metrics::clustering(&model.squared_distances(&features)),
        (Chosen::None, _) => Vec::new(),
        (Chosen::Numbers(truth), _) => metrics::regression(truth, &model.predict(&features)),
        (Chosen::Classes(truth), _) => measure_classes(model, &features, truth, classes),
    }
}

fn measure_classes(model: &Fitted, features: &Features<'_>, truth: &[u32], classes: usize) -> Vec<Metric> {
    let truth: Vec<usize> = truth.iter().map(|&class| class as usize).collect();
    let predicted: Vec<usize> = model.predict(features).into_iter().map(super::score::class_index).collect();
    let mut figures = metrics::classification(&truth, &predicted, classes);
    let none = || vec![0.0; features.rows()];
    let probabilities: Vec<Vec<f64>> =
        (0..classes).map(|class| model.predict_proba(features, class).unwrap_or_else(none)).collect();
    figures.extend(metrics::log_loss(&truth, &probabilities));
    figures
}

#[cfg(test)]
mod tests;
