//! Support vectors: the widest margin between two classes, or the flattest function within a tube around a number.
//!
//! `f(x) = sum w_i K(x_i, x) - offset` over the support vectors. Features are standardised, and the target of a regression is;
//! more than two classes are told apart pair by pair, and the class that most pairs name is given, the first of several.
//!
//! - Source: Cortes, Vapnik, "Support-vector networks", Machine Learning 20 (1995); Smola, Schoelkopf, "A tutorial on support
//!   vector regression", Statistics and Computing 14 (2004). The same optimum as scikit-learn's `SVC` and `SVR`.
//! - The program is solved here ([`solver`]): smartcore's classifier stops after a number of passes, short of the optimum.
//! - Training takes time and memory with the square of the rows, so the model suits some thousands of rows.

mod solver;

use serde::{Deserialize, Serialize};

use self::solver::Problem;
use super::linear::{Scales, TOO_LARGE};
use super::reader::Reader;
use super::{Features, Model, Task};

/// Options of support vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SvmOptions {
    /// How alike two rows are.
    pub kernel: Kernel,
    /// What a row on the wrong side costs, above 0; 1 if not given.
    pub c: f64,
    /// Half the width of the tube in standard deviations of the target, at least 0; 0.1 if not given. Of a regression only.
    pub epsilon: f64,
}

/// How alike two rows are, `gamma` being 1 / number of features if it is not given.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kernel {
    /// `exp(-gamma |x - y|^2)`. If not given.
    Rbf {
        /// Above 0.
        gamma: Option<f64>,
    },
    /// `x' y`.
    Linear,
    /// `(gamma x' y + coef0)^degree`.
    Polynomial {
        /// Above 0.
        gamma: Option<f64>,
        /// From 1 to 10; 3 if not given.
        degree: i32,
        /// 0 if not given.
        coef0: f64,
    },
    /// `tanh(gamma x' y + coef0)`, of models from files only: it is no inner product, so the margin need not be the widest.
    Sigmoid {
        /// Above 0.
        gamma: Option<f64>,
        /// Added to the product.
        coef0: f64,
    },
}

#[derive(Clone, Copy)]
enum Form {
    Rbf,
    Linear,
    Polynomial,
}

pub(crate) fn options(reader: &mut Reader<'_>, is_regression: bool) -> SvmOptions {
    let forms = [("rbf", Form::Rbf), ("linear", Form::Linear), ("polynomial", Form::Polynomial)];
    let above_zero = |x: &f64| *x > 0.0 && x.is_finite();
    let form = reader.choice("kernel", &forms);
    let kernel = match form {
        Form::Linear => Kernel::Linear,
        Form::Rbf => Kernel::Rbf { gamma: reader.optional("gamma", above_zero, "a number above 0") },
        Form::Polynomial => Kernel::Polynomial {
            gamma: reader.optional("gamma", above_zero, "a number above 0"),
            degree: reader.number("degree", 3, |d| (1..=10).contains(d), "a whole number from 1 to 10"),
            coef0: reader.number("coef0", 0.0, |x: &f64| x.is_finite(), "a number"),
        },
    };
    let c = reader.number("c", 1.0, above_zero, "a number above 0");
    let is_width = |x: &f64| *x >= 0.0 && x.is_finite();
    let epsilon = match is_regression {
        true => reader.number("epsilon", 0.1, is_width, "a number of at least 0"),
        false => 0.0,
    };
    SvmOptions { kernel, c, epsilon }
}

/// Fitted support vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SupportVectors {
    kernel: Kernel,
    /// Subtracted from each feature.
    means: Vec<f64>,
    /// Each feature is multiplied by this; zero for one that was constant in training.
    factors: Vec<f64>,
    /// The scaled vectors, one after the other.
    vectors: Vec<f64>,
    /// One of a regression, else one for each two classes.
    machines: Vec<Machine>,
    /// Number of classes; zero for a regression.
    classes: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Machine {
    /// Named where the function is above zero, and where it is not.
    classes: (u32, u32),
    /// A number per vector, zero for those that are none of this machine.
    weights: Vec<f64>,
    offset: f64,
}

