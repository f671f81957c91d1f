//! Groups of the rows of an epoch on one worker, before they meet those of the other workers.
//!
//! Only where what is computed of the parts is, to the bit, what is computed of all rows: counts, sums of integers, least and
//! greatest values. Then a few rows go to other workers instead of all.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use lineshaft_engine::Result;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Aggregate;
use lineshaft_engine::operator::{Operator, Output};
use lineshaft_engine::time::EpochHeader;

use crate::keys::KeyInterner;
use crate::window::arguments::{Accumulators, Aggregates};
use crate::window::columns_at;
use crate::window::groups::Groups;

/// Arguments of [`PartialGroups`].
#[derive(Clone, Debug)]
pub struct PartialOptions {
    /// Columns of the key.
    pub keys: Vec<usize>,
    /// What is computed of the rows of each group.
    pub aggregates: Vec<Arc<dyn Aggregate>>,
    /// The key columns, then the results.
    pub schema: SchemaRef,
}

/// A row for each group of an epoch.
///
/// - Rows: append-only in and out.
/// - State: none between two epochs.
/// - Cost: a row is added to its group. Where groups have few rows, rows are given as they are for some epochs: each is a group.
pub struct PartialGroups {
    options: PartialOptions,
    types: Vec<DataType>,
    aggregates: Aggregates,
    interner: KeyInterner,
    groups: Groups,
    /// For rows that are groups; has none between two calls.
    accumulators: Accumulators,
    slots: Vec<u32>,
    /// Rows of this epoch.
    rows: usize,
    /// Epochs in which rows are still given as they are.
    passing: usize,
}

/// Rows of an epoch that say something about the next ones.
const ENOUGH_ROWS: usize = if cfg!(test) { 4 } else { 8_192 };
/// Groups have few rows if there are not so many for each.
const FEW: usize = 2;
/// Epochs after which it is tried again whether they have more.
const PASSING: usize = 32;
/// Keys that stay known from epoch to epoch, at least, and for each group of the last epoch.
const FEW_KEYS: usize = 1_024;
const IDLE_SHARE: usize = 4;

impl PartialGroups {
    /// The operator.
    ///
    /// # Errors
    /// If an aggregate or key is of a type that is not supported.
    pub fn new(options: PartialOptions) -> Result<Self> {
        let fields = options.schema.fields().iter().take(options.keys.len());
        let types: Vec<DataType> = fields.map(|field| field.data_type().clone()).collect();
        let aggregates = Aggregates::new(&options.aggregates);
        Ok(Self {
            interner: KeyInterner::new(&types)?,
            groups: Groups::new(&aggregates)?,
            accumulators: aggregates.accumulators()?,
            types,
            aggregates,
            options,
            slots: Vec::new(),
            rows: 0,
            passing: 0,
        })
    }

    /// Each row as a group.
    fn pass(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let numbers: Vec<usize> = (0..rows.num_rows()).collect();
        let arguments = self.aggregates.evaluate(rows)?;
        self.accumulators.update(&self.aggregates, &arguments, &numbers, numbers.len())?;
        let mut columns = columns_at(rows, &self.options.keys);
        columns.extend(self.accumulators.evaluate(&self.aggregates)?);
        Ok(RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?)
    }
}

impl Operator for PartialGroups {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        let rows = batch.rows();
        self.rows += rows.num_rows();
        if self.passing > 0 {
            output.send(self.pass(rows)?);
            return Ok(());
        }
        let keys = columns_at(rows, &self.options.keys);
        self.interner.intern(&keys, rows.num_rows(), &mut self.slots)?;
        let arguments = self.aggregates.evaluate(rows)?;
        self.groups.update(&self.aggregates, &arguments, &self.slots, self.interner.len())
    }

    fn on_epoch_end(&mut self, _header: EpochHeader, output: &mut Output) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if self.passing > 0 {
            self.passing -= 1;
            return Ok(());
        }
        if rows == 0 {
            return Ok(());
        }
        let (slots, results) = self.groups.evaluate(&self.aggregates)?;
        let mut columns = self.interner.columns(&slots)?;
        columns.extend(results);
        output.send(RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?);
        if rows >= ENOUGH_ROWS && slots.len() * FEW > rows {
            self.passing = PASSING;
        }
        if self.passing > 0 || self.interner.len() > FEW_KEYS.max(slots.len() * IDLE_SHARE) {
            self.interner = KeyInterner::new(&self.types)?;
            self.groups = Groups::new(&self.aggregates)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use lineshaft_engine::testing::{Step, lines, run, table};

    use super::*;
    use crate::testing::{Statistic, aggregate};

    fn partial() -> PartialGroups {
        let fields = [("machine", DataType::Utf8), ("n", DataType::Float64), ("least", DataType::Float64)];
        let schema = Schema::new(fields.map(|(name, of)| Field::new(name, of, true)).to_vec());
        PartialGroups::new(PartialOptions {
            keys: vec![0],
            aggregates: [Statistic::Sum, Statistic::Min].map(|of| aggregate(of, 1, None)).to_vec(),
            schema: Arc::new(schema),
        })
        .unwrap()
    }

    fn epoch(operator: &mut PartialGroups, rows: &str) -> Vec<String> {
        let rows = table(&format!("machine:s x:f \n {rows}"));
        lines(&run(operator, 1, vec![Step::Rows(0, rows)]).unwrap())
    }

    #[test]
    fn an_epoch_gives_each_group_once() {
        let mut operator = partial();
        assert_eq!(
            epoch(&mut operator, "a 1 \n b 5 \n a 2 \n b - \n a 4 \n - 7"),
            ["a 7.0 1.0", "b 5.0 5.0", "- 7.0 7.0"]
        );
        assert_eq!(epoch(&mut operator, "b 1"), ["b 1.0 1.0"]);
    }

    #[test]
    fn rows_pass_as_they_are_where_each_is_a_group_until_that_is_tried_again() {
        let mut operator = partial();
        assert_eq!(epoch(&mut operator, "a 1 \n b 2 \n c 3 \n d -").len(), 4);
        for _ in 0..PASSING {
            assert_eq!(epoch(&mut operator, "a 1 \n b - \n a 3"), ["a 1.0 1.0", "b - -", "a 3.0 3.0"]);
        }
        assert_eq!(epoch(&mut operator, "a 1 \n b - \n a 3"), ["a 4.0 1.0", "b - -"]);
    }
}
