//! The same program over history: sources read files instead of their connectors, sinks write Parquet instead of
//! theirs, and nothing is sent anywhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray, TimestampMicrosecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use lineshaft_connectors::memory::Registry;
use lineshaft_connectors::{Context, file, is_bounded};
use lineshaft_engine::checkpoint::CheckpointSettings;
use lineshaft_engine::declaration::{Comparison, Condition, Options, SinkDeclaration, SourceDeclaration};
use lineshaft_engine::disk::FileSystem;
use lineshaft_engine::source::{Chunk, ChunkSender, Decoded, Decoder, Partition, Source};
use lineshaft_engine::time::EventTime;
use lineshaft_queries::error::QueryError;
use lineshaft_queries::plan::{CHANGES, Outputs, PlannedProgram};

use crate::durable::{facts_of, identity_of};
use crate::embed::{Engine, Running, new_runtime, open_source};
use crate::error::{Error, ProgramErrors};

/// What a backfill reads and where it writes.
#[derive(Clone, Debug, Default)]
pub struct Backfill {
    /// Name of a source and its history: a file, folder or glob of Parquet, CSV or JSON lines.
    pub sources: Vec<(String, PathBuf)>,
    /// Each sink writes below `<output>/<sink>/`.
    pub output: PathBuf,
    /// Only rows at or after it.
    pub from: Option<EventTime>,
    /// Only rows before it.
    pub to: Option<EventTime>,
    /// How often a checkpoint is written, from which the same backfill goes on after a stop or a crash; every 30 s
    /// without it.
    pub checkpoint_every: Option<Duration>,
}

/// Waiting for the workers and writing their state takes little of that.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// The folder of the checkpoints, in that of the output.
const CHECKPOINTS: &str = ".checkpoint";

/// Options of a source that say how its records are written, which history written by hand may share.
const KEPT: [&str; 4] = ["timestamp_format", "delimiter", "header", "null"];

impl Engine {
    /// Starts the program over history.
    ///
    /// # Errors
    /// If a source has no history, a file is not there, or a model cannot be trained.
    pub fn backfill(mut self, backfill: &Backfill) -> Result<Running, Error> {
        let unknown: Vec<QueryError> = backfill
            .sources
            .iter()
            .filter(|(name, _)| self.program.source(name).is_none())
            .map(|(name, _)| {
                QueryError::invalid(format!("there is no source {name:?} to read history for"), None)
            })
            .collect();
        if !unknown.is_empty() {
            return Err(ProgramErrors::new(self.program.files(), unknown).into());
        }
        self.data.clone_from(&backfill.output);
        let runtime = new_runtime()?;
        let models = self.models(runtime.handle())?;
        let compact = self.columnar_history(backfill);
        let outputs = Outputs { keep_history: true, close_gates: true, compact, ..self.outputs.clone() };
        let mut planned = self.plan(&outputs)?;
        let mut errors = Vec::new();
        let context = Context::new(runtime.handle().clone(), Registry::default());
        for (node, declaration) in planned.plan.sources.iter_mut().zip(&mut planned.sources) {
            let history = backfill.sources.iter().find(|(name, _)| *name == declaration.name);
            match history {
                Some((_, path)) => {
                    read_history(declaration, path);
                    if let Some(rule) = &mut node.watermark {
                        (rule.idle_after, rule.max_future) = (None, None);
                    }
                }
                None if is_bounded(declaration) => {}
                None => errors.push(no_history(&self, declaration)),
            }
            let column = node.watermark.as_ref().map(|rule| rule.column);
            want_span(declaration, backfill);
            if let (Some(column), true) = (column, backfill.from.is_some() || backfill.to.is_some()) {
                match open_source(&self.program, declaration, &context) {
                    Ok(source) => {
                        let clipped = Clipped { source, column, from: backfill.from, to: backfill.to };
                        self.add_source(&declaration.name.clone(), Box::new(clipped));
                    }
                    Err(more) => errors.extend(more),
                }
            }
        }
        if !errors.is_empty() {
            return Err(ProgramErrors::new(self.program.files(), errors).into());
        }
        for sink in &mut planned.sinks {
            write_history(sink);
        }
        let handle = runtime.handle().clone();
        let checkpoints = self.checkpoints(backfill, &planned)?;
        self.start_planned(planned, handle, Some(runtime), checkpoints, models)
    }

