//! Monitoring of many correlated channels by principal components: Hotelling's T2 within the model, SPE (Q) outside.
//!
//! A row is standardised to `z` with mean and population deviation of the training rows, and projected: `t = P' z`,
//! where the columns of `P` are the eigenvectors of `Z'Z / (n - 1)` with the `k` greatest eigenvalues `l`.
//!
//! - `T2 = sum t_a^2 / l_a`: how far from the centre, in the directions in which the plant varies.
//! - `SPE = |z - P t|^2`: how far from those directions, so a broken relation between channels.
//! - Contributions of feature `j`: `z_j sum_a t_a p_ja / l_a` to T2 and `(z - P t)_j^2` to SPE; they sum to the
//!   statistic (Alcala and Qin, "Reconstruction-based contribution for process monitoring", Automatica 45, 2009,
//!   "complete decomposition").
//! - Limits at confidence `c`: T2 `k (n - 1)(n + 1) / (n (n - k)) F(c; k, n - k)` or the chi-squared quantile with `k`
//!   degrees; SPE after Jackson and Mudholkar, "Control procedures for residuals associated with principal component
//!   analysis", Technometrics 21, 1979. Or the quantile of either over the training rows.
//!
//! A feature that is constant in training takes no part.

use serde::{Deserialize, Serialize};

use super::distribution::{chi_squared_quantile, f_quantile, normal_quantile, sample_quantile};
use super::hyper_parameters::{Components, PcaOptions, SpeLimit, T2Limit};
use super::linear::Scales;
use super::matrix::slices;
use super::{Features, Model, Task, eigen};

/// Eigenvalues below this share of the greatest are rounding: their direction is none.
const NEGLIGIBLE: f64 = 1e-12;

/// A fitted monitor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PcaMonitor {
    /// Subtracted from each feature.
    means: Vec<f64>,
    /// Each feature is multiplied by this; zero for one that was constant in training.
    factors: Vec<f64>,
    /// A unit vector per component, over all features.
    loadings: Vec<Vec<f64>>,
    /// The variance of each component.
    variances: Vec<f64>,
    /// The sum of the variances of the components that are left out.
    residual_variance: f64,
    t2_limit: f64,
    /// Infinite if no component is left out.
    spe_limit: f64,
}

