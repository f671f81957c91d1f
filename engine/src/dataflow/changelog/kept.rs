//! The rows of an input of changelog operators, for checkpoints.
//!
//! An index has the whole rows, so a checkpoint reads the one that the operators share. Without one the rows are arranged by
//! themselves, which costs their bytes and 8 bytes of places each ([`crate::changelog::index`]). Either follows its frontier:
//! no history is kept.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use differential_dataflow::operators::arrange::Arranged;
use differential_dataflow::trace::cursor::{CursorList, cursor_list};
use differential_dataflow::trace::{BatchCursor, BatchKey, BatchVal, Cursor, Navigable, TraceReader};
use timely::dataflow::ProbeHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;
use xxhash_rust::xxh3::xxh3_64;

use super::super::Keeps;
use super::BATCH_ROWS;
use crate::batch::Batch;
use crate::changelog::index::{self, IndexTrace, KeysTrace};
use crate::changelog::{Index, Row, RowCodec, Rows};
use crate::checkpoint::damaged;
use crate::error::Result;
use crate::operator::Snapshot;
use crate::time::Epoch;

/// The table of the rows.
const ROWS: &str = "rows";
/// Rows of a part, at least; twice as many on average.
const LEAST_ROWS: usize = BATCH_ROWS / 4;
/// The column of a kept table that says how often a row is there.
const WEIGHT: &str = "weight";

/// Keeps the rows of an index.
pub(super) fn keep_index(
    index: Index<'_>,
    schema: SchemaRef,
    probe: &ProbeHandle<Epoch>,
) -> Result<Rc<RefCell<Kept<IndexTrace<Epoch>>>>> {
    keep(index, schema, |_, row, rows| rows.push(row.to_vec()), probe)
}

/// Keeps rows that are in no index.
pub(super) fn keep_rows(
    rows: Rows<'_>,
    schema: SchemaRef,
    probe: &ProbeHandle<Epoch>,
) -> Result<Rc<RefCell<Kept<KeysTrace<Epoch>>>>> {
    keep(index::keys(rows), schema, |row, (), rows| rows.push(row.to_vec()), probe)
}

/// Adds a row to a list, by its key and value in a trace.
type PushRow<Tr> = for<'a> fn(BatchKey<'a, Tr>, BatchVal<'a, Tr>, &mut Vec<Row>);

/// A place in batches of a trace, and the batches.
type Reading<Tr> = (CursorList<BatchCursor<Tr>>, Vec<<Tr as TraceReader>::Batch>);

/// The rows in a trace.
pub(super) struct Kept<Tr>
where
    Tr: TraceReader<Batch: Navigable>,
{
    trace: Tr,
    push: PushRow<Tr>,
    codec: RowCodec,
    schema: SchemaRef,
    /// What a checkpoint has not read of the batches that there were.
    read: Option<Reading<Tr>>,
}

/// The probe waits for the arrangement, so at a checkpoint it has all rows.
fn keep<Tr>(
    arranged: Arranged<'_, Tr>,
    schema: SchemaRef,
    push: PushRow<Tr>,
    probe: &ProbeHandle<Epoch>,
) -> Result<Rc<RefCell<Kept<Tr>>>>
where
    Tr: TraceReader<Time = Epoch, Batch: Navigable> + Clone + 'static,
{
    let codec = RowCodec::new(&schema)?;
    let kept = Rc::new(RefCell::new(Kept { trace: arranged.trace.clone(), push, codec, schema, read: None }));
    let mut builder = OperatorBuilder::new("kept".to_owned(), arranged.stream.scope());
    let mut input = builder.new_input(arranged.stream.probe_with(probe), Pipeline);
    let follower = Rc::clone(&kept);
    builder.build(move |_capabilities| {
        move |frontiers: &[MutableAntichain<Epoch>]| {
            input.for_each(|_, _| {});
            follower.borrow_mut().compact(&frontiers[0].frontier().to_owned());
        }
    });
    Ok(kept)
}

impl<Tr> Kept<Tr>
where
    Tr: TraceReader<Time = Epoch, Batch: Navigable>,
{
    /// Only what there is at the end is ever read.
    fn compact(&mut self, frontier: &Antichain<Epoch>) {
        // A trace without a time to be read at is closed. An input that has ended, as a table does, is read nevertheless.
        let last = Antichain::from_elem(Epoch::MAX);
        let readable = if frontier.is_empty() { &last } else { frontier };
        self.trace.set_logical_compaction(readable.borrow());
        self.trace.set_physical_compaction(frontier.borrow());
    }
}

