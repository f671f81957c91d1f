//! `GROUP BY` without a window: a row for each group, kept up to date.
//!
//! ```text
//! rows --> keys as slots --> appended.rs  rows are only added: partial results, carried from epoch to epoch
//!                            changed.rs   rows are taken back too: state.rs  counts and sums
//!                                                                  exact.rs  sums of doubles without rounding
//!                                                                  kept.rs   all values, in order
//!                            distinct.rs  f(DISTINCT x): each value of a group once
//!                        --> emitted.rs   what each group gave last; at the end of an epoch the difference goes out
//! rows.rs     DISTINCT of rows that are only added
//! partial.rs  the rows of an epoch on one worker, before they meet those of the others
//! ```
//!
//! - Rows: append-only or changelog in. Out comes a changelog: for each group whose row has changed in the epoch the
//!   old row with weight -1 and the new one with weight +1. A group without rows has no row, except the only group of
//!   an aggregate without keys, which is there from the first epoch on.
//!   While history is read, rows are given every few epochs and not after each ([`EpochHeader::more_follows`]): changes of
//!   changes are left out.
//! - State: per group the key, the partial results and the row that it gave last. Per distinct value of
//!   `f(DISTINCT x)` one entry. Where rows are taken back, least and greatest values, medians and whatever else cannot
//!   be computed backwards keep every distinct value of the group with its weight. A snapshot shares it (`shared/`).
//! - Cost: a row is added to its group once; an epoch costs the groups that it touches, not those that there are. An
//!   aggregate that keeps all values is computed anew from those of each group that is touched.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::{DataType, SchemaRef};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::{Aggregate, Expression, Moment};
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::EpochHeader;
use lineshaft_engine::{Error, Result};

mod appended;
mod changed;
mod distinct;
mod emitted;
mod exact;
mod kept;
mod partial;
mod rows;
mod state;

pub use partial::{PartialGroups, PartialOptions};
pub use rows::DistinctRows;

use crate::keys::KeyInterner;
use crate::window::columns_at;
use crate::window::groups::GroupTable;
use crate::window::state::StateTable;
use appended::Appended;
use changed::Changed;
use emitted::{Emitted, Epoch};

/// Arguments of [`GroupAggregate`].
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// Columns of the key.
    pub keys: Vec<usize>,
    /// What is computed.
    pub calls: Vec<Call>,
    /// Rows may be taken back.
    pub takes_changes: bool,
    /// Columns of the rows that come.
    pub input: SchemaRef,
    /// The key columns, then the results.
    pub schema: SchemaRef,
}

/// A call of an aggregate function.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function, without `DISTINCT`.
    pub aggregate: Arc<dyn Aggregate>,
    /// `f(DISTINCT x)`.
    pub is_distinct: bool,
    /// How a row is taken back.
    pub reversal: Reversal,
}

/// How a row is taken out of an aggregate again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reversal {
    /// It is this statistic of one argument, of any type. Least and greatest come from the kept values.
    Statistic(Moment),
    /// The values are kept; it does not matter how often one is there.
    Set,
    /// The values are kept, each as often as it is there.
    Bag,
}

/// `GROUP BY` without a window.
pub struct GroupAggregate {
    options: GroupOptions,
    interner: KeyInterner,
    work: Work,
    emitted: Emitted,
    /// The groups that rows have come to since changes were given.
    touched: GroupTable,
    numbers: Vec<usize>,
    slots: Vec<u32>,
    /// There is one group, it is here, and its first row has not been given.
    awaits_first: bool,
    /// What a snapshot that has begun is still to give of the keys: the slots from one to another.
    saved_keys: Range<usize>,
}

enum Work {
    Appended(Appended),
    Changed(Changed),
}

/// Fewer slots than this are not worth taking back.
const FEW_SLOTS: usize = 1024;
/// Nor are they while there are not so many times the groups that have a row.
const IDLE_SHARE: usize = 4;
/// Groups that wait with their changes, at most: their partial results are in memory twice.
const MAX_WAITING: usize = 1 << 18;
/// Slots of a part of a snapshot.
const PART: usize = 65_536;

