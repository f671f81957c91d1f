//! Moments and magnitudes: features that need no more than sums.

use lineshaft_operators::signal;
use lineshaft_operators::signal::running::{Extent, Magnitudes, Power, Roots, Shape, Spread};

use super::feature::{Feature, Kernel, Time};
use super::running::Of;

const HANDBOOK: &str = "NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.6";
const SHAPE: &str = "NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.11; as SciPy's defaults";
const ISO: &str = "ISO 20816-1:2016";
const LEI: &str = "Lei, Intelligent Fault Diagnosis of Rotating Machinery (2016), chapter 2";
const UNIT: &str = "unit of x";
const SQUARED: &str = "unit of x, squared";
const NONE: &str = "none";
const NO_ROWS: &str = "there are no samples";
const ONE_ROW: &str = "there are fewer than two samples";
const CONSTANT: &str = "x is constant, or there are no samples";
const ZERO: &str = "x is zero throughout, or there are no samples";

const BASE: Feature = Feature {
    name: "",
    array_name: "",
    parameters: &[],
    time: Time::Ignored,
    kernel: Kernel::Samples(|_, _| None),
    sums: None,
    summary: "",
    formula: "",
    source: LEI,
    unit: NONE,
    null_when: ZERO,
};

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        name: "rms",
        array_name: "array_rms",
        kernel: Kernel::Samples(|x, _| signal::rms(x)),
        sums: Some(&Of(Power::rms)),
        summary: "The root mean square",
        formula: "sqrt(sum(x^2) / n)",
        source: ISO,
        unit: UNIT,
        null_when: NO_ROWS,
        ..BASE
    },
    Feature {
        name: "abs_energy",
        array_name: "array_abs_energy",
        kernel: Kernel::Samples(|x, _| signal::abs_energy(x)),
        sums: Some(&Of(Power::abs_energy)),
        summary: "The energy of the samples",
        formula: "sum(x^2)",
        source: "Oppenheim, Schafer, Discrete-Time Signal Processing (3rd ed.), 2.9.5",
        unit: SQUARED,
        null_when: NO_ROWS,
        ..BASE
    },
    Feature {
        name: "peak_to_peak",
        array_name: "array_peak_to_peak",
        kernel: Kernel::Samples(|x, _| signal::peak_to_peak(x)),
        sums: Some(&Of(Extent::peak_to_peak)),
        summary: "The span of the samples",
        formula: "max(x) - min(x)",
        source: ISO,
        unit: UNIT,
        null_when: NO_ROWS,
        ..BASE
    },
    Feature {
        name: "variance",
        array_name: "array_variance",
        kernel: Kernel::Samples(|x, _| signal::variance(x)),
        sums: Some(&Of(Spread::variance)),
        summary: "The variance of a sample",
        formula: "sum((x - mean)^2) / (n - 1)",
        source: HANDBOOK,
        unit: SQUARED,
        null_when: ONE_ROW,
        ..BASE
    },
    Feature {
        name: "variance_pop",
        array_name: "array_variance_pop",
        kernel: Kernel::Samples(|x, _| signal::variance_pop(x)),
        sums: Some(&Of(Spread::variance_pop)),
        summary: "The variance of a population",
        formula: "sum((x - mean)^2) / n",
        source: HANDBOOK,
        unit: SQUARED,
        null_when: NO_ROWS,
        ..BASE
    },
    Feature {
        name: "stddev",
        array_name: "array_stddev",
        kernel: Kernel::Samples(|x, _| signal::stddev(x)),
        sums: Some(&Of(Spread::stddev)),
        summary: "The standard deviation of a sample",
        formula: "sqrt(variance(x))",
        source: HANDBOOK,
        unit: UNIT,
        null_when: ONE_ROW,
        ..BASE
    },
    Feature {
        name: "stddev_pop",
        array_name: "array_stddev_pop",
        kernel: Kernel::Samples(|x, _| signal::stddev_pop(x)),
        sums: Some(&Of(Spread::stddev_pop)),
        summary: "The standard deviation of a population",
        formula: "sqrt(variance_pop(x))",
        source: HANDBOOK,
        unit: UNIT,
        null_when: NO_ROWS,
        ..BASE
    },
    Feature {
        name: "skewness",
        array_name: "array_skewness",
        kernel: Kernel::Samples(|x, _| signal::skewness(x)),
        sums: Some(&Of(Shape::skewness)),
        summary: "The skewness, biased moments",
        formula: "m3 / m2^1.5, where mk = sum((x - mean)^k) / n",
        source: SHAPE,
        null_when: CONSTANT,
        ..BASE
    },
    Feature {
        name: "kurtosis",
        array_name: "array_kurtosis",
        kernel: Kernel::Samples(|x, _| signal::kurtosis(x)),
        sums: Some(&Of(Shape::kurtosis)),
        summary: "The excess kurtosis (0 for a normal distribution), biased moments",
        formula: "m4 / m2^2 - 3, where mk = sum((x - mean)^k) / n",
        source: SHAPE,
        null_when: CONSTANT,
        ..BASE
    },
    Feature {
        name: "crest_factor",
        array_name: "array_crest_factor",
        kernel: Kernel::Samples(|x, _| signal::crest_factor(x)),
        sums: Some(&Of(Magnitudes::crest_factor)),
        summary: "The peak over the root mean square",
        formula: "max(|x|) / rms(x)",
        ..BASE
    },
    Feature {
        name: "shape_factor",
        array_name: "array_shape_factor",
        kernel: Kernel::Samples(|x, _| signal::shape_factor(x)),
        sums: Some(&Of(Magnitudes::shape_factor)),
        summary: "The root mean square over the mean magnitude",
        formula: "rms(x) / mean(|x|)",
        ..BASE
    },
    Feature {
        name: "impulse_factor",
        array_name: "array_impulse_factor",
        kernel: Kernel::Samples(|x, _| signal::impulse_factor(x)),
        sums: Some(&Of(Magnitudes::impulse_factor)),
        summary: "The peak over the mean magnitude",
        formula: "max(|x|) / mean(|x|)",
        ..BASE
    },
    Feature {
        name: "clearance_factor",
        array_name: "array_clearance_factor",
        kernel: Kernel::Samples(|x, _| signal::clearance_factor(x)),
        sums: Some(&Of(Roots::clearance_factor)),
        summary: "The peak over the squared mean of the roots of the magnitudes",
        formula: "max(|x|) / mean(sqrt(|x|))^2",
        ..BASE
    },
];
