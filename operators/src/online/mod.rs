//! Functions that go from row to row: each row's value is made of what is remembered of the rows before it.
//!
//! ```text
//! average.rs      ewma, zscore, standard_scale, minmax_scale and both frozen
//! change.rs       derivative, rate_of_change, deadband, stuck, state_duration
//! median.rs       moving_median, hampel
//! butterworth.rs  lowpass, highpass, bandpass        savgol.rs  kalman.rs  smoothing
//! chart.rs        cusum, ewma_chart                   rules.rs   the rules of Western Electric and of Nelson
//! subgroups.rs    xbar_chart, range_chart, p_chart, u_chart
//! quantile.rs     running_quantile                    novelty.rs  novelty, holdoff
//! adwin.rs  kswin.rs  page_hinkley.rs  ddm.rs  detectors of drift
//! regression.rs   rls, sgd_regression, sgd_classification
//! hoeffding_tree.rs  hoeffding_tree              hoeffding_regressor.rs, split_values.rs  hoeffding_regression
//! running_pca.rs  running_pca_t2, running_pca_spe
//! half_space.rs   half_space_trees                    conformal.rs  conformal, adaptive_conformal
//! inputs.rs       the arguments as columns
//! ```
//!
//! [`Online`] is one of them with what it remembers of one key. `OVER` keeps one per key, batch execution one per partition:
//! the same rows in the same order give the same bits in both.
//!
//! - **NULL, NaN and infinity are no samples**: such a row is NULL and changes nothing. What learns to predict y takes a row without
//!   y, too: it is predicted, and nothing is learned.
//! - **No wrong number**: with too few rows, or where the result is not finite, a row is NULL.
//! - Memory and time per row do not grow with the number of rows; a row allocates nothing once a window is full.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

mod adwin;
mod average;
mod butterworth;
mod change;
mod chart;
mod conformal;
mod ddm;
mod half_space;
mod hoeffding_regressor;
mod hoeffding_tree;
mod inputs;
mod kalman;
mod kswin;
mod median;
mod novelty;
mod page_hinkley;
mod quantile;
mod regression;
mod rules;
mod running_pca;
mod savgol;
mod split_values;
mod subgroups;
#[cfg(test)]
mod testing;

pub use adwin::{Adwin, Gives};
pub use average::{Ewma, FrozenScale, MinMaxScale, Scale, StandardScale, ZScore};
pub use butterworth::Butterworth;
pub use change::{Deadband, Derivative, RateOfChange, StateDuration, Stuck};
pub use chart::{Cusum, EwmaChart, Side};
pub use conformal::Conformal;
pub use ddm::Ddm;
pub use half_space::HalfSpaceTrees;
pub use hoeffding_regressor::HoeffdingRegressor;
pub use hoeffding_tree::{HoeffdingOptions, HoeffdingTree};
pub use inputs::Inputs;
pub use kalman::Kalman;
pub use kswin::Kswin;
pub use median::{Hampel, MAX_WINDOW, MovingMedian};
pub use novelty::{Holdoff, Novelty};
pub use page_hinkley::PageHinkley;
pub use quantile::RunningQuantile;
pub use regression::{Loss, RecursiveLeastSquares, Replay, Sgd};
pub use rules::{Nelson, WesternElectric};
pub use running_pca::{PcaFigure, RunningPca};
pub use savgol::SavitzkyGolay;
pub use subgroups::{Charted, SubgroupChart};

/// What a function makes of the next row.
trait Step {
    /// The value of a row; `x` are its inputs, all finite, `time` is in microseconds, or 0 if the function takes none.
    fn step(&mut self, x: &[f64], time: i64) -> Option<f64>;

    /// Adds the values of rows with one input each, NaN for none: those of [`Online::next`], but what is remembered stays in
    /// registers from row to row.
    fn run(&mut self, x: &[f64], values: &mut Vec<f64>) {
        values.extend(x.iter().map(|x| match x.is_finite() {
            true => number_or_nan(self.step(std::slice::from_ref(x), 0)),
            false => f64::NAN,
        }));
    }
}

/// NaN if there is no number, or one that is not finite.
#[inline]
fn number_or_nan(value: Option<f64>) -> f64 {
    value.filter(|value| value.is_finite()).unwrap_or(f64::NAN)
}

