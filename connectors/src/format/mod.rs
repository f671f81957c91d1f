//! Formats: bytes of a file or of a message to rows, and rows back to bytes.
//!
//! ```text
//! bytes --csv | json | senml | influx--> Raw values --Columns--> RecordBatch of the needed columns
//!                                   \--> Rejected: one bad record, with line, column, value and what was expected
//! ```
//!
//! A record is good or bad by itself: a bad one never costs its neighbours. Every declared column is checked, also
//! those that the program does not need, so that which rows are good does not depend on the query.

mod columns;
pub(crate) mod csv;
mod digits;
mod influx;
pub(crate) mod json;
pub mod layout;
mod messages;
pub mod rows;
pub(crate) mod senml;
#[cfg(test)]
pub(crate) mod testing;
pub mod timestamp;
mod values;
mod words;

use lineshaft_engine::declaration::SourceDeclaration;
use lineshaft_engine::source::Rejected;

use crate::options::{OptionDoc, OptionReader};
use columns::{Columns, Problem};
pub use layout::Layout;
pub use messages::MessageDecoder;
use timestamp::TimestampFormat;

/// Bytes of a rejected record that are kept.
pub const MAX_REJECTED_BYTES: usize = 4_096;

/// The option `timestamp_format`.
pub const TIMESTAMP_FORMAT: OptionDoc = OptionDoc::optional(
    "timestamp_format",
    "text",
    "rfc3339",
    "How TIMESTAMP columns are written: rfc3339, unix_s, unix_ms, unix_us, unix_ns or a pattern such as '%d.%m.%Y %H:%M'.",
);
/// The option `delimiter` of CSV.
pub const DELIMITER: OptionDoc = OptionDoc::optional(
    "delimiter",
    "one character",
    ",",
    "What separates the fields of CSV; '\\t' is a tab, and with ' ' blanks in a row count as one.",
);
/// The option `quote` of CSV.
pub const QUOTE: OptionDoc = OptionDoc::optional(
    "quote",
    "'\"' or none",
    "'\"'",
    "Whether fields of CSV may be quoted; with none a quote is an ordinary character.",
);
/// The option `null` of CSV.
pub const NULL: OptionDoc = OptionDoc::optional(
    "null",
    "text",
    "nothing",
    "A text that stands for NULL in CSV, beside the empty field.",
);

/// The option `precision` of Influx line protocol.
pub const PRECISION: OptionDoc =
    OptionDoc::optional("precision", "ns, us, ms or s", "ns", "The unit of the timestamps of influx.");

/// A record in its block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    bytes: &'a [u8],
    line: u64,
}

impl Record<'_> {
    fn until(self, end: usize) -> Self {
        Self { bytes: &self.bytes[..end.min(self.bytes.len())], line: self.line }
    }
}

/// Rows under construction, with where each came from, and what was rejected.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    columns: Columns,
    /// For each row its line, or `tag`.
    tags: Vec<i64>,
    /// The message that is being decoded; `None` in files.
    tag: Option<i64>,
    origin: &'a str,
    rejected: Vec<Rejected>,
    scratch: Vec<u8>,
    /// Where the fields of a stripe of CSV end.
    ends: csv::plain::FieldEnds,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(layout: &Layout, origin: &'a str) -> Self {
        Self {
            columns: Columns::new(layout),
            tags: Vec::new(),
            tag: None,
            origin,
            rejected: Vec::new(),
            scratch: Vec::new(),
            ends: csv::plain::FieldEnds::default(),
        }
    }

    /// Keeps the current row.
    fn end_row(&mut self, line: u64) -> Result<(), Problem> {
        self.columns.end_row()?;
        self.tags.push(self.tag.unwrap_or(i64::try_from(line).unwrap_or(i64::MAX)));
        Ok(())
    }

    /// Counts rows that the columns have already, a record a line.
    fn end_rows(&mut self, first_line: u64, records: usize) {
        let lines = (first_line..).take(records);
        let tag = |line| self.tag.unwrap_or(i64::try_from(line).unwrap_or(i64::MAX));
        self.tags.extend(lines.map(tag));
    }

    /// Forgets the current row and keeps the record aside.
    fn reject(&mut self, record: Record<'_>, problem: Problem) {
        self.columns.abandon_row();
        let raw = record.bytes.strip_suffix(b"\n").unwrap_or(record.bytes);
        self.rejected.push(Rejected {
            origin: self.origin.to_owned(),
            line: self.tag.is_none().then_some(record.line),
            reason: problem.reason,
            detail: problem.detail,
            raw: raw[..raw.len().min(MAX_REJECTED_BYTES)].to_vec(),
        });
    }

    pub(crate) fn count(&self) -> usize {
        self.columns.rows()
    }

    /// Columns, lines or message numbers of the rows, and the rejected records.
    pub(crate) fn into_parts(self) -> (Columns, Vec<i64>, Vec<Rejected>) {
        (self.columns, self.tags, self.rejected)
    }
}