impl GroupAggregate {
    /// The operator. Without keys the only group is on the first worker.
    ///
    /// # Errors
    /// If an aggregate or key is of a type that is not supported.
    pub fn new(options: GroupOptions, is_first_worker: bool) -> Result<Self> {
        let fields = options.schema.fields().iter().take(options.keys.len());
        let types: Vec<DataType> = fields.map(|field| field.data_type().clone()).collect();
        let has_one_group = options.keys.is_empty() && is_first_worker;
        let work = match options.takes_changes {
            true => Work::Changed(Changed::new(&options.calls, has_one_group)?),
            false => Work::Appended(Appended::new(&options.calls)?),
        };
        Ok(Self {
            interner: KeyInterner::new(&types)?,
            work,
            emitted: Emitted::new(Arc::clone(&options.schema), options.keys.len()),
            touched: GroupTable::default(),
            numbers: Vec::new(),
            slots: Vec::new(),
            awaits_first: has_one_group,
            saved_keys: 0..0,
            options,
        })
    }

    /// Groups that have a row.
    pub fn groups(&self) -> usize {
        self.emitted.len()
    }

    fn add(&mut self, batch: &Batch) -> Result<()> {
        let rows = batch.rows();
        let keys = columns_at(rows, &self.options.keys);
        self.interner.intern(&keys, rows.num_rows(), &mut self.slots)?;
        let known = self.touched.len();
        self.touched.assign(&self.slots, self.interner.len(), &mut self.numbers);
        match &mut self.work {
            Work::Appended(appended) => {
                let emitted = &self.emitted;
                let loaded = self.touched.put_first(known, |slot| emitted.has(slot));
                if loaded > 0 {
                    self.touched.assign(&self.slots, self.interner.len(), &mut self.numbers);
                    appended.load(emitted, &self.touched.slots()[known..known + loaded], known)?;
                }
                appended.add(rows, &self.slots, &self.numbers, self.touched.len())
            }
            Work::Changed(changed) => changed.add(rows, batch.weights(), &self.slots, self.interner.len()),
        }
    }

    /// The only group has a row before any row comes.
    fn touch_only_group(&mut self) -> Result<()> {
        self.awaits_first = false;
        self.touched.assign(&[0], 1, &mut self.numbers);
        self.add(&Batch::new(RecordBatch::new_empty(Arc::clone(&self.options.input))))
    }

    /// What the touched groups give now.
    fn evaluate(&mut self) -> Result<Epoch> {
        let slots = self.touched.take();
        match &mut self.work {
            Work::Appended(appended) => appended.evaluate(slots),
            Work::Changed(changed) => changed.evaluate(slots),
        }
    }

    /// The keys of the next slots for a snapshot; `None` if those were all.
    fn next_keys(&mut self) -> Result<Option<RecordBatch>> {
        let slots: Vec<u32> =
            self.saved_keys.by_ref().take(PART).filter_map(|slot| u32::try_from(slot).ok()).collect();
        if slots.is_empty() {
            return Ok(None);
        }
        let keys = self.interner.columns(&slots)?;
        let numbers = vec![vec![i64::from(self.awaits_first); slots.len()]];
        StateTable { numbers, keys, values: Vec::new() }.into_batch().map(Some)
    }

    /// Takes back the slots of groups without rows.
    fn reclaim(&mut self) -> Result<()> {
        let Work::Changed(changed) = &mut self.work else { return Ok(()) };
        let (emitted, touched) = (&self.emitted, &self.touched);
        let is_needed = |slot| changed.is_live(slot) || emitted.has(slot) || touched.has(slot);
        let moved = self.interner.retain(is_needed)?;
        changed.renumber(&moved)?;
        self.emitted.renumber(&moved);
        self.touched.renumber(&moved);
        Ok(())
    }
}

