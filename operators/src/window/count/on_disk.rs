//! Rows of windows that are not full and do not fit into memory.
//!
//! The rows of the keys whose last row is longest ago go to disk (`parked.rs`). How many a key has there is known: those that come
//! are put behind them, in memory or as a further piece, until the window is full.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use lineshaft_engine::Result;
use lineshaft_engine::operator::{Output, Snapshot};
use lineshaft_engine::time::EventTime;

use super::{CountAggregate, ROWS, Rows, TIME};
use crate::window::parked::{Parcel, Parkable, Piece};
use crate::window::row_store::Place;
use crate::window::state::StateTable;

/// Keys that go to disk together, at most: they come back when a window of one of them is full, and it may be any. Tests have few.
const PARCEL: usize = if cfg!(test) { 2 } else { 128 };
/// While there are rows on disk, so many rows are worked on before some may go there again.
const STEP: usize = if cfg!(test) { 3 } else { 4_096 };

impl CountAggregate {
    /// Counts rows; not all at once if that could bring back much.
    pub(super) fn count_some_by_some(&mut self, rows: Rows, output: &mut Output) -> Result<()> {
        if self.parked.is_empty() {
            return self.count(rows, output);
        }
        let numbers: Vec<u32> = (0..).take(rows.len()).collect();
        for numbers in numbers.chunks(STEP) {
            self.count(rows.take(numbers.to_vec())?, output)?;
            self.make_room()?;
        }
        Ok(())
    }

    /// Bytes of rows in memory, about.
    pub(super) fn size(&self) -> usize {
        self.rows.bytes() + self.live_rows * 2 * size_of::<Place>()
    }

    /// Moves rows to disk if the program has too much in memory.
    pub(super) fn make_room(&mut self) -> Result<()> {
        if self.spill.is_unlimited() {
            return Ok(());
        }
        let size = self.size();
        let excess = usize::try_from(self.spill.report(size as u64)).unwrap_or(usize::MAX);
        if excess == 0 || self.live_rows == 0 {
            return Ok(());
        }
        let (mut parked, spill) = (std::mem::take(&mut self.parked), std::mem::take(&mut self.spill));
        let is_any = parked.park(self, &spill, (size, excess), PARCEL)?;
        (self.parked, self.spill) = (parked, spill);
        if is_any {
            self.compact()?;
            self.spill.report(self.size() as u64);
        }
        Ok(())
    }

    /// Brings back the rows of a key on disk if its window is full with so many more.
    pub(super) fn wake_if_full(&mut self, slot: u32, rows: usize) -> Result<()> {
        let Some(on_disk) = self.parked.mark(slot) else { return Ok(()) };
        let since = self.kept[slot as usize].rows.len();
        match self.parked.parcel_of(slot) {
            Some(number) if on_disk as usize + since + rows >= self.options.size => self.wake(number),
            _ => Ok(()),
        }
    }

    fn wake(&mut self, number: u32) -> Result<()> {
        let Some(parcel) = self.parked.remove(number) else { return Ok(()) };
        let since = self.take_rows(&parcel.slots)?;
        for piece in &parcel.pieces {
            self.keep(rows_of(&parcel, piece)?);
        }
        self.keep(since);
        Ok(())
    }

    /// Takes the rows of some keys out of memory.
    fn take_rows(&mut self, slots: &[u32]) -> Result<Rows> {
        let kept = || slots.iter().map(|slot| (*slot, &self.kept[*slot as usize].rows));
        let places: Vec<Place> = kept().flat_map(|(_, rows)| rows).copied().collect();
        if places.is_empty() {
            return Ok(Rows::default());
        }
        let rows = Rows {
            slots: kept().flat_map(|(slot, rows)| std::iter::repeat_n(slot, rows.len())).collect(),
            times: places.iter().map(|place| self.time(*place)).collect(),
            columns: self.rows.pick_columns(&places, self.arguments())?,
        };
        slots.iter().for_each(|slot| self.forget(*slot));
        Ok(rows)
    }

    /// Rows on disk as a part of a snapshot.
    pub(super) fn saved_piece(&self, parcel: &Parcel, piece: &Piece) -> Result<Snapshot> {
        let rows = rows_of(parcel, piece)?;
        let table = StateTable {
            numbers: vec![rows.times],
            keys: self.arrivals.interner.columns(&rows.slots)?,
            values: rows.columns,
        };
        let mut snapshot = Snapshot::default();
        snapshot.put(ROWS, table.into_batch()?);
        Ok(snapshot)
    }

    fn time(&self, place: Place) -> EventTime {
        self.rows.blocks()[place.block()][TIME].as_primitive::<Int64Type>().value(place.row())
    }
}

/// A piece has one table: the position of the key in the parcel, the time, and the columns of each row.
fn rows_of(parcel: &Parcel, piece: &Piece) -> Result<Rows> {
    let mut all = Rows::default();
    for table in piece.load()? {
        let StateTable { mut numbers, values, .. } = StateTable::from_batch(&table, 2, 0)?;
        all = Rows {
            slots: Parcel::at_positions(&parcel.slots, &numbers[0])?,
            times: numbers.swap_remove(1),
            columns: values,
        };
    }
    Ok(all)
}

impl Parkable for CountAggregate {
    fn in_memory(&self) -> Vec<(EventTime, u32)> {
        let last = |kept: &super::Kept| kept.rows.back().map(|place| self.time(*place));
        (0..).zip(&self.kept).filter_map(|(slot, kept)| Some((last(kept)?, slot))).collect()
    }

    /// The number of rows on disk.
    fn mark(&self, slot: u32, before: Option<u32>) -> u32 {
        let rows = u32::try_from(self.kept[slot as usize].rows.len()).unwrap_or(u32::MAX);
        before.unwrap_or_default().saturating_add(rows)
    }

    fn due(&self, _slot: u32) -> EventTime {
        EventTime::MAX
    }

    fn pack(&self, slots: &[u32], positions: Vec<i64>) -> Result<Vec<RecordBatch>> {
        let kept = || slots.iter().map(|slot| &self.kept[*slot as usize].rows);
        let places: Vec<Place> = kept().flatten().copied().collect();
        let of_rows = positions.into_iter().zip(kept());
        let positions = of_rows.flat_map(|(at, rows)| std::iter::repeat_n(at, rows.len())).collect();
        let times = places.iter().map(|place| self.time(*place)).collect();
        let values: Vec<ArrayRef> = self.rows.pick_columns(&places, self.arguments())?;
        let table = StateTable { numbers: vec![positions, times], keys: Vec::new(), values };
        Ok(vec![table.into_batch()?])
    }

    fn forget(&mut self, slot: u32) {
        for place in std::mem::take(&mut self.kept[slot as usize].rows) {
            self.flags[place.block()].remove(place.row());
            self.live_rows -= 1;
        }
    }
}
