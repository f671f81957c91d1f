//! Spans that do not fit into memory.
//!
//! The spans whose last row is longest ago go to disk, in parcels (`parked.rs`) of spans that had it at about the same time. For
//! each of them the slot and the state are still known: whether a row is of the span can be told without it. Rows that are wait
//! as a span of their own, and go to disk as a further piece of the parcel if they have to.

use std::collections::{BTreeMap, BTreeSet};

use lineshaft_engine::Result;
use lineshaft_engine::spill::Spill;
use lineshaft_engine::time::EventTime;

use super::saved::with_positions;
use super::{FOLD_ROWS, Place, Rows, Span, Spans};
use crate::window::parked::{Owner, Written};

/// Bytes of a span besides its rows: the allocations of both, too.
const SPAN: usize = size_of::<Span>() + 32;

/// How spans go to disk.
#[derive(Clone, Copy, Debug)]
pub(in crate::window) struct Parking {
    /// Spans of a parcel, at most: they come back together.
    pub(in crate::window) parcel: usize,
    /// How long after its last row a span is needed, if no row closes it before; microseconds.
    pub(in crate::window) gap: EventTime,
}

impl Spans {
    /// Bytes in memory, about.
    pub(in crate::window) fn size(&self) -> usize {
        self.rows.bytes() + self.partials.bytes() + self.live_rows * size_of::<Place>() + self.count * SPAN
    }

    /// Moves spans to disk until so many bytes are free, if possible. Not while a snapshot shares them: nothing would be free.
    pub(in crate::window) fn park(&mut self, spill: &Spill, bytes: usize, how: Parking) -> Result<()> {
        let size = self.size();
        if self.is_saving() || self.count == 0 || size < self.retry_at {
            return Ok(());
        }
        let share = (self.count as u128 * bytes as u128).div_ceil(size.max(1) as u128);
        let slots = self.coldest(usize::try_from(share).unwrap_or(usize::MAX));
        let (later, whole): (Vec<u32>, Vec<u32>) = slots.into_iter().partition(|slot| self.parked.has(*slot));
        let mut written = Written::default();
        let is_all = self.park_whole(whole, &mut written, spill, how)?
            && self.park_later(later, &mut written, spill)?;
        self.parked.extend(written);
        // With a full disk not every step tries it.
        self.retry_at = if is_all { 0 } else { size + size / 8 };
        self.compact_rows()?;
        self.compact_partials()
    }

