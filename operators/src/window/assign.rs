//! Adds `window_start` and `window_end` to each row: `TUMBLE`, `HOP` and `CUMULATE` without a `GROUP BY` of the window.
//!
//! - Rows: append-only in and out. A row is in up to `size / slide` windows and comes out once for each, the earliest
//!   first. Rows without event time are left out. State: none.

use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use lineshaft_engine::Result;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output};

use super::fixed::{FixedWindows, Panes};
use super::{Window, timed_rows, times};

/// Arguments of `TUMBLE`, `HOP` and `CUMULATE`.
#[derive(Clone, Debug)]
pub struct AssignOptions {
    /// The column of event time.
    pub time: usize,
    /// The windows.
    pub windows: FixedWindows,
    /// The columns of the input, `window_start`, `window_end`.
    pub schema: SchemaRef,
}

/// The table functions `TUMBLE`, `HOP` and `CUMULATE`.
#[derive(Debug)]
pub struct AssignWindows {
    options: AssignOptions,
    panes: Panes,
    count: i64,
}

impl AssignWindows {
    /// The operator.
    ///
    /// # Errors
    /// If the size is not a multiple of the slide.
    pub fn new(options: AssignOptions) -> Result<Self> {
        let (panes, count) = options.windows.panes()?;
        Ok(Self { panes, count, options })
    }

    fn windows(&self, time: i64) -> impl Iterator<Item = Window> {
        let (panes, count, pane) = (self.panes, self.count, self.panes.of(time));
        let grows = self.options.windows.grows;
        let before = if grows { pane.rem_euclid(count) } else { 0 };
        (before..count).map(move |number| {
            if grows {
                panes.window(pane.saturating_sub(before), number + 1)
            } else {
                panes.window(pane.saturating_sub(count - 1 - number), count)
            }
        })
    }
}

impl Operator for AssignWindows {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        let rows = timed_rows(batch, self.options.time)?;
        let (mut row_numbers, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (row, time) in (0_u32..).zip(times(&rows, self.options.time)?) {
            for window in self.windows(*time) {
                row_numbers.push(row);
                starts.push(window.start);
                ends.push(window.end);
            }
        }
        let rows = match self.count {
            // The only window of each row.
            1 => rows,
            _ => take_record_batch(&rows, &UInt32Array::from(row_numbers))?,
        };
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(TimestampMicrosecondArray::from(starts)));
        columns.push(Arc::new(TimestampMicrosecondArray::from(ends)));
        output.send(RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use lineshaft_engine::batch::{TIMESTAMP, event_time_field};
    use lineshaft_engine::testing::{Step, lines, run, table};

    use super::*;

    fn assigned(windows: FixedWindows) -> Vec<String> {
        let rows = table("ts:ts x:i \n -3 1 \n - 2 \n 12 3");
        let schema = Schema::new(vec![
            Field::new("ts", TIMESTAMP, true),
            rows.schema().field(1).clone(),
            event_time_field("window_start"),
            event_time_field("window_end"),
        ]);
        let mut assign = AssignWindows::new(AssignOptions {
            time: 0,
            windows: FixedWindows {
                slide: windows.slide * 1_000_000,
                size: windows.size * 1_000_000,
                offset: windows.offset * 1_000_000,
                grows: windows.grows,
            },
            schema: Arc::new(schema),
        })
        .unwrap();
        let passed = run(&mut assign, 1, vec![Step::Rows(0, rows)]).unwrap();
        let seconds = |line: String| line.replace("1970-01-01T00:00:", "").replace("1969-12-31T23:59:", "-");
        lines(&passed).into_iter().map(seconds).collect()
    }

    #[test]
    fn a_row_gets_its_window_and_one_without_time_gets_none() {
        assert_eq!(assigned(FixedWindows::tumbling(10)), ["-57 1 -50 00", "12 3 10 20"]);
    }

    #[test]
    fn a_row_comes_out_once_for_each_hopping_window() {
        assert_eq!(
            assigned(FixedWindows::hopping(10, 20)),
            ["-57 1 -40 00", "-57 1 -50 10", "12 3 00 20", "12 3 10 30"]
        );
    }

    #[test]
    fn a_row_comes_out_once_for_each_window_that_grows_past_it() {
        assert_eq!(assigned(FixedWindows::cumulating(10, 30)), ["-57 1 -30 00", "12 3 00 20", "12 3 00 30"]);
    }
}
