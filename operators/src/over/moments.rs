//! Count, sum, mean, extremes and variance of a column of doubles over frames.
//!
//! Frames of a few rows are added up anew for each row; of longer ones what is kept of the values ([`Track`]) gives any
//! frame at once.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use lineshaft_engine::expression::Moment;
use lineshaft_engine::{Error, Result};

use super::call::{Evaluate, number, signed};
use super::rows::Rows;
use super::track::Track;
use super::track_table::{SavedTracks, put_back};
use crate::shared::{BySlot, SavedState, SharedVec};
use crate::window::moments::{EMPTY, Group, STATE_COLUMNS};
use crate::window::state::StateTable;

/// `count(*)`.
#[derive(Debug)]
pub(super) struct CountRows;

impl Evaluate for CountRows {
    fn evaluate(&mut self, _rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let counts = spans.iter().map(|span| signed(span.len() as u64));
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn wants_from(&self, _slot: usize, _frame: usize) -> usize {
        usize::MAX
    }
}

/// Frames of at most so many rows are added up anew for each row.
pub(super) const SHORT: i64 = 48;

/// A moment of frames of a few rows.
#[derive(Debug)]
pub(super) struct ShortMoment {
    pub(super) moment: Moment,
    pub(super) argument: usize,
}

fn doubles(column: &ArrayRef) -> Result<&Float64Array> {
    let wrong = || Error::operator("over", "a column of moments is not DOUBLE");
    column.as_primitive_opt::<Float64Type>().ok_or_else(wrong)
}

/// The moments of some rows, added up in their order.
fn group(column: &Float64Array, span: Range<usize>) -> Group {
    let mut group = EMPTY;
    let values = &column.values()[span.clone()];
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => values.iter().for_each(|x| group.add(*x)),
        Some(nulls) => {
            let valid = span.zip(values).filter(|(row, _)| nulls.is_valid(*row));
            valid.for_each(|(_, x)| group.add(*x));
        }
    }
    group
}

impl Evaluate for ShortMoment {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let column = doubles(&rows.columns[self.argument])?;
        let spans = rows.places(spans).into_iter();
        Ok(match self.moment {
            Moment::Rows | Moment::Count => {
                Arc::new(Int64Array::from_iter_values(spans.map(|span| group(column, span).count())))
            }
            _ => Arc::new(spans.map(|span| self.value(column, span)).collect::<Float64Array>()),
        })
    }

    fn wants_from(&self, _slot: usize, frame: usize) -> usize {
        frame
    }
}

impl ShortMoment {
    fn value(&self, column: &Float64Array, span: Range<usize>) -> Option<f64> {
        if matches!(self.moment, Moment::Sum | Moment::Mean) && column.null_count() == 0 {
            let values = &column.values()[span];
            let (first, others) = values.split_first()?;
            let sum = others.iter().fold(*first, |sum, x| sum + x);
            return Some(if self.moment == Moment::Sum { sum } else { sum / as_double(values.len()) });
        }
        group(column, span).value(self.moment)
    }
}

/// A moment of frames of any length that have a start.
#[derive(Debug)]
pub(super) struct SlidingMoment {
    moment: Moment,
    argument: usize,
    tracks: SharedVec<Track>,
}

impl SlidingMoment {
    pub(super) fn new(moment: Moment, argument: usize) -> Self {
        Self { moment, argument, tracks: SharedVec::default() }
    }
}

