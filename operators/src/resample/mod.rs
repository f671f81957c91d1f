//! Rows at fixed times: `RESAMPLE(relation, time, interval, key..., LINEAR(...), PREVIOUS(...), MAX_GAP => ...)`.
//!
//! Each key gets a row at each multiple of the interval (from the Unix epoch) between its first and its last row, whose
//! columns are filled from the rows around it ([`Filling`]). Of rows of one time the last one counts. A point comes out
//! when the watermark has passed the row after it.
//!
//! - Rows: append-only in and out, same columns.
//! - State: the rows above the watermark, and the last row of each key, also of one that is silent.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::{EventTime, Watermark};
use lineshaft_engine::{Error, Result};

mod points;
#[cfg(test)]
mod tests;

pub use points::{Filling, Grid, MOST_POINTS, Point, Position, fill};

use crate::keys::KeyInterner;
use crate::window::row_store::{Place, RowStore};
use crate::window::state::StateTable;
use crate::window::waiting::{Rows, SavedRows, Waiting};
use crate::window::{columns_at, timed_rows, times};

/// Arguments of `RESAMPLE`.
#[derive(Clone, Debug)]
pub struct ResampleOptions {
    /// The column of event time.
    pub time: usize,
    /// Columns of the key.
    pub keys: Vec<usize>,
    /// Where the points are.
    pub grid: Grid,
    /// One for each column.
    pub fillings: Vec<Filling>,
    /// The columns, as they come out.
    pub schema: SchemaRef,
}

/// The table function `RESAMPLE`.
pub struct Resample {
    options: ResampleOptions,
    interner: KeyInterner,
    waiting: Waiting,
    /// The last row of each slot.
    last: Vec<Option<Last>>,
    rows: RowStore,
    slots: Vec<u32>,
    ignored: u64,
    /// What a snapshot that has begun is still to give.
    saved: SavedRows,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    time: EventTime,
    place: Place,
}

/// So many points are put out together.
const POINTS: usize = 65_536;

impl Resample {
    /// The operator.
    ///
    /// # Errors
    /// If the interval is not longer than zero, or a key is of a type that is not supported.
    pub fn new(options: ResampleOptions) -> Result<Self> {
        if options.grid.interval <= 0 {
            return Err(Error::Plan("RESAMPLE with an interval that is not longer than zero".to_owned()));
        }
        let types: Vec<_> =
            options.keys.iter().map(|key| options.schema.field(*key).data_type().clone()).collect();
        Ok(Self {
            interner: KeyInterner::new(&types)?,
            waiting: Waiting::default(),
            last: Vec::new(),
            rows: RowStore::default(),
            slots: Vec::new(),
            ignored: 0,
            saved: SavedRows::default(),
            options,
        })
    }

    /// Rows that came below the watermark.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    fn work(&mut self, settled: Rows, output: &mut Output) -> Result<()> {
        self.last.resize(self.interner.len(), None);
        let runs: Vec<(u32, usize)> =
            settled.slots.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
        // Before the rows that are new come the last ones of their keys.
        let known: Vec<Place> =
            runs.iter().filter_map(|(slot, _)| Some(self.last[*slot as usize]?.place)).collect();
        let columns = below(self.rows.pick(&known)?, &settled.columns)?;
        let (mut next_known, mut row) = (0_u32, 0);
        let offset = index(known.len())?;
        let (mut points, mut ends) = (Vec::new(), Vec::new());
        for (slot, len) in runs {
            let mut before = self.last[slot as usize].map(|last| {
                next_known += 1;
                (last.time, next_known - 1)
            });
            for at in row..row + len {
                let is_last_of_time = at + 1 == row + len || settled.times[at + 1] != settled.times[at];
                if is_last_of_time {
                    let this = (settled.times[at], offset + index(at)?);
                    self.options.grid.points(before, this, &mut points);
                    before = Some(this);
                }
                if points.len() >= POINTS {
                    self.send(&columns, std::mem::take(&mut points), output)?;
                }
            }
            row += len;
            ends.push((slot, index(row - 1)?));
        }
        self.send(&columns, points, output)?;
        self.keep(&settled, &ends)
    }

    fn send(&self, columns: &[ArrayRef], points: Vec<Point>, output: &mut Output) -> Result<()> {
        for points in points.chunks(POINTS) {
            let columns = fill(columns, points, &self.options.fillings)?;
            output.send(RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?);
        }
        Ok(())
    }

    /// Keeps the last row of each key.
    fn keep(&mut self, settled: &Rows, ends: &[(u32, u32)]) -> Result<()> {
        let rows: UInt32Array = ends.iter().map(|(_, row)| *row).collect();
        let columns = settled.columns.iter().map(|column| take(column, &rows, None));
        let columns = columns.collect::<std::result::Result<_, _>>()?;
        for ((slot, row), place) in ends.iter().zip(self.rows.push(columns, ends.len())) {
            self.last[*slot as usize] = Some(Last { time: settled.times[*row as usize], place });
        }
        if self.rows.is_sparse(self.last.len()) {
            self.rows.compact(self.last.iter_mut().flatten().map(|last| &mut last.place))?;
        }
        Ok(())
    }
}

