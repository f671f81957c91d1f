//! A row on its way out, and how it goes on after a restart.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{Int64Type, UInt64Type};
use lineshaft_engine::Result;
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::time::EpochHeader;

/// A row on its way out: an object of JSON or a line of CSV, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) text: Vec<u8>,
    pub(super) header: EpochHeader,
    /// Its number within the epoch.
    pub(super) number: u64,
}

const LEFT: &str = "left";

/// Rows in a checkpoint, with their places, so that a batch that is sent again has the same key.
pub(super) fn snapshot(left: &[Row]) -> Result<Snapshot> {
    let numbers = |number: fn(&Row) -> u64| UInt64Array::from_iter_values(left.iter().map(number));
    let wall_clocks = left.iter().map(|row| row.header.wall_clock);
    let columns: [(&str, ArrayRef); 4] = [
        ("text", Arc::new(BinaryArray::from_iter_values(left.iter().map(|row| &row.text)))),
        ("epoch", Arc::new(numbers(|row| row.header.epoch))),
        ("wall_clock", Arc::new(Int64Array::from_iter_values(wall_clocks))),
        ("number", Arc::new(numbers(|row| row.number))),
    ];
    let mut snapshot = Snapshot::default();
    snapshot.put(LEFT, RecordBatch::try_from_iter(columns)?);
    Ok(snapshot)
}

/// The rows of a checkpoint; `None` if it has none.
pub(super) fn restored(mut snapshot: Snapshot) -> Option<Vec<Row>> {
    let left = snapshot.take(LEFT)?;
    let column = |name: &str| left.column_by_name(name);
    let texts = column("text")?.as_binary_opt::<i32>()?;
    let epochs = column("epoch")?.as_primitive_opt::<UInt64Type>()?;
    let wall_clocks = column("wall_clock")?.as_primitive_opt::<Int64Type>()?;
    let numbers = column("number")?.as_primitive_opt::<UInt64Type>()?;
    let row = |row| {
        let header = EpochHeader::new(epochs.value(row), wall_clocks.value(row));
        Row { text: texts.value(row).to_vec(), header, number: numbers.value(row) }
    };
    Some((0..left.num_rows()).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_places_in_a_checkpoint() {
        let header = EpochHeader::new(7, 8);
        let rows = [("a", 0), ("b", 1)].map(|(text, number)| Row { text: text.into(), header, number });
        assert_eq!(restored(snapshot(&rows).unwrap()).unwrap(), rows);
        assert!(restored(Snapshot::default()).is_none());
    }
}
