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
        let fields: Vec<FieldRef> =
            columns.iter().map(|&column| Arc::clone(&schema.fields()[column])).collect();
        let sort = fields.iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self { converter: RowConverter::new(sort)?, fields })
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
        let arrays: Result<Vec<ArrayRef>, _> =
            pairs.map(|(&column, field)| cast(rows.column(column), field.data_type())).collect();
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
        let columns = self.converter.convert_rows(rows)?;
        // A dictionary comes back as its values.
        let pairs = columns.iter().zip(&self.fields);
        Ok(pairs.map(|(column, field)| cast(column, field.data_type())).collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int32Type, Schema};

    use super::*;

    #[test]
    fn keys_come_back_as_the_columns_they_were() {
        let lines: DictionaryArray<Int32Type> = vec![Some("b"), Some("a"), None].into_iter().collect();
        let cells = Int64Array::from(vec![2, 1, 1]);
        let columns: Vec<ArrayRef> = vec![Arc::new(lines), Arc::new(cells)];
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("line", Arc::clone(&columns[0]), true),
            ("cell", Arc::clone(&columns[1]), true),
        ]);
        let rows = rows.unwrap();
        let keys = Keys::new(&rows.schema(), &[0, 1]).unwrap();
        let encoded = keys.encode(&rows, &[0, 1]).unwrap();
        assert!(encoded[2] < encoded[1] && encoded[1] < encoded[0]);
        assert_eq!(keys.decode(encoded.iter()).unwrap(), columns);
    }

    #[test]
    fn the_same_key_in_another_text_type_is_the_same_key() {
        let schema = Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8View, true)]));
        let keys = Keys::new(&schema, &[0]).unwrap();
        let text = |column: ArrayRef| RecordBatch::try_from_iter([("line", column)]).unwrap();
        let plain = text(Arc::new(StringArray::from(vec!["a longer name than twelve bytes"])));
        let view = text(cast(plain.column(0), &DataType::Utf8View).unwrap());
        assert_eq!(keys.encode(&plain, &[0]).unwrap(), keys.encode(&view, &[0]).unwrap());
    }

    #[test]
    fn without_columns_all_rows_have_one_key() {
        let rows =
            RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
        let keys = Keys::new(&rows.schema(), &[]).unwrap();
        let encoded = keys.encode(&rows, &[]).unwrap();
        assert_eq!(encoded[0], encoded[1]);
        assert!(keys.decode(encoded.iter()).unwrap().is_empty());
    }
}
