//! Aggregates of rows that are only added.
//!
//! An epoch has accumulators of its own. A group that is touched brings its partial results along, so that the sums of
//! all epochs are one chain of additions, and leaves the new ones behind.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{filter_record_batch, take};
use lineshaft_engine::expression::{Aggregate, Expression};
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::{Error, Result};

use super::distinct::Distinct;
use super::emitted::{Emitted, Epoch};
use super::{Call, only_true};
use crate::window::arguments::{Accumulators, Aggregates};

/// The aggregates of all calls.
pub(super) struct Appended {
    lanes: Vec<Lane>,
    /// For each call its lane and its place there.
    calls: Vec<(usize, usize)>,
}

/// Aggregates of the same rows: of all, or of those with a new value.
struct Lane {
    aggregates: Aggregates,
    accumulators: Accumulators,
    distinct: Option<Distinct>,
    filter: Option<Arc<dyn Expression>>,
    /// Its columns among those that are kept of a group.
    states: Range<usize>,
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

    /// Brings the partial results of groups that are touched for the first time in the epoch; the first of `slots` has
    /// the number `first`.
    pub(super) fn load(&mut self, emitted: &Emitted, slots: &[u32], first: usize) -> Result<()> {
        let (positions, states) = emitted.states(slots, self.width())?;
        if positions.is_empty() {
            return Ok(());
        }
        let numbers: Vec<usize> = positions.into_iter().map(|at| first + at).collect();
        for lane in &mut self.lanes {
            let own = &states[lane.states.clone()];
            lane.accumulators.merge(&lane.aggregates, own, &numbers, first + slots.len())?;
        }
        Ok(())
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
        let numbers: Vec<usize> = (0..slots.len()).collect();
        let (mut states, mut results) = (Vec::with_capacity(self.width()), Vec::new());
        for lane in &mut self.lanes {
            let kept = lane.accumulators.state()?;
            lane.accumulators.merge(&lane.aggregates, &kept, &numbers, slots.len())?;
            results.push(lane.accumulators.evaluate(&lane.aggregates)?);
            states.extend(kept);
        }
        let result = |(lane, place): &(usize, usize)| ArrayRef::clone(&results[*lane][*place]);
        Ok(Epoch { results: self.calls.iter().map(result).collect(), slots, states, gone: Vec::new() })
    }

    pub(super) fn snapshot(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        for (number, lane) in self.lanes.iter().enumerate() {
            if let Some(distinct) = &lane.distinct {
                snapshot.put(&format!("distinct_{number}"), distinct.table()?);
            }
        }
        Ok(())
    }

    pub(super) fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(distinct) = &mut lane.distinct {
                let table = snapshot.take(&format!("distinct_{number}"));
                let table = table.ok_or_else(|| Error::operator("group", "a snapshot of another plan"))?;
                distinct.restore(&table)?;
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
        let distinct = calls.first().filter(|call| call.is_distinct).map(|call| &call.aggregate);
        let aggregates = Aggregates::new(&aggregates);
        Ok(Self {
            accumulators: aggregates.accumulators()?,
            states: start..start + aggregates.state_width(),
            aggregates,
            filter: distinct.and_then(|aggregate| aggregate.filter().cloned()),
            distinct: distinct.map(|aggregate| Distinct::new(aggregate.arguments())).transpose()?,
        })
    }

    fn add(&mut self, rows: &RecordBatch, slots: &[u32], numbers: &[usize], total: usize) -> Result<()> {
        if self.distinct.is_none() {
            let columns = self.aggregates.evaluate(rows)?;
            return self.accumulators.update(&self.aggregates, &columns, numbers, total);
        }
        let Some(filter) = &self.filter else {
            return self.add_distinct(rows, slots, numbers, total);
        };
        let keep = only_true(filter.as_ref(), rows)?;
        let kept = |row: &usize| keep.value(*row);
        let slots: Vec<u32> = (0..slots.len()).filter(kept).map(|row| slots[row]).collect();
        let numbers: Vec<usize> = (0..numbers.len()).filter(kept).map(|row| numbers[row]).collect();
        self.add_distinct(&filter_record_batch(rows, &keep)?, &slots, &numbers, total)
    }

    fn add_distinct(
        &mut self,
        rows: &RecordBatch,
        slots: &[u32],
        numbers: &[usize],
        total: usize,
    ) -> Result<()> {
        let Some(distinct) = &mut self.distinct else { return Ok(()) };
        let (passed, _) = distinct.pass(rows, slots, &vec![1; slots.len()])?;
        let columns = self.aggregates.evaluate(rows)?;
        let columns = columns.iter().map(|column| Ok(take(column, &passed, None)?));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let numbers: Vec<usize> = passed.values().iter().map(|row| numbers[*row as usize]).collect();
        self.accumulators.update(&self.aggregates, &columns, &numbers, total)
    }
}
