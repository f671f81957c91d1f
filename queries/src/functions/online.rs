//! Functions that go from row to row, `f(x, ...) OVER (PARTITION BY key ORDER BY ts)`: what SQL says of them.
//!
//! A stream keeps one [`Online`] per key, DataFusion makes one per partition ([`super::online_window`]).

use std::fmt::Debug;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use lineshaft_operators::online::{
    Butterworth, Cusum, Deadband, Derivative, Ewma, EwmaChart, FrozenScale, Hampel, Kalman, MAX_WINDOW,
    MinMaxScale, MovingMedian, Nelson, Online, RateOfChange, SavitzkyGolay, Scale, Side, StandardScale,
    StateDuration, Stuck, WesternElectric, ZScore,
};

use super::charts::CHARTS;
use super::detectors::DETECTORS;
use super::feature::event_time_type;
use super::learners::LEARNERS;
use super::parameter::{Parameter, is_whole, names, whole};

/// A function from row to row: what SQL calls it, what it computes, and what the reference says of it.
#[derive(Debug)]
pub(crate) struct OnlineFunction {
    pub(super) name: &'static str,
    /// The arguments that a row has a value of; the first one is `x`.
    pub(super) inputs: &'static [Parameter],
    /// The arguments that are constants.
    pub(super) parameters: &'static [Parameter],
    /// True if it computes with the time, its last argument; without it the first of `ORDER BY` is meant.
    pub(super) is_timed: bool,
    pub(super) result: DataType,
    /// The function with its parameters; the second argument is true if a span is in microseconds and not in rows.
    pub(super) make: fn(&[f64], bool) -> Option<Online>,
    /// What must hold of parameters that are each in their range.
    pub(super) needs: &'static str,
    pub(super) summary: &'static str,
    pub(super) formula: &'static str,
    pub(super) source: &'static str,
    pub(super) unit: &'static str,
    pub(super) null_when: &'static str,
}

pub(super) const BASE: OnlineFunction = OnlineFunction {
    name: "",
    inputs: &[X],
    parameters: &[],
    is_timed: false,
    result: DataType::Float64,
    make: |_, _| None,
    needs: "",
    summary: "",
    formula: "",
    source: "",
    unit: "unit of x",
    null_when: "",
};

const X: Parameter = Parameter::number("x", "the value", |_| true);
const MEAN: Parameter = Parameter::number("mean", "the mean of the process in control", |_| true);
const TARGET: Parameter = Parameter::number("target", "the value that x should have", |_| true);
const SIGMA: Parameter =
    Parameter::number("sigma", "the standard deviation of the process in control", |_| true);
const SLACK: Parameter =
    Parameter::number("k", "the slack in the unit of x, often half the shift to be found", |_| true);

const HALF_LIFE: Parameter =
    Parameter::span("half_life", "an INTERVAL, or a number of rows, above 0", |rows| {
        rows > 0.0 && rows.is_finite()
    });
const SPAN: Parameter = Parameter::span("span", "an INTERVAL above 0, without months", |_| false);
const WIDTH: Parameter =
    Parameter::number("width", "half the width of the band in the unit of x, from 0 up", |width| {
        width >= 0.0
    });
const ROWS: Parameter = Parameter::number("n", "a whole number of rows from 1 to 100000", is_window);
const REPEATS: Parameter =
    Parameter::number("n", "a whole number of rows from 2 up", |n| is_whole(n) && n >= 2.0);
const SCALED_BY: Parameter =
    Parameter::number("n", "the number of first rows, from 2 up", |n| is_whole(n) && n >= 2.0);
const SIGMAS: Parameter = Parameter::number("sigmas", "a number from 0 up", |sigmas| sigmas >= 0.0);
const HZ: Parameter = Parameter::number("hz", "a frequency above 0", |hz| hz > 0.0);
const LOW: Parameter = Parameter::number("low_hz", "a frequency above 0", |hz| hz > 0.0);
const HIGH: Parameter = Parameter::number("high_hz", "a frequency above low_hz", |hz| hz > 0.0);
const RATE: Parameter =
    Parameter::number("rate_hz", "rows per second, a number above 0", |rate| rate.is_finite() && rate > 0.0);
