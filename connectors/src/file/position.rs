//! Where a source of files that are followed stands, so that after a restart it gives what it has not given.
//!
//! Each chunk carries the places in all files, in the order of their partitions: the engine has a watermark for each,
//! so a file keeps its number for ever, also when it is gone. A file is known again by its name, its number in the file
//! system and the bytes before the place. Another file with the name is read from its beginning, as while running;
//! what was appended to the old one after the place is lost then.
//!
//! With the places come the headers, by which a chunk of the journal is decoded as it was: the file may be another one
//! by now.

use std::collections::HashMap;
use std::sync::Arc;

use lineshaft_engine::Result;
use lineshaft_engine::time::EventTime;
use serde::{Deserialize, Serialize};

use super::blocks::Place;
use super::decoder::{FileFacts, TextDecoder, shown};
use super::source::{Reader, TextFile, TextSource};
use crate::format::TextFormat;
use crate::position;

const CONNECTOR: &str = "file source";

/// The places in all files.
#[derive(Serialize, Deserialize)]
pub(super) struct Position {
    /// Files at the first start of the program, whose earliest event times hold the watermark.
    at_start: usize,
    /// Headers, each once.
    headers: Vec<Vec<u8>>,
    /// By partition.
    files: Vec<FilePosition>,
}

#[derive(Serialize, Deserialize)]
struct FilePosition {
    path: String,
    received_at: EventTime,
    /// Its place among the headers.
    header: Option<usize>,
    earliest: Option<EventTime>,
    near: Option<EventTime>,
    place: Option<Place>,
}

impl Position {
    pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Self> {
        position::read(CONNECTOR, name, bytes)
    }

    /// What was known of the file of a partition.
    pub(super) fn facts(&self, partition: usize, decoder: &TextDecoder) -> Option<FileFacts> {
        let file = self.files.get(partition)?;
        let header = match file.header {
            None => None,
            Some(header) => Some(self.headers.get(header)?.as_slice()),
        };
        let known = decoder.file(partition).filter(|known| known.header.as_deref() == header);
        let (name, received_at) = (file.path.as_str().into(), file.received_at);
        Some(match known {
            Some(known) => FileFacts { name, received_at, ..known },
            None => FileFacts {
                name,
                received_at,
                header: header.map(Arc::from),
                mapping: decoder.mapping(header),
            },
        })
    }
}

impl TextDecoder {
    /// The columns of a header that has been found good.
    fn mapping(&self, header: Option<&[u8]>) -> Option<Arc<crate::format::csv::Mapping>> {
        match (&self.format, header) {
            (TextFormat::Csv(csv), Some(header)) => Some(Arc::new(csv.mapping(header, &self.layout).0)),
            _ => None,
        }
    }
}

impl TextSource {
    /// Where the source stands behind what it has given.
    pub(super) fn position(&self) -> Result<Vec<u8>> {
        let (mut headers, mut places) = (Vec::new(), HashMap::new());
        let mut files = Vec::with_capacity(self.files.len());
        for (partition, file) in self.files.iter().enumerate() {
            let facts = self.decoder.file(partition);
            let header = facts.as_ref().and_then(|facts| facts.header.clone()).map(|header| {
                *places.entry(Arc::clone(&header)).or_insert_with(|| {
                    headers.push(header.to_vec());
                    headers.len() - 1
                })
            });
            files.push(FilePosition {
                path: shown(&file.path).to_string(),
                received_at: facts.map_or(0, |facts| facts.received_at),
                header,
                earliest: file.earliest,
                near: file.near,
                place: file.place.clone(),
            });
        }
        position::write(&Position { at_start: self.at_start, headers, files })
    }

    /// Puts the files into the order of the position, the new ones last, and each to its place.
    pub(super) fn go_on_from(&mut self, bytes: &[u8]) -> Result<()> {
        let position = Position::read(&self.decoder.name, bytes)?;
        let damaged = || position::damaged(CONNECTOR, &self.decoder.name);
        let mut found: Vec<(TextFile, Option<FileFacts>)> = Vec::new();
        for (partition, file) in std::mem::take(&mut self.files).into_iter().enumerate() {
            found.push((file, self.decoder.file(partition)));
        }
        for (partition, known) in position.files.iter().enumerate() {
            let facts = position.facts(partition, &self.decoder).ok_or_else(damaged)?;
            let at = found.iter().position(|(file, _)| *shown(&file.path) == *known.path);
            let file = self.left(known, at.map(|at| found.remove(at).0));
            self.decoder.set_file(partition, facts);
            self.files.push(file);
        }
        self.at_start = position.at_start;
        for (file, facts) in found {
            if let Some(facts) = facts {
                self.decoder.set_file(self.files.len(), facts);
            }
            self.files.push(file);
        }
        Ok(())
    }

    /// A file as it was left. If it is gone, it may come back.
    fn left(&self, known: &FilePosition, found: Option<TextFile>) -> TextFile {
        let gone = || {
            tracing::info!("source {}: {} is gone", self.decoder.name, known.path);
            TextFile::new(known.path.clone().into(), Reader::Waiting(None))
        };
        let file = found.unwrap_or_else(gone);
        TextFile { earliest: known.earliest, near: known.near, place: known.place.clone(), ..file }
    }
}

#[cfg(test)]
mod tests;
