//! `sum(x) / (SELECT sum(x) FROM t)`: DataFusion joins what a subquery gives to the rows around it, where there may be a column of its
//! name already. So it gets one that is no other's.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SetExpr, VisitMut, VisitorMut,
};

const NAME: &str = "value of subquery ";

/// Names what scalar subqueries give.
pub(super) fn rewrite(query: &mut Query) {
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = query.visit(&mut Namer { count: 0 });
}

struct Namer {
    count: usize,
}

impl VisitorMut for Namer {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Some(item) = item_of(expr)
            && let SelectItem::UnnamedExpr(value) = item
        {
            self.count += 1;
            let alias = Ident::with_quote('"', format!("{NAME}{}", self.count));
            *item = SelectItem::ExprWithAlias { expr: super::taken(value), alias };
        }
        ControlFlow::Continue(())
    }

    /// A column of the result that is nothing but a subquery keeps the name of what the subquery gives.
    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        for column in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = column
                && let Some(item) = item_of(expr)
                && let SelectItem::ExprWithAlias { expr: value, alias } = item
                && alias.value.starts_with(NAME)
            {
                *item = SelectItem::UnnamedExpr(super::taken(value));
            }
        }
        ControlFlow::Continue(())
    }
}

/// The one column of a subquery that is a plain `SELECT`.
fn item_of(expr: &mut Expr) -> Option<&mut SelectItem> {
    let Expr::Subquery(query) = expr else { return None };
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    match select.projection.as_mut_slice() {
        [item] => Some(item),
        _ => None,
    }
}
