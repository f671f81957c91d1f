//! What travels on the edges of the timely dataflow: batches, and marks that carry the watermark of an epoch.

use std::cell::OnceCell;
use std::io::Write;

use arrow::array::{Array, UInt32Array};
use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::dataflow::channels::ContainerBytes;

use crate::batch::Batch;
use crate::error::Result;
use crate::operator::{Operator, Output};
use crate::time::Watermark;

/// One item on an edge.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a part is a thousand rows or one mark, and there are few of both"
)]
pub(crate) enum Part {
    /// Rows. Parts of an epoch are taken in the order of `order`; at a broadcast `to` is the worker.
    Rows { order: u32, to: Option<usize>, rows: Selected },
    /// What is known of the epoch: its header and the watermark as of it. Every worker gets one from every source
    /// that took part in the epoch, and every operator passes it on.
    Mark { to: usize, mark: Mark },
}

/// A batch, or some rows of it.
///
/// The rows for a worker are copied out of the batch by the worker itself, when it works on them, if at all: the copy is used at
/// once and its memory is taken for the next one. Copied by the sender, they would lie about until then, and be freed by another
/// thread.
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    batch: Batch,
    /// `None` for all.
    only: Option<UInt32Array>,
}

impl Selected {
    /// The rows of `batch` with these numbers.
    pub(crate) fn of(batch: Batch, only: UInt32Array) -> Self {
        Self { batch, only: Some(only) }
    }

    pub(crate) fn num_rows(&self) -> usize {
        self.only.as_ref().map_or(self.batch.num_rows(), Array::len)
    }

    /// Gives the rows to an operator.
    pub(crate) fn give(&self, operator: &mut dyn Operator, input: usize, output: &mut Output) -> Result<()> {
        match &self.only {
            Some(only) => operator.on_rows_of(input, &self.batch, only, output),
            None => operator.on_batch(input, self.batch.clone(), output),
        }
    }

    pub(crate) fn has_weights(&self) -> bool {
        self.batch.weights().is_some()
    }

    /// The rows as a batch of their own.
    pub(crate) fn into_batch(self) -> Result<Batch> {
        match &self.only {
            Some(only) => self.batch.take(only),
            None => Ok(self.batch),
        }
    }
}

impl From<Batch> for Selected {
    fn from(batch: Batch) -> Self {
        Self { batch, only: None }
    }
}

/// See [`Part::Mark`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// See [`crate::time::EpochHeader`].
    pub(crate) wall_clock: i64,
    /// See [`crate::time::EpochHeader`].
    pub(crate) more_follows: bool,
    pub(crate) watermark: Watermark,
}

/// The timely container: a few parts of one epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    pub(crate) parts: Vec<Part>,
    encoded: OnceCell<Vec<u8>>,
}

impl Frame {
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        Self { parts, encoded: OnceCell::new() }
    }
}

/// Timely counts what is on its way: rows, and one for a mark. An exchange must keep the count.
impl Accountable for Frame {
    fn record_count(&self) -> i64 {
        let count = |part: &Part| match part {
            Part::Rows { rows, .. } => rows.num_rows(),
            Part::Mark { .. } => 1,
        };
        i64::try_from(self.parts.iter().map(count).sum::<usize>()).unwrap_or(i64::MAX)
    }
}

/// Only used between processes; threads of one process hand the frame over as it is.
impl ContainerBytes for Frame {
    fn from_bytes(bytes: Bytes) -> Self {
        Self::new(super::wire::decode(&bytes))
    }

    fn length_in_bytes(&self) -> usize {
        self.encoded.get_or_init(|| super::wire::encode(&self.parts)).len()
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        let bytes = self.encoded.get_or_init(|| super::wire::encode(&self.parts));
        writer.write_all(bytes).expect("timely's buffers take what they have room for");
    }
}