const ORDER: Parameter =
    Parameter::number("order", "2 or 4", |order| is_whole(order) && matches!(whole(order), 2 | 4)).or(2.0);
const DEGREE: Parameter =
    Parameter::number("order", "the order of the polynomial, from 0 to 10", |n| is_whole(n) && n <= 10.0);
const LAMBDA: Parameter =
    Parameter::number("lambda", "the weight of a row, above 0 and at most 1", |l| l > 0.0 && l <= 1.0);
const WALK: Parameter =
    Parameter::number("q", "the variance of the level per row, from 0 up", |q| q >= 0.0 && q.is_finite());
const NOISE: Parameter =
    Parameter::number("r", "the variance of a measurement, above 0", |r| r > 0.0 && r.is_finite());

const NEVER: &str = "x is no number";
const FIRST: &str = "it is the first row, or of the same time as the one it compares with";
const FEW: &str = "there are not so many rows yet";
const FROZEN: &str = "it is one of the first n rows, or those are equal";
const SAME: &str = "all rows so far are equal";
const NYQUIST: &str = "frequencies below half of rate_hz, low_hz below high_hz";
const BUTTERWORTH: &str =
    "Oppenheim, Schafer, Discrete-Time Signal Processing (3rd ed.), 7.2; as SciPy's butter and sosfilt";
const HANDBOOK: &str = "NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2";

pub(super) fn is_window(n: f64) -> bool {
    is_whole(n) && (1..=MAX_WINDOW).contains(&whole(n))
}

/// All functions from row to row, in the order of the reference.
pub(super) fn all() -> impl Iterator<Item = &'static OnlineFunction> {
    FUNCTIONS.iter().chain(CHARTS).chain(DETECTORS).chain(LEARNERS)
}

