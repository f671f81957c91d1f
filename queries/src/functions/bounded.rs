//! Functions of DataFusion whose result is as long as an argument says: a wrong argument in one row must not take all memory.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, FieldRef, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::common::{Result, exec_err};
use datafusion::functions::{string, unicode};
use datafusion::functions_nested::range::{gen_series_udf, range_udf};
use datafusion::functions_nested::repeat::array_repeat_udf;
use datafusion::functions_nested::resize::array_resize_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Characters or repetitions of a text, or elements of an array, that a row may ask for.
const MOST: i64 = 1 << 20;

/// The functions, in the place of those of DataFusion.
pub(super) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let by_length =
        [string::repeat(), unicode::lpad(), unicode::rpad(), array_repeat_udf(), array_resize_udf()];
    let by_length = by_length.into_iter().map(|inner| Bounded { inner, length: Length::Second });
    let by_ends =
        [range_udf(), gen_series_udf()].into_iter().map(|inner| Bounded { inner, length: Length::Between });
    by_length.chain(by_ends).map(|function| Arc::new(ScalarUDF::from(function)))
}

/// A function that is asked for its length first.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    length: Length,
}

/// What says how long the result of a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Length {
    /// The second argument.
    Second,
    /// The steps between a start and a stop.
    Between,
}

impl Length {
    /// The greatest of the rows; `None` if they say nothing of it.
    fn of(self, arguments: &[ArrayRef]) -> Result<Option<i64>> {
        match self {
            Self::Second => second(arguments),
            Self::Between => between(arguments),
        }
    }
}

fn second(arguments: &[ArrayRef]) -> Result<Option<i64>> {
    let Some(lengths) = arguments.get(1) else { return Ok(None) };
    let lengths = cast(lengths, &DataType::Int64)?;
    Ok(lengths.as_primitive::<Int64Type>().iter().flatten().max())
}

/// From a start, 0 if there is none, to a stop: whole numbers, or times with an interval.
fn between(arguments: &[ArrayRef]) -> Result<Option<i64>> {
    let (start, stop, step) = match arguments {
        [] => return Ok(None),
        [stop] => (None, stop, None),
        [start, stop] => (Some(start), stop, None),
        [start, stop, step, ..] => (Some(start), stop, Some(step)),
    };
    let start = start.map(whole).transpose()?;
    let step = step.map(whole).transpose()?;
    let stop = whole(stop)?;
    let value = |column: &Option<Int64Array>, row: usize, default| match column {
        Some(column) if column.is_valid(row) => column.value(row),
        _ => default,
    };
    let length = |row: usize| {
        let steps =
            stop.value(row).abs_diff(value(&start, row, 0)) / value(&step, row, 1).unsigned_abs().max(1);
        i64::try_from(steps).unwrap_or(i64::MAX)
    };
    Ok((0..stop.len()).filter(|row| stop.is_valid(*row)).map(length).max())
}

/// Numbers as they are, times and intervals in microseconds; a month has 28 days at least.
fn whole(column: &ArrayRef) -> Result<Int64Array> {
    let column = match column.data_type() {
        DataType::Interval(_) => {
            let intervals = cast(column, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            let micros = |of: IntervalMonthDayNano| {
                let days = 28 * i64::from(of.months) + i64::from(of.days);
                days.saturating_mul(86_400_000_000).saturating_add(of.nanoseconds / 1000)
            };
            return Ok(intervals.as_primitive::<IntervalMonthDayNanoType>().unary(micros));
        }
        of if of.is_temporal() => cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?,
        _ => Arc::clone(column),
    };
    Ok(cast(&column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arguments = ColumnarValue::values_to_arrays(&args.args)?;
        match self.length.of(&arguments)? {
            Some(length) if length > MOST => {
                exec_err!("{} of length {length}, and a row may have at most {MOST}", self.name())
            }
            _ => self.inner.invoke_with_args(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[tokio::test]
    async fn what_is_as_long_as_a_row_says_has_a_limit() {
        let context = context();
        for (sql, expected) in [
            ("length(repeat('ab', 3))", "6"),
            ("lpad('x', 3, 'y')", "yyx"),
            ("rpad('x', -1, 'y')", ""),
            ("cardinality(array_repeat(1, 1000))", "1000"),
            ("cardinality(range(3, 9, 2))", "3"),
            ("cardinality(range(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL '1' HOUR))", "24"),
        ] {
            assert_eq!(table(&context, &format!("SELECT {sql}")).await, expected, "{sql}");
        }
        for sql in [
            "repeat('x', 2000000000)",
            "lpad('x', 2000000000, 'y')",
            "rpad('x', 9223372036854775807, 'y')",
            "array_repeat(1, 2000000)",
            "array_resize([1], 2000000, 0)",
            "range(2000000)",
            "range(9000000, 1, -2)",
            "generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-02-01', INTERVAL '1 second')",
        ] {
            let error = execute(&context, &format!("SELECT {sql}")).await.unwrap_err().to_string();
            assert!(error.contains("a row may have at most 1048576"), "{sql}: {error}");
        }
    }
}
