//! Scoring: feature columns in, one column out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::DataType;
use lineshaft_engine::error::{Error, Result};

use super::matrix::float_array;
use super::{Features, Model, Task, Trained};

impl Trained {
    /// The type of [`Trained::predict`]: `DOUBLE` for a regression, `BIGINT` for a cluster, that of the target for a
    /// class (integers as `BIGINT`).
    pub fn output_type(&self) -> DataType {
        match (self.model.task(), &self.classes) {
            (Task::Classification, Some(classes)) => classes.data_type(),
            (Task::Clustering, _) => DataType::Int64,
            _ => DataType::Float64,
        }
    }

    /// A prediction for each row. NULL where a feature is NULL, NaN or infinite, or the result is not a number.
    ///
    /// # Errors
    /// If the columns are not those of [`Trained::features`] in number, or not numbers.
    pub fn predict(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let scored = self.score(columns, |model, features| Some(model.predict(features)))?;
        Ok(match (self.model.task(), &self.classes) {
            (Task::Classification, Some(classes)) => {
                classes.values(scored.into_iter().map(|value| value.map(class_index)))
            }
            (Task::Clustering, _) => {
                Arc::new(scored.into_iter().map(|v| v.map(whole)).collect::<Int64Array>())
            }
            _ => Arc::new(Float64Array::from(scored)),
        })
    }

    /// The probability of `class` for each row, NULL as in [`Trained::predict`]. Without a class it is that of the
    /// greater of two: `true`, 1, or the last in the order of the alphabet.
    ///
    /// # Errors
    /// If the model has no probabilities, or the class is not known.
    pub fn predict_proba(&self, columns: &[ArrayRef], class: Option<&str>) -> Result<ArrayRef> {
        let class = self.class(class)?;
        let scored = self.score(columns, |model, features| model.predict_proba(features, class))?;
        Ok(Arc::new(Float64Array::from(scored)))
    }

    /// The index of a class of [`Trained::predict_proba`], so that a query can be checked before it runs.
    ///
    /// # Errors
    /// If the model has no probabilities, or the class is not known.
    pub fn class(&self, class: Option<&str>) -> Result<usize> {
        let Some(classes) = &self.classes else {
            let algorithm = self.training.algorithm.name();
            return Err(self.error(format!("{algorithm} gives no probabilities; use a classifier")));
        };
        match class {
            Some(label) => classes.index_of(label).ok_or_else(|| {
                self.error(format!(
                    "there is no class {label:?}; the classes are {}",
                    classes.labels().join(", ")
                ))
            }),
            None if classes.len() == 2 => Ok(1),
            None => Err(self.error(format!(
                "it has {} classes; say of which the probability is wanted: {}",
                classes.len(),
                classes.labels().join(", ")
            ))),
        }
    }

    fn score(
        &self,
        columns: &[ArrayRef],
        score: impl Fn(&dyn Model, &Features<'_>) -> Option<Vec<f64>>,
    ) -> Result<Vec<Option<f64>>> {
        if columns.len() != self.features.len() {
            let (wanted, found) = (self.features.len(), columns.len());
            let reason = format!("it takes {wanted} features ({}), not {found}", self.features.join(", "));
            return Err(self.error(reason));
        }
        let names = self.features.iter().zip(columns);
        let arrays: Result<Vec<Float64Array>> =
            names.map(|(name, column)| float_array(&self.training.name, name, column)).collect();
        let arrays = arrays?;
        // Every model survives whatever stands in an incomplete row; its result is not read.
        let values: Vec<&[f64]> = arrays.iter().map(|array| array.values().as_ref()).collect();
        let scores = score(&self.model, &Features::new(&values)).unwrap_or_default();
        let complete = complete(&arrays);
        let known = |(score, complete): (f64, bool)| (complete && score.is_finite()).then_some(score);
        Ok(scores.into_iter().zip(complete).map(known).collect())
    }

    fn error(&self, reason: String) -> Error {
        Error::operator(format!("model {:?}", self.training.name), reason)
    }
}

/// For each row whether all features are numbers.
fn complete(arrays: &[Float64Array]) -> Vec<bool> {
    let rows = arrays.first().map_or(0, Array::len);
    let mut complete = vec![true; rows];
    for array in arrays {
        for (complete, value) in complete.iter_mut().zip(array.values()) {
            *complete &= value.is_finite();
        }
        if let Some(nulls) = array.nulls() {
            for (complete, valid) in complete.iter_mut().zip(nulls) {
                *complete &= valid;
            }
        }
    }
    complete
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "models give the index of a class"
)]
pub(super) fn class_index(value: f64) -> usize {
    value as usize
}

#[expect(clippy::cast_possible_truncation, reason = "models give the index of a cluster")]
fn whole(value: f64) -> i64 {
    value as i64
}
