//! What the journal keeps: raw input, what is known to be lost, and the commits that make both count.

#[cfg(test)]
mod tests;

use super::codec::{Cursor, Malformed, Read, put_bytes, put_length};
use crate::source::{Message, Packet, Request};

/// A record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A chunk of raw input.
    Data(Data),
    /// Input that is known to be lost.
    Gap(Gap),
    /// What somebody did to the program.
    Control(Control),
    /// The records before it are durable together. Only the journal writes it.
    Commit(Commit),
}

/// Epochs that follow one another, and the time of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// The first one.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// Wall clock of the [`EpochHeader`](crate::time::EpochHeader), microseconds since the Unix epoch.
    pub wall_clock: i64,
}

impl Epochs {
    /// The epoch after the last one.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.count.into())
    }

    /// True if all of them are before `epoch`. No epochs at all are where they stand: before the next one.
    pub fn are_before(&self, epoch: u64) -> bool {
        self.first < epoch && self.end() <= epoch
    }
}

/// A chunk of raw input, with the epochs that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// The name of the source.
    pub source: String,
    /// One epoch for each batch that the decoder may make of it.
    pub epochs: Epochs,
    /// The raw input.
    pub chunk: DataChunk,
}

/// What is kept of a [`Chunk`](crate::source::Chunk).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataChunk {
    /// Index of its partition.
    pub partition: u32,
    /// An upper limit of the batches that the decoder makes of it.
    pub batches: u32,
    /// An event time near its end.
    pub near: Option<i64>,
    /// No row of the later chunks of its partition is before it.
    pub rest: Option<i64>,
    /// It is the last one of its partition.
    pub last: bool,
    /// With it all has been given that was there at the start.
    pub is_loaded: bool,
    /// The source ends with it.
    pub ends_source: bool,
    /// Where the connector stands after it; see [`Chunk::position`](crate::source::Chunk::position).
    pub position: Option<Vec<u8>>,
    /// The input itself.
    pub payload: DataPayload,
}

/// The raw input of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataPayload {
    /// Only time passes.
    Empty,
    /// Messages of a broker.
    Messages(Vec<Message>),
    /// Whole records (lines) of a file.
    Bytes {
        /// The records.
        bytes: Vec<u8>,
        /// Line number of the first one, from 1.
        first_line: u64,
    },
    /// The number of a chunk that the connector itself gives again, as of a file.
    Chunk(u64),
    /// Rows as an Arrow IPC stream.
    Rows(Vec<u8>),
    /// The broker did not know us; why.
    Gap(String),
}

/// Input that is lost, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The name of the source; empty if it may be any of them.
    pub source: String,
    /// Why, in words.
    pub reason: String,
    /// Wall clock of the last that is there before, microseconds.
    pub from: i64,
    /// Wall clock of the first that is there again.
    pub to: i64,
}

/// What somebody did to the program: a query added, a model swapped, a command approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// What it is; the journal does not mind.
    pub kind: u16,
    /// What belongs to it.
    pub body: Vec<u8>,
}

/// The end of what is durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The epochs of all records since the last commit.
    pub epochs: Epochs,
    /// Which start of the engine wrote it.
    pub incarnation: u64,
    /// The hash of the queries that ran.
    pub queries: u128,
    /// Bytes of the frames since the last commit.
    pub bytes: u64,
    /// What there is of each source since the last commit, in the order of the names.
    pub sources: Vec<SourceTotal>,
}

/// What a commit covers of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTotal {
    /// The name of the source.
    pub source: String,
    /// Its [`Data`] records.
    pub records: u64,
    /// XXH3 (128 bits) of the bytes of these records, one after the other.
    pub hash: u128,
}

/// The kind of a frame. Numbers are never used again for something else.
pub(super) mod kind {
    pub(in crate::journal) const DATA: u8 = 1;
    pub(in crate::journal) const GAP: u8 = 2;
    pub(in crate::journal) const CONTROL: u8 = 3;
    pub(in crate::journal) const COMMIT: u8 = 4;
}

const HAS_NEAR: u8 = 1;
const HAS_REST: u8 = 1 << 1;
const IS_LAST: u8 = 1 << 2;
const IS_LOADED: u8 = 1 << 3;
const ENDS_SOURCE: u8 = 1 << 4;
const HAS_POSITION: u8 = 1 << 5;

