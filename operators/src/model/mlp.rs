//! Neural networks of dense layers, trained by Adam on batches of rows.
//!
//! ```text
//! features --standardise--> dense --activation--> ... dense --> number, or softmax over the classes
//! ```
//!
//! - Loss: half the mean squared error of the standardised target, or the mean cross-entropy; as scikit-learn's `MLPRegressor` and
//!   `MLPClassifier` without a penalty, whose weights ours equal after the same batches.
//! - Adam: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, in the form at the end of section 2.
//! - First weights: uniform, Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
//!   AISTATS 2010, by the seed; biases zero. Rows are shuffled before each epoch by the seed.

mod layer;
mod unscaled;

use serde::{Deserialize, Serialize};

use super::hyper_parameters::{Activation, MlpOptions};
use super::linear::{Scales, TOO_LARGE, centre};
use super::random::Random;
use super::{Features, Metric, Model, Task};
use layer::{Adam, Layer};

/// Rows that are scored together.
const BLOCK: usize = 256;

/// A trained network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mlp {
    layers: Vec<Layer>,
    activation: Activation,
    /// Features that vary, with mean and deviation in training.
    inputs: Vec<(usize, f64, f64)>,
    output: Output,
    /// The losses of each epoch.
    epochs: Vec<Epoch>,
}

/// What is made of the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Output {
    /// `mean + deviation * x`.
    Number { mean: f64, deviation: f64 },
    /// Softmax.
    Classes,
}

/// How far the training was after an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Epoch {
    loss: f64,
    /// On rows that were not trained on, if it ends early by them.
    validation_loss: Option<f64>,
}

