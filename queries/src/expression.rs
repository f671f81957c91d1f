//! DataFusion's physical expressions and aggregates as those of the engine.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, new_empty_array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, exec_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{AggregateUDF, EmitTo, Expr, ExprSchemable, GroupsAccumulator, lit};
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::GroupsAccumulatorAdapter;
use lineshaft_engine::expression::{
    Accumulator, Aggregate, Expression, Moment, RunningAccumulator, SlidingAccumulator,
};
use lineshaft_engine::{Error, Result};

mod constants;
mod running;
mod sliding;

use crate::error::{QueryError, in_sql_but_quoted, strip_prefix};
use crate::functions::Call;
use crate::now::{has_now, not_here};
use crate::sorted::Sorted;
use crate::window_function::external;

/// The expression of the engine for a logical one over rows with the columns of `schema`.
///
/// # Errors
/// If DataFusion has no physical form for it, such as for a subquery.
pub fn expression(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn Expression>, DataFusionError> {
    let is_subquery =
        |part: &Expr| Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_)));
    if expr.exists(is_subquery)? {
        let error = QueryError::not_supported("a subquery in an expression", None);
        return Err(external(error.with_help("join with a table instead")));
    }
    if has_now(expr) {
        return Err(external(not_here()));
    }
    let context = PhysicalPlanningContext::default();
    let physical = create_physical_expr(expr, schema, &ExecutionProps::new(), &context)?;
    wrap(physical, schema.as_arrow())
}

/// Types made equal, as the analyser does in a query.
pub(crate) fn coerced(expr: Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    use datafusion::optimizer::analyzer::type_coercion::TypeCoercionRewriter;
    Ok(expr.rewrite(&mut TypeCoercionRewriter::new(schema))?.data)
}

/// What is compared by its bits: of floats, 0.0 and -0.0 become one.
pub(crate) fn as_key(expr: &Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    Ok(match expr.get_type(schema)? {
        DataType::Float32 => expr.clone() + lit(0.0_f32),
        DataType::Float64 => expr.clone() + lit(0.0_f64),
        _ => expr.clone(),
    })
}

/// The functions of `DISTINCT` values compare their bits.
fn with_keys(call: &Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    let mut call = call.clone();
    if let Expr::AggregateFunction(AggregateFunction { params, .. }) = &mut call
        && params.distinct
    {
        let order = params.order_by.iter_mut().map(|order| &mut order.expr);
        for expr in params.args.iter_mut().chain(order) {
            *expr = as_key(expr, schema)?;
        }
    }
    Ok(call)
}

fn wrap(
    physical: Arc<dyn PhysicalExpr>,
    schema: &arrow::datatypes::Schema,
) -> Result<Arc<dyn Expression>, DataFusionError> {
    constants::check(&physical, schema)?;
    let physical = crate::integers::checked(physical, schema)?;
    let data_type = physical.data_type(schema)?;
    Ok(Arc::new(Computed { physical, data_type }))
}

/// The aggregate of the engine for a logical one over rows with the columns of `schema`; `shared` are the arguments of
/// the aggregates beside it.
///
/// # Errors
/// If DataFusion has no physical form for it.
pub fn aggregate(
    expr: &Expr,
    schema: &DFSchema,
    shared: &mut Arguments,
) -> Result<Arc<dyn Aggregate>, DataFusionError> {
    if has_now(expr) {
        return Err(external(not_here()));
    }
    let (context, properties) = (PhysicalPlanningContext::default(), ExecutionProps::new());
    let expr = with_keys(expr, schema)?;
    let lowered =
        LoweredAggregateBuilder::new(&expr, schema, schema.as_arrow(), &properties, &context).build()?;
    let is_sorted = lowered.aggregate.order_sensitivity().hard_requires()
        && !lowered.order_bys.is_empty()
        && !sorts_itself(lowered.aggregate.fun());
    let order: Vec<SortOptions> = lowered.order_bys.iter().map(|order| order.options).collect();
    // Its constants are looked at when it is made: what is wrong with them is told now.
    lowered.aggregate.create_accumulator()?;
    let mut arguments = lowered.aggregate.expressions();
    arguments.extend(lowered.order_bys.iter().map(|order| Arc::clone(&order.expr)));
    let arguments: Vec<_> =
        arguments.into_iter().map(|argument| shared.get(argument, schema)).collect::<Result<_, _>>()?;
    let filter = lowered.filter.map(|filter| wrap(filter, schema.as_arrow())).transpose()?;
    let mut state: Vec<Field> =
        lowered.aggregate.state_fields()?.iter().map(|field| field.as_ref().clone()).collect();
    let order = is_sorted.then_some(order);
    if order.is_some() {
        state = vec![Sorted::state_field(&arguments)];
    }
    let result = lowered.aggregate.field().as_ref().clone();
    let moment = if filter.is_none() { moment(&lowered.aggregate, &arguments) } else { None };
    let feature = Call::in_aggregate(&lowered.aggregate);
    let of_rows = feature.as_ref().map_or_else(|| arguments.clone(), |feature| feature.of_rows(&arguments));
    let function = lowered.aggregate;
    Ok(Arc::new(Lowered { function, arguments, of_rows, filter, order, state, result, moment, feature }))
}

