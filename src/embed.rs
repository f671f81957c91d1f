//! `Engine`: a program with its connectors, ready to start; and `Running`: one that runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lineshaft_connectors::memory::{Input, Registry};
use lineshaft_connectors::{self as connectors, Context};
use lineshaft_engine::checkpoint::CheckpointSettings;
use lineshaft_engine::clock::Clock;
use lineshaft_engine::declaration::{OptionError, SinkDeclaration, SourceDeclaration};
use lineshaft_engine::metrics::Metrics;
use lineshaft_engine::run::{self, Settings};
use lineshaft_engine::sink::SinkFactory;
use lineshaft_engine::source::Source;
use lineshaft_engine::spill::SpillSettings;
use lineshaft_engine::{Batch, Error as EngineError};
use lineshaft_queries::Program;
use lineshaft_queries::error::QueryError;
use lineshaft_queries::explain::explain;
use lineshaft_queries::parse::ProcessEnvironment;
use lineshaft_queries::plan::{Outputs, PlannedProgram};
use lineshaft_queries::span::SourceFile;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;

use crate::catalog::Catalog;
use crate::declared::Declared;
use crate::durable::{Durability, Kept};
use crate::error::{Error, ProgramErrors};
use crate::history;
use crate::memory::Memory;
use crate::models::{Keeper, Models};
use crate::view::View;

/// The most worker threads of a program.
pub const MAX_WORKERS: u16 = 256;
/// Threads for connectors, if the caller brings no runtime.
const CONNECTOR_THREADS: usize = 2;

/// The folder of the data if nothing else is said.
const DATA: &str = "lineshaft-data";
/// The folder in it for state that does not fit into memory.
const SPILL: &str = ".spill";
/// Bytes of such state, at most: 16 GiB.
pub(crate) const SPILL_LIMIT: u64 = 16 << 30;

/// A program that is checked and not yet started.
pub struct Engine {
    pub(crate) program: Arc<Program>,
    pub(crate) data: PathBuf,
    pub(crate) workers: usize,
    pub(crate) outputs: Outputs,
    clock: Clock,
    runtime: Option<Handle>,
    memory: Registry,
    sources: HashMap<String, Box<dyn Source>>,
    pub(crate) sinks: HashMap<String, Arc<dyn SinkFactory>>,
    pub(crate) durability: Option<Durability>,
    memory_limit: Memory,
    spill_limit: u64,
}

