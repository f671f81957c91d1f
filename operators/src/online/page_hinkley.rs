//! The test of Page and Hinkley for a change of the mean.

use serde::{Deserialize, Serialize};

use super::Step;

/// 1 where the mean has changed, else 0: the weighted sum of `x - mean -/+ delta` is more than a threshold above its least,
/// or below its greatest, value. It begins anew with the row after a change.
///
/// Source: Page, "Continuous inspection schemes", Biometrika 41 (1954); with the fading sums of river's `PageHinkley`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageHinkley {
    threshold: f64,
    delta: f64,
    alpha: f64,
    rows: f64,
    sums: Sums,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Sums {
    n: f64,
    mean: f64,
    increase: f64,
    decrease: f64,
    least: f64,
    greatest: f64,
}

/// The greatest sum begins at -1 and not at -infinity, as in river: the first rows below the mean count a little more.
const EMPTY: Sums =
    Sums { n: 0.0, mean: 0.0, increase: 0.0, decrease: 0.0, least: f64::INFINITY, greatest: -1.0 };

impl PageHinkley {
    /// With a threshold above 0 and a tolerance `delta` from 0 up, both in the unit of x; a weight `alpha` in (0, 1] of the sums
    /// so far; and so many rows before a change can be told.
    pub fn new(threshold: f64, delta: f64, alpha: f64, rows: usize) -> Option<Self> {
        let is_valid = threshold > 0.0 && delta >= 0.0 && alpha > 0.0 && alpha <= 1.0;
        is_valid.then_some(Self { threshold, delta, alpha, rows: super::number(rows), sums: EMPTY })
    }
}

impl Step for PageHinkley {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        // A copy stays in registers.
        let mut sums = self.sums;
        sums.n += 1.0;
        // The division does not wait for the mean before: rows that follow each other overlap.
        sums.mean += (x[0] - sums.mean) * (1.0 / sums.n);
        let deviation = x[0] - sums.mean;
        // The sums before come in last, for the same reason.
        sums.increase = self.alpha * sums.increase + (deviation - self.delta);
        sums.decrease = self.alpha * sums.decrease + (deviation + self.delta);
        sums.least = if sums.increase < sums.least { sums.increase } else { sums.least };
        sums.greatest = if sums.decrease > sums.greatest { sums.decrease } else { sums.greatest };
        let (risen, fallen) = (sums.increase - sums.least, sums.greatest - sums.decrease);
        let is_far = (risen > self.threshold) | (fallen > self.threshold);
        let has_changed = (sums.n >= self.rows) & is_far;
        self.sums = if has_changed { EMPTY } else { sums };
        Some(f64::from(u8::from(has_changed)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn changes_are_those_of_river() {
        check("page_hinkley", &PageHinkley::new(5.0, 0.05, 0.9999, 10).unwrap().into());
    }

    #[test]
    fn a_threshold_that_is_none_is_refused() {
        assert_eq!(PageHinkley::new(0.0, 0.0, 1.0, 30), None);
        assert_eq!(PageHinkley::new(1.0, 0.0, 1.1, 30), None);
    }
}
