//! A function from row to row as a window function of DataFusion.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::planner::RawWindowExpr;
use datafusion::logical_expr::{
    LimitEffect, PartitionEvaluator, Signature, Volatility, WindowFrame, WindowFrameBound, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use lineshaft_operators::online::{Inputs, Online};

use super::aggregate::constant;
use super::online::{OnlineFunction, find};

/// `ewma(x, 5) OVER (ORDER BY ts)`.
#[derive(Debug)]
pub(super) struct OnlineWindow {
    function: &'static OnlineFunction,
    signature: Signature,
}

impl OnlineWindow {
    pub(super) fn new(function: &'static OnlineFunction) -> Self {
        Self { function, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl PartialEq for OnlineWindow {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for OnlineWindow {}

impl Hash for OnlineWindow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl WindowUDFImpl for OnlineWindow {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce(types)
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), self.function.result.clone(), true)))
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        let function = self.function;
        let constants = &args.input_exprs()[function.constants()];
        let value = |expression: &Arc<dyn PhysicalExpr>| match constant(expression.as_ref()) {
            Some(value) => Ok(value),
            None => plan_err!("{}: {expression} must be a constant", function.name),
        };
        let constants = constants.iter().map(value).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Evaluator { function, fresh: function.with(&constants)? }))
    }

    /// A row needs all rows before it, and none after it.
    fn limit_effect(&self, _args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::None
    }
}

#[derive(Debug)]
struct Evaluator {
    function: &'static OnlineFunction,
    fresh: Online,
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> =
            self.function.columns().map(|place| Arc::clone(&values[place])).collect();
        let inputs = Inputs::new(&columns, self.function.is_timed());
        let mut inputs = inputs.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let mut online = self.fresh.clone();
        let mut values = Vec::with_capacity(rows);
        inputs.extend(&mut online, 0..rows, &mut values);
        Ok(online.column(values))
    }
}

/// Checks a call with `OVER`, and adds what it leaves out: parameters that have a default, and the time.
pub(super) fn complete(mut call: RawWindowExpr) -> Result<RawWindowExpr> {
    let Some(function) = find(call.func_def.name()) else { return Ok(call) };
    let name = function.name;
    let Some(first) = call.order_by.first() else {
        return plan_err!("{name} goes from row to row and needs ORDER BY in OVER");
    };
    if call.distinct || call.filter.is_some() || call.null_treatment.is_some() {
        return plan_err!("{name} goes from row to row and takes no DISTINCT, FILTER or IGNORE NULLS");
    }
    if !is_from_the_first_row(&call.window_frame) {
        return plan_err!("{name} goes from row to row and takes no frame");
    }
    let time = first.expr.clone();
    super::form::add_missing(function.parameters, function.inputs.len(), &mut call.args);
    if function.is_timed() && call.args.len() == function.untimed() {
        call.args.push(time);
    }
    Ok(call)
}

/// The frame that `OVER (ORDER BY ...)` has where none is written.
fn is_from_the_first_row(frame: &WindowFrame) -> bool {
    frame.start_bound.is_unbounded() && matches!(frame.end_bound, WindowFrameBound::CurrentRow)
}