fn index(row: usize) -> Result<u32> {
    u32::try_from(row).map_err(|_| Error::operator("resample", "more than 4 billion rows at a time"))
}

/// The columns of two parts, one below the other; the first may have none.
fn below(first: Vec<ArrayRef>, second: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    if first.first().is_none_or(|column| column.is_empty()) {
        return Ok(second.to_vec());
    }
    let column = |(first, second): (&ArrayRef, &ArrayRef)| Ok(concat(&[first.as_ref(), second.as_ref()])?);
    first.iter().zip(second).map(column).collect()
}

impl Operator for Resample {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        let rows = timed_rows(batch, self.options.time)?;
        let keys = columns_at(&rows, &self.options.keys);
        self.interner.intern(&keys, rows.num_rows(), &mut self.slots)?;
        let late = self.waiting.push(Rows {
            times: times(&rows, self.options.time)?.to_vec(),
            slots: self.slots.clone(),
            columns: rows.columns().to_vec(),
        })?;
        self.ignored += late as u64;
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        let settled = self.waiting.settle(watermark)?;
        if settled.len() == 0 {
            return Ok(());
        }
        self.work(settled, output)
    }

    /// Slots keep their numbers: keys are written in the order of their slots.
    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        self.saved = self.waiting.save();
        let progress = vec![vec![self.waiting.watermark().0]];
        let table = |numbers, keys, values| StateTable { numbers, keys, values }.into_batch();
        snapshot.put("progress", table(progress, Vec::new(), Vec::new())?);
        self.last.resize(self.interner.len(), None);
        let slots: Vec<u32> = (0..).take(self.last.len()).collect();
        let known: Vec<&Last> = self.last.iter().flatten().collect();
        if !slots.is_empty() {
            let is_known = self.last.iter().map(|last| i64::from(last.is_some())).collect();
            snapshot.put("keys", table(vec![is_known], self.interner.columns(&slots)?, Vec::new())?);
        }
        if !known.is_empty() {
            let places: Vec<Place> = known.iter().map(|last| last.place).collect();
            let times = known.iter().map(|last| last.time).collect();
            snapshot.put("last", table(vec![times], Vec::new(), self.rows.pick(&places)?)?);
        }
        Ok(snapshot)
    }

    /// The rows that wait.
    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        let Some(Rows { times, slots, columns }) = self.saved.next()? else { return Ok(None) };
        let numbers = vec![times, slots.into_iter().map(i64::from).collect()];
        let mut snapshot = Snapshot::default();
        snapshot.put("waiting", StateTable { numbers, keys: Vec::new(), values: columns }.into_batch()?);
        Ok(Some(snapshot))
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let other_plan = || Error::operator("resample", "a snapshot of another plan");
        let progress = snapshot.take("progress").ok_or_else(other_plan)?;
        let watermark = Watermark(StateTable::from_batch(&progress, 1, 0)?.numbers[0][0]);
        let waiting = snapshot.take_parts("waiting").into_iter().map(|part| {
            let mut table = StateTable::from_batch(&part, 2, 0)?;
            let slots = table.numbers[1].iter().map(|slot| u32::try_from(*slot));
            let slots = slots.collect::<std::result::Result<_, _>>().map_err(|_| other_plan())?;
            Ok(Rows { times: table.numbers.swap_remove(0), slots, columns: table.values })
        });
        self.waiting.restore(watermark, waiting.collect::<Result<Vec<_>>>()?);
        let Some(keys) = snapshot.take("keys") else { return Ok(()) };
        let keys = StateTable::from_batch(&keys, 1, self.options.keys.len())?;
        self.interner.intern(&keys.keys, keys.rows(), &mut self.slots)?;
        self.last.resize(keys.rows(), None);
        let Some(last) = snapshot.take("last") else { return Ok(()) };
        let last = StateTable::from_batch(&last, 1, 0)?;
        let places = self.rows.push(last.values, last.numbers[0].len());
        let known = (0..keys.rows()).filter(|slot| keys.numbers[0][*slot] == 1);
        for ((slot, place), time) in known.zip(places).zip(&last.numbers[0]) {
            self.last[slot] = Some(Last { time: *time, place });
        }
        Ok(())
    }
}
