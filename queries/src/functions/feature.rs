//! `Feature`: one entry of the tables, and how its kernel is called.

use std::borrow::Cow;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, plan_err};

use super::parameter::{Parameter, names};
use super::running::Sums;
use super::value::{Value, list_type};

/// A feature of a signal: what SQL calls it, what it computes, and what the reference says of it.
#[derive(Debug)]
pub(super) struct Feature {
    pub(super) name: &'static str,
    pub(super) array_name: &'static str,
    /// The arguments after the samples.
    pub(super) parameters: &'static [Parameter],
    pub(super) time: Time,
    pub(super) kernel: Kernel,
    /// The sums that are enough for it, if any are: then the samples need not be kept.
    pub(super) sums: Option<&'static dyn Sums>,
    /// One sentence.
    pub(super) summary: &'static str,
    pub(super) formula: &'static str,
    pub(super) source: &'static str,
    pub(super) unit: &'static str,
    /// When the result is NULL.
    pub(super) null_when: &'static str,
}

/// What the optional last argument, the event time, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// There is none: the order of the rows does not count.
    Ignored,
    /// The samples are sorted by it. Without it they stay as they come.
    Orders,
    /// The kernel computes with it. Without it, the other kernel is meant, if there is one.
    Axis,
}

/// A kernel, with the parameters as its last argument.
#[derive(Debug)]
pub(super) enum Kernel {
    /// Only reads.
    Samples(fn(&[f64], &[f64]) -> Option<f64>),
    /// Only reads; gives a list of numbers.
    List(fn(&[f64], &[f64]) -> Option<Vec<f64>>),
    /// Puts the samples in another order.
    Reordering(fn(&mut [f64], &[f64]) -> Option<f64>),
    /// Reads samples and their times, ascending. Without times, the second kernel, where there is one.
    Timed(fn(&[f64], &[i64]) -> Option<f64>, Option<Untimed>),
}

/// What a timed kernel means without times.
type Untimed = fn(&[f64]) -> Option<f64>;

impl Feature {
    /// The value of the feature; `samples` without NaN. Samples of one time stay as they come.
    pub(super) fn evaluate(
        &self,
        samples: Cow<'_, [f64]>,
        times: Option<Cow<'_, [i64]>>,
        parameters: &[f64],
    ) -> Value {
        let (samples, times) = match times {
            Some(times) if !times.is_sorted() => by_time(&samples, &times),
            times => (samples, times),
        };
        let number = match (&self.kernel, times) {
            (Kernel::List(kernel), _) => return Value::List(kernel(&samples, parameters)),
            (Kernel::Samples(kernel), _) => kernel(&samples, parameters),
            (Kernel::Reordering(kernel), _) => kernel(&mut samples.into_owned(), parameters),
            (Kernel::Timed(kernel, _), Some(times)) => kernel(&samples, &times),
            (Kernel::Timed(_, kernel), None) => kernel.and_then(|kernel| kernel(&samples)),
        };
        Value::Number(number)
    }

    /// True if an argument list of this length ends with the event time.
    pub(super) fn is_timed(&self, arguments: usize) -> bool {
        arguments == self.parameters.len() + 2
    }

    /// The types that the arguments are cast to; `samples` is the type of the first one, already found.
    pub(super) fn coerce(&self, samples: DataType, types: &[DataType]) -> Result<Vec<DataType>> {
        let least = 1 + self.parameters.len();
        if types.len() != least && (types.len() != least + 1 || self.time == Time::Ignored) {
            return plan_err!("wrong number of arguments: {} takes {}", self.name, self.signature());
        }
        if types.len() == least && matches!(self.kernel, Kernel::Timed(_, None)) {
            return plan_err!("{} needs the event time: {}", self.name, self.signature());
        }
        let mut coerced = vec![samples];
        for (parameter, found) in self.parameters.iter().zip(&types[1..]) {
            coerced.push(parameter.coerce(self.name, found)?);
        }
        Ok(coerced)
    }

    /// The type of its values.
    pub(super) fn data_type(&self) -> DataType {
        if matches!(self.kernel, Kernel::List(_)) { list_type() } else { DataType::Float64 }
    }

    /// `name(x, parameter[, ts])`.
    pub(super) fn signature(&self) -> String {
        let parameters = names(self.parameters);
        let time = match (&self.kernel, self.time) {
            (_, Time::Ignored) => "",
            (Kernel::Timed(_, None), _) => ", ts",
            _ => "[, ts]",
        };
        format!("{}(x{parameters}{time})", self.name)
    }
}

/// The type of event times, if a column can be one. A zone stays: it does not change the instant.
pub(super) fn event_time_type(found: &DataType) -> Option<DataType> {
    match found {
        DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        DataType::Date32 | DataType::Date64 | DataType::Null => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        _ => None,
    }
}

/// Samples and times in the order of time; the sort is stable.
fn by_time(samples: &[f64], times: &[i64]) -> (Cow<'static, [f64]>, Option<Cow<'static, [i64]>>) {
    let mut rows: Vec<(i64, f64)> = times.iter().copied().zip(samples.iter().copied()).collect();
    rows.sort_by_key(|(time, _)| *time);
    let (times, samples): (Vec<i64>, Vec<f64>) = rows.into_iter().unzip();
    (Cow::Owned(samples), Some(Cow::Owned(times)))
}
