//! How a signal moves from sample to sample: Hjorth's parameters, entropies of order, length and curvature.
//!
//! The caller sorts the samples by event time.

use super::spectrum::{real_of, spectrum_of};
use super::{autocorrelation, finite, mean, number, ratio, stddev_pop, variance, variance_pop};

/// The longest pattern of [`permutation_entropy`]: 8! = 40,320 orders.
pub const MAX_ORDER: usize = 8;

/// The mobility `sqrt(var(x') / var(x))`, where `x'` are the steps between neighbors, without unit.
///
/// `None` for a constant signal, and below three samples. Source: Hjorth, "EEG analysis based on time domain properties",
/// Electroencephalogr. Clin. Neurophysiol. 29 (1970); variances of a population.
pub fn hjorth_mobility(samples: &[f64]) -> Option<f64> {
    mobility(samples, &steps(samples))
}

/// The complexity: the mobility of the steps between neighbors over that of the samples, without unit; 1 for a sine.
///
/// `None` if the samples or their steps are constant, and below four samples. Source: as [`hjorth_mobility`].
pub fn hjorth_complexity(samples: &[f64]) -> Option<f64> {
    let first = steps(samples);
    ratio(mobility(&first, &steps(&first))?, mobility(samples, &first)?)
}

/// The length of the line through the samples, `sum(|x_(i+1) - x_i|)`, in the unit of the samples; `None` below two.
///
/// Source: Esteller et al., "Line length: an efficient feature for seizure onset detection" (2001).
pub fn line_length(samples: &[f64]) -> Option<f64> {
    if samples.len() < 2 {
        return None;
    }
    finite(samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum())
}

/// The second derivative of the least-squares parabola against the sample number, in the unit of the samples per sample
/// squared; `None` below three samples.
///
/// With `u = i - mean(i)` and `q = u^2 - mean(u^2)`: `2 * sum(q_i * x_i) / sum(q_i^2)`. Source: NIST/SEMATECH e-Handbook
/// of Statistical Methods, 4.1.4.1.
pub fn curvature(samples: &[f64]) -> Option<f64> {
    let n = number(samples.len());
    let origin = *samples.first().filter(|_| samples.len() > 2)?;
    let (center, square) = ((n - 1.0) / 2.0, (n * n - 1.0) / 12.0);
    let q = |i: usize| (number(i) - center).powi(2) - square;
    let products: f64 = samples.iter().enumerate().map(|(i, x)| q(i) * (x - origin)).sum();
    ratio(2.0 * products, n * (n * n - 1.0) * (n * n - 4.0) / 180.0)
}

/// The first lag at which the autocorrelation is below that of the lags before and after, in samples.
///
/// `None` if there is none, or the signal is constant. Source: Lubba et al., "catch22: CAnonical Time-series
/// CHaracteristics" (2019), `CO_FirstMin_ac`.
pub fn autocorrelation_minimum(samples: &[f64]) -> Option<f64> {
    // Most signals have it at a short lag, which is not worth a transform.
    let few = (0..samples.len().min(SHORT_LAGS)).map(|lag| autocorrelation(samples, lag));
    let few: Vec<f64> = few.collect::<Option<_>>()?;
    let lag = match first_minimum(&few) {
        None if samples.len() > few.len() => first_minimum(&autocorrelations(samples)?),
        found => found,
    };
    lag.map(number)
}

/// So many lags are tried one by one.
const SHORT_LAGS: usize = 64;

fn first_minimum(values: &[f64]) -> Option<usize> {
    let is_minimum = |around: &[f64]| around[1] < around[0] && around[1] < around[2];
    values.windows(3).position(is_minimum).map(|before| before + 1)
}

/// The autocorrelations at all lags, times a number: the transform of the power (Wiener and Khinchin). `None` for a constant signal.
fn autocorrelations(samples: &[f64]) -> Option<Vec<f64>> {
    let mean = mean(samples)?;
    let greatest = samples.iter().map(|x| (x - mean).abs()).fold(0.0, f64::max);
    if greatest == 0.0 || !greatest.is_finite() {
        return None;
    }
    // Zeros behind, so that the end is not taken for what is before the beginning.
    let points = (2 * samples.len()).next_power_of_two();
    let mut padded: Vec<f64> = samples.iter().map(|x| (x - mean) / greatest).collect();
    padded.resize(points, 0.0);
    let mut spectrum = spectrum_of(padded)?;
    spectrum.iter_mut().for_each(|x| *x = x.norm_sqr().into());
    let mut products = real_of(spectrum, points)?;
    products.truncate(samples.len());
    Some(products)
}

