//! The steps of a graph, over columns: what a node becomes.
//!
//! Numbers are computed as doubles. Where the graph has floats, each result is rounded to one, as in the runtimes for which it was
//! made: a tree after a scaler then sees the same numbers, and takes the same way.

use serde::{Deserialize, Serialize};

use super::ensemble::Ensemble;
use super::vector_classes::VectorClasses;
use super::vectors::Vectors;

/// Columns of equal length, one behind the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Columns {
    values: Vec<f64>,
    width: usize,
    rows: usize,
}

impl Columns {
    /// So many columns, filled with a value.
    pub(super) fn filled(value: f64, width: usize, rows: usize) -> Self {
        Self { values: vec![value; width * rows], width, rows }
    }

    /// Copies of columns.
    pub(super) fn of<'a>(columns: impl ExactSizeIterator<Item = &'a [f64]>, rows: usize) -> Self {
        let width = columns.len();
        let mut values = Vec::with_capacity(width * rows);
        columns.for_each(|column| values.extend_from_slice(column));
        Self { values, width, rows }
    }

    /// One column.
    pub(super) fn one(values: Vec<f64>) -> Self {
        Self { width: 1, rows: values.len(), values }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn column(&self, column: usize) -> &[f64] {
        &self.values[column * self.rows..][..self.rows]
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        (0..self.width).map(|column| self.column(column))
    }

    pub(super) fn column_mut(&mut self, column: usize) -> &mut [f64] {
        &mut self.values[column * self.rows..][..self.rows]
    }

    /// All elements.
    pub(super) fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// The elements of a column alone.
    pub(super) fn into_column(mut self, column: usize) -> Vec<f64> {
        self.values.truncate((column + 1) * self.rows);
        self.values.drain(..column * self.rows);
        self.values
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { values: self.values.iter().map(|x| f(*x)).collect(), ..*self }
    }
}

/// What a step reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Operand {
    /// The columns with this number.
    Columns(usize),
    /// A number for each column, or one for all.
    Constant(Vec<f64>),
}

/// What a step does. The place of an operation is its number in stored models: new ones come last, here and below.
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
    /// Sums over support vectors.
    Vectors(Vectors),
    /// From a row to the place of its class by support vectors, and its scores: two results.
    VectorClasses(VectorClasses),
    /// Each element by a table.
    Encode(Encoding),
    /// Of three operands the second where the first is not zero, else the third.
    Choose,
    /// One number of each of these groups of columns.
    Summarize(Summary, Vec<Vec<usize>>),
}

/// What is made of several numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Summary {
    Sum,
    Mean,
    Greatest,
    Least,
    Product,
    /// The sum of the squares.
    Squares,
    /// The sum of the magnitudes.
    Magnitudes,
    /// The root of the sum of the squares.
    Length,
    /// `ln(sum(exp(x)))`.
    LogSumExp,
}

impl Summary {
    fn of(self, numbers: impl Iterator<Item = f64> + Clone) -> f64 {
        match self {
            Self::Sum => numbers.sum(),
            Self::Mean => numbers.clone().sum::<f64>() / super::number(numbers.count()),
            Self::Greatest => numbers.fold(f64::NEG_INFINITY, f64::max),
            Self::Least => numbers.fold(f64::INFINITY, f64::min),
            Self::Product => numbers.product(),
            Self::Squares => numbers.map(|x| x * x).sum(),
            Self::Magnitudes => numbers.map(f64::abs).sum(),
            Self::Length => numbers.map(|x| x * x).sum::<f64>().sqrt(),
            Self::LogSumExp => {
                let greatest = numbers.clone().fold(f64::NEG_INFINITY, f64::max);
                greatest + numbers.map(|x| (x - greatest).exp()).sum::<f64>().ln()
            }
        }
    }

    fn apply(self, columns: &Columns, groups: &[Vec<usize>], rows: usize) -> Columns {
        let mut results = Columns::filled(0.0, groups.len(), rows);
        for (at, group) in groups.iter().enumerate() {
            for (row, result) in results.column_mut(at).iter_mut().enumerate() {
                *result = self.of(group.iter().map(|column| columns.column(*column)[row]));
            }
        }
        results
    }
}

