//! Linear and ridge regression, and the affine form that they share with logistic regression.
//!
//! Features are standardised before the fit and constant ones get weight zero, so a bad scale or a dead channel does
//! not break it. A score is `intercept + sum w (x - mean)`: the centred form keeps its precision where a channel is
//! large and hardly moves.

use serde::{Deserialize, Serialize};
use smartcore::linalg::basic::arrays::Array;
use smartcore::linear::linear_regression::{LinearRegression, LinearRegressionParameters};
use smartcore::linear::ridge_regression::{
    RidgeRegression, RidgeRegressionParameters, RidgeRegressionSolverName,
};

use super::random_forest::column_matrix;
use super::{Features, Model, Task};

/// `intercept + sum w (x - mean)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    intercept: f64,
    weights: Vec<f64>,
    means: Vec<f64>,
}

impl Affine {
    /// From weights of the standardised features that are not constant.
    pub(crate) fn new(intercept: f64, weights: &[f64], scales: &Scales) -> Result<Self, String> {
        let mut affine =
            Self { intercept, weights: vec![0.0; scales.means.len()], means: scales.means.clone() };
        for (&feature, weight) in scales.varying.iter().zip(weights) {
            affine.weights[feature] = weight / scales.deviations[feature];
        }
        let finite = affine.weights.iter().chain([&intercept]).all(|number| number.is_finite());
        if finite {
            Ok(affine)
        } else {
            Err("the fit did not converge to finite weights; scale the features".into())
        }
    }

    /// The scores of all rows.
    pub(crate) fn scores(&self, features: &Features<'_>) -> Vec<f64> {
        let mut scores = vec![self.intercept; features.rows()];
        for ((column, weight), mean) in features.columns().iter().zip(&self.weights).zip(&self.means) {
            if *weight == 0.0 {
                continue; // A constant channel in training says nothing, whatever it shows now.
            }
            for (score, x) in scores.iter_mut().zip(*column) {
                *score += weight * (x - mean);
            }
        }
        scores
    }

    /// `w (x - mean)` of each feature for all rows: the Shapley values of features that are independent of each other.
    pub(crate) fn parts(&self, features: &Features<'_>) -> Vec<Vec<f64>> {
        let part = |row: usize| {
            let each = features.columns().iter().zip(&self.weights).zip(&self.means);
            // As for the score: a constant channel says nothing.
            each.map(|((x, w), mean)| if *w == 0.0 { 0.0 } else { w * (x[row] - mean) }).collect()
        };
        (0..features.rows()).map(part).collect()
    }

    /// The score of the mean of the training rows.
    pub(crate) fn intercept(&self) -> f64 {
        self.intercept
    }

    /// The weights per unit of each feature.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }
}

impl Model for Affine {
    fn task(&self) -> Task {
        Task::Regression
    }

    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        self.scores(features)
    }

    fn value(&self, name: &str, features: &Features<'_>) -> Option<Vec<f64>> {
        (name == "base").then(|| vec![self.intercept; features.rows()])
    }

    fn contributions(&self, name: &str, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        (name == "prediction").then(|| self.parts(features))
    }
}

/// Mean and standard deviation of each feature, and which features vary at all.
pub(crate) struct Scales {
    pub(crate) means: Vec<f64>,
    pub(crate) deviations: Vec<f64>,
    pub(crate) varying: Vec<usize>,
}

impl Scales {
    /// What the distance of each feature from its mean is multiplied by; zero for a constant one.
    pub(crate) fn factors(&self, standardize: bool) -> Vec<f64> {
        let factor = |&deviation: &f64| match (deviation > 0.0, standardize) {
            (true, true) => 1.0 / deviation,
            (true, false) => 1.0,
            (false, _) => 0.0,
        };
        self.deviations.iter().map(factor).collect()
    }

    pub(crate) fn of(columns: &[Vec<f64>]) -> Result<Self, String> {
        let (means, deviations): (Vec<f64>, Vec<f64>) = columns.iter().map(|column| moments(column)).unzip();
        if means.iter().chain(&deviations).any(|number| !number.is_finite()) {
            return Err(
                "a feature is so large that its variance is not a number; scale the features".to_owned()
            );
        }
        let varying = (0..columns.len()).filter(|&feature| deviations[feature] > 0.0).collect();
        Ok(Self { means, deviations, varying })
    }

    /// The varying columns with mean 0 and deviation 1.
    pub(crate) fn standardize(&self, columns: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let scaled = |&feature: &usize| {
            let (mean, deviation) = (self.means[feature], self.deviations[feature]);
            columns[feature].iter().map(|x| (x - mean) / deviation).collect()
        };
        self.varying.iter().map(scaled).collect()
    }
}

/// Mean and population standard deviation, in two passes. A spread below the rounding of the values counts as none.
#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
fn moments(column: &[f64]) -> (f64, f64) {
    let n = column.len() as f64;
    let mean = column.iter().sum::<f64>() / n;
    let deviation = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    let largest = column.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let constant = column.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits());
    if constant || deviation <= 4.0 * f64::EPSILON * largest {
        // The first value rather than the mean: exact for a constant column.
        return (column.first().copied().unwrap_or(0.0), 0.0);
    }
    (mean, deviation)
}

