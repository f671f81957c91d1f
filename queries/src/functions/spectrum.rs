//! Features of the spectrum: the samples must be evenly spaced, `rate_hz` of them a second.

use lineshaft_operators::signal;

use super::feature::{Feature, Kernel, Parameter, Time};

const BASE: Feature = Feature {
    name: "",
    array_name: "",
    parameters: &[RATE],
    time: Time::Orders,
    kernel: Kernel::Samples(|_, _| None),
    sums: None,
    summary: "",
    formula: "",
    source: "Oppenheim, Schafer, Discrete-Time Signal Processing (3rd ed.), 8.6",
    unit: "Hz",
    null_when: "x is constant, or there are fewer than two samples",
};

const RATE: Parameter =
    Parameter { name: "rate_hz", range: "a number above 0", is_valid: |rate| rate.is_finite() && rate > 0.0 };
const LOW: Parameter = Parameter { name: "low_hz", range: "a number", is_valid: |hz| !hz.is_nan() };
const HIGH: Parameter = Parameter { name: "high_hz", range: "a number", is_valid: |hz| !hz.is_nan() };

const FEW: &str = "there are fewer than two samples";

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        name: "band_energy",
        array_name: "array_band_energy",
        parameters: &[RATE, LOW, HIGH],
        kernel: Kernel::Samples(|x, p| signal::band_energy(x, p[0], p[1], p[2])),
        summary: "The energy of the band low_hz <= f < high_hz; all bands together have abs_energy(x)",
        formula: "sum(P_k), where P_k = c_k * |X_k|^2 / n, c_k = 2 (1 for the mean and the Nyquist frequency)",
        unit: "unit of x, squared",
        null_when: FEW,
        ..BASE
    },
    Feature {
        name: "spectral_centroid",
        array_name: "array_spectral_centroid",
        kernel: Kernel::Samples(|x, p| signal::spectral_centroid(x, p[0])),
        summary: "The mean frequency, weighted with the power without the mean",
        formula: "sum(f_k * P_k) / sum(P_k), k >= 1",
        source: "Peeters, A large set of audio features (2004), 6.1.1",
        ..BASE
    },
    Feature {
        name: "dominant_frequency",
        array_name: "array_dominant_frequency",
        kernel: Kernel::Samples(|x, p| signal::dominant_frequency(x, p[0])),
        summary: "The frequency of the greatest power, apart from the mean",
        formula: "f_k of the greatest P_k, k >= 1",
        ..BASE
    },
    Feature {
        name: "spectral_entropy",
        array_name: "array_spectral_entropy",
        kernel: Kernel::Samples(|x, p| signal::spectral_entropy(x, p[0])),
        summary: "How evenly the power is spread: 0 for a pure tone, near 1 for white noise",
        formula: "-sum(p_k * ln(p_k)) / ln(K), where p_k = P_k / sum(P_k), k = 1 .. K",
        source: "Inouye et al., Quantification of EEG irregularity by use of the entropy of the power spectrum (1991)",
        unit: "none",
        null_when: "x is constant, or there are fewer than four samples",
        ..BASE
    },
    Feature {
        name: "envelope_rms",
        array_name: "array_envelope_rms",
        parameters: &[RATE, LOW, HIGH],
        kernel: Kernel::Samples(|x, p| signal::envelope_rms(x, p[0], p[1], p[2])),
        summary: "The root mean square of the envelope of the band low_hz <= f < high_hz",
        formula: "sqrt(sum(|a|^2) / n), where a is the analytic signal of the band",
        source: "Oppenheim, Schafer, Discrete-Time Signal Processing (3rd ed.), 12.4",
        unit: "unit of x",
        null_when: FEW,
        ..BASE
    },
];
