//! `DISTINCT ON (keys)`: as `ROW_NUMBER() OVER (PARTITION BY keys ORDER BY ...) = 1`, which is known how to keep.

use datafusion::common::tree_node::Transformed;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, lit,
};

/// The plan without `DISTINCT ON`.
///
/// # Errors
/// If the rows cannot be numbered.
pub(crate) fn replaced(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Distinct(Distinct::On(distinct)) => Ok(Transformed::yes(first_of_each(distinct)?)),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(replaced.data)
}

fn first_of_each(distinct: DistinctOn) -> Result<LogicalPlan> {
    // Without an order any row will do; that of a group's rows is by all columns.
    let by_keys = || distinct.on_expr.iter().map(|key| key.clone().sort(true, false)).collect();
    let order = distinct.sort_expr.clone().unwrap_or_else(by_keys);
    let number = row_number().partition_by(distinct.on_expr).order_by(order).build()?;
    let numbered = LogicalPlanBuilder::from(distinct.input.as_ref().clone()).window(vec![number])?;
    let place = numbered.schema().columns().pop();
    let place = place.ok_or_else(|| DataFusionError::Internal("rows without their number".into()))?;
    numbered.filter(Expr::Column(place).eq(lit(1_u64)))?.project(distinct.select_expr)?.build()
}
