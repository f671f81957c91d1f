//! State of keys that have had no row for longest, in files.
//!
//! Keys that go to disk together are a *parcel*. It comes back as a whole, when one of them is needed; until then rows that
//! come for them wait beside it, in memory or as further *pieces* of the parcel. Rows that have waited are added in their order,
//! so the results have the same bits as if nothing had been parked. What is in a piece, and when a parcel is needed, is the
//! operator's ([`Parkable`]); the keys keep their slots.
//!
//! Memory: 4 bytes a slot, and 8 for each key that is parked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use lineshaft_engine::spill::{Spill, SpillFile};
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Error, Result};

use super::groups::renumber;
use crate::keys::ABSENT;

/// State by slot that may go to disk.
pub(super) trait Parkable {
    /// The slots that have state in memory, each with the time of its last row.
    fn in_memory(&self) -> Vec<(EventTime, u32)>;

    /// What must be known of a slot while it is on disk, given what is if a part of it is there.
    fn mark(&self, slot: u32, before: Option<u32>) -> u32;

    /// When the state is needed, if no row needs it before.
    fn due(&self, slot: u32) -> EventTime;

    /// The state of slots as tables, of which one has these positions.
    fn pack(&self, slots: &[u32], positions: Vec<i64>) -> Result<Vec<RecordBatch>>;

    /// The state of the slot is on disk.
    fn forget(&mut self, slot: u32);
}

/// The parcels of an operator.
#[derive(Debug, Default)]
pub(super) struct Parked {
    /// The parcel of each slot, or [`ABSENT`].
    of_slot: Vec<u32>,
    parcels: BTreeMap<u32, Parcel>,
    due: BTreeSet<(EventTime, u32)>,
    next: u32,
    /// Bytes in memory at which it is tried again to write, after that has failed.
    retry_at: usize,
}

/// Keys that are parked together.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    /// Ascending.
    pub(super) slots: Arc<Vec<u32>>,
    /// What the operator must know of each of them meanwhile.
    pub(super) marks: Arc<Vec<u32>>,
    /// It is needed when the watermark has passed this.
    pub(super) due: EventTime,
    /// In the order in which they were written.
    pub(super) pieces: Vec<Piece>,
}

/// Tables that were written together.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Pieces that went to disk together share it; it is deleted with the last of them.
    file: Arc<SpillFile>,
    /// Where each table begins.
    at: Vec<u64>,
}

impl Piece {
    /// The tables.
    pub(super) fn load(&self) -> Result<Vec<RecordBatch>> {
        self.at.iter().map(|at| self.file.read_at(*at)).collect()
    }
}

impl Parcel {
    fn position(&self, slot: u32) -> Option<usize> {
        self.slots.binary_search(&slot).ok()
    }

    /// What `numbers` has for the slots at some positions.
    pub(super) fn at_positions(numbers: &[u32], positions: &[i64]) -> Result<Vec<u32>> {
        let of = |at: &i64| numbers.get(usize::try_from(*at).ok()?).copied();
        let found: Option<Vec<u32>> = positions.iter().map(of).collect();
        found.ok_or_else(|| Error::operator("window", "a file of another operator"))
    }
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// The number of the parcel that the slot is in.
    pub(super) fn parcel_of(&self, slot: u32) -> Option<u32> {
        self.of_slot.get(slot as usize).copied().filter(|parcel| *parcel != ABSENT)
    }

    pub(super) fn has(&self, slot: u32) -> bool {
        self.parcel_of(slot).is_some()
    }

    pub(super) fn get(&self, parcel: u32) -> Option<&Parcel> {
        self.parcels.get(&parcel)
    }

    /// What is noted of a slot that is parked.
    pub(super) fn mark(&self, slot: u32) -> Option<u32> {
        let parcel = self.get(self.parcel_of(slot)?)?;
        parcel.marks.get(parcel.position(slot)?).copied()
    }

    /// All that is noted.
    pub(super) fn marks(&mut self) -> impl Iterator<Item = &mut u32> {
        self.parcels.values_mut().flat_map(|parcel| Arc::make_mut(&mut parcel.marks).iter_mut())
    }

    /// The parcel that is needed first.
    pub(super) fn first_due(&self) -> Option<(EventTime, u32)> {
        self.due.first().copied()
    }

    /// Takes a parcel out.
    pub(super) fn remove(&mut self, number: u32) -> Option<Parcel> {
        let parcel = self.parcels.remove(&number)?;
        self.due.remove(&(parcel.due, number));
        parcel.slots.iter().for_each(|slot| self.of_slot[*slot as usize] = ABSENT);
        if self.parcels.is_empty() {
            *self = Self::default();
        }
        Some(parcel)
    }

    fn insert(&mut self, parcel: Parcel) {
        while self.parcels.contains_key(&self.next) || self.next == ABSENT {
            self.next = self.next.wrapping_add(1);
        }
        self.note(self.next, &parcel.slots);
        self.due.insert((parcel.due, self.next));
        self.parcels.insert(self.next, parcel);
    }

    fn note(&mut self, number: u32, slots: &[u32]) {
        let end = slots.last().map_or(0, |last| *last as usize + 1);
        if self.of_slot.len() < end {
            self.of_slot.resize(end, ABSENT);
        }
        slots.iter().for_each(|slot| self.of_slot[*slot as usize] = number);
    }

