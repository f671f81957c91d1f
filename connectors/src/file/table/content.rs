//! What a table has given, and what is to be given so that it is as its files are now.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::row::{RowConverter, Rows, SortField};
use lineshaft_engine::declaration::SourceDeclaration;
use lineshaft_engine::hash::stable_hash;
use lineshaft_engine::source::{Decoded, Rejected};
use lineshaft_engine::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::position;

const CONNECTOR: &str = "file source";

/// What a table has given.
#[derive(Serialize, Deserialize)]
struct Position {
    rejected: Vec<u64>,
    /// An Arrow IPC stream.
    rows: Vec<u8>,
}

/// The rows of a table. Memory: each row once, as Arrow columns; while it changes also old and new rows as bytes.
pub(super) struct Content {
    name: String,
    schema: SchemaRef,
    /// Places of the primary key among the columns; empty: all rows count.
    key: Vec<usize>,
    /// Rows are versions: they are only added.
    keeps_versions: bool,
    rows: RecordBatch,
    /// What was bad, as [`fingerprint`]s.
    rejected: HashSet<u64>,
}

impl Content {
    /// An empty table with the needed columns of `declaration`.
    pub(super) fn new(declaration: &SourceDeclaration, schema: SchemaRef) -> Result<Self> {
        let keeps_versions = declaration.table.as_ref().is_some_and(|table| table.keeps_versions);
        let primary_key = declaration.table.iter().flat_map(|table| &table.primary_key);
        let place = |column: &usize| {
            let place = declaration.needed.iter().position(|needed| needed == column);
            place.ok_or_else(|| Error::Plan(format!("{}: the primary key is not read", declaration.name)))
        };
        let key: Vec<usize> = primary_key.map(place).collect::<Result<_>>()?;
        Ok(Self {
            name: declaration.name.clone(),
            rows: RecordBatch::new_empty(Arc::clone(&schema)),
            schema,
            key: if keeps_versions { Vec::new() } else { key },
            keeps_versions,
            rejected: HashSet::new(),
        })
    }

    /// What it has given, for [`Content::go_on`]: the rows and what was bad.
    pub(super) fn position(&self) -> Result<Vec<u8>> {
        let mut rejected: Vec<u64> = self.rejected.iter().copied().collect();
        rejected.sort_unstable();
        let mut rows = StreamWriter::try_new(Vec::new(), &self.schema)?;
        rows.write(&self.rows)?;
        position::write(&Position { rejected, rows: rows.into_inner()? })
    }

    /// Begins with what a program before has given.
    ///
    /// # Errors
    /// If it is not the position of a table with these columns.
    pub(super) fn go_on(&mut self, bytes: &[u8]) -> Result<()> {
        let position: Position = position::read(CONNECTOR, &self.name, bytes)?;
        let damaged = |_| position::damaged(CONNECTOR, &self.name);
        let batches = StreamReader::try_new(position.rows.as_slice(), None).map_err(damaged)?;
        if batches.schema().fields() != self.schema.fields() {
            let reason = "the table of the journal has other columns";
            return Err(Error::connector(CONNECTOR, &self.name, reason));
        }
        let batches: Vec<RecordBatch> = batches.collect::<Result<_, _>>().map_err(damaged)?;
        self.rows = concat_batches(&self.schema, &batches)?;
        self.rejected = position.rejected.into_iter().collect();
        Ok(())
    }

    /// Puts new rows in the place of the old ones; gives the difference.
    pub(super) fn replace(&mut self, batches: &[RecordBatch], rejected: Vec<Rejected>) -> Result<Decoded> {
        let new = self.last_of_each_key(concat_batches(&self.schema, batches)?)?;
        let old = std::mem::replace(&mut self.rows, new);
        let (gone, added) = self.difference(&old)?;
        let rows = match self.keeps_versions {
            true => vec![take_record_batch(&self.rows, &added)?],
            false => vec![take_record_batch(&old, &gone)?, take_record_batch(&self.rows, &added)?],
        };
        let weights = (!self.keeps_versions).then(|| {
            let weights = [(gone.len(), -1), (added.len(), 1)];
            let weights = weights.into_iter().flat_map(|(rows, weight)| std::iter::repeat_n(weight, rows));
            weights.collect::<Vec<i64>>().into()
        });
        let rejected = self.not_told(rejected);
        Ok(Decoded { rows: concat_batches(&self.schema, &rows)?, weights, rejected })
    }

