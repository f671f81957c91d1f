//! Plan -> timely dataflow, the same on every worker.
//!
//! [`render`] is the one place that turns an operator into a timely operator; [`exchange`] brings rows to the owner
//! of their key; [`source`] is where they enter.

mod changelog;
mod exchange;
mod frame;
mod render;
mod source;
mod wire;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::operators::Probe;
use timely::dataflow::{ProbeHandle, Scope, Stream};

use self::changelog::Arrangements;
use self::frame::Frame;
use self::render::RoutedInput;
use crate::batch::Batch;
use crate::checkpoint::{Checkpoints, Parts, Restored};
use crate::control::Control;
use crate::error::Result;
use crate::intake::Feed;
use crate::metrics::Metrics;
use crate::operator::{Operator, Output, Snapshot};
use crate::plan::{Input, Node, Origin, Plan, Route, Work};
use crate::sink::{Sink, SinkFactory, Worker};
use crate::spill::Spill;
use crate::time::{Epoch, EpochHeader};

/// What all workers of a program share.
pub(crate) struct Program {
    pub(crate) plan: Plan,
    pub(crate) feeds: Vec<Arc<Feed>>,
    pub(crate) sinks: Vec<Arc<dyn SinkFactory>>,
    pub(crate) control: Arc<Control>,
    pub(crate) metrics: Arc<Metrics>,
    /// Where the program goes on from.
    pub(crate) restored: Option<Arc<Restored>>,
    pub(crate) checkpoints: Option<Arc<Checkpoints>>,
    /// Earlier epochs have been worked on before, and are again.
    pub(crate) replayed_below: Epoch,
    /// The share that nobody uses; each operator has one of its own.
    pub(crate) spill: Spill,
}

/// The table of a snapshot with the watermarks of the inputs.
const WATERMARKS: &str = "watermarks of the inputs";

/// What has a state between two epochs.
pub(crate) trait Keeps {
    /// The state, while nothing is on its way.
    ///
    /// # Errors
    /// If the state cannot be put into columns.
    fn snapshot(&mut self) -> Result<Snapshot>;

    /// See [`Operator::rest_of_snapshot`].
    ///
    /// # Errors
    /// As for [`Keeps::snapshot`].
    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        Ok(None)
    }

    /// Puts back what [`Keeps::snapshot`] gave, if it was not given to what is rendered already.
    ///
    /// # Errors
    /// If the snapshot is of another plan.
    fn restore(&mut self, _snapshot: Snapshot) -> Result<()> {
        Ok(())
    }
}

/// What a worker has that has a state, by name.
pub(crate) type Stateful = Vec<(String, Rc<RefCell<dyn Keeps>>)>;

/// Builds the dataflow of `program` on this worker. The probe tells which epochs are complete everywhere.
pub(crate) fn build<'scope>(
    program: &Program,
    scope: Scope<'scope, Epoch>,
) -> Result<(ProbeHandle<Epoch>, Stateful)> {
    let worker = Worker { index: scope.worker().index(), count: scope.worker().peers() };
    let restored = program.restored.as_ref().map(|restored| restored.worker(worker.index));
    let begin = program.restored.as_ref().map_or(Ok(0), |restored| restored.next_epoch())?;
    let mut built = Built {
        program,
        scope,
        worker,
        streams: BTreeMap::new(),
        arrangements: Arrangements::new(begin),
        probe: ProbeHandle::new(),
        stateful: Vec::new(),
        restored: restored.unwrap_or_default(),
    };
    for source in 0..program.plan.sources.len() {
        built.source(source);
    }
    for node in 0..program.plan.nodes.len() {
        built.node(node)?;
    }
    for sink in 0..program.plan.sinks.len() {
        built.sink(sink)?;
    }
    if program.checkpoints.is_some() {
        built.stateful.extend(built.arrangements.keep(&built.probe)?);
    }
    // What nobody reads must still be waited for, or its epochs would count as complete too early.
    for stream in built.streams.into_values() {
        stream.probe_with(&built.probe);
    }
    Ok((built.probe, built.stateful))
}

struct Built<'a, 'scope> {
    program: &'a Program,
    scope: Scope<'scope, Epoch>,
    worker: Worker,
    streams: BTreeMap<Origin, Stream<'scope, Epoch, Frame>>,
    arrangements: Arrangements<'scope>,
    probe: ProbeHandle<Epoch>,
    stateful: Stateful,
    restored: Parts,
}

