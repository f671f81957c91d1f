//! Cases: rows of the training query that stay with the model, by a name that people know, to be shown beside rows like them.
//!
//! ```text
//! row --scaled as in training--> Euclidean distance to every case --the k least--> [{id, distance, label}, ...]
//! ```
//!
//! Every case is looked at for every row, as by scikit-learn's `NearestNeighbors(algorithm = 'brute')`. Of two at the same
//! distance the later one comes first: the last time is the one that is remembered.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, ListArray, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields};
use lineshaft_engine::declaration::OptionError;
use lineshaft_engine::error::{Error, Result};
use serde::{Deserialize, Serialize};

use super::linear::Scales;
use super::matrix::gather;
use super::reader::Reader;
use super::target::Chosen;
use super::train::{Part, Rows, column};
use super::{Algorithm, Classes, Features, Task, Training};

/// More cases than this are not looked for at once.
pub const MOST_NEAREST: usize = 100;

/// Which rows a model keeps as cases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseOptions {
    /// `cases`: the column that names a case, such as its time or the number of an order.
    pub id: String,
    /// `case_label`: the column that says what it was; the target if not given.
    pub label: Option<String>,
    /// `most_cases`: how many are kept, of each key; 10,000 if not given.
    pub most: usize,
}

impl CaseOptions {
    /// The options of cases; `None` without any.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (id, label) = (reader.text("cases"), reader.text("case_label"));
        let valid = |most: &usize| (1..=1_000_000).contains(most);
        let most = reader.optional("most_cases", valid, "a whole number from 1 to 1000000");
        if id.is_none() {
            let given = ["case_label", "most_cases"].map(|name| (name, reader.has(name)));
            for (name, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
                let message = format!("the option `{name}` is about cases, and the model keeps none");
                let help = "name the column that identifies a case with the option `cases`";
                reader.errors.push(OptionError::of(name, message).help(help));
            }
        }
        Some(Self { id: id?, label, most: most.unwrap_or(10_000) })
    }

    /// True for the columns that name and describe a case.
    pub(crate) fn reads(&self, column: &str) -> bool {
        self.id == column || self.label.as_deref() == Some(column)
    }
}

impl Training {
    /// The type of [`super::Trained::nearest_cases`], where `output` is that of a prediction; `None` if no cases are kept.
    pub fn case_type(&self, output: &DataType) -> Option<DataType> {
        let fields = self.case_fields(output)?;
        Some(DataType::List(item(fields)))
    }

    fn case_fields(&self, output: &DataType) -> Option<Fields> {
        let has_target = matches!(self.algorithm.task(), Task::Classification | Task::Regression);
        let label = match self.cases.as_ref()?.label {
            None if has_target => output.clone(),
            _ => DataType::Utf8,
        };
        let field = |name, data_type| Field::new(name, data_type, true);
        let fields =
            [field("id", DataType::Utf8), field("distance", DataType::Float64), field("label", label)];
        Some(Fields::from(fields.to_vec()))
    }
}

fn item(fields: Fields) -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(fields), true))
}

/// The cases of a model, the earliest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cases {
    ids: Vec<String>,
    labels: Labels,
    /// Subtracted from each feature.
    means: Vec<f64>,
    /// Each feature is multiplied by this; zero for one that was constant in training.
    factors: Vec<f64>,
    /// The scaled cases, one after the other.
    rows: Vec<f64>,
}

/// What each case was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Labels {
    None,
    /// Indices of the classes of the target.
    Classes(Vec<u32>),
    Numbers(Vec<f64>),
    Texts(Vec<Option<String>>),
}

/// A case that is near, by its place among all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Near {
    place: usize,
    distance: f64,
}

impl Cases {
    /// Number of cases.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The `k` cases that are nearest to each row, the nearest first; fewer if there are not as many at a distance that is a
    /// number.
    pub(crate) fn nearest(&self, features: &Features<'_>, k: usize) -> Vec<Vec<Near>> {
        let mut distances: Vec<Near> = Vec::with_capacity(self.len());
        let of_row = |row: usize| {
            let scaled = |(j, column): (usize, &&[f64])| (column[row] - self.means[j]) * self.factors[j];
            let x: Vec<f64> = features.columns().iter().enumerate().map(scaled).collect();
            self.nearest_to(&x, k, &mut distances)
        };
        (0..features.rows()).map(of_row).collect()
    }

    fn nearest_to(&self, x: &[f64], k: usize, distances: &mut Vec<Near>) -> Vec<Near> {
        let square = |other: &[f64]| other.iter().zip(x).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let order = |a: &Near, b: &Near| a.distance.total_cmp(&b.distance).then(b.place.cmp(&a.place));
        distances.clear();
        let squares = self.rows.chunks_exact(x.len()).map(square).enumerate();
        distances.extend(squares.map(|(place, distance)| Near { place, distance }));
        let k = k.min(distances.len());
        if k == 0 {
            return Vec::new();
        }
        distances.select_nth_unstable_by(k - 1, order);
        distances[..k].sort_by(order);
        let near = distances[..k].iter().filter(|near| near.distance.is_finite());
        near.map(|near| Near { distance: near.distance.sqrt(), ..*near }).collect()
    }
}