const IS_RETAINED: u8 = 1;
const HAS_PACKET: u8 = 1 << 1;
const IS_AGAIN: u8 = 1 << 2;
const HAS_REQUEST: u8 = 1 << 3;
const SETTLES: u8 = 1 << 4;
const HAS_KEY: u8 = 1 << 5;
/// Ends a commit, so that the last byte of a group is never zero: one that is cut short can be told.
const END_OF_COMMIT: u8 = 0xC5;
/// Topic, payload, time, quality of service and flags of an empty message.
const LEAST_MESSAGE: usize = 18;
/// An empty name, count and hash.
const LEAST_TOTAL: usize = 28;

impl Record {
    /// The kind of its frame.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Data(_) => kind::DATA,
            Self::Gap(_) => kind::GAP,
            Self::Control(_) => kind::CONTROL,
            Self::Commit(_) => kind::COMMIT,
        }
    }

    /// Appends the body of its frame.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Data(data) => put_data(out, data),
            Self::Gap(Gap { source, reason, from, to }) => {
                put_bytes(out, source.as_bytes());
                put_bytes(out, reason.as_bytes());
                out.extend(from.to_le_bytes());
                out.extend(to.to_le_bytes());
            }
            Self::Control(Control { kind, body }) => {
                out.extend(kind.to_le_bytes());
                put_bytes(out, body);
            }
            Self::Commit(commit) => put_commit(out, commit),
        }
    }

    /// The record of a frame.
    ///
    /// # Errors
    /// If the bytes are no record; any bytes may be given.
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, Malformed> {
        let mut from = Cursor(body);
        let record = match kind {
            kind::DATA => Self::Data(data(&mut from)?),
            kind::GAP => Self::Gap(Gap {
                source: from.text()?,
                reason: from.text()?,
                from: from.i64()?,
                to: from.i64()?,
            }),
            kind::CONTROL => Self::Control(Control { kind: from.u16()?, body: from.bytes()?.to_vec() }),
            kind::COMMIT => Self::Commit(commit(&mut from)?),
            _ => return Err(Malformed("a record is of a kind that is not known")),
        };
        from.ends(record)
    }
}

