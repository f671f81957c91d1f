//! A name for what `FROM` has without one.
//!
//! DataFusion takes a column without a relation for an alias of `SELECT` where there is one: of
//! `SELECT -w AS w FROM (SELECT abs(g) AS w FROM a) GROUP BY -w HAVING max(w) > 1` it makes `max(-w)`, where SQL means the column
//! of the subquery. A column of a named relation it leaves alone.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, Query, TableAlias, TableFactor, VisitMut, VisitorMut,
};

/// Names each subquery in `FROM`, and each window over one, that has no name.
pub(super) fn rewrite(query: &mut Query) {
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = query.visit(&mut Namer { named: 0 });
}

struct Namer {
    named: usize,
}

impl VisitorMut for Namer {
    type Break = std::convert::Infallible;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let alias = match factor {
            TableFactor::Derived { alias, .. } => alias,
            TableFactor::Table { alias, args: Some(args), .. } if args.args.first().is_some_and(is_query) => {
                alias
            }
            _ => return ControlFlow::Continue(()),
        };
        if alias.is_none() {
            self.named += 1;
            // A blank, so that no relation is called so.
            let name = Ident::with_quote('"', format!("subquery {}", self.named));
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}

fn is_query(argument: &FunctionArg) -> bool {
    matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(_))))
}
