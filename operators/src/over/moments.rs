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
use super::track_table::{put_back, save};
use crate::window::moments::{EMPTY, Group, STATE_COLUMNS};
use crate::window::state::StateTable;

/// The first row of each partition that was not taken in.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<usize>);

impl Taken {
    /// That of a partition, to be moved on.
    pub(super) fn of(&mut self, slot: u32) -> &mut usize {
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize(slot + 1, 0);
        }
        &mut self.0[slot]
    }

    pub(super) fn get(&self, slot: usize) -> usize {
        self.0.get(slot).copied().unwrap_or(0)
    }

    /// As a column of the first `slots` partitions.
    pub(super) fn column(&mut self, slots: usize) -> Vec<i64> {
        self.0.resize(slots, 0);
        self.0.iter().map(|taken| signed(*taken as u64)).collect()
    }

    pub(super) fn restore(&mut self, column: &[i64]) -> Result<()> {
        self.0 = column.iter().map(|taken| number(*taken)).collect::<Result<_>>()?;
        Ok(())
    }
}

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
    tracks: Vec<Track>,
}

impl SlidingMoment {
    pub(super) fn new(moment: Moment, argument: usize) -> Self {
        Self { moment, argument, tracks: Vec::new() }
    }
}

impl Evaluate for SlidingMoment {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let column = doubles(&rows.columns[self.argument])?;
        let (mut values, mut counts) = (Vec::new(), Vec::new());
        for (segment, spans) in rows.by_segment(spans) {
            let slot = segment.slot as usize;
            if self.tracks.len() <= slot {
                self.tracks.resize_with(slot + 1, Track::default);
            }
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
        let mut tracks = Vec::new();
        for (track, new) in std::mem::take(&mut self.tracks).into_iter().zip(moved) {
            if let Some(new) = new {
                tracks.resize_with(tracks.len().max(*new as usize + 1), Track::default);
                tracks[*new as usize] = track;
            }
        }
        self.tracks = tracks;
    }

    fn state(&mut self, _slots: usize) -> Result<Option<StateTable>> {
        Ok(Some(save(&self.tracks)))
    }

    fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        self.tracks = put_back(table)?;
        Ok(())
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
    taken: Taken,
    groups: Vec<Group>,
}

impl RunningMoment {
    pub(super) fn new(moment: Moment, argument: usize) -> Self {
        Self { moment, argument, taken: Taken::default(), groups: Vec::new() }
    }

    fn grow(&mut self, slots: usize) {
        self.groups.resize(slots.max(self.groups.len()), EMPTY);
    }
}

impl Evaluate for RunningMoment {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let column = doubles(&rows.columns[self.argument])?;
        let mut results = Vec::with_capacity(spans.len());
        for (segment, spans) in rows.by_segment(spans) {
            self.grow(segment.slot as usize + 1);
            let taken = self.taken.of(segment.slot);
            let group = &mut self.groups[segment.slot as usize];
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
        self.taken.get(slot)
    }

    fn state(&mut self, slots: usize) -> Result<Option<StateTable>> {
        self.grow(slots);
        let column = |at: usize| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(self.groups.iter().map(|group| group.numbers()[at])))
        };
        let values = (0..STATE_COLUMNS).map(column).collect();
        Ok(Some(StateTable { numbers: vec![self.taken.column(slots)], keys: Vec::new(), values }))
    }

    fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        let wrong = || Error::operator("over", "a snapshot of another plan");
        let table = StateTable::from_batch(table, 1, 0)?;
        self.taken.restore(&table.numbers[0])?;
        let columns: Option<Vec<_>> =
            table.values.iter().map(|column| column.as_primitive_opt::<Float64Type>()).collect();
        let columns = columns.filter(|columns| columns.len() == STATE_COLUMNS).ok_or_else(wrong)?;
        let group = |row: usize| Group::from_numbers(std::array::from_fn(|at| columns[at].value(row)));
        self.groups = (0..table.numbers[0].len()).map(group).collect();
        Ok(())
    }
}
