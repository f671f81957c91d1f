//! Features of the spectrum: the samples must be evenly spaced, `rate_hz` of them a second.

use lineshaft_operators::signal;

use super::feature::{Feature, Kernel, Time};
use super::parameter::{Parameter, is_whole, whole};

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

pub(super) const RATE: Parameter =
    Parameter::number("rate_hz", "a number above 0", |rate| rate.is_finite() && rate > 0.0);
const LOW: Parameter = Parameter::number("low_hz", "a number", |hz| !hz.is_nan());
const HIGH: Parameter = Parameter::number("high_hz", "a number", |hz| !hz.is_nan());

const FRACTION: Parameter =
    Parameter::number("fraction", "a share above 0, at most 1", |share| share > 0.0 && share <= 1.0);
const PEAKS: Parameter = Parameter::number("n", "a whole number from 1 up", |n| is_whole(n) && n >= 1.0);
const SEGMENT: Parameter =
    Parameter::number("segment", "a whole number of samples from 2 up", |n| is_whole(n) && n >= 2.0);

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
    Feature {
        name: "spectral_bandwidth",
        array_name: "array_spectral_bandwidth",
        kernel: Kernel::Samples(|x, p| signal::spectral_bandwidth(x, p[0])),
        summary: "The standard deviation of the frequency, weighted with the power without the mean",
        formula: "sqrt(sum((f_k - c)^2 * P_k) / sum(P_k)), k >= 1, where c is the spectral centroid",
        source: "Peeters, A large set of audio features (2004), 6.1.2 (spread)",
        ..BASE
    },
    Feature {
        name: "spectral_kurtosis",
        array_name: "array_spectral_kurtosis",
        kernel: Kernel::Samples(|x, p| signal::spectral_kurtosis(x, p[0])),
        summary: "The kurtosis of the frequency, weighted with the power without the mean; 3 for the form of a normal \
            distribution. It is not the spectral kurtosis of Antoni, which is one of each frequency over time",
        formula: "m4 / m2^2, where mk = sum((f_k - c)^k * P_k) / sum(P_k)",
        source: "Peeters, A large set of audio features (2004), 6.1.4",
        unit: "none",
        null_when: "x is constant or a single tone, or there are fewer than two samples",
        ..BASE
    },
    Feature {
        name: "spectral_rolloff",
        array_name: "array_spectral_rolloff",
        parameters: &[RATE, FRACTION],
        kernel: Kernel::Samples(|x, p| signal::spectral_rolloff(x, p[0], p[1])),
        summary: "The frequency up to which a share of the power without the mean lies",
        formula: "the lowest f_k with sum(P_1 .. P_k) >= fraction * sum(P_k)",
        source: "Peeters, A large set of audio features (2004), 6.1.7",
        ..BASE
    },
    Feature {
        name: "peak_frequencies",
        array_name: "array_peak_frequencies",
        parameters: &[RATE, PEAKS],
        kernel: Kernel::List(|x, p| signal::peak_frequencies(x, p[0], whole(p[1]))),
        summary: "The frequencies of the n greatest peaks, the greatest first; fewer if there are fewer. A peak is a local \
            maximum of the power under a Hann window, not 100 dB below the greatest",
        formula: "(k + d) * rate_hz / n, where d = (a - c) / (a - 2 * b + c) / 2 and a, b, c are ln(P) at k - 1, k, k + 1",
        source: "Smith, Spectral Audio Signal Processing (2011), Quadratic Interpolation of Spectral Peaks",
        unit: "list of Hz",
        null_when: "there is no peak: x is constant, or there are fewer than four samples",
        ..BASE
    },
    Feature {
        name: "psd",
        array_name: "array_psd",
        parameters: &[RATE, SEGMENT],
        kernel: Kernel::List(|x, p| signal::psd(x, p[0], whole(p[1]))),
        summary: "The one-sided power spectral density by Welch's method at k * rate_hz / segment, k = 0 .. segment / 2: the \
            mean over segments that overlap by half, each without its mean and under a periodic Hann window w",
        formula: "mean(c_k * |X_k|^2) / (rate_hz * sum(w^2)), c_k = 2 (1 for the mean and the Nyquist frequency)",
        source: "Welch, The use of fast Fourier transform for the estimation of power spectra (1967); as SciPy's welch",
        unit: "list of (unit of x)^2 / Hz",
        null_when: "there are fewer samples than one segment has",
        ..BASE
    },
    Feature {
        name: "cepstrum_peak",
        array_name: "array_cepstrum_peak",
        parameters: &[RATE, LOW, HIGH],
        kernel: Kernel::Samples(|x, p| signal::cepstrum_peak(x, p[0], p[1], p[2])),
        summary: "The quefrency of the greatest value of the real cepstrum between 1 / high_hz and 1 / low_hz: the period of \
            a family of harmonics or side bands. The power is that of a Hann window, at least 1e-12 of the greatest",
        formula: "the i / rate_hz of the greatest c_i, where c is the inverse transform of ln(P_k)",
        source: "Bogert, Healy, Tukey, The quefrency alanysis of time series for echoes (1963)",
        unit: "s",
        null_when: "x is constant, no quefrency is in the range, low_hz is not above 0, or there are fewer than two samples",
        ..BASE
    },
];
