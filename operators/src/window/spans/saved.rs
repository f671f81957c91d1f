//! Spans in a snapshot, which has the tables that `spans.rs` tells.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, RecordBatch};
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::{Error, Result};

use super::{Arrivals, Place, RowStore, SharedVec, Span, Spans};
use crate::window::parked::{Parcel, Piece};
use crate::window::state::StateTable;

/// Rows or spans of a part of a snapshot, about. Tests have few.
const PART: usize = if cfg!(test) { 3 } else { 65_536 };

/// Columns of a table of spans.
const START: usize = 0;
const LAST: usize = 1;
const HAS_PARTIAL: usize = 2;
const ROWS: usize = 3;
const NUMBERS: usize = 4;

/// What a snapshot that has begun is still to give. What is on disk comes first, so that what came since is put behind it.
pub(super) struct Saved {
    pieces: VecDeque<(Parcel, Piece)>,
    open: SharedVec<Option<Box<Span>>>,
    rows: RowStore,
    partials: RowStore,
    /// The first slot that has not been given.
    next: usize,
}

/// A table of spans, one of their rows and one of their partial results.
pub(super) type Tables = [RecordBatch; 3];

/// Spans that were together in a snapshot or on disk.
struct Part {
    tables: Tables,
    slots: Vec<u32>,
    states: Vec<u32>,
}

impl Spans {
    /// True if a snapshot has begun that has not given all: it has noted numbers of slots and states.
    pub(in crate::window) fn is_saving(&self) -> bool {
        self.saved.is_some()
    }

    /// Begins a snapshot; [`Spans::next_saved`] gives the rest.
    pub(in crate::window) fn save(&mut self, arrivals: &mut Arrivals) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        arrivals.snapshot(&mut snapshot)?;
        let pieces = self.parked.pieces().collect();
        let (open, rows, partials) = (self.open.clone(), self.rows.clone(), self.partials.clone());
        self.saved = Some(Saved { pieces, open, rows, partials, next: 0 });
        Ok(snapshot)
    }

    /// The next part of a snapshot; `states` gives the columns of numbered states.
    pub(in crate::window) fn next_saved(
        &mut self,
        arrivals: &mut Arrivals,
        states: impl FnOnce(&[u32]) -> Result<Vec<ArrayRef>>,
    ) -> Result<Option<Snapshot>> {
        if let Some(waiting) = arrivals.next_saved()? {
            return Ok(Some(waiting));
        }
        let Some(saved) = &mut self.saved else { return Ok(None) };
        let part = match saved.pieces.pop_front() {
            Some((parcel, piece)) => Some(Part::of_piece(&parcel, &piece)?),
            None => saved.next_in_memory()?,
        };
        let Some(Part { tables: [spans, rows, partials], slots, states: numbers }) = part else {
            (self.saved, arrivals.is_saving) = (None, false);
            return Ok(None);
        };
        let mut table = StateTable::from_batch(&spans, NUMBERS, 0)?;
        // A piece on disk has positions there.
        table.keys = arrivals.interner.columns(&slots)?;
        table.values = states(&numbers)?;
        let mut snapshot = Snapshot::default();
        snapshot.put("spans", table.into_batch()?);
        snapshot.put("rows", rows);
        snapshot.put("partials", partials);
        Ok(Some(snapshot))
    }

    /// Puts back what [`Spans::save`] and [`Spans::next_saved`] gave; rows that wait have `others` behind their arguments, and
    /// `states` numbers states by their columns.
    pub(in crate::window) fn load(
        &mut self,
        arrivals: &mut Arrivals,
        mut snapshot: Snapshot,
        others: usize,
        mut states: impl FnMut(&[ArrayRef], usize) -> Result<Vec<u32>>,
    ) -> Result<()> {
        arrivals.restore(&mut snapshot, &self.aggregates, others)?;
        let [spans, rows, partials] = ["spans", "rows", "partials"].map(|name| snapshot.take_parts(name));
        for ((spans, rows), partials) in spans.into_iter().zip(rows).zip(partials) {
            let table = StateTable::from_batch(&spans, NUMBERS, arrivals.key_count())?;
            let (slots, states) = (arrivals.intern(&table)?, states(&table.values, table.rows())?);
            self.open.grow(arrivals.interner.len(), || None);
            self.put_part(&Part { tables: [spans, rows, partials], slots, states })?;
        }
        let touched: Vec<u32> = self.iter().map(|(slot, _)| slot).collect();
        self.fold_long(touched)
    }

    /// Brings back what is on disk.
    pub(super) fn put_piece(&mut self, parcel: &Parcel, piece: &Piece) -> Result<()> {
        self.put_part(&Part::of_piece(parcel, piece)?)
    }

    fn put_part(&mut self, Part { tables: [spans, rows, partials], slots, states }: &Part) -> Result<()> {
        self.live_rows += rows.num_rows();
        let arguments = self.aggregates.restored(StateTable::from_batch(rows, 1, 0)?.values, 0);
        let mut rows = self.rows.push(arguments, rows.num_rows());
        let mut partials = self.partials.restore(partials)?;
        let table = StateTable::from_batch(spans, NUMBERS, 0)?;
        for (row, (slot, state)) in slots.iter().zip(states).enumerate() {
            let number = |column: usize| table.numbers[column][row];
            let span = Span {
                start: number(START),
                last: number(LAST),
                state: *state,
                partial: if number(HAS_PARTIAL) == 1 { partials.next() } else { None },
                rows: rows.by_ref().take(usize::try_from(number(ROWS)).unwrap_or_default()).collect(),
            };
            self.put(*slot, Box::new(span));
        }
        Ok(())
    }
}

