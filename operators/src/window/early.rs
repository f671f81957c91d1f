//! Results of open sessions, count and state windows with `EMIT EVERY`: what they would be if the input ended now.
//!
//! At every multiple of the interval a copy of the window operator is brought to the end of its input. What it gives is
//! given, and taken back when something else is right: at the next tick, or when a window of the key closes.
//!
//! - Rows: append-only in, a changelog out. Output: that of the windows.
//! - State: that of the windows, and the rows that were given and are not final.
//! - Cost: a tick costs as much as what is open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, SortField};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::{EpochHeader, Watermark};
use lineshaft_engine::{Error, Result};

use super::state::StateTable;

/// Makes the operator of the windows.
pub type MakeWindows = Arc<dyn Fn() -> Result<Box<dyn Operator>> + Send + Sync>;

/// Arguments of `EMIT EVERY`.
#[derive(Clone)]
pub struct EarlyOptions {
    /// The windows, which are given once.
    pub windows: MakeWindows,
    /// Microseconds of wall clock.
    pub every: i64,
    /// Number of columns of the key, with which their output begins.
    pub keys: usize,
    /// The columns of their output.
    pub schema: SchemaRef,
}

/// Windows that are given early.
pub struct EarlyWindows {
    options: EarlyOptions,
    windows: Box<dyn Operator>,
    keys: RowConverter,
    rows: RowConverter,
    /// By key the rows that were given and are not final.
    given: Given,
    /// Something has come since the last tick.
    is_changed: bool,
    /// The multiple of the interval that was reached last.
    tick: Option<i64>,
}

type Given = BTreeMap<OwnedRow, BTreeMap<OwnedRow, i64>>;

/// Rows with what is added to their weights.
#[derive(Default)]
struct Changes(BTreeMap<OwnedRow, i64>);

impl Changes {
    fn add(&mut self, row: OwnedRow, weight: i64) {
        *self.0.entry(row).or_insert(0) += weight;
    }
}

/// In place of a tick: there was none.
const NO_TICK: i64 = i64::MIN;

/// True once for each multiple of `every` that the wall clock passes; `tick` is the one that was reached last.
pub(super) fn is_next_tick(tick: &mut Option<i64>, every: i64, wall_clock: i64) -> bool {
    let reached = wall_clock.div_euclid(every);
    let before = *tick.get_or_insert(reached);
    *tick = Some(before.max(reached));
    reached > before
}

impl EarlyWindows {
    /// The operator.
    ///
    /// # Errors
    /// If the windows cannot be made, or a column is of a type that is not supported.
    pub fn new(options: EarlyOptions) -> Result<Self> {
        let fields = || options.schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        Ok(Self {
            windows: (options.windows)()?,
            // Without a key all have the same: NULL.
            keys: RowConverter::new(match options.keys {
                0 => vec![SortField::new(DataType::Null)],
                keys => fields().take(keys).collect(),
            })?,
            rows: RowConverter::new(fields().collect())?,
            given: Given::new(),
            is_changed: false,
            tick: None,
            options,
        })
    }

    /// Key and row of each of these rows.
    fn encoded(&self, rows: &RecordBatch) -> Result<Vec<(OwnedRow, OwnedRow)>> {
        let all = self.rows.convert_columns(rows.columns())?;
        let keys = match self.options.keys {
            0 => self.keys.convert_columns(&[new_null_array(&DataType::Null, rows.num_rows())])?,
            keys => self.keys.convert_columns(&rows.columns()[..keys])?,
        };
        Ok(keys.iter().zip(all.iter()).map(|(key, row)| (key.owned(), row.owned())).collect())
    }

    /// What the windows gave: it is final, so what was given early of their keys is taken back.
    fn close(&mut self, closed: Vec<Batch>, changes: &mut Changes) -> Result<()> {
        let mut keys = BTreeSet::new();
        for batch in closed {
            for (key, row) in self.encoded(batch.rows())? {
                keys.insert(key);
                changes.add(row, 1);
            }
        }
        for early in keys.iter().filter_map(|key| self.given.remove(key)) {
            early.into_iter().for_each(|(row, count)| changes.add(row, -count));
            self.is_changed = true;
        }
        Ok(())
    }

