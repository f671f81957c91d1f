//! Calls with `OVER` that DataFusion takes and that mean nothing: a number in `RANGE` over times, which it reads as
//! seconds, a distance between texts, the value of place 0, and a call where rows are not in windows yet.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFrameBound, WindowFrameUnits};
use datafusion::scalar::ScalarValue;

use crate::error::QueryError;
use crate::window_function::external;

/// Looks at all calls of a plan whose types are not yet made equal: until then bounds are texts.
///
/// # Errors
/// About the first such call.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Window(window) = node else {
            check_no_call(node)?;
            return Ok(TreeNodeRecursion::Continue);
        };
        for expr in &window.window_expr {
            expr.apply(|part| {
                if let Expr::WindowFunction(call) = part {
                    check_range(call, window.input.schema())?;
                    check_place(call)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Rows are filtered, joined and grouped before they are in windows.
fn check_no_call(node: &LogicalPlan) -> Result<()> {
    node.apply_expressions(|expr| {
        expr.apply(|part| match part {
            Expr::WindowFunction(call) => {
                let message =
                    format!("{:?} with OVER cannot stand in WHERE, ON or GROUP BY", call.fun.name());
                let help = "write its condition after QUALIFY, or give it a name in a view and use that";
                Err(external(QueryError::invalid(message, None).with_help(help)))
            }
            _ => Ok(TreeNodeRecursion::Continue),
        })
    })?;
    Ok(())
}

fn check_range(call: &WindowFunction, input: &DFSchema) -> Result<()> {
    let frame = &call.params.window_frame;
    let [first] = call.params.order_by.as_slice() else { return Ok(()) };
    let distance = [&frame.start_bound, &frame.end_bound].into_iter().find_map(distance);
    let Some(distance) = distance.filter(|_| frame.units == WindowFrameUnits::Range) else { return Ok(()) };
    let (order, is_number) = (first.expr.get_type(input)?, distance.parse::<f64>().is_ok());
    let message = match (order.is_temporal(), order.is_numeric() || order.is_null()) {
        (true, _) if is_number => {
            format!("RANGE over times needs an interval with its unit, found {distance}")
        }
        (_, true) if !is_number => format!("RANGE over numbers needs a number, found {distance:?}"),
        (false, false) => format!("RANGE of {distance} needs an order by times or numbers, found {order}"),
        _ => return Ok(()),
    };
    let help = "write ORDER BY ts RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW, or ROWS to count rows";
    Err(external(QueryError::invalid(message, None).with_help(help)))
}

/// What is written of a bound that is so far away: `2`, or `2 SECOND`.
fn distance(bound: &WindowFrameBound) -> Option<&str> {
    let (WindowFrameBound::Preceding(value) | WindowFrameBound::Following(value)) = bound else {
        return None;
    };
    let ScalarValue::Utf8(Some(text)) = value else { return None };
    Some(text.trim())
}

fn check_place(call: &WindowFunction) -> Result<()> {
    let is_zero = |argument: &Expr| match argument {
        Expr::Literal(value, _) => value
            .cast_to(&datafusion::arrow::datatypes::DataType::Int64)
            .is_ok_and(|value| value == ScalarValue::Int64(Some(0))),
        _ => false,
    };
    if call.fun.name() == "nth_value" && call.params.args.get(1).is_some_and(is_zero) {
        let message = "NTH_VALUE needs a number other than 0, such as nth_value(x, 2)";
        return Err(external(QueryError::invalid(message, None)));
    }
    Ok(())
}
