//! The options of the file source.

use std::path::{Path, PathBuf};

use lineshaft_engine::declaration::{OptionError, SourceDeclaration};

use crate::format::timestamp::TimestampFormat;
use crate::format::{DELIMITER, Encoding, NULL, PRECISION, QUOTE, TIMESTAMP_FORMAT, TextFormat};
use crate::options::{OptionDoc, OptionReader, suggestion};

/// The options, as the reference lists them.
pub const OPTIONS: &[OptionDoc] = &[
    OptionDoc::required(
        "path",
        "path",
        "A file, a folder or a glob such as 'runs/*.csv', beside the query file.",
    ),
    OptionDoc::optional(
        "format",
        "csv, jsonl, senml, influx or parquet",
        "by the name",
        "How the files are written.",
    ),
    OptionDoc::optional(
        "header",
        "true or false",
        "true",
        "Whether CSV begins with the names; without, columns go by position.",
    ),
    DELIMITER,
    QUOTE,
    NULL,
    TIMESTAMP_FORMAT,
    PRECISION,
    OptionDoc::optional("follow", "true or false", "false", "Keeps reading what is appended, and new files."),
];

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileFormat {
    Text(Encoding),
    Parquet,
}

const FORMATS: [(&str, FileFormat); 9] = [
    ("csv", FileFormat::Text(Encoding::Csv)),
    ("jsonl", FileFormat::Text(Encoding::Json)),
    ("json", FileFormat::Text(Encoding::Json)),
    ("senml", FileFormat::Text(Encoding::SenMl)),
    ("influx", FileFormat::Text(Encoding::Influx)),
    ("parquet", FileFormat::Parquet),
    ("ndjson", FileFormat::Text(Encoding::Json)),
    ("txt", FileFormat::Text(Encoding::Csv)),
    ("lp", FileFormat::Text(Encoding::Influx)),
];

/// The options of one source.
#[derive(Debug)]
pub(super) struct FileOptions {
    pub(super) path: String,
    pub(super) format: Option<FileFormat>,
    pub(super) header: bool,
    pub(super) follow: bool,
    pub(super) timestamp: TimestampFormat,
}

impl FileOptions {
    /// Reads and checks them.
    pub(super) fn read(declaration: &SourceDeclaration) -> Result<Self, Vec<OptionError>> {
        let mut read = OptionReader::new("source", "file", &declaration.options, OPTIONS);
        let path: String = read.required("path");
        let names: Vec<(&str, Option<FileFormat>)> =
            FORMATS[..6].iter().map(|(name, format)| (*name, Some(*format))).collect();
        let format = read.choice("format", &names, None);
        let options = Self {
            header: read.or("header", true),
            follow: read.or("follow", false),
            timestamp: read.get(TIMESTAMP_FORMAT.name).unwrap_or_default(),
            format: format.or_else(|| by_name(Path::new(&path))),
            path,
        };
        options.check_together(declaration, &mut read);
        // The formats check columns and their own options; that of Parquet is known when the file is opened.
        let mut of_format = OptionReader::new("source", "file", &declaration.options, OPTIONS);
        if let Some(FileFormat::Text(encoding)) = options.format {
            TextFormat::new(encoding, declaration, &mut of_format);
        }
        let (mut errors, more) = (read.errors(), of_format.errors());
        errors.extend(more.into_iter().filter(|error| !errors.contains(error)).collect::<Vec<_>>());
        if errors.is_empty() { Ok(options) } else { Err(errors) }
    }

    fn check_together(&self, declaration: &SourceDeclaration, read: &mut OptionReader<'_>) {
        if self.follow && self.format == Some(FileFormat::Parquet) {
            read.error(OptionError::of(
                "follow",
                "a Parquet file cannot be followed: it is complete when it is written",
            ));
        }
        if self.follow && compression(Path::new(&self.path)).is_some() {
            read.error(
                OptionError::of("follow", "a compressed file cannot be followed").help("leave out follow"),
            );
        }
        if self.format == Some(FileFormat::Parquet) {
            let fields = declaration.metadata.iter().map(|at| declaration.schema.field(*at).name());
            for name in fields.filter(|name| *name == "line") {
                read.error(OptionError::general(format!(
                    "a Parquet file has no lines for the column {name:?}"
                )));
            }
        }
    }

    /// The format of all files: as given, or by their names.
    pub(super) fn format(&self, paths: &[PathBuf]) -> Result<FileFormat, OptionError> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let mut formats = paths.iter().map(|path| (path, by_name(path)));
        let Some((first, format)) = formats.next() else {
            return Err(
                OptionError::of("path", "no file is there to tell the format by").help("add format = 'csv'")
            );
        };
        if let Some((other, _)) = formats.find(|(_, other)| *other != format) {
            let message = format!("{} and {} are not of one format", first.display(), other.display());
            return Err(
                OptionError::of("path", message).help("take a glob such as '*.csv', or add format = '...'")
            );
        }
        format.ok_or_else(|| {
            let message = format!("the name of {} does not tell its format", first.display());
            OptionError::general(message).help("add format = 'csv', 'jsonl', 'senml', 'influx' or 'parquet'")
        })
    }
}

/// The format that a name tells.
fn by_name(path: &Path) -> Option<FileFormat> {
    let plain = if compression(path).is_some() { Path::new(path.file_stem()?) } else { path };
    let extension = plain.extension()?.to_str()?.to_ascii_lowercase();
    FORMATS.iter().find(|(name, _)| *name == extension).map(|(_, format)| *format)
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

/// The compression that a name tells.
pub(super) fn compression(path: &Path) -> Option<Compression> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "gz" | "gzip" => Some(Compression::Gzip),
        "zst" | "zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

/// The error of a path with which nothing can be done.
pub(super) fn unreadable(path: &Path, why: impl std::fmt::Display) -> OptionError {
    OptionError::of("path", format!("could not read {}: {why}", path.display()))
}

/// "did you mean" over the names of a folder.
pub(super) fn near_name(name: &str, names: &[String]) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    suggestion(name, &names)
}
