//! `UNNEST([a, b])`: DataFusion plans what stands in brackets without the relation before it, but not the arguments of a
//! function.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, Query,
    TableFactor, VisitMut, VisitorMut,
};

use super::taken;

/// Makes calls of the arrays in `FROM UNNEST(...)`.
pub(super) fn rewrite(query: &mut Query) {
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = query.visit(&mut Unnests);
}

struct Unnests;

impl VisitorMut for Unnests {
    type Break = std::convert::Infallible;

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::UNNEST { array_exprs, .. } => array_exprs.visit(&mut Literals),
            _ => ControlFlow::Continue(()),
        }
    }
}

struct Literals;

impl VisitorMut for Literals {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Array(array) = expr {
            let items = array.elem.iter_mut().map(taken);
            *expr = call("make_array", items.collect());
        }
        ControlFlow::Continue(())
    }
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let unnamed = |argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument));
    Expr::Function(Function {
        name: Ident::new(name).into(),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(unnamed).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
