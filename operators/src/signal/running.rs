//! The features that need no more than a few sums: rows are added one by one, and partial sums can be merged.
//!
//! Each struct is the state of one group. It gives the same feature as the kernel over the slice, except for the
//! rounding of the sums. Central moments are kept as sums of `x - origin`, where the origin is near the mean: no
//! division per row. The origin moves to the mean whenever the number of samples doubles, and when sums are merged: an
//! outlier or a start-up value as the first sample costs no digits.

use std::fmt::Debug;

use super::capability::{distance, width};
use super::moments::{kurtosis_of, skewness_of};
use super::{finite, ratio};

/// Sums that rows are added to, made of a fixed number of `f64` fields.
pub trait Running: Clone + Copy + Debug + Default + Send + Sync + 'static {
    /// Names of the fields.
    const FIELDS: &'static [&'static str];

    /// Adds a sample; it is not NaN.
    fn add(&mut self, x: f64);

    /// Adds the sums of later samples.
    fn merge(&mut self, later: &Self);

    /// The value of a field.
    fn field(&self, index: usize) -> f64;

    /// The sums with these fields.
    fn from_fields(field: impl Fn(usize) -> f64) -> Self;
}

/// A struct of `f64` fields as [`Running::FIELDS`], [`Running::field`] and [`Running::from_fields`].
macro_rules! fields {
    ($($name:ident),+) => {
        const FIELDS: &'static [&'static str] = &[$(stringify!($name)),+];

        fn field(&self, index: usize) -> f64 {
            [$(self.$name),+][index]
        }

        fn from_fields(field: impl Fn(usize) -> f64) -> Self {
            let mut fields = (0..Self::FIELDS.len()).map(field);
            Self { $($name: fields.next().unwrap_or_default()),+ }
        }
    };
}

/// For rms and energy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Power {
    n: f64,
    squares: f64,
}

impl Running for Power {
    fields!(n, squares);

    fn add(&mut self, x: f64) {
        self.n += 1.0;
        self.squares += x * x;
    }

    fn merge(&mut self, later: &Self) {
        self.n += later.n;
        self.squares += later.squares;
    }
}

impl Power {
    /// As [`super::rms`].
    pub fn rms(&self) -> Option<f64> {
        finite((self.squares / self.n).sqrt())
    }

    /// As [`super::abs_energy`].
    pub fn abs_energy(&self) -> Option<f64> {
        if self.n > 0.0 { finite(self.squares) } else { None }
    }
}

/// For the peak-to-peak value.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    least: f64,
    greatest: f64,
}

impl Default for Extent {
    fn default() -> Self {
        Self { least: f64::INFINITY, greatest: f64::NEG_INFINITY }
    }
}

impl Running for Extent {
    fields!(least, greatest);

    fn add(&mut self, x: f64) {
        self.least = self.least.min(x);
        self.greatest = self.greatest.max(x);
    }

    fn merge(&mut self, later: &Self) {
        self.least = self.least.min(later.least);
        self.greatest = self.greatest.max(later.greatest);
    }
}

impl Extent {
    /// As [`super::peak_to_peak`].
    pub fn peak_to_peak(&self) -> Option<f64> {
        finite(self.greatest - self.least)
    }
}

/// For crest, shape and impulse factor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Magnitudes {
    n: f64,
    peak: f64,
    sum: f64,
    squares: f64,
}

impl Running for Magnitudes {
    fields!(n, peak, sum, squares);

    fn add(&mut self, x: f64) {
        self.n += 1.0;
        self.peak = self.peak.max(x.abs());
        self.sum += x.abs();
        self.squares += x * x;
    }

    fn merge(&mut self, later: &Self) {
        self.n += later.n;
        self.peak = self.peak.max(later.peak);
        self.sum += later.sum;
        self.squares += later.squares;
    }
}

impl Magnitudes {
    /// As [`super::crest_factor`].
    pub fn crest_factor(&self) -> Option<f64> {
        ratio(self.peak, self.rms())
    }

    /// As [`super::shape_factor`].
    pub fn shape_factor(&self) -> Option<f64> {
        ratio(self.rms(), self.sum / self.n)
    }

    /// As [`super::impulse_factor`].
    pub fn impulse_factor(&self) -> Option<f64> {
        ratio(self.peak, self.sum / self.n)
    }

