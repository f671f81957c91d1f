//! Values of a Parquet column as the declared type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use lineshaft_engine::TIMESTAMP;

use crate::format::timestamp::{TimestampFormat, Unit};

/// True if every value of the type `from` has its place in `to`, or is rejected row by row.
pub(super) fn fits(from: &DataType, to: &DataType, timestamp: &TimestampFormat) -> bool {
    use DataType::{Dictionary, Float32, Float64, LargeList, LargeUtf8, List, Timestamp, Utf8, Utf8View};
    let is_text = |data_type: &DataType| matches!(data_type, Utf8 | LargeUtf8 | Utf8View);
    match (from, to) {
        (from, to) if from == to => true,
        // As pandas writes a column in which all is missing.
        (DataType::Null, _) => true,
        (Dictionary(_, value), to) => fits(value, to, timestamp),
        (from, Dictionary(_, value)) => fits(from, value, timestamp),
        (Timestamp(..) | DataType::Date32 | DataType::Date64, Timestamp(..)) => true,
        (DataType::Date64, DataType::Date32) => true,
        (from, Timestamp(..)) if from.is_integer() || is_text(from) => {
            is_text(from) || matches!(timestamp, TimestampFormat::Unix(_))
        }
        (from, Float64) => from.is_numeric(),
        (DataType::Float16, Float32) => true,
        (from, to) if from.is_integer() && to.is_integer() => from.primitive_width() <= to.primitive_width(),
        (from, to) if is_text(to) => {
            is_text(from) || matches!(from, DataType::Binary | DataType::LargeBinary)
        }
        (List(from) | LargeList(from) | DataType::FixedSizeList(from, _), List(to)) => {
            fits(from.data_type(), to.data_type(), timestamp)
        }
        (DataType::Decimal128(..), DataType::Decimal128(..)) => true,
        // Digits beyond the declared ones are rejected row by row.
        (from, DataType::Decimal128(..)) => from.is_integer(),
        _ => false,
    }
}

/// A column with the declared type; a value that has no place in it becomes NULL.
pub(super) fn convert(
    array: &ArrayRef,
    to: &DataType,
    timestamp: &TimestampFormat,
) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), timestamp) {
        (from, TimestampFormat::Unix(unit)) if *to == TIMESTAMP && from.is_integer() => {
            from_integers(array, *unit)
        }
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, format) if *to == TIMESTAMP => {
            let texts = cast(array, &DataType::Utf8)?;
            let times = texts.as_string::<i32>().iter().map(|text| format.parse_text(text?.as_bytes()));
            Ok(Arc::new(times.collect::<TimestampMicrosecondArray>()))
        }
        // The value is UTC already; a cast could shift it to the time of the zone.
        (DataType::Timestamp(_, Some(zone)), _) if *to == TIMESTAMP => {
            let times = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(zone))))?;
            Ok(Arc::new(
                times.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(None::<Arc<str>>),
            ))
        }
        (DataType::Dictionary(_, value), _) => convert(&cast(array, value)?, to, timestamp),
        _ => cast(array, to),
    }
}

fn from_integers(array: &ArrayRef, unit: Unit) -> Result<ArrayRef, ArrowError> {
    let numbers = cast(array, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    Ok(Arc::new(numbers.unary_opt::<_, TimestampMicrosecondType>(|number| unit.micros(number))))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date64Array, Decimal128Array, FixedSizeListArray, ListArray, NullArray, UInt64Array};
    use arrow::datatypes::Float64Type;

    use super::*;

    #[test]
    fn whole_numbers_become_decimals_where_these_have_enough_digits() {
        let format = TimestampFormat::Rfc3339;
        let numbers: ArrayRef = Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(7), None]));
        let of = |precision, scale| {
            let to = DataType::Decimal128(precision, scale);
            assert!(fits(&DataType::UInt64, &to, &format));
            convert(&numbers, &to, &format).unwrap()
        };
        let decimals = |values: Vec<Option<i128>>, precision, scale| -> ArrayRef {
            Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
        };
        assert_eq!(&of(20, 0), &decimals(vec![Some(u64::MAX.into()), Some(7), None], 20, 0));
        assert_eq!(&of(5, 2), &decimals(vec![None, Some(700), None], 5, 2));
        assert!(!fits(&DataType::Float64, &DataType::Decimal128(5, 2), &format));
    }

    #[test]
    fn what_pandas_writes_of_nothing_of_days_and_of_vectors_is_read() {
        let format = TimestampFormat::Rfc3339;
        let read = |array: ArrayRef, to: &DataType| {
            assert!(fits(array.data_type(), to, &format));
            convert(&array, to, &format).unwrap()
        };
        let list = DataType::new_list(DataType::Float64, true);
        for to in
            [DataType::Utf8, DataType::Float64, DataType::Int32, DataType::Boolean, TIMESTAMP, list.clone()]
        {
            let read = read(Arc::new(NullArray::new(2)), &to);
            assert_eq!((read.null_count(), read.data_type()), (2, &to));
        }
        let day = Date64Array::from(vec![86_400_000, -86_400_000]);
        let times = read(Arc::new(day), &TIMESTAMP);
        let times = times.as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.values()[..], [86_400_000_000, -86_400_000_000]);
        let vectors = FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(
            [Some([Some(1.0), None]), None, Some([Some(2.0), Some(3.0)])],
            2,
        );
        let lists = read(Arc::new(vectors), &list);
        let expected = [Some(vec![Some(1.0), None]), None, Some(vec![Some(2.0), Some(3.0)])];
        assert_eq!(lists.as_list(), &ListArray::from_iter_primitive::<Float64Type, _, _>(expected));
    }
}
