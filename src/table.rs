//! Rows on the standard output.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches_with_schema;
use clap::ValueEnum;
use lineshaft::Error;
use lineshaft::connectors::format::rows;

/// How rows are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, for people.
    Table,
    /// Comma-separated, with a header.
    Csv,
    /// One JSON object per line.
    Json,
}

/// The rows as text.
pub(crate) fn show(schema: &SchemaRef, batches: &[RecordBatch], format: Format) -> Result<String, Error> {
    let mut bytes = Vec::new();
    match format {
        Format::Table => {
            let shown = pretty_format_batches_with_schema(SchemaRef::clone(schema), batches);
            return Ok(format!("{}\n", shown.map_err(lineshaft::engine::Error::from)?));
        }
        Format::Csv => {
            rows::write_csv_header(schema, &mut bytes);
            for batch in batches {
                rows::write_csv(batch, &mut bytes)?;
            }
        }
        Format::Json => {
            for batch in batches {
                rows::write_json_lines(batch, &mut bytes)?;
            }
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
