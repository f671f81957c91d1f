//! Tree ensembles of ONNX: several numbers in each leaf, which are added up over the trees.
//!
//! Source: `TreeEnsembleRegressor` and `TreeEnsembleClassifier` of `ai.onnx.ml`, versions 1 and 3. Splits of `<` become
//! `<=` with the next number below, so that our own trees take them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Reason;
use super::graph::Node;
use super::operation::Columns;
use crate::model::Features;
use crate::model::forest::trees::{GrownNode, Trees};
use crate::model::score::class_index;

/// Trees with a list of numbers in each leaf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ensemble {
    trees: Trees,
    /// Numbers of a leaf.
    outputs: usize,
    /// By the place of the leaf all of its numbers.
    weights: Vec<f64>,
    /// By the place of the leaf its number, if a single one is added up; otherwise where its numbers begin.
    values: Vec<f64>,
    /// Added to the result; none or as many as numbers.
    base: Vec<f64>,
    aggregate: Aggregate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Aggregate {
    Sum,
    Average,
    Least,
    Greatest,
}

/// The lists of the attributes that describe the leaves.
pub(super) struct Leaves<'a> {
    /// What the names of the attributes begin with: `target` or `class`.
    pub(super) prefix: &'a str,
    /// Numbers of a leaf.
    pub(super) outputs: usize,
}

impl Ensemble {
    /// The ensemble of a node that reads so many columns.
    pub(super) fn of(node: &Node, leaves: &Leaves<'_>, width: usize) -> Result<Self, Reason> {
        let grown = Grown::of(node, width)?;
        let (mut trees, mut order) = (Trees::default(), Vec::new());
        for tree in &grown.trees {
            let laid = trees.push(&tree.nodes).ok_or("a tree of it has a link that leads nowhere")?;
            order.extend(laid.into_iter().map(|index| tree.first + index));
        }
        let by_node = grown.weights(node, leaves)?;
        let weights = order.iter().flat_map(|index| &by_node[index * leaves.outputs..][..leaves.outputs]);
        let weights: Vec<f64> = weights.copied().collect();
        let base = node.numbers("base_values")?;
        if !base.is_empty() && base.len() != leaves.outputs {
            return Err(format!("it has {} base values for {} outputs", base.len(), leaves.outputs));
        }
        let aggregate = match node.text("aggregate_function") {
            "" | "SUM" => Aggregate::Sum,
            "AVERAGE" => Aggregate::Average,
            "MIN" => Aggregate::Least,
            "MAX" => Aggregate::Greatest,
            other => return Err(format!("aggregate_function {other:?} is not supported")),
        };
        let values = match (aggregate, leaves.outputs) {
            (Aggregate::Sum | Aggregate::Average, 1) => weights.clone(),
            (_, outputs) => (0..order.len()).map(|place| super::number(place * outputs)).collect(),
        };
        Ok(Self { trees, outputs: leaves.outputs, weights, values, base, aggregate })
    }

    /// True if no leaf has a number below zero.
    pub(super) fn is_positive(&self) -> bool {
        self.weights.iter().all(|weight| *weight >= 0.0)
    }

    /// The columns of the numbers.
    pub(super) fn apply(&self, columns: &Columns, rows: usize) -> Columns {
        let slices: Vec<&[f64]> = columns.iter().collect();
        let features = Features::new(&slices);
        let start = match self.aggregate {
            Aggregate::Sum | Aggregate::Average => 0.0,
            Aggregate::Least => f64::INFINITY,
            Aggregate::Greatest => f64::NEG_INFINITY,
        };
        let mut results = Columns::filled(start, self.outputs, rows);
        match (self.aggregate, self.outputs) {
            (Aggregate::Sum | Aggregate::Average, 1) => {
                let sums = results.column_mut(0);
                self.trees.for_each_leaf(&features, &self.values, |row, value| sums[row] += value);
            }
            (Aggregate::Sum | Aggregate::Average, 2) => {
                let (first, second) = results.values_mut().split_at_mut(rows);
                self.trees.for_each_leaf(&features, &self.values, |row, leaf| {
                    let at = class_index(leaf);
                    first[row] += self.weights[at];
                    second[row] += self.weights[at + 1];
                });
            }
            (aggregate, _) => self.trees.for_each_leaf(&features, &self.values, |row, leaf| {
                let weights = &self.weights[class_index(leaf)..][..self.outputs];
                let results = results.values_mut().iter_mut().skip(row).step_by(rows);
                for (result, weight) in results.zip(weights) {
                    *result = match aggregate {
                        Aggregate::Sum | Aggregate::Average => *result + weight,
                        Aggregate::Least => result.min(*weight),
                        Aggregate::Greatest => result.max(*weight),
                    };
                }
            }),
        }
        self.finish(&mut results);
        results
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of trees")]
    fn finish(&self, results: &mut Columns) {
        let trees = self.trees.len() as f64;
        for output in 0..self.outputs {
            let base = self.base.get(output).copied().unwrap_or_default();
            for value in results.column_mut(output) {
                if self.aggregate == Aggregate::Average {
                    *value /= trees;
                }
                *value += base;
            }
        }
    }
}

/// The trees as the attributes list them.
struct Grown {
    trees: Vec<GrownTree>,
    /// Where a node is, counted over all trees, by the numbers of tree and node.
    places: HashMap<(i64, i64), usize>,
    nodes: usize,
}

struct GrownTree {
    /// How many nodes come before its own.
    first: usize,
    nodes: Vec<GrownNode>,
}

impl Grown {
    fn of(node: &Node, width: usize) -> Result<Self, Reason> {
        let (trees, ids) = (node.integers("nodes_treeids"), node.integers("nodes_nodeids"));
        let lists = Splits::of(node)?;
        if trees.is_empty() || ids.len() != trees.len() || !lists.have(trees.len()) {
            return Err("the lists of its nodes differ in length".into());
        }
        let places: HashMap<(i64, i64), usize> =
            trees.iter().zip(ids).enumerate().map(|(place, (tree, id))| ((*tree, *id), place)).collect();
        if places.len() != trees.len() {
            return Err("a tree of it has two nodes with one number".into());
        }
        let mut grown: Vec<GrownTree> = Vec::new();
        for (place, tree) in trees.iter().enumerate() {
            if place == 0 || trees[place - 1] != *tree {
                grown.push(GrownTree { first: place, nodes: Vec::new() });
            }
            let Some(current) = grown.last_mut() else { continue };
            let link = |id: i64| {
                let place = places.get(&(*tree, id)).and_then(|place| place.checked_sub(current.first));
                place.ok_or_else(|| format!("tree {tree} of it has no node {id}"))
            };
            let split = lists.split(place, width, link)?;
            current.nodes.push(GrownNode { value: 0.0, split });
        }
        Ok(Self { trees: grown, nodes: trees.len(), places })
    }

