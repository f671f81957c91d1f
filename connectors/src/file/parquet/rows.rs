//! The batches of a chunk as rows of the source.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{cast, filter_record_batch, take};
use arrow::error::ArrowError;
use lineshaft_engine::source::{Decoded, Rejected};
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Error, Result};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::convert::convert;
use crate::file::decoder::file_column;
use crate::format::layout::{ColumnSpec, Layout};

/// The batches of a chunk.
pub(super) struct Batches {
    pub(super) reader: ParquetRecordBatchReader,
    pub(super) shape: Shape,
}

/// Where the values of a column are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In this column of the file.
    File(usize),
    /// In the name of a folder: one value of the declared type for all rows.
    Folder(ArrayRef),
    /// Nowhere: it is NULL.
    Nowhere,
}

impl Place {
    /// The column of the file.
    pub(super) fn root(&self) -> Option<usize> {
        match self {
            Self::File(root) => Some(*root),
            Self::Folder(_) | Self::Nowhere => None,
        }
    }
}

/// How a batch of a file becomes a batch of the source.
pub(super) struct Shape {
    pub(super) layout: Layout,
    pub(super) places: Vec<(ColumnSpec, Place)>,
    pub(super) file: Arc<str>,
    pub(super) path: PathBuf,
    pub(super) received_at: EventTime,
}

impl Iterator for Batches {
    type Item = Result<Decoded>;

    fn next(&mut self) -> Option<Self::Item> {
        let decoded = self.reader.next()?.and_then(|batch| self.shape.decode(&batch));
        Some(decoded.map_err(|error| {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string());
            Error::file("read", &self.shape.path, source)
        }))
    }
}

impl Shape {
    fn decode(&self, batch: &RecordBatch) -> Result<Decoded, ArrowError> {
        let rows = batch.num_rows();
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; self.layout.output.fields().len()];
        let mut bad = Bad::default();
        for (spec, place) in &self.places {
            let data_type = spec.field.data_type();
            let array = match place {
                Place::File(place) => {
                    let found = batch.column(*place);
                    let array = convert(found, data_type, &self.layout.timestamp)?;
                    bad.look(spec, found, &array);
                    array
                }
                Place::Folder(value) => take(value, &UInt32Array::from_value(0, rows), None)?,
                Place::Nowhere => arrow::array::new_null_array(data_type, rows),
            };
            if let Some(output) = spec.output {
                arrays[output] = Some(array);
            }
        }
        for (output, name) in &self.layout.metadata {
            let array: ArrayRef = match name.as_str() {
                "file" => file_column(&self.file, rows),
                _ => Arc::new(TimestampMicrosecondArray::from_value(self.received_at, rows)),
            };
            arrays[*output] = Some(cast(&array, self.layout.output.field(*output).data_type())?);
        }
        self.without_bad(arrays.into_iter().flatten().collect(), rows, bad)
    }

    /// Takes the bad rows out, and says that all others are as declared.
    fn without_bad(&self, mut arrays: Vec<ArrayRef>, rows: usize, bad: Bad) -> Result<Decoded, ArrowError> {
        let mut kept = rows;
        if !bad.reasons.is_empty() {
            let keep: BooleanArray = (0..rows).map(|row| Some(!bad.reasons.contains_key(&row))).collect();
            let nullable =
                arrays.iter().enumerate().map(|(at, array)| (at.to_string(), Arc::clone(array), true));
            let filtered = filter_record_batch(&RecordBatch::try_from_iter_with_nullable(nullable)?, &keep)?;
            kept = filtered.num_rows();
            arrays = filtered.columns().to_vec();
        }
        let options = RecordBatchOptions::new().with_row_count(Some(kept));
        let rejected = bad.reasons.into_values().map(|(reason, detail)| Rejected {
            origin: self.file.to_string(),
            line: None,
            reason,
            detail,
            raw: Vec::new(),
        });
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.layout.output), arrays, &options)?;
        Ok(Decoded::new(rows, rejected.collect()))
    }
}

/// The bad rows of a batch, with reason and detail.
#[derive(Default)]
struct Bad {
    reasons: std::collections::BTreeMap<usize, (&'static str, String)>,
}

impl Bad {
    /// A row is bad if a value did not fit, or if it is NULL where it may not be.
    fn look(&mut self, spec: &ColumnSpec, found: &ArrayRef, array: &ArrayRef) {
        let name = spec.field.name();
        let lost = array.null_count() > found.logical_null_count();
        if !lost && (spec.field.is_nullable() || array.null_count() == 0) {
            return;
        }
        for row in (0..array.len()).filter(|row| array.is_null(*row)) {
            if !found.is_null(row) && lost {
                let detail = format!(
                    "column {name:?}: a value of {} does not fit {}",
                    found.data_type(),
                    spec.field.data_type()
                );
                self.reasons.entry(row).or_insert(("type", detail));
            } else if !spec.field.is_nullable() {
                let reason = if spec.is_event_time { "null_time" } else { "null" };
                let detail = format!("column {name:?} is NULL, but declared NOT NULL");
                self.reasons.entry(row).or_insert((reason, detail));
            }
        }
    }
}
