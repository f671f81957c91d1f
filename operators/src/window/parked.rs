//! State of keys that have had no row for longest, in files.
//!
//! Keys that go to disk together are a *parcel*. It comes back as a whole, when one of them is needed; until then rows that
//! come for them wait beside it, in memory or as further *pieces* of the parcel. Rows that have waited are added in their order,
//! so the results have the same bits as if nothing had been parked. What is in a piece, and when a parcel is needed, is the
//! operator's; the keys keep their slots.
//!
//! Memory: 4 bytes a slot, and 8 for each key that is parked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use lineshaft_engine::Result;
use lineshaft_engine::spill::{Spill, SpillFile};
use lineshaft_engine::time::EventTime;

use super::groups::renumber;
use crate::keys::ABSENT;

/// The parcels of an operator.
#[derive(Debug, Default)]
pub(super) struct Parked {
    /// The parcel of each slot, or [`ABSENT`].
    of_slot: Vec<u32>,
    parcels: BTreeMap<u32, Parcel>,
    due: BTreeSet<(EventTime, u32)>,
    next: u32,
}

/// Keys that are parked together.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    /// Ascending.
    pub(super) slots: Arc<Vec<u32>>,
    /// What the operator must know of each of them meanwhile.
    pub(super) marks: Vec<u32>,
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
    pub(super) fn load(&self) -> Result<Vec<RecordBatch>> {
        self.at.iter().map(|at| self.file.read_at(*at)).collect()
    }
}

impl Parcel {
    /// The place of a slot among those of the parcel.
    pub(super) fn position(&self, slot: u32) -> Option<usize> {
        self.slots.binary_search(&slot).ok()
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
        self.parcels.values_mut().flat_map(|parcel| &mut parcel.marks)
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
        let slots = parcel.slots.last().map_or(0, |last| *last as usize + 1);
        if self.of_slot.len() < slots {
            self.of_slot.resize(slots, ABSENT);
        }
        parcel.slots.iter().for_each(|slot| self.of_slot[*slot as usize] = self.next);
        self.due.insert((parcel.due, self.next));
        self.parcels.insert(self.next, parcel);
    }

    /// Puts in what was written to one file.
    pub(super) fn extend(&mut self, written: Written) {
        let Some(file) = written.file.map(Arc::new) else { return };
        for (owner, at) in written.pieces {
            let piece = Piece { file: Arc::clone(&file), at };
            match owner {
                Owner::Known(number) => {
                    self.parcels.entry(number).and_modify(|parcel| parcel.pieces.push(piece));
                }
                Owner::New(parcel) => self.insert(Parcel { pieces: vec![piece], ..parcel }),
            }
        }
    }

    /// All parcels as they are now.
    pub(super) fn parcels(&self) -> impl Iterator<Item = &Parcel> {
        self.parcels.values()
    }

    /// Slots have new numbers, in the same order.
    pub(super) fn renumber(&mut self, moved: &[Option<u32>]) {
        self.of_slot.clear();
        for (number, parcel) in &mut self.parcels {
            let of_parcel: &mut Vec<u32> = Arc::make_mut(&mut parcel.slots);
            renumber(of_parcel, moved);
            let slots = parcel.slots.last().map_or(0, |last| *last as usize + 1);
            if self.of_slot.len() < slots {
                self.of_slot.resize(slots, ABSENT);
            }
            parcel.slots.iter().for_each(|slot| self.of_slot[*slot as usize] = *number);
        }
    }
}

/// Pieces that go to disk together.
#[derive(Debug, Default)]
pub(super) struct Written {
    file: Option<SpillFile>,
    pieces: Vec<(Owner, Vec<u64>)>,
}

/// Whose piece it is.
#[derive(Debug)]
pub(super) enum Owner {
    Known(u32),
    /// A parcel without pieces.
    New(Parcel),
}

impl Owner {
    /// A parcel of these slots, ascending.
    pub(super) fn new(slots: Vec<u32>, marks: Vec<u32>, due: EventTime) -> Self {
        Self::New(Parcel { slots: Arc::new(slots), marks, due, pieces: Vec::new() })
    }
}

impl Written {
    /// Writes the tables of a piece; false if they have to stay in memory.
    pub(super) fn push(&mut self, owner: Owner, tables: &[RecordBatch], spill: &Spill) -> bool {
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
        self.pieces.push((owner, at));
        true
    }
}
