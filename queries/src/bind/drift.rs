//! `RETRAIN ON DRIFT`: the rows of `<model>.drift`, each of which says that the model has met what it was not trained on.
//!
//! With a query of its own the rows are those of that query. Without one the features themselves are watched wherever the
//! program asks the model about them:
//!
//! ```text
//! input of predict(..) --> ts, key, features --> scaled by their first rows --> adwin --> rows where one is true
//! ```
//!
//! The scale makes one significance fit features of any unit; it never moves, or it would hide a slow drift.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition, cast, ident, lit,
};

use super::{Binder, Bound};
use crate::error::QueryError;
use crate::event_time;
use crate::optimize::optimize;
use crate::predict;
use crate::program::{Kind, Relation, View, arrow_schema, relations_of};
use crate::span::Span;
use crate::statement::{CreateModel, Drift, SelectQuery, Statement};
use crate::window_function::external;

/// The first rows whose mean and deviation scale a feature.
const SCALED_BY: f64 = 200.0;

/// The columns of time and key beside those of the features, whose names are their places in between.
const TIME: &str = "ts";
const KEY: &str = "key";

impl Binder<'_> {
    /// The relation `<model>.drift`; `None` if it is broken.
    pub(super) fn bind_drift(&self, model: &CreateModel, drift: &Drift) -> Option<Bound> {
        let view = match drift {
            Drift::Query(query) => self.plan(query)?.1,
            Drift::Features(span) => match self.watched(model, *span) {
                Ok(view) => view?,
                Err(error) => {
                    self.report(error, *span);
                    return None;
                }
            },
        };
        // It is kept: when did the model drift?
        let view = View { is_materialized: true, ..view };
        let schema = arrow_schema(&view.plan);
        Some(Bound { relation: Relation { kind: Kind::View, schema }, view: Some(view), inline: None })
    }

    /// The features of a model wherever it is asked; `None` if its training query is broken.
    fn watched(&self, model: &CreateModel, span: Span) -> Result<Option<View>> {
        let name = &model.name.value;
        let Some(features) = self.predict.features(name) else { return Ok(None) };
        let trained_on = self.models.borrow().get(name).cloned().flatten();
        let trained_on = trained_on.map(|model| self.inputs(&model.plan)).unwrap_or_default();
        let (mut rows, mut seen) = (None::<LogicalPlanBuilder>, Vec::new());
        for plan in self.asking(name) {
            for place in places(&plan, name, features.len() + usize::from(model.per.is_some()))? {
                if seen.contains(&place) || self.inputs(&place.0).is_subset(&trained_on) {
                    continue;
                }
                let one = self.watch(&place, &features, model.per.is_some())?;
                rows = Some(match rows {
                    Some(rows) => rows.union(one)?,
                    None => LogicalPlanBuilder::from(one),
                });
                seen.push(place);
            }
        }
        let Some(rows) = rows else {
            let message = format!("nothing asks model {name:?} about rows that it is not trained on");
            return Err(external(QueryError::invalid(message, span).with_help(GIVE_A_QUERY)));
        };
        let logical = rows.build()?;
        let plan = optimize(logical.clone())?;
        Ok(Some(View { logical, plan, is_materialized: true, span }))
    }

    /// The plans of the queries that name the model.
    fn asking(&self, model: &str) -> Vec<LogicalPlan> {
        let quoted = format!("'{model}'");
        let asks = |query: &SelectQuery| query.text.contains(&quoted);
        let plan = |statement: &Statement| match statement {
            Statement::CreateView(view) if asks(&view.query) => {
                Some(self.bound(&view.name.value).ok()??.view?.logical)
            }
            Statement::CreateSink(sink) if asks(&sink.query) => Some(self.plan(&sink.query)?.0),
            Statement::InsertInto(insert) if asks(&insert.query) => Some(self.plan(&insert.query)?.0),
            _ => None,
        };
        self.statements.iter().filter_map(plan).collect()
    }

    /// The sources and tables that a plan reads, through all views.
    fn inputs(&self, plan: &LogicalPlan) -> BTreeSet<String> {
        let (mut inputs, mut seen, mut todo) = (BTreeSet::new(), BTreeSet::new(), vec![plan.clone()]);
        while let Some(plan) = todo.pop() {
            for name in relations_of(&plan) {
                if self.sources.contains_key(&name) {
                    inputs.insert(name);
                } else if seen.insert(name.clone())
                    && let Ok(Some(Bound { view: Some(view), .. })) = self.bound(&name)
                {
                    todo.push(view.logical);
                }
            }
        }
        inputs
    }

    /// The rows in which a feature has drifted at one place: `ts`, the key, and for each feature whether it has.
    fn watch(&self, place: &Place, features: &[String], has_key: bool) -> Result<LogicalPlan> {
        let Place(input, arguments) = place;
        let times = event_time::times(input, &|name| self.times_of(name));
        let Some(time) = times.iter().position(Option::is_some) else {
            let message = "where the model is asked no column is event time";
            return Err(external(QueryError::invalid(message, None).with_help(GIVE_A_QUERY)));
        };
        let time = Expr::Column(Column::from(input.schema().qualified_field(time)));
        let keys = usize::from(has_key);
        let column = |number: usize| format!("f{number}");
        let values = arguments[keys..].iter().enumerate();
        let mut columns = vec![time.alias(TIME)];
        columns.extend(arguments[..keys].iter().map(|key| cast(key.clone(), DataType::Utf8).alias(KEY)));
        columns.extend(values.map(|(number, x)| cast(x.clone(), DataType::Float64).alias(column(number))));
        let plan = LogicalPlanBuilder::from(input.clone()).project(columns)?.build()?;
        let numbers = || (0..features.len()).map(column);
        let scaled = |x: String| self.over("standard_scale_frozen", vec![ident(x), lit(SCALED_BY)], has_key);
        let plan = replaced(plan, numbers().map(scaled).collect::<Result<_>>()?, has_key)?;
        let adwin = |x: String| self.over("adwin", vec![ident(x), lit(0.002), lit(32.0)], has_key);
        let plan = replaced(plan, numbers().map(adwin).collect::<Result<_>>()?, has_key)?;
        let has_drifted = numbers().map(ident).reduce(Expr::or).unwrap_or_else(|| lit(false));
        let mut named = kept(has_key);
        named.extend(numbers().zip(features).map(|(x, feature)| ident(x).alias(feature)));
        LogicalPlanBuilder::from(plan).filter(has_drifted)?.project(named)?.build()
    }

    /// `function(arguments) OVER (PARTITION BY key ORDER BY ts)`.
    fn over(&self, function: &str, arguments: Vec<Expr>, has_key: bool) -> Result<Expr> {
        let known = self.functions.window(function);
        let known = known.ok_or_else(|| external(QueryError::invalid(format!("no {function}"), None)))?;
        let call = WindowFunction::new(WindowFunctionDefinition::WindowUDF(known), arguments);
        let partition = if has_key { vec![ident(KEY)] } else { Vec::new() };
        Expr::from(call).partition_by(partition).order_by(vec![ident(TIME).sort(true, false)]).build()
    }
}

