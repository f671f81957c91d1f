//! How good a model is on rows that it has not seen.

use serde::{Deserialize, Serialize};

/// A named number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Such as `rmse` or `accuracy`.
    pub name: String,
    /// The class that it is about; `None` for a figure of all rows.
    pub class: Option<String>,
    /// Of `rows`, the count of a confusion matrix: the class that the rows of `class` were taken for.
    pub predicted: Option<String>,
    /// Its value.
    pub value: f64,
}

fn metric(name: &str, value: f64) -> Metric {
    Metric { name: name.to_owned(), class: None, predicted: None, value }
}

fn of_class(name: &str, class: &str, value: f64) -> Metric {
    Metric { class: Some(class.to_owned()), ..metric(name, value) }
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

/// `accuracy`; `f1_macro` and `balanced_accuracy`, the means of F1 and recall over the classes that appear; for two classes
/// `f1`, `precision` and `recall` of the second (true, 1), for more `f1` is `f1_macro`. Then `f1`, `precision` and
/// `recall` of each class, and the counts of the confusion matrix as `rows`, those above zero. A ratio of nothing is 0, as
/// in scikit-learn. Empty without rows.
pub fn classification(truth: &[usize], predicted: &[usize], labels: &[String]) -> Vec<Metric> {
    if truth.is_empty() {
        return Vec::new();
    }
    let right = truth.iter().zip(predicted).filter(|(t, p)| t == p).count();
    let tallies: Vec<Tally> = (0..labels.len()).map(|class| Tally::of(class, truth, predicted)).collect();
    let f1_macro = mean(tallies.iter().filter(|tally| tally.seen()).map(Tally::f1));
    let in_truth = tallies.iter().filter(|tally| tally.hits + tally.misses > 0);
    let mut metrics = vec![
        metric("accuracy", count(right) / count(truth.len())),
        metric("f1_macro", f1_macro),
        metric("balanced_accuracy", mean(in_truth.map(Tally::recall))),
    ];
    if let [_, positive] = tallies.as_slice() {
        metrics.push(metric("f1", positive.f1()));
        metrics.push(metric("precision", positive.precision()));
        metrics.push(metric("recall", positive.recall()));
    } else {
        metrics.push(metric("f1", f1_macro));
    }
    for (tally, label) in tallies.iter().zip(labels).filter(|(tally, _)| tally.seen()) {
        metrics.push(of_class("f1", label, tally.f1()));
        metrics.push(of_class("precision", label, tally.precision()));
        metrics.push(of_class("recall", label, tally.recall()));
    }
    metrics.extend(confusion(truth, predicted, labels));
    metrics
}

fn confusion(truth: &[usize], predicted: &[usize], labels: &[String]) -> Vec<Metric> {
    let mut counts = std::collections::BTreeMap::new();
    for pair in truth.iter().zip(predicted) {
        *counts.entry(pair).or_insert(0_usize) += 1;
    }
    let named = |((&truth, &predicted), rows): ((&usize, &usize), usize)| {
        let predicted = labels.get(predicted).cloned();
        Some(Metric { predicted, ..of_class("rows", labels.get(truth)?.as_str(), count(rows)) })
    };
    counts.into_iter().filter_map(named).collect()
}

/// `roc_auc` and `average_precision`: for two classes of the second, for more the means over the classes that have rows,
/// each against all others.
pub fn ranking(truth: &[usize], probabilities: &[Vec<f64>]) -> Vec<Metric> {
    let classes = if probabilities.len() == 2 { 1..2 } else { 0..probabilities.len() };
    let (mut areas, mut precisions) = (Vec::new(), Vec::new());
    for class in classes {
        let is_in: Vec<bool> = truth.iter().map(|&t| t == class).collect();
        areas.extend(roc_auc(&is_in, &probabilities[class]));
        precisions.extend(average_precision(&is_in, &probabilities[class]));
    }
    let named = [("roc_auc", areas), ("average_precision", precisions)];
    let known = named.into_iter().filter(|(_, values)| !values.is_empty());
    known.map(|(name, values)| metric(name, mean(values.into_iter()))).collect()
}

/// Zero of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
    if n == 0 { 0.0 } else { sum / count(n) }
}

/// `log_loss`: the mean of `-ln p` of the true class, where `p` is kept above 1e-15.
pub fn log_loss(truth: &[usize], probabilities: &[Vec<f64>]) -> Option<Metric> {
    if truth.is_empty() || probabilities.is_empty() {
        return None;
    }
    let loss = |(row, &class): (usize, &usize)| -probabilities[class][row].clamp(1e-15, 1.0).ln();
    let sum: f64 = truth.iter().enumerate().map(loss).sum();
    Some(metric("log_loss", sum / count(truth.len())))
}

/// The probability that a row of the class is ranked above one of the others, ties counted half: the area under the ROC
/// curve. `None` if one of the sides has no row.
pub fn roc_auc(truth: &[bool], scores: &[f64]) -> Option<f64> {
    let positive = truth.iter().filter(|&&is_in| is_in).count();
    let negative = truth.len() - positive;
    if positive == 0 || negative == 0 {
        return None;
    }
    // Mann and Whitney's statistic from the blocks of equal scores, ascending.
    let (mut below, mut wins) = (0.0, 0.0);
    for (hits, others) in blocks(truth, scores).into_iter().rev() {
        wins += hits * (below + others / 2.0);
        below += others;
    }
    Some(wins / (count(positive) * count(negative)))
}

