//! Trees that smartcore grew, read through serde.
//!
//! smartcore keeps its nodes private: postcard writes the fields in the order of their declaration, and the structs here
//! mirror that order. What is read is compared with smartcore's own predictions after every training.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::forest::GrownNode;

pub(crate) fn unreadable() -> String {
    "the trees that smartcore grew could not be read: a bug, please report it".to_owned()
}

pub(crate) fn reread<T: DeserializeOwned>(grown: &impl Serialize) -> Result<T, String> {
    let bytes = postcard::to_allocvec(grown).map_err(|error| error.to_string())?;
    postcard::from_bytes(&bytes).map_err(|error| format!("{}: {error}", unreadable()))
}

/// `smartcore::ensemble::random_forest_classifier::RandomForestClassifier`.
#[derive(Deserialize)]
pub(crate) struct ClassifierMirror {
    pub(crate) trees: Option<Vec<ClassificationTree>>,
    pub(crate) classes: Option<Vec<u32>>,
    _samples: Option<Vec<Vec<bool>>>,
}

/// `smartcore::tree::decision_tree_classifier::DecisionTreeClassifier`.
#[derive(Deserialize)]
pub(crate) struct ClassificationTree {
    nodes: Vec<ClassificationNode>,
    _parameters: Option<ClassificationParameters>,
    _num_classes: usize,
    pub(crate) classes: Vec<u32>,
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
    pub(crate) fn grown(&self, value: impl Fn(usize) -> Option<f64>) -> Option<Vec<GrownNode>> {
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

/// `smartcore::ensemble::random_forest_regressor::RandomForestRegressor`, and `ExtraTreesRegressor`.
#[derive(Deserialize)]
pub(crate) struct RegressorMirror {
    pub(crate) forest: Option<BaseForest>,
}

#[derive(Deserialize)]
pub(crate) struct BaseForest {
    pub(crate) trees: Option<Vec<RegressionTree>>,
    _num_features: Option<usize>,
    _samples: Option<Vec<Vec<bool>>>,
}

/// `smartcore::tree::base_tree::BaseTree`.
#[derive(Deserialize)]
pub(crate) struct RegressionTree {
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
    pub(crate) fn grown(&self) -> Option<Vec<GrownNode>> {
        let node = |node: &RegressionNode| {
            let links = (node.true_child, node.false_child);
            Some(GrownNode { value: node.output, split: split(node.split_feature, node.split_value, links)? })
        };
        self.nodes.iter().map(node).collect()
    }
}

/// `smartcore::tree::decision_tree_regressor::DecisionTreeRegressor`.
#[derive(Deserialize)]
pub(crate) struct SingleTreeMirror {
    pub(crate) tree: Option<RegressionTree>,
    _num_features: Option<usize>,
}

/// `smartcore::xgboost::xgb_regressor::XGRegressor`; its parameters, which follow, are not read.
#[derive(Deserialize)]
pub(crate) struct BoostedMirror {
    pub(crate) trees: Option<Vec<BoostedNode>>,
}

/// `smartcore::xgboost::xgb_regressor::TreeRegressor`.
#[derive(Deserialize)]
pub(crate) struct BoostedNode {
    left: Option<Box<Self>>,
    right: Option<Box<Self>>,
    value: f64,
    threshold: f64,
    feature: usize,
    _split_score: f64,
}

impl BoostedNode {
    /// The nodes of the tree, this one first.
    pub(crate) fn grown(&self) -> Vec<GrownNode> {
        let mut nodes = Vec::new();
        self.push(&mut nodes);
        nodes
    }

    fn push(&self, nodes: &mut Vec<GrownNode>) -> usize {
        let place = nodes.len();
        nodes.push(GrownNode { value: self.value, split: None });
        if let (Some(left), Some(right)) = (&self.left, &self.right) {
            let (low, high) = (left.push(nodes), right.push(nodes));
            nodes[place].split = Some((self.feature, self.threshold, low, high));
        }
        place
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
