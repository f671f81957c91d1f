//! A key column of a type without a shorter way: through Arrow's row format.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use lineshaft_engine::Result;
use lineshaft_engine::hash::as_key;

use super::store::ByteKeys;

#[derive(Debug)]
pub(super) struct RowKeys {
    converter: RowConverter,
    keys: ByteKeys,
}

impl RowKeys {
    pub(super) fn new(types: &[DataType]) -> Result<Self> {
        let fields = types.iter().cloned().map(SortField::new).collect();
        Ok(Self { converter: RowConverter::new(fields)?, keys: ByteKeys::default() })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn intern(&mut self, columns: &[ArrayRef], slots: &mut Vec<u32>) -> Result<()> {
        let rows = self.rows(columns)?;
        slots.reserve(rows.num_rows());
        for row in &rows {
            slots.push(self.keys.intern(row.as_ref())?);
        }
        Ok(())
    }

    pub(super) fn find(&self, columns: &[ArrayRef], slots: &mut Vec<u32>) -> Result<()> {
        let rows = self.rows(columns)?;
        slots.extend(rows.iter().map(|row| self.keys.find(row.as_ref())));
        Ok(())
    }

    fn rows(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let columns: Vec<ArrayRef> = columns.iter().map(as_key).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    pub(super) fn columns(&self, slots: &[u32], types: &[DataType]) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        let rows = slots.iter().map(|slot| parser.parse(self.keys.get(*slot)));
        let columns = self.converter.convert_rows(rows)?;
        // Rows come back without dictionaries.
        let typed = columns.iter().zip(types).map(|(column, data_type)| {
            if column.data_type() == data_type {
                Ok(Arc::clone(column))
            } else {
                Ok(cast(column, data_type)?)
            }
        });
        typed.collect()
    }

    pub(super) fn retain(&mut self, live: impl Fn(u32) -> bool) -> Result<Vec<Option<u32>>> {
        let (kept, slots) = self.keys.retain(live, None)?;
        self.keys = kept;
        Ok(slots)
    }
}
