//! Demand that is mostly zero: its size, and how often there is one, are smoothed apart.

use super::least::least;
use super::smoothing::BOUNDS;

fn bounds(given: Option<f64>) -> (f64, f64) {
    given.map_or(BOUNDS, |value| (value, value))
}

/// The first row with a demand, and how much it is.
fn first_demand(history: &[f64]) -> Result<(usize, f64), String> {
    if history.iter().any(|value| *value < 0.0) {
        return Err("a demand is below zero; croston and tsb are for demand".to_owned());
    }
    let first = history.iter().enumerate().find(|(_, value)| **value > 0.0);
    first.map(|(row, size)| (row, *size)).ok_or_else(|| "there is no row with a demand".to_owned())
}

/// Size over interval, both smoothed at rows with a demand; with the correction times `1 - alpha / 2`.
///
/// Source: Croston, "Forecasting and stock control for intermittent demands" (1972); Syntetos, Boylan, "The accuracy of
/// intermittent demand estimates" (2005) for the correction.
///
/// # Errors
/// If there is no demand, or one below zero.
pub(super) fn croston(
    alpha: Option<f64>,
    is_corrected: bool,
    history: &[f64],
    horizon: usize,
) -> Result<Vec<f64>, String> {
    let first = first_demand(history)?;
    let factor = |alpha: f64| if is_corrected { 1.0 - alpha / 2.0 } else { 1.0 };
    let run = |alpha: f64| {
        let (row, mut size) = first;
        let mut interval = super::number(row + 1);
        let (mut since, mut squares) = (1.0, 0.0);
        for value in &history[row + 1..] {
            let error = value - factor(alpha) * size / interval;
            squares += error * error;
            if *value > 0.0 {
                size += alpha * (value - size);
                interval += alpha * (since - interval);
                since = 1.0;
            } else {
                since += 1.0;
            }
        }
        (factor(alpha) * size / interval, squares)
    };
    let [alpha] = least([bounds(alpha)], |[alpha]| run(alpha).1);
    Ok(vec![run(alpha).0; horizon])
}

/// Size, smoothed at rows with a demand, times its probability, smoothed at each row: it falls while there is none.
///
/// Source: Teunter, Syntetos, Babai, "Intermittent demand: linking forecasting to inventory obsolescence" (2011).
///
/// # Errors
/// If there is no demand, or one below zero.
pub(super) fn tsb(
    alpha: Option<f64>,
    beta: Option<f64>,
    history: &[f64],
    horizon: usize,
) -> Result<Vec<f64>, String> {
    let first = first_demand(history)?;
    let run = |alpha: f64, beta: f64| {
        let (row, mut size) = first;
        let mut probability = 1.0 / super::number(row + 1);
        let mut squares = 0.0;
        for value in &history[row + 1..] {
            let error = value - probability * size;
            squares += error * error;
            let has_demand = *value > 0.0;
            probability += beta * (f64::from(u8::from(has_demand)) - probability);
            if has_demand {
                size += alpha * (value - size);
            }
        }
        (probability * size, squares)
    };
    let [alpha, beta] = least([bounds(alpha), bounds(beta)], |[alpha, beta]| run(alpha, beta).1);
    Ok(vec![run(alpha, beta).0; horizon])
}
