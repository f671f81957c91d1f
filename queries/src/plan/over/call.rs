//! Functions with `OVER` and their frames, as the operator takes them.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment, Sort, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use lineshaft_operators::over::{Call, Frame, Function, Units, Value};

use super::super::{Result, internal};
use crate::error::QueryError;
use crate::expression::{Arguments, aggregate, expression};
use crate::functions::{self, OnlineFunction};
use crate::window_function::external;

/// The function of a column of a plan.
pub(super) fn function(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::Alias(alias) => function(&alias.expr),
        Expr::WindowFunction(function) => Some(function),
        _ => None,
    }
}

/// How long functions hold rows back beyond the watermark, microseconds; `None` if there is no limit, or if they are not
/// computed in the order of event time. `times` are those of the columns of `input`.
pub(crate) fn delay(calls: &[Expr], input: &DFSchema, times: &[Option<i64>]) -> Option<i64> {
    let mut calls = calls.iter().map(|call| {
        let call = function(call)?;
        event_time(&call.params.order_by, input, times)?;
        delay_of(call)
    });
    calls.try_fold(0, |most, delay| Some(delay?.max(most)))
}

/// The column of event time by which rows are sorted, and how far it stays behind the watermark; `None` if they are
/// sorted in another way.
pub(super) fn event_time(order_by: &[Sort], input: &DFSchema, times: &[Option<i64>]) -> Option<(usize, i64)> {
    let first = order_by.first().filter(|first| first.asc)?;
    let Expr::Column(column) = first.expr.clone().unalias_nested().data else { return None };
    let place = input.index_of_column(&column).ok()?;
    Some((place, times.get(place).copied().flatten()?))
}

pub(super) fn delay_of(call: &WindowFunction) -> Option<i64> {
    let frame = match &call.fun {
        WindowFunctionDefinition::WindowUDF(udf) => match udf.name() {
            "first_value" | "last_value" | "nth_value" => frame(&call.params.window_frame).ok()??,
            "lag" | "lead" => shift(call).ok()??.0,
            "row_number" | "rank" | "dense_rank" => Frame::row(0),
            name if functions::online(name).is_some() => Frame::row(0),
            _ => return None,
        },
        WindowFunctionDefinition::AggregateUDF(_) => frame(&call.params.window_frame).ok()??,
    };
    match frame.units {
        _ if frame.end <= 0 => Some(0),
        Units::Rows => None,
        Units::Range => Some(frame.end),
        Units::Months => Some(frame.end.saturating_mul(31 * 86_400_000_000)),
    }
}

/// The call of the operator for a function; `None` if its result needs the last row of a partition, of which a stream has
/// none.
pub(super) fn call(call: &WindowFunction, input: &DFSchema, shared: &mut Arguments) -> Result<Option<Call>> {
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
            let Some(frame) = frame(&params.window_frame)? else { return Ok(None) };
            return Ok(Some(Call { function: Function::Aggregate(aggregate(&expr, input, shared)?), frame }));
        }
        WindowFunctionDefinition::WindowUDF(udf) => udf,
    };
    let numbered = |function| Ok(Some(Call { function, frame: Frame::row(0) }));
    let valued = |value, frame| Ok(Some(Call { function: Function::Value(value), frame }));
    match udf.name() {
        "row_number" => numbered(Function::RowNumber),
        "rank" => numbered(Function::Rank),
        "dense_rank" => numbered(Function::DenseRank),
        "lag" | "lead" => {
            let Some((frame, n)) = shift(call)? else { return Ok(None) };
            valued(value(call, n, shift_default(call, input)?, input)?, frame)
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
            let Some(frame) = frame(&params.window_frame)? else { return Ok(None) };
            valued(value(call, n, None, input)?, frame)
        }
        name => match functions::online(name) {
            Some(found) => numbered(online(call, found, input)?),
            // NTILE, PERCENT_RANK, CUME_DIST.
            None => Ok(None),
        },
    }
}

fn online(call: &WindowFunction, found: &OnlineFunction, input: &DFSchema) -> Result<Function> {
    let args = &call.params.args;
    let constants = args[found.constants()].iter().map(|argument| literal(call, argument).cloned());
    let arguments = found.columns().map(|place| expression(&args[place], input));
    Ok(Function::Online {
        function: found.with(&constants.collect::<Result<Vec<_>>>()?)?,
        arguments: arguments.collect::<Result<_>>()?,
        is_timed: found.is_timed(),
    })
}

fn value(call: &WindowFunction, n: i64, default: Option<ArrayRef>, input: &DFSchema) -> Result<Value> {
    let argument = call.params.args.first().ok_or_else(|| internal("a value of nothing"))?;
    Ok(Value { argument: expression(argument, input)?, n, ignore_nulls: ignores_nulls(call), default })
}

fn ignores_nulls(call: &WindowFunction) -> bool {
    call.params.null_treatment == Some(NullTreatment::IgnoreNulls)
}

/// The frame of `LAG` or `LEAD`, and which of its values is meant; `None` if it would wait for ever where no other value
/// comes.
fn shift(call: &WindowFunction) -> Result<Option<(Frame, i64)>> {
    let offset = whole(call, 1)?.unwrap_or(1);
    let back = if call.fun.name() == "lag" { offset } else { offset.saturating_neg() };
    Ok(match ignores_nulls(call) {
        _ if back == 0 => Some((Frame::row(0), 1)),
        false => Some((Frame::row(back.saturating_neg()), 1)),
        true if back > 0 => Some((Frame { units: Units::Rows, start: None, end: -1 }, back.saturating_neg())),
        true => None,
    })
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

/// `None` if it has no end, or counts groups of equal rows.
fn frame(frame: &WindowFrame) -> Result<Option<Frame>> {
    let units = match frame.units {
        WindowFrameUnits::Rows => Units::Rows,
        WindowFrameUnits::Range if [&frame.start_bound, &frame.end_bound].into_iter().any(is_of_months) => {
            Units::Months
        }
        WindowFrameUnits::Range => Units::Range,
        WindowFrameUnits::Groups => return Ok(None),
    };
    let start = offset(units, &frame.start_bound)?;
    let Some(end) = offset(units, &frame.end_bound)? else { return Ok(None) };
    if start.is_some_and(|start| start > end) {
        let message = "a frame of OVER must not start after its end";
        return Err(external(QueryError::invalid(message, None)));
    }
    Ok(Some(Frame { units, start, end }))
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
        (Units::Months, value) => months(value),
        _ => None,
    };
    let found = found.ok_or_else(|| {
        let message = "RANGE in OVER needs intervals, of months alone or without months";
        let help = "write RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW";
        external(QueryError::invalid(message, None).with_help(help))
    })?;
    Ok(Some(found * sign))
}

fn is_of_months(bound: &WindowFrameBound) -> bool {
    match bound {
        WindowFrameBound::CurrentRow => false,
        WindowFrameBound::Preceding(value) | WindowFrameBound::Following(value) => {
            months(value).is_some_and(|months| months != 0)
        }
    }
}

/// An interval of months alone.
fn months(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval))
            if interval.days == 0 && interval.nanoseconds == 0 =>
        {
            Some(i64::from(interval.months))
        }
        ScalarValue::IntervalYearMonth(Some(months)) => Some(i64::from(*months)),
        _ => None,
    }
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
