//! A program of changelog operators that crashes at a checkpoint, goes on, and gives what one gives that did not.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use crate::batch::Batch;
use crate::changelog::index::{self, reduced};
use crate::changelog::{ChangelogOperator, Inputs, Rows};
use crate::checkpoint::{CheckpointSettings, number};
use crate::clock::Clock;
use crate::control::lock;
use crate::disk::FileSystem;
use crate::error::{Error, Result};
use crate::operator::Snapshot;
use crate::plan::{Input, Node, Origin, Plan, Route, SinkNode, SourceNode, Work};
use crate::run::{Settings, start};
use crate::sink::{Sink, SinkFactory, Worker};
use crate::source::{Chunk, ChunkSender, Decoder, Payload, Source};
use crate::testing::{Undecoded, lines, table};

/// Of each key in column 0 the greatest row.
struct Greatest;

impl ChangelogOperator for Greatest {
    fn render<'scope>(&self, inputs: &mut dyn Inputs<'scope>) -> Result<Rows<'scope>> {
        let greatest = reduced(inputs.index(0, &[0])?, "greatest", |rows, output| {
            output.extend(rows.iter().rfind(|(_, weight)| *weight > 0).map(|(row, _)| (row.to_vec(), 1)));
        });
        Ok(index::rows(greatest))
    }
}

/// Pairs of rows with the same column 0.
struct Pairs;

impl ChangelogOperator for Pairs {
    fn render<'scope>(&self, inputs: &mut dyn Inputs<'scope>) -> Result<Rows<'scope>> {
        let (left, right) = (inputs.index(0, &[0])?, inputs.index(1, &[0])?);
        Ok(left.join_core(right, |_, left, right| Some([left, right].concat())))
    }
}

/// Each row once.
struct Distinct;

impl ChangelogOperator for Distinct {
    fn render<'scope>(&self, inputs: &mut dyn Inputs<'scope>) -> Result<Rows<'scope>> {
        Ok(index::distinct(inputs.rows(0)?))
    }
}

/// What was written, with weights; it crashes once when it is to write for the last of `crashes`.
#[derive(Clone, Default)]
struct Written {
    rows: Arc<Mutex<Vec<String>>>,
    crashes: Arc<Mutex<Vec<usize>>>,
}

struct Open {
    of: Written,
    writes: usize,
}

impl SinkFactory for Written {
    fn open(&self, _schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Open { of: self.clone(), writes: 0 }))
    }
}

impl Sink for Open {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.writes += 1;
        if lock(&self.of.crashes).pop_if(|crash| *crash == self.writes).is_some() {
            return Err(Error::Plan("the crash".into()));
        }
        let weights = (0..batch.num_rows()).map(|row| batch.weights().map_or(1, |w| w.value(row)));
        let rows = weights.zip(lines([batch.rows()])).map(|(weight, row)| format!("{weight:+} {row}"));
        lock(&self.of.rows).extend(rows);
        Ok(())
    }

    fn commit(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        snapshot.put("rows", table(&format!("rows:i\n{}", lock(&self.of.rows).len())));
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let rows = number(&snapshot.take("rows").unwrap(), "rows")?;
        lock(&self.of.rows).truncate(usize::try_from(rows).unwrap());
        Ok(())
    }
}

/// Chunks of rows, the n-th of every source at about the same time.
struct InStep(Vec<RecordBatch>);