/// The entropy of the orders of `order` samples that are `delay` apart, `-sum(p * ln(p))`, in nats: 0 for a signal that
/// only rises, at most `ln(order!)`. Of equal samples the earlier one counts as the lesser.
///
/// `None` if `order` is not from 2 to [`MAX_ORDER`], `delay` is 0, or there are not enough samples for one pattern.
/// Source: Bandt, Pompe, "Permutation entropy: a natural complexity measure for time series" (2002).
pub fn permutation_entropy(samples: &[f64], order: usize, delay: usize) -> Option<f64> {
    if !(2..=MAX_ORDER).contains(&order) || delay == 0 || samples.iter().any(|x| x.is_infinite()) {
        return None;
    }
    let patterns = samples.len().checked_sub(delay.checked_mul(order - 1)?).filter(|n| *n > 0)?;
    let mut counts = vec![0_usize; (1..=order).product()];
    for start in 0..patterns {
        counts[order_of(&samples[start..], order, delay)] += 1;
    }
    let shares = counts.into_iter().filter(|n| *n > 0).map(|n| number(n) / number(patterns));
    // Not the sum of `-p * ln(p)`, which is minus zero for a single pattern.
    finite(0.0 - shares.map(|p| p * p.ln()).sum::<f64>())
}

/// A number for the order of some samples: of each, how many later ones are less (Lehmer's code).
fn order_of(samples: &[f64], order: usize, delay: usize) -> usize {
    (0..order).fold(0, |code, i| {
        let less = (i + 1..order).filter(|j| samples[j * delay] < samples[i * delay]).count();
        code * (order - i) + less
    })
}

/// The sample entropy `-ln(A / B)` in nats: of the pairs of patterns of `length` samples that differ by at most
/// `tolerance` standard deviations (of a population) in each sample, `B`, those that also do so in the next one, `A`.
///
/// `None` if there is no such pair, or the signal is constant. Cost: the square of the number of samples. Source:
/// Richman, Moorman, "Physiological time-series analysis using approximate entropy and sample entropy" (2000).
pub fn sample_entropy(samples: &[f64], length: usize, tolerance: f64) -> Option<f64> {
    let most = tolerance * stddev_pop(samples).filter(|spread| *spread > 0.0)?;
    let patterns = samples.len().checked_sub(length).filter(|_| length > 0)?;
    let is_near = |a: &f64, b: &f64| (a - b).abs() <= most;
    let (mut shorter, mut longer) = (0_usize, 0_usize);
    for first in 0..patterns {
        for second in first + 1..patterns {
            let (a, b) = (&samples[first..=first + length], &samples[second..=second + length]);
            if (0..length).all(|i| is_near(&a[i], &b[i])) {
                shorter += 1;
                longer += usize::from(is_near(&a[length], &b[length]));
            }
        }
    }
    if longer == 0 { None } else { finite((number(shorter) / number(longer)).ln()) }
}

fn steps(samples: &[f64]) -> Vec<f64> {
    samples.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn mobility(samples: &[f64], steps: &[f64]) -> Option<f64> {
    // The variance of a single step would be zero whatever it is.
    variance(steps)?;
    ratio(variance_pop(steps)?, variance_pop(samples)?).map(f64::sqrt)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn dynamics_are_those_of_numpy_and_the_libraries_for_features() {
        check("hjorth_mobility", hjorth_mobility);
        check("hjorth_complexity", hjorth_complexity);
        check("line_length", line_length);
        check("curvature", curvature);
        check("autocorrelation_minimum", autocorrelation_minimum);
        check("permutation_entropy_3_1", |x| permutation_entropy(x, 3, 1));
        check("permutation_entropy_4_2", |x| permutation_entropy(x, 4, 2));
        check("sample_entropy", |x| sample_entropy(x, 2, 0.2));
    }

    #[test]
    fn a_slow_signal_has_its_minimum_at_a_long_lag() {
        let rising: Vec<f64> = (0..20_000).map(f64::from).collect();
        // Of a line it is at n / sqrt(2).
        assert_eq!(autocorrelation_minimum(&rising), Some(14_142.0));
        let slow: Vec<f64> = (0..3_000).map(|n| 1e6 + (f64::from(n) / 100.0).sin()).collect();
        let one_by_one: Vec<f64> = (0..400).map(|lag| autocorrelation(&slow, lag).unwrap()).collect();
        assert_eq!(autocorrelation_minimum(&slow), first_minimum(&one_by_one).map(number));
    }

    #[test]
    fn a_rising_signal_has_one_order_and_noise_has_all() {
        let rising: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(permutation_entropy(&rising, 3, 1).map(f64::to_bits), Some(0.0_f64.to_bits()));
        assert_eq!(permutation_entropy(&[1.0, 3.0, 2.0], 2, 1), Some(std::f64::consts::LN_2));
        assert_eq!(permutation_entropy(&rising[..2], 3, 1), None);
        assert_eq!(permutation_entropy(&rising, 9, 1), None);
    }

    #[test]
    fn a_parabola_has_its_curvature_at_any_level() {
        let parabola: Vec<f64> = (0..20).map(|i| 1e6 + 1.5 * f64::from(i * i)).collect();
        assert_close(curvature(&parabola), Some(3.0));
        assert_eq!(curvature(&parabola[..2]), None);
    }
}