    /// The old rows that are gone and the new rows that were not there. Equal rows count as often as they are there.
    fn difference(&self, old: &RecordBatch) -> Result<(UInt32Array, UInt32Array)> {
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        let (before, now) = (self.encoded(old, &columns)?, self.encoded(&self.rows, &columns)?);
        let mut left: HashMap<&[u8], VecDeque<u32>> = HashMap::with_capacity(old.num_rows());
        for (number, row) in (0..).zip(&before) {
            left.entry(row.data()).or_default().push_back(number);
        }
        let mut added = Vec::new();
        for (number, row) in (0..).zip(&now) {
            if left.get_mut(row.data()).and_then(VecDeque::pop_front).is_none() {
                added.push(number);
            }
        }
        let mut gone: Vec<u32> = left.into_values().flatten().collect();
        gone.sort_unstable();
        Ok((gone.into(), added.into()))
    }

    /// Of rows with one key the last.
    fn last_of_each_key(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if self.key.is_empty() {
            return Ok(rows);
        }
        let keys = self.encoded(&rows, &self.key)?;
        let mut last: HashMap<&[u8], u32> = HashMap::with_capacity(rows.num_rows());
        for (number, key) in (0..).zip(&keys) {
            last.insert(key.data(), number);
        }
        let mut kept: Vec<u32> = last.into_values().collect();
        kept.sort_unstable();
        Ok(take_record_batch(&rows, &UInt32Array::from(kept))?)
    }

    fn encoded(&self, rows: &RecordBatch, columns: &[usize]) -> Result<Rows> {
        if u32::try_from(rows.num_rows()).is_err() {
            return Err(Error::connector(CONNECTOR, &self.name, "the table has more than 4 billion rows"));
        }
        let field = |column: &usize| SortField::new(self.schema.field(*column).data_type().clone());
        let converter = RowConverter::new(columns.iter().map(field).collect())?;
        let columns: Vec<ArrayRef> = columns.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        Ok(converter.convert_columns(&columns)?)
    }

    /// Of what is bad now what was not before.
    fn not_told(&mut self, rejected: Vec<Rejected>) -> Vec<Rejected> {
        let now = rejected.iter().map(fingerprint).collect();
        let before = std::mem::replace(&mut self.rejected, now);
        rejected.into_iter().filter(|bad| !before.contains(&fingerprint(bad))).collect()
    }
}

/// Tells a bad record from others: file, reason and record.
fn fingerprint(bad: &Rejected) -> u64 {
    stable_hash(&[bad.origin.as_bytes(), bad.reason.as_bytes(), &bad.raw])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use lineshaft_engine::declaration::TableDeclaration;
    use proptest::prelude::*;

    use super::*;
    use crate::format::testing::{declaration, lines};

    /// The rows of a file: machines and numbers, few of each, so that there are equal ones.
    fn file() -> impl Strategy<Value = Vec<(u8, i64)>> {
        prop::collection::vec((0..4u8, 0..3i64), 0..12)
    }

    fn rows(content: &Content, file: &[(u8, i64)]) -> RecordBatch {
        let machines = file.iter().map(|(machine, _)| (*machine > 0).then(|| format!("m{machine}")));
        let numbers: Int64Array = file.iter().map(|(_, number)| Some(*number)).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(machines.collect::<StringArray>()), Arc::new(numbers)];
        RecordBatch::try_new(Arc::clone(&content.schema), columns).unwrap()
    }

    /// What comes when the file becomes so.
    fn changes(content: &mut Content, file: &[(u8, i64)]) -> (Vec<String>, Option<Vec<i64>>) {
        let rows = rows(content, file);
        let changes = content.replace(&[rows], Vec::new()).unwrap();
        (lines(&changes.rows), changes.weights.map(|weights| weights.values().to_vec()))
    }

    proptest! {
        #[test]
        fn a_content_that_goes_on_gives_what_an_undisturbed_one_gives(
            files in prop::collection::vec(file(), 1..5), has_key: bool, keeps_versions: bool
        ) {
            let mut declared = declaration("machine TEXT, n BIGINT");
            let primary_key = if has_key { vec![1] } else { vec![] };
            declared.table = Some(TableDeclaration { primary_key, keeps_versions, reads_again: true });
            let new = || Content::new(&declared, Arc::clone(&declared.schema)).unwrap();
            let (mut undisturbed, mut position) = (new(), new().position().unwrap());
            for file in files {
                let mut restarted = new();
                restarted.go_on(&position).unwrap();
                prop_assert_eq!(changes(&mut restarted, &file), changes(&mut undisturbed, &file));
                position = restarted.position().unwrap();
                prop_assert_eq!(&position, &undisturbed.position().unwrap());
            }
        }
    }
}
