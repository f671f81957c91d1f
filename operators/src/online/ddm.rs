//! The drift detection method, for errors of a classifier.

use serde::{Deserialize, Serialize};

use super::Step;

/// 1 where the rate of errors has risen, else 0: of rows that are 1 for an error and 0 else, rate plus deviation is `sigmas` deviations
/// above its least value. It begins anew with the row after.
///
/// Source: Gama, Medas, Castillo, Rodrigues, "Learning with drift detection", SBIA 2004; as river's `DDM`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ddm {
    sigmas: f64,
    warmup: f64,
    n: f64,
    rate: f64,
    /// Rate and deviation where their sum was least.
    least: Option<(f64, f64)>,
}

impl Ddm {
    /// With a distance above 0 and so many first rows of which nothing is told.
    pub fn new(sigmas: f64, warmup: usize) -> Option<Self> {
        let is_valid = sigmas > 0.0 && sigmas.is_finite();
        is_valid.then(|| Self { sigmas, warmup: super::number(warmup), n: 0.0, rate: 0.0, least: None })
    }
}

impl Step for Ddm {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        // A rate of anything else has no such deviation.
        if !(0.0..=1.0).contains(&x[0]) {
            return None;
        }
        self.n += 1.0;
        self.rate += (x[0] - self.rate) / self.n;
        let deviation = (self.rate * (1.0 - self.rate) / self.n).max(0.0).sqrt();
        if self.n <= self.warmup {
            return Some(0.0);
        }
        let sum = self.rate + deviation;
        let is_least = self.least.is_none_or(|(rate, deviation)| sum <= rate + deviation);
        let (rate, spread) = if is_least { (self.rate, deviation) } else { self.least? };
        self.least = Some((rate, spread));
        let has_risen = sum > rate + self.sigmas * spread;
        if has_risen {
            (self.n, self.rate, self.least) = (0.0, 0.0, None);
        }
        Some(f64::from(u8::from(has_risen)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::numbers;
    use super::*;
    use crate::testing::units;

    #[test]
    fn each_row_is_that_of_river() {
        let mut ddm = Ddm::new(3.0, 30).unwrap();
        let mut unit = units(5);
        for (row, expected) in numbers("ddm").into_iter().enumerate() {
            let limit = if row < 400 {
                0.1
            } else if row < 700 {
                0.5
            } else {
                0.8
            };
            let is_error = f64::from(u8::from(unit() < limit));
            assert_eq!(ddm.step(&[is_error], 0), Some(expected), "row {row}");
            ddm = postcard::from_bytes(&postcard::to_allocvec(&ddm).unwrap()).unwrap();
        }
        assert_eq!(ddm.step(&[2.0], 0), None);
    }
}
