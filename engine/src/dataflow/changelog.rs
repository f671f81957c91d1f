//! Batches into differential dataflow and back, and the arrangements that changelog operators share.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::row::SortField;
use differential_dataflow::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::dataflow::{Scope, Stream};
use timely::progress::frontier::MutableAntichain;

use super::frame::{Frame, Part};
use super::render::{RoutedInput, routed};
use crate::batch::Batch;
use crate::changelog::{ChangelogOperator, Failure, Index, Inputs, Row, RowCodec, Rows, encode_keys, index};
use crate::control::Control;
use crate::error::Result;
use crate::plan::Origin;
use crate::time::{Epoch, Watermark};

/// Rows of a batch that leaves, at most.
const BATCH_ROWS: usize = 32_768;

type Updates<D> = Vec<(D, Epoch, isize)>;
type Port<C> = OutputBuilder<Epoch, CapacityContainerBuilder<C>>;

/// What has been encoded and arranged on this worker, by where it comes from and by which key.
#[derive(Default)]
pub(super) struct Arrangements<'scope> {
    rows: HashMap<Origin, Rows<'scope>>,
    indexes: HashMap<(Origin, Vec<usize>), Index<'scope>>,
}

impl<'scope> Arrangements<'scope> {
    /// Renders a changelog operator.
    pub(super) fn render(
        &mut self,
        scope: Scope<'scope, Epoch>,
        operator: &dyn ChangelogOperator,
        inputs: Vec<(Origin, RoutedInput<'scope>)>,
        schema: &SchemaRef,
        control: &Arc<Control>,
    ) -> Result<Stream<'scope, Epoch, Frame>> {
        let rows = operator.render(&mut Shared { arrangements: self, inputs: &inputs, control })?;
        let marks = inputs.into_iter().map(|(_, input)| marks(routed(input.stream, &input.route))).collect();
        decode(scope, rows, marks, schema, control)
    }
}

struct Shared<'a, 'scope> {
    arrangements: &'a mut Arrangements<'scope>,
    inputs: &'a [(Origin, RoutedInput<'scope>)],
    control: &'a Arc<Control>,
}

impl<'scope> Inputs<'scope> for Shared<'_, 'scope> {
    fn rows(&mut self, input: usize) -> Result<Rows<'scope>> {
        let (origin, input) = &self.inputs[input];
        if let Some(rows) = self.arrangements.rows.get(origin) {
            return Ok(rows.clone());
        }
        let codec = RowCodec::new(&input.schema)?;
        let encode = move |batch: &RecordBatch| codec.encode(batch.columns(), batch.num_rows());
        let rows = encoded(input.stream.clone(), encode, self.control).as_collection();
        self.arrangements.rows.insert(*origin, rows.clone());
        Ok(rows)
    }

    fn index(&mut self, input: usize, key: &[usize]) -> Result<Index<'scope>> {
        let (origin, input) = &self.inputs[input];
        let place = (*origin, key.to_vec());
        if let Some(index) = self.arrangements.indexes.get(&place) {
            return Ok(index.clone());
        }
        let codec = RowCodec::new(&input.schema)?;
        let fields = key.iter().map(|column| input.schema.field(*column).data_type().clone());
        let (keys, columns) = (RowCodec::of(fields.map(SortField::new).collect())?, key.to_vec());
        let encode = move |batch: &RecordBatch| {
            let key: Vec<ArrayRef> = columns.iter().map(|column| Arc::clone(batch.column(*column))).collect();
            let keys = encode_keys(&keys, &key, batch.num_rows())?;
            Ok(keys.into_iter().zip(codec.encode(batch.columns(), batch.num_rows())?).collect())
        };
        let pairs: Stream<'scope, Epoch, Updates<(Row, Row)>> =
            encoded(input.stream.clone(), encode, self.control);
        let index = index::index(pairs.as_collection());
        self.arrangements.indexes.insert(place, index.clone());
        Ok(index)
    }

    fn failure(&self) -> Failure {
        let control = Arc::clone(self.control);
        Arc::new(move |error| control.fail(error))
    }
}