impl Source for InStep {
    fn run(self: Box<Self>, chunks: ChunkSender, _runtime: tokio::runtime::Handle) -> Result<()> {
        for (near, rows) in (0..).zip(self.0) {
            chunks.send(Chunk { near: Some(near), ..Chunk::new(Payload::Rows(rows)) })?;
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

fn source(name: &str, rows: &[RecordBatch], is_table: bool) -> SourceNode {
    SourceNode {
        name: name.into(),
        schema: rows[0].schema(),
        watermark: None,
        deduplicate: None,
        is_table,
        is_changelog: false,
        overload: crate::plan::Overload::default(),
    }
}

fn node(inputs: Vec<Origin>, output: &SchemaRef, operator: impl ChangelogOperator + 'static) -> Node {
    let inputs = inputs.into_iter().map(|from| Input { from, route: Route::Local }).collect();
    Node {
        name: "node".into(),
        inputs,
        outputs: vec![Arc::clone(output)],
        is_stateless: false,
        is_changelog: true,
        takes_any_order: false,
        keeps_order: false,
        work: Work::Changelog(Arc::new(operator)),
    }
}

/// Limits and places of machines, and readings of them: the greatest reading of each with its limits, and these once.
fn plan(inputs: &[Vec<RecordBatch>; 3]) -> Plan {
    let [readings, limits, places] = inputs;
    let (reading, limit) = (readings[0].schema(), limits[0].schema());
    let fields = [&reading, &limit].into_iter().flat_map(|schema| schema.fields().iter().cloned());
    let pair: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let greatest = Origin::Node(0, 0);
    let nodes = vec![
        node(vec![Origin::Source(0)], &reading, Greatest),
        node(vec![greatest, Origin::Source(1)], &pair, Pairs),
        node(vec![greatest], &reading, Distinct),
        // The same origin twice, by the same key, and a table.
        node(vec![Origin::Source(2), Origin::Source(2)], &pair, Pairs),
        node(vec![Origin::Node(1, 0)], &pair, Distinct),
    ];
    let sink = |node: usize, schema: &SchemaRef| SinkNode {
        name: format!("sink {node}"),
        from: Origin::Node(node, 0),
        schema: Arc::clone(schema),
    };
    Plan {
        sources: vec![
            source("readings", readings, false),
            source("limits", limits, false),
            source("places", places, true),
        ],
        sinks: [(0, &reading), (1, &pair), (2, &reading), (3, &pair), (4, &pair)]
            .map(|(n, s)| sink(n, s))
            .into(),
        nodes,
        failed: Arc::default(),
    }
}

/// Ten chunks of readings, six of limits and one of a table, made from a seed.
fn inputs(seed: u64) -> [Vec<RecordBatch>; 3] {
    let mut state = seed;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut chunks = |count: usize, rows: usize| -> Vec<RecordBatch> {
        let mut chunk = || {
            let rows = (0..rows).map(|_| format!("m{} {}\n", next(5), next(50))).collect::<String>();
            table(&format!("machine:s x:i\n{rows}"))
        };
        (0..count).map(|_| chunk()).collect()
    };
    [chunks(10, 7), chunks(6, 2), chunks(1, 5)]
}

fn folder(workers: usize) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lineshaft-changes-{workers}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs it once, with one checkpoint after the other if there is a folder for them.
fn run_once(
    inputs: &[Vec<RecordBatch>; 3],
    sinks: &[Written],
    workers: usize,
    root: Option<&Path>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let checkpoints = root.map(|root| CheckpointSettings {
        disk: Arc::new(FileSystem),
        folder: root.join(".checkpoint"),
        every: Duration::ZERO,
        identity: "test".into(),
    });
    let (clock, runtime) = (Clock::fixed(0), runtime.handle().clone());
    let settings = Settings {
        workers,
        clock,
        runtime,
        checkpoints,
        journal: None,
        input_bytes: u64::MAX,
        spill: None,
        swaps: None,
    };
    let sources = inputs.iter().map(|rows| Box::new(InStep(rows.clone())) as _).collect();
    let sinks = sinks.iter().map(|sink| Arc::new(sink.clone()) as _).collect();
    start(plan(inputs), sources, sinks, settings)?.wait()
}

fn five_sinks() -> Vec<Written> {
    (0..5).map(|_| Written::default()).collect()
}

fn changes(sinks: &[Written]) -> Vec<Vec<String>> {
    sinks.iter().map(|sink| lock(&sink.rows).clone()).collect()
}

#[test]
fn a_program_that_crashes_and_goes_on_gives_the_same_changes_with_the_same_weights() {
    for (seed, workers) in [(1, 1), (2, 2), (3, 4)] {
        let inputs = inputs(seed);
        let sinks = five_sinks();
        run_once(&inputs, &sinks, workers, None).unwrap();
        let expected = changes(&sinks);
        assert!(expected.iter().all(|rows| rows.len() > 4), "{expected:?}");
        assert!(expected[1].iter().any(|row| row.starts_with('-')), "{expected:?}");

        let (root, sinks) = (folder(workers), five_sinks());
        *lock(&sinks[0].crashes) = vec![2, 2, 3];
        let mut crashes = 0;
        while let Err(crash) = run_once(&inputs, &sinks, workers, Some(&root)) {
            assert_eq!(crash.to_string(), "the crash");
            crashes += 1;
        }
        assert!(crashes > 1);
        assert_eq!(changes(&sinks), expected);
        assert!(!root.join(".checkpoint").exists());
        std::fs::remove_dir_all(root).unwrap();
    }
}
