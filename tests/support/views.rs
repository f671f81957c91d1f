//! The rows of the views of a program: by DataFusion over whole tables, and streamed.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use lineshaft::Engine;
use lineshaft::engine::declaration::{OptionError, SinkDeclaration, SourceDeclaration};
use lineshaft::engine::metrics::Metrics;
use lineshaft::engine::sink::{Sink, SinkFactory, Worker};
use lineshaft::engine::testing::Rows;
use lineshaft::engine::{Batch, Result as EngineResult};
use lineshaft::queries::batch::Tables;
use lineshaft::queries::parse::ProcessEnvironment;
use lineshaft::queries::span::SourceFile;
use lineshaft::queries::{Connectors, Program};
use tokio::runtime::Runtime;

/// One runtime for all programs of a test run: starting one costs more than a small program takes.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// Every connector is there and every source ends: the rows are in memory.
struct AnyConnector;

impl Connectors for AnyConnector {
    fn check_source(&self, _declaration: &SourceDeclaration) -> Vec<OptionError> {
        Vec::new()
    }

    fn check_sink(&self, _declaration: &SinkDeclaration) -> Vec<OptionError> {
        Vec::new()
    }

    fn is_bounded(&self, _declaration: &SourceDeclaration) -> bool {
        true
    }
}

/// A program as batch execution takes it: also what cannot be streamed.
pub(crate) fn compile(sql: &str) -> Result<Program, String> {
    let files = [SourceFile::new("program.sql", sql)];
    lineshaft::queries::compile(&files, &AnyConnector, &ProcessEnvironment)
        .map_err(|errors| errors.iter().map(|error| format!("error: {error}\n")).collect())
}

/// What a view gives over all rows at once.
pub(crate) fn batch(program: &Program, view: &str, tables: &Tables) -> Result<Vec<RecordBatch>, String> {
    RUNTIME.block_on(program.batch(view, tables)).map_err(|error| format!("batch: {error}"))
}

/// What was streamed.
pub(crate) struct Streamed {
    /// By view.
    pub(crate) batches: BTreeMap<String, Vec<Batch>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What `views` give when the rows are streamed, each batch of `tables` at a time. A source that is not among the
/// tables has no rows.
pub(crate) fn streamed(
    sql: &str,
    views: &[String],
    tables: &Tables,
    workers: usize,
) -> Result<Streamed, String> {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Engine::from_sql(sql).map_err(|error| error.to_string())?;
    engine.data(folder.path()).workers(workers).runtime(RUNTIME.handle().clone());
    for (name, batches) in tables.iter().filter(|(_, batches)| !batches.is_empty()) {
        engine.add_source(name, Rows::new(batches.clone()));
    }
    let mut sinks = BTreeMap::new();
    for view in views {
        // A subscription makes the view an output; its rows go to a sink that keeps the weights.
        drop(engine.subscribe(view));
        let kept = Kept::default();
        engine.add_sink(view, Arc::new(kept.clone()));
        sinks.insert(view.clone(), kept);
    }
    let running = engine.start().map_err(|error| error.to_string())?;
    let metrics = running.metrics();
    running.wait().map_err(|error| lineshaft::report::chain(&error))?;
    let batches = sinks.into_iter().map(|(view, kept)| (view, std::mem::take(&mut *kept.0.lock().unwrap())));
    Ok(Streamed { batches: batches.collect(), metrics })
}

/// A sink that keeps batches with their weights.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Batch>>>);

impl SinkFactory for Kept {
    fn open(&self, _schema: SchemaRef, _worker: Worker) -> EngineResult<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Kept {
    fn write(&mut self, batch: &Batch) -> EngineResult<()> {
        self.0.lock().unwrap().push(batch.clone());
        Ok(())
    }
}
