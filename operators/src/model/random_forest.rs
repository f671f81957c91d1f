//! Random forests: grown by smartcore, scored by [`Forest`].
//!
//! smartcore keeps its nodes private, so the trees are read through serde: postcard writes the fields in the order
//! of their declaration, and the structs below mirror that order. A prediction of the grown forest on training rows
//! is compared with ours after every training, so a change of layout in smartcore is an error, never a wrong model.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smartcore::ensemble::random_forest_classifier::{
    RandomForestClassifier, RandomForestClassifierParameters,
};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::error::Failed;
use smartcore::linalg::basic::matrix::DenseMatrix;

use super::algorithm::ForestOptions;
use super::forest::GrownNode;
use super::matrix::{gather, slices};
use super::{Features, Forest, Model};

type Matrix = DenseMatrix<f64>;
type Classifier = RandomForestClassifier<f64, u32, Matrix, Vec<u32>>;
type Regressor = RandomForestRegressor<f64, f64, Matrix, Vec<f64>>;

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
    let forest = trees.and_then(|trees| Forest::new(&trees, classes)).ok_or_else(unreadable)?;
    let sample = sample(columns);
    let expected = grown.predict(&matrix(&sample)?).map_err(|error| error.to_string())?;
    check(&forest, &sample, expected.iter().map(|&class| f64::from(class)))?;
    Ok(forest)
}

/// Grows a forest whose trees are averaged.
pub(crate) fn fit_regressor(
    options: &ForestOptions,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[f64],
) -> Result<Forest, String> {
    let grown = grow_regressor(options, seed, columns, target).map_err(|error| error.to_string())?;
    let mirror: RegressorMirror = reread(&grown)?;
    let trees = mirror.forest.and_then(|forest| forest.trees).ok_or_else(unreadable)?;
    let trees: Option<Vec<_>> = trees.iter().map(RegressionTree::grown).collect();
    let forest = trees.and_then(|trees| Forest::new(&trees, 0)).ok_or_else(unreadable)?;
    let sample = sample(columns);
    let expected = grown.predict(&matrix(&sample)?).map_err(|error| error.to_string())?;
    check(&forest, &sample, expected.into_iter())?;
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
        .with_max_depth(options.max_depth)
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
        .with_max_depth(options.max_depth)
        .with_min_samples_leaf(options.min_samples_leaf)
        .with_seed(seed);
    parameters.m = Some(options.m.unwrap_or_else(|| columns.len().div_ceil(3)).clamp(1, columns.len()));
    Regressor::fit(&column_matrix(columns)?, &target.to_vec(), parameters)
}

fn matrix(columns: &[Vec<f64>]) -> Result<Matrix, String> {
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

fn check(forest: &Forest, sample: &[Vec<f64>], expected: impl Iterator<Item = f64>) -> Result<(), String> {
    let predicted = forest.predict(&Features::new(&slices(sample)));
    let same = predicted.iter().map(|value| value.to_bits()).eq(expected.map(f64::to_bits));
    if same { Ok(()) } else { Err(unreadable()) }
}

fn unreadable() -> String {
    "the trees that smartcore grew could not be read: a bug, please report it".to_owned()
}

fn reread<T: DeserializeOwned>(grown: &impl Serialize) -> Result<T, String> {
    let bytes = postcard::to_allocvec(grown).map_err(|error| error.to_string())?;
    postcard::from_bytes(&bytes).map_err(|error| format!("{}: {error}", unreadable()))
}

/// `smartcore::ensemble::random_forest_classifier::RandomForestClassifier`.
#[derive(Deserialize)]
struct ClassifierMirror {
    trees: Option<Vec<ClassificationTree>>,
    classes: Option<Vec<u32>>,
    _samples: Option<Vec<Vec<bool>>>,
}

/// `smartcore::tree::decision_tree_classifier::DecisionTreeClassifier`.
#[derive(Deserialize)]
struct ClassificationTree {
    nodes: Vec<ClassificationNode>,
    _parameters: Option<ClassificationParameters>,
    _num_classes: usize,
    _classes: Vec<u32>,
    _depth: u16,
    _num_features: usize,
}

#[derive(Deserialize)]
struct ClassificationParameters {
    _criterion: Criterion,
    _max_depth: Option<u16>,
    _min_samples_leaf: usize,
    _min_samples_split: usize,
    _seed: Option<u64>,
}

#[derive(Deserialize)]
enum Criterion {
    Gini,
    Entropy,
    ClassificationError,
}

#[derive(Deserialize)]
struct ClassificationNode {
    output: usize,
    _n_node_samples: usize,
    split_feature: usize,
    split_value: Option<f64>,
    _split_score: Option<f64>,
    true_child: Option<usize>,
    false_child: Option<usize>,
    _impurity: Option<f64>,
}

impl ClassificationTree {
    fn grown(&self, value: impl Fn(usize) -> Option<f64>) -> Option<Vec<GrownNode>> {
        let node = |node: &ClassificationNode| {
            let links = (node.true_child, node.false_child);
            Some(GrownNode {
                value: value(node.output)?,
                split: split(node.split_feature, node.split_value, links)?,
            })
        };
        self.nodes.iter().map(node).collect()
    }
}

/// `smartcore::ensemble::random_forest_regressor::RandomForestRegressor`.
#[derive(Deserialize)]
struct RegressorMirror {
    forest: Option<BaseForest>,
}

#[derive(Deserialize)]
struct BaseForest {
    trees: Option<Vec<RegressionTree>>,
    _num_features: Option<usize>,
    _samples: Option<Vec<Vec<bool>>>,
}

/// `smartcore::tree::base_tree::BaseTree`.
#[derive(Deserialize)]
struct RegressionTree {
    nodes: Vec<RegressionNode>,
    _parameters: Option<RegressionParameters>,
    _depth: u16,
    _root_mass: f64,
}

#[derive(Deserialize)]
struct RegressionParameters {
    _max_depth: Option<u16>,
    _min_samples_leaf: usize,
    _min_samples_split: usize,
    _seed: Option<u64>,
    _splitter: Splitter,
}

#[derive(Deserialize)]
enum Splitter {
    Random,
    Best,
}

#[derive(Deserialize)]
struct RegressionNode {
    output: f64,
    split_feature: usize,
    split_value: Option<f64>,
    _split_score: Option<f64>,
    true_child: Option<usize>,
    false_child: Option<usize>,
}

impl RegressionTree {
    fn grown(&self) -> Option<Vec<GrownNode>> {
        let node = |node: &RegressionNode| {
            let links = (node.true_child, node.false_child);
            Some(GrownNode { value: node.output, split: split(node.split_feature, node.split_value, links)? })
        };
        self.nodes.iter().map(node).collect()
    }
}

type Split = (usize, f64, usize, usize);

/// `Some(None)` for a leaf, `None` if the node is neither leaf nor split.
fn split(feature: usize, value: Option<f64>, links: (Option<usize>, Option<usize>)) -> Option<Option<Split>> {
    match (links, value) {
        ((Some(low), Some(high)), Some(threshold)) => Some(Some((feature, threshold, low, high))),
        ((None, None), _) => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
