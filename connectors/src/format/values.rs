//! The values of one column under construction, typed and checked.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array, ListArray,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::kernels::cast_utils::parse_decimal;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, FieldRef};
use lineshaft_engine::{Result, TIMESTAMP};

use super::columns::{Column, Raw};
use super::digits::short_double;
use super::timestamp::{TimestampFormat, days, rfc3339};
use super::words::{Words, is_dictionary};

/// The values of a column by the kind of its type.
#[derive(Debug)]
pub(super) enum Values {
    Double(Vec<f64>),
    Float(Vec<f32>),
    Integer { values: Vec<i64>, min: i64, max: i64 },
    Unsigned(Vec<u64>),
    Boolean(Vec<bool>),
    Text { bytes: Vec<u8>, offsets: Vec<i32>, keep: bool },
    Words { words: Words, keep: bool },
    Time { values: Vec<i64>, format: TimestampFormat },
    Date(Vec<i32>),
    Decimal { values: Vec<i128>, precision: u8, scale: i8 },
    List { field: FieldRef, items: Box<Column>, offsets: Vec<i32> },
}

/// True if text records can have columns of this type.
pub(crate) fn is_supported(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => {
            !matches!(item.data_type(), DataType::List(_)) && is_supported(item.data_type())
        }
        DataType::Timestamp(..) => *data_type == TIMESTAMP,
        DataType::Decimal128(..) | DataType::Boolean | DataType::Date32 => true,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(..) => is_dictionary(data_type),
        other => other.is_integer() || matches!(other, DataType::Float32 | DataType::Float64),
    }
}

