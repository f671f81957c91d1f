//! The columns of an equality, of both sides, as slots.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use lineshaft_engine::{Error, Result};

use crate::keys::{ABSENT, KeyInterner};

/// Fewer slots than this are not worth taking back.
const FEW_SLOTS: usize = 1024;

/// Gives the keys of both sides of a join their slots.
pub(super) struct JoinKeys {
    interner: KeyInterner,
    reclaim_at: usize,
}

impl JoinKeys {
    /// `left` and `right` are the columns that are compared, one by one.
    pub(super) fn new(left: (&SchemaRef, &[usize]), right: (&SchemaRef, &[usize])) -> Result<Self> {
        let types = |(schema, key): (&SchemaRef, &[usize])| -> Vec<DataType> {
            key.iter().map(|column| plain(schema.field(*column).data_type())).collect()
        };
        let (left, right) = (types(left), types(right));
        if left != right {
            let message = format!("a join compares columns of {left:?} with columns of {right:?}");
            return Err(Error::Plan(message));
        }
        Ok(Self { interner: KeyInterner::new(&left)?, reclaim_at: FEW_SLOTS })
    }

    /// The slot of each row; [`ABSENT`] for a key with a NULL in it, which is the same as no other.
    pub(super) fn slots(&mut self, rows: &RecordBatch, key: &[usize]) -> Result<Vec<u32>> {
        let columns: Vec<_> = key.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let mut slots = Vec::new();
        self.interner.intern(&columns, rows.num_rows(), &mut slots)?;
        for nulls in columns.iter().filter_map(|column| column.logical_nulls()) {
            let rows = slots.iter_mut().zip(nulls.iter());
            rows.filter(|(_, valid)| !valid).for_each(|(slot, _)| *slot = ABSENT);
        }
        Ok(slots)
    }

    /// Takes back the slots that are not `live`, once they may be half of all; tells the new slot of each.
    pub(super) fn reclaim(&mut self, live: impl Fn(u32) -> bool) -> Result<Option<Vec<Option<u32>>>> {
        if self.interner.len() < self.reclaim_at {
            return Ok(None);
        }
        let moved = self.interner.retain(live)?;
        self.reclaim_at = FEW_SLOTS.max(self.interner.len() * 2);
        Ok(Some(moved))
    }
}

/// The type of the values: a dictionary is compared by them.
pub(super) fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        other => other.clone(),
    }
}
