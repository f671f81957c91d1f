//! Regressions that learn row by row, each row after it was predicted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Step;
use super::median::MAX_WINDOW;
use crate::model::random::Random;

/// Recursive least squares of more weights take none of the rows: their covariance would have more than a million numbers.
const MAX_WEIGHTS: usize = 1_000;

/// The sum of the products of weights and the features of `[y, x...]`, with the constant 1 before them.
fn dot(weights: &[f64], row: &[f64]) -> f64 {
    let Some((constant, weights)) = weights.split_first() else { return 0.0 };
    // Four sums side by side: one would wait for its own last addition.
    let (fours, rest) = weights.as_chunks::<4>();
    let (rows, rest_of_row) = row[1..].as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (weights, features) in fours.iter().zip(rows) {
        for ((sum, weight), x) in sums.iter_mut().zip(weights).zip(features) {
            *sum += weight * x;
        }
    }
    let rest = rest.iter().zip(rest_of_row).fold(*constant, |sum, (weight, x)| sum + weight * x);
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// Linear regression by recursive least squares with forgetting: the value of `[y, x...]` is what the rows before make of x,
/// then y is learned if it is known. `None` until there were as many rows as weights, features and a constant.
///
/// With a delay y is learned so many rows later, as where a laboratory tells it.
///
/// The covariance begins with the prior, a multiple of the identity, and no direction is forgotten beyond it: while inputs stand
/// still, nothing is lost. Source: Haykin, "Adaptive filter theory" (5th ed., 2014), chapter 10. It is kept as its factors U D U',
/// which stay right for features of any scale: Bierman, "Factorization methods for discrete sequential estimation" (1977), chapter 5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecursiveLeastSquares {
    forgetting: f64,
    prior: f64,
    weights: Vec<f64>,
    /// The factors of that of the weights, row by row: D on the diagonal, U, which has ones there, above, and zeros below. With
    /// anything below it is the covariance itself, of a version that kept that.
    covariance: Vec<f64>,
    learned: usize,
    delay: usize,
    /// Rows that are not learned yet.
    waiting: VecDeque<Vec<f64>>,
}

impl RecursiveLeastSquares {
    /// With a weight in (0, 1] of the rows so far at each row, the variance of the weights before the first one, above 0, and the
    /// number of rows after which y is known, at most [`MAX_WINDOW`].
    pub fn new(forgetting: f64, prior: f64, delay: usize) -> Option<Self> {
        let is_valid =
            forgetting > 0.0 && forgetting <= 1.0 && prior > 0.0 && prior.is_finite() && delay <= MAX_WINDOW;
        let (weights, covariance) = (Vec::new(), Vec::new());
        let (learned, waiting) = (0, VecDeque::new());
        is_valid.then_some(Self { forgetting, prior, weights, covariance, learned, delay, waiting })
    }

    fn begin(&mut self, n: usize) {
        self.weights = vec![0.0; n];
        self.covariance = vec![0.0; n * n];
        self.covariance.iter_mut().step_by(n + 1).for_each(|variance| *variance = self.prior);
    }

    fn learn(&mut self, row: &[f64]) {
        let error = row[0] - dot(&self.weights, row);
        let n = self.weights.len();
        // The features with the constant before them, as seen from the factors.
        let seen: Vec<f64> = (0..n)
            .map(|j| {
                let above = (1..j).map(|i| self.covariance[i * n + j] * row[i]);
                let constant = if j == 0 { 1.0 } else { self.covariance[j] + row[j] };
                constant + above.sum::<f64>()
            })
            .collect();
        let scaled: Vec<f64> = (0..n).map(|j| self.covariance[j * n + j] * seen[j]).collect();
        let spread = self.forgetting + seen.iter().zip(&scaled).map(|(a, b)| a * b).sum::<f64>();
        if !(spread.is_finite() && spread > 0.0 && error.is_finite()) {
            return;
        }
        self.learned += 1;
        let gains = self.narrow(&seen, &scaled);
        for (weight, gain) in self.weights.iter_mut().zip(&gains) {
            *weight += gain / spread * error;
        }
        if self.greatest() / self.forgetting <= self.prior {
            self.covariance.iter_mut().step_by(n + 1).for_each(|value| *value /= self.forgetting);
        }
    }