    /// All pieces as they are now, with their parcels; those of a parcel in the order in which they were written.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Parcel, Piece)> {
        let of = |parcel: &Parcel| Parcel { pieces: Vec::new(), ..parcel.clone() };
        let of_parcel = move |parcel| {
            let owner = of(parcel);
            parcel.pieces.iter().map(move |piece| (owner.clone(), piece.clone()))
        };
        self.parcels.values().flat_map(of_parcel)
    }

    /// Slots have new numbers, in the same order.
    pub(super) fn renumber(&mut self, moved: &[Option<u32>]) {
        self.of_slot.clear();
        let mut parcels = std::mem::take(&mut self.parcels);
        for (number, parcel) in &mut parcels {
            let slots: &mut Vec<u32> = Arc::make_mut(&mut parcel.slots);
            renumber(slots, moved);
            self.note(*number, slots);
        }
        self.parcels = parcels;
    }
}

/// What goes to disk.
impl Parked {
    /// Moves the state of the slots whose last row is longest ago to disk, until `bytes` of the `size` bytes in memory are free,
    /// if possible. A parcel has at most so many slots; false if nothing was moved.
    pub(super) fn park(
        &mut self,
        state: &mut impl Parkable,
        spill: &Spill,
        (size, bytes): (usize, usize),
        parcel: usize,
    ) -> Result<bool> {
        if size < self.retry_at {
            return Ok(false);
        }
        let mut written = Written::default();
        let mut is_all = true;
        for mut lot in self.lots(coldest(state.in_memory(), (size, bytes)), parcel) {
            lot.marks = lot.slots.iter().map(|slot| state.mark(*slot, self.mark(*slot))).collect();
            lot.due = lot.slots.iter().map(|slot| state.due(*slot)).min().unwrap_or(EventTime::MAX);
            let tables = state.pack(&lot.slots, lot.positions.clone())?;
            is_all = written.write(&tables, spill);
            if !is_all {
                break;
            }
            lot.slots.iter().for_each(|slot| state.forget(*slot));
            written.lots.push(lot);
        }
        // With a full disk not every step tries it.
        self.retry_at = if is_all { 0 } else { size + size / 8 };
        let is_any = !written.lots.is_empty();
        self.extend(written);
        Ok(is_any)
    }

    /// Slots in the order in which they are to be written, by their parcel if they are in one.
    fn lots(&self, slots: Vec<u32>, parcel: usize) -> Vec<Lot> {
        let (later, new): (Vec<u32>, Vec<u32>) = slots.into_iter().partition(|slot| self.has(*slot));
        let mut known: BTreeMap<u32, Lot> = BTreeMap::new();
        for slot in later {
            let number = self.parcel_of(slot);
            let position = number.and_then(|number| self.get(number)?.position(slot));
            let (Some(number), Some(position)) = (number, position) else { continue };
            let lot = known.entry(number).or_default();
            lot.parcel = Some(number);
            lot.slots.push(slot);
            lot.positions.push(position as i64);
        }
        let new = new.chunks(parcel).map(|slots| {
            let mut slots = slots.to_vec();
            slots.sort_unstable();
            Lot { positions: (0..).take(slots.len()).collect(), slots, ..Lot::default() }
        });
        new.chain(known.into_values()).collect()
    }

    /// Puts in what was written to one file.
    fn extend(&mut self, written: Written) {
        let Some(file) = written.file.map(Arc::new) else { return };
        for (Lot { parcel, slots, positions, marks, due }, at) in written.lots.into_iter().zip(written.at) {
            let piece = Piece { file: Arc::clone(&file), at };
            let Some(known) = parcel.and_then(|number| self.parcels.get_mut(&number)) else {
                let (slots, marks) = (Arc::new(slots), Arc::new(marks));
                self.insert(Parcel { slots, marks, due, pieces: vec![piece] });
                continue;
            };
            let known_marks: &mut Vec<u32> = Arc::make_mut(&mut known.marks);
            for (position, mark) in positions.into_iter().zip(marks) {
                let place = usize::try_from(position).ok().and_then(|at| known_marks.get_mut(at));
                place.into_iter().for_each(|place| *place = mark);
            }
            known.pieces.push(piece);
        }
    }
}

/// Slots that go to disk together.
#[derive(Default)]
struct Lot {
    /// Where a part of them is already.
    parcel: Option<u32>,
    slots: Vec<u32>,
    /// The place of each slot in the parcel.
    positions: Vec<i64>,
    marks: Vec<u32>,
    due: EventTime,
}

/// What was written to one file.
#[derive(Default)]
struct Written {
    file: Option<SpillFile>,
    lots: Vec<Lot>,
    /// Where the tables of each lot begin.
    at: Vec<Vec<u64>>,
}

impl Written {
    /// Writes the tables of a lot; false if they have to stay in memory.
    fn write(&mut self, tables: &[RecordBatch], spill: &Spill) -> bool {
        let mut at = Vec::with_capacity(tables.len());
        for table in tables {
            at.push(self.file.as_ref().map_or(0, SpillFile::bytes));
            let is_written = match &mut self.file {
                Some(file) => file.append(table),
                None => {
                    self.file = spill.write(table);
                    self.file.is_some()
                }
            };
            if !is_written {
                return false;
            }
        }
        self.at.push(at);
        true
    }
}

/// Of slots with the times of their last rows those that have the least, in that order: as many as have, on average, so many bytes of
/// all.
fn coldest(mut slots: Vec<(EventTime, u32)>, (size, bytes): (usize, usize)) -> Vec<u32> {
    let share = (slots.len() as u128 * bytes as u128).div_ceil(size.max(1) as u128);
    let count = usize::try_from(share).unwrap_or(usize::MAX);
    if count < slots.len() {
        slots.select_nth_unstable(count);
        slots.truncate(count);
    }
    slots.sort_unstable();
    slots.into_iter().map(|(_, slot)| slot).collect()
}
