//! Single decision trees: grown by smartcore, scored as a [`Forest`] of one tree.

use smartcore::tree::decision_tree_classifier::{DecisionTreeClassifier, DecisionTreeClassifierParameters};
use smartcore::tree::decision_tree_regressor::{DecisionTreeRegressor, DecisionTreeRegressorParameters};

use super::Forest;
use super::forest::Combination;
use super::hyper_parameters::TreeOptions;
use super::mirror::{ClassificationTree, SingleTreeMirror, reread, unreadable};
use super::random_forest::{Matrix, compared, matrix};

/// Grows a tree whose leaves are means.
pub(crate) fn fit_regressor(
    options: &TreeOptions,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[f64],
) -> Result<Forest, String> {
    let mut parameters = DecisionTreeRegressorParameters::default()
        .with_max_depth(options.max_depth)
        .with_min_samples_leaf(options.min_samples_leaf);
    parameters.seed = Some(seed);
    let grown: DecisionTreeRegressor<f64, f64, Matrix, Vec<f64>> =
        DecisionTreeRegressor::fit(&matrix(columns)?, &target.to_vec(), parameters)
            .map_err(|e| e.to_string())?;
    let mirror: SingleTreeMirror = reread(&grown)?;
    let tree = mirror.tree.and_then(|tree| tree.grown()).ok_or_else(unreadable)?;
    let forest = Forest::new(&[tree], Combination::Mean).ok_or_else(unreadable)?;
    compared(forest, columns, |sample| grown.predict(sample))
}

/// Grows a tree whose leaves are classes, split by Gini impurity; `target` holds the index of the class of each row.
pub(crate) fn fit_classifier(
    options: &TreeOptions,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[u32],
    classes: usize,
) -> Result<Forest, String> {
    let mut parameters = DecisionTreeClassifierParameters::default()
        .with_max_depth(options.max_depth)
        .with_min_samples_leaf(options.min_samples_leaf);
    parameters.seed = Some(seed);
    let grown: DecisionTreeClassifier<f64, u32, Matrix, Vec<u32>> =
        DecisionTreeClassifier::fit(&matrix(columns)?, &target.to_vec(), parameters)
            .map_err(|e| e.to_string())?;
    let mirror: ClassificationTree = reread(&grown)?;
    let value = |output: usize| mirror.classes.get(output).map(|&class| f64::from(class));
    let tree = mirror.grown(value).ok_or_else(unreadable)?;
    let forest = Forest::new(&[tree], Combination::Votes(classes)).ok_or_else(unreadable)?;
    compared(forest, columns, |sample| Ok(grown.predict(sample)?.into_iter().map(f64::from).collect()))
}