/// True for `bit_xor(DISTINCT x)`, which takes every value where it is computed for many groups or frames at once.
fn forgets_distinct(function: &AggregateFunctionExpr) -> bool {
    function.is_distinct() && function.fun().name() == "bit_xor"
}

/// True for a function that takes `ORDER BY` and rows in any order, though it does not say so: `WITHIN GROUP` only names
/// the values, and `string_agg` keeps them in an `array_agg`, which sorts.
fn sorts_itself(function: &AggregateUDF) -> bool {
    function.supports_within_group_clause() || function.name() == "string_agg"
}

/// The arguments of the aggregates of one query: equal ones are one object, which is computed once.
#[derive(Debug, Default)]
pub struct Arguments(HashMap<String, Arc<dyn Expression>>);

impl Arguments {
    fn get(
        &mut self,
        argument: Arc<dyn PhysicalExpr>,
        schema: &DFSchema,
    ) -> Result<Arc<dyn Expression>, DataFusionError> {
        // The short form of a literal does not tell 1 from 1.0; this one does.
        let form = format!("{argument:?}");
        if let Some(known) = self.0.get(&form) {
            return Ok(Arc::clone(known));
        }
        let argument = wrap(argument, schema.as_arrow())?;
        self.0.insert(form, Arc::clone(&argument));
        Ok(argument)
    }
}

/// What DataFusion said while a column was computed, in words for a user.
pub(crate) fn failed(error: &DataFusionError) -> Error {
    Error::operator("expression", error.strip_backtrace())
}

/// Values of which NaN is one. A processor gives 0.0 / 0.0 a sign, and such a NaN would be the least number to `ORDER BY` and
/// another value to `GROUP BY`.
fn with_one_nan(values: ArrayRef) -> ArrayRef {
    if let Some(numbers) = values.as_primitive_opt::<Float64Type>() {
        let is_other = |number: &f64| number.is_nan() && number.to_bits() != f64::NAN.to_bits();
        // Without an early end it is one pass of a few values at once.
        if numbers.values().iter().fold(false, |found, number| found | is_other(number)) {
            let one = |number: f64| if number.is_nan() { f64::NAN } else { number };
            return Arc::new(numbers.unary::<_, Float64Type>(one));
        }
    }
    values
}

struct Computed {
    physical: Arc<dyn PhysicalExpr>,
    data_type: DataType,
}

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.physical)
    }
}

impl Expression for Computed {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let failed = |error: DataFusionError| {
            let cause = strip_prefix(&error.strip_backtrace());
            let expression = in_sql_but_quoted(&fmt_sql(self.physical.as_ref()).to_string());
            Error::Row { expression, reason: in_sql_but_quoted(&cause) }
        };
        // A function that panics has no value for a row, as one that fails: the others go on. Nothing of it is kept.
        let evaluated = catch_unwind(AssertUnwindSafe(|| self.physical.evaluate(rows)));
        let value = evaluated.unwrap_or_else(|_| exec_err!("the function has panicked")).map_err(failed)?;
        let values = value.into_array(rows.num_rows()).map_err(failed)?;
        Ok(if self.column().is_some() { values } else { with_one_nan(values) })
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn column(&self) -> Option<usize> {
        self.physical.downcast_ref::<Column>().map(Column::index)
    }
}

#[derive(Debug)]
struct Lowered {
    function: Arc<AggregateFunctionExpr>,
    arguments: Vec<Arc<dyn Expression>>,
    /// Those that accumulators read.
    of_rows: Vec<Arc<dyn Expression>>,
    filter: Option<Arc<dyn Expression>>,
    /// The function wants its rows in this order of its last arguments, and does not sort them.
    order: Option<Vec<SortOptions>>,
    state: Vec<Field>,
    result: Field,
    moment: Option<Moment>,
    /// The call of a feature that it is.
    feature: Option<Call>,
}