impl Operator for GroupAggregate {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        if batch.weights().is_some_and(|weights| weights.values().iter().any(|weight| *weight != 1))
            && matches!(self.work, Work::Appended(_))
        {
            return Err(Error::operator("group", "it takes append-only rows, not a changelog"));
        }
        self.add(&batch)
    }

    fn on_epoch_end(&mut self, header: EpochHeader, output: &mut Output) -> Result<()> {
        if self.awaits_first {
            self.touch_only_group()?;
        }
        let may_wait = header.more_follows && self.touched.len() < MAX_WAITING;
        if self.touched.len() == 0 || may_wait {
            return Ok(());
        }
        let epoch = self.evaluate()?;
        if let Some(batch) = self.emitted.replace(epoch, &self.interner)? {
            output.send(batch);
        }
        // What is saved has the numbers of slots.
        if !self.emitted.is_saving() && self.interner.len() > FEW_SLOTS.max(self.emitted.len() * IDLE_SHARE) {
            self.reclaim()?;
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.saved_keys = 0..self.interner.len();
        self.emitted.save();
        let states = match &mut self.work {
            Work::Appended(appended) => {
                appended.save();
                appended.states(self.touched.len())?
            }
            Work::Changed(changed) => {
                changed.save()?;
                Vec::new()
            }
        };
        let slots = self.touched.slots().iter().map(|slot| i64::from(*slot)).collect();
        let waiting = StateTable { numbers: vec![slots], keys: Vec::new(), values: states };
        let mut snapshot = Snapshot::default();
        snapshot.put("waiting", waiting.into_batch()?);
        Ok(snapshot)
    }

    /// The keys, the state, and last the rows that were given: that ends it.
    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        let table = match self.next_keys()? {
            Some(keys) => Some(("groups".to_owned(), keys)),
            None => match self.work.next_saved()? {
                None => self.emitted.next_saved()?.map(|emitted| ("emitted".to_owned(), emitted)),
                state => state,
            },
        };
        Ok(table.map(|(name, table)| {
            let mut snapshot = Snapshot::default();
            snapshot.put(&name, table);
            snapshot
        }))
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let other = || Error::operator("group", "a snapshot of another operator");
        for part in snapshot.take_parts("groups") {
            let groups = StateTable::from_batch(&part, 1, self.options.keys.len())?;
            self.interner.intern(&groups.keys, groups.rows(), &mut self.slots)?;
            self.awaits_first &= groups.numbers[0].first().is_none_or(|awaits| *awaits == 1);
        }
        for part in snapshot.take_parts("emitted") {
            self.emitted.restore(&part)?;
        }
        let waiting = snapshot.take("waiting");
        match &mut self.work {
            Work::Appended(appended) => appended.restore(snapshot)?,
            Work::Changed(changed) => changed.restore(snapshot, self.interner.len())?,
        }
        // A snapshot of an older version has none that wait.
        let Some(waiting) = waiting.filter(|waiting| waiting.num_rows() > 0) else { return Ok(()) };
        let waiting = StateTable::from_batch(&waiting, 1, 0)?;
        let slots = waiting.numbers[0].iter().map(|slot| u32::try_from(*slot).map_err(|_| other()));
        let slots = slots.collect::<Result<Vec<u32>>>()?;
        self.touched.assign(&slots, self.interner.len(), &mut self.numbers);
        match &mut self.work {
            Work::Appended(appended) => appended.put_back(&waiting.values, slots.len()),
            Work::Changed(_) => Ok(()),
        }
    }
}

impl Work {
    fn next_saved(&mut self) -> Result<Option<(String, RecordBatch)>> {
        match self {
            Self::Appended(appended) => appended.next_saved(),
            Self::Changed(changed) => changed.next_saved(),
        }
    }
}

/// The table of the distinct values of a lane.
fn distinct_table(lane: usize) -> String {
    format!("distinct_{lane}")
}

/// For which of `rows` a condition is true.
fn only_true(condition: &dyn Expression, rows: &RecordBatch) -> Result<BooleanArray> {
    let column = condition.evaluate(rows)?;
    let column =
        column.as_boolean_opt().ok_or_else(|| Error::operator("group", "a FILTER is not a boolean"))?;
    Ok(if column.null_count() == 0 { column.clone() } else { prep_null_mask_filter(column) })
}

#[cfg(test)]
mod tests;
