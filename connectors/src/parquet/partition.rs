//! `partition_by`: the folder of a row.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Schema, TimestampMicrosecondType};
use chrono::DateTime;
use lineshaft_engine::declaration::OptionError;
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Result, TIMESTAMP};

use crate::format::rows::texts;
use crate::options::suggestion;

/// The value of NULL in the name of a folder, as Hive has it.
pub(crate) const NULL_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// How rows are spread over folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Partitioning {
    None,
    /// By the time in a column.
    Time {
        column: usize,
        unit: TimeUnit,
    },
    /// By the values of columns.
    Columns(Vec<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeUnit {
    Day,
    Hour,
}

impl TimeUnit {
    fn micros(self) -> EventTime {
        match self {
            Self::Day => 86_400_000_000,
            Self::Hour => 3_600_000_000,
        }
    }

    /// The folder of a number of days or hours since 1970.
    fn folder(self, number: Option<i64>) -> String {
        let (name, pattern) = match self {
            Self::Day => ("day", "%Y-%m-%d"),
            Self::Hour => ("hour", "%Y-%m-%dT%H"),
        };
        let time =
            number.and_then(|number| DateTime::from_timestamp_micros(number.checked_mul(self.micros())?));
        match time {
            Some(time) => format!("{name}={}", time.format(pattern)),
            None => format!("{name}={NULL_VALUE}"),
        }
    }
}

impl Partitioning {
    pub(super) fn parse(text: &str, schema: &Schema) -> Result<Self, OptionError> {
        let unit = match text.trim() {
            "day" => TimeUnit::Day,
            "hour" => TimeUnit::Hour,
            _ => return Self::by_columns(text, schema),
        };
        let is_time = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..));
        match schema.fields().iter().position(|field| is_time(field.data_type())) {
            Some(column) => Ok(Self::Time { column, unit }),
            None => Err(OptionError::of(
                "partition_by",
                format!("partition_by = {text:?} needs a TIMESTAMP column"),
            )
            .help("select a time, or partition by other columns")),
        }
    }

    fn by_columns(text: &str, schema: &Schema) -> Result<Self, OptionError> {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let column = |name: &str| {
            let name = name.trim();
            names.iter().position(|found| *found == name).ok_or_else(|| {
                let known: Vec<&str> = ["day", "hour"].into_iter().chain(names.iter().copied()).collect();
                OptionError::of("partition_by", format!("there is no column {name:?}"))
                    .help(suggestion(name, &known))
            })
        };
        Ok(Self::Columns(text.split(',').map(column).collect::<Result<_, _>>()?))
    }

    /// The rows of each folder, in the order of their names; within a folder in the order of the batch.
    pub(super) fn split(&self, rows: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        match self {
            Self::None => Ok(vec![(String::new(), rows.clone())]),
            Self::Time { column, unit } => {
                let times = cast(rows.column(*column), &TIMESTAMP)?;
                let times = times.as_primitive::<TimestampMicrosecondType>();
                let number =
                    |row: usize| times.is_valid(row).then(|| times.value(row).div_euclid(unit.micros()));
                Ok(by_key(rows, number)?
                    .into_iter()
                    .map(|(number, rows)| (unit.folder(number), rows))
                    .collect())
            }
            Self::Columns(columns) => {
                let fields: Vec<String> =
                    columns.iter().map(|at| escaped(rows.schema().field(*at).name())).collect();
                let values = rows.project(columns)?;
                let texts = texts(&values)?;
                let folder = |row: usize| {
                    let value = |(at, text): (usize, &String)| match values.column(at).is_null(row) {
                        true => format!("{}={NULL_VALUE}", fields[at]),
                        false => format!("{}={}", fields[at], escaped(text)),
                    };
                    texts[row].iter().enumerate().map(value).collect::<Vec<_>>().join("/")
                };
                by_key(rows, folder).map(|groups| groups.into_iter().collect())
            }
        }
    }
}

fn by_key<K: Ord>(rows: &RecordBatch, key: impl Fn(usize) -> K) -> Result<BTreeMap<K, RecordBatch>> {
    let mut groups: BTreeMap<K, Vec<u32>> = BTreeMap::new();
    for (row, index) in (0..rows.num_rows()).zip(0_u32..) {
        groups.entry(key(row)).or_default().push(index);
    }
    if groups.len() == 1 {
        return Ok(groups.into_keys().map(|key| (key, rows.clone())).collect());
    }
    let taken = |(key, indices)| Ok((key, take_record_batch(rows, &UInt32Array::from(indices))?));
    groups.into_iter().map(taken).collect()
}

/// A value as part of a path: all but letters, digits, `-`, `_`, `.`, `:` and blanks as `%XX`; a leading dot too.
fn escaped(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b':' | b' ')
            || (byte == b'.' && at > 0);
        if is_plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

/// The text that was escaped so. What is no escape stays as it is.
pub(crate) fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code
            .filter(|digits| *first == b'%' && !digits.starts_with('+'))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray};

    use super::*;
    use crate::format::testing::lines;

    fn rows() -> RecordBatch {
        let times = TimestampMicrosecondArray::from(vec![
            Some(1_583_748_873_000_000),
            None,
            Some(-1),
            Some(1_583_748_874_000_000),
        ]);
        let names = StringArray::from(vec![Some("a/../b"), Some("x"), None, Some("a/../b")]);
        RecordBatch::try_from_iter([("ts", Arc::new(times) as ArrayRef), ("name", Arc::new(names))]).unwrap()
    }

    fn folders(text: &str) -> Vec<(String, usize)> {
        let partitioning = Partitioning::parse(text, &rows().schema()).unwrap();
        partitioning
            .split(&rows())
            .unwrap()
            .into_iter()
            .map(|(folder, rows)| (folder, rows.num_rows()))
            .collect()
    }

    #[test]
    fn folders_are_named_by_time_or_by_values_that_are_no_path() {
        let null = "__HIVE_DEFAULT_PARTITION__";
        assert_eq!(
            folders("day"),
            [(format!("day={null}"), 1), ("day=1969-12-31".into(), 1), ("day=2020-03-09".into(), 2)]
        );
        assert_eq!(folders("hour")[2], ("hour=2020-03-09T10".into(), 2));
        assert_eq!(
            folders("name"),
            [(format!("name={null}"), 1), ("name=a%2F..%2Fb".into(), 2), ("name=x".into(), 1)]
        );
        let split = Partitioning::parse("name", &rows().schema()).unwrap().split(&rows()).unwrap();
        assert_eq!(lines(&split[1].1), ["2020-03-09T10:14:33Z|a/../b", "2020-03-09T10:14:34Z|a/../b"]);
    }

    #[test]
    fn a_column_that_is_not_there_is_an_error_with_a_suggestion() {
        let error = Partitioning::parse("nam", &rows().schema()).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.help.as_deref()),
            ("there is no column \"nam\"", Some("did you mean \"name\"?"))
        );
        let no_time = rows().project(&[1]).unwrap();
        assert!(
            Partitioning::parse("day", &no_time.schema())
                .unwrap_err()
                .message
                .contains("needs a TIMESTAMP column")
        );
    }

    #[test]
    fn what_is_escaped_comes_back() {
        for text in ["a/../b", "50 %", ".hidden", "müller", "a=b", ""] {
            assert_eq!(unescaped(&escaped(text)), text);
        }
        assert_eq!(unescaped("100%"), "100%");
        assert_eq!(unescaped("%+1"), "%+1");
    }
}
