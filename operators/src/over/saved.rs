//! The state of [`Over`] as tables, part by part as it was when the snapshot began.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, RecordBatch};
use lineshaft_engine::Result;
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::time::Watermark;

use super::call::{number, signed};
use super::rows::{Kept, Partition};
use super::{Over, other_plan};
use crate::shared::{SavedState, SharedDeque, SharedVec};
use crate::window::row_store::{Place, RowStore};
use crate::window::state::StateTable;
use crate::window::waiting::{Rows, SavedRows};

const PROGRESS: &str = "progress";
const PARTITIONS: &str = "partitions";
const WAITING: &str = "waiting";
const ROWS: &str = "rows";
const STORED: &str = "stored";
const UNSENT: &str = "unsent";

/// Rows of a part of a table, at most. Tests have few.
const PART: usize = if cfg!(test) { 3 } else { 65_536 };

/// The table of what a call remembers.
fn call_table(call: usize) -> String {
    format!("call_{call}")
}

/// What is still to be given.
pub(super) struct Saving {
    waiting: SavedRows,
    partitions: SharedVec<Partition>,
    /// The next partition of that table.
    next: usize,
    rows: Cursor,
    stored: Cursor,
    unsent: Cursor,
    calls: VecDeque<(usize, Box<dyn SavedState>)>,
}

/// A place among the rows of all partitions, one partition after the other.
#[derive(Debug, Default)]
struct Cursor {
    slot: usize,
    row: usize,
}

impl Cursor {
    /// The next of the rows that `of` each partition are saved; empty if that were all.
    fn next<T: Copy>(
        &mut self,
        partitions: &SharedVec<Partition>,
        of: fn(&Partition) -> &SharedDeque<T>,
    ) -> Vec<T> {
        let mut found = Vec::new();
        while let Some(partition) = partitions.get(self.slot).filter(|_| found.len() < PART) {
            let rows = of(partition);
            let end = rows.len().min(self.row + PART - found.len());
            found.extend(rows.range(self.row..end));
            (self.slot, self.row) = if end == rows.len() { (self.slot + 1, 0) } else { (self.slot, end) };
        }
        found
    }
}

impl Over {
    /// Begins a snapshot. Slots keep their numbers: keys are written in the order of their slots.
    pub(super) fn save(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        snapshot.put(PROGRESS, numbers(vec![vec![self.waiting.watermark().0]])?);
        self.partitions.grow(self.interner.len(), Partition::default);
        let mut calls = VecDeque::new();
        for (place, call) in self.calls.iter_mut().enumerate() {
            calls.extend(call.function.save(self.partitions.len())?.map(|state| (place, state)));
        }
        self.saving = Some(Saving {
            waiting: self.waiting.save(),
            partitions: self.partitions.clone(),
            next: 0,
            rows: Cursor::default(),
            stored: Cursor::default(),
            unsent: Cursor::default(),
            calls,
        });
        Ok(snapshot)
    }

    pub(super) fn next_saved(&mut self) -> Result<Option<Snapshot>> {
        let Some((name, table)) = self.next_table()? else {
            self.saving = None;
            return Ok(None);
        };
        let mut snapshot = Snapshot::default();
        snapshot.put(&name, table);
        Ok(Some(snapshot))
    }

    fn next_table(&mut self) -> Result<Option<(String, RecordBatch)>> {
        let Some(saving) = &mut self.saving else { return Ok(None) };
        let named = |name: &str, table: RecordBatch| Ok(Some((name.to_owned(), table)));
        if let Some(Rows { times, slots, columns }) = saving.waiting.next()? {
            let slots = slots.into_iter().map(i64::from).collect();
            let waiting = StateTable { numbers: vec![times, slots], keys: Vec::new(), values: columns };
            return named(WAITING, waiting.into_batch()?);
        }
        let first = saving.next;
        let partitions: Vec<&Partition> = saving.partitions.iter_from(first).take(PART).collect();
        if !partitions.is_empty() {
            saving.next += partitions.len();
            let slots: Vec<u32> = (0..).skip(first).take(partitions.len()).collect();
            return named(PARTITIONS, table_of(&partitions, self.interner.columns(&slots)?)?);
        }
        let rows = saving.rows.next(&saving.partitions, |partition| &partition.rows);
        if !rows.is_empty() {
            let times = rows.iter().map(|row| row.time).collect();
            let begins_peers = rows.iter().map(|row| i64::from(row.begins_peers)).collect();
            return named(ROWS, numbers(vec![times, begins_peers])?);
        }
        let stored = saving.stored.next(&saving.partitions, |partition| &partition.stored);
        if !stored.is_empty() {
            return named(STORED, self.kept.table(&stored)?);
        }
        let unsent = saving.unsent.next(&saving.partitions, |partition| &partition.unsent);
        if !unsent.is_empty() {
            return named(UNSENT, self.unsent.table(&unsent)?);
        }
        while let Some((call, state)) = saving.calls.front_mut() {
            if let Some(table) = state.next()? {
                return named(&call_table(*call), table.into_batch()?);
            }
            saving.calls.pop_front();
        }
        Ok(None)
    }

