//! What windows over ordered rows share: rows come in, wait, and come out final.

use arrow::array::{Array, ArrayRef};
use arrow::compute::{filter_record_batch, is_not_null};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::time::Watermark;
use lineshaft_engine::{Error, Result};

use super::arguments::Aggregates;
use super::state::StateTable;
use super::waiting::{Rows, SavedRows, Waiting};
use super::{columns_at, timed_rows, times};
use crate::keys::KeyInterner;

/// Rows by key that wait until the watermark passes them.
pub(super) struct Arrivals {
    time: usize,
    keys: Vec<usize>,
    pub(super) interner: KeyInterner,
    waiting: Waiting,
    pub(super) ignored: u64,
    slots: Vec<u32>,
    reclaim_at: usize,
    /// What a snapshot that has begun is still to give.
    saved: SavedRows,
    /// A snapshot has begun that has not given all: what it has noted are the numbers of slots.
    pub(super) is_saving: bool,
}

/// Fewer slots than this are not worth taking back.
const FEW_SLOTS: usize = 1024;

impl Arrivals {
    /// `schema` is that of the output: it begins with the key columns.
    pub(super) fn new(time: usize, keys: &[usize], schema: &SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().take(keys.len());
        let types: Vec<_> = fields.map(|field| field.data_type().clone()).collect();
        Ok(Self {
            time,
            keys: keys.to_vec(),
            interner: KeyInterner::new(&types)?,
            waiting: Waiting::default(),
            ignored: 0,
            slots: Vec::new(),
            reclaim_at: FEW_SLOTS,
            saved: SavedRows::default(),
            is_saving: false,
        })
    }

    /// Adds rows; with a `state` column, those that have a state, and that column behind those of the arguments.
    pub(super) fn add(&mut self, batch: Batch, aggregates: &Aggregates, state: Option<usize>) -> Result<()> {
        let mut rows = timed_rows(batch, self.time)?;
        if let Some(state) = state.filter(|state| rows.column(*state).logical_null_count() > 0) {
            rows = filter_record_batch(&rows, &is_not_null(rows.column(state))?)?;
        }
        let keys = columns_at(&rows, &self.keys);
        self.interner.intern(&keys, rows.num_rows(), &mut self.slots)?;
        let mut columns = aggregates.evaluate(&rows)?;
        columns.extend(state.map(|state| ArrayRef::clone(rows.column(state))));
        let late = self.waiting.push(Rows {
            times: times(&rows, self.time)?.to_vec(),
            slots: self.slots.clone(),
            columns,
        })?;
        self.ignored += late as u64;
        Ok(())
    }

    /// Takes out the rows that are final now, by key and then in event-time order, ties in order of arrival.
    pub(super) fn settle(&mut self, watermark: Watermark) -> Result<Rows> {
        self.waiting.settle(watermark)
    }

    /// Takes back the slots of keys for which nothing waits and `live` is false, once they may be half of all;
    /// tells the new slot of each.
    pub(super) fn reclaim(&mut self, live: impl Fn(u32) -> bool) -> Result<Option<Vec<Option<u32>>>> {
        if self.is_saving || self.interner.len() < self.reclaim_at {
            return Ok(None);
        }
        let mut waits = vec![false; self.interner.len()];
        self.waiting.slots().for_each(|slot| waits[slot as usize] = true);
        let moved = self.interner.retain(|slot| waits[slot as usize] || live(slot))?;
        self.waiting.renumber(&moved);
        self.reclaim_at = FEW_SLOTS.max(self.interner.len() * 2);
        Ok(Some(moved))
    }

    /// Begins a snapshot; [`Arrivals::next_saved`] gives the rest.
    pub(super) fn snapshot(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        self.saved = self.waiting.save();
        self.is_saving = true;
        let progress = StateTable {
            numbers: vec![vec![self.waiting.watermark().0]],
            keys: Vec::new(),
            values: Vec::new(),
        };
        snapshot.put("progress", progress.into_batch()?);
        Ok(())
    }

    /// Rows that waited when the snapshot began; `None` if those were all.
    pub(super) fn next_saved(&mut self) -> Result<Option<Snapshot>> {
        let Some(rows) = self.saved.next()? else { return Ok(None) };
        let waiting = StateTable {
            keys: self.interner.columns(&rows.slots)?,
            numbers: vec![rows.times],
            values: rows.columns,
        };
        let mut snapshot = Snapshot::default();
        snapshot.put("waiting", waiting.into_batch()?);
        Ok(Some(snapshot))
    }

    /// Puts back what [`Arrivals::snapshot`] and [`Arrivals::next_saved`] gave; `others` are columns behind those of the arguments.
    pub(super) fn restore(
        &mut self,
        snapshot: &mut Snapshot,
        aggregates: &Aggregates,
        others: usize,
    ) -> Result<()> {
        let progress = snapshot.take("progress");
        let progress = progress.ok_or_else(|| Error::operator("window", "a snapshot of another operator"))?;
        let progress = StateTable::from_batch(&progress, 1, 0)?;
        let mut rows = Vec::new();
        for waiting in snapshot.take_parts("waiting") {
            let mut waiting = StateTable::from_batch(&waiting, 1, self.keys.len())?;
            rows.push(Rows {
                slots: self.intern(&waiting)?,
                times: waiting.numbers.swap_remove(0),
                columns: aggregates.restored(waiting.values, others),
            });
        }
        self.waiting.restore(Watermark(progress.numbers[0][0]), rows);
        Ok(())
    }

    /// Number of key columns.
    pub(super) fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The slots of the keys of a table.
    pub(super) fn intern(&mut self, table: &StateTable) -> Result<Vec<u32>> {
        let mut slots = Vec::new();
        self.interner.intern(&table.keys, table.rows(), &mut slots)?;
        Ok(slots)
    }
}