impl<'scope> Built<'_, 'scope> {
    fn source(&mut self, index: usize) {
        let Program { feeds, control, metrics, .. } = self.program;
        let streams = source::source(self.scope, index, Arc::clone(&feeds[index]), control, metrics);
        self.streams.insert(Origin::Source(index), streams.rows);
        self.streams.insert(Origin::Late(index), streams.late);
        self.streams.insert(Origin::Quarantine(index), streams.quarantine);
    }

    fn input(&self, input: &Input, takes_any_order: bool) -> RoutedInput<'scope> {
        let plan = &self.program.plan;
        RoutedInput {
            stream: self.streams[&input.from].clone(),
            route: input.route.clone(),
            is_ordered: takes_any_order || plan.is_ordered(input.from),
            is_timeless: plan.is_timeless(input.from),
            schema: plan.schema(input.from),
        }
    }

    fn node(&mut self, index: usize) -> Result<()> {
        let node = &self.program.plan.nodes[index];
        let streams = match &node.work {
            Work::Operator(make) => {
                let mut operator = make(self.worker)?;
                if !self.program.spill.is_unlimited() {
                    operator.use_spill(self.program.spill.share());
                }
                self.operator(index, node, operator)?
            }
            Work::Changelog(operator) => {
                let inputs = node
                    .inputs
                    .iter()
                    .map(|input| (input.from, self.input(input, node.takes_any_order)))
                    .collect();
                let (schema, control) = (&node.outputs[0], &self.program.control);
                let restored = &mut self.restored;
                let (stream, changes) = self.arrangements.render(
                    self.scope,
                    operator.as_ref(),
                    inputs,
                    schema,
                    restored,
                    control,
                )?;
                self.keep(format!("node {index}"), changes)?;
                vec![stream]
            }
        };
        for (port, stream) in streams.into_iter().enumerate() {
            self.streams.insert(Origin::Node(index, port), stream);
        }
        Ok(())
    }

    fn operator(
        &mut self,
        index: usize,
        node: &Node,
        operator: Box<dyn Operator>,
    ) -> Result<Vec<Stream<'scope, Epoch, Frame>>> {
        let control = &self.program.control;
        let mut inputs: Vec<_> =
            node.inputs.iter().map(|input| self.input(input, node.takes_any_order)).collect();
        Ok(match inputs.pop() {
            Some(input) if node.is_stateless && inputs.is_empty() => {
                render::stateless(self.scope, &node.name, input, node.outputs.len(), operator, control)
            }
            last => {
                inputs.extend(last);
                let (streams, epochs) =
                    render::stateful(self.scope, &node.name, inputs, node.outputs.len(), operator, control);
                epochs.borrow_mut().keeps_order = node.keeps_order;
                self.keep(format!("node {index}"), epochs)?;
                streams
            }
        })
    }

    fn sink(&mut self, index: usize) -> Result<()> {
        let Program { plan, sinks, control, metrics, .. } = self.program;
        let (node, factory) = (&plan.sinks[index], &sinks[index]);
        let route = if factory.is_parallel() { Route::Local } else { Route::Gather };
        let opens = factory.is_parallel() || self.worker.index == 0;
        let sink = if opens { Some(factory.open(Arc::clone(&node.schema), self.worker)?) } else { None };
        let sink = Rc::new(RefCell::new(Open { sink, metrics: Arc::clone(metrics), index }));
        let input = self.input(&Input { from: node.from, route }, false);
        let end = {
            let sink = Rc::clone(&sink);
            move || sink.borrow_mut().finish()
        };
        let not_before = if factory.is_at_most_once() { self.program.replayed_below } else { 0 };
        let operator = Box::new(Writer { open: sink, not_before, held: Vec::new() });
        let (done, epochs) = render::terminal(self.scope, &node.name, input, operator, end, control);
        done.probe_with(&self.probe);
        self.keep(format!("sink {index}"), epochs)
    }

    /// Keeps an operator for the checkpoints, with the state that it had at the last one.
    fn keep(&mut self, name: String, kept: Rc<RefCell<dyn Keeps>>) -> Result<()> {
        if let Some(snapshot) = self.restored.remove(&name) {
            kept.borrow_mut().restore(snapshot)?;
        }
        self.stateful.push((name, kept));
        Ok(())
    }
}

/// A sink on this worker, if it is open here.
struct Open {
    sink: Option<Box<dyn Sink>>,
    metrics: Arc<Metrics>,
    index: usize,
}

impl Open {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.metrics.sinks[self.index].rows.add(batch.num_rows());
        self.sink.as_mut().map_or(Ok(()), |sink| sink.write(batch))
    }

    fn finish(&mut self) -> Result<()> {
        self.sink.as_mut().map_or(Ok(()), |sink| sink.finish())
    }
}

/// A sink as the last operator of a path.
struct Writer {
    open: Rc<RefCell<Open>>,
    /// Rows of earlier epochs may have been written before a crash, and must not be twice.
    not_before: Epoch,
    /// The rows of the epoch, as long as it is not known which epoch that is.
    held: Vec<Batch>,
}

impl Operator for Writer {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        if self.not_before > 0 {
            self.held.push(batch);
            return Ok(());
        }
        self.open.borrow_mut().write(&batch)
    }

    fn on_epoch_end(&mut self, header: EpochHeader, _output: &mut Output) -> Result<()> {
        let mut open = self.open.borrow_mut();
        let held = std::mem::take(&mut self.held);
        if header.epoch >= self.not_before {
            self.not_before = 0;
            held.iter().try_for_each(|batch| open.write(batch))?;
        }
        open.sink.as_mut().map_or(Ok(()), |sink| sink.end_epoch(header))
    }

    /// What a sink has written is its state.
    fn snapshot(&mut self) -> Result<Snapshot> {
        self.open.borrow_mut().sink.as_mut().map_or_else(|| Ok(Snapshot::default()), |sink| sink.commit())
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.open.borrow_mut().sink.as_mut().map_or(Ok(()), |sink| sink.restore(snapshot))
    }
}
