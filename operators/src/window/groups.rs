//! The groups of one pane or window: the keys that have a row in it.
//!
//! Groups are in ranges with accumulators of their own (`range.rs`), so that a snapshot can take one after the other while rows
//! come, and those that do not fit into memory can be on disk: an accumulator gives its state only as a whole, and is empty then.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use lineshaft_engine::Result;
use lineshaft_engine::spill::Spill;

use super::arguments::{Accumulators, Aggregates, Values};
use super::pieces::Piece;
use super::range::GroupRange;
use super::state::{slice, stack};
use crate::keys::ABSENT;

/// Groups of a range. With more groups than this the rows of a batch are sorted by range first; a larger one would hold up the
/// stream for longer. Tests have few keys.
pub(crate) const RANGE: usize = if cfg!(test) { 2 } else { 65_536 };

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

    /// True if the slot has a group.
    pub(crate) fn has(&self, slot: u32) -> bool {
        self.of_slot.get(slot as usize).is_some_and(|group| *group != ABSENT)
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

/// Partial results of the keys of a pane, or of several panes together. They do not change, so copies share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partial {
    /// The slot of each row.
    pub(crate) slots: Arc<Vec<u32>>,
    /// The columns of [`Accumulators::state`].
    pub(crate) states: Vec<ArrayRef>,
}

/// Slots of keys, and a column for each aggregate.
pub(crate) type Results = (Vec<u32>, Vec<ArrayRef>);

/// The keys that have a row in a pane or window, and their accumulators.
pub(crate) struct Groups {
    table: GroupTable,
    /// Group `g` is in range `g / RANGE`.
    ranges: Vec<GroupRange>,
    numbers: Vec<usize>,
}

impl Groups {
    pub(crate) fn new(of: &Aggregates) -> Result<Self> {
        let ranges = vec![GroupRange::new(of)?];
        Ok(Self { table: GroupTable::default(), ranges, numbers: Vec::new() })
    }

    pub(crate) fn slots(&self) -> &[u32] {
        self.table.slots()
    }

