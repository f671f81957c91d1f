//! Columns under construction: values of text records, checked and typed one by one, without an allocation per row.
//!
//! A row is all or nothing: values are pushed column by column, then [`Columns::end_row`] keeps the row, or
//! [`Columns::abandon_row`] takes its values back.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use lineshaft_engine::Result;

use super::csv::Mapping;
use super::csv::plain::Fields;
use super::layout::Layout;
use super::timestamp::TimestampFormat;
use super::values::Values;

/// A value as a record has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Raw<'a> {
    /// NULL, or nothing.
    Null,
    /// A text that may stand for any type, as in CSV.
    Field(&'a [u8]),
    /// A text that is a text, as a string of JSON.
    Text(&'a [u8]),
    /// A number of JSON.
    Number(&'a [u8]),
    /// `true` or `false`.
    Bool(bool),
    /// An array of JSON, checked.
    Array(&'a [u8]),
    /// An object of JSON, checked.
    Object(&'a [u8]),
    /// An event time.
    Micros(i64),
    /// A number.
    Double(f64),
}

/// Why a record is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// See [`lineshaft_engine::source::Rejected::reason`].
    pub(crate) reason: &'static str,
    /// In words.
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// All columns of a batch under construction.
#[derive(Debug)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    rows: usize,
}

impl Columns {
    pub(crate) fn new(layout: &Layout) -> Self {
        let column = |spec: &super::layout::ColumnSpec| Column {
            name: spec.field.name().clone(),
            data_type: spec.field.data_type().clone(),
            null_reason: (!spec.field.is_nullable()).then_some(if spec.is_event_time {
                "null_time"
            } else {
                "null"
            }),
            values: Values::new(spec.field.data_type(), &layout.timestamp, spec.output.is_some()),
            valid: Vec::new(),
            nulls: 0,
        };
        Self { columns: layout.columns.iter().map(column).collect(), rows: 0 }
    }

    /// Rows that were kept.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Sets a column of the current row; a second value for it replaces the first.
    pub(crate) fn push(&mut self, column: usize, raw: Raw<'_>) -> Result<(), Problem> {
        let column = &mut self.columns[column];
        if column.valid.len() > self.rows {
            column.truncate(self.rows);
        }
        column.push(raw)
    }

    /// Keeps the current row; columns without a value are NULL.
    pub(crate) fn end_row(&mut self) -> Result<(), Problem> {
        for column in &mut self.columns {
            if column.valid.len() == self.rows {
                column.push(Raw::Null)?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Keeps many rows, whose fields are the columns of `mapping`; none of them, and gives false, if one does not fit.
    pub(crate) fn push_rows(&mut self, mapping: &Mapping, fields: &Fields<'_>, rows: usize) -> bool {
        let mut fits = true;
        for (at, column) in self.columns.iter_mut().enumerate() {
            fits = fits
                && match mapping.0.iter().position(|found| *found == Some(at)) {
                    Some(field) => column.push_all(fields.column(field)),
                    None => column.push_all(std::iter::repeat_n(None, rows)),
                };
        }
        if fits {
            self.rows += rows;
        } else {
            self.abandon_row();
        }
        fits
    }

    /// Forgets the current row.
    pub(crate) fn abandon_row(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    /// The rows, with the columns that the program needs; `metadata` makes the others by their name.
    pub(crate) fn finish(
        self,
        layout: &Layout,
        mut metadata: impl FnMut(&str) -> Result<ArrayRef>,
    ) -> Result<RecordBatch> {
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; layout.output.fields().len()];
        for (column, spec) in self.columns.into_iter().zip(&layout.columns) {
            if let Some(output) = spec.output {
                arrays[output] = Some(column.finish()?);
            }
        }
        for (output, name) in &layout.metadata {
            let array = metadata(name)?;
            arrays[*output] = Some(cast(&array, layout.output.field(*output).data_type())?);
        }
        let arrays = arrays.into_iter().flatten().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&layout.output), arrays, &options)?)
    }
}

/// One column under construction.
#[derive(Debug)]
pub(super) struct Column {
    name: String,
    data_type: DataType,
    /// The reason of a rejection for NULL; `None` if NULL is fine.
    null_reason: Option<&'static str>,
    values: Values,
    valid: Vec<bool>,
    nulls: usize,
}

impl Column {
    /// The items of a list.
    pub(super) fn of_items(field: &FieldRef, timestamp: &TimestampFormat) -> Self {
        Self {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            null_reason: (!field.is_nullable()).then_some("null"),
            values: Values::new(field.data_type(), timestamp, true),
            valid: Vec::new(),
            nulls: 0,
        }
    }

    /// Values so far, NULL among them.
    pub(super) fn len(&self) -> usize {
        self.valid.len()
    }

    /// What is expected of a value.
    pub(super) fn expected(&self) -> String {
        self.values.expected(&self.data_type)
    }

    pub(super) fn push(&mut self, raw: Raw<'_>) -> Result<(), Problem> {
        let is_null = match raw {
            Raw::Null | Raw::Field([]) => true,
            raw if self.values.push(raw).is_some() => false,
            raw => return Err(self.mismatch(raw)),
        };
        if is_null {
            if let Some(reason) = self.null_reason {
                return Err(Problem::new(
                    reason,
                    format!("column {:?} is NULL, but declared NOT NULL", self.name),
                ));
            }
            self.values.push_default();
            self.nulls += 1;
        }
        self.valid.push(!is_null);
        Ok(())
    }

    /// Pushes fields, `None` for NULL; false if one does not fit, and then some have been pushed.
    fn push_all<'a>(&mut self, fields: impl Iterator<Item = Option<&'a [u8]>>) -> bool {
        let before = self.valid.len();
        let fits = self.values.push_all(fields, &mut self.valid);
        let nulls = self.valid[before..].iter().filter(|valid| !**valid).count();
        self.nulls += nulls;
        fits && (nulls == 0 || self.null_reason.is_none())
    }

    fn mismatch(&self, raw: Raw<'_>) -> Problem {
        let found = match raw {
            Raw::Field(text) | Raw::Text(text) => format!("\"{}\"", shown(text)),
            Raw::Number(text) => shown(text),
            Raw::Array(text) => format!("the array {}", shown(text)),
            Raw::Object(text) => format!("the object {}", shown(text)),
            Raw::Bool(value) => value.to_string(),
            Raw::Micros(value) => format!("the time {value} us"),
            Raw::Double(value) => value.to_string(),
            Raw::Null => "NULL".to_owned(),
        };
        let detail = format!("column {:?}: found {found}, expected {}", self.name, self.expected());
        Problem::new("type", detail)
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        if self.valid.len() > rows {
            self.nulls -= self.valid[rows..].iter().filter(|valid| !**valid).count();
            self.valid.truncate(rows);
        }
        self.values.truncate(rows);
    }

    pub(super) fn finish(self) -> Result<ArrayRef> {
        let nulls = (self.nulls > 0).then(|| NullBuffer::from(self.valid));
        let array = self.values.finish(nulls)?;
        // The integers of all widths are collected as one; their range was checked.
        Ok(if array.data_type() == &self.data_type { array } else { cast(&array, &self.data_type)? })
    }
}

/// At most the first 60 characters of a value.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(256)]);
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}
