//! How new a value is, and alarms that do not repeat.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::median::MAX_WINDOW;
use super::{Step, number};

/// Distances below this part of the value are those of rounding, for each of the rows of which a mean is made; a single row is not
/// rounded.
const ROUNDING: f64 = f64::EPSILON;

/// How new the mean of the last rows is: `distance / (distance + record)` in [0, 1], where `distance` is that to the nearest of
/// the means before which share no row with it, and `record` the greatest distance so far, which is forgotten with a half-life.
/// Above 1/2 it is further from anything seen than any row of late; 1 where all before were equal, 0 where the mean is not new.
///
/// The nearest neighbour in the past is the left matrix profile of Lu, Wu, Mueen, Zuluaga, Keogh, "Matrix Profile XXIV: scaling
/// time series anomaly detection to trillions of datapoints and ultra-fast arriving data streams", KDD 2022, here of means and
/// not of shapes; a record that fades stands in the place of its threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Novelty {
    rows: usize,
    memory: usize,
    warmup: usize,
    /// What is left of the record after a row.
    fading: f64,
    seen: usize,
    last: VecDeque<f64>,
    /// Means that share a row with the next one.
    recent: VecDeque<f64>,
    past: Past,
    record: f64,
}

/// The last values, in their order and sorted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Past {
    in_order: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Past {
    /// Takes a value in, and the oldest one out if there would be more than `most`.
    pub(super) fn push(&mut self, x: f64, most: usize) {
        if self.in_order.len() == most
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.sorted.remove(self.place(oldest));
        }
        self.in_order.push_back(x);
        self.sorted.insert(self.place(x), x);
    }

    pub(super) fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    fn place(&self, x: f64) -> usize {
        self.sorted.partition_point(|y| y.total_cmp(&x).is_lt())
    }

    /// The distance to the nearest value.
    fn distance(&self, x: f64) -> Option<f64> {
        let place = self.place(x);
        let above = self.sorted.get(place).map(|y| y - x);
        let below = place.checked_sub(1).map(|place| x - self.sorted[place]);
        match (below, above) {
            (Some(below), Some(above)) => Some(below.min(above)),
            (below, above) => below.or(above),
        }
    }
}

impl Novelty {
    /// Of the mean of so many rows among so many means before (both from 1 to [`MAX_WINDOW`]), with a half-life of the record in
    /// rows; nothing is told of the first rows, the warm-up.
    pub fn new(rows: usize, half_life: f64, memory: usize, warmup: usize) -> Option<Self> {
        let is_size = |n: usize| (1..=MAX_WINDOW).contains(&n);
        let is_valid = is_size(rows) && is_size(memory) && half_life > 0.0;
        is_valid.then(|| Self {
            rows,
            memory,
            warmup,
            fading: (-1.0 / half_life).exp2(),
            seen: 0,
            last: VecDeque::new(),
            recent: VecDeque::new(),
            past: Past::default(),
            record: 0.0,
        })
    }

    /// The mean of the last rows, once there are so many.
    fn mean(&mut self, x: f64) -> Option<f64> {
        if self.last.len() == self.rows {
            self.last.pop_front();
        }
        self.last.push_back(x);
        // Summed anew each time: a running sum would keep the rounding of an outlier for ever.
        (self.last.len() == self.rows).then(|| self.last.iter().sum::<f64>() / number(self.rows))
    }
}

impl Step for Novelty {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        self.seen += 1;
        let mean = self.mean(x[0])?;
        if self.recent.len() == self.rows
            && let Some(apart) = self.recent.pop_front()
        {
            self.past.push(apart, self.memory);
        }
        let distance = self.past.distance(mean);
        self.recent.push_back(mean);
        let distance = distance?;
        let rounding = if self.rows > 1 { ROUNDING * number(self.rows) } else { 0.0 };
        let distance = if distance > rounding * mean.abs() { distance } else { 0.0 };
        let both = distance + self.record;
        self.record = distance.max(self.record * self.fading);
        (self.seen > self.warmup).then(|| if both > 0.0 { distance / both } else { 0.0 })
    }
}

/// A value above a limit, unless one was given in the last rows: alarms that do not repeat. `None` for all other rows.
///
/// Source: ANSI/ISA-18.2-2016, suppression of alarms, here by a number of rows after each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holdoff {
    limit: f64,
    rows: usize,
    /// Rows that are still held off.
    left: usize,
}

impl Holdoff {
    /// Above such a limit, and not within so many rows.
    pub fn new(limit: f64, rows: usize) -> Self {
        Self { limit, rows, left: 0 }
    }
}

impl Step for Holdoff {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        if self.left > 0 {
            self.left -= 1;
            return None;
        }
        if x[0] <= self.limit {
            return None;
        }
        self.left = self.rows;
        Some(x[0])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn novelty_is_that_of_all_distances_in_numpy() {
        check("novelty_1", &Novelty::new(1, 30.0, 60, 20).unwrap().into());
        check("novelty_5", &Novelty::new(5, 30.0, 60, 20).unwrap().into());
        check("holdoff", &Holdoff::new(0.5, 7).into());
    }

    #[test]
    fn what_was_seen_before_is_not_new() {
        let mut novelty = Novelty::new(1, 1000.0, 100, 0).unwrap();
        let found = [1.0, 1.0, 3.0, 3.0, 7.0, 4.0].map(|x| novelty.step(&[x], 0));
        let near = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-3;
        assert_eq!(found[..4], [None, Some(0.0), Some(1.0), Some(0.0)]);
        assert!(near(found[4], 4.0 / 6.0) && near(found[5], 1.0 / 5.0), "{found:?}");
        let mut novelty = Novelty::new(1, 1000.0, 100, 0).unwrap();
        let found = [1e9, 1e9, 1e9 + 0.9].map(|x| novelty.step(&[x], 0));
        assert_eq!(found[2], Some(1.0), "a step of a counter is new");
    }
}
