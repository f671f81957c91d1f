//! Adds the time at which a row came, as `now()` gives it: the wall clock of its epoch, or in a backfill the event time that
//! has been reached.
//!
//! Both are part of the input: a program that goes on from its journal sees the same times again, and a backfill gives the
//! same rows at every run.
//!
//! - Rows: append-only in and out, in their order; one column more. State: the watermark.

use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::{EpochHeader, Watermark};
use lineshaft_engine::{Error, Result};

use crate::window::state::StateTable;

/// Which time is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The wall clock when the epoch was formed.
    WallClock,
    /// The watermark at the end of the epoch; NULL before there is one, since the wall clock would be another at every run.
    Watermark,
}

/// Adds a column with the time of the epoch.
#[derive(Debug)]
pub struct Stamp {
    reading: Reading,
    schema: SchemaRef,
    /// The rows of this epoch.
    rows: Vec<RecordBatch>,
    /// The last watermark that is a time.
    watermark: Option<i64>,
}

/// In place of a watermark: there was none.
const NONE: i64 = i64::MIN;

impl Stamp {
    /// The operator; `schema` has the columns of the input and that of the time.
    pub fn new(reading: Reading, schema: SchemaRef) -> Self {
        Self { reading, schema, rows: Vec::new(), watermark: None }
    }
}

impl Operator for Stamp {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        if batch.weights().is_some() {
            return Err(Error::operator("now()", "it takes append-only rows, not a changelog"));
        }
        self.rows.push(batch.into_rows());
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _output: &mut Output) -> Result<()> {
        if watermark != Watermark::END && watermark != Watermark::START {
            self.watermark = Some(watermark.0);
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, header: EpochHeader, output: &mut Output) -> Result<()> {
        let now = match self.reading {
            Reading::WallClock => Some(header.wall_clock),
            Reading::Watermark => self.watermark,
        };
        for rows in self.rows.drain(..) {
            let mut columns = rows.columns().to_vec();
            let count = rows.num_rows();
            columns.push(Arc::new(match now {
                Some(now) => TimestampMicrosecondArray::from_value(now, count),
                None => TimestampMicrosecondArray::new_null(count),
            }));
            output.send(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        let numbers = vec![vec![self.watermark.unwrap_or(NONE)]];
        snapshot.put("progress", StateTable { numbers, keys: Vec::new(), values: Vec::new() }.into_batch()?);
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let progress = snapshot.take("progress");
        let progress = progress.ok_or_else(|| Error::operator("now()", "a snapshot of another plan"))?;
        let progress = StateTable::from_batch(&progress, 1, 0)?;
        self.watermark = Some(progress.numbers[0][0]).filter(|watermark| *watermark != NONE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use lineshaft_engine::TIMESTAMP;
    use lineshaft_engine::testing::{lines, table};

    use super::*;

    fn stamp(reading: Reading) -> Stamp {
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("now", TIMESTAMP, true)];
        Stamp::new(reading, Arc::new(Schema::new(fields)))
    }

    fn epoch(stamp: &mut Stamp, watermark: Watermark, wall_clock: i64) -> Vec<String> {
        let mut output = Output::new(1);
        stamp.on_batch(0, table("n:i \n 1").into(), &mut output).unwrap();
        stamp.on_watermark(watermark, &mut output).unwrap();
        stamp.on_epoch_end(EpochHeader::new(0, wall_clock), &mut output).unwrap();
        lines(&output.take(0).into_iter().map(Batch::into_rows).collect::<Vec<_>>())
    }

    #[test]
    fn live_it_is_the_wall_clock_of_the_epoch() {
        let mut stamp = stamp(Reading::WallClock);
        assert_eq!(epoch(&mut stamp, Watermark(5_000_000), 7_000_000), ["1 1970-01-01T00:00:07"]);
    }

    #[test]
    fn in_a_backfill_it_is_the_watermark_that_was_reached() {
        let mut first = stamp(Reading::Watermark);
        assert_eq!(epoch(&mut first, Watermark::START, 7_000_000), ["1 -"]);
        assert_eq!(epoch(&mut first, Watermark(5_000_000), 8_000_000), ["1 1970-01-01T00:00:05"]);
        let mut second = stamp(Reading::Watermark);
        second.restore(first.snapshot().unwrap()).unwrap();
        assert_eq!(epoch(&mut second, Watermark::END, 9_000_000), ["1 1970-01-01T00:00:05"]);
    }
}
