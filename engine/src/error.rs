//! What can go wrong while a program runs.

use std::path::PathBuf;

/// The result of the engine and of everything that it runs.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a running program. Bad rows are not errors: they are counted and kept aside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An Arrow kernel failed.
    #[error("could not compute a column")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A file could not be read or written.
    #[error("could not {action} {}", path.display())]
    File {
        /// What was tried: "read", "write", "open".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The journal of the input failed.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    /// There are checkpoints, and the program cannot go on from them.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::CheckpointError),
    /// A connector failed for good.
    #[error("{connector} {name:?}: {reason}")]
    Connector {
        /// Kind of connector, such as `mqtt source`.
        connector: &'static str,
        /// The name of the source or sink in the query file.
        name: String,
        /// What happened, and what to do.
        reason: String,
    },
    /// An operator or expression failed on values that it cannot take.
    #[error("{name}: {reason}")]
    Operator {
        /// The view, model or operator.
        name: String,
        /// What happened.
        reason: String,
    },
    /// An expression has no value for a row: a cast that fails, a whole number divided by zero.
    #[error("a row could not be computed: {expression}: {reason}")]
    Row {
        /// The expression, as SQL.
        expression: String,
        /// Why it has no value.
        reason: String,
    },
    /// A worker thread panicked: a bug.
    #[error("worker {worker} panicked: {message}")]
    Panic {
        /// The number of the worker.
        worker: usize,
        /// The message of the panic.
        message: String,
    },
    /// The program as planned cannot run.
    #[error("{0}")]
    Plan(String),
}

impl Error {
    /// An error of the operator `name`.
    pub fn operator(name: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Operator { name: name.into(), reason: reason.to_string() }
    }

    /// An error of the connector of source or sink `name`.
    pub fn connector(
        connector: &'static str,
        name: impl Into<String>,
        reason: impl std::fmt::Display,
    ) -> Self {
        Self::Connector { connector, name: name.into(), reason: reason.to_string() }
    }

    /// An error of a file.
    pub fn file(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File { action, path: path.into(), source }
    }
}
