//! `LabelEncoder` of ONNX: a table from keys to values, for numbers or for the names of classes.
//!
//! Source: `LabelEncoder` of `ai.onnx.ml`, versions 2 and 4.

use super::Reason;
use super::graph::{Elements, Node};
use super::operation::Encoding;

/// The table of a node over columns of numbers.
pub(super) fn numbers(node: &Node) -> Result<Encoding, Reason> {
    let (keys, values, otherwise) = table(node)?;
    let is_text = || "LabelEncoder between numbers and text is supported for classes only".to_owned();
    let (keys, values) = (as_numbers(&keys).ok_or_else(is_text)?, as_numbers(&values).ok_or_else(is_text)?);
    let otherwise = as_numbers(&otherwise).ok_or_else(is_text)?[0];
    let mut pairs: Vec<(f64, f64)> = keys.into_iter().zip(values).collect();
    // Of a key that comes twice the last value counts.
    pairs.reverse();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    pairs.dedup_by(|a, b| a.0.total_cmp(&b.0).is_eq());
    Ok(Encoding { pairs, otherwise })
}

/// The other names of classes.
pub(super) fn classes(node: &Node, classes: &Elements) -> Result<Elements, Reason> {
    let (keys, values, otherwise) = table(node)?;
    let places = |place: usize| match (classes, &keys) {
        (Elements::Integers(classes), Elements::Integers(keys)) => {
            Some(keys.iter().rposition(|key| *key == classes[place]))
        }
        (Elements::Texts(classes), Elements::Texts(keys)) => {
            Some(keys.iter().rposition(|key| *key == classes[place]))
        }
        _ => None,
    };
    let count = super::build::len(classes);
    let places: Option<Vec<Option<usize>>> = (0..count).map(places).collect();
    let places = places.ok_or("LabelEncoder has keys of another type than the classes")?;
    Ok(match (&values, &otherwise) {
        (Elements::Integers(values), Elements::Integers(otherwise)) => Elements::Integers(
            places.into_iter().map(|at| at.map_or(otherwise[0], |at| values[at])).collect(),
        ),
        (Elements::Texts(values), Elements::Texts(otherwise)) => {
            let name = |at: Option<usize>| at.map_or(&otherwise[0], |at| &values[at]).clone();
            Elements::Texts(places.into_iter().map(name).collect())
        }
        _ => return Err("LabelEncoder gives classes that are neither integers nor text".into()),
    })
}

/// Keys and values, as many, and the value of what is no key.
fn table(node: &Node) -> Result<(Elements, Elements, Elements), Reason> {
    let (keys, values) = (list(node, "keys"), list(node, "values"));
    let (Some(keys), Some(values)) = (keys, values) else {
        return Err("LabelEncoder without keys and values of one type is not supported".into());
    };
    if super::build::len(&keys) != super::build::len(&values) {
        return Err("LabelEncoder has not as many values as keys".into());
    }
    let tensor = node.attributes.get("default_tensor").and_then(|attribute| attribute.tensor.as_ref());
    let otherwise = match (tensor, &values) {
        (Some(tensor), _) if super::build::len(&tensor.values) == 1 => tensor.values.clone(),
        (_, Elements::Numbers(_)) => Elements::Numbers(vec![node.float("default_float", -0.0)]),
        (_, Elements::Integers(_)) => Elements::Integers(vec![node.integer("default_int64", -1)]),
        (_, Elements::Texts(_)) => {
            let text = node.text("default_string");
            Elements::Texts(vec![if text.is_empty() { "_Unused" } else { text }.to_owned()])
        }
    };
    Ok((keys, values, otherwise))
}

/// The elements of a list that may be kept in attributes of three types, or as a constant.
fn list(node: &Node, name: &str) -> Option<Elements> {
    if let Some(attribute) = node.attributes.get(&format!("{name}_tensor")) {
        return attribute.tensor.as_ref().map(|tensor| tensor.values.clone());
    }
    let integers = node.integers(&format!("{name}_int64s"));
    let texts = node.texts(&format!("{name}_strings"));
    let numbers = node.attributes.get(&format!("{name}_floats")).map(|attribute| &attribute.floats);
    match (integers.is_empty(), texts.is_empty(), numbers) {
        (false, true, None) => Some(Elements::Integers(integers.to_vec())),
        (true, false, None) => Some(Elements::Texts(texts.to_vec())),
        (true, true, Some(numbers)) => Some(Elements::Numbers(numbers.clone())),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "ONNX casts integers in this way, too")]
fn as_numbers(elements: &Elements) -> Option<Vec<f64>> {
    match elements {
        Elements::Numbers(numbers) => Some(numbers.clone()),
        Elements::Integers(integers) => Some(integers.iter().map(|n| *n as f64).collect()),
        Elements::Texts(_) => None,
    }
}
