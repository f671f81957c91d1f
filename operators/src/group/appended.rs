//! Aggregates of rows that are only added.
//!
//! Between two times at which changes are given, the touched groups have accumulators. A group brings its partial results
//! along, so that its sums are one chain of additions, and leaves the new ones behind.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use lineshaft_engine::Result;
use lineshaft_engine::expression::{Accumulator, Aggregate, Expression};
use lineshaft_engine::operator::Snapshot;

use super::distinct::Distinct;
use super::emitted::{Emitted, Epoch};
use super::{Call, distinct_table, only_true};
use crate::window::arguments::{Accumulators, Aggregates};

/// The aggregates of all calls.
pub(super) struct Appended {
    lanes: Vec<Lane>,
    /// For each call its lane and its place there.
    calls: Vec<(usize, usize)>,
}

/// Aggregates of the same rows.
struct Lane {
    work: Work,
    /// Its columns among those that are kept of a group.
    states: Range<usize>,
}

enum Work {
    /// Of all rows.
    Rows { aggregates: Aggregates, accumulators: Accumulators },
    /// Of the rows that bring a new value.
    Values {
        distinct: Box<Distinct>,
        aggregates: Vec<Arc<dyn Aggregate>>,
        accumulators: Vec<Box<dyn Accumulator>>,
    },
}

impl Appended {
    pub(super) fn new(calls: &[Call]) -> Result<Self> {
        let mut members: Vec<Vec<&Call>> = vec![Vec::new()];
        let mut places = Vec::with_capacity(calls.len());
        for call in calls {
            let lane = members.iter().position(|lane| match lane.first() {
                Some(first) => shares_rows(first, call),
                None => !call.is_distinct,
            });
            let lane = lane.unwrap_or_else(|| {
                members.push(Vec::new());
                members.len() - 1
            });
            places.push((lane, members[lane].len()));
            members[lane].push(call);
        }
        let (mut lanes, mut start) = (Vec::with_capacity(members.len()), 0);
        for members in members {
            let lane = Lane::new(&members, start)?;
            start = lane.states.end;
            lanes.push(lane);
        }
        Ok(Self { lanes, calls: places })
    }

    /// Number of columns that are kept of a group.
    fn width(&self) -> usize {
        self.lanes.last().map_or(0, |lane| lane.states.end)
    }

    /// Brings the partial results of groups that are touched for the first time in the epoch and that have a row; the
    /// first of `slots` has the number `first`, and none has a higher number than the last.
    pub(super) fn load(&mut self, emitted: &Emitted, slots: &[u32], first: usize) -> Result<()> {
        let states = emitted.states(slots, self.width())?;
        let numbers: Vec<usize> = (first..).take(slots.len()).collect();
        let total = first + slots.len();
        self.lanes.iter_mut().try_for_each(|lane| lane.merge(&states[lane.states.clone()], &numbers, total))
    }

    /// Adds rows; `numbers` are their groups in this epoch, of which there are `total`.
    pub(super) fn add(
        &mut self,
        rows: &RecordBatch,
        slots: &[u32],
        numbers: &[usize],
        total: usize,
    ) -> Result<()> {
        self.lanes.iter_mut().try_for_each(|lane| lane.add(rows, slots, numbers, total))
    }

    /// The results of all groups of the epoch, which ends.
    pub(super) fn evaluate(&mut self, slots: Vec<u32>) -> Result<Epoch> {
        let states = self.states(slots.len())?;
        let results = self.lanes.iter_mut().map(Lane::evaluate).collect::<Result<Vec<_>>>()?;
        let result = |(lane, place): &(usize, usize)| ArrayRef::clone(&results[*lane][*place]);
        Ok(Epoch { results: self.calls.iter().map(result).collect(), slots, states, gone: Vec::new() })
    }

    /// The partial results of the `total` groups that are touched, which stay.
    pub(super) fn states(&mut self, total: usize) -> Result<Vec<ArrayRef>> {
        if total == 0 {
            return Ok(Vec::new());
        }
        let numbers: Vec<usize> = (0..total).collect();
        let mut states = Vec::with_capacity(self.width());
        for lane in &mut self.lanes {
            let kept = lane.state()?;
            lane.merge(&kept, &numbers, total)?;
            states.extend(kept);
        }
        Ok(states)
    }

    /// Puts back what [`Appended::states`] gave.
    pub(super) fn put_back(&mut self, states: &[ArrayRef], total: usize) -> Result<()> {
        let numbers: Vec<usize> = (0..total).collect();
        self.lanes.iter_mut().try_for_each(|lane| lane.merge(&states[lane.states.clone()], &numbers, total))
    }

    /// From now on [`Appended::next_saved`] gives the distinct values as they are now.
    pub(super) fn save(&mut self) {
        for lane in &mut self.lanes {
            if let Work::Values { distinct, .. } = &mut lane.work {
                distinct.save();
            }
        }
    }