impl Values {
    /// A type that [`is_supported`] does not know is read as text and cast at the end.
    pub(super) fn new(data_type: &DataType, timestamp: &TimestampFormat, keep: bool) -> Self {
        let integer = |min, max| Self::Integer { values: Vec::new(), min, max };
        match data_type {
            DataType::Float64 => Self::Double(Vec::new()),
            DataType::Float32 => Self::Float(Vec::new()),
            DataType::Int64 => integer(i64::MIN, i64::MAX),
            DataType::Int32 => integer(i32::MIN.into(), i32::MAX.into()),
            DataType::Int16 => integer(i16::MIN.into(), i16::MAX.into()),
            DataType::Int8 => integer(i8::MIN.into(), i8::MAX.into()),
            DataType::UInt32 => integer(0, u32::MAX.into()),
            DataType::UInt16 => integer(0, u16::MAX.into()),
            DataType::UInt8 => integer(0, u8::MAX.into()),
            DataType::UInt64 => Self::Unsigned(Vec::new()),
            DataType::Boolean => Self::Boolean(Vec::new()),
            DataType::Timestamp(..) => Self::Time { values: Vec::new(), format: timestamp.clone() },
            DataType::Date32 => Self::Date(Vec::new()),
            DataType::Decimal128(precision, scale) => {
                Self::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            DataType::List(field) => Self::List {
                field: Arc::clone(field),
                items: Box::new(Column::of_items(field, timestamp)),
                offsets: vec![0],
            },
            DataType::Dictionary(..) if is_dictionary(data_type) => Self::Words { words: Words::new(), keep },
            _ => Self::Text { bytes: Vec::new(), offsets: vec![0], keep },
        }
    }

    pub(super) fn expected(&self, data_type: &DataType) -> String {
        match (self, data_type) {
            (Self::Time { format, .. }, _) => format.expected().into_owned(),
            (Self::Double(_), _) => "DOUBLE".into(),
            (Self::Float(_), _) => "REAL".into(),
            (Self::Boolean(_), _) => "BOOLEAN".into(),
            (Self::Date(_), _) => "a DATE such as 2020-03-09".into(),
            (Self::Text { .. } | Self::Words { .. }, _) => "TEXT".into(),
            (Self::List { items, .. }, _) => {
                format!("an array of {}", items.expected())
            }
            (_, DataType::Int64) => "BIGINT".into(),
            (_, DataType::Int32) => "INT".into(),
            (_, DataType::Int16) => "SMALLINT".into(),
            (_, DataType::Int8) => "TINYINT".into(),
            (_, DataType::UInt64) => "BIGINT UNSIGNED".into(),
            (_, DataType::UInt32) => "INT UNSIGNED".into(),
            (_, DataType::UInt16) => "SMALLINT UNSIGNED".into(),
            (_, DataType::UInt8) => "TINYINT UNSIGNED".into(),
            (_, other) => other.to_string().to_uppercase(),
        }
    }

    /// `None` if the value does not fit; then nothing is pushed.
    pub(super) fn push(&mut self, raw: Raw<'_>) -> Option<()> {
        match self {
            Self::Double(values) => double(raw).map(|value| values.push(value)),
            #[expect(clippy::cast_possible_truncation, reason = "a REAL is a rounded double")]
            Self::Float(values) => double(raw).map(|value| values.push(value as f32)),
            Self::Integer { values, min, max } => {
                integer(raw).filter(|value| (*min..=*max).contains(value)).map(|value| values.push(value))
            }
            Self::Unsigned(values) => unsigned(raw).map(|value| values.push(value)),
            Self::Boolean(values) => boolean(raw).map(|value| values.push(value)),
            Self::Time { values, format } => {
                let micros = match raw {
                    Raw::Field(text) | Raw::Text(text) => format.parse_text(text),
                    Raw::Number(number) => format.parse_number(number),
                    Raw::Micros(micros) => Some(micros),
                    _ => None,
                };
                micros.map(|micros| values.push(micros))
            }
            Self::Date(values) => date(raw).map(|days| values.push(days)),
            Self::Decimal { values, precision, scale } => {
                decimal(raw, *precision, *scale).map(|value| values.push(value))
            }
            Self::Text { bytes, offsets, keep } => push_text(text(raw)?, bytes, offsets, *keep),
            Self::Words { words, keep } => push_word(text(raw)?, words, *keep),
            Self::List { items, offsets, .. } => push_list(raw, items, offsets),
        }
    }

    /// Pushes fields of text, `None` for NULL, and whether each is there; false if one does not fit.
    pub(super) fn push_all<'a>(
        &mut self,
        mut fields: impl Iterator<Item = Option<&'a [u8]>>,
        valid: &mut Vec<bool>,
    ) -> bool {
        match self {
            Self::Double(values) => extend(values, fields, valid, |text| double(Raw::Field(text))),
            Self::Integer { values, min, max } => {
                let parse =
                    |text: &[u8]| integer(Raw::Field(text)).filter(|value| (*min..=*max).contains(value));
                extend(values, fields, valid, parse)
            }
            Self::Time { values, format } => extend(values, fields, valid, |text| format.parse_text(text)),
            Self::Text { bytes, offsets, keep } => fields.all(|field| {
                valid.push(field.is_some());
                push_text(field.unwrap_or_default(), bytes, offsets, *keep).is_some()
            }),
            Self::Words { words, keep } => fields.all(|field| {
                valid.push(field.is_some());
                match field {
                    Some(text) => push_word(text, words, *keep).is_some(),
                    None => {
                        words.push_default();
                        true
                    }
                }
            }),
            _ => fields.all(|field| {
                valid.push(field.is_some());
                match field {
                    Some(text) => self.push(Raw::Field(text)).is_some(),
                    None => {
                        self.push_default();
                        true
                    }
                }
            }),
        }
    }

