//! What can go wrong with a journal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An error of the journal. After any but [`JournalError::Full`], [`JournalError::TooLarge`] and [`JournalError::Order`]
/// the journal takes nothing more.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk, or what the settings allow, is full. The journal is unharmed: the same commit may be tried again.
    #[error("no room for the journal {}: {needed} bytes are needed", folder.display())]
    Full {
        /// The folder of the journal.
        folder: PathBuf,
        /// What the next write needs.
        needed: u64,
    },
    /// Another engine writes it.
    #[error("another engine runs on {}: end it, or choose another data directory", folder.display())]
    Locked {
        /// The folder of the journal.
        folder: PathBuf,
    },
    /// There is no journal.
    #[error("{} has no journal", folder.display())]
    Absent {
        /// The folder that was looked at.
        folder: PathBuf,
    },
    /// A file is not what was written.
    #[error(
        "{} is damaged at byte {offset}: {what}; `lineshaft journal repair {}` keeps what is whole",
        file.display(), file.parent().unwrap_or(file).display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// The file has a format that this version does not know.
    #[error("{} has format {version} of the journal, and this version knows {known}: use the version that wrote it", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What it says.
        version: u32,
        /// What we know.
        known: u32,
    },
    /// The journal begins after the epoch that is asked for.
    #[error("the journal {} begins with epoch {first}, and epoch {epoch} is needed", folder.display())]
    Missing {
        /// The folder of the journal.
        folder: PathBuf,
        /// What is asked for.
        epoch: u64,
        /// What there is.
        first: u64,
    },
    /// A commit of epochs that have been committed before.
    #[error("epoch {epoch} was to be committed, and epoch {next} is next")]
    Order {
        /// What was to be committed.
        epoch: u64,
        /// The least that may be.
        next: u64,
    },
    /// A record, or what belongs to one commit, is larger than the format can say.
    #[error("{bytes} bytes are too many for one commit of the journal")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The disk failed. A write that failed is never tried again: what the system kept of it is not known.
    #[error("could not {action} {}", file.display())]
    Io {
        /// What was tried: "read", "write", "sync".
        action: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// The cause.
        source: Arc<io::Error>,
    },
}

impl JournalError {
    pub(super) fn io(action: &'static str, file: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { action, file: file.into(), source: Arc::new(source) }
    }

    pub(super) fn damaged(file: impl AsRef<Path>, offset: usize, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.as_ref().to_owned(), offset: offset as u64, what: what.into() }
    }

    /// True if the journal goes on after it.
    pub(super) fn is_harmless(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Order { .. } | Self::TooLarge { .. })
    }
}

/// True if there was no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
