//! Which form of a function a call means: the aggregate, or the function of an array.
//!
//! DataFusion looks up a name before it looks at the types of the arguments. So every call of one of our names is
//! marked in the syntax tree ([`mark_calls`]): it becomes the left side of an operator that no user can write. When
//! DataFusion plans that operator it asks [`ArrayForms`], which knows the types and takes the mark off again.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawWindowExpr,
};
use datafusion::logical_expr::{Expr, ExprSchemable, lit};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr as SqlExpr, Function, Ident, Value, VisitMut, VisitorMut,
};

use super::array::item_type;
use super::feature::{Kernel, Time};
use super::online_window::complete;
use super::parameter::Parameter;
use super::{Entry, find, needs_event_time};

const MARK: &str = "form of";

/// Aggregates whose result depends on `ORDER BY` among their arguments.
const ORDERED: [&str; 5] = ["array_agg", "string_agg", "first_value", "last_value", "nth_value"];

/// Marks the calls of our functions in a query, before it is planned with [`ArrayForms`]. A call with `OVER` is always
/// the aggregate and stays as it is.
pub fn mark_calls(query: &mut impl VisitMut) {
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = query.visit(&mut Marker);
}

struct Marker;

impl VisitorMut for Marker {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
        if matches!(expr, SqlExpr::Function(call) if is_ours(call)) {
            let nothing = || SqlExpr::Value(Value::Null.with_empty_span());
            let call = std::mem::replace(expr, nothing());
            *expr = SqlExpr::BinaryOp {
                left: Box::new(call),
                op: BinaryOperator::Custom(MARK.into()),
                right: Box::new(nothing()),
            };
        }
        ControlFlow::Continue(())
    }
}

