//! Forecasters: the next values of a series from its own past.
//!
//! ```text
//! seasonal.rs      classical decomposition: the part of each place in the season
//! smoothing.rs     simple exponential smoothing, and Theta on it
//! holt_winters.rs  level, trend and season, each smoothed
//! intermittent.rs  Croston and TSB: demand that is mostly zero
//! combination.rs   several of them, weighted by how well they have done
//! least.rs         parameters that make a sum of squares least
//! ```
//!
//! A fitted forecaster is the list of its forecasts: the feature of a row is `step`, the number of rows after the last one of the
//! training. A forecast is never below zero where the history never is.

mod combination;
mod holt_winters;
mod intermittent;
mod least;
mod options;
mod seasonal;
mod smoothing;

use serde::{Deserialize, Serialize};

pub use options::{ForecastOptions, Form, Method, Trend};
pub(crate) use options::{NAMES, read};

use super::{Features, Fitted, Model, Task};

/// The name of the one feature of a forecaster.
pub(crate) const STEP: &str = "step";

/// The forecasts of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// From the first row after the training on.
    values: Vec<f64>,
}

impl Model for Forecast {
    fn task(&self) -> Task {
        Task::Regression
    }

    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        let steps = features.columns()[0];
        steps.iter().map(|step| self.at(*step).unwrap_or(f64::NAN)).collect()
    }
}

impl Forecast {
    /// The forecast of a step; `None` if it is no whole number from 1 to the horizon.
    fn at(&self, step: f64) -> Option<f64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
        let place = (step as usize).checked_sub(1).filter(|_| step.fract() == 0.0);
        self.values.get(place?).copied()
    }
}

/// Forecasts the values after `history`.
///
/// # Errors
/// If there are too few values for the method.
pub(crate) fn fit(options: &ForecastOptions, history: &[f64]) -> Result<Fitted, String> {
    let values = forecast(&options.method, history, options.horizon)?;
    Ok(Fitted::Forecast(Forecast { values }))
}

fn forecast(method: &Method, history: &[f64], horizon: usize) -> Result<Vec<f64>, String> {
    if history.is_empty() {
        return Err("there are no values to forecast from".to_owned());
    }
    let mut values = match method {
        Method::SeasonalNaive { season } => seasonal_naive(*season, history, horizon)?,
        Method::Theta { season, form, alpha } => smoothing::theta(*season, *form, *alpha, history, horizon)?,
        Method::HoltWinters(options) => holt_winters::forecast(options, history, horizon)?,
        Method::Croston { alpha, is_corrected } => {
            intermittent::croston(*alpha, *is_corrected, history, horizon)?
        }
        Method::Tsb { alpha, beta } => intermittent::tsb(*alpha, *beta, history, horizon)?,
        Method::Combination { seasons, form, backtests } => {
            combination::forecast(seasons, *form, *backtests, history, horizon)?
        }
    };
    if history.iter().all(|value| *value >= 0.0) {
        values.iter_mut().for_each(|value| *value = value.max(0.0));
    }
    Ok(values)
}

/// The values of the last season again and again.
fn seasonal_naive(season: usize, history: &[f64], horizon: usize) -> Result<Vec<f64>, String> {
    enough(history, season, "the last season")?;
    let last = &history[history.len() - season..];
    Ok((0..horizon).map(|step| last[step % season]).collect())
}

fn enough(history: &[f64], needed: usize, what: &str) -> Result<(), String> {
    if history.len() >= needed {
        return Ok(());
    }
    Err(format!(
        "{what} needs {needed} rows, found {}; give a longer history or a shorter season",
        history.len()
    ))
}

#[expect(clippy::cast_precision_loss, reason = "nothing counts to 2^53")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
