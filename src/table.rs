//! Rows on the standard output.

use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches_with_schema;
use clap::ValueEnum;
use lineshaft::Error;
use lineshaft::connectors::format::rows;
use lineshaft::history::{Limits, query_each};

use crate::{WRONG, print, tell};

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

/// Bytes that a value takes in an aligned table, about, beside its text.
const CELL: usize = 128;

/// How often it is looked at how much memory and time a query has taken.
const LOOK: Duration = Duration::from_millis(5);
/// How long a query may take to end by itself once its time is over.
const GRACE: Duration = Duration::from_millis(500);

/// Runs a query and prints its rows: of a table all at once, otherwise as they come.
pub(crate) fn query(sql: &str, data: &Path, limits: Limits, format: Format) -> Result<(), Error> {
    std::thread::spawn(move || guard(limits));
    let mut rows = Vec::new();
    let mut is_first = true;
    let schema = query_each(sql, data, limits, |batch| {
        if matches!(format, Format::Table) {
            rows.push(batch.clone());
            return Ok(batch.get_array_memory_size() + CELL * batch.num_rows() * batch.num_columns());
        }
        // A header stands once.
        print(&lines(&batch.schema(), std::slice::from_ref(batch), format, std::mem::take(&mut is_first))?);
        Ok(0)
    })?;
    match format {
        Format::Table => print(&show(&schema, &rows, format)?),
        Format::Csv | Format::Json if is_first => print(&show(&schema, &[], format)?),
        Format::Csv | Format::Json => {}
    }
    Ok(())
}

/// Ends the process when it has more memory or takes longer than the query may. What the query counts itself ends it sooner;
/// not all is counted, such as what `array_agg` gathers, and a join of everything with everything does not look up.
fn guard(limits: Limits) {
    let most = limits.memory.bytes().saturating_mul(6) / 5;
    let mut left = limits.timeout.saturating_add(GRACE);
    // Where the system does not say how much memory a process has, only time is looked at.
    while memory_bytes().is_none_or(|bytes| bytes <= most) && !left.is_zero() {
        std::thread::sleep(LOOK);
        left = left.saturating_sub(LOOK);
    }
    tell(&if left.is_zero() { limits.out_of_time() } else { limits.out_of_memory() });
    std::process::exit(i32::from(WRONG));
}

/// Memory of this process that is no file.
fn memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The rows as text.
pub(crate) fn show(schema: &SchemaRef, batches: &[RecordBatch], format: Format) -> Result<String, Error> {
    if !matches!(format, Format::Table) {
        return lines(schema, batches, format, true);
    }
    let shown = pretty_format_batches_with_schema(SchemaRef::clone(schema), batches);
    Ok(format!("{}\n", shown.map_err(lineshaft::engine::Error::from)?))
}

/// A line per row, in CSV perhaps after the names of the columns.
fn lines(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    format: Format,
    with_header: bool,
) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let is_csv = matches!(format, Format::Csv);
    if is_csv && with_header {
        rows::write_csv_header(schema, &mut bytes);
    }
    for batch in batches {
        if is_csv {
            rows::write_csv(batch, &mut bytes)?;
        } else {
            rows::write_json_lines(batch, &mut bytes)?;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
