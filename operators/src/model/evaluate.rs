//! A model on rows that it has not seen. What is found of several models on different rows adds up.

use super::matrix::slices;
use super::target::Chosen;
use super::{Features, Fitted, Metric, Model, Task, metrics};

/// Truth and prediction of rows.
pub(crate) enum Outcome {
    Numbers {
        truth: Vec<f64>,
        predicted: Vec<f64>,
    },
    /// Indices of classes, and for each class the probability of each row if the model has any.
    Classes {
        truth: Vec<usize>,
        predicted: Vec<usize>,
        probabilities: Vec<Vec<f64>>,
    },
    /// The squared distance of each row to its centre.
    Clusters(Vec<f64>),
    /// One for each row of normal operation that was taken for an anomaly, else zero.
    Alarms(Vec<f64>),
}

impl Outcome {
    /// Lets a model predict the rows of `columns`; `classes` is the number of classes of the whole table.
    pub(crate) fn of(model: &Fitted, columns: &[Vec<f64>], truth: Chosen, classes: usize) -> Self {
        let slices = slices(columns);
        let features = Features::new(&slices);
        match truth {
            Chosen::Numbers(truth) => Self::Numbers { truth, predicted: model.predict(&features) },
            Chosen::Classes(truth) => Self::Classes {
                truth: truth.into_iter().map(|class| class as usize).collect(),
                predicted: model.predict(&features).into_iter().map(super::score::class_index).collect(),
                probabilities: probabilities(model, &features, classes),
            },
            Chosen::None if model.task() == Task::Anomaly => Self::Alarms(model.predict(&features)),
            Chosen::None => {
                let distances = model.value("distance", &features).unwrap_or_default();
                Self::Clusters(distances.into_iter().map(|distance| distance * distance).collect())
            }
        }
    }

    /// Adds what was found of other rows for the same target.
    pub(crate) fn extend(&mut self, more: Self) {
        match (self, more) {
            (Self::Numbers { truth, predicted }, Self::Numbers { truth: t, predicted: p }) => {
                truth.extend(t);
                predicted.extend(p);
            }
            (
                Self::Classes { truth, predicted, probabilities },
                Self::Classes { truth: t, predicted: p, probabilities: q },
            ) => {
                truth.extend(t);
                predicted.extend(p);
                probabilities.iter_mut().zip(q).for_each(|(all, more)| all.extend(more));
            }
            (Self::Clusters(all), Self::Clusters(more)) | (Self::Alarms(all), Self::Alarms(more)) => {
                all.extend(more);
            }
            _ => unreachable!("a training has one target"),
        }
    }

    /// The figures; none without rows.
    pub(crate) fn metrics(&self, labels: &[String]) -> Vec<Metric> {
        match self {
            Self::Numbers { truth, predicted } => metrics::regression(truth, predicted),
            Self::Classes { truth, predicted, probabilities } => {
                let mut figures = metrics::classification(truth, predicted, labels);
                figures.extend(metrics::log_loss(truth, probabilities));
                figures.extend(metrics::ranking(truth, probabilities));
                figures
            }
            Self::Clusters(squared_distances) => metrics::clustering(squared_distances),
            Self::Alarms(alarms) => metrics::alarms(alarms),
        }
    }
}

/// Of each class, zero for one that the training rows did not have; nothing if the model has none.
fn probabilities(model: &Fitted, features: &Features<'_>, classes: usize) -> Vec<Vec<f64>> {
    let found: Vec<_> = (0..classes).map(|class| model.predict_proba(features, class)).collect();
    if found.iter().all(Option::is_none) {
        return Vec::new();
    }
    found.into_iter().map(|of_class| of_class.unwrap_or_else(|| vec![0.0; features.rows()])).collect()
}