    /// Takes what a row tells out of the covariance; gives the product of that before with the row.
    fn narrow(&mut self, seen: &[f64], scaled: &[f64]) -> Vec<f64> {
        let n = seen.len();
        let (mut gains, mut spread) = (vec![0.0; n], self.forgetting);
        for j in 0..n {
            let before = spread;
            spread += seen[j] * scaled[j];
            self.covariance[j * n + j] *= before / spread;
            for (i, gain) in gains[..j].iter_mut().enumerate() {
                let factor = &mut self.covariance[i * n + j];
                let old = *factor;
                *factor -= *gain * seen[j] / before;
                *gain += old * scaled[j];
            }
            gains[j] = scaled[j];
        }
        gains
    }

    /// The greatest variance.
    fn greatest(&self) -> f64 {
        let n = self.weights.len();
        let variance = |i: usize| {
            let row = &self.covariance[i * n..(i + 1) * n];
            let right = (i + 1..n).map(|j| row[j] * row[j] * self.covariance[j * n + j]);
            row[i] + right.sum::<f64>()
        };
        (0..n).map(variance).fold(0.0, f64::max)
    }

    /// Brings a covariance to its factors.
    fn factor(&mut self) {
        let n = self.weights.len();
        if (0..n).all(|i| self.covariance[i * n..i * n + i].iter().all(|below| *below == 0.0)) {
            return;
        }
        let p = &mut self.covariance;
        for j in (0..n).rev() {
            let variance = p[j * n + j].max(0.0);
            p[j * n + j] = variance;
            for i in 0..j {
                let covariance = p[i * n + j];
                p[i * n + j] = if variance > 0.0 { covariance / variance } else { 0.0 };
            }
            for i in 0..j {
                for k in 0..=i {
                    p[k * n + i] -= p[k * n + j] * p[i * n + j] * variance;
                }
            }
            p[j * n..j * n + j].fill(0.0);
        }
    }
}

impl Step for RecursiveLeastSquares {
    fn step(&mut self, row: &[f64], _time: i64) -> Option<f64> {
        if row.len() > MAX_WEIGHTS {
            return None;
        }
        if self.weights.is_empty() {
            self.begin(row.len());
        }
        // A row of another width is none of this regression.
        if self.weights.len() != row.len() {
            return None;
        }
        self.factor();
        let predicted = (self.learned >= row.len()).then(|| dot(&self.weights, row));
        if self.delay == 0 {
            self.learn(row);
            return predicted;
        }
        self.waiting.push_back(row.to_vec());
        if self.waiting.len() > self.delay
            && let Some(known) = self.waiting.pop_front()
        {
            self.learn(&known);
        }
        predicted
    }
}

/// What a regression by gradients makes small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// The squared error of a number.
    Squared,
    /// The log loss of a class 0 or 1, true where y is above 0.
    Logistic,
}

/// Linear or logistic regression by stochastic gradients: the value of `[y, x...]` is what the rows before make of x, a number or a
/// probability, then y is learned if it is known. `None` until there were as many rows as weights.
///
/// Against forgetting, a reservoir keeps a fair sample of all rows so far (Vitter, 1985), some of which are learned again after
/// each row. Source: river's `LinearRegression` and `LogisticRegression` with `SGD`, which this is without replays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sgd {
    loss: Loss,
    rate: f64,
    l2: f64,
    replay: Replay,
    weights: Vec<f64>,
    learned: usize,
}

/// A reservoir of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// The most rows that are kept; none without a replay.
    pub memory: usize,
    /// Rows that are learned again after each row.
    pub rows: usize,
    /// Decides which.
    pub seed: u64,
    kept: Vec<Vec<f64>>,
}

