//! Aggregates of rows that may be taken back.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::DataType;
use lineshaft_engine::expression::{Expression, Moment};
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::{Error, Result};

use super::distinct::Distinct;
use super::emitted::Epoch;
use super::kept::Kept;
use super::state::{Additions, State, numbers_by_slot};
use super::{Call, Reversal, distinct_table, only_true};
use crate::shared::{SavedState, SharedVec};
use crate::window::state::StateTable;

/// The aggregates of all calls.
pub(super) struct Changed {
    lanes: Vec<Lane>,
    calls: Vec<Placed>,
    /// Rows of each group.
    weights: SharedVec<i64>,
    /// The only group has a row even if it has none.
    has_one_group: bool,
    /// What a snapshot that has begun is still to give, by the names of tables.
    saved: VecDeque<(String, Box<dyn SavedState>)>,
}

/// A call, its lane and its state there.
struct Placed {
    call: Call,
    lane: usize,
    state: usize,
}

/// States that take the same rows.
struct Lane {
    filter: Option<Arc<dyn Expression>>,
    distinct: Option<Distinct>,
    arguments: Vec<Arc<dyn Expression>>,
    states: Vec<(Kind, Vec<usize>, State)>,
}

/// States of one kind and of the same arguments are one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Count,
    Integers,
    Sums,
    Squares,
    /// Values that are not NULL.
    Values,
    /// Arguments of a call.
    Rows,
}

impl Kind {
    fn of(call: &Call) -> Self {
        let (Reversal::Statistic(moment), arguments) = (call.reversal, call.aggregate.arguments()) else {
            return Self::Rows;
        };
        let of = arguments.first().map(|argument| argument.data_type());
        match (moment, of) {
            (Moment::Rows | Moment::Count, _) => Self::Count,
            (Moment::Min | Moment::Max, Some(_)) => Self::Values,
            (Moment::Sum | Moment::Mean, Some(DataType::Float64)) => Self::Sums,
            (Moment::Variance { .. } | Moment::Deviation { .. }, Some(DataType::Float64)) => Self::Squares,
            (Moment::Sum, Some(of)) if State::sums_integers(of) => Self::Integers,
            _ => Self::Rows,
        }
    }

    fn state(self, types: &[DataType]) -> Result<State> {
        Ok(match self {
            Self::Count => State::Count(SharedVec::default()),
            Self::Integers => State::Integers(SharedVec::default()),
            Self::Sums => State::Floats { groups: SharedVec::default(), squares: false },
            Self::Squares => State::Floats { groups: SharedVec::default(), squares: true },
            Self::Values => State::Kept(Kept::new(types, true)?),
            Self::Rows => State::Kept(Kept::new(types, false)?),
        })
    }
}

impl Changed {
    pub(super) fn new(calls: &[Call], has_one_group: bool) -> Result<Self> {
        let mut changed = Self {
            lanes: Vec::new(),
            calls: Vec::new(),
            weights: SharedVec::default(),
            has_one_group,
            saved: VecDeque::new(),
        };
        let mut plain = None;
        for call in calls {
            let aggregate = &call.aggregate;
            let is_plain = !call.is_distinct && aggregate.filter().is_none();
            let lane = match plain.filter(|_| is_plain) {
                Some(lane) => lane,
                None => {
                    changed.lanes.push(Lane::new(call)?);
                    changed.lanes.len() - 1
                }
            };
            plain = if is_plain { Some(lane) } else { plain };
            let state = changed.lanes[lane].state_of(call)?;
            changed.calls.push(Placed { call: call.clone(), lane, state });
        }
        Ok(changed)
    }

    /// True if the group has a row.
    pub(super) fn is_live(&self, slot: u32) -> bool {
        self.has_one_group || self.weights.get(slot as usize).is_some_and(|weight| *weight > 0)
    }

    /// Adds rows of the groups `slots`, of which there are `total` so far.
    pub(super) fn add(
        &mut self,
        rows: &RecordBatch,
        weights: Option<&Int64Array>,
        slots: &[u32],
        total: usize,
    ) -> Result<()> {
        let ones;
        let weights: &[i64] = match weights {
            Some(weights) => weights.values(),
            None => {
                ones = vec![1; rows.num_rows()];
                &ones
            }
        };
        self.weights.grow(total, || 0);
        for (slot, weight) in slots.iter().zip(weights) {
            self.weights[*slot as usize] += weight;
        }
        let additions = Additions { slots, weights, total };
        self.lanes.iter_mut().try_for_each(|lane| lane.add(rows, &additions))
    }

    /// The results of the groups that the epoch has touched.
    pub(super) fn evaluate(&self, slots: Vec<u32>) -> Result<Epoch> {
        let (slots, gone): (Vec<u32>, Vec<u32>) = slots.into_iter().partition(|slot| self.is_live(*slot));
        let results = self.calls.iter().map(|placed| {
            let aggregate = &placed.call.aggregate;
            let (kind, _, state) = &self.lanes[placed.lane].states[placed.state];
            match (state, placed.call.reversal) {
                (State::Kept(kept), reversal) if *kind == Kind::Rows => {
                    kept.evaluate(&slots, aggregate, reversal == Reversal::Set)
                }
                (state, Reversal::Statistic(moment)) => {
                    state.result(moment, &slots, aggregate.result().data_type())
                }
                _ => Err(Error::operator("group", "an aggregate without state")),
            }
        });
        Ok(Epoch { results: results.collect::<Result<_>>()?, slots, states: Vec::new(), gone })
    }

