//! Window functions over all rows of a partition, kept up to date.
//!
//! - Rows: a changelog in and out; the columns of the input, and those of the functions. State: all rows of the input,
//!   by partition. Rows that the order of a function does not tell apart are told apart by their columns.
//! - A row that comes or goes may change the result of any other row of its partition, so a partition that is touched
//!   in an epoch is computed anew as a whole; only results that differ go on.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::Result;
use lineshaft_engine::changelog::index::{self, index, reduced};
use lineshaft_engine::changelog::{ChangelogOperator, Inputs, Row, RowCodec, Rows};
use lineshaft_engine::expression::RowsFunction;

use super::steps::keyed;

/// What [`PartitionFunctions`] does.
#[derive(Clone, Debug)]
pub struct PartitionFunctionsOptions {
    /// The columns of the input.
    pub input: SchemaRef,
    /// The columns of the input, and those of the functions.
    pub schema: SchemaRef,
    /// Columns whose values all rows of a partition share.
    pub partition: Vec<usize>,
    /// The functions.
    pub function: Arc<dyn RowsFunction>,
}

/// `f(...) OVER (PARTITION BY ...)` over rows that come and go.
#[derive(Debug)]
pub struct PartitionFunctions {
    options: PartitionFunctionsOptions,
}

impl PartitionFunctions {
    /// The operator.
    pub fn new(options: PartitionFunctionsOptions) -> Self {
        Self { options }
    }
}

impl ChangelogOperator for PartitionFunctions {
    fn render<'scope>(&self, inputs: &mut dyn Inputs<'scope>) -> Result<Rows<'scope>> {
        let (options, failure) = (self.options.clone(), inputs.failure());
        let rows = keyed(inputs.rows(0)?, &options.input, &options.partition, Arc::clone(&failure))?;
        let (decoder, encoder) = (RowCodec::new(&options.input)?, RowCodec::new(&options.schema)?);
        let computed = reduced(index(rows), "functions", move |rows, output| {
            match compute(rows, &options, &decoder, &encoder) {
                Ok(rows) => output.extend(rows.into_iter().map(|row| (row, 1))),
                Err(error) => failure(error),
            }
        });
        Ok(index::rows(computed))
    }
}

/// The rows of a partition with their results.
fn compute(
    rows: &[(&[u8], isize)],
    options: &PartitionFunctionsOptions,
    decoder: &RowCodec,
    encoder: &RowCodec,
) -> Result<Vec<Row>> {
    let times = |weight: isize| usize::try_from(weight).unwrap_or(0);
    let all = rows.iter().flat_map(|(row, weight)| std::iter::repeat_n(*row, times(*weight)));
    let all: Vec<&[u8]> = all.collect();
    let count = RecordBatchOptions::new().with_row_count(Some(all.len()));
    let columns = decoder.decode(all)?;
    let batch = RecordBatch::try_new_with_options(Arc::clone(&options.input), columns, &count)?;
    let computed = options.function.compute(batch)?;
    encoder.encode(computed.columns(), computed.num_rows())
}
