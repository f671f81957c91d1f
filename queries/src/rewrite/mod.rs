//! Brings a parsed query to a form that DataFusion plans as SQL means it.
//!
//! - [`chains`]: thousands of conditions
//! - [`precedence`]: what belongs to `IS DISTINCT FROM`
//! - [`row_values`]: `(a, b) IN (SELECT ...)`
//! - [`casts`]: `sum(n)` beside `sum(CAST(n AS DOUBLE))`

use datafusion::sql::sqlparser::ast::{Expr, Query, Value};

pub(crate) mod casts;
pub(crate) mod chains;
pub(crate) mod precedence;
mod row_values;

/// Changes `query` in place, before it is planned.
pub(crate) fn rewrite(query: &mut Query) {
    row_values::rewrite(query);
    casts::rewrite(query);
}

/// Takes an expression out, to be put back in another form.
fn taken(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span()))
}
