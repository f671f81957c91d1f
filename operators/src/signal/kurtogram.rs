//! The kurtogram: in which band are the impacts?
//!
//! - Formulas: Antoni, "Fast computation of the kurtogram for the detection of transient faults", Mech. Syst. Signal Process. 21
//!   (2007): bands of 1/2, 1/3, 1/4, 1/6, 1/8, ... of half the rate. Here each band is cut out of the transform, with sharp edges,
//!   in the place of the chain of short filters there.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use super::number;
use super::spectrum::{is_rate, spectrum_of};

/// A band, and how spiky its envelope is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpikyBand {
    /// From here, included.
    pub low_hz: f64,
    /// To here, not included.
    pub high_hz: f64,
    /// `mean |c|^4 / (mean |c|^2)^2 - 2` of the analytic signal `c`: 0 for noise, above it where the power comes in bursts.
    pub kurtosis: f64,
}

/// The spikiest band among all of half the rate over 2, 3, 4, 6, 8, ... down to `2^levels`; of equal ones the widest and lowest. The mean
/// is left out, and bands of fewer than `LEAST_LINES` lines are not looked at. `None` for a constant, or with too few samples.
pub fn kurtogram(samples: &[f64], rate_hz: f64, levels: u32) -> Option<SpikyBand> {
    let n = samples.len();
    let mean = super::mean(samples).filter(|_| n > 1 && is_rate(rate_hz))?;
    let spectrum = spectrum_of(samples.iter().map(|x| x - mean).collect())?;
    if spectrum[1..].iter().all(|x| x.norm_sqr() == 0.0) {
        return None;
    }
    let mut best: Option<SpikyBand> = None;
    for parts in
        (1..=levels).flat_map(|level| [1 << level, 3 << (level - 1)]).filter(|parts| *parts <= 1 << levels)
    {
        for part in 0..parts {
            let edge = |part: u32| rate_hz / 2.0 * f64::from(part) / f64::from(parts);
            let (low_hz, high_hz) = (edge(part), edge(part + 1));
            let Some(kurtosis) = envelope_kurtosis(&spectrum, n, rate_hz, low_hz, high_hz) else { continue };
            if best.is_none_or(|best| kurtosis > best.kurtosis + SAME) {
                best = Some(SpikyBand { low_hz, high_hz, kurtosis });
            }
        }
    }
    best
}

/// Kurtoses that differ by less are equal but for rounding.
const SAME: f64 = 1e-9;

/// A band with less of the power has rounding in it, and nothing else.
const LEAST_SHARE: f64 = 1e-12;

/// A band of fewer lines has an envelope of a few tones only.
const LEAST_LINES: usize = 8;

/// Of the analytic signal of a band; shifting it in frequency does not change its magnitude, so the lines of the band are all that
/// is transformed back.
fn envelope_kurtosis(
    spectrum: &[Complex<f64>],
    n: usize,
    rate_hz: f64,
    low_hz: f64,
    high_hz: f64,
) -> Option<f64> {
    let is_within = |k: &usize| {
        let f = number(*k) * rate_hz / number(n);
        low_hz <= f && f < high_hz
    };
    let lines: Vec<Complex<f64>> = (1..spectrum.len()).filter(is_within).map(|k| spectrum[k]).collect();
    let power = |lines: &[Complex<f64>]| lines.iter().map(Complex::norm_sqr).sum::<f64>();
    if lines.len() < LEAST_LINES || power(&lines) < LEAST_SHARE * power(&spectrum[1..]) {
        return None;
    }
    // Twice as many points as lines: the fourth power has no more than twice the band.
    let points = 4 * lines.len();
    let magnitudes = squared_magnitudes(&lines, points)?;
    let second = magnitudes.iter().sum::<f64>() / number(points);
    let fourth = magnitudes.iter().map(|m| m * m).sum::<f64>() / number(points);
    super::ratio(fourth, second * second).map(|kurtosis| kurtosis - 2.0)
}

/// Of `sum(lines_k * exp(2 pi i k t / points))` for each t, by two real transforms.
fn squared_magnitudes(lines: &[Complex<f64>], points: usize) -> Option<Vec<f64>> {
    let transform = PLANNER.with_borrow_mut(|planner| planner.plan_fft_inverse(points));
    let part = |of: fn(Complex<f64>) -> Complex<f64>| {
        let mut input = transform.make_input_vec();
        input.iter_mut().skip(1).zip(lines).for_each(|(x, line)| *x = of(*line));
        let mut output = transform.make_output_vec();
        transform.process(&mut input, &mut output).ok()?;
        Some(output)
    };
    // The inverse of a one-sided spectrum is the real part of its sum; that of the spectrum turned by -i is the imaginary part.
    let (real, imaginary) = (part(|line| line)?, part(|line| line * -Complex::I)?);
    Some(real.iter().zip(&imaginary).map(|(x, y)| x * x + y * y).collect())
}

thread_local! {
    static PLANNER: std::cell::RefCell<RealFftPlanner<f64>> = std::cell::RefCell::new(RealFftPlanner::new());
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::super::testing::*;
    use super::*;
    use crate::testing::units;

    #[test]
    fn bands_are_those_of_scipy() {
        check("kurtogram_low", |x| Some(kurtogram(x, 1000.0, 4)?.low_hz));
        check("kurtogram_high", |x| Some(kurtogram(x, 1000.0, 4)?.high_hz));
        check("kurtogram", |x| Some(kurtogram(x, 1000.0, 4)?.kurtosis));
    }

    #[test]
    fn the_band_of_a_resonance_that_is_struck_is_found() {
        // Struck every 500 samples at 0.3 of the rate, in noise.
        let mut unit = units(1);
        let mut noise = || unit() - 0.5;
        let ring = |i: f64| (-(i % 500.0) / 20.0).exp() * (TAU * 0.3 * (i % 500.0)).sin();
        let samples: Vec<f64> = (0..10_000).map(|i| ring(f64::from(i)) + 0.2 * noise()).collect();
        let band = kurtogram(&samples, 10_000.0, 5).unwrap();
        assert!(band.low_hz < 3000.0 && band.high_hz > 3000.0 && band.kurtosis > 5.0, "{band:?}");
    }
}
