//! Mean and central moments.
//!
//! `m_k = sum((x - mean)^k) / n`. Sums are taken of `x - x_1` first: a constant signal then has moments of exactly
//! zero, whatever its level.
//!
//! - Formulas: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.6 (scale) and 1.3.5.11 (skewness, kurtosis).
//! - Conventions: `variance` and `stddev` are those of a sample (`n - 1`), as in SQL; skewness and kurtosis are the
//!   biased moments and kurtosis is the excess over the normal distribution, as SciPy's defaults.

use super::{finite, number, ratio, sum_of, sums_of};

/// The arithmetic mean; `None` without samples.
pub fn mean(samples: &[f64]) -> Option<f64> {
    Center::of(samples)?.mean()
}

/// The variance of a sample, `sum((x - mean)^2) / (n - 1)`, in the unit squared; `None` below two samples.
pub fn variance(samples: &[f64]) -> Option<f64> {
    let freedom = samples.len().checked_sub(1).filter(|n| *n > 0)?;
    ratio(squares(samples)?, number(freedom))
}

/// The variance of a population, `sum((x - mean)^2) / n`, in the unit squared; `None` without samples.
pub fn variance_pop(samples: &[f64]) -> Option<f64> {
    ratio(squares(samples)?, number(samples.len()))
}

/// The standard deviation of a sample: the root of [`variance`].
pub fn stddev(samples: &[f64]) -> Option<f64> {
    variance(samples).map(f64::sqrt)
}

/// The standard deviation of a population: the root of [`variance_pop`].
pub fn stddev_pop(samples: &[f64]) -> Option<f64> {
    variance_pop(samples).map(f64::sqrt)
}

/// The skewness `m_3 / m_2^1.5`, without unit; `None` for a constant signal.
pub fn skewness(samples: &[f64]) -> Option<f64> {
    let center = Center::of(samples)?;
    let [squares, cubes] = sums_of(samples, |x| {
        let d = center.distance(x);
        [d * d, d * d * d]
    });
    skewness_of(number(samples.len()), center.mean()?, squares, cubes)
}

/// The excess kurtosis `m_4 / m_2^2 - 3`, without unit; `None` for a constant signal.
pub fn kurtosis(samples: &[f64]) -> Option<f64> {
    let center = Center::of(samples)?;
    let [squares, fourths] = sums_of(samples, |x| {
        let square = center.distance(x).powi(2);
        [square, square * square]
    });
    kurtosis_of(number(samples.len()), center.mean()?, squares, fourths)
}

/// The mean in two parts, `origin + offset`: a small ripple on a large level keeps its digits.
struct Center {
    origin: f64,
    offset: f64,
}

impl Center {
    fn of(samples: &[f64]) -> Option<Self> {
        let origin = *samples.first()?;
        let offset = sum_of(samples, |x| x - origin) / number(samples.len());
        Some(Self { origin, offset })
    }

    fn mean(&self) -> Option<f64> {
        finite(self.origin + self.offset)
    }

    /// `x - mean`.
    fn distance(&self, x: f64) -> f64 {
        (x - self.origin) - self.offset
    }
}

/// The skewness from the sums of `(x - mean)^2` and `(x - mean)^3`.
pub(super) fn skewness_of(n: f64, mean: f64, squares: f64, cubes: f64) -> Option<f64> {
    let m2 = spread(squares / n, mean)?;
    ratio(cubes / n, m2 * m2.sqrt())
}

/// The kurtosis from the sums of `(x - mean)^2` and `(x - mean)^4`.
pub(super) fn kurtosis_of(n: f64, mean: f64, squares: f64, fourths: f64) -> Option<f64> {
    let m2 = spread(squares / n, mean)?;
    finite(fourths / n / (m2 * m2) - 3.0)
}

/// The second moment, unless it is no more than the rounding of the samples: then shape means nothing. SciPy draws
/// the line at the same place.
fn spread(m2: f64, mean: f64) -> Option<f64> {
    (m2 > (f64::EPSILON * mean).powi(2)).then_some(m2)
}

fn squares(samples: &[f64]) -> Option<f64> {
    let center = Center::of(samples)?;
    Some(sum_of(samples, |x| center.distance(x).powi(2)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn moments_are_those_of_numpy_and_scipy() {
        check("mean", mean);
        check("variance", variance);
        check("variance_pop", variance_pop);
        check("stddev", stddev);
        check("stddev_pop", stddev_pop);
        check("skewness", skewness);
        check("kurtosis", kurtosis);
    }

    #[test]
    fn a_constant_at_any_level_has_no_variance_and_no_shape() {
        for level in [0.1, -1e9 / 3.0, 1e-300] {
            let samples = [level; 1000];
            assert_eq!(mean(&samples), Some(level));
            assert_eq!(variance(&samples), Some(0.0));
            assert_eq!(skewness(&samples), None);
            assert_eq!(kurtosis(&samples), None);
        }
    }

    #[test]
    fn a_small_ripple_on_a_large_offset_keeps_its_variance() {
        let ripple: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 2)).collect();
        assert_close(variance_pop(&ripple), Some(0.25));
    }
}
