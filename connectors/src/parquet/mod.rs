//! `connector = 'parquet'`: history as a folder of Parquet files.
//!
//! - Every worker writes its own files, `part-<worker>-<number>.parquet`, below `day=2020-03-09/` and the like with
//!   `partition_by`. A new run goes on with the numbers; it never overwrites a file.
//! - Which files count stands in the manifest of the folder; see [`crate::history`]. So a folder belongs to one sink.
//! - The same epochs give the same files and bytes, whatever their batches. A program that is run again if it fails (all of its
//!   sources end) commits once, at its end.

mod file;
mod options;
mod partition;
mod sink;
#[cfg(test)]
mod tests;

use arrow::datatypes::DataType;
use lineshaft_engine::declaration::{OptionError, SinkDeclaration};
use lineshaft_engine::sink::SinkFactory;

pub(crate) use file::{EventColumn, Files, HashedFile, schema_id};
pub use options::OPTIONS;
use options::ParquetOptions;
pub(crate) use partition::{NULL_VALUE, unescaped};

/// What is wrong with the options of a sink; opens nothing.
pub fn check(declaration: &SinkDeclaration) -> Vec<OptionError> {
    let mut errors = ParquetOptions::read(declaration).err().unwrap_or_default();
    for field in declaration.schema.fields() {
        if let DataType::Interval(_) = field.data_type() {
            let message =
                format!("column {:?} is an INTERVAL, which a Parquet file cannot hold", field.name());
            let help = "a difference of two times can be written; or cast it to TEXT";
            errors.push(OptionError::general(message).help(help));
        }
    }
    errors
}

/// The sink.
///
/// # Errors
/// What is wrong with the options.
pub fn sink(declaration: &SinkDeclaration) -> Result<Box<dyn SinkFactory>, Vec<OptionError>> {
    let options = ParquetOptions::read(declaration)?;
    Ok(Box::new(sink::ParquetFactory::new(&declaration.name, options)))
}
