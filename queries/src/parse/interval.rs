//! Spans of time as they are written: `INTERVAL '5' SECOND`, `INTERVAL '5 seconds'`.

use arrow::compute::kernels::cast_utils::{
    IntervalParseConfig, IntervalUnit, parse_interval_month_day_nano_config,
};
use datafusion::sql::sqlparser::ast::{Expr, Interval, Value};

use crate::error::QueryError;

/// The least interval that makes sense somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Least {
    /// Zero is fine: a disorder.
    Zero,
    /// It must be longer: a window, a period.
    AboveZero,
}

const US_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// The microseconds of an `INTERVAL`. A day is 24 hours.
///
/// # Errors
/// If it is no constant, has months or years (whose length varies) or is too short.
pub fn interval_us(interval: &Expr, least: Least) -> Result<i64, QueryError> {
    let text = constant(interval).ok_or_else(|| {
        QueryError::invalid("the interval is not a constant", None)
            .with_help("write it as INTERVAL '5' SECOND")
    })?;
    let config = IntervalParseConfig::new(IntervalUnit::Second);
    let parsed = parse_interval_month_day_nano_config(&text, config).map_err(|_| {
        QueryError::invalid(format!("interval {text:?} is not a span of time"), None)
            .with_help("write it as INTERVAL '5' SECOND")
    })?;
    if parsed.months != 0 {
        return Err(QueryError::invalid(format!("interval {text:?} has no fixed length"), None)
            .with_help("months and years vary: use days, hours, minutes or seconds"));
    }
    if parsed.nanoseconds % 1_000 != 0 {
        return Err(QueryError::invalid(format!("interval {text:?} is finer than a microsecond"), None));
    }
    let micros = i64::from(parsed.days) * US_PER_DAY + parsed.nanoseconds / 1_000;
    match least {
        Least::Zero if micros < 0 => Err(QueryError::invalid(format!("interval {text:?} is negative"), None)),
        Least::AboveZero if micros <= 0 => {
            Err(QueryError::invalid(format!("interval {text:?} is not longer than zero"), None))
        }
        _ => Ok(micros),
    }
}

/// `5 SECOND` of `INTERVAL '5' SECOND`.
fn constant(interval: &Expr) -> Option<String> {
    let Expr::Interval(Interval {
        value,
        leading_field,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }) = interval
    else {
        return None;
    };
    let Expr::Value(value) = value.as_ref() else {
        return None;
    };
    let number = match &value.value {
        Value::SingleQuotedString(text) => text,
        Value::Number(digits, _) => digits,
        _ => return None,
    };
    Some(match leading_field {
        Some(unit) => format!("{number} {unit}"),
        None => number.clone(),
    })
}