impl Replay {
    /// A reservoir of so many rows, of which some are learned again after each row.
    pub fn new(memory: usize, rows: usize, seed: u64) -> Self {
        Self { memory, rows, seed, kept: Vec::new() }
    }

    /// Keeps a row, the `n`-th, perhaps; gives the rows to be learned again, by their places.
    fn take(&mut self, row: &[f64], n: usize) -> Vec<usize> {
        if self.memory == 0 {
            return Vec::new();
        }
        let mut random = Random::new(self.seed.wrapping_add(n as u64));
        let again = if self.kept.is_empty() { 0 } else { self.rows };
        let again = (0..again).map(|_| random.below(self.kept.len())).collect();
        if self.kept.len() < self.memory {
            self.kept.push(row.to_vec());
        } else if let Some(place) = Some(random.below(n)).filter(|place| *place < self.memory) {
            self.kept[place] = row.to_vec();
        }
        again
    }
}

impl Sgd {
    /// With a rate above 0, a penalty `l2` from 0 up on the weights, and a reservoir.
    pub fn new(loss: Loss, rate: f64, l2: f64, replay: Replay) -> Option<Self> {
        let is_valid = rate > 0.0 && rate.is_finite() && l2 >= 0.0 && l2.is_finite();
        is_valid.then(|| Self { loss, rate, l2, replay, weights: Vec::new(), learned: 0 })
    }

    fn predict(&self, row: &[f64]) -> f64 {
        let sum = dot(&self.weights, row);
        match self.loss {
            Loss::Squared => sum,
            Loss::Logistic => 1.0 / (1.0 + (-sum).exp()),
        }
    }

    /// The derivative of the loss by the weighted sum, of a row for which this was predicted.
    fn gradient(&self, predicted: f64, y: f64) -> f64 {
        match self.loss {
            Loss::Squared => 2.0 * (predicted - y),
            Loss::Logistic => predicted - f64::from(u8::from(y > 0.0)),
        }
    }

    /// A step against the gradient of a row for which this was predicted; one that ends nowhere is not taken.
    fn learn(&mut self, row: &[f64], predicted: f64) {
        let gradient = self.gradient(predicted, row[0]);
        let (rate, l2) = (self.rate, self.l2);
        let Some((constant, weights)) = self.weights.split_first_mut() else { return };
        let moved = |weight: f64, x: f64| weight - rate * (gradient * x + l2 * weight);
        let moved_constant = *constant - rate * gradient;
        // In two passes, so that nothing needs to be kept or taken back.
        let weights_and_features = weights.iter().zip(&row[1..]);
        let is_finite = weights_and_features.fold(true, |all, (w, x)| all & moved(*w, *x).is_finite());
        if is_finite && moved_constant.is_finite() {
            *constant = moved_constant;
            weights.iter_mut().zip(&row[1..]).for_each(|(weight, x)| *weight = moved(*weight, *x));
        }
    }
}

