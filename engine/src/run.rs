//! Starts a plan with its connectors, and the handle to a program that runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use timely::communication::Config as Communication;
use timely::dataflow::ProbeHandle;
use timely::worker::Worker as TimelyWorker;

use crate::checkpoint::{CheckpointSettings, Checkpoints, HandOver};
use crate::clock::Clock;
use crate::control::Control;
use crate::dataflow::{Program, build};
use crate::deduplicate::Deduplicator;
use crate::error::{Error, Result};
use crate::intake::{Feed, Input, Intake, Keys, Line, Packets, Shedding, set_totals};
use crate::journal::{self, Journal};
use crate::metrics::Metrics;
use crate::plan::{Plan, SourceNode};
use crate::sink::{Run, SinkFactory};
use crate::source::{ChunkSender, Source};
use crate::spill::{Spill, SpillSettings};
use crate::swap::Swaps;
use crate::time::Epoch;
use crate::watermark::SourceClock;

/// How long connectors may take to end: 5 s, looked at every 5 ms.
const CONNECTOR_TRIES: u32 = 1000;
/// See [`CONNECTOR_TRIES`].
const CONNECTOR_TRY: Duration = Duration::from_millis(5);

/// How a program runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Worker threads.
    pub workers: usize,
    /// The wall clock.
    pub clock: Clock,
    /// Where connectors run their async tasks.
    pub runtime: tokio::runtime::Handle,
    /// Where and when checkpoints are taken, for a program whose sources all end; the number of workers is then that of
    /// the checkpoint from which it goes on.
    pub checkpoints: Option<CheckpointSettings>,
    /// Where what comes in is kept until the next checkpoint, for a program with sources that do not give it again; needs
    /// checkpoints.
    pub journal: Option<journal::Settings>,
    /// Bytes of raw input that the workers may have at a time, about: a chunk is given to them while they have less.
    pub input_bytes: u64,
    /// How much state the operators may have in memory, and where the rest of it goes; `None`: all of it in memory.
    pub spill: Option<SpillSettings>,
    /// What is swapped between two epochs.
    pub swaps: Option<Swaps>,
}

/// A program that runs. Dropping it stops the program without waiting for it.
#[derive(Debug)]
pub struct Running {
    control: Arc<Control>,
    metrics: Arc<Metrics>,
    supervisor: Option<JoinHandle<Result<()>>>,
    /// Disconnected once the program has ended.
    ended: Mutex<Receiver<()>>,
}

/// Starts `plan`. `sources` and `sinks` are the connectors of the plan's sources and sinks, in the same order.
///
/// # Errors
/// If the numbers of connectors do not fit the plan, or threads cannot be started.
pub fn start(
    plan: Plan,
    sources: Vec<Box<dyn Source>>,
    sinks: Vec<Arc<dyn SinkFactory>>,
    mut settings: Settings,
) -> Result<Running> {
    let (wired, intake, connectors) = wire(plan, sources, sinks, &mut settings)?;
    let Wired { program, control, checkpoints } = wired;
    let metrics = Arc::clone(&program.metrics);
    let connectors: Vec<_> =
        connectors.into_iter().map(|it| it.run(&settings, &control)).collect::<Result<_>>()?;
    let intake = settings.runtime.spawn(intake.run());
    let journal = settings.journal.map(|journal| journal.folder);
    let (running, ended) = channel();
    let supervisor = {
        let control = Arc::clone(&control);
        spawn("lineshaft", move || {
            let _running = running;
            run_workers(program, settings.workers);
            intake.abort();
            if let Some(checkpoints) = &checkpoints {
                checkpoints.close();
            }
            wait_for(&connectors);
            match (control.take_failure(), checkpoints) {
                (Some(failure), _) => Err(failure),
                (None, Some(checkpoints)) if !control.is_stopping() => {
                    // Without checkpoints the journal would be worked on again from its beginning.
                    journal.map_or(Ok(()), |folder| delete(&folder))?;
                    checkpoints.store.delete()
                }
                (None, Some(_)) => {
                    tracing::info!("stopped before the end: the same command goes on from here");
                    Ok(())
                }
                (None, None) => Ok(()),
            }
        })?
    };
    Ok(Running { control, metrics, supervisor: Some(supervisor), ended: Mutex::new(ended) })
}

