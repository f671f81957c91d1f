//! Golden files: `tests/golden/**/*.slt`, each a small program with its rows, queries and what they give.
//!
//! Every query is run by DataFusion over all rows at once, and streamed with 1, 2 and 4 workers, in random batches and
//! in a random order within the declared disorder, from memory and from Parquet files: equal rows in all. [`script`]
//! says how a file is written.
//!
//! ```text
//! cargo test --test main golden                          all files
//! GOLDEN=windows/ cargo test --test main golden          those whose name has that text
//! UPDATE_GOLDEN=1 cargo test --test main golden          writes what batch execution gives into the files
//! ```

pub(crate) mod input;
pub(crate) mod script;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use lineshaft::Engine;
use lineshaft::engine::metrics::Metrics;
use lineshaft::queries::Program;
use lineshaft::queries::batch::Tables;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::support::compare::{Row, consolidated, difference, floats, rows};
use crate::support::seeded::Seeded;
use crate::support::views::{batch, compile, streamed};
use crate::tidy::files;
use input::SourceRows;
use script::{Block, BlockKind, Script, Ways, aligned, split};

/// Files that are run at a time.
const THREADS: usize = 3;

const WORKERS: [usize; 3] = [1, 2, 4];

/// What is to stand below the rule of a block, by its place.
type Rewritten = (usize, Vec<String>);

/// What is wrong in which line.
type Failure = (usize, String);

/// What the run of a file came to.
#[derive(Default)]
struct Outcome {
    failures: Vec<String>,
    queries: usize,
    errors: usize,
    only_batch: usize,
    /// The text of the file, if it is to be another.
    update: Option<String>,
}

