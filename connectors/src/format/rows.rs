//! Rows to text: JSON lines, CSV and single values, for every sink that writes text.
//!
//! Times are RFC 3339 in UTC with the fewest digits; NaN and infinities are `null` in JSON, which has no word for them.

use std::io::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::DateTime;
use lineshaft_engine::Result;

/// Appends each row as a JSON object and a newline.
///
/// # Errors
/// If a column has a type that has no text form.
pub fn write_json_lines(rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let objects = JsonObjects::new(rows)?;
    for row in 0..rows.num_rows() {
        objects.write(row, out);
        out.push(b'\n');
    }
    Ok(())
}

/// The rows of a batch as JSON objects, one at a time.
#[derive(Debug)]
pub struct JsonObjects {
    columns: Vec<(Vec<u8>, ArrayRef)>,
}

impl JsonObjects {
    /// Looks at the columns once.
    ///
    /// # Errors
    /// If a column has a type that has no text form.
    pub fn new(rows: &RecordBatch) -> Result<Self> {
        let column = |(field, array): (&arrow::datatypes::FieldRef, &ArrayRef)| {
            let mut key = Vec::new();
            write_json_string(field.name(), &mut key);
            key.push(b':');
            Ok((key, writable(array)?))
        };
        Ok(Self {
            columns: rows.schema().fields().iter().zip(rows.columns()).map(column).collect::<Result<_>>()?,
        })
    }

    /// Appends a row, without a newline.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (key, array)) in self.columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(key);
            write_json_value(array.as_ref(), row, out);
        }
        out.push(b'}');
    }
}

/// Appends each row as a line of CSV, without a header.
///
/// # Errors
/// If a column has a type that has no text form.
pub fn write_csv(rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let columns: Vec<ArrayRef> = rows.columns().iter().map(writable).collect::<Result<_>>()?;
    let mut field = Vec::new();
    for row in 0..rows.num_rows() {
        for (at, array) in columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            field.clear();
            write_text(array.as_ref(), row, &mut field);
            write_csv_field(&field, out);
        }
        out.push(b'\n');
    }
    Ok(())
}

/// Appends the names of the columns as a line of CSV.
pub fn write_csv_header(schema: &arrow::datatypes::Schema, out: &mut Vec<u8>) {
    for (at, field) in schema.fields().iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_csv_field(field.name().as_bytes(), out);
    }
    out.push(b'\n');
}

/// Each row as texts, one per column; NULL is empty.
///
/// # Errors
/// If a column has a type that has no text form.
pub fn texts(rows: &RecordBatch) -> Result<Vec<Vec<String>>> {
    let columns: Vec<ArrayRef> = rows.columns().iter().map(writable).collect::<Result<_>>()?;
    let text = |array: &ArrayRef, row| {
        let mut text = Vec::new();
        write_text(array.as_ref(), row, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    Ok((0..rows.num_rows()).map(|row| columns.iter().map(|array| text(array, row)).collect()).collect())
}

/// A column of a type that [`write_json_value`] knows: as it is, or cast to it.
fn writable(array: &ArrayRef) -> Result<ArrayRef> {
    let target = match array.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        DataType::Date64 => DataType::Date32,
        DataType::Float16 => DataType::Float32,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::Utf8,
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, None),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(std::sync::Arc::clone(item))
        }
        _ => return Ok(std::sync::Arc::clone(array)),
    };
    Ok(cast(array, &target)?)
}

fn write_json_value(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if array.is_null(row) || is_not_finite(array, row) {
        out.extend_from_slice(b"null");
        return;
    }
    match array.data_type() {
        DataType::Utf8 => write_json_string(array.as_string::<i32>().value(row), out),
        DataType::List(_) => {
            out.push(b'[');
            let items = array.as_list::<i32>().value(row);
            for item in 0..items.len() {
                if item > 0 {
                    out.push(b',');
                }
                write_json_value(items.as_ref(), item, out);
            }
            out.push(b']');
        }
        DataType::Struct(fields) => {
            out.push(b'{');
            for (at, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_json_string(field.name(), out);
                out.push(b':');
                write_json_value(column.as_ref(), row, out);
            }
            out.push(b'}');
        }
        other if is_bare(other) => write_text(array, row, out),
        _ => {
            let mut text = Vec::new();
            write_text(array, row, &mut text);
            write_json_string(&String::from_utf8_lossy(&text), out);
        }
    }
}

/// True if a value of this type stands in JSON without quotes.
fn is_bare(data_type: &DataType) -> bool {
    data_type.is_numeric() || *data_type == DataType::Boolean
}

fn is_not_finite(array: &dyn Array, row: usize) -> bool {
    match array.data_type() {
        DataType::Float64 => !array.as_primitive::<Float64Type>().value(row).is_finite(),
        DataType::Float32 => !array.as_primitive::<Float32Type>().value(row).is_finite(),
        _ => false,
    }
}

