//! The gate: the only way out to a machine.
//!
//! Every proposed command is decided when its epoch ends, by the wall clock of the epoch, in the order of arrival.
//! The first check that fails gives the reason:
//!
//! | check | decision |
//! |---|---|
//! | the key is locked by an interlock; a key column is NULL | `rejected` |
//! | a value is NULL, NaN or infinite; outside its bounds; too far from the last one sent | `rejected` |
//! | the key already got its commands of the interval | `rejected` |
//! | all passed | `sent` in mode auto, `shadow` in mode shadow, `held` in mode approve |
//!
//! - Ports: 0 is what goes out (columns of the input, and `expires_at` with a time to live); 1 is the log, one row
//!   per proposal: `time` (wall clock), columns of the input, `decision`, `reason`.
//! - Shadow keeps rate and steps as if it had sent, so its log says what auto would have sent.
//! - A closed gate (backfill, replay) is a shadow whatever the mode is: nothing goes out.
//! - Failsafe: a value that is NULL, NaN or infinite also makes the failsafe values go out, as their own row of the
//!   log with decision `failsafe`, if no interlock locks the key. They must be within their bounds but are not held to
//!   the step, nor, the first time, to the rate: the machine must get there from anywhere. They are repeated only as
//!   far as the rate allows, and without a rate not at all.
//! - A gate that approaches sends the nearest values within the step in the place of those that are too far, if there are any.
//! - Outcomes: where the connector tells them (input 1), a command that has not arrived yet may still arrive or not, and a
//!   step is measured from both: from the last value that arrived, and from each that was sent since. One that has expired
//!   before it could be sent counts neither for steps nor for the rate; one that waits for its broker counts for the rate until it
//!   has arrived, and from then on. Each command that did not arrive, or perhaps not, is a
//!   row of the log, too: `expired`, `rejected` (it has no address) or `unknown`. When the program begins again, what was on
//!   its way is `unknown`. A failsafe that is unknown goes out again with the next proposal that is too far from where the
//!   machine may be: perhaps no value is near enough to both.
//! - State: per key the last values, what may have arrived since, and the times of what was sent in the interval; the
//!   interlock keys.
//!
//! The gate is not a safety function: that stays in the controller of the machine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, TimestampMicrosecondType};
use lineshaft_engine::batch::{Batch, TIMESTAMP};
use lineshaft_engine::error::{Error, Result};
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::sink::Outcome;
use lineshaft_engine::time::EpochHeader;

use super::interlock::Interlock;
use super::keys::{Key, Keys};
use super::limits::Limits;

mod options;
mod outcomes;
mod rows;
mod state;

pub use options::{GateOptions, Mode, Rate};

use options::refuse_options;
use rows::{Decided, Rows};
use state::{Sent, Values};

/// See the page.
#[derive(Debug)]
pub struct Gate {
    options: GateOptions,
    input: SchemaRef,
    keys: Keys,
    /// All columns of a command.
    whole: Keys,
    interlock: Interlock,
    sent: BTreeMap<Key, Sent>,
    proposals: Vec<RecordBatch>,
    /// What input 1 told in this epoch.
    outcomes: Vec<RecordBatch>,
}

/// The inputs beside the proposals.
const OUTCOMES: usize = 1;
const INTERLOCK: usize = 2;

/// Proposed values as numbers, and which of them are NULL.
struct Proposals {
    keys: Vec<Key>,
    /// By column of the input; `None` for a column that is not a number.
    numbers: Vec<Option<Float64Array>>,
    rows: RecordBatch,
}

/// Why a command may not go out.
enum Refusal {
    Rejected(String),
    /// A value is missing: the failsafe may go out instead.
    NoValue(String),
    /// It is too far from where the machine may be.
    TooFar(String),
}

fn all_of(input: &Schema) -> Vec<usize> {
    (0..input.fields().len()).collect()
}