    /// A place for NULL.
    pub(super) fn push_default(&mut self) {
        match self {
            Self::Double(values) => values.push(0.0),
            Self::Float(values) => values.push(0.0),
            Self::Integer { values, .. } | Self::Time { values, .. } => values.push(0),
            Self::Unsigned(values) => values.push(0),
            Self::Boolean(values) => values.push(false),
            Self::Date(values) => values.push(0),
            Self::Decimal { values, .. } => values.push(0),
            Self::Words { words, .. } => words.push_default(),
            Self::Text { offsets, .. } | Self::List { offsets, .. } => {
                let end = offsets[offsets.len() - 1];
                offsets.push(end);
            }
        }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        match self {
            Self::Double(values) => values.truncate(rows),
            Self::Float(values) => values.truncate(rows),
            Self::Integer { values, .. } | Self::Time { values, .. } => values.truncate(rows),
            Self::Unsigned(values) => values.truncate(rows),
            Self::Boolean(values) => values.truncate(rows),
            Self::Date(values) => values.truncate(rows),
            Self::Decimal { values, .. } => values.truncate(rows),
            Self::Words { words, .. } => words.truncate(rows),
            Self::Text { bytes, offsets, .. } => {
                offsets.truncate(rows + 1);
                bytes.truncate(usize::try_from(offsets[rows]).unwrap_or(0));
            }
            Self::List { items, offsets, .. } => {
                offsets.truncate(rows + 1);
                items.truncate(usize::try_from(offsets[rows]).unwrap_or(0));
            }
        }
    }

    pub(super) fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        Ok(match self {
            Self::Double(values) => Arc::new(Float64Array::try_new(values.into(), nulls)?),
            Self::Float(values) => Arc::new(Float32Array::try_new(values.into(), nulls)?),
            Self::Integer { values, .. } => Arc::new(Int64Array::try_new(values.into(), nulls)?),
            Self::Unsigned(values) => Arc::new(UInt64Array::try_new(values.into(), nulls)?),
            Self::Boolean(values) => Arc::new(BooleanArray::new(values.into(), nulls)),
            Self::Time { values, .. } => Arc::new(TimestampMicrosecondArray::try_new(values.into(), nulls)?),
            Self::Date(values) => Arc::new(Date32Array::try_new(values.into(), nulls)?),
            Self::Decimal { values, precision, scale } => Arc::new(
                Decimal128Array::try_new(values.into(), nulls)?.with_precision_and_scale(precision, scale)?,
            ),
            Self::Words { words, .. } => words.finish(nulls)?,
            Self::Text { bytes, offsets, .. } => Arc::new(StringArray::try_new(
                OffsetBuffer::new(offsets.into()),
                Buffer::from_vec(bytes),
                nulls,
            )?),
            Self::List { field, items, offsets } => Arc::new(ListArray::try_new(
                field,
                OffsetBuffer::new(offsets.into()),
                items.finish()?,
                nulls,
            )?),
        })
    }
}

/// See [`Values::push_all`].
fn extend<'a, T: Default>(
    values: &mut Vec<T>,
    mut fields: impl Iterator<Item = Option<&'a [u8]>>,
    valid: &mut Vec<bool>,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> bool {
    fields.all(|field| {
        let value = field.map_or_else(|| Some(T::default()), &parse);
        let fits = value.is_some();
        values.extend(value);
        valid.push(field.is_some());
        fits
    })
}

fn double(raw: Raw<'_>) -> Option<f64> {
    if let Raw::Number(text) | Raw::Field(text) = raw
        && let Some(value) = short_double(text)
    {
        return Some(value);
    }
    match raw {
        Raw::Number(text) => lexical_core::parse(text).ok(),
        Raw::Field(text) => {
            lexical_core::parse(text).or_else(|_| lexical_core::parse(text.trim_ascii())).ok()
        }
        Raw::Double(value) => Some(value),
        _ => None,
    }
}

/// A whole number; also one written as a decimal, such as `3.0`.
#[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number that a double has exactly")]
fn integer(raw: Raw<'_>) -> Option<i64> {
    if let Raw::Number(text) | Raw::Field(text) = raw
        && let Ok(value) = lexical_core::parse(text)
    {
        return Some(value);
    }
    if let Raw::Field(text) = raw
        && let Ok(value) = lexical_core::parse(text.trim_ascii())
    {
        return Some(value);
    }
    // Above 2^53 a double has not every whole number.
    double(raw)
        .filter(|value| value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0)
        .map(|value| value as i64)
}