impl Evaluate for SlidingMoment {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let column = doubles(&rows.columns[self.argument])?;
        let (mut values, mut counts) = (Vec::new(), Vec::new());
        for (segment, spans) in rows.by_segment(spans) {
            let slot = segment.slot as usize;
            self.tracks.grow(slot + 1, Track::default);
            let track = &mut self.tracks[slot];
            track.forget(spans.first().map_or(0, |span| span.start));
            for span in spans {
                while track.next < span.end {
                    let row = segment.place(track.next);
                    track.push(self.moment, column.is_valid(row).then(|| column.value(row)));
                }
                match self.moment {
                    Moment::Rows | Moment::Count => counts.push(i64::from(track.count(span))),
                    moment => values.push(track.value(moment, span)),
                }
            }
        }
        Ok(match self.moment {
            Moment::Rows | Moment::Count => Arc::new(Int64Array::from(counts)),
            _ => Arc::new(Float64Array::from(values)),
        })
    }

    /// A frame that begins after its row may skip rows, which are taken in all the same.
    fn wants_from(&self, slot: usize, _frame: usize) -> usize {
        self.tracks.get(slot).map_or(0, |track| track.next)
    }

    fn renumber(&mut self, moved: &[Option<u32>]) {
        self.tracks.renumber(moved, Track::default);
    }

    fn save(&mut self, _slots: usize) -> Result<Option<Box<dyn SavedState>>> {
        Ok(Some(Box::new(SavedTracks::new(&self.tracks))))
    }

    fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        put_back(&mut self.tracks, table)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
fn as_double(count: usize) -> f64 {
    count as f64
}

/// A moment of frames that begin with their partition.
#[derive(Debug)]
pub(super) struct RunningMoment {
    moment: Moment,
    argument: usize,
    groups: SharedVec<Taken>,
}

/// The values of a partition so far.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// The first row that was not taken in.
    rows: usize,
    group: Group,
}

impl Taken {
    fn nothing() -> Self {
        Self { rows: 0, group: EMPTY }
    }
}

impl RunningMoment {
    pub(super) fn new(moment: Moment, argument: usize) -> Self {
        Self { moment, argument, groups: SharedVec::default() }
    }
}

impl Evaluate for RunningMoment {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let column = doubles(&rows.columns[self.argument])?;
        let mut results = Vec::with_capacity(spans.len());
        for (segment, spans) in rows.by_segment(spans) {
            let slot = segment.slot as usize;
            self.groups.grow(slot + 1, Taken::nothing);
            let Taken { rows: taken, group } = &mut self.groups[slot];
            for span in spans {
                for row in segment.place(*taken)..segment.place(span.end) {
                    if column.is_valid(row) {
                        group.add(column.value(row));
                    }
                }
                *taken = span.end.max(*taken);
                results.push(*group);
            }
        }
        Ok(match self.moment {
            Moment::Rows | Moment::Count => {
                Arc::new(Int64Array::from_iter_values(results.iter().map(Group::count)))
            }
            _ => Arc::new(results.iter().map(|group| group.value(self.moment)).collect::<Float64Array>()),
        })
    }

    fn wants_from(&self, slot: usize, _frame: usize) -> usize {
        self.groups.get(slot).map_or(0, |taken| taken.rows)
    }

    fn save(&mut self, slots: usize) -> Result<Option<Box<dyn SavedState>>> {
        self.groups.grow(slots, Taken::nothing);
        Ok(Some(BySlot::boxed(&self.groups, |_, taken| {
            let column = |at: usize| -> ArrayRef {
                Arc::new(Float64Array::from_iter_values(taken.iter().map(|taken| taken.group.numbers()[at])))
            };
            let rows = taken.iter().map(|taken| signed(taken.rows as u64)).collect();
            let values = (0..STATE_COLUMNS).map(column).collect();
            Ok(StateTable { numbers: vec![rows], keys: Vec::new(), values })
        })))
    }

    fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let wrong = || Error::operator("over", "a snapshot of another plan");
        let table = StateTable::from_batch(table, 1, 0)?;
        let columns: Option<Vec<_>> =
            table.values.iter().map(|column| column.as_primitive_opt::<Float64Type>()).collect();
        let columns = columns.filter(|columns| columns.len() == STATE_COLUMNS).ok_or_else(wrong)?;
        let group = |row: usize| Group::from_numbers(std::array::from_fn(|at| columns[at].value(row)));
        for (row, rows) in table.numbers[0].iter().enumerate() {
            self.groups.push(Taken { rows: number(*rows)?, group: group(row) });
        }
        Ok(())
    }
}
