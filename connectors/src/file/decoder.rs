//! Decodes blocks of text files; shared by the source, which adds files, and by all workers.

use std::fs::Metadata;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use lineshaft_engine::source::{Chunk, Decoded, Decoder, Payload};
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Error, Result};

use super::position::Position;
use crate::format::csv::Mapping;
use crate::format::{Layout, Rows, TextFormat};

/// The format of a source and what is known of its files.
#[derive(Debug)]
pub(super) struct TextDecoder {
    pub(super) name: String,
    pub(super) format: TextFormat,
    pub(super) layout: Layout,
    /// The layout of the event time alone, to look into blocks.
    event_time: Option<Layout>,
    files: RwLock<Vec<FileFacts>>,
}

/// What the decoder must know of a file.
#[derive(Clone, Debug)]
pub(super) struct FileFacts {
    /// The path as it was found.
    pub(super) name: Arc<str>,
    pub(super) received_at: EventTime,
    /// Its header, and the columns in it.
    pub(super) header: Option<Arc<[u8]>>,
    pub(super) mapping: Option<Arc<Mapping>>,
}

impl TextDecoder {
    pub(super) fn new(name: &str, format: TextFormat, layout: Layout) -> Self {
        Self {
            name: name.to_owned(),
            format,
            event_time: layout.event_time_only(),
            layout,
            files: RwLock::default(),
        }
    }

    /// Adds a file, or says anew what is known of it.
    pub(super) fn set_file(&self, partition: usize, facts: FileFacts) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        let length = files.len().max(partition + 1);
        files.resize(length, facts.clone());
        files[partition] = facts;
    }

    /// What is known of a file.
    pub(super) fn file(&self, partition: usize) -> Option<FileFacts> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).get(partition).cloned()
    }

    /// The event times of the good records among `bytes`.
    pub(super) fn event_times(&self, partition: usize, bytes: &[u8]) -> Option<Vec<EventTime>> {
        let layout = self.event_time.as_ref()?;
        let file = self.file(partition)?;
        let mut rows = Rows::new(layout, "");
        self.format.decode_lines(bytes, 1, file.mapping.as_deref(), file.received_at, &mut rows);
        let (columns, ..) = rows.into_parts();
        let rows = columns.finish(layout, |name| Err(Error::Plan(format!("no metadata {name:?}")))).ok()?;
        Some(rows.column(0).as_primitive_opt::<TimestampMicrosecondType>()?.iter().flatten().collect())
    }

    /// What was known of the file of a chunk when it was read; the file may have been replaced by one with other columns.
    fn file_of(&self, chunk: &Chunk) -> Result<FileFacts> {
        let partition = chunk.partition;
        let file = match &chunk.position {
            Some(position) => Position::read(&self.name, position)?.facts(partition, self),
            None => self.file(partition),
        };
        let unknown =
            || Error::connector("file source", &self.name, format!("the journal names file {partition}"));
        file.ok_or_else(unknown)
    }

    fn decode_block(&self, file: &FileFacts, bytes: &[u8], first_line: u64) -> Result<Decoded> {
        let mut rows = Rows::new(&self.layout, &file.name);
        self.format.decode_lines(bytes, first_line, file.mapping.as_deref(), file.received_at, &mut rows);
        let count = rows.count();
        let (columns, lines, rejected) = rows.into_parts();
        let mut lines = Some(lines);
        let rows = columns.finish(&self.layout, |name| {
            Ok(match name {
                "line" => Arc::new(Int64Array::from(lines.take().unwrap_or_default())) as ArrayRef,
                "file" => file_column(&file.name, count),
                _ => Arc::new(TimestampMicrosecondArray::from_value(file.received_at, count)),
            })
        })?;
        Ok(Decoded::new(rows, rejected))
    }
}

/// The name of the file in each row.
pub(super) fn file_column(name: &str, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(name, rows)))
}

impl Decoder for TextDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.output)
    }

    fn decode(&self, chunk: Chunk) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>> {
        match &chunk.payload {
            Payload::Bytes { bytes, first_line } => {
                let file = self.file_of(&chunk)?;
                Ok(Box::new(std::iter::once(self.decode_block(&file, bytes, *first_line))))
            }
            Payload::Gap(_) | Payload::Empty => Ok(Box::new(std::iter::empty())),
            _ => Err(Error::connector("file source", &self.name, "the chunk holds no lines of a file")),
        }
    }
}

/// When a file was last changed, which stands for its arrival; microseconds since the Unix epoch.
pub(super) fn received_at(metadata: &Metadata) -> EventTime {
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    changed.and_then(|since| i64::try_from(since.as_micros()).ok()).unwrap_or(0)
}

/// The path as rows and messages show it.
pub(super) fn shown(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}
