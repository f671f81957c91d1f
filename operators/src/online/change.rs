//! How a value changes, and whether it does.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{MICROS_PER_SECOND, Step, micros};

/// `(x - x_before) / (t - t_before)`, in the unit of x per second. `None` for the first row, and for one of the same time as
/// the one before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Derivative {
    before: Option<(i64, f64)>,
}

impl Step for Derivative {
    fn step(&mut self, x: &[f64], time: i64) -> Option<f64> {
        let before = self.before.replace((time, x[0]));
        slope(before?, (time, x[0]))
    }
}

fn slope(from: (i64, f64), to: (i64, f64)) -> Option<f64> {
    (from.0 != to.0).then(|| (to.1 - from.1) / (micros(to.0 - from.0) / MICROS_PER_SECOND))
}

/// The change over a span: `(x - x_old) / (t - t_old)`, in the unit of x per second, where `old` is the oldest row that is at
/// most the span older. `None` without such a row of another time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateOfChange {
    span: i64,
    rows: VecDeque<(i64, f64)>,
}

impl RateOfChange {
    /// Over a span in microseconds, above 0.
    pub fn new(span: i64) -> Option<Self> {
        (span > 0).then(|| Self { span, rows: VecDeque::new() })
    }
}

impl Step for RateOfChange {
    fn step(&mut self, x: &[f64], time: i64) -> Option<f64> {
        while self.rows.front().is_some_and(|(old, _)| (time - old).abs() > self.span) {
            self.rows.pop_front();
        }
        self.rows.push_back((time, x[0]));
        slope(*self.rows.front()?, (time, x[0]))
    }
}

/// How long the state has been what it is, in seconds: the time since the row in which it became that. A state is a number, such as
/// a code or a flag; 0 in the first row of each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateDuration {
    since: Option<(i64, f64)>,
}

impl Step for StateDuration {
    #[expect(clippy::float_cmp, reason = "the number is the name of a state")]
    fn step(&mut self, x: &[f64], time: i64) -> Option<f64> {
        let since = match self.since {
            Some((since, state)) if state == x[0] => since,
            _ => time,
        };
        self.since = Some((since, x[0]));
        // Rows may be sorted from the newest on.
        Some(micros(time - since).abs() / MICROS_PER_SECOND)
    }
}

/// The value of a row that leaves the band around the last one that did, `|x - last| > width`; `None` for the others. The
/// first row always passes.
///
/// Source: OPC 10000-4 v1.05, 7.22.2, AbsoluteDeadband.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deadband {
    width: f64,
    last: Option<f64>,
}

impl Deadband {
    /// With half the width of the band, from 0 up.
    pub fn new(width: f64) -> Option<Self> {
        (width >= 0.0).then_some(Self { width, last: None })
    }
}

impl Step for Deadband {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        if self.last.is_some_and(|last| (x[0] - last).abs() <= self.width) {
            return None;
        }
        self.last = Some(x[0]);
        self.last
    }
}

/// 1 if the last `rows` values are equal to the bit, else 0. `None` for the first `rows - 1` rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stuck {
    rows: usize,
    value: f64,
    /// How many of the last values are equal, and how many there were, both counted up to `rows`.
    equal: usize,
    seen: usize,
}

impl Stuck {
    /// Of so many rows, from 2 up.
    pub fn new(rows: usize) -> Option<Self> {
        (rows > 1).then_some(Self { rows, value: 0.0, equal: 0, seen: 0 })
    }
}

impl Step for Stuck {
    #[expect(clippy::float_cmp, reason = "a value that is stuck does not change at all")]
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        let is_equal = self.equal > 0 && self.value == x[0];
        self.equal = if is_equal { self.rows.min(self.equal + 1) } else { 1 };
        self.seen = self.rows.min(self.seen + 1);
        self.value = x[0];
        (self.seen == self.rows).then(|| f64::from(u8::from(self.equal == self.rows)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn changes_are_those_of_numpy() {
        check("derivative", &Derivative::default().into());
        check("rate_of_change", &RateOfChange::new(400_000).unwrap().into());
        check("deadband", &Deadband::new(0.4).unwrap().into());
        check("state_duration", &StateDuration::default().into());
        check("stuck", &Stuck::new(3).unwrap().into());
    }

    #[test]
    fn rows_of_one_time_have_no_derivative() {
        let mut derivative = Derivative::default();
        let found = [(1.0, 0), (2.0, 0), (4.0, 500_000)].map(|(x, t)| derivative.step(&[x], t));
        assert_eq!(found, [None, None, Some(4.0)]);
    }
}
