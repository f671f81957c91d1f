//! Features of the spectrum of evenly spaced samples.
//!
//! `X_k` is the discrete Fourier transform, `f_k = k * rate_hz / n`, `k = 0 ..= n / 2`; no window function is applied.
//! The one-sided power is `P_k = c_k * |X_k|^2 / n`, where `c_k` is 2, and 1 for the mean (`k = 0`) and the Nyquist
//! frequency. So `sum(P_k) = sum(x^2)` (Parseval), and a band has its share of [`super::abs_energy`].
//!
//! - Formulas: Oppenheim, Schafer, "Discrete-Time Signal Processing" (3rd ed.), 8.6 (transform), 12.4 (analytic
//!   signal); Peeters, "A large set of audio features" (2004), 6.1.1 (centroid); Inouye et al., "Quantification of EEG
//!   irregularity by use of the entropy of the power spectrum" (1991).
//! - All are `None` below two samples, and if `rate_hz` is not a finite number above zero.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use super::recent::power_of;
use super::{finite, number, ratio, sum_of};

thread_local! {
    /// Plans of the transform by length: making one costs more than using it.
    static PLANNER: RefCell<RealFftPlanner<f64>> = RefCell::new(RealFftPlanner::new());

    /// What a transform works with, so that it need not be allocated each time.
    static WORK: RefCell<Work> = const { RefCell::new(Work { input: Vec::new(), output: Vec::new(), scratch: Vec::new() }) };

    /// The last Hann window: most windows of a query have one length, and its cosines cost as much as the transform.
    static HANN: RefCell<Rc<[f64]>> = RefCell::new(Rc::new([]));
}

/// The energy `sum(P_k)` of the band `low_hz <= f_k < high_hz`, in the unit squared.
pub fn band_energy(samples: &[f64], rate_hz: f64, low_hz: f64, high_hz: f64) -> Option<f64> {
    let power = power(samples, rate_hz)?;
    let band = power.band(low_hz, high_hz)?;
    finite(sum_of(&power.values[band], |p| p))
}

/// The mean frequency, weighted with the power without the mean: `sum(f_k * P_k) / sum(P_k)` over `k >= 1`, in hertz.
/// `None` for a constant signal.
pub fn spectral_centroid(samples: &[f64], rate_hz: f64) -> Option<f64> {
    let power = power(samples, rate_hz)?;
    let weighted: f64 = power.tones().map(|(f, p)| f * p).sum();
    ratio(weighted, power.tones().map(|(_, p)| p).sum())
}

/// The frequency of the greatest `P_k`, `k >= 1`, in hertz; the lowest one of several. `None` for a constant signal.
pub fn dominant_frequency(samples: &[f64], rate_hz: f64) -> Option<f64> {
    let power = power(samples, rate_hz)?;
    let mut dominant = (0.0, 0.0);
    for (f, p) in power.tones() {
        if !p.is_finite() {
            return None;
        }
        if p > dominant.1 {
            dominant = (f, p);
        }
    }
    (dominant.1 > 0.0).then_some(dominant.0)
}

/// How evenly the power is spread: `-sum(p_k * ln(p_k)) / ln(K)` with `p_k = P_k / sum(P_k)` over the `K` frequencies
/// `k >= 1`; 0 for a pure tone, near 1 for white noise. `None` for a constant signal and below four samples.
pub fn spectral_entropy(samples: &[f64], rate_hz: f64) -> Option<f64> {
    let power = power(samples, rate_hz)?;
    let total: f64 = power.tones().map(|(_, p)| p).sum();
    let shares = power.tones().map(|(_, p)| p / total).filter(|p| *p > 0.0 || p.is_nan());
    let entropy: f64 = shares.map(|p| -p * p.ln()).sum();
    let tones = number(power.values.len() - 1);
    ratio(if total > 0.0 { entropy } else { f64::NAN }, tones.ln())
}

/// The root mean square of the envelope of the band `low_hz <= f_k < high_hz`: the magnitude of its analytic signal.
///
/// By Parseval this needs no transform back: `sqrt(sum(a_k * |X_k|^2)) / n`, where `a_k` is 4, and 1 for the mean and
/// the Nyquist frequency. A tone of amplitude `A` within the band has an envelope of `A`.
pub fn envelope_rms(samples: &[f64], rate_hz: f64, low_hz: f64, high_hz: f64) -> Option<f64> {
    let power = power(samples, rate_hz)?;
    let band = power.band(low_hz, high_hz)?;
    let envelope: f64 = band.map(|k| power.values[k] * power.sides(k)).sum();
    finite((envelope / number(samples.len())).sqrt())
}

/// The one-sided power of a signal.
pub(super) struct Power {
    pub(super) values: Rc<[f64]>,
    samples: usize,
    /// Hertz from one value to the next.
    pub(super) step_hz: f64,
}

impl Power {
    /// Frequency and power, without the mean.
    pub(super) fn tones(&self) -> impl Iterator<Item = (f64, f64)> {
        let values = self.values.iter().enumerate().skip(1);
        values.map(|(k, p)| (number(k) * self.step_hz, *p))
    }

    /// The places within a band; `None` if its limits are no numbers.
    fn band(&self, low_hz: f64, high_hz: f64) -> Option<Range<usize>> {
        if low_hz.is_nan() || high_hz.is_nan() {
            return None;
        }
        let start = self.first(|f| low_hz <= f);
        Some(start..self.first(|f| f >= high_hz).max(start))
    }

