//! A level that is measured with noise.

use serde::{Deserialize, Serialize};

use super::Step;

/// The level of a random walk with variance `q` per row, measured with variance `r`, by the filter of Kalman:
/// `p += q; g = p / (p + r); level += g * (x - level); p *= 1 - g`. It begins with the first row and its variance `r`.
///
/// Source: Kalman, "A new approach to linear filtering and prediction problems" (1960).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kalman {
    q: f64,
    r: f64,
    /// The level and its variance.
    estimate: Option<(f64, f64)>,
}

impl Kalman {
    /// With variances from 0 up for the level, and above 0 for the measurement.
    pub fn new(q: f64, r: f64) -> Option<Self> {
        (q >= 0.0 && r > 0.0 && q.is_finite() && r.is_finite()).then_some(Self { q, r, estimate: None })
    }
}

impl Step for Kalman {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        let (level, variance) = match self.estimate {
            None => (x[0], self.r),
            Some((level, variance)) => {
                let variance = variance + self.q;
                let gain = variance / (variance + self.r);
                (level + gain * (x[0] - level), variance * (1.0 - gain))
            }
        };
        self.estimate = Some((level, variance));
        Some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_level_is_that_of_the_general_filter_in_numpy() {
        check("kalman", &Kalman::new(0.01, 0.25).unwrap().into());
    }

    #[test]
    fn without_a_walk_the_level_is_the_mean() {
        let mut kalman = Kalman::new(0.0, 2.0).unwrap();
        let found = [1.0, 2.0, 6.0].map(|x| kalman.step(&[x], 0).unwrap());
        assert!((found[2] - 3.0).abs() < 1e-12);
        assert_eq!((Kalman::new(-1.0, 1.0), Kalman::new(1.0, 0.0)), (None, None));
    }
}
