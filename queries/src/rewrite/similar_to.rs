//! `x SIMILAR TO 'a%|b_'`: the whole text is compared, and `%` and `_` are what they are to `LIKE`. DataFusion looks for the
//! pattern anywhere in the text.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, Value, VisitMut, VisitorMut};

use super::taken;

/// Replaces it by a regular expression, where the pattern is a constant.
pub(super) fn rewrite(query: &mut Query) {
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = query.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::SimilarTo { negated, expr: text, pattern, escape_char: None } = expr else {
            return ControlFlow::Continue(());
        };
        let Expr::Value(value) = pattern.as_ref() else { return ControlFlow::Continue(()) };
        let Value::SingleQuotedString(pattern) = &value.value else { return ControlFlow::Continue(()) };
        let whole = Value::SingleQuotedString(regular(pattern)).with_span(value.span);
        let op = if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
        let (left, right) = (Box::new(taken(text)), Box::new(Expr::Value(whole)));
        *expr = Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }));
        ControlFlow::Continue(())
    }
}

/// The regular expression of a pattern.
fn regular(pattern: &str) -> String {
    let (mut regular, mut is_list, mut is_escaped) = (String::from("^(?s:"), false, false);
    for c in pattern.chars() {
        match c {
            _ if is_escaped => regular.extend(['\\', c]),
            '\\' => {}
            '%' if !is_list => regular.push_str(".*"),
            '_' if !is_list => regular.push('.'),
            '.' | '^' | '$' if !is_list => regular.extend(['\\', c]),
            _ => regular.push(c),
        }
        is_list = !is_escaped && (c == '[' || is_list && c != ']');
        is_escaped = !is_escaped && c == '\\';
    }
    regular + ")$"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_regular_expression_of_the_whole_text() {
        for (pattern, expected) in [
            ("(a|b)", "^(?s:(a|b))$"),
            ("a%|b_", "^(?s:a.*|b.)$"),
            ("[_%.]+", "^(?s:[_%.]+)$"),
            (r"50\%.", r"^(?s:50\%\.)$"),
        ] {
            assert_eq!(regular(pattern), expected);
        }
    }
}
