//! DataFusion's accumulators of one group, read after every few rows: aggregates over frames that only grow.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, new_empty_array};
use arrow::compute::filter;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use lineshaft_engine::expression::RunningAccumulator;
use lineshaft_engine::{Error, Result};

use super::failed;

/// An accumulator for each group.
pub(super) struct Running {
    function: Arc<AggregateFunctionExpr>,
    /// `None` for a group without rows.
    groups: Vec<Option<Box<dyn Accumulator>>>,
    results: Vec<ScalarValue>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.function)
    }
}

impl Running {
    pub(super) fn new(function: Arc<AggregateFunctionExpr>) -> Self {
        Self { function, groups: Vec::new(), results: Vec::new() }
    }

    fn grow(&mut self, groups: usize) {
        self.groups.resize_with(groups.max(self.groups.len()), || None);
    }

    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        self.function.create_accumulator().map_err(|error| failed(&error))
    }
}

impl RunningAccumulator for Running {
    fn advance(
        &mut self,
        group: usize,
        arguments: &[ArrayRef],
        keep: Option<&BooleanArray>,
        from: usize,
        ends: &[usize],
    ) -> Result<()> {
        self.grow(group + 1);
        let mut accumulator = self.groups[group].take();
        let mut at = from;
        for end in ends {
            if *end > at {
                let rows = slices(arguments, keep, at, end - at)?;
                let accumulator = match &mut accumulator {
                    Some(accumulator) => accumulator,
                    none => none.insert(self.accumulator()?),
                };
                accumulator.update_batch(&rows).map_err(|error| failed(&error))?;
                at = *end;
            }
            let result = match &mut accumulator {
                Some(accumulator) => accumulator.evaluate(),
                None => self.function.default_value(self.function.field().data_type()),
            };
            self.results.push(result.map_err(|error| failed(&error))?);
        }
        self.groups[group] = accumulator;
        Ok(())
    }

    fn results(&mut self) -> Result<ArrayRef> {
        if self.results.is_empty() {
            return Ok(new_empty_array(self.function.field().data_type()));
        }
        ScalarValue::iter_to_array(self.results.drain(..)).map_err(|error| failed(&error))
    }

    /// Taking the state of an accumulator may empty it: a new one takes its place.
    fn state(&mut self, groups: usize) -> Result<Vec<ArrayRef>> {
        self.grow(groups);
        let mut columns: Vec<Vec<ScalarValue>> = Vec::new();
        for group in 0..groups {
            let mut state = match self.groups[group].take() {
                Some(accumulator) => accumulator,
                None => self.accumulator()?,
            };
            let row = state.state().map_err(|error| failed(&error))?;
            let mut fresh = self.accumulator()?;
            fresh.merge_batch(&arrays(&row)?).map_err(|error| failed(&error))?;
            self.groups[group] = Some(fresh);
            columns.resize_with(row.len(), Vec::new);
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        }
        let column = |values| ScalarValue::iter_to_array(values).map_err(|error| failed(&error));
        columns.into_iter().map(column).collect()
    }

    fn restore(&mut self, state: &[ArrayRef]) -> Result<()> {
        for row in 0..state.first().map_or(0, |column| column.len()) {
            let columns: Vec<_> = state.iter().map(|column| column.slice(row, 1)).collect();
            let mut accumulator = self.accumulator()?;
            accumulator.merge_batch(&columns).map_err(|error| failed(&error))?;
            self.groups.push(Some(accumulator));
        }
        Ok(())
    }
}

fn arrays(row: &[ScalarValue]) -> Result<Vec<ArrayRef>> {
    row.iter().map(ScalarValue::to_array).collect::<Result<_, DataFusionError>>().map_err(|e| failed(&e))
}

/// The rows `start..start + len` of the arguments that `keep` lets through.
pub(super) fn slices(
    arguments: &[ArrayRef],
    keep: Option<&BooleanArray>,
    start: usize,
    len: usize,
) -> Result<Vec<ArrayRef>> {
    let keep = keep.map(|keep| keep.slice(start, len));
    let slice = |argument: &ArrayRef| match &keep {
        Some(keep) => filter(&argument.slice(start, len), keep).map_err(Error::from),
        None => Ok(argument.slice(start, len)),
    };
    arguments.iter().map(slice).collect()
}
