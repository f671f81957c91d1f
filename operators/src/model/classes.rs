//! The classes of a classifier: the distinct values of its target, with their type.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use lineshaft_engine::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A target with more distinct values than this is not a class but a number or a name.
const MOST_CLASSES: usize = 256;

/// The classes, ascending. A class is known to the model by its index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Classes {
    /// `BOOLEAN`: false, then true.
    Boolean(Vec<bool>),
    /// Integers of any width, given back as `BIGINT`.
    Integer(Vec<i64>),
    /// `DOUBLE` and other numbers.
    Float(Vec<f64>),
    /// `TEXT`.
    Text(Vec<String>),
}

impl Classes {
    /// The classes of a target column, and the index of each row's class (`None` for NULL and NaN).
    ///
    /// # Errors
    /// If the type cannot be a class, or there are too many.
    pub(crate) fn of(model: &str, target: &str, column: &ArrayRef) -> Result<(Self, Vec<Option<u32>>)> {
        let data_type = column.data_type();
        let (classes, indices) = match data_type {
            DataType::Boolean => {
                let (classes, indices) = distinct(column.as_boolean().iter());
                (Self::Boolean(classes), indices)
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) => {
                let text = cast(column, &DataType::Utf8)?;
                let owned = text.as_string::<i32>().iter().map(|value| value.map(str::to_owned));
                let (classes, indices) = distinct(owned);
                (Self::Text(classes), indices)
            }
            DataType::UInt64 => return Err(not_a_class(model, target, data_type)),
            _ if data_type.is_integer() => {
                let integers = cast(column, &DataType::Int64)?;
                let (classes, indices) = distinct(integers.as_primitive::<Int64Type>().iter());
                (Self::Integer(classes), indices)
            }
            _ if data_type.is_numeric() => {
                let floats = cast(column, &DataType::Float64)?;
                let floats = floats.as_primitive::<Float64Type>();
                if let Some(number) = floats.iter().flatten().find(|v| v.is_finite() && v.fract() != 0.0) {
                    return Err(not_whole(model, target, number));
                }
                let known = floats.iter().map(|v| v.filter(|v| v.is_finite()).map(Sortable));
                let (classes, indices) = distinct(known);
                (Self::Float(classes.into_iter().map(|value| value.0).collect()), indices)
            }
            _ => return Err(not_a_class(model, target, data_type)),
        };
        let found = classes.len();
        if found > MOST_CLASSES {
            let reason = format!(
                "target {target:?} has {found} distinct values, more than the {MOST_CLASSES} classes a classifier takes; \
                 use a regressor, or group the values with CASE"
            );
            return Err(Error::operator(format!("model {model:?}"), reason));
        }
        Ok((classes, indices))
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        match self {
            Self::Boolean(classes) => classes.len(),
            Self::Integer(classes) => classes.len(),
            Self::Float(classes) => classes.len(),
            Self::Text(classes) => classes.len(),
        }
    }

    /// True if there is no class.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the target, and so of a prediction.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Boolean(_) => DataType::Boolean,
            Self::Integer(_) => DataType::Int64,
            Self::Float(_) => DataType::Float64,
            Self::Text(_) => DataType::Utf8,
        }
    }

    /// The classes as text, ascending by value.
    pub fn labels(&self) -> Vec<String> {
        match self {
            Self::Boolean(classes) => classes.iter().map(ToString::to_string).collect(),
            Self::Integer(classes) => classes.iter().map(ToString::to_string).collect(),
            Self::Float(classes) => classes.iter().map(ToString::to_string).collect(),
            Self::Text(classes) => classes.clone(),
        }
    }

    /// The index of the class that is written `label`.
    pub fn index_of(&self, label: &str) -> Option<usize> {
        self.labels().iter().position(|known| known == label)
    }

    /// Indices back to values; `None` is NULL.
    pub(crate) fn values(&self, indices: impl Iterator<Item = Option<usize>>) -> ArrayRef {
        match self {
            Self::Boolean(classes) => {
                Arc::new(indices.map(|i| i.map(|i| classes[i])).collect::<BooleanArray>())
            }
            Self::Integer(classes) => {
                Arc::new(indices.map(|i| i.map(|i| classes[i])).collect::<Int64Array>())
            }
            Self::Float(classes) => {
                Arc::new(indices.map(|i| i.map(|i| classes[i])).collect::<Float64Array>())
            }
            Self::Text(classes) => {
                Arc::new(indices.map(|i| i.map(|i| classes[i].as_str())).collect::<StringArray>())
            }
        }
    }
}

/// A measured value has nearly as many classes as rows, none of which comes again.
fn not_whole(model: &str, target: &str, number: f64) -> Error {
    let reason = format!(
        "target {target:?} is {number} in a row, but numbers that are classes are whole; use a regressor, or CAST it to TEXT"
    );
    Error::operator(format!("model {model:?}"), reason)
}

fn not_a_class(model: &str, target: &str, data_type: &DataType) -> Error {
    let reason = format!("target {target:?} is {data_type}; a class is BOOLEAN, TEXT, BIGINT or DOUBLE");
    Error::operator(format!("model {model:?}"), reason)
}

fn distinct<T: Ord + Clone>(values: impl Iterator<Item = Option<T>>) -> (Vec<T>, Vec<Option<u32>>) {
    let values: Vec<Option<T>> = values.collect();
    let classes: Vec<T> = values.iter().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let index = |value: &T| classes.binary_search(value).ok().and_then(|index| u32::try_from(index).ok());
    let indices = values.iter().map(|value| value.as_ref().and_then(index)).collect();
    (classes, indices)
}

/// A finite `f64` in numeric order; both zeros are one class.
#[derive(Clone, Copy)]
struct Sortable(f64);

impl Ord for Sortable {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0 + 0.0).total_cmp(&(other.0 + 0.0))
    }
}

impl PartialOrd for Sortable {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sortable {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Sortable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_keep_their_type_and_order() {
        let column: ArrayRef =
            Arc::new(StringArray::from(vec![Some("worn"), None, Some("good"), Some("worn")]));
        let (classes, indices) = Classes::of("m", "state", &column).unwrap();
        assert_eq!(classes, Classes::Text(vec!["good".into(), "worn".into()]));
        assert_eq!(indices, [Some(1), None, Some(0), Some(1)]);
        let values = classes.values([Some(1), None].into_iter());
        assert_eq!(values.as_string::<i32>(), &StringArray::from(vec![Some("worn"), None]));
    }

    #[test]
    fn minus_zero_is_zero_and_nan_is_no_class() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, 1.0]));
        let (classes, indices) = Classes::of("m", "y", &column).unwrap();
        assert_eq!(classes.len(), 2);
        assert_eq!(indices, [Some(0), Some(0), None, Some(1)]);
    }

    #[test]
    fn a_measured_number_is_refused_as_a_class() {
        let column: ArrayRef = Arc::new(Float64Array::from_iter_values((0..1_000).map(f64::from)));
        let error = Classes::of("wear", "bar", &column).unwrap_err().to_string();
        assert!(error.contains("\"bar\" has 1000 distinct values"), "{error}");
        assert!(error.contains("regressor"), "{error}");
        let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 0.25, 1.0]));
        let error = Classes::of("wear", "bar", &column).unwrap_err().to_string();
        assert!(error.contains("\"bar\" is 0.25 in a row") && error.contains("CAST"), "{error}");
    }
}
