//! Features of the vibration of rotating machines.

use lineshaft_operators::signal::{self, Bearing, Fault, Search, Speed};

use super::feature::{Feature, Kernel, Time};
use super::parameter::{Parameter, is_whole, whole};
use super::spectrum::RATE;

const BASE: Feature = Feature {
    name: "",
    array_name: "",
    parameters: &[],
    time: Time::Orders,
    kernel: Kernel::Samples(|_, _| None),
    sums: None,
    summary: "",
    formula: "",
    source: BEARINGS,
    unit: "",
    null_when: "",
};

pub(super) const BEARINGS: &str =
    "Randall, Antoni, Rolling element bearing diagnostics - a tutorial (2011), 2 and 5";

const FAULTS: [Fault; 4] = [Fault::OuterRace, Fault::InnerRace, Fault::Ball, Fault::Cage];

/// Speed, kind of fault and geometry, in the order that [`bearing`] takes.
pub(super) const BEARING: [Parameter; 6] = [
    Parameter::number("rpm", "turns of the shaft per minute, a number from 0 up", |rpm| {
        rpm >= 0.0 && rpm.is_finite()
    }),
    Parameter::word(
        "kind",
        "'BPFO' (outer race), 'BPFI' (inner race), 'BSF' (ball) or 'FTF' (cage)",
        &["BPFO", "BPFI", "BSF", "FTF"],
    ),
    Parameter::number("balls", "the number of balls or rollers, above 0", is_size),
    Parameter::number("ball_diameter", "a length above 0, less than the pitch diameter", is_size),
    Parameter::number("pitch_diameter", "a length above 0, in the unit of the ball diameter", is_size),
    Parameter::number("angle_deg", "the contact angle in degrees, from 0 to 90", |a| {
        (0.0..=90.0).contains(&a)
    }),
];

const LOW: Parameter = Parameter::number("low_hz", "a number", |hz| !hz.is_nan());
const HIGH: Parameter = Parameter::number("high_hz", "a number", |hz| !hz.is_nan());
const HARMONICS: Parameter =
    Parameter::number("harmonics", "a whole number from 1 up", |n| is_whole(n) && n >= 1.0);
const SLIP: Parameter = Parameter::number("slip", "a share from 0 to 1", |slip| (0.0..=1.0).contains(&slip));

const LEVELS: Parameter =
    Parameter::number("levels", "a whole number from 1 to 10", |n| is_whole(n) && (1.0..=10.0).contains(&n));
const RPM_START: Parameter =
    Parameter::number("rpm_start", "turns per minute at the first sample, above 0", is_size);
const RPM_END: Parameter =
    Parameter::number("rpm_end", "turns per minute at the last sample, above 0", is_size);
pub(super) const LOW_ORDER: Parameter =
    Parameter::number("low_order", "a number of events a turn", |o| !o.is_nan());
pub(super) const HIGH_ORDER: Parameter =
    Parameter::number("high_order", "a number of events a turn", |o| !o.is_nan());
pub(super) const PER_TURN: Parameter =
    Parameter::number("per_turn", "the number of angles of a turn, from 2 to 100000", |n| {
        is_whole(n) && (2.0..=100_000.0).contains(&n)
    });
const ORDERS: &str = "Fyfe, Munck (1997), Analysis of computed order tracking";
const NO_TURN: &str = "the shaft makes no whole turn, there are fewer than two samples, or its turns have more than ten million angles together";

fn speed(rpm_start: f64, rpm_end: f64, per_turn: f64) -> Speed {
    Speed { rpm_start, rpm_end, per_turn: whole(per_turn) }
}

fn is_size(length: f64) -> bool {
    length > 0.0 && length.is_finite()
}

/// What [`BEARING`] says, of the same order.
pub(super) fn bearing(parameters: &[f64]) -> (f64, Fault, Bearing) {
    let fault = FAULTS[whole(parameters[1])];
    let [balls, ball_diameter, pitch_diameter, angle_deg] = [2, 3, 4, 5].map(|at: usize| parameters[at]);
    (parameters[0], fault, Bearing { balls, ball_diameter, pitch_diameter, angle_deg })
}

fn bearing_energy(samples: &[f64], parameters: &[f64]) -> Option<f64> {
    let (rpm, fault, bearing) = bearing(&parameters[1..7]);
    let [low_hz, high_hz, harmonics, slip] = [7, 8, 9, 10].map(|at: usize| parameters[at]);
    let search = Search { low_hz, high_hz, harmonics: whole(harmonics), slip };
    signal::bearing_energy(samples, parameters[0], rpm, fault, &bearing, &search)
}

