//! A row for each item of a list: `UNNEST`.
//!
//! Of several lists of a row, the items of one place stand beside each other; where one is shorter, NULL takes its place.
//!
//! - Rows: any, also of a changelog, which keep their weights, in the order of the input. State: none.
//! - A row whose lists are all NULL or empty gives none, unless [`UnnestOptions::keeps_empty`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output};
use lineshaft_engine::{Error, Result};

/// Arguments of `UNNEST`.
#[derive(Clone, Debug)]
pub struct UnnestOptions {
    /// For each column of the output that of the input, and whether its items are meant.
    pub columns: Vec<(usize, bool)>,
    /// A row without items comes out once, with NULL.
    pub keeps_empty: bool,
    /// The columns of the output.
    pub schema: SchemaRef,
}

/// `UNNEST`.
#[derive(Debug)]
pub struct Unnest {
    options: UnnestOptions,
}

impl Unnest {
    /// The operator.
    pub fn new(options: UnnestOptions) -> Self {
        Self { options }
    }

    fn list<'a>(&self, rows: &'a RecordBatch, column: usize) -> Result<&'a ListArray> {
        let list = rows.column(column).as_list_opt::<i32>();
        list.ok_or_else(|| Error::operator("UNNEST", format!("column {column} is no list")))
    }

    /// How many rows come out for each row.
    fn lengths(&self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let mut lengths = vec![u32::from(self.options.keeps_empty); rows.num_rows()];
        for (column, _) in self.options.columns.iter().filter(|(_, is_list)| *is_list) {
            let list = self.list(rows, *column)?;
            for (row, most) in lengths.iter_mut().enumerate() {
                *most = length(list, row).max(*most);
            }
        }
        Ok(lengths)
    }

    /// The items of a list, as long as the longest of each row.
    fn items(list: &ListArray, lengths: &[u32]) -> Result<ArrayRef> {
        let places = lengths.iter().enumerate().flat_map(|(row, most)| {
            let first = u32::try_from(list.value_offsets()[row]).unwrap_or_default();
            let own = length(list, row);
            (0..*most).map(move |item| (item < own).then_some(first + item))
        });
        Ok(take(list.values(), &places.collect::<UInt32Array>(), None)?)
    }
}

fn length(list: &ListArray, row: usize) -> u32 {
    if list.is_null(row) { 0 } else { u32::try_from(list.value_length(row)).unwrap_or_default() }
}

impl Operator for Unnest {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        let lengths = self.lengths(batch.rows())?;
        let rows = (0_u32..).zip(&lengths).flat_map(|(row, items)| (0..*items).map(move |_| row));
        let rows: UInt32Array = rows.map(Some).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let column = |(column, is_list): &(usize, bool)| match is_list {
            true => Self::items(self.list(batch.rows(), *column)?, &lengths),
            false => Ok(take(batch.rows().column(*column), &rows, None)?),
        };
        let columns = self.options.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        let count = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let schema = Arc::clone(&self.options.schema);
        let unnested = RecordBatch::try_new_with_options(schema, columns, &count)?;
        match batch.weights() {
            Some(weights) => {
                let weights = take(weights, &rows, None)?.as_primitive().clone();
                output.send(Batch::with_weights(unnested, weights));
            }
            None => output.send(unnested),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use lineshaft_engine::testing::{Step, lines, run};

    use super::*;

    fn unnested(lists: [Vec<Option<Vec<Option<i64>>>>; 2], keeps_empty: bool) -> Vec<String> {
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(["a", "b", "c"]));
        let lists =
            lists.map(|list| Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(list)) as ArrayRef);
        let item = DataType::new_list(DataType::Int64, true);
        let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
        let input = Schema::new(vec![field("k", DataType::Utf8), field("v", item.clone()), field("w", item)]);
        let columns = vec![names, Arc::clone(&lists[0]), Arc::clone(&lists[1])];
        let rows = RecordBatch::try_new(Arc::new(input), columns).unwrap();
        let output = ["v", "w"].map(|name| field(name, DataType::Int64));
        let schema = Schema::new([vec![field("k", DataType::Utf8)], output.to_vec()].concat());
        let columns = vec![(0, false), (1, true), (2, true)];
        let mut unnest = Unnest::new(UnnestOptions { columns, keeps_empty, schema: Arc::new(schema) });
        lines(&run(&mut unnest, 1, vec![Step::Rows(0, rows)]).unwrap())
    }

    #[test]
    fn items_of_one_place_stand_beside_each_other() {
        let lists = || {
            let short = vec![Some(vec![Some(1), Some(2)]), None, Some(vec![])];
            [short, vec![Some(vec![Some(7)]), None, Some(vec![None])]]
        };
        assert_eq!(unnested(lists(), false), ["a 1 7", "a 2 -", "c - -"]);
        assert_eq!(unnested(lists(), true), ["a 1 7", "a 2 -", "b - -", "c - -"]);
    }

    #[test]
    fn weights_are_those_of_the_row() {
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some([Some(1), Some(2)]),
            Some([Some(3), None]),
        ]);
        let field = Field::new("v", DataType::new_list(DataType::Int64, true), true);
        let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(list)]).unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]));
        let mut unnest = Unnest::new(UnnestOptions { columns: vec![(0, true)], keeps_empty: false, schema });
        let mut output = Output::new(1);
        unnest.on_batch(0, Batch::with_weights(rows, Int64Array::from(vec![1, -1])), &mut output).unwrap();
        assert_eq!(output.take(0)[0].weights().unwrap().values(), &[1, 1, -1, -1]);
    }
}