impl Aggregate for Lowered {
    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        if let Some(order) = &self.order {
            return Ok(Box::new(Sorted::new(Arc::clone(&self.function), order.clone(), &self.arguments)));
        }
        let counts_groups = self.function.groups_accumulator_supported() && !forgets_distinct(&self.function);
        let groups: Box<dyn GroupsAccumulator> = if counts_groups {
            self.function.create_groups_accumulator().map_err(|error| failed(&error))?
        } else {
            let function = Arc::clone(&self.function);
            Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator()))
        };
        let arguments = self.of_rows.iter().map(|argument| argument.data_type().clone()).collect();
        let state = self.state.iter().map(|field| field.data_type().clone()).collect();
        Ok(Box::new(Groups { groups, total: 0, arguments, result: self.result.data_type().clone(), state }))
    }

    fn running(&self) -> Result<Box<dyn RunningAccumulator>> {
        Ok(Box::new(running::Running::new(Arc::clone(&self.function))))
    }

    /// Of doubles, rounding errors would stay behind, and NaN would never leave.
    fn sliding(&self) -> Result<Option<Box<dyn SlidingAccumulator>>> {
        let types = self.arguments.iter().map(|argument| argument.data_type());
        let is_exact = types.chain([self.result.data_type()]).all(|of| !of.is_floating());
        let can_slide = is_exact && !forgets_distinct(&self.function);
        Ok(if can_slide { sliding::Sliding::of(&self.function) } else { None })
    }

    fn arguments(&self) -> &[Arc<dyn Expression>] {
        &self.arguments
    }

    fn arguments_of_rows(&self) -> &[Arc<dyn Expression>] {
        &self.of_rows
    }

    fn filter(&self) -> Option<&Arc<dyn Expression>> {
        self.filter.as_ref()
    }

    fn result(&self) -> &Field {
        &self.result
    }

    fn state(&self) -> &[Field] {
        &self.state
    }

    fn of_whole_groups(&self, arguments: &[ArrayRef], ends: &[usize]) -> Result<Option<ArrayRef>> {
        Ok(self.feature.as_ref().map(|feature| feature.of_whole_groups(arguments, ends)))
    }

    fn moment(&self) -> Option<Moment> {
        self.moment
    }
}

/// The moment that a function of one `DOUBLE` column is. The variances are ours, which leave NaN out.
fn moment(function: &AggregateFunctionExpr, arguments: &[Arc<dyn Expression>]) -> Option<Moment> {
    let [argument] = arguments else { return None };
    if function.is_distinct() || !function.order_bys().is_empty() {
        return None;
    }
    let name = function.fun().name();
    let is_constant =
        function.expressions()[0].downcast_ref::<Literal>().is_some_and(|one| !one.value().is_null());
    if name == "count" && is_constant {
        return Some(Moment::Rows);
    }
    if *argument.data_type() != DataType::Float64 {
        return None;
    }
    match name {
        "count" => Some(Moment::Count),
        "sum" => Some(Moment::Sum),
        "avg" => Some(Moment::Mean),
        "min" => Some(Moment::Min),
        "max" => Some(Moment::Max),
        "variance" => Some(Moment::Variance { sample: true }),
        "variance_pop" => Some(Moment::Variance { sample: false }),
        "stddev" => Some(Moment::Deviation { sample: true }),
        "stddev_pop" => Some(Moment::Deviation { sample: false }),
        _ => None,
    }
}

/// An accumulator of DataFusion.
struct Groups {
    groups: Box<dyn GroupsAccumulator>,
    /// Groups so far. Of none DataFusion's adapter knows no types, neither of results nor of the state.
    total: usize,
    arguments: Vec<DataType>,
    result: DataType,
    state: Vec<DataType>,
}

impl Groups {
    /// Makes groups known, those of some rows or partial results and perhaps others. DataFusion takes it that every new one has a value
    /// among them, unless there is a NULL or a filter: a group without a value would have the result 0.
    fn know(&mut self, groups: &[usize], total: usize) -> Result<()> {
        if total <= self.total {
            return Ok(());
        }
        let with_rows = groups.iter().fold(self.total, |next, group| next + usize::from(*group == next));
        self.total = total;
        if with_rows >= total {
            return Ok(());
        }
        let nothing: Vec<ArrayRef> = self.arguments.iter().map(new_empty_array).collect();
        let no_row = BooleanArray::new_null(0);
        self.groups.update_batch(&nothing, &[], Some(&no_row), total).map_err(|error| failed(&error))
    }
}

impl Accumulator for Groups {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.know(groups, total)?;
        self.groups.update_batch(arguments, groups, filter, total).map_err(|error| failed(&error))
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.know(groups, total)?;
        self.groups.merge_batch(state, groups, total).map_err(|error| failed(&error))
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        if std::mem::take(&mut self.total) == 0 {
            return Ok(new_empty_array(&self.result));
        }
        self.groups.evaluate(EmitTo::All).map_err(|error| failed(&error))
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        if std::mem::take(&mut self.total) == 0 {
            return Ok(self.state.iter().map(new_empty_array).collect());
        }
        self.groups.state(EmitTo::All).map_err(|error| failed(&error))
    }

    fn size(&self) -> usize {
        self.groups.size()
    }
}

#[cfg(test)]
mod tests;
