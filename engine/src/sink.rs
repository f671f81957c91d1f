//! `Sink`: where rows leave.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::batch::Batch;
use crate::clock::Clock;
use crate::control::Control;
use crate::error::Result;
use crate::operator::Snapshot;
use crate::time::EpochHeader;

/// A sink as a connector makes it; opens one [`Sink`] per worker, or one in all.
pub trait SinkFactory: Send + Sync {
    /// A program starts in which the sink is opened. Called once, before [`SinkFactory::open`].
    fn begin(&self, _run: &Run) {}

    /// Opens the sink on a worker. Rows have the columns of `schema`.
    ///
    /// # Errors
    /// If the sink cannot be opened at all; a peer that is not there is no error.
    fn open(&self, schema: SchemaRef, worker: Worker) -> Result<Box<dyn Sink>>;

    /// True if every worker writes its own rows. Otherwise all rows are brought to one worker, in order.
    fn is_parallel(&self) -> bool {
        false
    }

    /// True if a row must rather be lost than come twice: after a crash, rows that may have been written are not written
    /// again.
    fn is_at_most_once(&self) -> bool {
        false
    }
}

/// What a sink may know of the program in which it is opened.
#[derive(Clone, Debug)]
pub struct Run {
    /// The program does not end by itself: rows are shown while it runs, and what cannot be written now is tried again.
    pub is_live: bool,
    /// How often the program was started with what it keeps; 0 if it keeps nothing.
    pub incarnation: u64,
    /// The wall clock.
    pub clock: Clock,
    pub(crate) control: Arc<Control>,
}

impl Run {
    /// True once the program has been asked to stop: what waits must not wait any longer.
    pub fn is_stopping(&self) -> bool {
        self.control.is_stopping()
    }
}

/// A live program that is not asked to stop.
impl Default for Run {
    fn default() -> Self {
        Self { is_live: true, incarnation: 0, clock: Clock::system(), control: Arc::default() }
    }
}

/// The column with the number of a command, by which its outcome is told. With a blank in it, so that no other column is called
/// so; it is not sent.
pub const COMMAND_NUMBER: &str = "command number";

/// What has become of a command that was given to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer has taken it.
    Arrived,
    /// It was not sent within its time to live, and is not any more.
    Expired,
    /// It has no address.
    Unaddressed,
    /// The peer went away before it said that it has taken it; it is not sent again.
    Unknown,
    /// The program began again: what was sent before and was not told until now is not told any more. Of no command.
    Begun,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Arrived, Self::Expired, Self::Unaddressed, Self::Unknown, Self::Begun];

    /// Its name, as it is kept.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Expired => "expired",
            Self::Unaddressed => "unaddressed",
            Self::Unknown => "unknown",
            Self::Begun => "begun",
        }
    }

    /// The outcome of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// Which worker this is, and of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// From 0.
    pub index: usize,
    /// Number of workers.
    pub count: usize,
}

/// An open sink on one worker.
pub trait Sink {
    /// Takes rows. It may wait (that is the back-pressure), but never for ever.
    ///
    /// # Errors
    /// Only what ends the program, such as a disk that fails.
    fn write(&mut self, batch: &Batch) -> Result<()>;

    /// All rows of the epoch have been written. Called in the order of the epochs for each that the sink's sources took part in, on
    /// every worker, whether rows came or not.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    fn end_epoch(&mut self, _header: EpochHeader) -> Result<()> {
        Ok(())
    }

    /// A checkpoint is taken, and the rows so far do not come again: all of them are made visible and durable, or are part
    /// of what is given here.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    fn commit(&mut self) -> Result<Snapshot> {
        Ok(Snapshot::default())
    }

    /// The program goes on from a checkpoint, with what [`Sink::commit`] gave. What was written later comes again: what can
    /// be taken back is.
    ///
    /// # Errors
    /// As for [`Sink::write`], or if the snapshot is of another sink.
    fn restore(&mut self, _snapshot: Snapshot) -> Result<()> {
        Ok(())
    }

    /// The program has ended: everything is made visible and closed.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
