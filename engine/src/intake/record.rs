//! A chunk as a record of the journal, and back.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{Int64Type, UInt64Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::error::{Error, Result};
use crate::journal::{DataChunk, DataPayload};
use crate::source::{Chunk, Decoded, Payload, Rejected};

/// The reasons for which connectors reject a record: they are names, not texts.
const REASONS: [&str; 8] = ["format", "type", "fields", "utf8", "too_large", "null", "null_time", "future"];
/// What the bytes of [`DataPayload::Rows`] begin with.
const ROWS: u8 = 0;
const DECODED: u8 = 1;

/// A chunk that is to be kept, with what is not: rows that are in memory already, and what the connector gives again.
pub(super) struct Kept {
    pub(super) data: DataChunk,
    pub(super) aside: Option<Payload>,
}

impl Kept {
    /// Takes a chunk apart. `number` is that of a chunk that the connector gives again at every run.
    pub(super) fn new(chunk: Chunk, number: Option<u64>, ends_source: bool) -> Result<Self> {
        let (payload, aside) = match (chunk.payload, number) {
            (Payload::Empty, _) if ends_source => (DataPayload::Empty, None),
            (payload, Some(number)) => (DataPayload::Chunk(number), Some(payload)),
            (Payload::Messages(messages), _) => (DataPayload::Messages(messages), None),
            (Payload::Bytes { bytes, first_line }, _) => (DataPayload::Bytes { bytes, first_line }, None),
            (Payload::Gap(reason), _) => (DataPayload::Gap(reason), None),
            (Payload::Empty, _) => (DataPayload::Empty, None),
            (Payload::Rows(rows), _) => {
                let mut bytes = vec![ROWS];
                put_table(&mut bytes, &rows)?;
                (DataPayload::Rows(bytes), Some(Payload::Rows(rows)))
            }
            (Payload::Decoded(decoded), _) => {
                (DataPayload::Rows(encode(&decoded)?), Some(Payload::Decoded(decoded)))
            }
            (Payload::Part { .. }, None) => {
                return Err(Error::Plan("a part of a file that is not read again cannot be kept".into()));
            }
        };
        let data = DataChunk {
            partition: u32::try_from(chunk.partition).unwrap_or(u32::MAX),
            batches: chunk.batches,
            near: chunk.near,
            rest: chunk.rest,
            last: chunk.last,
            is_loaded: chunk.is_loaded,
            ends_source,
            position: chunk.position,
            payload,
        };
        Ok(Self { data, aside })
    }

    /// The chunk again.
    pub(super) fn into_chunk(self) -> Result<Chunk> {
        let payload = match self.aside {
            Some(payload) => payload,
            None => payload(self.data.payload)?,
        };
        Ok(Chunk {
            partition: usize::try_from(self.data.partition).unwrap_or(usize::MAX),
            batches: self.data.batches,
            near: self.data.near,
            rest: self.data.rest,
            last: self.data.last,
            is_loaded: self.data.is_loaded,
            position: self.data.position,
            ..Chunk::new(payload)
        })
    }
}

/// A chunk that was kept; `again` is what the connector has given again.
pub(super) fn chunk(data: DataChunk, again: Option<Payload>) -> Result<Chunk> {
    Kept { data, aside: again }.into_chunk()
}

fn payload(data: DataPayload) -> Result<Payload> {
    Ok(match data {
        DataPayload::Empty => Payload::Empty,
        DataPayload::Messages(messages) => Payload::Messages(messages),
        DataPayload::Bytes { bytes, first_line } => Payload::Bytes { bytes, first_line },
        DataPayload::Gap(reason) => Payload::Gap(reason),
        DataPayload::Rows(bytes) => rows(&bytes)?,
        DataPayload::Chunk(_) => return Err(damaged()),
    })
}

fn rows(bytes: &[u8]) -> Result<Payload> {
    let (kind, mut rest) = bytes.split_first().ok_or_else(damaged)?;
    match *kind {
        ROWS => Ok(Payload::Rows(table(&mut rest)?)),
        DECODED => Ok(Payload::Decoded(decode(rest)?)),
        _ => Err(damaged()),
    }
}

/// Rows, the rejected records, and the weights if there are any: three tables.
fn encode(decoded: &Decoded) -> Result<Vec<u8>> {
    let mut bytes = vec![DECODED];
    put_table(&mut bytes, &decoded.rows)?;
    put_table(&mut bytes, &rejected_table(&decoded.rejected)?)?;
    if let Some(weights) = &decoded.weights {
        put_table(&mut bytes, &RecordBatch::try_from_iter([("weight", Arc::new(weights.clone()) as _)])?)?;
    }
    Ok(bytes)
}

