//! Random forests: grown by smartcore, scored by [`Forest`].
//!
//! A prediction of the grown forest on training rows is compared with ours after every training, so a change of layout in
//! smartcore is an error, never a wrong model.

use smartcore::ensemble::extra_trees_regressor::{ExtraTreesRegressor, ExtraTreesRegressorParameters};
use smartcore::ensemble::random_forest_classifier::{
    RandomForestClassifier, RandomForestClassifierParameters,
};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::error::Failed;
use smartcore::linalg::basic::matrix::DenseMatrix;

use super::forest::Combination;
use super::hyper_parameters::ForestOptions;
use super::matrix::{gather, slices};
use super::mirror::{ClassifierMirror, RegressionTree, RegressorMirror, reread, unreadable};
use super::{Features, Forest, Model};

pub(crate) type Matrix = DenseMatrix<f64>;
type Classifier = RandomForestClassifier<f64, u32, Matrix, Vec<u32>>;
type Regressor = RandomForestRegressor<f64, f64, Matrix, Vec<f64>>;

/// The depth as smartcore counts it: levels of nodes, of which there is one more than splits on the way.
pub(crate) fn levels(splits: u16) -> u16 {
    splits.saturating_add(1)
}

/// Training rows on which our prediction is compared with smartcore's.
const COMPARED: usize = 32;

/// Grows a forest that votes for one of `classes`; `target` holds the index of the class of each row.
pub(crate) fn fit_classifier(
    options: &ForestOptions,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[u32],
    classes: usize,
) -> Result<Forest, String> {
    let grown = grow_classifier(options, seed, columns, target).map_err(|error| error.to_string())?;
    let mirror: ClassifierMirror = reread(&grown)?;
    let known = mirror.classes.ok_or_else(unreadable)?;
    let value = |output: usize| known.get(output).map(|&class| f64::from(class));
    let trees = mirror.trees.ok_or_else(unreadable)?;
    let trees: Option<Vec<_>> = trees.iter().map(|tree| tree.grown(value)).collect();
    let forest =
        trees.and_then(|trees| Forest::new(&trees, Combination::Votes(classes))).ok_or_else(unreadable)?;
    compared(forest, columns, |sample| Ok(grown.predict(sample)?.into_iter().map(f64::from).collect()))
}

/// Grows a forest whose trees are averaged.
pub(crate) fn fit_regressor(
    options: &ForestOptions,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[f64],
) -> Result<Forest, String> {
    let grown = grow_regressor(options, seed, columns, target).map_err(|error| error.to_string())?;
    averaged(&reread(&grown)?, columns, |sample| grown.predict(sample))
}

/// Grows a forest of extremely randomised trees: thresholds are drawn, not searched, and each tree sees all rows
/// (Geurts, Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 63, 2006).
pub(crate) fn fit_extra_trees(
    options: &ForestOptions,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[f64],
) -> Result<Forest, String> {
    let mut parameters = ExtraTreesRegressorParameters::default()
        .with_n_trees(usize::from(options.trees))
        .with_max_depth(levels(options.max_depth))
        .with_min_samples_leaf(options.min_samples_leaf)
        .with_seed(seed);
    parameters.m = Some(options.m.unwrap_or(columns.len()).clamp(1, columns.len()));
    let grown: ExtraTreesRegressor<f64, f64, Matrix, Vec<f64>> =
        ExtraTreesRegressor::fit(&matrix(columns)?, &target.to_vec(), parameters)
            .map_err(|e| e.to_string())?;
    averaged(&reread(&grown)?, columns, |sample| grown.predict(sample))
}

fn averaged(
    mirror: &RegressorMirror,
    columns: &[Vec<f64>],
    predict: impl Fn(&Matrix) -> Result<Vec<f64>, Failed>,
) -> Result<Forest, String> {
    let trees = mirror.forest.as_ref().and_then(|forest| forest.trees.as_ref()).ok_or_else(unreadable)?;
    let trees: Option<Vec<_>> = trees.iter().map(RegressionTree::grown).collect();
    let forest = trees.and_then(|trees| Forest::new(&trees, Combination::Mean)).ok_or_else(unreadable)?;
    compared(forest, columns, predict)
}

/// The forest with the numbers of training rows in its nodes, if it predicts some of the rows as smartcore does.
pub(crate) fn compared(
    mut forest: Forest,
    columns: &[Vec<f64>],
    predict: impl Fn(&Matrix) -> Result<Vec<f64>, Failed>,
) -> Result<Forest, String> {
    let sample = sample(columns);
    let expected = predict(&matrix(&sample)?).map_err(|error| error.to_string())?;
    let predicted = forest.predict(&Features::new(&slices(&sample)));
    let same = predicted.iter().map(|value| value.to_bits()).eq(expected.into_iter().map(f64::to_bits));
    if !same {
        return Err(unreadable());
    }
    forest.count(&Features::new(&slices(columns)));
    Ok(forest)
}

fn grow_classifier(
    options: &ForestOptions,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[u32],
) -> Result<Classifier, Failed> {
    let mut parameters = RandomForestClassifierParameters::default()
        .with_n_trees(options.trees)
        .with_max_depth(levels(options.max_depth))
        .with_min_samples_leaf(options.min_samples_leaf)
        .with_seed(seed);
    parameters.m = Some(options.m.unwrap_or_else(|| columns.len().isqrt()).clamp(1, columns.len()));
    Classifier::fit(&column_matrix(columns)?, &target.to_vec(), parameters)
}

fn grow_regressor(
    options: &ForestOptions,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[f64],
) -> Result<Regressor, Failed> {
    let mut parameters = RandomForestRegressorParameters::default()
        .with_n_trees(usize::from(options.trees))
        .with_max_depth(levels(options.max_depth))
        .with_min_samples_leaf(options.min_samples_leaf)
        .with_seed(seed);
    parameters.m = Some(options.m.unwrap_or_else(|| columns.len().div_ceil(3)).clamp(1, columns.len()));
    Regressor::fit(&column_matrix(columns)?, &target.to_vec(), parameters)
}

pub(crate) fn matrix(columns: &[Vec<f64>]) -> Result<Matrix, String> {
    column_matrix(columns).map_err(|error| error.to_string())
}

/// The columns as smartcore takes them.
pub(crate) fn column_matrix(columns: &[Vec<f64>]) -> Result<Matrix, Failed> {
    let rows = columns.first().map_or(0, Vec::len);
    Matrix::new(rows, columns.len(), columns.concat(), true)
}

fn sample(columns: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let rows = columns.first().map_or(0, Vec::len);
    let step = (rows / COMPARED).max(1);
    gather(columns, &(0..rows).step_by(step).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
