//! Aggregates of a number of rows of each key: `COUNT_WINDOW`.
//!
//! Window `k` of a key has its rows `k * slide .. k * slide + size`, counted in event-time order, ties in order of
//! arrival. `window_start` is the time of its first row and `window_end` the time of its last one. It is emitted when
//! the watermark has passed its last row; one that never gets full is not.
//!
//! - Rows: append-only in and out. Output: the key, `window_start`, `window_end`, the results.
//! - State: the rows above the watermark, and per key the rows of its next window, also of a key that is silent. Rows are in
//!   blocks with their time and slot, which do not change, so that a snapshot shares them. Those of keys that have had no row for
//!   longest may be on disk until their window is full (`count/on_disk.rs`).
//! - Cost: a row is added to each of the `size / slide` windows that it is in.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::{Int64Type, SchemaRef, UInt32Type};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Aggregate;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::spill::Spill;
use lineshaft_engine::time::{EventTime, Watermark};
use lineshaft_engine::{Error, Result};

use super::arguments::{Accumulators, Aggregates};
use super::arrivals::Arrivals;
use super::flags::{Columns, Flags, Saved};
use super::parked::{Parcel, Parked, Piece};
use super::row_store::{Place, RowStore};
use super::send_all;
use super::state::StateTable;
use super::waiting::Rows;
use crate::keys::ABSENT;

mod on_disk;

/// Arguments of `COUNT_WINDOW` with `GROUP BY`.
#[derive(Clone, Debug)]
pub struct CountOptions {
    /// The column of event time.
    pub time: usize,
    /// How many rows after a window the next one begins; equal to the size if windows do not overlap.
    pub slide: usize,
    /// Rows of a window.
    pub size: usize,
    /// Columns of the key.
    pub keys: Vec<usize>,
    /// What is computed; arguments that are one object are computed once.
    pub aggregates: Vec<Arc<dyn Aggregate>>,
    /// The key columns, `window_start`, `window_end`, the results.
    pub schema: SchemaRef,
}

/// `GROUP BY window, key` over `COUNT_WINDOW`.
pub struct CountAggregate {
    options: CountOptions,
    aggregates: Aggregates,
    arrivals: Arrivals,
    /// What is kept of each slot.
    kept: Vec<Kept>,
    /// Times, slots and arguments; those of a key are in their order, as a snapshot gives them.
    rows: RowStore,
    /// Which rows of each block are kept.
    flags: Vec<Flags>,
    live_rows: usize,
    /// The rows that a snapshot which has begun is still to give.
    saved: VecDeque<Saved>,
    /// Those of it that are on disk, which it gives first.
    saved_pieces: VecDeque<(Parcel, Piece)>,
    /// Rows that are on disk; for each slot it is noted how many.
    parked: Parked,
    spill: Spill,
    /// Has no groups between two calls.
    accumulators: Accumulators,
}

/// The beginning of the next window of a key.
#[derive(Debug, Default)]
struct Kept {
    rows: VecDeque<Place>,
    /// So many rows are between the windows.
    skip: usize,
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.skip == 0
    }
}

/// Windows that are full.
#[derive(Debug, Default)]
struct Full {
    slots: Vec<u32>,
    starts: Vec<EventTime>,
    ends: Vec<EventTime>,
    places: Vec<Place>,
}

/// Columns of the rows.
const TIME: usize = 0;
const SLOT: usize = 1;
const ARGUMENTS: usize = 2;
/// The table of the rows in a snapshot.
const ROWS: &str = "rows";

/// Full windows are emitted when they have so many rows together: where windows overlap much, all of an epoch could
/// be more than fits in memory.
const EMIT_ROWS: usize = 262_144;

impl CountAggregate {
    /// The operator.
    ///
    /// # Errors
    /// If size or slide is zero, or an aggregate or key is of a type that is not supported.
    pub fn new(options: CountOptions) -> Result<Self> {
        if options.size == 0 || options.slide == 0 {
            return Err(Error::Plan("a count window of zero rows".to_owned()));
        }
        let aggregates = Aggregates::new(&options.aggregates);
        Ok(Self {
            arrivals: Arrivals::new(options.time, &options.keys, &options.schema)?,
            accumulators: aggregates.accumulators()?,
            aggregates,
            options,
            kept: Vec::new(),
            rows: RowStore::default(),
            flags: Vec::new(),
            live_rows: 0,
            saved: VecDeque::new(),
            saved_pieces: VecDeque::new(),
            parked: Parked::default(),
            spill: Spill::default(),
        })
    }

