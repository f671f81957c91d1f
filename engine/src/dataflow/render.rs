//! Turns one [`Operator`] into one timely operator.
//!
//! A stateless node handles batches as they come. Any other keeps what arrives for an epoch and works when the
//! epoch is complete on all its inputs: batches in a fixed order, then the watermark, then the end of the epoch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::dataflow::{Scope, Stream};
use timely::progress::frontier::MutableAntichain;

use super::exchange::{RowDistributor, Rule};
use super::frame::{Frame, Mark, Part, Selected};
use super::{Keeps, WATERMARKS};
use crate::batch::Batch;
use crate::checkpoint::{column, damaged, numbers};
use crate::control::Control;
use crate::error::Result;
use crate::operator::{Operator, Output, Snapshot};
use crate::plan::Route;
use crate::swap::work_on;
use crate::time::{Epoch, EpochHeader, Watermark};

type Port = OutputBuilder<Epoch, CapacityContainerBuilder<Frame>>;

/// An input of a node: its stream and what is known of it.
#[derive(Clone)]
pub(super) struct RoutedInput<'scope> {
    pub(super) stream: Stream<'scope, Epoch, Frame>,
    pub(super) route: Route,
    /// Rows of an epoch come in an order that does not depend on the number of workers.
    pub(super) is_ordered: bool,
    /// It holds no watermark back.
    pub(super) is_timeless: bool,
    pub(super) schema: SchemaRef,
}

/// Sends rows on by `rule` and changes nothing.
pub(super) fn forward<'scope>(
    stream: Stream<'scope, Epoch, Frame>,
    name: &str,
    rule: Rule,
) -> Stream<'scope, Epoch, Frame> {
    let mut builder = OperatorBuilder::new(name.to_owned(), stream.scope());
    let mut input = builder.new_input(stream, DistributorPact(move |_| RowDistributor::new(rule)));
    let (output, forwarded) = builder.new_output();
    let mut output = Port::from(output);
    builder.build(move |_capabilities| {
        move |_frontiers: &[MutableAntichain<Epoch>]| {
            input.for_each(|capability, frame| {
                if let Some(capability) = capability.retain_least(0) {
                    output.activate().session(&capability).give_container(frame);
                }
            });
        }
    });
    forwarded
}

/// Addresses every batch to every worker.
fn broadcast<'scope>(stream: Stream<'scope, Epoch, Frame>) -> Stream<'scope, Epoch, Frame> {
    let scope = stream.scope();
    let (here, workers) = (scope.worker().index(), scope.worker().peers());
    let mut builder = OperatorBuilder::new("broadcast".to_owned(), scope);
    let mut input = builder.new_input(stream, Pipeline);
    let (output, copies) = builder.new_output();
    let mut output = Port::from(output);
    builder.build(move |_capabilities| {
        move |_frontiers: &[MutableAntichain<Epoch>]| {
            input.for_each(|capability, frame| {
                let mut parts = Vec::new();
                for part in std::mem::take(frame).parts {
                    match part {
                        Part::Mark { .. } => parts.push(part),
                        Part::Rows { order, rows, .. } => parts.extend((0..workers).map(|to| Part::Rows {
                            order,
                            to: Some(to),
                            rows: rows.clone(),
                        })),
                    }
                }
                if let Some(capability) = capability.retain_least(0) {
                    output.activate().session(&capability).give_container(&mut Frame::new(parts));
                }
            });
        }
    });
    forward(copies, "broadcast", Rule::Addressed { here })
}

/// The stream as the route brings it to this worker.
pub(super) fn routed<'scope>(
    stream: Stream<'scope, Epoch, Frame>,
    route: &Route,
) -> Stream<'scope, Epoch, Frame> {
    match route {
        Route::Local => stream,
        _ if stream.scope().worker().peers() == 1 => stream,
        Route::ByKey(keys) => forward(stream, "by key", Rule::ByKey(keys.clone())),
        Route::Gather => forward(stream, "gather", Rule::Gather),
        Route::Broadcast => broadcast(stream),
    }
}

