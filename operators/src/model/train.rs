//! From a table to a model with its figures.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use lineshaft_engine::error::{Error, Result};
use serde::{Deserialize, Serialize};

use super::evaluate::Outcome;
use super::fit::fit;
use super::forecast::{self, ForecastOptions};
use super::importance::{Importance, Tested, importances};
use super::matrix::{gather, key_texts, numbers};
use super::options::{Constant, Missing};
use super::search::{Run, Trial, search};
use super::split::{Order, Split, divide, group_of};
use super::target::{Chosen, Target};
use super::{Algorithm, Cases, Classes, Fitted, Metric, Model, Training, balance, cases};

/// The text of a key whose rows determine no model, and why.
pub type LeftOut = (String, String);

/// A fitted model with what was learned about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// How it was trained.
    pub training: Training,
    /// Names of the features, in the order in which `predict` takes them.
    pub features: Vec<String>,
    /// The classes of a classifier.
    pub classes: Option<Classes>,
    /// Rows that it was fitted on, as often as `balance` took them.
    pub rows: usize,
    /// Rows that were held back for the metrics.
    pub test_rows: usize,
    /// Rows left out because a feature, the target, or the column of key, group or time was NULL, NaN or infinite.
    pub dropped_rows: usize,
    /// Features that were constant in all training rows.
    pub constant_features: Vec<String>,
    /// Figures on the held-back rows of all keys; empty if there were none.
    pub metrics: Vec<Metric>,
    /// What each feature is worth on the held-back rows; empty if there were none.
    pub importances: Vec<Importance>,
    /// The options that a search has chosen, as they are written; empty without one.
    pub chosen: String,
    /// The fits of the cross-validation.
    pub runs: Vec<Run>,
    /// The model.
    pub model: Models,
    /// Keys whose rows determine no model, and why; not kept with the model.
    #[serde(skip)]
    pub left_out: Vec<LeftOut>,
    /// The rows that it keeps, by the text of the key (the empty text for a model of all rows); empty if it keeps none.
    pub cases: BTreeMap<String, Cases>,
}

/// One model, or one for each value of the column `PER`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Models {
    /// For all rows.
    One(Fitted),
    /// By the text of the key.
    PerKey(BTreeMap<String, Fitted>),
}

/// Fits a model on all feature columns of `table`, or one for each key.
///
/// Which rows are held back depends on the seed and the order of the rows, so `table` must come in an order that is the
/// same each time.
///
/// # Errors
/// If a column is not a number, the target is missing, or the rows do not determine a model.
pub fn train(training: &Training, table: &RecordBatch) -> Result<Trained> {
    let error = |reason: String| Error::operator(format!("model {:?}", training.name), reason);
    let rows = Rows::of(training, table)?;
    let dropped_rows = table.num_rows() - rows.complete.len();
    if rows.complete.is_empty() {
        return Err(error(no_rows(table.num_rows())));
    }
    if dropped_rows > 0 && training.missing == Missing::Refuse {
        return Err(error(rows.missing_reason(dropped_rows, table.num_rows())));
    }
    let classes = rows.target.classes();
    let labels = rows.target.labels();
    let (parts, mut left_out) = rows.parts(training).map_err(error)?;
    let mut cases = cases::keep(training, table, &rows, &parts)?;
    let evaluate = |training: &Training, train: &[usize], test: &[usize]| {
        if let Algorithm::Forecast(options) = &training.algorithm {
            return rows.forecast(options, train, test);
        }
        let taken = balance::resample(training, &rows.target, train.to_vec());
        let validation = training.algorithm.validation_rows(taken.len());
        let taken = if validation > 0 { rows.order.together(taken) } else { taken };
        let train = training.augment.rows(&taken, validation);
        let mut columns = gather(&rows.columns, &train);
        training.augment.change(&mut columns, taken.len() - validation, training.seed);
        let copies = train.len() - taken.len();
        let model = fit(training, &columns, &rows.target.gather(&train), classes, copies)?;
        let outcome = Outcome::of(&model, &gather(&rows.columns, test), rows.target.gather(test), classes);
        Ok((model, outcome, train))
    };
    let (mut chosen, mut runs) =
        (Trial { options: String::new(), algorithm: training.algorithm.clone() }, Vec::new());
    if training.folds > 0 {
        let trained_on: Vec<Vec<usize>> = parts.iter().map(|part| part.train.clone()).collect();
        let outcome = |training: &Training, train: &[usize], test: &[usize]| {
            evaluate(training, train, test).map(|(_, outcome, _)| outcome)
        };
        (chosen, runs) = search(training, &rows.order, &trained_on, &labels, outcome).map_err(error)?;
    }
    let best = Training { algorithm: chosen.algorithm, ..training.clone() };
    let (mut fitted_rows, mut test_rows, mut unseen) = (Vec::new(), 0, Vec::new());
    let (mut models, mut outcome): (Vec<(String, Fitted)>, Option<Outcome>) = (Vec::new(), None);
    for part in parts {
        let (model, found, train) = match (evaluate(&best, &part.train, &part.test), &part.key) {
            (Ok(fitted), _) => fitted,
            (Err(reason), None) => return Err(error(reason)),
            (Err(reason), Some(key)) => {
                left_out.push((key.clone(), reason));
                continue;
            }
        };
        runs.extend(epochs(&model, &chosen.options, train.len()));
        match &mut outcome {
            Some(outcome) => outcome.extend(found),
            None => outcome = Some(found),
        }
        fitted_rows.extend(train);
        test_rows += part.test.len();
        unseen.push(part.test);
        models.push((part.key.unwrap_or_default(), model));
    }
    if let (true, Some((key, reason))) = (models.is_empty(), left_out.first()) {
        return Err(error(format!("key {key:?}: {reason}; and no other key determines a model")));
    }
    cases.retain(|key, _| models.iter().any(|(known, _)| known == key));
    let constant_features = rows.constant_features(&fitted_rows);
    if !constant_features.is_empty() && training.constant == Constant::Refuse {
        let reason = format!(
            "constant in all training rows: {}; leave them out of the query",
            constant_features.join(", ")
        );
        return Err(error(reason));
    }
    let tested = models.iter().zip(unseen).map(|((_, model), rows)| Tested { model, rows });
    let tested: Vec<Tested<'_>> = tested.collect();
    let importances = importances(&best, &rows.features, &rows.columns, &rows.target, &tested);
    let metrics =
        outcome.filter(|_| test_rows > 0).map(|outcome| outcome.metrics(&labels)).unwrap_or_default();
    let model = match training.per {
        Some(_) => Models::PerKey(models.into_iter().collect()),
        None => Models::One(models.remove(0).1),
    };
    Ok(Trained {
        training: training.clone(),
        features: rows.features,
        classes: rows.target.into_classes(),
        rows: fitted_rows.len(),
        test_rows,
        dropped_rows,
        constant_features,
        metrics,
        importances,
        chosen: chosen.options,
        runs,
        model,
        left_out,
        cases,
    })
}