    pub(super) fn put_back(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let progress = snapshot.take(PROGRESS).ok_or_else(other_plan)?;
        let watermark = Watermark(StateTable::from_batch(&progress, 1, 0)?.numbers[0][0]);
        let waiting = snapshot.take_parts(WAITING).into_iter().map(|part| {
            let mut table = StateTable::from_batch(&part, 2, 0)?;
            let slots = table.numbers[1].iter().map(|slot| u32::try_from(*slot));
            let slots = slots.collect::<Result<_, _>>().map_err(|_| other_plan())?;
            Ok(Rows { times: table.numbers.swap_remove(0), slots, columns: table.values })
        });
        self.waiting.restore(watermark, waiting.collect::<Result<Vec<_>>>()?);
        let mut counts = Vec::new();
        for part in snapshot.take_parts(PARTITIONS) {
            let partitions = StateTable::from_batch(&part, 6, self.options.keys.len())?;
            self.interner.intern(&partitions.keys, partitions.rows(), &mut self.slots)?;
            for row in 0..partitions.rows() {
                let [first, computed, first_stored, rows, stored, unsent] =
                    [0, 1, 2, 3, 4, 5].map(|column: usize| number(partitions.numbers[column][row]));
                let (first, computed, first_stored) = (first?, computed?, first_stored?);
                self.partitions.push(Partition { first, computed, first_stored, ..Partition::default() });
                counts.push([rows?, stored?, unsent?]);
            }
        }
        self.put_back_rows(&mut snapshot, &counts)?;
        for (place, call) in self.calls.iter_mut().enumerate() {
            for table in snapshot.take_parts(&call_table(place)) {
                call.function.restore(&table)?;
            }
        }
        Ok(())
    }

    fn put_back_rows(&mut self, snapshot: &mut Snapshot, counts: &[[usize; 3]]) -> Result<()> {
        let mut rows = Vec::new();
        for part in snapshot.take_parts(ROWS) {
            let table = StateTable::from_batch(&part, 2, 0)?;
            let parts = table.numbers[0].iter().zip(&table.numbers[1]);
            rows.extend(parts.map(|(time, begins)| Kept { time: *time, begins_peers: *begins == 1 }));
        }
        let stored = put_back_places(&mut self.kept, snapshot.take_parts(STORED))?;
        let unsent = put_back_places(&mut self.unsent, snapshot.take_parts(UNSENT))?;
        (self.live, self.unsent_rows) = (stored.len(), unsent.len());
        let (mut rows, mut stored, mut unsent) = (rows.into_iter(), stored.into_iter(), unsent.into_iter());
        for ((slot, partition), [of_rows, of_stored, of_unsent]) in
            (0..).zip(self.partitions.iter_mut()).zip(counts)
        {
            partition.rows.extend(rows.by_ref().take(*of_rows));
            partition.stored.extend(stored.by_ref().take(*of_stored));
            partition.unsent.extend(unsent.by_ref().take(*of_unsent));
            if *of_unsent > 0 {
                self.unsent_slots.insert(slot);
            }
        }
        Ok(())
    }
}

fn numbers(numbers: Vec<Vec<i64>>) -> Result<RecordBatch> {
    StateTable { numbers, keys: Vec::new(), values: Vec::new() }.into_batch()
}

fn table_of(partitions: &[&Partition], keys: Vec<ArrayRef>) -> Result<RecordBatch> {
    let of = |number: fn(&Partition) -> usize| {
        partitions.iter().map(|partition| signed(number(partition) as u64)).collect()
    };
    let numbers = vec![
        of(|partition| partition.first),
        of(|partition| partition.computed),
        of(|partition| partition.first_stored),
        of(|partition| partition.rows.len()),
        of(|partition| partition.stored.len()),
        of(|partition| partition.unsent.len()),
    ];
    StateTable { numbers, keys, values: Vec::new() }.into_batch()
}

/// The places of rows that were saved, in their order.
fn put_back_places(store: &mut RowStore, parts: Vec<RecordBatch>) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for part in parts {
        places.extend(store.restore(&part)?);
    }
    Ok(places)
}
