//! DBSCAN: clusters of any shape where rows are dense, and noise between them.
//!
//! A *core* row has at least `min_samples` rows, itself included, within `eps`. Core rows within `eps` of each other are of one
//! cluster. A row that is scored is of the cluster of the nearest core row if that is within `eps`, else noise, -1.
//!
//! - Source: Ester, Kriegel, Sander, Xu, "A density-based algorithm for discovering clusters", KDD 1996. Clusters are found by
//!   smartcore.
//! - Every core row is looked at for every row that is scored, so the model suits some thousands of rows.

use serde::{Deserialize, Serialize};
use smartcore::algorithm::neighbour::KNNAlgorithmName;
use smartcore::cluster::dbscan::{DBSCAN, DBSCANParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::metrics::distance::euclidian::Euclidian;

use super::linear::Scales;
use super::random_forest::column_matrix;
use super::reader::Reader;
use super::{Features, Model, Task};

/// Options of DBSCAN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DbscanOptions {
    /// How far a neighbour may be, above 0, in the units of the scaled features; 0.5 if not given.
    pub eps: f64,
    /// Rows within `eps` that make a row a core, itself included; 5 if not given.
    pub min_samples: usize,
    /// Whether distances are measured in standard deviations of each feature; true if not given.
    pub standardize: bool,
}

pub(crate) fn options(reader: &mut Reader<'_>) -> DbscanOptions {
    let is_distance = |eps: &f64| *eps > 0.0 && eps.is_finite();
    DbscanOptions {
        eps: reader.number("eps", 0.5, is_distance, "a number above 0"),
        min_samples: reader.at_least_one("min_samples", 5),
        standardize: reader.number("standardize", true, |_| true, "true or false"),
    }
}

/// The core rows with their clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dbscan {
    eps: f64,
    /// Subtracted from each feature.
    means: Vec<f64>,
    /// Each feature is multiplied by this; zero for one that was constant in training.
    factors: Vec<f64>,
    /// The scaled core rows, one after the other.
    cores: Vec<f64>,
    /// The cluster of each.
    clusters: Vec<i64>,
}

/// What smartcore's model begins with; the rows follow.
#[derive(Deserialize)]
struct Mirror {
    cluster_labels: Vec<i16>,
}

/// Finds the clusters.
pub(crate) fn fit(options: &DbscanOptions, columns: &[Vec<f64>]) -> Result<Dbscan, String> {
    let scales = Scales::of(columns)?;
    let factors = scales.factors(options.standardize);
    let empty =
        Dbscan { eps: options.eps, means: scales.means, factors, cores: Vec::new(), clusters: Vec::new() };
    let rows: Vec<Vec<f64>> =
        (0..columns.first().map_or(0, Vec::len)).map(|row| empty.scaled(columns, row)).collect();
    let labels = labels(options, &rows)?;
    let mut model = empty;
    for (row, label) in rows.iter().zip(labels) {
        let near = rows.iter().filter(|other| distance(row, other) <= options.eps).count();
        if label >= 0 && near >= options.min_samples {
            model.cores.extend(row);
            model.clusters.push(label.into());
        }
    }
    if model.clusters.is_empty() {
        return Err(format!(
            "no row has {} rows within {}; choose a greater eps or fewer min_samples",
            options.min_samples, options.eps
        ));
    }
    Ok(model)
}

/// The cluster of each row, below zero for noise.
fn labels(options: &DbscanOptions, rows: &[Vec<f64>]) -> Result<Vec<i16>, String> {
    let width = rows.first().map_or(0, Vec::len);
    let columns: Vec<Vec<f64>> = (0..width).map(|j| rows.iter().map(|row| row[j]).collect()).collect();
    let x = column_matrix(&columns).map_err(|error| error.to_string())?;
    let parameters = DBSCANParameters::default()
        .with_eps(options.eps)
        .with_min_samples(options.min_samples)
        .with_algorithm(KNNAlgorithmName::LinearSearch);
    let fitted: DBSCAN<f64, i32, DenseMatrix<f64>, Vec<i32>, Euclidian<f64>> =
        DBSCAN::fit(&x, parameters).map_err(|error| error.to_string())?;
    let bytes = postcard::to_allocvec(&fitted).map_err(|error| error.to_string())?;
    let (mirror, _): (Mirror, _) = postcard::take_from_bytes(&bytes).map_err(|error| error.to_string())?;
    Ok(mirror.cluster_labels)
}

/// As smartcore computes it, so that a row at the edge is within for both.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

impl Dbscan {
    /// The names that [`Model::value`] takes.
    pub const VALUES: [&'static str; 1] = ["distance"];

    fn scaled(&self, columns: &[impl AsRef<[f64]>], row: usize) -> Vec<f64> {
        let each = columns.iter().zip(&self.means).zip(&self.factors);
        each.map(|((column, mean), factor)| (column.as_ref()[row] - mean) * factor).collect()
    }

    /// Distance to the nearest core row, and the place of that; the first of several.
    fn nearest(&self, features: &Features<'_>, row: usize) -> (f64, usize) {
        let x = self.scaled(features.columns(), row);
        let distances = self.cores.chunks_exact(x.len()).map(|core| distance(core, &x));
        distances.zip(0..).fold((f64::INFINITY, 0), |best, found| if found.0 < best.0 { found } else { best })
    }
}

impl Model for Dbscan {
    fn task(&self) -> Task {
        Task::Clustering
    }

    /// The number of the cluster, from 0; -1 for noise.
    #[expect(clippy::cast_precision_loss, reason = "few clusters")]
    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        let cluster = |row| match self.nearest(features, row) {
            (distance, core) if distance <= self.eps => self.clusters[core] as f64,
            (distance, _) if distance.is_finite() => -1.0,
            // A row too far away to have a distance at all.
            _ => f64::NAN,
        };
        (0..features.rows()).map(cluster).collect()
    }

    /// `distance`: to the nearest core row, in the units of the scaled features.
    fn value(&self, name: &str, features: &Features<'_>) -> Option<Vec<f64>> {
        (name == "distance").then(|| (0..features.rows()).map(|row| self.nearest(features, row).0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::slices;
    use super::super::testing::plant;
    use super::*;

    fn near(eps: f64, min_samples: usize) -> DbscanOptions {
        DbscanOptions { eps, min_samples, standardize: true }
    }

    #[test]
    fn clusters_and_noise_are_those_of_scikit_learn() {
        let (x, _) = plant();
        let model = fit(&near(0.6, 3), &x).unwrap();
        let slices = slices(&x);
        assert_eq!(model.predict(&Features::new(&slices)), CLUSTERS);
    }

    #[test]
    fn a_row_that_is_near_no_core_is_noise() {
        let (x, _) = plant();
        let model = fit(&near(1.0, 3), &x).unwrap();
        let far = [vec![500.0], vec![2.0]];
        let slices = slices(&far);
        assert_eq!(model.predict(&Features::new(&slices)), [-1.0]);
        assert!(model.value("distance", &Features::new(&slices)).unwrap()[0] > 10.0);
    }

    #[test]
    fn rows_that_are_nowhere_dense_are_refused() {
        let error = fit(&near(0.001, 4), &plant().0).unwrap_err();
        assert_eq!(error, "no row has 4 rows within 0.001; choose a greater eps or fewer min_samples");
    }

    const CLUSTERS: [f64; 20] = [
        -1.0, -1.0, 0.0, -1.0, -1.0, 1.0, -1.0, 0.0, 2.0, -1.0, 1.0, -1.0, 0.0, 2.0, -1.0, 1.0, -1.0, -1.0,
        2.0, -1.0,
    ];
}
