//! Features of how a signal moves from sample to sample.

use lineshaft_operators::signal::{self, MAX_ORDER};

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
    source: "Hjorth, EEG analysis based on time domain properties (1970)",
    unit: "none",
    null_when: "",
};

const ORDER: Parameter = Parameter::number("order", "a whole number from 2 to 8", |order| {
    is_whole(order) && (2..=MAX_ORDER).contains(&whole(order))
});
const DELAY: Parameter = Parameter::number("delay", "a whole number of samples from 1 up", |delay| {
    is_whole(delay) && delay >= 1.0
});
const LENGTH: Parameter =
    Parameter::number("m", "a whole number of samples from 1 up", |m| is_whole(m) && m >= 1.0);
const TOLERANCE: Parameter =
    Parameter::number("r", "a number of standard deviations from 0 up, such as 0.2", |r| {
        r >= 0.0 && r.is_finite()
    });

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        name: "hjorth_mobility",
        array_name: "array_hjorth_mobility",
        kernel: Kernel::Samples(|x, _| signal::hjorth_mobility(x)),
        summary: "Hjorth's mobility: how fast the signal changes, per sample; his activity is `variance_pop`",
        formula: "sqrt(variance_pop(x') / variance_pop(x)), where x'_i = x_(i+1) - x_i",
        null_when: "x is constant, or there are fewer than three samples",
        ..BASE
    },
    Feature {
        name: "hjorth_complexity",
        array_name: "array_hjorth_complexity",
        kernel: Kernel::Samples(|x, _| signal::hjorth_complexity(x)),
        summary: "Hjorth's complexity: how far the signal is from a sine, whose complexity is 1",
        formula: "hjorth_mobility(x') / hjorth_mobility(x), where x'_i = x_(i+1) - x_i",
        null_when: "x or x' is constant, or there are fewer than four samples",
        ..BASE
    },
    Feature {
        name: "line_length",
        array_name: "array_line_length",
        kernel: Kernel::Samples(|x, _| signal::line_length(x)),
        summary: "The length of the line through the samples",
        formula: "sum(|x_(i+1) - x_i|)",
        source: "Esteller et al., Line length: an efficient feature for seizure onset detection (2001)",
        unit: "unit of x",
        null_when: "there are fewer than two samples",
        ..BASE
    },
    Feature {
        name: "curvature",
        array_name: "array_curvature",
        kernel: Kernel::Samples(|x, _| signal::curvature(x)),
        summary: "The second derivative of the least-squares parabola against the sample number",
        formula: "2 * sum(q_i * x_i) / sum(q_i^2), where q = u^2 - mean(u^2), u = i - mean(i)",
        source: "NIST/SEMATECH e-Handbook of Statistical Methods, 4.1.4.1",
        unit: "unit of x per sample squared",
        null_when: "there are fewer than three samples",
        ..BASE
    },
    Feature {
        name: "autocorrelation_minimum",
        array_name: "array_autocorrelation_minimum",
        kernel: Kernel::Samples(|x, _| signal::autocorrelation_minimum(x)),
        summary: "The first lag at which the autocorrelation is below its neighbors: about half a period",
        formula: "the least lag > 0 with r(lag) < r(lag - 1) and r(lag) < r(lag + 1), where r is `autocorrelation`",
        source: "Lubba et al., catch22: CAnonical Time-series CHaracteristics (2019), CO_FirstMin_ac",
        unit: "samples",
        null_when: "there is no such lag, or x is constant",
        ..BASE
    },
    Feature {
        name: "permutation_entropy",
        array_name: "array_permutation_entropy",
        parameters: &[ORDER, DELAY],
        kernel: Kernel::Samples(|x, p| signal::permutation_entropy(x, whole(p[0]), whole(p[1]))),
        summary: "The entropy of the orders of `order` samples that are `delay` apart: 0 for a signal that only rises, at \
            most ln(order!). Of equal samples the earlier one counts as the lesser",
        formula: "-sum(p * ln(p)) over the orders that occur, where p is the share of an order",
        source: "Bandt, Pompe, Permutation entropy: a natural complexity measure for time series (2002); tsfresh cuts x into \
            patterns of which only every `delay`-th begins, and counts fewer",
        unit: "nat",
        null_when: "there are not enough samples for one pattern",
        ..BASE
    },
    Feature {
        name: "sample_entropy",
        array_name: "array_sample_entropy",
        parameters: &[LENGTH, TOLERANCE],
        kernel: Kernel::Samples(|x, p| signal::sample_entropy(x, whole(p[0]), p[1])),
        summary: "How unlikely it is that parts of m samples that are alike stay alike for one sample more. The time it takes \
            grows with the square of the number of samples",
        formula: "-ln(A / B), where B pairs of m samples and A of m + 1 differ by at most r * stddev_pop(x) in each",
        source: "Richman, Moorman, Physiological time-series analysis using approximate entropy and sample entropy (2000); as \
            antropy, while tsfresh counts one pattern more of m samples than of m + 1",
        unit: "nat",
        null_when: "no two parts are alike, x is constant, or there are not enough samples",
        ..BASE
    },
];