const FUNCTIONS: &[OnlineFunction] = &[
    OnlineFunction {
        name: "ewma",
        parameters: &[HALF_LIFE],
        is_timed: true,
        make: |p, in_time| Ewma::new(p[0], in_time).map(Online::from),
        summary: "The exponentially weighted average, whose weights halve with each half-life of time or of rows; it has no \
            start value, so the first rows count in full",
        formula: "sum(w_i * x_i) / sum(w_i), where w_i = 0.5^(age_i / half_life)",
        source: "pandas, ewm(halflife, times, adjust=True)",
        null_when: NEVER,
        ..BASE
    },
    OnlineFunction {
        name: "zscore",
        make: |_, _| Some(ZScore::default().into()),
        summary: "The distance from the mean of the rows before, in their standard deviations: an outlier does not hide itself",
        formula: "(x - mean) / stddev of the rows before",
        source: "NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17; Welford (1962)",
        unit: "none",
        null_when: "there are fewer than two rows before, or these are equal",
        ..BASE
    },
    OnlineFunction {
        name: "standard_scale",
        make: |_, _| Some(StandardScale::default().into()),
        summary: "The distance from the mean of the rows so far, in their standard deviations, this row included",
        formula: "(x - mean) / stddev_pop of the rows so far",
        source: "scikit-learn, StandardScaler.partial_fit; Welford (1962)",
        unit: "none",
        null_when: SAME,
        ..BASE
    },
    OnlineFunction {
        name: "minmax_scale",
        make: |_, _| Some(MinMaxScale::default().into()),
        summary: "The place between the least and the greatest of the rows so far, this row included: from 0 to 1",
        formula: "(x - min) / (max - min) of the rows so far",
        source: "scikit-learn, MinMaxScaler.partial_fit",
        unit: "none",
        null_when: SAME,
        ..BASE
    },
    OnlineFunction {
        name: "standard_scale_frozen",
        parameters: &[SCALED_BY],
        make: |p, _| FrozenScale::new(Scale::Standard, whole(p[0])).map(Online::from),
        summary: "The distance from the mean of the first n rows, in their standard deviations: the scale does not follow what \
            comes later",
        formula: "(x - mean) / stddev_pop of the first n rows",
        source: "scikit-learn, StandardScaler.fit on the first n rows, then transform",
        unit: "none",
        null_when: FROZEN,
        ..BASE
    },
    OnlineFunction {
        name: "minmax_scale_frozen",
        parameters: &[SCALED_BY],
        make: |p, _| FrozenScale::new(Scale::MinMax, whole(p[0])).map(Online::from),
        summary: "The place between the least and the greatest of the first n rows; below 0 or above 1 where a row is beyond them",
        formula: "(x - min) / (max - min) of the first n rows",
        source: "scikit-learn, MinMaxScaler.fit on the first n rows, then transform",
        unit: "none",
        null_when: FROZEN,
        ..BASE
    },
    OnlineFunction {
        name: "derivative",
        is_timed: true,
        make: |_, _| Some(Derivative::default().into()),
        summary: "The change since the row before, per second",
        formula: "(x - x_before) / (t - t_before)",
        source: "the difference quotient",
        unit: "unit of x per second",
        null_when: FIRST,
        ..BASE
    },
    OnlineFunction {
        name: "rate_of_change",
        parameters: &[SPAN],
        is_timed: true,
        make: |p, _| RateOfChange::new(micros(p[0])).map(Online::from),
        needs: "an INTERVAL above 0",
        summary: "The change over a span, per second: since the oldest row that is at most the span older",
        formula: "(x - x_old) / (t - t_old)",
        source: "IEC 62682:2022, rate-of-change alarm",
        unit: "unit of x per second",
        null_when: "no other row of another time is in the span",
        ..BASE
    },
    OnlineFunction {
        name: "deadband",
        parameters: &[WIDTH],
        make: |p, _| Deadband::new(p[0]).map(Online::from),
        summary: "The value of a row that leaves the band around the last one that did, NULL for the others; the first one \
            always does. `QUALIFY deadband(x, 0.5) OVER (...) IS NOT NULL` keeps these rows",
        formula: "x where |x - last| > width, where last is the last value that was given",
        source: "OPC 10000-4 v1.05, 7.22.2, AbsoluteDeadband",
        null_when: "x is within the band",
        ..BASE
    },
    OnlineFunction {
        name: "stuck",
        parameters: &[REPEATS],
        result: DataType::Boolean,
        make: |p, _| Stuck::new(whole(p[0])).map(Online::from),
        summary: "True if the last n values are all equal, this row included",
        formula: "x_(i-n+1) = ... = x_i",
        source: "NAMUR NE 107 (frozen measured value)",
        unit: "BOOLEAN",
        null_when: FEW,
        ..BASE
    },
    OnlineFunction {
        name: "state_duration",
        is_timed: true,
        make: |_, _| Some(StateDuration::default().into()),
        summary: "How long x, a number that names a state, has been what it is: the time since the row in which it became that",
        formula: "t - t of the first row of the run of equal x",
        source: "run length in time",
        unit: "s",
        null_when: NEVER,
        ..BASE
    },
    OnlineFunction {
        name: "moving_median",
        parameters: &[ROWS],
        make: |p, _| MovingMedian::new(whole(p[0])).map(Online::from),
        summary: "The median of the last n rows, this row included",
        formula: "the middle value, or the mean of the two in the middle",
        source: "Tukey, Exploratory Data Analysis (1977), 7A",
        null_when: FEW,
        ..BASE
    },
    OnlineFunction {
        name: "hampel",
        parameters: &[ROWS, SIGMAS.or(3.0)],
        make: |p, _| Hampel::new(whole(p[0]), p[1]).map(Online::from),
        summary: "x, or the median of the last n rows (this row included) where x is an outlier; the window ends at the row \
            and is not around it",
        formula: "|x - median| > sigmas * 1.4826 * mad(last n) ? median : x",
        source: "Pearson, Outliers in process modeling and identification (2002)",
        null_when: FEW,
        ..BASE
    },
    OnlineFunction {
        name: "lowpass",
        parameters: &[HZ, RATE, ORDER],
        make: |p, _| Butterworth::lowpass(p[0], p[1], whole(p[2])).map(Online::from),
        needs: NYQUIST,
        summary: "The part below hz, by a Butterworth filter; rows must be evenly spaced. Before the first row x is taken to \
            have been constant",
        formula: "bilinear transform of 1 / sqrt(1 + (f / hz)^(2 * order))",
        source: BUTTERWORTH,
        null_when: NEVER,
        ..BASE
    },
    OnlineFunction {
        name: "highpass",
        parameters: &[HZ, RATE, ORDER],
        make: |p, _| Butterworth::highpass(p[0], p[1], whole(p[2])).map(Online::from),
        needs: NYQUIST,
        summary: "The part above hz, by a Butterworth filter; otherwise as `lowpass`",
        formula: "bilinear transform of 1 / sqrt(1 + (hz / f)^(2 * order))",
        source: BUTTERWORTH,
        null_when: NEVER,
        ..BASE
    },
    OnlineFunction {
        name: "bandpass",
        parameters: &[LOW, HIGH, RATE, ORDER],
        make: |p, _| Butterworth::bandpass(p[0], p[1], p[2], whole(p[3])).map(Online::from),
        needs: NYQUIST,
        summary: "The part between two frequencies, by a Butterworth filter of the order at each edge; otherwise as `lowpass`",
        formula: "bilinear transform of 1 / sqrt(1 + ((f^2 - low * high) / (f * (high - low)))^(2 * order))",
        source: BUTTERWORTH,
        null_when: NEVER,
        ..BASE
    },
    OnlineFunction {
        name: "savgol",
        parameters: &[ROWS, DEGREE],
        make: |p, _| SavitzkyGolay::new(whole(p[0]), whole(p[1])).map(Online::from),
        needs: "an order below n",
        summary: "The value of the least-squares polynomial through the last n rows at this row, the newest one",
        formula: "sum(h_i * x_i) over the last n rows, where h are the weights of the polynomial's value at the last one",
        source: "Savitzky, Golay (1964); as SciPy's savgol_coeffs(n, order, pos=n - 1)",
        null_when: FEW,
        ..BASE
    },
    OnlineFunction {
        name: "kalman",
        parameters: &[WALK, NOISE],
        make: |p, _| Kalman::new(p[0], p[1]).map(Online::from),
        summary: "The level of a random walk that is measured with noise, by the filter of Kalman; it begins with the first \
            row and its variance r",
        formula: "p += q; g = p / (p + r); level += g * (x - level); p *= 1 - g",
        source: "Kalman, A new approach to linear filtering and prediction problems (1960)",
        null_when: NEVER,
        ..BASE
    },
    OnlineFunction {
        name: "cusum",
        inputs: &[X, TARGET, SLACK],
        make: |_, _| Some(Cusum::new(Side::Both).into()),
        summary: "The greater of `cusum_high` and `cusum_low`",
        formula: "max(high, low)",
        source: HANDBOOK,
        null_when: "target or k is not a number, or k is below 0",
        ..BASE
    },
    OnlineFunction {
        name: "cusum_high",
        inputs: &[X, TARGET, SLACK],
        make: |_, _| Some(Cusum::new(Side::High).into()),
        summary: "The tabular CUSUM above a target; the process is out of control where it exceeds a limit h, often 4 or 5 \
            sigma with a k of half a sigma",
        formula: "high = max(0, high + x - target - k), 0 at the start",
        source: HANDBOOK,
        null_when: "target or k is not a number, or k is below 0",
        ..BASE
    },
    OnlineFunction {
        name: "cusum_low",
        inputs: &[X, TARGET, SLACK],
        make: |_, _| Some(Cusum::new(Side::Low).into()),
        summary: "The tabular CUSUM below a target; otherwise as `cusum_high`",
        formula: "low = max(0, low + target - x - k), 0 at the start",
        source: HANDBOOK,
        null_when: "target or k is not a number, or k is below 0",
        ..BASE
    },
    OnlineFunction {
        name: "ewma_chart",
        inputs: &[X, TARGET, SIGMA],
        parameters: &[LAMBDA],
        make: |p, _| EwmaChart::new(p[0]).map(Online::from),
        summary: "How far the exponential average is from the target, in its own standard deviations; the process is out of \
            control where it is beyond a limit L, such as 2.7 with lambda 0.1",
        formula: "(z - target) / (sigma * sqrt(lambda / (2 - lambda) * (1 - (1 - lambda)^(2 * i)))), \
            z = lambda * x + (1 - lambda) * z, the target at the start",
        source: "NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.4",
        unit: "none",
        null_when: "target or sigma is not a number, or sigma is not above 0",
        ..BASE
    },
    OnlineFunction {
        name: "western_electric",
        inputs: &[X, MEAN, SIGMA],
        result: DataType::Int64,
        make: |_, _| Some(WesternElectric::default().into()),
        summary: "The first of the rules of Western Electric that the row breaks: 1, beyond 3 sigma; 2, two of three beyond 2 \
            sigma on one side; 3, four of five beyond 1 sigma on one side; 4, eight in a row on one side",
        formula: "the rules over z = (x - mean) / sigma of the last rows",
        source: "Western Electric, Statistical Quality Control Handbook (1956)",
        unit: "number of the rule",
        null_when: "no rule is broken, mean or sigma is not a number, or sigma is not above 0",
        ..BASE
    },
    OnlineFunction {
        name: "nelson",
        inputs: &[X, MEAN, SIGMA],
        result: DataType::Int64,
        make: |_, _| Some(Nelson::default().into()),
        summary: "The first of the rules of Nelson that the row breaks: 1, beyond 3 sigma; 2, nine in a row on one side; 3, six \
            in a row that rise or fall; 4, fourteen in a row that alternate; 5, two of three beyond 2 sigma on one side; 6, \
            four of five beyond 1 sigma on one side; 7, fifteen in a row within 1 sigma; 8, eight in a row beyond 1 sigma",
        formula: "the rules over z = (x - mean) / sigma of the last rows",
        source: "Nelson, The Shewhart control chart - tests for special causes (1984)",
        unit: "number of the rule",
        null_when: "no rule is broken, mean or sigma is not a number, or sigma is not above 0",
        ..BASE
    },
];

