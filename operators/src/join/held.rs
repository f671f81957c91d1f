//! Rows of one side of a join that wait for rows of the other, by key and event time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{cast, take, take_record_batch};
use arrow::datatypes::{FieldRef, SchemaRef};
use lineshaft_engine::spill::Spill;
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Error, Result};

use super::on_disk::{BlocksOnDisk, interleaved};
use crate::window::flags::{Columns, Flags, Saved};
use crate::window::row_store::{Place, RowStore};

/// A row that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) time: EventTime,
    pub(super) place: Place,
}

/// A row of a batch that is to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) row: u32,
    pub(super) slot: u32,
    pub(super) time: EventTime,
    pub(super) is_matched: bool,
}

/// The rows of a key in the order of their event time, and of arrival where that is the same.
///
/// Memory: the columns of the rows, and 16 bytes for each.
#[derive(Debug, Default)]
pub(super) struct Held {
    store: RowStore,
    /// Blocks that do not fit into memory; the store has their numbers and no rows.
    on_disk: BlocksOnDisk,
    /// Bytes of each block in memory, about.
    sizes: Vec<usize>,
    /// Which rows of each block of the store are there, and which have come out with a row of the other side.
    flags: Vec<Flags>,
    /// What a snapshot that has begun is still to give.
    saved: VecDeque<Saved>,
    by_slot: Vec<VecDeque<Entry>>,
    rows: usize,
    /// The first time of each slot that has rows; see `next`.
    due: BinaryHeap<Reverse<(EventTime, u32)>>,
    /// Which entry of `due` counts, by slot; the others are of the past.
    next: Vec<Option<EventTime>>,
}

impl Held {
    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Adds rows of a batch.
    pub(super) fn push(&mut self, rows: &RecordBatch, arrivals: &[Arrival]) -> Result<()> {
        if arrivals.is_empty() {
            return Ok(());
        }
        let all = arrivals.len() == rows.num_rows();
        let kept = if all {
            rows.clone()
        } else {
            take_record_batch(rows, &arrivals.iter().map(|arrival| arrival.row).collect::<UInt32Array>())?
        };
        self.sizes.push(kept.columns().iter().map(|column| column.get_array_memory_size()).sum());
        let places = self.store.push(kept.columns().to_vec(), kept.num_rows());
        self.flags.push(Flags::new(arrivals.iter().map(|arrival| arrival.is_matched)));
        for (arrival, place) in arrivals.iter().zip(places) {
            self.insert(arrival.slot, Entry { time: arrival.time, place });
        }
        self.rows += arrivals.len();
        Ok(())
    }

    fn insert(&mut self, slot: u32, entry: Entry) {
        let at = slot as usize;
        if self.by_slot.len() <= at {
            self.by_slot.resize_with(at + 1, VecDeque::new);
            self.next.resize(at + 1, None);
        }
        let rows = &mut self.by_slot[at];
        match rows.back() {
            Some(last) if last.time > entry.time => {
                let place = rows.partition_point(|other| other.time <= entry.time);
                rows.insert(place, entry);
            }
            _ => rows.push_back(entry),
        }
        if self.next[at].is_none_or(|next| entry.time < next) {
            self.next[at] = Some(entry.time);
            self.due.push(Reverse((entry.time, slot)));
        }
    }

    /// The rows of a key, in order.
    pub(super) fn of(&self, slot: u32) -> Option<&VecDeque<Entry>> {
        self.by_slot.get(slot as usize)
    }

    /// Where the rows of a key with a time of `first..=last` are.
    pub(super) fn between(&self, slot: u32, first: EventTime, last: EventTime) -> Range<usize> {
        let Some(rows) = self.of(slot) else { return 0..0 };
        let start = rows.partition_point(|entry| entry.time < first);
        let end = rows.partition_point(|entry| entry.time <= last);
        start..end.max(start)
    }

    /// Where a row of a key is, by its place in their order.
    pub(super) fn place(&self, slot: u32, index: usize) -> Place {
        self.by_slot[slot as usize][index].place
    }