/// The functions as one type, so that what they remember can be written down.
macro_rules! functions {
    ($($name:ident),+ $(,)?) => {
        /// A function, and what it remembers of the rows of one key.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Online {
            $(#[doc = concat!("See [`struct@", stringify!($name), "`].")] $name($name)),+
        }

        $(impl From<$name> for Online {
            fn from(function: $name) -> Self {
                Self::$name(function)
            }
        })+

        impl Online {
            fn step(&mut self, x: &[f64], time: i64) -> Option<f64> {
                match self {
                    $(Self::$name(function) => function.step(x, time)),+
                }
            }

            fn run_step(&mut self, x: &[f64], values: &mut Vec<f64>) {
                match self {
                    $(Self::$name(function) => function.run(x, values)),+
                }
            }
        }
    };
}

// The place of a function is its number in checkpoints: new ones come last.
functions! {
    Adwin, Butterworth, Conformal, Cusum, Deadband, Derivative, Ewma, EwmaChart, HalfSpaceTrees, Hampel, HoeffdingTree, Holdoff, Kalman, Kswin, MinMaxScale,
    MovingMedian, Nelson, Novelty, PageHinkley, RateOfChange, RecursiveLeastSquares, RunningQuantile, SavitzkyGolay, Sgd, StandardScale, Stuck,
    WesternElectric, ZScore, FrozenScale, Ddm, HoeffdingRegressor, StateDuration, SubgroupChart, RunningPca,
}

impl Online {
    /// The value of the next row.
    pub fn next(&mut self, x: &[f64], time: i64) -> Option<f64> {
        let needed = if self.learns() { x.get(1..)? } else { x };
        let is_complete = needed.iter().fold(true, |all, x| all & x.is_finite());
        if is_complete { self.step(x, time).filter(|y| y.is_finite()) } else { None }
    }

    /// Adds the values of the next rows, which have one argument and no time, to `values`: those of [`Online::next`], NaN for none.
    pub fn extend(&mut self, x: &[f64], values: &mut Vec<f64>) {
        if self.learns() {
            values.extend(x.iter().map(|x| number_or_nan(self.next(std::slice::from_ref(x), 0))));
        } else {
            self.run_step(x, values);
        }
    }

    /// True if the first argument is what it learns, which need not be known.
    pub fn learns(&self) -> bool {
        matches!(
            self,
            Self::Conformal(_)
                | Self::HoeffdingRegressor(_)
                | Self::HoeffdingTree(_)
                | Self::RecursiveLeastSquares(_)
                | Self::Sgd(_)
        )
    }

    /// The type of its values.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::WesternElectric(_) | Self::Nelson(_) => DataType::Int64,
            Self::Stuck(_) | Self::Ddm(_) | Self::Kswin(_) | Self::PageHinkley(_) => DataType::Boolean,
            Self::Adwin(adwin) if adwin.gives() == Gives::Drift => DataType::Boolean,
            _ => DataType::Float64,
        }
    }

    /// Values as a column of that type; NaN is NULL.
    pub fn column(&self, mut values: Vec<f64>) -> ArrayRef {
        let is_number =
            |values: &[f64]| BooleanBuffer::collect_bool(values.len(), |row| !values[row].is_nan());
        let nulls = values.iter().any(|value| value.is_nan()).then(|| NullBuffer::new(is_number(&values)));
        values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
        match self.data_type() {
            DataType::Int64 => Arc::new(Int64Array::new(values.into_iter().map(whole).collect(), nulls)),
            DataType::Boolean => {
                let is_above = BooleanBuffer::collect_bool(values.len(), |row| values[row] > 0.0);
                Arc::new(BooleanArray::new(is_above, nulls))
            }
            _ => Arc::new(Float64Array::new(values.into(), nulls)),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the number of a rule")]
fn whole(number: f64) -> i64 {
    number as i64
}

const MICROS_PER_SECOND: f64 = 1e6;

/// A span of time in microseconds as a number.
#[expect(clippy::cast_precision_loss, reason = "a microsecond of 285 years is within 2^53")]
fn micros(span: i64) -> f64 {
    span as f64
}

/// A count as a number.
#[expect(clippy::cast_precision_loss, reason = "nothing counts to 2^53")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_a_number_changes_nothing() {
        let mut function = Online::from(Kalman::new(1.0, 1.0).unwrap());
        let mut untouched = function.clone();
        function.next(&[1.0], 0);
        untouched.next(&[1.0], 0);
        for x in [f64::NAN, f64::INFINITY] {
            assert_eq!(function.next(&[x], 0), None);
        }
        assert_eq!(function, untouched);
    }
}
