//! `OVER`: functions over the rows around a row, in event-time order.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment, Sort, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition,
};
use lineshaft_engine::plan::{Input, Origin, Route};
use lineshaft_operators::over::{Call, Frame, Function, Over, OverOptions, Units, Value};

use super::{Lowering, Result, internal};
use crate::error::QueryError;
use crate::event_time::{common_partition, instant};
use crate::expression::{Arguments, aggregate, expression};
use crate::program::arrow_schema;
use crate::window_function::external;

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

impl Lowering<'_> {
    /// Functions with `OVER`: all rows with a column more for each.
    pub(super) fn over(&mut self, window: &Window) -> Result<Origin> {
        let Stack { input: below, calls } = Stack::of(window, |inner| self.is_per_window(inner))?;
        let input = below.schema();
        let names = arrow_schema(below);
        let width = names.fields().len();
        let times = self.times(below);
        let mut columns = Columns { input, all: input.columns().into_iter().map(Expr::Column).collect() };
        let mut shared = Arguments::default();
        let (mut steps, mut waits) = (Vec::new(), Some(0));
        for group in groups(&calls) {
            let (time, lag) = event_time(&group, input, &times)?;
            let Some(before) = waits else { return Err(both_wait()) };
            waits = waits.zip(group.delay).map(|(before, delay)| before + delay);
            let place = |key: &Expr| columns.place(key);
            let keys = group.partition_by.iter().map(place).collect::<Result<Vec<_>>>()?;
            let mut order = Vec::new();
            for sort in &group.order_by[1..] {
                let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
                order.push((columns.place(&sort.expr)?, options));
            }
            let calls = group.calls.iter().map(|(_, function)| call(function, input, &mut shared));
            let calls = calls.collect::<Result<Vec<_>>>()?;
            let options = OverOptions {
                time,
                keys,
                order,
                calls,
                input: Arc::clone(&names),
                schema: Arc::clone(&names),
            };
            let places: Vec<usize> = group.calls.iter().map(|(place, _)| *place).collect();
            steps.push((options, lag.saturating_add(before), places));
        }
        let mut from = self.lower(below)?;
        let prepared = columns.schema(&names)?;
        if columns.all.len() > width {
            from = self.map(from, input, None, Some(&columns.all), prepared)?;
        }
        let mut given: Vec<Column> = input.columns();
        given.resize(columns.all.len(), Column::new_unqualified(""));
        for (options, lag, places) in steps {
            let fields = places.iter().map(|place| Arc::clone(&calls[*place].field));
            from = self.over_node(from, options, lag, fields.collect());
            given.extend(places.iter().map(|place| calls[*place].column.clone()));
        }
        let place = |column: &Column| given.iter().position(|given| given == column);
        let keep: Option<Vec<usize>> = window.schema.columns().iter().map(place).collect();
        let keep = keep.ok_or_else(|| internal("a column of OVER is not there"))?;
        if keep.iter().copied().eq(0..given.len()) {
            return Ok(from);
        }
        Ok(self.columns(from, keep, Arc::new(window.schema.as_arrow().clone())))
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

fn function(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::Alias(alias) => function(&alias.expr),
        Expr::WindowFunction(function) => Some(function),
        _ => None,
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

/// The column of event time by which rows are sorted, and how far it stays behind the watermark.
fn event_time(group: &Group<'_>, input: &DFSchema, times: &[Option<i64>]) -> Result<(usize, i64)> {
    let name = group.calls.first().map_or("", |(_, call)| call.fun.name());
    let help = "write OVER (PARTITION BY key ORDER BY ts), ts being the event time";
    let Some(first) = group.order_by.first() else {
        let message = format!("{name} OVER needs ORDER BY the event time");
        return Err(external(QueryError::invalid(message, None).with_help(help)));
    };
    let sorted = first.expr.clone().unalias_nested().data;
    let found = match &sorted {
        Expr::Column(column) => input.index_of_column(column).ok(),
        _ => None,
    };
    let Some((place, lag)) = found.and_then(|place| Some((place, times.get(place).copied().flatten()?)))
    else {
        let message = format!("{name} OVER needs ORDER BY the event time: {sorted} is none");
        let help = format!(
            "{help}: the column of WATERMARK FOR, or a bound of a window; it is none behind LEAD or ROWS ... FOLLOWING"
        );
        return Err(external(QueryError::invalid(message, None).with_help(help)));
    };
    if !first.asc {
        let error = QueryError::not_supported("ORDER BY ... DESC in OVER", None);
        return Err(external(
            error.with_help("sort by the event time ascending; LEAD looks ahead, LAG back"),
        ));
    }
    Ok((place, lag))
}

fn both_wait() -> DataFusionError {
    let what = "LEAD or ROWS ... FOLLOWING twice, sorted or partitioned in different ways";
    let error = QueryError::not_supported(what, None);
    external(error.with_help("use the same PARTITION BY and ORDER BY for both, or RANGE ... FOLLOWING"))
}

/// How long functions hold rows back beyond the watermark, microseconds; `None` if there is no limit.
pub(crate) fn delay(calls: &[Expr]) -> Option<i64> {
    let mut calls = calls.iter().map(|call| delay_of(function(call)?));
    calls.try_fold(0, |most, delay| Some(delay?.max(most)))
}

fn delay_of(call: &WindowFunction) -> Option<i64> {
    let frame = match &call.fun {
        WindowFunctionDefinition::WindowUDF(udf) => match udf.name() {
            "first_value" | "last_value" | "nth_value" => frame(&call.params.window_frame).ok()?,
            "lag" | "lead" => shift(call).ok()?.0,
            _ => Frame::row(0),
        },
        WindowFunctionDefinition::AggregateUDF(_) => frame(&call.params.window_frame).ok()?,
    };
    match frame.units {
        _ if frame.end <= 0 => Some(0),
        Units::Rows => None,
        Units::Range => Some(frame.end),
    }
}

fn call(call: &WindowFunction, input: &DFSchema, shared: &mut Arguments) -> Result<Call> {
    let params = &call.params;
    let udf = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => {
            let expr = Expr::AggregateFunction(AggregateFunction::new_udf(
                Arc::clone(function),
                params.args.clone(),
                params.distinct,
                params.filter.clone(),
                Vec::new(),
                params.null_treatment,
            ));
            let function = Function::Aggregate(aggregate(&expr, input, shared)?);
            return Ok(Call { function, frame: frame(&params.window_frame)? });
        }
        WindowFunctionDefinition::WindowUDF(udf) => udf,
    };
    let numbered = |function| Ok(Call { function, frame: Frame::row(0) });
    match udf.name() {
        "row_number" => numbered(Function::RowNumber),
        "rank" => numbered(Function::Rank),
        "dense_rank" => numbered(Function::DenseRank),
        "lag" | "lead" => {
            let (frame, n) = shift(call)?;
            Ok(Call { function: Function::Value(value(call, n, shift_default(call, input)?, input)?), frame })
        }
        "first_value" | "last_value" | "nth_value" => {
            let n = match udf.name() {
                "first_value" => 1,
                "last_value" => -1,
                _ => whole(call, 1)?.filter(|n| *n != 0).ok_or_else(|| {
                    let message = "NTH_VALUE needs a number other than 0, such as nth_value(x, 2)";
                    external(QueryError::invalid(message, None))
                })?,
            };
            let frame = frame(&params.window_frame)?;
            Ok(Call { function: Function::Value(value(call, n, None, input)?), frame })
        }
        name => {
            let error = QueryError::not_supported(format!("{name} OVER"), None);
            Err(external(
                error.with_help("it needs all rows of its partition, of which a stream has no last"),
            ))
        }
    }
}

fn value(call: &WindowFunction, n: i64, default: Option<ArrayRef>, input: &DFSchema) -> Result<Value> {
    let argument = call.params.args.first().ok_or_else(|| internal("a value of nothing"))?;
    Ok(Value { argument: expression(argument, input)?, n, ignore_nulls: ignores_nulls(call), default })
}

fn ignores_nulls(call: &WindowFunction) -> bool {
    call.params.null_treatment == Some(NullTreatment::IgnoreNulls)
}

/// The frame of `LAG` or `LEAD`, and which of its values is meant.
fn shift(call: &WindowFunction) -> Result<(Frame, i64)> {
    let offset = whole(call, 1)?.unwrap_or(1);
    let back = if call.fun.name() == "lag" { offset } else { offset.saturating_neg() };
    match ignores_nulls(call) {
        _ if back == 0 => Ok((Frame::row(0), 1)),
        false => Ok((Frame::row(back.saturating_neg()), 1)),
        true if back > 0 => Ok((Frame { units: Units::Rows, start: None, end: -1 }, back.saturating_neg())),
        true => {
            let error = QueryError::not_supported("LEAD with IGNORE NULLS", None);
            Err(external(error.with_help("it would wait for ever where no other value comes")))
        }
    }
}

fn shift_default(call: &WindowFunction, input: &DFSchema) -> Result<Option<ArrayRef>> {
    let Some(default) = call.params.args.get(2) else { return Ok(None) };
    let value = literal(call, default)?;
    if value.is_null() {
        return Ok(None);
    }
    let data_type = call.params.args[0].get_type(input)?;
    Ok(Some(value.cast_to(&data_type)?.to_array_of_size(1)?))
}

fn literal<'a>(call: &WindowFunction, argument: &'a Expr) -> Result<&'a ScalarValue> {
    match argument {
        Expr::Literal(value, _) => Ok(value),
        Expr::Cast(cast) => literal(call, &cast.expr),
        other => {
            let name = call.fun.name().to_uppercase();
            let message = format!("{name}: {other} must be a constant");
            Err(external(QueryError::invalid(message, None)))
        }
    }
}

