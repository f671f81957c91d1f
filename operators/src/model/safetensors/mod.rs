//! Dense nets in safetensors files: read as PyTorch's `nn.Sequential` names them, and written of a trained `mlp`.
//!
//! ```text
//! 0.weight [16, 3]   0.bias [16]   |activation|   2.weight [1, 16]   2.bias [1]   |output_activation|
//! ```
//!
//! A file has weights and no graph: which activations stand between the layers says the statement, or the metadata under
//! `lineshaft` in the files that are written here. Source: `Linear` of PyTorch 2 for names and shapes (`outputs x inputs`); for the
//! file see `format.rs`.

mod format;
mod write;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::format::{File, Tensor};
use super::Classes;
use super::onnx::dense::{Dense, Then};
use super::onnx::{Imported, OnnxModel, Reason};

/// Where the description of a file that is written here stands in its metadata.
const METADATA: &str = "lineshaft";

/// The activations by their names in a statement.
const ACTIVATIONS: [(&str, Then); 8] = [
    ("none", Then::Nothing),
    ("relu", Then::Relu),
    ("leaky_relu", Then::LeakyRelu),
    ("elu", Then::Elu),
    ("sigmoid", Then::Sigmoid),
    ("tanh", Then::Tanh),
    ("softplus", Then::Softplus),
    ("softmax", Then::Softmax),
];

/// What the statement says of a file, in addition to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetOptions {
    /// The names of the features; `x_0` and so on if there are none.
    pub features: Vec<String>,
    /// The classes whose scores the outputs are.
    pub classes: Vec<String>,
    /// What stands between the layers: one for all, or one behind each layer but the last.
    pub activations: Vec<String>,
    /// What stands behind the last layer.
    pub output_activation: Option<String>,
    /// The layers in their order; that of their numbers if there are none.
    pub layers: Vec<String>,
    /// What the names of the tensors begin with.
    pub prefix: String,
}

/// What a file that is written here says of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Description {
    features: Vec<String>,
    activation: String,
    output_activation: String,
    classes: Option<Classes>,
}

/// The tensors of a layer.
#[derive(Default)]
struct Tensors<'a> {
    weight: Option<&'a Tensor<'a>>,
    bias: Option<&'a Tensor<'a>>,
}

/// The known names of activations.
pub(super) fn activation_names() -> Vec<&'static str> {
    ACTIVATIONS.map(|(name, _)| name).to_vec()
}

/// Reads a file.
///
/// # Errors
/// What in it is no dense net, or what is not known of it.
pub(super) fn read(bytes: &[u8], options: &NetOptions) -> Result<Imported, Reason> {
    let file = File::read(bytes).map_err(|reason| format!("no safetensors file: {reason}"))?;
    let description = description(&file)?;
    let tensors = by_layer(&file, &options.prefix)?;
    let order = order(&tensors, options)?;
    let is_single = tensors.values().filter_map(|layer| layer.weight.as_ref()).any(|w| w.dtype == "F32");
    let mut layers: Vec<Dense> = Vec::new();
    for name in &order {
        let layer = dense(&format!("{}{name}", options.prefix), &tensors[name])?;
        if let Some(before) = layers.last()
            && before.bias.len() != layer.weights[0].len()
        {
            let (given, taken) = (before.bias.len(), layer.weights[0].len());
            return Err(format!("layer {name:?} takes {taken} columns, and the one before it gives {given}"));
        }
        layers.push(layer);
    }
    let width = layers.first().map_or(0, |layer| layer.weights[0].len());
    let outputs = layers.last().map_or(0, |layer| layer.bias.len());
    let classes = classes(options, description.as_ref(), outputs)?;
    let described = description.as_ref();
    activate(&mut layers, options, described, classes.is_some())?;
    if classes.is_some() && outputs == 1 {
        // The probability of the second class is all that there is.
        layers.push(Dense {
            weights: vec![vec![-1.0], vec![1.0]],
            bias: vec![1.0, 0.0],
            then: Then::Nothing,
        });
    }
    let features = features(width, options, described)?;
    Ok(Imported { model: OnnxModel::chain(width, is_single, layers, classes.is_some()), features, classes })
}

