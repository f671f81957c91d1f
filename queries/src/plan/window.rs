//! Aggregates over windows.
//!
//! The rows are brought to the form `event time, keys, what the aggregates need`, exchanged by key, aggregated by the
//! operator of the window, and brought to the columns of the query.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, lit};
use lineshaft_engine::batch::event_time_field;
use lineshaft_engine::expression::Aggregate as EngineAggregate;
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::window::{FixedWindows, UnpackRows};

use super::grouping_sets::sets_of;
use super::revision::Revision;
use super::{Lowering, Result};
use crate::can_fail::can_fail;
use crate::error::QueryError;
use crate::event_time::{Bound, Windows, instant, windows_of};
use crate::expression::{Arguments, aggregate};
use crate::now::is_now;
use crate::program::arrow_schema;
use crate::row_lists::AllRows;
use crate::time_bound::held_back;
use crate::window_function::{AssignWindow, WINDOW_END, WINDOW_START, WindowKind, external};

/// What one expression of `GROUP BY` is.
enum Group {
    /// A key, by its place among the keys.
    Key(usize),
    /// `window_start`, `window_end`, or something computed from them.
    Window(Expr),
}

/// The input of a window operator while it is put together: event time first.
pub(super) struct Prepared<'a> {
    /// The columns that can be used.
    pub(super) input: &'a DFSchema,
    pub(super) columns: Vec<Expr>,
}

impl Prepared<'_> {
    /// The place of a column that has the value of `expr`.
    pub(super) fn place(&mut self, expr: &Expr) -> usize {
        let place = self.columns.iter().position(|column| column == expr);
        place.unwrap_or_else(|| {
            self.columns.push(expr.clone());
            self.columns.len() - 1
        })
    }

    /// `expr` over the prepared columns.
    pub(super) fn over(&mut self, expr: Expr) -> Result<Expr> {
        // What may fail for a row is computed before, where the row can go aside.
        let is_placed = |part: &Expr| match part {
            Expr::Column(_) => true,
            Expr::AggregateFunction(_) | Expr::Alias(_) => false,
            other => is_now(other) || can_fail(other, self.input) && !other.column_refs().is_empty(),
        };
        let placed = expr.transform_down(|part| {
            if !is_placed(&part) {
                return Ok(Transformed::no(part));
            }
            let name = prepared_name(self.place(&part));
            let column = Expr::Column(Column::new_unqualified(name));
            Ok::<_, DataFusionError>(Transformed::new(column, true, TreeNodeRecursion::Jump))
        })?;
        Ok(placed.data)
    }

    pub(super) fn schema(&self) -> Result<SchemaRef> {
        let fields = self.columns.iter().enumerate().map(|(place, column)| {
            let (_, field) = column.to_field(self.input)?;
            Ok(Field::new(prepared_name(place), field.data_type().clone(), field.is_nullable()))
        });
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
    }
}

fn prepared_name(place: usize) -> String {
    format!("c{place}")
}

pub(super) fn prepared_column(place: usize) -> Expr {
    Expr::Column(Column::new_unqualified(prepared_name(place)))
}

/// The windows of an operator over prepared rows.
pub(super) struct Shape {
    pub(super) kind: WindowKind,
    /// For its name.
    pub(super) function: &'static str,
    /// How far event time stays behind the watermark.
    pub(super) lag: i64,
    pub(super) keys: Vec<usize>,
    /// What a state window is a run of.
    pub(super) state: Option<usize>,
    /// Its results are given early, or corrected.
    pub(super) revision: Option<Revision>,
}