/// Appends a value as text without quotes; NULL is nothing.
fn write_text(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if array.is_null(row) {
        return;
    }
    macro_rules! number {
        ($type:ty) => {
            write_number(array.as_primitive::<$type>().value(row), out)
        };
    }
    match array.data_type() {
        DataType::Utf8 => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Float64 => number!(Float64Type),
        DataType::Float32 => number!(Float32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int8 => number!(Int8Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::Boolean => {
            out.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" })
        }
        DataType::Timestamp(unit, _) => write_time(array, *unit, row, out),
        DataType::Date32 => write_date(array.as_primitive::<Date32Type>().value(row), out),
        DataType::List(_) | DataType::Struct(_) => write_json_value(array, row, out),
        _ => write_any(array, row, out),
    }
}

/// Writing to a `Vec` cannot fail, but the trait says it may.
fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    if out.write_fmt(text).is_err() {
        out.push(b'?');
    }
}

fn write_number<T: std::fmt::Debug>(number: T, out: &mut Vec<u8>) {
    // `Debug` writes the shortest digits that read back the same, and an exponent for very large and small numbers.
    append(out, format_args!("{number:?}"));
}

fn write_time(array: &dyn Array, unit: TimeUnit, row: usize, out: &mut Vec<u8>) {
    let (seconds, nanos) = match unit {
        TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().value(row), 0),
        TimeUnit::Millisecond => split(array.as_primitive::<TimestampMillisecondType>().value(row), 1_000),
        TimeUnit::Microsecond => {
            split(array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000)
        }
        TimeUnit::Nanosecond => {
            split(array.as_primitive::<TimestampNanosecondType>().value(row), 1_000_000_000)
        }
    };
    match u32::try_from(nanos).ok().and_then(|nanos| DateTime::from_timestamp(seconds, nanos)) {
        Some(time) => {
            append(out, format_args!("{}", time.format("%Y-%m-%dT%H:%M:%S")));
            if nanos != 0 {
                let digits = format!(".{nanos:09}");
                out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
            }
            out.push(b'Z');
        }
        // Beyond the years of the calendar: the number itself is still the truth.
        None => append(out, format_args!("{seconds}")),
    }
}

/// Seconds and nanoseconds of a number of which `per_second` are a second.
fn split(value: i64, per_second: i64) -> (i64, i64) {
    (value.div_euclid(per_second), value.rem_euclid(per_second) * (1_000_000_000 / per_second))
}

fn write_date(days: i32, out: &mut Vec<u8>) {
    match DateTime::from_timestamp(i64::from(days) * 86_400, 0) {
        Some(date) => append(out, format_args!("{}", date.format("%Y-%m-%d"))),
        None => append(out, format_args!("{days}")),
    }
}

/// Decimals, intervals and what else Arrow has a text for.
fn write_any(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let options = FormatOptions::default();
    match ArrayFormatter::try_new(array, &options) {
        Ok(formatter) => append(out, format_args!("{}", formatter.value(row))),
        Err(error) => append(out, format_args!("{error}")),
    }
}

fn write_csv_field(field: &[u8], out: &mut Vec<u8>) {
    if !field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        out.extend_from_slice(field);
        return;
    }
    out.push(b'"');
    for byte in field {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Appends a string of JSON with its quotes.
pub fn write_json_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => append(out, format_args!("\\u{byte:04x}")),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray};

    use super::*;

    fn batch() -> RecordBatch {
        let times = TimestampMicrosecondArray::from(vec![1_583_748_873_000_000, 1_583_748_873_250_000, -1]);
        let lists = ListArray::from_iter_primitive::<Float64Type, _, _>([
            Some(vec![Some(1.0), None]),
            None,
            Some(vec![]),
        ]);
        RecordBatch::try_from_iter([
            ("ts", Arc::new(times) as ArrayRef),
            ("name", Arc::new(StringArray::from(vec![Some("a\"b"), Some("x,y"), None]))),
            ("bar", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN), Some(3.0)]))),
            ("n", Arc::new(Int64Array::from(vec![1, -2, 3]))),
            ("list", Arc::new(lists)),
        ])
        .unwrap()
    }

    #[test]
    fn rows_become_json_objects() {
        let mut out = Vec::new();
        write_json_lines(&batch(), &mut out).unwrap();
        let expected = [
            r#"{"ts":"2020-03-09T10:14:33Z","name":"a\"b","bar":0.1,"n":1,"list":[1.0,null]}"#,
            r#"{"ts":"2020-03-09T10:14:33.25Z","name":"x,y","bar":null,"n":-2,"list":null}"#,
            r#"{"ts":"1969-12-31T23:59:59.999999Z","name":null,"bar":3.0,"n":3,"list":[]}"#,
            "",
        ];
        assert_eq!(String::from_utf8(out).unwrap(), expected.join("\n"));
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let mut out = Vec::new();
        write_csv_header(&batch().schema(), &mut out);
        write_csv(&batch(), &mut out).unwrap();
        let expected = [
            "ts,name,bar,n,list",
            "2020-03-09T10:14:33Z,\"a\"\"b\",0.1,1,\"[1.0,null]\"",
            "2020-03-09T10:14:33.25Z,\"x,y\",NaN,-2,null",
            "1969-12-31T23:59:59.999999Z,,3.0,3,[]",
            "",
        ];
        let expected = expected.join("\n").replace("-2,null", "-2,");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