    /// Groups have new slots; those without rows have none.
    pub(super) fn renumber(&mut self, moved: &[Option<u32>]) -> Result<()> {
        self.weights.renumber(moved, || 0);
        for lane in &mut self.lanes {
            lane.states.iter_mut().for_each(|(_, _, state)| state.renumber(moved));
            if let Some(distinct) = &mut lane.distinct {
                distinct.renumber(moved)?;
            }
        }
        Ok(())
    }

    /// From now on [`Changed::next_saved`] gives the state as it is now.
    pub(super) fn save(&mut self) -> Result<()> {
        self.saved = VecDeque::from([("weights".to_owned(), numbers_by_slot(&self.weights))]);
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(distinct) = &mut lane.distinct {
                distinct.save();
            }
            for (place, (_, _, state)) in lane.states.iter().enumerate() {
                self.saved.push_back((state_table(number, place), state.save()?));
            }
        }
        Ok(())
    }

    /// The next table for a snapshot, with its name; `None` if those were all.
    pub(super) fn next_saved(&mut self) -> Result<Option<(String, RecordBatch)>> {
        while let Some((name, state)) = self.saved.front_mut() {
            if let Some(table) = state.next()? {
                return Ok(Some((name.clone(), table.into_batch()?)));
            }
            self.saved.pop_front();
        }
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(distinct) = &mut lane.distinct
                && let Some(table) = distinct.next_saved()?
            {
                return Ok(Some((distinct_table(number), table)));
            }
        }
        Ok(None)
    }

    pub(super) fn restore(&mut self, mut snapshot: Snapshot, total: usize) -> Result<()> {
        for part in snapshot.take_parts("weights") {
            let table = StateTable::from_batch(&part, 1, 0)?;
            table.numbers[0].iter().for_each(|weight| self.weights.push(*weight));
        }
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(distinct) = &mut lane.distinct {
                for part in snapshot.take_parts(&distinct_table(number)) {
                    distinct.restore(&part)?;
                }
            }
            for (place, (_, _, state)) in lane.states.iter_mut().enumerate() {
                for part in snapshot.take_parts(&state_table(number, place)) {
                    state.restore(&part, total)?;
                }
            }
        }
        Ok(())
    }
}

fn state_table(lane: usize, state: usize) -> String {
    format!("state_{lane}_{state}")
}

impl Lane {
    /// The rows that `call` wants.
    fn new(call: &Call) -> Result<Self> {
        let aggregate = &call.aggregate;
        let distinct = call.is_distinct.then(|| Distinct::new(aggregate.arguments())).transpose()?;
        let filter = aggregate.filter().cloned();
        Ok(Self { filter, distinct, arguments: Vec::new(), states: Vec::new() })
    }

    /// The place of a state that has what `call` needs.
    fn state_of(&mut self, call: &Call) -> Result<usize> {
        let kind = Kind::of(call);
        let is_rows = call.reversal == Reversal::Statistic(Moment::Rows);
        let arguments = if is_rows { &[] } else { call.aggregate.arguments() };
        let places: Vec<usize> = arguments.iter().map(|argument| self.place(argument)).collect();
        let known = self.states.iter().position(|(other, of, _)| *other == kind && *of == places);
        if let Some(known) = known {
            return Ok(known);
        }
        let types: Vec<DataType> = arguments.iter().map(|argument| argument.data_type().clone()).collect();
        self.states.push((kind, places, kind.state(&types)?));
        Ok(self.states.len() - 1)
    }

    fn place(&mut self, argument: &Arc<dyn Expression>) -> usize {
        let known = self.arguments.iter().position(|other| Arc::ptr_eq(other, argument));
        known.unwrap_or_else(|| {
            self.arguments.push(Arc::clone(argument));
            self.arguments.len() - 1
        })
    }

    fn add(&mut self, rows: &RecordBatch, additions: &Additions<'_>) -> Result<()> {
        let Some(filter) = &self.filter else {
            return self.add_distinct(rows, additions);
        };
        let keep = only_true(filter.as_ref(), rows)?;
        let kept = || (0..rows.num_rows()).filter(|row| keep.value(*row));
        let slots: Vec<u32> = kept().map(|row| additions.slots[row]).collect();
        let weights: Vec<i64> = kept().map(|row| additions.weights[row]).collect();
        let rows = filter_record_batch(rows, &keep)?;
        self.add_distinct(&rows, &Additions { slots: &slots, weights: &weights, total: additions.total })
    }

    fn add_distinct(&mut self, rows: &RecordBatch, additions: &Additions<'_>) -> Result<()> {
        let Some(distinct) = &mut self.distinct else {
            return self.add_all(rows, additions);
        };
        let (passed, weights) = distinct.pass(rows, additions.slots, additions.weights)?;
        let slots = slots_at(additions.slots, &passed);
        let rows = take_record_batch(rows, &passed)?;
        self.add_all(&rows, &Additions { slots: &slots, weights: &weights, total: additions.total })
    }

    fn add_all(&mut self, rows: &RecordBatch, additions: &Additions<'_>) -> Result<()> {
        let columns = self.arguments.iter().map(|argument| argument.evaluate(rows));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        for (_, arguments, state) in &mut self.states {
            let arguments: Vec<ArrayRef> = arguments.iter().map(|at| Arc::clone(&columns[*at])).collect();
            state.add(&arguments, additions)?;
        }
        Ok(())
    }
}

fn slots_at(slots: &[u32], rows: &UInt32Array) -> Vec<u32> {
    rows.values().iter().map(|row| slots[*row as usize]).collect()
}
