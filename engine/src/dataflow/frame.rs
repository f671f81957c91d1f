//! What travels on the edges of the timely dataflow: batches, and marks that carry the watermark of an epoch.

use std::cell::OnceCell;
use std::io::Write;

use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::dataflow::channels::ContainerBytes;

use crate::batch::Batch;
use crate::time::Watermark;

/// One item on an edge.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Rows. Parts of an epoch are taken in the order of `order`; at a broadcast `to` is the worker.
    Rows { order: u32, to: Option<usize>, batch: Batch },
    /// What is known of the epoch: its header and the watermark as of it. Every worker gets one from every source
    /// that took part in the epoch, and every operator passes it on.
    Mark { to: usize, mark: Mark },
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
            Part::Rows { batch, .. } => batch.num_rows(),
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
