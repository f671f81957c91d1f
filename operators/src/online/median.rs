//! The median of the last rows, and the filter of Hampel.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Step;

/// The most rows of a window.
pub const MAX_WINDOW: usize = 100_000;

/// What the median absolute deviation of a normal distribution is multiplied by to be its standard deviation.
const NORMAL: f64 = 1.482_602_218_505_602;

/// The last rows, in their order and sorted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Window {
    rows: usize,
    in_order: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Window {
    fn new(rows: usize) -> Option<Self> {
        let is_window = (1..=MAX_WINDOW).contains(&rows);
        is_window.then(|| Self { rows, in_order: VecDeque::new(), sorted: Vec::new() })
    }

    /// Takes a row in, and the oldest one out if there are too many; the median once the window is full.
    fn push(&mut self, x: f64) -> Option<f64> {
        if self.in_order.len() == self.rows {
            let oldest = self.in_order.pop_front()?;
            self.sorted.remove(self.sorted.partition_point(|y| y.total_cmp(&oldest).is_lt()));
        }
        self.in_order.push_back(x);
        self.sorted.insert(self.sorted.partition_point(|y| y.total_cmp(&x).is_lt()), x);
        (self.sorted.len() == self.rows).then(|| middle(self.rows, |i| self.sorted[i]))
    }

    /// The median of the distances from the median: the rows on both sides of it are merged by their distance.
    fn deviation(&self, median: f64) -> f64 {
        let split = self.sorted.partition_point(|x| *x < median);
        let (mut below, mut above) = (split, split);
        let mut nearest = [0.0; 2];
        for taken in 0..=self.rows / 2 {
            let left = below.checked_sub(1).map(|i| median - self.sorted[i]);
            let right = self.sorted.get(above).map(|x| x - median);
            let distance = match (left, right) {
                (Some(left), Some(right)) if left <= right => left,
                (Some(left), None) => left,
                (_, Some(right)) => right,
                (None, None) => break,
            };
            if left == Some(distance) {
                below -= 1;
            } else {
                above += 1;
            }
            nearest[taken % 2] = distance;
        }
        let (odd, last) = (self.rows % 2 == 1, (self.rows / 2) % 2);
        if odd { nearest[last] } else { f64::midpoint(nearest[0], nearest[1]) }
    }
}

/// The middle of `n` sorted values, or the mean of the two in the middle.
fn middle(n: usize, value: impl Fn(usize) -> f64) -> f64 {
    if n % 2 == 1 { value(n / 2) } else { f64::midpoint(value(n / 2 - 1), value(n / 2)) }
}

/// The median of the last rows, this one included; `None` until there are so many.
///
/// Source: Tukey, "Exploratory Data Analysis" (1977), 7A.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovingMedian {
    window: Window,
}

impl MovingMedian {
    /// Of so many rows, from 1 to [`MAX_WINDOW`].
    pub fn new(rows: usize) -> Option<Self> {
        Some(Self { window: Window::new(rows)? })
    }
}

impl Step for MovingMedian {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        self.window.push(x[0])
    }
}

/// x, or the median of the last rows where x is further from it than `sigmas` times their standard deviation, estimated as
/// 1.4826 times the median distance from the median. `None` until there are so many rows.
///
/// Source: Pearson, "Outliers in process modeling and identification", IEEE Trans. Control Syst. Technol. 10 (2002), with the
/// window behind the row and not around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hampel {
    window: Window,
    sigmas: f64,
}

impl Hampel {
    /// Of so many rows, from 1 to [`MAX_WINDOW`]; `sigmas` from 0 up.
    pub fn new(rows: usize, sigmas: f64) -> Option<Self> {
        let window = Window::new(rows)?;
        (sigmas >= 0.0).then_some(Self { window, sigmas })
    }
}

impl Step for Hampel {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        let median = self.window.push(x[0])?;
        let limit = self.sigmas * NORMAL * self.window.deviation(median);
        Some(if (x[0] - median).abs() > limit { median } else { x[0] })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn medians_are_those_of_numpy_and_scipy() {
        check("moving_median_5", &MovingMedian::new(5).unwrap().into());
        check("moving_median_4", &MovingMedian::new(4).unwrap().into());
        check("hampel_7", &Hampel::new(7, 1.5).unwrap().into());
        check("hampel_6", &Hampel::new(6, 1.5).unwrap().into());
    }

    #[test]
    fn an_outlier_is_replaced_and_the_rest_is_not() {
        let mut hampel = Hampel::new(3, 3.0).unwrap();
        let found = [1.0, 2.0, 3.0, 90.0, 5.0].map(|x| hampel.step(&[x], 0));
        assert_eq!(found, [None, None, Some(3.0), Some(3.0), Some(5.0)]);
        assert_eq!((Hampel::new(0, 3.0), MovingMedian::new(MAX_WINDOW + 1)), (None, None));
    }
}
