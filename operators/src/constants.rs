//! Rows that stand in the query: `VALUES`, or `SELECT` without `FROM`.
//!
//! - Rows: those of the query, once, on the first worker; what comes in only tells that the program has begun.
//!   State: whether they were given.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use lineshaft_engine::Result;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::EpochHeader;

/// The rows of `VALUES`.
#[derive(Debug)]
pub struct Constants {
    /// `None` once they are given.
    rows: Option<RecordBatch>,
}

impl Constants {
    /// Gives `rows`; only one worker has any.
    pub fn new(rows: Option<RecordBatch>) -> Self {
        Self { rows }
    }
}

impl Operator for Constants {
    fn on_batch(&mut self, _input: usize, _batch: Batch, _output: &mut Output) -> Result<()> {
        Ok(())
    }

    fn on_epoch_end(&mut self, _header: EpochHeader, output: &mut Output) -> Result<()> {
        if let Some(rows) = self.rows.take() {
            output.send(rows);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        let is_given = BooleanArray::from(vec![self.rows.is_none()]);
        snapshot.put("given", RecordBatch::try_from_iter([("given", Arc::new(is_given) as ArrayRef)])?);
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let given = snapshot.take("given");
        if given.is_some_and(|given| given.column(0).as_boolean_opt().is_some_and(|is| is.true_count() > 0)) {
            self.rows = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_engine::testing::{Step, lines, run, table};

    use super::*;

    #[test]
    fn rows_are_given_once_and_not_again_after_a_restart() {
        let rows = table("a:i \n 1 \n 2");
        let mut constants = Constants::new(Some(rows.clone()));
        let other = || vec![Step::Rows(0, table("b:i \n 9")), Step::End];
        assert_eq!(lines(&run(&mut constants, 1, other()).unwrap()), ["1", "2"]);
        let mut again = Constants::new(Some(rows));
        again.restore(constants.snapshot().unwrap()).unwrap();
        assert!(run(&mut again, 1, other()).unwrap().is_empty());
    }
}
