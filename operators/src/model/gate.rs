//! What a new version of a model must reach before it scores: `gate = 'f1_macro >= 0.8'`, or `gate = 'better'`.
//!
//! The figures are those of the held-back rows. `better` compares both versions on the held-back rows of the new one: by
//! the mean F1 of classes, or by RMSE.

use std::fmt;

use arrow::array::RecordBatch;
use lineshaft_engine::declaration::OptionError;
use lineshaft_engine::error::{Error, Result};
use serde::{Deserialize, Serialize};

use super::evaluate::Outcome;
use super::matrix::gather;
use super::reader::Reader;
use super::search::rank;
use super::train::Rows;
use super::{Algorithm, Classes, Metric, Models, Task, Trained, Training};

/// A condition on a new version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Gate {
    /// None: every new version scores.
    #[default]
    Open,
    /// It must be at least as good as the version that scores, on the rows that it held back.
    Better,
    /// A figure has a bound.
    Bound {
        /// The name of the figure.
        metric: String,
        /// Where it must be.
        side: Side,
        /// The bound.
        bound: f64,
    },
}

/// Where a figure must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
}

const SIDES: [(&str, Side); 4] =
    [("<=", Side::AtMost), (">=", Side::AtLeast), ("<", Side::Below), (">", Side::Above)];

impl Side {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Below => value < bound,
            Self::AtMost => value <= bound,
            Self::AtLeast => value >= bound,
            Self::Above => value > bound,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, _) = SIDES.iter().find(|(_, side)| side == self).unwrap_or(&SIDES[0]);
        f.write_str(sign)
    }
}

impl Gate {
    pub(super) fn read(reader: &mut Reader<'_>, algorithm: &Algorithm) -> Self {
        let Some(text) = reader.text("gate") else { return Self::Open };
        let is_supervised = matches!(algorithm.task(), Task::Classification | Task::Regression);
        // A forecast goes on from its own rows: an old one says nothing of the rows that were held back from a new one.
        let is_forecast = matches!(algorithm, Algorithm::Forecast(_));
        if text == "better" && is_supervised && !is_forecast {
            return Self::Better;
        }
        let gate = Self::bound(&text);
        if gate.is_none() {
            let message = match text.as_str() {
                "better" => format!("{} has no figure by which versions could be compared", algorithm.name()),
                _ => format!("gate = {text:?} is neither 'better' nor a bound"),
            };
            let help = "write a figure of lineshaft.metrics with a bound, such as gate = 'rmse < 4'";
            reader.errors.push(OptionError::of("gate", message).help(help));
        }
        gate.unwrap_or_default()
    }

    fn bound(text: &str) -> Option<Self> {
        let (sign, side) = SIDES.iter().find(|(sign, _)| text.contains(sign))?;
        let (metric, bound) = text.split_once(sign)?;
        let metric = metric.trim().to_owned();
        let is_name = !metric.is_empty() && metric.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let bound = bound.trim().parse().ok().filter(|bound: &f64| bound.is_finite());
        bound.filter(|_| is_name).map(|bound| Self::Bound { metric, side: *side, bound })
    }

    /// Whether `candidate`, trained on `table`, may score in place of `live`; if not, why.
    ///
    /// # Errors
    /// If the table is another one.
    pub fn check(
        &self,
        candidate: &Trained,
        live: Option<&Trained>,
        table: &RecordBatch,
    ) -> Result<std::result::Result<(), String>> {
        match (self, live) {
            (Self::Open, _) | (Self::Better, None) => Ok(Ok(())),
            (Self::Better, Some(live)) => better(candidate, live, table),
            (Self::Bound { metric, side, bound }, _) => {
                let found = candidate.metrics.iter().find(|it| it.name == *metric && it.class.is_none());
                Ok(match found {
                    Some(found) if side.holds(found.value, *bound) => Ok(()),
                    Some(found) => Err(format!("its {metric} is {:.6}, not {side} {bound}", found.value)),
                    None => Err(format!("it has no figure {metric:?}{}", known(&candidate.metrics))),
                })
            }
        }
    }
}

fn known(metrics: &[Metric]) -> String {
    let names: Vec<&str> =
        metrics.iter().filter(|metric| metric.class.is_none()).map(|metric| metric.name.as_str()).collect();
    if names.is_empty() {
        return ": no rows were held back".to_owned();
    }
    format!("; it has {}", names.join(", "))
}

