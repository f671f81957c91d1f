//! What the gate learns of commands that went out.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;

use super::*;

impl Gate {
    /// Takes note of outcomes; those that are no arrival are rows of the log.
    pub(super) fn learn(&mut self, rows: &RecordBatch, now: i64, output: &mut Output) -> Result<()> {
        let width = self.input.fields().len();
        let keys = self.keys.encode(rows, &self.options.keys)?;
        let numbers = rows.column(width).as_primitive::<Int64Type>();
        let names = rows.column(width + 1).as_string::<i32>();
        let mut told = Vec::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            let name = names.value(row);
            let outcome = Outcome::named(name)
                .ok_or_else(|| Error::operator("gate", format!("there is no outcome {name:?}")))?;
            if let Some(sent) = self.sent.get_mut(key) {
                sent.learn(numbers.value(row), outcome);
            }
            told.push(decision(outcome));
        }
        let is_row: BooleanArray = told.iter().map(|told| Some(told.is_some())).collect();
        if is_row.true_count() > 0 {
            let rows = filter_record_batch(rows, &is_row)?;
            let decisions = told.into_iter().flatten().map(|(decision, reason)| (decision, Some(reason)));
            let columns = &rows.columns()[..width];
            output.send_to(1, rows::log(&self.options, &self.input, now, columns, decisions.collect())?);
        }
        Ok(())
    }
}

/// What the log says of an outcome, and why. Of an arrival it has said `sent` already.
fn decision(outcome: Outcome) -> Option<(&'static str, &'static str)> {
    match outcome {
        Outcome::Arrived => None,
        Outcome::Expired => Some(("expired", "not sent: its time to live ended before it could be")),
        Outcome::Unaddressed => {
            Some(("rejected", "not sent: a column of its topic is NULL, or it is no topic"))
        }
        Outcome::Unknown => {
            Some(("unknown", "the connection was lost before it was acknowledged: it may have arrived"))
        }
    }
}