impl Lowering<'_> {
    /// `GROUP BY`.
    pub(super) fn aggregate(&mut self, query: &Aggregate) -> Result<Origin> {
        let by_rows = self.by_rows(query);
        let from = match windows_of(&query.input).filter(|_| !by_rows) {
            Some(windows) => {
                self.lag(windows.assign)?;
                self.window_input(windows.assign)?
            }
            None if self.has_instant(query) => self.final_rows(&query.input)?,
            None => self.lower_compact(&query.input)?,
        };
        match query.group_expr.as_slice() {
            [Expr::GroupingSet(sets)] => self.grouping_sets(query, sets, from, by_rows),
            _ if self.passes_distinct(query, from) => self.distinct_rows(query, from),
            _ => self.grouped(query, from, by_rows),
        }
    }

    /// `SELECT DISTINCT`: each row once, which is grouping by all columns.
    pub(super) fn distinct(&mut self, input: &Arc<LogicalPlan>) -> Result<Origin> {
        let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let names_window = windows_of(input).is_none_or(|windows| {
            windows.columns.iter().any(|column| windows.bound(&column.clone().unalias()).is_some())
        });
        let query = Aggregate::try_new(Arc::clone(input), columns, Vec::new())?;
        if names_window {
            return self.aggregate(&query);
        }
        let from = self.lower_compact(input)?;
        self.distinct_rows(&query, from)
    }

    /// True if every group is complete at some watermark.
    fn closes(&self, query: &Aggregate, from: Origin) -> bool {
        let times = |name: &str| self.program.times_of(name);
        !self.plan.is_changelog(from) && instant(&query.input, &query.group_expr, &times).is_some()
    }

    /// True if every group has an event time.
    fn has_instant(&self, query: &Aggregate) -> bool {
        let has_instant =
            |groups: &[Expr]| instant(&query.input, groups, &|name| self.program.times_of(name)).is_some();
        match query.group_expr.as_slice() {
            [Expr::GroupingSet(sets)] => sets_of(sets).iter().all(|set| has_instant(set)),
            groups => has_instant(groups),
        }
    }

    /// An aggregate without grouping sets over the rows of `from`, which are those below the window function if there
    /// is one and they are not grouped `by_rows`.
    pub(super) fn grouped(&mut self, query: &Aggregate, from: Origin, by_rows: bool) -> Result<Origin> {
        match windows_of(&query.input).filter(|_| !by_rows) {
            Some(windows) => self.by_window(query, &windows, from),
            None if self.closes(query, from) => self.by_instant(query, from),
            None => self.kept_groups(query, from),
        }
    }

    /// True if the bounds of the windows are mixed with other columns, or the rows of a session, count or state window are in
    /// several groups: then each row gets its bounds first, and is grouped by one of them.
    fn by_rows(&self, query: &Aggregate) -> bool {
        let Some(windows) = windows_of(&query.input) else { return false };
        let groups: Vec<Expr> = match query.group_expr.as_slice() {
            [Expr::GroupingSet(sets)] => sets.distinct_expr().into_iter().cloned().collect(),
            groups => groups.to_vec(),
        };
        let substituted = |expr: &Expr| windows.substituted(expr, &query.input).ok();
        let is_call_mixed = |expr: &Expr| substituted(expr).is_some_and(|expr| uses_window(&expr, &windows));
        let is_group_mixed = |expr: &Expr| substituted(expr).is_some_and(|expr| is_mixed(&expr, &windows));
        let mut filters = windows.filters.iter().cloned().flat_map(split_conjunction_owned);
        let is_mixed = query.aggr_expr.iter().any(is_call_mixed)
            || groups.iter().any(is_group_mixed)
            || filters.any(|filter| is_mixed(&filter, &windows));
        let groups: Vec<Expr> = groups.iter().filter_map(substituted).collect();
        (is_mixed || divides(&groups, &windows)) && self.has_instant(query)
    }

    fn by_window(&mut self, query: &Aggregate, windows: &Windows<'_>, from: Origin) -> Result<Origin> {
        let assign = windows.assign;
        let lag = self.lag(assign)?;
        let time = Expr::Column(assign.time.clone());
        let mut prepared = Prepared { input: assign.input.schema(), columns: vec![time] };
        let state = assign.state.clone().map(|state| prepared.place(&Expr::Column(state)));
        let mut keys = Vec::new();
        let groups = groups(query, windows, &mut prepared, &mut keys)?;
        check_keys(assign, &prepared, &keys)?;
        let Filters { before, within, after } = filters(windows)?;
        let mut after = after.map(|filter| over_result(filter, windows)).transpose()?;
        let mut calls = Vec::with_capacity(query.aggr_expr.len() + 1);
        if let Some(within) = &within {
            // A window none of whose rows fulfils the condition is not there.
            calls.push(only_where(count(lit(1)), within)?);
            let rows = Expr::Column(Column::new_unqualified(result_name(0)));
            after = conjunction(after.into_iter().chain([rows.gt(lit(0_i64))]));
        }
        for call in &query.aggr_expr {
            let call = windows.substituted(call, &query.input)?;
            if uses_window(&call, windows) {
                let what = "an aggregate of window_start or window_end";
                return Err(external(QueryError::not_supported(what, None)));
            }
            calls.push(match &within {
                Some(within) => only_where(call, within)?,
                None => call,
            });
        }
        let revision = self.revision(assign);
        // What is late is corrected rather than waited for.
        let lag = lag - revision.map_or(0, |revision| revision.lateness);
        let shape = Shape { kind: assign.kind, function: assign.function(), lag, keys, state, revision };
        let (from, result) = self.window_rows(from, prepared, calls, before.as_ref(), shape)?;
        let groups = groups.into_iter().map(|group| match group {
            Group::Key(key) => Ok(prepared_column(key)),
            Group::Window(expr) => over_result(expr, windows),
        });
        self.finish(query, groups.collect::<Result<_>>()?, after.as_ref(), from, &result)
    }

    /// Rows of one event time are a window of their own.
    fn by_instant(&mut self, query: &Aggregate, from: Origin) -> Result<Origin> {
        let times = |name: &str| self.program.times_of(name);
        let Some((place, lag)) = instant(&query.input, &query.group_expr, &times) else {
            return Err(super::internal("a group without an event time"));
        };
        let time = query.group_expr[place].clone().unalias();
        let mut prepared = Prepared { input: query.input.schema(), columns: vec![time.clone()] };
        let (mut keys, mut groups) = (Vec::new(), Vec::new());
        for expr in different(&query.group_expr) {
            let expr = expr.clone().unalias();
            if expr == time {
                groups.push(Expr::Column(Column::new_unqualified(WINDOW_START)));
                continue;
            }
            let key = prepared.place(&expr);
            if !keys.contains(&key) {
                keys.push(key);
            }
            groups.push(prepared_column(key));
        }
        let calls = query.aggr_expr.iter().map(|call| call.clone().unalias()).collect();
        let kind = WindowKind::Fixed(FixedWindows::tumbling(1));
        let shape = Shape { kind, function: "event time", lag, keys, state: None, revision: None };
        let (from, result) = self.window_rows(from, prepared, calls, None, shape)?;
        self.finish(query, groups, None, from, &result)
    }

    /// Adds the window operator behind what prepares its rows; gives its rows and their columns.
    fn window_rows(
        &mut self,
        from: Origin,
        mut prepared: Prepared<'_>,
        calls: Vec<Expr>,
        filter: Option<&Expr>,
        shape: Shape,
    ) -> Result<(Origin, SchemaRef)> {
        let calls = calls.into_iter().map(|call| prepared.over(call)).collect::<Result<Vec<_>>>()?;
        let (input, schema) = (prepared.input, prepared.schema()?);
        let mut from = from;
        if shape.revision.is_none_or(|revision| revision.lateness == 0) {
            self.only_added(from, shape.function)?;
        }
        if calls.iter().any(|call| names_text(call, &schema)) {
            from = self.plain(from, &Arc::new(input.as_arrow().clone()));
        }
        let from = self.map(from, input, filter, Some(&prepared.columns), Arc::clone(&schema))?;
        let named = DFSchema::try_from(schema.as_ref().clone())?;
        let mut shared = Arguments::default();
        let aggregates =
            calls.iter().map(|call| aggregate(call, &named, &mut shared)).collect::<Result<Vec<_>>>()?;
        Ok(self.window_node(from, &schema, aggregates, shape))
    }

    /// Adds the window operator over rows with the columns of `schema`; gives its rows and their columns.
    fn window_node(
        &mut self,
        from: Origin,
        schema: &SchemaRef,
        aggregates: Vec<Arc<dyn EngineAggregate>>,
        shape: Shape,
    ) -> (Origin, SchemaRef) {
        let result = result_schema(schema, &shape, &aggregates);
        let route = if shape.keys.is_empty() { Route::Gather } else { Route::ByKey(shape.keys.clone()) };
        let name = format!("{} aggregate", shape.function);
        let is_revised = shape.revision.is_some();
        let takes_changes = self.plan.is_changelog(from);
        let make = super::operators::window(shape, aggregates, Arc::clone(&result), takes_changes);
        let outputs = vec![Arc::clone(&result)];
        let from = self.node(&name, vec![Input { from, route }], outputs, false, move |_| make());
        if is_revised {
            self.mark_changelog(from);
        }
        (from, result)
    }

    /// How far the time of a window stays behind the watermark.
    fn lag(&self, assign: &AssignWindow) -> Result<i64> {
        let lag = crate::event_time::lag_of_time(assign, &|name| self.program.times_of(name));
        lag.ok_or_else(|| {
            let relation =
                assign.time.relation.as_ref().map_or_else(|| "the relation".to_owned(), ToString::to_string);
            let time = &assign.time.name;
            if assign.input.exists(|node| Ok(matches!(node, LogicalPlan::Window(_)))).unwrap_or(false) {
                let function = assign.function();
                let message = format!("{function} needs event time: {time:?} is none behind OVER that waits");
                let help = "use OVER (PARTITION BY key ORDER BY ts) with a frame that ends at its row or a fixed time \
                            after it, or put OVER behind the window";
                return external(QueryError::invalid(message, None).with_help(help));
            }
            if let Some((what, help)) = held_back(&assign.input) {
                let function = assign.function();
                let message = format!("{function} needs event time: {time:?} is none behind {what}");
                return external(QueryError::invalid(message, None).with_help(help));
            }
            let message =
                format!("{} needs a watermark: column {time:?} of {relation:?} has none", assign.function());
            let help = format!(
                "add WATERMARK FOR {time} AS {time} - INTERVAL '5' SECOND to the source, \
                 or use the column that has the event time"
            );
            external(QueryError::invalid(message, None).with_help(help))
        })
    }

    /// From keys, window and results to the columns of the query; `groups` are over the columns of the operator.
    fn finish(
        &mut self,
        query: &Aggregate,
        mut columns: Vec<Expr>,
        filter: Option<&Expr>,
        from: Origin,
        result: &SchemaRef,
    ) -> Result<Origin> {
        let named = DFSchema::try_from(result.as_ref().clone())?;
        let results = &result.fields()[result.fields().len() - query.aggr_expr.len()..];
        columns.extend(results.iter().map(|field| Expr::Column(Column::new_unqualified(field.name()))));
        let schema = Arc::new(query.schema.as_arrow().clone());
        self.map(from, &named, filter, Some(&columns), schema)
    }

    /// A window function without an aggregate: each row with the bounds of its windows.
    pub(super) fn assign(&mut self, assign: &AssignWindow) -> Result<Origin> {
        let WindowKind::Fixed(windows) = assign.kind else { return self.rows_of_windows(assign) };
        let input = &assign.input;
        let time = input.schema().index_of_column(&assign.time)?;
        let from = self.lower(input)?;
        self.only_added(from, assign.function())?;
        let mut fields = arrow_schema(input).fields().to_vec();
        fields.extend([WINDOW_START, WINDOW_END].map(|name| Arc::new(event_time_field(name))));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let make = super::operators::assign(time, windows, Arc::clone(&schema));
        let input = Input { from, route: Route::Local };
        Ok(self.node(assign.function(), vec![input], vec![schema], true, move |_| make()))
    }
}