    /// Adds rows; `slots` has the slot of each.
    pub(crate) fn update<'a>(
        &mut self,
        of: &Aggregates,
        values: impl Into<Values<'a>>,
        slots: &[u32],
        slot_count: usize,
    ) -> Result<()> {
        let values = values.into();
        self.table.assign(slots, slot_count, &mut self.numbers);
        let groups = self.table.len();
        if let [only] = self.ranges.as_mut_slice()
            && groups <= RANGE
        {
            return only.update(of, values, &self.numbers, groups);
        }
        self.spread(of, &values.copied()?, |range, columns, numbers, total| {
            range.update(of, columns.into(), numbers, total)
        })
    }

    /// Adds partial results.
    pub(crate) fn merge(&mut self, of: &Aggregates, partial: &Partial, slot_count: usize) -> Result<()> {
        self.table.assign(&partial.slots, slot_count, &mut self.numbers);
        self.spread(of, &partial.states, |range, states, numbers, total| {
            range.merge(of, states, numbers, total)
        })
    }

    /// Adds partial results piece by piece.
    pub(super) fn merge_pieces(
        &mut self,
        of: &Aggregates,
        pieces: &[Piece],
        slot_count: usize,
    ) -> Result<()> {
        pieces.iter().try_for_each(|piece| self.merge(of, &piece.load()?, slot_count))
    }

    /// Gives rows to the ranges of their groups, which are `self.numbers`.
    fn spread(
        &mut self,
        of: &Aggregates,
        columns: &[ArrayRef],
        mut add: impl FnMut(&mut GroupRange, &[ArrayRef], &[usize], usize) -> Result<()>,
    ) -> Result<()> {
        let groups = self.table.len();
        while self.ranges.len() * RANGE < groups {
            self.ranges.push(GroupRange::new(of)?);
        }
        if let [only] = self.ranges.as_mut_slice() {
            return add(only, columns, &self.numbers, groups);
        }
        let sorted = Sorted::new(&self.numbers, self.ranges.len());
        let columns = sorted.columns(columns)?;
        for (number, range) in self.ranges.iter_mut().enumerate() {
            let rows = sorted.rows(number);
            if !rows.is_empty() {
                let total = RANGE.min(groups - number * RANGE);
                let columns = slice(&columns, rows.start, rows.len());
                add(range, &columns, &sorted.numbers[rows], total)?;
            }
        }
        Ok(())
    }

    /// The partial results of all groups; no group is left.
    pub(crate) fn state(&mut self, of: &Aggregates) -> Result<Partial> {
        let (slots, states): (Vec<_>, Vec<_>) = self.drain(of, Accumulators::state)?.into_iter().unzip();
        Ok(Partial { slots: Arc::new(slots.concat()), states: stack(states.iter().map(Vec::as_slice))? })
    }

    /// The same range by range. Those that are on disk stay there.
    pub(super) fn pieces(&mut self, of: &Aggregates, spill: &Spill) -> Result<Vec<Piece>> {
        let mut slots = self.table.take().into_iter();
        let mut pieces = Vec::new();
        for range in self.ranges.iter_mut().filter(|range| range.has_groups()) {
            let is_on_disk = range.is_on_disk();
            let states = range.empty(of, Accumulators::state)?;
            let slots = Arc::new(slots.by_ref().take(RANGE).collect());
            let mut piece = Piece::from(Partial { slots, states });
            if is_on_disk {
                piece.move_to_disk(spill)?;
            }
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// Slots and results of all groups, range by range; no group is left.
    pub(crate) fn evaluate(&mut self, of: &Aggregates) -> Result<Vec<Results>> {
        self.drain(of, |accumulators| accumulators.evaluate(of))
    }

    /// The slots of each range that has groups, and of the first one, with what `take` gives.
    fn drain<T>(
        &mut self,
        of: &Aggregates,
        take: impl Fn(&mut Accumulators) -> Result<T>,
    ) -> Result<Vec<(Vec<u32>, T)>> {
        let mut slots = self.table.take().into_iter();
        let filled = self.ranges.iter_mut().enumerate().filter(|(at, range)| *at == 0 || range.has_groups());
        let taken =
            filled.map(|(_, range)| Ok((slots.by_ref().take(RANGE).collect(), range.empty(of, &take)?)));
        taken.collect()
    }

    /// From now on [`Groups::next_held`] gives the partial results as they are now.
    pub(crate) fn hold(&mut self) {
        self.ranges.iter_mut().for_each(GroupRange::hold);
    }

    /// The partial results of the next range, as they were at the last [`Groups::hold`]; `None` if that were all.
    pub(super) fn next_held(&mut self, of: &Aggregates, spill: &Spill) -> Result<Option<Partial>> {
        let Some(number) = self.ranges.iter().position(GroupRange::is_held) else { return Ok(None) };
        let Some((states, groups)) = self.ranges[number].release(of, spill)? else { return Ok(None) };
        let slots = self.table.slots()[number * RANGE..][..groups].to_vec();
        Ok(Some(Partial { slots: Arc::new(slots), states }))
    }

    /// Bytes of partial results in memory, about.
    pub(super) fn size(&mut self) -> usize {
        self.ranges.iter_mut().map(GroupRange::size).sum()
    }

    /// Moves rows that wait for ranges on disk there.
    pub(super) fn tidy(&mut self, of: &Aggregates, spill: &Spill) -> Result<()> {
        self.ranges.iter_mut().try_for_each(|range| range.tidy(of, spill))
    }

    /// Moves ranges to disk until so many bytes are free, if possible; gives those that are. The keys of the last ranges came
    /// last: they come less often than others.
    pub(super) fn move_to_disk(&mut self, of: &Aggregates, spill: &Spill, bytes: usize) -> Result<usize> {
        let mut free = 0;
        for range in self.ranges.iter_mut().rev() {
            if free >= bytes {
                break;
            }
            free += range.move_to_disk(of, spill)?;
        }
        Ok(free)
    }

    pub(crate) fn renumber(&mut self, moved: &[Option<u32>]) {
        self.table.renumber(moved);
    }
}

/// Rows sorted by the range of their group; within a range they keep their order.
struct Sorted {
    order: UInt32Array,
    /// The number of each row's group within its range.
    numbers: Vec<usize>,
    /// Where each range begins, and the last one ends.
    bounds: Vec<usize>,
}

impl Sorted {
    fn new(groups: &[usize], ranges: usize) -> Self {
        let mut bounds = vec![0; ranges + 1];
        groups.iter().for_each(|group| bounds[group / RANGE + 1] += 1);
        (0..ranges).for_each(|range| bounds[range + 1] += bounds[range]);
        let (mut order, mut numbers) = (vec![0_u32; groups.len()], vec![0; groups.len()]);
        let mut next = bounds.clone();
        for (row, group) in (0..).zip(groups) {
            let place = &mut next[group / RANGE];
            (order[*place], numbers[*place]) = (row, group % RANGE);
            *place += 1;
        }
        Self { order: order.into(), numbers, bounds }
    }

    fn rows(&self, range: usize) -> Range<usize> {
        self.bounds[range]..self.bounds[range + 1]
    }

    fn columns(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        columns.iter().map(|column| Ok(take(column, &self.order, None)?)).collect()
    }
}