/// The rows of a stream as updates, each with its weight.
fn encoded<'scope, D: Clone + 'static>(
    stream: Stream<'scope, Epoch, Frame>,
    mut encode: impl FnMut(&RecordBatch) -> Result<Vec<D>> + 'static,
    control: &Arc<Control>,
) -> Stream<'scope, Epoch, Updates<D>> {
    let mut builder = OperatorBuilder::new("encode".to_owned(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    let (output, updates) = builder.new_output();
    let mut port = Port::<Updates<D>>::from(output);
    let control = Arc::clone(control);
    builder.build(move |_capabilities| {
        move |_frontiers: &[MutableAntichain<Epoch>]| {
            input.for_each(|capability, frame| {
                let Some(epoch) = capability.least().copied() else { return };
                let parts = std::mem::take(frame).parts;
                match updates_of(parts, epoch, &mut encode) {
                    Ok(mut updates) if !updates.is_empty() => {
                        if let Some(capability) = capability.retain_least(0) {
                            port.activate().session(&capability).give_container(&mut updates);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => control.fail(error),
                }
            });
        }
    });
    updates
}

fn updates_of<D>(
    parts: Vec<Part>,
    epoch: Epoch,
    encode: &mut impl FnMut(&RecordBatch) -> Result<Vec<D>>,
) -> Result<Updates<D>> {
    let mut updates = Vec::new();
    for part in parts {
        let Part::Rows { batch, .. } = part else { continue };
        let rows = encode(batch.rows())?;
        match batch.weights() {
            None => updates.extend(rows.into_iter().map(|row| (row, epoch, 1))),
            Some(weights) => {
                let weights = weights.values().iter().map(|weight| isize::try_from(*weight).unwrap_or(0));
                updates.extend(rows.into_iter().zip(weights).map(|(row, weight)| (row, epoch, weight)));
            }
        }
    }
    Ok(updates)
}

/// The marks of a stream, without its rows.
fn marks<'scope>(stream: Stream<'scope, Epoch, Frame>) -> Stream<'scope, Epoch, Frame> {
    let mut builder = OperatorBuilder::new("marks".to_owned(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    let (output, marks) = builder.new_output();
    let mut port = Port::<Frame>::from(output);
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

/// The rows of each epoch as batches with weights, followed by the mark of the epoch.
fn decode<'scope>(
    scope: Scope<'scope, Epoch>,
    rows: Rows<'scope>,
    marks: Vec<Stream<'scope, Epoch, Frame>>,
    schema: &SchemaRef,
    control: &Arc<Control>,
) -> Result<Stream<'scope, Epoch, Frame>> {
    let mut builder = OperatorBuilder::new("decode".to_owned(), scope);
    let mut changes = Changes {
        codec: RowCodec::new(schema)?,
        schema: Arc::clone(schema),
        pending: BTreeMap::new(),
        watermarks: vec![Watermark::START; marks.len()],
        here: scope.worker().index(),
    };
    let mut updates = builder.new_input(rows.inner, Pipeline);
    let mut marks: Vec<_> = marks.into_iter().map(|marks| builder.new_input(marks, Pipeline)).collect();
    let (output, decoded) = builder.new_output();
    let mut port = Port::<Frame>::from(output);
    let control = Arc::clone(control);
    builder.build(move |_capabilities| {
        move |frontiers: &[MutableAntichain<Epoch>]| {
            updates.for_each(|capability, updates| {
                for (row, epoch, weight) in updates.drain(..) {
                    changes.at(epoch, &capability).rows.push((row, weight));
                }
            });
            for (number, input) in marks.iter_mut().enumerate() {
                input.for_each(|capability, frame| {
                    let Some(epoch) = capability.least().copied() else { return };
                    let pending = changes.at(epoch, &capability);
                    for part in std::mem::take(frame).parts {
                        if let Part::Mark { wall_clock, watermark, .. } = part {
                            pending.wall_clock =
                                Some(pending.wall_clock.unwrap_or(wall_clock).max(wall_clock));
                            pending.watermarks.push((number, watermark));
                        }
                    }
                });
            }
            if let Err(error) = changes.send(frontiers, &mut port) {
                control.fail(error);
            }
        }
    });
    Ok(decoded)
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
    wall_clock: Option<i64>,
    watermarks: Vec<(usize, Watermark)>,
}

impl Changes {
    fn at(&mut self, epoch: Epoch, capability: &InputCapability<Epoch>) -> &mut Pending {
        self.pending.entry(epoch).or_insert_with(|| Pending {
            capability: capability.delayed(&epoch, 0),
            rows: Vec::new(),
            wall_clock: None,
            watermarks: Vec::new(),
        })
    }

    fn send(&mut self, frontiers: &[MutableAntichain<Epoch>], port: &mut Port<Frame>) -> Result<()> {
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
            parts.push(Part::Rows { order: 0, to: None, batch });
        }
        for (input, watermark) in pending.watermarks {
            self.watermarks[input] = self.watermarks[input].max(watermark);
        }
        if let Some(wall_clock) = pending.wall_clock {
            let watermark = self.watermarks.iter().copied().min().unwrap_or(Watermark::END);
            parts.push(Part::Mark { to: self.here, wall_clock, watermark });
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