/// A format of text records.
#[derive(Debug)]
pub(crate) enum TextFormat {
    Csv(csv::Csv),
    Json(json::Json),
    SenMl(senml::SenMl),
    Influx(influx::Influx),
}

/// The names of the formats of text records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Fields with a delimiter.
    Csv,
    /// An object a row.
    Json,
    /// Sensor Measurement Lists, RFC 8428.
    SenMl,
    /// Influx line protocol.
    Influx,
}

impl Encoding {
    /// The text of the option `format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::SenMl => "senml",
            Self::Influx => "influx",
        }
    }
}

impl TextFormat {
    /// The format with its options `timestamp_format`, `delimiter`, `null` and `precision`, and the columns it reads. What
    /// is wrong becomes an error of `read`.
    pub(crate) fn new(
        encoding: Encoding,
        declaration: &SourceDeclaration,
        read: &mut OptionReader<'_>,
    ) -> (Self, Layout) {
        let layout = Self::layout(declaration, read);
        (Self::of(encoding, &layout, read), layout)
    }

    /// The columns that text formats read.
    pub(crate) fn layout(declaration: &SourceDeclaration, read: &mut OptionReader<'_>) -> Layout {
        layout::unsupported(declaration).into_iter().for_each(|error| read.error(error));
        Layout::new(declaration, read.or(TIMESTAMP_FORMAT.name, TimestampFormat::default()))
    }

    /// The format with its own options.
    pub(crate) fn of(encoding: Encoding, layout: &Layout, read: &mut OptionReader<'_>) -> Self {
        match encoding {
            Encoding::Csv => Self::Csv(csv::Csv::new(layout, read)),
            Encoding::Json => Self::Json(json::Json::new(layout)),
            Encoding::SenMl => Self::SenMl(senml::SenMl::new(layout, read)),
            Encoding::Influx => Self::Influx(influx::Influx::new(layout, read)),
        }
    }

    /// How many of `bytes` are whole records. At the end of a file all of them are.
    pub(crate) fn cut(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Csv(csv) => csv.cut(bytes),
            _ => memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1),
        }
    }

    /// Where the first record of `bytes` ends, with its newline.
    pub(crate) fn first_record(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Csv(csv) => csv.first_record(bytes),
            _ => csv::line_end(bytes),
        }
    }

    /// Reads whole records of a file.
    pub(crate) fn decode_lines(
        &self,
        bytes: &[u8],
        first_line: u64,
        mapping: Option<&csv::Mapping>,
        received_at: i64,
        rows: &mut Rows<'_>,
    ) {
        match self {
            Self::Csv(csv) => csv.decode(bytes, first_line, mapping, rows),
            Self::Json(json) => json.decode(bytes, first_line, |_| true, rows),
            Self::SenMl(senml) => senml.decode_lines(bytes, first_line, received_at, rows),
            Self::Influx(influx) => influx.decode(bytes, first_line, received_at, rows),
        }
    }

    /// Reads the payload of a message.
    pub(crate) fn decode_message(&self, payload: &[u8], received_at: i64, rows: &mut Rows<'_>) {
        match self {
            Self::Csv(csv) => csv.decode(payload, 1, None, rows),
            Self::Json(json) => json.decode(payload, 1, |first| matches!(first, b'{' | b'['), rows),
            Self::SenMl(senml) => senml.decode_message(payload, received_at, rows),
            Self::Influx(influx) => influx.decode(payload, 1, received_at, rows),
        }
    }
}
