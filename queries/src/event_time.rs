//! Which columns of a plan are event time, and which windows its rows are in.
//!
//! A column that is event time stays behind the watermark by a fixed *lag*: a row that comes after watermark `w` has
//! a value of at least `w - lag` in it. The event time of a source has lag 0; so has `window_end`; `window_start` has
//! the size of the window. Such a column is never NULL: a source keeps rows without event time apart. Only such a
//! column can be the time of another window, or close a group.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::WindowFunctionDefinition;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, ExprSchemable, Extension, Join, JoinType, LogicalPlan, Operator,
};
use lineshaft_engine::TIMESTAMP;

use crate::as_of::AsOfJoin;
use crate::context::{RelationSource, WorkTable};
use crate::functions::with_event_time;
use crate::time_bound::{as_of_times, joined_times, time_bound};
use crate::window_function::{AssignWindow, Resample, WINDOW_END, WINDOW_START, WindowKind};

/// The lag of each column, microseconds; `None` for a column that is no event time. `times_of` tells that of a
/// relation by name.
pub(crate) fn times(plan: &LogicalPlan, times_of: &dyn Fn(&str) -> Vec<Option<i64>>) -> Vec<Option<i64>> {
    let width = plan.schema().fields().len();
    let found = match plan {
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.downcast_ref::<RelationSource>();
            let all = source.map(|source| times_of(&source.name)).unwrap_or_default();
            match &scan.projection {
                Some(columns) => columns.iter().map(|column| all.get(*column).copied().flatten()).collect(),
                None => all,
            }
        }
        LogicalPlan::Projection(projection) => {
            let input = times(&projection.input, times_of);
            let schema = projection.input.schema();
            projection.expr.iter().map(|expr| lag_of_expr(expr, schema, &input)).collect()
        }
        LogicalPlan::Filter(filter) => times(&filter.input, times_of),
        LogicalPlan::SubqueryAlias(alias) => times(&alias.input, times_of),
        LogicalPlan::Unnest(unnest) => {
            let input = times(&unnest.input, times_of);
            let is_list = |column: usize| unnest.list_type_columns.iter().any(|(list, _)| *list == column);
            let lag = |column: &usize| if is_list(*column) { None } else { input[*column] };
            unnest.dependency_indices.iter().map(lag).collect()
        }
        LogicalPlan::Union(union) => {
            let inputs: Vec<_> = union.inputs.iter().map(|input| times(input, times_of)).collect();
            let column = |column: usize| {
                let lags: Option<Vec<i64>> =
                    inputs.iter().map(|lags| lags.get(column).copied().flatten()).collect();
                lags.and_then(|lags| lags.into_iter().max())
            };
            (0..width).map(column).collect()
        }
        LogicalPlan::Join(join) => times_of_join(join, times_of),
        LogicalPlan::Aggregate(aggregate) => {
            let groups = match aggregate.group_expr.as_slice() {
                [Expr::GroupingSet(sets)] => sets.distinct_expr().into_iter().cloned().collect(),
                groups => groups.to_vec(),
            };
            let mut lags = group_times(&aggregate.input, &groups, times_of);
            lags.resize(width, None);
            lags
        }
        // Without a window a row passes when it first comes.
        LogicalPlan::Distinct(Distinct::All(input)) if windows_of(input).is_none() => times(input, times_of),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
            group_times(input, &columns, times_of)
        }
        LogicalPlan::Window(window) => {
            let partition = common_partition(&window.window_expr);
            let input = window.input.schema();
            let mut lags = vec![None; width];
            if instant(&window.input, &partition, times_of).is_none() {
                // A frame that ends after its row holds it back.
                let rows = times(&window.input, times_of);
                let delay = crate::plan::delay(&window.window_expr, input, &rows);
                let delayed = |lag: Option<i64>| Some(lag?.saturating_add(delay?));
                lags.iter_mut().zip(rows).for_each(|(lag, row)| *lag = delayed(row));
                return lags;
            }
            for (expr, lag) in partition.iter().zip(held_times(&window.input, &partition, times_of)) {
                if let Expr::Column(column) = expr
                    && let Ok(index) = input.index_of_column(column)
                {
                    lags[index] = lag;
                }
            }
            lags
        }
        LogicalPlan::Extension(_) => match (AssignWindow::of(plan), AsOfJoin::of(plan)) {
            (Some(assign), _) => {
                let mut lags = times(&assign.input, times_of);
                // Rows of a window that ends by its rows come out when it does, however long that takes.
                if size_of(assign).is_none() {
                    lags.fill(None);
                }
                let base = lag_of_time(assign, times_of);
                lags.push(base.and_then(|base| Some(base + size_of(assign)?)));
                lags.push(base.and_then(|base| end_lag(assign, base)));
                lags
            }
            (_, Some(join)) => {
                let (left, right) = (times(&join.left, times_of), times(&join.right, times_of));
                as_of_times(join, &left, &right).unwrap_or_default()
            }
            _ => Resample::of(plan).map(|resample| times_of_points(resample, times_of)).unwrap_or_default(),
        },
        _ => Vec::new(),
    };
    if found.len() == width { found } else { vec![None; width] }
}

