//! Simple exponential smoothing, and Theta.

use super::least::least;
use super::{Form, enough, number, seasonal};

/// Weights that are estimated stay within these.
pub(super) const BOUNDS: (f64, f64) = (1e-4, 0.9999);

/// The level after the last row, from the first value on, and the sum of the squared errors of each next row.
fn smooth(alpha: f64, values: &[f64]) -> (f64, f64) {
    let (mut level, mut squares) = (values[0], 0.0);
    for value in values {
        let error = value - level;
        squares += error * error;
        level += alpha * error;
    }
    (level, squares)
}

/// Theta: the mean of the line through the seasonally adjusted series and of the exponential smoothing of twice its distances from
/// that line, which is smoothing with half of the slope as drift.
///
/// Source: Assimakopoulos, Nikolopoulos, "The theta model", Int. J. Forecasting 16 (2000); Hyndman, Billah, "Unmasking the theta
/// method", ibid. 19 (2003); as `ThetaModel` of statsmodels.
///
/// # Errors
/// If there are fewer than two seasons, or three rows.
pub(super) fn theta(
    season: usize,
    form: Form,
    alpha: Option<f64>,
    history: &[f64],
    horizon: usize,
) -> Result<Vec<f64>, String> {
    enough(history, 3, "theta")?;
    let mut form = form.of(history);
    let mut parts = seasonal::parts(season, form, history)?;
    if form == Form::Multiplicative && parts.iter().any(|part| *part <= 0.0) {
        form = Form::Additive;
        parts = seasonal::parts(season, form, history)?;
    }
    let adjusted = history.iter().enumerate();
    let adjusted: Vec<f64> =
        adjusted.map(|(row, value)| seasonal::without(form, *value, parts[row % season])).collect();
    let bounds = alpha.map_or(BOUNDS, |alpha| (alpha, alpha));
    let [alpha] = least([bounds], |[alpha]| smooth(alpha, &adjusted).1);
    let level = smooth(alpha, &adjusted).0;
    let drift = slope(&adjusted) / 2.0;
    let n = history.len();
    let start = (1.0 - (1.0 - alpha).powf(number(n))) / alpha;
    let at = |step: usize| {
        seasonal::with(form, level + drift * (number(step) + start), parts[(n + step) % season])
    };
    Ok((0..horizon).map(at).collect())
}

/// The slope of the line of least squares over the rows.
fn slope(values: &[f64]) -> f64 {
    let middle = number(values.len() - 1) / 2.0;
    let (mut both, mut squares) = (0.0, 0.0);
    for (row, value) in values.iter().enumerate() {
        let x = number(row) - middle;
        both += x * value;
        squares += x * x;
    }
    both / squares
}
