//! Trains a model on the rows of its training query.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use lineshaft_connectors::Context;
use lineshaft_connectors::memory::Registry;
use lineshaft_engine::clock::Clock;
use lineshaft_engine::run::{self, Settings};
use lineshaft_engine::sink::SinkFactory;
use lineshaft_engine::testing::Collected;
use lineshaft_operators::model::artifact::TrainingData;
use lineshaft_operators::model::{Artifact, LeftOut, Split, Trained, train as fit};
use lineshaft_queries::batch::Tables;
use lineshaft_queries::error::QueryError;
use lineshaft_queries::plan::Outputs;
use lineshaft_queries::{Model, ModelFile, Program};
use tokio::runtime::Handle;

use crate::embed::open_source;
use crate::error::{Error, ProgramErrors};
use crate::memory::Memory;
use crate::models::{Models, figures};

/// A version that was just trained and stored.
pub(crate) struct Fresh {
    pub(crate) artifact: Artifact,
    pub(crate) version: u32,
    /// What it was trained on.
    pub(crate) rows: RecordBatch,
}

/// The training query and what it reads: a changed file trains the model anew.
pub(crate) fn definition(program: &Program, model: &Model) -> Result<String, Error> {
    if let Some(file) = &model.file {
        let (_, hash) = Trained::from_file(&model.training.name, &file.path, &file.options)?;
        return Ok(format!("-- {hash} {:?}", file.options));
    }
    let mut definition = model.query.clone();
    for name in program.inputs_of(model) {
        let Some(source) = program.source(&name) else { continue };
        definition += &format!("\n-- {name}: {:?}", source.declaration.options);
        for file in lineshaft_connectors::file::inputs(&source.declaration) {
            let about = std::fs::metadata(&file).map_err(|error| Error::file("read", &file, error))?;
            let changed = about.modified().map_err(|error| Error::file("read", &file, error))?;
            definition += &format!("\n-- {} {} {changed:?}", file.display(), about.len());
        }
    }
    Ok(definition)
}

/// Trains a model and stores it as the next version.
pub(crate) fn train(models: &Models, model: &Model, definition: &str) -> Result<Fresh, Error> {
    if let Some(file) = &model.file {
        return import(models, model, file, definition);
    }
    let (program, name) = (&models.program, &model.training.name);
    tracing::info!("model {name:?}: training {}", model.training.algorithm.name());
    let tables = read(program, model, models.workers, &models.runtime)?;
    let rows = block_on(&models.runtime, program.training_rows(model, &tables));
    let rows = rows.map_err(|error| Error::Query(format!("model {name:?}: {}", error.strip_backtrace())))?;
    let begun = models.clock.now();
    let trained = fit(&model.training, &rows).map_err(|error| {
        let error = QueryError::invalid(error.to_string(), model.span);
        ProgramErrors::new(program.files(), vec![error])
    })?;
    let done = models.clock.now();
    let time = if let Split::Time(column) = &model.training.split { column.as_deref() } else { None };
    let data = TrainingData::of(&rows, time, done - begun);
    let data = data.map_err(|error| Error::Query(format!("model {name:?}: {error}")))?;
    let artifact = Artifact::new(trained, definition, done).with_data(data);
    let version = artifact.save(&models.data)?;
    artifact.write_events(&models.data, version)?;
    tracing::info!(
        "model {name:?}: version {version}, {} rows, {} held back, {} left out; {}",
        artifact.trained.rows,
        artifact.trained.test_rows,
        artifact.trained.dropped_rows,
        figures(&artifact)
    );
    if let Some(told) = left_out(&artifact.trained.left_out) {
        tracing::warn!("model {name:?}: {told}");
    }
    Ok(Fresh { artifact, version, rows })
}

/// The keys without a model, the first ones with the reason.
fn left_out(keys: &[LeftOut]) -> Option<String> {
    let first: Vec<String> = keys.iter().take(3).map(|(key, reason)| format!("{key:?}: {reason}")).collect();
    let number = keys.len();
    (number > 0).then(|| format!("{number} keys determine no model and score to NULL: {}", first.join("; ")))
}

/// Reads the model of a file and stores it as the next version.
fn import(models: &Models, model: &Model, file: &ModelFile, definition: &str) -> Result<Fresh, Error> {
    let name = &model.training.name;
    let (trained, _) = Trained::from_file(name, &file.path, &file.options)?;
    let artifact = Artifact::new(trained, definition, models.clock.now());
    let version = artifact.save(&models.data)?;
    tracing::info!("model {name:?}: version {version} of {}", file.path.display());
    Ok(Fresh { artifact, version, rows: RecordBatch::new_empty(Schema::empty().into()) })
}

/// All rows of all sources of a training query.
fn read(program: &Program, model: &Model, workers: usize, runtime: &Handle) -> Result<Tables, Error> {
    let subscriptions: Vec<String> = program.inputs_of(model).into_iter().collect();
    let outputs = Outputs { subscriptions, only_subscriptions: true, ..Outputs::default() };
    let planned = program.plan(Path::new(""), &outputs);
    let planned = planned.map_err(|errors| ProgramErrors::new(program.files(), errors))?;
    let context = Context::new(runtime.clone(), Registry::default());
    let mut sources = Vec::new();
    for declaration in &planned.sources {
        let source = open_source(program, declaration, &context);
        sources.push(source.map_err(|errors| ProgramErrors::new(program.files(), errors))?);
    }
    let collected: BTreeMap<String, Collected> =
        planned.sinks.iter().map(|sink| (sink.name.clone(), Collected::default())).collect();
    let sinks =
        planned.sinks.iter().map(|sink| Arc::new(collected[&sink.name].clone()) as Arc<dyn SinkFactory>);
    let settings = Settings {
        workers,
        clock: Clock::system(),
        runtime: runtime.clone(),
        checkpoints: None,
        journal: None,
        input_bytes: Memory::default().input(),
        spill: None,
        swaps: None,
    };
    let running = run::start(planned.plan, sources, sinks.collect(), settings)?;
    let metrics = running.metrics();
    running.wait()?;
    for source in &metrics.sources {
        let (late, bad) = (source.late.get(), source.quarantined.get());
        if late + bad > 0 {
            let name = &model.training.name;
            tracing::warn!(
                "model {name:?} learns without {late} late and {bad} bad rows of source {:?}",
                source.name
            );
        }
    }
    Ok(collected.into_iter().map(|(name, rows)| (name, rows.batches())).collect())
}

/// Waits for a future on `runtime`, also from within another runtime.
pub(crate) fn block_on<T: Send>(runtime: &Handle, future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| runtime.block_on(future));
        waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
