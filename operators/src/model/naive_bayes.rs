//! Gaussian naive Bayes: each feature is normally distributed in each class, whatever the others are.
//!
//! The class with the greatest `ln prior + sum ln N(x; mean, variance)`. To each variance `1e-9` of that of the feature in all rows
//! is added, so that one that is constant in a class can be scored. scikit-learn adds `1e-9` of the greatest variance of a feature:
//! then a feature in a small unit counts for nothing.

use serde::{Deserialize, Serialize};

use super::{Features, Model, Task};

const SMOOTHING: f64 = 1e-9;

/// A fitted classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NaiveBayes {
    classes: Vec<Gaussian>,
}

/// The rows of a class; a class without training rows has none of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Gaussian {
    /// The logarithm of its share of the training rows; minus infinity without rows.
    log_prior: f64,
    means: Vec<f64>,
    variances: Vec<f64>,
}

/// Fits; `target` holds the index of the class of each row.
pub(crate) fn fit(columns: &[Vec<f64>], target: &[u32], classes: usize) -> Result<NaiveBayes, String> {
    let all: Vec<usize> = (0..target.len()).collect();
    let variances: Vec<f64> = columns.iter().map(|column| moments(column, &all).1).collect();
    if !variances.iter().any(|variance| *variance > 0.0 && variance.is_finite()) {
        return Err("no feature has a finite variance; give features that vary".to_owned());
    }
    // A constant feature is as likely in each class.
    let smoothing = |variance: &f64| if *variance > 0.0 { SMOOTHING * variance } else { 1.0 };
    let smoothing: Vec<f64> = variances.iter().map(smoothing).collect();
    let class = |class: usize| {
        let rows: Vec<usize> = all.iter().copied().filter(|&row| target[row] as usize == class).collect();
        Gaussian::of(columns, &rows, target.len(), &smoothing)
    };
    Ok(NaiveBayes { classes: (0..classes).map(class).collect() })
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
fn moments(column: &[f64], rows: &[usize]) -> (f64, f64) {
    let n = rows.len() as f64;
    let mean = rows.iter().map(|&row| column[row]).sum::<f64>() / n;
    (mean, rows.iter().map(|&row| (column[row] - mean).powi(2)).sum::<f64>() / n)
}

impl Gaussian {
    #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
    fn of(columns: &[Vec<f64>], rows: &[usize], total: usize, smoothing: &[f64]) -> Self {
        if rows.is_empty() {
            let width = columns.len();
            return Self {
                log_prior: f64::NEG_INFINITY,
                means: vec![0.0; width],
                variances: vec![1.0; width],
            };
        }
        let of_column = |(column, smoothing): (&Vec<f64>, &f64)| {
            let (mean, variance) = moments(column, rows);
            (mean, variance + smoothing)
        };
        let (means, variances) = columns.iter().zip(smoothing).map(of_column).unzip();
        Self { log_prior: (rows.len() as f64 / total as f64).ln(), means, variances }
    }

    fn log_likelihoods(&self, features: &Features<'_>) -> Vec<f64> {
        let mut sums = vec![self.log_prior; features.rows()];
        for ((column, mean), variance) in features.columns().iter().zip(&self.means).zip(&self.variances) {
            let constant = 0.5 * (std::f64::consts::TAU * variance).ln();
            for (sum, x) in sums.iter_mut().zip(*column) {
                *sum -= constant + (x - mean).powi(2) / (2.0 * variance);
            }
        }
        sums
    }
}

impl NaiveBayes {
    fn all(&self, features: &Features<'_>) -> Vec<Vec<f64>> {
        self.classes.iter().map(|class| class.log_likelihoods(features)).collect()
    }
}

impl Model for NaiveBayes {
    fn task(&self) -> Task {
        Task::Classification
    }

    /// A tie goes to the first class.
    #[expect(clippy::cast_precision_loss, reason = "few classes")]
    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        let all = self.all(features);
        let best = |row: usize| {
            (1..all.len()).fold(0, |best, class| if all[class][row] > all[best][row] { class } else { best })
        };
        (0..features.rows()).map(|row| best(row) as f64).collect()
    }

    fn predict_proba(&self, features: &Features<'_>, class: usize) -> Option<Vec<f64>> {
        let all = self.all(features);
        let own = all.get(class)?;
        if self.classes[class].log_prior == f64::NEG_INFINITY {
            return Some(vec![0.0; features.rows()]);
        }
        let share = |row: usize| 1.0 / all.iter().map(|class| (class[row] - own[row]).exp()).sum::<f64>();
        Some((0..features.rows()).map(share).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::slices;
    use super::super::testing::{plant, unseen};
    use super::*;

    #[test]
    fn classes_and_probabilities_equal_those_of_scikit_learn() {
        let (x, class) = plant();
        let model = fit(&x, &class, 4).unwrap();
        let unseen = unseen();
        let slices = slices(&unseen);
        let features = Features::new(&slices);
        assert_eq!(model.predict(&features), [0.0, 1.0, 2.0]);
        // GaussianNB over the features divided by their deviations.
        let expected = [
            [0.756_159_150_995_152_7, 0.323_441_779_751_075_8, 0.008_980_184_048_488_507],
            [0.233_229_283_211_178_22, 0.427_565_398_166_719_8, 0.269_298_122_096_471_36],
            [0.010_611_565_793_668_802, 0.248_992_822_082_204_25, 0.721_721_693_855_039_7],
            [0.0; 3],
        ];
        for (class, expected) in expected.iter().enumerate() {
            let found = model.predict_proba(&features, class).unwrap();
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-9), "{class}: {found:?}");
        }
    }

    #[test]
    fn the_unit_of_a_feature_does_not_matter_and_a_constant_one_counts_for_nothing() {
        let (x, class) = plant();
        let scaled = |factors: [f64; 3]| -> Vec<Vec<f64>> {
            let columns = x.iter().zip(factors).map(|(x, factor)| x.iter().map(|x| x * factor).collect());
            columns.chain([vec![3.0; class.len()]]).collect()
        };
        let predicted = |columns: Vec<Vec<f64>>| {
            let slices = slices(&columns);
            fit(&columns, &class, 4).unwrap().predict(&Features::new(&slices))
        };
        assert_eq!(predicted(scaled([1e-6, 1.0, 1e6])), predicted(x.clone()));
    }

    #[test]
    fn features_that_never_change_are_refused() {
        assert!(fit(&[vec![1.0, 1.0]], &[0, 1], 2).is_err());
    }
}
