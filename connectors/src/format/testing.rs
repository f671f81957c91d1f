//! Declarations and rows as text, for the tests of formats and connectors.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use lineshaft_engine::TIMESTAMP;
use lineshaft_engine::declaration::SourceDeclaration;
use lineshaft_engine::source::{Decoded, Rejected};

use super::csv::Mapping;
use super::{Encoding, Rows, TextFormat};
use crate::options::OptionReader;

/// A source with columns such as `ts TIMESTAMP NOT NULL, line BIGINT METADATA`; the first TIMESTAMP is the event time.
pub(crate) fn declaration(columns: &str) -> SourceDeclaration {
    let columns: Vec<&str> = columns.split(',').map(str::trim).collect();
    let fields: Vec<Field> = columns.iter().map(|column| field(column)).collect();
    let is_metadata = |at: &usize| columns[*at].ends_with(" METADATA");
    SourceDeclaration {
        name: "readings".into(),
        metadata: (0..fields.len()).filter(is_metadata).collect(),
        needed: (0..fields.len()).collect(),
        wanted: Vec::new(),
        event_time: fields.iter().position(|field| *field.data_type() == TIMESTAMP),
        schema: Arc::new(Schema::new(fields)),
        table: None,
        options: BTreeMap::new(),
        folder: PathBuf::new(),
    }
}

fn field(column: &str) -> Field {
    let (name, rest) = match column.strip_prefix('"') {
        Some(quoted) => quoted.split_once("\" ").unwrap(),
        None => column.split_once(' ').unwrap(),
    };
    let data_type = match rest.split(' ').next().unwrap() {
        "TIMESTAMP" => TIMESTAMP,
        "TEXT" => DataType::Utf8,
        "DOUBLE" => DataType::Float64,
        "REAL" => DataType::Float32,
        "BIGINT" => DataType::Int64,
        "INT" => DataType::Int32,
        "BOOLEAN" => DataType::Boolean,
        "DATE" => DataType::Date32,
        "DECIMAL" => DataType::Decimal128(10, 2),
        "DOUBLE[]" => DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true))),
        other => panic!("no type {other}"),
    };
    Field::new(name, data_type, !rest.contains("NOT NULL"))
}

/// Each row as texts with `|` between.
pub(crate) fn lines(rows: &RecordBatch) -> Vec<String> {
    super::rows::texts(rows).unwrap().iter().map(|row| row.join("|")).collect()
}

/// Each rejection as `line reason: detail`, without the line where there is none.
pub(crate) fn reasons(rejected: &[Rejected]) -> Vec<String> {
    let line = |rejected: &Rejected| rejected.line.map_or(String::new(), |line| format!("{line} "));
    rejected.iter().map(|one| format!("{}{}: {}", line(one), one.reason, one.detail)).collect()
}

/// The rows and rejections of whole records of a file.
pub(crate) fn decode_lines(
    encoding: Encoding,
    declaration: &SourceDeclaration,
    header: Option<&str>,
    bytes: &[u8],
) -> (Vec<String>, Vec<String>) {
    decode(
        encoding,
        declaration,
        |format, mapping, rows| {
            assert!(header.is_none() || mapping.is_some(), "only CSV has a header");
            format.decode_lines(bytes, 1, mapping.as_ref(), 0, rows);
        },
        header,
    )
}

/// The rows and rejections of one message.
pub(crate) fn decode_message(
    encoding: Encoding,
    declaration: &SourceDeclaration,
    payload: &[u8],
) -> (Vec<String>, Vec<String>) {
    decode(
        encoding,
        declaration,
        |format, _, rows| {
            rows.tag = Some(0);
            format.decode_message(payload, 0, rows);
        },
        None,
    )
}

fn decode(
    encoding: Encoding,
    declaration: &SourceDeclaration,
    run: impl FnOnce(&TextFormat, Option<Mapping>, &mut Rows<'_>),
    header: Option<&str>,
) -> (Vec<String>, Vec<String>) {
    let docs = [super::TIMESTAMP_FORMAT, super::DELIMITER, super::QUOTE, super::NULL, super::PRECISION];
    let mut read = OptionReader::new("source", "test", &declaration.options, &docs);
    let (format, layout) = TextFormat::new(encoding, declaration, &mut read);
    read.finish(()).unwrap();
    let mapping = match (&format, header) {
        (TextFormat::Csv(csv), Some(header)) => Some(csv.mapping(header.as_bytes(), &layout).0),
        _ => None,
    };
    let mut rows = Rows::new(&layout, "test");
    run(&format, mapping, &mut rows);
    let (columns, tags, rejected) = rows.into_parts();
    let line = |_: &str| Ok(Arc::new(arrow::array::Int64Array::from(tags.clone())) as _);
    let decoded = Decoded::new(columns.finish(&layout, line).unwrap(), rejected);
    (lines(&decoded.rows), reasons(&decoded.rejected))
}