const BEARING_ENERGY: &[Parameter] = {
    let [rpm, kind, balls, ball_diameter, pitch_diameter, angle] = BEARING;
    &[
        RATE,
        rpm,
        kind,
        balls,
        ball_diameter,
        pitch_diameter,
        angle,
        LOW.or(0.0),
        HIGH.or(f64::INFINITY),
        HARMONICS.or(3.0),
        SLIP.or(0.02),
    ]
};

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        name: "bearing_energy",
        array_name: "array_bearing_energy",
        parameters: BEARING_ENERGY,
        kernel: Kernel::Samples(bearing_energy),
        summary: "The mean square of the envelope of the band low_hz <= f < high_hz at the frequency f of a bearing fault, \
            `bearing_frequency`, and its harmonics h = 1 .. harmonics below half the rate. The envelope is the magnitude \
            of the analytic signal without the mean, P_k its power; the balls slip, so the frequency may be off by a share",
        formula: "sum(P_k) / n over |f_k - h * f| <= max(slip * h * f, rate_hz / n / 2), each k once",
        unit: "unit of x, squared",
        null_when: "the fault has no frequency below half the rate, or there are fewer than two samples",
        ..BASE
    },
    Feature {
        name: "kurtogram",
        array_name: "array_kurtogram",
        parameters: &[RATE, LEVELS.or(5.0)],
        kernel: Kernel::List(|x, p| {
            let levels = u32::try_from(whole(p[1])).ok()?;
            let band = signal::kurtogram(x, p[0], levels)?;
            Some(vec![band.low_hz, band.high_hz, band.kurtosis])
        }),
        summary: "The band of the impacts, `[low_hz, high_hz, kurtosis]`: the one whose envelope is spikiest, among the parts of half the \
            rate by 2, 3, 4, 6, 8, ... up to 2^levels; for `bearing_energy` and `envelope_rms`. The wider and lower one of equal ones; \
            bands of fewer than 8 lines of the spectrum do not count",
        formula: "mean(|c|^4) / mean(|c|^2)^2 - 2 of the analytic signal c of the band, cut out of the transform",
        source: "Antoni (2007), Fast computation of the kurtogram for the detection of transient faults, with sharp bands",
        unit: "Hz, Hz, none",
        null_when: "x is constant, or there are too few samples for any band",
        ..BASE
    },
    Feature {
        name: "order_energy",
        array_name: "array_order_energy",
        parameters: &[RATE, RPM_START, RPM_END, LOW_ORDER, HIGH_ORDER, PER_TURN.or(64.0)],
        kernel: Kernel::Samples(|x, p| signal::order_energy(x, p[0], speed(p[1], p[2], p[5]), p[3], p[4])),
        summary: "The mean square of what turns with a shaft, low_order <= o < high_order events a turn, while its speed goes evenly from \
            rpm_start at the first to rpm_end at the last sample. Orders above half of per_turn fold back: filter first",
        formula: "sum(P_k) / n over the band of the samples at even angles, per_turn of them a turn, all whole turns",
        source: ORDERS,
        unit: "unit of x, squared",
        null_when: NO_TURN,
        ..BASE
    },
    Feature {
        name: "pulse_times",
        array_name: "array_pulse_times",
        parameters: &[
            RATE,
            Parameter::number("level", "a number", |level| level.is_finite()),
            Parameter::number("hysteresis", "a number from 0 up", |h| h >= 0.0 && h.is_finite()).or(0.0),
        ],
        kernel: Kernel::List(|x, p| signal::pulse_times(x, p[0], p[1], p[2])),
        summary: "When the pulses of a tacho come, in seconds after the first sample: where x reaches level from below, if it has been below \
            level - hysteresis since the pulse before. For `tacho_order_energy` and its like",
        formula: "(i + (level - x_i) / (x_(i+1) - x_i)) / rate_hz where x_i < level <= x_(i+1)",
        source: ORDERS,
        unit: "s, an array",
        null_when: "there is no pulse",
        ..BASE
    },
    Feature {
        name: "synchronous_average",
        array_name: "array_synchronous_average",
        parameters: &[RATE, RPM_START, RPM_END, PER_TURN.or(64.0)],
        kernel: Kernel::List(|x, p| signal::synchronous_average(x, p[0], speed(p[1], p[2], p[3]))),
        summary: "The mean turn of a shaft, an array of per_turn angles: what does not turn with it is averaged out. The speed is as for \
            `order_energy`",
        formula: "mean over all whole turns of the samples at the angle, between two samples on the line through them",
        source: ORDERS,
        unit: "unit of x, an array",
        null_when: NO_TURN,
        ..BASE
    },
    Feature {
        name: "velocity_rms",
        array_name: "array_velocity_rms",
        parameters: &[RATE, LOW.or(10.0), HIGH.or(1000.0)],
        kernel: Kernel::Samples(|x, p| signal::velocity_rms(x, p[0], p[1], p[2])),
        summary: "The root mean square of the velocity in the band low_hz <= f < high_hz, from the acceleration x in m/s^2, \
            integrated in the frequency domain",
        formula: "1000 * sqrt(sum(P_k / (2 * pi * f_k)^2) / n), k >= 1",
        source: "ISO 20816-1:2016",
        unit: "mm/s",
        null_when: "there are fewer than two samples",
        ..BASE
    },
];