/// The function of this name.
pub(crate) fn find(name: &str) -> Option<&'static OnlineFunction> {
    all().find(|function| function.name == name)
}

impl OnlineFunction {
    /// The number of arguments without the time.
    pub(super) fn untimed(&self) -> usize {
        self.inputs.len() + self.parameters.len()
    }

    /// The places of the arguments that are constants.
    pub(crate) fn constants(&self) -> std::ops::Range<usize> {
        self.inputs.len()..self.untimed()
    }

    /// The places of the arguments that each row has, the time last.
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> {
        let time = self.is_timed.then_some(self.untimed());
        (0..self.inputs.len()).chain(time)
    }

    /// True if the last of its columns is the time.
    pub(crate) fn is_timed(&self) -> bool {
        self.is_timed
    }

    /// `name(x, parameter)`.
    pub(super) fn signature(&self) -> String {
        let inputs = names(&self.inputs[1..]);
        format!("{}({}{inputs}{})", self.name, self.inputs[0].name, names(self.parameters))
    }

    /// The function with the values of its constants.
    pub(crate) fn with(&self, constants: &[ScalarValue]) -> Result<Online> {
        let mut in_time = false;
        let mut values = Vec::with_capacity(constants.len());
        for (parameter, constant) in self.parameters.iter().zip(constants) {
            let span = if parameter.is_span { interval_micros(constant) } else { None };
            in_time |= span.is_some();
            let value = match span {
                Some(span) => Some(span),
                None => parameter.of_constant(self.name, constant)?,
            };
            let Some(value) = value else {
                return plan_err!("{}: {} must be {}", self.name, parameter.name, parameter.range);
            };
            values.push(value);
        }
        match (self.make)(&values, in_time) {
            Some(online) => Ok(online),
            None if self.needs.is_empty() => plan_err!("{}: {constants:?} is out of range", self.name),
            None => plan_err!("{} needs {}", self.name, self.needs),
        }
    }

