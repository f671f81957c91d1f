//! The messages of an ONNX file: a graph of nodes with attributes and constants.
//!
//! Source: `onnx.proto` of ONNX 1.23, of which these are the fields that a model of numbers in a table needs. What is kept outside
//! of the file is refused.

use std::collections::BTreeMap;

use super::Reason;
use super::opset::Opsets;
use super::protobuf::{Value, doubles_of, fields, floats_of, integers_of, short_integers_of};

/// A graph as it stands in the file.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) constants: BTreeMap<String, Tensor>,
    pub(super) inputs: Vec<Declared>,
    pub(super) outputs: Vec<Declared>,
    pub(super) opsets: Opsets,
}

/// A node: an operator with what it reads, what it gives and its attributes.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) operator: String,
    /// Empty for `ai.onnx`.
    pub(super) domain: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) attributes: BTreeMap<String, Attribute>,
}

/// An attribute; only what its type says is filled in.
#[derive(Clone, Debug, Default)]
pub(super) struct Attribute {
    pub(super) float: f64,
    pub(super) integer: i64,
    pub(super) text: String,
    pub(super) tensor: Option<Tensor>,
    pub(super) floats: Vec<f64>,
    pub(super) integers: Vec<i64>,
    pub(super) texts: Vec<String>,
}

/// A constant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tensor {
    pub(super) dimensions: Vec<usize>,
    pub(super) values: Elements,
}

/// Its elements, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elements {
    /// Floats and doubles.
    Numbers(Vec<f64>),
    /// Integers and booleans.
    Integers(Vec<i64>),
    /// Text.
    Texts(Vec<String>),
}

impl Default for Elements {
    fn default() -> Self {
        Self::Numbers(Vec::new())
    }
}

/// An input or output of the graph.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) name: String,
    /// `TensorProto.DataType`; 0 if it is no tensor.
    pub(super) element: i64,
    /// `None` for a dimension that is not fixed.
    pub(super) dimensions: Vec<Option<usize>>,
}

/// Numbers of `TensorProto.DataType`.
pub(super) mod element {
    pub(crate) const FLOAT: i64 = 1;
    pub(crate) const INT32: i64 = 6;
    pub(crate) const INT64: i64 = 7;
    pub(crate) const STRING: i64 = 8;
    pub(crate) const BOOL: i64 = 9;
    pub(crate) const DOUBLE: i64 = 11;
}

impl Graph {
    /// The graph of a model.
    pub(super) fn of_model(bytes: &[u8]) -> Result<Self, Reason> {
        let model = fields(bytes)?;
        let graph = model.iter().find(|(number, _)| *number == 7);
        let Some((_, graph)) = graph else { return Err("it has no graph: it is no ONNX model".into()) };
        if let Some((_, function)) = model.iter().find(|(number, _)| *number == 25) {
            return Err(format!("it defines function {}, which is not supported", full_name(*function)?));
        }
        Ok(Self { opsets: Opsets::of_model(&model)?, ..Self::of(graph.bytes()?)? })
    }

    fn of(bytes: &[u8]) -> Result<Self, Reason> {
        let mut graph = Self::default();
        for (number, value) in fields(bytes)? {
            match number {
                1 => graph.nodes.push(Node::of(value.bytes()?)?),
                5 => {
                    let (name, tensor) = Tensor::of(value.bytes()?)?;
                    graph.constants.insert(name, tensor);
                }
                11 => graph.inputs.push(Declared::of(value.bytes()?)?),
                12 => graph.outputs.push(Declared::of(value.bytes()?)?),
                15 => return Err("it has sparse constants, which are not supported".into()),
                _ => {}
            }
        }
        // Old files list constants as inputs, too.
        let Self { inputs, constants, .. } = &mut graph;
        inputs.retain(|input| !constants.contains_key(&input.name));
        Ok(graph)
    }
}

impl Node {
    fn of(bytes: &[u8]) -> Result<Self, Reason> {
        let mut node = Self::default();
        for (number, value) in fields(bytes)? {
            match number {
                1 => node.inputs.push(value.text()?),
                2 => node.outputs.push(value.text()?),
                4 => node.operator = value.text()?,
                7 => node.domain = value.text()?,
                5 => {
                    let (name, attribute) = Attribute::of(value.bytes()?)?;
                    node.attributes.insert(name, attribute);
                }
                _ => {}
            }
        }
        Ok(node)
    }

    /// The integers of an attribute; none if it is not there.
    pub(super) fn integers(&self, name: &str) -> &[i64] {
        self.attributes.get(name).map_or(&[], |attribute| &attribute.integers)
    }

    /// The numbers of an attribute, which may be kept as `<name>_as_tensor`; none if it is not there.
    pub(super) fn numbers(&self, name: &str) -> Result<Vec<f64>, Reason> {
        if let Some(attribute) = self.attributes.get(&format!("{name}_as_tensor")) {
            return attribute.tensor.as_ref().map_or(Ok(Vec::new()), Tensor::numbers);
        }
        Ok(self.attributes.get(name).map_or_else(Vec::new, |attribute| attribute.floats.clone()))
    }

    /// The texts of an attribute; none if it is not there.
    pub(super) fn texts(&self, name: &str) -> &[String] {
        self.attributes.get(name).map_or(&[], |attribute| &attribute.texts)
    }

    /// The text of an attribute; empty if it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", |attribute| &attribute.text)
    }

    /// The integer of an attribute.
    pub(super) fn integer(&self, name: &str, default: i64) -> i64 {
        self.attributes.get(name).map_or(default, |attribute| attribute.integer)
    }

    /// The float of an attribute.
    pub(super) fn float(&self, name: &str, default: f64) -> f64 {
        self.attributes.get(name).map_or(default, |attribute| attribute.float)
    }
}