/// Renders a node without state: rows go through at once, in order.
pub(super) fn stateless<'scope>(
    scope: Scope<'scope, Epoch>,
    name: &str,
    input: RoutedInput<'scope>,
    ports: usize,
    mut operator: Box<dyn Operator>,
    control: &Arc<Control>,
) -> Vec<Stream<'scope, Epoch, Frame>> {
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let mut input = builder.new_input(routed(input.stream, &input.route), Pipeline);
    let (mut outputs, streams): (Vec<Port>, Vec<_>) = (0..ports)
        .map(|_| {
            let (output, stream) = builder.new_output();
            (Port::from(output), stream)
        })
        .unzip();
    let control = Arc::clone(control);
    let mut buffer = Output::new(ports);
    builder.build(move |_capabilities| {
        move |_frontiers: &[MutableAntichain<Epoch>]| {
            input.for_each(|capability, frame| {
                match pass(operator.as_mut(), &mut buffer, capability.least().copied(), std::mem::take(frame))
                {
                    Ok(parts) => send(&mut outputs, &capability, parts),
                    Err(error) => control.fail(error),
                }
            });
        }
    });
    streams
}

/// The parts for each port.
fn pass(
    operator: &mut dyn Operator,
    buffer: &mut Output,
    epoch: Option<Epoch>,
    frame: Frame,
) -> Result<Vec<Vec<Part>>> {
    let mut ports = vec![Vec::with_capacity(frame.parts.len()); buffer.ports.len()];
    for part in frame.parts {
        match part {
            Part::Mark { .. } => ports.iter_mut().for_each(|parts| parts.push(part.clone())),
            Part::Rows { order, to, rows } => {
                let batch = rows.into_batch()?;
                work_on(epoch.filter(|_| batch.weights().is_none()));
                let done = operator.on_batch(0, batch, buffer);
                work_on(None);
                done?;
                for (port, parts) in ports.iter_mut().enumerate() {
                    let rows = buffer.take(port).into_iter();
                    parts.extend(rows.map(|batch| Part::Rows { order, to, rows: batch.into() }));
                }
            }
        }
    }
    Ok(ports)
}

fn send(outputs: &mut [Port], capability: &InputCapability<Epoch>, parts: Vec<Vec<Part>>) {
    for (number, (port, parts)) in outputs.iter_mut().zip(parts).enumerate() {
        if let Some(capability) = capability.retain_least(number).filter(|_| !parts.is_empty()) {
            port.activate().session(&capability).give_container(&mut Frame::new(parts));
        }
    }
}

/// Renders a node with state: epoch after epoch. Gives one stream per output port.
pub(super) fn stateful<'scope>(
    scope: Scope<'scope, Epoch>,
    name: &str,
    inputs: Vec<RoutedInput<'scope>>,
    ports: usize,
    operator: Box<dyn Operator>,
    control: &Arc<Control>,
) -> (Vec<Stream<'scope, Epoch, Frame>>, Rc<RefCell<Epochs>>) {
    let here = scope.worker().index();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let kept = Rc::new(RefCell::new(Epochs::new(&inputs, here, operator, ports)));
    let epochs = Rc::clone(&kept);
    let mut handles: Vec<_> = inputs
        .into_iter()
        .map(|input| builder.new_input(routed(input.stream, &input.route), Pipeline))
        .collect();
    let mut outputs = Vec::with_capacity(ports);
    let mut streams = Vec::with_capacity(ports);
    for _ in 0..ports {
        let (output, stream) = builder.new_output();
        outputs.push(Port::from(output));
        streams.push(stream);
    }
    let control = Arc::clone(control);
    builder.build(move |_capabilities| {
        move |frontiers: &[MutableAntichain<Epoch>]| {
            let mut epochs = epochs.borrow_mut();
            for (input, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, frame| epochs.keep(input, &capability, std::mem::take(frame)));
            }
            if control.has_failed() {
                return;
            }
            if let Err(error) = epochs.work(frontiers, &mut outputs) {
                control.fail(error);
            }
        }
    });
    (streams, kept)
}