impl Lowering<'_> {
    /// The rows of windows whose bounds depend on the rows around: collected until their window closes.
    fn rows_of_windows(&mut self, assign: &AssignWindow) -> Result<Origin> {
        let lag = self.lag(assign)?;
        let input = assign.input.schema();
        let time = Expr::Column(assign.time.clone());
        let mut prepared = Prepared { input, columns: vec![time] };
        let keys = assign.keys.iter().map(|key| prepared.place(&Expr::Column(key.clone()))).collect();
        let state = assign.state.clone().map(|state| prepared.place(&Expr::Column(state)));
        let all: Vec<usize> =
            input.columns().into_iter().map(|column| prepared.place(&Expr::Column(column))).collect();
        let schema = prepared.schema()?;
        let from = self.final_rows(&assign.input)?;
        self.only_added(from, assign.function())?;
        let declared = arrow_schema(&assign.input);
        let from = self.plain(from, &declared);
        let from = self.map(from, input, None, Some(&prepared.columns), Arc::clone(&schema))?;
        let rows: Arc<dyn EngineAggregate> = Arc::new(AllRows::new(&all, &schema));
        let shape =
            Shape { kind: assign.kind, function: assign.function(), lag, keys, state, revision: None };
        let (from, _) = self.window_node(from, &schema, vec![rows], shape);
        let mut fields = declared.fields().to_vec();
        fields.extend([WINDOW_START, WINDOW_END].map(|name| Arc::new(event_time_field(name))));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let outputs = vec![Arc::clone(&schema)];
        let input = Input { from, route: Route::Local };
        let make = move |_| -> lineshaft_engine::Result<Box<dyn lineshaft_engine::operator::Operator>> {
            Ok(Box::new(UnpackRows::new(Arc::clone(&schema))))
        };
        Ok(self.node("rows of windows", vec![input], outputs, true, make))
    }
}

