//! Smoothing with a polynomial.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::median::MAX_WINDOW;
use super::{Step, number};

/// The value at the newest row of the least-squares polynomial through the last rows; `None` until there are so many.
///
/// Source: Savitzky, Golay, "Smoothing and differentiation of data by simplified least squares procedures" (1964), at the end
/// of the window and not at its middle, as a stream knows no later rows (SciPy: `savgol_coeffs(pos=window - 1)`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavitzkyGolay {
    weights: Vec<f64>,
    rows: VecDeque<f64>,
}

impl SavitzkyGolay {
    /// Of so many rows, up to [`MAX_WINDOW`], and a polynomial of an order below that and at most 10.
    pub fn new(window: usize, order: usize) -> Option<Self> {
        let is_window = order < window && order <= 10 && window <= MAX_WINDOW;
        is_window.then(|| Self { weights: weights(window, order), rows: VecDeque::with_capacity(window) })
    }
}

/// What each row counts for: `sum(p_k(i) * p_k(last))` over polynomials that are orthonormal on the rows.
fn weights(window: usize, order: usize) -> Vec<f64> {
    let position = |i: usize| 2.0 * number(i) / number(window.max(2) - 1) - 1.0;
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let mut weights = vec![0.0; window];
    for _ in 0..=order {
        let mut next: Vec<f64> = match basis.last() {
            Some(last) => last.iter().enumerate().map(|(i, p)| p * position(i)).collect(),
            None => vec![1.0; window],
        };
        // Twice is enough (Giraud, Langou, Rozloznik 2005).
        for other in basis.iter().chain(&basis) {
            let product: f64 = next.iter().zip(other).map(|(a, b)| a * b).sum();
            next.iter_mut().zip(other).for_each(|(a, b)| *a -= product * b);
        }
        let length = next.iter().map(|p| p * p).sum::<f64>().sqrt();
        next.iter_mut().for_each(|p| *p /= length);
        let last = next[window - 1];
        weights.iter_mut().zip(&next).for_each(|(weight, p)| *weight += p * last);
        basis.push(next);
    }
    weights
}

impl Step for SavitzkyGolay {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        if self.rows.len() == self.weights.len() {
            self.rows.pop_front();
        }
        self.rows.push_back(x[0]);
        let is_full = self.rows.len() == self.weights.len();
        is_full.then(|| self.rows.iter().zip(&self.weights).map(|(x, weight)| x * weight).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn smoothing_is_that_of_scipy() {
        check("savgol_7_2", &SavitzkyGolay::new(7, 2).unwrap().into());
        check("savgol_10_3", &SavitzkyGolay::new(10, 3).unwrap().into());
    }

    #[test]
    fn a_parabola_stays_one() {
        let mut filter = SavitzkyGolay::new(5, 2).unwrap();
        let found: Vec<_> = (0..6).map(|i| filter.step(&[f64::from(i * i)], 0)).collect();
        assert_eq!(found[..4], [None; 4]);
        assert!((found[5].unwrap() - 25.0).abs() < 1e-12);
        assert_eq!((SavitzkyGolay::new(3, 3), SavitzkyGolay::new(1, 0).is_some()), (None, true));
    }
}