impl Gate {
    /// A gate for proposals with the columns of `input`.
    ///
    /// # Errors
    /// If limits, rate or failsafe make no sense.
    pub fn new(options: GateOptions, input: SchemaRef) -> Result<Self> {
        let error = |reason: String| Error::operator(format!("actuator {:?}", options.name), reason);
        if let Some(reason) = refuse_options(&options, &input) {
            return Err(error(reason));
        }
        Ok(Self {
            keys: Keys::new(&input, &options.keys)?,
            whole: Keys::new(&input, &all_of(&input))?,
            interlock: Interlock::default(),
            sent: BTreeMap::new(),
            proposals: Vec::new(),
            outcomes: Vec::new(),
            options,
            input,
        })
    }

    fn decide_batch(&mut self, rows: RecordBatch, now: i64, output: &mut Output) -> Result<()> {
        let proposals = self.read(rows)?;
        let mut decided = Vec::with_capacity(proposals.keys.len());
        for row in 0..proposals.keys.len() {
            let (decision, failsafe) = self.decide(&proposals, row, now);
            decided.push((row, false, decision));
            decided.extend(failsafe.map(|failsafe| (row, true, failsafe)));
        }
        let rows = Rows { options: &self.options, input: &self.input, now, decided: &decided };
        let (commands, log) = rows.finish(&proposals.rows)?;
        if let Some(commands) = commands {
            if self.options.tells_outcomes {
                self.keep(&commands)?;
            }
            output.send_to(0, commands);
        }
        output.send_to(1, log);
        Ok(())
    }

    fn read(&self, rows: RecordBatch) -> Result<Proposals> {
        let number = |column: &ArrayRef| -> Result<Option<Float64Array>> {
            if !column.data_type().is_numeric() {
                return Ok(None);
            }
            Ok(Some(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone()))
        };
        Ok(Proposals {
            keys: self.keys.encode(&rows, &self.options.keys)?,
            numbers: rows.columns().iter().map(number).collect::<Result<_>>()?,
            rows,
        })
    }

    /// The decision on a proposal, and on the failsafe that follows it.
    fn decide(&mut self, proposals: &Proposals, row: usize, now: i64) -> (Decided, Option<Decided>) {
        let key = &proposals.keys[row];
        match self.refuse(proposals, row, now) {
            None => {
                let number = self.note(key, now, proposals.values(row), false);
                (self.pass("sent", None, number), None)
            }
            Some(Refusal::Rejected(reason)) => (Decided::refused("rejected", reason), None),
            Some(Refusal::NoValue(reason)) => {
                let failsafe = self.failsafe(key, now);
                (Decided::refused("rejected", reason), failsafe)
            }
            Some(Refusal::TooFar(reason)) => {
                if let Some(nearer) = self.approach(proposals, row, now, &reason) {
                    return (nearer, None);
                }
                let is_lost = self.sent.get(key).is_some_and(Sent::has_lost_failsafe);
                let failsafe = if is_lost { self.failsafe(key, now) } else { None };
                (Decided::refused("rejected", reason), failsafe)
            }
        }
    }

    fn refuse(&self, proposals: &Proposals, row: usize, now: i64) -> Option<Refusal> {
        let key = &proposals.keys[row];
        let null_key = self.options.keys.iter().find(|&&column| proposals.rows.column(column).is_null(row));
        if let Some(&column) = null_key {
            return Some(Refusal::Rejected(format!("key {} is NULL", self.name(column))));
        }
        if self.interlock.is_locked(key) {
            return Some(Refusal::Rejected("interlock".to_owned()));
        }
        self.refuse_missing(proposals, row)
            .map(Refusal::NoValue)
            .or_else(|| self.refuse_limits(proposals, row))
            .or_else(|| self.refuse_rate(key, now).map(Refusal::Rejected))
    }

