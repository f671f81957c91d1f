//! Models from ONNX files: read, checked and turned into steps over columns.
//!
//! ```text
//! bytes --protobuf.rs, graph.rs--> Graph --build.rs--> steps --operation.rs--> columns
//!                                                |       |-- ensemble.rs: trees, in the layout of our own forests
//!                                                |       |-- vectors.rs, vector_classes.rs: support vectors
//!                                                |       |-- encoder.rs: numbers for numbers
//!                                                |       `-- build/: tensors of three dimensions; gaps, categories
//!                                                `-- opset.rs: whether an operator is the one that we know by its name
//! dense.rs: the same steps for a file that has weights only
//! ```
//!
//! What scikit-learn, XGBoost, LightGBM and small nets of PyTorch and Keras export: tree ensembles, linear models, support
//! vectors, dense layers with their activations, scalers, and the arithmetic between them, for rows of numbers. An operator that is not known is named
//! when the program is checked; nothing is left out in silence. Source: ONNX 1.23, `ai.onnx` and `ai.onnx.ml`.

mod build;
pub(super) mod dense;
mod encoder;
mod ensemble;
mod graph;
mod operation;
mod opset;
mod protobuf;
mod vector_classes;
mod vectors;

use serde::{Deserialize, Serialize};

use super::{Classes, Features, Model, Task};
use build::Builder;
use graph::{Declared, Elements, Graph, element};
use operation::{Columns, Operand, Operation};

/// What is wrong with a file.
pub type Reason = String;

/// A model of an ONNX file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnnxModel {
    /// Columns of each input, in the order of the features.
    inputs: Vec<usize>,
    /// True if its numbers are floats, to which results are rounded.
    is_single: bool,
    steps: Vec<Step>,
    result: Wanted,
}

/// A node; its results get the next free numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Step {
    operation: Operation,
    operands: Vec<Operand>,
}

/// Which columns are the result, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Wanted {
    /// One number a row.
    Number(usize),
    /// The place of a class, and a score for each class.
    Class { place: usize, scores: usize },
    /// The class with the greatest score.
    Scores(usize),
}

/// What the statement says of a file, in addition to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnnxOptions {
    /// The names of the features; those of the file if there are none.
    pub features: Vec<String>,
    /// The output that is the result.
    pub output: Option<String>,
    /// The classes whose scores the output has.
    pub classes: Vec<String>,
}

/// A model with what it takes and gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The model.
    pub model: OnnxModel,
    /// The names of its features, in order.
    pub features: Vec<String>,
    /// Its classes, if it is a classifier.
    pub classes: Option<Classes>,
}

impl OnnxModel {
    /// Reads a file.
    ///
    /// # Errors
    /// What cannot be scored in it.
    pub fn read(bytes: &[u8], options: &OnnxOptions) -> Result<Imported, Reason> {
        let graph = Graph::of_model(bytes)?;
        let inputs = inputs(&graph, options)?;
        let builder = Builder::build(&graph, &inputs)?;
        let (result, classes) = result(&graph, &builder, options)?;
        let is_single = graph.inputs.iter().all(|input| input.element != element::DOUBLE);
        let features = features(&inputs, options)?;
        let inputs = inputs.into_iter().map(|(_, width)| width).collect();
        let model = Self { inputs, is_single, steps: builder.steps, result };
        Ok(Imported { model, features, classes })
    }

    /// All columns that come up, by their numbers.
    fn run(&self, features: &Features<'_>) -> Vec<Columns> {
        let rows = features.rows();
        let mut rest = features.columns();
        let mut slots = Vec::with_capacity(self.inputs.len() + 2 * self.steps.len());
        for width in &self.inputs {
            let (columns, others) = rest.split_at(*width);
            rest = others;
            slots.push(Columns::of(columns.iter().copied(), rows));
        }
        slots.iter_mut().for_each(|columns| self.round(columns));
        for Step { operation, operands } in &self.steps {
            let known = slots.len();
            operation.apply(operands, &mut slots, rows);
            slots[known..].iter_mut().for_each(|columns| self.round(columns));
        }
        slots
    }

    #[expect(clippy::cast_possible_truncation, reason = "the numbers of the model are floats")]
    fn round(&self, columns: &mut Columns) {
        if self.is_single {
            columns.values_mut().iter_mut().for_each(|x| *x = f64::from(*x as f32));
        }
    }

