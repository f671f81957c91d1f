//! Support vectors of ONNX: `sum(coefficient * kernel(x, vector)) + rho`, with the kernels of our own.
//!
//! Source: `SVMRegressor` of `ai.onnx.ml`, version 1.

use serde::{Deserialize, Serialize};

use super::Reason;
use super::graph::Node;
use super::operation::Columns;
use crate::model::svm::Kernel;

/// Vectors, each with its coefficient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Vectors {
    kernel: Kernel,
    /// One after the other, as wide as the rows.
    vectors: Vec<f64>,
    coefficients: Vec<f64>,
    rho: f64,
}

impl Vectors {
    /// Those of a node that reads so many columns.
    pub(super) fn of(node: &Node, width: usize) -> Result<Self, Reason> {
        let (vectors, coefficients) = (node.numbers("support_vectors")?, node.numbers("coefficients")?);
        if coefficients.is_empty() || vectors.len() != coefficients.len() * width {
            let (vectors, rows) = (vectors.len(), coefficients.len());
            return Err(format!("{} has {vectors} numbers for {rows} vectors of {width}", node.operator));
        }
        if node.integer("one_class", 0) != 0 {
            return Err(format!("{} with one_class is not supported", node.operator));
        }
        let rho = node.numbers("rho")?.first().copied().unwrap_or_default();
        Ok(Self { kernel: kernel(node)?, vectors, coefficients, rho })
    }

    /// The sum for each row.
    pub(super) fn apply(&self, columns: &Columns, rows: usize) -> Columns {
        let mut sums = Columns::filled(self.rho, 1, rows);
        let mut row = vec![0.0; columns.width()];
        for (at, sum) in sums.values_mut().iter_mut().enumerate() {
            row.iter_mut().zip(columns.iter()).for_each(|(value, column)| *value = column[at]);
            let vectors = self.vectors.chunks_exact(row.len()).zip(&self.coefficients);
            *sum += vectors.map(|(vector, weight)| weight * self.kernel.of(vector, &row)).sum::<f64>();
        }
        sums
    }
}

pub(super) fn kernel(node: &Node) -> Result<Kernel, Reason> {
    let parameters = node.numbers("kernel_params")?;
    let parameter = |place: usize| parameters.get(place).copied().unwrap_or_default();
    let gamma = Some(parameter(0));
    match node.text("kernel_type") {
        "" | "LINEAR" => Ok(Kernel::Linear),
        "RBF" => Ok(Kernel::Rbf { gamma }),
        "POLY" => {
            let degree = (1..=10).find(|degree| (f64::from(*degree) - parameter(2)).abs() < 1e-6);
            let degree =
                degree.ok_or_else(|| format!("a polynomial of degree {} is not supported", parameter(2)))?;
            Ok(Kernel::Polynomial { gamma, degree, coef0: parameter(1) })
        }
        "SIGMOID" => Ok(Kernel::Sigmoid { gamma, coef0: parameter(1) }),
        other => Err(format!("kernel {other:?} of {} is not supported", node.operator)),
    }
}