/// A run for each epoch of a training.
fn epochs(model: &Fitted, options: &str, rows: usize) -> Vec<Run> {
    let of = |(epoch, metrics)| {
        let options = options.to_owned();
        Run { options, trial: 0, fold: 0, epoch: epoch + 1, rows, test_rows: 0, metrics }
    };
    model.epochs().into_iter().enumerate().map(of).collect()
}

fn no_rows(found: usize) -> String {
    if found == 0 {
        return "its training query gave no rows; check the files and the WHERE clause".to_owned();
    }
    format!(
        "each of the {found} training rows has a NULL or NaN; leave the empty column out or fill it with COALESCE"
    )
}

fn all_held_back(rows: usize) -> String {
    format!("all {rows} complete rows fell into the held-back part; lower test_fraction or give more rows")
}

/// The complete rows of a key, or all of them.
pub(super) struct Part {
    pub(super) key: Option<String>,
    pub(super) train: Vec<usize>,
    pub(super) test: Vec<usize>,
}

impl Part {
    /// What is wrong, with the key.
    pub(super) fn named(&self, reason: String) -> String {
        self.key.as_ref().map_or(reason.clone(), |key| format!("key {key:?}: {reason}"))
    }
}

/// A training table, read and checked.
pub(super) struct Rows {
    features: Vec<String>,
    pub(super) columns: Vec<Vec<f64>>,
    pub(super) target: Target,
    pub(super) order: Order,
    keys: Option<Vec<Option<String>>>,
    /// The rows that have all of it.
    complete: Vec<usize>,
}

impl Rows {
    pub(super) fn of(training: &Training, table: &RecordBatch) -> Result<Self> {
        let (features, columns) = feature_columns(training, table)?;
        let target = Target::of(training, table)?;
        let keys =
            training.per.as_ref().map(|key| key_texts(column(training, table, "PER", key)?)).transpose()?;
        let (order, has_place) = order(training, table)?;
        let complete = |&row: &usize| {
            target.is_known(row)
                && has_place[row]
                && keys.as_ref().is_none_or(|keys| keys[row].is_some())
                && columns.iter().all(|column| column[row].is_finite())
        };
        let complete = (0..table.num_rows()).filter(complete).collect();
        Ok(Self { features, columns, target, order, keys, complete })
    }

    /// The complete rows of each key, ascending; all of them if there is no key.
    fn by_key(&self) -> Vec<(Option<String>, Vec<usize>)> {
        let Some(keys) = &self.keys else {
            return vec![(None, self.complete.clone())];
        };
        let mut parts: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
        for &row in &self.complete {
            parts.entry(keys[row].clone()).or_default().push(row);
        }
        parts.into_iter().collect()
    }

    /// The rows that each key is trained and tested on; and the keys that have none to be trained on, with the reason.
    pub(super) fn parts(&self, training: &Training) -> Result<(Vec<Part>, Vec<LeftOut>), String> {
        let (mut parts, mut left_out) = (Vec::new(), Vec::new());
        for (key, rows) in self.by_key() {
            let (train, test) =
                divide(&training.split, &self.order, &rows, training.test_fraction, training.seed);
            match key {
                Some(key) if train.is_empty() => left_out.push((key, all_held_back(test.len()))),
                None if train.is_empty() => return Err(all_held_back(test.len())),
                key => parts.push(Part { key, train, test }),
            }
        }
        Ok((parts, left_out))
    }

