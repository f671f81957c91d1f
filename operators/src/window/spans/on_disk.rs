//! Spans that do not fit into memory.
//!
//! The spans whose last row is longest ago go to disk, in parcels (`parked.rs`) of spans that had it at about the same time. For
//! each of them the slot and the state are still known: whether a row is of the span can be told without it. Rows that are wait
//! as a span of their own, and go to disk as a further piece of the parcel if they have to.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use lineshaft_engine::Result;
use lineshaft_engine::spill::Spill;
use lineshaft_engine::time::EventTime;

use super::saved::{tables, with_positions};
use super::{FOLD_ROWS, Place, Rows, Span, Spans};
use crate::window::parked::Parkable;

/// Bytes of a span besides its rows: the allocations of both, too.
const SPAN: usize = size_of::<Span>() + 64;

/// Bytes of the place of a row: a list has room for more.
const PLACE: usize = size_of::<Place>() * 3 / 2;
/// While spans are on disk, so many rows are worked on before some may go there again.
const STEP: usize = if cfg!(test) { 3 } else { 4_096 };

/// How spans go to disk.
#[derive(Clone, Copy, Debug)]
pub(in crate::window) struct Parking {
    /// Spans of a parcel, at most: they come back together.
    pub(in crate::window) parcel: usize,
    /// How long after its last row a span is needed, if no row closes it before; microseconds.
    pub(in crate::window) gap: EventTime,
    /// Spans that are needed before this stay: they would come back at once.
    pub(in crate::window) from: EventTime,
}

/// What takes spans out of memory.
impl Spans {
    /// Bytes in memory, about.
    pub(in crate::window) fn size(&self) -> usize {
        self.rows.bytes() + self.partials.bytes() + self.live_rows * PLACE + self.count * SPAN
    }

    /// Moves spans to disk until so many bytes are free, if possible.
    pub(in crate::window) fn park(&mut self, spill: &Spill, bytes: u64, how: Parking) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let bytes = (self.size(), usize::try_from(bytes).unwrap_or(usize::MAX));
        let mut parked = std::mem::take(&mut self.parked);
        let is_any = parked.park(&mut Parts { spans: self, how }, spill, bytes, how.parcel)?;
        self.parked = parked;
        if is_any {
            self.compact_rows()?;
            self.compact_partials()?;
        }
        Ok(())
    }
}

struct Parts<'a> {
    spans: &'a mut Spans,
    how: Parking,
}

impl Parts<'_> {
    fn due_of(&self, span: &Span) -> EventTime {
        span.last.saturating_add(self.how.gap)
    }
}

impl Parkable for Parts<'_> {
    fn in_memory(&self) -> Vec<(EventTime, u32)> {
        let stays = |span: &Span| self.due_of(span) < self.how.from;
        self.spans.iter().filter(|(_, span)| !stays(span)).map(|(slot, span)| (span.last, slot)).collect()
    }

    fn mark(&self, slot: u32, _before: Option<u32>) -> u32 {
        self.spans.get(slot).map_or(0, |span| span.state)
    }

    fn due(&self, slot: u32) -> EventTime {
        self.spans.get(slot).map_or(EventTime::MAX, |span| self.due_of(span))
    }

    fn pack(&self, slots: &[u32], positions: Vec<i64>) -> Result<Vec<RecordBatch>> {
        let spans: Vec<&Span> = slots.iter().filter_map(|slot| self.spans.get(*slot)).collect();
        let [spans, rows, partials] = tables(&spans, &self.spans.rows, &self.spans.partials)?;
        Ok(vec![with_positions(&spans, positions)?, rows, partials])
    }

    fn forget(&mut self, slot: u32) {
        self.spans.live_rows -= self.spans.take(slot).map_or(0, |span| span.rows.len());
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

    /// Rows in the steps in which they are to be added: not all at once if that could bring back much.
    pub(in crate::window) fn steps(&self, rows: Rows) -> Result<Vec<Rows>> {
        if self.parked.is_empty() || rows.len() <= STEP {
            return Ok(if rows.len() == 0 { Vec::new() } else { vec![rows] });
        }
        let numbers: Vec<u32> = (0..).take(rows.len()).collect();
        numbers.chunks(STEP).map(|numbers| rows.take(numbers.to_vec())).collect()
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
