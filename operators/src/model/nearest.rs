//! k nearest neighbours: the mean, or the vote, of the training rows that are nearest.
//!
//! Every training row is looked at for every row that is scored, so the model suits some thousands of rows. A tie in distance
//! goes to the earlier row, a tie in votes to the first class.

use serde::{Deserialize, Serialize};

use super::linear::Scales;
use super::{Features, Model, Task};

/// The training rows with their targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    k: usize,
    /// Subtracted from each feature.
    means: Vec<f64>,
    /// Each feature is multiplied by this; zero for one that was constant in training.
    factors: Vec<f64>,
    /// The scaled training rows, one after the other.
    rows: Vec<f64>,
    /// The number, or the index of the class, of each.
    targets: Vec<f64>,
    /// Number of classes; zero for a regression.
    classes: usize,
}

/// Keeps the rows. `classes` is zero for a regression.
pub(crate) fn fit(
    k: usize,
    standardize: bool,
    columns: &[Vec<f64>],
    targets: Vec<f64>,
    classes: usize,
) -> Result<Nearest, String> {
    if targets.len() < k {
        return Err(format!("k is {k}, but there are {} training rows; choose a smaller k", targets.len()));
    }
    let scales = Scales::of(columns)?;
    let factors = scales.factors(standardize);
    let mut model = Nearest { k, means: scales.means, factors, rows: Vec::new(), targets, classes };
    for row in 0..model.targets.len() {
        let scaled: Vec<f64> = (0..columns.len()).map(|j| model.scaled(j, columns[j][row])).collect();
        model.rows.extend(scaled);
    }
    Ok(model)
}

impl Nearest {
    fn scaled(&self, feature: usize, x: f64) -> f64 {
        (x - self.means[feature]) * self.factors[feature]
    }

    /// The targets of the neighbours of each row; NaN for a row too far away to have a distance.
    fn map_neighbours(&self, features: &Features<'_>, mut of: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
        let width = features.columns().len();
        let mut distances: Vec<(f64, usize)> = Vec::with_capacity(self.targets.len());
        let mut neighbours = vec![0.0; self.k];
        let mut answers = Vec::with_capacity(features.rows());
        for row in 0..features.rows() {
            let x: Vec<f64> = (0..width).map(|j| self.scaled(j, features.columns()[j][row])).collect();
            distances.clear();
            let distance = |other: &[f64]| other.iter().zip(&x).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            distances.extend(self.rows.chunks_exact(width).map(distance).zip(0..));
            let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            distances.select_nth_unstable_by(self.k - 1, order);
            distances[..self.k].sort_by(order);
            neighbours.iter_mut().zip(&distances).for_each(|(target, &(_, row))| *target = self.targets[row]);
            let is_known = distances[..self.k].iter().all(|(distance, _)| distance.is_finite());
            answers.push(if is_known { of(&neighbours) } else { f64::NAN });
        }
        answers
    }

    #[expect(clippy::cast_precision_loss, reason = "few neighbours")]
    fn share(&self, neighbours: &[f64], class: usize) -> f64 {
        let votes = neighbours.iter().filter(|&&target| super::score::class_index(target) == class).count();
        votes as f64 / self.k as f64
    }
}

impl Model for Nearest {
    fn task(&self) -> Task {
        if self.classes == 0 { Task::Regression } else { Task::Classification }
    }

    #[expect(clippy::cast_precision_loss, reason = "few neighbours and classes")]
    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        if self.classes == 0 {
            return self.map_neighbours(features, |near| near.iter().sum::<f64>() / self.k as f64);
        }
        let better = |near: &[f64], best: usize, class: usize| {
            if self.share(near, class) > self.share(near, best) { class } else { best }
        };
        self.map_neighbours(features, |near| {
            (1..self.classes).fold(0, |best, class| better(near, best, class)) as f64
        })
    }

    /// The share of the neighbours of the class.
    fn predict_proba(&self, features: &Features<'_>, class: usize) -> Option<Vec<f64>> {
        (class < self.classes).then(|| self.map_neighbours(features, |near| self.share(near, class)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::slices;
    use super::super::testing::{plant, unseen};
    use super::*;

    #[test]
    fn neighbours_are_those_of_scikit_learn() {
        let (x, class) = plant();
        let unseen = unseen();
        let slices = slices(&unseen);
        let features = Features::new(&slices);
        let votes = fit(5, true, &x, class.iter().map(|&class| f64::from(class)).collect(), 3).unwrap();
        assert_eq!(votes.predict(&features), [0.0, 1.0, 2.0]);
        for (class, expected) in [[0.6, 0.2, 0.0], [0.4, 0.4, 0.4], [0.0, 0.4, 0.6]].iter().enumerate() {
            let found = votes.predict_proba(&features, class).unwrap();
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-12), "{class}: {found:?}");
        }
        let y = (0..20_u32)
            .map(|i| f64::from(2 * i) - 3.0 * f64::from((i * 7) % 5) + 0.1 * f64::from((i * 3) % 7) + 4.0)
            .collect();
        let means = fit(5, true, &x, y, 0).unwrap().predict(&features);
        assert!(means.iter().zip([7.0, 24.1, 26.68]).all(|(f, e)| (f - e).abs() < 1e-9), "{means:?}");
    }

    #[test]
    fn more_neighbours_than_rows_are_refused() {
        let error = fit(3, true, &[vec![1.0, 2.0]], vec![1.0, 2.0], 0).unwrap_err();
        assert_eq!(error, "k is 3, but there are 2 training rows; choose a smaller k");
    }
}
