//! Count, sum, mean, extremes and variance of a column of doubles over frames.
//!
//! A short frame is added up anew for each row. For a long one the sums of all rows from the beginning of the partition's
//! rows are kept in pairs of doubles, about 32 digits, and the frame is the difference of two of them: the cost does
//! not grow with the frame, and nothing of a large value stays behind when it leaves. Extremes of long frames come from a
//! queue of those that can still become one.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use lineshaft_engine::expression::Moment;
use lineshaft_engine::{Error, Result};

use super::call::{Evaluate, signed, unsigned};
use super::rows::Rows;
use super::sums::{Extremes, Sums};
use crate::window::moments::{EMPTY, Group, STATE_COLUMNS};
use crate::window::state::StateTable;

/// How many rows of each partition were taken in.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<u64>);

impl Taken {
    /// That of a partition, to be moved on.
    pub(super) fn of(&mut self, slot: u32) -> &mut u64 {
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize(slot + 1, 0);
        }
        &mut self.0[slot]
    }

    pub(super) fn get(&self, slot: usize) -> u64 {
        self.0.get(slot).copied().unwrap_or(0)
    }

    /// As a column of the first `slots` partitions.
    pub(super) fn column(&mut self, slots: usize) -> Vec<i64> {
        self.0.resize(slots, 0);
        self.0.iter().copied().map(signed).collect()
    }

    pub(super) fn restore(&mut self, column: &[i64]) {
        self.0 = column.iter().copied().map(unsigned).collect();
    }
}

/// `count(*)`.
#[derive(Debug)]
pub(super) struct CountRows {
    pub(super) has_start: bool,
    pub(super) taken: Taken,
}

impl Evaluate for CountRows {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let mut counts = Vec::with_capacity(spans.len());
        for (segment, spans) in rows.by_segment(spans) {
            if self.has_start {
                counts.extend(spans.iter().map(|span| signed(span.len() as u64)));
                continue;
            }
            // The rows that are gone are in the frame, too.
            counts.extend(spans.iter().map(|span| signed(segment.number(span.end))));
            let taken = self.taken.of(segment.slot);
            *taken = (*taken).max(spans.last().map_or(0, |span| segment.number(span.end)));
        }
        Ok(Arc::new(Int64Array::from(counts)))
    }

    fn needed_from(&self, slot: usize) -> u64 {
        self.taken.get(slot)
    }

    fn state(&mut self, slots: usize) -> Result<Option<StateTable>> {
        let numbers = vec![self.taken.column(slots)];
        Ok(Some(StateTable { numbers, keys: Vec::new(), values: Vec::new() }))
    }

    fn restore(&mut self, table: &RecordBatch) -> Result<()> {
        self.taken.restore(&StateTable::from_batch(table, 1, 0)?.numbers[0]);
        Ok(())
    }
}

/// A moment of frames that have a start.
#[derive(Debug)]
pub(super) struct SlidingMoment {
    pub(super) moment: Moment,
    pub(super) argument: usize,
}

/// A frame of at most so many rows is added up anew for each row.
const SHORT: usize = 48;

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

impl Evaluate for SlidingMoment {
    fn evaluate(&mut self, rows: &Rows, spans: &[Range<usize>]) -> Result<ArrayRef> {
        let column = doubles(&rows.columns[self.argument])?;
        if self.moment == Moment::Count {
            let counts = spans.iter().map(|span| group(column, span.clone()).count());
            return Ok(Arc::new(Int64Array::from_iter_values(counts)));
        }
        let mut values = Vec::with_capacity(spans.len());
        for (segment, spans) in rows.by_segment(spans) {
            if spans.iter().any(|span| span.len() > SHORT) {
                self.long(column, segment.rows.clone(), spans, &mut values);
            } else {
                values.extend(spans.iter().map(|span| self.short(column, span)));
            }
        }
        Ok(Arc::new(Float64Array::from(values)))
    }
}

impl SlidingMoment {
    fn short(&self, column: &Float64Array, span: &Range<usize>) -> Option<f64> {
        if matches!(self.moment, Moment::Sum | Moment::Mean) && column.null_count() == 0 {
            let values = &column.values()[span.clone()];
            let (first, others) = values.split_first()?;
            let sum = others.iter().fold(*first, |sum, x| sum + x);
            return Some(if self.moment == Moment::Sum { sum } else { sum / number(values.len()) });
        }
        group(column, span.clone()).value(self.moment)
    }

    /// The frames of the partition whose rows are `rows`, of which some are long.
    fn long(
        &self,
        column: &Float64Array,
        rows: Range<usize>,
        spans: &[Range<usize>],
        values: &mut Vec<Option<f64>>,
    ) {
        let is_long = |span: &Range<usize>| span.len() > SHORT;
        let squared = match self.moment {
            Moment::Min | Moment::Max if !column.values()[rows.clone()].iter().any(|x| x.is_nan()) => {
                let mut extremes = Extremes::new(column, self.moment == Moment::Max, rows.start);
                return values.extend(spans.iter().map(|span| extremes.of(span)));
            }
            Moment::Variance { .. } | Moment::Deviation { .. } => true,
            _ => false,
        };
        let sums = match self.moment {
            Moment::Min | Moment::Max => None,
            _ => Sums::new(column, rows, squared),
        };
        values.extend(spans.iter().map(|span| match &sums {
            Some(sums) if is_long(span) => self.of_sums(sums, span),
            _ => self.short(column, span),
        }));
    }

    fn of_sums(&self, sums: &Sums, span: &Range<usize>) -> Option<f64> {
        let count = sums.count(span);
        let known = |value: f64| (count > 0).then_some(value);
        match self.moment {
            Moment::Rows | Moment::Count => Some(f64::from(count)),
            Moment::Sum => known(sums.sum(span)),
            Moment::Mean => known(sums.sum(span) / f64::from(count)),
            Moment::Min | Moment::Max => None,
            Moment::Variance { sample } => sums.variance(span, u32::from(sample)),
            Moment::Deviation { sample } => Some(sums.variance(span, u32::from(sample))?.sqrt()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
fn number(count: usize) -> f64 {
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
            let mut at = segment.place(*taken);
            for span in spans {
                while at < span.end {
                    if column.is_valid(at) {
                        group.add(column.value(at));
                    }
                    at += 1;
                }
                results.push(*group);
            }
            *taken = segment.number(at);
        }
        Ok(match self.moment {
            Moment::Rows | Moment::Count => {
                Arc::new(Int64Array::from_iter_values(results.iter().map(Group::count)))
            }
            _ => Arc::new(results.iter().map(|group| group.value(self.moment)).collect::<Float64Array>()),
        })
    }

    fn needed_from(&self, slot: usize) -> u64 {
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
        self.taken.restore(&table.numbers[0]);
        let columns: Option<Vec<_>> =
            table.values.iter().map(|column| column.as_primitive_opt::<Float64Type>()).collect();
        let columns = columns.filter(|columns| columns.len() == STATE_COLUMNS).ok_or_else(wrong)?;
        let group = |row: usize| Group::from_numbers(std::array::from_fn(|at| columns[at].value(row)));
        self.groups = (0..table.numbers[0].len()).map(group).collect();
        Ok(())
    }
}