impl Attribute {
    fn of(bytes: &[u8]) -> Result<(String, Self), Reason> {
        let (mut name, mut attribute, mut float) = (String::new(), Self::default(), Vec::new());
        for (number, value) in fields(bytes)? {
            match number {
                1 => name = value.text()?,
                2 => value.push_floats(&mut float)?,
                3 => attribute.integer = value.integer()?,
                4 => attribute.text = value.text()?,
                5 => attribute.tensor = Some(Tensor::of(value.bytes()?)?.1),
                6 | 11 => {
                    return Err(
                        "it has a graph within a node (such as If or Loop), which is not supported".into()
                    );
                }
                7 => value.push_floats(&mut attribute.floats)?,
                8 => value.push_integers(&mut attribute.integers)?,
                9 => attribute.texts.push(value.text()?),
                _ => {}
            }
        }
        attribute.float = float.first().copied().unwrap_or_default();
        Ok((name, attribute))
    }
}

impl Tensor {
    fn of(bytes: &[u8]) -> Result<(String, Self), Reason> {
        let (mut name, mut dimensions, mut kind, mut raw) = (String::new(), Vec::new(), 0, None);
        let (mut numbers, mut integers, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for (number, value) in fields(bytes)? {
            match number {
                1 => value.push_integers(&mut dimensions)?,
                2 => kind = value.integer()?,
                4 => value.push_floats(&mut numbers)?,
                5 | 7 => value.push_integers(&mut integers)?,
                6 => texts.push(value.text()?),
                8 => name = value.text()?,
                9 => raw = Some(value.bytes()?),
                10 => value.push_doubles(&mut numbers)?,
                13 => return Err(outside()),
                14 if value != Value::Varint(0) => return Err(outside()),
                _ => {}
            }
        }
        let values = match (kind, raw) {
            (element::FLOAT, Some(raw)) => Elements::Numbers(floats_of(raw)?),
            (element::DOUBLE, Some(raw)) => Elements::Numbers(doubles_of(raw)?),
            (element::INT64, Some(raw)) => Elements::Integers(integers_of(raw)?),
            (element::INT32, Some(raw)) => Elements::Integers(short_integers_of(raw)?),
            (element::BOOL, Some(raw)) => {
                Elements::Integers(raw.iter().map(|byte| i64::from(*byte)).collect())
            }
            (element::FLOAT | element::DOUBLE, None) => Elements::Numbers(numbers),
            (element::INT64 | element::INT32 | element::BOOL, None) => Elements::Integers(integers),
            (element::STRING, None) => Elements::Texts(texts),
            _ => return Err(format!("constant {name:?} is of type {kind}, which is not supported")),
        };
        let dimensions: Option<Vec<usize>> = dimensions.iter().map(|n| usize::try_from(*n).ok()).collect();
        let tensor = Self { dimensions: dimensions.unwrap_or_default(), values };
        let expected = tensor.dimensions.iter().try_fold(1_usize, |product, n| product.checked_mul(*n));
        if expected != Some(tensor.len()) {
            return Err(format!("constant {name:?} has not as many elements as its dimensions say"));
        }
        Ok((name, tensor))
    }

    fn len(&self) -> usize {
        match &self.values {
            Elements::Numbers(values) => values.len(),
            Elements::Integers(values) => values.len(),
            Elements::Texts(values) => values.len(),
        }
    }

    /// Its elements as numbers.
    #[expect(clippy::cast_precision_loss, reason = "ONNX casts integers in this way, too")]
    pub(super) fn numbers(&self) -> Result<Vec<f64>, Reason> {
        match &self.values {
            Elements::Numbers(numbers) => Ok(numbers.clone()),
            Elements::Integers(integers) => Ok(integers.iter().map(|n| *n as f64).collect()),
            Elements::Texts(_) => Err("a constant is text where a number belongs".into()),
        }
    }
}

/// Domain and name of a function.
fn full_name(function: Value<'_>) -> Result<String, Reason> {
    let (mut name, mut domain) = (String::new(), String::new());
    for (number, value) in fields(function.bytes()?)? {
        match number {
            1 => name = value.text()?,
            10 => domain = value.text()?,
            _ => {}
        }
    }
    Ok(format!("{name:?} of domain {domain:?}"))
}

fn outside() -> Reason {
    "its constants are kept in another file, which is not supported; export it with its data in one file"
        .into()
}

impl Declared {
    fn of(bytes: &[u8]) -> Result<Self, Reason> {
        let mut declared = Self::default();
        for (number, value) in fields(bytes)? {
            match number {
                1 => declared.name = value.text()?,
                2 => declared.read_type(value.bytes()?)?,
                _ => {}
            }
        }
        Ok(declared)
    }

    fn read_type(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        for (_, tensor) in fields(bytes)?.into_iter().filter(|(number, _)| *number == 1) {
            for (number, value) in fields(tensor.bytes()?)? {
                match number {
                    1 => self.element = value.integer()?,
                    2 => self.read_shape(value.bytes()?)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn read_shape(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        for (_, dimension) in fields(bytes)?.into_iter().filter(|(number, _)| *number == 1) {
            let fixed = fields(dimension.bytes()?)?.into_iter().find(|(number, _)| *number == 1);
            let fixed = fixed.map(|(_, value)| value.integer()).transpose()?;
            self.dimensions.push(fixed.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0));
        }
        Ok(())
    }
}
