//! What `CREATE ACTUATOR` says.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use lineshaft_engine::batch::TIMESTAMP;
use lineshaft_engine::sink::COMMAND_NUMBER;

use crate::decision::limits::Limits;

/// What happens to a command that passed all checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is logged, not sent.
    #[default]
    Shadow,
    /// It waits for a person.
    Approve,
    /// It is sent.
    Auto,
}

/// At most `count` commands per key in any `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Number of commands, at least one.
    pub count: usize,
    /// Microseconds, greater than zero.
    pub interval: i64,
}

/// `CREATE ACTUATOR`.
#[derive(Clone, Debug, Default)]
pub struct GateOptions {
    /// The name, for messages.
    pub name: String,
    /// What happens to a command that passed.
    pub mode: Mode,
    /// True in backfill and replay: nothing goes out.
    pub closed: bool,
    /// Limits of columns.
    pub limits: Vec<Limits>,
    /// `KEY`: columns of the proposals.
    pub keys: Vec<usize>,
    /// `INTERLOCK`: columns of input 1 with the key, in the order of `keys`.
    pub interlock_keys: Vec<usize>,
    /// `RATE`.
    pub rate: Option<Rate>,
    /// `TTL`, microseconds.
    pub ttl: Option<i64>,
    /// `FAILSAFE`: columns and their values; other columns that are not keys are NULL.
    pub failsafe: Vec<(usize, f64)>,
    /// A value that is too far goes there step by step, rather than that it is rejected.
    pub approaches: bool,
    /// Input 1 tells what has become of each command. Otherwise each is taken to have arrived.
    pub tells_outcomes: bool,
}

/// The column of input 1 with the outcome.
const OUTCOME: &str = "command outcome";

impl GateOptions {
    /// True if a command that passed goes out.
    pub fn sends(&self) -> bool {
        !self.closed && self.mode == Mode::Auto
    }

    /// Columns of what goes out: those of the input, `expires_at` with a time to live, and the number of the command, from 0 for
    /// each key, if its outcome is told.
    pub fn command_schema(&self, input: &Schema) -> SchemaRef {
        let mut fields: Vec<Field> = nullable(input);
        if self.ttl.is_some() {
            fields.push(Field::new("expires_at", TIMESTAMP, false));
        }
        if self.tells_outcomes {
            fields.push(Field::new(COMMAND_NUMBER, DataType::Int64, false));
        }
        Arc::new(Schema::new(fields))
    }

    /// Columns of input 1: those of the input, the number of the command, and the name of its [`Outcome`](lineshaft_engine::sink::Outcome).
    pub fn outcome_schema(input: &Schema) -> SchemaRef {
        let mut fields = nullable(input);
        fields.push(Field::new(COMMAND_NUMBER, DataType::Int64, false));
        fields.push(Field::new(OUTCOME, DataType::Utf8, false));
        Arc::new(Schema::new(fields))
    }

    /// Columns of the log.
    pub fn log_schema(&self, input: &Schema) -> SchemaRef {
        let mut fields = vec![Field::new("time", TIMESTAMP, false)];
        fields.extend(nullable(input));
        fields.push(Field::new("decision", DataType::Utf8, false));
        fields.push(Field::new("reason", DataType::Utf8, true));
        Arc::new(Schema::new(fields))
    }
}

/// A failsafe row has no value for every column.
fn nullable(schema: &Schema) -> Vec<Field> {
    schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect()
}

/// Why the options make no sense, if so.
pub(super) fn refuse_options(options: &GateOptions, input: &Schema) -> Option<String> {
    if options.rate.is_some_and(|rate| rate.count == 0 || rate.interval <= 0) {
        return Some("its rate is not at least 1 per an interval greater than zero".to_owned());
    }
    if options.ttl.is_some_and(|ttl| ttl <= 0) {
        return Some("its time to live is not greater than zero".to_owned());
    }
    for limits in &options.limits {
        let field = input.field(limits.column);
        if !field.data_type().is_numeric() {
            return Some(format!("{} is {}: only numbers have limits", field.name(), field.data_type()));
        }
        if let Some(reason) = limits.refuse_self(field.name()) {
            return Some(reason);
        }
    }
    options.failsafe.iter().find_map(|&(column, value)| {
        let name = input.field(column).name();
        if options.keys.contains(&column) || !input.field(column).data_type().is_numeric() {
            return Some(format!("failsafe {name}: it is not a number to command"));
        }
        let limits = options.limits.iter().filter(|limits| limits.column == column);
        let outside = limits.filter_map(|limits| limits.refuse_bounds(name, value)).next();
        outside
            .or_else(|| (!value.is_finite()).then(|| format!("{name} is {value}")))
            .map(|r| format!("failsafe {r}"))
    })
}
