//! The power spectral density by Welch's method, and the cepstrum.
//!
//! - Formulas: Welch, "The use of fast Fourier transform for the estimation of power spectra", IEEE Trans. Audio
//!   Electroacoust. 15 (1967), with SciPy's conventions; Bogert, Healy, Tukey, "The quefrency alanysis of time series for
//!   echoes" (1963).

use super::spectrum::{hann, hann_power, is_rate, real_of, spectrum_of};
use super::{finite, number};

/// Below this share of the greatest power the cepstrum takes the power as this share: the logarithm of what is but
/// rounding would drown the rest.
const FLOOR: f64 = 1e-12;

/// The one-sided power spectral density at `k * rate_hz / segment`, `k = 0 ..= segment / 2`, in the unit squared per
/// hertz.
///
/// The mean over segments that overlap by half (rounded down), each without its mean and under a periodic Hann window
/// `w`: `c_k * |X_k|^2 / (rate_hz * sum(w^2))`, where `c_k` is 2, and 1 for `k = 0` and the Nyquist frequency. What is
/// left at the end is not used. `None` with fewer samples than one segment, or a segment below two.
pub fn psd(samples: &[f64], rate_hz: f64, segment: usize) -> Option<Vec<f64>> {
    if segment < 2 || samples.len() < segment || !is_rate(rate_hz) {
        return None;
    }
    let window = hann(segment);
    let scale = rate_hz * window.iter().map(|w| w * w).sum::<f64>();
    let mut density = vec![0.0; segment / 2 + 1];
    let mut segments = 0;
    for start in (0..=samples.len() - segment).step_by(segment - segment / 2) {
        let part = &samples[start..start + segment];
        let mean = super::mean(part)?;
        let input = part.iter().zip(window.iter()).map(|(x, w)| (x - mean) * w).collect();
        for (sum, x) in density.iter_mut().zip(spectrum_of(input)?) {
            *sum += x.norm_sqr();
        }
        segments += 1;
    }
    for (k, density) in density.iter_mut().enumerate() {
        let sides = if k == 0 || 2 * k == segment { 1.0 } else { 2.0 };
        *density = finite(*density * sides / (scale * number(segments)))?;
    }
    Some(density)
}

/// The quefrency of the greatest value of the real cepstrum between `1 / high_hz` and `1 / low_hz`, in seconds: the
/// period at which a family of harmonics or side bands repeats.
///
/// The cepstrum is the inverse transform of `ln(P_k)`, where `P_k` is the power of the samples without their mean under a
/// Hann window, at least 1e-12 of the greatest. `None` for a constant signal, and if no quefrency lies in the range.
pub fn cepstrum_peak(samples: &[f64], rate_hz: f64, low_hz: f64, high_hz: f64) -> Option<f64> {
    let power = hann_power(samples, rate_hz)?;
    let greatest = finite(power.values.iter().copied().fold(0.0, f64::max)).filter(|p| *p > 0.0)?;
    if !(low_hz > 0.0 && low_hz < high_hz) {
        return None;
    }
    let logarithms = power.values.iter().map(|p| p.max(FLOOR * greatest).ln().into());
    let cepstrum = real_of(logarithms.collect(), samples.len())?;
    let mut peak: Option<(f64, f64)> = None;
    // The second half mirrors the first one.
    for (i, c) in cepstrum.iter().enumerate().take(samples.len() / 2 + 1).skip(1) {
        let quefrency = number(i) / rate_hz;
        let is_within = quefrency * high_hz >= 1.0 && quefrency * low_hz <= 1.0;
        if is_within && peak.is_none_or(|(_, most)| *c > most) {
            peak = Some((quefrency, *c));
        }
    }
    peak.map(|(quefrency, _)| quefrency)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_density_is_that_of_scipy() {
        for at in [0, 1, 7, 32] {
            check(&format!("psd_64_{at}"), |x| psd(x, 1000.0, 64)?.get(at).copied());
        }
        check("psd_63_sum", |x| Some(psd(x, 1000.0, 63)?.iter().sum()));
    }

    #[test]
    fn the_peak_of_the_cepstrum_is_that_of_numpy() {
        check("cepstrum_peak", |x| cepstrum_peak(x, 1000.0, 5.0, 200.0));
    }

    #[test]
    fn harmonics_repeat_at_the_period_of_their_tone() {
        let tone = |i: i32| (1..8).map(|h| (0.7 + 0.04 * f64::from(h * i)).cos()).sum::<f64>();
        let samples: Vec<f64> = (0..2048).map(tone).collect();
        let period = std::f64::consts::TAU / 0.04 / 1000.0;
        let found = cepstrum_peak(&samples, 1000.0, 2.0, 50.0).unwrap();
        assert!((found - period).abs() < 0.002, "{found} for {period}");
    }
}