impl Saved {
    fn next_in_memory(&mut self) -> Result<Option<Part>> {
        let (mut slots, mut spans, mut rows): (Vec<u32>, Vec<&Span>, usize) = (Vec::new(), Vec::new(), 0);
        for (slot, span) in (0..).skip(self.next).zip(self.open.iter_from(self.next)) {
            if spans.len() + rows >= PART {
                break;
            }
            self.next += 1;
            if let Some(span) = span {
                rows += span.rows.len();
                slots.push(slot);
                spans.push(span);
            }
        }
        if spans.is_empty() {
            return Ok(None);
        }
        let states = spans.iter().map(|span| span.state).collect();
        Ok(Some(Part { tables: tables(&spans, &self.rows, &self.partials)?, slots, states }))
    }
}

/// Spans as tables, whose rows and partial results are in these stores.
pub(super) fn tables(spans: &[&Span], rows: &RowStore, partials: &RowStore) -> Result<Tables> {
    let number = |of: fn(&Span) -> i64| spans.iter().map(|span| of(span)).collect();
    let table = StateTable {
        numbers: vec![
            number(|span| span.start),
            number(|span| span.last),
            number(|span| i64::from(span.partial.is_some())),
            number(|span| span.rows.len() as i64),
        ],
        keys: Vec::new(),
        values: Vec::new(),
    };
    let of_rows: Vec<Place> = spans.iter().flat_map(|span| span.rows.iter().copied()).collect();
    let of_partials: Vec<Place> = spans.iter().filter_map(|span| span.partial).collect();
    Ok([table.into_batch()?, rows.table(&of_rows)?, partials.table(&of_partials)?])
}

impl Part {
    /// A piece on disk: its spans have the positions of their slots in the parcel as values.
    fn of_piece(parcel: &Parcel, piece: &Piece) -> Result<Self> {
        let tables: Result<Tables, _> = piece.load()?.try_into();
        let tables = tables.map_err(|_| Error::operator("window", "a file of another operator"))?;
        let positions = StateTable::from_batch(&tables[0], NUMBERS + 1, 0)?.numbers.swap_remove(NUMBERS);
        let slots = Parcel::at_positions(&parcel.slots, &positions)?;
        Ok(Self { slots, states: Parcel::at_positions(&parcel.marks, &positions)?, tables })
    }
}

/// A table of spans, with the positions of their slots in their parcel.
pub(super) fn with_positions(spans: &RecordBatch, positions: Vec<i64>) -> Result<RecordBatch> {
    let mut table = StateTable::from_batch(spans, NUMBERS, 0)?;
    table.numbers.push(positions);
    table.into_batch()
}
