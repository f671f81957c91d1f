//! What is kept of values ([`Track`]) as a table of a snapshot.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use lineshaft_engine::Result;

use super::call::{number, signed};
use super::other_plan;
use super::pair::Pair;
use super::track::{Before, Track};
use crate::window::state::StateTable;

/// What a row of the table is.
const PARTITION: i64 = 0;
const SUM: i64 = 1;
const APART: i64 = 2;
const EXTREME: i64 = 3;

/// Slot, kind, number of the row, count; and four doubles.
type Line = ([i64; 4], [f64; 4]);

/// The tracks of all slots.
pub(super) fn save(tracks: &[Track]) -> StateTable {
    let mut lines: Vec<Line> = Vec::new();
    for (slot, track) in (0..).zip(tracks) {
        let at = |number: usize| signed(number as u64);
        let shift = track.shift.unwrap_or(f64::NAN);
        lines.push(([slot, PARTITION, at(track.next), 0], [shift, 0.0, 0.0, 0.0]));
        for (row, before) in (track.first..).zip(&track.sums) {
            let Before { sum, square, count } = before;
            let numbers = [sum.high, sum.low, square.high, square.low];
            lines.push(([slot, SUM, at(row), i64::from(*count)], numbers));
        }
        for (kind, values) in [(APART, &track.apart), (EXTREME, &track.extremes)] {
            lines.extend(values.iter().map(|(row, x)| ([slot, kind, at(*row), 0], [*x, 0.0, 0.0, 0.0])));
        }
    }
    let numbers = |column: usize| lines.iter().map(|line| line.0[column]).collect();
    let doubles = |column: usize| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(lines.iter().map(|line| line.1[column])))
    };
    StateTable {
        numbers: (0..4).map(numbers).collect(),
        keys: Vec::new(),
        values: (0..4).map(doubles).collect(),
    }
}

/// Puts back what [`save`] gave.
pub(super) fn put_back(table: &RecordBatch) -> Result<Vec<Track>> {
    let table = StateTable::from_batch(table, 4, 0)?;
    let doubles: Option<Vec<_>> =
        table.values.iter().map(|column| column.as_primitive_opt::<Float64Type>()).collect();
    let doubles = doubles.filter(|columns| columns.len() == 4).ok_or_else(other_plan)?;
    let mut tracks: Vec<Track> = Vec::new();
    for row in 0..table.rows() {
        let [kind, at, count] = [1, 2, 3].map(|column: usize| table.numbers[column][row]);
        let [a, b, c, d] = [0, 1, 2, 3].map(|column: usize| doubles[column].value(row));
        let at = number(at)?;
        if kind == PARTITION {
            let shift = (!a.is_nan()).then_some(a);
            tracks.push(Track { next: at, shift, ..Track::default() });
            continue;
        }
        let track = tracks.last_mut().ok_or_else(other_plan)?;
        match kind {
            SUM => {
                if track.sums.is_empty() {
                    track.first = at;
                }
                let count = u32::try_from(count).map_err(|_| other_plan())?;
                let (sum, square) = (Pair { high: a, low: b }, Pair { high: c, low: d });
                track.sums.push_back(Before { sum, square, count });
            }
            APART => track.apart.push_back((at, a)),
            EXTREME => track.extremes.push_back((at, a)),
            _ => return Err(other_plan()),
        }
    }
    Ok(tracks)
}