/// The mean of the precision at each row of the class, from the greatest score down: the area under the precision-recall
/// curve without interpolation. `None` without a row of the class.
pub fn average_precision(truth: &[bool], scores: &[f64]) -> Option<f64> {
    let positive = truth.iter().filter(|&&is_in| is_in).count();
    if positive == 0 {
        return None;
    }
    let (mut found, mut seen, mut sum) = (0.0, 0.0, 0.0);
    for (hits, others) in blocks(truth, scores) {
        found += hits;
        seen += hits + others;
        sum += hits * found / seen;
    }
    Some(sum / count(positive))
}

/// Rows of the class and other rows of each score, from the greatest score down.
fn blocks(truth: &[bool], scores: &[f64]) -> Vec<(f64, f64)> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut blocks: Vec<(f64, f64)> = Vec::new();
    let mut last = None;
    for row in order {
        if last != Some(scores[row].to_bits()) {
            blocks.push((0.0, 0.0));
            last = Some(scores[row].to_bits());
        }
        let Some(block) = blocks.last_mut() else { continue };
        if truth[row] { block.0 += 1.0 } else { block.1 += 1.0 }
    }
    blocks
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
        metrics.iter().find(|metric| metric.name == name && metric.class.is_none()).unwrap().value
    }

    fn labels(n: usize) -> Vec<String> {
        (0..n).map(|class| format!("c{class}")).collect()
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
        let metrics = classification(&[0, 1, 2, 0, 1, 2], &[0, 2, 1, 0, 0, 1], &labels(3));
        assert!(near(get(&metrics, "f1"), 0.266_666_666_666_666_66));
        let binary = classification(&[0, 1, 1, 1], &[1, 1, 0, 1], &labels(2));
        assert!(near(get(&binary, "precision"), 2.0 / 3.0));
        assert!(near(get(&binary, "recall"), 2.0 / 3.0));
        assert!(near(get(&binary, "f1"), 2.0 / 3.0), "of the same class as precision and recall");
        assert!(near(get(&binary, "accuracy"), 0.5));
    }

    #[test]
    fn figures_by_class_and_ranks_equal_those_of_scikit_learn() {
        // The numbers are those of tests/fixtures/models_expected.py.
        let (truth, predicted) = ([0, 1, 2, 2, 1, 0, 2, 2], [0, 2, 2, 1, 1, 0, 2, 0]);
        let metrics = classification(&truth, &predicted, &labels(3));
        let of = |name: &str, class: &str| {
            let is = |metric: &&Metric| metric.name == name && metric.class.as_deref() == Some(class);
            metrics.iter().filter(is).map(|metric| metric.value).collect::<Vec<f64>>()
        };
        assert!(near(get(&metrics, "f1_macro"), 0.623_809_523_809_523_8));
        assert!(near(get(&metrics, "balanced_accuracy"), 0.666_666_666_666_666_6));
        let expected = [(0.8, 2.0 / 3.0, 1.0), (0.5, 0.5, 0.5), (0.571_428_571_428_571_4, 2.0 / 3.0, 0.5)];
        for (class, (f1, precision, recall)) in ["c0", "c1", "c2"].iter().zip(expected) {
            assert!(near(of("f1", class)[0], f1) && near(of("precision", class)[0], precision));
            assert!(near(of("recall", class)[0], recall));
        }
        // The rows of the confusion matrix [[2, 0, 0], [0, 1, 1], [1, 1, 2]], zeros left out.
        assert_eq!((of("rows", "c0"), of("rows", "c1")), (vec![2.0], vec![1.0, 1.0]));
        assert_eq!(of("rows", "c2"), [1.0, 1.0, 2.0]);

        let truth = [false, false, true, true, true, false, true, false];
        let scores = [0.1, 0.4, 0.35, 0.8, 0.8, 0.35, 0.6, 0.2];
        assert!(near(roc_auc(&truth, &scores).unwrap(), 0.906_25));
        assert!(near(average_precision(&truth, &scores).unwrap(), 0.916_666_666_666_666_6));
        assert_eq!((roc_auc(&[true], &[0.5]), average_precision(&[false], &[0.5])), (None, None));
        let probabilities = vec![
            vec![0.8, 0.2, 0.1, 0.2, 0.1, 0.6, 0.2, 0.5],
            vec![0.1, 0.3, 0.2, 0.5, 0.6, 0.2, 0.2, 0.2],
            vec![0.1, 0.5, 0.7, 0.3, 0.3, 0.2, 0.6, 0.3],
        ];
        let ranks = ranking(&[0, 1, 2, 2, 1, 0, 2, 2], &probabilities);
        assert!(near(get(&ranks, "roc_auc"), 0.909_722_222_222_222_3));
    }

    #[test]
    fn a_probability_of_zero_gives_a_finite_loss() {
        let loss = log_loss(&[0, 1], &[vec![0.5, 1.0], vec![0.5, 0.0]]).unwrap();
        assert!(near(loss.value, (2.0_f64.ln() - 1e-15_f64.ln()) / 2.0));
    }

    #[test]
    fn no_rows_give_no_figures() {
        assert!(regression(&[], &[]).is_empty());
        assert!(classification(&[], &[], &labels(2)).is_empty());
    }
}
