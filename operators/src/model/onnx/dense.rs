//! Dense layers one after the other, as steps over columns: what a file that has weights only becomes.

use super::operation::{Operand, Operation, Unary};
use super::{OnnxModel, Step, Wanted};

/// A layer: `then(x * weights + bias)`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::model) struct Dense {
    /// Those of each output.
    pub(in crate::model) weights: Vec<Vec<f64>>,
    pub(in crate::model) bias: Vec<f64>,
    pub(in crate::model) then: Then,
}

/// What is done with the outputs of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Then {
    Nothing,
    Relu,
    /// With the slope 0.01 below zero.
    LeakyRelu,
    /// With 1 as its limit.
    Elu,
    Sigmoid,
    Tanh,
    Softplus,
    Softmax,
}

impl Then {
    fn operation(self) -> Option<Operation> {
        let unary = match self {
            Self::Nothing => return None,
            Self::Softmax => return Some(Operation::Softmax),
            Self::Relu => Unary::Relu,
            Self::LeakyRelu => Unary::LeakyRelu(0.01),
            Self::Elu => Unary::Elu(1.0),
            Self::Sigmoid => Unary::Logistic,
            Self::Tanh => Unary::Tanh,
            Self::Softplus => Unary::Softplus,
        };
        Some(Operation::Unary(unary))
    }
}

impl OnnxModel {
    /// The layers over `width` features, each of which takes what the one before it gives. The result are the scores of classes, or
    /// else one number.
    pub(in crate::model) fn chain(
        width: usize,
        is_single: bool,
        layers: Vec<Dense>,
        has_classes: bool,
    ) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        for Dense { weights, bias, then } in layers {
            for operation in
                [Some(Operation::Affine { weights, bias }), then.operation()].into_iter().flatten()
            {
                // The input is number zero, and each step gives the next one.
                steps.push(Step { operation, operands: vec![Operand::Columns(steps.len())] });
            }
        }
        let result = if has_classes { Wanted::Scores(steps.len()) } else { Wanted::Number(steps.len()) };
        Self { inputs: vec![width], is_single, steps, result }
    }
}
