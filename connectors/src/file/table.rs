//! The files of a table that are read again when they change.
//!
//! ```text
//! files --read_once: rows--> Content --what is new, what is gone: rows with weights--> engine
//! ```
//!
//! The source keeps the rows as the files had them, and gives the difference: a row that was replaced is taken back and
//! the new one added in one epoch. To a table that keeps versions rows are only added. Its position is all that it has
//! given, so a program that goes on gets the difference first, which may be nothing.
//!
//! - Files are looked at every [`POLL`], and read once they have stayed the same for that long: who writes them in
//!   several steps is not met half-way. A file may also be replaced by another one of its name.
//! - Files that are gone, cannot be read to their end, have not even a header, or change while they are read leave the
//!   table as it was; a warning says why. Bad rows are kept aside, each once as long as it stays.

mod content;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use lineshaft_engine::declaration::{OptionError, SourceDeclaration};
use lineshaft_engine::source::{Chunk, ChunkSender, Decoded, Decoder, Payload, Rejected, Source, Stopped};
use lineshaft_engine::{Error, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::content::Content;
use super::blocks::Blocks;
use super::follow::stops_within;
use super::options::{FileFormat, FileOptions, unreadable};
use super::paths::find_again;
use super::read_once;
use crate::format::Encoding;

/// How often files are looked at. A change is seen after one or two of it.
const POLL: Duration = Duration::from_millis(500);

/// A table of files, read again when they change.
pub(super) struct TableSource {
    declaration: SourceDeclaration,
    options: FileOptions,
    /// The files before they were opened.
    seen: Vec<Look>,
    first: Box<dyn Source>,
    schema: SchemaRef,
    /// What a program before has given, if this one goes on.
    given: Option<Content>,
}

/// What tells that a file is another one than before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    path: PathBuf,
    bytes: u64,
    changed_at: Option<SystemTime>,
    identity: u64,
}

/// All rows of the files, and what is bad in them.
struct Rows {
    batches: Vec<RecordBatch>,
    rejected: Vec<Rejected>,
}

impl TableSource {
    /// Looks into each file.
    pub(super) fn open(declaration: &SourceDeclaration) -> Result<Self, Vec<OptionError>> {
        let options = FileOptions::read(declaration)?;
        let seen = look(&options.path, &declaration.folder);
        let first = read_once(declaration)?;
        let schema = first.decoder().schema();
        Ok(Self { declaration: declaration.clone(), options, seen, first, schema, given: None })
    }
}

impl Source for TableSource {
    fn run(self: Box<Self>, chunks: ChunkSender, runtime: Handle) -> Result<()> {
        let Self { declaration, options, seen, first, schema, given } = *self;
        let mut watch = Watch { declaration, options, seen, pending: None };
        let (mut content, loaded) = match given {
            None => {
                let rows = read(first, &watch.declaration.name, &chunks, &runtime)?;
                let mut content = Content::new(&watch.declaration, schema)?;
                let loaded = content.replace(&rows.batches, rows.rejected)?;
                (content, Decoded { weights: None, ..loaded })
            }
            Some(mut content) => {
                // Files that are being written now are read a moment later, as while running.
                let rows = watch.read_now(watch.look(), &chunks, &runtime);
                let changes = rows.map(|rows| content.replace(&rows.batches, rows.rejected)).transpose()?;
                let nothing = || Decoded::new(RecordBatch::new_empty(schema), Vec::new());
                (content, changes.unwrap_or_else(nothing))
            }
        };
        chunks.send(Chunk { is_loaded: true, ..chunk(loaded, &content)? })?;
        while !stops_within(POLL, &chunks, &runtime) {
            let Some(rows) = watch.changed(&chunks, &runtime) else { continue };
            let changes = content.replace(&rows.batches, rows.rejected)?;
            if changes.rows.num_rows() > 0 || !changes.rejected.is_empty() {
                chunks.send(chunk(changes, &content)?)?;
            }
        }
        Ok(())
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::new(AsItIs { schema: Arc::clone(&self.schema) })
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn loads(&self) -> bool {
        true
    }

    fn go_on(&mut self, position: &[u8]) -> Result<()> {
        let mut content = Content::new(&self.declaration, Arc::clone(&self.schema))?;
        content.go_on(position)?;
        self.given = Some(content);
        Ok(())
    }

    fn total_rows(&self) -> Option<u64> {
        self.first.total_rows()
    }

    fn total_bytes(&self) -> Option<u64> {
        // The engine does not see the bytes.
        None
    }
}

/// A load or a change is one chunk, so that it is seen as a whole.
fn chunk(changes: Decoded, content: &Content) -> Result<Chunk> {
    Ok(Chunk { position: Some(content.position()?), ..Chunk::new(Payload::Decoded(changes)) })
}

/// Reads and decodes all of a source.
fn read(source: Box<dyn Source>, name: &str, chunks: &ChunkSender, runtime: &Handle) -> Result<Rows> {
    let decoder = source.decoder();
    let (sender, receiver) = ChunkSender::channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| source.run(sender, runtime.clone()));
        // The receiver ends here, so a reader of which no more is wanted ends, too.
        let rows = decode_all(receiver, decoder.as_ref(), chunks);
        let panicked = |_| Err(Error::connector("file source", name, "reading panicked"));
        let end = reader.join().unwrap_or_else(panicked);
        let rows = rows?;
        end.map(|()| rows)
    })
}

