//! Groups of the rows of an epoch on one worker, or of some epochs that follow each other at once, before they meet those of
//! the other workers.
//!
//! Only where what is computed of the parts is, to the bit, what is computed of all rows: counts, sums of integers, least and
//! greatest values. Then a few rows go to other workers instead of all.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Aggregate;
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::EpochHeader;
use lineshaft_engine::{Error, Result};

use crate::keys::KeyInterner;
use crate::window::arguments::{Accumulators, Aggregates};
use crate::window::columns_at;
use crate::window::groups::{Groups, Partial};
use crate::window::state::StateTable;

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

/// A row for each group of an epoch, or of those up to the next after which no more follows at once.
///
/// - Rows: append-only in and out.
/// - State: what waits for such an epoch.
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
    /// Rows that are in groups.
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
/// Groups that wait for an epoch after which no more follows at once, at most.
const MAX_WAITING: usize = 1 << 16;
/// Tables of a snapshot.
const PROGRESS: &str = "progress";
const WAITING: &str = "waiting";

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

impl PartialGroups {
    /// The groups, of which there are none any more.
    fn take(&mut self) -> Result<RecordBatch> {
        let ranges = self.groups.evaluate(&self.aggregates)?;
        let batches = ranges.into_iter().map(|(slots, results)| {
            let mut columns = self.interner.columns(&slots)?;
            columns.extend(results);
            Ok(RecordBatch::try_new(Arc::clone(&self.options.schema), columns)?)
        });
        Ok(concat_batches(&self.options.schema, &batches.collect::<Result<Vec<_>>>()?)?)
    }

    /// What is done with the next rows after so many that were in so many groups.
    fn look_ahead(&mut self, rows: usize, groups: usize) -> Result<()> {
        if rows >= ENOUGH_ROWS && groups * FEW > rows {
            self.passing = PASSING;
        }
        if self.passing > 0 || self.interner.len() > FEW_KEYS.max(groups * IDLE_SHARE) {
            self.interner = KeyInterner::new(&self.types)?;
            self.groups = Groups::new(&self.aggregates)?;
        }
        Ok(())
    }
}

impl Operator for PartialGroups {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        let rows = batch.rows();
        if self.passing > 0 {
            output.send(self.pass(rows)?);
            return Ok(());
        }
        self.rows += rows.num_rows();
        let keys = columns_at(rows, &self.options.keys);
        self.interner.intern(&keys, rows.num_rows(), &mut self.slots)?;
        let arguments = self.aggregates.evaluate(rows)?;
        self.groups.update(&self.aggregates, &arguments, &self.slots, self.interner.len())
    }

    fn on_epoch_end(&mut self, header: EpochHeader, output: &mut Output) -> Result<()> {
        self.passing = self.passing.saturating_sub(1);
        if header.more_follows && self.groups.slots().len() < MAX_WAITING {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        if rows > 0 {
            let groups = self.take()?;
            self.look_ahead(rows, groups.num_rows())?;
            output.send(groups);
        }
        Ok(())
    }

    /// With what decides how rows are given, so that they come out in the same order after a restart.
    fn snapshot(&mut self) -> Result<Snapshot> {
        let progress = vec![vec![signed(self.rows)], vec![signed(self.passing)]];
        let progress = StateTable { numbers: progress, keys: Vec::new(), values: Vec::new() };
        let mut snapshot = Snapshot::default();
        snapshot.put(PROGRESS, progress.into_batch()?);
        if !self.groups.slots().is_empty() {
            let partial = self.groups.state(&self.aggregates)?;
            self.groups.merge(&self.aggregates, &partial, self.interner.len())?;
            let numbers = vec![vec![0; partial.slots.len()]];
            let keys = self.interner.columns(&partial.slots)?;
            snapshot.put(WAITING, StateTable { numbers, keys, values: partial.states }.into_batch()?);
        }
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let other_plan = || Error::operator("group", "a snapshot of another plan");
        let progress = snapshot.take(PROGRESS).ok_or_else(other_plan)?;
        let progress = StateTable::from_batch(&progress, 2, 0)?;
        let number = |column: usize| usize::try_from(progress.numbers[column][0]).map_err(|_| other_plan());
        (self.rows, self.passing) = (number(0)?, number(1)?);
        if let Some(waiting) = snapshot.take(WAITING) {
            let table = StateTable::from_batch(&waiting, 1, self.options.keys.len())?;
            let mut slots = Vec::new();
            self.interner.intern(&table.keys, table.rows(), &mut slots)?;
            let partial = Partial { slots: Arc::new(slots), states: table.values };
            self.groups.merge(&self.aggregates, &partial, self.interner.len())?;
        }
        Ok(())
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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
        // Of the first epoch it is known at its end.
        for _ in 1..PASSING {
            assert_eq!(epoch(&mut operator, "a 1 \n b - \n a 3"), ["a 1.0 1.0", "b - -", "a 3.0 3.0"]);
        }
        epoch(&mut operator, "a 1");
        assert_eq!(epoch(&mut operator, "a 1 \n b - \n a 3"), ["a 4.0 1.0", "b - -"]);
    }

    #[test]
    fn epochs_that_follow_at_once_are_one_and_a_restart_gives_no_group_twice() {
        let batch = || Batch::new(table("machine:s x:f \n a 1 \n b 5 \n a 2"));
        let more = EpochHeader { more_follows: true, ..EpochHeader::new(0, 0) };
        let work = |operator: &mut PartialGroups, header: EpochHeader| {
            let mut output = Output::new(1);
            operator.on_batch(0, batch(), &mut output).unwrap();
            operator.on_epoch_end(header, &mut output).unwrap();
            let given: Vec<RecordBatch> = output.take(0).into_iter().map(Batch::into_rows).collect();
            lines(&given)
        };
        let mut operator = partial();
        assert_eq!(work(&mut operator, more), [""; 0]);
        let mut restored = partial();
        restored.restore(operator.snapshot().unwrap()).unwrap();
        for operator in [&mut operator, &mut restored] {
            assert_eq!(work(operator, EpochHeader::new(1, 0)), ["a 6.0 1.0", "b 10.0 5.0"]);
            assert_eq!(work(operator, EpochHeader::new(2, 0)), ["a 3.0 1.0", "b 5.0 5.0"]);
        }
    }
}