    /// Where checkpoints are written; nowhere if a sink cannot take back what it was given.
    fn checkpoints(
        &self,
        backfill: &Backfill,
        planned: &PlannedProgram,
    ) -> Result<Option<CheckpointSettings>, Error> {
        let is_parquet = |sink: &SinkDeclaration| {
            !self.sinks.contains_key(&sink.name)
                && sink.options.get("connector").is_some_and(|name| name == "parquet")
        };
        if !planned.sinks.iter().all(is_parquet) {
            return Ok(None);
        }
        let outputs = backfill.output.clone();
        std::fs::create_dir_all(&outputs).map_err(|error| Error::file("create", &outputs, error))?;
        Ok(Some(CheckpointSettings {
            disk: Arc::new(FileSystem),
            folder: outputs.join(CHECKPOINTS),
            every: backfill.checkpoint_every.unwrap_or(CHECKPOINT_EVERY),
            identity: self.identity(backfill, planned)?,
        }))
    }

    /// What the rows of a backfill depend on: statements, span, and the files with their lengths.
    fn identity(&self, backfill: &Backfill, planned: &PlannedProgram) -> Result<String, Error> {
        let mut facts = format!("\n-- {:?} {:?}", backfill.from, backfill.to);
        for source in &planned.sources {
            facts += &format!("\n-- {}: {:?}", source.name, source.options);
            for file in file::inputs(source) {
                facts += &facts_of(&file)?;
            }
        }
        Ok(identity_of(self.program.files(), &planned.plan, &facts))
    }
}

impl Engine {
    /// Sources that give text as dictionaries.
    fn columnar_history(&self, backfill: &Backfill) -> Vec<String> {
        let mut columnar = Vec::new();
        for source in self.program.sources() {
            let mut declaration = source.declaration.clone();
            if let Some((_, path)) = backfill.sources.iter().find(|(name, _)| *name == declaration.name) {
                read_history(&mut declaration, path);
            }
            if file::has_dictionaries(&declaration) {
                columnar.push(declaration.name);
            }
        }
        columnar
    }
}

/// Only the span of the backfill is wanted, of which a connector may know what lies outside.
fn want_span(declaration: &mut SourceDeclaration, backfill: &Backfill) {
    let Some(column) = declaration.event_time else { return };
    let condition = |comparison, time: EventTime| -> Condition {
        Condition { column, comparison, value: Arc::new(TimestampMicrosecondArray::from(vec![time])) }
    };
    let from = backfill.from.map(|time| condition(Comparison::GreaterOrEqual, time));
    let to = backfill.to.map(|time| condition(Comparison::Less, time));
    let span: Vec<Condition> = from.into_iter().chain(to).collect();
    if span.is_empty() {
        return;
    }
    if declaration.wanted.is_empty() {
        declaration.wanted.push(Vec::new());
    }
    declaration.wanted.iter_mut().for_each(|conditions| conditions.extend(span.iter().cloned()));
}

fn no_history(engine: &Engine, declaration: &SourceDeclaration) -> QueryError {
    let message = format!("source {:?} never ends, and no history is given for it", declaration.name);
    let place = engine.program.source(&declaration.name).map(|source| source.statement.name.span);
    let help = format!("add --source {}=PATH with Parquet, CSV or JSON lines", declaration.name);
    QueryError::invalid(message, place).with_help(help)
}

