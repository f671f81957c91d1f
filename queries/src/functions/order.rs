//! Features that depend on the order of the rows or on their times.

use lineshaft_operators::signal;

use super::feature::{Feature, Kernel, Time};
use super::parameter::{Parameter, is_whole, whole};

const BASE: Feature = Feature {
    name: "",
    array_name: "",
    parameters: &[],
    time: Time::Orders,
    kernel: Kernel::Samples(|_, _| None),
    sums: None,
    summary: "",
    formula: "",
    source: "Kedem, Spectral Analysis and Discrimination by Zero-Crossings (1986)",
    unit: "none",
    null_when: "there are fewer than two samples",
};

const LAG: Parameter = Parameter::number("lag", "a whole number of samples from 0 up", is_whole);

const LEAST_SQUARES: &str = "NIST/SEMATECH e-Handbook of Statistical Methods, 4.1.4.1";

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        name: "zero_crossing_rate",
        array_name: "array_zero_crossing_rate",
        kernel: Kernel::Samples(|x, _| signal::zero_crossing_rate(x)),
        summary: "The share of steps between neighbors that cross zero; zero itself counts as not above",
        formula: "count((x_i > 0) != (x_(i+1) > 0)) / (n - 1)",
        ..BASE
    },
    Feature {
        name: "mean_crossing_rate",
        array_name: "array_mean_crossing_rate",
        kernel: Kernel::Samples(|x, _| signal::mean_crossing_rate(x)),
        summary: "The share of steps between neighbors that cross the mean; the mean itself counts as not above",
        formula: "count((x_i > mean) != (x_(i+1) > mean)) / (n - 1)",
        ..BASE
    },
    Feature {
        name: "autocorrelation",
        array_name: "array_autocorrelation",
        parameters: &[LAG],
        kernel: Kernel::Samples(|x, p| signal::autocorrelation(x, whole(p[0]))),
        summary: "The autocorrelation at a lag, in samples",
        formula: "sum((x_i - mean) * (x_(i+lag) - mean)) / sum((x_i - mean)^2)",
        source: "Box, Jenkins, Reinsel, Time Series Analysis (4th ed.), 2.1.5; as R's acf",
        null_when: "x is constant, or there are no more samples than the lag",
        ..BASE
    },
    Feature {
        name: "slope_per_sample",
        array_name: "array_slope_per_sample",
        kernel: Kernel::Samples(|x, _| signal::slope(x)),
        summary: "The slope of the least-squares line against the sample number 0, 1, 2, ...",
        formula: "sum((i - mean(i)) * x_i) / sum((i - mean(i))^2)",
        source: LEAST_SQUARES,
        unit: "unit of x per sample",
        ..BASE
    },
    Feature {
        name: "slope",
        array_name: "array_slope",
        time: Time::Axis,
        kernel: Kernel::Timed(signal::slope_per_second, Some(signal::slope)),
        summary: "The slope of the least-squares line: `slope(x, ts)` against time, `slope(x)` as `slope_per_sample(x)`",
        formula: "sum((t_i - mean(t)) * x_i) / sum((t_i - mean(t))^2), t in seconds",
        source: LEAST_SQUARES,
        unit: "unit of x per second; without ts, per sample",
        null_when: "there are fewer than two samples, or all are of one time",
        ..BASE
    },
    Feature {
        name: "time_weighted_avg",
        array_name: "array_time_weighted_avg",
        time: Time::Axis,
        kernel: Kernel::Timed(signal::time_weighted_avg, None),
        summary: "The average over time, where a value holds until the next one; the last one only ends the span",
        formula: "sum(x_i * (t_(i+1) - t_i)) / (t_n - t_1)",
        source: "OPC 10000-13 v1.05, TimeAverage of stepped data",
        unit: "unit of x",
        null_when: "there are fewer than two samples, or all are of one time",
        ..BASE
    },
];
