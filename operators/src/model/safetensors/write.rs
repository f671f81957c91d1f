//! A trained `mlp` as a file that PyTorch reads: the scales of its features and of its target are taken into the first and the
//! last layer, so the net takes rows as they are measured. Doubles, so that nothing is lost but the rounding of that.

use lineshaft_engine::error::{Error, Result};

use super::super::hyper_parameters::Activation;
use super::super::{Fitted, Mlp, Models, Trained};
use super::format::{Written, write};
use super::{Description, METADATA};

impl Trained {
    /// The net as a safetensors file, if it is one that can be written: an `mlp`. The tensors of a model `PER key` have the text of
    /// the key and `/` before their names.
    ///
    /// # Errors
    /// If the header does not become one.
    pub fn to_safetensors(&self) -> Result<Option<Vec<u8>>> {
        let nets: Vec<(String, &Mlp)> = match &self.model {
            Models::One(Fitted::Mlp(net)) => vec![(String::new(), net)],
            Models::PerKey(models) => models
                .iter()
                .filter_map(|(key, model)| match model {
                    Fitted::Mlp(net) => Some((format!("{key}/"), net)),
                    _ => None,
                })
                .collect(),
            Models::One(_) => Vec::new(),
        };
        let Some((_, first)) = nets.first() else { return Ok(None) };
        let description = Description {
            features: self.features.clone(),
            activation: name(first.activation()).to_owned(),
            output_activation: if self.classes.is_some() { "softmax" } else { "none" }.to_owned(),
            classes: self.classes.clone(),
        };
        let failed =
            |error: serde_json::Error| Error::operator(format!("model {:?}", self.training.name), error);
        let text = serde_json::to_string(&description).map_err(failed)?;
        let tensors = nets.iter().flat_map(|(prefix, net)| tensors(prefix, net, self.features.len()));
        write(tensors, (METADATA, text)).map(Some).map_err(failed)
    }
}

/// The names of `nn.Sequential`, where an activation takes a number of its own.
fn tensors(prefix: &str, net: &Mlp, features: usize) -> Vec<Written> {
    let layers = net.unscaled(features).into_iter().enumerate();
    let of_layer = |(place, (weights, bias)): (usize, (Vec<Vec<f64>>, Vec<f64>))| {
        let named = |part: &str| format!("{prefix}{}.{part}", 2 * place);
        let shape = vec![weights.len(), weights.first().map_or(0, Vec::len)];
        let weight = Written { name: named("weight"), shape, numbers: weights.concat() };
        [weight, Written { name: named("bias"), shape: vec![bias.len()], numbers: bias }]
    };
    layers.flat_map(of_layer).collect()
}

fn name(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "relu",
        Activation::Tanh => "tanh",
        Activation::Sigmoid => "sigmoid",
    }
}
