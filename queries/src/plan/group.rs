//! `GROUP BY` that nothing closes, and `DISTINCT` of rows that are in no window.
//!
//! A group that no watermark completes has a row that is kept up to date: a changelog. A distinct row is given when it
//! first comes, and never taken back unless its rows are.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr, lit};
use lineshaft_engine::expression::{Aggregate as EngineAggregate, Moment};
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::group::{Call, DistinctRows, GroupAggregate, GroupOptions, Reversal};

use super::window::{Prepared, names_text, prepared_column};
use super::{Lowering, Result};
use crate::error::QueryError;
use crate::event_time::{instant, windows_of};
use crate::expression::{Arguments, aggregate};
use crate::functions::with_event_time;
use crate::program::arrow_schema;
use crate::window_function::external;

impl Lowering<'_> {
    /// Groups whose rows are kept up to date, over the rows of `from`.
    pub(super) fn kept_groups(&mut self, query: &Aggregate, from: Origin) -> Result<Origin> {
        let mut prepared = Prepared { input: query.input.schema(), columns: Vec::new() };
        let groups: Vec<usize> = keys_of(query)?.iter().map(|key| prepared.place(key)).collect();
        let calls = query.aggr_expr.iter().map(|call| prepared.over(call.clone().unalias()));
        let calls = calls.collect::<Result<Vec<_>>>()?;
        if prepared.columns.is_empty() {
            // Rows without columns cannot be counted.
            prepared.place(&lit(true));
        }
        let schema = prepared.schema()?;
        let has_text = calls.iter().any(|call| names_text(call, &schema));
        let from = if has_text { self.plain(from, &arrow_schema(&query.input)) } else { from };
        let from = self.map(from, prepared.input, None, Some(&prepared.columns), Arc::clone(&schema))?;
        let named = DFSchema::try_from(schema.as_ref().clone())?;
        let takes_changes = self.plan.is_changelog(from);
        let mut shared = Arguments::default();
        let calls = calls.iter().map(|expr| call(expr, &named, takes_changes, &mut shared));
        let from = self.group_node(from, &groups, calls.collect::<Result<_>>()?);
        let result = self.plan.schema(from);
        let results = &result.fields()[result.fields().len() - query.aggr_expr.len()..];
        let mut columns: Vec<Expr> = groups.into_iter().map(prepared_column).collect();
        columns.extend(results.iter().map(|field| Expr::Column(Column::new_unqualified(field.name()))));
        let named = DFSchema::try_from(result.as_ref().clone())?;
        self.map(from, &named, None, Some(&columns), Arc::new(query.schema.as_arrow().clone()))
    }

    /// A row for each value of the columns `groups`: these, then the results of `calls`.
    fn group_node(&mut self, from: Origin, groups: &[usize], calls: Vec<Call>) -> Origin {
        let input = self.plan.schema(from);
        let mut keys = groups.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let mut fields: Vec<Field> = keys.iter().map(|key| input.field(*key).clone()).collect();
        let result =
            |(place, call): (usize, &Call)| call.aggregate.result().clone().with_name(format!("r{place}"));
        fields.extend(calls.iter().enumerate().map(result));
        let schema = Arc::new(Schema::new(fields));
        let route = if keys.is_empty() { Route::Gather } else { Route::ByKey(keys.clone()) };
        let takes_changes = self.plan.is_changelog(from);
        let options = GroupOptions { keys, calls, takes_changes, input, schema: Arc::clone(&schema) };
        let inputs = vec![Input { from, route }];
        let origin = self.node("GROUP BY", inputs, vec![schema], false, move |worker| {
            Ok(Box::new(GroupAggregate::new(options.clone(), worker.index == 0)?))
        });
        self.mark_changelog(origin);
        if let Origin::Node(node, _) = origin {
            // What can be taken back is kept in a way that does not depend on the order.
            self.plan.nodes[node].takes_any_order = takes_changes;
        }
        origin
    }

    /// True if only the keys are wanted, of rows that are never taken back and in no window: each can be given at once.
    pub(super) fn passes_distinct(&self, query: &Aggregate, from: Origin) -> bool {
        query.aggr_expr.is_empty() && windows_of(&query.input).is_none() && !self.plan.is_changelog(from)
    }

    /// The keys, each once. They are forgotten when the watermark has passed an event time among them.
    pub(super) fn distinct_rows(&mut self, query: &Aggregate, from: Origin) -> Result<Origin> {
        if self.plan.is_changelog(from) {
            return self.kept_groups(query, from);
        }
        let schema: SchemaRef = Arc::new(query.schema.as_arrow().clone());
        let keys = keys_of(query)?;
        let time = instant(&query.input, &keys, &|name| self.program.times_of(name));
        let from = self.map(from, query.input.schema(), None, Some(&keys), schema)?;
        let schema = self.plan.schema(from);
        let inputs = vec![Input { from, route: Route::ByKey((0..schema.fields().len()).collect()) }];
        let outputs = vec![Arc::clone(&schema)];
        Ok(self.node("DISTINCT", inputs, outputs, false, move |_| {
            let operator = DistinctRows::new(Arc::clone(&schema), time.map(|(column, _)| column))?;
            Ok(super::operators::lagged(time.map_or(0, |(_, lag)| lag), Box::new(operator)))
        }))
    }
}