/// The lags of a `RESAMPLE`: a point comes out with the row after it, whenever that comes, unless gaps are skipped.
fn times_of_points(resample: &Resample, times_of: &dyn Fn(&str) -> Vec<Option<i64>>) -> Vec<Option<i64>> {
    let input = resample.input.schema();
    let mut lags = vec![None; input.fields().len()];
    if let Ok(time) = input.index_of_column(&resample.time)
        && let Some(Some(lag)) = times(&resample.input, times_of).get(time)
    {
        lags[time] = resample.delay().map(|delay| lag.saturating_add(delay));
    }
    lags
}

/// The lags of the groups of an aggregate over `input`.
fn group_times(
    input: &LogicalPlan,
    groups: &[Expr],
    times_of: &dyn Fn(&str) -> Vec<Option<i64>>,
) -> Vec<Option<i64>> {
    if let Some(windows) = windows_of(input) {
        let lag = |expr: &Expr| windows.lag_of(&windows.substituted(expr, input).ok()?, times_of);
        return groups.iter().map(lag).collect();
    }
    held_times(input, groups, times_of)
}

/// The lags of groups whose rows are kept until [`instant`] has passed: of that column, and of the other bound of its
/// window. How far other times are behind then is not known.
fn held_times(
    input: &LogicalPlan,
    groups: &[Expr],
    times_of: &dyn Fn(&str) -> Vec<Option<i64>>,
) -> Vec<Option<i64>> {
    let mut lags = vec![None; groups.len()];
    let Some((place, lag)) = instant(input, groups, times_of) else { return lags };
    lags[place] = Some(lag);
    let column = |expr: &Expr| match expr.clone().unalias() {
        Expr::Column(column) => Some(column),
        _ => None,
    };
    let Some(end) = column(&groups[place]).filter(|column| column.name == WINDOW_END) else { return lags };
    let all = times(input, times_of);
    for (group, found) in groups.iter().zip(&mut lags) {
        let start = column(group).filter(|c| c.name == WINDOW_START && c.relation == end.relation);
        let index = start.and_then(|start| input.schema().index_of_column(&start).ok());
        if let Some(index) = index {
            *found = all.get(index).copied().flatten();
        }
    }
    lags
}

/// What all of these window functions are partitioned by.
pub(crate) fn common_partition(functions: &[Expr]) -> Vec<Expr> {
    let mut partitions = functions.iter().map(|function| match function.clone().unalias() {
        Expr::WindowFunction(function) => function.params.partition_by,
        _ => Vec::new(),
    });
    let first = partitions.next().unwrap_or_default();
    partitions.fold(first, |common, other| common.into_iter().filter(|expr| other.contains(expr)).collect())
}

