//! What is kept of values ([`Track`]) as a table of a snapshot.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use lineshaft_engine::Result;

use super::call::{number, signed};
use super::other_plan;
use super::pair::Pair;
use super::track::{Before, Track};
use crate::shared::{SavedState, SharedVec};
use crate::window::state::StateTable;

/// What a row of the table is.
const PARTITION: i64 = 0;
const SUM: i64 = 1;
const APART: i64 = 2;
const EXTREME: i64 = 3;
const VALUE: i64 = 4;

/// Slot, kind, number of the row, count; and four doubles.
type Line = ([i64; 4], [f64; 4]);

/// Lines of a table, at most. Tests have few.
const LINES: usize = if cfg!(test) { 3 } else { 65_536 };

/// The tracks of all slots as they were, line by line.
pub(super) struct SavedTracks {
    tracks: SharedVec<Track>,
    slot: usize,
    /// The next line of the track.
    line: usize,
}

impl SavedTracks {
    pub(super) fn new(tracks: &SharedVec<Track>) -> Self {
        Self { tracks: tracks.clone(), slot: 0, line: 0 }
    }

    fn next_line(&mut self) -> Option<Line> {
        loop {
            let line = line(self.slot, self.tracks.get(self.slot)?, self.line);
            if line.is_some() {
                self.line += 1;
                return line;
            }
            (self.slot, self.line) = (self.slot + 1, 0);
        }
    }
}

/// A line of the track of a slot: what it is as a whole, then its sums, then its values.
fn line(slot: usize, track: &Track, line: usize) -> Option<Line> {
    let at = |number: usize| signed(number as u64);
    let value = |kind: i64, (row, x): &(usize, f64)| ([at(slot), kind, at(*row), 0], [*x, 0.0, 0.0, 0.0]);
    let Some(sum) = line.checked_sub(1) else {
        let shift = track.shift.unwrap_or(f64::NAN);
        return Some(([at(slot), PARTITION, at(track.next), 0], [shift, 0.0, 0.0, 0.0]));
    };
    let Some(apart) = sum.checked_sub(track.sums.len()) else {
        let Before { sum: total, square, count } = track.sums[sum];
        let numbers = [total.high, total.low, square.high, square.low];
        return Some(([at(slot), SUM, at(track.first + sum), i64::from(count)], numbers));
    };
    let Some(extreme) = apart.checked_sub(track.apart.len()) else {
        return track.apart.get(apart).map(|x| value(APART, x));
    };
    match extreme.checked_sub(track.extremes.len()) {
        None => track.extremes.get(extreme).map(|x| value(EXTREME, x)),
        Some(last) => track.values.get(last).map(|x| value(VALUE, &(0, *x))),
    }
}

impl SavedState for SavedTracks {
    fn next(&mut self) -> Result<Option<StateTable>> {
        let lines: Vec<Line> = std::iter::from_fn(|| self.next_line()).take(LINES).collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let numbers = |column: usize| lines.iter().map(|line| line.0[column]).collect();
        let doubles = |column: usize| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(lines.iter().map(|line| line.1[column])))
        };
        Ok(Some(StateTable {
            numbers: (0..4).map(numbers).collect(),
            keys: Vec::new(),
            values: (0..4).map(doubles).collect(),
        }))
    }
}

/// Puts back what [`SavedTracks`] gave, behind what there is.
pub(super) fn put_back(tracks: &mut SharedVec<Track>, table: &RecordBatch) -> Result<()> {
    let table = StateTable::from_batch(table, 4, 0)?;
    let doubles: Option<Vec<_>> =
        table.values.iter().map(|column| column.as_primitive_opt::<Float64Type>()).collect();
    let doubles = doubles.filter(|columns| columns.len() == 4).ok_or_else(other_plan)?;
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
            VALUE => track.values.push_back(a),
            _ => return Err(other_plan()),
        }
    }
    Ok(())
}
