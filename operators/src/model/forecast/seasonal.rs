//! Classical decomposition: what each place in the season adds to a series, or multiplies it by.

use super::{Form, enough, number};

/// The part of each place in the season, from the first row on.
///
/// The trend is the mean of a season around a row (the two rows at the ends of an even one count half), the part of a place the
/// mean of what is left there, and all parts sum to 0, or have the mean 1. As `seasonal_decompose` of statsmodels.
///
/// # Errors
/// If there are fewer than two seasons.
pub(super) fn parts(season: usize, form: Form, history: &[f64]) -> Result<Vec<f64>, String> {
    if season == 1 {
        return Ok(vec![identity(form)]);
    }
    enough(history, 2 * season, &format!("a season of {season} rows"))?;
    let half = season / 2;
    let (mut sums, mut counts) = (vec![0.0; season], vec![0.0; season]);
    for row in half..history.len() - half {
        let trend = centred_mean(history, row, season);
        sums[row % season] += without(form, history[row], trend);
        counts[row % season] += 1.0;
    }
    let mut parts: Vec<f64> = sums.iter().zip(&counts).map(|(sum, count)| sum / count).collect();
    let mean = parts.iter().sum::<f64>() / number(season);
    parts.iter_mut().for_each(|part| *part = without(form, *part, mean));
    Ok(parts)
}

/// The mean of a season around a row.
pub(super) fn centred_mean(history: &[f64], row: usize, season: usize) -> f64 {
    let half = season / 2;
    let all: f64 = history[row - half..=row + half].iter().sum();
    let ends =
        if season.is_multiple_of(2) { f64::midpoint(history[row - half], history[row + half]) } else { 0.0 };
    (all - ends) / number(season)
}

fn identity(form: Form) -> f64 {
    match form {
        Form::Additive => 0.0,
        Form::Multiplicative => 1.0,
    }
}

/// A value without a part of it.
pub(super) fn without(form: Form, value: f64, part: f64) -> f64 {
    match form {
        Form::Additive => value - part,
        Form::Multiplicative => value / part,
    }
}

/// A value with a part added or multiplied.
pub(super) fn with(form: Form, value: f64, part: f64) -> f64 {
    match form {
        Form::Additive => value + part,
        Form::Multiplicative => value * part,
    }
}