/// Fits on rows of normal operation.
pub(crate) fn fit(options: &PcaOptions, columns: &[Vec<f64>]) -> Result<PcaMonitor, String> {
    let scales = Scales::of(columns)?;
    if scales.varying.is_empty() {
        return Err("every feature is constant; give features that vary".to_owned());
    }
    let rows = columns.first().map_or(0, Vec::len);
    let pairs = eigen::symmetric(covariance(&scales.standardize(columns), rows));
    let kept = number_of_components(options.components, &pairs)?;
    if rows <= kept + 1 {
        return Err(format!("{rows} training rows do not determine {kept} components; give more rows"));
    }
    let spread = |vector: &Vec<f64>| {
        let mut loading = vec![0.0; columns.len()];
        scales.varying.iter().zip(vector).for_each(|(&feature, &weight)| loading[feature] = weight);
        loading
    };
    let left_out: Vec<f64> = pairs[kept..].iter().map(|(variance, _)| variance.max(0.0)).collect();
    let factor = |&deviation: &f64| if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
    let mut monitor = PcaMonitor {
        factors: scales.deviations.iter().map(factor).collect(),
        loadings: pairs[..kept].iter().map(|(_, vector)| spread(vector)).collect(),
        variances: pairs[..kept].iter().map(|&(variance, _)| variance).collect(),
        means: scales.means,
        residual_variance: left_out.iter().sum(),
        t2_limit: f64::INFINITY,
        spe_limit: f64::INFINITY,
    };
    let slices = slices(columns);
    let features = Features::new(&slices);
    monitor.t2_limit = t2_limit(options, kept, rows, &monitor.t2(&features));
    if !left_out.is_empty() {
        // Residuals of channels that depend on each other exactly are rounding, and not to be alarmed about.
        let least = NEGLIGIBLE * monitor.variances.iter().chain(&left_out).sum::<f64>();
        monitor.spe_limit = spe_limit(options, &left_out, &monitor.spe(&features)).max(least);
    }
    Ok(monitor)
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
fn covariance(standardized: &[Vec<f64>], rows: usize) -> Vec<Vec<f64>> {
    let n = rows as f64 - 1.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / n;
    standardized.iter().map(|a| standardized.iter().map(|b| product(a, b)).collect()).collect()
}

/// The number of components that are kept; it is at least one and leaves out directions without variance.
fn number_of_components(wanted: Components, pairs: &[(f64, Vec<f64>)]) -> Result<usize, String> {
    let greatest = pairs.first().map_or(0.0, |pair| pair.0);
    let real = pairs.iter().filter(|pair| pair.0 > NEGLIGIBLE * greatest).count();
    match wanted {
        Components::Number(number) if number > real => Err(format!(
            "components = {number}, but the training rows vary in {real} directions only; choose fewer components"
        )),
        Components::Number(number) => Ok(number),
        Components::Variance(share) => {
            let total: f64 = pairs.iter().map(|pair| pair.0.max(0.0)).sum();
            let mut sum = 0.0;
            let enough = pairs.iter().position(|pair| {
                sum += pair.0;
                sum > share * total
            });
            Ok(enough.map_or(real, |place| place + 1).min(real))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of components and rows")]
fn t2_limit(options: &PcaOptions, components: usize, rows: usize, statistics: &[f64]) -> f64 {
    let (k, n) = (components as f64, rows as f64);
    match options.t2_limit {
        T2Limit::F => k * (n - 1.0) * (n + 1.0) / (n * (n - k)) * f_quantile(options.confidence, k, n - k),
        T2Limit::ChiSquared => chi_squared_quantile(options.confidence, k),
        T2Limit::Quantile => sample_quantile(statistics, options.confidence),
    }
}

fn spe_limit(options: &PcaOptions, left_out: &[f64], statistics: &[f64]) -> f64 {
    let theta = |power: i32| left_out.iter().map(|variance| variance.powi(power)).sum::<f64>();
    let (first, second, third) = (theta(1), theta(2), theta(3));
    match options.spe_limit {
        SpeLimit::Quantile => sample_quantile(statistics, options.confidence),
        SpeLimit::JacksonMudholkar if second == 0.0 => 0.0,
        SpeLimit::JacksonMudholkar => {
            let h = 1.0 - 2.0 * first * third / (3.0 * second * second);
            let c = normal_quantile(options.confidence);
            let inner =
                1.0 + c * (2.0 * second * h * h).sqrt() / first + second * h * (h - 1.0) / (first * first);
            first * inner.powf(1.0 / h)
        }
    }
}

impl PcaMonitor {
    /// The names that [`Model::value`] takes.
    pub const VALUES: [&'static str; 6] =
        ["score", "t2", "spe", "t2_limit", "spe_limit", "residual_variance"];
    /// The names that [`Model::contributions`] takes.
    pub const CONTRIBUTIONS: [&'static str; 2] = ["t2", "spe"];

    /// Number of components.
    pub fn components(&self) -> usize {
        self.variances.len()
    }

    /// Hotelling's T2 of each row.
    pub fn t2(&self, features: &Features<'_>) -> Vec<f64> {
        self.map_rows(features, |_, scores| self.t2_of(scores))
    }

    /// The squared prediction error of each row, in squared deviations.
    pub fn spe(&self, features: &Features<'_>) -> Vec<f64> {
        self.map_rows(features, |z, scores| self.residual(z, scores).map(|e| e * e).sum())
    }

    /// The greater of T2 and SPE, each in units of its limit: above one is an anomaly.
    pub fn score(&self, features: &Features<'_>) -> Vec<f64> {
        self.map_rows(features, |z, scores| {
            let spe: f64 = self.residual(z, scores).map(|e| e * e).sum();
            (self.t2_of(scores) / self.t2_limit).max(spe / self.spe_limit)
        })
    }

    /// `visit(standardised row, its scores)` for each row.
    fn map_rows<T>(&self, features: &Features<'_>, visit: impl Fn(&[f64], &[f64]) -> T) -> Vec<T> {
        let (mut z, mut scores) = (vec![0.0; self.means.len()], vec![0.0; self.variances.len()]);
        let row = |row: usize| {
            for (feature, column) in features.columns().iter().enumerate() {
                z[feature] = (column[row] - self.means[feature]) * self.factors[feature];
            }
            for (score, loading) in scores.iter_mut().zip(&self.loadings) {
                *score = loading.iter().zip(&z).map(|(p, z)| p * z).sum();
            }
            visit(&z, &scores)
        };
        (0..features.rows()).map(row).collect()
    }

    fn t2_of(&self, scores: &[f64]) -> f64 {
        scores.iter().zip(&self.variances).map(|(t, variance)| t * t / variance).sum()
    }

    /// What the components do not explain of each feature.
    fn residual<'a>(&'a self, z: &'a [f64], scores: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        let explained = move |j: usize| self.loadings.iter().zip(scores).map(|(p, t)| p[j] * t).sum::<f64>();
        z.iter().enumerate().map(move |(j, z)| z - explained(j))
    }

    /// The share of each feature in T2.
    fn t2_parts(&self, z: &[f64], scores: &[f64]) -> Vec<f64> {
        let weights: Vec<f64> =
            scores.iter().zip(&self.variances).map(|(t, variance)| t / variance).collect();
        let part = |(j, z): (usize, &f64)| {
            z * self.loadings.iter().zip(&weights).map(|(p, w)| p[j] * w).sum::<f64>()
        };
        z.iter().enumerate().map(part).collect()
    }
}

/// One if a score is above its limit; a score that is not a number gives no answer.
pub(crate) fn flag(score: f64) -> f64 {
    match score.partial_cmp(&1.0) {
        Some(std::cmp::Ordering::Greater) => 1.0,
        Some(_) => 0.0,
        None => f64::NAN,
    }
}

impl Model for PcaMonitor {
    fn task(&self) -> Task {
        Task::Anomaly
    }

    /// One for an anomaly, else zero.
    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        self.score(features).into_iter().map(flag).collect()
    }

    fn value(&self, name: &str, features: &Features<'_>) -> Option<Vec<f64>> {
        let constant = |value: f64| Some(vec![value; features.rows()]);
        match name {
            "score" => Some(self.score(features)),
            "t2" => Some(self.t2(features)),
            "spe" => Some(self.spe(features)),
            "t2_limit" => constant(self.t2_limit),
            "spe_limit" => constant(self.spe_limit),
            "residual_variance" => constant(self.residual_variance),
            _ => None,
        }
    }

    /// The scores: the place of the row along each component, in deviations of the standardised features.
    fn transform(&self, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        Some(self.map_rows(features, |_, scores| scores.to_vec()))
    }

    fn contributions(&self, name: &str, features: &Features<'_>) -> Option<Vec<Vec<f64>>> {
        match name {
            "t2" => Some(self.map_rows(features, |z, scores| self.t2_parts(z, scores))),
            "spe" => {
                Some(self.map_rows(features, |z, scores| self.residual(z, scores).map(|e| e * e).collect()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