/// A program whose parts know each other, and do not run yet.
pub(crate) struct Wired {
    pub(crate) program: Arc<Program>,
    pub(crate) control: Arc<Control>,
    pub(crate) checkpoints: Option<Arc<Checkpoints>>,
}

/// Opens what is kept of `plan`, and connects its parts. Where it goes on from a checkpoint, the number of workers is that of
/// the checkpoint.
///
/// # Errors
/// As for [`start`].
pub(crate) fn wire(
    plan: Plan,
    sources: Vec<Box<dyn Source>>,
    sinks: Vec<Arc<dyn SinkFactory>>,
    settings: &mut Settings,
) -> Result<(Wired, Intake, Vec<Connector>)> {
    if sources.len() != plan.sources.len() || sinks.len() != plan.sinks.len() {
        return Err(Error::Plan("every source and sink of a plan needs its connector".into()));
    }
    let Kept { checkpoints, mut input } = Kept::open(settings)?;
    let restored = checkpoints.as_ref().and_then(|checkpoints| checkpoints.restored.clone());
    let control = Arc::new(Control::default());
    let names = plan.sources.iter().map(|source| source.name.clone());
    let sink_names = plan.sinks.iter().map(|sink| sink.name.clone());
    let metrics = Metrics::new(names, sink_names, Arc::clone(&plan.failed));
    let mut lines = Vec::with_capacity(sources.len());
    let mut senders = Vec::with_capacity(sources.len());
    for (metrics, (source, node)) in metrics.sources.iter().zip(sources.iter().zip(&plan.sources)) {
        set_totals(metrics, source.total_rows(), source.total_bytes());
        let (mut line, chunks) = line(source.as_ref(), node, settings)?;
        if let Some(restored) = &restored {
            line.restore(&restored.source(&node.name), metrics)?;
        }
        lines.push(line);
        senders.push(chunks);
    }
    if let (Some(swaps), Some(table)) = (&settings.swaps, restored.as_ref().and_then(|it| it.swaps())) {
        swaps.restore(&table)?;
    }
    if let Some(input) = &mut input {
        let known = restored
            .as_ref()
            .map(|restored| Ok::<_, Error>((restored.next_epoch()?, restored.kept_below()?)));
        input.review(
            known.transpose()?.unwrap_or_default(),
            &mut lines,
            &metrics,
            settings.swaps.as_ref(),
        )?;
    }
    let mut connectors = Vec::with_capacity(sources.len());
    // A program that ends by itself reads its other files to the end when one cannot be read.
    let stops = sources.iter().any(|source| !source.is_bounded());
    let begun = Run {
        is_live: settings.journal.is_some()
            || (checkpoints.is_none() && sources.iter().any(|source| !source.is_bounded())),
        incarnation: input.as_ref().map_or(0, Input::incarnation),
        clock: settings.clock.clone(),
        control: Arc::clone(&control),
    };
    sinks.iter().for_each(|sink| sink.begin(&begun));
    for (((mut source, node), line), chunks) in
        sources.into_iter().zip(&plan.sources).zip(&lines).zip(senders)
    {
        if let Some(position) = &line.position {
            source.go_on(position)?;
        }
        source.knows(line.keys.clone().into_vec());
        connectors.push(Connector { name: node.name.clone(), source, chunks, stops });
    }
    let feeds: Vec<_> = lines.iter().map(|line| Arc::clone(&line.feed)).collect();
    Feed::introduce(&feeds, &plan);
    let program = Program {
        plan,
        feeds,
        sinks,
        control: Arc::clone(&control),
        metrics: Arc::clone(&metrics),
        restored,
        checkpoints: checkpoints.clone(),
        replayed_below: input.as_ref().map_or(0, Input::replayed_below),
        spill: (settings.spill.clone())
            .map(|spill| Spill::new(spill, Arc::clone(&metrics.state)))
            .unwrap_or_default(),
    };
    let intake = Intake::new(lines, Arc::clone(&control), metrics, settings, checkpoints.clone(), input)?;
    Ok((Wired { program: Arc::new(program), control, checkpoints }, intake, connectors))
}