/// Least squares.
pub(crate) fn fit_linear(columns: &[Vec<f64>], target: &[f64]) -> Result<Affine, String> {
    let scales = Scales::of(columns)?;
    enough_rows(target.len(), scales.varying.len())?;
    let (centred, mean) = centre(target)?;
    if scales.varying.is_empty() {
        return Affine::new(mean, &[], &scales);
    }
    let x = column_matrix(&scales.standardize(columns)).map_err(|error| error.to_string())?;
    let fitted = LinearRegression::fit(&x, &centred, LinearRegressionParameters::default())
        .map_err(|e| e.to_string())?;
    let intercept = *fitted.intercept();
    let weights: Vec<f64> = fitted.coefficients().iterator(0).copied().collect();
    Affine::new(mean + intercept, &weights, &scales)
}

/// Least squares with a penalty. The target is centred, so the intercept is not penalised.
pub(crate) fn fit_ridge(alpha: f64, columns: &[Vec<f64>], target: &[f64]) -> Result<Affine, String> {
    let scales = Scales::of(columns)?;
    enough_rows(target.len(), scales.varying.len())?;
    let (centred, mean) = centre(target)?;
    if scales.varying.is_empty() {
        return Affine::new(mean, &[], &scales);
    }
    let x = column_matrix(&scales.standardize(columns)).map_err(|error| error.to_string())?;
    let parameters = RidgeRegressionParameters::default()
        .with_alpha(alpha)
        .with_normalize(false)
        .with_solver(RidgeRegressionSolverName::SVD);
    let fitted = RidgeRegression::fit(&x, &centred, parameters).map_err(|error| error.to_string())?;
    let weights: Vec<f64> = fitted.coefficients().iterator(0).copied().collect();
    Affine::new(mean, &weights, &scales)
}

fn enough_rows(rows: usize, features: usize) -> Result<(), String> {
    if rows > features {
        return Ok(());
    }
    Err(format!(
        "{rows} training rows do not determine {features} weights and an intercept; give more rows or fewer features"
    ))
}

/// What is said of a target that cannot be scaled.
pub(crate) const TOO_LARGE: &str = "the target is so large that its variance is not a number; scale it";

#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
pub(crate) fn centre(target: &[f64]) -> Result<(Vec<f64>, f64), String> {
    let mean = target.iter().sum::<f64>() / target.len() as f64;
    if !mean.is_finite() {
        return Err(TOO_LARGE.to_owned());
    }
    Ok((target.iter().map(|y| y - mean).collect(), mean))
}

#[cfg(test)]
mod tests {
    use super::super::matrix::slices;
    use super::super::random::Random;
    use super::*;

    fn random_column(rows: usize, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        (0..rows).map(|_| random.unit()).collect()
    }

    fn largest_error(model: &Affine, columns: &[Vec<f64>], target: &[f64]) -> f64 {
        let predicted = model.predict(&Features::new(&slices(columns)));
        predicted.iter().zip(target).fold(0.0, |worst: f64, (p, t)| worst.max((p - t).abs()))
    }

    #[test]
    fn an_exact_line_is_found_beside_constant_and_doubled_columns() {
        let x = random_column(50, 1);
        let doubled: Vec<f64> = x.iter().map(|x| 2.0 * x).collect();
        let y: Vec<f64> = x.iter().map(|x| 3.0 * x - 4.0).collect();
        let columns = [x, vec![7.0; 50], doubled, vec![0.1; 50]];
        for model in [fit_linear(&columns, &y).unwrap(), fit_ridge(0.0, &columns, &y).unwrap()] {
            assert!(largest_error(&model, &columns, &y) < 1e-9, "{model:?}");
            assert!(model.weights()[1].abs() < 1e-12 && model.weights()[3].abs() < 1e-12);
        }
    }

    #[test]
    fn scales_that_differ_by_fifteen_orders_do_not_matter() {
        let (a, b) = (random_column(60, 2), random_column(60, 3));
        let small: Vec<f64> = a.iter().map(|a| a * 1e-9).collect();
        let large: Vec<f64> = b.iter().map(|b| 1e9 + b * 1e3).collect();
        let y: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 2.0 * a - 5.0 * b).collect();
        let columns = [small, large];
        let model = fit_linear(&columns, &y).unwrap();
        assert!(largest_error(&model, &columns, &y) < 1e-6);
    }

    #[test]
    fn ridge_shrinks_weights_as_scikit_learn_does() {
        // x = 1, 2, 3, 4, y = 2x: standardised x has sum of squares 4, so w = 2 sd(x) * 4 / (4 + alpha).
        let x = vec![1.0, 2.0, 3.0, 4.0];
        let y: Vec<f64> = x.iter().map(|x| 2.0 * x).collect();
        let model = fit_ridge(4.0, &[x], &y).unwrap();
        assert!((model.weights()[0] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn too_few_rows_are_refused() {
        let error = fit_linear(&[vec![1.0, 2.0], vec![2.0, 1.0]], &[1.0, 2.0]).unwrap_err();
        assert!(error.contains("2 training rows do not determine 2 weights"), "{error}");
    }

    #[test]
    fn values_too_large_to_square_are_refused() {
        let error = fit_linear(&[vec![1e300, -1e300, 3e299]], &[1.0, 2.0, 3.0]).unwrap_err();
        assert!(error.contains("scale the features"), "{error}");
    }
}