/// Which of these groups is an event time, with its lag: rows that share its value are complete when the watermark
/// is that far above it. Of several it is the one that is complete first.
pub(crate) fn instant(
    input: &LogicalPlan,
    groups: &[Expr],
    times_of: &dyn Fn(&str) -> Vec<Option<i64>>,
) -> Option<(usize, i64)> {
    let lags = times(input, times_of);
    let lag = |(place, expr): (usize, &Expr)| {
        let (_, field) = expr.to_field(input.schema().as_ref()).ok()?;
        let lag = lag_of_expr(expr, input.schema(), &lags)?;
        (*field.data_type() == TIMESTAMP).then_some((place, lag))
    };
    groups.iter().enumerate().filter_map(lag).min_by_key(|(place, lag)| (*lag, *place))
}

/// The lag of an expression that follows a column with event time.
fn lag_of_expr(expr: &Expr, schema: &DFSchema, lags: &[Option<i64>]) -> Option<i64> {
    let (column, behind) = follows(expr)?;
    let lag = lags.get(schema.index_of_column(column).ok()?).copied().flatten()?;
    Some(lag.saturating_add(behind))
}

/// The column that an expression never falls behind by more than so many microseconds.
fn follows(expr: &Expr) -> Option<(&Column, i64)> {
    match expr {
        Expr::Column(column) => Some((column, 0)),
        Expr::Alias(alias) => follows(&alias.expr),
        // The instant after a slice is already in the next one.
        Expr::ScalarFunction(call) => match (call.name(), call.args.as_slice()) {
            (
                "date_bin",
                [Expr::Literal(stride, _), of] | [Expr::Literal(stride, _), of, Expr::Literal(..)],
            ) => {
                let (column, behind) = follows(of)?;
                Some((column, behind.saturating_add(longest(stride)? - 1)))
            }
            ("date_trunc", [Expr::Literal(unit, _), of]) => {
                let (column, behind) = follows(of)?;
                Some((column, behind.saturating_add(unit_length(unit)? - 1)))
            }
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            let (Expr::Literal(interval, _), (column, behind)) = (right.as_ref(), follows(left)?) else {
                return None;
            };
            Some((column, behind.saturating_add(longest(interval)?)))
        }
        // Ahead of the watermark is not behind it: what follows waits longer than it had to.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
            match (left.as_ref(), right.as_ref()) {
                (Expr::Literal(interval, _), of) | (of, Expr::Literal(interval, _)) => {
                    longest(interval)?;
                    follows(of)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The longest time that an interval can be, microseconds; `None` if it is not longer than zero.
fn longest(interval: &ScalarValue) -> Option<i64> {
    let micros = match interval {
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            let days = i64::from(interval.months) * 31 + i64::from(interval.days);
            days * DAY + interval.nanoseconds.div_euclid(1000)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            i64::from(interval.days) * DAY + i64::from(interval.milliseconds) * 1000
        }
        _ => return None,
    };
    (micros > 0).then_some(micros)
}

/// The longest time that a unit of `date_trunc` can be, microseconds.
fn unit_length(unit: &ScalarValue) -> Option<i64> {
    let unit = unit.try_as_str().flatten()?.to_ascii_lowercase();
    Some(match unit.as_str() {
        "millisecond" => 1000,
        "second" => SECOND,
        "minute" => 60 * SECOND,
        "hour" => 3600 * SECOND,
        "day" => DAY,
        "week" => 7 * DAY,
        "month" => 31 * DAY,
        "quarter" => 92 * DAY,
        "year" => 366 * DAY,
        _ => return None,
    })
}

/// Microseconds.
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The lags of a join: of two streams by time, or of a stream with a table, which has no event time.
fn times_of_join(join: &Join, times_of: &dyn Fn(&str) -> Vec<Option<i64>>) -> Vec<Option<i64>> {
    let [mut left, mut right] = [&join.left, &join.right].map(|side| match is_reference(side) {
        true => vec![None; side.schema().fields().len()],
        false => times(side, times_of),
    });
    if !is_reference(&join.left) && !is_reference(&join.right) {
        let joined = time_bound(join, &left, &right);
        // Without a bound it is a changelog, whose rows have their times, too.
        if let Some(joined) = joined.and_then(|bound| joined_times(join, &bound, &left, &right)) {
            [left, right] = joined;
        }
    }
    // What may be missing is no event time.
    if matches!(join.join_type, JoinType::Right | JoinType::Full) {
        left.fill(None);
    }
    if matches!(join.join_type, JoinType::Left | JoinType::Full) {
        right.fill(None);
    }
    match join.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            left.extend(right);
            left
        }
        JoinType::LeftSemi | JoinType::LeftAnti => left,
        JoinType::RightSemi | JoinType::RightAnti => right,
        JoinType::LeftMark => left.into_iter().chain([None]).collect(),
        JoinType::RightMark => right.into_iter().chain([None]).collect(),
    }
}

/// True for a table with only filters and projections above it.
pub(crate) fn is_table(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => is_table(&filter.input),
        LogicalPlan::Projection(projection) => is_table(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_table(&alias.input),
        LogicalPlan::TableScan(scan) => {
            scan.source.downcast_ref::<RelationSource>().is_some_and(|source| source.is_table)
        }
        _ => false,
    }
}

/// True for what is made of tables alone and is there as soon as they are: a stream is looked up in it. What waits for a
/// watermark is not.
pub(crate) fn is_reference(plan: &LogicalPlan) -> bool {
    is_table(plan) || is_made_of_tables(plan)
}

fn is_made_of_tables(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => match scan.source.downcast_ref::<RelationSource>() {
            Some(source) => source.is_reference && source.event_time.is_none(),
            None => scan.source.downcast_ref::<WorkTable>().is_some(),
        },
        LogicalPlan::Filter(filter) => {
            is_made_of_tables(crate::plan::ranked_rows(filter).unwrap_or(&filter.input))
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => plan.inputs().into_iter().all(is_made_of_tables),
        _ => false,
    }
}

/// Windows that the rows of a plan are in: a window function with only projections, filters and aliases above it.
pub(crate) struct Windows<'a> {
    pub(crate) assign: &'a AssignWindow,
    /// For each column of the plan what it is in terms of the window function's columns.
    pub(crate) columns: Vec<Expr>,
    /// What the rows have passed, in the same terms.
    pub(crate) filters: Vec<Expr>,
}