fn unsigned(raw: Raw<'_>) -> Option<u64> {
    match raw {
        Raw::Number(text) | Raw::Field(text) => lexical_core::parse(text.trim_ascii()).ok(),
        _ => None,
    }
    .or_else(|| integer(raw).and_then(|value| u64::try_from(value).ok()))
}

/// `true`, `false`, and in CSV also `1`, `0`, `t`, `f`, `yes`, `no`, whatever their case.
fn boolean(raw: Raw<'_>) -> Option<bool> {
    let text = match raw {
        Raw::Bool(value) => return Some(value),
        Raw::Field(text) => text.trim_ascii(),
        _ => return None,
    };
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
    match () {
        () if is(&["true", "1", "t", "yes", "y"]) => Some(true),
        () if is(&["false", "0", "f", "no", "n"]) => Some(false),
        () => None,
    }
}

fn date(raw: Raw<'_>) -> Option<i32> {
    let (Raw::Field(text) | Raw::Text(text)) = raw else {
        return None;
    };
    let text = text.trim_ascii();
    let number = |from: usize, to: usize| lexical_core::parse::<i64>(text.get(from..to)?).ok();
    let date = match text.len() {
        10 if text[4] == b'-' && text[7] == b'-' => days(number(0, 4)?, number(5, 7)?, number(8, 10)?)?,
        _ => rfc3339(text)?.div_euclid(86_400_000_000),
    };
    i32::try_from(date).ok()
}

/// A number with more digits than its column has is rounded, as a cast does. JSON has it as a number or, so that no digit is
/// lost on the way, as a text.
fn decimal(raw: Raw<'_>, precision: u8, scale: i8) -> Option<i128> {
    let (Raw::Field(text) | Raw::Text(text) | Raw::Number(text)) = raw else { return None };
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.is_empty() {
        return None;
    }
    let parse = |precision, scale| parse_decimal::<Decimal128Type>(text, precision, scale).ok();
    // One digit more says which way; a number that has no room for it is exact.
    let Some(finer) = parse(DECIMAL128_MAX_PRECISION, scale + 1) else { return parse(precision, scale) };
    let rounded = (finer + 5 * finer.signum()) / 10;
    (rounded.unsigned_abs() < 10_u128.pow(precision.into())).then_some(rounded)
}

/// A text as it is; of JSON also numbers, booleans, arrays and objects, as JSON.
fn text(raw: Raw<'_>) -> Option<&[u8]> {
    match raw {
        Raw::Field(text) | Raw::Text(text) | Raw::Number(text) | Raw::Array(text) | Raw::Object(text) => {
            Some(text)
        }
        Raw::Bool(true) => Some(b"true"),
        Raw::Bool(false) => Some(b"false"),
        Raw::Null | Raw::Micros(_) | Raw::Double(_) => None,
    }
}

fn push_text(text: &[u8], bytes: &mut Vec<u8>, offsets: &mut Vec<i32>, keep: bool) -> Option<()> {
    if keep {
        let end = i32::try_from(bytes.len() + text.len()).ok()?;
        bytes.extend_from_slice(text);
        offsets.push(end);
    } else {
        offsets.push(0);
    }
    Some(())
}

fn push_word(text: &[u8], words: &mut Words, keep: bool) -> Option<()> {
    if keep {
        words.push(text)
    } else {
        words.push_default();
        Some(())
    }
}

fn push_list(raw: Raw<'_>, items: &mut Column, offsets: &mut Vec<i32>) -> Option<()> {
    let Raw::Array(text) = raw else { return None };
    let start = items.len();
    let pushed = super::json::items(text, &mut |item| items.push(item)).is_ok();
    let Some(end) = i32::try_from(items.len()).ok().filter(|_| pushed) else {
        items.truncate(start);
        return None;
    };
    offsets.push(end);
    Some(())
}
