//! The steps of a graph, over columns: what a node becomes.
//!
//! Numbers are computed as doubles. Where the graph has floats, each result is rounded to one, as in the runtimes for which it was
//! made: a tree after a scaler then sees the same numbers, and takes the same way.

use serde::{Deserialize, Serialize};

use super::ensemble::Ensemble;

/// Columns of equal length.
pub(super) type Columns = Vec<Vec<f64>>;

/// What a step reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Operand {
    /// The columns with this number.
    Columns(usize),
    /// A number for each column, or one for all.
    Constant(Vec<f64>),
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Operation {
    /// Sums of leaves.
    Trees(Ensemble),
    /// `x * weights + bias`; the weights are those of each result.
    Affine { weights: Vec<Vec<f64>>, bias: Vec<f64> },
    /// `x / norm(x)` of each row.
    Normalize(Norm),
    /// Two operands, element by element.
    Binary(Binary),
    /// Each element.
    Unary(Unary),
    /// `exp(x) / sum(exp(x))` of each row.
    Softmax,
    /// All columns of the operands.
    Concat,
    /// Some of the columns.
    Pick(Vec<usize>),
    /// The place of the greatest column, the first one of several.
    ArgMax,
    /// From the scores of a classifier to the place of its class, and the scores that it gives: two results.
    Decide(Decide),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Norm {
    Greatest,
    Sum,
    Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Power,
    Least,
    Greatest,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Unary {
    Relu,
    LeakyRelu(f64),
    Elu(f64),
    Logistic,
    Tanh,
    Softplus,
    Exp,
    Log,
    Sqrt,
    Neg,
    Abs,
    Truncate,
}

/// How the scores of a classifier become a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Decide {
    /// The class with the greatest score; then the scores are changed.
    Greatest(Post),
    /// One score, the probability of the second class of two.
    Probability,
    /// One score, above zero for the second class of two.
    Sign(Post),
}

/// What is done to scores at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Post {
    /// Nothing.
    None,
    /// `1 / (1 + exp(-x))` of each.
    Logistic,
    /// See [`Operation::Softmax`].
    Softmax,
}

impl Operation {
    /// The results of `rows` rows.
    pub(super) fn apply(&self, operands: &[&Operand], slots: &[Columns], rows: usize) -> Vec<Columns> {
        let columns = |place: usize| match operands[place] {
            Operand::Columns(slot) => &slots[*slot],
            Operand::Constant(_) => &slots[0],
        };
        let x = || columns(0);
        let each = |f: &dyn Fn(f64) -> f64| map(x(), f);
        let result = match self {
            Self::Trees(ensemble) => ensemble.apply(x(), rows),
            Self::Affine { weights, bias } => affine(x(), weights, bias, rows),
            Self::Normalize(norm) => by_row(x(), rows, |row| normalize(*norm, row)),
            Self::Binary(binary) => binary.apply(operands, slots, rows),
            Self::Unary(unary) => each(&|x| unary.of(x)),
            Self::Softmax => by_row(x(), rows, softmax),
            Self::Concat => (0..operands.len()).flat_map(|place| columns(place).iter().cloned()).collect(),
            Self::Pick(picked) => picked.iter().map(|column| x()[*column].clone()).collect(),
            Self::ArgMax => vec![greatest(x(), rows)],
            Self::Decide(decide) => return decide.apply(x(), rows),
        };
        vec![result]
    }
}

fn map(columns: &Columns, f: &dyn Fn(f64) -> f64) -> Columns {
    columns.iter().map(|column| column.iter().map(|x| f(*x)).collect()).collect()
}

fn affine(columns: &Columns, weights: &[Vec<f64>], bias: &[f64], rows: usize) -> Columns {
    let result = |(weights, bias): (&Vec<f64>, &f64)| {
        let mut result = vec![0.0; rows];
        for (column, weight) in columns.iter().zip(weights) {
            result.iter_mut().zip(column).for_each(|(sum, x)| *sum += weight * x);
        }
        result.iter_mut().for_each(|sum| *sum += bias);
        result
    };
    weights.iter().zip(bias).map(result).collect()
}