    /// The types that the arguments are cast to.
    pub(super) fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() != self.untimed() + usize::from(self.is_timed) {
            let missing = if self.is_timed { " and the time as its last argument" } else { "" };
            return plan_err!("wrong number of arguments: {} takes {}{missing}", self.name, self.signature());
        }
        let parameters = self.inputs.iter().chain(self.parameters);
        let coerced = parameters.zip(types).map(|(parameter, found)| parameter.coerce(self.name, found));
        let mut coerced = coerced.collect::<Result<Vec<_>>>()?;
        if let Some(found) = types.get(coerced.len()) {
            let Some(time) = event_time_type(found) else {
                return plan_err!("{}: rows must be ordered by a TIMESTAMP, not {found}", self.name);
            };
            coerced.push(time);
        }
        Ok(coerced)
    }
}

/// An interval of fixed length in microseconds.
#[expect(clippy::cast_precision_loss, reason = "a microsecond of 285 years is within 2^53")]
fn interval_micros(value: &ScalarValue) -> Option<f64> {
    let micros = match value {
        ScalarValue::IntervalMonthDayNano(Some(span)) if span.months == 0 => {
            i64::from(span.days) * 86_400_000_000 + span.nanoseconds / 1_000
        }
        ScalarValue::IntervalDayTime(Some(span)) => {
            i64::from(span.days) * 86_400_000_000 + i64::from(span.milliseconds) * 1_000
        }
        _ => return None,
    };
    Some(micros as f64)
}

