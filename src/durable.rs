//! What a live program keeps in its data directory, so that after a stop, a crash or a power cut it goes on where it was:
//! raw input in a journal until the next checkpoint, and checkpoints of its state.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lineshaft_connectors::{file, is_bounded};
use lineshaft_engine::Error as EngineError;
use lineshaft_engine::checkpoint::{CheckpointSettings, Identity};
use lineshaft_engine::disk::FileSystem;
use lineshaft_engine::journal;
use lineshaft_engine::source::Source;
use lineshaft_queries::parse::statements_of;
use lineshaft_queries::plan::PlannedProgram;
use lineshaft_queries::span::SourceFile;

use crate::embed::Engine;
use crate::error::Error;

/// In the data directory: what came in since the last checkpoint.
const JOURNAL: &str = "journal";
/// In the data directory: the state of the program.
const CHECKPOINTS: &str = "checkpoints";

/// How a live program keeps its input and its state; see [`Engine::durable`].
#[derive(Clone, Debug)]
pub struct Durability {
    /// How often a checkpoint is written. What came in since the last one is worked on again after a crash.
    pub checkpoint_every: Duration,
    /// The most that the journal may take on the disk, bytes. When it is reached nothing is taken or acknowledged until the
    /// next checkpoint.
    pub journal_bytes: u64,
}

impl Default for Durability {
    fn default() -> Self {
        Self { checkpoint_every: Duration::from_secs(30), journal_bytes: 16 << 30 }
    }
}

/// The checkpoints of a program and, if it is live, its journal.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) checkpoints: Option<CheckpointSettings>,
    pub(crate) journal: Option<journal::Settings>,
}

impl Kept {
    /// True if there is something to go on from.
    pub(crate) fn is_begun(&self) -> bool {
        self.checkpoints.as_ref().is_some_and(CheckpointSettings::is_begun)
    }
}

impl Engine {
    /// The lock of the data directory, for a program that keeps something there.
    pub(crate) fn lock(&self, planned: &PlannedProgram) -> Result<Option<journal::Lock>, Error> {
        if self.durability.is_none() || planned.sources.iter().all(is_bounded) {
            return Ok(None);
        }
        Ok(Some(journal::Lock::take(&self.data.join(JOURNAL)).map_err(EngineError::from)?))
    }

    /// What the program keeps. One whose sources all give the same at every run keeps nothing: it is run again.
    pub(crate) fn kept(
        &self,
        planned: &PlannedProgram,
        sources: &[Box<dyn Source>],
        lock: Option<journal::Lock>,
    ) -> Result<Kept, Error> {
        let Some(durability) = self.durability.as_ref().filter(|_| sources.iter().any(|it| !it.repeats()))
        else {
            return Ok(Kept::default());
        };
        let checkpoints = CheckpointSettings {
            disk: Arc::new(FileSystem),
            folder: self.data.join(CHECKPOINTS),
            every: durability.checkpoint_every,
            identity: self.live_identity(planned, sources)?,
        };
        let max_bytes = durability.journal_bytes;
        let journal =
            journal::Settings { max_bytes, lock, ..journal::Settings::new(self.data.join(JOURNAL)) };
        Ok(Kept { checkpoints: Some(checkpoints), journal: Some(journal) })
    }

    /// What the state depends on: the statements, and the files that are read from the beginning at every run.
    fn live_identity(
        &self,
        planned: &PlannedProgram,
        sources: &[Box<dyn Source>],
    ) -> Result<Identity, Error> {
        let repeated = planned.sources.iter().zip(sources).filter(|(_, source)| source.repeats());
        let files = repeated.flat_map(|(declaration, _)| file::inputs(declaration));
        let facts = files.map(|file| facts_of(&file)).collect::<Result<String, Error>>()?;
        Ok(identity_of(self.program.files(), "", &facts))
    }
}

/// What the layout of the state is called; another name once the state of older versions cannot be restored any more.
const STATE: &str = "state 1";
/// The same in versions that wrote down their own, and the text of the program with its comments.
const FIRST_STATE: &str = "0.1.0";

/// What a checkpoint is of: the statements without their comments, white space and places; what the run is asked for; `facts`
/// of what it reads.
pub(crate) fn identity_of(files: &[SourceFile], asked: &str, facts: &str) -> Identity {
    let written = |state: &str, text: fn(&SourceFile) -> Cow<'_, str>| {
        let texts = files.iter().map(|file| format!("\n{}", text(file)));
        format!("{state}{asked}{}{facts}", texts.collect::<String>())
    };
    Identity {
        now: written(STATE, |file| Cow::Owned(statements_of(file))),
        earlier: vec![written(FIRST_STATE, |file| Cow::Borrowed(file.text()))],
    }
}

/// A line that changes when the length of a file does.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn facts_of(file: &Path) -> Result<String, Error> {
    let facts = std::fs::metadata(file).map_err(|error| Error::file("read", file, error))?;
    Ok(format!("\n-- {} {}", file.display(), facts.len()))
}

/// Forgets the state of the program that ran in a data directory, and the input that it had not worked on. What its sinks have
/// written stays.
///
/// # Errors
/// If a folder cannot be deleted.
pub fn forget(data: &Path) -> Result<(), Error> {
    for folder in [CHECKPOINTS, JOURNAL].map(|folder| data.join(folder)) {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("delete", &folder, error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_its_tokens_and_is_known_as_earlier_versions_called_it() {
        let file = |text: &str| SourceFile::new("p.sql", text);
        let first = identity_of(&[file("-- One.\nCREATE VIEW v AS\n  SELECT 1; -- x\n")], " a b", "\n-- f 3");
        assert_eq!(first.now, "state 1 a b\nCREATE VIEW v AS SELECT 1 \n\n-- f 3");
        assert_eq!(first.earlier, ["0.1.0 a b\n-- One.\nCREATE VIEW v AS\n  SELECT 1; -- x\n\n-- f 3"]);
        let of = |text: &str| identity_of(&[file(text)], "", "").now;
        assert_eq!(
            of("CREATE VIEW v AS SELECT 'a  b' AS x;"),
            of("CREATE /* x */ VIEW v\nAS SELECT 'a  b' AS x")
        );
        assert_ne!(of("CREATE VIEW v AS SELECT 'a  b' AS x;"), of("CREATE VIEW v AS SELECT 'a b' AS x;"));
    }
}
