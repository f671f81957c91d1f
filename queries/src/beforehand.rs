//! What an argument of `OVER` may have no value for is computed before the rows are in windows: there such a row can go aside,
//! and the others go on.
//!
//! ```text
//! Window sum(10 / g) OVER (...)          Projection k, ts, "sum(10 / g) OVER (...)"
//!   rows                          ->       Window sum("before 0") OVER (...)
//!                                            Projection k, g, ts, 10 / g AS "before 0"
//!                                              rows
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Window, when};

use crate::can_fail::can_fail;

/// The plan with such arguments, conditions of `FILTER`, partitions and orders below their windows.
///
/// # Errors
/// If the types of an expression do not fit.
pub(crate) fn computed_before(plan: LogicalPlan) -> Result<LogicalPlan> {
    let moved = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(window) => move_down(window),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(moved.data)
}

fn move_down(window: Window) -> Result<Transformed<LogicalPlan>> {
    let input = window.input.schema();
    let mut before = Before { input, moved: Vec::new() };
    let calls = window.window_expr.iter().map(|expr| before.call(expr)).collect::<Result<Vec<_>>>()?;
    if before.moved.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let mut shown: Vec<Expr> = input.columns().into_iter().map(Expr::Column).collect();
    let (width, mut rows) = (shown.len(), shown.clone());
    rows.extend(before.moved.into_iter().zip(0..).map(|(expr, place)| expr.alias(name(place))));
    let rows = Projection::try_new(rows, Arc::clone(&window.input))?;
    let windows = Window::try_new(calls, Arc::new(LogicalPlan::Projection(rows)))?;
    let names = window.schema.iter().skip(width);
    let results = windows.schema.columns().into_iter().skip(windows.input.schema().fields().len());
    shown.extend(results.zip(names).map(|(result, (relation, field))| {
        Expr::Column(result).alias_qualified(relation.cloned(), field.name())
    }));
    let shown = Projection::try_new(shown, Arc::new(LogicalPlan::Window(windows)))?;
    Ok(Transformed::yes(LogicalPlan::Projection(shown)))
}

/// What is computed in a projection below the windows.
struct Before<'a> {
    input: &'a DFSchema,
    moved: Vec<Expr>,
}

/// The column of what was moved in that place; a blank, so that no other column is called so.
fn name(place: usize) -> String {
    format!("before {place}")
}

impl Before<'_> {
    fn call(&mut self, expr: &Expr) -> Result<Expr> {
        Ok(match expr {
            Expr::Alias(alias) => {
                let mut alias = alias.clone();
                alias.expr = Box::new(self.call(&alias.expr)?);
                Expr::Alias(alias)
            }
            Expr::WindowFunction(call) => Expr::WindowFunction(Box::new(self.function(call)?)),
            other => other.clone(),
        })
    }

    fn function(&mut self, call: &WindowFunction) -> Result<WindowFunction> {
        let mut call = call.clone();
        let parameters = &mut call.params;
        // What FILTER leaves out needs no value.
        let filter = parameters.filter.clone();
        for argument in &mut parameters.args {
            *argument = match &filter {
                Some(filter) if self.may_fail(argument) => {
                    let guarded = when(filter.as_ref().clone(), argument.clone()).end()?;
                    self.place(&guarded)
                }
                _ => self.placed(argument),
            };
        }
        if let Some(filter) = &mut parameters.filter {
            **filter = self.placed(filter);
        }
        for partition in &mut parameters.partition_by {
            *partition = self.placed(partition);
        }
        for Sort { expr, .. } in &mut parameters.order_by {
            *expr = self.placed(expr);
        }
        Ok(call)
    }

    /// Literals stay: some functions look at them when they are planned.
    fn may_fail(&self, expr: &Expr) -> bool {
        !expr.column_refs().is_empty() && can_fail(expr, self.input)
    }

    fn placed(&mut self, expr: &Expr) -> Expr {
        if self.may_fail(expr) { self.place(expr) } else { expr.clone() }
    }

    /// A column with the value of `expr`.
    fn place(&mut self, expr: &Expr) -> Expr {
        let known = self.moved.iter().position(|moved| moved == expr);
        let place = known.unwrap_or_else(|| {
            self.moved.push(expr.clone());
            self.moved.len() - 1
        });
        Expr::Column(Column::new_unqualified(name(place)))
    }
}
