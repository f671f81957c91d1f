//! Logistic regression for two and more classes.
//!
//! Fitted by smartcore (L-BFGS) on standardised features. Two classes have one score and
//! `p = 1 / (1 + exp(-score))`; more have one each and `p = exp(score) / sum exp(scores)`.

use serde::{Deserialize, Serialize};
use smartcore::linalg::basic::arrays::Array;
use smartcore::linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters};

use super::linear::Scales;
use super::random_forest::column_matrix;
use super::{Affine, Features, Model, Task};

/// One score for two classes, else one per class of the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    scores: Vec<Affine>,
    /// The classes that the scores are for: a class may be missing in the training rows.
    classes: Vec<u32>,
}

/// Fits; `target` holds the index of the class of each row, with at least two different ones.
pub(crate) fn fit(alpha: f64, columns: &[Vec<f64>], target: &[u32]) -> Result<Logistic, String> {
    let scales = Scales::of(columns)?;
    if scales.varying.is_empty() {
        return Err("every feature is constant; give features that vary".to_owned());
    }
    let x = column_matrix(&scales.standardize(columns)).map_err(|error| error.to_string())?;
    let parameters = LogisticRegressionParameters::default().with_alpha(alpha);
    let fitted =
        LogisticRegression::fit(&x, &target.to_vec(), parameters).map_err(|error| error.to_string())?;
    let weights: Vec<f64> = fitted.coefficients().iterator(0).copied().collect();
    let intercepts = fitted.intercept().iterator(0);
    let scores: Result<_, String> = weights
        .chunks(scales.varying.len())
        .zip(intercepts)
        .map(|(weights, &intercept)| Affine::new(intercept, weights, &scales))
        .collect();
    Ok(Logistic { scores: scores?, classes: fitted.classes().clone() })
}

impl Logistic {
    fn all_scores(&self, features: &Features<'_>) -> Vec<Vec<f64>> {
        self.scores.iter().map(|affine| affine.scores(features)).collect()
    }
}

impl Logistic {
    /// What each score counts in the logarithm of the odds of a class: of two classes against the other one, of more against
    /// the geometric mean of all. `None` for a class that the training rows did not have.
    #[expect(clippy::cast_precision_loss, reason = "few classes")]
    fn weights_to(&self, class: usize) -> Option<Vec<f64>> {
        let place = self.classes.iter().position(|&known| known as usize == class)?;
        if self.scores.len() == 1 {
            return Some(vec![if place == 1 { 1.0 } else { -1.0 }]);
        }
        let share = 1.0 / self.scores.len() as f64;
        Some((0..self.scores.len()).map(|score| f64::from(u8::from(score == place)) - share).collect())
    }
}

fn sigmoid(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

impl Model for Logistic {
    fn task(&self) -> Task {
        Task::Classification
    }

    /// The class of the greatest probability; a tie goes to the first.
    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        let scores = self.all_scores(features);
        let class =
            |index: usize| self.classes.as_slice().get(index).map_or(f64::NAN, |&class| f64::from(class));
        match scores.as_slice() {
            [score] => score.iter().map(|&score| class(usize::from(score > 0.0))).collect(),
            _ => (0..features.rows()).map(|row| class(greatest(&scores, row))).collect(),
        }
    }

    fn predict_proba(&self, features: &Features<'_>, class: usize) -> Option<Vec<f64>> {
        let place = self.classes.iter().position(|&known| known as usize == class);
        let Some(place) = place else {
            return Some(vec![0.0; features.rows()]);
        };
        let scores = self.all_scores(features);
        if let [score] = scores.as_slice() {
            let sign = if place == 1 { 1.0 } else { -1.0 };
            return Some(score.iter().map(|score| sigmoid(sign * score)).collect());
        }
        Some((0..features.rows()).map(|row| softmax(&scores, row, place)).collect())
    }

    fn value(&self, name: &str, features: &Features<'_>) -> Option<Vec<f64>> {
        self.value_of(name, 1, features)
    }

    fn contributions(&self, name: &str, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        self.contributions_to(name, 1, features)
    }

    fn value_of(&self, name: &str, class: usize, features: &Features<'_>) -> Option<Vec<f64>> {
        let weights = (name == "base").then(|| self.weights_to(class))??;
        let base = self.scores.iter().zip(&weights).map(|(score, weight)| weight * score.intercept()).sum();
        Some(vec![base; features.rows()])
    }

    fn contributions_to(&self, name: &str, class: usize, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        let weights = (name == "log_odds").then(|| self.weights_to(class))??;
        let mut sums = vec![vec![0.0; features.columns().len()]; features.rows()];
        for (score, weight) in self.scores.iter().zip(&weights) {
            for (sums, parts) in sums.iter_mut().zip(score.parts(features)) {
                sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += weight * part);
            }
        }
        Some(sums)
    }
}

