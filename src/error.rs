//! What can go wrong, for those who embed the engine.

use std::fmt;

use lineshaft_queries::error::{Errors, QueryError};
use lineshaft_queries::span::SourceFile;

/// An error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is wrong; nothing was started.
    #[error(transparent)]
    Program(#[from] ProgramErrors),
    /// A file of the program cannot be read; nothing was started.
    #[error("could not read {path}")]
    ProgramFile {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It failed while it ran.
    #[error(transparent)]
    Run(#[from] lineshaft_engine::Error),
    /// A file of the data directory or of a source could not be read or written.
    #[error("could not {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A journal is damaged, or could not be looked at.
    #[error(transparent)]
    Journal(#[from] lineshaft_engine::journal::JournalError),
    /// A history is damaged, or could not be looked at.
    #[error(transparent)]
    History(#[from] lineshaft_connectors::history::HistoryError),
    /// An ad-hoc query is wrong.
    #[error("{0}")]
    Query(String),
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File { action, path: path.display().to_string(), source }
    }
}

/// Everything that is wrong with a program, with its text.
pub struct ProgramErrors {
    /// The files of the program.
    pub files: Vec<SourceFile>,
    /// What is wrong, in the order of the text.
    pub errors: Errors,
}

impl ProgramErrors {
    pub(crate) fn new(files: &[SourceFile], errors: Vec<QueryError>) -> Self {
        Self { files: files.to_vec(), errors: Errors::new(errors) }
    }
}

/// Each error with the line of SQL it is about.
impl fmt::Display for ProgramErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::report::render(&self.errors, &self.files, false).trim_end())
    }
}

impl fmt::Debug for ProgramErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for ProgramErrors {}