    /// Slots of the spans whose last row is longest ago, in that order.
    fn coldest(&self, count: usize) -> Vec<u32> {
        let mut spans: Vec<_> = self.iter().map(|(slot, span)| (span.last, slot)).collect();
        if count < spans.len() {
            spans.select_nth_unstable(count);
            spans.truncate(count);
        }
        spans.sort_unstable();
        spans.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Spans of which no part is on disk; false if some have to stay in memory.
    fn park_whole(
        &mut self,
        slots: Vec<u32>,
        written: &mut Written,
        spill: &Spill,
        how: Parking,
    ) -> Result<bool> {
        for slots in slots.chunks(how.parcel) {
            let mut slots = slots.to_vec();
            slots.sort_unstable();
            let spans = slots.iter().filter_map(|slot| self.get(*slot));
            let (states, due): (Vec<u32>, Vec<EventTime>) =
                spans.map(|span| (span.state, span.last.saturating_add(how.gap))).unzip();
            let due = due.into_iter().min().unwrap_or(EventTime::MAX);
            let positions = (0..).take(slots.len()).collect();
            if !self.write(Owner::new(slots.clone(), states, due), &slots, positions, written, spill)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What came for spans that are on disk.
    fn park_later(&mut self, slots: Vec<u32>, written: &mut Written, spill: &Spill) -> Result<bool> {
        let mut by_parcel: BTreeMap<u32, (Vec<u32>, Vec<i64>)> = BTreeMap::new();
        for slot in slots {
            let Some(number) = self.parked.parcel_of(slot) else { continue };
            let position = self.parked.get(number).and_then(|parcel| parcel.position(slot));
            let (slots, positions) = by_parcel.entry(number).or_default();
            slots.push(slot);
            positions.extend(position.map(|at| at as i64));
        }
        for (number, (slots, positions)) in by_parcel {
            if !self.write(Owner::Known(number), &slots, positions, written, spill)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write(
        &mut self,
        owner: Owner,
        slots: &[u32],
        positions: Vec<i64>,
        written: &mut Written,
        spill: &Spill,
    ) -> Result<bool> {
        let spans: Vec<&Span> = slots.iter().filter_map(|slot| self.get(*slot)).collect();
        let [spans, rows, partials] = self.tables(&spans)?;
        let is_written = written.push(owner, &[with_positions(&spans, positions)?, rows, partials], spill);
        if is_written {
            for slot in slots {
                self.live_rows -= self.take(*slot).map_or(0, |span| span.rows.len());
            }
        }
        Ok(is_written)
    }
}

/// What brings spans back.
impl Spans {
    /// When the first parcel is needed.
    pub(in crate::window) fn first_due(&self) -> Option<EventTime> {
        self.parked.first_due().map(|(due, _)| due)
    }

    /// Brings back the parcel that is needed first; false if there is none.
    pub(in crate::window) fn wake_first(&mut self) -> Result<bool> {
        let first = self.parked.first_due();
        first.map_or(Ok(()), |(_, number)| self.wake(number))?;
        Ok(first.is_some())
    }

    /// Slots whose spans have come back since this was last asked.
    pub(in crate::window) fn take_woken(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.woken)
    }

    fn wake(&mut self, number: u32) -> Result<()> {
        let Some(parcel) = self.parked.remove(number) else { return Ok(()) };
        let later: Vec<_> = parcel.slots.iter().map(|slot| (*slot, self.take(*slot))).collect();
        parcel.pieces.iter().try_for_each(|piece| self.put_piece(&parcel, piece))?;
        for (slot, span) in later {
            span.into_iter().for_each(|span| self.put(slot, span));
        }
        self.fold_long(parcel.slots.iter().copied())?;
        self.woken.extend_from_slice(&parcel.slots);
        Ok(())
    }

    /// Brings back the spans on disk that a row of `rows` closes. They are sorted by slot.
    pub(super) fn wake_those_that_close(
        &mut self,
        rows: &Rows,
        continues: impl Fn(usize, EventTime, &Span) -> bool,
    ) -> Result<()> {
        if self.parked.is_empty() {
            return Ok(());
        }
        let (mut needed, mut row) = (BTreeSet::new(), 0);
        for run in rows.slots.chunk_by(|a, b| a == b) {
            let numbers = row..row + run.len();
            row = numbers.end;
            let Some(number) = self.parked.parcel_of(run[0]) else { continue };
            let last = self.get(run[0]).map_or(rows.times[numbers.start], |span| span.last);
            let state = self.parked.mark(run[0]).unwrap_or_default();
            let mut known = Span { start: last, last, state, rows: Vec::new(), partial: None };
            let mut is_closed = false;
            for row in numbers {
                is_closed |= !continues(row, rows.times[row], &known);
                known.last = rows.times[row];
            }
            if is_closed {
                needed.insert(number);
            }
        }
        needed.into_iter().try_for_each(|number| self.wake(number))
    }

    /// Brings back spans of which so much has come that it is to be folded: that goes behind what is on disk.
    pub(super) fn wake_those_that_are_long(&mut self, slots: &[u32]) -> Result<()> {
        if self.parked.is_empty() {
            return Ok(());
        }
        let is_long = |slot: &u32| self.get(*slot).is_some_and(|span| span.rows.len() >= FOLD_ROWS);
        let long = slots.iter().filter(|slot| is_long(slot));
        let needed: BTreeSet<u32> = long.filter_map(|slot| self.parked.parcel_of(*slot)).collect();
        needed.into_iter().try_for_each(|number| self.wake(number))
    }
}
