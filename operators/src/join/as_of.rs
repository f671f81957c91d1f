//! Joins each row with the one row of the other side that is nearest before (or after) it in event time.
//!
//! - Formula: `a.ts >= b.ts` takes the latest row of `b` with the same key that is not after `a`, `>` one that is before it;
//!   `<=` and `<` take the earliest one at or after it. Of several at the same time the last to arrive counts.
//! - Inputs: 0 is the left side, 1 the right one; rows with the same key on one worker. Append-only.
//! - Rows: each row of the left at most once, when nothing can come any more that would be nearer; NULL in a key or a time
//!   meets nothing. Against a table that is there before the rows that is at once.
//! - State: rows of the left that are not decided; of the right those that a row of the left can still need. For `>=` and `>`
//!   that is always one row of each key. Rows of the right may be on disk, the oldest first, unless they are a table.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::spill::Spill;
use lineshaft_engine::time::{EpochHeader, EventTime, Watermark};
use lineshaft_engine::{Error, Result};

use super::held::{Arrival, Entry, Held};
use super::interval::{TimedSide, batch_of, progress, restored_progress, row_number, taken};
use super::keys::JoinKeys;
use crate::keys::ABSENT;
use crate::window::row_store::Place;

/// Which row of the right side a row of the left takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nearest {
    /// `left >= right`: the latest that is not after it.
    AtOrBefore,
    /// `left > right`: the latest that is before it.
    Before,
    /// `left <= right`: the earliest that is not before it.
    AtOrAfter,
    /// `left < right`: the earliest that is after it.
    After,
}

/// Arguments of `ASOF JOIN`.
#[derive(Clone, Debug)]
pub struct AsOfOptions {
    /// Input 0.
    pub left: TimedSide,
    /// Input 1.
    pub right: TimedSide,
    /// All rows of the right that count for a row of the left are there before it: a row of the left never waits.
    pub right_is_complete: bool,
    /// Which row is taken.
    pub nearest: Nearest,
    /// A row of the left that meets nothing comes out with NULL.
    pub keeps_left: bool,
    /// Names and types of the output: the columns of the left, then those of the right, of which text may come out as a
    /// dictionary.
    pub schema: SchemaRef,
}

/// `a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.key = b.key`.
pub struct AsOfJoin {
    options: AsOfOptions,
    keys: JoinKeys,
    waiting: Vec<Waiting>,
    right: Held,
    watermark: Watermark,
    prune_at: usize,
    spill: Spill,
}

/// Rows of the left, in order of arrival, some of which are not decided.
struct Waiting {
    rows: RecordBatch,
    slots: Vec<u32>,
    times: TimestampMicrosecondArray,
    /// Numbers of the rows that wait.
    open: Vec<u32>,
    /// The least of their times.
    least: EventTime,
}

impl Waiting {
    fn time(&self, row: u32) -> Option<EventTime> {
        let row = row as usize;
        (self.slots[row] != ABSENT && self.times.is_valid(row)).then(|| self.times.value(row))
    }

    fn find_least(&mut self) {
        let times = self.open.iter().map(|row| self.time(*row).unwrap_or(EventTime::MIN));
        self.least = times.min().unwrap_or(EventTime::MAX);
    }
}

/// What is known of a row of the left.
enum Fate {
    /// Something nearer may come.
    Open,
    /// The row that it meets.
    Meets(Option<Place>),
}

/// Fewer rows than this are not worth looking through.
const FEW_ROWS: usize = 4096;

impl AsOfJoin {
    /// The operator.
    ///
    /// # Errors
    /// If the keys do not fit together or are of a type that is not supported.
    pub fn new(options: AsOfOptions) -> Result<Self> {
        let (left, right) = (&options.left, &options.right);
        Ok(Self {
            keys: JoinKeys::new((&left.schema, &left.keys), (&right.schema, &right.keys))?,
            options,
            waiting: Vec::new(),
            right: Held::default(),
            watermark: Watermark::START,
            prune_at: FEW_ROWS,
            spill: Spill::default(),
        })
    }

    /// Below it no row of a side will come.
    fn passed(&self, side: &TimedSide) -> EventTime {
        match self.watermark {
            Watermark::START | Watermark::END => self.watermark.0,
            Watermark(at) => at.saturating_sub(side.lag),
        }
    }

