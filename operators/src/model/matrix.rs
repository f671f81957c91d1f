//! Feature columns: what a model reads.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use lineshaft_engine::error::{Error, Result};

/// Columns of equal length, one per feature.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    columns: &'a [&'a [f64]],
    rows: usize,
}

impl<'a> Features<'a> {
    /// Features from their columns.
    ///
    /// # Panics
    /// If the columns differ in length.
    pub fn new(columns: &'a [&'a [f64]]) -> Self {
        let rows = columns.first().map_or(0, |column| column.len());
        assert!(columns.iter().all(|column| column.len() == rows), "columns of one length");
        Self { columns, rows }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns.
    pub fn columns(&self) -> &'a [&'a [f64]] {
        self.columns
    }
}

/// `rows` of `columns`, copied.
pub(crate) fn gather(columns: &[Vec<f64>], rows: &[usize]) -> Vec<Vec<f64>> {
    columns.iter().map(|column| rows.iter().map(|&row| column[row]).collect()).collect()
}

/// The columns as slices, for [`Features::new`].
pub(crate) fn slices(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

/// The text of each key. A number is first made a double, so that 7 is the same key as an integer and as a double.
///
/// # Errors
/// If the type has no text.
pub(crate) fn key_texts(array: &ArrayRef) -> Result<Vec<Option<String>>> {
    let is_number = array.data_type().is_numeric() || *array.data_type() == DataType::Boolean;
    let texts = |keys: &ArrayRef| -> Result<Vec<Option<String>>> {
        let texts = cast(keys, &DataType::Utf8)?;
        Ok(texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
    };
    let mut keys = if is_number { texts(&cast(array, &DataType::Float64)?)? } else { texts(array)? };
    if array.data_type().is_integer() {
        // A double does not tell large ones apart.
        let integers = cast(array, &DataType::Int64)?;
        let integers = integers.as_primitive::<Int64Type>().iter();
        for (key, large) in keys.iter_mut().zip(integers) {
            if let Some(large) = large.filter(|integer| integer.unsigned_abs() > EXACT) {
                *key = Some(large.to_string());
            }
        }
    }
    Ok(keys)
}

/// All whole numbers up to it are doubles, 2^53.
const EXACT: u64 = 1 << 53;

/// Numbers and booleans as `f64`; NULL becomes NaN.
///
/// # Errors
/// If the column is neither.
pub(crate) fn numbers(model: &str, column: &str, array: &ArrayRef) -> Result<Vec<f64>> {
    let floats = float_array(model, column, array)?;
    if floats.null_count() == 0 {
        return Ok(floats.values().to_vec());
    }
    Ok(floats.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

/// Numbers and booleans as an array of `f64`.
///
/// # Errors
/// If the column is neither.
pub(crate) fn float_array(model: &str, column: &str, array: &ArrayRef) -> Result<Float64Array> {
    if let Some(floats) = array.as_primitive_opt::<Float64Type>() {
        return Ok(floats.clone());
    }
    let data_type = array.data_type();
    if !(data_type.is_numeric() || matches!(data_type, DataType::Boolean | DataType::Null)) {
        let reason = format!(
            "feature {column:?} is {data_type}, not a number; leave it out of the query or turn it into numbers with CASE"
        );
        return Err(Error::operator(format!("model {model:?}"), reason));
    }
    Ok(cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}
