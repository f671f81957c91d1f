//! The arguments of a function beside the samples: numbers, and words that stand for numbers.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type, IntervalUnit};
use datafusion::common::{Result, ScalarValue, plan_err};

use super::value::list_type;

/// An argument that is a number, or one of some words.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// What it must be, in words.
    pub(super) range: &'static str,
    pub(super) is_valid: fn(f64) -> bool,
    /// If there are any, the argument is one of them and the kernel gets its place.
    pub(super) words: &'static [&'static str],
    /// True if it may be an interval.
    pub(super) is_span: bool,
    /// True if it is a list of numbers.
    pub(super) is_list: bool,
    /// What it is where it is left out.
    pub(super) default: Option<f64>,
}

impl Parameter {
    pub(super) const fn number(name: &'static str, range: &'static str, is_valid: fn(f64) -> bool) -> Self {
        Self { name, range, is_valid, words: &[], is_span: false, is_list: false, default: None }
    }

    /// An interval; or a number, for which `is_valid` is asked.
    pub(super) const fn span(name: &'static str, range: &'static str, is_valid: fn(f64) -> bool) -> Self {
        Self { is_span: true, ..Self::number(name, range, is_valid) }
    }

    pub(super) const fn word(
        name: &'static str,
        range: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        Self { words, ..Self::number(name, range, |place| !place.is_nan()) }
    }

    /// A list of numbers, of a row.
    pub(super) const fn list(name: &'static str, range: &'static str) -> Self {
        Self { is_list: true, ..Self::number(name, range, |_| true) }
    }

    pub(super) const fn or(self, default: f64) -> Self {
        Self { default: Some(default), ..self }
    }

    /// The type that an argument is cast to.
    pub(super) fn coerce(&self, function: &str, found: &DataType) -> Result<DataType> {
        if self.is_list {
            return match found {
                DataType::Null => Ok(list_type()),
                DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
                    if item.data_type().is_numeric() || item.data_type().is_null() =>
                {
                    Ok(list_type())
                }
                _ => plan_err!("{function}: {} must be an array of numbers, not {found}", self.name),
            };
        }
        match self.words {
            [] if self.is_span && matches!(found, DataType::Interval(_)) => {
                Ok(DataType::Interval(IntervalUnit::MonthDayNano))
            }
            [] if found.is_numeric() || found.is_null() => Ok(DataType::Float64),
            [] if self.is_span => plan_err!("{function}: {} must be {}, not {found}", self.name, self.range),
            [] => plan_err!("{function}: {} must be a number, not {found}", self.name),
            _ if found.is_string() || found.is_null() => Ok(DataType::Utf8),
            _ => plan_err!("{function}: {} must be a text, not {found}", self.name),
        }
    }

    /// The number that a constant is, NULL is none. An error if it is out of its range.
    pub(super) fn of_constant(&self, function: &str, value: &ScalarValue) -> Result<Option<f64>> {
        // An interval has no such number.
        if value.is_null() || matches!(value.data_type(), DataType::Interval(_)) {
            return Ok(None);
        }
        let column = value.cast_to(&self.coerce(function, &value.data_type())?)?.to_array()?;
        let number = self.column(&column).value(0);
        if (self.is_valid)(number) {
            return Ok(Some(number));
        }
        let Self { name, range, .. } = self;
        match self.words {
            [] => plan_err!("{function}: {name} must be {range}, not {number}"),
            _ => plan_err!("{function}: {name} must be {range}, not '{value}'"),
        }
    }

    /// The numbers that a column is, cast as [`Parameter::coerce`] says; a word that is not known is NaN.
    pub(super) fn column(&self, column: &ArrayRef) -> Float64Array {
        if self.words.is_empty() {
            return column.as_primitive::<Float64Type>().clone();
        }
        let words = column.as_string::<i32>().iter();
        words.map(|word| Some(self.place(word?))).collect()
    }

    fn place(&self, word: &str) -> f64 {
        let place = self.words.iter().position(|known| known.eq_ignore_ascii_case(word));
        place.and_then(|place| u32::try_from(place).ok()).map_or(f64::NAN, f64::from)
    }

    /// How the reference shows it.
    pub(super) fn entry(&self) -> String {
        let default = self.default.map(|default| format!("; {default} where it is left out"));
        format!("- `{}`: {}{}\n", self.name, self.range, default.unwrap_or_default())
    }
}

/// `name, name[, name]`.
pub(super) fn names(parameters: &[Parameter]) -> String {
    let name = |parameter: &Parameter| match parameter.default {
        Some(_) => format!("[, {}]", parameter.name),
        None => format!(", {}", parameter.name),
    };
    parameters.iter().map(name).collect()
}

/// A row of some columns of parameters; `None` if one is NULL or out of its range.
pub(super) fn of_row(
    parameters: &[Parameter],
    columns: &[Float64Array],
    row: usize,
    values: &mut [f64],
) -> bool {
    let mut all = parameters.iter().zip(columns).zip(values);
    all.all(|((parameter, column), value)| {
        *value = column.value(row);
        column.is_valid(row) && (parameter.is_valid)(*value)
    })
}

/// A whole number that a kernel takes; the range has been checked.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be a whole number from 0 up"
)]
pub(super) fn whole(parameter: f64) -> usize {
    parameter as usize
}

/// True for 0, 1, 2, ... up to 2^53.
pub(super) fn is_whole(parameter: f64) -> bool {
    (0.0..=9_007_199_254_740_992.0).contains(&parameter) && parameter.fract() == 0.0
}
