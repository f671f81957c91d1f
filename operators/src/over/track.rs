//! The values of one partition, so kept that a moment of any frame is found at a cost that does not grow with it.
//!
//! Of sums, those from the beginning up to each row are kept in pairs of doubles: a frame is the difference of two of
//! them, and nothing of a large value stays behind when it leaves. Values that would spoil a sum for ever (NaN,
//! infinities, huge ones) are kept apart. Of extremes, those values are kept that can still become one.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Range;

use lineshaft_engine::expression::Moment;

use super::pair::Pair;
use crate::shared::SharedDeque;
use crate::window::moments::order;

/// What is kept of the values before a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    pub(super) sum: Pair,
    /// Of the squares, if somebody asks for the variance.
    pub(super) square: Pair,
    /// How many values there are, modulo 2^32.
    pub(super) count: u32,
}

/// Values beyond it are not added up: their square would be infinite.
const HUGE: f64 = 1e150;

/// The values of a partition from some row on.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// The number of the row that the first of `sums` is about.
    pub(super) first: usize,
    /// The number of the first row that was not taken in.
    pub(super) next: usize,
    /// Of each row from `first` to `next`, both included.
    pub(super) sums: SharedDeque<Before>,
    /// Squares are of differences from the first value, so that they stay small.
    pub(super) shift: Option<f64>,
    /// Values that are not added up, with the numbers of their rows.
    pub(super) apart: VecDeque<(usize, f64)>,
    /// Rows that are more extreme than all after them.
    pub(super) extremes: VecDeque<(usize, f64)>,
}

impl Track {
    /// Takes in the value of the next row.
    pub(super) fn push(&mut self, moment: Moment, value: Option<f64>) {
        match moment {
            Moment::Min => self.push_extreme(value, Ordering::Less),
            Moment::Max => self.push_extreme(value, Ordering::Greater),
            Moment::Variance { .. } | Moment::Deviation { .. } => {
                self.push_sum(value.filter(|x| !x.is_nan()), true);
            }
            Moment::Rows | Moment::Count | Moment::Sum | Moment::Mean => self.push_sum(value, false),
        }
        self.next += 1;
    }

    fn push_sum(&mut self, value: Option<f64>, squared: bool) {
        if self.sums.is_empty() {
            self.first = self.next;
            self.sums.push_back(Before::default());
        }
        let mut sums = self.sums.back().copied().unwrap_or_default();
        if let Some(x) = value {
            sums.count = sums.count.wrapping_add(1);
            if x.abs() < HUGE {
                let shift = if squared { *self.shift.get_or_insert(x) } else { 0.0 };
                let x = Pair::sum(x, -shift);
                sums.sum = sums.sum.plus(x);
                sums.square = if squared { sums.square.plus(x.square()) } else { sums.square };
            } else {
                self.apart.push_back((self.next, x));
            }
        }
        self.sums.push_back(sums);
    }

    fn push_extreme(&mut self, value: Option<f64>, better: Ordering) {
        let Some(x) = value else { return };
        let replaced = |(_, old): &(usize, f64)| order(x, *old) == better || order(x, *old).is_eq();
        while self.extremes.back().is_some_and(replaced) {
            self.extremes.pop_back();
        }
        self.extremes.push_back((self.next, x));
    }

    /// Forgets the rows before `number`.
    pub(super) fn forget(&mut self, number: usize) {
        let forgotten = number.saturating_sub(self.first).min(self.sums.len().saturating_sub(1));
        self.sums.drop_front(forgotten);
        self.first += forgotten;
        for values in [&mut self.apart, &mut self.extremes] {
            let forgotten = values.partition_point(|(row, _)| *row < number);
            values.drain(..forgotten);
        }
    }