    fn rms(&self) -> f64 {
        (self.squares / self.n).sqrt()
    }
}

/// For the clearance factor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Roots {
    n: f64,
    peak: f64,
    roots: f64,
}

impl Running for Roots {
    fields!(n, peak, roots);

    fn add(&mut self, x: f64) {
        self.n += 1.0;
        self.peak = self.peak.max(x.abs());
        self.roots += x.abs().sqrt();
    }

    fn merge(&mut self, later: &Self) {
        self.n += later.n;
        self.peak = self.peak.max(later.peak);
        self.roots += later.roots;
    }
}

impl Roots {
    /// As [`super::clearance_factor`].
    pub fn clearance_factor(&self) -> Option<f64> {
        ratio(self.peak, (self.roots / self.n).powi(2))
    }
}

/// For variance and standard deviation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    n: f64,
    origin: f64,
    sum: f64,
    squares: f64,
    /// The number of samples at which the origin moves.
    moves_at: f64,
}

impl Running for Spread {
    fields!(n, origin, sum, squares, moves_at);

    fn add(&mut self, x: f64) {
        if self.n >= self.moves_at {
            self.move_origin(x);
        }
        let d = x - self.origin;
        self.n += 1.0;
        self.sum += d;
        self.squares += d * d;
    }

    fn merge(&mut self, later: &Self) {
        if self.n <= 0.0 {
            *self = *later;
        } else if later.n > 0.0 {
            let later = later.about(self.origin);
            self.squares += later.squares;
            self.sum += later.sum;
            self.n += later.n;
            self.move_origin(self.origin);
        }
    }
}

impl Spread {
    /// As [`super::variance`].
    pub fn variance(&self) -> Option<f64> {
        if self.n > 1.0 { ratio(self.central(), self.n - 1.0) } else { None }
    }

    /// As [`super::variance_pop`].
    pub fn variance_pop(&self) -> Option<f64> {
        ratio(self.central(), self.n)
    }

    /// As [`super::stddev`].
    pub fn stddev(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }

    /// As [`super::stddev_pop`].
    pub fn stddev_pop(&self) -> Option<f64> {
        self.variance_pop().map(f64::sqrt)
    }

    /// As [`super::pp`], of limits `[lsl, usl]`.
    pub fn pp(&self, limits: &[f64]) -> Option<f64> {
        width(limits[0], limits[1], self.stddev()?)
    }

    /// As [`super::ppk`], of limits `[lsl, usl]`.
    pub fn ppk(&self, limits: &[f64]) -> Option<f64> {
        distance(self.origin + self.sum / self.n, limits[0], limits[1], self.stddev()?)
    }

    /// `sum((x - mean)^2)`; rounding must not make it negative, and must not hide that it is NaN.
    fn central(&self) -> f64 {
        let central = self.squares - self.sum * (self.sum / self.n);
        if central < 0.0 { 0.0 } else { central }
    }

    /// The sums about another origin: those of `(d + h)^k`, by the binomial theorem.
    fn about(&self, origin: f64) -> Self {
        let h = self.origin - origin;
        Self {
            origin,
            sum: self.sum + h * self.n,
            squares: self.squares + h * (2.0 * self.sum + h * self.n),
            ..*self
        }
    }

    /// To the mean; to the `first` sample if there is none yet.
    #[cold]
    fn move_origin(&mut self, first: f64) {
        *self = if self.n <= 0.0 {
            Self { origin: first, ..*self }
        } else {
            self.about(self.origin + self.sum / self.n)
        };
        self.moves_at = 2.0 * self.n.max(1.0);
    }
}

/// For skewness and kurtosis.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    n: f64,
    origin: f64,
    sum: f64,
    squares: f64,
    cubes: f64,
    fourths: f64,
    /// The number of samples at which the origin moves.
    moves_at: f64,
}

impl Running for Shape {
    fields!(n, origin, sum, squares, cubes, fourths, moves_at);

    fn add(&mut self, x: f64) {
        if self.n >= self.moves_at {
            self.move_origin(x);
        }
        let d = x - self.origin;
        let square = d * d;
        self.n += 1.0;
        self.sum += d;
        self.squares += square;
        self.cubes += square * d;
        self.fourths += square * square;
    }

