//! Features in which the order of the samples counts. The caller sorts them by event time.

use super::{mean, number, ratio};

/// Changes between above zero and not above zero, for each step between neighbors: from 0 to 1, without unit.
///
/// Zero itself counts as not above, so a signal that touches zero from below does not cross it. `None` below two
/// samples. Source: Kedem, "Spectral Analysis and Discrimination by Zero-Crossings", Proc. IEEE 74 (1986).
pub fn zero_crossing_rate(samples: &[f64]) -> Option<f64> {
    crossing_rate(samples, 0.0)
}

/// As [`zero_crossing_rate`], around the mean of the samples; a sample at the mean counts as not above.
pub fn mean_crossing_rate(samples: &[f64]) -> Option<f64> {
    crossing_rate(samples, mean(samples)?)
}

/// The autocorrelation at `lag` samples,
/// `sum((x_i - mean) * (x_(i+lag) - mean)) / sum((x_i - mean)^2)`: from -1 to 1, without unit.
///
/// `None` if `lag` is not below the number of samples, or the signal is constant. Source: Box, Jenkins, Reinsel,
/// "Time Series Analysis" (4th ed.), 2.1.5 (as R's `acf` and statsmodels).
pub fn autocorrelation(samples: &[f64], lag: usize) -> Option<f64> {
    if lag >= samples.len() {
        return None;
    }
    let mean = mean(samples)?;
    let product = |later: &[f64]| -> f64 {
        let pairs = samples.iter().zip(later);
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    ratio(product(&samples[lag..]), product(samples))
}

fn crossing_rate(samples: &[f64], level: f64) -> Option<f64> {
    let steps = samples.len().checked_sub(1).filter(|steps| *steps > 0)?;
    // Neighbors as two slices of one length: this loop becomes vector code, `windows(2)` does not.
    let pairs = samples[..steps].iter().zip(&samples[1..]);
    let crossings: usize = pairs.map(|(a, b)| usize::from((*a > level) != (*b > level))).sum();
    ratio(number(crossings), number(steps))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn crossings_and_autocorrelation_are_those_of_numpy() {
        check("zero_crossing_rate", zero_crossing_rate);
        check("mean_crossing_rate", mean_crossing_rate);
        check("autocorrelation_1", |x| autocorrelation(x, 1));
        check("autocorrelation_10", |x| autocorrelation(x, 10));
    }

    #[test]
    fn zero_counts_as_not_above() {
        assert_eq!(zero_crossing_rate(&[-1.0, 0.0, -1.0]), Some(0.0));
        assert_eq!(zero_crossing_rate(&[1.0, 0.0, 1.0]), Some(1.0));
    }

    #[test]
    fn a_constant_does_not_cross_its_mean_and_has_no_autocorrelation() {
        assert_eq!(mean_crossing_rate(&[0.1; 100]), Some(0.0));
        assert_eq!(autocorrelation(&[0.1; 100], 1), None);
    }

    #[test]
    fn the_autocorrelation_at_lag_zero_is_one_and_beyond_the_signal_there_is_none() {
        assert_eq!(autocorrelation(&[1.0, 2.0, 4.0], 0), Some(1.0));
        assert_eq!(autocorrelation(&[1.0, 2.0, 4.0], 3), None);
    }
}
