//! Scoring: key and feature columns in, one column out.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray};
use arrow::datatypes::{DataType, Field, Float64Type};
use lineshaft_engine::error::{Error, Result};

use super::algorithm::Algorithm;
use super::cases::column_of;
use super::matrix::{float_array, key_texts};
use super::{Features, Model, Models, Task, Trained};

impl Trained {
    /// The type of [`Trained::predict`]: `DOUBLE` for a regression, `BIGINT` for a cluster, `BOOLEAN` for an anomaly, that
    /// of the target for a class (integers as `BIGINT`).
    pub fn output_type(&self) -> DataType {
        match (self.training.algorithm.task(), &self.classes) {
            (Task::Classification, Some(classes)) => classes.data_type(),
            (Task::Clustering, _) => DataType::Int64,
            (Task::Anomaly, _) => DataType::Boolean,
            _ => DataType::Float64,
        }
    }

    /// A prediction for each row. NULL where a feature is NULL, NaN or infinite, the key has no model, or the result is
    /// not a number. The first column is the key if there is a model for each, then the features follow.
    ///
    /// # Errors
    /// If the columns are not those of [`Trained::features`] in number, or not numbers.
    pub fn predict(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let scored = self.score(columns, |model, features| Some(model.predict(features)))?;
        let scored = scored.into_iter();
        Ok(match (self.training.algorithm.task(), &self.classes) {
            (Task::Classification, Some(classes)) => {
                classes.values(scored.map(|value| value.map(class_index)))
            }
            (Task::Clustering, _) => Arc::new(scored.map(|v| v.map(whole)).collect::<Int64Array>()),
            (Task::Anomaly, _) => Arc::new(scored.map(|v| v.map(|v| v > 0.5)).collect::<BooleanArray>()),
            _ => Arc::new(scored.collect::<Float64Array>()),
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

    /// A further figure of each row, one of [`Algorithm::values`]; of a class, if it has classes, as for
    /// [`Trained::predict_proba`]. NULL as in [`Trained::predict`].
    ///
    /// # Errors
    /// If the model has no figure of this name.
    pub fn value(&self, name: &str, class: Option<&str>, columns: &[ArrayRef]) -> Result<ArrayRef> {
        self.check_name(name, self.training.algorithm.values())?;
        let class = self.explained(class)?;
        let scored = self.score(columns, |model, features| model.value_of(name, class, features))?;
        Ok(Arc::new(Float64Array::from(scored)))
    }

    /// How much each feature adds to a figure, one of [`Algorithm::contributions`]: a list with a number per feature, in
    /// their order; of a class, if it has classes. NULL as in [`Trained::predict`].
    ///
    /// # Errors
    /// If the model does not explain a figure of this name.
    pub fn contributions(&self, name: &str, class: Option<&str>, columns: &[ArrayRef]) -> Result<ArrayRef> {
        self.check_name(name, self.training.algorithm.contributions())?;
        let class = self.explained(class)?;
        let rows =
            self.score_rows(columns, |model, features| model.contributions_to(name, class, features))?;
        Ok(list_of(rows))
    }

    /// The row in other coordinates, such as the scores of principal components: a list of numbers. NULL as in
    /// [`Trained::predict`].
    ///
    /// # Errors
    /// If the model has none.
    pub fn transform(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        if !self.training.algorithm.transforms() {
            return Err(self.error(format!("{} gives no other coordinates", self.training.algorithm.name())));
        }
        Ok(list_of(self.score_rows(columns, |model, features| model.transform(features))?))
    }

    /// The `k` cases that are most like each row, the nearest first: a list of [`super::Training::case_type`]. NULL as in
    /// [`Trained::predict`].
    ///
    /// # Errors
    /// If the model keeps no cases.
    pub fn nearest_cases(&self, k: usize, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let rows = self.for_each_key(columns, |key, features| {
            let cases = self.cases.get(key)?;
            Some(cases.nearest(features, k).into_iter().map(|near| (cases, near)).collect())
        })?;
        let column = column_of(&self.training, &self.output_type(), self.classes.as_ref(), &rows);
        column.ok_or_else(|| self.error("it keeps no cases".to_owned()))
    }

    /// The class that is explained; of no meaning without classes.
    fn explained(&self, class: Option<&str>) -> Result<usize> {
        if self.classes.is_some() { self.class(class) } else { Ok(0) }
    }

    fn check_name(&self, name: &str, known: &[&str]) -> Result<()> {
        if known.contains(&name) {
            return Ok(());
        }
        let algorithm = self.training.algorithm.name();
        Err(self.error(format!("{algorithm} has no figure {name:?}; known are {}", known.join(", "))))
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
        let scores = self.score_rows(columns, score)?;
        Ok(scores.into_iter().map(|score| score.filter(|score| score.is_finite())).collect())
    }

    /// What `score` gives for each complete row, by the model of its key.
    fn score_rows<T>(
        &self,
        columns: &[ArrayRef],
        score: impl Fn(&dyn Model, &Features<'_>) -> Option<Vec<T>>,
    ) -> Result<Vec<Option<T>>> {
        self.for_each_key(columns, |key, features| match &self.model {
            Models::One(model) => score(model, features),
            Models::PerKey(models) => score(models.get(key)?, features),
        })
    }

    /// What `of` gives for the complete rows of each key; the key is empty if there is one model for all.
    fn for_each_key<T>(
        &self,
        columns: &[ArrayRef],
        of: impl Fn(&str, &Features<'_>) -> Option<Vec<T>>,
    ) -> Result<Vec<Option<T>>> {
        let keys = usize::from(self.training.per.is_some());
        if columns.len() != self.features.len() + keys {
            let (wanted, found) = (self.features.len(), columns.len().saturating_sub(keys));
            let reason = format!("it takes {wanted} features ({}), not {found}", self.features.join(", "));
            return Err(self.error(reason));
        }
        let names = self.features.iter().zip(&columns[keys..]);
        let arrays: Result<Vec<Float64Array>> =
            names.map(|(name, column)| float_array(&self.training.name, name, column)).collect();
        let arrays = arrays?;
        // Every model survives whatever stands in an incomplete row; its result is not read.
        let values: Vec<&[f64]> = arrays.iter().map(|array| array.values().as_ref()).collect();
        let complete = complete(&arrays);
        let scores = match &self.model {
            Models::One(_) => whole_batch(of("", &Features::new(&values)), complete.len()),
            Models::PerKey(models) => {
                let mut scores: Vec<Option<T>> = (0..complete.len()).map(|_| None).collect();
                for (key, rows) in rows_by_key(&columns[0])? {
                    if !models.contains_key(&key) {
                        continue;
                    }
                    let picked: Vec<Vec<f64>> =
                        values.iter().map(|column| rows.iter().map(|&row| column[row]).collect()).collect();
                    let picked: Vec<&[f64]> = picked.iter().map(Vec::as_slice).collect();
                    let found = whole_batch(of(&key, &Features::new(&picked)), rows.len());
                    rows.into_iter().zip(found).for_each(|(row, value)| scores[row] = value);
                }
                scores
            }
        };
        Ok(scores.into_iter().zip(complete).map(|(score, complete)| score.filter(|_| complete)).collect())
    }

    fn error(&self, reason: String) -> Error {
        Error::operator(format!("model {:?}", self.training.name), reason)
    }
}

impl Algorithm {
    /// The type of [`Trained::contributions`] and [`Trained::transform`].
    pub fn contribution_type() -> DataType {
        DataType::List(contribution_field())
    }
}

fn contribution_field() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float64, true))
}

/// Rows of numbers as a column of lists.
fn list_of(rows: Vec<Option<Vec<f64>>>) -> ArrayRef {
    let lists = rows.into_iter().map(|row| row.map(|parts| parts.into_iter().map(Some)));
    let built = ListArray::from_iter_primitive::<Float64Type, _, _>(lists);
    let (_, offsets, values, nulls) = built.into_parts();
    Arc::new(ListArray::new(contribution_field(), offsets, values, nulls))
}

/// A result for each of `rows`; a model without one gives none.
fn whole_batch<T>(scores: Option<Vec<T>>, rows: usize) -> Vec<Option<T>> {
    match scores {
        Some(scores) => scores.into_iter().map(Some).collect(),
        None => (0..rows).map(|_| None).collect(),
    }
}

fn rows_by_key(keys: &ArrayRef) -> Result<BTreeMap<String, Vec<usize>>> {
    let mut rows: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (row, key) in key_texts(keys)?.into_iter().enumerate() {
        if let Some(key) = key {
            rows.entry(key).or_default().push(row);
        }
    }
    Ok(rows)
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