/// An argument that is a whole number.
fn whole(call: &WindowFunction, at: usize) -> Result<Option<i64>> {
    let Some(argument) = call.params.args.get(at) else { return Ok(None) };
    match literal(call, argument)?.cast_to(&DataType::Int64)? {
        ScalarValue::Int64(number) => Ok(number),
        _ => Ok(None),
    }
}

fn frame(frame: &WindowFrame) -> Result<Frame> {
    let units = match frame.units {
        WindowFrameUnits::Rows => Units::Rows,
        WindowFrameUnits::Range => Units::Range,
        WindowFrameUnits::Groups => {
            let error = QueryError::not_supported("GROUPS in OVER", None);
            return Err(external(error.with_help("use ROWS or RANGE")));
        }
    };
    let start = offset(units, &frame.start_bound)?;
    let Some(end) = offset(units, &frame.end_bound)? else {
        let error = QueryError::not_supported("UNBOUNDED FOLLOWING", None);
        let help = "a stream has no last row; end the frame at CURRENT ROW or at an offset";
        return Err(external(error.with_help(help)));
    };
    if start.is_some_and(|start| start > end) {
        let message = "a frame of OVER must not start after its end";
        return Err(external(QueryError::invalid(message, None)));
    }
    Ok(Frame { units, start, end })
}

/// An offset of a frame; `None` if it is unbounded.
fn offset(units: Units, bound: &WindowFrameBound) -> Result<Option<i64>> {
    let (value, sign) = match bound {
        WindowFrameBound::CurrentRow => return Ok(Some(0)),
        WindowFrameBound::Preceding(value) => (value, -1),
        WindowFrameBound::Following(value) => (value, 1),
    };
    if value.is_null() {
        return Ok(None);
    }
    let found = match (units, value) {
        (Units::Rows, ScalarValue::UInt64(Some(rows))) => i64::try_from(*rows).ok(),
        (Units::Range, value) => micros(value),
        _ => None,
    };
    let found = found.ok_or_else(|| {
        let message = "RANGE in OVER needs an interval of fixed length";
        let help = "write RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW";
        external(QueryError::invalid(message, None).with_help(help))
    })?;
    Ok(Some(found * sign))
}

/// An interval of fixed length.
fn micros(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            Some(i64::from(interval.days) * 86_400_000_000 + interval.nanoseconds / 1_000)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            Some(i64::from(interval.days) * 86_400_000_000 + i64::from(interval.milliseconds) * 1_000)
        }
        _ => None,
    }
}