    /// True if rows of the left up to that time are decided whatever has come.
    fn is_decided(&self, time: EventTime) -> bool {
        let passed = self.passed(&self.options.right);
        match self.options.nearest {
            _ if self.options.right_is_complete || self.watermark == Watermark::END => true,
            Nearest::AtOrBefore => time < passed,
            Nearest::Before => time <= passed,
            Nearest::AtOrAfter | Nearest::After => false,
        }
    }

    fn fate(&self, slot: u32, time: Option<EventTime>) -> Fate {
        let Some(time) = time else { return Fate::Meets(None) };
        let found = self.find(slot, time);
        let is_certain = match self.options.nearest {
            Nearest::AtOrBefore | Nearest::Before => self.is_decided(time),
            Nearest::AtOrAfter | Nearest::After => {
                let passed = self.passed(&self.options.right);
                self.is_decided(time) || found.is_some_and(|entry| entry.time < passed)
            }
        };
        if is_certain { Fate::Meets(found.map(|entry| entry.place)) } else { Fate::Open }
    }

    /// The nearest row of the right that is there.
    fn find(&self, slot: u32, time: EventTime) -> Option<Entry> {
        let rows = self.right.of(slot)?;
        let after = |at: usize| {
            // Of several at that time the last one.
            let first = rows.get(at)?;
            let end = at + rows.range(at..).take_while(|entry| entry.time == first.time).count();
            rows.get(end - 1)
        };
        match self.options.nearest {
            Nearest::AtOrBefore => rows.get(rows.partition_point(|e| e.time <= time).checked_sub(1)?),
            Nearest::Before => rows.get(rows.partition_point(|e| e.time < time).checked_sub(1)?),
            Nearest::AtOrAfter => after(rows.partition_point(|e| e.time < time)),
            Nearest::After => after(rows.partition_point(|e| e.time <= time)),
        }
        .copied()
    }

    fn arrive_left(&mut self, rows: RecordBatch) -> Result<()> {
        let times = times(&rows, &self.options.left)?;
        let slots = self.keys.slots(&rows, &self.options.left.keys)?;
        let open = (0..row_number(rows.num_rows())).collect();
        let mut waiting = Waiting { rows, slots, times, open, least: EventTime::MIN };
        waiting.find_least();
        self.waiting.push(waiting);
        Ok(())
    }

    fn arrive_right(&mut self, rows: &RecordBatch) -> Result<()> {
        let times = times(rows, &self.options.right)?;
        let slots = self.keys.slots(rows, &self.options.right.keys)?;
        let timed =
            (0_u32..).zip(slots).filter(|(row, slot)| *slot != ABSENT && times.is_valid(*row as usize));
        let arrivals = timed.map(|(row, slot)| {
            let time = times.value(row as usize);
            Arrival { row, slot, time, is_matched: false }
        });
        self.right.push(rows, &arrivals.collect::<Vec<_>>())
    }

    /// Sends the rows of the left that are decided now.
    fn decide(&mut self, output: &mut Output) -> Result<()> {
        let goes_back = matches!(self.options.nearest, Nearest::AtOrBefore | Nearest::Before);
        let mut waiting = std::mem::take(&mut self.waiting);
        for part in &mut waiting {
            if goes_back && part.least > EventTime::MIN && !self.is_decided(part.least) {
                continue;
            }
            let (mut rows, mut places, mut open) = (Vec::new(), Vec::new(), Vec::new());
            for row in &part.open {
                match self.fate(part.slots[*row as usize], part.time(*row)) {
                    Fate::Open => open.push(*row),
                    Fate::Meets(None) if !self.options.keeps_left => {}
                    Fate::Meets(place) => {
                        rows.push(*row);
                        places.push(place);
                    }
                }
            }
            part.open = open;
            part.find_least();
            self.send(part, rows, &places, output)?;
        }
        waiting.retain(|part| !part.open.is_empty());
        self.waiting = waiting;
        Ok(())
    }

    fn send(
        &self,
        part: &Waiting,
        rows: Vec<u32>,
        places: &[Option<Place>],
        output: &mut Output,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let AsOfOptions { left, schema, .. } = &self.options;
        let mut columns: Vec<ArrayRef> = if rows.len() == part.rows.num_rows() {
            part.rows.columns()[..left.width].to_vec()
        } else {
            taken(&part.rows, left.width, rows.into())?
        };
        columns.extend(self.right.pick_some(&schema.fields()[left.width..], places)?);
        output.send(batch_of(schema, columns, places.len())?);
        Ok(())
    }