/// What a program goes on from.
struct Kept {
    checkpoints: Option<Arc<Checkpoints>>,
    input: Option<Input>,
}

impl Kept {
    fn open(settings: &mut Settings) -> Result<Self> {
        let Some(wanted) = settings.checkpoints.take() else {
            return Ok(Self { checkpoints: None, input: None });
        };
        // The journal first: its lock keeps other engines away.
        let identity = wanted.identity.clone();
        let journal = settings.journal.clone();
        let locked = journal.map(Journal::lock).transpose()?;
        let checkpoints = Checkpoints::open(wanted, &mut settings.workers)?;
        let known = checkpoints.restored.as_ref().map_or(Ok(0), |restored| restored.kept_below())?;
        let input = locked.map(|locked| Input::open(&locked, known, &identity)).transpose()?;
        Ok(Self { checkpoints: Some(checkpoints), input })
    }
}

fn delete(folder: &Path) -> Result<()> {
    std::fs::remove_dir_all(folder).map_err(|error| Error::file("delete", folder, error))
}

impl Running {
    /// Asks the program to stop: sources stop reading, what was read is finished and flushed.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// A function that asks the program to stop; for signal handlers and other threads.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let control = Arc::clone(&self.control);
        move || control.stop()
    }

    /// What went where so far.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// True once the program has ended.
    pub fn is_finished(&self) -> bool {
        self.supervisor.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end of the program, at most so long; true once it has ended.
    pub fn wait_for(&self, timeout: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
    }

    /// Waits until the program has ended: all bounded sources are at their end, or it was stopped.
    ///
    /// # Errors
    /// What ended the program early.
    pub fn wait(mut self) -> Result<()> {
        match self.supervisor.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => Err(Error::Panic { worker: 0, message: message(panic.as_ref()) }),
            None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.stop();
    }
}

/// Connectors end by themselves once nobody takes their chunks; their runtime must outlive them.
fn wait_for(connectors: &[JoinHandle<()>]) {
    for _ in 0..CONNECTOR_TRIES {
        if connectors.iter().all(JoinHandle::is_finished) {
            return;
        }
        std::thread::sleep(CONNECTOR_TRY);
    }
    tracing::warn!("a connector did not stop in time and was left behind");
}

fn spawn<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(f).map_err(|error| Error::Plan(format!("could not start a thread: {error}")))
}

fn line(source: &dyn Source, node: &SourceNode, settings: &Settings) -> Result<(Line, ChunkSender)> {
    let partitions = source.partitions();
    let clock =
        SourceClock::new(node.watermark.clone(), &partitions, source.is_bounded(), settings.clock.now());
    let rule = node.deduplicate.clone();
    let deduplicator = rule.map(|rule| Deduplicator::new(rule, &node.schema)).transpose()?;
    let (sender, chunks) = ChunkSender::channel();
    let line = Line {
        feed: Arc::new(Feed::new(source.decoder(), clock, deduplicator)),
        chunks,
        is_bounded: source.is_bounded(),
        is_table: node.is_table,
        loads: source.loads(),
        is_loaded: false,
        can_idle: !source.is_bounded()
            && node.watermark.as_ref().is_some_and(|rule| rule.idle_after.is_some()),
        head: None,
        has_ended: false,
        given: 0,
        skip: 0,
        repeats: source.repeats(),
        position: None,
        packets: Packets::default(),
        keys: Keys::default(),
        columns: node.schema.fields().len(),
        overload: node.overload.clone(),
        shedding: Shedding::default(),
        waiting_chunks: 0,
        waiting_bytes: 0,
    };
    Ok((line, sender))
}

