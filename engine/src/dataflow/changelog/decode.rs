//! Updates of a collection as batches again, epoch after epoch, each followed by its mark.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::dataflow::{Scope, Stream};
use timely::progress::frontier::MutableAntichain;

use super::super::frame::{Frame, Mark, Part};
use super::super::{Keeps, WATERMARKS};
use super::{BATCH_ROWS, Rendered};
use crate::batch::Batch;
use crate::changelog::{Row, RowCodec, Rows};
use crate::checkpoint::{column, damaged, numbers};
use crate::control::Control;
use crate::error::Result;
use crate::operator::Snapshot;
use crate::time::{Epoch, Watermark};

type Port = OutputBuilder<Epoch, CapacityContainerBuilder<Frame>>;

/// The marks of a stream, without its rows.
pub(super) fn marks<'scope>(stream: Stream<'scope, Epoch, Frame>) -> Stream<'scope, Epoch, Frame> {
    let mut builder = OperatorBuilder::new("marks".to_owned(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    let (output, marks) = builder.new_output();
    let mut port = Port::from(output);
    builder.build(move |_capabilities| {
        move |_frontiers: &[MutableAntichain<Epoch>]| {
            input.for_each(|capability, frame| {
                let mut parts = std::mem::take(frame).parts;
                parts.retain(|part| matches!(part, Part::Mark { .. }));
                if let Some(capability) = capability.retain_least(0).filter(|_| !parts.is_empty()) {
                    port.activate().session(&capability).give_container(&mut Frame::new(parts));
                }
            });
        }
    });
    marks
}

/// The rows of each epoch as batches with weights, followed by the mark of the epoch. What comes before epoch `begin` had
/// been given before the checkpoint from which the program goes on.
pub(super) fn decode<'scope>(
    scope: Scope<'scope, Epoch>,
    rows: Rows<'scope>,
    marks: Vec<Stream<'scope, Epoch, Frame>>,
    schema: &SchemaRef,
    begin: Epoch,
    control: &Arc<Control>,
) -> Result<Rendered<'scope>> {
    let mut builder = OperatorBuilder::new("decode".to_owned(), scope);
    let kept = Rc::new(RefCell::new(Changes {
        codec: RowCodec::new(schema)?,
        schema: Arc::clone(schema),
        pending: BTreeMap::new(),
        watermarks: vec![Watermark::START; marks.len()],
        here: scope.worker().index(),
    }));
    let changes = Rc::clone(&kept);
    let mut updates = builder.new_input(rows.inner, Pipeline);
    let mut marks: Vec<_> = marks.into_iter().map(|marks| builder.new_input(marks, Pipeline)).collect();
    let (output, decoded) = builder.new_output();
    let mut port = Port::from(output);
    let control = Arc::clone(control);
    builder.build(move |_capabilities| {
        move |frontiers: &[MutableAntichain<Epoch>]| {
            let mut changes = changes.borrow_mut();
            updates.for_each(|capability, updates| {
                for (row, epoch, weight) in updates.drain(..).filter(|(_, epoch, _)| *epoch >= begin) {
                    changes.at(epoch, &capability).rows.push((row, weight));
                }
            });
            for (number, input) in marks.iter_mut().enumerate() {
                input.for_each(|capability, frame| {
                    changes.mark(number, &capability, std::mem::take(frame));
                });
            }
            if let Err(error) = changes.send(frontiers, &mut port) {
                control.fail(error);
            }
        }
    });
    Ok((decoded, kept))
}

/// What has come for epochs that are not complete.
struct Changes {
    codec: RowCodec,
    schema: SchemaRef,
    pending: BTreeMap<Epoch, Pending>,
    watermarks: Vec<Watermark>,
    here: usize,
}

struct Pending {
    capability: Capability<Epoch>,
    rows: Vec<(Row, isize)>,
    /// Wall clock, and whether more follows.
    time: Option<(i64, bool)>,
    watermarks: Vec<(usize, Watermark)>,
}

impl Keeps for Changes {
    fn snapshot(&mut self) -> Result<Snapshot> {
        assert!(self.pending.is_empty(), "a checkpoint is taken between two epochs");
        let watermarks = self.watermarks.iter().map(|watermark| watermark.0).collect();
        let mut snapshot = Snapshot::default();
        snapshot.put(WATERMARKS, numbers([(WATERMARKS, watermarks)])?);
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let table = snapshot.take(WATERMARKS).ok_or_else(damaged)?;
        self.watermarks = column(&table, WATERMARKS)?.iter().copied().map(Watermark).collect();
        Ok(())
    }
}

impl Changes {
    fn at(&mut self, epoch: Epoch, capability: &InputCapability<Epoch>) -> &mut Pending {
        self.pending.entry(epoch).or_insert_with(|| Pending {
            capability: capability.delayed(&epoch, 0),
            rows: Vec::new(),
            time: None,
            watermarks: Vec::new(),
        })
    }

    fn mark(&mut self, input: usize, capability: &InputCapability<Epoch>, frame: Frame) {
        let Some(epoch) = capability.least().copied() else { return };
        let pending = self.at(epoch, capability);
        for part in frame.parts {
            if let Part::Mark { mark, .. } = part {
                pending.time = pending.time.max(Some((mark.wall_clock, mark.more_follows)));
                pending.watermarks.push((input, mark.watermark));
            }
        }
    }

    fn send(&mut self, frontiers: &[MutableAntichain<Epoch>], port: &mut Port) -> Result<()> {
        while let Some(first) = self.pending.first_entry() {
            if frontiers.iter().any(|frontier| frontier.less_equal(first.key())) {
                return Ok(());
            }
            let pending = first.remove();
            let capability = pending.capability.clone();
            let parts = self.parts(pending)?;
            if !parts.is_empty() {
                port.activate().session(&capability).give_container(&mut Frame::new(parts));
            }
        }
        Ok(())
    }

    fn parts(&mut self, pending: Pending) -> Result<Vec<Part>> {
        let rows = consolidated(pending.rows);
        let mut parts = Vec::new();
        for rows in rows.chunks(BATCH_ROWS) {
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            let columns = self.codec.decode(rows.iter().map(|(row, _)| row.as_slice()))?;
            let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
            let weights = rows.iter().map(|(_, weight)| i64::try_from(*weight).unwrap_or(i64::MAX));
            let batch = Batch::with_weights(batch, Int64Array::from_iter_values(weights));
            parts.push(Part::Rows { order: 0, to: None, rows: batch.into() });
        }
        for (input, watermark) in pending.watermarks {
            self.watermarks[input] = self.watermarks[input].max(watermark);
        }
        if let Some((wall_clock, more_follows)) = pending.time {
            let watermark = self.watermarks.iter().copied().min().unwrap_or(Watermark::END);
            parts.push(Part::Mark { to: self.here, mark: Mark { wall_clock, more_follows, watermark } });
        }
        Ok(parts)
    }
}

/// Each row once, with the sum of its weights; retractions first, so that a reader never sees two rows where one
/// takes the place of the other.
fn consolidated(mut rows: Vec<(Row, isize)>) -> Vec<(Row, isize)> {
    differential_dataflow::consolidation::consolidate(&mut rows);
    rows.sort_by(|a, b| (a.1 > 0, &a.0).cmp(&(b.1 > 0, &b.0)));
    rows
}
