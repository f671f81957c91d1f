//! `(a, b) IN (SELECT x, y FROM t)`: a row is in a list if there is a row with equal values. If there is none, but one
//! that may be equal because of a NULL, it is not known. `x > ANY (SELECT ...)` and `x > ALL (SELECT ...)` likewise: DataFusion takes
//! columns of the list for those of the query where both are of one relation.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, Select, SetExpr, TableFactor, UnaryOperator, Value, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::taken;

/// The name of the rows of the list; nobody else can write it.
const ROWS: &str = "rows of the list";

/// Replaces such conditions.
pub(super) fn rewrite(query: &mut Query) {
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = query.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = std::convert::Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        select.selection.iter_mut().for_each(condition);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Some(RowIn { values, op, list, negated }) = row_in(expr) {
            let equal = compared(&values, &op);
            let unknown = Expr::IsNull(Box::new(nested(equal.clone())));
            let (is_in, may_be) = (exists(&values, list.clone(), equal), exists(&values, list, unknown));
            // NULL if the second one holds.
            let null = Expr::Value(Value::Null.with_empty_span());
            let is_unknown = nested(binary(null, BinaryOperator::And, may_be));
            let all = nested(binary(is_in, BinaryOperator::Or, is_unknown));
            *expr = if negated { nested(not(all)) } else { all };
        }
        ControlFlow::Continue(())
    }
}

/// In `WHERE` it only counts whether a condition is true.
fn condition(expr: &mut Expr) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            condition(left);
            condition(right);
        }
        Expr::Nested(inner) => condition(inner),
        _ => {
            let Some(RowIn { values, op, list, negated }) = row_in(expr) else { return };
            let equal = compared(&values, &op);
            *expr = if negated {
                not(exists(&values, list, Expr::IsNotFalse(Box::new(nested(equal)))))
            } else {
                exists(&values, list, equal)
            };
        }
    }
}

struct RowIn {
    values: Vec<Expr>,
    /// How they are compared with a row of the list.
    op: BinaryOperator,
    list: Query,
    negated: bool,
}

fn row_in(expr: &mut Expr) -> Option<RowIn> {
    plain_in(expr);
    match expr {
        Expr::InSubquery { expr: row, subquery, negated } => {
            let Expr::Tuple(values) = row.as_mut() else { return None };
            let values = values.iter_mut().map(taken).collect();
            let list = subquery.as_ref().clone();
            Some(RowIn { values, op: BinaryOperator::Eq, list, negated: *negated })
        }
        Expr::AnyOp { left, compare_op, right, .. } => {
            let (op, list) = (opposite(compare_op).and(Some(compare_op.clone()))?, list_of(right)?);
            Some(RowIn { values: vec![taken(left)], op, list, negated: false })
        }
        // It holds for all if there is none for which the opposite holds.
        Expr::AllOp { left, compare_op, right } => {
            let (op, list) = (opposite(compare_op)?, list_of(right)?);
            Some(RowIn { values: vec![taken(left)], op, list, negated: true })
        }
        _ => None,
    }
}

/// `x = ANY (SELECT ...)` is `x IN (SELECT ...)`, and `x <> ALL (SELECT ...)` is `x NOT IN (SELECT ...)`.
fn plain_in(expr: &mut Expr) {
    let (left, right, negated) = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, right, true),
        _ => return,
    };
    if let Some(list) = list_of(right) {
        *expr = Expr::InSubquery { expr: Box::new(taken(left)), subquery: Box::new(list), negated };
    }
}

fn list_of(right: &Expr) -> Option<Query> {
    match right {
        Expr::Subquery(list) => Some(list.as_ref().clone()),
        Expr::Nested(inner) => list_of(inner),
        _ => None,
    }
}

/// The comparison that holds where this one does not.
fn opposite(op: &BinaryOperator) -> Option<BinaryOperator> {
    Some(match op {
        BinaryOperator::Eq => BinaryOperator::NotEq,
        BinaryOperator::NotEq => BinaryOperator::Eq,
        BinaryOperator::Lt => BinaryOperator::GtEq,
        BinaryOperator::GtEq => BinaryOperator::Lt,
        BinaryOperator::Gt => BinaryOperator::LtEq,
        BinaryOperator::LtEq => BinaryOperator::Gt,
        _ => return None,
    })
}

/// `a = x AND b = y`, of the rows of the list.
fn compared(values: &[Expr], op: &BinaryOperator) -> Expr {
    let equal = |(place, value): (usize, &Expr)| {
        let column = [ROWS.to_owned(), place.to_string()].map(|name| Ident::with_quote('"', name));
        binary(value.clone(), op.clone(), Expr::CompoundIdentifier(column.to_vec()))
    };
    let all = values.iter().enumerate().map(equal).reduce(|all, more| binary(all, BinaryOperator::And, more));
    all.unwrap_or_else(|| Expr::Value(Value::Boolean(true).with_empty_span()))
}

/// `EXISTS (SELECT 1 FROM (list) AS rows(...) WHERE condition)`.
fn exists(values: &[Expr], list: Query, condition: Expr) -> Expr {
    let columns: Vec<String> = (0..values.len()).map(|place| format!("\"{place}\"")).collect();
    let text = format!("SELECT 1 FROM (SELECT 1) AS \"{ROWS}\"({})", columns.join(", "));
    let query = Parser::new(&GenericDialect).try_with_sql(&text).and_then(|mut parser| parser.parse_query());
    let mut query = query.unwrap_or_else(|_| Box::new(list.clone()));
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.selection = Some(condition);
        let from = select.from.first_mut().map(|from| &mut from.relation);
        if let Some(TableFactor::Derived { subquery, .. }) = from {
            **subquery = list;
        }
    }
    Expr::Exists { subquery: query, negated: false }
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}