    /// Rows that came below the watermark.
    pub fn ignored(&self) -> u64 {
        self.arrivals.ignored
    }

    fn count(&mut self, rows: Rows, output: &mut Output) -> Result<()> {
        self.kept.resize_with(self.arrivals.interner.len(), Kept::default);
        let mut full = Full::default();
        let slots = rows.slots.clone();
        // Rows come key by key. Those on disk come back before new ones are stored: blocks are in order of arrival.
        for run in slots.chunk_by(|a, b| a == b) {
            self.wake_if_full(run[0], run.len())?;
        }
        let mut places = self.push(rows).into_iter();
        for run in slots.chunk_by(|a, b| a == b) {
            let (slot, mut rows) = (run[0], run.len());
            while rows > 0 {
                let kept = &mut self.kept[slot as usize];
                let skipped = rows.min(kept.skip);
                kept.skip -= skipped;
                for place in places.by_ref().take(skipped) {
                    self.flags[place.block()].remove(place.row());
                }
                let added = (rows - skipped).min(self.options.size - kept.rows.len());
                kept.rows.extend(places.by_ref().take(added));
                self.live_rows += added;
                rows -= skipped + added;
                if kept.rows.len() == self.options.size {
                    full.add(slot, kept, &self.rows);
                    for gone in kept.move_on(self.options.slide) {
                        self.flags[gone.block()].remove(gone.row());
                        self.live_rows -= 1;
                    }
                }
                if full.places.len() >= EMIT_ROWS {
                    self.emit(std::mem::take(&mut full), output)?;
                }
            }
        }
        self.emit(full, output)
    }

    /// Stores rows, of which none is kept by a key yet.
    fn push(&mut self, rows: Rows) -> Vec<Place> {
        let count = rows.len();
        if count == 0 {
            return Vec::new();
        }
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(rows.times)), Arc::new(UInt32Array::from(rows.slots))];
        columns.extend(rows.columns);
        self.flags.push(Flags::new(std::iter::repeat_n(false, count)));
        self.rows.push(columns, count).collect()
    }

    /// Stores rows and puts them behind those that are kept of their keys.
    fn keep(&mut self, rows: Rows) {
        let slots = rows.slots.clone();
        let places = self.push(rows);
        self.live_rows += places.len();
        for (slot, place) in slots.into_iter().zip(places) {
            self.kept[slot as usize].rows.push_back(place);
        }
    }

    /// The columns of arguments.
    fn arguments(&self) -> Range<usize> {
        ARGUMENTS..self.rows.blocks().first().map_or(ARGUMENTS, Vec::len)
    }

    fn emit(&mut self, full: Full, output: &mut Output) -> Result<()> {
        if full.slots.is_empty() {
            return Ok(());
        }
        let ends: Vec<usize> = (1..=full.slots.len()).map(|window| window * self.options.size).collect();
        let arguments = self.rows.pick_columns(&full.places, self.arguments())?;
        let results = self.accumulators.of_whole_groups(&self.aggregates, &arguments, &ends)?;
        let mut columns = self.arrivals.interner.columns(&full.slots)?;
        columns.push(Arc::new(TimestampMicrosecondArray::from(full.starts)));
        columns.push(Arc::new(TimestampMicrosecondArray::from(full.ends)));
        columns.extend(results);
        let rows = RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?;
        send_all(&self.options.schema, vec![rows], output)
    }

    /// Gives back the memory of rows and keys that are no longer needed.
    fn tidy(&mut self) -> Result<()> {
        if self.rows.is_sparse(self.live_rows) {
            self.compact()?;
        }
        let (kept, parked) = (&self.kept, &self.parked);
        let is_kept =
            |slot: u32| kept.get(slot as usize).is_some_and(|kept| !kept.is_empty()) || parked.has(slot);
        if let Some(moved) = self.arrivals.reclaim(is_kept)? {
            let old = std::mem::take(&mut self.kept);
            self.parked.renumber(&moved);
            let live = old.into_iter().zip(&moved).filter(|(_, moved)| moved.is_some());
            // The order of slots stays, so the live ones are numbered from 0.
            self.kept = live.map(|(kept, _)| kept).collect();
            self.rows.change(SLOT, |slots| {
                let slots = slots.as_primitive::<UInt32Type>().values().iter();
                let moved = slots.map(|slot| moved.get(*slot as usize).copied().flatten().unwrap_or(ABSENT));
                Arc::new(moved.collect::<UInt32Array>())
            });
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        self.rows.compact(self.kept.iter_mut().flat_map(|kept| &mut kept.rows))?;
        let marks = || std::iter::repeat_n(false, self.live_rows);
        self.flags = self.rows.blocks().iter().map(|_| Flags::new(marks())).collect();
        Ok(())
    }
}

