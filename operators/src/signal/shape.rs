//! How the power of a signal is spread over the frequencies, and where its peaks are.
//!
//! `P_k` and `f_k` are those of [`super::spectrum`]; the mean (`k = 0`) never counts.
//!
//! - Formulas: Peeters, "A large set of audio features" (2004), 6.1 (spread, kurtosis, roll-off); Smith, "Spectral
//!   Audio Signal Processing" (2011), "Quadratic Interpolation of Spectral Peaks".
//! - All are `None` below two samples, if `rate_hz` is not a finite number above zero, and for a constant signal.

use super::spectrum::{hann_power, power};
use super::{finite, number, ratio};

/// Peaks below this share of the greatest power are rounding, not signal: a double has some 1e-31 of it.
const FLOOR: f64 = 1e-10;

/// A width below this share of the step from one frequency to the next is rounding: the power is that of one tone.
const TONE: f64 = 1e-6;

/// The standard deviation of the frequency, weighted with the power: `sqrt(sum((f_k - c)^2 * P_k) / sum(P_k))`, in
/// hertz, where `c` is [`super::spectral_centroid`].
pub fn spectral_bandwidth(samples: &[f64], rate_hz: f64) -> Option<f64> {
    let [squares, _] = spread(samples, rate_hz)?;
    finite(squares.sqrt())
}

/// The kurtosis of the frequency, weighted with the power: `m_4 / m_2^2`, without unit; 3 for a power of the form of a
/// normal distribution, and less the flatter it is. `None` for a single tone, which has no width.
pub fn spectral_kurtosis(samples: &[f64], rate_hz: f64) -> Option<f64> {
    let [squares, fourths] = spread(samples, rate_hz)?;
    ratio(fourths, squares * squares)
}

/// The lowest `f_k` up to which at least the share `fraction` of the power lies, in hertz.
///
/// `None` if `fraction` is not above 0 and at most 1.
pub fn spectral_rolloff(samples: &[f64], rate_hz: f64, fraction: f64) -> Option<f64> {
    let power = power(samples, rate_hz)?;
    let total = finite(power.tones().map(|(_, p)| p).sum()).filter(|total| *total > 0.0)?;
    if !(fraction > 0.0 && fraction <= 1.0) {
        return None;
    }
    let mut below = 0.0;
    let mut tones = power.tones();
    tones.find_map(|(f, p)| {
        below += p;
        (below >= fraction * total).then_some(f)
    })
}

/// The frequencies of the `most` greatest peaks, the greatest first, in hertz.
///
/// A peak is a local maximum of the power of the samples without their mean under a Hann window; its frequency is that
/// of the parabola through the logarithms of the three powers around it. Peaks 100 dB below the greatest are left out;
/// `None` if there is none, or below four samples.
pub fn peak_frequencies(samples: &[f64], rate_hz: f64, most: usize) -> Option<Vec<f64>> {
    let power = hann_power(samples, rate_hz).filter(|power| power.values.len() > 2)?;
    let values = &power.values;
    let greatest = finite(values.iter().copied().fold(0.0, f64::max)).filter(|greatest| *greatest > 0.0)?;
    let is_peak = |k: &usize| {
        let p = values[*k];
        p > values[k - 1] && p >= values[k + 1] && p >= FLOOR * greatest
    };
    let mut peaks: Vec<usize> = (1..values.len() - 1).filter(is_peak).collect();
    // The sort is stable: of equal peaks the lower one comes first.
    peaks.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    peaks.truncate(most);
    let frequency = |k: &usize| (number(*k) + offset(&values[k - 1..=k + 1])) * power.step_hz;
    (!peaks.is_empty()).then(|| peaks.iter().map(frequency).collect())
}

/// Where the parabola through the logarithms of three powers has its top, from the middle one, in steps.
fn offset(around: &[f64]) -> f64 {
    let [left, top, right] = [0, 1, 2].map(|at: usize| around[at].ln());
    let offset = 0.5 * (left - right) / (left - 2.0 * top + right);
    // A neighbor without any power has no logarithm: the peak is where the middle is.
    if offset.is_finite() { offset } else { 0.0 }
}

/// The second and fourth central moment of the frequency.
fn spread(samples: &[f64], rate_hz: f64) -> Option<[f64; 2]> {
    let power = power(samples, rate_hz)?;
    let total: f64 = power.tones().map(|(_, p)| p).sum();
    let center = ratio(power.tones().map(|(f, p)| f * p).sum(), total)?;
    let moment = |exponent| power.tones().map(|(f, p)| (f - center).powi(exponent) * p).sum::<f64>() / total;
    let squares = moment(2);
    let is_tone = squares.sqrt() < TONE * power.step_hz;
    Some(if is_tone { [0.0, 0.0] } else { [squares, moment(4)] })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_shape_of_the_spectrum_is_that_of_numpy_and_scipy() {
        check("spectral_bandwidth", |x| spectral_bandwidth(x, 1000.0));
        check("spectral_kurtosis", |x| spectral_kurtosis(x, 1000.0));
        check("spectral_rolloff_85", |x| spectral_rolloff(x, 1000.0, 0.85));
        for at in 0..3 {
            check(&format!("peak_frequency_{at}"), |x| peak_frequencies(x, 1000.0, 3)?.get(at).copied());
        }
    }

    #[test]
    fn a_tone_between_two_frequencies_is_found() {
        let samples: Vec<f64> =
            (0..1000).map(|i| (std::f64::consts::TAU * 123.4 * f64::from(i) / 1000.0).sin()).collect();
        let found = peak_frequencies(&samples, 1000.0, 1).unwrap();
        assert!((found[0] - 123.4).abs() < 0.02, "{found:?}");
    }

    #[test]
    fn a_share_that_is_none_gives_nothing() {
        for fraction in [0.0, 1.1, f64::NAN] {
            assert_eq!(spectral_rolloff(&[1.0, 2.0, 0.0, 4.0], 1.0, fraction), None);
        }
    }
}