/// See [`Windows`]; `None` if there is no window function, or something else above it.
pub(crate) fn windows_of(plan: &LogicalPlan) -> Option<Windows<'_>> {
    if let Some(assign) = AssignWindow::of(plan) {
        let columns = plan.schema().columns().into_iter().map(Expr::Column).collect();
        return Some(Windows { assign, columns, filters: Vec::new() });
    }
    match plan {
        LogicalPlan::SubqueryAlias(alias) => windows_of(&alias.input),
        LogicalPlan::Filter(filter) => {
            let mut windows = windows_of(&filter.input)?;
            let predicate = windows.substituted(&filter.predicate, &filter.input).ok()?;
            windows.filters.push(predicate);
            Some(windows)
        }
        LogicalPlan::Projection(projection) => {
            let mut windows = windows_of(&projection.input)?;
            let columns: Result<Vec<Expr>> =
                projection.expr.iter().map(|expr| windows.substituted(expr, &projection.input)).collect();
            windows.columns = columns.ok()?;
            Some(windows)
        }
        _ => None,
    }
}

impl Windows<'_> {
    /// `expr` over the columns of `plan` in terms of the columns of the window function, without its alias.
    pub(crate) fn substituted(&self, expr: &Expr, plan: &LogicalPlan) -> Result<Expr> {
        let schema = plan.schema();
        let replaced = expr.clone().unalias().transform_up(|part| match part {
            Expr::Column(column) => {
                let index = schema.index_of_column(&column)?;
                Ok(Transformed::yes(self.columns[index].clone().unalias()))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(replaced.data)
    }

    /// Which of the two columns that the window function adds `column` is.
    pub(crate) fn bound(&self, expr: &Expr) -> Option<Bound> {
        let Expr::Column(column) = expr else { return None };
        let schema = datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(self.assign);
        let place = schema.index_of_column(column).ok()?;
        match schema.fields().len() - place {
            1 => Some(Bound::End),
            2 => Some(Bound::Start),
            _ => None,
        }
    }

    fn lag_of(&self, expr: &Expr, times_of: &dyn Fn(&str) -> Vec<Option<i64>>) -> Option<i64> {
        let base = lag_of_time(self.assign, times_of)?;
        match self.bound(expr)? {
            Bound::End => end_lag(self.assign, base),
            Bound::Start => Some(base + size_of(self.assign)?),
        }
    }
}

/// A column that a window function adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// `window_start`
    Start,
    /// `window_end`
    End,
}

/// The lag of the event time of a window function.
pub(crate) fn lag_of_time(assign: &AssignWindow, times_of: &dyn Fn(&str) -> Vec<Option<i64>>) -> Option<i64> {
    let index = assign.input.schema().index_of_column(&assign.time).ok()?;
    times(&assign.input, times_of).get(index).copied().flatten()
}

/// The lag of the end of a window. A run of a state ends with its last row, which may be long ago when the next one
/// begins.
fn end_lag(assign: &AssignWindow, base: i64) -> Option<i64> {
    (assign.kind != WindowKind::State).then_some(base)
}

/// How long before its end a window begins, if that is fixed.
pub(crate) fn size_of(assign: &AssignWindow) -> Option<i64> {
    match assign.kind {
        WindowKind::Fixed(windows) => Some(windows.size),
        WindowKind::Session { .. } | WindowKind::Count { .. } | WindowKind::State => None,
    }
}

/// `EMIT EVERY`: the windows over which the query aggregates are given early; `None` if it has none.
pub(crate) fn emit_every(plan: LogicalPlan, every: i64) -> Result<Option<LogicalPlan>> {
    let early = plan.transform_down(|node| {
        if let Some(assign) = AssignWindow::of(&node) {
            let plan = LogicalPlan::Extension(Extension { node: Arc::new(assign.clone().emit_every(every)) });
            return Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump));
        }
        Ok(Transformed::no(node))
    })?;
    Ok(early.transformed.then_some(early.data))
}