impl Engine {
    /// Reads a program from text; relative paths begin in the working directory.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_sql(sql: &str) -> Result<Self, Error> {
        Self::from_source_files(vec![SourceFile::new("program.sql", sql)])
    }

    /// Reads a program from query files; they form one program.
    ///
    /// # Errors
    /// A file that cannot be read, or everything that is wrong with the program.
    pub fn from_files(paths: &[impl AsRef<Path>]) -> Result<Self, Error> {
        let read = |path: &Path| match std::fs::read_to_string(path) {
            Ok(text) => Ok(SourceFile::new(path.display().to_string(), text)),
            Err(source) => Err(Error::ProgramFile { path: path.display().to_string(), source }),
        };
        Self::from_source_files(paths.iter().map(|path| read(path.as_ref())).collect::<Result<_, _>>()?)
    }

    fn from_source_files(files: Vec<SourceFile>) -> Result<Self, Error> {
        let program = lineshaft_queries::compile(&files, &Catalog, &ProcessEnvironment)
            .map_err(|errors| ProgramErrors::new(&files, errors))?;
        let engine = Self {
            program: Arc::new(program),
            data: PathBuf::from(DATA),
            workers: 1,
            outputs: Outputs { keep_history: true, ..Outputs::default() },
            clock: Clock::system(),
            runtime: None,
            memory: Registry::default(),
            sources: HashMap::new(),
            sinks: HashMap::new(),
            durability: None,
            memory_limit: Memory::default(),
            spill_limit: SPILL_LIMIT,
        };
        // What cannot be run as a stream is told now, with the other mistakes.
        let checked = engine.program.check(&engine.data, &engine.outputs);
        checked.map_err(|errors| ProgramErrors::new(engine.program.files(), errors))?;
        Ok(engine)
    }

    /// The data directory: history, models, and where relative paths of sinks begin.
    pub fn data(&mut self, folder: impl Into<PathBuf>) -> &mut Self {
        self.data = folder.into();
        self
    }

    /// The number of worker threads: at least one, and at most [`MAX_WORKERS`].
    pub fn workers(&mut self, workers: usize) -> &mut Self {
        self.workers = workers.clamp(1, usize::from(MAX_WORKERS));
        self
    }

    /// What comes in is kept in the data directory before it is worked on or acknowledged, with checkpoints of the state: after a
    /// stop or a crash the same program goes on where it was. Otherwise it begins anew at every start.
    pub fn durable(&mut self, durability: Durability) -> &mut Self {
        self.durability = Some(durability);
        self
    }

    /// Limits the input that is on its way and the state of windows and joins by time. A quarter of this is raw input that the
    /// workers have not finished, and a source is not read while they have that much; with [`Engine::durable`] more waits in the
    /// journal. Half of it is state: what is more goes to files in the data directory, see [`Engine::spill`]. Keys, models, other
    /// state and what a step takes while it works are not limited by it. Without it 512 MiB.
    pub fn memory(&mut self, limit: Memory) -> &mut Self {
        self.memory_limit = limit;
        self
    }

    /// Limits the bytes of state that are in files, since they do not fit into memory. When these are reached, or the disk is full,
    /// further state stays in memory. Without it 16 GiB.
    pub fn spill(&mut self, bytes: u64) -> &mut Self {
        self.spill_limit = bytes;
        self
    }

    /// Connectors run on this tokio runtime (multi-threaded) rather than on one of their own.
    pub fn runtime(&mut self, runtime: Handle) -> &mut Self {
        self.runtime = Some(runtime);
        self
    }

    /// The wall clock; tests set it.
    pub fn clock(&mut self, clock: Clock) -> &mut Self {
        self.clock = clock;
        self
    }

    /// The way of rows into a source of connector `memory`; `None` if all of its inputs were closed.
    pub fn input(&self, channel: &str) -> Option<Input> {
        self.memory.input(channel)
    }

    /// Rows of a source come from `source` rather than from its declared connector. Its decoder gives all declared
    /// columns; they are found by name.
    pub fn add_source(&mut self, name: &str, source: Box<dyn Source>) -> &mut Self {
        self.sources.insert(name.to_owned(), source);
        self
    }

    /// Rows of a sink go to `sink` rather than to its declared connector.
    pub fn add_sink(&mut self, name: &str, sink: Arc<dyn SinkFactory>) -> &mut Self {
        self.sinks.insert(name.to_owned(), sink);
        self
    }

    /// The rows of a source, view or log as Arrow batches. The channel is bounded: a subscriber who does not read
    /// makes the engine wait. It ends when the program ends.
    pub fn subscribe(&mut self, relation: &str) -> mpsc::Receiver<Batch> {
        if !self.outputs.subscriptions.iter().any(|known| known == relation) {
            self.outputs.subscriptions.push(relation.to_owned());
        }
        self.memory.subscribe(relation)
    }

    /// The rows of a source, view or log, readable at any time while the program runs.
    pub fn read(&mut self, relation: &str) -> View {
        if !self.outputs.subscriptions.iter().any(|known| known == relation) {
            self.outputs.subscriptions.push(relation.to_owned());
        }
        let view = View::default();
        self.add_sink(relation, Arc::new(view.clone()));
        view
    }

    /// The program as text; with `view` only what leads to it.
    ///
    /// # Errors
    /// If there is no such view.
    pub fn explain(&self, view: Option<&str>) -> Result<String, Error> {
        let planned = match view {
            None => self.plan(&Outputs { keep_history: false, told: self.told(), ..self.outputs.clone() })?,
            Some(view) if !self.program.has_relation(view) => {
                let known = self.program.views().collect::<Vec<_>>().join(", ");
                return Err(Error::Query(format!("there is no view {view:?}; the views are {known}")));
            }
            Some(view) => {
                let subscriptions = vec![view.to_owned()];
                let outputs = Outputs { subscriptions, only_subscriptions: true, ..Outputs::default() };
                self.plan(&outputs)?
            }
        };
        Ok(explain(&self.program, &planned))
    }

    /// True if the program has no sink, actuator, materialised view or subscription: it would do nothing.
    pub fn is_idle(&self) -> bool {
        self.program.is_idle() && self.outputs.subscriptions.is_empty()
    }

    /// Trains what is to be trained, opens the connectors, and starts.
    ///
    /// # Errors
    /// If a file is not there, a model cannot be trained, or threads cannot be started.
    pub fn start(self) -> Result<Running, Error> {
        let owned = match &self.runtime {
            Some(_) => None,
            None => Some(new_runtime()?),
        };
        let runtime = match (&self.runtime, &owned) {
            (Some(handle), _) => handle.clone(),
            (None, Some(runtime)) => runtime.handle().clone(),
            (None, None) => return Err(Error::Query("no runtime".into())),
        };
        let models = self.models(&runtime)?;
        let (compact, told) = (self.columnar_sources(), self.told());
        let planned = self.plan(&Outputs { compact, told, ..self.outputs.clone() })?;
        self.start_planned(planned, runtime, owned, None, models)
    }

    /// The models, trained or loaded.
    pub(crate) fn models(&self, runtime: &Handle) -> Result<Arc<Models>, Error> {
        Models::start(&self.program, self.data.clone(), self.workers, runtime, self.clock.clone())
    }

    /// Starts a plan of this program.
    pub(crate) fn start_planned(
        mut self,
        planned: PlannedProgram,
        runtime: Handle,
        owned: Option<Runtime>,
        checkpoints: Option<CheckpointSettings>,
        models: Arc<Models>,
    ) -> Result<Running, Error> {
        // Before anything listens, connects or writes: a data directory has one engine.
        let lock = self.lock(&planned)?;
        let context = Context::new(runtime.clone(), self.memory.clone());
        let mut errors = Vec::new();
        let mut sources = Vec::new();
        for declaration in &planned.sources {
            match self.sources.remove(&declaration.name) {
                Some(source) => sources.push(Declared::fit(source, declaration)?),
                None => match open_source(&self.program, declaration, &context) {
                    Ok(source) => sources.push(source),
                    Err(more) => errors.extend(more),
                },
            }
        }
        let kept = match checkpoints {
            None if errors.is_empty() => self.kept(&planned, &sources, lock)?,
            checkpoints => Kept { checkpoints, journal: None },
        };
        if !kept.is_begun() {
            history::forget_changes(&self.data, &planned.sinks)?;
        }
        history::record(&self.data, &planned.sinks)?;
        for (name, sink) in models.drift_sinks() {
            self.sinks.insert(name, sink);
        }
        let mut sinks: Vec<Arc<dyn SinkFactory>> = Vec::new();
        for declaration in &planned.sinks {
            match self.sinks.remove(&declaration.name) {
                Some(sink) => sinks.push(sink),
                None => match open_sink(&self.program, declaration, &context) {
                    Ok(sink) => sinks.push(sink),
                    Err(more) => errors.extend(more),
                },
            }
        }
        if !errors.is_empty() {
            return Err(ProgramErrors::new(self.program.files(), errors).into());
        }
        let Kept { checkpoints, journal } = kept;
        let swaps = models.swaps()?;
        let settings = Settings {
            workers: self.workers,
            clock: self.clock,
            runtime,
            checkpoints,
            journal,
            input_bytes: self.memory_limit.input(),
            spill: Some(SpillSettings {
                folder: self.data.join(SPILL),
                memory: self.memory_limit.state(),
                disk: self.spill_limit,
            }),
            swaps: Some(swaps.clone()),
        };
        let running = run::start(planned.plan, sources, sinks, settings)?;
        Ok(Running { running, _keeper: models.keep(swaps)?, runtime: owned })
    }

    /// Sources that give text as dictionaries.
    fn columnar_sources(&self) -> Vec<String> {
        let is_replaced = |name: &str| self.sources.contains_key(name);
        let sources = self.program.sources().filter(|source| !is_replaced(&source.declaration.name));
        let columnar = sources.filter(|source| connectors::file::has_dictionaries(&source.declaration));
        columnar.map(|source| source.declaration.name.clone()).collect()
    }

    /// Actuators whose connector tells what has become of their commands.
    fn told(&self) -> Vec<String> {
        let is_declared = |name: &str| !self.sinks.contains_key(name);
        let told = self
            .program
            .actuators()
            .filter(|(name, options)| is_declared(name) && connectors::tells_outcomes(options));
        told.map(|(name, _)| name.to_owned()).collect()
    }

    pub(crate) fn plan(&self, outputs: &Outputs) -> Result<PlannedProgram, Error> {
        let planned = self.program.plan(&self.data, outputs);
        Ok(planned.map_err(|errors| ProgramErrors::new(self.program.files(), errors))?)
    }
}

