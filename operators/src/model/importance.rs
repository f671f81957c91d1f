//! How much a model needs each feature: by how much its figure gets worse when the feature is shuffled among the held-back rows.
//!
//! - Source: Breiman, "Random forests", Machine Learning 45 (2001), 10; as scikit-learn's `permutation_importance`.
//! - Features that say the same share what they say: each of them looks less important than both are.

use serde::{Deserialize, Serialize};

use super::evaluate::Outcome;
use super::matrix::gather;
use super::random::Random;
use super::search::{figure, rank};
use super::target::Target;
use super::{Algorithm, Fitted, Task, Training};

/// How often each feature is shuffled.
const REPEATS: usize = 5;
/// More held-back rows than this are thinned out: they tell nothing more, and take time.
const MOST_ROWS: usize = 2_000;

/// What a feature is worth to a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The feature.
    pub feature: String,
    /// The figure that gets worse without it.
    pub metric: String,
    /// By how much, in the unit of the figure: the mean over the shuffles. Below zero it does better without.
    pub value: f64,
    /// The standard deviation over the shuffles.
    pub deviation: f64,
}

/// A fitted model with rows that it has not seen.
pub(super) struct Tested<'a> {
    pub(super) model: &'a Fitted,
    pub(super) rows: Vec<usize>,
}

/// The worth of each feature, in their order; empty for models without a target or without held-back rows, and for
/// forecasters, which have no features but the step.
pub(super) fn importances(
    training: &Training,
    features: &[String],
    columns: &[Vec<f64>],
    target: &Target,
    tested: &[Tested<'_>],
) -> Vec<Importance> {
    let task = training.algorithm.task();
    let has_features = !matches!(training.algorithm, Algorithm::Forecast(_));
    let is_supervised = matches!(task, Task::Classification | Task::Regression);
    if !has_features || !is_supervised || tested.iter().all(|it| it.rows.is_empty()) {
        return Vec::new();
    }
    let all: usize = tested.iter().map(|it| it.rows.len()).sum();
    let step = all.div_ceil(MOST_ROWS);
    let thinned: Vec<Tested<'_>> = tested
        .iter()
        .map(|it| Tested { model: it.model, rows: it.rows.iter().copied().step_by(step).collect() })
        .collect();
    let labels = target.labels();
    let score = |shuffled: Option<(usize, u64)>| {
        let mut pooled: Option<Outcome> = None;
        for Tested { model, rows } in thinned.iter().filter(|it| !it.rows.is_empty()) {
            let mut gathered = gather(columns, rows);
            if let Some((feature, seed)) = shuffled {
                shuffle(&mut gathered[feature], seed);
            }
            let found = Outcome::of(model, &gathered, target.gather(rows), target.classes());
            match &mut pooled {
                Some(pooled) => pooled.extend(found),
                None => pooled = Some(found),
            }
        }
        pooled.map_or(f64::NAN, |pooled| rank(task, &pooled.metrics(&labels)))
    };
    let whole = score(None);
    let of = |(place, feature): (usize, &String)| {
        let seed = |repeat: usize| training.seed.wrapping_add((place * REPEATS + repeat) as u64);
        let losses: Vec<f64> =
            (0..REPEATS).map(|repeat| whole - score(Some((place, seed(repeat))))).collect();
        let (value, deviation) = spread(&losses);
        Importance { feature: feature.clone(), metric: figure(task).to_owned(), value, deviation }
    };
    features.iter().enumerate().map(of).collect()
}

/// Fisher and Yates.
fn shuffle(column: &mut [f64], seed: u64) {
    let mut random = Random::new(seed);
    for last in (1..column.len()).rev() {
        column.swap(last, random.below(last + 1));
    }
}

/// Mean and standard deviation.
#[expect(clippy::cast_precision_loss, reason = "a few repeats")]
fn spread(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[cfg(test)]
mod tests {
    use lineshaft_engine::testing::table;

    use crate::model::{Training, train};

    #[test]
    fn what_the_target_does_not_depend_on_is_worth_nothing() {
        let row = |i: i32| format!("\n{} {} {}", i % 10, (i * 7) % 11, 3 * (i % 10));
        let rows = table(&("a:f b:f y:f".to_owned() + &(0..200).map(row).collect::<String>()));
        let options = [("algorithm", "linear_regression"), ("target", "y")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let trained = train(&Training::from_options("m", &options).unwrap(), &rows).unwrap();
        let [a, b] = trained.importances.as_slice() else { panic!("{:?}", trained.importances) };
        assert_eq!((a.feature.as_str(), a.metric.as_str(), b.feature.as_str()), ("a", "rmse", "b"));
        // Two draws from 0..9 differ by sqrt(2 * 8.25) in the root of the mean square, and y by three times that.
        assert!((a.value - 3.0 * (2.0_f64 * 8.25).sqrt()).abs() < 1.5, "{a:?}");
        assert!(a.deviation > 0.0 && b.value.abs() < 1e-9, "{a:?} {b:?}");
    }
}