/// The columns of an aggregate have each expression of `GROUP BY` once.
fn different(groups: &[Expr]) -> impl Iterator<Item = &Expr> {
    groups.iter().enumerate().filter(|(place, expr)| !groups[..*place].contains(expr)).map(|(_, expr)| expr)
}

/// Sorts the expressions of `GROUP BY` into keys and window.
fn groups(
    query: &Aggregate,
    windows: &Windows<'_>,
    prepared: &mut Prepared<'_>,
    keys: &mut Vec<usize>,
) -> Result<Vec<Group>> {
    let mut groups = Vec::with_capacity(query.group_expr.len());
    let mut has_window = false;
    for expr in different(&query.group_expr) {
        let expr = windows.substituted(expr, &query.input)?;
        if uses_window(&expr, windows) {
            if expr
                .column_refs()
                .iter()
                .any(|column| windows.bound(&Expr::Column((*column).clone())).is_none())
            {
                let what = "an expression of a window and another column in GROUP BY";
                return Err(external(QueryError::not_supported(what, None)));
            }
            has_window |= windows.bound(&expr).is_some();
            groups.push(Group::Window(expr));
        } else {
            let place = prepared.place(&expr);
            // The time itself may be a key; keys are columns of their own. A state is one of its window.
            let is_state =
                windows.assign.state.as_ref().is_some_and(|state| expr == Expr::Column(state.clone()));
            if !is_state && !keys.contains(&place) {
                keys.push(place);
            }
            groups.push(Group::Key(place));
        }
    }
    if !has_window {
        let message =
            format!("GROUP BY over {} must name window_start or window_end", windows.assign.function());
        let help = "add window_start, window_end to GROUP BY";
        return Err(external(QueryError::invalid(message, None).with_help(help)));
    }
    Ok(groups)
}

