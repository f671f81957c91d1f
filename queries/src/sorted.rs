//! An aggregate of DataFusion that wants its rows sorted, such as `nth_value(x, 2 ORDER BY ts)`: they are kept and sorted
//! when the result is asked for.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use lineshaft_engine::Result;
use lineshaft_engine::expression::{Accumulator, Expression};

use crate::expression::failed;
use crate::row_lists::RowLists;

/// The rows of all groups.
pub(crate) struct Sorted {
    function: Arc<AggregateFunctionExpr>,
    /// Of the last arguments.
    order: Vec<SortOptions>,
    rows: RowLists,
}

impl Sorted {
    pub(crate) fn new(
        function: Arc<AggregateFunctionExpr>,
        order: Vec<SortOptions>,
        arguments: &[Arc<dyn Expression>],
    ) -> Self {
        Self { function, order, rows: RowLists::new(types(arguments)) }
    }

    /// The column of the partial result: a list of rows.
    pub(crate) fn state_field(arguments: &[Arc<dyn Expression>]) -> Field {
        RowLists::field("rows", &types(arguments))
    }
}

fn types(arguments: &[Arc<dyn Expression>]) -> Vec<DataType> {
    arguments.iter().map(|argument| argument.data_type().clone()).collect()
}

impl Accumulator for Sorted {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.rows.add(arguments, groups, filter, total)
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.rows.add_lists(&state[0], groups, total);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        let (columns, offsets) = self.rows.take(&self.order)?;
        let mut results = Vec::with_capacity(offsets.len() - 1);
        let mut start = 0;
        for rows in offsets.lengths() {
            let of_group: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, rows)).collect();
            let mut accumulator = self.function.create_accumulator().map_err(|error| failed(&error))?;
            accumulator.update_batch(&of_group).map_err(|error| failed(&error))?;
            results.push(accumulator.evaluate().map_err(|error| failed(&error))?);
            start += rows;
        }
        if results.is_empty() {
            return Ok(arrow::array::new_empty_array(self.function.field().data_type()));
        }
        ScalarValue::iter_to_array(results).map_err(|error| failed(&error))
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.rows.lists()?])
    }

    fn size(&self) -> usize {
        self.rows.size()
    }
}
