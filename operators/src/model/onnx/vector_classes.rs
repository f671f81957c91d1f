//! Classes by support vectors of ONNX: each pair of classes has a sum over the vectors of both, and votes for one of them.
//!
//! Sources: `SVMClassifier` of `ai.onnx.ml`, version 1; the sums and their layout are those of Chang and Lin, LIBSVM: A Library for
//! Support Vector Machines (2011), section 4; probabilities by Platt, Probabilistic Outputs for Support Vector Machines (1999), and, of
//! several pairs, by Wu, Lin and Weng, Probability Estimates for Multi-class Classification by Pairwise Coupling (2004), algorithm 2.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Reason;
use super::graph::Node;
use super::operation::Columns;
use super::vectors::kernel;
use crate::model::svm::Kernel;

/// Vectors, those of each class together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct VectorClasses {
    kernel: Kernel,
    /// One after the other, as wide as the rows.
    vectors: Vec<f64>,
    /// Where the vectors of each class are.
    of_class: Vec<Range<usize>>,
    /// For each class but one the coefficients of all vectors.
    coefficients: Vec<f64>,
    pairs: Vec<Pair>,
    /// True if scores are probabilities of the classes.
    is_sure: bool,
}

/// What a pair of classes has beside its vectors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Pair {
    rho: f64,
    /// Slope and offset of the probability of its first class: `1 / (1 + exp(a * sum + b))`.
    a: f64,
    b: f64,
}

/// The probability of one class of a pair is never quite nothing.
const LEAST: f64 = 1e-7;

impl VectorClasses {
    /// Those of a node that reads so many columns and tells so many classes apart.
    pub(super) fn of(node: &Node, width: usize, classes: usize) -> Result<Self, Reason> {
        let mut end = 0;
        let ranges = node.integers("vectors_per_class").iter().map(|count| {
            let start = end;
            end += usize::try_from(*count).unwrap_or_default();
            start..end
        });
        let of_class: Vec<Range<usize>> = ranges.collect();
        let [vectors, coefficients, rho, a, b] =
            ["support_vectors", "coefficients", "rho", "prob_a", "prob_b"].map(|name| node.numbers(name));
        let (vectors, coefficients, rho, a, b) = (vectors?, coefficients?, rho?, a?, b?);
        let pairs = classes * classes.saturating_sub(1) / 2;
        let fits = classes > 1
            && of_class.len() == classes
            && vectors.len() == end * width
            && coefficients.len() == end * (classes - 1)
            && rho.len() == pairs
            && (a.is_empty() || a.len() == pairs)
            && a.len() == b.len();
        if !fits {
            return Err(format!(
                "SVMClassifier has {} numbers of vectors, {} coefficients and {} rho for {classes} classes and {width} columns",
                vectors.len(),
                coefficients.len(),
                rho.len()
            ));
        }
        let at = |list: &[f64], pair: usize| list.get(pair).copied().unwrap_or_default();
        let pairs =
            rho.iter().enumerate().map(|(pair, rho)| Pair { rho: *rho, a: at(&a, pair), b: at(&b, pair) });
        let (pairs, is_sure) = (pairs.collect(), !a.is_empty());
        Ok(Self { kernel: kernel(node)?, vectors, of_class, coefficients, pairs, is_sure })
    }

    /// How many scores a row gets: one for each class, or, without probabilities, one for each pair of several.
    pub(super) fn scores(&self) -> usize {
        if self.is_sure || self.of_class.len() == 2 { self.of_class.len() } else { self.pairs.len() }
    }

    /// The place of the class, and the scores.
    pub(super) fn apply(&self, columns: &Columns, rows: usize) -> [Columns; 2] {
        let mut places = Vec::with_capacity(rows);
        let mut scores = Columns::filled(0.0, self.scores(), rows);
        let mut row = vec![0.0; columns.width()];
        for at in 0..rows {
            row.iter_mut().zip(columns.iter()).for_each(|(value, column)| *value = column[at]);
            let (place, of_row) = self.of_row(&row);
            places.push(super::number(place));
            of_row.into_iter().enumerate().for_each(|(score, value)| scores.column_mut(score)[at] = value);
        }
        [Columns::one(places), scores]
    }