    /// The row has come out with another one; true if it had not before.
    pub(super) fn mark(&mut self, place: Place) -> bool {
        self.flags[place.block()].mark(place.row())
    }

    /// True if the row has come out with another one.
    pub(super) fn is_matched(&self, place: Place) -> bool {
        self.flags[place.block()].is_matched(place.row())
    }

    /// Takes out the rows whose time is past, oldest first.
    pub(super) fn expire(&mut self, is_past: impl Fn(EventTime) -> bool) -> Vec<Entry> {
        let mut expired = Vec::new();
        while let Some(Reverse((time, slot))) = self.due.peek().copied() {
            if !is_past(time) {
                break;
            }
            self.due.pop();
            if self.next[slot as usize] != Some(time) {
                continue;
            }
            let rows = &mut self.by_slot[slot as usize];
            while let Some(first) = rows.pop_front_if(|first| is_past(first.time)) {
                self.flags[first.place.block()].remove(first.place.row());
                expired.push(first);
            }
            self.next[slot as usize] = rows.front().map(|first| first.time);
            self.due.extend(rows.front().map(|first| Reverse((first.time, slot))));
        }
        self.rows -= expired.len();
        expired
    }

    /// Forgets the first rows of a key for which `is_needless` holds, given the row after it.
    pub(super) fn prune(&mut self, slot: u32, is_needless: impl Fn(Entry, Option<Entry>) -> bool) {
        let Some(rows) = self.by_slot.get_mut(slot as usize) else { return };
        while let Some(first) = rows.front().copied() {
            if !is_needless(first, rows.get(1).copied()) {
                return;
            }
            rows.pop_front();
            self.flags[first.place.block()].remove(first.place.row());
            self.rows -= 1;
        }
    }