pub(crate) fn new_runtime() -> Result<Runtime, Error> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(CONNECTOR_THREADS).thread_name("lineshaft-io").enable_all().build();
    runtime.map_err(|error| EngineError::Plan(format!("could not start the connectors: {error}")).into())
}

pub(crate) fn open_source(
    program: &Program,
    declaration: &SourceDeclaration,
    context: &Context,
) -> Result<Box<dyn Source>, Vec<QueryError>> {
    connectors::source(declaration, context).map_err(|errors| placed(program, &declaration.name, errors))
}

fn open_sink(
    program: &Program,
    declaration: &SinkDeclaration,
    context: &Context,
) -> Result<Arc<dyn SinkFactory>, Vec<QueryError>> {
    let opened = connectors::sink(declaration, context).map(Arc::from);
    opened.map_err(|errors| placed(program, &declaration.name, errors))
}

fn placed(program: &Program, name: &str, errors: Vec<OptionError>) -> Vec<QueryError> {
    errors.into_iter().map(|error| program.option_error(name, error)).collect()
}

/// A program that runs. Dropping it asks the program to stop.
pub struct Running {
    running: run::Running,
    _keeper: Keeper,
    /// After `running`: connectors need it until they have stopped.
    runtime: Option<Runtime>,
}

impl Running {
    /// Asks the program to stop: sources stop reading, what was read is finished and flushed.
    pub fn stop(&self) {
        self.running.stop();
    }