/// A source, and where its chunks go.
pub(crate) struct Connector {
    name: String,
    source: Box<dyn Source>,
    pub(crate) chunks: ChunkSender,
    /// Its failure stops the others, too.
    stops: bool,
}

impl Connector {
    /// Runs it on a thread of its own. Its failure is the failure of the program, after what was read is finished.
    fn run(self, settings: &Settings, control: &Arc<Control>) -> Result<JoinHandle<()>> {
        let Self { name, source, chunks, stops } = self;
        let (runtime, control) = (settings.runtime.clone(), Arc::clone(control));
        spawn(&name.clone(), move || {
            let watch = chunks.clone();
            let run = catch_unwind(AssertUnwindSafe(|| source.run(chunks, runtime)));
            match run {
                Ok(Ok(())) => {}
                // An error while the program stops is the stop itself.
                Ok(Err(_)) if watch.is_stopped() => {}
                Ok(Err(error)) => control.fail_in_order(error, stops),
                Err(panic) => control.fail(Error::connector("source", name, message(panic.as_ref()))),
            }
        })
    }
}

/// Runs the workers until the dataflow is done or something failed.
fn run_workers(program: Arc<Program>, workers: usize) {
    let control = Arc::clone(&program.control);
    let config = timely::Config {
        communication: if workers > 1 { Communication::Process(workers) } else { Communication::Thread },
        worker: timely::WorkerConfig::default(),
    };
    let guards = timely::execute(config, move |worker| {
        let index = worker.index();
        let work = catch_unwind(AssertUnwindSafe(|| run_worker(&program, worker)));
        match work {
            Ok(Ok(())) => {}
            Ok(Err(error)) => program.control.fail(error),
            Err(panic) => {
                program.control.fail(Error::Panic { worker: index, message: message(panic.as_ref()) });
            }
        }
        if program.control.has_failed() {
            for dataflow in worker.installed_dataflows() {
                worker.drop_dataflow(dataflow);
            }
        }
    });
    match guards {
        Ok(guards) => drop(guards.join()),
        Err(error) => control.fail(Error::Plan(format!("could not start the workers: {error}"))),
    }
}

fn run_worker(program: &Program, worker: &mut TimelyWorker) -> Result<()> {
    let mut work = WorkerLoop::build(program, worker)?;
    while !work.is_done() && !program.control.has_failed() {
        worker.step_or_park(work.patience());
        work.after_step(program, worker)?;
    }
    Ok(())
}

/// What a worker does beside the steps of its dataflow.
pub(crate) struct WorkerLoop {
    probe: ProbeHandle<Epoch>,
    checkpoints: Option<HandOver>,
}

impl WorkerLoop {
    pub(crate) fn build(program: &Program, worker: &mut TimelyWorker) -> Result<Self> {
        let (probe, stateful) = worker.dataflow(|scope| build(program, scope))?;
        let checkpoints = program.checkpoints.clone();
        Ok(Self { probe, checkpoints: checkpoints.map(|all| HandOver::new(all, worker.index(), stateful)) })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.probe.done()
    }

    /// How long the worker may sleep if its dataflow has nothing to do.
    fn patience(&self) -> Option<Duration> {
        self.checkpoints.as_ref().and_then(HandOver::patience)
    }

    /// Hands over a part of a checkpoint that is wanted, and tells what is complete.
    pub(crate) fn after_step(&mut self, program: &Program, worker: &TimelyWorker) -> Result<()> {
        if let Some(checkpoints) = &mut self.checkpoints
            && checkpoints.go_on()?
        {
            program.control.changed.notify_one();
        }
        if worker.index() == 0 {
            let frontier = self.probe.with_frontier(|frontier| frontier.first().copied());
            program.control.complete(frontier.unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

/// What a panic says.
pub fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests;
