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

use arrow::array::{ArrayRef, RecordBatch};
use lineshaft_engine::Result;
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::time::EventTime;

use super::arguments::{Accumulators, Aggregates};
use super::arrivals::Arrivals;
use super::row_store::{Place, RowStore};
use super::state::StateTable;
use super::waiting::Rows;
use crate::shared::SharedVec;

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
    open: SharedVec<Option<Span>>,
    /// Final rows of open spans that are in no partial result yet.
    pub(super) rows: RowStore,
    pub(super) live_rows: usize,
    pub(super) partials: RowStore,
    /// Has no groups between two calls.
    accumulators: Accumulators,
    /// What a snapshot that has begun is still to give: spans of slots from a number on.
    saved: Option<(SharedVec<Option<Span>>, usize)>,
}

/// Rows or spans of a part of a snapshot, about. Tests have few.
const PART: usize = if cfg!(test) { 3 } else { 65_536 };

impl Spans {
    pub(super) fn new(aggregates: Aggregates) -> Result<Self> {
        Ok(Self {
            accumulators: aggregates.accumulators()?,
            aggregates,
            open: SharedVec::default(),
            rows: RowStore::default(),
            live_rows: 0,
            partials: RowStore::default(),
            saved: None,
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
    ) -> Result<Vec<(u32, Span)>> {
        self.open.grow(slot_count, || None);
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
                        let state = begin(row, slot, time);
                        let new = Span { start: time, last: time, state, rows: vec![place], partial: None };
                        closed.extend(open.replace(new).map(|span| (slot, span)));
                    }
                }
            }
        }
        let mut long: Vec<_> =
            touched.filter_map(|slot| Some((slot, self.open[slot as usize].take_if(is_long)?))).collect();
        self.fold(long.iter_mut().chain(&mut closed).map(|(_, span)| span).collect())?;
        for (slot, span) in long {
            self.open[slot as usize] = Some(span);
        }
        Ok(closed)
    }

    /// The open span of `slot`.
    pub(super) fn get(&self, slot: u32) -> Option<&Span> {
        self.open[slot as usize].as_ref()
    }

    /// Takes the open span of `slot` out.
    pub(super) fn take(&mut self, slot: u32) -> Option<Span> {
        self.open[slot as usize].take()
    }

    /// Takes all open spans out.
    pub(super) fn take_all(&mut self) -> Vec<(u32, Span)> {
        (0..).zip(self.open.iter_mut()).filter_map(|(slot, span)| Some((slot, span.take()?))).collect()
    }

    /// The open spans with their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Span)> {
        (0..).zip(self.open.iter()).filter_map(|(slot, span)| Some((slot, span.as_ref()?)))
    }

    /// The open spans.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Span> {
        self.open.iter_mut().flatten()
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
    pub(super) fn evaluate(&mut self, closed: &[(u32, Span)]) -> Result<Vec<ArrayRef>> {
        let partials = closed.iter().map(|(_, span)| span.partial);
        let rows = closed.iter().map(|(_, span)| span.rows.as_slice());
        accumulate(&mut self.accumulators, &self.aggregates, (&self.partials, partials), (&self.rows, rows))?;
        self.live_rows -= closed.iter().map(|(_, span)| span.rows.len()).sum::<usize>();
        self.accumulators.evaluate(&self.aggregates)
    }

    /// True if a snapshot has begun that has not given all: it has noted places, and numbers of slots and states.
    pub(super) fn is_saving(&self) -> bool {
        self.saved.is_some()
    }

    /// Gives back the memory of what is closed; true if slots have new numbers.
    pub(super) fn tidy(&mut self, arrivals: &mut Arrivals) -> Result<bool> {
        if self.is_saving() {
            return Ok(false);
        }
        if self.rows.is_sparse(self.live_rows) {
            let open = self.open.iter_mut().flatten();
            self.rows.compact(open.flat_map(|span| &mut span.rows))?;
        }
        let open = || self.open.iter().flatten();
        if self.partials.is_sparse(open().filter(|span| span.partial.is_some()).count()) {
            let open = self.open.iter_mut().flatten();
            self.partials.compact(open.filter_map(|span| span.partial.as_mut()))?;
        }
        let open = &self.open;
        let is_open = |slot: u32| open.get(slot as usize).is_some_and(Option::is_some);
        let Some(moved) = arrivals.reclaim(is_open)? else { return Ok(false) };
        self.open.renumber(&moved, || None);
        Ok(true)
    }

    /// Begins a snapshot; [`Spans::next_saved`] gives the rest.
    pub(super) fn save(&mut self, arrivals: &mut Arrivals) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        arrivals.snapshot(&mut snapshot)?;
        self.saved = Some((self.open.clone(), 0));
        Ok(snapshot)
    }

    /// The next part of a snapshot; `states` gives the columns of numbered states.
    pub(super) fn next_saved(
        &mut self,
        arrivals: &mut Arrivals,
        states: impl FnOnce(&[u32]) -> Result<Vec<ArrayRef>>,
    ) -> Result<Option<Snapshot>> {
        if let Some(waiting) = arrivals.next_saved()? {
            return Ok(Some(waiting));
        }
        let Some((open, next)) = &mut self.saved else { return Ok(None) };
        let (mut spans, mut rows): (Vec<(u32, &Span)>, Vec<Place>) = (Vec::new(), Vec::new());
        for (slot, span) in (0..).skip(*next).zip(open.iter_from(*next)) {
            if spans.len() + rows.len() >= PART {
                break;
            }
            *next += 1;
            if let Some(span) = span {
                rows.extend(&span.rows);
                spans.push((slot, span));
            }
        }
        if spans.is_empty() {
            (self.saved, arrivals.is_saving) = (None, false);
            return Ok(None);
        }
        let mut snapshot = Snapshot::default();
        snapshot.put("spans", table_of(&spans, arrivals, states)?);
        snapshot.put("rows", self.rows.table(&rows)?);
        let partials: Vec<Place> = spans.iter().filter_map(|(_, span)| span.partial).collect();
        snapshot.put("partials", self.partials.table(&partials)?);
        Ok(Some(snapshot))
    }

    /// Puts back what [`Spans::save`] and [`Spans::next_saved`] gave; `states` numbers states by their columns.
    pub(super) fn load(
        &mut self,
        arrivals: &mut Arrivals,
        mut snapshot: Snapshot,
        mut states: impl FnMut(&[ArrayRef], usize) -> Result<Vec<u32>>,
    ) -> Result<()> {
        arrivals.restore(&mut snapshot)?;
        let [spans, rows, partials] = ["spans", "rows", "partials"].map(|name| snapshot.take_parts(name));
        for ((spans, rows), partials) in spans.into_iter().zip(rows).zip(partials) {
            self.load_part(arrivals, [&spans, &rows, &partials], &mut states)?;
        }
        Ok(())
    }

    fn load_part(
        &mut self,
        arrivals: &mut Arrivals,
        [spans, rows, partials]: [&RecordBatch; 3],
        states: &mut impl FnMut(&[ArrayRef], usize) -> Result<Vec<u32>>,
    ) -> Result<()> {
        self.live_rows += rows.num_rows();
        let mut rows = self.rows.restore(rows)?;
        let mut partials = self.partials.restore(partials)?;
        let table = StateTable::from_batch(spans, 4, arrivals.key_count())?;
        let slots = arrivals.intern(&table)?;
        let states = states(&table.values, table.rows())?;
        self.open.grow(arrivals.interner.len(), || None);
        for (row, (slot, state)) in slots.into_iter().zip(states).enumerate() {
            let number = |column: usize| table.numbers[column][row];
            self.open[slot as usize] = Some(Span {
                start: number(0),
                last: number(1),
                state,
                partial: if number(2) == 1 { partials.next() } else { None },
                rows: rows.by_ref().take(usize::try_from(number(3)).unwrap_or_default()).collect(),
            });
        }
        Ok(())
    }
}

/// Start, last time, whether there is a partial result, number of rows; the key; the state.
fn table_of(
    spans: &[(u32, &Span)],
    arrivals: &Arrivals,
    states: impl FnOnce(&[u32]) -> Result<Vec<ArrayRef>>,
) -> Result<RecordBatch> {
    let number = |of: fn(&Span) -> i64| spans.iter().map(|(_, span)| of(span)).collect();
    let slots: Vec<u32> = spans.iter().map(|(slot, _)| *slot).collect();
    let table = StateTable {
        numbers: vec![
            number(|span| span.start),
            number(|span| span.last),
            number(|span| i64::from(span.partial.is_some())),
            number(|span| span.rows.len() as i64),
        ],
        keys: arrivals.interner.columns(&slots)?,
        values: states(&spans.iter().map(|(_, span)| span.state).collect::<Vec<_>>())?,
    };
    table.into_batch()
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

fn is_long(span: &mut Span) -> bool {
    span.rows.len() >= FOLD_ROWS
}

/// Each slot of a sorted list once.
fn distinct(sorted: &[u32]) -> impl Iterator<Item = u32> + use<> {
    let mut slots = sorted.to_vec();
    slots.dedup();
    slots.into_iter()
}
