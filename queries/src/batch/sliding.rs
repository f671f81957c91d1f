//! Lets DataFusion compute any aggregate over frames that have a start.
//!
//! It takes rows that leave the frame out of the accumulator, which most aggregates cannot do; and from a sum of doubles
//! a large value, an infinity or NaN never leaves again. Here such a function is computed anew from the rows of the
//! frame.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, ReversedUDAF, Signature,
    WindowFunctionDefinition,
};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};

/// The plan with aggregates over frames that have a start made computable.
pub(super) fn with_sliding(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(_) => node.map_expressions(|expr| expr.transform_up(sliding)),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(replaced.data)
}

/// A window function over frames that may have a start, made computable.
pub(crate) fn with_frames(expr: Expr) -> Result<Expr> {
    Ok(expr.transform_up(sliding)?.data)
}

fn sliding(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::WindowFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
    let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else {
        return Ok(Transformed::no(Expr::WindowFunction(call)));
    };
    // Where another function of the query wants the opposite order, DataFusion turns a function that can be turned and its frame
    // round: then the frame has a start. Ours it cannot turn.
    let may_turn = !matches!(function.reverse_udf(), ReversedUDAF::NotSupported);
    if call.params.window_frame.is_ever_expanding() && !may_turn {
        return Ok(Transformed::no(Expr::WindowFunction(call)));
    }
    let function = AggregateUDF::from(Sliding(Arc::clone(function)));
    call.fun = WindowFunctionDefinition::AggregateUDF(Arc::new(function));
    Ok(Transformed::yes(Expr::WindowFunction(call)))
}

/// An aggregate that can take rows back.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sliding(Arc<AggregateUDF>);

impl AggregateUDFImpl for Sliding {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.0.schema_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.0.window_function_schema_name(params)
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.0.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.0.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.0.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.0.state_fields(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let function = AggregateExprBuilder::new(Arc::clone(&self.0), args.exprs.to_vec())
            .schema(Arc::new(args.schema.clone()))
            .alias(args.name)
            .with_distinct(args.is_distinct)
            .with_ignore_nulls(args.ignore_nulls)
            .build()?;
        Ok(Box::new(Anew { function, rows: Vec::new() }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.0.coerce_types(types)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.0.default_value(data_type)
    }
}

/// The rows of a frame.
#[derive(Debug)]
struct Anew {
    function: AggregateFunctionExpr,
    rows: Vec<ArrayRef>,
}

impl Accumulator for Anew {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if self.rows.is_empty() {
            self.rows = values.to_vec();
            return Ok(());
        }
        for (rows, values) in self.rows.iter_mut().zip(values) {
            *rows = concat(&[rows.as_ref(), values.as_ref()])?;
        }
        Ok(())
    }

    /// Rows leave in the order in which they came.
    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for (rows, values) in self.rows.iter_mut().zip(values) {
            *rows = rows.slice(values.len(), rows.len() - values.len());
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut accumulator = self.function.create_accumulator()?;
        if !self.rows.is_empty() {
            accumulator.update_batch(&self.rows)?;
        }
        accumulator.evaluate()
    }

    fn size(&self) -> usize {
        self.rows.iter().map(|rows| rows.get_array_memory_size()).sum()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut accumulator = self.function.create_accumulator()?;
        if !self.rows.is_empty() {
            accumulator.update_batch(&self.rows)?;
        }
        accumulator.state()
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        datafusion::common::internal_err!("the rows of a frame are never merged")
    }
}
