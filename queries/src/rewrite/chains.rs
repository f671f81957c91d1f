//! `a OR b OR c OR d` is `(a OR b) OR (c OR d)`: a condition that a program has written may have thousands of parts, and what
//! walks over it would need a stack as deep as there are parts.
//!
//! Of `AND` and `OR` the grouping does not matter. Of other operators it does, and such a chain may be [`MOST`] long.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, Spanned, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::taken;

/// Operators of a chain that cannot be grouped in another way.
pub(crate) const MOST: usize = 250;
/// Shorter chains stay as they were written, and so do the names of columns that are made of them.
const SHORT: usize = 16;

/// Groups long chains in halves; the place of the last operand of one that is too long.
pub(crate) fn balance(query: &mut Query) -> Result<(), Span> {
    match query.visit(&mut Balance) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(span) => Err(span),
    }
}

struct Balance;

impl VisitorMut for Balance {
    type Break = Span;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Span> {
        if let Some(op) = associative(expr)
            && operators(expr, |other| *other == op) > SHORT
        {
            let operands = operands(taken(expr), &op);
            joined(operands, &op).into_iter().for_each(|whole| *expr = whole);
        }
        let is_long = operators(expr, |_| true) > MOST;
        match expr {
            Expr::BinaryOp { right, .. } if is_long => ControlFlow::Break(right.span()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn associative(expr: &Expr) -> Option<BinaryOperator> {
    match expr {
        Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => Some(op.clone()),
        _ => None,
    }
}

/// How many operators stand in a row, each the left operand of the next one.
fn operators(mut expr: &Expr, is_one: impl Fn(&BinaryOperator) -> bool) -> usize {
    let mut count = 0;
    while let Expr::BinaryOp { left, op, .. } = expr
        && is_one(op)
    {
        count += 1;
        expr = left;
    }
    count
}

/// What the operator joins, in order.
fn operands(expr: Expr, of: &BinaryOperator) -> Vec<Expr> {
    let (mut operands, mut rest) = (Vec::new(), expr);
    while let Expr::BinaryOp { left, op, right } = rest {
        if op != *of {
            rest = Expr::BinaryOp { left, op, right };
            break;
        }
        operands.push(*right);
        rest = *left;
    }
    operands.push(rest);
    operands.reverse();
    operands
}

/// Joins neighbours until there is one; `None` if there is nothing to join.
fn joined(mut operands: Vec<Expr>, op: &BinaryOperator) -> Option<Expr> {
    while operands.len() > 1 {
        let mut rest = operands.into_iter();
        let mut pairs = Vec::with_capacity(rest.len().div_ceil(2));
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => {
                    Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) }
                }
                None => left,
            });
        }
        operands = pairs;
    }
    operands.pop()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::deep::deep;

    fn query(expression: &str) -> Box<Query> {
        let sql = format!("SELECT {expression}");
        Parser::new(&GenericDialect {}).try_with_sql(&sql).unwrap().parse_query().unwrap()
    }

    fn chain(op: &str, count: usize) -> String {
        (0..count).map(|n| format!("a{n}")).collect::<Vec<_>>().join(op)
    }

    #[test]
    fn the_order_of_a_chain_stays_and_its_depth_does_not() {
        for (op, written) in [(" OR ", chain(" OR ", 5000)), (" AND ", chain(" AND ", 17))] {
            let mut query = query(&written);
            balance(&mut query).unwrap();
            assert_eq!(query.to_string(), format!("SELECT {written}"), "{op}");
        }
        let mut mixed = query(&format!("{} OR x AND NOT ({})", chain(" AND ", 40), chain(" OR ", 30)));
        let written = mixed.to_string();
        balance(&mut mixed).unwrap();
        assert_eq!(mixed.to_string(), written);
    }

    #[test]
    fn a_sum_that_is_too_long_is_told_with_the_place_of_its_end() {
        let span = deep(|| {
            balance(&mut query(&chain(" + ", MOST + 1))).unwrap();
            balance(&mut query(&chain(" + ", MOST + 2))).unwrap_err()
        });
        assert_eq!(span.start.column, 8 + chain(" + ", MOST + 1).len() as u64 + 3);
    }
}
