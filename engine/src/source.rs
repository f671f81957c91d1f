//! `Source`: where rows enter. A connector reads *chunks* of raw input, in order; the engine numbers them, and its
//! workers decode them.
//!
//! ```text
//! connector task --Chunk--> intake (epochs) --Chunk--> worker: Decoder --rows--> watermark, late, quarantine
//! ```
//!
//! Reading and decoding are apart because raw input is what is made durable, and because decoding is the costly part:
//! it runs on all workers, while the order of rows stays that of the chunks.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::time::EventTime;

/// A source as a connector makes it.
pub trait Source: Send {
    /// Reads until the end of the input or until [`ChunkSender::send`] says that the program stops. It runs on a
    /// thread of its own and may block; an async client uses the `runtime`.
    ///
    /// # Errors
    /// Only what cannot be repaired by waiting; a peer that went away is retried for ever.
    fn run(self: Box<Self>, chunks: ChunkSender, runtime: tokio::runtime::Handle) -> Result<()>;

    /// Turns chunks of this source into rows. Shared by all workers.
    fn decoder(&self) -> Arc<dyn Decoder>;

    /// True if the input ends by itself.
    fn is_bounded(&self) -> bool;

    /// The partitions known at the start, such as files. A partition has a watermark of its own, and one that has
    /// not been read yet holds the watermark of the source at its [`Partition::earliest`] less the disorder, or at its
    /// [`Partition::rest`].
    fn partitions(&self) -> Vec<Partition> {
        vec![Partition::default()]
    }

    /// True for the source of a table that gives what is there and then a chunk that says so, [`Chunk::is_loaded`]. Streams
    /// are not read before. If the source is bounded, too, what comes later are changes, and it goes on only as long as
    /// others do.
    fn loads(&self) -> bool {
        false
    }

    /// The program goes on: reading begins after the chunk that had this position. Called before [`Source::run`].
    ///
    /// # Errors
    /// If it is not a position of this source.
    fn go_on(&mut self, _position: &[u8]) -> Result<()> {
        Ok(())
    }

    /// The program goes on: these requests are kept, the oldest first. Called before [`Source::run`].
    fn knows(&mut self, _keys: Vec<KeptKey>) {}

    /// True if reading begins at the same place in every run, and gives the same chunks: a file that does not change while
    /// it is read. Then only the number of chunks is kept, not what is in them.
    fn repeats(&self) -> bool {
        self.is_bounded() && !self.loads()
    }

    /// Rows in the whole input, where that is known beforehand; for the status line.
    fn total_rows(&self) -> Option<u64> {
        None
    }

    /// Bytes in the whole input, where that is known beforehand; for the status line.
    fn total_bytes(&self) -> Option<u64> {
        None
    }
}

/// One part of a source that is in order by itself: a file, or the whole of a message stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// For messages: the path of the file.
    pub name: String,
    /// The event time of its first row, or its least one, if that can be told without reading it all.
    pub earliest: Option<EventTime>,
    /// A bound: none of its rows is before it. `None` if nothing is known.
    pub rest: Option<EventTime>,
}

/// A piece of raw input of one partition.
#[derive(Debug)]
pub struct Chunk {
    /// Index of its partition; a number beyond those of [`Source::partitions`] is a partition that is new.
    pub partition: usize,
    /// The raw input.
    pub payload: Payload,
    /// An upper limit of the batches that the decoder makes of it. Each batch is an epoch of its own.
    pub batches: u32,
    /// An event time near its end, by which several bounded inputs are read in step. No more than a hint.
    pub near: Option<EventTime>,
    /// A bound: no row of the later chunks of its partition is before it. `None` if nothing is known.
    pub rest: Option<EventTime>,
    /// True if this is the last chunk of its partition.
    pub last: bool,
    /// True if with it all has been given that was there at the start; see [`Source::loads`].
    pub is_loaded: bool,
    /// Where the connector stands after it, in its own words: what [`Source::go_on`] wants. `None` if nothing has changed, or if
    /// it gives the same chunks at every run.
    pub position: Option<Vec<u8>>,
    /// Those who wait until the chunk is kept; see [`ChunkSender::deliver`].
    pub receipts: Vec<Receipt>,
}