/// True if rows of one session, count or state window are grouped by more than its bounds, its keys and its state.
fn divides(groups: &[Expr], windows: &Windows<'_>) -> bool {
    let assign = windows.assign;
    let of_window: Vec<Expr> = assign.keys.iter().chain(&assign.state).cloned().map(Expr::Column).collect();
    let has_keys = assign.keys.iter().all(|key| groups.contains(&Expr::Column(key.clone())));
    let is_more = |expr: &Expr| !of_window.contains(expr) && !uses_window(expr, windows);
    !matches!(assign.kind, WindowKind::Fixed(_)) && has_keys && groups.iter().any(is_more)
}

/// A session, count or state window is kept per key, and that key must be what is grouped by.
fn check_keys(assign: &AssignWindow, prepared: &Prepared<'_>, keys: &[usize]) -> Result<()> {
    if matches!(assign.kind, WindowKind::Fixed(_)) {
        return Ok(());
    }
    let grouped: Vec<&Expr> = keys.iter().map(|key| &prepared.columns[*key]).collect();
    let wanted: Vec<Expr> = assign.keys.iter().cloned().map(Expr::Column).collect();
    let missing = wanted.iter().find(|key| !grouped.contains(key));
    if let Some(missing) = missing {
        let message = format!("GROUP BY must name the key of the {} window: {missing}", assign.function());
        return Err(external(QueryError::invalid(message, None)));
    }
    if let Some(more) = grouped.iter().find(|key| !wanted.contains(key)) {
        let message = format!("{} is grouped by {more}, which is not a key of the window", assign.function());
        let help = format!("add it to the arguments: {}(..., {more})", assign.function());
        return Err(external(QueryError::invalid(message, None).with_help(help)));
    }
    Ok(())
}