    /// All slots that there may be rows of.
    pub(super) fn slots(&self) -> Range<u32> {
        0..u32::try_from(self.by_slot.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn has(&self, slot: u32) -> bool {
        self.of(slot).is_some_and(|rows| !rows.is_empty())
    }

    /// The columns of the rows at `places`, in that order; of the schema if there has been no row at all.
    pub(super) fn pick(&self, schema: &SchemaRef, places: &[Place]) -> Result<Vec<ArrayRef>> {
        if places.is_empty() {
            return Ok(schema.fields().iter().map(|field| new_null_array(field.data_type(), 0)).collect());
        }
        if self.on_disk.is_empty() { self.store.pick(places) } else { self.pick_anywhere(places) }
    }

    fn pick_anywhere(&self, places: &[Place]) -> Result<Vec<ArrayRef>> {
        let (on_disk, in_memory): (Vec<Place>, Vec<Place>) =
            places.iter().partition(|place| self.on_disk.has(place.block()));
        if on_disk.is_empty() {
            return self.store.pick(places);
        }
        let parts = [self.store.pick(&in_memory)?, self.on_disk.pick(&on_disk)?];
        let mut next = [0, 0];
        let order = places.iter().map(|place| {
            let part = usize::from(self.on_disk.has(place.block()));
            next[part] += 1;
            (part, next[part] - 1)
        });
        interleaved(&parts, &order.collect::<Vec<_>>())
    }

    /// See [`RowStore::pick_some`].
    pub(super) fn pick_some(&self, fields: &[FieldRef], places: &[Option<Place>]) -> Result<Vec<ArrayRef>> {
        let found: Vec<Place> = places.iter().flatten().copied().collect();
        if found.is_empty() || self.on_disk.is_empty() {
            return self.store.pick_some(fields, places);
        }
        let mut next = 0..;
        let rows: UInt32Array = places.iter().map(|place| place.and_then(|_| next.next())).collect();
        let columns = self.pick_anywhere(&found)?;
        let column = |(field, column): (&FieldRef, &ArrayRef)| {
            Ok(cast(&take(column, &rows, None)?, field.data_type())?)
        };
        fields.iter().zip(&columns).map(column).collect()
    }

    /// Puts all rows together, where they are picked fastest; not if they do not fit into memory.
    pub(super) fn gather(&mut self) -> Result<()> {
        if self.store.is_scattered() && self.on_disk.is_empty() { self.pack() } else { Ok(()) }
    }

    /// Frees the memory of rows that are gone, if they are more than those that wait.
    pub(super) fn compact(&mut self) -> Result<()> {
        match self.on_disk.is_empty() {
            true if self.store.is_sparse(self.rows) => self.pack(),
            true => Ok(()),
            false => {
                self.forget_empty_blocks();
                Ok(())
            }
        }
    }

    fn pack(&mut self) -> Result<()> {
        let marks: Vec<bool> =
            self.by_slot.iter().flatten().map(|entry| self.is_matched(entry.place)).collect();
        let live = self.by_slot.iter_mut().flatten().map(|entry| &mut entry.place);
        self.store.compact(live)?;
        self.flags = self.store.blocks().iter().map(|_| Flags::new(marks.iter().copied())).collect();
        let size =
            |columns: &Vec<ArrayRef>| columns.iter().map(|column| column.get_array_memory_size()).sum();
        self.sizes = self.store.blocks().iter().map(size).collect();
        Ok(())
    }

    /// After slots were taken back.
    pub(super) fn renumber(&mut self, moved: &[Option<u32>]) {
        let old = std::mem::take(&mut self.by_slot);
        self.next.clear();
        self.due.clear();
        for (rows, slot) in old.into_iter().zip(moved) {
            let Some(slot) = slot.filter(|_| !rows.is_empty()) else { continue };
            let at = slot as usize;
            if self.by_slot.len() <= at {
                self.by_slot.resize_with(at + 1, VecDeque::new);
                self.next.resize(at + 1, None);
            }
            self.next[at] = rows.front().map(|first| first.time);
            self.due.extend(rows.front().map(|first| Reverse((first.time, slot))));
            self.by_slot[at] = rows;
        }
    }

    /// From now on [`Held::next_saved`] gives the rows as they are now: blocks do not change, so they are shared.
    pub(super) fn save(&mut self) {
        let blocks = self.store.blocks().iter().zip(&self.flags).enumerate();
        let saved =
            blocks.filter(|(_, (_, flags))| flags.has_rows()).flat_map(|(number, (columns, flags))| {
                flags.save(self.on_disk.columns(number).unwrap_or_else(|| Columns::InMemory(columns.clone())))
            });
        self.saved = saved.collect();
    }

    /// The next rows with their marks, for a snapshot; `None` if that were all.
    pub(super) fn next_saved(&mut self) -> Result<Option<RecordBatch>> {
        let Some(columns) = Saved::next(&mut self.saved)? else { return Ok(None) };
        let columns = columns.into_iter().enumerate();
        let named = columns.map(|(number, column)| (format!("c{number}"), column, true));
        Ok(Some(RecordBatch::try_from_iter_with_nullable(named)?))
    }

    /// Takes apart what [`Held::next_saved`] gave: the rows, and their marks.
    pub(super) fn untable(table: &RecordBatch, schema: &SchemaRef) -> Result<(RecordBatch, Vec<bool>)> {
        let other_plan = || Error::operator("join", "a snapshot of another operator");
        let (marks, columns) = table.columns().split_first().ok_or_else(other_plan)?;
        let marks = marks.as_boolean_opt().ok_or_else(other_plan)?.iter().map(|mark| mark == Some(true));
        let rows = RecordBatch::try_new(Arc::clone(schema), columns.to_vec())?;
        Ok((rows, marks.collect()))
    }
}

/// Bytes of a row besides its columns.
const ENTRY: usize = size_of::<Entry>();
/// Numbers of blocks without rows are taken back when they are more than this, and more than half of all.
const FEW_BLOCKS: usize = if cfg!(test) { 4 } else { 256 };
/// So many rows are brought back at once, about.
const REST: usize = 65_536;

/// What does not fit into memory.
impl Held {
    /// Bytes in memory, about.
    pub(super) fn size(&self) -> usize {
        self.sizes.iter().sum::<usize>() + self.rows * ENTRY
    }

    /// Number of blocks, in memory or on disk.
    #[cfg(test)]
    pub(super) fn blocks(&self) -> usize {
        self.flags.len()
    }

    /// Moves the oldest blocks to disk, until so many bytes are free; gives those that are.
    pub(super) fn move_to_disk(&mut self, spill: &Spill, bytes: usize) -> Result<usize> {
        let (mut free, mut numbers) = (0, Vec::new());
        for (number, size) in self.sizes.iter().enumerate() {
            if free >= bytes {
                break;
            }
            if *size > 0 && self.flags[number].has_rows() {
                free += size;
                numbers.push(number);
            }
        }
        let blocks: Vec<_> = numbers.iter().map(|number| (*number, &self.store.blocks()[*number])).collect();
        if blocks.is_empty() || !self.on_disk.write(&blocks, spill)? {
            return Ok(0);
        }
        numbers.into_iter().for_each(|number| self.empty(number));
        Ok(free)
    }

    /// Nothing of a block is in memory.
    fn empty(&mut self, block: usize) {
        self.store.take_block(block);
        self.sizes[block] = 0;
    }

    /// Brings what is left of blocks on disk back to memory if that is little, so that single rows that stay do not keep the disk
    /// of all.
    pub(super) fn gather_rests(&mut self, schema: &SchemaRef) -> Result<()> {
        let mut rows = 0;
        let is_rest = self.flags.iter().enumerate().map(|(number, flags)| {
            let is_rest = rows < REST && flags.is_rest() && self.on_disk.has(number);
            rows += if is_rest { flags.left() } else { 0 };
            is_rest
        });
        let is_rest: Vec<bool> = is_rest.collect();
        if rows == 0 {
            return Ok(());
        }
        // All rows of a key, so that those of one time stay in the order in which they came.
        let has_rest = |rows: &&mut VecDeque<Entry>| rows.iter().any(|entry| is_rest[entry.place.block()]);
        let entries: Vec<&mut Entry> = self.by_slot.iter_mut().filter(has_rest).flatten().collect();
        let old: Vec<Place> = entries.iter().map(|entry| entry.place).collect();
        let block = self.flags.len();
        for (row, entry) in (0..).zip(entries) {
            entry.place = Place::at(block, row);
        }
        let columns = self.pick(schema, &old)?;
        let marks: Vec<bool> = old.iter().map(|place| self.is_matched(*place)).collect();
        old.iter().for_each(|place| self.flags[place.block()].remove(place.row()));
        self.flags.push(Flags::new(marks.into_iter()));
        self.sizes.push(columns.iter().map(|column| column.get_array_memory_size()).sum());
        // The places are those given above.
        let places = self.store.push(columns, old.len());
        debug_assert!(places.last().is_some_and(|last| last.block() == block));
        self.forget_empty_blocks();
        Ok(())
    }

    /// Packing would bring all rows into memory.
    fn forget_empty_blocks(&mut self) {
        let mut empty = 0;
        for block in 0..self.flags.len() {
            if self.flags[block].has_rows() {
                continue;
            }
            empty += 1;
            self.on_disk.forget(block);
            if self.sizes[block] > 0 {
                self.empty(block);
            }
        }
        if empty > FEW_BLOCKS.max(self.flags.len() / 2) {
            self.renumber_blocks();
        }
    }

    fn renumber_blocks(&mut self) {
        let mut next = 0..;
        let moved: Vec<Option<usize>> =
            self.flags.iter().map(|flags| if flags.has_rows() { next.next() } else { None }).collect();
        for entry in self.by_slot.iter_mut().flatten() {
            if let Some(block) = moved[entry.place.block()] {
                entry.place = entry.place.in_block(block);
            }
        }
        self.on_disk.renumber(&moved);
        self.store.retain_blocks(|block| moved[block].is_some());
        let mut stays = moved.iter().map(Option::is_some);
        self.flags.retain(|_| stays.next() == Some(true));
        let mut stays = moved.iter().map(Option::is_some);
        self.sizes.retain(|_| stays.next() == Some(true));
    }
}