    /// A moment of a frame whose rows were all taken in; an extreme only if no row after it was.
    pub(super) fn value(&self, moment: Moment, span: &Range<usize>) -> Option<f64> {
        if matches!(moment, Moment::Min | Moment::Max) {
            let first = self.extremes.partition_point(|(row, _)| *row < span.start);
            return self.extremes.get(first).map(|(_, x)| *x);
        }
        let (before, with) = self.ends(span)?;
        let count = with.count.wrapping_sub(before.count);
        let sum = || with.sum.minus(before.sum).value() + self.apart(span).sum::<f64>();
        match moment {
            Moment::Sum => (count > 0).then(sum),
            Moment::Mean => (count > 0).then(|| sum() / f64::from(count)),
            Moment::Variance { sample } => self.variance(span, count, u32::from(sample)),
            Moment::Deviation { sample } => Some(self.variance(span, count, u32::from(sample))?.sqrt()),
            Moment::Rows | Moment::Count | Moment::Min | Moment::Max => None,
        }
    }

    /// How many values a frame has.
    pub(super) fn count(&self, span: &Range<usize>) -> u32 {
        self.ends(span).map_or(0, |(before, with)| with.count.wrapping_sub(before.count))
    }

    fn ends(&self, span: &Range<usize>) -> Option<(&Before, &Before)> {
        let at = |number: usize| self.sums.get(number.checked_sub(self.first)?);
        Some((at(span.start)?, at(span.end)?))
    }

    fn apart(&self, span: &Range<usize>) -> impl Iterator<Item = f64> {
        let (start, end) = (span.start, span.end);
        self.apart
            .iter()
            .skip_while(move |(row, _)| *row < start)
            .take_while(move |(row, _)| *row < end)
            .map(|(_, x)| *x)
    }

    /// With divisor `n - less`; NULL with too few values or if it is not finite.
    fn variance(&self, span: &Range<usize>, count: u32, less: u32) -> Option<f64> {
        let (before, with) = self.ends(span)?;
        if count <= less || self.apart(span).next().is_some() {
            return None;
        }
        let sum = with.sum.minus(before.sum);
        let around_mean = with.square.minus(before.square).minus(sum.square().over(f64::from(count)));
        Some((around_mean.value() / f64::from(count - less)).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIANCE: Moment = Moment::Variance { sample: true };

    fn track(moment: Moment, values: &[Option<f64>]) -> Track {
        let mut track = Track::default();
        values.iter().for_each(|x| track.push(moment, *x));
        track
    }

    fn near(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() <= 1e-12 * expected.abs())
    }

    #[test]
    fn a_large_value_leaves_nothing_behind() {
        let values = [1e100, 0.1, 0.2, 0.4].map(Some);
        assert!(near(track(Moment::Sum, &values).value(Moment::Sum, &(1..4)), 0.7));
        let values = [f64::NAN, 0.5, f64::INFINITY, 0.25, 0.5].map(Some);
        let sums = track(Moment::Sum, &values);
        let sum = |span: Range<usize>| sums.value(Moment::Sum, &span).map(|x| x.to_string());
        assert_eq!([sum(0..2), sum(1..3), sum(3..5)].map(Option::unwrap), ["NaN", "inf", "0.75"]);
    }

    #[test]
    fn the_variance_far_from_the_first_value_keeps_its_digits() {
        let values = [0.0, 1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0].map(Some);
        let track = track(VARIANCE, &values);
        assert!(near(track.value(VARIANCE, &(1..5)), 30.0));
        assert!(near(track.value(Moment::Variance { sample: false }, &(1..5)), 22.5));
        assert_eq!(track.value(VARIANCE, &(1..2)), None);
    }

    #[test]
    fn null_is_left_out_and_what_is_forgotten_changes_nothing() {
        let mut track = track(Moment::Mean, &[Some(1.0), None, Some(2.0), Some(6.0)]);
        assert_eq!((track.count(&(0..4)), track.count(&(1..2))), (3, 0));
        track.forget(2);
        assert_eq!(track.sums.len(), 3);
        assert_eq!(track.value(Moment::Mean, &(2..4)), Some(4.0));
    }

    #[test]
    fn extremes_of_moving_frames_are_those_by_hand() {
        let mut least = Track::default();
        let values = [Some(3.0), Some(1.0), None, Some(2.0), Some(5.0)];
        let mut found = Vec::new();
        for (end, value) in (1..).zip(values) {
            least.push(Moment::Min, value);
            found.push(least.value(Moment::Min, &(usize::saturating_sub(end, 2)..end)));
        }
        assert_eq!(found, [Some(3.0), Some(1.0), Some(1.0), Some(2.0), Some(2.0)]);
    }
}