const GIVE_A_QUERY: &str =
    "say when the model has drifted: RETRAIN ON DRIFT (SELECT ... FROM ... WHERE ...), a row for each time";

/// Where a model is asked: the rows, and its key and features as expressions over them.
#[derive(PartialEq)]
struct Place(LogicalPlan, Vec<Expr>);

/// Where a plan asks a model.
fn places(plan: &LogicalPlan, model: &str, inputs: usize) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    plan.apply_with_subqueries(|node| {
        let under = node.inputs();
        for expr in node.expressions() {
            expr.apply(|call| {
                if let (Some(arguments), [input]) = (predict::asked(call, model, inputs), under.as_slice()) {
                    places.push(Place(without_frames(input, arguments).clone(), arguments.to_vec()));
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(places)
}

/// The rows before functions of `OVER` that the arguments do not take: these leave the rows as they are.
fn without_frames<'a>(plan: &'a LogicalPlan, arguments: &[Expr]) -> &'a LogicalPlan {
    let mut rows = plan;
    while let LogicalPlan::Window(window) = rows {
        let used = arguments.iter().flat_map(|argument| argument.column_refs());
        if !used.into_iter().all(|column| window.input.schema().has_column(column)) {
            break;
        }
        rows = &window.input;
    }
    rows
}

/// Time and key.
fn kept(has_key: bool) -> Vec<Expr> {
    let key = has_key.then(|| ident(KEY));
    std::iter::once(ident(TIME)).chain(key).collect()
}

/// `functions` in the places of the features.
fn replaced(plan: LogicalPlan, functions: Vec<Expr>, has_key: bool) -> Result<LogicalPlan> {
    let mut columns = kept(has_key);
    for (number, function) in functions.iter().enumerate() {
        columns.push(ident(function.schema_name().to_string()).alias(format!("f{number}")));
    }
    let window = LogicalPlanBuilder::window_plan(plan, functions)?;
    LogicalPlanBuilder::from(window).project(columns)?.build()
}
