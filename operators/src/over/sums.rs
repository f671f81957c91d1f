//! Sums and extremes of long frames, at a cost that does not grow with the frame.

use std::collections::VecDeque;
use std::ops::Range;

use arrow::array::{Array, Float64Array};

/// A number as the sum of two doubles, about 32 digits (Dekker 1971, "A floating-point technique for extending the
/// available precision").
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    high: f64,
    low: f64,
}

/// The sum of two doubles, exactly (Knuth, The Art of Computer Programming, volume 2, 4.2.2).
fn exact(a: f64, b: f64) -> Pair {
    let high = a + b;
    let of_b = high - a;
    Pair { high, low: (a - (high - of_b)) + (b - of_b) }
}

impl Pair {
    fn plus(self, other: Self) -> Self {
        let sum = exact(self.high, other.high);
        exact(sum.high, sum.low + (self.low + other.low))
    }

    fn minus(self, other: Self) -> Self {
        self.plus(Self { high: -other.high, low: -other.low })
    }

    fn square(self) -> Self {
        let high = self.high * self.high;
        let low = self.high.mul_add(self.high, -high) + 2.0 * self.high * self.low;
        exact(high, low)
    }

    fn over(self, n: f64) -> Self {
        let high = self.high / n;
        let rest = self.minus(Self { high: high * n, low: high.mul_add(n, -(high * n)) });
        exact(high, rest.high / n)
    }

    fn value(self) -> f64 {
        self.high + self.low
    }
}

/// Sums of the values of rows, and of their squares, from the first row on.
pub(super) struct Sums {
    start: usize,
    counts: Vec<u32>,
    sums: Vec<Pair>,
    /// Empty if nobody asks for them.
    squares: Vec<Pair>,
}

impl Sums {
    /// The sums of some rows of a column; `None` if a value is not finite, or a sum is not.
    pub(super) fn new(column: &Float64Array, rows: Range<usize>, squared: bool) -> Option<Self> {
        // Squares are of differences from a value of the data, so that they stay small.
        let first = rows.clone().find(|row| column.is_valid(*row));
        let shift = first.filter(|_| squared).map_or(0.0, |row| column.value(row));
        let mut sums = Self {
            start: rows.start,
            counts: vec![0],
            sums: vec![Pair::default()],
            squares: vec![Pair::default()],
        };
        let (mut count, mut sum, mut square) = (0, Pair::default(), Pair::default());
        for row in rows {
            if column.is_valid(row) {
                let x = exact(column.value(row), -shift);
                count += 1;
                sum = sum.plus(x);
                if squared {
                    square = square.plus(x.square());
                }
            }
            sums.counts.push(count);
            sums.sums.push(sum);
            if squared {
                sums.squares.push(square);
            }
        }
        // A NaN or an infinity is in every sum after it.
        (sum.value().is_finite() && square.value().is_finite()).then_some(sums)
    }

    fn at<T: Copy>(&self, of: &[T], span: &Range<usize>) -> (T, T) {
        (of[span.start - self.start], of[span.end - self.start])
    }

    /// How many values a frame has.
    pub(super) fn count(&self, span: &Range<usize>) -> u32 {
        let (before, with) = self.at(&self.counts, span);
        with - before
    }

    /// The sum of a frame, for sums without squares.
    pub(super) fn sum(&self, span: &Range<usize>) -> f64 {
        let (before, with) = self.at(&self.sums, span);
        with.minus(before).value()
    }

    /// The variance with divisor `n - less`; NULL with too few values.
    pub(super) fn variance(&self, span: &Range<usize>, less: u32) -> Option<f64> {
        let n = self.count(span);
        if n <= less {
            return None;
        }
        let (before, with) = self.at(&self.sums, span);
        let sum = with.minus(before);
        let (before, with) = self.at(&self.squares, span);
        let around_mean = with.minus(before).minus(sum.square().over(f64::from(n)));
        Some((around_mean.value() / f64::from(n - less)).max(0.0))
    }
}

/// The least or greatest value of frames whose ends never go back.
pub(super) struct Extremes<'a> {
    column: &'a Float64Array,
    greatest: bool,
    /// Rows that are more extreme than all after them, in order.
    rows: VecDeque<usize>,
    /// The first row that was not looked at.
    next: usize,
}

impl<'a> Extremes<'a> {
    /// For frames that begin at `start` or later; no value may be NaN.
    pub(super) fn new(column: &'a Float64Array, greatest: bool, start: usize) -> Self {
        Self { column, greatest, rows: VecDeque::new(), next: start }
    }

    pub(super) fn of(&mut self, span: &Range<usize>) -> Option<f64> {
        self.next = self.next.max(span.start);
        while self.next < span.end {
            if self.column.is_valid(self.next) {
                let x = self.column.value(self.next);
                while let Some(last) = self.rows.back().map(|row| self.column.value(*row))
                    && (if self.greatest { last <= x } else { last >= x })
                {
                    self.rows.pop_back();
                }
                self.rows.push_back(self.next);
            }
            self.next += 1;
        }
        while self.rows.front().is_some_and(|row| *row < span.start) {
            self.rows.pop_front();
        }
        self.rows.front().map(|row| self.column.value(*row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * b.abs().max(1e-300)
    }

    #[test]
    fn a_large_value_leaves_nothing_behind() {
        let column = Float64Array::from(vec![1e30, 0.1, 0.2, 0.4]);
        let sums = Sums::new(&column, 0..4, false).unwrap();
        assert!(near(sums.sum(&(1..4)), 0.7));
        let squares = Sums::new(&column, 1..4, true).unwrap();
        assert!(near(squares.variance(&(2..4), 1).unwrap(), 0.02));
    }

    #[test]
    fn the_variance_far_from_the_first_value_keeps_its_digits() {
        let mut values = vec![0.0];
        values.extend([4.0, 7.0, 13.0, 16.0].map(|x| x + 1e9));
        let sums = Sums::new(&Float64Array::from(values), 0..5, true).unwrap();
        assert!(near(sums.variance(&(1..5), 1).unwrap(), 30.0));
        assert!(near(sums.variance(&(1..5), 0).unwrap(), 22.5));
        assert_eq!(sums.variance(&(1..2), 1), None);
    }

    #[test]
    fn null_is_left_out_and_nan_is_told() {
        let column = Float64Array::from(vec![Some(1.0), None, Some(2.0)]);
        let sums = Sums::new(&column, 0..3, false).unwrap();
        assert_eq!((sums.count(&(0..3)), sums.count(&(1..2))), (2, 0));
        assert!(Sums::new(&Float64Array::from(vec![1.0, f64::NAN]), 0..2, false).is_none());
    }

    #[test]
    fn extremes_of_moving_frames_are_those_by_hand() {
        let column = Float64Array::from(vec![Some(3.0), Some(1.0), None, Some(2.0), Some(5.0)]);
        let spans = [0..1, 0..2, 1..3, 2..3, 2..5, 4..5];
        let of = |greatest| {
            let mut extremes = Extremes::new(&column, greatest, 0);
            spans.each_ref().map(|span| extremes.of(span))
        };
        assert_eq!(of(false), [Some(3.0), Some(1.0), Some(1.0), None, Some(2.0), Some(5.0)]);
        assert_eq!(of(true), [Some(3.0), Some(3.0), Some(1.0), None, Some(5.0), Some(5.0)]);
    }
}