#[expect(clippy::cast_precision_loss, reason = "numbers of rows and features")]
fn number(count: usize) -> f64 {
    count as f64
}

/// Scaled rows, and the kernel with all its numbers.
struct Space<'a> {
    kernel: Kernel,
    rows: &'a [Vec<f64>],
}

impl Space<'_> {
    /// The kernel of a row with all others.
    fn with(&self, row: usize) -> Vec<f64> {
        self.rows.iter().map(|other| self.kernel.of(&self.rows[row], other)).collect()
    }
}

impl Kernel {
    pub(super) fn of(self, x: &[f64], y: &[f64]) -> f64 {
        let product = || x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let gamma = |gamma: Option<f64>| gamma.unwrap_or(1.0 / number(x.len()));
        match self {
            Self::Linear => product(),
            Self::Rbf { gamma: given } => {
                let squares = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
                (-gamma(given) * squares).exp()
            }
            Self::Polynomial { gamma: given, degree, coef0 } => {
                (gamma(given) * product() + coef0).powi(degree)
            }
            Self::Sigmoid { gamma: given, coef0 } => (gamma(given) * product() + coef0).tanh(),
        }
    }
}

/// Fits a margin for each two of the classes; `target` is the index of the class of each row.
pub(crate) fn fit_classes(
    options: &SvmOptions,
    columns: &[Vec<f64>],
    target: &[u32],
    classes: usize,
) -> Result<SupportVectors, String> {
    let (mut model, rows) = begin(options, columns, classes)?;
    let mut present = target.to_vec();
    present.sort_unstable();
    present.dedup();
    let mut machines = Vec::new();
    for (place, &first) in present.iter().enumerate() {
        for &second in &present[place + 1..] {
            let members: Vec<usize> =
                (0..rows.len()).filter(|&row| target[row] == first || target[row] == second).collect();
            let chosen: Vec<Vec<f64>> = members.iter().map(|&row| rows[row].clone()).collect();
            let space = Space { kernel: options.kernel, rows: &chosen };
            // The second one is above zero, as in scikit-learn.
            let sign = |&row: &usize| if target[row] == second { 1.0 } else { -1.0 };
            let problem = Problem {
                kernel: &|row| space.with(row),
                row_of: (0..chosen.len()).collect(),
                signs: members.iter().map(sign).collect(),
                linear: vec![-1.0; chosen.len()],
                limit: options.c,
            };
            let solution = problem.solve()?;
            let mut weights = vec![0.0; rows.len()];
            members.iter().zip(&solution.weights).for_each(|(&row, &weight)| weights[row] = weight);
            machines.push(Machine { classes: (second, first), weights, offset: solution.offset });
        }
    }
    model.keep(&rows, machines);
    Ok(model)
}

/// Fits a tube around the target.
pub(crate) fn fit_numbers(
    options: &SvmOptions,
    columns: &[Vec<f64>],
    target: &[f64],
) -> Result<SupportVectors, String> {
    let (mut model, rows) = begin(options, columns, 0)?;
    let scale = Scales::of(&[target.to_vec()]).map_err(|_| TOO_LARGE.to_owned())?;
    let (mean, deviation) = (scale.means[0], scale.deviations[0]);
    let y: Vec<f64> = target.iter().map(|y| (y - mean) / deviation).collect();
    let space = Space { kernel: options.kernel, rows: &rows };
    let n = rows.len();
    // A variable for each side of the tube.
    let sides = || (0..n).map(|row| (row, 1.0)).chain((0..n).map(|row| (row, -1.0)));
    let problem = Problem {
        kernel: &|row| space.with(row),
        row_of: sides().map(|(row, _)| row).collect(),
        signs: sides().map(|(_, sign)| sign).collect(),
        linear: sides().map(|(row, sign)| options.epsilon - sign * y[row]).collect(),
        limit: options.c,
    };
    let solution = problem.solve()?;
    let weights = (0..n).map(|row| (solution.weights[row] + solution.weights[n + row]) * deviation).collect();
    let offset = solution.offset * deviation - mean;
    model.keep(&rows, vec![Machine { classes: (0, 0), weights, offset }]);
    Ok(model)
}

