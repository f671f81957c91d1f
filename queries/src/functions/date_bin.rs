//! `date_bin(stride, time, origin)` in microseconds: exact for every `TIMESTAMP`, where DataFusion counts in nanoseconds and gives
//! NULL or refuses what is before 1677 or after 2262.

use std::sync::Arc;

use chrono::{DateTime, Datelike, Months};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_datafusion_err, plan_datafusion_err, plan_err};
use datafusion::functions::datetime;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The function. Times of day are left to DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateBin {
    signature: Signature,
}

impl DateBin {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The length of a bin.
#[derive(Clone, Copy)]
enum Stride {
    Micros(i64),
    Months(i64),
}

impl Stride {
    fn of(interval: IntervalMonthDayNano) -> std::result::Result<Self, &'static str> {
        let IntervalMonthDayNano { months, days, nanoseconds } = interval;
        if months != 0 {
            return match days == 0 && nanoseconds == 0 && months > 0 {
                true => Ok(Self::Months(months.into())),
                false => Err("the stride is of months, or of days and shorter units, and longer than zero"),
            };
        }
        let micros = i64::from(days).checked_mul(MICROS_PER_DAY);
        let micros = micros.and_then(|micros| micros.checked_add(nanoseconds / 1000));
        match micros {
            Some(micros) if micros > 0 && nanoseconds % 1000 == 0 => Ok(Self::Micros(micros)),
            _ => Err("the stride must be longer than zero, in whole microseconds"),
        }
    }

    /// The start of the bin that `time` lies in; `None` if it is out of range.
    fn start(self, time: i64, origin: i64) -> Option<i64> {
        match self {
            Self::Micros(stride) => {
                let since = i128::from(time) - i128::from(origin);
                match i64::try_from(since) {
                    Ok(since) => time.checked_sub(since.rem_euclid(stride)),
                    Err(_) => i64::try_from(i128::from(time) - since.rem_euclid(i128::from(stride))).ok(),
                }
            }
            Self::Months(stride) => by_months(stride, time, origin),
        }
    }
}

/// The same for months of the calendar: `origin` and a multiple of `stride` months, a day that a month has not being its last one.
fn by_months(stride: i64, time: i64, origin: i64) -> Option<i64> {
    let [time, origin] = [time, origin].map(DateTime::from_timestamp_micros);
    let (time, origin) = (time?, origin?);
    let month = |of: DateTime<_>| i64::from(of.year()) * 12 + i64::from(of.month());
    let bins = (month(time) - month(origin)).div_euclid(stride);
    let start = |bins: i64| {
        let months = bins.checked_mul(stride)?;
        let count = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
        if months < 0 { origin.checked_sub_months(count) } else { origin.checked_add_months(count) }
    };
    let same_month = start(bins)?;
    let start = if same_month > time { start(bins - 1)? } else { same_month };
    Some(start.timestamp_micros())
}