/// Numbers for numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Encoding {
    /// What is known, in ascending order, and what becomes of it.
    pub(super) pairs: Vec<(f64, f64)>,
    /// What becomes of others.
    pub(super) otherwise: f64,
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
    Less,
    LessOrEqual,
    Equal,
    And,
    Or,
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
    Sign,
    /// One for zero, else zero.
    Not,
    /// Zero for zero, else one.
    Truth,
    Reciprocal,
    Floor,
    Ceil,
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
    /// Adds the results of `rows` rows to `slots`.
    pub(super) fn apply(&self, operands: &[Operand], slots: &mut Vec<Columns>, rows: usize) {
        let columns = |place: usize| match &operands[place] {
            Operand::Columns(slot) => &slots[*slot],
            Operand::Constant(_) => &slots[0],
        };
        let x = columns(0);
        let result = match self {
            Self::Trees(ensemble) => ensemble.apply(x, rows),
            Self::Vectors(vectors) => vectors.apply(x, rows),
            Self::Affine { weights, bias } => affine(x, weights, bias, rows),
            Self::Normalize(norm) => by_row(x, |row| normalize(*norm, row)),
            Self::Binary(binary) => binary.apply(operands, slots, rows),
            Self::Unary(unary) => x.map(|x| unary.of(x)),
            Self::Softmax => by_row(x, softmax),
            Self::Concat => {
                let all: Vec<&[f64]> = (0..operands.len()).flat_map(|place| columns(place).iter()).collect();
                Columns::of(all.into_iter(), rows)
            }
            Self::Pick(picked) => Columns::of(picked.iter().map(|column| x.column(*column)), rows),
            Self::ArgMax => Columns::one(greatest(x)),
            Self::Decide(decide) => {
                let decided = decide.apply(x);
                return slots.extend(decided);
            }
            Self::VectorClasses(classes) => {
                let decided = classes.apply(x, rows);
                return slots.extend(decided);
            }
            Self::Encode(encoding) => x.map(|x| encoding.of(x)),
            Self::Choose => choose(operands, slots, rows),
            Self::Summarize(summary, groups) => summary.apply(x, groups, rows),
        };
        slots.push(result);
    }
}

fn affine(columns: &Columns, weights: &[Vec<f64>], bias: &[f64], rows: usize) -> Columns {
    let mut results = Columns::filled(0.0, weights.len(), rows);
    for (at, (weights, bias)) in weights.iter().zip(bias).enumerate() {
        let result = results.column_mut(at);
        for (column, weight) in columns.iter().zip(weights) {
            result.iter_mut().zip(column).for_each(|(sum, x)| *sum += weight * x);
        }
        result.iter_mut().for_each(|sum| *sum += bias);
    }
    results
}