fn greatest(scores: &[Vec<f64>], row: usize) -> usize {
    let mut best = 0;
    for place in 1..scores.len() {
        if scores[place][row] > scores[best][row] {
            best = place;
        }
    }
    best
}

/// `1 / sum exp(score - own score)`: no overflow turns it into NaN.
fn softmax(scores: &[Vec<f64>], row: usize, place: usize) -> f64 {
    let own = scores[place][row];
    1.0 / scores.iter().map(|score| (score[row] - own).exp()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::super::matrix::slices;
    use super::super::random::Random;
    use super::*;

    fn features(rows: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut random = Random::new(seed);
        (0..2).map(|_| (0..rows).map(|_| random.unit() * 4.0 - 2.0).collect()).collect()
    }

    #[test]
    fn a_line_between_two_classes_is_found() {
        let columns = features(300, 1);
        let target: Vec<u32> = (0..300).map(|i| u32::from(columns[0][i] + columns[1][i] > 0.3)).collect();
        let model = fit(0.01, &columns, &target).unwrap();
        let slices = slices(&columns);
        let features = Features::new(&slices);
        let right = model
            .predict(&features)
            .iter()
            .zip(&target)
            .filter(|(p, t)| p.to_bits() == f64::from(**t).to_bits())
            .count();
        assert!(right >= 297, "{right} of 300");
        let (no, yes) =
            (model.predict_proba(&features, 0).unwrap(), model.predict_proba(&features, 1).unwrap());
        assert!(no.iter().zip(&yes).all(|(no, yes)| (no + yes - 1.0).abs() < 1e-12));
    }

    #[test]
    fn the_parts_of_a_class_add_up_to_its_log_odds() {
        let columns = features(400, 2);
        let third = |i: usize| columns[0][i] > 0.0;
        let target: Vec<u32> =
            (0..400).map(|i| if third(i) { 2 } else { u32::from(columns[1][i] > 0.5) }).collect();
        let model = fit(0.1, &columns, &target).unwrap();
        let slices = slices(&columns);
        let features = Features::new(&slices);
        let logs = |row: usize| -> Vec<f64> {
            (0..3).map(|class| model.predict_proba(&features, class).unwrap()[row].ln()).collect()
        };
        for class in 0..3 {
            let base = model.value_of("base", class, &features).unwrap()[0];
            let parts = model.contributions_to("log_odds", class, &features).unwrap();
            for row in (0..400).step_by(37) {
                let odds = logs(row)[class] - logs(row).iter().sum::<f64>() / 3.0;
                assert!((base + parts[row].iter().sum::<f64>() - odds).abs() < 1e-9, "{class} {row}");
            }
        }
        assert_eq!(model.contributions_to("log_odds", 7, &features), None);
    }

    #[test]
    fn three_classes_keep_their_numbers_and_a_missing_one_has_probability_zero() {
        let columns = features(400, 2);
        let class = |x: f64| {
            if x < -0.7 {
                0
            } else if x < 0.7 {
                1
            } else {
                3
            }
        };
        let target: Vec<u32> = columns[0].iter().map(|&x| class(x)).collect();
        let model = fit(0.01, &columns, &target).unwrap();
        let slices = slices(&columns);
        let features = Features::new(&slices);
        let right = model
            .predict(&features)
            .iter()
            .zip(&target)
            .filter(|(p, t)| p.to_bits() == f64::from(**t).to_bits())
            .count();
        assert!(right > 380, "{right} of 400");
        assert_eq!(model.predict_proba(&features, 2), Some(vec![0.0; 400]));
    }

    #[test]
    fn perfectly_separated_classes_keep_finite_weights() {
        let x: Vec<f64> = (0..40).map(f64::from).collect();
        let target: Vec<u32> = (0..40).map(|i| u32::from(i >= 20)).collect();
        let model = fit(1.0, &[x, vec![5.0; 40]], &target).unwrap();
        let extreme = [vec![1e300, -1e300], vec![0.0, 0.0]];
        let risk = model.predict_proba(&Features::new(&slices(&extreme)), 1).unwrap();
        assert_eq!(risk, [1.0, 0.0]);
    }
}
