//! `sum` of `BIGINT`: added up as decimals, so that it is right whatever comes between; the result is a `BIGINT`, and has no
//! value where it is out of its range. DataFusion would begin anew at the other end.
//!
//! `avg` of a `DECIMAL` has four more digits, of which 38 are all there are: a value with more than 34 goes aside, rather than that
//! the mean of its group cannot be told.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Window, WindowFunctionDefinition, cast,
};
use datafusion::scalar::ScalarValue;

/// The type that whole numbers are added up in. Its sum has all 38 digits of a decimal, and so has a sum of such sums.
const TERM: DataType = DataType::Decimal128(28, 0);

/// The digits of a decimal whose mean can be told.
const OF_MEAN: u8 = 34;

/// The plan with such sums.
///
/// # Errors
/// If a part of it cannot be put together.
pub(crate) fn in_range(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, .. }) => {
            let Some(calls) = wide(aggr_expr, input.schema()) else { return Ok(Transformed::no(node)) };
            let rows = Aggregate::try_new(Arc::clone(input), group_expr.clone(), calls)?;
            Ok(Transformed::yes(narrow(LogicalPlan::Aggregate(rows), node.schema())?))
        }
        LogicalPlan::Window(Window { input, window_expr, .. }) => {
            let Some(calls) = wide(window_expr, input.schema()) else { return Ok(Transformed::no(node)) };
            let rows = Window::try_new(calls, Arc::clone(input))?;
            Ok(Transformed::yes(narrow(LogicalPlan::Window(rows), node.schema())?))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(plan.data)
}

/// The calls with other arguments; `None` if all stay as they are.
fn wide(calls: &[Expr], schema: &DFSchema) -> Option<Vec<Expr>> {
    let mut is_one = false;
    let wide = calls.iter().map(|call| {
        let wide = widened(call, schema);
        is_one |= wide.is_some();
        wide.unwrap_or_else(|| call.clone())
    });
    let wide = wide.collect();
    is_one.then_some(wide)
}

fn widened(call: &Expr, schema: &DFSchema) -> Option<Expr> {
    let mut call = call.clone().unalias();
    let (function, arguments) = match &mut call {
        Expr::AggregateFunction(AggregateFunction { func, params }) => (func.name(), &mut params.args),
        Expr::WindowFunction(function) => match function.as_mut() {
            WindowFunction { fun: WindowFunctionDefinition::AggregateUDF(func), params } => {
                (func.name(), &mut params.args)
            }
            _ => return None,
        },
        _ => return None,
    };
    let [argument] = arguments.as_mut_slice() else { return None };
    // What has no type is told when types are made equal.
    let wide = match (function, argument.get_type(schema).ok()?) {
        ("sum", DataType::Int64) if !is_small(argument, schema) => TERM,
        ("avg", DataType::Decimal128(digits, scale))
            if digits > OF_MEAN && scale <= OF_MEAN.cast_signed() =>
        {
            DataType::Decimal128(OF_MEAN, scale)
        }
        _ => return None,
    };
    *argument = cast(argument.clone(), wide);
    Some(call)
}

/// True if four thousand million rows could not bring a sum of these out of range.
fn is_small(expr: &Expr, schema: &DFSchema) -> bool {
    let is_narrow = |expr: &Expr| {
        matches!(
            expr.get_type(schema),
            Ok(DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16)
        )
    };
    match expr {
        Expr::Alias(alias) => is_small(&alias.expr, schema),
        Expr::Literal(ScalarValue::Int64(value), _) => value.is_none_or(|value| i32::try_from(value).is_ok()),
        Expr::Cast(inner) => is_narrow(&inner.expr) || is_small(&inner.expr, schema),
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, result)| result).chain(&case.else_expr);
            results.into_iter().all(|result| is_small(result, schema))
        }
        other => is_narrow(other),
    }
}

/// The rows of `plan` with the columns of `schema`: what has become a decimal is a `BIGINT` again.
fn narrow(plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    let types: Vec<DataType> = plan.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let columns = plan.schema().columns().into_iter().zip(types).zip(schema.iter());
    let columns = columns.map(|((column, data_type), (relation, field))| {
        // DataFusion gives a call the same name with a cast and without.
        let is_same = data_type == *field.data_type();
        match is_same {
            true => Expr::Column(column),
            false => cast(Expr::Column(column), field.data_type().clone())
                .alias_qualified(relation.cloned(), field.name()),
        }
    });
    // It is there for DataFusion alone, and goes when `grouping()` gets its value.
    let is_own = |column: &Expr| column.schema_name().to_string() != Aggregate::INTERNAL_GROUPING_ID;
    let columns: Vec<Expr> = columns.filter(is_own).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
