//! Eigenvalues and eigenvectors of a symmetric matrix, by Jacobi's rotations.
//!
//! Slower than the methods of large libraries, but short, accurate in small eigenvalues, and the same on every
//! machine. Matrices here have a row per feature.

/// Sweeps over all pairs; it converges quadratically, and ten are plenty for hundreds of rows.
const MOST_SWEEPS: usize = 60;

/// The eigenvalues in descending order, and a unit eigenvector for each. `matrix` is symmetric. The largest component
/// of each vector is positive, so that the same matrix always gives the same vectors.
pub(crate) fn symmetric(mut matrix: Vec<Vec<f64>>) -> Vec<(f64, Vec<f64>)> {
    let n = matrix.len();
    // Row `i` of `vectors` becomes the eigenvector of `matrix[i][i]`.
    let mut vectors: Vec<Vec<f64>> =
        (0..n).map(|i| (0..n).map(|j| if i == j { 1.0 } else { 0.0 }).collect()).collect();
    for _ in 0..MOST_SWEEPS {
        if largest_off_diagonal(&matrix) == 0.0 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
    }
    let mut pairs: Vec<(f64, Vec<f64>)> =
        vectors.into_iter().enumerate().map(|(i, vector)| (matrix[i][i], with_sign(vector))).collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    pairs
}

/// The rotation that makes `matrix[p][q]` zero (Golub and Van Loan, "Matrix Computations", 8.5.2).
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    let (app, aqq, apq) = (matrix[p][p], matrix[q][q], matrix[p][q]);
    if apq.abs() <= f64::EPSILON * 1e-3 * (app.abs() * aqq.abs()).sqrt() || apq == 0.0 {
        matrix[p][q] = 0.0;
        matrix[q][p] = 0.0;
        return;
    }
    let tau = (aqq - app) / (2.0 * apq);
    let t = tau.signum() / (tau.abs() + tau.hypot(1.0));
    let c = 1.0 / t.hypot(1.0);
    let s = t * c;
    for row in matrix.iter_mut() {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
    for side in [matrix, vectors] {
        for k in 0..side[p].len() {
            (side[p][k], side[q][k]) = (c * side[p][k] - s * side[q][k], s * side[p][k] + c * side[q][k]);
        }
    }
}

fn largest_off_diagonal(matrix: &[Vec<f64>]) -> f64 {
    let mut largest = 0.0_f64;
    for (i, row) in matrix.iter().enumerate() {
        row[i + 1..].iter().for_each(|value| largest = largest.max(value.abs()));
    }
    largest
}

fn with_sign(vector: Vec<f64>) -> Vec<f64> {
    let largest = vector.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    if largest < 0.0 { vector.into_iter().map(|x| -x).collect() } else { vector }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    #[test]
    fn a_matrix_is_the_sum_of_its_parts_and_vectors_are_orthogonal() {
        let (mut random, n) = (Random::new(4), 20);
        let half: Vec<Vec<f64>> = (0..n).map(|i| (0..=i).map(|_| random.unit() - 0.5).collect()).collect();
        let entry = |i: usize, j: usize| half[i.max(j)][i.min(j)];
        let matrix: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect();
        let pairs = symmetric(matrix);
        assert!(pairs.windows(2).all(|pair| pair[0].0 >= pair[1].0));
        for i in 0..n {
            for j in 0..n {
                let sum: f64 = pairs.iter().map(|(value, vector)| value * vector[i] * vector[j]).sum();
                assert!((sum - entry(i, j)).abs() < 1e-12);
                let product: f64 = pairs[i].1.iter().zip(&pairs[j].1).map(|(a, b)| a * b).sum();
                assert!((product - if i == j { 1.0 } else { 0.0 }).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn small_matrices_have_the_known_eigenvalues() {
        let pairs = symmetric(vec![vec![2.0, 1.0], vec![1.0, 2.0]]);
        assert!((pairs[0].0 - 3.0).abs() < 1e-15 && (pairs[1].0 - 1.0).abs() < 1e-15);
        assert_eq!(symmetric(vec![vec![0.0, 0.0], vec![0.0, 0.0]])[1].0.to_bits(), 0.0_f64.to_bits());
        assert_eq!(symmetric(Vec::new()), []);
    }
}
