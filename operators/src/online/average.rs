//! Exponential average and running scales.

use serde::{Deserialize, Serialize};

use super::{Step, micros};

/// The exponentially weighted average: `sum(w_i * x_i) / sum(w_i)` with `w_i = 0.5^(age_i / half_life)`, where the age of a
/// row is in rows or in time. It has no start value, so the first rows count in full.
///
/// Source: pandas, `ewm(halflife, adjust=True)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ewma {
    half_life: f64,
    in_time: bool,
    sum: f64,
    weights: f64,
    /// The time of the last row.
    last: Option<i64>,
}

impl Ewma {
    /// With a half-life above 0, in microseconds if it is `in_time`, else in rows.
    pub fn new(half_life: f64, in_time: bool) -> Option<Self> {
        let is_life = half_life > 0.0 && half_life.is_finite();
        is_life.then_some(Self { half_life, in_time, sum: 0.0, weights: 0.0, last: None })
    }
}

impl Step for Ewma {
    fn step(&mut self, x: &[f64], time: i64) -> Option<f64> {
        let age = match self.last {
            // Rows may be sorted from the newest on.
            Some(last) if self.in_time => micros(time - last).abs(),
            _ => 1.0,
        };
        let decay = (-age / self.half_life).exp2();
        self.last = Some(time);
        self.sum = self.sum * decay + x[0];
        self.weights = self.weights * decay + 1.0;
        Some(self.sum / self.weights)
    }
}

/// Mean and squared distances of the rows so far (Welford 1962, "Note on a method for calculating corrected sums of squares
/// and products").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, x: f64) {
        self.n += 1.0;
        let distance = x - self.mean;
        // The division does not wait for the mean before: rows that follow each other overlap.
        self.mean += distance * (1.0 / self.n);
        self.squares += distance * (x - self.mean);
    }
}

/// `(x - mean) / stddev` with mean and standard deviation (of a sample) of the rows before: an outlier does not hide itself.
/// `None` for the first two rows, and where those before are constant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ZScore {
    before: Moments,
}

impl Step for ZScore {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        let Moments { n, mean, squares } = self.before;
        self.before.add(x[0]);
        let spread = (squares / (n - 1.0)).sqrt();
        (n > 1.0 && spread > 0.0).then(|| (x[0] - mean) / spread)
    }
}

/// `(x - mean) / stddev_pop` of the rows so far, this one included, as scikit-learn's `StandardScaler` with `partial_fit`.
/// `None` while they are constant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StandardScale {
    so_far: Moments,
}

impl Step for StandardScale {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        self.so_far.add(x[0]);
        let Moments { n, mean, squares } = self.so_far;
        (squares > 0.0).then(|| (x[0] - mean) / (squares / n).sqrt())
    }
}

/// `(x - min) / (max - min)` of the rows so far, this one included. `None` while they are constant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MinMaxScale {
    extent: Option<(f64, f64)>,
}

impl Step for MinMaxScale {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        let (least, greatest) = self.extent.unwrap_or((x[0], x[0]));
        let (least, greatest) = (least.min(x[0]), greatest.max(x[0]));
        self.extent = Some((least, greatest));
        (least < greatest).then(|| (x[0] - least) / (greatest - least))
    }
}

/// Which scale a [`FrozenScale`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    /// `(x - mean) / stddev_pop`.
    Standard,
    /// `(x - min) / (max - min)`.
    MinMax,
}

/// A scale of the first rows that stays as it is: what comes later is measured by what was normal then. `None` for those rows
/// themselves, and if they are constant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrozenScale {
    scale: Scale,
    rows: f64,
    moments: Moments,
    extent: (f64, f64),
}

impl FrozenScale {
    /// By the first `rows`, at least 2.
    pub fn new(scale: Scale, rows: usize) -> Option<Self> {
        let (moments, extent) = (Moments::default(), (f64::INFINITY, f64::NEG_INFINITY));
        (rows >= 2).then(|| Self { scale, rows: super::number(rows), moments, extent })
    }
}

impl Step for FrozenScale {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        if self.moments.n < self.rows {
            self.moments.add(x[0]);
            self.extent = (self.extent.0.min(x[0]), self.extent.1.max(x[0]));
            return None;
        }
        let (Moments { n, mean, squares }, (least, greatest)) = (&self.moments, self.extent);
        match self.scale {
            _ if least >= greatest => None,
            Scale::Standard => Some((x[0] - mean) / (squares / n).sqrt()),
            Scale::MinMax => Some((x[0] - least) / (greatest - least)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn averages_and_scales_are_those_of_pandas_and_numpy() {
        check("ewma_rows", &Ewma::new(3.0, false).unwrap().into());
        check("ewma_time", &Ewma::new(250_000.0, true).unwrap().into());
        check("zscore", &ZScore::default().into());
        check("standard_scale", &StandardScale::default().into());
        check("minmax_scale", &MinMaxScale::default().into());
        check("standard_scale_frozen", &FrozenScale::new(Scale::Standard, 40).unwrap().into());
        check("minmax_scale_frozen", &FrozenScale::new(Scale::MinMax, 40).unwrap().into());
    }

    #[test]
    fn a_half_life_that_is_none_is_refused() {
        for half_life in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Ewma::new(half_life, false), None);
        }
    }
}