    fn refuse_missing(&self, proposals: &Proposals, row: usize) -> Option<String> {
        for column in (0..self.input.fields().len()).filter(|column| !self.options.keys.contains(column)) {
            if proposals.rows.column(column).is_null(row) {
                return Some(format!("{} is NULL", self.name(column)));
            }
            let number = proposals.numbers[column].as_ref().map(|numbers| numbers.value(row));
            if let Some(number) = number.filter(|number| !number.is_finite()) {
                return Some(format!("{} is {number}", self.name(column)));
            }
            if let Some(element) = missing_element(proposals.rows.column(column), row) {
                return Some(format!("an element of {} is {element}", self.name(column)));
            }
        }
        None
    }

    fn refuse_limits(&self, proposals: &Proposals, row: usize) -> Option<Refusal> {
        let sent = self.sent.get(&proposals.keys[row]);
        let refuse = |limits: &Limits| {
            let name = self.name(limits.column);
            let value = proposals.numbers[limits.column].as_ref()?.value(row);
            let mut at = sent.into_iter().flat_map(|sent| sent.values(limits.column));
            let mut too_far = || at.find_map(|(at, is_open)| limits.refuse_step(name, value, at, is_open));
            let bounds = limits.refuse_bounds(name, value).map(Refusal::Rejected);
            bounds.or_else(|| too_far().map(Refusal::TooFar))
        };
        self.options.limits.iter().find_map(refuse)
    }

    /// The command that brings the machine a step nearer to values that are too far, if it may go out.
    fn approach(&mut self, proposals: &Proposals, row: usize, now: i64, reason: &str) -> Option<Decided> {
        let key = &proposals.keys[row];
        if !self.options.approaches || self.refuse_rate(key, now).is_some() {
            return None;
        }
        let (mut values, mut instead) = (proposals.values(row), vec![None; self.input.fields().len()]);
        for limits in &self.options.limits {
            let is_whole = self.input.field(limits.column).data_type().is_integer();
            let at = self.sent.get(key).into_iter().flat_map(|sent| sent.values(limits.column));
            let proposed = values[limits.column]?;
            let nearer = limits.approach(proposed, at.map(|(at, _)| at), is_whole)?;
            if nearer.to_bits() != proposed.to_bits() {
                (values[limits.column], instead[limits.column]) = (Some(nearer), Some(nearer));
            }
        }
        let number = self.note(key, now, values, false);
        let reason = format!("a step nearer: {reason}");
        let mut passed = self.pass("sent", Some(&reason), number);
        (passed.reason, passed.instead) = (Some(reason), instead);
        Some(passed)
    }

    fn refuse_rate(&self, key: &Key, now: i64) -> Option<String> {
        let rate = self.options.rate?;
        let count = self.sent.get(key).map_or(0, |sent| sent.within(now, rate.interval));
        (count >= rate.count).then(|| format!("rate: {count} already sent in {}", span(rate.interval)))
    }

    fn failsafe(&mut self, key: &Key, now: i64) -> Option<Decided> {
        if self.options.failsafe.is_empty() {
            return None;
        }
        let repeated = self.sent.get(key).is_some_and(Sent::is_failsafe);
        let rated = self.options.rate.is_some() && self.refuse_rate(key, now).is_none();
        if repeated && !rated {
            return None;
        }
        let mut values = vec![None; self.input.fields().len()];
        for &(column, value) in &self.options.failsafe {
            values[column] = Some(value);
        }
        let number = self.note(key, now, values, true);
        Some(self.pass("failsafe", Some("failsafe"), number))
    }

    /// What becomes of a command that passed. `sent` names what auto does.
    fn pass(&self, sent: &'static str, reason: Option<&str>, number: i64) -> Decided {
        let (decision, reason) = match (self.options.closed, self.options.mode) {
            (true, _) => ("shadow", Some(reason.map_or("backfill".to_owned(), |r| format!("{r}, backfill")))),
            (false, Mode::Shadow) => ("shadow", reason.map(str::to_owned)),
            (false, Mode::Approve) => ("held", reason.map(str::to_owned)),
            (false, Mode::Auto) => (sent, None),
        };
        let goes_out = self.options.sends().then_some(number);
        Decided { decision, reason, goes_out, instead: Values::new() }
    }