    /// The next table of them for a snapshot, with its name; `None` if those were all.
    pub(super) fn next_saved(&mut self) -> Result<Option<(String, RecordBatch)>> {
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if let Work::Values { distinct, .. } = &mut lane.work
                && let Some(table) = distinct.next_saved()?
            {
                return Ok(Some((distinct_table(number), table)));
            }
        }
        Ok(None)
    }

    pub(super) fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if let Work::Values { distinct, .. } = &mut lane.work {
                for part in snapshot.take_parts(&distinct_table(number)) {
                    distinct.restore(&part)?;
                }
            }
        }
        Ok(())
    }
}

/// True if both are computed of the same rows. Each `FILTER` is an expression of its own.
fn shares_rows(one: &Call, other: &Call) -> bool {
    if !one.is_distinct || !other.is_distinct {
        return one.is_distinct == other.is_distinct;
    }
    let (one, other) = (&one.aggregate, &other.aggregate);
    one.filter().is_none()
        && other.filter().is_none()
        && one.arguments().len() == other.arguments().len()
        && one.arguments().iter().zip(other.arguments()).all(|(a, b)| Arc::ptr_eq(a, b))
}

impl Lane {
    fn new(calls: &[&Call], start: usize) -> Result<Self> {
        let aggregates: Vec<Arc<dyn Aggregate>> =
            calls.iter().map(|call| Arc::clone(&call.aggregate)).collect();
        let (work, width) = match calls.first().filter(|call| call.is_distinct) {
            None => {
                let aggregates = Aggregates::new(&aggregates);
                let (accumulators, width) = (aggregates.accumulators()?, aggregates.state_width());
                (Work::Rows { aggregates, accumulators }, width)
            }
            Some(first) => {
                let distinct = Box::new(Distinct::new(first.aggregate.arguments())?);
                let width = aggregates.iter().map(|aggregate| aggregate.state().len()).sum();
                let accumulators = aggregates.iter().map(|aggregate| aggregate.accumulator());
                let accumulators = accumulators.collect::<Result<_>>()?;
                (Work::Values { distinct, aggregates, accumulators }, width)
            }
        };
        Ok(Self { work, states: start..start + width })
    }

    fn add(&mut self, rows: &RecordBatch, slots: &[u32], numbers: &[usize], total: usize) -> Result<()> {
        match &mut self.work {
            Work::Rows { aggregates, accumulators } => {
                let columns = aggregates.evaluate(rows)?;
                accumulators.update(aggregates, &columns, numbers, total)
            }
            Work::Values { distinct, aggregates, accumulators } => {
                let new = new_values(distinct, aggregates[0].filter(), rows, slots)?;
                for (aggregate, accumulator) in aggregates.iter().zip(accumulators) {
                    let columns = aggregate.arguments().iter().map(|argument| argument.evaluate(rows));
                    accumulator.update(&columns.collect::<Result<Vec<_>>>()?, numbers, Some(&new), total)?;
                }
                Ok(())
            }
        }
    }

    fn merge(&mut self, states: &[ArrayRef], numbers: &[usize], total: usize) -> Result<()> {
        match &mut self.work {
            Work::Rows { aggregates, accumulators } => accumulators.merge(aggregates, states, numbers, total),
            Work::Values { aggregates, accumulators, .. } => {
                let mut states = states.iter();
                for (aggregate, accumulator) in aggregates.iter().zip(accumulators) {
                    let own: Vec<ArrayRef> = states.by_ref().take(aggregate.state().len()).cloned().collect();
                    accumulator.merge(&own, numbers, total)?;
                }
                Ok(())
            }
        }
    }

    /// The partial results of all groups; no group is left.
    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        match &mut self.work {
            Work::Rows { accumulators, .. } => accumulators.state(),
            Work::Values { accumulators, .. } => {
                let states = accumulators.iter_mut().map(|accumulator| accumulator.state());
                Ok(states.collect::<Result<Vec<_>>>()?.concat())
            }
        }
    }

    /// The results of all groups; no group is left.
    fn evaluate(&mut self) -> Result<Vec<ArrayRef>> {
        match &mut self.work {
            Work::Rows { aggregates, accumulators } => accumulators.evaluate(aggregates),
            Work::Values { accumulators, .. } => {
                accumulators.iter_mut().map(|accumulator| accumulator.evaluate()).collect()
            }
        }
    }
}

/// Which rows pass the filter and bring a value that their group has not had.
fn new_values(
    distinct: &mut Distinct,
    filter: Option<&Arc<dyn Expression>>,
    rows: &RecordBatch,
    slots: &[u32],
) -> Result<BooleanArray> {
    let weights: Vec<i64> = match filter {
        None => vec![1; slots.len()],
        Some(filter) => only_true(filter.as_ref(), rows)?.values().iter().map(i64::from).collect(),
    };
    let (passed, _) = distinct.pass(rows, slots, &weights)?;
    let mut new = vec![false; slots.len()];
    passed.values().iter().for_each(|row| new[*row as usize] = true);
    Ok(BooleanArray::from(new))
}