/// What is grouped by, each expression once.
fn keys_of(query: &Aggregate) -> Result<Vec<Expr>> {
    let keys = grouping_set_to_exprlist(&query.group_expr)?;
    Ok(keys.into_iter().map(|key| key.clone().unalias()).collect())
}

/// A call of an aggregate over the columns of `schema`, and how its rows are taken back.
fn call(expr: &Expr, schema: &DFSchema, takes_changes: bool, shared: &mut Arguments) -> Result<Call> {
    let Expr::AggregateFunction(function) = expr else {
        return Err(super::internal("an aggregate that is no call"));
    };
    let (name, params) = (function.func.name(), &function.params);
    let lacks_time = with_event_time(function, Expr::Literal(ScalarValue::Null, None)).is_some();
    if takes_changes && lacks_time {
        let what = format!("{name} without a time over rows that may be taken back");
        let error = QueryError::not_supported(what, None);
        return Err(external(error.with_help(format!("give the time of the rows: {name}(..., ts)"))));
    }
    let is_plain = params.order_by.is_empty() && params.null_treatment.is_none();
    let reversal = if is_plain { reversal(name, &params.args) } else { Reversal::Bag };
    // The operator lets each value pass once, so the function need not look for it again.
    let mut once = function.clone();
    let is_distinct = std::mem::take(&mut once.params.distinct);
    let aggregate: Arc<dyn EngineAggregate> = aggregate(&Expr::AggregateFunction(once), schema, shared)?;
    Ok(Call { aggregate, is_distinct, reversal })
}

/// How a row is taken out of a function of DataFusion's, or one of ours of the same name.
fn reversal(name: &str, arguments: &[Expr]) -> Reversal {
    let [argument] = arguments else { return Reversal::Bag };
    let is_constant = matches!(argument, Expr::Literal(value, _) if !value.is_null());
    Reversal::Statistic(match name {
        "count" if is_constant => Moment::Rows,
        "count" => Moment::Count,
        "sum" => Moment::Sum,
        "avg" => Moment::Mean,
        "min" => Moment::Min,
        "max" => Moment::Max,
        "variance" => Moment::Variance { sample: true },
        "variance_pop" => Moment::Variance { sample: false },
        "stddev" => Moment::Deviation { sample: true },
        "stddev_pop" => Moment::Deviation { sample: false },
        "bool_and" | "bool_or" | "bit_and" | "bit_or" => return Reversal::Set,
        _ => return Reversal::Bag,
    })
}
