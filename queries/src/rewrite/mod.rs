//! Brings a parsed query to a form that DataFusion plans as SQL means it.
//!
//! - [`chains`]: thousands of conditions
//! - [`precedence`]: what belongs to `IS DISTINCT FROM`
//! - [`row_values`]: `(a, b) IN (SELECT ...)`, `x > ALL (SELECT ...)`
//! - [`casts`]: `sum(n)` beside `sum(CAST(n AS DOUBLE))`
//! - [`named_windows`]: `OVER (w ROWS 2 PRECEDING)`
//! - [`scalar_names`]: `sum(x) / (SELECT sum(x) FROM t)`
//! - [`array_literals`]: `FROM readings, UNNEST([a, b])`
//! - [`similar_to`]: `line SIMILAR TO 'a|b%'`
//! - [`derived`]: `HAVING max(w)` where `w` is a column of `FROM (SELECT ...)` and an alias, too

use datafusion::sql::sqlparser::ast::{Expr, Query, Value};

mod array_literals;
pub(crate) mod casts;
pub(crate) mod chains;
mod derived;
mod named_windows;
pub(crate) mod precedence;
pub(crate) mod replaced;
mod row_values;
mod scalar_names;
mod similar_to;

/// Changes `query` in place, before it is planned.
pub(crate) fn rewrite(query: &mut Query) {
    named_windows::rewrite(query);
    array_literals::rewrite(query);
    row_values::rewrite(query);
    scalar_names::rewrite(query);
    casts::rewrite(query);
    derived::rewrite(query);
    similar_to::rewrite(query);
}

/// Takes an expression out, to be put back in another form.
fn taken(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span()))
}
