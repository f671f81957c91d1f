//! What rows that are commands have beside their columns.

use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema, TimestampMicrosecondType};
use lineshaft_engine::sink::COMMAND_NUMBER;
use lineshaft_engine::{Result, TIMESTAMP};
use tokio::time::Instant;

use super::publication::Command;

/// Where they are among the columns.
pub(super) struct CommandColumns {
    ttl: Duration,
    expires_at: usize,
    /// Of a command whose outcome is told.
    number: Option<usize>,
}

/// The rows of commands, taken apart.
pub(super) struct Split {
    /// What is sent.
    pub(super) messages: RecordBatch,
    pub(super) commands: Commands,
}

/// The commands of a batch.
pub(super) struct Commands {
    until: Instant,
    expires_at: TimestampMicrosecondArray,
    rows: RecordBatch,
}

impl CommandColumns {
    /// Of commands that live for so long; `None` if these are not their columns.
    pub(super) fn of(schema: &Schema, ttl: Duration) -> Option<Self> {
        let place = |name: &str, data_type: DataType| {
            schema.fields().iter().position(|field| field.name() == name && *field.data_type() == data_type)
        };
        let number = place(COMMAND_NUMBER, DataType::Int64);
        Some(Self { ttl, expires_at: place("expires_at", TIMESTAMP)?, number })
    }

    /// True if what becomes of them is told.
    pub(super) fn are_numbered(&self) -> bool {
        self.number.is_some()
    }

    /// # Errors
    /// If the rows have other columns.
    pub(super) fn split(&self, rows: &RecordBatch) -> Result<Split> {
        let all_but = |column: Option<usize>| {
            let columns: Vec<usize> = (0..rows.num_columns()).filter(|at| Some(*at) != column).collect();
            rows.project(&columns)
        };
        let expires_at = rows.column(self.expires_at).as_primitive::<TimestampMicrosecondType>().clone();
        let (until, rows) = (Instant::now() + self.ttl, all_but(Some(self.expires_at))?);
        let commands = Commands { until, expires_at, rows };
        Ok(Split { messages: all_but(self.number)?, commands })
    }
}

impl Commands {
    /// One of them. A command without an end has expired.
    pub(super) fn at(&self, row: usize) -> Command {
        let expires_at = if self.expires_at.is_null(row) { i64::MIN } else { self.expires_at.value(row) };
        Command { expires_at, until: self.until, row: self.rows.slice(row, 1) }
    }
}
