//! `ALTER MODEL` on a data directory: which stored version scores. A program that runs there takes it over before its next
//! rows, any other one when it starts.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use lineshaft_operators::model::artifact::{self, Choice};
use lineshaft_operators::model::{Artifact, Trained};
use lineshaft_queries::alter::{AlterModel, Change};

use crate::error::Error;

/// Does what the statement says; gives what is chosen now.
pub(crate) fn alter(data: &Path, statement: &AlterModel) -> Result<Choice, Error> {
    let name = &statement.name.value;
    let choice = chosen(data, name)?;
    let changed = match statement.change {
        Change::Version(version) => choice.with_live(fitting(data, name, &choice, version)?),
        Change::Shadow(version) if version == choice.live => {
            return Err(Error::Query(format!("version {version} of model {name:?} scores already")));
        }
        Change::Shadow(version) => {
            Choice { shadow: Some(fitting(data, name, &choice, version)?), ..choice.clone() }
        }
        Change::NoShadow => Choice { shadow: None, ..choice.clone() },
        Change::Rollback => {
            let none = || Error::Query(format!("no version of model {name:?} scored before"));
            let previous = choice.previous.ok_or_else(none)?;
            choice.with_live(fitting(data, name, &choice, previous)?)
        }
    };
    if changed != choice {
        changed.save(data, name)?;
    }
    Ok(changed)
}

/// What is chosen, as a row.
pub(crate) fn row(name: &str, choice: &Choice) -> Result<RecordBatch, Error> {
    let number =
        |version: Option<u32>| -> ArrayRef { Arc::new(Int64Array::from(vec![version.map(i64::from)])) };
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("name", Arc::new(StringArray::from(vec![name])), false),
        ("live", number(Some(choice.live)), false),
        ("previous", number(choice.previous), true),
        ("shadow", number(choice.shadow), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| Error::Query(error.to_string()))
}

/// What is chosen for a model; of one that an earlier version of the program has stored, the newest version.
fn chosen(data: &Path, name: &str) -> Result<Choice, Error> {
    if let Some(choice) = Choice::load(data, name)? {
        return Ok(choice);
    }
    let stored = artifact::list(data)?.into_iter().rfind(|stored| stored.name == *name);
    let artifact = match &stored {
        Some(stored) => Artifact::load_if_current(&stored.path)?,
        None => None,
    };
    match (stored, artifact) {
        (Some(stored), Some(artifact)) => Ok(Choice::first(stored.version, &artifact.definition_hash)),
        _ => Err(Error::Query(format!("there is no model {name:?} in {}", data.display()))),
    }
}

/// The version, if it is there and can score in place of the one that does.
fn fitting(data: &Path, name: &str, choice: &Choice, version: u32) -> Result<u32, Error> {
    let load = |version| artifact::version(data, name, version);
    let Some(wanted) = load(version)? else {
        let stored = artifact::list(data)?.into_iter().filter(|stored| stored.name == *name);
        let known: Vec<String> = stored.map(|stored| stored.version.to_string()).collect();
        let message = format!("model {name:?} has no version {version}; there are {}", known.join(", "));
        return Err(Error::Query(message));
    };
    match load(choice.live)? {
        Some(live) if !is_alike(&live.trained, &wanted.trained) => Err(Error::Query(format!(
            "version {version} of model {name:?} cannot score in place of version {}: it takes {} and gives {}, not {} and {}",
            choice.live,
            wanted.trained.features.join(", "),
            wanted.trained.output_type(),
            live.trained.features.join(", "),
            live.trained.output_type(),
        ))),
        _ => Ok(version),
    }
}

fn is_alike(a: &Trained, b: &Trained) -> bool {
    a.features == b.features
        && a.training.per == b.training.per
        && a.training.algorithm.task() == b.training.algorithm.task()
        && a.output_type() == b.output_type()
}