/// What the last layer should give: a column per output.
pub(crate) enum Goal<'a> {
    Numbers(&'a [f64]),
    /// The index of the class of each row, of so many.
    Classes(&'a [u32], usize),
}

/// Rows as the network sees them, one after the other.
struct Rows {
    inputs: Vec<f64>,
    goals: Vec<f64>,
    width: usize,
    outputs: usize,
}

impl Rows {
    fn count(&self) -> usize {
        self.goals.len() / self.outputs
    }

    /// These rows, one after the other.
    fn pick(&self, rows: &[usize]) -> Self {
        let each = |from: &[f64], width: usize| -> Vec<f64> {
            rows.iter().flat_map(|row| from[row * width..][..width].iter().copied()).collect()
        };
        let (width, outputs) = (self.width, self.outputs);
        Self { inputs: each(&self.inputs, width), goals: each(&self.goals, outputs), width, outputs }
    }
}

/// Trains a network.
pub(crate) fn fit(
    options: &MlpOptions,
    seed: u64,
    columns: &[Vec<f64>],
    goal: &Goal<'_>,
    copies: usize,
) -> Result<Mlp, String> {
    let scales = Scales::of(columns)?;
    if scales.varying.is_empty() {
        return Err("every feature is constant; give features that vary".to_owned());
    }
    let (goals, outputs, output) = goals(goal)?;
    let width = scales.varying.len();
    let mut random = Random::new(seed);
    let mut sizes = vec![width];
    sizes.extend(&options.hidden);
    sizes.push(outputs);
    let layers = sizes.windows(2).map(|pair| Layer::drawn(pair[0], pair[1], &mut random)).collect();
    let input = |&feature: &usize| (feature, scales.means[feature], scales.deviations[feature]);
    let inputs = scales.varying.iter().map(input).collect();
    let mut network = Mlp { layers, activation: options.activation, inputs, output, epochs: Vec::new() };
    let rows = Rows { inputs: by_row(&scales.standardize(columns)), goals, width, outputs };
    network.train(options, &rows, copies, Some(&mut random))?;
    Ok(network)
}

/// A value per row and output.
fn goals(goal: &Goal<'_>) -> Result<(Vec<f64>, usize, Output), String> {
    match goal {
        Goal::Numbers(target) => {
            let (centred, mean) = centre(target)?;
            #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
            let deviation = (centred.iter().map(|x| x * x).sum::<f64>() / target.len() as f64).sqrt();
            if !deviation.is_finite() {
                return Err(TOO_LARGE.to_owned());
            }
            let goals = centred.into_iter().map(|x| x / deviation).collect();
            Ok((goals, 1, Output::Number { mean, deviation }))
        }
        Goal::Classes(target, classes) => {
            let one_of =
                |&class: &u32| (0..*classes).map(move |it| f64::from(u8::from(it == class as usize)));
            Ok((target.iter().flat_map(one_of).collect(), *classes, Output::Classes))
        }
    }
}

fn by_row(columns: &[Vec<f64>]) -> Vec<f64> {
    let rows = columns.first().map_or(0, Vec::len);
    (0..rows).flat_map(|row| columns.iter().map(move |column| column[row])).collect()
}

impl Mlp {
    /// Goes through the rows epoch after epoch; in their order if there is no randomness.
    fn train(
        &mut self,
        options: &MlpOptions,
        rows: &Rows,
        copies: usize,
        mut random: Option<&mut Random>,
    ) -> Result<(), String> {
        let (train, validation) = divided(options, rows, copies)?;
        let mut adam = Adam::new(options.learning_rate, &self.layers);
        let mut order: Vec<usize> = (0..train.count()).collect();
        let (mut best, mut since): (Option<(f64, Vec<Layer>)>, usize) = (None, 0);
        for _ in 0..options.epochs {
            if let Some(random) = random.as_deref_mut() {
                (1..order.len()).rev().for_each(|last| order.swap(last, random.below(last + 1)));
            }
            let mut loss = 0.0;
            for batch in order.chunks(options.batch_size) {
                let batch = train.pick(batch);
                let (summed, gradients) = self.gradients(&batch);
                loss += summed;
                adam.step(&mut self.layers, &gradients);
            }
            let loss = loss / number(train.count());
            if !loss.is_finite() {
                return Err("the loss is not a number any more; use a lower learning_rate".to_owned());
            }
            let validation_loss = validation.as_ref().map(|rows| self.loss(rows));
            self.epochs.push(Epoch { loss, validation_loss });
            let Some(now) = validation_loss else { continue };
            if best.as_ref().is_none_or(|(least, _)| now < *least) {
                (best, since) = (Some((now, self.layers.clone())), 0);
                continue;
            }
            since += 1;
            if since >= options.patience {
                break;
            }
        }
        if let Some((_, layers)) = best {
            self.layers = layers;
        }
        Ok(())
    }

    /// The values after each layer, the inputs first.
    fn forward(&self, inputs: &[f64]) -> Vec<Vec<f64>> {
        let mut values = vec![inputs.to_vec()];
        for (place, layer) in self.layers.iter().enumerate() {
            let mut next = layer.forward(&values[place]);
            if place + 1 < self.layers.len() {
                next.iter_mut().for_each(|x| *x = self.activation.of(*x));
            } else if self.output == Output::Classes {
                next.chunks_exact_mut(layer.outputs()).for_each(softmax);
            }
            values.push(next);
        }
        values
    }

    /// The sum of the losses of all rows, and the gradient of their mean, layer by layer.
    fn gradients(&self, rows: &Rows) -> (f64, Vec<Layer>) {
        let values = self.forward(&rows.inputs);
        let given = &values[self.layers.len()];
        let count = number(rows.count());
        // The same for both losses: they are made for their outputs.
        let mut slopes: Vec<f64> =
            given.iter().zip(&rows.goals).map(|(given, goal)| (given - goal) / count).collect();
        let mut gradients = Vec::with_capacity(self.layers.len());
        for (place, layer) in self.layers.iter().enumerate().rev() {
            gradients.push(layer.gradient(&values[place], &slopes));
            if place > 0 {
                slopes = layer.backward(&slopes);
                for (slope, value) in slopes.iter_mut().zip(&values[place]) {
                    *slope *= self.activation.slope(*value);
                }
            }
        }
        gradients.reverse();
        (self.summed_loss(given, &rows.goals), gradients)
    }

    fn summed_loss(&self, given: &[f64], goals: &[f64]) -> f64 {
        let pairs = given.iter().zip(goals);
        match self.output {
            Output::Number { .. } => pairs.map(|(given, goal)| (given - goal).powi(2) / 2.0).sum(),
            Output::Classes => pairs
                .filter(|(_, goal)| **goal > 0.0)
                .map(|(given, goal)| -goal * given.max(f64::MIN_POSITIVE).ln())
                .sum(),
        }
    }

    fn loss(&self, rows: &Rows) -> f64 {
        self.summed_loss(&self.forward(&rows.inputs)[self.layers.len()], &rows.goals) / number(rows.count())
    }

    /// What the last layer gives for each row, an output after the other.
    fn outputs(&self, features: &Features<'_>) -> Vec<f64> {
        let mut given = Vec::new();
        for start in (0..features.rows()).step_by(BLOCK) {
            let rows = start..features.rows().min(start + BLOCK);
            let scaled = |row: usize| {
                let value = move |&(feature, mean, deviation): &(usize, f64, f64)| {
                    (features.columns()[feature][row] - mean) / deviation
                };
                self.inputs.iter().map(value)
            };
            let inputs: Vec<f64> = rows.flat_map(scaled).collect();
            given.extend(self.forward(&inputs).pop().unwrap_or_default());
        }
        given
    }

    fn classes(&self) -> usize {
        self.layers.last().map_or(1, Layer::outputs)
    }
}

/// The last rows are not trained on if the training ends early by them. So many rows before them are `copies` of others before.
fn divided(options: &MlpOptions, rows: &Rows, copies: usize) -> Result<(Rows, Option<Rows>), String> {
    let count = rows.count();
    let all: Vec<usize> = (0..count).collect();
    if options.patience == 0 {
        return Ok((rows.pick(&all), None));
    }
    let held_back = options.validation_rows(count - copies);
    if held_back == 0 || held_back >= count - copies {
        let rows = count - copies;
        return Err(format!("{rows} rows are too few to end early by some of them; use patience = 0"));
    }
    let (train, validation) = all.split_at(count - held_back);
    Ok((rows.pick(train), Some(rows.pick(validation))))
}

fn softmax(row: &mut [f64]) {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|x| *x = (*x - most).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
fn number(count: usize) -> f64 {
    count as f64
}

impl Model for Mlp {
    fn task(&self) -> Task {
        if self.output == Output::Classes { Task::Classification } else { Task::Regression }
    }

    fn predict(&self, features: &Features<'_>) -> Vec<f64> {
        let given = self.outputs(features);
        let first_greatest =
            |row: &[f64]| (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
        match self.output {
            Output::Number { mean, deviation } => given.into_iter().map(|x| mean + deviation * x).collect(),
            Output::Classes => {
                given.chunks_exact(self.classes()).map(|row| number(first_greatest(row))).collect()
            }
        }
    }

    fn predict_proba(&self, features: &Features<'_>, class: usize) -> Option<Vec<f64>> {
        let given = self.outputs(features);
        let is_known = self.output == Output::Classes && class < self.classes();
        is_known.then(|| given.chunks_exact(self.classes()).map(|row| row[class]).collect())
    }

    fn epochs(&self) -> Vec<Vec<Metric>> {
        let metric =
            |name: &str, value| Metric { name: name.to_owned(), class: None, predicted: None, value };
        let of = |epoch: &Epoch| {
            let validation = epoch.validation_loss.map(|loss| metric("validation_loss", loss));
            std::iter::once(metric("loss", epoch.loss)).chain(validation).collect()
        };
        self.epochs.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests;
