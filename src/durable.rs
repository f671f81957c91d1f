//! What a live program keeps in its data directory, so that after a stop, a crash or a power cut it goes on where it was:
//! raw input in a journal until the next checkpoint, and checkpoints of its state.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lineshaft_connectors::{file, is_bounded};
use lineshaft_engine::Error as EngineError;
use lineshaft_engine::checkpoint::CheckpointSettings;
use lineshaft_engine::disk::FileSystem;
use lineshaft_engine::journal;
use lineshaft_engine::plan::Plan;
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

    /// What the state depends on: the program, and the files that are read from the beginning at every run.
    fn live_identity(&self, planned: &PlannedProgram, sources: &[Box<dyn Source>]) -> Result<String, Error> {
        let repeated = planned.sources.iter().zip(sources).filter(|(_, source)| source.repeats());
        let files = repeated.flat_map(|(declaration, _)| file::inputs(declaration));
        let facts = files.map(|file| facts_of(&file)).collect::<Result<String, Error>>()?;
        Ok(identity_of(self.program.files(), &planned.plan, &facts))
    }
}

/// What the layout and meaning of the state is called: another name once this version would read that of older ones otherwise
/// than it was meant.
const STATE: &str = "state 1";

/// What a checkpoint is of: the statements without their comments, white space and places; the operators, whose state has no
/// other name than their place in the graph, so that a version that plans the statements otherwise does not take it for that of
/// another operator; and `facts` of what is asked for and read.
pub(crate) fn identity_of(files: &[SourceFile], plan: &Plan, facts: &str) -> String {
    let statements = files.iter().map(statements_of).collect::<Vec<_>>().join("\n");
    let mut identity = format!("{STATE}\n{statements}");
    for (number, node) in plan.nodes.iter().enumerate() {
        identity += &format!("\n-- node {number} {}: {:?}", node.name, node.inputs);
    }
    for (number, sink) in plan.sinks.iter().enumerate() {
        identity += &format!("\n-- sink {number} {}: {:?}", sink.name, sink.from);
    }
    identity + facts
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
    use arrow::datatypes::Schema;
    use lineshaft_engine::plan::{Origin, SinkNode};

    use super::*;

    #[test]
    fn a_program_is_its_tokens_and_its_operators() {
        let of = |text: &str, sinks: &[&str]| {
            let sinks = sinks.iter().map(|name| SinkNode {
                name: (*name).to_owned(),
                from: Origin::Source(0),
                schema: Arc::new(Schema::empty()),
            });
            let plan =
                Plan { sources: vec![], nodes: vec![], sinks: sinks.collect(), failed: Arc::default() };
            identity_of(&[SourceFile::new("p.sql", text)], &plan, "\n-- f 3")
        };
        let text = "CREATE VIEW v AS SELECT 'a  b' AS x;";
        assert_eq!(of(text, &["s"]), of("-- One.\nCREATE /* x */ VIEW v\nAS SELECT 'a  b' AS x", &["s"]));
        assert_ne!(of(text, &["s"]), of("CREATE VIEW v AS SELECT 'a b' AS x;", &["s"]));
        assert_ne!(of(text, &["s"]), of(text, &["s", "t"]));
        assert!(of(text, &[]).ends_with("\n-- f 3"));
    }
}
