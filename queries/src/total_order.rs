//! 0.0 and -0.0 are equal, so rows with them have one rank and are of one partition. Sorting tells them apart.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Window};

use crate::expression::as_key;

/// The plan whose window functions have one zero in `PARTITION BY` and `ORDER BY`.
///
/// # Errors
/// If the type of an expression is not known.
pub(crate) fn with_one_zero(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Window(window) = &node else { return Ok(Transformed::no(node)) };
        let schema = window.input.schema();
        let functions = window.window_expr.iter().map(|function| ordered(function, schema));
        let functions = functions.collect::<Result<Vec<_>>>()?;
        if functions == window.window_expr {
            return Ok(Transformed::no(node));
        }
        let window = Window::try_new(functions, Arc::clone(&window.input))?;
        Ok(Transformed::yes(LogicalPlan::Window(window)))
    })?;
    Ok(replaced.data)
}

/// The function under the name that it had.
fn ordered(function: &Expr, schema: &DFSchema) -> Result<Expr> {
    let name = function.schema_name().to_string();
    let Expr::WindowFunction(mut call) = function.clone().unalias() else { return Ok(function.clone()) };
    let mut is_changed = false;
    let parameters = &mut call.params;
    let orders = parameters.order_by.iter_mut().map(|sort| &mut sort.expr);
    for expr in parameters.partition_by.iter_mut().chain(orders) {
        let key = as_key(expr, schema)?;
        is_changed |= key != *expr;
        *expr = key;
    }
    Ok(if is_changed { Expr::WindowFunction(call).alias(name) } else { function.clone() })
}
