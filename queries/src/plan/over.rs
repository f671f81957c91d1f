//! `OVER`: functions over the rows around a row, in event-time order; or over all rows of a partition, as a changelog.

mod call;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Window};
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::changelog::functions::{PartitionFunctions, PartitionFunctionsOptions};
use lineshaft_operators::over::{Over, OverOptions};

use super::revision::Expected;
use super::{Lowering, Result, internal};
use crate::event_time::{common_partition, instant};
use crate::expression::Arguments;
use crate::partitions::Partitions;
use crate::program::arrow_schema;

use call::{call, delay_of, event_time, function};

pub(crate) use call::delay;

/// Functions with the same `PARTITION BY` and `ORDER BY`.
struct Group<'a> {
    partition_by: &'a [Expr],
    order_by: &'a [Sort],
    /// With their places among the functions of the plan.
    calls: Vec<(usize, &'a WindowFunction)>,
    /// See [`delay`].
    delay: Option<i64>,
}

/// Columns of the input, and what is computed beside them to partition and sort by.
struct Columns<'a> {
    input: &'a DFSchema,
    all: Vec<Expr>,
}

impl Columns<'_> {
    fn place(&mut self, expr: &Expr) -> Result<usize> {
        let expr = expr.clone().unalias_nested().data;
        if let Expr::Column(column) = &expr {
            return self.input.index_of_column(column);
        }
        let known = self.all.iter().position(|other| *other == expr);
        Ok(known.unwrap_or_else(|| {
            self.all.push(expr);
            self.all.len() - 1
        }))
    }

    fn schema(&self, names: &SchemaRef) -> Result<SchemaRef> {
        let mut fields = names.fields().to_vec();
        for (place, expr) in self.all.iter().enumerate().skip(fields.len()) {
            let (_, field) = expr.to_field(self.input)?;
            fields.push(Arc::new(Field::new(
                format!("c{place}"),
                field.data_type().clone(),
                field.is_nullable(),
            )));
        }
        Ok(Arc::new(Schema::new(fields)))
    }
}

/// Functions of several `OVER`, all over the rows of `input`.
struct Stack<'a> {
    input: &'a LogicalPlan,
    calls: Vec<Computed<'a>>,
}

/// A function and the column that it gives.
struct Computed<'a> {
    call: &'a WindowFunction,
    column: Column,
    field: Arc<Field>,
}

impl<'a> Stack<'a> {
    /// The functions of a query are one plan on top of the other, one for each way to sort; between them, columns
    /// that are needed no more are dropped.
    fn of(window: &'a Window, is_per_window: impl Fn(&Window) -> bool) -> Result<Self> {
        let mut stack = Self { input: &window.input, calls: results(window)? };
        while let Some(inner) = inner(stack.input) {
            // A function of a function stays where it is.
            let schema = inner.input.schema();
            let exprs = stack.calls.iter().map(|computed| Expr::from(computed.call.clone()));
            let is_own = |expr: Expr| expr.column_refs().iter().all(|column| schema.has_column(column));
            if is_per_window(inner) || !exprs.into_iter().all(is_own) {
                break;
            }
            stack.calls.extend(results(inner)?);
            stack.input = &inner.input;
        }
        Ok(stack)
    }
}

fn results(window: &Window) -> Result<Vec<Computed<'_>>> {
    let width = window.input.schema().fields().len();
    let columns = window.schema.columns().into_iter().zip(window.schema.fields()).skip(width);
    let computed = |(expr, (column, field)): (_, (Column, &Arc<Field>))| {
        let call = function(expr).ok_or_else(|| internal("a window without a function"))?;
        Ok(Computed { call, column, field: Arc::clone(field) })
    };
    window.window_expr.iter().zip(columns).map(computed).collect()
}

fn inner(plan: &LogicalPlan) -> Option<&Window> {
    match plan {
        LogicalPlan::Window(window) => Some(window),
        LogicalPlan::Projection(projection)
            if projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) =>
        {
            inner(&projection.input)
        }
        _ => None,
    }
}

/// What the operator does for a group, how far its time stays behind the watermark, and its functions by their places.
type Step = (OverOptions, i64, Vec<usize>);