    /// A function that asks the program to stop, for signal handlers and other threads.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        self.running.stopper()
    }

    /// What went where so far.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.running.metrics()
    }

    /// True once the program has ended.
    pub fn is_finished(&self) -> bool {
        self.running.is_finished()
    }

    /// Waits for the end of the program, at most so long; true once it has ended.
    pub fn wait_for(&self, timeout: Duration) -> bool {
        self.running.wait_for(timeout)
    }

    /// Waits until the program has ended: all bounded sources are at their end, or it was stopped.
    ///
    /// # Errors
    /// What ended the program early.
    pub fn wait(self) -> Result<(), Error> {
        let result = self.running.wait();
        if let Some(runtime) = self.runtime {
            // From within another runtime it could not be dropped the ordinary way.
            runtime.shutdown_background();
        }
        Ok(result?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sink_of_an_actuator_knows_its_time_to_live() {
        let engine = Engine::from_sql(
            "CREATE SOURCE wishes (ts TIMESTAMP, line TEXT, speed DOUBLE) WITH (connector = 'generator', rows = 1);
             CREATE ACTUATOR drive WITH (connector = 'mqtt', url = 'mqtt://localhost', topic = 'set', mode = 'auto')
                 (line TEXT, speed DOUBLE BETWEEN 10 AND 40) KEY (line) TTL INTERVAL '2' SECOND;
             INSERT INTO drive SELECT line, speed FROM wishes;",
        )
        .unwrap();
        let planned = engine.plan(&engine.outputs).unwrap();
        let drive = planned.sinks.iter().find(|sink| sink.name == "drive").unwrap();
        assert_eq!(drive.options["ttl"], "2000000 us");
        assert_eq!(connectors::check_sink(drive), []);
    }
}
