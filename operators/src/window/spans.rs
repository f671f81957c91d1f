//! What sessions and runs of a state share: the open span of rows of each key. The rows come in event-time order; those
//! of long spans are folded to partial results.
//!
//! A snapshot shares the spans (`shared/`). It has the tables of [`Arrivals`] and, in parts of some spans each,
//!
//! ```text
//! spans      start, last time, 1 if there is a partial result, number of rows; the key; the state
//! rows       the rows of all spans that are in no partial result yet
//! partials   the partial results
//! ```
//!
//! Spans that have had no row for longest may be on disk (`spans/on_disk.rs`). What comes for them since is a span of its own,
//! that is not folded, until they are back.

use arrow::array::ArrayRef;
use lineshaft_engine::Result;
use lineshaft_engine::time::EventTime;

use self::saved::Saved;
use super::arguments::{Accumulators, Aggregates};
use super::arrivals::Arrivals;
use super::parked::Parked;
use super::row_store::{Place, RowStore};
use super::waiting::Rows;
use crate::shared::SharedVec;

mod on_disk;
mod saved;

pub(super) use on_disk::Parking;

/// A span of rows of a key.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) start: EventTime,
    pub(super) last: EventTime,
    /// The number of what is equal in all of its rows; 0 if nothing is.
    pub(super) state: u32,
    /// Rows that are in no partial result yet.
    rows: Vec<Place>,
    /// The rows before those.
    partial: Option<Place>,
}

/// So many rows of a span are folded to a partial result. It is always exactly so many: when they come in does
/// not change the order in which floats are added.
pub const FOLD_ROWS: usize = 256;

/// The open spans.
pub(super) struct Spans {
    pub(super) aggregates: Aggregates,
    /// The open span of each slot.
    open: SharedVec<Option<Box<Span>>>,
    /// How many there are.
    count: usize,
    /// Final rows of open spans that are in no partial result yet.
    pub(super) rows: RowStore,
    pub(super) live_rows: usize,
    pub(super) partials: RowStore,
    /// Has no groups between two calls.
    accumulators: Accumulators,
    /// What a snapshot that has begun is still to give.
    saved: Option<Saved>,
    /// Spans, or their beginnings, that are on disk.
    parked: Parked,
    /// Slots whose spans came back since [`Spans::take_woken`].
    woken: Vec<u32>,
}

/// A span that has been taken out, and its slot.
pub(super) type Closed = (u32, Box<Span>);

impl Spans {
    pub(super) fn new(aggregates: Aggregates) -> Result<Self> {
        Ok(Self {
            accumulators: aggregates.accumulators()?,
            aggregates,
            open: SharedVec::default(),
            count: 0,
            rows: RowStore::default(),
            live_rows: 0,
            partials: RowStore::default(),
            saved: None,
            parked: Parked::default(),
            woken: Vec::new(),
        })
    }

    /// Puts rows into the spans of their keys; gives the spans that are closed by a later one of their key. Row `i`
    /// is in the open span if `continues(i, its time, span)`; otherwise it begins one of the state that `begin(i, its
    /// slot and time)` gives.
    pub(super) fn add(
        &mut self,
        rows: Rows,
        slot_count: usize,
        continues: impl Fn(usize, EventTime, &Span) -> bool,
        mut begin: impl FnMut(usize, u32, EventTime) -> u32,
    ) -> Result<Vec<Closed>> {
        self.open.grow(slot_count, || None);
        self.wake_those_that_close(&rows, &continues)?;
        let touched = distinct(&rows.slots);
        let mut closed = Vec::new();
        self.live_rows += rows.times.len();
        let mut places = self.rows.push(rows.columns, rows.times.len());
        let mut numbered = rows.times.into_iter().enumerate();
        for run in rows.slots.chunk_by(|a, b| a == b) {
            let (slot, open) = (run[0], &mut self.open[run[0] as usize]);
            for ((row, time), place) in numbered.by_ref().zip(&mut places).take(run.len()) {
                match open {
                    Some(span) if continues(row, time, span) => {
                        span.last = time;
                        span.rows.push(place);
                    }
                    _ => {
                        let state = match self.parked.mark(slot) {
                            Some(state) => state,
                            None => begin(row, slot, time),
                        };
                        let before = open.replace(Box::new(Span::new(time, state, place)));
                        self.count += usize::from(before.is_none());
                        closed.extend(before.map(|span| (slot, span)));
                    }
                }
            }
        }
        self.wake_those_that_are_long(&touched)?;
        self.fold_long(touched)?;
        self.fold(closed.iter_mut().map(|(_, span)| &mut **span).collect())?;
        Ok(closed)
    }

