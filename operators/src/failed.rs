//! Rows that could not be computed: what is told of them, and where they go.
//!
//! A value that cannot be computed (a cast of a text that is no number, a division of a whole number by zero) concerns
//! one row. The others go on; the row goes aside with the expression and the error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use lineshaft_engine::batch::{Batch, event_time_field};
use lineshaft_engine::metrics::Counter;
use lineshaft_engine::operator::{Operator, Output};
use lineshaft_engine::time::EpochHeader;
use lineshaft_engine::{Error, Result};

/// Whose rows go aside when they cannot be computed, and who counts them.
#[derive(Clone, Debug)]
pub struct Failures {
    /// The view or sink.
    pub relation: String,
    /// Counts them all.
    pub counter: Arc<Counter>,
    /// The first row of a relation is told to the operator of the plant; shared by all that belongs to it.
    pub is_told: Arc<AtomicBool>,
}

/// Columns of the rows that could not be computed, as an operator gives them.
pub fn failures_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(["relation", "expression", "error", "row"].map(text).to_vec()))
}

/// Columns of `lineshaft.failed`.
pub fn failed_schema() -> SchemaRef {
    let mut fields = vec![Arc::new(event_time_field("failed_at"))];
    fields.extend(failures_schema().fields().iter().map(Arc::clone));
    Arc::new(Schema::new(fields))
}

/// A row that could not be computed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) row: RecordBatch,
    pub(crate) expression: String,
    pub(crate) error: String,
}

impl Failures {
    /// Counts the rows, warns of the first one, and tells of each: relation, expression, error, and the row as JSON.
    pub(crate) fn rows(&self, failures: &[Failure]) -> Result<RecordBatch> {
        self.counter.add(failures.len());
        if let Some(first) = failures.first()
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "{}: a row could not be computed: {}: {}; such rows go to lineshaft.failed",
                self.relation,
                first.expression,
                first.error
            );
        }
        let text = |of: &dyn Fn(&Failure) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(failures.iter().map(of)))
        };
        let rows = failures.iter().map(|failure| json(&failure.row)).collect::<Result<Vec<String>>>()?;
        Ok(RecordBatch::try_new(
            failures_schema(),
            vec![
                Arc::new(StringArray::from(vec![self.relation.as_str(); failures.len()])),
                text(&|failure| &failure.expression),
                text(&|failure| &failure.error),
                Arc::new(StringArray::from(rows)),
            ],
        )?)
    }
}

fn json(row: &RecordBatch) -> Result<String> {
    let mut writer: LineDelimitedWriter<Vec<u8>> =
        WriterBuilder::new().with_explicit_nulls(true).build::<Vec<u8>, LineDelimited>(Vec::new());
    writer.write(row)?;
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner());
    let text = text.map_err(|error| Error::operator("a row as JSON", error))?;
    Ok(text.trim_end().to_owned())
}

/// The failures of a whole program, with the time of their epoch: `lineshaft.failed`.
///
/// - Rows: those of [`failures_schema`] in, those of [`failed_schema`] out. State: none beyond the epoch.
#[derive(Debug, Default)]
pub struct FailedRows {
    epoch: Vec<Batch>,
}

impl Operator for FailedRows {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.epoch.push(batch);
        Ok(())
    }

    fn on_epoch_end(&mut self, header: EpochHeader, output: &mut Output) -> Result<()> {
        for batch in self.epoch.drain(..) {
            let at = TimestampMicrosecondArray::from_value(header.wall_clock, batch.num_rows());
            let mut columns: Vec<ArrayRef> = vec![Arc::new(at)];
            columns.extend(batch.rows().columns().iter().map(Arc::clone));
            output.send(RecordBatch::try_new(failed_schema(), columns)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_engine::testing::{Step, lines, run, table};

    use super::*;

    #[test]
    fn a_row_is_told_with_all_its_columns_and_counted() {
        let failures = Failures { relation: "v".into(), counter: Arc::default(), is_told: Arc::default() };
        let row = table("ts:ts x:f m:s \n 1 - 1\"2");
        let failure = Failure { row, expression: "CAST(m AS BIGINT)".into(), error: "no number".into() };
        let told = failures.rows(&[failure]).unwrap();
        assert_eq!(failures.counter.get(), 1);
        let rows = run(&mut FailedRows::default(), 1, vec![Step::Rows(0, told)]).unwrap();
        let json = r#"{"ts":"1970-01-01T00:00:01","x":null,"m":"1\"2"}"#;
        let expected = format!("1970-01-01T00:00:00 v CAST(m AS BIGINT) no number {json}");
        assert_eq!(lines(&rows), [expected]);
    }
}
