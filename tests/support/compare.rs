//! Rows as cells of text, compared as bags: floats to nine digits, everything else to the letter.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use lineshaft::Batch;

/// Relative, and absolute below one.
const TOLERANCE: f64 = 1e-9;

/// The most rows of a difference that are shown.
const SHOWN: usize = 12;

/// The cells of a row.
pub(crate) type Row = Vec<String>;

/// The rows of batches in the order that a file has them in.
pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows: Vec<Row> = batches.iter().flat_map(cells).collect();
    rows.sort_by(|a, b| by_value(a, b));
    rows
}

/// The rows that are left when the weights are added up; what is taken back must have been there.
pub(crate) fn consolidated(batches: &[Batch]) -> Result<Vec<Row>, String> {
    let mut weights: BTreeMap<Row, i64> = BTreeMap::new();
    for batch in batches {
        for (place, row) in cells(batch.rows()).into_iter().enumerate() {
            *weights.entry(row).or_default() += batch.weights().map_or(1, |weights| weights.value(place));
        }
    }
    let mut rows = Vec::new();
    for (row, weight) in weights {
        let times = usize::try_from(weight).map_err(|_| format!("the row {row:?} is left {weight} times"))?;
        rows.extend(std::iter::repeat_n(row, times));
    }
    rows.sort_by(|a, b| by_value(a, b));
    Ok(rows)
}

/// Which columns are floats.
pub(crate) fn floats(batches: &[RecordBatch]) -> Vec<bool> {
    let is_float = |column: &ArrayRef| matches!(column.data_type(), DataType::Float32 | DataType::Float64);
    batches.first().map(|batch| batch.columns().iter().map(is_float).collect()).unwrap_or_default()
}

fn cells(batch: &RecordBatch) -> Vec<Row> {
    let row = |row| batch.columns().iter().map(|column| cell(column, row)).collect();
    (0..batch.num_rows()).map(row).collect()
}

/// A value as text without blanks, or in quotes. Times of the first day of Unix go without their date.
fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".to_owned();
    }
    let text = array_value_to_string(column, row).unwrap();
    let is_text = match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => true,
        DataType::Timestamp(..) => return text.trim_start_matches("1970-01-01T").to_owned(),
        _ => false,
    };
    let is_plain = !text.is_empty() && !text.contains(char::is_whitespace) && !text.starts_with('\'');
    match is_plain && !(is_text && text == "NULL") {
        true => text,
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

/// Numbers by their value, all else by its text.
fn by_value(a: &[String], b: &[String]) -> Ordering {
    let number = |cell: &str| cell.parse::<f64>().ok();
    let cell = |(a, b): (&String, &String)| match (number(a), number(b)) {
        (Some(x), Some(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        _ => a.cmp(b),
    };
    a.iter().zip(b).map(cell).find(|order| order.is_ne()).unwrap_or(a.len().cmp(&b.len()))
}

/// The rows that only one side has, as lines with `-` (only expected) and `+` (only found).
pub(crate) fn difference(found: &[Row], expected: &[Row], floats: &[bool]) -> Option<String> {
    let (mut found, mut expected) = (side_by_side(found, floats), side_by_side(expected, floats));
    let equal = |a: &Row, b: &Row| {
        a.len() == b.len() && a.iter().zip(b).enumerate().all(|(at, (a, b))| near(a, b, floats.get(at)))
    };
    if found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| equal(a, b)) {
        return None;
    }
    expected.retain(|row| match found.iter().position(|other| equal(other, row)) {
        Some(at) => {
            found.remove(at);
            false
        }
        None => true,
    });
    let mut lines: Vec<String> = expected.iter().map(|row| format!("    - {}", row.join(" "))).collect();
    lines.truncate(SHOWN);
    lines.extend(found.iter().take(SHOWN).map(|row| format!("    + {}", row.join(" "))));
    (!lines.is_empty()).then(|| {
        format!("{}\n    ({} rows missing, {} too many)", lines.join("\n"), expected.len(), found.len())
    })
}

/// Sorted so that rows whose floats differ in the last digits come at the same place.
fn side_by_side(rows: &[Row], floats: &[bool]) -> Vec<Row> {
    let mut rows = rows.to_vec();
    let is_float = |at: usize| floats.get(at).copied().unwrap_or_default();
    rows.sort_by_cached_key(|row| {
        let (of_floats, others): (Vec<_>, Vec<_>) = row.iter().enumerate().partition(|(at, _)| is_float(*at));
        let others: Vec<String> = others.into_iter().map(|(_, cell)| cell.clone()).collect();
        let of_floats: Vec<String> = of_floats
            .into_iter()
            .map(|(_, cell)| cell.parse::<f64>().map_or_else(|_| cell.clone(), |x| format!("{x:.6e}")))
            .collect();
        (others, of_floats)
    });
    rows
}

fn near(a: &str, b: &str, is_float: Option<&bool>) -> bool {
    if a == b {
        return true;
    }
    match (is_float, a.parse::<f64>(), b.parse::<f64>()) {
        (Some(true), Ok(a), Ok(b)) => {
            a.is_nan() && b.is_nan() || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0)
        }
        _ => false,
    }
}