    /// The numbers of each node, in the order of the attributes; zeros where none are given.
    fn weights(&self, node: &Node, leaves: &Leaves<'_>) -> Result<Vec<f64>, Reason> {
        let list = |name: &str| node.integers(&format!("{}_{name}", leaves.prefix));
        let (trees, nodes, outputs) = (list("treeids"), list("nodeids"), list("ids"));
        let numbers = node.numbers(&format!("{}_weights", leaves.prefix))?;
        if [trees.len(), nodes.len(), outputs.len()] != [numbers.len(); 3] {
            return Err("the lists of its leaves differ in length".into());
        }
        let mut weights = vec![0.0; self.nodes * leaves.outputs];
        for (((tree, node), output), number) in trees.iter().zip(nodes).zip(outputs).zip(numbers) {
            let place = self.places.get(&(*tree, *node));
            let output = usize::try_from(*output).ok().filter(|output| *output < leaves.outputs);
            let (Some(place), Some(output)) = (place, output) else {
                return Err(format!("a leaf of it, node {node} of tree {tree}, is not there"));
            };
            weights[place * leaves.outputs + output] += number;
        }
        Ok(weights)
    }
}

/// The lists of the attributes that describe the splits.
struct Splits<'a> {
    modes: &'a [String],
    features: &'a [i64],
    thresholds: Vec<f64>,
    yes: &'a [i64],
    no: &'a [i64],
    is_double: bool,
}

impl<'a> Splits<'a> {
    fn of(node: &'a Node) -> Result<Self, Reason> {
        Ok(Self {
            modes: node.texts("nodes_modes"),
            features: node.integers("nodes_featureids"),
            thresholds: node.numbers("nodes_values")?,
            yes: node.integers("nodes_truenodeids"),
            no: node.integers("nodes_falsenodeids"),
            is_double: node.attributes.contains_key("nodes_values_as_tensor"),
        })
    }

    fn have(&self, nodes: usize) -> bool {
        let lengths = [self.features.len(), self.thresholds.len(), self.yes.len(), self.no.len()];
        self.modes.len() == nodes && lengths == [nodes; 4]
    }

    /// Feature, threshold and the children for `x <= threshold` and for the others; `None` for a leaf.
    fn split(
        &self,
        place: usize,
        width: usize,
        link: impl Fn(i64) -> Result<usize, Reason>,
    ) -> Result<Option<(usize, f64, usize, usize)>, Reason> {
        let mode = self.modes[place].as_str();
        if mode == "LEAF" {
            return Ok(None);
        }
        let feature = usize::try_from(self.features[place]).ok().filter(|feature| *feature < width);
        let feature =
            feature.ok_or_else(|| format!("it reads column {} of {width}", self.features[place]))?;
        let threshold = self.thresholds[place];
        let (yes, no) = (link(self.yes[place])?, link(self.no[place])?);
        Ok(Some(match mode {
            "BRANCH_LEQ" => (feature, threshold, yes, no),
            "BRANCH_LT" => (feature, self.below(threshold), yes, no),
            "BRANCH_GT" => (feature, threshold, no, yes),
            "BRANCH_GTE" => (feature, self.below(threshold), no, yes),
            other => return Err(format!("splits of {other} are not supported")),
        }))
    }

    /// The next number below a threshold, among those that a value can be.
    #[expect(clippy::cast_possible_truncation, reason = "the threshold was read as a float")]
    fn below(&self, threshold: f64) -> f64 {
        if self.is_double { threshold.next_down() } else { (threshold as f32).next_down().into() }
    }
}
