//! Features of the magnitude `|x|` of samples: the classic set of vibration monitoring.
//!
//! `peak = max |x|`, `rms = sqrt(sum(x^2) / n)`.
//!
//! - Formulas: ISO 20816-1:2016 (rms, peak-to-peak); Lei, "Intelligent Fault Diagnosis and Remaining Useful Life
//!   Prediction of Rotating Machinery" (2016), chapter 2 (crest, shape, impulse and clearance factor).
//! - The factors have no unit. They are `None` for a signal that is zero throughout.

use super::{finite, greatest, number, ratio, sum_of};

/// The root mean square; `None` without samples.
pub fn rms(samples: &[f64]) -> Option<f64> {
    finite((squares(samples) / number(samples.len())).sqrt())
}

/// The energy `sum(x^2)`, in the unit squared; `None` without samples.
pub fn abs_energy(samples: &[f64]) -> Option<f64> {
    if samples.is_empty() {
        return None;
    }
    finite(squares(samples))
}

/// `max(x) - min(x)`; `None` without samples.
pub fn peak_to_peak(samples: &[f64]) -> Option<f64> {
    let first = finite(*samples.first()?)?;
    let above = greatest(samples, |x| x - first);
    let below = greatest(samples, |x| first - x);
    finite(above + below)
}

/// `peak / rms`.
pub fn crest_factor(samples: &[f64]) -> Option<f64> {
    ratio(peak(samples), rms(samples)?)
}

/// `rms / mean(|x|)`.
pub fn shape_factor(samples: &[f64]) -> Option<f64> {
    ratio(rms(samples)?, mean_of(samples, f64::abs))
}

/// `peak / mean(|x|)`.
pub fn impulse_factor(samples: &[f64]) -> Option<f64> {
    ratio(peak(samples), mean_of(samples, f64::abs))
}

/// `peak / mean(sqrt(|x|))^2`.
pub fn clearance_factor(samples: &[f64]) -> Option<f64> {
    ratio(peak(samples), mean_of(samples, |x| x.abs().sqrt()).powi(2))
}

fn squares(samples: &[f64]) -> f64 {
    sum_of(samples, |x| x * x)
}

fn peak(samples: &[f64]) -> f64 {
    greatest(samples, f64::abs)
}

fn mean_of(samples: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    sum_of(samples, term) / number(samples.len())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn magnitudes_are_those_of_numpy() {
        check("rms", rms);
        check("abs_energy", abs_energy);
        check("peak_to_peak", peak_to_peak);
        check("crest_factor", crest_factor);
        check("shape_factor", shape_factor);
        check("impulse_factor", impulse_factor);
        check("clearance_factor", clearance_factor);
    }

    #[test]
    fn a_signal_of_zeros_has_an_rms_but_no_factors() {
        let zeros = [0.0; 20];
        assert_eq!(rms(&zeros), Some(0.0));
        for factor in [crest_factor, shape_factor, impulse_factor, clearance_factor] {
            assert_eq!(factor(&zeros), None);
        }
    }

    #[test]
    fn where_the_squares_overflow_there_is_no_factor_instead_of_zero() {
        let huge = [1.7e308, -1.7e308, 1.7e308];
        for factor in [rms, crest_factor, shape_factor, impulse_factor] {
            assert_eq!(factor(&huge), None);
        }
    }

    #[test]
    fn the_peak_of_a_negative_signal_is_its_magnitude() {
        assert_eq!(impulse_factor(&[-4.0, 0.0, 0.0, 0.0]), Some(4.0));
        assert_eq!(peak_to_peak(&[-4.0, -1.0, -3.0]), Some(3.0));
    }
}