fn better(
    candidate: &Trained,
    live: &Trained,
    table: &RecordBatch,
) -> Result<std::result::Result<(), String>> {
    let labels = |trained: &Trained| trained.classes.as_ref().map(Classes::labels);
    if candidate.features != live.features || labels(candidate) != labels(live) {
        return Ok(Err("the version that scores has other features or classes".to_owned()));
    }
    let task = candidate.training.algorithm.task();
    let held_back = on_held_back(&candidate.training, live, table)?;
    let (new, old) = (rank(task, &candidate.metrics), rank(task, &held_back));
    Ok(match new >= old {
        true => Ok(()),
        false => Err(format!(
            "the version that scores is better on the same rows: {:.6} against {:.6}",
            old.abs(),
            new.abs()
        )),
    })
}

/// The figures of `trained` on the rows of `table` that `training` holds back.
fn on_held_back(training: &Training, trained: &Trained, table: &RecordBatch) -> Result<Vec<Metric>> {
    let rows = Rows::of(training, table)?;
    let (classes, labels) = (rows.target.classes(), rows.target.labels());
    let parts = rows.parts(training);
    let (parts, _) = parts.map_err(|reason| Error::operator(format!("model {:?}", training.name), reason))?;
    let mut all: Option<Outcome> = None;
    for part in parts {
        let model = match &trained.model {
            Models::One(model) => Some(model),
            Models::PerKey(models) => models.get(part.key.as_deref().unwrap_or_default()),
        };
        let Some(model) = model.filter(|_| !part.test.is_empty()) else { continue };
        let found =
            Outcome::of(model, &gather(&rows.columns, &part.test), rows.target.gather(&part.test), classes);
        match &mut all {
            Some(all) => all.extend(found),
            None => all = Some(found),
        }
    }
    Ok(all.map(|outcome| outcome.metrics(&labels)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use lineshaft_engine::testing::table;

    use super::*;
    use crate::model::train;

    fn rows(slope: f64) -> RecordBatch {
        let row = |x: i32| format!("\n{x} {}", slope * f64::from(x) + f64::from(x % 3) / 10.0);
        table(&("x:f y:f".to_owned() + &(0..60).map(row).collect::<String>()))
    }

    fn training(gate: &str) -> Training {
        let options = [("algorithm", "linear_regression"), ("target", "y"), ("gate", gate)];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Training::from_options("power", &options).unwrap()
    }

    #[test]
    fn a_figure_has_a_bound() {
        let check = |gate: &str| {
            let trained = train(&training(gate), &rows(2.0)).unwrap();
            trained.training.gate.check(&trained, None, &rows(2.0)).unwrap()
        };
        assert_eq!(check("rmse < 1"), Ok(()));
        assert_eq!(check("r2 >= 0.5"), Ok(()));
        assert!(check("rmse<0.001").unwrap_err().contains("its rmse is 0.08"), "{:?}", check("rmse<0.001"));
        assert!(check("f1_macro > 0").unwrap_err().contains("it has no figure \"f1_macro\"; it has"));
    }

    #[test]
    fn the_better_one_on_the_rows_of_today_scores() {
        let (old, new) = (
            train(&training("better"), &rows(2.0)).unwrap(),
            train(&training("better"), &rows(5.0)).unwrap(),
        );
        assert_eq!(Gate::Better.check(&new, Some(&old), &rows(5.0)).unwrap(), Ok(()));
        // A model of yesterday's rows, looked at with those of today.
        let reason = Gate::Better.check(&Trained { metrics: vec![], ..old }, Some(&new), &rows(5.0));
        assert!(reason.unwrap().unwrap_err().contains("is better on the same rows"));
    }

    #[test]
    fn what_is_no_gate_is_refused() {
        for gate in ["best", "rmse", "rmse < x", "< 3", "rmse < inf"] {
            let options = [("algorithm", "linear_regression"), ("target", "y"), ("gate", gate)];
            let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let errors = Training::from_options("power", &options).unwrap_err();
            assert!(errors[0].message.contains("neither 'better' nor a bound"), "{gate}: {errors:?}");
        }
    }
}
