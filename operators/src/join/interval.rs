//! Joins two streams whose event times must lie near each other: `a.ts BETWEEN b.ts - lower AND b.ts + upper`.
//!
//! Equal event times, such as the ends of two windows, are the interval of length zero. Because of the interval, a row
//! waits no longer than until the watermark says that nothing it could meet will come.
//!
//! - Inputs: 0 is the left side, 1 the right one; rows with the same key on one worker. Append-only.
//! - Rows: a pair comes out as soon as both rows are there. A row that has met nothing comes out, if the kind of the join
//!   keeps it, when nothing can come for it any more. NULL in a key or a time meets nothing.
//! - State: the rows of both sides that can still meet another. Cost per row: a search in the rows of its key.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array,
    new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef, TimestampMicrosecondType};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Expression;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::spill::Spill;
use lineshaft_engine::time::{EpochHeader, EventTime, Watermark};
use lineshaft_engine::{Error, Result};

use super::held::{Arrival, Held};
use super::keys::JoinKeys;
use crate::keys::ABSENT;
use crate::window::row_store::Place;

/// One side of a join by time.
#[derive(Clone, Debug)]
pub struct TimedSide {
    /// Columns that are compared with those of the other side, one by one.
    pub keys: Vec<usize>,
    /// The column of event time.
    pub time: usize,
    /// How far it stays behind the watermark, microseconds.
    pub lag: i64,
    /// Names and types of the columns.
    pub schema: SchemaRef,
    /// So many of them are columns of the query; the others are only there to be compared.
    pub width: usize,
}

/// What comes out of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs, and the rows of these sides that have met nothing, with NULL for the other side.
    Pairs {
        /// Left and right, full: both.
        keeps: [bool; 2],
    },
    /// Rows of the left side that have met something, once.
    Semi,
    /// Rows of the left side that have met nothing.
    Anti,
}

/// Arguments of a join by time.
#[derive(Clone, Debug)]
pub struct IntervalOptions {
    /// Input 0.
    pub left: TimedSide,
    /// Input 1.
    pub right: TimedSide,
    /// The least that the time of the left is after that of the right, microseconds.
    pub lower: i64,
    /// The most that the time of the left is after that of the right, microseconds.
    pub upper: i64,
    /// What comes out.
    pub kind: JoinKind,
    /// What must hold besides, over all columns of the left and then all of the right.
    pub residual: Option<Arc<dyn Expression>>,
    /// Names and types of the output: the columns of the left, then (for pairs) those of the right.
    pub schema: SchemaRef,
}

/// Pairs that are put together at a time.
const MOST_PAIRS: usize = 65_536;

const LEFT: usize = 0;
const RIGHT: usize = 1;
/// The tables of their rows in a snapshot.
const SIDES: [&str; 2] = ["left", "right"];

/// `JOIN ... ON a.key = b.key AND a.ts BETWEEN b.ts - ... AND b.ts + ...`.
pub struct IntervalJoin {
    options: IntervalOptions,
    joined_schema: SchemaRef,
    keys: JoinKeys,
    held: [Held; 2],
    watermark: Watermark,
    spill: Spill,
}

/// A row of the batch with a row that waits on the other side.
#[derive(Clone, Copy)]
struct Pair {
    row: u32,
    place: Place,
}

/// A batch of one side.
struct Arriving {
    side: usize,
    rows: RecordBatch,
    slots: Vec<u32>,
    times: TimestampMicrosecondArray,
    is_matched: Vec<bool>,
}

impl Arriving {
    /// Slot and time of a row that can meet others.
    fn meets(&self, row: usize) -> Option<(u32, EventTime)> {
        let slot = self.slots[row];
        (slot != ABSENT && self.times.is_valid(row)).then(|| (slot, self.times.value(row)))
    }
}

impl IntervalJoin {
    /// The operator.
    ///
    /// # Errors
    /// If the keys do not fit together or are of a type that is not supported.
    pub fn new(options: IntervalOptions) -> Result<Self> {
        let (left, right) = (&options.left, &options.right);
        Ok(Self {
            joined_schema: joined_schema(&left.schema, &right.schema),
            keys: JoinKeys::new((&left.schema, &left.keys), (&right.schema, &right.keys))?,
            options,
            held: Default::default(),
            watermark: Watermark::START,
            spill: Spill::default(),
        })
    }