    fn of_row(&self, row: &[f64]) -> (usize, Vec<f64>) {
        let near: Vec<f64> =
            self.vectors.chunks_exact(row.len()).map(|vector| self.kernel.of(vector, row)).collect();
        let classes = self.of_class.len();
        let (mut votes, mut sums) = (vec![0_usize; classes], Vec::with_capacity(self.pairs.len()));
        for (first, second) in pairs_of(classes) {
            let of = |class: usize, other: usize| {
                let (vectors, line) = (self.of_class[class].clone(), other * near.len());
                vectors.map(|vector| self.coefficients[line + vector] * near[vector]).sum::<f64>()
            };
            let sum = self.pairs[sums.len()].rho + of(first, second - 1) + of(second, first);
            votes[if sum > 0.0 { first } else { second }] += 1;
            sums.push(sum);
        }
        // The votes decide even where another class is the more probable one, as in LIBSVM without probabilities.
        if self.is_sure {
            return (first_greatest(&votes), self.probabilities(&sums));
        }
        // Of two classes each has a score, which onnxruntime gives with these signs.
        let scores = if classes == 2 { vec![-sums[0], sums[0]] } else { sums };
        (first_greatest(&votes), scores)
    }

    /// The probability of each class by those of the pairs.
    fn probabilities(&self, sums: &[f64]) -> Vec<f64> {
        let classes = self.of_class.len();
        let mut of_pair = vec![vec![0.0; classes]; classes];
        for ((first, second), (pair, sum)) in pairs_of(classes).zip(self.pairs.iter().zip(sums)) {
            let likely = 1.0 / (1.0 + (pair.a * sum + pair.b).exp());
            let likely = likely.clamp(LEAST, 1.0 - LEAST);
            of_pair[first][second] = likely;
            of_pair[second][first] = 1.0 - likely;
        }
        coupled(&of_pair)
    }
}

/// All pairs of so many classes, in the order of a file.
fn pairs_of(classes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..classes).flat_map(move |first| (first + 1..classes).map(move |second| (first, second)))
}

/// The place of the greatest, the first one of several.
fn first_greatest<T: PartialOrd>(values: &[T]) -> usize {
    (1..values.len()).fold(0, |best, place| if values[place] > values[best] { place } else { best })
}

/// The probabilities `p` that minimise `sum over i, j of (r[j][i] * p[i] - r[i][j] * p[j])^2`, where `r[i][j]` is that of class `i`
/// among `i` and `j`: one after the other is set to its best, until all are near it.
fn coupled(of_pair: &[Vec<f64>]) -> Vec<f64> {
    let classes = of_pair.len();
    let entry = |i: usize, j: usize| {
        if i == j {
            (0..classes).filter(|k| *k != i).map(|k| of_pair[k][i] * of_pair[k][i]).sum()
        } else {
            -of_pair[j][i] * of_pair[i][j]
        }
    };
    let matrix: Vec<Vec<f64>> = (0..classes).map(|i| (0..classes).map(|j| entry(i, j)).collect()).collect();
    let product = |line: &[f64], p: &[f64]| line.iter().zip(p).map(|(a, b)| a * b).sum::<f64>();
    let tolerance = 0.005 / super::number(classes);
    let mut p = vec![1.0 / super::number(classes); classes];
    for _ in 0..classes.max(100) {
        let lines: Vec<f64> = matrix.iter().map(|line| product(line, &p)).collect();
        let total = product(&lines, &p);
        if lines.iter().all(|line| (line - total).abs() < tolerance) {
            break;
        }
        for i in 0..classes {
            let lines: Vec<f64> = matrix.iter().map(|line| product(line, &p)).collect();
            let step = (product(&lines, &p) - lines[i]) / matrix[i][i];
            p[i] += step;
            // They are probabilities again.
            p.iter_mut().for_each(|value| *value /= 1.0 + step);
        }
    }
    p
}
