//! Holt-Winters: level, trend and season, each smoothed.

use serde::{Deserialize, Serialize};

use super::least::least;
use super::smoothing::BOUNDS;
use super::{Form, Trend, enough, number, seasonal};

/// Options of Holt-Winters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoltWinters {
    /// Rows of a season; 1 for none.
    pub season: usize,
    /// How the season acts.
    pub form: Form,
    /// How the level goes on; damped if not given.
    pub trend: Trend,
    /// The weight of a new level; estimated if not given, as the others are.
    pub alpha: Option<f64>,
    /// The weight of a new trend.
    pub beta: Option<f64>,
    /// The weight of a new part of the season.
    pub gamma: Option<f64>,
    /// What is left of the trend after a row.
    pub phi: Option<f64>,
}

/// Rows that the first level and trend are taken from.
const FIRST: usize = 10;
/// A trend that is damped more is hardly one, and less hardly damped (Hyndman, Athanasopoulos, "Forecasting: principles and
/// practice", 3rd ed., 8.2).
const DAMPING: (f64, f64) = (0.8, 0.98);

#[derive(Clone, Debug)]
struct State {
    level: f64,
    trend: f64,
    parts: Vec<f64>,
}

/// The smoothing of the whole history with parameters that make the squared errors least.
///
/// Source: Holt (1957), Winters (1960), Gardner, McKenzie (1985) for the damped trend; first values as Hyndman et al.,
/// "Forecasting with exponential smoothing" (2008), 2.6.1, and `ExponentialSmoothing` of statsmodels with `heuristic`.
///
/// # Errors
/// If there are too few rows for the first values.
pub(super) fn forecast(options: &HoltWinters, history: &[f64], horizon: usize) -> Result<Vec<f64>, String> {
    let form = options.form.of(history);
    let start = start(options, form, history)?;
    let fixed = |given: Option<f64>, bounds| given.map_or(bounds, |value| (value, value));
    let beta = if options.trend == Trend::None { (0.0, 0.0) } else { fixed(options.beta, BOUNDS) };
    let gamma = if options.season == 1 { (0.0, 0.0) } else { fixed(options.gamma, BOUNDS) };
    let phi = match options.trend {
        Trend::None => (0.0, 0.0),
        Trend::Linear => (1.0, 1.0),
        Trend::Damped => fixed(options.phi, DAMPING),
    };
    let bounds = [fixed(options.alpha, BOUNDS), beta, gamma, phi];
    let parameters = least(bounds, |parameters| smooth(parameters, form, &mut start.clone(), history));
    let mut state = start;
    smooth(parameters, form, &mut state, history);
    let (mut trend, mut damping) = (0.0, 1.0);
    let step = |step| {
        damping *= parameters[3];
        trend += damping * state.trend;
        let part = state.parts[(history.len() + step) % state.parts.len()];
        seasonal::with(form, state.level + trend, part)
    };
    Ok((0..horizon).map(step).collect())
}

/// Goes through the history; the sum of the squared errors of each next row.
fn smooth([alpha, beta, gamma, phi]: [f64; 4], form: Form, state: &mut State, history: &[f64]) -> f64 {
    let season = state.parts.len();
    let mut squares = 0.0;
    for (row, value) in history.iter().enumerate() {
        let part = &mut state.parts[row % season];
        let expected = state.level + phi * state.trend;
        let error = value - seasonal::with(form, expected, *part);
        squares += error * error;
        let level = alpha * seasonal::without(form, *value, *part) + (1.0 - alpha) * expected;
        state.trend = beta * (level - state.level) + (1.0 - beta) * phi * state.trend;
        state.level = level;
        if gamma > 0.0 {
            *part = gamma * seasonal::without(form, *value, expected) + (1.0 - gamma) * *part;
        }
    }
    squares
}

/// The state before the first row: parts of the season from the first seasons, up to five, then a line through ten values of the
/// trend.
fn start(options: &HoltWinters, form: Form, history: &[f64]) -> Result<State, String> {
    let season = options.season;
    if season == 1 {
        enough(history, FIRST, "holt_winters")?;
        let (level, trend) = line(&history[..FIRST], options.trend);
        let neutral = if form == Form::Additive { 0.0 } else { 1.0 };
        return Ok(State { level, trend, parts: vec![neutral] });
    }
    let needed = FIRST + 2 * (season / 2);
    enough(history, needed.max(2 * season), &format!("holt_winters with a season of {season} rows"))?;
    let seasons = (history.len() / season).min(5).max(needed.div_ceil(season));
    let first = &history[..history.len().min(seasons * season)];
    let half = season / 2;
    let trend: Vec<f64> =
        (half..first.len() - half).map(|row| seasonal::centred_mean(first, row, season)).collect();
    let parts = seasonal::parts(season, form, first)?;
    let (level, trend) = line(&trend[..FIRST], options.trend);
    Ok(State { level, trend, parts })
}

/// Level before the first of some values, and slope, by least squares.
fn line(values: &[f64], trend: Trend) -> (f64, f64) {
    let middle = number(values.len() + 1) / 2.0;
    let mean = values.iter().sum::<f64>() / number(values.len());
    let (mut both, mut squares) = (0.0, 0.0);
    for (row, value) in values.iter().enumerate() {
        let x = number(row + 1) - middle;
        both += x * value;
        squares += x * x;
    }
    let slope = both / squares;
    (mean - slope * middle, if trend == Trend::None { 0.0 } else { slope })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{expected, series};
    use super::*;

    #[test]
    fn the_search_is_as_good_as_that_of_statsmodels() {
        let (alpha, beta, gamma, phi) = (None, None, None, None);
        let (form, trend) = (Form::Additive, Trend::Damped);
        let options = HoltWinters { season: 12, form, trend, alpha, beta, gamma, phi };
        let start = start(&options, form, &series()).unwrap();
        let squares = |parameters| smooth(parameters, form, &mut start.clone(), &series());
        let found = least([BOUNDS, BOUNDS, BOUNDS, DAMPING], squares);
        assert!(squares(found) <= expected("sse_damped_add")[0] * 1.001, "{found:?}: {}", squares(found));
    }
}