    fn side(&self, side: usize) -> &TimedSide {
        if side == LEFT { &self.options.left } else { &self.options.right }
    }

    /// The times of the other side that a row of `side` at `time` meets.
    fn reach(&self, side: usize, time: EventTime) -> (EventTime, EventTime) {
        let IntervalOptions { lower, upper, .. } = self.options;
        match side {
            LEFT => (time.saturating_sub(upper), time.saturating_sub(lower)),
            _ => (time.saturating_add(lower), time.saturating_add(upper)),
        }
    }

    /// True if no row will come that a row of `side` at `time` meets.
    fn is_past(&self, side: usize, time: EventTime) -> bool {
        match self.watermark {
            Watermark::START => false,
            Watermark::END => true,
            Watermark(at) => self.reach(side, time).1 < at.saturating_sub(self.side(1 - side).lag),
        }
    }

    /// True if a row of `side` that has met something has nothing more to do.
    fn is_done(&self, side: usize) -> bool {
        side == LEFT && !matches!(self.options.kind, JoinKind::Pairs { .. })
    }

    fn arrive(&mut self, side: usize, rows: RecordBatch, output: &mut Output) -> Result<()> {
        let options = if side == LEFT { &self.options.left } else { &self.options.right };
        let times = rows.column(options.time).as_primitive_opt::<TimestampMicrosecondType>();
        let times = times.ok_or_else(|| Error::operator("join", "the event time is no timestamp"))?.clone();
        let slots = self.keys.slots(&rows, &options.keys)?;
        let is_matched = vec![false; rows.num_rows()];
        let mut arriving = Arriving { side, rows, slots, times, is_matched };
        let mut pairs = Vec::new();
        for row in 0..arriving.rows.num_rows() {
            let Some((slot, time)) = arriving.meets(row) else { continue };
            let (first, last) = self.reach(side, time);
            let other = &self.held[1 - side];
            for index in other.between(slot, first, last) {
                let place = other.place(slot, index);
                if !(self.is_done(1 - side) && other.is_matched(place)) {
                    pairs.push(Pair { row: row_number(row), place });
                }
            }
            if pairs.len() >= MOST_PAIRS {
                self.meet(&mut arriving, std::mem::take(&mut pairs), output)?;
            }
        }
        self.meet(&mut arriving, pairs, output)?;
        self.hold(&arriving, output)
    }

    /// Puts pairs together for which the residual holds.
    fn meet(&mut self, arriving: &mut Arriving, mut pairs: Vec<Pair>, output: &mut Output) -> Result<()> {
        if let Some(residual) = self.options.residual.clone() {
            let widths = [LEFT, RIGHT].map(|side| self.side(side).schema.fields().len());
            let columns = self.columns(arriving, &pairs, widths)?;
            let holds = holds(residual.as_ref(), &self.joined_schema, columns, pairs.len())?;
            let mut holds = holds.into_iter();
            pairs.retain(|_| holds.next() == Some(true));
        }
        if pairs.is_empty() {
            return Ok(());
        }
        // Marks come first: they tell which rows of the left have met something for the first time.
        let side = arriving.side;
        let mut first_rows = Vec::new();
        let mut first_places = Vec::new();
        for pair in &pairs {
            if !std::mem::replace(&mut arriving.is_matched[pair.row as usize], true) {
                first_rows.push(pair.row);
            }
            if self.held[1 - side].mark(pair.place) {
                first_places.push(pair.place);
            }
        }
        let columns = match (self.options.kind, side) {
            (JoinKind::Anti, _) => return Ok(()),
            (JoinKind::Semi, LEFT) => taken(&arriving.rows, self.options.left.width, first_rows.into())?,
            (JoinKind::Semi, _) => {
                let mut columns = self.held[LEFT].pick(&self.options.left.schema, &first_places)?;
                columns.truncate(self.options.left.width);
                columns
            }
            (JoinKind::Pairs { .. }, _) => {
                self.columns(arriving, &pairs, [LEFT, RIGHT].map(|side| self.side(side).width))?
            }
        };
        let rows = columns.first().map_or(pairs.len(), |column| column.len());
        self.send(columns, rows, output)
    }