    /// The first place whose frequency is there; once it is, all later ones are.
    fn first(&self, is_there: impl Fn(f64) -> bool) -> usize {
        let (mut low, mut high) = (0, self.values.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if is_there(number(middle) * self.step_hz) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// 1 for the frequencies that stand alone, 2 for those that have a negative twin.
    fn sides(&self, k: usize) -> f64 {
        sides(k, self.samples)
    }
}

fn sides(k: usize, samples: usize) -> f64 {
    if k == 0 || 2 * k == samples { 1.0 } else { 2.0 }
}

#[derive(Default)]
struct Work {
    input: Vec<f64>,
    output: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
}

pub(super) fn is_rate(rate_hz: f64) -> bool {
    rate_hz.is_finite() && rate_hz > 0.0
}

/// The power of samples; of those that were asked for lately it is still known.
pub(super) fn power(samples: &[f64], rate_hz: f64) -> Option<Power> {
    let n = samples.len();
    if n < 2 || !is_rate(rate_hz) {
        return None;
    }
    Some(Power { values: power_of(samples, whole_power)?, samples: n, step_hz: rate_hz / number(n) })
}

fn whole_power(samples: &[f64]) -> Option<Rc<[f64]>> {
    let n = samples.len();
    let origin = *samples.first()?;
    // Without its first sample a constant is exactly zero, and a large mean costs the tones no digits.
    let mean_part = sum_of(samples, |x| x - origin) + origin * number(n);
    one_sided(samples.iter().map(|x| x - origin), Some(mean_part * mean_part / number(n)))
}

/// The power of the samples without their mean, under a Hann window.
pub(super) fn hann_power(samples: &[f64], rate_hz: f64) -> Option<Power> {
    let mean = super::mean(samples).filter(|_| samples.len() > 1 && is_rate(rate_hz))?;
    let hann = hann(samples.len());
    let windowed = samples.iter().zip(hann.iter()).map(|(x, w)| (x - mean) * w);
    let values = one_sided(windowed, None)?;
    Some(Power { values, samples: samples.len(), step_hz: rate_hz / number(samples.len()) })
}

/// The periodic Hann window.
pub(super) fn hann(n: usize) -> Rc<[f64]> {
    let weight = |i| 0.5 - 0.5 * (std::f64::consts::TAU * number(i) / number(n)).cos();
    HANN.with_borrow_mut(|last| {
        if last.len() != n {
            *last = (0..n).map(weight).collect();
        }
        Rc::clone(last)
    })
}

/// The power of as many samples; its first value may be known.
fn one_sided(samples: impl Iterator<Item = f64>, first: Option<f64>) -> Option<Rc<[f64]>> {
    WORK.with_borrow_mut(|Work { input, output, scratch }| {
        input.clear();
        input.extend(samples);
        let n = input.len();
        let transform = PLANNER.with_borrow_mut(|planner| planner.plan_fft_forward(n));
        output.resize(n / 2 + 1, Complex::default());
        scratch.resize(transform.get_scratch_len(), Complex::default());
        // Fails only for slices of a wrong length, and all were made for this one.
        transform.process_with_scratch(input, output, scratch).ok()?;
        let scale = 1.0 / number(n);
        let value = |(k, x): (usize, &Complex<f64>)| match first {
            Some(first) if k == 0 => first,
            _ => x.norm_sqr() * scale * sides(k, n),
        };
        Some(output.iter().enumerate().map(value).collect())
    })
}

/// The transform of real samples, which are used up.
pub(super) fn spectrum_of(mut input: Vec<f64>) -> Option<Vec<Complex<f64>>> {
    let transform = PLANNER.with_borrow_mut(|planner| planner.plan_fft_forward(input.len()));
    let mut output = transform.make_output_vec();
    // Fails only for slices of a wrong length, and both were made for this one.
    transform.process(&mut input, &mut output).ok()?;
    Some(output)
}

/// The `n` real samples that have a spectrum, times `n`; the spectrum is used up.
pub(super) fn real_of(mut spectrum: Vec<Complex<f64>>, n: usize) -> Option<Vec<f64>> {
    let transform = PLANNER.with_borrow_mut(|planner| planner.plan_fft_inverse(n));
    let mut output = transform.make_output_vec();
    // The imaginary parts of the mean and the Nyquist frequency are zero, as the transform wants them.
    transform.process(&mut spectrum, &mut output).ok()?;
    Some(output)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn spectral_features_are_those_of_numpy_and_scipy() {
        check("band_energy", |x| band_energy(x, 1000.0, 40.0, 60.0));
        check("band_energy_all", |x| band_energy(x, 1000.0, 0.0, 1000.0));
        check("spectral_centroid", |x| spectral_centroid(x, 1000.0));
        check("dominant_frequency", |x| dominant_frequency(x, 1000.0));
        check("spectral_entropy", |x| spectral_entropy(x, 1000.0));
        check("envelope_rms", |x| envelope_rms(x, 1000.0, 40.0, 60.0));
    }

    #[test]
    fn a_rate_that_is_none_gives_nothing() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(dominant_frequency(&[1.0, 2.0, 0.0, 4.0], rate), None);
        }
    }

    #[test]
    fn an_infinite_sample_has_no_spectrum() {
        let samples = [1.0, f64::INFINITY, 2.0, 4.0, 5.0];
        assert_eq!(band_energy(&samples, 1.0, 0.0, 1.0), None);
        assert_eq!(spectral_centroid(&samples, 1.0), None);
        assert_eq!(dominant_frequency(&samples, 1.0), None);
        assert_eq!(spectral_entropy(&samples, 1.0), None);
        assert_eq!(envelope_rms(&samples, 1.0, 0.0, 1.0), None);
    }
}
