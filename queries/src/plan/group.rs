//! `GROUP BY` that nothing closes, and `DISTINCT` of rows that are in no window.
//!
//! A group that no watermark completes has a row that is kept up to date: a changelog. A distinct row is given when it
//! first comes, and never taken back unless its rows are.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr, lit};
use lineshaft_engine::expression::{Aggregate as EngineAggregate, Moment};
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::group::{
    Call, DistinctRows, GroupAggregate, GroupOptions, PartialGroups, PartialOptions, Reversal,
};

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
        let of_rows = calls.iter().map(|expr| call(expr, &named, takes_changes, &mut shared));
        let of_rows = of_rows.collect::<Result<Vec<_>>>()?;
        let of_parts = (!takes_changes && !groups.is_empty()).then(|| of_parts(&calls, &of_rows)).flatten();
        let from = match of_parts {
            Some(of_parts) => self.group_parts(from, &groups, of_rows, &of_parts)?,
            None => self.group_node(from, &groups, of_rows),
        };
        let result = self.plan.schema(from);
        let results = &result.fields()[result.fields().len() - query.aggr_expr.len()..];
        let mut columns: Vec<Expr> = groups.into_iter().map(prepared_column).collect();
        columns.extend(results.iter().map(|field| Expr::Column(Column::new_unqualified(field.name()))));
        let named = DFSchema::try_from(result.as_ref().clone())?;
        self.map(from, &named, None, Some(&columns), Arc::new(query.schema.as_arrow().clone()))
    }

    /// The same as [`Self::group_node`], by way of the groups of each epoch on each worker: `of_parts` is what is computed of
    /// their results.
    fn group_parts(
        &mut self,
        from: Origin,
        groups: &[usize],
        of_rows: Vec<Call>,
        of_parts: &[Expr],
    ) -> Result<Origin> {
        let (keys, schema) = group_schema(&self.plan.schema(from), groups, &of_rows);
        let aggregates = of_rows.into_iter().map(|call| call.aggregate).collect();
        let options = PartialOptions { keys, aggregates, schema: Arc::clone(&schema) };
        let keys: Vec<usize> = (0..options.keys.len()).collect();
        let inputs = vec![Input { from, route: Route::Local }];
        let parts = self.node("GROUP BY by epoch", inputs, vec![Arc::clone(&schema)], false, move |_| {
            Ok(Box::new(PartialGroups::new(options.clone())?))
        });
        let named = DFSchema::try_from(schema.as_ref().clone())?;
        let mut shared = Arguments::default();
        let calls = of_parts.iter().map(|expr| call(expr, &named, false, &mut shared));
        let calls = calls.collect::<Result<_>>()?;
        Ok(self.group_node(parts, &keys, calls))
    }

    /// A row for each value of the columns `groups`: these, then the results of `calls`.
    fn group_node(&mut self, from: Origin, groups: &[usize], calls: Vec<Call>) -> Origin {
        let input = self.plan.schema(from);
        let (keys, schema) = group_schema(&input, groups, &calls);
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

/// The columns of the key, each once, and those of the groups: the key, then the results of `calls`.
fn group_schema(input: &SchemaRef, groups: &[usize], calls: &[Call]) -> (Vec<usize>, SchemaRef) {
    let mut keys = groups.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let mut fields: Vec<Field> = keys.iter().map(|key| input.field(*key).clone()).collect();
    let calls = calls.iter().enumerate();
    fields.extend(calls.map(|(place, call)| call.aggregate.result().clone().with_name(result_name(place))));
    (keys, Arc::new(Schema::new(fields)))
}

fn result_name(place: usize) -> String {
    format!("r{place}")
}

/// What gives of the results of parts of the rows exactly the results of all rows, if there is such a thing for each of `calls`.
fn of_parts(calls: &[Expr], of_rows: &[Call]) -> Option<Vec<Expr>> {
    let of_part = |(place, (expr, call)): (usize, (&Expr, &Call))| {
        let Expr::AggregateFunction(function) = expr else { return None };
        let result = call.aggregate.result().data_type();
        // A sum of decimals of all digits has the same type.
        let is_integer = matches!(result, DataType::Int64 | DataType::UInt64 | DataType::Decimal128(38, _));
        let Reversal::Statistic(moment) = call.reversal else { return None };
        let of_parts = match moment {
            Moment::Rows | Moment::Count => sum_udaf(),
            Moment::Sum if is_integer => sum_udaf(),
            Moment::Min | Moment::Max => Arc::clone(&function.func),
            _ => return None,
        };
        let result = Expr::Column(Column::new_unqualified(result_name(place)));
        (!call.is_distinct).then(|| of_parts.call(vec![result]))
    };
    calls.iter().zip(of_rows).enumerate().map(of_part).collect()
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