impl Step for Sgd {
    fn step(&mut self, row: &[f64], _time: i64) -> Option<f64> {
        if self.weights.is_empty() {
            self.weights = vec![0.0; row.len()];
        }
        if self.weights.len() != row.len() {
            return None;
        }
        let predicted = self.predict(row);
        let is_ready = self.learned >= row.len();
        if row[0].is_finite() {
            self.learned += 1;
            self.learn(row, predicted);
            for place in self.replay.take(row, self.learned) {
                let again = self.replay.kept[place].clone();
                self.learn(&again, self.predict(&again));
            }
        }
        is_ready.then_some(predicted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn least_squares_are_those_of_numpy() {
        check("rls", &RecursiveLeastSquares::new(0.98, 1e6, 0).unwrap().into());
        check("rls_delayed", &RecursiveLeastSquares::new(0.98, 1e6, 9).unwrap().into());
    }

    #[test]
    fn gradients_are_those_of_river() {
        let sgd = |loss, l2| Sgd::new(loss, 0.05, l2, Replay::default()).unwrap().into();
        check("sgd_linear", &sgd(Loss::Squared, 0.1));
        check("sgd_logistic", &sgd(Loss::Logistic, 0.0));
    }

    #[test]
    fn features_of_any_scale_give_the_same_predictions() {
        let find = |scale: f64, offset: f64| {
            let mut rls = RecursiveLeastSquares::new(0.999, 1e6, 0).unwrap();
            let mut random = Random::new(3);
            let mut squares = 0.0;
            for n in 0..4_000 {
                let (a, b) = (random.unit(), random.unit());
                let y = 3.0 + 2.0 * a - b + 0.1 * (random.unit() - 0.5);
                let found = rls.step(&[y, offset + scale * a, b], 0);
                squares += if n < 200 { 0.0 } else { (found.unwrap() - y).powi(2) };
            }
            (squares / 3_800.0).sqrt()
        };
        let plain = find(1.0, 0.0);
        assert!(plain < 0.03, "{plain}");
        for (scale, offset) in [(1e6, 0.0), (600.0, 101_325.0), (1e8, 1e8)] {
            let found = find(scale, offset);
            assert!((found / plain - 1.0).abs() < 0.02, "{scale} {offset}: {found} instead of {plain}");
        }
    }

    #[test]
    fn a_covariance_that_was_kept_as_it_is_goes_on_as_its_factors() {
        let row = |n: u32| {
            let x = [f64::from(n * n % 7), f64::from(n % 5)];
            [1.0 + 2.0 * x[0] - x[1] + 0.1 * f64::from(n % 3), x[0], x[1]]
        };
        let mut rls = RecursiveLeastSquares::new(0.98, 100.0, 0).unwrap();
        for n in 0..40 {
            rls.step(&row(n), 0);
        }
        let mut whole = rls.clone();
        let entry = |p: &[f64], i: usize, j: usize| match i.cmp(&j) {
            std::cmp::Ordering::Less => p[i * 3 + j],
            std::cmp::Ordering::Equal => 1.0,
            std::cmp::Ordering::Greater => 0.0,
        };
        for (place, value) in whole.covariance.iter_mut().enumerate() {
            let (i, j, p) = (place / 3, place % 3, &rls.covariance);
            *value = (0..3).map(|k| entry(p, i, k) * p[k * 4] * entry(p, j, k)).sum();
        }
        for n in 40..80 {
            let (found, expected) = (whole.step(&row(n), 0).unwrap(), rls.step(&row(n), 0).unwrap());
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        }
    }

    #[test]
    fn inputs_that_stand_still_take_nothing_away() {
        let mut rls = RecursiveLeastSquares::new(0.95, 1e3, 0).unwrap();
        let mut random = Random::new(3);
        for _ in 0..300 {
            let x = random.unit();
            rls.step(&[4.0 + 2.0 * x, x], 0);
        }
        for _ in 0..50_000 {
            rls.step(&[5.0, 0.5], 0);
        }
        let found = rls.step(&[f64::NAN, 0.9], 0).unwrap();
        assert!((found - 5.8).abs() < 0.05, "{found}");
        assert_eq!(rls.step(&[1.0, 0.5, 2.0], 0), None);
    }

    #[test]
    fn a_replay_remembers_what_no_longer_comes() {
        // First only small x with one line, then only large ones with another: y is x, or 3.
        let error = |memory| {
            let mut sgd = Sgd::new(Loss::Squared, 0.05, 0.0, Replay::new(memory, 4, 1)).unwrap();
            let mut random = Random::new(5);
            for row in 0..4_000 {
                let x = random.unit() + if row < 2_000 { 0.0 } else { 2.0 };
                sgd.step(&[if row < 2_000 { x } else { 3.0 }, x], 0);
            }
            (sgd.step(&[f64::NAN, 0.5], 0).unwrap() - 0.5).abs()
        };
        assert!(error(500) < 0.5 * error(0), "{} {}", error(500), error(0));
    }
}
