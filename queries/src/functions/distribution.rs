//! Quantiles and entropy: features of the values, whatever their order.

use lineshaft_operators::signal::{self, MAX_BINS};

use super::feature::{Feature, Kernel, Time};
use super::parameter::{Parameter, is_whole, whole};

const BASE: Feature = Feature {
    name: "",
    array_name: "",
    parameters: &[],
    time: Time::Ignored,
    kernel: Kernel::Samples(|_, _| None),
    sums: None,
    summary: "",
    formula: "",
    source: "Hyndman, Fan, Sample Quantiles in Statistical Packages (1996), definition 7; as NumPy's default",
    unit: "unit of x",
    null_when: "there are no samples",
};

/// A share of 0.95 where 95 is meant would be a wrong number without a word, so what lies between 0 and 1 is refused.
const PERCENT: Parameter = Parameter::number(
    "p",
    "a percentage: 0, or from 1 to 100, such as 95 (for finer ones there is percentile_cont with a share)",
    |p| p == 0.0 || (1.0..=100.0).contains(&p),
);

const BINS: Parameter = Parameter::number("bins", "a whole number from 1 to 65536", |bins| {
    is_whole(bins) && (1..=MAX_BINS).contains(&whole(bins))
});

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        name: "median",
        array_name: "array_median",
        kernel: Kernel::Reordering(|x, _| signal::median(x)),
        summary: "The median, exact",
        formula: "the middle sample, or the mean of the two in the middle",
        ..BASE
    },
    Feature {
        name: "percentile",
        array_name: "array_percentile",
        parameters: &[PERCENT],
        kernel: Kernel::Reordering(|x, p| signal::percentile(x, p[0])),
        summary: "The p-th percentile, exact; p = 95 means 95 percent",
        formula: "linear between the samples at place (n - 1) * p / 100 of the sorted ones",
        ..BASE
    },
    Feature {
        name: "mad",
        array_name: "array_mad",
        kernel: Kernel::Reordering(|x, _| signal::mad(x)),
        summary: "The median absolute deviation, not scaled",
        formula: "median(|x - median(x)|)",
        source: "Hampel, The Influence Curve and its Role in Robust Estimation (1974)",
        ..BASE
    },
    Feature {
        name: "iqr",
        array_name: "array_iqr",
        kernel: Kernel::Reordering(|x, _| signal::iqr(x)),
        summary: "The interquartile range",
        formula: "percentile(x, 75) - percentile(x, 25)",
        ..BASE
    },
    Feature {
        name: "entropy",
        array_name: "array_entropy",
        parameters: &[BINS],
        kernel: Kernel::Samples(|x, p| signal::entropy(x, whole(p[0]))),
        summary: "The entropy of a histogram with bins of equal width from the least to the greatest sample",
        formula: "-sum(p_i * ln(p_i)), where p_i is the share of bin i; bins as in numpy.histogram",
        source: "Shannon, A Mathematical Theory of Communication (1948), section 6",
        unit: "nat",
        ..BASE
    },
];
