//! Principal components that are learned row by row.

use serde::{Deserialize, Serialize};

use super::Step;
use crate::model::eigen;

/// Eigenvalues below this share of the greatest are rounding: their direction is none.
const NEGLIGIBLE: f64 = 1e-12;

/// What of a [`RunningPca`] is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PcaFigure {
    /// Hotelling's T2: how far from the centre, along the components.
    T2,
    /// The squared prediction error: how far from the components.
    Spe,
}

/// T2 or SPE of a row by the components of the rows before, then the row is learned. The rows before weigh less by a factor per
/// row; of their correlations, which are exact, the components are taken anew after each `every` rows. `None` before that.
///
/// Rows are standardised by the mean and population deviation of the rows before, as of the last time that the components were taken;
/// a feature that was constant takes no part. Source: Jackson, Mudholkar, "Control procedures for residuals associated with principal
/// component analysis", Technometrics 21 (1979); Li, Yue, Valle-Cervantes, Qin, "Recursive PCA for adaptive process monitoring",
/// J. Process Control 10 (2000), for the recursion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningPca {
    figure: PcaFigure,
    components: usize,
    every: usize,
    forgetting: f64,
    /// Rows learned, and their weight.
    rows: usize,
    weight: f64,
    means: Vec<f64>,
    /// The weighted sums of the products of distances from the means, row by row.
    products: Vec<Vec<f64>>,
    basis: Option<Basis>,
}

/// Components as they were last taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Basis {
    means: Vec<f64>,
    /// Zero for a constant feature.
    factors: Vec<f64>,
    /// Variance and unit vector of each.
    components: Vec<(f64, Vec<f64>)>,
}

impl RunningPca {
    /// With at least one component, taken anew each `every` rows, and a factor in (0, 1].
    pub fn new(figure: PcaFigure, components: usize, every: usize, forgetting: f64) -> Option<Self> {
        let is_valid = components > 0 && every > components && forgetting > 0.0 && forgetting <= 1.0;
        let (means, products) = (Vec::new(), Vec::new());
        is_valid.then_some(Self {
            figure,
            components,
            every,
            forgetting,
            rows: 0,
            weight: 0.0,
            means,
            products,
            basis: None,
        })
    }

    fn learn(&mut self, x: &[f64]) {
        self.rows += 1;
        let before = self.forgetting * self.weight;
        self.weight = before + 1.0;
        let distances: Vec<f64> = x.iter().zip(&self.means).map(|(x, mean)| x - mean).collect();
        let share = before / self.weight;
        for (products, a) in self.products.iter_mut().zip(&distances) {
            for (product, b) in products.iter_mut().zip(&distances) {
                *product = self.forgetting * *product + share * a * b;
            }
        }
        self.means.iter_mut().zip(&distances).for_each(|(mean, d)| *mean += d / self.weight);
        if self.rows.is_multiple_of(self.every) {
            self.basis = self.basis();
        }
    }

    /// The components of the correlations.
    fn basis(&self) -> Option<Basis> {
        let variance = |feature: usize| self.products[feature][feature] / self.weight;
        let factor = |feature| if variance(feature) > 0.0 { 1.0 / variance(feature).sqrt() } else { 0.0 };
        let factors: Vec<f64> = (0..self.means.len()).map(factor).collect();
        let row = |(products, a): (&Vec<f64>, &f64)| -> Vec<f64> {
            products.iter().zip(&factors).map(|(product, b)| product / self.weight * a * b).collect()
        };
        let correlations: Vec<Vec<f64>> = self.products.iter().zip(&factors).map(row).collect();
        if correlations.iter().flatten().any(|x| !x.is_finite()) {
            return None;
        }
        let pairs = eigen::symmetric(correlations);
        let least = NEGLIGIBLE * pairs.first()?.0;
        let components =
            pairs.into_iter().take(self.components).filter(|(variance, _)| *variance > least).collect();
        Some(Basis { means: self.means.clone(), factors, components })
    }
}

impl Basis {
    fn figure(&self, figure: PcaFigure, x: &[f64]) -> f64 {
        let scaled = x.iter().zip(&self.means).zip(&self.factors);
        let z: Vec<f64> = scaled.map(|((x, mean), factor)| (x - mean) * factor).collect();
        let score = |vector: &[f64]| vector.iter().zip(&z).map(|(p, z)| p * z).sum::<f64>();
        let scores: Vec<f64> = self.components.iter().map(|(_, vector)| score(vector)).collect();
        match figure {
            PcaFigure::T2 => {
                self.components.iter().zip(&scores).map(|((variance, _), t)| t * t / variance).sum()
            }
            PcaFigure::Spe => {
                let explained =
                    |j: usize| self.components.iter().zip(&scores).map(|((_, p), t)| p[j] * t).sum::<f64>();
                z.iter().enumerate().map(|(j, z)| (z - explained(j)).powi(2)).sum()
            }
        }
    }
}

impl Step for RunningPca {
    fn step(&mut self, x: &[f64], _time: i64) -> Option<f64> {
        if self.rows == 0 {
            self.means = vec![0.0; x.len()];
            self.products = vec![vec![0.0; x.len()]; x.len()];
        }
        if self.means.len() != x.len() {
            return None;
        }
        let figure = self.basis.as_ref().map(|basis| basis.figure(self.figure, x));
        self.learn(x);
        figure
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::numbers;
    use super::*;
    use crate::testing::units;

    /// Three features that follow one cause, which drifts, and one of its own; one that is constant.
    fn rows() -> Vec<[f64; 5]> {
        let mut units = units(9);
        let mut unit = || units() - 0.5;
        let mut row = |i: i32| {
            let cause = unit() + f64::from(i) / 100.0;
            [10.0 * cause + unit(), cause + 0.1 * unit(), 1e3 * (0.1 * unit() - cause), unit(), 7.0]
        };
        (0..200).map(&mut row).collect()
    }

    #[test]
    fn figures_are_those_of_numpy_on_all_rows_before() {
        for (name, figure) in [("running_pca_t2", PcaFigure::T2), ("running_pca_spe", PcaFigure::Spe)] {
            let mut pca = RunningPca::new(figure, 2, 20, 0.99).unwrap();
            let found: Vec<f64> = rows()
                .iter()
                .filter_map(|row| {
                    pca = postcard::from_bytes(&postcard::to_allocvec(&pca).unwrap()).unwrap();
                    pca.step(row, 0)
                })
                .collect();
            let expected = numbers(name);
            assert_eq!(found.len(), expected.len());
            for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert!(
                    (found - expected).abs() <= 1e-9 * expected.abs().max(1e-3),
                    "{name} {row}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_row_of_another_width_is_none() {
        let mut pca = RunningPca::new(PcaFigure::T2, 1, 2, 1.0).unwrap();
        assert_eq!(pca.step(&[1.0, 2.0], 0), None);
        assert_eq!(pca.step(&[1.0], 0), None);
        assert_eq!(RunningPca::new(PcaFigure::T2, 3, 3, 1.0), None);
    }
}