    /// Forgets rows of the right that no row of the left can need any more.
    fn prune(&mut self) -> Result<()> {
        if self.right.len() < self.prune_at || self.watermark == Watermark::START {
            return Ok(());
        }
        let waits = self.waiting.iter().map(|part| part.least).min().unwrap_or(EventTime::MAX);
        let needed = self.passed(&self.options.left).min(waits);
        let goes_back = matches!(self.options.nearest, Nearest::AtOrBefore | Nearest::Before);
        for slot in self.right.slots() {
            self.right.prune(slot, |first, next| match goes_back {
                true => next.is_some_and(|next| next.time < needed),
                false => first.time < needed,
            });
        }
        self.right.compact()?;
        self.right.gather_rests(&self.options.right.schema)?;
        self.prune_at = FEW_ROWS.max(self.right.len() * 2);
        self.reclaim()
    }

    /// Moves rows of the right to disk if the program has too much in memory. A table that is there before the rows of the left
    /// stays: each of them looks into it.
    fn make_room(&mut self) -> Result<()> {
        if self.spill.is_unlimited() || self.options.right_is_complete {
            return Ok(());
        }
        let excess = self.spill.report(self.right.size() as u64);
        if excess > 0 {
            self.right.move_to_disk(&self.spill, usize::try_from(excess).unwrap_or(usize::MAX))?;
            self.spill.report(self.right.size() as u64);
        }
        Ok(())
    }

    fn reclaim(&mut self) -> Result<()> {
        let waits = self.waiting.iter().flat_map(|part| &part.slots);
        let waits: std::collections::HashSet<u32> = waits.copied().collect();
        let right = &self.right;
        if let Some(moved) = self.keys.reclaim(|slot| right.has(slot) || waits.contains(&slot))? {
            self.right.renumber(&moved);
            for slot in self.waiting.iter_mut().flat_map(|part| &mut part.slots) {
                *slot = moved.get(*slot as usize).copied().flatten().unwrap_or(ABSENT);
            }
        }
        Ok(())
    }
}

fn times(rows: &RecordBatch, side: &TimedSide) -> Result<TimestampMicrosecondArray> {
    let times = rows.column(side.time).as_primitive_opt::<TimestampMicrosecondType>();
    Ok(times.ok_or_else(|| Error::operator("join", "the event time is no timestamp"))?.clone())
}

impl Operator for AsOfJoin {
    fn on_batch(&mut self, input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        if batch.weights().is_some() {
            return Err(Error::operator("join", "it takes append-only rows, not a changelog"));
        }
        match input {
            0 => self.arrive_left(batch.into_rows())?,
            _ => self.arrive_right(batch.rows())?,
        }
        if input == 0 && self.options.right_is_complete {
            self.right.gather()?;
            self.decide(output)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _output: &mut Output) -> Result<()> {
        self.watermark = watermark;
        Ok(())
    }

    fn on_epoch_end(&mut self, _header: EpochHeader, output: &mut Output) -> Result<()> {
        self.decide(output)?;
        self.prune()?;
        self.make_room()
    }

    fn use_spill(&mut self, spill: Spill) {
        self.spill = spill;
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let open = self.waiting.iter().map(|part| {
            let rows = UInt32Array::from(part.open.clone());
            Ok(arrow::compute::take_record_batch(&part.rows, &rows)?)
        });
        let open = open.collect::<Result<Vec<_>>>()?;
        let mut snapshot = Snapshot::default();
        snapshot.put("left", concat_batches(&self.options.left.schema, &open)?);
        snapshot.put("progress", progress(self.watermark)?);
        self.right.save();
        Ok(snapshot)
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        let Some(rows) = self.right.next_saved()? else { return Ok(None) };
        let mut snapshot = Snapshot::default();
        snapshot.put("right", rows);
        Ok(Some(snapshot))
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let left = snapshot.take("left");
        self.arrive_left(left.ok_or_else(|| Error::operator("join", "a snapshot of another operator"))?)?;
        for part in snapshot.take_parts("right") {
            let (rows, _) = Held::untable(&part, &self.options.right.schema)?;
            self.arrive_right(&rows)?;
            self.make_room()?;
        }
        self.watermark = restored_progress(snapshot.take("progress"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