fn is_ours(call: &Function) -> bool {
    let name = match call.name.0.as_slice() {
        [part] => part.as_ident().map(folded),
        _ => None,
    };
    call.over.is_none() && name.is_some_and(|name| find(&name).is_some())
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// Plans marked calls: one whose first argument is an array becomes the function of arrays.
#[derive(Debug)]
pub struct ArrayForms;

impl ExprPlanner for ArrayForms {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        match &expr.op {
            BinaryOperator::Custom(mark) if mark == MARK => {}
            _ => return Ok(PlannerResult::Original(expr)),
        }
        let call = match expr.left {
            Expr::AggregateFunction(mut call) => {
                add_defaults(call.func.name(), &mut call.params.args);
                match is_of_array(&call, schema) {
                    true => array_call(call)?,
                    false => Expr::AggregateFunction(call),
                }
            }
            call => call,
        };
        Ok(PlannerResult::Planned(call))
    }

    fn plan_window(&self, mut expr: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        add_defaults(expr.func_def.name(), &mut expr.args);
        Ok(PlannerResult::Original(complete(expr)?))
    }

    /// Here, because DataFusion rewrites `f(DISTINCT x)` to `f(x)` over groups, and the order is lost; and because it takes the
    /// columns of `ORDER BY` for arguments of a function that does not ask for an order.
    fn plan_aggregate(&self, mut expr: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let name = expr.func.name();
        if expr.distinct && needs_event_time(name) {
            return plan_err!("{name} depends on the order of the rows and does not take DISTINCT");
        }
        if !expr.order_by.is_empty() && needs_event_time(name) {
            return plan_err!("{name} takes the rows in the order of event time and does not take ORDER BY");
        }
        if !ORDERED.contains(&name) && !expr.func.supports_within_group_clause() {
            expr.order_by.clear();
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// Adds the parameters that are left out and have a default. With the time as an argument all of them are given.
fn add_defaults(name: &str, args: &mut Vec<Expr>) {
    if let Some(Entry { feature, .. }) = find(name) {
        add_missing(feature.parameters, 1, args);
    }
}

/// Adds the last ones of `parameters`, which stand behind so many arguments, if all that are left out have a default.
pub(super) fn add_missing(parameters: &[Parameter], before: usize, args: &mut Vec<Expr>) {
    let Some(given) = args.len().checked_sub(before) else { return };
    let missing = parameters.get(given..).unwrap_or_default();
    if missing.iter().all(|parameter| parameter.default.is_some()) {
        args.extend(missing.iter().filter_map(|parameter| parameter.default).map(lit));
    }
}

/// An argument whose type cannot be told is an error that DataFusion words better later on.
fn is_of_array(call: &AggregateFunction, schema: &DFSchema) -> bool {
    let samples = call.params.args.first().and_then(|samples| samples.get_type(schema).ok());
    samples.is_some_and(|samples| item_type(&samples).is_some())
}

fn array_call(call: AggregateFunction) -> Result<Expr> {
    let name = call.func.name();
    let Some(entry) = find(name) else {
        return Ok(Expr::AggregateFunction(call));
    };
    let params = call.params;
    if params.distinct || params.filter.is_some() || !params.order_by.is_empty() {
        return plan_err!("{name} of an array does not take DISTINCT, FILTER or ORDER BY");
    }
    let function = ScalarFunction::new_udf(Arc::clone(&entry.array), params.args);
    Ok(Expr::ScalarFunction(function))
}

/// The call with the event time as its last argument, if its result depends on the order of the rows and the query
/// gives no time; otherwise `None`.
///
/// `slope(x)` stays the slope per sample: it becomes `slope_per_sample(x, time)`, not `slope(x, time)`.
pub fn with_event_time(call: &AggregateFunction, time: Expr) -> Option<AggregateFunction> {
    let Entry { feature, aggregate, .. } = find(call.func.name())?;
    let is_given = feature.is_timed(call.params.args.len());
    if feature.time == Time::Ignored || is_given || !call.params.order_by.is_empty() {
        return None;
    }
    let mut call = call.clone();
    call.func = match feature.kernel {
        Kernel::Timed(_, Some(_)) => Arc::clone(&find("slope_per_sample")?.aggregate),
        _ => Arc::clone(aggregate),
    };
    call.params.args.push(time);
    Some(call)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[tokio::test]
    async fn the_type_of_the_argument_chooses_the_form() {
        let t = context();
        let rows = table(&t, "SELECT RMS(x), count(*) FROM t WHERE g = 'a'").await;
        assert_eq!(rows, "2.0 | 4");
        let rows = table(&t, "SELECT g, rms(w) + 1, Peak_To_Peak(w) FROM arrays ORDER BY g").await;
        assert_eq!(rows, "a | 3.0 | 4.0\nb | 4.0 | 0.0\nc | NULL | NULL");
        let rows = table(&t, "SELECT max(rms(w)) FROM arrays HAVING rms(crest_factor(w)) > 0").await;
        assert_eq!(rows, "3.0");
    }

    #[tokio::test]
    async fn an_array_column_is_called_what_the_user_wrote() {
        let t = context();
        let plan = plan(&t, "SELECT percentile(w, 95), rms(w) AS level FROM arrays").await.unwrap();
        let names: Vec<&str> = plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["percentile(arrays.w,Int64(95))", "level"]);
    }

    #[tokio::test]
    async fn arrays_of_other_numbers_and_other_lists_are_taken() {
        let t = context();
        let rows = table(
            &t,
            "SELECT rms(arrow_cast(w, 'LargeList(Float64)')), rms(arrow_cast(w, 'List(Float32)')), \
             rms([3, 3]), peak_to_peak(arrow_cast([1, 5], 'FixedSizeList(2, Int64)')) FROM arrays WHERE g = 'a'",
        );
        assert_eq!(rows.await, "2.0 | 2.0 | 3.0 | 4.0");
    }

    #[tokio::test]
    async fn wrong_arguments_are_told_before_anything_runs() {
        let t = context();
        let cases = [
            ("SELECT rms(g) FROM t", "rms: x must be a number or an array of numbers, not Utf8"),
            ("SELECT rms(['a'])", "rms: x must be an array of numbers"),
            ("SELECT rms(x, 2) FROM t", "wrong number of arguments: rms takes rms(x)"),
            ("SELECT percentile(x) FROM t", "percentile takes percentile(x, p)"),
            ("SELECT autocorrelation(x, 'a') FROM t", "autocorrelation: lag must be a number, not Utf8"),
            ("SELECT slope(x, g) FROM t", "slope: ts must be a TIMESTAMP, not Utf8"),
            ("SELECT time_weighted_avg(x) FROM t", "needs the event time: time_weighted_avg(x, ts)"),
            ("SELECT percentile(w, 0.95) FROM arrays", "p must be a percentage"),
            ("SELECT rms(DISTINCT w) FROM arrays", "rms of an array does not take DISTINCT"),
        ];
        for (sql, expected) in cases {
            let found = plan_and_optimize(&t, sql).await.unwrap_err().to_string();
            assert!(found.contains(expected), "{sql}: {found}");
        }
    }

    #[test]
    fn the_event_time_is_filled_in_where_order_counts() {
        let time = || datafusion::prelude::col("ts");
        let filled = |name: &str, args: Vec<Expr>| {
            let Expr::AggregateFunction(call) = find(name).unwrap().aggregate.call(args) else {
                panic!("no aggregate")
            };
            with_event_time(&call, time()).map(|call| Expr::AggregateFunction(call).to_string())
        };
        let x = || datafusion::prelude::col("x");
        assert_eq!(filled("slope", vec![x()]).unwrap(), "slope_per_sample(x, ts)");
        assert_eq!(filled("time_weighted_avg", vec![x()]).unwrap(), "time_weighted_avg(x, ts)");
        assert_eq!(filled("autocorrelation", vec![x(), x()]).unwrap(), "autocorrelation(x, x, ts)");
        assert_eq!(filled("slope", vec![x(), time()]), None);
        assert_eq!(filled("rms", vec![x()]), None);
    }
}