/// What the rows of windows have passed.
struct Filters {
    /// Conditions on rows that may come before the window.
    before: Option<Expr>,
    /// Conditions on rows that may not: without these rows a session, count or state window would be another.
    within: Option<Expr>,
    /// Conditions on the window.
    after: Option<Expr>,
}

fn filters(windows: &Windows<'_>) -> Result<Filters> {
    let (mut before, mut within, mut after) = (Vec::new(), Vec::new(), Vec::new());
    let assign = windows.assign;
    let is_by_time = matches!(assign.kind, WindowKind::Fixed(_));
    for condition in windows.filters.iter().cloned().flat_map(split_conjunction_owned) {
        if !uses_window(&condition, windows) {
            let is_of_keys = condition.column_refs().iter().all(|column| assign.keys.contains(column));
            if is_by_time || is_of_keys {
                before.push(condition)
            } else {
                within.push(condition)
            }
            continue;
        }
        let is_known = |column: &Column| windows.bound(&Expr::Column(column.clone())).is_some();
        if !condition.column_refs().iter().all(|column| is_known(column)) {
            let what = "a condition on a window and another column before GROUP BY";
            return Err(external(QueryError::not_supported(what, None)));
        }
        after.push(condition);
    }
    Ok(Filters { before: conjunction(before), within: conjunction(within), after: conjunction(after) })
}

/// The aggregate over the rows for which `condition` holds.
fn only_where(call: Expr, condition: &Expr) -> Result<Expr> {
    let Expr::AggregateFunction(mut call) = call else {
        return Err(super::internal("an aggregate that is none"));
    };
    let conditions = call.params.filter.take().map(|filter| *filter).into_iter();
    call.params.filter = conjunction(conditions.chain([condition.clone()])).map(Box::new);
    Ok(Expr::AggregateFunction(call))
}

/// True if the expression is of a bound of the window and of another column.
fn is_mixed(expr: &Expr, windows: &Windows<'_>) -> bool {
    let columns = expr.column_refs();
    let bounds =
        columns.iter().filter(|column| windows.bound(&Expr::Column((**column).clone())).is_some()).count();
    (1..columns.len()).contains(&bounds)
}

fn uses_window(expr: &Expr, windows: &Windows<'_>) -> bool {
    expr.column_refs().iter().any(|column| windows.bound(&Expr::Column((*column).clone())).is_some())
}

/// An expression of window columns over the columns of the window operator.
fn over_result(expr: Expr, windows: &Windows<'_>) -> Result<Expr> {
    let placed = expr.transform_up(|part| {
        let name = match windows.bound(&part) {
            Some(Bound::Start) => WINDOW_START,
            Some(Bound::End) => WINDOW_END,
            None => return Ok(Transformed::no(part)),
        };
        Ok::<_, DataFusionError>(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
    })?;
    Ok(placed.data)
}

/// True if an aggregate is computed of text, which it wants as it is declared.
pub(super) fn names_text(call: &Expr, prepared: &SchemaRef) -> bool {
    let is_text = |column: &Column| {
        prepared.field_with_name(&column.name).is_ok_and(|field| *field.data_type() == DataType::Utf8)
    };
    call.column_refs().into_iter().any(is_text)
}

fn result_name(place: usize) -> String {
    format!("r{place}")
}

/// Keys, the state of a state window, the window, then a column a result.
fn result_schema(prepared: &SchemaRef, shape: &Shape, aggregates: &[Arc<dyn EngineAggregate>]) -> SchemaRef {
    let keys = shape.keys.iter().chain(&shape.state);
    let mut fields: Vec<Field> = keys.map(|key| prepared.field(*key).clone()).collect();
    fields.extend([WINDOW_START, WINDOW_END].map(event_time_field));
    let results = aggregates.iter().enumerate();
    fields.extend(results.map(|(place, call)| call.result().clone().with_name(result_name(place))));
    Arc::new(Schema::new(fields))
}
