//! The weights of a network for features and a target in their own units.

use super::layer::Layer;
use super::{Activation, Mlp, Output};

impl Mlp {
    /// What is done with the output of a hidden unit.
    pub(crate) fn activation(&self) -> Activation {
        self.activation
    }

    /// For each layer the weights of each of its outputs, and the biases, over `features` features of which those that were
    /// constant in training have no weight. The last layer gives the target, or the scores that the softmax is taken of.
    pub(crate) fn unscaled(&self, features: usize) -> Vec<(Vec<Vec<f64>>, Vec<f64>)> {
        let mut layers: Vec<(Vec<Vec<f64>>, Vec<f64>)> = self.layers.iter().map(Layer::by_output).collect();
        if let Some((weights, biases)) = layers.first_mut() {
            for (weights, bias) in weights.iter_mut().zip(biases) {
                let mut unscaled = vec![0.0; features];
                for (weight, &(feature, mean, deviation)) in weights.iter().zip(&self.inputs) {
                    unscaled[feature] = weight / deviation;
                    *bias -= weight * mean / deviation;
                }
                *weights = unscaled;
            }
        }
        if let (Output::Number { mean, deviation }, Some((weights, biases))) =
            (self.output, layers.last_mut())
        {
            weights.iter_mut().flatten().for_each(|weight| *weight *= deviation);
            biases.iter_mut().for_each(|bias| *bias = mean + deviation * *bias);
        }
        layers
    }
}
