//! Passes the rows of all inputs on: `UNION ALL`.
//!
//! - Rows: any; the columns of the inputs agree in number and type, and get the names of the first. State: none.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::Result;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output};

/// `UNION ALL` of any number of inputs.
#[derive(Debug)]
pub struct Union {
    schema: SchemaRef,
}

impl Union {
    /// A union whose output has the columns of `schema`.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl Operator for Union {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        if Arc::ptr_eq(&batch.schema(), &self.schema) {
            output.send(batch);
            return Ok(());
        }
        let weights = batch.weights().cloned();
        let rows = batch.into_rows();
        // Of rows without columns only the number is left.
        let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows =
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), rows.columns().to_vec(), &count)?;
        match weights {
            Some(weights) => output.send(Batch::with_weights(rows, weights)),
            None => output.send(rows),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_engine::testing::{Step, lines, run, table};

    use super::*;

    #[test]
    fn rows_of_all_inputs_pass_under_the_names_of_the_first() {
        let (left, right) = (table("a:i \n 1 \n 2"), table("b:i \n 3"));
        let mut union = Union::new(left.schema());
        let passed = run(&mut union, 1, vec![Step::Rows(0, left), Step::Rows(1, right)]).unwrap();
        assert_eq!(lines(&passed), ["1", "2", "3"]);
        assert_eq!(passed[1].schema().field(0).name(), "a");
    }
}
