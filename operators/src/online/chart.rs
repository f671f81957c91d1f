//! Control charts that remember: CUSUM and EWMA.

use serde::{Deserialize, Serialize};

use super::Step;

/// Which sum of a CUSUM is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The one that grows above the target.
    High,
    /// The one that grows below it.
    Low,
    /// The greater of both.
    Both,
}

/// The tabular CUSUM of `[x, target, k]`: `high = max(0, high + x - target - k)` and `low = max(0, low + target - x - k)`, in
/// the unit of x, both 0 at the start. It is out of control where it is above a limit h, often 4 or 5 sigma with k of sigma / 2.
///
/// `None` where `k` is negative. Source: NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    side: Side,
    high: f64,
    low: f64,
}

impl Cusum {
    /// From zero.
    pub fn new(side: Side) -> Self {
        Self { side, high: 0.0, low: 0.0 }
    }
}

impl Step for Cusum {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        let [x, target, k] = *x else { return None };
        if k < 0.0 {
            return None;
        }
        self.high = (self.high + x - target - k).max(0.0);
        self.low = (self.low + target - x - k).max(0.0);
        Some(match self.side {
            Side::High => self.high,
            Side::Low => self.low,
            Side::Both => self.high.max(self.low),
        })
    }
}

/// How far the exponential average of `[x, target, sigma]` is from the target, in its own standard deviations:
/// `(z - target) / (sigma * sqrt(lambda / (2 - lambda) * (1 - (1 - lambda)^(2 i))))` with
/// `z = lambda * x + (1 - lambda) * z`, the target at the start, and `i` the number of the row from 1. It is out of control
/// where it is beyond a limit L, such as 2.7 with lambda 0.1.
///
/// `None` where `sigma` is not above 0; such a row changes nothing. Source: NIST/SEMATECH e-Handbook of Statistical Methods,
/// 6.3.2.4, with the exact variance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EwmaChart {
    lambda: f64,
    average: Option<f64>,
    /// `(1 - lambda)^(2 i)`.
    left: f64,
}

impl EwmaChart {
    /// With a weight above 0 and at most 1.
    pub fn new(lambda: f64) -> Option<Self> {
        (lambda > 0.0 && lambda <= 1.0).then_some(Self { lambda, average: None, left: 1.0 })
    }
}

impl Step for EwmaChart {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        let [x, target, sigma] = *x else { return None };
        if sigma <= 0.0 {
            return None;
        }
        let kept = 1.0 - self.lambda;
        let average = self.lambda * x + kept * self.average.unwrap_or(target);
        self.average = Some(average);
        self.left *= kept * kept;
        let deviation = sigma * (self.lambda / (2.0 - self.lambda) * (1.0 - self.left)).sqrt();
        Some((average - target) / deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn charts_are_those_of_numpy() {
        check("cusum", &Cusum::new(Side::Both).into());
        check("cusum_high", &Cusum::new(Side::High).into());
        check("cusum_low", &Cusum::new(Side::Low).into());
        check("ewma_chart", &EwmaChart::new(0.2).unwrap().into());
    }

    #[test]
    fn a_cusum_runs_as_long_as_the_published_one() {
        // Brook, Evans (1972): k = 0.5, h = 4, both sides.
        let run = |shift: f64| {
            run_length(4000, shift, || {
                let mut cusum = Cusum::new(Side::Both);
                move |z| cusum.step(&[z, 0.0, 0.5], 0).is_some_and(|sum| sum > 4.0)
            })
        };
        assert!((run(0.0) - 167.7).abs() < 9.0, "{}", run(0.0));
        assert!((run(1.0) - 8.38).abs() < 0.35, "{}", run(1.0));
    }

    #[test]
    fn an_ewma_chart_runs_about_as_long_as_the_published_one() {
        // Lucas, Saccucci (1990) have 372 with the limits of a long run; the exact ones at the start alarm a bit earlier.
        let found = run_length(2000, 0.0, || {
            let mut chart = EwmaChart::new(0.1).unwrap();
            move |z| chart.step(&[z, 0.0, 1.0], 0).is_some_and(|distance| distance.abs() > 2.703)
        });
        assert!((330.0..390.0).contains(&found), "{found}");
    }
}