fn description(file: &File<'_>) -> Result<Option<Description>, Reason> {
    let Some(text) = file.metadata.get(METADATA) else { return Ok(None) };
    let read = serde_json::from_str(text);
    read.map(Some).map_err(|error| format!("its metadata {METADATA:?} cannot be read: {error}"))
}

/// `0.weight` belongs to layer `0`, and `weight` alone to the layer without a name.
fn by_layer<'a>(file: &'a File<'a>, prefix: &str) -> Result<BTreeMap<String, Tensors<'a>>, Reason> {
    let mut layers: BTreeMap<String, Tensors<'a>> = BTreeMap::new();
    for (name, tensor) in file.tensors.iter().filter(|(name, _)| name.starts_with(prefix)) {
        let (layer, part) = name[prefix.len()..].rsplit_once('.').unwrap_or(("", &name[prefix.len()..]));
        let layer = layers.entry(layer.to_owned()).or_default();
        match part {
            "weight" => layer.weight = Some(tensor),
            "bias" => layer.bias = Some(tensor),
            _ => return Err(format!("tensor {name:?} is neither the weight nor the bias of a dense layer")),
        }
    }
    if layers.is_empty() {
        let names: Vec<&str> = file.tensors.keys().map(String::as_str).collect();
        return Err(format!("no tensor begins with {prefix:?}; it has {}", names.join(", ")));
    }
    Ok(layers)
}

/// The names of the layers, in the order in which they are applied.
fn order(tensors: &BTreeMap<String, Tensors<'_>>, options: &NetOptions) -> Result<Vec<String>, Reason> {
    if !options.layers.is_empty() {
        let unknown = options.layers.iter().find(|name| !tensors.contains_key(*name));
        let left_out = tensors.keys().find(|name| !options.layers.contains(name));
        return match (unknown, left_out) {
            (Some(name), _) => Err(format!("it has no layer {name:?}, but {}", joined(tensors))),
            (None, Some(name)) => Err(format!("the option `layers` leaves out layer {name:?}")),
            (None, None) if options.layers.len() == tensors.len() => Ok(options.layers.clone()),
            _ => Err("the option `layers` names a layer twice".to_owned()),
        };
    }
    let mut numbered: Vec<(&str, u64, &String)> = Vec::new();
    for name in tensors.keys() {
        let head = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = name[head.len()..].parse().ok().or((tensors.len() == 1).then_some(0));
        let same_head = numbered.first().is_none_or(|first| first.0 == head);
        let (Some(number), true) = (number, same_head) else {
            let layers = joined(tensors);
            return Err(format!(
                "which of its layers comes first? Give their order with the option `layers`: {layers}"
            ));
        };
        numbered.push((head, number, name));
    }
    numbered.sort_unstable();
    Ok(numbered.into_iter().map(|(_, _, name)| name.clone()).collect())
}

fn joined(tensors: &BTreeMap<String, Tensors<'_>>) -> String {
    tensors.keys().cloned().collect::<Vec<_>>().join(", ")
}

fn dense(name: &str, tensors: &Tensors<'_>) -> Result<Dense, Reason> {
    let Some(weight) = &tensors.weight else {
        return Err(format!("layer {name:?} has a bias and no weight"));
    };
    let [outputs, inputs] = weight.shape[..] else {
        let shape = &weight.shape;
        return Err(format!(
            "{name}.weight has the shape {shape:?}, and that of a dense layer is [outputs, inputs]"
        ));
    };
    if outputs == 0 || inputs == 0 {
        return Err(format!("{name}.weight is empty"));
    }
    let weights = numbers(&format!("{name}.weight"), weight)?;
    let bias = match &tensors.bias {
        None => vec![0.0; outputs],
        Some(bias) if bias.shape == [outputs] => numbers(&format!("{name}.bias"), bias)?,
        Some(bias) => {
            let shape = &bias.shape;
            return Err(format!("{name}.bias has the shape {shape:?}, and its layer has {outputs} outputs"));
        }
    };
    let weights = weights.chunks_exact(inputs).map(<[f64]>::to_vec).collect();
    Ok(Dense { weights, bias, then: Then::Nothing })
}