fn begin(
    options: &SvmOptions,
    columns: &[Vec<f64>],
    classes: usize,
) -> Result<(SupportVectors, Vec<Vec<f64>>), String> {
    let scales = Scales::of(columns)?;
    if scales.varying.is_empty() {
        return Err("every feature is constant; give features that vary".to_owned());
    }
    let factors = scales.factors(true);
    let (vectors, machines) = (Vec::new(), Vec::new());
    let model =
        SupportVectors { kernel: options.kernel, means: scales.means, factors, vectors, machines, classes };
    let rows = (0..columns[0].len()).map(|row| model.scaled(columns, row)).collect();
    Ok((model, rows))
}

impl SupportVectors {
    /// The rows that have a weight in any machine.
    fn keep(&mut self, rows: &[Vec<f64>], machines: Vec<Machine>) {
        let has_weight = |row: &usize| machines.iter().any(|machine| machine.weights[*row] != 0.0);
        let kept: Vec<usize> = (0..rows.len()).filter(has_weight).collect();
        self.vectors = kept.iter().flat_map(|&row| rows[row].iter().copied()).collect();
        let machine = |machine: Machine| Machine {
            weights: kept.iter().map(|&row| machine.weights[row]).collect(),
            ..machine
        };
        self.machines = machines.into_iter().map(machine).collect();
    }

    fn scaled(&self, columns: &[impl AsRef<[f64]>], row: usize) -> Vec<f64> {
        let each = columns.iter().zip(&self.means).zip(&self.factors);
        each.map(|((column, mean), factor)| (column.as_ref()[row] - mean) * factor).collect()
    }

    /// The functions of a row, one per machine.
    fn functions(&self, features: &Features<'_>, row: usize) -> Vec<f64> {
        let x = self.scaled(features.columns(), row);
        let kernels: Vec<f64> =
            self.vectors.chunks_exact(x.len()).map(|vector| self.kernel.of(vector, &x)).collect();
        let function = |machine: &Machine| {
            machine.weights.iter().zip(&kernels).map(|(w, k)| w * k).sum::<f64>() - machine.offset
        };
        self.machines.iter().map(function).collect()
    }

    /// The class that most machines name, the first of several.
    #[expect(clippy::cast_precision_loss, reason = "few classes")]
    fn voted(&self, functions: &[f64]) -> f64 {
        let mut votes = vec![0_usize; self.classes];
        for (machine, function) in self.machines.iter().zip(functions) {
            let (above, below) = machine.classes;
            votes[if *function > 0.0 { above } else { below } as usize] += 1;
        }
        (1..votes.len()).fold(0, |best, class| if votes[class] > votes[best] { class } else { best }) as f64
    }
}

impl Model for SupportVectors {
    fn task(&self) -> Task {
        if self.classes == 0 { Task::Regression } else { Task::Classification }
    }

    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        let answer = |row| match self.functions(features, row).as_slice() {
            functions if functions.iter().any(|function| !function.is_finite()) => f64::NAN,
            [function] if self.classes == 0 => *function,
            functions => self.voted(functions),
        };
        (0..features.rows()).map(answer).collect()
    }

    /// `decision`: of two classes, the function that is above zero for the second one.
    fn value(&self, name: &str, features: &Features<'_>) -> Option<Vec<f64>> {
        let is_one = name == "decision" && self.machines.len() == 1 && self.classes == 2;
        is_one.then(|| (0..features.rows()).map(|row| self.functions(features, row)[0]).collect())
    }
}

#[cfg(test)]
mod tests;