impl Full {
    /// Adds the window of a key.
    fn add(&mut self, slot: u32, window: &Kept, rows: &RowStore) {
        let time =
            |place: &Place| rows.blocks()[place.block()][TIME].as_primitive::<Int64Type>().value(place.row());
        self.slots.push(slot);
        self.starts.extend(window.rows.front().map(time));
        self.ends.extend(window.rows.back().map(time));
        self.places.extend(&window.rows);
    }
}

impl Kept {
    /// Leaves what the next window shares with this one; gives the rows that are gone.
    fn move_on(&mut self, slide: usize) -> impl Iterator<Item = Place> {
        let size = self.rows.len();
        self.skip = slide.saturating_sub(size);
        self.rows.drain(..slide.min(size))
    }
}

impl Operator for CountAggregate {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.arrivals.add(batch, &self.aggregates, None)
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        let rows = self.arrivals.settle(watermark)?;
        if !rows.times.is_empty() {
            self.count_some_by_some(rows, output)?;
        }
        self.tidy()?;
        self.make_room()
    }

    fn use_spill(&mut self, spill: Spill) {
        self.spill = spill;
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        self.arrivals.snapshot(&mut snapshot)?;
        self.saved_pieces = self.parked.pieces().collect();
        let blocks = self.rows.blocks().iter().zip(&self.flags);
        self.saved =
            blocks.flat_map(|(columns, flags)| flags.save(Columns::InMemory(columns.clone()))).collect();
        let kept = || (0_u32..).zip(&self.kept);
        let skips = kept().filter(|(_, kept)| kept.skip > 0);
        let (slots, skips): (Vec<u32>, Vec<i64>) = skips.map(|(slot, kept)| (slot, kept.skip as i64)).unzip();
        if !slots.is_empty() {
            let table = StateTable {
                numbers: vec![skips],
                keys: self.arrivals.interner.columns(&slots)?,
                values: Vec::new(),
            };
            snapshot.put("skips", table.into_batch()?);
        }
        Ok(snapshot)
    }

    /// The rows of the keys.
    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        if let Some(waiting) = self.arrivals.next_saved()? {
            return Ok(Some(waiting));
        }
        if let Some((parcel, piece)) = self.saved_pieces.pop_front() {
            return self.saved_piece(&parcel, &piece).map(Some);
        }
        let Some(mut columns) = Saved::next(&mut self.saved)? else {
            self.arrivals.is_saving = false;
            return Ok(None);
        };
        let arguments = columns.split_off(1 + ARGUMENTS);
        let slots = columns[1 + SLOT].as_primitive::<UInt32Type>().values();
        let table = StateTable {
            numbers: vec![columns[1 + TIME].as_primitive::<Int64Type>().values().to_vec()],
            keys: self.arrivals.interner.columns(slots)?,
            values: arguments,
        };
        let mut snapshot = Snapshot::default();
        snapshot.put(ROWS, table.into_batch()?);
        Ok(Some(snapshot))
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        self.arrivals.restore(&mut snapshot, &self.aggregates, 0)?;
        for rows in snapshot.take_parts(ROWS) {
            let mut table = StateTable::from_batch(&rows, 1, self.options.keys.len())?;
            let slots = self.arrivals.intern(&table)?;
            self.kept.resize_with(self.arrivals.interner.len(), Kept::default);
            let times = table.numbers.swap_remove(0);
            let columns = self.aggregates.restored(table.values, 0);
            self.keep(Rows { times, slots, columns });
        }
        if let Some(skips) = snapshot.take("skips") {
            let table = StateTable::from_batch(&skips, 1, self.options.keys.len())?;
            let slots = self.arrivals.intern(&table)?;
            self.kept.resize_with(self.arrivals.interner.len(), Kept::default);
            for (slot, skip) in slots.into_iter().zip(&table.numbers[0]) {
                self.kept[slot as usize].skip = usize::try_from(*skip).unwrap_or_default();
            }
        }
        self.make_room()
    }
}

#[cfg(test)]
mod tests;