    /// The first columns of both sides of pairs.
    fn columns(&self, arriving: &Arriving, pairs: &[Pair], widths: [usize; 2]) -> Result<Vec<ArrayRef>> {
        let side = arriving.side;
        let rows: UInt32Array = pairs.iter().map(|pair| pair.row).collect::<Vec<_>>().into();
        let new = taken(&arriving.rows, widths[side], rows)?;
        let places: Vec<Place> = pairs.iter().map(|pair| pair.place).collect();
        let mut old = self.held[1 - side].pick(&self.side(1 - side).schema, &places)?;
        old.truncate(widths[1 - side]);
        let (mut columns, right) = if side == LEFT { (new, old) } else { (old, new) };
        columns.extend(right);
        Ok(columns)
    }

    /// Keeps the rows of a batch that may meet others; those that never can come out now.
    fn hold(&mut self, arriving: &Arriving, output: &mut Output) -> Result<()> {
        let side = arriving.side;
        let mut arrivals = Vec::with_capacity(arriving.slots.len());
        let mut alone = Vec::new();
        for (row, is_matched) in (0_u32..).zip(&arriving.is_matched) {
            match arriving.meets(row as usize) {
                Some((slot, time)) if !(*is_matched && self.is_done(side)) => {
                    arrivals.push(Arrival { row, slot, time, is_matched: *is_matched });
                }
                Some(_) => {}
                None => alone.push(row),
            }
        }
        self.held[side].push(&arriving.rows, &arrivals)?;
        if self.keeps(side) && !alone.is_empty() {
            let rows = alone.len();
            let columns = taken(&arriving.rows, self.side(side).width, alone.into())?;
            self.send_alone(side, columns, rows, output)?;
        }
        Ok(())
    }

    /// True if a row of `side` that has met nothing comes out.
    fn keeps(&self, side: usize) -> bool {
        match self.options.kind {
            JoinKind::Pairs { keeps } => keeps[side],
            JoinKind::Semi => false,
            JoinKind::Anti => side == LEFT,
        }
    }

    fn expire(&mut self, side: usize, output: &mut Output) -> Result<()> {
        let mut held = std::mem::take(&mut self.held[side]);
        let expired = held.expire(|time| self.is_past(side, time));
        if self.keeps(side) {
            let alone = expired.iter().map(|entry| entry.place).filter(|place| !held.is_matched(*place));
            let alone: Vec<Place> = alone.collect();
            if !alone.is_empty() {
                let mut columns = held.pick(&self.side(side).schema, &alone)?;
                columns.truncate(self.side(side).width);
                self.send_alone(side, columns, alone.len(), output)?;
            }
        }
        held.compact()?;
        self.held[side] = held;
        Ok(())
    }

    /// Rows of `side` with NULL for the other side, if that is in the output at all.
    fn send_alone(
        &self,
        side: usize,
        mut columns: Vec<ArrayRef>,
        rows: usize,
        output: &mut Output,
    ) -> Result<()> {
        if let JoinKind::Pairs { .. } = self.options.kind {
            let other = self.side(1 - side);
            let fields = other.schema.fields().iter().take(other.width);
            let nulls = fields.map(|field| new_null_array(field.data_type(), rows));
            if side == LEFT {
                columns.extend(nulls);
            } else {
                columns = nulls.chain(columns).collect();
            }
        }
        self.send(columns, rows, output)
    }

    fn send(&self, columns: Vec<ArrayRef>, rows: usize, output: &mut Output) -> Result<()> {
        output.send(batch_of(&self.options.schema, columns, rows)?);
        Ok(())
    }
}

impl IntervalJoin {
    /// Moves rows to disk if the program has too much state: of the side that has more first.
    fn make_room(&mut self) -> Result<()> {
        if self.spill.is_unlimited() {
            return Ok(());
        }
        let sizes = [self.held[LEFT].size(), self.held[RIGHT].size()];
        let excess = self.spill.report(sizes.iter().sum::<usize>() as u64);
        let excess = usize::try_from(excess).unwrap_or(usize::MAX);
        let mut free = 0;
        for side in if sizes[LEFT] >= sizes[RIGHT] { [LEFT, RIGHT] } else { [RIGHT, LEFT] } {
            if free < excess {
                free += self.held[side].move_to_disk(&self.spill, excess - free)?;
            }
        }
        Ok(())
    }

