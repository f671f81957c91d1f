//! DataFusion's accumulators that can take rows back: aggregates over frames that move.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, new_empty_array};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use lineshaft_engine::Result;
use lineshaft_engine::expression::SlidingAccumulator;

use super::failed;
use super::running::slices;

/// The function, and the results so far.
pub(super) struct Sliding {
    function: Arc<AggregateFunctionExpr>,
    results: Vec<ScalarValue>,
}

impl Sliding {
    /// `None` if DataFusion cannot take rows back.
    pub(super) fn of(function: &Arc<AggregateFunctionExpr>) -> Option<Box<dyn SlidingAccumulator>> {
        let accumulator = function.create_sliding_accumulator().ok()?;
        let sliding = || Self { function: Arc::clone(function), results: Vec::new() };
        accumulator.supports_retract_batch().then(|| Box::new(sliding()) as Box<dyn SlidingAccumulator>)
    }
}

impl SlidingAccumulator for Sliding {
    fn slide(
        &mut self,
        arguments: &[ArrayRef],
        filter: Option<&BooleanArray>,
        frames: &[Range<usize>],
    ) -> Result<()> {
        let mut accumulator = self.function.create_sliding_accumulator().map_err(|error| failed(&error))?;
        let mut last = frames.first().map_or(0..0, |frame| frame.start..frame.start);
        for frame in frames {
            if frame.end > last.end {
                let rows = slices(arguments, filter, last.end, frame.end - last.end)?;
                accumulator.update_batch(&rows).map_err(|error| failed(&error))?;
            }
            if frame.start > last.start {
                let rows = slices(arguments, filter, last.start, frame.start - last.start)?;
                accumulator.retract_batch(&rows).map_err(|error| failed(&error))?;
            }
            let result = match frame.is_empty() {
                true => self.function.default_value(self.function.field().data_type()),
                false => accumulator.evaluate(),
            };
            self.results.push(result.map_err(|error| failed(&error))?);
            last = frame.clone();
        }
        Ok(())
    }

    fn results(&mut self) -> Result<ArrayRef> {
        if self.results.is_empty() {
            return Ok(new_empty_array(self.function.field().data_type()));
        }
        ScalarValue::iter_to_array(self.results.drain(..)).map_err(|error| failed(&error))
    }
}