/// Renders the end of a path: the same, without outputs. `end` is called once no epoch can come any more.
pub(super) fn terminal<'scope>(
    scope: Scope<'scope, Epoch>,
    name: &str,
    input: RoutedInput<'scope>,
    operator: Box<dyn Operator>,
    mut end: impl FnMut() -> Result<()> + 'static,
    control: &Arc<Control>,
) -> (Stream<'scope, Epoch, Frame>, Rc<RefCell<Epochs>>) {
    let here = scope.worker().index();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let inputs = [input];
    let kept = Rc::new(RefCell::new(Epochs::new(&inputs, here, operator, 1)));
    let epochs = Rc::clone(&kept);
    let [input] = inputs;
    let mut handle = builder.new_input(routed(input.stream, &input.route), Pipeline);
    let (output, done) = builder.new_output();
    let mut outputs = [Port::from(output)];
    let control = Arc::clone(control);
    let mut has_ended = false;
    builder.build(move |_capabilities| {
        move |frontiers: &[MutableAntichain<Epoch>]| {
            let mut epochs = epochs.borrow_mut();
            handle.for_each(|capability, frame| epochs.keep(0, &capability, std::mem::take(frame)));
            if control.has_failed() {
                return;
            }
            if let Err(error) = epochs.work(frontiers, &mut outputs) {
                control.fail(error);
            } else if frontiers[0].is_empty() && !has_ended {
                has_ended = true;
                // The other ends are still brought to theirs.
                if let Err(error) = end() {
                    control.fail_in_order(error, false);
                }
            }
        }
    });
    (done, kept)
}

/// What has arrived for epochs that are not complete, and the operator that waits for it.
pub(crate) struct Epochs {
    operator: Box<dyn Operator>,
    inputs: Vec<InputState>,
    pending: BTreeMap<Epoch, Pending>,
    output: Output,
    watermark: Watermark,
    here: usize,
    /// See [`crate::plan::Node::keeps_order`].
    pub(super) keeps_order: bool,
}

struct InputState {
    is_ordered: bool,
    schema: SchemaRef,
    watermark: Watermark,
}

/// Input, order and rows.
type Arrived = (usize, u32, Selected);

#[derive(Default)]
struct Pending {
    capabilities: Vec<Capability<Epoch>>,
    batches: Vec<Arrived>,
    /// Input and watermark.
    watermarks: Vec<(usize, Watermark)>,
    wall_clock: i64,
    more_follows: bool,
}

impl Keeps for Epochs {
    /// The state of the operator and the watermarks.
    fn snapshot(&mut self) -> Result<Snapshot> {
        assert!(self.pending.is_empty(), "a checkpoint is taken between two epochs");
        let mut snapshot = self.operator.snapshot()?;
        let inputs = self.inputs.iter().map(|input| input.watermark.0);
        let watermarks = inputs.chain([self.watermark.0]).collect();
        snapshot.put(WATERMARKS, numbers([(WATERMARKS, watermarks)])?);
        Ok(snapshot)
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        self.operator.rest_of_snapshot()
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let table = snapshot.take(WATERMARKS).ok_or_else(damaged)?;
        let (own, inputs) = column(&table, WATERMARKS)?.split_last().ok_or_else(damaged)?;
        self.watermark = Watermark(*own);
        for (input, watermark) in self.inputs.iter_mut().zip(inputs) {
            input.watermark = Watermark(*watermark);
        }
        if snapshot.tables.is_empty() { Ok(()) } else { self.operator.restore(snapshot) }
    }
}

impl Epochs {
    fn new(inputs: &[RoutedInput<'_>], here: usize, operator: Box<dyn Operator>, ports: usize) -> Self {
        let state = |input: &RoutedInput<'_>| InputState {
            is_ordered: input.is_ordered,
            schema: Arc::clone(&input.schema),
            watermark: if input.is_timeless { Watermark::END } else { Watermark::START },
        };
        Self {
            operator,
            inputs: inputs.iter().map(state).collect(),
            pending: BTreeMap::new(),
            output: Output::new(ports),
            watermark: Watermark::START,
            here,
            keeps_order: false,
        }
    }

    fn keep(&mut self, input: usize, capability: &InputCapability<Epoch>, frame: Frame) {
        let Some(epoch) = capability.least() else { return };
        let pending = self.pending.entry(*epoch).or_default();
        if pending.capabilities.is_empty() {
            let ports = 0..self.output.ports.len();
            pending.capabilities = ports.filter_map(|port| capability.retain_least(port)).collect();
        }
        for part in frame.parts {
            match part {
                Part::Rows { order, rows, .. } => pending.batches.push((input, order, rows)),
                Part::Mark { mark, .. } => {
                    pending.wall_clock = pending.wall_clock.max(mark.wall_clock);
                    pending.more_follows = mark.more_follows;
                    pending.watermarks.push((input, mark.watermark));
                }
            }
        }
    }

