//! The options of the Parquet sink.

use std::path::PathBuf;
use std::time::Duration;

use lineshaft_engine::declaration::{OptionError, SinkDeclaration};
use parquet::basic::{Compression, ZstdLevel};

use super::file::EventColumn;
use super::partition::Partitioning;
use crate::history::{Merging, Retention, Settings};
use crate::options::{OptionDoc, OptionReader, Size};

/// A manifest of a history is written anew when it is longer than this and few of its lines still count.
const LONG_MANIFEST: u64 = 1 << 20;

/// The options, as the reference lists them.
pub const OPTIONS: &[OptionDoc] = &[
    OptionDoc::required(
        "path",
        "path",
        "The folder of the files; a relative one lies in the data directory.",
    ),
    OptionDoc::optional(
        "partition_by",
        "day, hour or columns",
        "none",
        "Folders by the first TIMESTAMP column or by the values of columns, separated by commas.",
    ),
    OptionDoc::optional(
        "compression",
        "zstd, snappy or none",
        "zstd",
        "How pages are compressed (zstd at level 1).",
    ),
    OptionDoc::optional(
        "max_rows",
        "number",
        "1000000",
        "Rows after which a file is finished and the next one begins.",
    ),
    OptionDoc::optional(
        "flush_interval",
        "duration",
        "1 min",
        "In a live program: time after which the rows so far can be read, within twice of it when nothing more comes. A checkpoint makes them readable, too.",
    ),
    OptionDoc::optional(
        "compact_files",
        "number",
        "8",
        "So many small files of a folder become one, in the background; 0 if none do.",
    ),
    OptionDoc::optional(
        "compact_size",
        "size",
        "8 MB",
        "What small files may have together to become one. Merging takes about twenty times that of memory.",
    ),
    OptionDoc::optional(
        "retain",
        "duration",
        "for ever",
        "Files whose rows are all older are deleted: by the first TIMESTAMP column, counted from the newest row or the clock, whichever is \
         earlier.",
    ),
    OptionDoc::optional(
        "retain_size",
        "size",
        "no limit",
        "While all files together are larger, the oldest one is deleted.",
    ),
];

/// The options of one sink.
#[derive(Clone, Debug)]
pub(super) struct ParquetOptions {
    pub(super) folder: PathBuf,
    pub(super) partitioning: Partitioning,
    pub(super) compression: Compression,
    pub(super) max_rows: usize,
    pub(super) flush_interval: Duration,
    compact_files: usize,
    compact_size: Size,
    retain: Option<Duration>,
    retain_size: Option<Size>,
}

impl ParquetOptions {
    /// Reads and checks them.
    pub(super) fn read(declaration: &SinkDeclaration) -> Result<Self, Vec<OptionError>> {
        let mut read = OptionReader::new("sink", "parquet", &declaration.options, OPTIONS);
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let compressions =
            [("zstd", zstd), ("snappy", Compression::SNAPPY), ("none", Compression::UNCOMPRESSED)];
        let partitioning = match read.get::<String>("partition_by") {
            Some(text) => Partitioning::parse(&text, &declaration.schema),
            None => Ok(Partitioning::None),
        };
        let options = Self {
            folder: declaration.folder.join(read.required::<String>("path")),
            partitioning: partitioning.unwrap_or_else(|error| {
                read.error(error);
                Partitioning::None
            }),
            compression: read.choice("compression", &compressions, zstd),
            max_rows: read.or("max_rows", 1_000_000),
            flush_interval: read.or("flush_interval", Duration::from_secs(60)),
            compact_files: read.or("compact_files", 8),
            compact_size: read.or("compact_size", Size(8_000_000)),
            retain: read.get("retain"),
            retain_size: read.get("retain_size"),
        };
        if options.retain.is_some() && EventColumn::of(&declaration.schema).index().is_none() {
            read.error(
                OptionError::of("retain", "option \"retain\" needs a TIMESTAMP column")
                    .help("select a time, or use retain_size"),
            );
        }
        if options.max_rows == 0 {
            read.error(
                OptionError::of("max_rows", "option \"max_rows\" is 0")
                    .help("write a number greater than zero"),
            );
        }
        read.finish(options)
    }

    /// What is done with the files once they are written.
    pub(super) fn upkeep(&self) -> Settings {
        let micros = |age: Duration| i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let merging = Merging {
            files: self.compact_files,
            bytes: self.compact_size.0,
            rows: self.max_rows as u64,
            // A merged file is past when its last row is: it must not keep the first one for long.
            span: self.retain.map(|age| micros(age) / 8),
            compression: self.compression,
        };
        Settings {
            merging,
            retention: Retention { age: self.retain, bytes: self.retain_size.map(|size| size.0) },
            rewrite_at: LONG_MANIFEST,
        }
    }
}
