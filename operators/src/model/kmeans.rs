//! k-means: the nearest of `k` centres.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smartcore::cluster::kmeans::{KMeans, KMeansParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

use super::linear::Scales;
use super::random_forest::column_matrix;
use super::{Features, Model, Task};

/// Starts with different seeds, of which the best is kept: Lloyd's algorithm ends in the nearest local optimum.
const STARTS: u64 = 4;

/// Centres in the space of the scaled features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Centroids {
    /// One vector a cluster.
    centers: Vec<Vec<f64>>,
    /// Subtracted from each feature.
    means: Vec<f64>,
    /// Each feature is multiplied by this; zero for one that was constant in training.
    factors: Vec<f64>,
}

/// What smartcore's model holds, by the order of its fields.
#[derive(Deserialize)]
struct Mirror {
    _k: usize,
    _y: Vec<usize>,
    _size: Vec<usize>,
    _distortion: f64,
    centroids: Vec<Vec<f64>>,
}

/// Fits on rows of which at least `k` differ.
pub(crate) fn fit(
    k: usize,
    max_iter: usize,
    standardize: bool,
    seed: u64,
    columns: &[Vec<f64>],
) -> Result<Centroids, String> {
    let distinct = distinct_rows(columns, k);
    if distinct < k {
        return Err(format!("k is {k}, but only {distinct} training rows differ; choose a smaller k"));
    }
    let scales = Scales::of(columns)?;
    let factors = scales.factors(standardize);
    let empty = Centroids { centers: Vec::new(), means: scales.means, factors };
    let scaled = empty.scale_columns(columns);
    let x = column_matrix(&scaled).map_err(|error| error.to_string())?;
    let mut best: Option<(f64, Centroids)> = None;
    for start in 0..STARTS {
        let model =
            Centroids { centers: centers(&x, k, max_iter, seed.wrapping_add(start))?, ..empty.clone() };
        let inertia: f64 =
            model.squared_distances(&Features::new(&super::matrix::slices(columns))).iter().sum();
        // An empty cluster of the start has a centre of NaN: such a start is not taken.
        if inertia.is_finite() && best.as_ref().is_none_or(|(least, _)| inertia < *least) {
            best = Some((inertia, model));
        }
    }
    best.map(|(_, model)| model).ok_or_else(|| "no start gave finite centres; scale the features".to_owned())
}

fn centers(x: &DenseMatrix<f64>, k: usize, max_iter: usize, seed: u64) -> Result<Vec<Vec<f64>>, String> {
    let mut parameters = KMeansParameters::default().with_k(k).with_max_iter(max_iter);
    parameters.seed = Some(seed);
    let fitted: KMeans<f64, u32, DenseMatrix<f64>, Vec<u32>> =
        KMeans::fit(x, parameters).map_err(|error| error.to_string())?;
    let bytes = postcard::to_allocvec(&fitted).map_err(|error| error.to_string())?;
    let mirror: Mirror = postcard::from_bytes(&bytes).map_err(|error| error.to_string())?;
    Ok(mirror.centroids)
}

/// Number of different rows, counted up to `enough`.
fn distinct_rows(columns: &[Vec<f64>], enough: usize) -> usize {
    let rows = columns.first().map_or(0, Vec::len);
    let mut seen = BTreeSet::new();
    for row in 0..rows {
        if seen.len() >= enough {
            break;
        }
        seen.insert(columns.iter().map(|column| (column[row] + 0.0).to_bits()).collect::<Vec<_>>());
    }
    seen.len()
}

impl Centroids {
    /// The names that [`Model::value`] takes.
    pub const VALUES: [&'static str; 1] = ["distance"];

    fn scale_columns(&self, columns: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let scaled = |(feature, column): (usize, &Vec<f64>)| {
            column.iter().map(|x| (x - self.means[feature]) * self.factors[feature]).collect()
        };
        columns.iter().enumerate().map(scaled).collect()
    }

    /// Calls `visit(squared distance, cluster)` of the nearest centre of each row; a tie goes to the first.
    fn for_each_nearest(&self, features: &Features<'_>, mut visit: impl FnMut(f64, usize)) {
        let mut scaled = vec![0.0; features.columns().len()];
        for row in 0..features.rows() {
            for (feature, column) in features.columns().iter().enumerate() {
                scaled[feature] = (column[row] - self.means[feature]) * self.factors[feature];
            }
            let (mut least, mut nearest) = (f64::INFINITY, 0);
            for (cluster, center) in self.centers.iter().enumerate() {
                let distance: f64 = center.iter().zip(&scaled).map(|(c, x)| (c - x).powi(2)).sum();
                if distance < least {
                    (least, nearest) = (distance, cluster);
                }
            }
            visit(least, nearest);
        }
    }

    /// The squared distance of each row to its centre, in the units of the scaled features.
    pub fn squared_distances(&self, features: &Features<'_>) -> Vec<f64> {
        let mut distances = Vec::with_capacity(features.rows());
        self.for_each_nearest(features, |distance, _| distances.push(distance));
        distances
    }
}

impl Model for Centroids {
    fn task(&self) -> Task {
        Task::Clustering
    }

    #[expect(clippy::cast_precision_loss, reason = "few clusters")]
    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        let mut clusters = Vec::with_capacity(features.rows());
        // A row too far away to have a distance at all belongs to no cluster.
        self.for_each_nearest(features, |distance, cluster| {
            clusters.push(if distance.is_finite() { cluster as f64 } else { f64::NAN });
        });
        clusters
    }

    /// `distance`: to the centre of the cluster, in the units of the scaled features.
    fn value(&self, name: &str, features: &Features<'_>) -> Option<Vec<f64>> {
        let squared = (name == "distance").then(|| self.squared_distances(features))?;
        Some(squared.into_iter().map(f64::sqrt).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::slices;
    use super::super::random::Random;
    use super::*;

    /// Three blobs; the second feature has a much larger unit.
    fn blobs() -> Vec<Vec<f64>> {
        let mut random = Random::new(5);
        let mut columns = vec![Vec::new(), Vec::new(), Vec::new()];
        for row in 0..90 {
            let (x, y) = [(0.0, 0.0), (10.0, 0.0), (0.0, 10.0)][row % 3];
            columns[0].push(x + random.unit());
            columns[1].push((y + random.unit()) * 1e6);
            columns[2].push(42.0);
        }
        columns
    }

    #[test]
    fn blobs_become_clusters_whatever_their_units() {
        let columns = blobs();
        let model = fit(3, 100, true, 1, &columns).unwrap();
        let predicted = model.predict(&Features::new(&slices(&columns)));
        let clusters: Vec<u64> = predicted.iter().map(|cluster| cluster.to_bits()).collect();
        for row in 3..90 {
            assert_eq!(clusters[row], clusters[row % 3]);
        }
        assert!(clusters[0] != clusters[1] && clusters[1] != clusters[2] && clusters[0] != clusters[2]);
    }

    #[test]
    fn more_clusters_than_different_rows_are_refused() {
        let error = fit(3, 10, true, 1, &[vec![1.0, 1.0, 2.0, 2.0]]).unwrap_err();
        assert_eq!(error, "k is 3, but only 2 training rows differ; choose a smaller k");
    }

    #[test]
    fn the_seed_decides_the_clusters() {
        let columns = blobs();
        assert_eq!(fit(4, 50, false, 3, &columns), fit(4, 50, false, 3, &columns));
    }
}