#[test]
fn every_golden_file_gives_its_rows_by_batch_and_streamed() {
    let wanted = std::env::var("GOLDEN").unwrap_or_default();
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut files = files("tests/golden", "slt");
    files.retain(|(path, _)| path.contains(&wanted));
    assert!(!files.is_empty(), "no file has {wanted:?} in its name");
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((path, text)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run(path, text, is_update);
                    outcomes.lock().unwrap().insert(path.as_str(), outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    let sum = |of: fn(&Outcome) -> usize| outcomes.values().map(of).sum::<usize>();
    eprintln!(
        "{} golden files: {} queries, {} of them only by batch, and {} errors",
        outcomes.len(),
        sum(|outcome| outcome.queries),
        sum(|outcome| outcome.only_batch),
        sum(|outcome| outcome.errors)
    );
    let mut failures = Vec::new();
    for (path, outcome) in &outcomes {
        if let Some(text) = &outcome.update {
            std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(path), text).unwrap();
        }
        failures.extend(outcome.failures.iter().map(|failure| format!("{path}:{failure}")));
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// The file that is run; a panic of one is a failure of that one.
fn run(path: &str, text: &str, is_update: bool) -> Outcome {
    let ran = std::panic::catch_unwind(|| match Script::parse(text) {
        Ok(script) => File { path, script: &script, is_update, outcome: Outcome::default() }.run(),
        Err(error) => Outcome { failures: vec![error], ..Outcome::default() },
    });
    ran.unwrap_or_else(|_| Outcome { failures: vec!["1: panicked".into()], ..Outcome::default() })
}

/// A file while it is run.
struct File<'a> {
    path: &'a str,
    script: &'a Script,
    is_update: bool,
    outcome: Outcome,
}

/// A query of the file.
struct Query<'a> {
    /// Of its block.
    place: usize,
    block: &'a Block,
    ways: Ways,
    view: String,
}

impl<'a> File<'a> {
    fn run(mut self) -> Outcome {
        let mut new = self.errors();
        let queries = self.queries();
        if !queries.is_empty() {
            match self.program(&queries) {
                Ok(rows) => new.extend(rows),
                Err((line, error)) => self.fail(line, &error),
            }
        }
        new.sort_by_key(|(place, _)| *place);
        if self.is_update && !new.is_empty() {
            self.outcome.update = Some(self.script.with_expected(&new));
        }
        self.outcome
    }

    fn fail(&mut self, line: usize, message: &str) {
        self.outcome.failures.push(format!("{line}: {message}"));
    }

    fn queries(&self) -> Vec<Query<'a>> {
        let blocks = self.script.blocks.iter().enumerate();
        let queries = blocks.filter_map(|(place, block)| match block.kind {
            BlockKind::Query(ways) => {
                Some(Query { place, block, ways, view: format!("query_{}", block.line) })
            }
            _ => None,
        });
        queries.collect()
    }

    /// The statements that are right, with a connector where they name none.
    fn declarations(&self, from: From<'_>) -> String {
        let statements = self.script.blocks.iter().filter(|block| matches!(block.kind, BlockKind::Statement));
        statements.map(|block| connected(&block.text, from)).collect()
    }

    fn sql(&self, queries: &[Query<'_>], but: Ways, from: From<'_>) -> String {
        let mut sql = self.declarations(from);
        for query in queries.iter().filter(|query| query.ways != but) {
            let text = query.block.text.trim().trim_end_matches(';');
            sql.push_str(&format!("CREATE VIEW {} AS {text};\n", query.view));
        }
        sql
    }

    /// Runs all queries; gives what is to stand below their rules if that is another than what stands there.
    fn program(&mut self, queries: &[Query<'_>]) -> Result<Vec<Rewritten>, Failure> {
        let first = queries[0].block.line;
        let program =
            compile(&self.sql(queries, Ways::OnlyStream, From::Memory)).map_err(|error| (first, error))?;
        let (tables, inputs) = self.inputs(&program)?;
        let mut new = Vec::new();
        let mut expected = BTreeMap::new();
        for query in queries {
            self.outcome.queries += 1;
            self.outcome.only_batch += usize::from(query.ways == Ways::OnlyBatch);
            let lines = query.block.expected.as_deref().unwrap_or_default();
            let mut wanted: Vec<Row> = lines.iter().map(|line| split(line)).collect();
            let mut is_float = vec![true; wanted.first().map_or(0, Vec::len)];
            if query.ways != Ways::OnlyStream {
                let found =
                    batch(&program, &query.view, &inputs).map_err(|error| (query.block.line, error))?;
                is_float = floats(&found);
                let found = rows(&found);
                if self.is_update {
                    if difference(&found, &wanted, &is_float).is_some() || query.block.expected.is_none() {
                        new.push((query.place, aligned(&found)));
                    }
                    wanted = found;
                } else if let Some(difference) = difference(&found, &wanted, &is_float) {
                    self.fail(query.block.line, &format!("batch gives other rows\n{difference}"));
                }
            }
            expected.insert(query.view.clone(), (wanted, is_float));
        }
        let streamed: Vec<&Query<'_>> =
            queries.iter().filter(|query| query.ways != Ways::OnlyBatch).collect();
        if !streamed.is_empty() {
            self.stream(queries, &streamed, &tables, &expected).map_err(|error| (first, error))?;
        }
        Ok(new)
    }

    /// The rows as they are streamed, and those that batch execution gets.
    fn inputs(&self, program: &Program) -> Result<(BTreeMap<String, SourceRows>, Tables), Failure> {
        let mut random = Seeded::of(self.path);
        let (mut streamed, mut inputs) = (BTreeMap::new(), Tables::new());
        for block in &self.script.blocks {
            let BlockKind::Rows(head) = &block.kind else { continue };
            let at = |error: String| (block.line, error);
            let source = program.source(&head.source).ok_or_else(|| at("there is no such source".into()))?;
            let rows = SourceRows::new(source, head, &block.text, &mut random).map_err(at)?;
            inputs.insert(head.source.clone(), vec![rows.on_time.clone()]);
            inputs.insert(format!("{}.late", head.source), vec![rows.late.clone()]);
            if streamed.insert(head.source.clone(), rows).is_some() {
                return Err((block.line, format!("{} has rows already", head.source)));
            }
        }
        for source in program.sources() {
            let name = &source.declaration.name;
            if !inputs.contains_key(name) {
                let none = RecordBatch::new_empty(source.schema());
                inputs.insert(name.clone(), vec![none.clone()]);
                let rows = SourceRows {
                    streamed: vec![none.clone()],
                    on_time: none.clone(),
                    late: none,
                    quarantined: 0,
                    repeated: 0,
                };
                streamed.insert(name.clone(), rows);
            }
        }
        Ok((streamed, inputs))
    }

    fn stream(
        &mut self,
        all: &[Query<'_>],
        queries: &[&Query<'_>],
        inputs: &BTreeMap<String, SourceRows>,
        expected: &BTreeMap<String, (Vec<Row>, Vec<bool>)>,
    ) -> Result<(), String> {
        let tables: Tables =
            inputs.iter().map(|(name, rows)| (name.clone(), rows.streamed.clone())).collect();
        let views: Vec<String> = queries.iter().map(|query| query.view.clone()).collect();
        let mut first: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        let folder = tempfile::tempdir().unwrap();
        let in_memory = WORKERS.map(|workers| (workers, From::Memory));
        let in_files = write_parquet(folder.path(), &tables).then_some((2, From::Parquet(folder.path())));
        for (workers, from) in in_memory.into_iter().chain(in_files) {
            let sql = self.sql(all, Ways::OnlyBatch, from);
            let rows = if from == From::Memory { &tables } else { &Tables::new() };
            let streamed =
                streamed(&sql, &views, rows, workers).map_err(|error| format!("{from}: {error}"))?;
            check_counts(&streamed.metrics, inputs)?;
            for query in queries {
                let (wanted, is_float) = &expected[&query.view];
                let found = match consolidated(&streamed.batches[&query.view]) {
                    Ok(found) => found,
                    Err(error) => {
                        self.fail(query.block.line, &format!("{workers} workers, {from}: {error}"));
                        continue;
                    }
                };
                if let Some(difference) = difference(&found, wanted, is_float) {
                    let message = format!("{workers} workers stream other rows, {from}\n{difference}");
                    self.fail(query.block.line, &message);
                } else if first.get(&query.view).is_some_and(|first| *first != found) {
                    let message = format!("{workers} workers, {from}, give other digits than one");
                    self.fail(query.block.line, &message);
                }
                first.entry(query.view.clone()).or_insert(found);
            }
        }
        Ok(())
    }

    /// Checks what is wrong on purpose; gives the messages that are to stand below their rules.
    fn errors(&mut self) -> Vec<Rewritten> {
        let mut new = Vec::new();
        for (place, block) in self.script.blocks.iter().enumerate() {
            let BlockKind::Error(pattern) = &block.kind else { continue };
            self.outcome.errors += 1;
            let Some(message) = message(&self.declarations(From::Memory), &block.text) else {
                self.fail(block.line, "there is no error");
                continue;
            };
            if !matches(&message, pattern) {
                self.fail(block.line, &format!("{pattern:?} is not in\n{message}"));
            }
            let lines: Vec<String> = message.lines().map(str::to_owned).collect();
            let is_other = block.expected.as_ref().is_some_and(|expected| *expected != lines);
            if self.is_update && (is_other || (block.expected.is_none() && pattern.is_empty())) {
                new.push((place, lines));
            } else if is_other {
                self.fail(block.line, &format!("the message is\n{message}"));
            }
        }
        new
    }
}

/// Where the rows of a source are that names no connector.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From<'a> {
    Memory,
    /// A file of each in this folder.
    Parquet(&'a Path),
}

impl std::fmt::Display for From<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "from memory",
            Self::Parquet(_) => "from Parquet",
        })
    }
}

