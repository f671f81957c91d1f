//! `Operator`: an ordinary state machine over the batches of one epoch after the other.
//!
//! It names no timely type, so it can be tested without a dataflow. The engine (`dataflow/render.rs`) turns it into a timely
//! operator: all batches of an epoch in a fixed order, then the watermark as of that epoch. Between two epochs the
//! state is a consistent snapshot.

use arrow::array::{RecordBatch, UInt32Array};

use crate::batch::Batch;
use crate::error::Result;
use crate::spill::Spill;
use crate::time::{EpochHeader, Watermark};

/// A step of a plan on one worker.
pub trait Operator {
    /// Takes rows that came in on `input`.
    ///
    /// # Errors
    /// Any error ends the program.
    fn on_batch(&mut self, input: usize, batch: Batch, output: &mut Output) -> Result<()>;

    /// Takes the rows of `batch` that have the numbers `rows`, ascending: those that are this worker's. An operator that only
    /// adds values up may read them where they are, and need not have a copy.
    ///
    /// # Errors
    /// As for [`Operator::on_batch`].
    fn on_rows_of(
        &mut self,
        input: usize,
        batch: &Batch,
        rows: &UInt32Array,
        output: &mut Output,
    ) -> Result<()> {
        self.on_batch(input, batch.take(rows)?, output)
    }

    /// The watermark has moved; with several inputs it is the least of theirs. Called after the batches of the
    /// epoch, at most once in an epoch. The watermark itself is passed on by the engine.
    ///
    /// # Errors
    /// Any error ends the program.
    fn on_watermark(&mut self, _watermark: Watermark, _output: &mut Output) -> Result<()> {
        Ok(())
    }

    /// The epoch is complete. Called last, in every epoch in which anything arrived.
    ///
    /// # Errors
    /// Any error ends the program.
    fn on_epoch_end(&mut self, _header: EpochHeader, _output: &mut Output) -> Result<()> {
        Ok(())
    }

    /// Where it may put state that does not fit into memory. Called once, before all else, if there is a limit.
    fn use_spill(&mut self, _spill: Spill) {}

    /// The state between two epochs, as named Arrow tables. Empty if the operator has none. The stream waits for it: what is
    /// large comes later, by [`Operator::rest_of_snapshot`].
    ///
    /// # Errors
    /// If the state cannot be put into columns.
    fn snapshot(&mut self) -> Result<Snapshot> {
        Ok(Snapshot::default())
    }

    /// More of the state as it was at the last [`Operator::snapshot`]; `None` if that was all. A table may come in several
    /// parts. Called between the other calls while the stream goes on, until it gives `None`.
    ///
    /// # Errors
    /// As for [`Operator::snapshot`].
    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        Ok(None)
    }

    /// Puts back what [`Operator::snapshot`] and [`Operator::rest_of_snapshot`] gave, into a new operator of the same plan.
    ///
    /// # Errors
    /// If the snapshot is of another plan.
    fn restore(&mut self, _snapshot: Snapshot) -> Result<()> {
        Ok(())
    }
}

/// The state of one operator on one worker: tables by name, of which a large one is in parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Name and rows of each table.
    pub tables: Vec<(String, RecordBatch)>,
}

impl Snapshot {
    /// Adds a table.
    pub fn put(&mut self, name: &str, rows: RecordBatch) {
        self.tables.push((name.to_owned(), rows));
    }

    /// Takes out a table that was put in once.
    pub fn take(&mut self, name: &str) -> Option<RecordBatch> {
        let at = self.tables.iter().position(|(n, _)| n == name)?;
        Some(self.tables.remove(at).1)
    }

    /// Takes out all parts of a table, in their order.
    pub fn take_parts(&mut self, name: &str) -> Vec<RecordBatch> {
        let parts = self.tables.extract_if(.., |(n, _)| n == name);
        parts.map(|(_, rows)| rows).collect()
    }
}

/// Where an operator puts its rows: one list of batches per output port.
#[derive(Debug, Default)]
pub struct Output {
    pub(crate) ports: Vec<Vec<Batch>>,
}

impl Output {
    /// An output with `ports` ports.
    pub fn new(ports: usize) -> Self {
        Self { ports: vec![Vec::new(); ports] }
    }

    /// Sends rows to the first (usually the only) port. An empty batch is dropped.
    pub fn send(&mut self, batch: impl Into<Batch>) {
        self.send_to(0, batch);
    }

    /// Sends rows to `port`. An empty batch is dropped.
    pub fn send_to(&mut self, port: usize, batch: impl Into<Batch>) {
        let batch = batch.into();
        if batch.num_rows() > 0 {
            self.ports[port].push(batch);
        }
    }

    /// What was sent to `port` since the last call.
    pub fn take(&mut self, port: usize) -> Vec<Batch> {
        std::mem::take(&mut self.ports[port])
    }
}