    /// The open span of `slot`.
    pub(super) fn get(&self, slot: u32) -> Option<&Span> {
        self.open[slot as usize].as_deref()
    }

    /// Takes the open span of `slot` out.
    pub(super) fn take(&mut self, slot: u32) -> Option<Box<Span>> {
        let taken = self.open[slot as usize].take();
        self.count -= usize::from(taken.is_some());
        taken
    }

    /// Takes all open spans out of which no part is on disk.
    pub(super) fn take_all(&mut self) -> Vec<Closed> {
        let parked = &self.parked;
        let whole = (0..).zip(self.open.iter_mut()).filter(|(slot, _)| !parked.has(*slot));
        let taken: Vec<_> = whole.filter_map(|(slot, span)| Some((slot, span.take()?))).collect();
        self.count -= taken.len();
        taken
    }

    /// The open spans of which no part is on disk, with their slots.
    pub(super) fn whole(&self) -> impl Iterator<Item = (u32, &Span)> {
        self.iter().filter(|(slot, _)| !self.parked.has(*slot))
    }

    /// The open spans in memory with their slots.
    fn iter(&self) -> impl Iterator<Item = (u32, &Span)> {
        (0..).zip(self.open.iter()).filter_map(|(slot, span)| Some((slot, span.as_deref()?)))
    }

    /// The state of each open span.
    pub(super) fn states(&mut self) -> impl Iterator<Item = &mut u32> {
        self.open.iter_mut().flatten().map(|span| &mut span.state).chain(self.parked.marks())
    }

    /// Folds the rows of those of some spans that are long.
    fn fold_long(&mut self, slots: impl IntoIterator<Item = u32>) -> Result<()> {
        let mut long = Vec::new();
        for slot in slots {
            long.extend(self.open[slot as usize].take_if(is_long).map(|span| (slot, span)));
        }
        self.fold(long.iter_mut().map(|(_, span)| &mut **span).collect())?;
        for (slot, span) in long {
            self.open[slot as usize] = Some(span);
        }
        Ok(())
    }

    /// Folds the rows of long spans, some rows of all of them at a time.
    fn fold(&mut self, mut spans: Vec<&mut Span>) -> Result<()> {
        spans.retain(|span| span.rows.len() >= FOLD_ROWS);
        let mut from = 0;
        while !spans.is_empty() {
            self.fold_round(&mut spans, from)?;
            from += FOLD_ROWS;
            let mut longer = Vec::new();
            for span in spans {
                if span.rows.len() >= from + FOLD_ROWS {
                    longer.push(span);
                } else {
                    span.rows.drain(..from);
                    self.live_rows -= from;
                }
            }
            spans = longer;
        }
        Ok(())
    }

    fn fold_round(&mut self, spans: &mut [&mut Span], from: usize) -> Result<()> {
        let partials = spans.iter().map(|span| span.partial);
        let rows = spans.iter().map(|span| &span.rows[from..from + FOLD_ROWS]);
        accumulate(&mut self.accumulators, &self.aggregates, (&self.partials, partials), (&self.rows, rows))?;
        let folded = self.partials.push(self.accumulators.state()?, spans.len());
        for (span, place) in spans.iter_mut().zip(folded) {
            span.partial = Some(place);
        }
        Ok(())
    }