/// Microseconds that [`interval_micros`] made a number of.
#[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^53")]
fn micros(span: f64) -> i64 {
    span as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_the_type_that_its_table_says() {
        for function in all() {
            let constant = |parameter: &Parameter| match parameter.name {
                "window" => ScalarValue::from(20.0),
                "span" => ScalarValue::new_interval_mdn(0, 0, 1_000_000_000),
                "n" | "memory" | "warmup" | "clock" | "last" | "seed" | "replays" | "trees" | "height"
                | "delay" | "grace" | "max_depth" | "digits" | "size" | "groups" | "every" => {
                    ScalarValue::from(7.0)
                }
                "order" | "components" => ScalarValue::from(2.0),
                "rate_hz" => ScalarValue::from(100.0),
                "high_hz" => ScalarValue::from(30.0),
                _ => ScalarValue::from(0.5),
            };
            let constants: Vec<_> = function.parameters.iter().map(constant).collect();
            assert_eq!(function.with(&constants).unwrap().data_type(), function.result, "{}", function.name);
        }
    }

    #[test]
    fn constants_out_of_their_range_are_told() {
        let error = |name: &str, constants: &[f64]| {
            let constants: Vec<_> = constants.iter().map(|value| ScalarValue::from(*value)).collect();
            find(name).unwrap().with(&constants).unwrap_err().to_string()
        };
        assert!(error("lowpass", &[50.0, 100.0, 2.0]).contains("needs frequencies below half of rate_hz"));
        assert!(error("lowpass", &[5.0, 100.0, 3.0]).contains("order must be 2 or 4, not 3"));
        assert!(error("rate_of_change", &[5.0]).contains("span must be an INTERVAL above 0"));
        assert!(error("savgol", &[3.0, 3.0]).contains("needs an order below n"));
    }
}
