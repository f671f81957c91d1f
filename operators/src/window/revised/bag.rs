//! The rows of a pane that may be taken back: each with how often it is there. A window of them is computed anew.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::row::{OwnedRow, Row, RowConverter, SortField};
use lineshaft_engine::Result;

/// The rows of a pane, by their keys and arguments.
#[derive(Clone, Debug, Default)]
pub(super) struct Bag(BTreeMap<OwnedRow, i64>);

impl Bag {
    /// Adds a row, or takes it back.
    pub(super) fn add(&mut self, row: Row<'_>, weight: i64) {
        let count = self.0.entry(row.owned()).or_insert(0);
        *count += weight;
        if *count == 0 {
            self.0.remove(&row.owned());
        }
    }

    /// The rows with their counts, in an order that does not depend on how they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&OwnedRow, i64)> {
        self.0.iter().map(|(row, count)| (row, *count))
    }
}

/// Keys and arguments as rows.
#[derive(Debug, Default)]
pub(super) struct Encoder(Option<RowConverter>);

impl Encoder {
    /// The one for columns of these types.
    pub(super) fn of(&mut self, columns: &[ArrayRef]) -> Result<&RowConverter> {
        let converter = match self.0.take() {
            Some(converter) => converter,
            None => {
                let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
                RowConverter::new(fields.collect())?
            }
        };
        Ok(self.0.insert(converter))
    }

    /// The columns of rows that were encoded.
    pub(super) fn columns<'a>(&self, rows: impl Iterator<Item = &'a OwnedRow>) -> Result<Vec<ArrayRef>> {
        match &self.0 {
            Some(converter) => Ok(converter.convert_rows(rows.map(OwnedRow::row))?),
            None => Ok(Vec::new()),
        }
    }
}