/// Tells a connector that what it has handed over is kept: the peer may forget it.
#[derive(Debug)]
pub struct Receipt(oneshot::Sender<()>);

impl Receipt {
    /// The chunk is kept. A connector that has gone meanwhile need not know.
    pub fn sign(self) {
        self.0.send(()).ok();
    }
}

impl Chunk {
    /// A chunk of partition 0 that decodes to one batch.
    pub fn new(payload: Payload) -> Self {
        Self {
            partition: 0,
            payload,
            batches: 1,
            near: None,
            rest: None,
            last: false,
            is_loaded: false,
            position: None,
            receipts: Vec::new(),
        }
    }
}

/// The raw input of a chunk.
#[derive(Debug)]
pub enum Payload {
    /// Whole records (lines) of a file.
    Bytes {
        /// The records.
        bytes: Vec<u8>,
        /// Line number of the first one, from 1.
        first_line: u64,
    },
    /// Messages of a broker.
    Messages(Vec<Message>),
    /// Rows that need no decoding.
    Rows(RecordBatch),
    /// What the connector has decoded itself.
    Decoded(Decoded),
    /// A part of a file that the decoder reads itself, such as a row group.
    Part {
        /// Which part.
        index: usize,
        /// Rows in it.
        rows: u64,
    },
    /// The broker does not know us: what was published while we were away is lost, if we had been there before. Why, in
    /// words; the ids of packets begin anew.
    Gap(String),
    /// Nothing; ends a partition or only moves time.
    Empty,
}

impl Payload {
    /// Bytes that the payload holds in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Bytes { bytes, .. } => bytes.len(),
            Self::Messages(messages) => messages.iter().map(Message::bytes).sum(),
            Self::Rows(rows) | Self::Decoded(Decoded { rows, .. }) => rows.get_array_memory_size(),
            Self::Part { .. } | Self::Gap(_) | Self::Empty => 0,
        }
    }

    /// Bytes that it takes while it is worked on, about: of a part of a file those of its rows, 8 for each of the `columns`.
    pub fn estimated_bytes(&self, columns: usize) -> u64 {
        match self {
            Self::Part { rows, .. } => rows.saturating_mul(8 * columns as u64),
            other => other.bytes() as u64,
        }
    }

    /// Records in the payload, as far as that is known before decoding.
    pub fn records(&self) -> usize {
        match self {
            Self::Messages(messages) => messages.len(),
            Self::Rows(rows) | Self::Decoded(Decoded { rows, .. }) => rows.num_rows(),
            Self::Bytes { .. } | Self::Part { .. } | Self::Gap(_) | Self::Empty => 0,
        }
    }
}

/// One message of a broker, or the body of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where it was published, or the path of the request.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// When we received it, microseconds since the Unix epoch.
    pub received_at: EventTime,
    /// Quality of service.
    pub qos: u8,
    /// True if the broker kept it from before.
    pub retain: bool,
    /// Of a message that is acknowledged: how it was delivered.
    pub packet: Option<Packet>,
    /// Of the body of a request: what is known from its head.
    pub request: Option<Box<Request>>,
}

/// What the decoder must know of the head of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The address of the client.
    pub remote: String,
    /// The name of the format of the body.
    pub format: String,
    /// The key by which the client tells a request that it repeats.
    pub key: Option<String>,
}

/// How many keys of requests are remembered.
pub const MAX_KEYS: usize = 100_000;

/// The key of a request that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKey {
    /// The key.
    pub key: String,
    /// The [`stable_hash`](crate::hash::stable_hash) of its body.
    pub body: u64,
    /// When it came.
    pub at: EventTime,
}

/// How many deliveries a connector may have taken that the broker may send again: so many are remembered.
pub const MAX_UNSETTLED: usize = 1 << 20;

/// The delivery of a message by a broker that gives it again until it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// Its number, which is used again after the acknowledgement.
    pub id: u16,
    /// The broker says that it has sent it before; not that it came.
    pub again: bool,
    /// The broker has read the acknowledgements of all deliveries before the last one that said so. Never of one that is sent
    /// again.
    pub settles: bool,
}