    fn merge(&mut self, later: &Self) {
        if self.n <= 0.0 {
            *self = *later;
        } else if later.n > 0.0 {
            let later = later.about(self.origin);
            self.fourths += later.fourths;
            self.cubes += later.cubes;
            self.squares += later.squares;
            self.sum += later.sum;
            self.n += later.n;
            self.move_origin(self.origin);
        }
    }
}

impl Shape {
    /// As [`super::skewness`].
    pub fn skewness(&self) -> Option<f64> {
        let central = self.central();
        skewness_of(self.n, central.origin, central.squares, central.cubes)
    }

    /// As [`super::kurtosis`].
    pub fn kurtosis(&self) -> Option<f64> {
        let central = self.central();
        kurtosis_of(self.n, central.origin, central.squares, central.fourths)
    }

    /// The sums about the mean; not about the nearest number to it, which would cost digits at a large level.
    fn central(&self) -> Self {
        let mean = self.sum / self.n;
        self.moved(self.origin + mean, -mean)
    }

    fn about(&self, origin: f64) -> Self {
        self.moved(origin, self.origin - origin)
    }

    /// The sums of `(d + h)^k`, by the binomial theorem.
    fn moved(&self, origin: f64, h: f64) -> Self {
        let n = self.n;
        let (s1, s2, s3) = (self.sum, self.squares, self.cubes);
        Self {
            origin,
            sum: s1 + h * n,
            squares: s2 + h * (2.0 * s1 + h * n),
            cubes: s3 + h * (3.0 * s2 + h * (3.0 * s1 + h * n)),
            fourths: self.fourths + h * (4.0 * s3 + h * (6.0 * s2 + h * (4.0 * s1 + h * n))),
            ..*self
        }
    }

    /// To the mean; to the `first` sample if there is none yet.
    #[cold]
    fn move_origin(&mut self, first: f64) {
        *self = if self.n <= 0.0 {
            Self { origin: first, ..*self }
        } else {
            self.about(self.origin + self.sum / self.n)
        };
        self.moves_at = 2.0 * self.n.max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn sums<S: Running>(samples: &[f64]) -> S {
        let mut sums = S::default();
        samples.iter().for_each(|x| sums.add(*x));
        sums
    }

    /// In one pass, and in three parts that went through columns.
    fn both<S: Running>(name: &str, finish: fn(&S) -> Option<f64>) {
        check(name, |x| finish(&sums(x)));
        check(name, |x| {
            let mut all = S::default();
            for part in [&x[..x.len() / 3], &x[x.len() / 3..x.len() / 2], &x[x.len() / 2..]] {
                let part = sums::<S>(part);
                all.merge(&S::from_fields(|i| part.field(i)));
            }
            finish(&all)
        });
    }

    #[test]
    fn running_sums_give_what_the_kernels_give() {
        both("rms", Power::rms);
        both("abs_energy", Power::abs_energy);
        both("peak_to_peak", Extent::peak_to_peak);
        both("crest_factor", Magnitudes::crest_factor);
        both("shape_factor", Magnitudes::shape_factor);
        both("impulse_factor", Magnitudes::impulse_factor);
        both("clearance_factor", Roots::clearance_factor);
        both("variance", Spread::variance);
        both("variance_pop", Spread::variance_pop);
        both("stddev", Spread::stddev);
        both("stddev_pop", Spread::stddev_pop);
        both("pp", |spread: &Spread| spread.pp(&[-4.0, 3.0]));
        both("ppk", |spread: &Spread| spread.ppk(&[-4.0, 3.0]));
        both("skewness", Shape::skewness);
        both("kurtosis", Shape::kurtosis);
    }

    #[test]
    fn an_outlier_as_the_first_sample_costs_no_digits() {
        let mut samples = vec![-1e6];
        samples.extend((0..9999).map(|i| 1e6 + f64::from(i % 7)));
        let shape = sums::<Shape>(&samples);
        assert_close(sums::<Spread>(&samples).variance(), super::super::variance(&samples));
        assert_close(shape.skewness(), super::super::skewness(&samples));
        assert_close(shape.kurtosis(), super::super::kurtosis(&samples));
    }
}
