//! Lasso and elastic net: least squares with weights that are held small, many of them zero.
//!
//! Minimises `|y - X w|^2 / (2 n) + alpha (ratio |w|_1 + (1 - ratio) |w|^2 / 2)` over standardised features, the target
//! centred, by coordinate descent (Friedman, Hastie and Tibshirani, "Regularization paths for generalized linear models
//! via coordinate descent", Journal of Statistical Software 33, 2010). The form is that of scikit-learn.

use super::Affine;
use super::linear::{Scales, centre};

/// Sweeps over the weights; correlated features need some hundreds.
const MOST_SWEEPS: usize = 10_000;
/// It ends when no weight changes by more than this share of the deviation of the target.
const TOLERANCE: f64 = 1e-9;

/// Fits; `ratio` is 1 for the lasso.
#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
pub(crate) fn fit(alpha: f64, ratio: f64, columns: &[Vec<f64>], target: &[f64]) -> Result<Affine, String> {
    let scales = Scales::of(columns)?;
    let (mut residual, mean) = centre(target)?;
    let x = scales.standardize(columns);
    let n = target.len() as f64;
    let deviation = (residual.iter().map(|r| r * r).sum::<f64>() / n).sqrt();
    let mut weights = vec![0.0; x.len()];
    for _ in 0..MOST_SWEEPS {
        let mut largest_step = 0.0_f64;
        for (weight, column) in weights.iter_mut().zip(&x) {
            // The columns have variance one, so the least squares step is the mean product.
            let wanted = *weight + column.iter().zip(&residual).map(|(x, r)| x * r).sum::<f64>() / n;
            let shrunk = soft_threshold(wanted, alpha * ratio) / (1.0 + alpha * (1.0 - ratio));
            let step = shrunk - *weight;
            if step != 0.0 {
                residual.iter_mut().zip(column).for_each(|(r, x)| *r -= step * x);
                *weight = shrunk;
                largest_step = largest_step.max(step.abs());
            }
        }
        if largest_step <= TOLERANCE * deviation {
            break;
        }
    }
    Affine::new(mean, &weights, &scales)
}

fn soft_threshold(x: f64, threshold: f64) -> f64 {
    x.signum() * (x.abs() - threshold).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::Features;
    use super::super::Model;
    use super::super::matrix::slices;
    use super::*;

    fn plant() -> (Vec<Vec<f64>>, Vec<f64>) {
        let a: Vec<f64> = (0..20).map(f64::from).collect();
        let b: Vec<f64> = (0..20_i32).map(|i| f64::from((i * 7) % 5)).collect();
        let c: Vec<f64> = (0..20_i32).map(|i| f64::from((i * 3) % 7)).collect();
        let y = (0..20).map(|i| 2.0 * a[i] - 3.0 * b[i] + 0.1 * c[i] + 4.0).collect();
        (vec![a, b, c], y)
    }

    #[test]
    fn weights_equal_those_of_scikit_learn() {
        // Lasso(alpha=0.5) and ElasticNet(alpha=0.5, l1_ratio=0.3) over StandardScaler, the weights divided by the deviations.
        let (x, y) = plant();
        for (ratio, expected) in [(1.0, LASSO), (0.3, NET)] {
            let model = fit(0.5, ratio, &x, &y).unwrap();
            for (weight, expected) in model.weights().iter().zip(expected) {
                assert!((weight - expected).abs() < 1e-6, "{ratio}: {:?}", model.weights());
            }
        }
        let exact = fit(0.0, 1.0, &x, &y).unwrap();
        let predicted = exact.predict(&Features::new(&slices(&x)));
        assert!(predicted.iter().zip(&y).all(|(p, y)| (p - y).abs() < 1e-6));
    }

    const LASSO: [f64; 3] = [1.902_467_357_579_817_2, -2.587_680_288_196_634_8, 0.0];
    const NET: [f64; 3] = [1.439_171_175_935_387, -1.931_045_485_379_219_4, 0.033_918_344_722_348_7];
}
