//! A number as the sum of two doubles, about 32 digits (Dekker 1971, "A floating-point technique for extending the
//! available precision").

/// `high + low`, where `low` is what does not fit in `high`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pair {
    pub(super) high: f64,
    pub(super) low: f64,
}

impl Pair {
    /// The sum of two doubles, exactly (Knuth, The Art of Computer Programming, volume 2, 4.2.2).
    pub(super) fn sum(a: f64, b: f64) -> Self {
        let high = a + b;
        let of_b = high - a;
        Self { high, low: (a - (high - of_b)) + (b - of_b) }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let sum = Self::sum(self.high, other.high);
        Self::sum(sum.high, sum.low + (self.low + other.low))
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.plus(Self { high: -other.high, low: -other.low })
    }

    pub(super) fn square(self) -> Self {
        let high = self.high * self.high;
        let low = self.high.mul_add(self.high, -high) + 2.0 * self.high * self.low;
        Self::sum(high, low)
    }

    pub(super) fn over(self, n: f64) -> Self {
        let high = self.high / n;
        let rest = self.minus(Self { high: high * n, low: high.mul_add(n, -(high * n)) });
        Self::sum(high, rest.high / n)
    }

    pub(super) fn value(self) -> f64 {
        self.high + self.low
    }
}
