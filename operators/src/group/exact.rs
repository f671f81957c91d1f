//! Sums of doubles without rounding: what is added can be taken out again, whatever came between.
//!
//! A sum is kept as a few doubles that do not overlap, the least first (Shewchuk 1997, "Adaptive precision
//! floating-point arithmetic and fast robust geometric predicates", section 2.4); most sums have two or three. Its
//! value is the exact sum, rounded once, so it does not depend on the order of the rows either.
//!
//! A sum whose parts leave the range of a double (10^308) is lost.

/// An exact sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ExactSum(Vec<f64>);

impl ExactSum {
    /// A sum of parts, as [`ExactSum::parts`] gave them.
    pub(super) fn of_parts(parts: impl IntoIterator<Item = f64>) -> Self {
        Self(parts.into_iter().collect())
    }

    /// Doubles that do not overlap, the least first.
    pub(super) fn parts(&self) -> &[f64] {
        &self.0
    }

    /// Adds a finite number.
    pub(super) fn add(&mut self, x: f64) {
        let (mut high, mut kept) = (x, 0);
        for at in 0..self.0.len() {
            let (sum, error) = two_sum(high, self.0[at]);
            if error != 0.0 {
                self.0[kept] = error;
                kept += 1;
            }
            high = sum;
        }
        self.0.truncate(kept);
        if high != 0.0 {
            self.0.push(high);
        }
    }

    /// Adds the product of two finite numbers.
    pub(super) fn add_product(&mut self, a: f64, b: f64) {
        let product = a * b;
        self.add(product);
        let error = a.mul_add(b, -product);
        if error != 0.0 {
            self.add(error);
        }
    }

    /// The sum, rounded to the nearest double.
    pub(super) fn value(&self) -> f64 {
        let mut rest = self.0.iter().rev();
        let mut high = rest.next().copied().unwrap_or(0.0);
        let mut low = 0.0;
        for part in rest.by_ref() {
            (high, low) = two_sum(high, *part);
            if low != 0.0 {
                break;
            }
        }
        // Half-way cases are decided by what comes after them.
        if let Some(next) = rest.next()
            && (low < 0.0 && *next < 0.0 || low > 0.0 && *next > 0.0)
        {
            let doubled = low * 2.0;
            let candidate = high + doubled;
            if is_same(candidate - high, doubled) {
                high = candidate;
            }
        }
        high
    }
}

/// The sum and its rounding error (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

#[expect(clippy::float_cmp, reason = "whether a sum was exact is asked bit for bit")]
fn is_same(a: f64, b: f64) -> bool {
    a == b
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(sum: &ExactSum, value: f64) -> bool {
        sum.value().to_bits() == value.to_bits()
    }

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|x| sum.add(*x));
        sum
    }

    #[test]
    fn a_large_number_leaves_no_trace_when_it_is_taken_out() {
        let mut sum = sum(&[0.1, 1e300, 0.2, -7.0]);
        sum.add(-1e300);
        assert!(is(&sum, -6.7));
        [-0.1, -0.2, 7.0].into_iter().for_each(|x| sum.add(x));
        assert_eq!(sum, ExactSum::default());
    }

    #[test]
    fn the_value_is_rounded_once() {
        assert!(is(&sum(&[0.1; 10]), 1.0));
        let ulp = f64::EPSILON;
        assert!(is(&sum(&[1.0, ulp / 2.0]), 1.0), "a tie goes to even");
        assert!(is(&sum(&[1.0, ulp / 2.0, 1e-30]), 1.0 + ulp), "a little more than a tie");
        assert!(is(&sum(&[1.0, ulp / 2.0, -1e-30]), 1.0));
    }

    #[test]
    fn products_are_exact() {
        let mut sum = ExactSum::default();
        sum.add_product(0.1, 0.1);
        sum.add_product(1e9 + 0.1, 1e9 + 0.1);
        sum.add_product(-(1e9 + 0.1), 1e9 + 0.1);
        assert!(is(&sum, 0.1 * 0.1));
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(values in prop::collection::vec(-1e20_f64..1e20, 0..40), scale in -200..200_i32) {
            let values: Vec<f64> = values.iter().enumerate()
                .map(|(i, x)| if i % 3 == 0 { x * 2_f64.powi(scale) } else { *x }).collect();
            let mut reversed = values.clone();
            reversed.reverse();
            prop_assert_eq!(sum(&values).value().to_bits(), sum(&reversed).value().to_bits());
            let mut both = sum(&values);
            values.iter().for_each(|x| both.add(-x));
            prop_assert_eq!(both, ExactSum::default());
        }
    }
}
