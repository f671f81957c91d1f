//! Features of processes: capability, and how dependable a machine is.

use lineshaft_operators::signal;
use lineshaft_operators::signal::running::Spread;

use super::feature::{Feature, Kernel, Time};
use super::parameter::Parameter;
use super::running::With;

const BASE: Feature = Feature {
    name: "",
    array_name: "",
    parameters: &[LSL, USL],
    time: Time::Orders,
    kernel: Kernel::Samples(|_, _| None),
    sums: None,
    summary: "",
    formula: "",
    source: "ISO 22514-2:2017; NIST/SEMATECH e-Handbook of Statistical Methods, 6.1.6",
    unit: "none",
    null_when: "x is constant, lsl is not below usl, or there are fewer than two samples",
};

const LSL: Parameter =
    Parameter::number("lsl", "the lower specification limit, in the unit of x", |limit| !limit.is_nan());
const USL: Parameter =
    Parameter::number("usl", "the upper specification limit, in the unit of x", |limit| !limit.is_nan());

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        name: "sigma_within",
        array_name: "array_sigma_within",
        parameters: &[],
        kernel: Kernel::Samples(|x, _| signal::sigma_within(x)),
        summary: "The standard deviation within a process, from the mean moving range of two; a slow drift does not widen it",
        formula: "mean(|x_(i+1) - x_i|) / d2, d2 = 2 / sqrt(pi) = 1.128",
        source: "NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.2",
        unit: "unit of x",
        null_when: "there are fewer than two samples",
        ..BASE
    },
    Feature {
        name: "cp",
        array_name: "array_cp",
        kernel: Kernel::Samples(|x, p| signal::cp(x, p[0], p[1])),
        summary: "The capability of a process",
        formula: "(usl - lsl) / (6 * sigma_within(x))",
        ..BASE
    },
    Feature {
        name: "cpk",
        array_name: "array_cpk",
        kernel: Kernel::Samples(|x, p| signal::cpk(x, p[0], p[1])),
        summary: "The capability of a process with regard to its mean; below 0 if the mean is beyond a limit. A limit that is \
            infinite is none",
        formula: "min(usl - mean(x), mean(x) - lsl) / (3 * sigma_within(x))",
        ..BASE
    },
    Feature {
        name: "pp",
        array_name: "array_pp",
        time: Time::Ignored,
        kernel: Kernel::Samples(|x, p| signal::pp(x, p[0], p[1])),
        sums: Some(&With(Spread::pp)),
        summary: "The performance of a process, drift included",
        formula: "(usl - lsl) / (6 * stddev(x))",
        ..BASE
    },
    Feature {
        name: "ppk",
        array_name: "array_ppk",
        time: Time::Ignored,
        kernel: Kernel::Samples(|x, p| signal::ppk(x, p[0], p[1])),
        sums: Some(&With(Spread::ppk)),
        summary: "The performance of a process with regard to its mean; below 0 if the mean is beyond a limit. A limit that \
            is infinite is none",
        formula: "min(usl - mean(x), mean(x) - lsl) / (3 * stddev(x))",
        ..BASE
    },
    Feature {
        name: "mtbf",
        array_name: "array_mtbf",
        parameters: &[],
        time: Time::Axis,
        kernel: Kernel::Timed(signal::mtbf, None),
        summary: "The mean time between failures. x is the state, 0 is failed and any other number is running; it holds until \
            the next row, and the last one only ends the span",
        formula: "time running / number of changes from running to failed",
        source: "ISO 22400-2:2014, mean operating time between failures",
        unit: "s",
        null_when: "there is no failure",
        ..BASE
    },
    Feature {
        name: "mttr",
        array_name: "array_mttr",
        parameters: &[],
        time: Time::Axis,
        kernel: Kernel::Timed(signal::mttr, None),
        summary: "The mean time to repair, of the failures that begin and end within the rows. x is the state as for `mtbf`",
        formula: "time failed / number of changes from failed to running",
        source: "ISO 22400-2:2014, mean time to restoration",
        unit: "s",
        null_when: "no failure has begun and ended",
        ..BASE
    },
];
