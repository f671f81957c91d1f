//! A window that is as long as its mean stays the same.

use serde::{Deserialize, Serialize};

use super::{Step, number};

/// The most buckets of one size; one more, and the two oldest are merged.
const MAX_BUCKETS: usize = 5;
/// The least rows on each side of a cut.
const MIN_SIDE: f64 = 5.0;
/// Windows of no more rows are not cut.
const GRACE: usize = 10;

/// What of an [`Adwin`] is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gives {
    /// 1 where the mean has changed, else 0.
    Drift,
    /// The mean of the window.
    Mean,
}

/// ADWIN: the window of the last rows is cut where the means of its older and newer part differ by more than chance explains,
/// at significance `delta`. Buckets of 1, 2, 4, ... rows keep it in `O(log n)` numbers. It begins anew with the row after a
/// change.
///
/// Source: Bifet, Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007: ADWIN2, its cut (3.1) with the
/// correction of river's `ADWIN` for the least length of a side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adwin {
    gives: Gives,
    delta: f64,
    /// A cut is looked for at each of so many rows.
    clock: usize,
    window: Window,
    has_changed: bool,
}

/// The sum of the values of some rows, and of their squared distances from their mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bucket {
    sum: f64,
    squares: f64,
}

/// The places for the buckets of one size: a power of two above [`MAX_BUCKETS`].
const PLACES: usize = 8;

/// The buckets of one size, in a ring.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Vec<Bucket>", try_from = "Vec<Bucket>")]
struct Level {
    ring: [Bucket; PLACES],
    /// The place of the oldest.
    first: usize,
    len: usize,
}

impl Level {
    fn push(&mut self, bucket: Bucket) {
        self.ring[(self.first + self.len) % PLACES] = bucket;
        self.len += 1;
    }

    fn pop(&mut self) -> Bucket {
        let oldest = self.ring[self.first % PLACES];
        self.first = (self.first + 1) % PLACES;
        self.len -= 1;
        oldest
    }

    /// The oldest first.
    fn iter(&self) -> impl Iterator<Item = Bucket> {
        (self.first..self.first + self.len).map(|at| self.ring[at % PLACES])
    }
}

/// Where in the ring they are does not count.
impl PartialEq for Level {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl From<Level> for Vec<Bucket> {
    fn from(level: Level) -> Self {
        level.iter().collect()
    }
}

impl TryFrom<Vec<Bucket>> for Level {
    type Error = &'static str;

    fn try_from(buckets: Vec<Bucket>) -> Result<Self, Self::Error> {
        if buckets.len() > MAX_BUCKETS {
            return Err("too many buckets of one size");
        }
        let mut level = Self::default();
        buckets.into_iter().for_each(|bucket| level.push(bucket));
        Ok(level)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Window {
    /// Buckets of 2^i rows.
    levels: Vec<Level>,
    rows: usize,
    sum: f64,
    squares: f64,
    /// Rows since the start, those that left the window included.
    seen: usize,
}

impl Adwin {
    /// With a significance in (0, 1), and a clock of at least one row.
    pub fn new(gives: Gives, delta: f64, clock: usize) -> Option<Self> {
        let is_valid = delta > 0.0 && delta < 1.0 && clock > 0;
        is_valid.then(|| Self { gives, delta, clock, window: Window::default(), has_changed: false })
    }

    /// What it gives.
    pub fn gives(&self) -> Gives {
        self.gives
    }

    /// Takes a value in; true where the mean has changed.
    pub(super) fn add(&mut self, x: f64) -> bool {
        if self.has_changed {
            self.window = Window::default();
        }
        let window = &mut self.window;
        window.insert(x);
        self.has_changed = false;
        if window.seen.is_multiple_of(self.clock) && window.rows > GRACE {
            while window.has_cut(self.delta) {
                window.drop_oldest();
                self.has_changed = true;
            }
        }
        self.has_changed
    }
}

impl Step for Adwin {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        let has_changed = self.add(x[0]);
        Some(match self.gives {
            Gives::Drift => f64::from(u8::from(has_changed)),
            Gives::Mean => self.window.sum / number(self.window.rows),
        })
    }
}

/// The number of rows of a bucket of a level.
fn size(level: usize) -> f64 {
    number(1 << level)
}

impl Window {
    fn insert(&mut self, x: f64) {
        self.seen += 1;
        if self.rows > 0 {
            let before = number(self.rows);
            let distance = x - self.sum / before;
            self.squares += before * distance * distance / (before + 1.0);
        }
        self.rows += 1;
        self.sum += x;
        let mut bucket = Bucket { sum: x, squares: 0.0 };
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Level::default());
            }
            let buckets = &mut self.levels[level];
            buckets.push(bucket);
            if buckets.len <= MAX_BUCKETS {
                break;
            }
            let [a, b] = [buckets.pop(), buckets.pop()];
            let n = size(level);
            let distance = a.sum / n - b.sum / n;
            bucket =
                Bucket { sum: a.sum + b.sum, squares: a.squares + b.squares + n * distance * distance / 2.0 };
        }
    }

    /// True if the means of both sides of a cut between two buckets differ.
    fn has_cut(&self, delta: f64) -> bool {
        let (mut old, mut old_sum) = (0.0, 0.0);
        let (mut new, mut new_sum) = (number(self.rows), self.sum);
        let confidence = (2.0 * new.ln() / delta).ln();
        let variance = self.squares / new;
        for (level, buckets) in self.levels.iter().enumerate().rev() {
            for bucket in buckets.iter() {
                old += size(level);
                new -= size(level);
                old_sum += bucket.sum;
                new_sum -= bucket.sum;
                if old < MIN_SIDE || new < MIN_SIDE {
                    continue;
                }
                // Most cuts are far from one: the square of the distance is below half of that of the first part of epsilon, which
                // takes neither a root nor a division.
                let (left, right) = (old - MIN_SIDE + 1.0, new - MIN_SIDE + 1.0);
                let (distance, sides) = (old_sum * new - new_sum * old, old * new);
                if distance * distance * left * right < variance * confidence * (left + right) * sides * sides
                {
                    continue;
                }
                let m = 1.0 / left + 1.0 / right;
                let epsilon = (2.0 * m * variance * confidence).sqrt() + 2.0 / 3.0 * confidence * m;
                if (old_sum / old - new_sum / new).abs() > epsilon {
                    return true;
                }
            }
        }
        false
    }

    fn drop_oldest(&mut self) {
        let level = self.levels.len() - 1;
        let bucket = self.levels[level].pop();
        if self.levels[level].len == 0 {
            self.levels.pop();
        }
        self.rows -= 1 << level;
        self.sum -= bucket.sum;
        let (n, rest) = (size(level), number(self.rows));
        let distance = bucket.sum / n - self.sum / rest;
        self.squares -= bucket.squares + n * rest * distance * distance / (n + rest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn changes_and_means_are_those_of_river() {
        check("adwin", &Adwin::new(Gives::Drift, 0.05, 4).unwrap().into());
        check("adwin_mean", &Adwin::new(Gives::Mean, 0.05, 4).unwrap().into());
    }

    #[test]
    fn what_is_kept_grows_with_the_logarithm_of_the_rows() {
        let mut adwin = Adwin::new(Gives::Drift, 1e-9, 32).unwrap();
        for row in 0..100_000 {
            assert!(!adwin.add(f64::from(row % 7)));
        }
        assert!(adwin.window.levels.iter().map(|level| level.len).sum::<usize>() < 100);
        assert_eq!(adwin.window.rows, 100_000);
    }
}