    fn restore_rows(&mut self, side: usize, table: &RecordBatch) -> Result<()> {
        let options = self.side(side).clone();
        let (rows, marks) = Held::untable(table, &options.schema)?;
        let slots = self.keys.slots(&rows, &options.keys)?;
        let times = rows.column(options.time).as_primitive::<TimestampMicrosecondType>();
        let arrivals = (0_u32..).zip(slots).zip(times.values()).zip(marks);
        let arrivals =
            arrivals.map(|(((row, slot), time), is_matched)| Arrival { row, slot, time: *time, is_matched });
        self.held[side].push(&rows, &arrivals.collect::<Vec<_>>())
    }
}

/// A batch that may have no columns.
pub(super) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let count = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &count)?)
}

/// All columns of both sides, nullable: the input of a residual.
pub(super) fn joined_schema(left: &SchemaRef, right: &SchemaRef) -> SchemaRef {
    let fields = left.fields().iter().chain(right.fields());
    let nullable = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(nullable.collect::<Vec<_>>()))
}

/// For which rows a residual is true.
pub(super) fn holds(
    residual: &dyn Expression,
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<Vec<bool>> {
    let holds = residual.evaluate(&batch_of(schema, columns, rows)?)?;
    let holds =
        holds.as_boolean_opt().ok_or_else(|| Error::operator("join", "the condition is not a boolean"))?;
    Ok(holds.iter().map(|holds| holds == Some(true)).collect())
}

/// The first `width` columns of the rows with these numbers.
pub(super) fn taken(rows: &RecordBatch, width: usize, numbers: UInt32Array) -> Result<Vec<ArrayRef>> {
    rows.columns()[..width].iter().map(|column| Ok(take(column, &numbers, None)?)).collect()
}

/// A batch has fewer than 2^32 rows.
pub(super) fn row_number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

impl Operator for IntervalJoin {
    fn on_batch(&mut self, input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        if batch.weights().is_some() {
            return Err(Error::operator("join", "it takes append-only rows, not a changelog"));
        }
        self.arrive(input, batch.into_rows(), output)?;
        self.make_room()
    }

    fn on_watermark(&mut self, watermark: Watermark, _output: &mut Output) -> Result<()> {
        self.watermark = watermark;
        Ok(())
    }

    fn on_epoch_end(&mut self, _header: EpochHeader, output: &mut Output) -> Result<()> {
        self.expire(LEFT, output)?;
        self.expire(RIGHT, output)?;
        let live = |slot: u32| self.held.iter().any(|held| held.has(slot));
        if let Some(moved) = self.keys.reclaim(live)? {
            self.held.iter_mut().for_each(|held| held.renumber(&moved));
        }
        Ok(())
    }

    fn use_spill(&mut self, spill: Spill) {
        self.spill = spill;
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.held.iter_mut().for_each(Held::save);
        let mut snapshot = Snapshot::default();
        snapshot.put("progress", progress(self.watermark)?);
        Ok(snapshot)
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        for (held, name) in self.held.iter_mut().zip(SIDES) {
            if let Some(rows) = held.next_saved()? {
                let mut snapshot = Snapshot::default();
                snapshot.put(name, rows);
                return Ok(Some(snapshot));
            }
        }
        Ok(None)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        for (side, name) in [LEFT, RIGHT].into_iter().zip(SIDES) {
            for rows in snapshot.take_parts(name) {
                self.restore_rows(side, &rows)?;
                self.make_room()?;
            }
        }
        self.watermark = restored_progress(snapshot.take("progress"))?;
        Ok(())
    }
}

/// A watermark as a table of a snapshot.
pub(super) fn progress(watermark: Watermark) -> Result<RecordBatch> {
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![watermark.0]));
    Ok(RecordBatch::try_from_iter([("watermark", at)])?)
}

/// See [`progress`].
pub(super) fn restored_progress(table: Option<RecordBatch>) -> Result<Watermark> {
    let other_plan = || Error::operator("join", "a snapshot of another operator");
    let table = table.ok_or_else(other_plan)?;
    let times = table.column(0).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(other_plan)?;
    Ok(Watermark(times.value(0)))
}

#[cfg(test)]
mod tests;
