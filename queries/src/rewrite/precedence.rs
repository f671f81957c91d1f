//! `a IS DISTINCT FROM b AND c` is `(a IS DISTINCT FROM b) AND c`: the parser takes all that follows for its right side.
//!
//! What stands in parentheses is a node of its own in the syntax tree. So the tree of `AND`, `OR`, `NOT` and
//! `IS DISTINCT FROM`, read from left to right, is what the user wrote, and is put together anew.

use std::iter::Peekable;
use std::ops::ControlFlow;
use std::vec::IntoIter;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, VisitMut, VisitorMut};

use super::taken;

/// Corrects the conditions of a query or an expression.
pub(crate) fn correct(syntax: &mut impl VisitMut) {
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = syntax.visit(&mut Corrector);
}

struct Corrector;

impl VisitorMut for Corrector {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if has_distinct(expr) {
            let mut parts = Vec::new();
            read(taken(expr), &mut parts);
            *expr = Reader { parts: parts.into_iter().peekable() }.disjunction();
        }
        ControlFlow::Continue(())
    }
}

/// True if there is an `IS DISTINCT FROM` in the tree of conditions.
fn has_distinct(expr: &Expr) -> bool {
    match expr {
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => true,
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            has_distinct(left) || has_distinct(right)
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => has_distinct(expr),
        _ => false,
    }
}

enum Part {
    Operand(Box<Expr>),
    Not,
    And,
    Or,
    Distinct,
    NotDistinct,
}

/// The parts of a tree from left to right.
fn read(expr: Expr, parts: &mut Vec<Part>) {
    let (left, operator, right) = match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => (left, Part::And, right),
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => (left, Part::Or, right),
        Expr::IsDistinctFrom(left, right) => (left, Part::Distinct, right),
        Expr::IsNotDistinctFrom(left, right) => (left, Part::NotDistinct, right),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
            parts.push(Part::Not);
            return read(*expr, parts);
        }
        other => return parts.push(Part::Operand(Box::new(other))),
    };
    read(*left, parts);
    parts.push(operator);
    read(*right, parts);
}

/// Reads parts by the precedence of their operators.
struct Reader {
    parts: Peekable<IntoIter<Part>>,
}

impl Reader {
    fn disjunction(&mut self) -> Expr {
        let mut all = self.conjunction();
        while self.parts.next_if(|part| matches!(part, Part::Or)).is_some() {
            all = binary(all, BinaryOperator::Or, self.conjunction());
        }
        all
    }

    fn conjunction(&mut self) -> Expr {
        let mut all = self.negation();
        while self.parts.next_if(|part| matches!(part, Part::And)).is_some() {
            all = binary(all, BinaryOperator::And, self.negation());
        }
        all
    }

    fn negation(&mut self) -> Expr {
        if self.parts.next_if(|part| matches!(part, Part::Not)).is_some() {
            return Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(self.negation()) };
        }
        let mut all = self.operand();
        while let Some(part) = self.parts.next_if(|part| matches!(part, Part::Distinct | Part::NotDistinct)) {
            let (left, right) = (Box::new(all), Box::new(self.operand()));
            all = match part {
                Part::Distinct => Expr::IsDistinctFrom(left, right),
                _ => Expr::IsNotDistinctFrom(left, right),
            };
        }
        all
    }

    /// Between two operators there is always one; `NOT` may stand before it.
    fn operand(&mut self) -> Expr {
        match self.parts.next() {
            Some(Part::Operand(expr)) => *expr,
            _ => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(self.operand()) },
        }
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    /// The expression with a parenthesis around every operation.
    fn grouped(text: &str) -> String {
        let mut expr = Parser::new(&GenericDialect)
            .try_with_sql(text)
            .and_then(|mut parser| parser.parse_expr())
            .unwrap();
        correct(&mut expr);
        shown(&expr)
    }

    fn shown(expr: &Expr) -> String {
        match expr {
            Expr::BinaryOp { left, op, right } => format!("({} {op} {})", shown(left), shown(right)),
            Expr::UnaryOp { op, expr } => format!("({op} {})", shown(expr)),
            Expr::IsDistinctFrom(left, right) => format!("({} <> {})", shown(left), shown(right)),
            Expr::IsNotDistinctFrom(left, right) => format!("({} == {})", shown(left), shown(right)),
            Expr::Nested(inner) => shown(inner),
            other => other.to_string(),
        }
    }

    #[test]
    fn a_comparison_ends_where_the_condition_goes_on() {
        let cases = [
            ("a IS DISTINCT FROM b AND c", "((a <> b) AND c)"),
            ("a IS NOT DISTINCT FROM b OR c AND d", "((a == b) OR (c AND d))"),
            ("a AND b IS DISTINCT FROM c OR d", "((a AND (b <> c)) OR d)"),
            ("NOT a IS DISTINCT FROM b AND c", "((NOT (a <> b)) AND c)"),
            ("a IS DISTINCT FROM b + 1 AND c IS NOT DISTINCT FROM d", "((a <> (b + 1)) AND (c == d))"),
            ("a IS DISTINCT FROM (b AND c)", "(a <> (b AND c))"),
            ("(a OR b) IS DISTINCT FROM c OR d", "(((a OR b) <> c) OR d)"),
        ];
        for (text, expected) in cases {
            assert_eq!(grouped(text), expected, "{text}");
        }
    }
}