fn decode(mut rest: &[u8]) -> Result<Decoded> {
    let rows = table(&mut rest)?;
    let rejected = rejected(&table(&mut rest)?).ok_or_else(damaged)?;
    if rest.is_empty() {
        return Ok(Decoded::new(rows, rejected));
    }
    let weights = table(&mut rest)?;
    let weights = weights.column(0).as_primitive_opt::<Int64Type>().ok_or_else(damaged)?.clone();
    Ok(Decoded { rows, weights: Some(weights), rejected })
}

fn rejected_table(rejected: &[Rejected]) -> Result<RecordBatch> {
    let texts = |text: fn(&Rejected) -> &str| StringArray::from_iter_values(rejected.iter().map(text));
    Ok(RecordBatch::try_from_iter([
        ("origin", Arc::new(texts(|it| &it.origin)) as Arc<dyn Array>),
        ("line", Arc::new(UInt64Array::from_iter(rejected.iter().map(|it| it.line)))),
        ("reason", Arc::new(texts(|it| it.reason))),
        ("detail", Arc::new(texts(|it| &it.detail))),
        ("raw", Arc::new(BinaryArray::from_iter_values(rejected.iter().map(|it| &it.raw)))),
    ])?)
}

fn rejected(table: &RecordBatch) -> Option<Vec<Rejected>> {
    let text = |name: &str| table.column_by_name(name)?.as_string_opt::<i32>();
    let (origins, reasons, details) = (text("origin")?, text("reason")?, text("detail")?);
    let lines = table.column_by_name("line")?.as_primitive_opt::<UInt64Type>()?;
    let raws = table.column_by_name("raw")?.as_binary_opt::<i32>()?;
    let known = |reason: &str| REASONS.iter().find(|known| **known == reason).copied().unwrap_or("format");
    let one = |row| Rejected {
        origin: origins.value(row).to_owned(),
        line: lines.is_valid(row).then(|| lines.value(row)),
        reason: known(reasons.value(row)),
        detail: details.value(row).to_owned(),
        raw: raws.value(row).to_vec(),
    };
    Some((0..table.num_rows()).map(one).collect())
}

/// A table as its length and an Arrow IPC stream.
fn put_table(bytes: &mut Vec<u8>, table: &RecordBatch) -> Result<()> {
    let mut writer = StreamWriter::try_new(Vec::new(), &table.schema())?;
    writer.write(table)?;
    let stream = writer.into_inner()?;
    bytes.extend((stream.len() as u64).to_le_bytes());
    bytes.extend(stream);
    Ok(())
}

fn table(rest: &mut &[u8]) -> Result<RecordBatch> {
    let (length, after) = rest.split_first_chunk().ok_or_else(damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
    let (stream, after) = after.split_at_checked(length).ok_or_else(damaged)?;
    *rest = after;
    StreamReader::try_new(stream, None)?.next().transpose()?.ok_or_else(damaged)
}

fn damaged() -> Error {
    Error::Plan("a record of the journal is not of this program".into())
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;
    use crate::testing::{lines, table};

    #[test]
    fn rows_with_weights_and_what_was_rejected_come_back() {
        let line = Some(7);
        let rejected = Rejected {
            origin: "a.csv".into(),
            line,
            reason: "type",
            detail: "x is no number".into(),
            raw: b"\xff,x".into(),
        };
        let decoded = Decoded {
            rows: table("n:i m:s \n 1 a \n 2 -"),
            weights: Some(Int64Array::from(vec![-1, 1])),
            rejected: vec![rejected.clone()],
        };
        let chunk = Chunk { is_loaded: true, near: Some(3), ..Chunk::new(Payload::Decoded(decoded)) };
        let kept = Kept::new(chunk, None, false).unwrap();
        let back = super::chunk(kept.data, None).unwrap();
        assert!(back.is_loaded && back.near == Some(3));
        let Payload::Decoded(decoded) = back.payload else { panic!("other rows") };
        assert_eq!(lines([&decoded.rows]), ["1 a", "2 -"]);
        assert_eq!(decoded.weights.unwrap().values()[..], [-1, 1]);
        assert_eq!(decoded.rejected, [rejected]);
    }

    #[test]
    fn what_a_connector_gives_again_is_only_numbered() {
        let chunk = Chunk { last: true, ..Chunk::new(Payload::Part { index: 4, rows: 9 }) };
        let kept = Kept::new(chunk, Some(17), false).unwrap();
        assert_eq!(kept.data.payload, DataPayload::Chunk(17));
        let chunk = kept.into_chunk().unwrap();
        assert!(chunk.last && matches!(chunk.payload, Payload::Part { index: 4, rows: 9 }));
    }
}