impl<Tr> Keeps for Kept<Tr>
where
    Tr: TraceReader<Time = Epoch, Batch: Navigable>,
    BatchCursor<Tr>: Cursor<Storage = Tr::Batch, Diff = isize>,
{
    /// Begins to read what there is: batches of a trace do not change, and what comes later is in others.
    fn snapshot(&mut self) -> Result<Snapshot> {
        let batches = self.trace.batches_through(Antichain::new().borrow()).unwrap_or_default();
        self.read = Some(cursor_list(batches));
        Ok(Snapshot::default())
    }

    /// The next rows, each once with the sum of its weights.
    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        let Some((cursor, storage)) = &mut self.read else { return Ok(None) };
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        while let Some(key) = cursor.get_key(storage) {
            while let Some(value) = cursor.get_val(storage) {
                let mut weight = 0;
                cursor.map_times(storage, |_, diff| weight += BatchCursor::<Tr>::owned_diff(diff));
                if weight != 0 {
                    (self.push)(key, value, &mut rows);
                    weights.push(i64::try_from(weight).unwrap_or(i64::MAX));
                }
                cursor.step_val(storage);
                if is_end(&rows) {
                    return self.table(&rows, weights).map(Some);
                }
            }
            cursor.step_key(storage);
        }
        self.read = None;
        if rows.is_empty() { Ok(None) } else { self.table(&rows, weights).map(Some) }
    }
}

impl<Tr> Kept<Tr>
where
    Tr: TraceReader<Batch: Navigable>,
{
    fn table(&self, rows: &[Row], weights: Vec<i64>) -> Result<Snapshot> {
        let mut columns = self.codec.decode(rows.iter().map(Vec::as_slice))?;
        columns.push(Arc::new(Int64Array::from(weights)) as ArrayRef);
        let mut fields = self.schema.fields().to_vec();
        fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
        let mut snapshot = Snapshot::default();
        snapshot.put(ROWS, RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?);
        Ok(snapshot)
    }
}

/// True if a part ends with these rows. Where it does depends on the row itself, so that a row more or less changes one part and
/// not all that follow; a checkpoint writes what has changed.
fn is_end(rows: &[Row]) -> bool {
    let ends = |row: &Row| xxh3_64(row).is_multiple_of(LEAST_ROWS as u64);
    rows.len() == BATCH_ROWS || rows.len() >= LEAST_ROWS && rows.last().is_some_and(ends)
}

/// The rows of a snapshot, with their weights.
pub(super) fn rows(snapshot: Snapshot) -> Result<Vec<Batch>> {
    let batch = |(_, table): (String, RecordBatch)| {
        let last = table.num_columns().checked_sub(1).ok_or_else(damaged)?;
        let weights = table.column(last).as_primitive_opt::<Int64Type>().ok_or_else(damaged)?.clone();
        let columns: Vec<usize> = (0..last).collect();
        if weights.null_count() > 0 {
            return Err(damaged());
        }
        Ok(Batch::with_weights(table.project(&columns)?, weights))
    };
    snapshot.tables.into_iter().map(batch).collect()
}

#[cfg(test)]
mod tests {
    use differential_dataflow::input::Input;

    use super::*;
    use crate::testing::{lines, table};

    /// Updates in all batches of a trace.
    fn updates(kept: &mut Kept<KeysTrace<Epoch>>) -> usize {
        let mut count = 0;
        for batch in kept.trace.batches_through(Antichain::new().borrow()).unwrap_or_default() {
            let mut cursor = batch.cursor();
            while cursor.key_valid(&batch) {
                cursor.map_times(&batch, |_, _| count += 1);
                cursor.step_key(&batch);
            }
        }
        count
    }

    #[test]
    fn what_came_and_went_is_forgotten_and_an_input_that_has_ended_is_still_read() {
        let columns = table("machine:s x:i \n a 1 \n b 2 \n c 3");
        let rows = RowCodec::new(&columns.schema()).unwrap().encode(columns.columns(), 3).unwrap();
        timely::execute_directly(move |worker| {
            let probe = ProbeHandle::new();
            let (mut input, kept) = worker.dataflow::<Epoch, _, _>(|scope| {
                let (input, collection) = scope.new_collection();
                (input, keep_rows(collection, columns.schema(), &probe).unwrap())
            });
            input.update(rows[0].clone(), 2);
            for epoch in 1..=2000 {
                input.update(rows[1].clone(), 1);
                input.update(rows[2].clone(), if epoch % 2 == 0 { -1 } else { 1 });
                input.advance_to(epoch);
                input.flush();
                worker.step_while(|| probe.less_than(&epoch));
            }
            input.update(rows[1].clone(), -1);
            assert!(updates(&mut kept.borrow_mut()) < 100);
            drop(input);
            worker.step_while(|| !probe.done());
            worker.step();
            let mut kept = kept.borrow_mut();
            assert!(kept.snapshot().unwrap().tables.is_empty());
            let snapshot = kept.rest_of_snapshot().unwrap().unwrap();
            assert!(kept.rest_of_snapshot().unwrap().is_none());
            let tables: Vec<_> = snapshot.tables.iter().map(|(_, table)| table.clone()).collect();
            assert_eq!(lines(&tables), ["a 1 2", "b 2 1999"]);
            let weights = super::rows(snapshot).unwrap()[0].weights().unwrap().clone();
            assert_eq!(weights.values(), &[2, 1999]);
        });
    }
}
