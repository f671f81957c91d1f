//! A changelog join: a million rows against a thousand reference rows that change, and what its state costs.
//!
//! ```text
//! cargo bench -p lineshaft-operators --bench changelog              # 1 and 2 workers
//! cargo bench -p lineshaft-operators --bench changelog -- 2         # so many workers
//! ```
//!
//! Each of 100 batches of 10,000 rows is followed by a change of ten reference rows. A run is a process of its own, so
//! that its memory is that of one run.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::clock::Clock;
use lineshaft_engine::plan::{Input, Node, Origin, Overload, Plan, Route, SinkNode, SourceNode, Work};
use lineshaft_engine::run::{self, Settings};
use lineshaft_engine::sink::{Sink, SinkFactory, Worker};
use lineshaft_engine::source::{Chunk, ChunkSender, Decoder, Payload, Source};
use lineshaft_engine::testing::Undecoded;
use lineshaft_engine::time::EpochHeader;
use lineshaft_engine::{Batch, Result};
use lineshaft_operators::changelog::join::{ChangelogJoin, JoinKind, JoinOptions};
use lineshaft_operators::changelog::upsert::Upsert;

/// The allocator of the `lineshaft` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: i64 = 1_000_000;
const BATCH: i64 = 10_000;
const KEYS: i64 = 1_000;

/// Adds the weights up: at the end each row is joined once.
#[derive(Clone, Default)]
struct Count(Arc<AtomicI64>);

impl SinkFactory for Count {
    fn open(&self, _schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }

    fn is_parallel(&self) -> bool {
        true
    }
}

impl Sink for Count {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let weights = batch.weights().map_or(0, |weights| weights.values().iter().sum());
        self.0.fetch_add(weights, Ordering::Relaxed);
        Ok(())
    }

    /// At the end of the last epoch nothing is under way: what is in memory is state.
    fn end_epoch(&mut self, _header: EpochHeader) -> Result<()> {
        AT_LAST.store(memory("VmRSS:"), Ordering::Relaxed);
        Ok(())
    }
}

/// Memory in use at the end of the last epoch, bytes.
static AT_LAST: AtomicU64 = AtomicU64::new(0);

/// Gives its batches in step with the others: each has its number as its time.
struct InStep(Vec<RecordBatch>);

impl Source for InStep {
    fn run(self: Box<Self>, chunks: ChunkSender, _runtime: tokio::runtime::Handle) -> Result<()> {
        for (number, batch) in (0..).zip(self.0) {
            chunks.send(Chunk { near: Some(number), ..Chunk::new(Payload::Rows(batch)) })?;
        }
        Ok(())
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::new(Undecoded(self.0[0].schema()))
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

fn batch(keys: Vec<i64>, values: Vec<f64>) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from(keys));
    RecordBatch::try_from_iter([("key", keys), ("value", Arc::new(Float64Array::from(values)) as ArrayRef)])
        .expect("columns of one length")
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn rows() -> Vec<RecordBatch> {
    let part = |part: i64| {
        let rows = part * BATCH..(part + 1) * BATCH;
        batch(rows.clone().map(|row| row * 7919 % KEYS).collect(), rows.map(|row| row as f64).collect())
    };
    (0..ROWS / BATCH).map(part).collect()
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn reference() -> Vec<RecordBatch> {
    let first = batch((0..KEYS).collect(), vec![0.0; usize::try_from(KEYS).expect("small")]);
    let change =
        |part: i64| batch((0..10).map(|key| (part * 10 + key) % KEYS).collect(), vec![(part + 1) as f64; 10]);
    std::iter::once(first).chain((0..ROWS / BATCH).map(change)).collect()
}

fn plan() -> Plan {
    let schema = reference()[0].schema();
    let source = |name: &str| SourceNode {
        name: name.into(),
        schema: Arc::clone(&schema),
        watermark: None,
        deduplicate: None,
        is_table: false,
        is_changelog: false,
        overload: Overload::default(),
    };
    let node = |name: &str, inputs: Vec<Input>, schema: &SchemaRef, work: Work| Node {
        name: name.into(),
        inputs,
        outputs: vec![Arc::clone(schema)],
        is_stateless: false,
        takes_any_order: true,
        keeps_order: false,
        is_changelog: true,
        work,
    };
    let options = JoinOptions {
        kind: JoinKind::Inner,
        keys: [vec![0], vec![0]],
        schemas: [Arc::clone(&schema), Arc::clone(&schema)],
        null_equals_null: false,
        is_not_in: false,
        residual: None,
    };
    let fields: Vec<_> = schema.fields().iter().chain(schema.fields()).cloned().collect();
    let joined: SchemaRef = Arc::new(arrow::datatypes::Schema::new(fields));
    let upsert = {
        let schema = Arc::clone(&schema);
        Work::Operator(Arc::new(move |_| Ok(Box::new(Upsert::new(Arc::clone(&schema), vec![0])?))))
    };
    let join = Work::Changelog(Arc::new(ChangelogJoin::new(options)));
    let by_key = Input { from: Origin::Source(1), route: Route::ByKey(vec![0]) };
    let local = |from| Input { from, route: Route::Local };
    let inputs = vec![local(Origin::Source(0)), local(Origin::Node(0, 0))];
    Plan {
        sources: vec![source("rows"), source("reference")],
        nodes: vec![node("table", vec![by_key], &schema, upsert), node("join", inputs, &joined, join)],
        sinks: vec![SinkNode { name: "count".into(), from: Origin::Node(1, 0), schema: joined }],
        ..Plan::default()
    }
}

/// Bytes.
fn memory(which: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() * 1024
}

#[expect(clippy::disallowed_methods, reason = "a bench measures")]
#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn run(workers: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (rows, reference, count) = (rows(), reference(), Count::default());
    let before = memory("VmRSS:");
    let settings = Settings {
        workers,
        clock: Clock::system(),
        runtime: runtime.handle().clone(),
        checkpoints: None,
        journal: None,
        input_bytes: u64::MAX,
        spill: None,
        swaps: None,
    };
    let start = Instant::now();
    let running = run::start(
        plan(),
        vec![Box::new(InStep(rows)), Box::new(InStep(reference))],
        vec![Arc::new(count.clone())],
        settings,
    );
    running.expect("a program").wait().expect("it ends");
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(count.0.load(Ordering::Relaxed), ROWS, "each row is joined once");
    // The rows that were there before have become state: what is more than before is beyond them.
    let beyond = |bytes: u64| bytes.saturating_sub(before) as f64 / ROWS as f64;
    let (peak, state) = (beyond(memory("VmHWM:")), beyond(AT_LAST.load(Ordering::Relaxed)));
    let rate = ROWS as f64 / seconds / 1e6;
    let text = format!("| {workers} | {rate:.2} | {state:.0} | {peak:.0} |\n");
    std::io::stdout().write_all(text.as_bytes()).expect("a standard output");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().and_then(|workers| workers.parse().ok()) {
        Some(workers) => run(workers),
        None => {
            let head =
                "| workers | M rows/s | state, bytes a row beyond its 16 | at most |\n|---|---|---|---|\n";
            std::io::stdout().write_all(head.as_bytes()).expect("a standard output");
            for workers in ["1", "2"] {
                let this = std::env::current_exe().expect("this program");
                // Memory that is free is given back at once, so that what is in use can be seen.
                let mut child = std::process::Command::new(this);
                child.arg(workers).env("MIMALLOC_PURGE_DELAY", "0").status().expect("it runs");
            }
        }
    }
}
