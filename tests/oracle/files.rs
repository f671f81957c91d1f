//! The same rows as files of every format.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::json::LineDelimitedWriter;
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;

/// Writes `rows` to files in `folder`; gives their names with their formats.
pub(super) fn write(folder: &Path, rows: &RecordBatch) -> Vec<(String, &'static str)> {
    let (csv, json) = (csv(rows), json(rows));
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    put("rows.csv", &csv);
    put("rows.jsonl", &json);
    put("rows.csv.gz", &gzip(&csv));
    put("rows.jsonl.zst", &zstd::encode_all(&json[..], 3).unwrap());
    let mut writer =
        ArrowWriter::try_new(File::create(folder.join("rows.parquet")).unwrap(), rows.schema(), None)
            .unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    let files = [
        ("rows.csv", "csv"),
        ("rows.jsonl", "jsonl"),
        ("rows.csv.gz", "csv"),
        ("rows.jsonl.zst", "jsonl"),
        ("rows.parquet", "parquet"),
    ];
    files.map(|(name, format)| (name.to_owned(), format)).to_vec()
}

fn csv(rows: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().with_header(true).build(&mut bytes);
    writer.write(rows).unwrap();
    drop(writer);
    bytes
}

fn json(rows: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut bytes);
    writer.write(rows).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