fn decode_all(
    mut receiver: mpsc::Receiver<Chunk>,
    decoder: &dyn Decoder,
    chunks: &ChunkSender,
) -> Result<Rows> {
    let mut rows = Rows { batches: Vec::new(), rejected: Vec::new() };
    while let Some(chunk) = receiver.blocking_recv() {
        if chunks.is_stopped() {
            return Err(Stopped.into());
        }
        for decoded in decoder.decode(chunk)? {
            let decoded = decoded?;
            rows.batches.push(decoded.rows);
            rows.rejected.extend(decoded.rejected);
        }
    }
    Ok(rows)
}

/// Sees when the files have changed.
struct Watch {
    declaration: SourceDeclaration,
    options: FileOptions,
    /// As they were when they were read, or could not be.
    seen: Vec<Look>,
    /// As they were at the last look, if they are others.
    pending: Option<Vec<Look>>,
}

impl Watch {
    /// The rows of the files, if they have changed and do so no more.
    fn changed(&mut self, chunks: &ChunkSender, runtime: &Handle) -> Option<Rows> {
        let now = self.look();
        if now == self.seen {
            self.pending = None;
            return None;
        }
        if self.pending.as_ref() != Some(&now) {
            self.pending = Some(now);
            return None;
        }
        self.read_now(now, chunks, runtime)
    }

    /// The rows of the files, if they can be read and do not change meanwhile.
    fn read_now(&mut self, now: Vec<Look>, chunks: &ChunkSender, runtime: &Handle) -> Option<Rows> {
        let rows = self.read_again(&now, chunks, runtime);
        if chunks.is_stopped() || self.look() != now {
            // It is read once more when it is quiet.
            return None;
        }
        (self.seen, self.pending) = (now, None);
        let name = &self.declaration.name;
        match rows {
            Ok(rows) => {
                tracing::info!("table {name}: {} was read again", self.options.path);
                Some(rows)
            }
            Err(reasons) => {
                tracing::warn!("table {name} stays as it was: {}", reasons.join("; "));
                None
            }
        }
    }

    fn look(&self) -> Vec<Look> {
        look(&self.options.path, &self.declaration.folder)
    }

    fn read_again(
        &self,
        files: &[Look],
        chunks: &ChunkSender,
        runtime: &Handle,
    ) -> Result<Rows, Vec<String>> {
        let words =
            |errors: Vec<OptionError>| errors.iter().map(ToString::to_string).collect::<Vec<String>>();
        let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        let format = self.options.format(&paths).map_err(|error| words(vec![error]))?;
        let has_header = format == FileFormat::Text(Encoding::Csv) && self.options.header;
        if let Some(file) = files.iter().find(|file| has_header && file.bytes == 0) {
            return Err(words(vec![unreadable(&file.path, "it has no header (yet)")]));
        }
        let source = read_once(&self.declaration).map_err(words)?;
        read(source, &self.declaration.name, chunks, runtime).map_err(|error| vec![chain(&error)])
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// The files as they are now.
fn look(path: &str, folder: &Path) -> Vec<Look> {
    let look = |path: PathBuf| {
        let metadata = fs::metadata(&path).ok()?;
        let (changed_at, identity) = (metadata.modified().ok(), Blocks::identity(&metadata));
        Some(Look { path, bytes: metadata.len(), changed_at, identity })
    };
    find_again(path, folder).into_iter().filter_map(look).collect()
}

/// Passes on what the source has decoded.
struct AsItIs {
    schema: SchemaRef,
}

impl Decoder for AsItIs {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: Chunk) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>> {
        match chunk.payload {
            Payload::Decoded(decoded) => Ok(Box::new(std::iter::once(Ok(decoded)))),
            _ => Err(Error::Plan("the chunk of a table holds no rows".into())),
        }
    }
}

#[cfg(test)]
mod tests;
