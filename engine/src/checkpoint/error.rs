//! Why a program does not go on from its checkpoints.

use std::path::{Path, PathBuf};

/// A file of a checkpoint that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged: {what}", file.display())]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// What was found.
    pub what: String,
}

impl Damage {
    pub(super) fn new(file: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self { file: file.as_ref().to_owned(), what: what.into() }
    }
}

/// An error of the checkpoints as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// They are of another program.
    #[error(
        "{0} is of a run with other statements, options or files, or of a version that works otherwise, and was not finished: \
         finish it with that, take another folder, or begin anew: add --new-state to `run`, or delete {0} and what a \
         backfill has written",
        folder.display()
    )]
    Other {
        /// The folder of the checkpoints.
        folder: PathBuf,
    },
    /// There are some, and none is whole. Nothing of them was deleted.
    #[error(
        "no checkpoint in {0} can be gone on from: {1}; put the files back from a copy, or delete {0} and what that \
         run has written to begin anew",
        folder.display(), listed(damages)
    )]
    Damaged {
        /// The folder of the checkpoints.
        folder: PathBuf,
        /// What is wrong with each, the newest first.
        damages: Vec<Damage>,
    },
    /// A later version has written the newest one.
    #[error(
        "{} has format {version} of checkpoints, and this version knows {known}: use the version that wrote it",
        file.display()
    )]
    Format {
        /// The manifest.
        file: PathBuf,
        /// What it says.
        version: u32,
        /// What we know.
        known: u32,
    },
}

fn listed(damages: &[Damage]) -> String {
    damages.iter().map(Damage::to_string).collect::<Vec<_>>().join("; ")
}
