//! Gradient boosted regression trees: grown by smartcore after XGBoost, scored as a [`Forest`].
//!
//! Squared error: each tree is fitted to the residuals of those before it, and a leaf is `sum r / (n + lambda)`
//! (Chen and Guestrin, "XGBoost: a scalable tree boosting system", KDD 2016). The sum begins at the mean of the target.

use smartcore::xgboost::xgb_regressor::{XGRegressor, XGRegressorParameters};

use super::Forest;
use super::forest::Combination;
use super::hyper_parameters::BoostingOptions;
use super::mirror::{BoostedMirror, BoostedNode, reread, unreadable};
use super::random_forest::{Matrix, compared, matrix};

/// Grows trees one after the other.
#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
pub(crate) fn fit(
    options: &BoostingOptions,
    seed: u64,
    columns: &[Vec<f64>],
    target: &[f64],
) -> Result<Forest, String> {
    let base = target.iter().sum::<f64>() / target.len() as f64;
    let parameters = XGRegressorParameters::default()
        .with_n_estimators(usize::from(options.trees))
        .with_max_depth(options.max_depth)
        .with_learning_rate(options.learning_rate)
        .with_min_child_weight(options.min_samples_leaf)
        .with_lambda(options.lambda)
        .with_gamma(options.gamma)
        .with_subsample(options.subsample)
        .with_base_score(base)
        .with_seed(seed);
    let grown: XGRegressor<f64, f64, Matrix, Vec<f64>> =
        XGRegressor::fit(&matrix(columns)?, &target.to_vec(), parameters).map_err(|e| e.to_string())?;
    let mirror: BoostedMirror = reread(&grown)?;
    let trees: Vec<_> = mirror.trees.ok_or_else(unreadable)?.iter().map(BoostedNode::grown).collect();
    let combination = Combination::Sum { base, rate: options.learning_rate };
    let forest = Forest::new(&trees, combination).ok_or_else(unreadable)?;
    compared(forest, columns, |sample| grown.predict(sample))
}

#[cfg(test)]
mod tests {
    use super::super::matrix::slices;
    use super::super::random::Random;
    use super::super::{Features, Model};
    use super::*;

    /// Friedman's first function, without noise.
    fn friedman(rows: usize, seed: u64) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut random = Random::new(seed);
        let x: Vec<Vec<f64>> = (0..5).map(|_| (0..rows).map(|_| random.unit()).collect()).collect();
        let of = |i: usize| {
            10.0 * (std::f64::consts::PI * x[0][i] * x[1][i]).sin()
                + 20.0 * (x[2][i] - 0.5).powi(2)
                + 10.0 * x[3][i]
                + 5.0 * x[4][i]
        };
        let y = (0..rows).map(of).collect();
        (x, y)
    }

    #[test]
    fn boosting_learns_a_curved_function_and_the_seed_decides() {
        let ((x, y), (unseen, truth)) = (friedman(800, 1), friedman(400, 2));
        let options = BoostingOptions {
            trees: 100,
            max_depth: 4,
            learning_rate: 0.2,
            min_samples_leaf: 1,
            lambda: 1.0,
            gamma: 0.0,
            subsample: 0.7,
        };
        let model = fit(&options, 3, &x, &y).unwrap();
        let predicted = model.predict(&Features::new(&slices(&unseen)));
        let squares: f64 = predicted.iter().zip(&truth).map(|(p, t)| (p - t).powi(2)).sum();
        // The deviation of the function is 4.9; scikit-learn's GradientBoostingRegressor leaves 1.0 on such rows.
        assert!((squares / 400.0).sqrt() < 1.3, "{}", (squares / 400.0).sqrt());
        assert_eq!(fit(&options, 3, &x, &y).unwrap(), model);
        assert_ne!(fit(&options, 4, &x, &y).unwrap(), model);
    }
}
