//! Checkpoints of a program whose sources all end, such as a backfill: after a stop or a crash the same program goes on
//! from the newest one.
//!
//! A checkpoint is taken between two epochs while nothing is on its way. The intake waits until all epochs are complete;
//! then every worker writes the snapshots of its operators and sinks. Every sink makes visible what it has, and knows which
//! files it wrote later: they are of work that is done again, and are deleted. Last come the position of each source, and what it
//! knows of time.
//!
//! ```text
//! folder/<number>/program, worker-0, worker-1, ...    the state, as tables
//! folder/<number>/manifest                            names and hashes of these files, written last
//! ```
//!
//! - `state`: a file of tables; `manifest`: what makes a checkpoint whole
//! - `store`: the folder, and which checkpoint is gone on from
//!
//! Two are kept. When the program goes on, all files of the newest one are compared with their hashes before anything is
//! decoded; if one is damaged, the checkpoint before it is used.

mod error;
mod manifest;
mod state;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::control::lock;
use crate::dataflow::Stateful;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::operator::Snapshot;

use store::{Draft, Found};

pub use error::{CheckpointError, Damage};
pub(crate) use store::Store;

/// Where and when checkpoints are taken.
#[derive(Clone, Debug)]
pub struct CheckpointSettings {
    /// Where the folder is.
    pub disk: Arc<dyn Disk>,
    /// The folder of the checkpoints; it is gone when the program has come to its end.
    pub folder: PathBuf,
    /// How long after a checkpoint the next one is taken.
    pub every: Duration,
    /// What the program and its input are: a checkpoint of another program is refused.
    pub identity: String,
}

impl CheckpointSettings {
    /// True if a run was not finished, from which this one goes on.
    pub fn is_begun(&self) -> bool {
        // What cannot be read may be one; the start tells why.
        Found::list(&*self.disk, &self.folder).map_or(true, |found| Found::is_begun(&found))
    }
}

/// The snapshots of one worker or of the intake, by the name of their owner.
pub(crate) type Parts = BTreeMap<String, Snapshot>;

/// What the workers are asked for, and what they have done.
#[derive(Debug, Default)]
pub(crate) struct Round(Mutex<RoundState>);

#[derive(Debug, Default)]
struct RoundState {
    number: u64,
    draft: Option<Arc<Draft>>,
    missing: usize,
}

impl Round {
    /// Asks `workers` workers for their part of a checkpoint.
    pub(crate) fn begin(&self, draft: Arc<Draft>, workers: usize) {
        let mut state = lock(&self.0);
        state.number += 1;
        (state.draft, state.missing) = (Some(draft), workers);
    }

    /// The checkpoint that is wanted of a worker that has answered `answered` so far.
    pub(crate) fn wanted(&self, answered: u64) -> Option<Arc<Draft>> {
        let state = lock(&self.0);
        state.draft.clone().filter(|_| state.number > answered)
    }

    /// One more worker is done.
    pub(crate) fn answer(&self) {
        let mut state = lock(&self.0);
        state.missing = state.missing.saturating_sub(1);
    }

    pub(crate) fn is_done(&self) -> bool {
        lock(&self.0).missing == 0
    }
}

/// What a program goes on from.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// The snapshots of each worker. The state of a key lies on its worker, so there are as many again.
    pub(crate) workers: Vec<Mutex<Parts>>,
    /// Those of the sources and of the program.
    pub(crate) program: Parts,
}

impl Restored {
    /// The snapshots of a worker, once.
    pub(crate) fn worker(&self, index: usize) -> Parts {
        self.workers.get(index).map(|parts| std::mem::take(&mut *lock(parts))).unwrap_or_default()
    }
}

/// Shared by all that take part in checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    pub(crate) store: Store,
    pub(crate) round: Round,
    pub(crate) restored: Option<Arc<Restored>>,
}

impl Checkpoints {
    /// Opens the checkpoints of a program; with one to go on from, there are as many workers as it has.
    ///
    /// # Errors
    /// As for [`Store::open`].
    pub(crate) fn open(settings: CheckpointSettings, workers: &mut usize) -> Result<Arc<Self>> {
        let (store, restored) = Store::open(settings)?;
        if let Some(restored) = &restored {
            *workers = restored.workers.len();
            tracing::info!("goes on from where it was stopped, with {workers} workers");
        }
        Ok(Arc::new(Self { store, round: Round::default(), restored: restored.map(Arc::new) }))
    }

    /// Writes the state of a worker, if that is wanted; gives the number of checkpoints that it has answered more.
    pub(crate) fn answer(&self, answered: u64, worker: usize, operators: &Stateful) -> Result<u64> {
        let Some(draft) = self.round.wanted(answered) else { return Ok(0) };
        let snapshots =
            operators.iter().map(|(name, operator)| Ok((name.clone(), operator.borrow_mut().snapshot()?)));
        draft.write_worker(worker, snapshots)?;
        self.round.answer();
        Ok(1)
    }
}

/// A table of whole numbers.
pub(crate) fn numbers<'a>(columns: impl IntoIterator<Item = (&'a str, Vec<i64>)>) -> Result<RecordBatch> {
    let columns =
        columns.into_iter().map(|(name, values)| (name, Arc::new(Int64Array::from(values)) as ArrayRef));
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// A column of such a table.
///
/// # Errors
/// If the table is another one.
pub(crate) fn column<'a>(table: &'a RecordBatch, name: &str) -> Result<&'a [i64]> {
    let found = table.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    found.map(|column| &column.values()[..]).ok_or_else(damaged)
}

/// The first value of a column.
pub(crate) fn number(table: &RecordBatch, name: &str) -> Result<i64> {
    column(table, name)?.first().copied().ok_or_else(damaged)
}

pub(crate) fn damaged() -> Error {
    Error::Plan("a checkpoint is damaged; delete its folder to begin anew".into())
}
