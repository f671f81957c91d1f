//! What can be wrong with a history.

use std::io;
use std::path::{Path, PathBuf};

/// Why a history cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// A file of it could not be read or written.
    #[error("could not {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The manifest is not what was written.
    #[error(
        "{} is damaged at byte {offset}: {what}; put back a copy of its folder, or delete this file to take in all Parquet \
         files that are there as they are (rows may then be there twice, or be missing)",
        path.display()
    )]
    Damaged {
        /// The manifest.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The manifest is of a later version.
    #[error("{} was written by a later version of lineshaft: use that one", path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
    },
    /// A file that the manifest names is not as it was written.
    #[error(
        "{} {what}; put back a copy of it, or delete {} to go on with the Parquet files that are there",
        path.display(), manifest.display()
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// How it differs.
        what: String,
        /// The manifest.
        manifest: PathBuf,
    },
    /// A file of the sink is there that the manifest does not name.
    #[error(
        "{} is not named in {}, which has been cut or exchanged: put back a copy of that file, or move this one elsewhere",
        path.display(), manifest.display()
    )]
    Unnamed {
        /// The file.
        path: PathBuf,
        /// The manifest.
        manifest: PathBuf,
    },
    /// Another sink writes the folder.
    #[error("another sink or engine writes to {}: give each sink a folder of its own", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The manifest does not fit the checkpoint from which the program goes on.
    #[error(
        "{} does not fit the checkpoint: {what}; put back the folder as it was, or begin anew with --new-state",
        manifest.display()
    )]
    Unfit {
        /// The manifest.
        manifest: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A Parquet file could not be read or written.
    #[error("could not {action} {}: {reason}", path.display())]
    Parquet {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
}

pub(super) type Result<T, E = HistoryError> = std::result::Result<T, E>;

impl HistoryError {
    pub(super) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: path.to_owned(), source }
    }
}
