//! Keys of any column types as bytes: equal keys have equal bytes, and bytes sort as the keys do.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::row::{RowConverter, SortField};
use lineshaft_engine::error::Result;

/// A key as bytes.
pub(crate) type Key = Box<[u8]>;

/// Turns key columns into bytes and back.
#[derive(Debug)]
pub(crate) struct Keys {
    converter: RowConverter,
    fields: Vec<FieldRef>,
}

impl Keys {
    /// Keys made of `columns` of `schema`; without columns all rows have one key.
    pub(crate) fn new(schema: &SchemaRef, columns: &[usize]) -> Result<Self> {
        let fields: Vec<FieldRef> = columns
            .iter()
            .map(|&column| Arc::clone(&schema.fields()[column]))
            .collect();
        let sort = fields
            .iter()
            .map(|field| SortField::new(field.data_type().clone()))
            .collect();
        Ok(Self {
            converter: RowConverter::new(sort)?,
            fields,
        })
    }

    /// The columns that a key is made of.
    pub(crate) fn fields(&self) -> &[FieldRef] {
        &self.fields
    }

    /// The key of each row; `columns` may have other types that can be cast.
    pub(crate) fn encode(&self, rows: &RecordBatch, columns: &[usize]) -> Result<Vec<Key>> {
        if columns.is_empty() {
            return Ok(vec![Key::default(); rows.num_rows()]);
        }
        let pairs = columns.iter().zip(&self.fields);
        let arrays: Result<Vec<ArrayRef>, _> = pairs
            .map(|(&column, field)| cast(rows.column(column), field.data_type()))
            .collect();
        let encoded = self.converter.convert_columns(&arrays?)?;
        Ok(encoded.iter().map(|row| row.as_ref().into()).collect())
    }

    /// The columns of keys.
    pub(crate) fn decode<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Result<Vec<ArrayRef>> {
        if self.fields.is_empty() {
            return Ok(Vec::new());
        }
        let parser = self.converter.parser();
        let rows: Vec<_> = keys.map(|key| parser.parse(key)).collect();
        Ok(self.converter.convert_rows(rows)?)
    }
}