    /// The scores of the classes.
    fn scores(&self, features: &Features<'_>) -> Option<Columns> {
        let (Wanted::Class { scores: slot, .. } | Wanted::Scores(slot)) = self.result else { return None };
        Some(self.run(features).swap_remove(slot))
    }
}

impl Model for OnnxModel {
    fn task(&self) -> Task {
        if let Wanted::Number(_) = self.result { Task::Regression } else { Task::Classification }
    }

    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        let mut slots = self.run(features);
        match self.result {
            Wanted::Number(slot) | Wanted::Class { place: slot, .. } => {
                slots.swap_remove(slot).into_column(0)
            }
            Wanted::Scores(slot) => operation::greatest(&slots[slot]),
        }
    }

    fn predict_proba(&self, features: &Features<'_>, class: usize) -> Option<Vec<f64>> {
        let scores = self.scores(features)?;
        (class < scores.width()).then(|| scores.into_column(class))
    }
}

/// Name and number of columns of each input.
fn inputs(graph: &Graph, options: &OnnxOptions) -> Result<Vec<(String, usize)>, Reason> {
    let (given, fixed) = (options.features.len(), graph.inputs.iter().filter_map(width).sum::<usize>());
    let open = graph.inputs.iter().filter(|input| width(input).is_none()).count();
    let one = |input: &Declared| {
        if ![element::FLOAT, element::DOUBLE, element::INT64].contains(&input.element) {
            return Err(format!("input {:?} is no table of numbers", input.name));
        }
        let width = width(input).or_else(|| given.checked_sub(fixed).filter(|width| open == 1 && *width > 0));
        let width = width.ok_or_else(|| {
            format!(
                "input {:?} does not say how many columns it has; name them with the option `features`",
                input.name
            )
        })?;
        Ok((input.name.clone(), width))
    };
    if graph.inputs.is_empty() {
        return Err("it has no input".into());
    }
    graph.inputs.iter().map(one).collect()
}

/// The columns of an input of rows, if they are fixed.
fn width(input: &Declared) -> Option<usize> {
    if let [_, width] = input.dimensions[..] { width } else { None }
}

fn features(inputs: &[(String, usize)], options: &OnnxOptions) -> Result<Vec<String>, Reason> {
    let own = |(name, width): &(String, usize)| match width {
        1 => vec![name.clone()],
        width => (0..*width).map(|column| format!("{name}_{column}")).collect(),
    };
    let own: Vec<String> = inputs.iter().flat_map(own).collect();
    match options.features.len() {
        0 => Ok(own),
        given if given == own.len() => Ok(options.features.clone()),
        given => Err(format!("it takes {} features, and the option `features` names {given}", own.len())),
    }
}

/// Where the result is, and the classes of a classifier.
fn result(
    graph: &Graph,
    builder: &Builder,
    options: &OnnxOptions,
) -> Result<(Wanted, Option<Classes>), Reason> {
    let names: Vec<&str> = graph.outputs.iter().map(|output| output.name.as_str()).collect();
    let names = match &options.output {
        None => names,
        Some(name) if names.contains(&name.as_str()) => vec![name.as_str()],
        Some(name) => return Err(format!("it has no output {name:?}, but {}", names.join(", "))),
    };
    if let Some(label) = names.iter().find_map(|name| builder.label(name)) {
        let classes = classes(&label.classes)?;
        // Where scores are an output they may have been normalised.
        let mut given = names.iter().filter_map(|name| builder.table(name));
        let given = given.find(|slot| *slot != label.place && builder.width(*slot) == classes.len());
        let scores = given.unwrap_or(label.scores);
        return Ok((Wanted::Class { place: label.place, scores }, Some(classes)));
    }
    let slot = names.iter().find_map(|name| builder.table(name)).ok_or("it has no output of numbers")?;
    match (builder.width(slot), options.classes.len()) {
        (1, 0) => Ok((Wanted::Number(slot), None)),
        (width, 0) => Err(format!(
            "its output has {width} columns; name them with the option `classes`, or choose another with `output`"
        )),
        (width, given) if width == given => {
            Ok((Wanted::Scores(slot), Some(Classes::Text(options.classes.clone()))))
        }
        (width, given) => {
            Err(format!("its output has {width} columns, and the option `classes` names {given}"))
        }
    }
}

fn classes(classes: &Elements) -> Result<Classes, Reason> {
    match classes {
        Elements::Integers(classes) => Ok(Classes::Integer(classes.clone())),
        Elements::Texts(classes) => Ok(Classes::Text(classes.clone())),
        Elements::Numbers(_) => Err("its classes are neither integers nor text".into()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "few columns")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
