//! Several forecasters, weighted by how well they have done on the same series.

use super::{Form, Method, forecast as forecast_by, number};

/// The weighted mean of seasonal naive and Theta of each season. A weight is one over the squared mean absolute error of the
/// forecasts of the last stretches of the history, each as long as the horizon and made from what was before it.
///
/// Source: Bates, Granger, "The combination of forecasts" (1969), weights by the inverse of the squared error.
///
/// # Errors
/// If the history is shorter than two of the longest season.
pub(super) fn forecast(
    seasons: &[usize],
    form: Form,
    backtests: usize,
    history: &[f64],
    horizon: usize,
) -> Result<Vec<f64>, String> {
    let members: Vec<Method> = seasons
        .iter()
        .flat_map(|&season| [Method::SeasonalNaive { season }, Method::Theta { season, form, alpha: None }])
        .collect();
    let weights = weights(&members, backtests, history, horizon);
    let mut values = vec![0.0; horizon];
    for (member, weight) in members.iter().zip(weights) {
        let forecast = forecast_by(member, history, horizon)?;
        values.iter_mut().zip(forecast).for_each(|(sum, value)| *sum += weight * value);
    }
    Ok(values)
}

/// The weight of each member; equal ones where the history is too short for any backtest.
fn weights(members: &[Method], backtests: usize, history: &[f64], horizon: usize) -> Vec<f64> {
    let mut errors = vec![0.0; members.len()];
    for backtest in 1..=backtests {
        let Some(end) = history.len().checked_sub(backtest * horizon) else { break };
        let (past, future) = (&history[..end], &history[end..end + horizon]);
        let found: Result<Vec<f64>, String> =
            members.iter().map(|member| Ok(error(&forecast_by(member, past, horizon)?, future))).collect();
        let Ok(found) = found else { break };
        errors.iter_mut().zip(found).for_each(|(sum, error)| *sum += error);
    }
    // A member without any error takes all the weight, and shares it with others like it.
    let least = 1e-9 * errors.iter().copied().fold(0.0, f64::max);
    let raw: Vec<f64> = errors.iter().map(|error| error.max(least).max(1e-100).powi(-2)).collect();
    let all: f64 = raw.iter().sum();
    raw.into_iter().map(|weight| weight / all).collect()
}

/// The mean absolute error.
fn error(forecast: &[f64], truth: &[f64]) -> f64 {
    forecast.iter().zip(truth).map(|(a, b)| (a - b).abs()).sum::<f64>() / number(truth.len())
}
