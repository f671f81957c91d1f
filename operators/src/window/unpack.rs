//! Gives the rows of windows one by one again, with the bounds of their window: `SESSION`, `COUNT_WINDOW` and `STATE_WINDOW`
//! without a `GROUP BY`. The window operator before it has collected them in lists.
//!
//! - Rows: append-only in and out. Input: any columns, `window_start`, `window_end`, a list of rows. Output: the columns of
//!   the rows, `window_start`, `window_end`. State: none.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output};
use lineshaft_engine::{Error, Result};

/// Lists of rows, unpacked.
#[derive(Debug)]
pub struct UnpackRows {
    schema: SchemaRef,
}

impl UnpackRows {
    /// The operator; `schema` has the columns of the rows, `window_start`, `window_end`.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl Operator for UnpackRows {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        let windows = batch.into_rows();
        let wrong = || Error::operator("window", "its last columns are not a window and a list of rows");
        let [.., start, end, lists] = windows.columns() else { return Err(wrong()) };
        let lists = lists.as_list_opt::<i64>().ok_or_else(wrong)?;
        let numbers = (0_u32..).zip(lists.offsets().lengths());
        let numbers: UInt32Array =
            numbers.flat_map(|(window, rows)| std::iter::repeat_n(Some(window), rows)).collect();
        let of = |offset: i64| usize::try_from(offset).unwrap_or_default();
        let (first, last) = (of(lists.offsets()[0]), of(lists.offsets()[lists.len()]));
        let rows = lists.values().slice(first, last - first);
        if !matches!(rows.data_type(), DataType::Struct(_)) {
            return Err(wrong());
        }
        let mut columns: Vec<ArrayRef> = rows.as_struct().columns().iter().map(Arc::clone).collect();
        for bound in [start, end] {
            columns.push(take(bound, &numbers, None)?);
        }
        output.send(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{LargeListArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Schema};
    use lineshaft_engine::testing::{Step, lines, run, table};

    use super::*;

    #[test]
    fn each_row_gets_the_bounds_of_its_window() {
        let rows = table("machine:s x:i \n a 1 \n a 2 \n b 3");
        let windows = table("start:i end:i \n 10 20 \n 30 40 \n 50 60");
        let lists = StructArray::from(rows.clone());
        let field = Arc::new(Field::new_list_field(lists.data_type().clone(), true));
        let lists = LargeListArray::new(field, OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(lists), None);
        let mut columns = windows.columns().to_vec();
        columns.push(Arc::new(lists));
        let mut fields = windows.schema().fields().to_vec();
        fields.push(Arc::new(Field::new("rows", columns[2].data_type().clone(), true)));
        let input = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let output = [rows.schema().fields().to_vec(), windows.schema().fields().to_vec()].concat();
        let mut unpack = UnpackRows::new(Arc::new(Schema::new(output)));
        let steps = vec![Step::Rows(0, input.slice(1, 2)), Step::Rows(0, input.slice(0, 1))];
        assert_eq!(lines(&run(&mut unpack, 1, steps).unwrap()), ["b 3 50 60", "a 1 10 20", "a 2 10 20"]);
    }
}
