//! The values of one partition, so kept that a moment of any frame is found at a cost that does not grow with it.
//!
//! Of sums, those from the beginning up to each row are kept in pairs of doubles: a frame is the difference of two of
//! them, and nothing of a large value stays behind when it leaves. Values that would spoil a sum for ever (NaN,
//! infinities, huge ones) are kept apart. Of extremes, those values are kept that can still become one. For the variance the values
//! are kept, too: where those of the frame are far smaller than others before, the sums begin anew with them.

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

/// A variance below this share of the squares so far has lost digits to them.
const LEAST_SHARE: f64 = 1e-18;

/// The values of a partition from some row on.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// The number of the row that the first of `sums` is about.
    pub(super) first: usize,
    /// The number of the first row that was not taken in.
    pub(super) next: usize,
    /// Of each row from `first` to `next`, both included.
    pub(super) sums: SharedDeque<Before>,
    /// The last values, up to `next`, if somebody asks for the variance; NaN where there is none.
    pub(super) values: SharedDeque<f64>,
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
        if squared {
            self.values.push_back(value.unwrap_or(f64::NAN));
        }
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
        self.values.drop_front(number.saturating_sub(self.first_value()).min(self.values.len()));
        for values in [&mut self.apart, &mut self.extremes] {
            let forgotten = values.partition_point(|(row, _)| *row < number);
            values.drain(..forgotten);
        }
    }

    /// The row of the first value.
    fn first_value(&self) -> usize {
        self.next - self.values.len()
    }

    /// Lets the sums begin with a row; false if they do, or if its value is not there.
    fn begin_anew(&mut self, row: usize) -> bool {
        let known = self.first_value();
        let begins = self.first == row && self.sums.get(0).is_some_and(|sums| sums.square.high == 0.0);
        if begins || row < known {
            return false;
        }
        let values: Vec<f64> = self.values.range(row - known..self.values.len()).collect();
        *self = Self { first: row, next: row, ..Self::default() };
        for x in values {
            self.push_sum((!x.is_nan()).then_some(x), true);
            self.next += 1;
        }
        true
    }

    /// A moment of a frame whose rows were all taken in; an extreme only if no row after it was. Frames begin in order.
    pub(super) fn value(&mut self, moment: Moment, span: &Range<usize>) -> Option<f64> {
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
    fn variance(&mut self, span: &Range<usize>, count: u32, less: u32) -> Option<f64> {
        if count <= less || self.apart(span).next().is_some() {
            return None;
        }
        let (mut around_mean, squares) = self.around_mean(span, count)?;
        if around_mean < LEAST_SHARE * squares && self.begin_anew(span.start) {
            around_mean = self.around_mean(span, count)?.0;
        }
        Some((around_mean / f64::from(count - less)).max(0.0))
    }

    /// The sum of the squares around the mean of a frame, and of all squares up to its end.
    fn around_mean(&self, span: &Range<usize>, count: u32) -> Option<(f64, f64)> {
        let (before, with) = self.ends(span)?;
        let sum = with.sum.minus(before.sum);
        let around_mean = with.square.minus(before.square).minus(sum.square().over(f64::from(count)));
        Some((around_mean.value(), with.square.high))
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
        let mut sums = track(Moment::Sum, &values);
        let mut sum = |span: Range<usize>| sums.value(Moment::Sum, &span).map(|x| x.to_string());
        assert_eq!([sum(0..2), sum(1..3), sum(3..5)].map(Option::unwrap), ["NaN", "inf", "0.75"]);
    }

    #[test]
    fn nothing_of_a_large_value_stays_in_the_variance() {
        for large in [1e9, 1e12, 1e15, 3.4e38, 1e149, 1e200, f64::INFINITY] {
            let values = [large, 5.5, 5.5, 5.5, 5.6, 5.9].map(Some);
            let mut track = track(VARIANCE, &values);
            assert_eq!(track.value(VARIANCE, &(1..4)), Some(0.0), "{large}");
            assert!(near(track.value(VARIANCE, &(3..6)), 0.13 / 3.0), "{large}");
            track.push(VARIANCE, Some(large));
            track.push(VARIANCE, None);
            [6.0, 6.5].into_iter().for_each(|x| track.push(VARIANCE, Some(x)));
            assert!(near(track.value(VARIANCE, &(8..10)), 0.125), "{large}");
        }
    }

    #[test]
    fn the_variance_far_from_the_first_value_keeps_its_digits() {
        let values = [0.0, 1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0].map(Some);
        let mut track = track(VARIANCE, &values);
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