/// Changes each row.
fn by_row(columns: &Columns, rows: usize, change: impl Fn(&mut [f64])) -> Columns {
    let mut changed = columns.clone();
    let mut row = vec![0.0; columns.len()];
    for at in 0..rows {
        row.iter_mut().zip(columns).for_each(|(value, column)| *value = column[at]);
        change(&mut row);
        changed.iter_mut().zip(&row).for_each(|(column, value)| column[at] = *value);
    }
    changed
}

fn normalize(norm: Norm, row: &mut [f64]) {
    let size = match norm {
        Norm::Greatest => row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Norm::Sum => row.iter().map(|x| x.abs()).sum(),
        Norm::Length => row.iter().map(|x| x * x).sum::<f64>().sqrt(),
    };
    // A row of zeros stays one.
    if size != 0.0 {
        row.iter_mut().for_each(|x| *x /= size);
    }
}

fn softmax(row: &mut [f64]) {
    let greatest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|x| *x = (*x - greatest).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[expect(clippy::cast_precision_loss, reason = "few columns")]
pub(super) fn greatest(columns: &Columns, rows: usize) -> Vec<f64> {
    let place = |row: usize| {
        let mut best = 0;
        for (place, column) in columns.iter().enumerate() {
            if column[row] > columns[best][row] {
                best = place;
            }
        }
        best as f64
    };
    (0..rows).map(place).collect()
}

impl Decide {
    fn apply(self, scores: &Columns, rows: usize) -> Vec<Columns> {
        let second = |limit: f64| scores[0].iter().map(|x| f64::from(u8::from(*x > limit))).collect();
        let both = |first: &dyn Fn(f64) -> f64, second: &dyn Fn(f64) -> f64| {
            [first, second].map(|f| scores[0].iter().map(|x| f(*x)).collect()).to_vec()
        };
        match self {
            Self::Greatest(post) => {
                let changed = match post {
                    Post::None => scores.clone(),
                    Post::Logistic => map(scores, &logistic),
                    Post::Softmax => by_row(scores, rows, softmax),
                };
                vec![vec![greatest(scores, rows)], changed]
            }
            Self::Probability => vec![vec![second(0.5)], both(&|x| 1.0 - x, &|x| x)],
            Self::Sign(Post::Logistic) => vec![vec![second(0.0)], both(&|x| logistic(-x), &logistic)],
            Self::Sign(_) => vec![vec![second(0.0)], both(&|x| -x, &|x| x)],
        }
    }
}

impl Binary {
    fn apply(self, operands: &[&Operand], slots: &[Columns], rows: usize) -> Columns {
        let width = |operand: &Operand| match operand {
            Operand::Columns(slot) => slots[*slot].len(),
            Operand::Constant(values) => values.len(),
        };
        let wide = operands.iter().map(|operand| width(operand)).max().unwrap_or_default();
        let value = |operand: &Operand, column: usize, row: usize| match operand {
            Operand::Columns(slot) => slots[*slot][column.min(slots[*slot].len() - 1)][row],
            Operand::Constant(values) => values[column.min(values.len() - 1)],
        };
        let of = |column, row| self.of(value(operands[0], column, row), value(operands[1], column, row));
        (0..wide).map(|column| (0..rows).map(|row| of(column, row)).collect()).collect()
    }

    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Power => a.powf(b),
            Self::Least => a.min(b),
            Self::Greatest => a.max(b),
        }
    }
}

impl Unary {
    fn of(self, x: f64) -> f64 {
        match self {
            Self::Relu => x.max(0.0),
            Self::LeakyRelu(slope) => {
                if x < 0.0 {
                    slope * x
                } else {
                    x
                }
            }
            Self::Elu(scale) => {
                if x < 0.0 {
                    scale * x.exp_m1()
                } else {
                    x
                }
            }
            Self::Logistic => logistic(x),
            Self::Tanh => x.tanh(),
            Self::Softplus => x.exp().ln_1p(),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Truncate => x.trunc(),
        }
    }
}