impl From<'_> {
    fn connector(self, source: &str) -> String {
        match self {
            Self::Memory => "connector = 'memory', bounded = true".into(),
            Self::Parquet(folder) => {
                format!(
                    "connector = 'file', format = 'parquet', path = '{}/{source}.parquet'",
                    folder.display()
                )
            }
        }
    }
}

/// A file of each table, in several row groups; false if there is a type that Parquet has not.
fn write_parquet(folder: &Path, tables: &Tables) -> bool {
    tables.iter().all(|(name, batches)| {
        let file = std::fs::File::create(folder.join(format!("{name}.parquet"))).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(20)).build();
        let schema = batches[0].schema();
        let Ok(mut writer) = ArrowWriter::try_new(file, schema, Some(properties)) else { return false };
        let is_written = batches.iter().all(|batch| writer.write(batch).is_ok());
        is_written && writer.close().is_ok()
    })
}

/// A statement in which a source or table has a connector.
fn connected(statement: &str, from: From<'_>) -> String {
    let text = statement.trim().trim_end_matches(';').trim_end();
    let starts = ["CREATE SOURCE ", "CREATE TABLE "];
    let Some(rest) = starts.iter().find_map(|start| text.strip_prefix(start)) else {
        return format!("{text};\n");
    };
    if text.contains("connector") {
        return format!("{text};\n");
    }
    let name = rest.split(|at: char| at.is_whitespace() || at == '(').next().unwrap_or_default();
    let connector = from.connector(name);
    match text.rfind("WITH (") {
        Some(at) => format!("{}WITH ({connector}, {};\n", &text[..at], &text[at + "WITH (".len()..]),
        None => format!("{text} WITH ({connector});\n"),
    }
}

/// What `check` says of `query.sql`, which stands beside the declarations of the file; without blank lines, which end
/// a block.
fn message(declarations: &str, query: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["declarations.sql", "query.sql"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], declarations).unwrap();
    std::fs::write(&paths[1], query).unwrap();
    let error = Engine::from_files(&paths).err()?.to_string();
    let error = error.replace(&format!("{}/", folder.path().display()), "");
    let lines: Vec<&str> = error.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    Some(lines.join("\n"))
}

/// True if the parts of `pattern` between `.*` stand in `text` one after the other.
fn matches(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    pattern.split(".*").all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// Every row is counted once, at its place.
fn check_counts(metrics: &Metrics, inputs: &BTreeMap<String, SourceRows>) -> Result<(), String> {
    for source in &metrics.sources {
        let Some(rows) = inputs.get(&source.name) else { continue };
        let all = rows.streamed.iter().map(RecordBatch::num_rows).sum::<usize>();
        let expected = [all, rows.late.num_rows(), rows.quarantined, rows.repeated];
        let found = [&source.received, &source.late, &source.quarantined, &source.deduplicated];
        let found = found.map(|count| usize::try_from(count.get()).unwrap());
        if found != expected {
            let what = "received, late, quarantined and deduplicated";
            return Err(format!("{}: {what} are {found:?}, not {expected:?}", source.name));
        }
        let processed = usize::try_from(source.processed.get()).unwrap();
        if processed + found[1..].iter().sum::<usize>() != all {
            return Err(format!("{}: {processed} rows were processed of {found:?}", source.name));
        }
    }
    Ok(())
}
