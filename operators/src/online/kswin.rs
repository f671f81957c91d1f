//! Whether the last rows are distributed as those before them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::median::MAX_WINDOW;
use super::{Step, number};
use crate::model::random::Random;

/// A smaller greatest distance of the two distributions is no change, however sure it is.
const LEAST_DISTANCE: f64 = 0.1;

/// KSWIN: 1 where the last rows are distributed in another way than as many that are drawn from those before them in the window,
/// by the exact test of Kolmogorov and Smirnov; else 0. It begins anew with the row after a change.
///
/// Source: Raab, Heusinger, Schleif, "Reactive soft prototype computing for concept drift streams", Neurocomputing 416 (2020);
/// the rule and the least distance are those of river's `KSWIN`. The draw is seeded; where the window is twice the last rows,
/// all rows before are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kswin {
    alpha: f64,
    rows: usize,
    last: usize,
    seed: u64,
    /// Rows so far: each has a draw of its own.
    seen: u64,
    window: VecDeque<f64>,
}

impl Kswin {
    /// With a significance in (0, 1), and a window of at least twice the last rows that are compared.
    pub fn new(alpha: f64, rows: usize, last: usize, seed: u64) -> Option<Self> {
        let is_valid = alpha > 0.0 && alpha < 1.0 && last > 0 && rows >= 2 * last && rows <= MAX_WINDOW;
        is_valid.then(|| Self { alpha, rows, last, seed, seen: 0, window: VecDeque::new() })
    }

    /// Some of the rows before the last ones.
    fn draw(&self) -> Vec<f64> {
        let mut random = Random::new(self.seed.wrapping_add(self.seen));
        let before = self.rows - self.last;
        let mut values: Vec<f64> = self.window.iter().take(before).copied().collect();
        for i in 0..self.last {
            values.swap(i, i + random.below(before - i));
        }
        values.truncate(self.last);
        values
    }
}

impl Step for Kswin {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        self.seen += 1;
        if self.window.len() == self.rows {
            self.window.pop_front();
        }
        self.window.push_back(x[0]);
        if self.window.len() < self.rows {
            return Some(0.0);
        }
        let last = self.window.iter().skip(self.rows - self.last).copied().collect();
        let steps = distance(self.draw(), last);
        let has_changed =
            number(steps) > LEAST_DISTANCE * number(self.last) && probability(self.last, steps) <= self.alpha;
        if has_changed {
            self.window.clear();
        }
        Some(f64::from(u8::from(has_changed)))
    }
}

/// The greatest distance of the distributions of two samples of n values, in steps of 1 / n.
fn distance(mut a: Vec<f64>, mut b: Vec<f64>) -> usize {
    a.sort_unstable_by(f64::total_cmp);
    b.sort_unstable_by(f64::total_cmp);
    let (mut i, mut j, mut greatest) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        let x = a[i].min(b[j]);
        i += a[i..].iter().take_while(|y| **y <= x).count();
        j += b[j..].iter().take_while(|y| **y <= x).count();
        greatest = greatest.max(i.abs_diff(j));
    }
    greatest
}

/// The probability of such a distance or a greater one between two samples of n values of one distribution:
/// `2 * sum((-1)^(k - 1) * C(2n, n - k h) / C(2n, n))` over k from 1 (Gnedenko, Korolyuk 1951).
fn probability(n: usize, steps: usize) -> f64 {
    if steps == 0 {
        return 1.0;
    }
    let paths = |m: usize| (0..m).map(|j| number(n - j) / number(n + 1 + j)).product::<f64>();
    let terms = (1..=n / steps).map(|k| if k % 2 == 1 { paths(k * steps) } else { -paths(k * steps) });
    (2.0 * terms.sum::<f64>()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn changes_are_those_of_river_where_all_rows_are_drawn() {
        check("kswin", &Kswin::new(0.01, 40, 20, 7).unwrap().into());
    }

    #[test]
    fn probabilities_are_those_of_scipy() {
        // scipy.stats.ks_2samp(..., method="exact") of 30 and 30 values.
        for (steps, expected) in [(3, 0.998_839_375_636_276_3), (12, 0.015_643_390_496_754_332)] {
            assert!((probability(30, steps) - expected).abs() < 1e-12, "{}", probability(30, steps));
        }
        assert_eq!(distance(vec![1.0, 2.0, 2.0], vec![2.0, 2.0, 5.0]), 1);
    }

    #[test]
    fn a_draw_finds_a_shift_and_no_change_where_there_is_none() {
        let mut kswin = Kswin::new(0.0001, 100, 30, 1).unwrap();
        let mut random = Random::new(5);
        let changes: Vec<usize> = (0..2000)
            .filter(|row| {
                let shift = if *row >= 1000 { 0.7 } else { 0.0 };
                kswin.step(&[random.unit() + shift], 0) == Some(1.0)
            })
            .collect();
        assert!(changes.len() == 1 && (1000..1040).contains(&changes[0]), "{changes:?}");
    }
}