    /// The state of the windows, at once: none of it is left for later, when a tick might ask for it anew.
    fn whole(&mut self) -> Result<Snapshot> {
        let mut snapshot = self.windows.snapshot()?;
        while let Some(rest) = self.windows.rest_of_snapshot()? {
            snapshot.tables.extend(rest.tables);
        }
        Ok(snapshot)
    }

    /// What is right if the input ends now.
    fn open(&mut self) -> Result<Given> {
        let mut copy = (self.options.windows)()?;
        copy.restore(self.whole()?)?;
        let mut output = Output::new(1);
        copy.on_watermark(Watermark::END, &mut output)?;
        let mut open = Given::new();
        for batch in output.take(0) {
            for (key, row) in self.encoded(batch.rows())? {
                *open.entry(key).or_default().entry(row).or_insert(0) += 1;
            }
        }
        Ok(open)
    }

    /// Gives what is right now, instead of what was given before.
    fn give(&mut self, open: Given, changes: &mut Changes) {
        for (row, count) in std::mem::take(&mut self.given).into_values().flatten() {
            changes.add(row, -count);
        }
        for (row, count) in open.values().flatten() {
            changes.add(row.clone(), *count);
        }
        self.given = open;
    }

    fn send(&self, changes: Changes, output: &mut Output) -> Result<()> {
        let changed: Vec<(&OwnedRow, i64)> = changes
            .0
            .iter()
            .filter(|(_, weight)| **weight != 0)
            .map(|(row, weight)| (row, *weight))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let columns = self.rows.convert_rows(changed.iter().map(|(row, _)| row.row()))?;
        let rows = RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?;
        let weights: Int64Array = changed.iter().map(|(_, weight)| Some(*weight)).collect();
        output.send(Batch::with_weights(rows, weights));
        Ok(())
    }
}

impl Operator for EarlyWindows {
    fn on_batch(&mut self, input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.is_changed = true;
        // Windows give nothing before the watermark moves.
        self.windows.on_batch(input, batch, &mut Output::new(1))
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        let mut closed = Output::new(1);
        self.windows.on_watermark(watermark, &mut closed)?;
        let mut changes = Changes::default();
        self.close(closed.take(0), &mut changes)?;
        if watermark == Watermark::END {
            self.give(Given::new(), &mut changes);
        }
        self.send(changes, output)
    }

    fn on_epoch_end(&mut self, header: EpochHeader, output: &mut Output) -> Result<()> {
        let is_due = is_next_tick(&mut self.tick, self.options.every, header.wall_clock);
        if is_due && std::mem::take(&mut self.is_changed) {
            let mut changes = Changes::default();
            let open = self.open()?;
            self.give(open, &mut changes);
            self.send(changes, output)?;
        }
        Ok(())
    }

    /// That of the windows, `early` with the last tick and whether anything has come since, and `given` with how often each
    /// row was given.
    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = self.whole()?;
        let progress = vec![vec![self.tick.unwrap_or(NO_TICK)], vec![i64::from(self.is_changed)]];
        let progress = StateTable { numbers: progress, keys: Vec::new(), values: Vec::new() };
        snapshot.put("early", progress.into_batch()?);
        let given: Vec<(&OwnedRow, i64)> =
            self.given.values().flatten().map(|(row, count)| (row, *count)).collect();
        if !given.is_empty() {
            let values = self.rows.convert_rows(given.iter().map(|(row, _)| row.row()))?;
            let numbers = vec![given.iter().map(|(_, count)| *count).collect()];
            snapshot.put("given", StateTable { numbers, keys: Vec::new(), values }.into_batch()?);
        }
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let progress = snapshot.take("early");
        let progress = progress.ok_or_else(|| Error::operator("window", "a snapshot of another plan"))?;
        let progress = StateTable::from_batch(&progress, 2, 0)?;
        self.tick = Some(progress.numbers[0][0]).filter(|tick| *tick != NO_TICK);
        self.is_changed = progress.numbers[1][0] == 1;
        if let Some(given) = snapshot.take("given") {
            let table = StateTable::from_batch(&given, 1, 0)?;
            let rows = RecordBatch::try_new(Arc::clone(&self.options.schema), table.values)?;
            for ((key, row), count) in self.encoded(&rows)?.into_iter().zip(&table.numbers[0]) {
                self.given.entry(key).or_default().insert(row, *count);
            }
        }
        self.windows.restore(snapshot)
    }
}

#[cfg(test)]
mod tests;
