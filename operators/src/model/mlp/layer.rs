//! A dense layer, forwards and backwards, and the optimiser.

use serde::{Deserialize, Serialize};

use super::super::random::Random;
use super::Activation;

/// The decay of the mean of the gradients, and of their squares; what keeps the division from zero.
const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// `output = input * weights + biases`; also the gradient of one, which has the same numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Layer {
    /// A row per input, a column per output.
    weights: Vec<f64>,
    biases: Vec<f64>,
}

impl Layer {
    pub(super) fn drawn(inputs: usize, outputs: usize, random: &mut Random) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a number of units")]
        let limit = (6.0 / (inputs + outputs) as f64).sqrt();
        let weights = (0..inputs * outputs).map(|_| limit * (2.0 * random.unit() - 1.0)).collect();
        Self { weights, biases: vec![0.0; outputs] }
    }

    #[cfg(test)]
    pub(super) fn new(weights: Vec<f64>, biases: Vec<f64>) -> Self {
        Self { weights, biases }
    }

    #[cfg(test)]
    pub(super) fn is_near(&self, other: &Self, tolerance: f64) -> bool {
        let mut pairs = self.numbers().zip(other.numbers());
        pairs.all(|(a, b)| (a - b).abs() <= tolerance * b.abs().max(1.0))
    }

    /// The weights of each output, and the biases.
    pub(super) fn by_output(&self) -> (Vec<Vec<f64>>, Vec<f64>) {
        let of = |output: usize| self.weights[output..].iter().step_by(self.outputs()).copied().collect();
        ((0..self.outputs()).map(of).collect(), self.biases.clone())
    }

    pub(super) fn outputs(&self) -> usize {
        self.biases.len()
    }

    fn inputs(&self) -> usize {
        self.weights.len() / self.outputs()
    }

    /// The outputs of all rows.
    pub(super) fn forward(&self, values: &[f64]) -> Vec<f64> {
        let outputs = self.outputs();
        let mut given = self.biases.repeat(values.len() / self.inputs());
        for (row, given) in values.chunks_exact(self.inputs()).zip(given.chunks_exact_mut(outputs)) {
            for (x, weights) in row.iter().zip(self.weights.chunks_exact(outputs)) {
                given.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
            }
        }
        given
    }

    /// The gradient by weights and biases; `slopes` are those of the outputs.
    pub(super) fn gradient(&self, values: &[f64], slopes: &[f64]) -> Self {
        let outputs = self.outputs();
        let mut gradient = Self { weights: vec![0.0; self.weights.len()], biases: vec![0.0; outputs] };
        for (row, slopes) in values.chunks_exact(self.inputs()).zip(slopes.chunks_exact(outputs)) {
            for (x, sums) in row.iter().zip(gradient.weights.chunks_exact_mut(outputs)) {
                sums.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += x * slope);
            }
            gradient.biases.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
        }
        gradient
    }

    /// The slopes of the inputs.
    pub(super) fn backward(&self, slopes: &[f64]) -> Vec<f64> {
        let outputs = self.outputs();
        let of_row = |slopes: &[f64]| -> Vec<f64> {
            let each = self.weights.chunks_exact(outputs);
            each.map(|weights| weights.iter().zip(slopes).map(|(w, slope)| w * slope).sum()).collect()
        };
        slopes.chunks_exact(outputs).flat_map(of_row).collect()
    }

    fn numbers(&self) -> impl Iterator<Item = &f64> {
        self.weights.iter().chain(&self.biases)
    }

    fn numbers_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.weights.iter_mut().chain(&mut self.biases)
    }
}

/// Running means of the gradients and their squares.
pub(super) struct Adam {
    rate: f64,
    steps: i32,
    moments: Vec<(f64, f64)>,
}

impl Adam {
    pub(super) fn new(rate: f64, layers: &[Layer]) -> Self {
        let numbers = layers.iter().map(|layer| layer.numbers().count()).sum();
        Self { rate, steps: 0, moments: vec![(0.0, 0.0); numbers] }
    }

    pub(super) fn step(&mut self, layers: &mut [Layer], gradients: &[Layer]) {
        self.steps = self.steps.saturating_add(1);
        let rate = self.rate * (1.0 - BETA_2.powi(self.steps)).sqrt() / (1.0 - BETA_1.powi(self.steps));
        let gradients = gradients.iter().flat_map(Layer::numbers);
        let weights = layers.iter_mut().flat_map(Layer::numbers_mut);
        for ((weight, gradient), (first, second)) in weights.zip(gradients).zip(&mut self.moments) {
            *first = BETA_1 * *first + (1.0 - BETA_1) * gradient;
            *second = BETA_2 * *second + (1.0 - BETA_2) * gradient * gradient;
            *weight -= rate * *first / (second.sqrt() + EPSILON);
        }
    }
}

impl Activation {
    pub(super) fn of(self, x: f64) -> f64 {
        match self {
            Self::Relu => x.max(0.0),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }

    /// The slope where the value is `y`.
    pub(super) fn slope(self, y: f64) -> f64 {
        match self {
            Self::Relu => f64::from(u8::from(y > 0.0)),
            Self::Tanh => 1.0 - y * y,
            Self::Sigmoid => y * (1.0 - y),
        }
    }
}
