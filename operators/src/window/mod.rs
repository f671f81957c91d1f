//! Windows: spans of event time, `[start, end)`, that a result is about.
//!
//! ```text
//! fixed.rs      where TUMBLE, HOP and CUMULATE have their windows, and the panes of these
//! aggregate.rs  WindowAggregate: TUMBLE, HOP, CUMULATE      split.rs      rows of a batch by pane
//! overlap.rs    panes that several windows share            sliding.rs    merged to hopping windows
//!                                                           cumulating.rs and to windows that grow
//! revised.rs    RevisedAggregate: the same, given early and corrected
//! early.rs      EarlyWindows: sessions, count and state windows, given early
//! session.rs    SessionAggregate: SESSION                   arrivals.rs   what these share: rows come in,
//! state_window.rs  StateAggregate: STATE_WINDOW             waiting.rs    wait for the watermark,
//! count.rs      CountAggregate: COUNT_WINDOW                row_store.rs  and are picked when their window closes
//!                                                           flags.rs      and shared with a snapshot
//! spans.rs      what sessions and state windows share
//! parked.rs     keys on disk that have had no row for longest
//! assign.rs     AssignWindows: the window columns of each row, without a GROUP BY
//! complete.rs   CompleteWindows: what is computed of all rows of a window together
//! unpack.rs     UnpackRows: the rows of sessions, count and state windows
//! arguments.rs  the aggregates of a window, each argument computed once
//! moments.rs     count, sum, extremes and variance of a column in one pass
//! groups.rs     the keys of a pane and their partial results, in
//! range.rs      ranges, in memory or on disk; those of complete panes
//! pieces.rs     are pieces that do not change
//! state.rs      snapshots as tables
//! ```
//!
//! What holds for all of them:
//!
//! - Rows are append-only in and, but for windows that are corrected, out. Output columns: the key, `window_start`,
//!   `window_end`, then the results.
//! - Windows of a fixed length are aligned to the Unix epoch, or to an offset from it. A pane is the slice that hopping windows share.
//! - A row without event time belongs to no window. A row whose window has closed is left out and counted; the
//!   source has already kept late rows apart, so there is none unless a plan is wrong.
//! - Results depend on the rows and their order only, not on batches, watermark steps or number of workers.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch, is_not_null};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::Output;
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Error, Result};

mod aggregate;
pub(crate) mod arguments;
mod arrivals;
mod assign;
mod complete;
mod count;
mod cumulating;
mod early;
mod fixed;
pub(crate) mod flags;
pub(crate) mod groups;
pub(crate) mod moments;
#[cfg(test)]
mod oracle;
mod overlap;
mod parked;
mod pieces;
pub(crate) mod range;
mod revised;
pub(crate) mod row_store;
mod session;
mod sliding;
mod spans;
mod split;
pub(crate) mod state;
mod state_window;
mod unpack;
pub(crate) mod waiting;

pub use aggregate::{WindowAggregate, WindowOptions};
pub use assign::{AssignOptions, AssignWindows};
pub use complete::{CompleteOptions, CompleteWindows};
pub use count::{CountAggregate, CountOptions};
pub use early::{EarlyOptions, EarlyWindows, MakeWindows};
pub use fixed::FixedWindows;
pub use revised::{RevisedAggregate, RevisedOptions};
pub use session::{SessionAggregate, SessionOptions};
pub use spans::FOLD_ROWS;
pub use state_window::{StateAggregate, StateOptions};
pub use unpack::UnpackRows;

/// A span of event time, `[start, end)`, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// The first instant inside.
    pub start: EventTime,
    /// The first instant after it.
    pub end: EventTime,
}

/// The rows of a batch that have an event time.
pub(crate) fn timed_rows(batch: Batch, time: usize) -> Result<RecordBatch> {
    if batch.weights().is_some() {
        return Err(Error::operator("window", "it takes append-only rows, not a changelog"));
    }
    let rows = batch.into_rows();
    if rows.column(time).null_count() == 0 {
        return Ok(rows);
    }
    Ok(filter_record_batch(&rows, &is_not_null(rows.column(time))?)?)
}

/// The event times of rows that all have one.
pub(crate) fn times(rows: &RecordBatch, column: usize) -> Result<&[EventTime]> {
    let column = rows.column(column);
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => Ok(times.values()),
        None => Err(Error::operator(
            "window",
            format!("event time is a {}, not a TIMESTAMP of microseconds", column.data_type()),
        )),
    }
}

pub(crate) fn columns_at(rows: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().map(|column| ArrayRef::clone(rows.column(*column))).collect()
}

/// Batches of results of at least so many rows are sent as they are; smaller ones are put together.
const SEND_ROWS: usize = 4096;

/// Sends results of many windows in few batches.
fn send_all(schema: &SchemaRef, results: Vec<RecordBatch>, output: &mut Output) -> Result<()> {
    let (mut small, mut rows) = (Vec::new(), 0);
    for result in results {
        rows += result.num_rows();
        small.push(result);
        if rows >= SEND_ROWS {
            output.send(concat_batches(schema, &small)?);
            small.clear();
            rows = 0;
        }
    }
    if !small.is_empty() {
        output.send(concat_batches(schema, &small)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lineshaft_engine::testing::table;

    use super::*;

    #[test]
    fn a_changelog_or_a_time_of_another_type_is_refused() {
        let rows = table("ts:i \n 1");
        let wrong = times(&rows, 0).unwrap_err().to_string();
        assert_eq!(wrong, "window: event time is a Int64, not a TIMESTAMP of microseconds");
        let changes = Batch::with_weights(rows, vec![1].into());
        let refused = timed_rows(changes, 0).unwrap_err().to_string();
        assert_eq!(refused, "window: it takes append-only rows, not a changelog");
    }

    #[test]
    fn small_results_are_sent_together() {
        let rows = table("x:i \n 1 \n 2");
        let mut output = Output::new(1);
        send_all(&rows.schema(), vec![rows.clone(); 3000], &mut output).unwrap();
        let sent: Vec<_> = output.take(0).iter().map(Batch::num_rows).collect();
        assert_eq!(sent, [4096, 1904]);
    }
}