    /// The results of spans that have been taken out, a column an aggregate.
    pub(super) fn evaluate(&mut self, closed: &[Closed]) -> Result<Vec<ArrayRef>> {
        let partials = closed.iter().map(|(_, span)| span.partial);
        let rows = closed.iter().map(|(_, span)| span.rows.as_slice());
        accumulate(&mut self.accumulators, &self.aggregates, (&self.partials, partials), (&self.rows, rows))?;
        self.live_rows -= closed.iter().map(|(_, span)| span.rows.len()).sum::<usize>();
        self.accumulators.evaluate(&self.aggregates)
    }

    /// Gives back the memory of what is closed; true if slots have new numbers.
    pub(super) fn tidy(&mut self, arrivals: &mut Arrivals) -> Result<bool> {
        self.woken.clear();
        if self.rows.is_sparse(self.live_rows) {
            self.compact_rows()?;
        }
        let partials = || self.open.iter().flatten().filter(|span| span.partial.is_some());
        if !self.partials.is_empty() && self.partials.is_sparse(partials().count()) {
            self.compact_partials()?;
        }
        let (open, parked) = (&self.open, &self.parked);
        let is_open = |slot: u32| open.get(slot as usize).is_some_and(Option::is_some) || parked.has(slot);
        let Some(moved) = arrivals.reclaim(is_open)? else { return Ok(false) };
        self.open.renumber(&moved, || None);
        self.parked.renumber(&moved);
        Ok(true)
    }

    fn compact_rows(&mut self) -> Result<()> {
        let open = self.open.iter_mut().flatten();
        self.rows.compact(open.flat_map(|span| &mut span.rows))
    }

    fn compact_partials(&mut self) -> Result<()> {
        let open = self.open.iter_mut().flatten();
        self.partials.compact(open.filter_map(|span| span.partial.as_mut()))
    }

    /// Puts rows behind those of the open span of a slot, or before none.
    fn put(&mut self, slot: u32, span: Box<Span>) {
        match &mut self.open[slot as usize] {
            Some(open) => {
                debug_assert!(span.partial.is_none(), "what comes after a part on disk is not folded");
                open.last = span.last;
                open.rows.extend(span.rows);
            }
            none => {
                *none = Some(span);
                self.count += 1;
            }
        }
    }
}

impl Span {
    fn new(time: EventTime, state: u32, place: Place) -> Self {
        Self { start: time, last: time, state, rows: vec![place], partial: None }
    }
}

/// Adds to group `i` the `i`th partial result, if there is one, and the `i`th rows.
fn accumulate<'a>(
    accumulators: &mut Accumulators,
    aggregates: &Aggregates,
    (partial_store, partials): (&RowStore, impl Iterator<Item = Option<Place>>),
    (row_store, rows): (&RowStore, impl ExactSizeIterator<Item = &'a [Place]>),
) -> Result<()> {
    let total = rows.len();
    let (mut places, mut groups) = (Vec::new(), Vec::new());
    for (group, place) in partials.enumerate().filter_map(|(group, place)| Some((group, place?))) {
        groups.push(group);
        places.push(place);
    }
    if !places.is_empty() {
        accumulators.merge(aggregates, &partial_store.pick(&places)?, &groups, total)?;
    }
    groups.clear();
    places.clear();
    for (group, rows) in rows.enumerate() {
        groups.resize(groups.len() + rows.len(), group);
        places.extend_from_slice(rows);
    }
    if places.is_empty() {
        return Ok(());
    }
    accumulators.update(aggregates, &row_store.pick(&places)?, &groups, total)
}

fn is_long(span: &mut Box<Span>) -> bool {
    span.rows.len() >= FOLD_ROWS
}

/// Each slot of a sorted list once.
fn distinct(sorted: &[u32]) -> Vec<u32> {
    let mut slots = sorted.to_vec();
    slots.dedup();
    slots
}