/// Changes each row.
fn by_row(columns: &Columns, change: impl Fn(&mut [f64])) -> Columns {
    let mut changed = columns.clone();
    let mut row = vec![0.0; columns.width];
    for at in 0..columns.rows {
        row.iter_mut().zip(columns.iter()).for_each(|(value, column)| *value = column[at]);
        change(&mut row);
        row.iter().enumerate().for_each(|(column, value)| changed.column_mut(column)[at] = *value);
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

/// The place of the greatest column of each row, the first one of several.
pub(super) fn greatest(columns: &Columns) -> Vec<f64> {
    let mut best = vec![f64::NEG_INFINITY; columns.rows];
    let mut places = vec![0.0; columns.rows];
    for (place, column) in columns.iter().enumerate() {
        let place = super::number(place);
        for ((best, at), x) in best.iter_mut().zip(&mut places).zip(column) {
            // The first column is the best so far, even where it is no number.
            if x > best || place == 0.0 {
                (*best, *at) = (*x, place);
            }
        }
    }
    places
}

impl Decide {
    fn apply(self, scores: &Columns) -> [Columns; 2] {
        let second = |limit: f64| scores.map(|x| truth(x > limit));
        let both = |first: &dyn Fn(f64) -> f64, second: &dyn Fn(f64) -> f64| {
            let mut both = Columns::filled(0.0, 2, scores.rows);
            let (left, right) = both.values.split_at_mut(scores.rows);
            for ((left, right), x) in left.iter_mut().zip(right).zip(&scores.values) {
                (*left, *right) = (first(*x), second(*x));
            }
            both
        };
        match self {
            Self::Greatest(post) => {
                let changed = match post {
                    Post::None => scores.clone(),
                    Post::Logistic => scores.map(logistic),
                    Post::Softmax => by_row(scores, softmax),
                };
                [Columns::one(greatest(scores)), changed]
            }
            Self::Probability => [second(0.5), both(&|x| 1.0 - x, &|x| x)],
            Self::Sign(Post::Logistic) => [second(0.0), both(&|x| logistic(-x), &logistic)],
            Self::Sign(_) => [second(0.0), both(&|x| -x, &|x| x)],
        }
    }
}

impl Encoding {
    fn of(&self, x: f64) -> f64 {
        let known = self.pairs.binary_search_by(|(key, _)| key.total_cmp(&x));
        known.map_or(self.otherwise, |place| self.pairs[place].1)
    }
}

/// How many columns come of operands of which some have one for all.
fn widest(operands: &[Operand], slots: &[Columns]) -> usize {
    let width = |operand: &Operand| match operand {
        Operand::Columns(slot) => slots[*slot].width,
        Operand::Constant(values) => values.len(),
    };
    operands.iter().map(width).max().unwrap_or_default()
}

fn choose(operands: &[Operand], slots: &[Columns], rows: usize) -> Columns {
    let wide = widest(operands, slots);
    let mut results = Columns::filled(0.0, wide, rows);
    for at in 0..wide {
        let [which, a, b] = [0, 1, 2].map(|place| Side::of(&operands[place], slots, at));
        for (row, result) in results.column_mut(at).iter_mut().enumerate() {
            *result = if which.at(row) == 0.0 { b.at(row) } else { a.at(row) };
        }
    }
    results
}

impl Binary {
    fn apply(self, operands: &[Operand], slots: &[Columns], rows: usize) -> Columns {
        let wide = widest(operands, slots);
        let mut results = Columns::filled(0.0, wide, rows);
        for at in 0..wide {
            let [a, b] = [0, 1].map(|place| Side::of(&operands[place], slots, at));
            for (row, result) in results.column_mut(at).iter_mut().enumerate() {
                *result = self.of(a.at(row), b.at(row));
            }
        }
        results
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
            Self::Less => truth(a < b),
            Self::LessOrEqual => truth(a <= b),
            Self::Equal => truth(equal(a, b)),
            Self::And => truth(a != 0.0 && b != 0.0),
            Self::Or => truth(a != 0.0 || b != 0.0),
        }
    }
}

#[expect(clippy::float_cmp, reason = "that is what the graph asks")]
fn equal(a: f64, b: f64) -> bool {
    a == b
}

fn truth(is_true: bool) -> f64 {
    f64::from(u8::from(is_true))
}

/// What an operand has for a column.
enum Side<'a> {
    Column(&'a [f64]),
    Constant(f64),
}

impl<'a> Side<'a> {
    fn of(operand: &'a Operand, slots: &'a [Columns], at: usize) -> Self {
        match operand {
            Operand::Columns(slot) => Self::Column(slots[*slot].column(at.min(slots[*slot].width - 1))),
            Operand::Constant(values) => Self::Constant(values[at.min(values.len() - 1)]),
        }
    }

    fn at(&self, row: usize) -> f64 {
        match self {
            Self::Column(column) => column[row],
            Self::Constant(constant) => *constant,
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
            Self::Not => truth(x == 0.0),
            Self::Truth => truth(x != 0.0),
            Self::Reciprocal => 1.0 / x,
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            // Zero has no sign here.
            Self::Sign => {
                if x == 0.0 {
                    0.0
                } else {
                    x.signum()
                }
            }
        }
    }
}
