//! Frames as bytes, for workers of other processes: a small header per part, rows as an Arrow IPC stream.

use arrow::array::{Int64Array, RecordBatch};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::frame::{Mark, Part};
use crate::batch::Batch;
use crate::time::Watermark;

const ROWS: u64 = 0;
const WEIGHTED_ROWS: u64 = 1;
const MARK: u64 = 2;
const MARK_BEFORE_MORE: u64 = 3;

/// Timely wants a multiple of eight bytes.
const ALIGNMENT: usize = 8;

/// The parts as bytes. Each part: kind, two words, length of what follows, rows padded to eight bytes.
pub(super) fn encode(parts: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            Part::Rows { order, to, rows } => {
                let batch = rows.clone().into_batch().expect("row numbers of this batch");
                let kind = if batch.weights().is_some() { WEIGHTED_ROWS } else { ROWS };
                let to = to.map_or(u64::MAX, |to| to as u64);
                let rows = encode_rows(&batch);
                words(&mut bytes, [kind, u64::from(*order), to, rows.len() as u64]);
                bytes.extend_from_slice(&rows);
                bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
            }
            Part::Mark { to, mark } => {
                let kind = if mark.more_follows { MARK_BEFORE_MORE } else { MARK };
                let [clock, watermark] = [mark.wall_clock, mark.watermark.0].map(i64::cast_unsigned);
                words(&mut bytes, [kind, *to as u64, clock, watermark]);
            }
        }
    }
    bytes
}

/// The parts of [`encode`]d bytes. They come from a worker of the same program, so a fault in them is a bug.
pub(super) fn decode(mut bytes: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let [kind, a, b, c] = std::array::from_fn(|word| {
            let word = bytes[word * 8..][..8].try_into().expect("eight bytes");
            u64::from_le_bytes(word)
        });
        bytes = &bytes[4 * 8..];
        if kind == MARK || kind == MARK_BEFORE_MORE {
            let (wall_clock, watermark) = (b.cast_signed(), Watermark(c.cast_signed()));
            let mark = Mark { wall_clock, more_follows: kind == MARK_BEFORE_MORE, watermark };
            parts.push(Part::Mark { to: index(a), mark });
            continue;
        }
        let length = index(c);
        let batch = decode_rows(&bytes[..length], kind == WEIGHTED_ROWS);
        let order = u32::try_from(a).expect("written from a u32");
        parts.push(Part::Rows { order, to: (b != u64::MAX).then(|| index(b)), rows: batch.into() });
        bytes = &bytes[length.next_multiple_of(ALIGNMENT)..];
    }
    parts
}

fn words(bytes: &mut Vec<u8>, words: [u64; 4]) {
    for word in words {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
}

fn index(word: u64) -> usize {
    usize::try_from(word).expect("written from a usize")
}

fn encode_rows(batch: &Batch) -> Vec<u8> {
    let write = |rows: &RecordBatch| -> Result<Vec<u8>, arrow::error::ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema())?;
        writer.write(rows)?;
        writer.into_inner()
    };
    let rows = match batch.weights() {
        None => batch.rows().clone(),
        Some(weights) => {
            let weights = ("", std::sync::Arc::new(weights.clone()) as _);
            let weights = RecordBatch::try_from_iter([weights]).expect("one column");
            let mut fields = batch.schema().fields().to_vec();
            fields.extend(weights.schema().fields().iter().cloned());
            let columns = batch.rows().columns().iter().chain(weights.columns()).cloned().collect();
            let schema = arrow::datatypes::Schema::new(fields);
            RecordBatch::try_new(schema.into(), columns).expect("a weight for each row")
        }
    };
    write(&rows).expect("rows fit into an Arrow stream in memory")
}

fn decode_rows(bytes: &[u8], weighted: bool) -> Batch {
    let mut reader = StreamReader::try_new(bytes, None).expect("an Arrow stream");
    let rows = reader.next().expect("one batch").expect("whole");
    if !weighted {
        return Batch::new(rows);
    }
    let last = rows.num_columns() - 1;
    let weights: Int64Array = arrow::array::AsArray::as_primitive(rows.column(last)).clone();
    let columns: Vec<usize> = (0..last).collect();
    Batch::with_weights(rows.project(&columns).expect("fewer columns"), weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;

    #[test]
    fn parts_survive_the_way_over_the_wire() {
        let column = std::sync::Arc::new(StringArray::from(vec![Some("pump"), None, Some("fan")])) as _;
        let rows = RecordBatch::try_from_iter([("machine", column)]).unwrap();
        let weighted = Batch::with_weights(rows.clone(), Int64Array::from(vec![1, -1, 1]));
        let mark = Mark { wall_clock: -5, more_follows: false, watermark: Watermark::END };
        let parts = vec![
            Part::Rows { order: 3, to: Some(1), rows: Batch::new(rows).into() },
            Part::Mark { to: 2, mark },
            Part::Mark { to: 0, mark: Mark { more_follows: true, ..mark } },
            Part::Rows { order: 0, to: None, rows: weighted.into() },
        ];
        assert_eq!(format!("{:?}", decode(&encode(&parts))), format!("{parts:?}"));
    }
}
