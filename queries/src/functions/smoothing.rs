//! Smoothing of a whole record, forwards and back: nothing is delayed, and nothing comes out before the record has ended.

use lineshaft_operators::online::Butterworth;
use lineshaft_operators::signal;

use super::feature::{Feature, Kernel, Time};
use super::parameter::{Parameter, is_whole, whole};
use super::spectrum::RATE;

const BASE: Feature = Feature {
    name: "",
    array_name: "",
    parameters: &[HZ, RATE, ORDER],
    time: Time::Orders,
    kernel: Kernel::List(|_, _| None),
    sums: None,
    summary: "",
    formula: "y(t) = filter(reversed(filter(x))), reversed; x goes on turned around its ends, 2 x_1 - x and 2 x_n - x",
    source: "Gustafsson (1996), Determining the initial states in forward-backward filtering; as SciPy's butter and sosfiltfilt",
    unit: "unit of x, an array",
    null_when: "the frequencies are not below half of rate_hz or low_hz is not below high_hz, or there are no more samples than the ends \
        take: 3 * (2 * sections + 1), order / 2 sections, twice as many between two frequencies",
};

const HZ: Parameter = Parameter::number("hz", "a frequency above 0", |hz| hz > 0.0);
const LOW: Parameter = Parameter::number("low_hz", "a frequency above 0", |hz| hz > 0.0);
const HIGH: Parameter = Parameter::number("high_hz", "a frequency above low_hz", |hz| hz > 0.0);
const ORDER: Parameter =
    Parameter::number("order", "2 or 4", |order| is_whole(order) && matches!(whole(order), 2 | 4)).or(2.0);
const WALK: Parameter =
    Parameter::number("q", "the variance of the level per sample, from 0 up", |q| q >= 0.0 && q.is_finite());
const NOISE: Parameter =
    Parameter::number("r", "the variance of a measurement, above 0", |r| r > 0.0 && r.is_finite());

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        name: "lowpass_zero_phase",
        array_name: "array_lowpass_zero_phase",
        kernel: Kernel::List(|x, p| signal::zero_phase(x, &Butterworth::lowpass(p[0], p[1], whole(p[2]))?)),
        summary: "The part below a frequency by a Butterworth filter, forwards and back: at the frequency half of the amplitude is left",
        ..BASE
    },
    Feature {
        name: "highpass_zero_phase",
        array_name: "array_highpass_zero_phase",
        kernel: Kernel::List(|x, p| signal::zero_phase(x, &Butterworth::highpass(p[0], p[1], whole(p[2]))?)),
        summary: "The part above a frequency; otherwise as `lowpass_zero_phase`",
        ..BASE
    },
    Feature {
        name: "bandpass_zero_phase",
        array_name: "array_bandpass_zero_phase",
        parameters: &[LOW, HIGH, RATE, ORDER],
        kernel: Kernel::List(|x, p| {
            signal::zero_phase(x, &Butterworth::bandpass(p[0], p[1], p[2], whole(p[3]))?)
        }),
        summary: "The part between two frequencies; otherwise as `lowpass_zero_phase`",
        ..BASE
    },
    Feature {
        name: "kalman_smooth",
        array_name: "array_kalman_smooth",
        parameters: &[WALK, NOISE],
        kernel: Kernel::List(|x, p| signal::kalman_smooth(x, p[0], p[1])),
        summary: "The level of a random walk that is measured with noise, by all samples before and after; `kalman` from row to row knows \
            those before only",
        formula: "from the end on: level_i += p_i / (p_i + q) * (level_(i+1) - level_i), where level and p are those of `kalman`",
        source: "Rauch, Tung, Striebel (1965), Maximum likelihood estimates of linear dynamic systems",
        null_when: "there are no samples",
        ..BASE
    },
];