/// The source of a data record, without decoding the rest.
pub(super) fn source_of(body: &[u8]) -> Read<&str> {
    std::str::from_utf8(Cursor(body).bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
}

fn put_epochs(out: &mut Vec<u8>, epochs: Epochs) {
    out.extend(epochs.first.to_le_bytes());
    out.extend(epochs.count.to_le_bytes());
    out.extend(epochs.wall_clock.to_le_bytes());
}

fn epochs(from: &mut Cursor<'_>) -> Read<Epochs> {
    Ok(Epochs { first: from.u64()?, count: from.u32()?, wall_clock: from.i64()? })
}

fn put_data(out: &mut Vec<u8>, Data { source, epochs, chunk }: &Data) {
    put_bytes(out, source.as_bytes());
    put_epochs(out, *epochs);
    out.extend(chunk.partition.to_le_bytes());
    out.extend(chunk.batches.to_le_bytes());
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(
        flag(chunk.near.is_some(), HAS_NEAR)
            | flag(chunk.rest.is_some(), HAS_REST)
            | flag(chunk.last, IS_LAST)
            | flag(chunk.is_loaded, IS_LOADED)
            | flag(chunk.ends_source, ENDS_SOURCE)
            | flag(chunk.position.is_some(), HAS_POSITION),
    );
    out.extend(chunk.near.into_iter().flat_map(i64::to_le_bytes));
    out.extend(chunk.rest.into_iter().flat_map(i64::to_le_bytes));
    if let Some(position) = &chunk.position {
        put_bytes(out, position);
    }
    put_payload(out, &chunk.payload);
}

fn data(from: &mut Cursor<'_>) -> Read<Data> {
    let (source, epochs) = (from.text()?, epochs(from)?);
    let (partition, batches, flags) = (from.u32()?, from.u32()?, from.u8()?);
    let is = |flag: u8| flags & flag != 0;
    if flags >= HAS_POSITION << 1 {
        return Err(Malformed("a chunk has flags that are not known"));
    }
    let chunk = DataChunk {
        partition,
        batches,
        near: from.optional(is(HAS_NEAR))?,
        rest: from.optional(is(HAS_REST))?,
        last: is(IS_LAST),
        is_loaded: is(IS_LOADED),
        ends_source: is(ENDS_SOURCE),
        position: if is(HAS_POSITION) { Some(from.bytes()?.to_vec()) } else { None },
        payload: payload(from)?,
    };
    Ok(Data { source, epochs, chunk })
}

fn put_payload(out: &mut Vec<u8>, payload: &DataPayload) {
    match payload {
        DataPayload::Empty => out.push(0),
        DataPayload::Messages(messages) => {
            out.push(1);
            put_length(out, messages.len());
            messages.iter().for_each(|message| put_message(out, message));
        }
        DataPayload::Bytes { bytes, first_line } => {
            out.push(2);
            out.extend(first_line.to_le_bytes());
            put_bytes(out, bytes);
        }
        DataPayload::Chunk(number) => {
            out.push(3);
            out.extend(number.to_le_bytes());
        }
        DataPayload::Rows(rows) => {
            out.push(4);
            put_bytes(out, rows);
        }
        DataPayload::Gap(reason) => {
            out.push(5);
            put_bytes(out, reason.as_bytes());
        }
    }
}

fn payload(from: &mut Cursor<'_>) -> Read<DataPayload> {
    Ok(match from.u8()? {
        0 => DataPayload::Empty,
        1 => DataPayload::Messages(from.list(LEAST_MESSAGE, message)?),
        2 => DataPayload::Bytes { first_line: from.u64()?, bytes: from.bytes()?.to_vec() },
        3 => DataPayload::Chunk(from.u64()?),
        4 => DataPayload::Rows(from.bytes()?.to_vec()),
        5 => DataPayload::Gap(from.text()?),
        _ => return Err(Malformed("a payload is of a kind that is not known")),
    })
}

fn put_message(out: &mut Vec<u8>, message: &Message) {
    put_bytes(out, message.topic.as_bytes());
    put_bytes(out, &message.payload);
    out.extend(message.received_at.to_le_bytes());
    let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
    let delivered = message
        .packet
        .map_or(0, |packet| HAS_PACKET | flag(IS_AGAIN, packet.again) | flag(SETTLES, packet.settles));
    let key = message.request.as_ref().and_then(|request| request.key.as_ref());
    let requested = flag(HAS_REQUEST, message.request.is_some()) | flag(HAS_KEY, key.is_some());
    let others = flag(IS_RETAINED, message.retain) | requested;
    out.extend([message.qos, delivered | others]);
    out.extend(message.packet.into_iter().flat_map(|packet| packet.id.to_le_bytes()));
    if let Some(request) = &message.request {
        put_bytes(out, request.remote.as_bytes());
        put_bytes(out, request.format.as_bytes());
    }
    if let Some(key) = key {
        put_bytes(out, key.as_bytes());
    }
}

fn message(from: &mut Cursor<'_>) -> Read<Message> {
    let (topic, payload, received_at) = (from.text()?, from.bytes()?.to_vec(), from.i64()?);
    let (qos, flags) = (from.u8()?, from.u8()?);
    let is = |flag: u8| flags & flag != 0;
    let of_packets = flags & (IS_AGAIN | SETTLES);
    let is_odd = (of_packets != 0 && !is(HAS_PACKET)) || (is(HAS_KEY) && !is(HAS_REQUEST));
    if flags >= HAS_KEY << 1 || is_odd {
        return Err(Malformed("a message has flags that are not known"));
    }
    let packet = match is(HAS_PACKET) {
        true => Some(Packet { id: from.u16()?, again: is(IS_AGAIN), settles: is(SETTLES) }),
        false => None,
    };
    let request = match is(HAS_REQUEST) {
        true => {
            let (remote, format) = (from.text()?, from.text()?);
            let key = if is(HAS_KEY) { Some(from.text()?) } else { None };
            Some(Box::new(Request { remote, format, key }))
        }
        false => None,
    };
    Ok(Message { topic, payload, received_at, qos, retain: is(IS_RETAINED), packet, request })
}

fn put_commit(out: &mut Vec<u8>, commit: &Commit) {
    put_epochs(out, commit.epochs);
    out.extend(commit.incarnation.to_le_bytes());
    out.extend(commit.queries.to_le_bytes());
    out.extend(commit.bytes.to_le_bytes());
    put_length(out, commit.sources.len());
    for SourceTotal { source, records, hash } in &commit.sources {
        put_bytes(out, source.as_bytes());
        out.extend(records.to_le_bytes());
        out.extend(hash.to_le_bytes());
    }
    out.push(END_OF_COMMIT);
}

/// Reads the body of a commit.
pub(super) fn commit(from: &mut Cursor<'_>) -> Read<Commit> {
    let commit = Commit {
        epochs: epochs(from)?,
        incarnation: from.u64()?,
        queries: from.u128()?,
        bytes: from.u64()?,
        sources: from.list(LEAST_TOTAL, |from| {
            Ok(SourceTotal { source: from.text()?, records: from.u64()?, hash: from.u128()? })
        })?,
    };
    match from.u8()? {
        END_OF_COMMIT => Ok(commit),
        _ => Err(Malformed("a commit has no end")),
    }
}
