//! The groups of one pane or window: the keys that have a row in it.

use arrow::array::ArrayRef;
use lineshaft_engine::Result;

use super::arguments::{Accumulators, Aggregates};
use crate::keys::ABSENT;

/// Numbers the slots that occur: `0..n` by first appearance.
#[derive(Debug, Default)]
pub(crate) struct GroupTable {
    /// The group of each slot, or [`ABSENT`].
    of_slot: Vec<u32>,
    /// The slot of each group.
    slots: Vec<u32>,
}

impl GroupTable {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// Writes the group of each slot to `groups`; a new slot gets a new group. Slots are below `slot_count`.
    pub(crate) fn assign(&mut self, slots: &[u32], slot_count: usize, groups: &mut Vec<usize>) {
        if self.of_slot.len() < slot_count {
            self.of_slot.resize(slot_count, ABSENT);
        }
        let (of_slot, known) = (&mut self.of_slot, &mut self.slots);
        groups.clear();
        groups.extend(slots.iter().map(|slot| {
            let group = &mut of_slot[*slot as usize];
            if *group == ABSENT {
                // Slots are u32, so there are never more groups than that.
                *group = u32::try_from(known.len()).unwrap_or(ABSENT);
                known.push(*slot);
            }
            *group as usize
        }));
    }

    /// Of the groups from number `from` on, gives those that `come_first` the lowest numbers; how many there are.
    pub(crate) fn put_first(&mut self, from: usize, come_first: impl Fn(u32) -> bool) -> usize {
        let (first, rest): (Vec<u32>, Vec<u32>) =
            self.slots.split_off(from.min(self.slots.len())).into_iter().partition(|slot| come_first(*slot));
        let count = first.len();
        for slot in first.into_iter().chain(rest) {
            self.of_slot[slot as usize] = u32::try_from(self.slots.len()).unwrap_or(ABSENT);
            self.slots.push(slot);
        }
        count
    }

    /// Forgets all groups; gives the slot of each.
    pub(crate) fn take(&mut self) -> Vec<u32> {
        for slot in &self.slots {
            self.of_slot[*slot as usize] = ABSENT;
        }
        std::mem::take(&mut self.slots)
    }

    /// Slots have new numbers.
    pub(crate) fn renumber(&mut self, moved: &[Option<u32>]) {
        renumber(&mut self.slots, moved);
        self.of_slot.clear();
        for (group, slot) in (0..).zip(&self.slots) {
            let slot = *slot as usize;
            if self.of_slot.len() <= slot {
                self.of_slot.resize(slot + 1, ABSENT);
            }
            self.of_slot[slot] = group;
        }
    }
}

/// New numbers of slots that are all live.
pub(crate) fn renumber(slots: &mut [u32], moved: &[Option<u32>]) {
    for slot in slots {
        *slot = moved[*slot as usize].unwrap_or(ABSENT);
    }
}

/// Partial results of the keys of a pane, or of several panes together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partial {
    /// The slot of each row.
    pub(crate) slots: Vec<u32>,
    /// The columns of [`Accumulators::state`].
    pub(crate) states: Vec<ArrayRef>,
}

/// Slots of keys, and a column for each aggregate.
pub(crate) type Results = (Vec<u32>, Vec<ArrayRef>);

/// The keys that have a row in a pane or window, and their accumulators.
pub(crate) struct Groups {
    table: GroupTable,
    accumulators: Accumulators,
    numbers: Vec<usize>,
}

impl Groups {
    pub(crate) fn new(of: &Aggregates) -> Result<Self> {
        Ok(Self { table: GroupTable::default(), accumulators: of.accumulators()?, numbers: Vec::new() })
    }

    pub(crate) fn slots(&self) -> &[u32] {
        self.table.slots()
    }

    /// Adds rows; `slots` has the slot of each.
    pub(crate) fn update(
        &mut self,
        of: &Aggregates,
        columns: &[ArrayRef],
        slots: &[u32],
        slot_count: usize,
    ) -> Result<()> {
        self.table.assign(slots, slot_count, &mut self.numbers);
        self.accumulators.update(of, columns, &self.numbers, self.table.len())
    }

    /// Adds partial results.
    pub(crate) fn merge(&mut self, of: &Aggregates, partial: &Partial, slot_count: usize) -> Result<()> {
        self.table.assign(&partial.slots, slot_count, &mut self.numbers);
        self.accumulators.merge(of, &partial.states, &self.numbers, self.table.len())
    }

    /// The partial results of all groups; no group is left.
    pub(crate) fn state(&mut self) -> Result<Partial> {
        Ok(Partial { states: self.accumulators.state()?, slots: self.table.take() })
    }

    /// Slots and results of all groups; no group is left.
    pub(crate) fn evaluate(&mut self, of: &Aggregates) -> Result<Results> {
        let results = self.accumulators.evaluate(of)?;
        Ok((self.table.take(), results))
    }

    pub(crate) fn renumber(&mut self, moved: &[Option<u32>]) {
        self.table.renumber(moved);
    }
}