impl Lowering<'_> {
    /// Functions with `OVER`: all rows with a column more for each.
    pub(super) fn over(&mut self, window: &Window) -> Result<Origin> {
        let Stack { input: below, calls } = Stack::of(window, |inner| self.is_per_window(inner))?;
        let input = below.schema();
        let names = arrow_schema(below);
        let mut columns = Columns { input, all: input.columns().into_iter().map(Expr::Column).collect() };
        let steps = steps(&calls, &self.times(below), &names, &mut columns)?;
        let mut from = self.expecting(Expected::Final, |lowering| lowering.lower(below))?;
        let Some(steps) = steps.filter(|_| !self.plan.is_changelog(from)) else {
            return self.of_all_rows(window, &calls, input, from);
        };
        let prepared = columns.schema(&names)?;
        if columns.all.len() > names.fields().len() {
            from = self.map(from, input, None, Some(&columns.all), prepared)?;
        }
        let mut given: Vec<Column> = input.columns();
        given.resize(columns.all.len(), Column::new_unqualified(""));
        for (options, lag, places) in steps {
            let fields = places.iter().map(|place| Arc::clone(&calls[*place].field));
            from = self.over_node(from, options, lag, fields.collect());
            given.extend(places.iter().map(|place| calls[*place].column.clone()));
        }
        self.shown(window, from, &given)
    }

    /// The columns of `window`, of those that are given.
    fn shown(&mut self, window: &Window, from: Origin, given: &[Column]) -> Result<Origin> {
        let place = |column: &Column| given.iter().position(|given| given == column);
        let keep: Option<Vec<usize>> = window.schema.columns().iter().map(place).collect();
        let keep = keep.ok_or_else(|| internal("a column of OVER is not there"))?;
        if keep.iter().copied().eq(0..given.len()) {
            return Ok(from);
        }
        Ok(self.columns(from, keep, Arc::new(window.schema.as_arrow().clone())))
    }

    /// Functions that need the last row of a partition or another order than that of event time, or whose rows may be
    /// taken back: computed anew with every change, so their rows may be taken back, too.
    fn of_all_rows(
        &mut self,
        window: &Window,
        calls: &[Computed<'_>],
        input: &DFSchema,
        from: Origin,
    ) -> Result<Origin> {
        let (mut from, mut schema) = (from, input.clone());
        for group in groups(calls) {
            let functions: Vec<Expr> =
                group.calls.iter().map(|(_, call)| Expr::from((*call).clone())).collect();
            let results = group.calls.iter().map(|(place, _)| {
                let Computed { column, field, .. } = &calls[*place];
                let field = field.as_ref().clone().with_name(&column.name);
                (column.relation.clone(), Arc::new(field))
            });
            let output = schema.join(&DFSchema::new_with_metadata(results.collect(), HashMap::new())?)?;
            let arrow: SchemaRef = Arc::new(output.as_arrow().clone());
            let partition = group.partition_by.iter().filter_map(|key| match key {
                Expr::Column(column) => schema.index_of_column(column).ok(),
                // The others part the rows when they are computed.
                _ => None,
            });
            let options = PartitionFunctionsOptions {
                input: self.plan.schema(from),
                schema: Arc::clone(&arrow),
                partition: partition.collect(),
                function: Arc::new(Partitions::new(&functions, &schema, Arc::clone(&arrow))?),
            };
            let operator = Arc::new(PartitionFunctions::new(options));
            from = self.changelog_node("functions of all rows", vec![from], arrow, operator);
            schema = output;
        }
        self.shown(window, from, &schema.columns())
    }

    /// The same for functions per window, over rows that may be taken back.
    pub(super) fn per_window_of_changelog(&mut self, window: &Window, from: Origin) -> Result<Origin> {
        self.of_all_rows(window, &results(window)?, window.input.schema(), from)
    }

    fn is_per_window(&self, window: &Window) -> bool {
        let common = common_partition(&window.window_expr);
        instant(&window.input, &common, &|name| self.program.times_of(name)).is_some()
    }

    fn over_node(
        &mut self,
        from: Origin,
        options: OverOptions,
        lag: i64,
        results: Vec<Arc<Field>>,
    ) -> Origin {
        let input = self.plan.schema(from);
        let schema: SchemaRef =
            Arc::new(Schema::new(input.fields().iter().cloned().chain(results).collect::<Vec<_>>()));
        let route = if options.keys.is_empty() { Route::Gather } else { Route::ByKey(options.keys.clone()) };
        let options = OverOptions { input, schema: Arc::clone(&schema), ..options };
        self.node("over", vec![Input { from, route }], vec![schema], false, move |_| {
            Ok(super::operators::lagged(lag, Box::new(Over::new(options.clone())?)))
        })
    }
}

/// Those that wait for rows come last: behind them nothing is sorted by event time.
fn groups<'a>(calls: &[Computed<'a>]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (place, Computed { call, .. }) in calls.iter().enumerate() {
        let (partition_by, order_by) = (&call.params.partition_by, &call.params.order_by);
        let same = |group: &&mut Group<'_>| group.partition_by == partition_by && group.order_by == order_by;
        match groups.iter_mut().find(same) {
            Some(group) => group.calls.push((place, call)),
            None => {
                let calls = vec![(place, *call)];
                groups.push(Group { partition_by, order_by, calls, delay: Some(0) });
            }
        }
    }
    for group in &mut groups {
        let mut calls = group.calls.iter().map(|(_, call)| delay_of(call));
        group.delay = calls.try_fold(0, |most, delay| Some(delay?.max(most)));
    }
    groups.sort_by_key(|group| group.delay.is_none());
    groups
}

/// How functions are computed in the order of event time; `None` if one of them cannot be.
fn steps(
    calls: &[Computed<'_>],
    times: &[Option<i64>],
    names: &SchemaRef,
    columns: &mut Columns<'_>,
) -> Result<Option<Vec<Step>>> {
    let input = columns.input;
    let mut shared = Arguments::default();
    let (mut steps, mut waits) = (Vec::new(), Some(0));
    for group in groups(calls) {
        // Behind rows that wait for others nothing is sorted by event time.
        let (Some((time, lag)), Some(before)) = (event_time(group.order_by, input, times), waits) else {
            return Ok(None);
        };
        waits = waits.zip(group.delay).map(|(before, delay)| before + delay);
        let keys = group.partition_by.iter().map(|key| columns.place(key)).collect::<Result<Vec<_>>>()?;
        let mut order = Vec::new();
        for sort in &group.order_by[1..] {
            let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
            order.push((columns.place(&sort.expr)?, options));
        }
        let calls = group.calls.iter().map(|(_, function)| call(function, input, &mut shared));
        let Some(calls) = calls.collect::<Result<Option<Vec<_>>>>()? else { return Ok(None) };
        let (input, schema) = (Arc::clone(names), Arc::clone(names));
        let options = OverOptions { time, keys, order, calls, input, schema };
        let places = group.calls.iter().map(|(place, _)| *place).collect();
        steps.push((options, lag.saturating_add(before), places));
    }
    Ok(Some(steps))
}
