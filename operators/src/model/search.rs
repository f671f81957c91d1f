//! Cross-validation, and the search for options by it. Every fit is a [`Run`] that is kept with the model.
//!
//! `search = 'halving'` goes in rounds (Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
//! optimization", AISTATS 2016): all trials see few of the rows, the best third of them three times as many, until all rows are seen.
//!
//! The rows that are held back for the metrics take no part. Folds follow the split of the model: blocks of time, of which
//! each is predicted by those before it; whole groups; or single rows by the seed.

use serde::{Deserialize, Serialize};

use super::evaluate::Outcome;
use super::split::{Order, folds};
use super::{Algorithm, Metric, Task, Training};

/// Options that are tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The options that differ between trials, as they are written.
    pub options: String,
    /// The algorithm with all its options.
    pub algorithm: Algorithm,
}

/// One fit of a cross-validation, or an epoch of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The options that differ between trials.
    pub options: String,
    /// The number of the trial, from 1.
    pub trial: usize,
    /// The number of the fold, from 1; 0 for the training of the model itself.
    pub fold: usize,
    /// The number of the epoch of a training, from 1; 0 for a whole fit.
    pub epoch: usize,
    /// Rows that were fitted.
    pub rows: usize,
    /// Rows that were predicted.
    pub test_rows: usize,
    /// Figures of these.
    pub metrics: Vec<Metric>,
}

impl Run {
    /// A trial that could not be fitted.
    fn without_rows(options: String, trial: usize) -> Self {
        Self { options, trial, fold: 1, epoch: 0, rows: 0, test_rows: 0, metrics: Vec::new() }
    }
}

/// The name of the figure that models are compared by.
pub(super) fn figure(task: Task) -> &'static str {
    if task == Task::Classification { "f1_macro" } else { "rmse" }
}

/// The figure that models are compared by; its sign is turned where less is better.
pub(super) fn rank(task: Task, metrics: &[Metric]) -> f64 {
    let sign = if task == Task::Classification { 1.0 } else { -1.0 };
    let found = metrics.iter().find(|metric| metric.name == figure(task) && metric.class.is_none());
    found.map_or(f64::NEG_INFINITY, |metric| sign * metric.value)
}

/// Fits each trial on each fold of `parts`, the training rows of each key. `fit` trains on rows and predicts others. Gives
/// the best trial and all runs; of equal trials the first one is taken.
///
/// # Errors
/// What `fit` says, if no trial can be fitted.
pub(crate) fn search(
    training: &Training,
    order: &Order,
    parts: &[Vec<usize>],
    labels: &[String],
    fit: impl Fn(&Training, &[usize], &[usize]) -> Result<Outcome, String>,
) -> Result<(Trial, Vec<Run>), String> {
    let mut runs = Vec::new();
    let mut left: Vec<(usize, Trial)> = training.trials().into_iter().enumerate().collect();
    let mut step = if training.halving { first_step(left.len(), parts) } else { 1 };
    loop {
        let mut ranked = Vec::with_capacity(left.len());
        let (mut refused, is_choice) = (None, left.len() > 1);
        for (number, trial) in left {
            match scored(training, order, parts, (number, &trial, step), labels, &fit, &mut runs) {
                Ok(score) => ranked.push((score, number, trial)),
                // One of several that cannot be fitted is out, such as more neighbours than the first round has rows.
                Err(reason) if is_choice => {
                    runs.push(Run::without_rows(trial.options, number + 1));
                    refused.get_or_insert(reason);
                }
                Err(reason) => return Err(reason),
            }
        }
        if let (true, Some(reason)) = (ranked.is_empty(), refused) {
            return Err(reason);
        }
        // Stable: of equal trials the first one stays first.
        ranked.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
        if step == 1 {
            let none = || "there is nothing to try".to_owned();
            return ranked.into_iter().next().map(|(_, _, trial)| (trial, runs)).ok_or_else(none);
        }
        ranked.truncate(ranked.len().div_ceil(KEPT));
        left = ranked.into_iter().map(|(_, number, trial)| (number, trial)).collect();
        step /= KEPT;
    }
}

