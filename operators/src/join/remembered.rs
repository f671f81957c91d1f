//! What a look-up gave for the rows of a changelog: a row that is taken back takes back what was given for it, though the
//! table may have changed since.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, Rows, SortField};
use lineshaft_engine::operator::Snapshot;
use lineshaft_engine::time::{EventTime, Watermark};
use lineshaft_engine::{Error, Result};

/// The rows given for each row of the stream that can still be taken back; equal rows in the order in which they came.
pub(super) struct Remembered {
    /// The column of event time; a row is taken back only while this is not below the watermark.
    time: usize,
    converter: RowConverter,
    given: BTreeMap<EventTime, HashMap<Box<[u8]>, VecDeque<RecordBatch>>>,
}

/// Rows of a stream as they are found again.
pub(super) struct Names {
    keys: Rows,
    times: Vec<EventTime>,
}

impl Remembered {
    pub(super) fn new(time: usize, stream: &SchemaRef) -> Result<Self> {
        let fields = stream.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self { time, converter: RowConverter::new(fields)?, given: BTreeMap::new() })
    }

    pub(super) fn names(&self, stream: &RecordBatch) -> Result<Names> {
        let times = stream.column(self.time).as_primitive_opt::<TimestampMicrosecondType>();
        let times = times.ok_or_else(|| Error::operator("join", "the event time is not a TIMESTAMP"))?;
        Ok(Names {
            keys: self.converter.convert_columns(stream.columns())?,
            times: times.iter().map(|time| time.unwrap_or(EventTime::MAX)).collect(),
        })
    }

    /// Remembers what was given for a row.
    pub(super) fn put(&mut self, names: &Names, row: usize, given: RecordBatch) {
        let key = names.keys.row(row).as_ref().into();
        self.given.entry(names.times[row]).or_default().entry(key).or_default().push_back(given);
    }

    /// What was given for a row that is taken back.
    pub(super) fn take(&mut self, names: &Names, row: usize) -> Result<RecordBatch> {
        let of_time = self.given.get_mut(&names.times[row]);
        let given = of_time.and_then(|of_time| of_time.get_mut(names.keys.row(row).as_ref()));
        let given = given.and_then(VecDeque::pop_front);
        given.ok_or_else(|| Error::operator("join", "a row is taken back that was not there"))
    }

    /// Forgets rows that cannot be taken back any more.
    pub(super) fn forget(&mut self, watermark: Watermark) {
        if watermark == Watermark::END {
            self.given.clear();
        } else {
            self.given = self.given.split_off(&watermark.0);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.given.values().all(|of_time| of_time.values().all(VecDeque::is_empty))
    }

    /// Adds what is remembered to a snapshot: a line for each row of the stream, and the rows given for it.
    pub(super) fn save(&self, schema: &SchemaRef, snapshot: &mut Snapshot) -> Result<()> {
        let mut lines: Vec<(EventTime, &[u8], &RecordBatch)> = Vec::new();
        for (time, of_time) in &self.given {
            let mut of_time: Vec<_> = of_time.iter().collect();
            of_time.sort_unstable_by_key(|(key, _)| *key);
            lines.extend(
                of_time.iter().flat_map(|(key, given)| given.iter().map(move |rows| (*time, &***key, rows))),
            );
        }
        let counts = lines.iter().map(|(_, _, rows)| rows.num_rows() as i64);
        let columns: [(&str, ArrayRef); 3] = [
            ("time", Arc::new(Int64Array::from_iter_values(lines.iter().map(|line| line.0)))),
            ("rows", Arc::new(Int64Array::from_iter_values(counts))),
            ("key", Arc::new(BinaryArray::from_iter_values(lines.iter().map(|line| line.1)))),
        ];
        snapshot.put("remembered", RecordBatch::try_from_iter(columns)?);
        snapshot.put("given", concat_batches(schema, lines.iter().map(|line| line.2))?);
        Ok(())
    }

    /// Puts back what [`Remembered::save`] gave.
    pub(super) fn load(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        let (Some(lines), Some(given)) = (snapshot.take("remembered"), snapshot.take("given")) else {
            return Ok(());
        };
        let number = |at: usize| lines.column(at).as_primitive::<Int64Type>().values();
        let keys = lines.column(2).as_binary::<i32>();
        let mut start = 0;
        for (line, (time, rows)) in number(0).iter().zip(number(1)).enumerate() {
            let len = usize::try_from(*rows).unwrap_or_default();
            let of_time = self.given.entry(*time).or_default();
            of_time.entry(keys.value(line).into()).or_default().push_back(given.slice(start, len));
            start += len;
        }
        Ok(())
    }
}
