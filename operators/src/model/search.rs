//! Cross-validation, and the search for options by it. Every fit is a [`Run`] that is kept with the model.
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
/// What `fit` says.
pub(crate) fn search(
    training: &Training,
    order: &Order,
    parts: &[Vec<usize>],
    labels: &[String],
    fit: impl Fn(&Training, &[usize], &[usize]) -> Result<Outcome, String>,
) -> Result<(Trial, Vec<Run>), String> {
    let mut runs = Vec::new();
    let mut best: Option<(f64, Trial)> = None;
    for (number, trial) in training.trials().into_iter().enumerate() {
        let candidate = Training { algorithm: trial.algorithm.clone(), ..training.clone() };
        let mut pooled: Option<Outcome> = None;
        for fold in 0..training.folds {
            let Some((outcome, rows, test_rows)) = one_fold(&candidate, order, parts, fold, &fit)? else {
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
        let score = pooled
            .map_or(f64::NEG_INFINITY, |pooled| rank(training.algorithm.task(), &pooled.metrics(labels)));
        if best.as_ref().is_none_or(|(most, _)| score > *most) {
            best = Some((score, trial));
        }
    }
    let none = || "there is nothing to try".to_owned();
    best.map(|(_, trial)| (trial, runs)).ok_or_else(none)
}

/// The outcome of a fold over all keys, with the numbers of fitted and predicted rows; `None` if there is nothing to predict.
fn one_fold(
    training: &Training,
    order: &Order,
    parts: &[Vec<usize>],
    fold: usize,
    fit: &impl Fn(&Training, &[usize], &[usize]) -> Result<Outcome, String>,
) -> Result<Option<(Outcome, usize, usize)>, String> {
    let mut found: Option<(Outcome, usize, usize)> = None;
    for part in parts {
        let (train, test) = folds(&training.split, order, part, training.folds, fold, training.seed);
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