    /// Works on all epochs that are complete.
    fn work(&mut self, frontiers: &[MutableAntichain<Epoch>], ports: &mut [Port]) -> Result<()> {
        while let Some(first) = self.pending.first_entry() {
            if frontiers.iter().any(|frontier| frontier.less_equal(first.key())) {
                return Ok(());
            }
            let (epoch, pending) = first.remove_entry();
            self.work_on(epoch, pending, ports)?;
        }
        Ok(())
    }

    fn work_on(&mut self, epoch: Epoch, pending: Pending, ports: &mut [Port]) -> Result<()> {
        let mut batches = self.in_order(pending.batches)?;
        if self.keeps_order {
            batches.sort_by_key(|(input, ..)| *input == 0);
        }
        let mut placed = vec![Vec::new(); ports.len()];
        for (input, order, rows) in batches {
            work_on(Some(epoch).filter(|_| !rows.has_weights()));
            rows.give(self.operator.as_mut(), input, &mut self.output)?;
            if self.keeps_order {
                for (number, parts) in placed.iter_mut().enumerate() {
                    parts.extend(self.output.take(number).into_iter().map(|batch| (order, batch)));
                }
            }
        }
        work_on(Some(epoch));
        for (input, watermark) in pending.watermarks {
            let seen = &mut self.inputs[input].watermark;
            *seen = watermark.max(*seen);
        }
        let watermark = self.inputs.iter().map(|input| input.watermark).min().unwrap_or(Watermark::END);
        if watermark > self.watermark {
            self.watermark = watermark;
            self.operator.on_watermark(watermark, &mut self.output)?;
        }
        let Pending { wall_clock, more_follows, .. } = pending;
        let header = EpochHeader { epoch, wall_clock, more_follows };
        self.operator.on_epoch_end(header, &mut self.output)?;
        work_on(None);
        for (number, (port, capability)) in ports.iter_mut().zip(&pending.capabilities).enumerate() {
            let rows = std::mem::take(&mut placed[number]).into_iter();
            let rows = rows.chain(self.output.take(number).into_iter().map(|batch| (0, batch)));
            let rows = rows.map(|(order, batch)| Part::Rows { order, to: None, rows: batch.into() });
            let mark = Part::Mark { to: self.here, mark: Mark { wall_clock, more_follows, watermark } };
            let parts = rows.chain([mark]).collect();
            port.activate().session(capability).give_container(&mut Frame::new(parts));
        }
        Ok(())
    }

    /// By input, then by order; rows of an input without order are sorted, so that the result does not depend on
    /// which worker they came from.
    fn in_order(&self, mut batches: Vec<Arrived>) -> Result<Vec<Arrived>> {
        batches.sort_by_key(|(input, order, _)| (*input, *order));
        let mut ordered = Vec::with_capacity(batches.len());
        for group in batches.chunk_by(|a, b| a.0 == b.0 && a.1 == b.1) {
            let input = group[0].0;
            if self.inputs[input].is_ordered {
                ordered.extend_from_slice(group);
            } else {
                let batches = group.iter().map(|(_, _, rows)| rows.clone().into_batch());
                let batches = batches.collect::<Result<Vec<_>>>()?;
                ordered.push((input, group[0].1, sorted(&self.inputs[input].schema, &batches)?.into()));
            }
        }
        Ok(ordered)
    }
}

/// All rows in one batch, sorted by all columns.
fn sorted(schema: &SchemaRef, batches: &[Batch]) -> Result<Batch> {
    let rows = concat_batches(schema, batches.iter().map(|batch| batch.rows()))?;
    // Of a union some rows may be append-only.
    let is_changelog = batches.iter().any(|batch| batch.weights().is_some());
    let weights = batches.iter().flat_map(|batch| match batch.weights() {
        Some(weights) => weights.values().to_vec(),
        None => vec![1; batch.num_rows()],
    });
    let batch = match is_changelog {
        true => Batch::with_weights(rows, weights.collect::<Vec<i64>>().into()),
        false => Batch::new(rows),
    };
    if schema.fields().is_empty() {
        // Rows without columns, of which only the number matters, are in order.
        return Ok(batch);
    }
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(batch.rows().columns())?;
    let mut indices: Vec<u32> = (0_u32..).take(batch.num_rows()).collect();
    indices.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
    batch.take(&indices.into())
}
