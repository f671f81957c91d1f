//! `sum(n)` beside `sum(CAST(n AS DOUBLE))`: DataFusion names the columns of an aggregate without casts, and cannot tell
//! two of one name apart. So in calls that differ by casts alone, each cast is marked with its type.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::{
    CastKind, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, Query, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use super::taken;

/// What a cast is marked with: `"cast to"(CAST(n AS DOUBLE), 'DOUBLE')`. Nobody else can write this name.
const MARK: &str = "cast to";

/// Marks the casts of such calls.
pub(super) fn rewrite(query: &mut Query) {
    let mut calls = Calls::default();
    // The visitors never break off.
    let ControlFlow::Continue(()) = Visit::visit(&*query, &mut calls);
    let mut differing: BTreeSet<String> = BTreeSet::new();
    for written in calls.0.into_values().filter(|written| written.len() > 1) {
        differing.extend(written);
    }
    if !differing.is_empty() {
        let ControlFlow::Continue(()) = VisitMut::visit(query, &mut Marker { differing });
    }
}

/// Calls as they are written, by what they are without casts.
#[derive(Default)]
struct Calls(BTreeMap<String, BTreeSet<String>>);

impl Visitor for Calls {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<Self::Break> {
        if let SqlExpr::Function(call) = expr {
            let mut bare = call.clone();
            let ControlFlow::Continue(()) = VisitMut::visit(&mut bare, &mut WithoutCasts);
            self.0.entry(bare.to_string()).or_default().insert(call.to_string());
        }
        ControlFlow::Continue(())
    }
}

struct WithoutCasts;

impl VisitorMut for WithoutCasts {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
        if let SqlExpr::Cast { expr: inner, kind: CastKind::Cast | CastKind::DoubleColon, .. } = expr {
            *expr = taken(inner);
        }
        ControlFlow::Continue(())
    }
}

struct Marker {
    differing: BTreeSet<String>,
}

impl VisitorMut for Marker {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
        if let SqlExpr::Function(call) = expr
            && self.differing.contains(&call.to_string())
        {
            let ControlFlow::Continue(()) = VisitMut::visit(&mut call.args, &mut CastMarker);
        }
        ControlFlow::Continue(())
    }
}

struct CastMarker;

impl VisitorMut for CastMarker {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
        if let SqlExpr::Cast { data_type, kind: CastKind::Cast | CastKind::DoubleColon, .. } = expr {
            let of = SqlExpr::Value(Value::SingleQuotedString(data_type.to_string()).with_empty_span());
            let args = [taken(expr), of].map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
            *expr = SqlExpr::Function(call(args.to_vec()));
        }
        ControlFlow::Continue(())
    }
}

fn call(args: Vec<FunctionArg>) -> Function {
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Function {
        name: vec![Ident::with_quote('"', MARK)].into(),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// The function of the mark: its first argument.
pub(crate) fn marked() -> ScalarUDF {
    ScalarUDF::from(CastTo { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CastTo {
    signature: Signature,
}

impl ScalarUDFImpl for CastTo {
    fn name(&self) -> &str {
        MARK
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.into_iter().next() {
            Some(value) => Ok(value),
            None => exec_err!("a cast of nothing"),
        }
    }

    fn simplify(&self, arguments: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match <[Expr; 2]>::try_from(arguments) {
            Ok([value, _]) => Ok(ExprSimplifyResult::Simplified(value)),
            Err(arguments) => Ok(ExprSimplifyResult::Original(arguments)),
        }
    }
}
