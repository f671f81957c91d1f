//! What a model is to predict: nothing, a number or a class for each row.

use arrow::array::RecordBatch;
use lineshaft_engine::error::{Error, Result};

use super::matrix::numbers;
use super::{Classes, Task, Training};

/// The target of each row of a table.
pub(crate) enum Target {
    None,
    Numbers(Vec<f64>),
    Classes(Classes, Vec<Option<u32>>),
}

/// The target of chosen rows, complete.
#[derive(Clone, Debug)]
pub(crate) enum Chosen {
    None,
    Numbers(Vec<f64>),
    /// Indices of classes.
    Classes(Vec<u32>),
}

impl Target {
    /// Reads the target column.
    ///
    /// # Errors
    /// If it is missing, or of a type that the task cannot predict.
    pub(crate) fn of(training: &Training, table: &RecordBatch) -> Result<Self> {
        let Some(name) = &training.target else {
            return Ok(Self::None);
        };
        let model = &training.name;
        let Some(column) = table.column_by_name(name) else {
            let schema = table.schema();
            let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let reason = format!(
                "target {name:?} is not a column of its training query, which has {}",
                known.join(", ")
            );
            return Err(Error::operator(format!("model {model:?}"), reason));
        };
        if training.algorithm.task() == Task::Classification {
            let (classes, indices) = Classes::of(model, name, column)?;
            return Ok(Self::Classes(classes, indices));
        }
        if !column.data_type().is_numeric() {
            let reason = format!(
                "target {name:?} is {}, but {} predicts a number; use a classifier or another target",
                column.data_type(),
                training.algorithm.name()
            );
            return Err(Error::operator(format!("model {model:?}"), reason));
        }
        Ok(Self::Numbers(numbers(model, name, column)?))
    }

    pub(crate) fn is_known(&self, row: usize) -> bool {
        match self {
            Self::None => true,
            Self::Numbers(numbers) => numbers[row].is_finite(),
            Self::Classes(_, indices) => indices[row].is_some(),
        }
    }

    /// The index of the class of a row; `None` if it is none.
    pub(crate) fn class(&self, row: usize) -> Option<u32> {
        if let Self::Classes(_, indices) = self { indices[row] } else { None }
    }

    /// The target of `rows`, each of which is known.
    pub(crate) fn gather(&self, rows: &[usize]) -> Chosen {
        match self {
            Self::None => Chosen::None,
            Self::Numbers(numbers) => Chosen::Numbers(rows.iter().map(|&row| numbers[row]).collect()),
            Self::Classes(_, indices) => {
                Chosen::Classes(rows.iter().filter_map(|&row| indices[row]).collect())
            }
        }
    }

    /// Number of classes; zero if it is no class.
    pub(crate) fn classes(&self) -> usize {
        if let Self::Classes(classes, _) = self { classes.len() } else { 0 }
    }

    /// The classes as text.
    pub(crate) fn labels(&self) -> Vec<String> {
        if let Self::Classes(classes, _) = self { classes.labels() } else { Vec::new() }
    }

    pub(crate) fn into_classes(self) -> Option<Classes> {
        if let Self::Classes(classes, _) = self { Some(classes) } else { None }
    }
}