/// Of the trials one in so many goes on to the next round, with so many times the rows.
const KEPT: usize = 3;
/// Fewer rows of a key than this say little about options.
const LEAST_ROWS: usize = 50;

/// Which rows the first round sees: each of so many, so that the trials are down to one when all rows are seen.
fn first_step(trials: usize, parts: &[Vec<usize>]) -> usize {
    let fewest = parts.iter().map(Vec::len).min().unwrap_or_default();
    let (mut step, mut left) = (1, trials);
    while left > 1 && fewest / (step * KEPT) >= LEAST_ROWS {
        step *= KEPT;
        left = left.div_ceil(KEPT);
    }
    step
}

/// The rank of a trial over all folds, trained on each `step`-th row. Adds its runs.
fn scored(
    training: &Training,
    order: &Order,
    parts: &[Vec<usize>],
    (number, trial, step): (usize, &Trial, usize),
    labels: &[String],
    fit: &impl Fn(&Training, &[usize], &[usize]) -> Result<Outcome, String>,
    runs: &mut Vec<Run>,
) -> Result<f64, String> {
    let candidate = Training { algorithm: trial.algorithm.clone(), ..training.clone() };
    let mut pooled: Option<Outcome> = None;
    for fold in 0..training.folds {
        let Some((outcome, rows, test_rows)) = one_fold(&candidate, order, parts, (fold, step), fit)? else {
            continue;
        };
        let metrics = outcome.metrics(labels);
        let options = trial.options.clone();
        let (trial, fold) = (number + 1, fold + 1);
        runs.push(Run { options, trial, fold, epoch: 0, rows, test_rows, metrics });
        match &mut pooled {
            Some(pooled) => pooled.extend(outcome),
            None => pooled = Some(outcome),
        }
    }
    let score = pooled.map(|pooled| rank(training.algorithm.task(), &pooled.metrics(labels)));
    Ok(score.filter(|score| !score.is_nan()).unwrap_or(f64::NEG_INFINITY))
}

/// One of `step` rows: of a series the last ones, since one with gaps is another.
fn some(training: &Training, order: &Order, rows: Vec<usize>, step: usize) -> Vec<usize> {
    if !matches!(training.algorithm, Algorithm::Forecast(_)) {
        return rows.into_iter().step_by(step).collect();
    }
    let rows = order.in_time(rows);
    rows[rows.len() - rows.len().div_ceil(step)..].to_vec()
}

/// The outcome of a fold over all keys, with the numbers of fitted and predicted rows; `None` if there is nothing to predict.
fn one_fold(
    training: &Training,
    order: &Order,
    parts: &[Vec<usize>],
    (fold, step): (usize, usize),
    fit: &impl Fn(&Training, &[usize], &[usize]) -> Result<Outcome, String>,
) -> Result<Option<(Outcome, usize, usize)>, String> {
    let mut found: Option<(Outcome, usize, usize)> = None;
    for part in parts {
        let (train, test) = folds(&training.split, order, part, training.folds, fold, training.seed);
        let train = some(training, order, train, step);
        if train.is_empty() || test.is_empty() {
            continue;
        }
        let outcome =
            fit(training, &train, &test).map_err(|reason| format!("fold {}: {reason}", fold + 1))?;
        found = Some(match found {
            Some((mut all, rows, test_rows)) => {
                all.extend(outcome);
                (all, rows + train.len(), test_rows + test.len())
            }
            None => (outcome, train.len(), test.len()),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_shortened_and_not_thinned() {
        let training = |algorithm: &str| {
            let options = [("algorithm", algorithm), ("target", "y")];
            let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Training::from_options("m", &options.into_iter().collect()).unwrap()
        };
        let order = Order::Times(vec![6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
        let rows: Vec<usize> = (0..7).collect();
        assert_eq!(some(&training("theta"), &order, rows.clone(), 3), [2, 1, 0]);
        assert_eq!(some(&training("theta"), &order, rows.clone(), 1), [6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(some(&training("ridge"), &order, rows, 3), [0, 3, 6]);
    }
}
