//! Compares results as bags of rows.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use lineshaft::engine::testing::lines;

/// Relative, and absolute below one.
const TOLERANCE: f64 = 1e-9;

/// All that a row has but its floats, and its floats.
type Row = (String, Vec<Option<f64>>);

/// The rows, floats with all their digits, sorted.
pub(super) fn bits(batches: &[RecordBatch]) -> Vec<String> {
    let mut found = lines(batches);
    found.sort();
    found
}

/// The first difference between what was streamed and what was expected.
pub(super) fn difference(streamed: &[RecordBatch], expected: &[RecordBatch]) -> Option<String> {
    let (streamed, expected) = (sorted(streamed), sorted(expected));
    let pair = streamed.iter().zip(&expected).find(|(a, b)| !equal(a, b));
    match pair {
        Some((streamed, expected)) => Some(format!("streamed {streamed:?}, batch {expected:?}")),
        None if streamed.len() != expected.len() => {
            let more = streamed.get(expected.len()).or(expected.get(streamed.len()));
            Some(format!("streamed {} rows, batch {}: {more:?}", streamed.len(), expected.len()))
        }
        None => None,
    }
}

fn sorted(batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows: Vec<Row> = batches.iter().flat_map(rows).collect();
    #[expect(clippy::cast_possible_truncation, reason = "small numbers, only to put rows side by side")]
    let order = |floats: &[Option<f64>]| {
        floats.iter().map(|x| x.map(|x| (x * 1e6).round() as i64)).collect::<Vec<_>>()
    };
    rows.sort_by_key(|(text, floats)| (text.clone(), order(floats)));
    rows
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let is_float = |column: &ArrayRef| matches!(column.data_type(), DataType::Float32 | DataType::Float64);
    let (floats, others): (Vec<usize>, Vec<usize>) =
        (0..batch.num_columns()).partition(|column| is_float(batch.column(*column)));
    let texts = match others.is_empty() {
        true => vec![String::new(); batch.num_rows()],
        false => lines([&batch.project(&others).unwrap()]),
    };
    let floats: Vec<ArrayRef> =
        floats.iter().map(|column| cast(batch.column(*column), &DataType::Float64).unwrap()).collect();
    let value = |column: &ArrayRef, row: usize| {
        column.is_valid(row).then(|| column.as_primitive::<Float64Type>().value(row))
    };
    let row = |(row, text)| (text, floats.iter().map(|column| value(column, row)).collect());
    texts.into_iter().enumerate().map(row).collect()
}

fn equal(a: &Row, b: &Row) -> bool {
    let near = |(a, b): (&Option<f64>, &Option<f64>)| match (a, b) {
        (Some(a), Some(b)) => {
            a.is_nan() && b.is_nan() || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0)
        }
        (None, None) => true,
        _ => false,
    };
    a.0 == b.0 && a.1.len() == b.1.len() && a.1.iter().zip(&b.1).all(near)
}