/// What [`Cases::nearest`] found for each row, NULL where it was not looked for, as a column of
/// [`Training::case_type`]; `cases` are those of the row.
pub(crate) fn column_of(
    training: &Training,
    output: &DataType,
    classes: Option<&Classes>,
    found: &[Option<(&Cases, Vec<Near>)>],
) -> Option<ArrayRef> {
    let fields = training.case_fields(output)?;
    let near = || {
        let rows = found.iter().flatten();
        rows.flat_map(|(cases, near)| near.iter().map(move |near| (*cases, *near)))
    };
    let ids: StringArray = near().map(|(cases, near)| Some(cases.ids[near.place].as_str())).collect();
    let distances: Float64Array = near().map(|(_, near)| Some(near.distance)).collect();
    let is_target = training.cases.as_ref().is_some_and(|cases| cases.label.is_none());
    let labels = match (is_target, classes, fields[2].data_type()) {
        (true, Some(classes), _) => classes.values(near().map(class_of)),
        (true, None, DataType::Float64) => Arc::new(near().map(number_of).collect::<Float64Array>()),
        _ => Arc::new(near().map(text_of).collect::<StringArray>()),
    };
    let values = StructArray::new(fields.clone(), vec![Arc::new(ids), Arc::new(distances), labels], None);
    let offsets =
        OffsetBuffer::from_lengths(found.iter().map(|row| row.as_ref().map_or(0, |row| row.1.len())));
    let nulls: NullBuffer = found.iter().map(Option::is_some).collect();
    Some(Arc::new(ListArray::new(item(fields), offsets, Arc::new(values), Some(nulls))))
}

fn class_of((cases, near): (&Cases, Near)) -> Option<usize> {
    match &cases.labels {
        Labels::Classes(classes) => usize::try_from(classes[near.place]).ok(),
        _ => None,
    }
}

fn number_of((cases, near): (&Cases, Near)) -> Option<f64> {
    match &cases.labels {
        Labels::Numbers(numbers) => Some(numbers[near.place]),
        _ => None,
    }
}

fn text_of((cases, near): (&Cases, Near)) -> Option<&str> {
    match &cases.labels {
        Labels::Texts(texts) => texts[near.place].as_deref(),
        _ => None,
    }
}

/// The cases of each key, by the same names as the models; none if none are kept.
///
/// All complete rows may be cases, those that are held back as well: they decide nothing. Rows without an identifier are not.
///
/// # Errors
/// If a column is missing or has no text.
pub(super) fn keep(
    training: &Training,
    table: &arrow::array::RecordBatch,
    rows: &Rows,
    parts: &[Part],
) -> Result<BTreeMap<String, Cases>> {
    let Some(options) = &training.cases else { return Ok(BTreeMap::new()) };
    let ids = texts(column(training, table, "cases", &options.id)?)?;
    let labels = match &options.label {
        Some(label) => Some(texts(column(training, table, "case_label", label)?)?),
        None => None,
    };
    let standardizes = training.algorithm.standardizes();
    let kept = parts.iter().map(|part| {
        let mut all: Vec<usize> = part.train.iter().chain(&part.test).copied().collect();
        all.retain(|row| ids[*row].is_some());
        all.sort_unstable();
        let all = latest(&rows.order.in_time(all), options.most, |row| match &labels {
            Some(labels) => labels[row].clone(),
            None => rows.target.class(row).map(|class| class.to_string()),
        });
        let scales = Scales::of(&gather(&rows.columns, &part.train))
            .map_err(|reason| Error::operator(format!("model {:?}", training.name), part.named(reason)))?;
        let (factors, means) = (scales.factors(standardizes), scales.means);
        let scaled = all.iter().flat_map(|&row| {
            let one = |(j, column): (usize, &Vec<f64>)| (column[row] - means[j]) * factors[j];
            rows.columns.iter().enumerate().map(one).collect::<Vec<f64>>()
        });
        let cases = Cases {
            rows: scaled.collect(),
            ids: all.iter().filter_map(|&row| ids[row].clone()).collect(),
            labels: match (&labels, rows.target.gather(&all)) {
                (Some(labels), _) => Labels::Texts(all.iter().map(|&row| labels[row].clone()).collect()),
                (None, Chosen::Classes(classes)) => Labels::Classes(classes),
                (None, Chosen::Numbers(numbers)) => Labels::Numbers(numbers),
                (None, Chosen::None) => Labels::None,
            },
            means,
            factors,
        };
        Ok((part.key.clone().unwrap_or_default(), cases))
    });
    kept.collect()
}

/// The latest of `rows`, at most `most`, in their order: of each label as many as of any other, so that the rare ones, which are
/// asked for most, stay.
fn latest<L: Ord>(rows: &[usize], most: usize, label: impl Fn(usize) -> L) -> Vec<usize> {
    if rows.len() <= most {
        return rows.to_vec();
    }
    let mut by_label: BTreeMap<L, Vec<usize>> = BTreeMap::new();
    rows.iter().enumerate().for_each(|(place, &row)| by_label.entry(label(row)).or_default().push(place));
    let mut groups: Vec<Vec<usize>> = by_label.into_values().collect();
    groups.sort_by_key(Vec::len);
    let (mut left, mut places) = (most, Vec::with_capacity(most));
    for (done, group) in groups.iter().enumerate() {
        let quota = (left / (groups.len() - done)).min(group.len());
        places.extend_from_slice(&group[group.len() - quota..]);
        left -= quota;
    }
    places.sort_unstable();
    places.into_iter().map(|place| rows[place]).collect()
}

fn texts(array: &ArrayRef) -> Result<Vec<Option<String>>> {
    let texts = cast(array, &DataType::Utf8)?;
    Ok(texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
}

impl Algorithm {
    /// True if its distances are in standard deviations of each feature.
    fn standardizes(&self) -> bool {
        match self {
            Self::KnnClassifier(options) | Self::KnnRegressor(options) => options.standardize,
            Self::KMeans { standardize, .. } => *standardize,
            Self::Dbscan(options) => options.standardize,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
