//! How good a model is on rows that it has not seen.

use serde::{Deserialize, Serialize};

/// A named number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Such as `rmse` or `accuracy`.
    pub name: String,
    /// Its value.
    pub value: f64,
}

fn metric(name: &str, value: f64) -> Metric {
    Metric { name: name.to_owned(), value }
}

/// `rmse` and `mae` in the unit of the target; `r2 = 1 - SS_res / SS_tot`, left out if the target is constant.
/// Empty without rows.
pub fn regression(truth: &[f64], predicted: &[f64]) -> Vec<Metric> {
    if truth.is_empty() {
        return Vec::new();
    }
    let n = count(truth.len());
    let mean = truth.iter().sum::<f64>() / n;
    let squares: f64 = truth.iter().zip(predicted).map(|(t, p)| (t - p).powi(2)).sum();
    let absolute: f64 = truth.iter().zip(predicted).map(|(t, p)| (t - p).abs()).sum();
    let total: f64 = truth.iter().map(|t| (t - mean).powi(2)).sum();
    let mut metrics = vec![metric("rmse", (squares / n).sqrt()), metric("mae", absolute / n)];
    if total > 0.0 {
        metrics.push(metric("r2", 1.0 - squares / total));
    }
    metrics
}

/// `accuracy`; for two classes `f1`, `precision` and `recall` of the second (true, 1); for more `f1`, the mean over
/// the classes that appear in truth or prediction. A ratio of nothing is 0, as in scikit-learn. Empty without rows.
pub fn classification(truth: &[usize], predicted: &[usize], classes: usize) -> Vec<Metric> {
    if truth.is_empty() {
        return Vec::new();
    }
    let right = truth.iter().zip(predicted).filter(|(t, p)| t == p).count();
    let tallies: Vec<Tally> = (0..classes).map(|class| Tally::of(class, truth, predicted)).collect();
    let mut metrics = vec![metric("accuracy", count(right) / count(truth.len()))];
    if let [_, positive] = tallies.as_slice() {
        metrics.push(metric("f1", positive.f1()));
        metrics.push(metric("precision", positive.precision()));
        metrics.push(metric("recall", positive.recall()));
    } else {
        let seen: Vec<f64> = tallies.iter().filter(|tally| tally.seen()).map(Tally::f1).collect();
        metrics.push(metric("f1", seen.iter().sum::<f64>() / count(seen.len())));
    }
    metrics
}

/// `log_loss`: the mean of `-ln p` of the true class, where `p` is kept above 1e-15.
pub fn log_loss(truth: &[usize], probabilities: &[Vec<f64>]) -> Option<Metric> {
    if truth.is_empty() {
        return None;
    }
    let loss = |(row, &class): (usize, &usize)| -probabilities[class][row].clamp(1e-15, 1.0).ln();
    let sum: f64 = truth.iter().enumerate().map(loss).sum();
    Some(metric("log_loss", sum / count(truth.len())))
}

/// `inertia`: the sum of the squared distances of the rows to their centres, and `mean_squared_distance`, which
/// compares between parts of different size.
pub fn clustering(squared_distances: &[f64]) -> Vec<Metric> {
    if squared_distances.is_empty() {
        return Vec::new();
    }
    let inertia = squared_distances.iter().sum::<f64>();
    vec![
        metric("inertia", inertia),
        metric("mean_squared_distance", inertia / count(squared_distances.len())),
    ]
}

/// `alarm_rate`: the share of rows that were taken for an anomaly. Held-back rows are of normal operation, as the training
/// rows are, so these are false alarms.
pub fn alarms(alarms: &[f64]) -> Vec<Metric> {
    if alarms.is_empty() {
        return Vec::new();
    }
    vec![metric("alarm_rate", alarms.iter().sum::<f64>() / count(alarms.len()))]
}

/// True positives, false positives and false negatives of a class.
struct Tally {
    hits: usize,
    false_alarms: usize,
    misses: usize,
}

impl Tally {
    fn of(class: usize, truth: &[usize], predicted: &[usize]) -> Self {
        let mut tally = Self { hits: 0, false_alarms: 0, misses: 0 };
        for (&t, &p) in truth.iter().zip(predicted) {
            match (t == class, p == class) {
                (true, true) => tally.hits += 1,
                (false, true) => tally.false_alarms += 1,
                (true, false) => tally.misses += 1,
                (false, false) => {}
            }
        }
        tally
    }

    fn seen(&self) -> bool {
        self.hits + self.false_alarms + self.misses > 0
    }

    fn precision(&self) -> f64 {
        ratio(self.hits, self.hits + self.false_alarms)
    }

    fn recall(&self) -> f64 {
        ratio(self.hits, self.hits + self.misses)
    }

    fn f1(&self) -> f64 {
        ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { count(part) / count(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(metrics: &[Metric], name: &str) -> f64 {
        metrics.iter().find(|metric| metric.name == name).unwrap().value
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn regression_figures_equal_those_of_scikit_learn() {
        // sklearn.metrics on y = [3, -0.5, 2, 7], p = [2.5, 0, 2, 8] (the example of its documentation).
        let metrics = regression(&[3.0, -0.5, 2.0, 7.0], &[2.5, 0.0, 2.0, 8.0]);
        assert!(near(get(&metrics, "rmse"), 0.375_f64.sqrt()));
        assert!(near(get(&metrics, "mae"), 0.5));
        assert!(near(get(&metrics, "r2"), 0.948_608_137_044_967_9));
    }

    #[test]
    fn classification_figures_equal_those_of_scikit_learn() {
        // f1_score(..., average='macro') of the example in its documentation: 0.26666...
        let metrics = classification(&[0, 1, 2, 0, 1, 2], &[0, 2, 1, 0, 0, 1], 3);
        assert!(near(get(&metrics, "f1"), 0.266_666_666_666_666_66));
        let binary = classification(&[0, 1, 1, 1], &[1, 1, 0, 1], 2);
        assert!(near(get(&binary, "precision"), 2.0 / 3.0));
        assert!(near(get(&binary, "recall"), 2.0 / 3.0));
        assert!(near(get(&binary, "f1"), 2.0 / 3.0), "of the same class as precision and recall");
        assert!(near(get(&binary, "accuracy"), 0.5));
    }

    #[test]
    fn a_probability_of_zero_gives_a_finite_loss() {
        let loss = log_loss(&[0, 1], &[vec![0.5, 1.0], vec![0.5, 0.0]]).unwrap();
        assert!(near(loss.value, (2.0_f64.ln() - 1e-15_f64.ln()) / 2.0));
    }

    #[test]
    fn no_rows_give_no_figures() {
        assert!(regression(&[], &[]).is_empty());
        assert!(classification(&[], &[], 2).is_empty());
    }
}
