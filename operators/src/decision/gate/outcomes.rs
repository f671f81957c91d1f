//! What the gate learns of commands that went out.

use arrow::array::{BooleanArray, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;

use super::*;

impl Gate {
    /// Keeps the columns of commands until it is known what has become of them.
    pub(super) fn keep(&mut self, commands: &RecordBatch) -> Result<()> {
        let keys = self.keys.encode(commands, &self.options.keys)?;
        let rows = self.whole.encode(commands, &all_of(&self.input))?;
        let numbers = commands.column(commands.num_columns() - 1).as_primitive::<Int64Type>();
        for ((key, row), number) in keys.iter().zip(rows).zip(numbers.values()) {
            if let Some(sent) = self.sent.get_mut(key) {
                sent.keep(*number, row);
            }
        }
        Ok(())
    }

    /// Takes note of outcomes; those that are no arrival are rows of the log. Every worker has all of them, and knows the commands of
    /// its keys.
    pub(super) fn learn(&mut self, rows: &RecordBatch, now: i64, output: &mut Output) -> Result<()> {
        let width = self.input.fields().len();
        let keys = self.keys.encode(rows, &self.options.keys)?;
        let numbers = rows.column(width).as_primitive::<Int64Type>();
        let names = rows.column(width + 1).as_string::<i32>();
        let mut told = Vec::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            let outcome = outcome(names, row)?;
            if outcome == Outcome::Begun {
                self.lose(now, output)?;
            }
            let sent = self.sent.get_mut(key);
            let is_news =
                sent.is_some_and(|sent| sent.learn(numbers.value(row), outcome, now, self.options.rate));
            told.push(decision(outcome).filter(|_| is_news));
        }
        let is_row: BooleanArray = told.iter().map(|told| Some(told.is_some())).collect();
        let rows = filter_record_batch(rows, &is_row)?;
        self.tell(&rows.columns()[..width], told.into_iter().flatten().collect(), now, output)
    }

    /// The program has begun again, and nobody tells what has become of the commands before.
    fn lose(&mut self, now: i64, output: &mut Output) -> Result<()> {
        let rate = self.options.rate;
        let lost: Vec<Key> = self.sent.values_mut().flat_map(|sent| sent.lose(now, rate)).collect();
        let columns = self.whole.decode(lost.iter())?;
        let why = "the program ended before it was acknowledged: it may have arrived";
        self.tell(&columns, vec![("unknown", why); lost.len()], now, output)
    }

    /// Rows of the log.
    fn tell(
        &self,
        columns: &[ArrayRef],
        decisions: Vec<(&str, &str)>,
        now: i64,
        output: &mut Output,
    ) -> Result<()> {
        if !decisions.is_empty() {
            let decisions = decisions.into_iter().map(|(decision, reason)| (decision, Some(reason)));
            output.send_to(1, rows::log(&self.options, &self.input, now, columns, decisions.collect())?);
        }
        Ok(())
    }
}

fn outcome(names: &StringArray, row: usize) -> Result<Outcome> {
    let name = names.value(row);
    Outcome::named(name).ok_or_else(|| Error::operator("gate", format!("there is no outcome {name:?}")))
}

/// What the log says of an outcome, and why. Of an arrival it has said `sent` already.
fn decision(outcome: Outcome) -> Option<(&'static str, &'static str)> {
    match outcome {
        Outcome::Arrived | Outcome::Begun => None,
        Outcome::Expired => Some(("expired", "not sent: its time to live ended before it could be")),
        Outcome::Unaddressed => {
            Some(("rejected", "not sent: a column of its topic is NULL, or it is no topic"))
        }
        Outcome::Unknown => {
            Some(("unknown", "the connection was lost before it was acknowledged: it may have arrived"))
        }
    }
}