/// True if `plan` has something that the watermark closes: a window, or groups or frames of an event time.
pub(crate) fn closes(plan: &LogicalPlan, times_of: &dyn Fn(&str) -> Vec<Option<i64>>) -> Result<bool> {
    plan.exists(|node| {
        Ok(match node {
            LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Distinct(_) => {
                time_column(node, times_of).is_some()
            }
            _ => AssignWindow::of(node).is_some(),
        })
    })
}

/// Gives the functions whose result depends on the order of rows the event time as their last argument, where the
/// query leaves it out. The columns keep their names.
pub(crate) fn fill_event_time(
    plan: LogicalPlan,
    times_of: &dyn Fn(&str) -> Vec<Option<i64>>,
) -> Result<LogicalPlan> {
    let filled = plan.transform_up_with_subqueries(|node| {
        if let LogicalPlan::Window(window) = &node {
            let Some(time) = time_column(&window.input, times_of) else { return Ok(Transformed::no(node)) };
            let calls: Vec<Expr> =
                window.window_expr.iter().map(|expr| over_with_time(expr, &time)).collect();
            if calls == window.window_expr {
                return Ok(Transformed::no(node));
            }
            let rebuilt = datafusion::logical_expr::Window::try_new(calls, Arc::clone(&window.input))?;
            return Ok(Transformed::yes(LogicalPlan::Window(rebuilt)));
        }
        let LogicalPlan::Aggregate(aggregate) = &node else { return Ok(Transformed::no(node)) };
        let Some(time) = time_column(&aggregate.input, times_of) else { return Ok(Transformed::no(node)) };
        let filled: Vec<Option<Expr>> =
            aggregate.aggr_expr.iter().map(|expr| with_time(expr, &time)).collect();
        if filled.iter().all(Option::is_none) {
            return Ok(Transformed::no(node));
        }
        let calls =
            filled.into_iter().zip(&aggregate.aggr_expr).map(|(filled, expr)| filled.unwrap_or(expr.clone()));
        let (input, groups) = (Arc::clone(&aggregate.input), aggregate.group_expr.clone());
        let rebuilt = datafusion::logical_expr::Aggregate::try_new(input, groups, calls.collect())?;
        Ok(Transformed::yes(LogicalPlan::Aggregate(rebuilt)))
    })?;
    Ok(filled.data)
}

