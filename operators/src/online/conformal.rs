//! Intervals around predictions that hold their promise, whatever makes the predictions.

use serde::{Deserialize, Serialize};

use super::median::MAX_WINDOW;
use super::novelty::Past;
use super::{Step, number};

/// Half the width of the interval around a prediction that covers the truth in a share of the rows: of `[y, predicted]` the
/// `ceil((n + 1) (1 - alpha))`-th least of the last n distances `|y - predicted|`, those of the rows before. `None` while there are
/// too few for that share. Then the row's own distance is taken in, if y is known.
///
/// With a rate above 0 it is adaptive: alpha rises with each row that was covered and falls with each that was not, so that the
/// share holds in the long run even if the process drifts. Source: Papadopoulos et al. (2002) for split conformal intervals;
/// Gibbs, Candès, "Adaptive conformal inference under distribution shift", NeurIPS 2021.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conformal {
    coverage: f64,
    window: usize,
    rate: f64,
    alpha: f64,
    distances: Past,
}

impl Conformal {
    /// That covers a share in (0, 1), by so many last rows, from 1 to [`MAX_WINDOW`]; with a rate from 0 to 1.
    pub fn new(coverage: f64, window: usize, rate: f64) -> Option<Self> {
        let is_valid = coverage > 0.0
            && coverage < 1.0
            && (1..=MAX_WINDOW).contains(&window)
            && (0.0..=1.0).contains(&rate);
        let (alpha, distances) = (1.0 - coverage, Past::default());
        is_valid.then_some(Self { coverage, window, rate, alpha, distances })
    }

    /// Half the width for the next row; infinite while there are too few rows.
    fn half_width(&self) -> f64 {
        let sorted = self.distances.sorted();
        if self.alpha >= 1.0 {
            return 0.0;
        }
        let rank = (number(sorted.len() + 1) * (1.0 - self.alpha)).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 1 up; a float saturates"
        )]
        let place = (rank as usize).max(1) - 1;
        sorted.get(place).copied().unwrap_or(f64::INFINITY)
    }
}

impl Step for Conformal {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        let [y, predicted] = *x else { return None };
        let half_width = self.half_width();
        let distance = (y - predicted).abs();
        if distance.is_finite() {
            let missed = f64::from(u8::from(distance > half_width));
            self.alpha += self.rate * (1.0 - self.coverage - missed);
            self.distances.push(distance, self.window);
        }
        half_width.is_finite().then_some(half_width)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::random::Random;

    #[test]
    fn intervals_are_those_of_numpy() {
        check("conformal", &Conformal::new(0.8, 30, 0.0).unwrap().into());
        check("adaptive_conformal", &Conformal::new(0.8, 30, 0.05).unwrap().into());
    }

    #[test]
    fn intervals_cover_what_they_promise_also_while_the_spread_grows() {
        let missed = |rate: f64, growth: f64| {
            let mut conformal = Conformal::new(0.9, 500, rate).unwrap();
            let mut random = Random::new(9);
            let rows = 20_000;
            let is_missed = |row: u32| {
                let y = (random.unit() - 0.5) * growth.powf(f64::from(row) / 1000.0);
                conformal.step(&[y, 0.0], 0).is_some_and(|half_width| y.abs() > half_width)
            };
            number((0..rows).map(is_missed).filter(|missed| *missed).count()) / f64::from(rows)
        };
        // The binomial band of 20,000 rows is 0.1 +- 0.006; the spread grows a thousandfold.
        assert!((missed(0.0, 1.0) - 0.1).abs() < 0.007, "{}", missed(0.0, 1.0));
        assert!((missed(0.01, 1.4) - 0.1).abs() < 0.007, "{}", missed(0.01, 1.4));
        assert!(missed(0.0, 1.4) > 0.13, "{}", missed(0.0, 1.4));
    }
}