    /// A forecaster is tested on the rows after those that it is fitted on, and then fitted on all of them: the first step is the row
    /// after the last one.
    fn forecast(
        &self,
        options: &ForecastOptions,
        train: &[usize],
        test: &[usize],
    ) -> Result<(Fitted, Outcome, Vec<usize>), String> {
        let (mut rows, test) = (self.order.in_time(train.to_vec()), self.order.in_time(test.to_vec()));
        let history = |rows: &[usize]| match self.target.gather(rows) {
            Chosen::Numbers(history) => Ok(history),
            _ => Err("a forecast is one of numbers".to_owned()),
        };
        let ahead = ForecastOptions { horizon: test.len(), method: options.method.clone() };
        let steps: Vec<f64> = (1_u32..).map(f64::from).take(test.len()).collect();
        let tested = forecast::fit(&ahead, &history(&rows)?)?;
        let outcome = Outcome::of(&tested, &[steps], self.target.gather(&test), 0);
        rows.extend(test);
        Ok((forecast::fit(options, &history(&rows)?)?, outcome, rows))
    }

    fn missing_reason(&self, dropped: usize, rows: usize) -> String {
        let has_gap = |column: &&(&String, &Vec<f64>)| column.1.iter().any(|value| !value.is_finite());
        let with_gaps: Vec<_> = self.features.iter().zip(&self.columns).collect();
        let names: Vec<&str> = with_gaps.iter().filter(has_gap).map(|(name, _)| name.as_str()).collect();
        let what = if names.is_empty() { "target".to_owned() } else { names.join(", ") };
        format!(
            "{dropped} of {rows} rows have a NULL, NaN or infinite value ({what}), and missing = 'refuse'"
        )
    }

    fn constant_features(&self, rows: &[usize]) -> Vec<String> {
        let is_constant = |column: &Vec<f64>| {
            rows.windows(2).all(|pair| column[pair[0]].to_bits() == column[pair[1]].to_bits())
        };
        let named = self.features.iter().zip(&self.columns);
        named.filter(|(_, column)| is_constant(column)).map(|(name, _)| name.clone()).collect()
    }
}

fn feature_columns(training: &Training, table: &RecordBatch) -> Result<(Vec<String>, Vec<Vec<f64>>)> {
    let schema = table.schema();
    let features = schema.fields().iter().zip(table.columns());
    let features: Vec<_> = features.filter(|(field, _)| training.is_feature(field.name())).collect();
    if let Algorithm::Forecast(_) = training.algorithm {
        let names = features.iter().map(|(field, _)| field.name().as_str());
        let names = training.features(names);
        let names = names.map_err(|reason| Error::operator(format!("model {:?}", training.name), reason))?;
        return Ok((names, Vec::new()));
    }
    if features.is_empty() {
        let reason = "its training query has no feature column beside the target";
        return Err(Error::operator(format!("model {:?}", training.name), reason));
    }
    let names = features.iter().map(|(field, _)| field.name().clone()).collect();
    let columns: Result<_> =
        features.iter().map(|(field, array)| numbers(&training.name, field.name(), array)).collect();
    Ok((names, columns?))
}

/// A column that an option names.
pub(super) fn column<'a>(
    training: &Training,
    table: &'a RecordBatch,
    option: &str,
    name: &str,
) -> Result<&'a ArrayRef> {
    table.column_by_name(name).ok_or_else(|| {
        let reason = format!("{option} {name:?} is not a column of its training query");
        Error::operator(format!("model {:?}", training.name), reason)
    })
}

/// What decides the split, and for each row whether it is known.
fn order(training: &Training, table: &RecordBatch) -> Result<(Order, Vec<bool>)> {
    match &training.split {
        Split::Row | Split::Time(None) => Ok((Order::Rows, vec![true; table.num_rows()])),
        Split::Time(Some(name)) => {
            let times = times(training, name, column(training, table, "time", name)?)?;
            let known = times.iter().map(|time| time.is_finite()).collect();
            Ok((Order::Times(times), known))
        }
        Split::Group(name) => {
            let texts = key_texts(column(training, table, "group", name)?)?;
            let known = texts.iter().map(Option::is_some).collect();
            let groups = texts.iter().map(|text| group_of(text.as_deref().unwrap_or_default()));
            Ok((Order::Groups(groups.collect()), known))
        }
    }
}

/// Times and dates as numbers, so that they can be ordered.
fn times(training: &Training, name: &str, array: &ArrayRef) -> Result<Vec<f64>> {
    if !array.data_type().is_temporal() {
        return numbers(&training.name, name, array);
    }
    let whole = match array.data_type() {
        DataType::Date32 | DataType::Time32(_) => arrow::compute::cast(array, &DataType::Int32)?,
        _ => arrow::compute::cast(array, &DataType::Int64)?,
    };
    debug_assert_eq!(whole.len(), array.len());
    numbers(&training.name, name, &whole)
}

#[cfg(test)]
mod tests;