/// The column of `plan` that holds the event time of the window function below it; without one, the column of event time
/// that is closest to the watermark.
fn time_column(plan: &LogicalPlan, times_of: &dyn Fn(&str) -> Vec<Option<i64>>) -> Option<Column> {
    let place = match windows_of(plan) {
        Some(windows) => {
            let time = Expr::Column(windows.assign.time.clone());
            windows.columns.iter().position(|column| column.clone().unalias() == time)?
        }
        None => {
            let lags = times(plan, times_of).into_iter().enumerate();
            lags.filter_map(|(place, lag)| Some((place, lag?))).min_by_key(|(_, lag)| *lag)?.0
        }
    };
    plan.schema().columns().into_iter().nth(place)
}

/// A function over a whole partition, which has no order of its own.
fn over_with_time(expr: &Expr, time: &Column) -> Expr {
    let name = expr.schema_name().to_string();
    let Expr::WindowFunction(mut call) = expr.clone().unalias() else { return expr.clone() };
    let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else { return expr.clone() };
    let parameters = &mut call.params;
    let args = std::mem::take(&mut parameters.args);
    let order_by = parameters.order_by.clone();
    let of_rows = AggregateFunction::new_udf(Arc::clone(function), args, false, None, order_by, None);
    let Some(AggregateFunction { func, params }) = with_event_time(&of_rows, Expr::Column(time.clone()))
    else {
        return expr.clone();
    };
    call.fun = WindowFunctionDefinition::AggregateUDF(func);
    call.params.args = params.args;
    Expr::WindowFunction(call).alias(name)
}

fn with_time(expr: &Expr, time: &Column) -> Option<Expr> {
    let name = expr.schema_name().to_string();
    let Expr::AggregateFunction(call) = expr.clone().unalias() else { return None };
    let call = with_event_time(&call, Expr::Column(time.clone()))?;
    Some(Expr::AggregateFunction(call).alias(name))
}

#[cfg(test)]
mod tests {
    use datafusion::functions::datetime;
    use datafusion::functions::datetime::expr_fn::date_trunc;
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn behind(expr: &Expr) -> Option<i64> {
        follows(expr).map(|(column, behind)| {
            assert_eq!(column.name, "ts");
            behind
        })
    }

    fn date_bin<const N: usize>(arguments: [Expr; N]) -> Expr {
        datetime::date_bin().call(arguments.into())
    }

    fn interval(days: i32, seconds: i64) -> Expr {
        lit(ScalarValue::new_interval_mdn(0, days, seconds * 1_000_000_000))
    }

    #[test]
    fn a_slice_of_time_is_over_when_the_next_one_begins() {
        assert_eq!(behind(&col("ts").alias("t")), Some(0));
        assert_eq!(behind(&date_bin([interval(0, 10), col("ts")])), Some(10 * SECOND - 1));
        assert_eq!(behind(&date_bin([interval(0, 10), col("ts"), lit("2026-01-01")])), Some(10 * SECOND - 1));
        assert_eq!(behind(&date_trunc(lit("minute"), col("ts"))), Some(60 * SECOND - 1));
        assert_eq!(behind(&(interval(0, 1) + (col("ts") + interval(1, 0)))), Some(0));
        assert_eq!(behind(&date_trunc(lit("day"), col("ts") - interval(0, 5))), Some(DAY - 1 + 5 * SECOND));
    }

    #[test]
    fn what_may_fall_behind_without_end_is_no_event_time() {
        let none = [
            date_bin([interval(0, 0), col("ts")]),
            date_trunc(lit("eon"), col("ts")),
            date_bin([col("stride"), col("ts")]),
            col("ts") + interval(0, -1),
            lit(1),
        ];
        assert_eq!(none.each_ref().map(behind), [None; 5]);
    }
}