fn is_time_of_day(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Time32(_) | DataType::Time64(_))
}

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &str {
        "date_bin"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[1].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        if let Some(Some(ScalarValue::IntervalMonthDayNano(Some(stride)))) = args.scalar_arguments.first()
            && !is_time_of_day(args.arg_fields[1].data_type())
        {
            Stride::of(*stride).map_err(|wrong| plan_datafusion_err!("date_bin: {wrong}"))?;
        }
        Ok(Arc::new(Field::new(self.name(), args.arg_fields[1].data_type().clone(), true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (stride, time, origin) = match types {
            [stride, time] => (stride, time, None),
            [stride, time, origin] => (stride, time, Some(origin)),
            _ => {
                return plan_err!("wrong number of arguments: date_bin takes date_bin(stride, time, origin)");
            }
        };
        let is_interval = matches!(
            stride,
            DataType::Interval(_)
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Null
        );
        if !is_interval {
            return plan_err!("date_bin: the stride must be an interval, not {stride}");
        }
        let of_time = |found: &DataType| match found {
            DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
            DataType::Date32 | DataType::Date64 | DataType::Null => Some(lineshaft_engine::TIMESTAMP),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(lineshaft_engine::TIMESTAMP),
            found if is_time_of_day(found) => Some(found.clone()),
            _ => None,
        };
        let Some(time) = of_time(time) else {
            return plan_err!("date_bin: the time must be a TIMESTAMP, not {time}");
        };
        let mut coerced = vec![DataType::Interval(IntervalUnit::MonthDayNano), time.clone()];
        if let Some(origin) = origin {
            if of_time(origin).is_none() {
                return plan_err!("date_bin: the origin must be a TIMESTAMP, not {origin}");
            }
            coerced.push(time);
        }
        Ok(coerced)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if is_time_of_day(&args.args[1].data_type()) {
            return datetime::date_bin().inner().invoke_with_args(args);
        }
        let data_type = args.args[1].data_type();
        let rows = args.number_rows;
        let times = args.args[1].to_array(rows)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let origins = args.args.get(2).map(|origin| origin.to_array(rows)).transpose()?;
        let origins = origins.as_ref().map(|origins| origins.as_primitive::<TimestampMicrosecondType>());
        let origin = |row: usize| match origins {
            Some(origins) => origins.is_valid(row).then(|| origins.value(row)),
            None => Some(0),
        };
        let stride =
            |interval| Stride::of(interval).map_err(|wrong| exec_datafusion_err!("date_bin: {wrong}"));
        let starts = match &args.args[0] {
            ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(interval))) => {
                let stride = stride(*interval)?;
                starts(times, |row| Ok(origin(row).map(|origin| (stride, origin))))?
            }
            ColumnarValue::Scalar(_) => TimestampMicrosecondArray::new_null(rows),
            ColumnarValue::Array(strides) => {
                let strides = strides.as_primitive::<IntervalMonthDayNanoType>();
                starts(times, |row| {
                    let Some(origin) = origin(row).filter(|_| strides.is_valid(row)) else { return Ok(None) };
                    Ok(Some((stride(strides.value(row))?, origin)))
                })?
            }
        };
        let starts: ArrayRef = Arc::new(starts);
        Ok(ColumnarValue::Array(cast(&starts, &data_type)?))
    }
}

/// The starts of the bins of all times, by the stride and the origin of their row.
fn starts(
    times: &TimestampMicrosecondArray,
    of: impl Fn(usize) -> Result<Option<(Stride, i64)>>,
) -> Result<TimestampMicrosecondArray> {
    let start = |(row, time): (usize, Option<i64>)| {
        let (Some(time), Some((stride, origin))) = (time, of(row)?) else { return Ok(None) };
        let start = stride.start(time, origin);
        start.map(Some).ok_or_else(|| exec_datafusion_err!("date_bin: the start of the bin is out of range"))
    };
    times.iter().enumerate().map(start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    #[test]
    fn a_bin_begins_at_or_before_its_time_however_far_the_origin_is() {
        let minute = Stride::Micros(60_000_000);
        assert_eq!(minute.start(61_000_000, 0), Some(60_000_000));
        assert_eq!(minute.start(-1, 0), Some(-60_000_000));
        assert_eq!(minute.start(60_000_000, 1_000_000), Some(1_000_000));
        assert_eq!(minute.start(i64::MAX, i64::MIN).map(|start| start > i64::MAX - 60_000_000), Some(true));
        assert_eq!(minute.start(i64::MIN, 0), None);
        let (time, origin) = (micros("2026-03-29T01:30:00Z"), micros("0001-01-01T00:00:00Z"));
        let day = Stride::Micros(MICROS_PER_DAY);
        assert_eq!(day.start(time, origin), Some(micros("2026-03-29T00:00:00Z")));
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        let start = |stride, time, origin| Stride::Months(stride).start(micros(time), micros(origin));
        let origin = "2025-12-15T00:00:00Z";
        assert_eq!(start(1, "2026-03-29T00:50:00Z", origin), Some(micros("2026-03-15T00:00:00Z")));
        assert_eq!(start(1, "2026-03-14T23:59:59Z", origin), Some(micros("2026-02-15T00:00:00Z")));
        assert_eq!(start(3, "2025-01-01T00:00:00Z", origin), Some(micros("2024-12-15T00:00:00Z")));
        let last = "2024-01-31T00:00:00Z";
        assert_eq!(start(1, "2024-02-29T12:00:00Z", last), Some(micros("2024-02-29T00:00:00Z")));
    }

    #[test]
    fn a_stride_is_longer_than_zero_and_of_one_kind() {
        let of = |months, days, nanoseconds| Stride::of(IntervalMonthDayNano { months, days, nanoseconds });
        assert!(of(0, 1, 1000).is_ok());
        assert!(of(0, 0, 0).is_err() && of(-1, 0, 0).is_err() && of(1, 1, 0).is_err());
        assert!(of(0, 0, 1500).is_err() && of(0, -1, 0).is_err());
    }
}