impl Message {
    fn bytes(&self) -> usize {
        let request = self.request.as_ref().map_or(0, |request| {
            request.remote.len() + request.format.len() + request.key.as_ref().map_or(0, String::len)
        });
        self.topic.len() + self.payload.len() + request + size_of::<Self>()
    }
}

/// Turns the chunks of one source into rows: a pure function of the chunk.
pub trait Decoder: Send + Sync {
    /// Columns of the rows: those that the query file declares, in its order.
    fn schema(&self) -> SchemaRef;

    /// Starts decoding a chunk. The batches come one by one, so a large chunk does not fill the memory.
    ///
    /// # Errors
    /// If the input as a whole cannot be read (a truncated file): ends the program. A record that does not decode is
    /// a [`Rejected`] instead.
    fn decode(&self, chunk: Chunk) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>>;
}

/// Rows of a chunk in arrival order, and the records that did not decode.
#[derive(Debug)]
pub struct Decoded {
    /// The rows.
    pub rows: RecordBatch,
    /// Of a table that is read again: `1` for a row that is added, `-1` for one that is gone; else all are added.
    pub weights: Option<Int64Array>,
    /// The rest.
    pub rejected: Vec<Rejected>,
}

impl Decoded {
    /// Rows that are added, and what did not decode.
    pub fn new(rows: RecordBatch, rejected: Vec<Rejected>) -> Self {
        Self { rows, weights: None, rejected }
    }

    /// Rows that came in: those that are gone were counted when they came.
    pub fn added(&self) -> usize {
        match &self.weights {
            Some(weights) => weights.values().iter().filter(|weight| **weight > 0).count(),
            None => self.rows.num_rows(),
        }
    }
}

/// A record that is kept aside in `<source>.quarantine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// File or topic.
    pub origin: String,
    /// Line of the file, from 1, where there are lines.
    pub line: Option<u64>,
    /// A short code: `format`, `type`, `fields`, `utf8`, `too_large`, `null_time`, `future`.
    pub reason: &'static str,
    /// What was found, in words: column, value, what was expected.
    pub detail: String,
    /// The record itself, as far as it can be shown.
    pub raw: Vec<u8>,
}

/// The way of a connector into the engine. Bounded: a full engine makes the connector wait.
#[derive(Clone, Debug)]
pub struct ChunkSender {
    sender: mpsc::Sender<Chunk>,
}

/// The program stops; the connector returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the program stops")]
pub struct Stopped;

impl ChunkSender {
    /// Chunks that may wait between a connector and the engine.
    pub const CAPACITY: usize = 8;

    /// A sender and what receives from it.
    pub fn channel() -> (Self, mpsc::Receiver<Chunk>) {
        let (sender, receiver) = mpsc::channel(Self::CAPACITY);
        (Self { sender }, receiver)
    }

    /// Hands over a chunk; waits while the engine is full. For plain threads.
    ///
    /// # Errors
    /// If the program stops.
    pub fn send(&self, chunk: Chunk) -> Result<(), Stopped> {
        self.sender.blocking_send(chunk).map_err(|_| Stopped)
    }

    /// Hands over a chunk; waits while the engine is full. For async tasks.
    ///
    /// # Errors
    /// If the program stops.
    pub async fn send_async(&self, chunk: Chunk) -> Result<(), Stopped> {
        self.sender.send(chunk).await.map_err(|_| Stopped)
    }

    /// Hands over a chunk and waits until it is kept: it will be worked on even if the program dies now, as far as the
    /// program keeps anything. May wait for long while the engine is full.
    ///
    /// # Errors
    /// If the program stops; whether the chunk is kept is not known then.
    pub async fn deliver(&self, mut chunk: Chunk) -> Result<(), Stopped> {
        let (signed, receipt) = oneshot::channel();
        chunk.receipts.push(Receipt(signed));
        self.send_async(chunk).await?;
        receipt.await.map_err(|_| Stopped)
    }

    /// True while another chunk would have to wait.
    pub fn is_full(&self) -> bool {
        self.sender.capacity() == 0
    }

    /// True once the program stops.
    pub fn is_stopped(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until the program stops.
    pub async fn stopped(&self) {
        self.sender.closed().await;
    }
}

impl From<Stopped> for Error {
    fn from(_: Stopped) -> Self {
        Self::Plan("the program stops".into())
    }
}
