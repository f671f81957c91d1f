//! NEXMark: events per second and peak memory of each query.
//!
//! ```text
//! cargo bench --bench nexmark                   # all queries, a million events, one worker
//! cargo bench --bench nexmark -- q5 1e7 2       # queries whose name has that word, events, workers
//! ```
//!
//! The events are written once as Parquet, below the folder of temporary files. Every query runs in a process of its
//! own over all events, those of the sources that it does not read included in the figure; its rows are counted and
//! thrown away. `tests/nexmark.rs` compares the queries with batch execution.

#[path = "generator.rs"]
mod generator;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use lineshaft::engine::sink::{Sink, SinkFactory, Worker};
use lineshaft::engine::{Batch, Result};
use lineshaft::{Engine, Error};
use parquet::arrow::ArrowWriter;

/// The allocator of the `lineshaft` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events of a second of event time.
const RATE: i64 = 10_000;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [first, query, folder, workers] = arguments.as_slice()
        && first == "child"
    {
        return Ok(child(query, Path::new(folder), workers.parse()?)?);
    }
    let wanted = arguments.first().cloned().unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "a number of events")]
    let events = arguments.get(1).map_or(Ok(1e6), |events| events.parse::<f64>())? as i64;
    let workers = arguments.get(2).map_or("1", String::as_str);
    let folder = prepare(events)?;
    say("| query | events/s | peak MB | rows |\n|---|---|---|---|\n")?;
    for query in queries()?.iter().filter(|query| query.contains(&wanted)) {
        let child = Command::new(std::env::current_exe()?)
            .args(["child", query, &folder.display().to_string(), workers])
            .output()?;
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        let figures: Vec<f64> = said.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
        let [seconds, megabytes, rows] = figures[..] else {
            return Err(format!("{query}: {}", String::from_utf8_lossy(&child.stderr)).into());
        };
        #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
        let rate = events as f64 / seconds;
        say(&format!("| {query} | {rate:.0} | {megabytes:.0} | {rows} |\n"))?;
    }
    Ok(())
}

fn say(text: &str) -> std::io::Result<()> {
    std::io::stdout().write_all(text.as_bytes())
}

fn queries_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/nexmark/queries")
}

/// The names of the queries, by number.
fn queries() -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(queries_folder())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".sql").map(str::to_owned));
    }
    names.sort_by_key(|name| name[1..].parse::<u32>().unwrap_or(u32::MAX));
    Ok(names)
}

/// Writes the events, unless they are there.
fn prepare(events: i64) -> std::result::Result<PathBuf, Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join("lineshaft-nexmark").join(events.to_string());
    if folder.join("done").exists() {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder)?;
    for (name, rows) in generator::generate(20_260_101, events, RATE) {
        let file = File::create(folder.join(format!("{name}.parquet")))?;
        let mut writer = ArrowWriter::try_new(file, rows.schema(), None)?;
        writer.write(&rows)?;
        writer.close()?;
    }
    File::create(folder.join("done"))?;
    Ok(folder)
}

/// Runs one query and prints seconds, megabytes and rows.
fn child(query: &str, folder: &Path, workers: usize) -> std::result::Result<(), Error> {
    let mut sql = generator::declarations(|name| {
        format!("connector = 'file', path = '{}/{name}.parquet', format = 'parquet'", folder.display())
    });
    sql.push_str(&std::fs::read_to_string(queries_folder().join(format!("{query}.sql"))).unwrap_or_default());
    let counted = Counted::default();
    let data = folder.join("data");
    #[expect(clippy::disallowed_methods, reason = "a bench measures")]
    let start = Instant::now();
    let mut engine = Engine::from_sql(&sql)?;
    engine.data(data).workers(workers).add_sink(query, Arc::new(counted.clone()));
    // A subscription makes the view an output; its rows go to the sink that counts them.
    drop(engine.subscribe(query));
    engine.start()?.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    let rows = counted.0.load(Ordering::Relaxed);
    if say(&format!("{seconds} {} {rows}\n", peak_megabytes())).is_err() {
        std::process::exit(1);
    }
    Ok(())
}

fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes =
        peak.and_then(|line| line.split_whitespace().next()).and_then(|kb| kb.parse::<f64>().ok());
    kilobytes.unwrap_or_default() / 1024.0
}

/// A sink that counts rows.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

impl SinkFactory for Counted {
    fn open(&self, _schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Counted {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.0.fetch_add(batch.num_rows(), Ordering::Relaxed);
        Ok(())
    }
}