    /// Remembers what was sent, or would have been, and gives its number. What is held for a person has not been sent.
    fn note(&mut self, key: &Key, now: i64, values: Values, failsafe: bool) -> i64 {
        if self.options.mode == Mode::Approve && !self.options.closed {
            return 0;
        }
        let is_told = self.options.tells_outcomes && self.options.sends();
        let sent = self.sent.entry(key.clone()).or_default();
        sent.note((now, values, failsafe), self.options.rate, is_told)
    }

    fn name(&self, column: usize) -> &str {
        self.input.field(column).name()
    }
}

/// A span of microseconds for a person.
fn span(microseconds: i64) -> String {
    match (microseconds % 1_000_000, microseconds % 1_000) {
        (0, _) => format!("{} s", microseconds / 1_000_000),
        (_, 0) => format!("{} ms", microseconds / 1_000),
        _ => format!("{microseconds} us"),
    }
}

/// An element of an array that is NULL, NaN or infinite.
fn missing_element(column: &ArrayRef, row: usize) -> Option<String> {
    let elements = column.as_list_opt::<i32>()?.value(row);
    if elements.null_count() > 0 {
        return Some("NULL".to_owned());
    }
    let numbers = cast(&elements, &DataType::Float64).ok()?;
    let mut numbers = numbers.as_primitive::<Float64Type>().values().iter();
    numbers.find(|number| !number.is_finite()).map(f64::to_string)
}

impl Proposals {
    fn values(&self, row: usize) -> Values {
        self.numbers.iter().map(|numbers| numbers.as_ref().map(|numbers| numbers.value(row))).collect()
    }
}

impl Operator for Gate {
    /// Input 0 has proposals, input 1 outcomes, input 2 interlock keys. All outcomes and changes of interlocks of an epoch count
    /// for its proposals.
    fn on_batch(&mut self, input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        if input == INTERLOCK {
            return self.interlock.apply(&self.keys, &self.options.interlock_keys, &batch);
        }
        if input == OUTCOMES {
            self.outcomes.push(batch.into_rows());
            return Ok(());
        }
        // A retraction proposes nothing.
        let batch = match batch.weights() {
            Some(weights) => batch.filter(&weights.iter().map(|weight| Some(weight > Some(0))).collect())?,
            None => batch,
        };
        self.proposals.push(batch.into_rows());
        Ok(())
    }

    fn on_epoch_end(&mut self, header: EpochHeader, output: &mut Output) -> Result<()> {
        for rows in std::mem::take(&mut self.outcomes) {
            self.learn(&rows, header.wall_clock, output)?;
        }
        for rows in std::mem::take(&mut self.proposals) {
            self.decide_batch(rows, header.wall_clock, output)?;
        }
        Ok(())
    }

    /// Tables: `sent`, `times`, `open`, `interlock`.
    fn snapshot(&mut self) -> Result<Snapshot> {
        debug_assert!(self.proposals.is_empty(), "a snapshot is taken between epochs");
        let mut snapshot = Snapshot::default();
        let width = self.input.fields().len();
        snapshot.put("sent", state::sent_table(&self.keys, width, &self.sent)?);
        snapshot.put("times", state::times_table(&self.keys, &self.sent)?);
        snapshot.put("open", state::open_table(&self.keys, width, &self.sent)?);
        snapshot.put("interlock", self.interlock.snapshot(&self.keys)?);
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let name = format!("actuator {:?}", self.options.name);
        let mut table = |table: &str| {
            snapshot
                .take(table)
                .ok_or_else(|| Error::operator(name.as_str(), format!("no table {table:?} to restore")))
        };
        self.sent = state::restore(&self.keys, [&table("sent")?, &table("times")?, &table("open")?])?;
        self.interlock = Interlock::restore(&self.keys, &table("interlock")?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
