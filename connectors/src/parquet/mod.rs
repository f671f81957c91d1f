//! `connector = 'parquet'`: history as a folder of Parquet files.
//!
//! - Every worker writes its own files, `part-<worker>-<number>.parquet`, below `day=2020-03-09/` and the like with
//!   `partition_by`. A new run goes on with the numbers; it never overwrites a file.
//! - A file appears whole or not at all: it is written under a hidden name, synced, renamed, and the folder synced.
//!   What a run that crashed left under a hidden name is removed by the next one. So a folder belongs to one sink.
//! - The same rows in the same order give the same bytes, whatever their batches, as long as no `flush_interval` passes.

mod options;
mod partition;
mod sink;

use lineshaft_engine::declaration::{OptionError, SinkDeclaration};
use lineshaft_engine::sink::SinkFactory;

pub use options::OPTIONS;
use options::ParquetOptions;
pub(crate) use partition::{NULL_VALUE, unescaped};

/// What is wrong with the options of a sink; opens nothing.
pub fn check(declaration: &SinkDeclaration) -> Vec<OptionError> {
    ParquetOptions::read(declaration).err().unwrap_or_default()
}

/// The sink.
///
/// # Errors
/// What is wrong with the options.
pub fn sink(declaration: &SinkDeclaration) -> Result<Box<dyn SinkFactory>, Vec<OptionError>> {
    let options = ParquetOptions::read(declaration)?;
    Ok(Box::new(sink::ParquetFactory::new(&declaration.name, options)))
}
