//! Checkpoints: after a stop or a crash the same program goes on from the newest one.
//!
//! A checkpoint is of a point between two epochs. The intake waits until all epochs are complete; then every worker begins the
//! snapshots of its operators, and the stream goes on. What they hand over is written in the background. Every sink makes visible
//! what it has, and knows which files it wrote later: they are of work that is done again, and are deleted. The intake adds the
//! position of each source, and what it knows of time.
//!
//! ```text
//! folder/<number>/program, worker-0, worker-1, ...    the state, as tables
//! folder/<number>/part-<hash>, ...                    parts of large tables; what has not changed is linked, not written
//! folder/<number>/manifest                            names and hashes of these files, written last
//! ```
//!
//! - `round`: what workers are asked for, and hand over; `writer`: who writes it
//! - `state`: a file of tables; `parts`: what is large of them; `manifest`: what makes a checkpoint whole
//! - `store`: the folder, and which checkpoint is gone on from
//!
//! Two are kept. When the program goes on, all files of the newest one are compared with their hashes before anything is
//! decoded; if one is damaged, the checkpoint before it is used.

mod error;
mod manifest;
mod parts;
mod round;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::control::lock;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::operator::Snapshot;

use store::Found;

pub use error::{CheckpointError, Damage};
pub(crate) use round::{HandOver, Round};
pub(crate) use state::encode;
pub(crate) use store::Store;
pub(crate) use writer::Begun;
use writer::Writer;

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
    /// Who writes the last checkpoint.
    writer: Mutex<Option<Writer>>,
    /// There was no room for the last one.
    is_full: AtomicBool,
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
        Ok(Arc::new(Self {
            store,
            round: Round::default(),
            restored: restored.map(Arc::new),
            writer: Mutex::default(),
            is_full: AtomicBool::default(),
        }))
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