fn numbers(name: &str, tensor: &Tensor<'_>) -> Result<Vec<f64>, Reason> {
    let Some(numbers) = tensor.numbers() else {
        let found = &tensor.dtype;
        return Err(format!("{name} is {found}; F32 and F64 are read, so save the net as one of them"));
    };
    match numbers.iter().all(|number| number.is_finite()) {
        true => Ok(numbers),
        false => Err(format!("{name} has a number that is NaN or infinite")),
    }
}

/// The classes, and as many outputs; one output is enough for two classes.
fn classes(
    options: &NetOptions,
    description: Option<&Description>,
    outputs: usize,
) -> Result<Option<Classes>, Reason> {
    let described = description.and_then(|description| description.classes.clone());
    let classes = match options.classes.is_empty() {
        true => described,
        false => Some(Classes::Text(options.classes.clone())),
    };
    match (&classes, outputs) {
        (None, 1) => Ok(None),
        (None, outputs) => Err(format!("it has {outputs} outputs; name them with the option `classes`")),
        (Some(known), outputs) if known.len() == outputs.max(2) => Ok(classes),
        (Some(known), outputs) => {
            Err(format!("it has {outputs} outputs, and the option `classes` names {}", known.len()))
        }
    }
}

/// Puts the activations behind the layers.
fn activate(
    layers: &mut [Dense],
    options: &NetOptions,
    description: Option<&Description>,
    has_classes: bool,
) -> Result<(), Reason> {
    let Some((last, hidden)) = layers.split_last_mut() else { return Ok(()) };
    let output = match (&options.output_activation, description) {
        (Some(name), _) => activation(name)?,
        (None, Some(description)) => activation(&description.output_activation)?,
        (None, None) if has_classes && last.bias.len() == 1 => Then::Sigmoid,
        (None, None) if has_classes => Then::Softmax,
        (None, None) => Then::Nothing,
    };
    last.then = output;
    let described = description.map(|description| vec![description.activation.clone()]);
    let given = if options.activations.is_empty() { described } else { Some(options.activations.clone()) };
    let given = given.unwrap_or_default();
    let count = hidden.len();
    match given.len() {
        _ if count == 0 => {}
        0 => {
            return Err(
                "which activation stands between its layers? Give it with the option `activation`".to_owned()
            );
        }
        1 => {
            let one = activation(&given[0])?;
            hidden.iter_mut().for_each(|layer| layer.then = one);
        }
        known if known == count => {
            for (layer, name) in hidden.iter_mut().zip(&given) {
                layer.then = activation(name)?;
            }
        }
        known => {
            return Err(format!(
                "it has {count} hidden layers, and the option `activation` names {known}; name one for all, or one for each"
            ));
        }
    }
    Ok(())
}

fn activation(name: &str) -> Result<Then, Reason> {
    let known = ACTIVATIONS.iter().find(|(known, _)| *known == name);
    known.map(|(_, then)| *then).ok_or_else(|| {
        format!("there is no activation {name:?}; known are {}", activation_names().join(", "))
    })
}

fn features(
    width: usize,
    options: &NetOptions,
    description: Option<&Description>,
) -> Result<Vec<String>, Reason> {
    let described = description.map(|description| description.features.clone()).unwrap_or_default();
    let names = if options.features.is_empty() { described } else { options.features.clone() };
    match names.len() {
        0 => Ok((0..width).map(|column| format!("x_{column}")).collect()),
        given if given == width => Ok(names),
        given => Err(format!("it takes {width} features, and the option `features` names {given}")),
    }
}

#[cfg(test)]
mod tests;
