//! The options of the Parquet sink.

use std::path::PathBuf;
use std::time::Duration;

use lineshaft_engine::declaration::{OptionError, SinkDeclaration};
use parquet::basic::{Compression, ZstdLevel};

use super::partition::Partitioning;
use crate::options::{OptionDoc, OptionReader};

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
        "Time after which a file with rows is finished, so that they can be read.",
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
        };
        if options.max_rows == 0 {
            read.error(
                OptionError::of("max_rows", "option \"max_rows\" is 0")
                    .help("write a number greater than zero"),
            );
        }
        read.finish(options)
    }
}