/// Files instead of the connector. What the connector gave beside the record is a column of the history.
fn read_history(declaration: &mut SourceDeclaration, path: &Path) {
    let mut options: Options = declaration
        .options
        .iter()
        .filter(|(name, _)| KEPT.contains(&name.as_str()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    options.insert("connector".into(), "file".into());
    options.insert("path".into(), path.display().to_string());
    declaration.options = options;
    // A path on the command line begins where the command was given.
    declaration.folder = PathBuf::new();
    let given: Vec<&str> = file::METADATA.iter().map(|column| column.name).collect();
    let recorded = file::parquet_columns(declaration);
    let schema = Arc::clone(&declaration.schema);
    declaration.metadata.retain(|column| {
        let name = schema.field(*column).name();
        given.contains(&name.as_str()) && !recorded.contains(name)
    });
}

/// Parquet instead of the connector; where the sink is Parquet already, it keeps how the files are parted.
fn write_history(sink: &mut SinkDeclaration) {
    let kept = |name: &str| {
        matches!(name, "partition_by" | "compression" | "max_rows" | "compact_files" | "compact_size")
    };
    let is_parquet = sink.options.get("connector").is_some_and(|name| name == "parquet");
    if sink.options.get("connector").is_some_and(|name| name == "memory") {
        return;
    }
    if !is_parquet {
        sink.options.clear();
    }
    let name = sink.name.clone();
    let kept_in = |folder: &str| sink.options.get("path").is_some_and(|path| path.starts_with(folder));
    let folder = ["aside/", CHANGES].into_iter().find(|folder| kept_in(folder)).unwrap_or_default();
    let path = format!("{folder}{name}");
    sink.options.retain(|option, _| kept(option));
    sink.options.insert("connector".into(), "parquet".into());
    sink.options.insert("path".into(), path);
}

/// A source of which only the rows within a span of event time are seen.
struct Clipped {
    source: Box<dyn Source>,
    column: usize,
    from: Option<EventTime>,
    to: Option<EventTime>,
}

impl Source for Clipped {
    fn run(
        self: Box<Self>,
        chunks: ChunkSender,
        runtime: tokio::runtime::Handle,
    ) -> lineshaft_engine::Result<()> {
        self.source.run(chunks, runtime)
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        let decoder = self.source.decoder();
        Arc::new(ClippedDecoder { decoder, column: self.column, from: self.from, to: self.to })
    }

    fn is_bounded(&self) -> bool {
        self.source.is_bounded()
    }

    fn partitions(&self) -> Vec<Partition> {
        self.source.partitions()
    }

    fn loads(&self) -> bool {
        self.source.loads()
    }

    fn go_on(&mut self, position: &[u8]) -> lineshaft_engine::Result<()> {
        self.source.go_on(position)
    }

    fn repeats(&self) -> bool {
        self.source.repeats()
    }

    fn total_rows(&self) -> Option<u64> {
        self.source.total_rows()
    }

    fn total_bytes(&self) -> Option<u64> {
        self.source.total_bytes()
    }
}

struct ClippedDecoder {
    decoder: Arc<dyn Decoder>,
    column: usize,
    from: Option<EventTime>,
    to: Option<EventTime>,
}

impl Decoder for ClippedDecoder {
    fn schema(&self) -> SchemaRef {
        self.decoder.schema()
    }

    fn decode(
        &self,
        chunk: Chunk,
    ) -> lineshaft_engine::Result<Box<dyn Iterator<Item = lineshaft_engine::Result<Decoded>>>> {
        let (column, from, to) = (self.column, self.from.unwrap_or(i64::MIN), self.to.unwrap_or(i64::MAX));
        let clip = move |decoded: Decoded| {
            let times = decoded.rows.column(column).as_primitive::<TimestampMicrosecondType>();
            // A row without event time is not outside: it goes where such rows go.
            let within: BooleanArray =
                times.iter().map(|time| Some(time.is_none_or(|time| (from..to).contains(&time)))).collect();
            Ok(Decoded { rows: filter_record_batch(&decoded.rows, &within)?, ..decoded })
        };
        Ok(Box::new(self.decoder.decode(chunk)?.map(move |decoded| decoded.and_then(&clip))))
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_connectors::generator;

    use super::Clipped;
    use crate::Engine;

    #[test]
    fn a_source_with_a_span_goes_on_or_repeats_as_without() {
        for (rows, repeats) in [("", false), (", rows = 5", true)] {
            let program = format!(
                "CREATE SOURCE readings (ts TIMESTAMP) WITH (connector = 'generator'{rows});
                CREATE SINK times WITH (connector = 'memory') AS SELECT ts FROM readings;"
            );
            let engine = Engine::from_sql(&program).unwrap();
            let mut declaration = engine.program.source("readings").unwrap().declaration.clone();
            declaration.needed = vec![0];
            let source = generator::source(&declaration).unwrap();
            let mut clipped = Clipped { source, column: 0, from: None, to: None };
            let clipped: &mut dyn lineshaft_engine::source::Source = &mut clipped;
            assert_eq!(clipped.repeats(), repeats);
            assert!(!clipped.loads());
            assert!(clipped.go_on(b"nowhere").is_err());
        }
    }
}
