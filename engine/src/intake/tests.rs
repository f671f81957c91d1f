//! Input that comes faster than it is worked on.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::batch::Batch;
use crate::checkpoint::CheckpointSettings;
use crate::clock::Clock;
use crate::disk::FileSystem;
use crate::error::Result;
use crate::journal;
use crate::metrics::Metrics;
use crate::plan::{Origin, Overload, Plan, SinkNode, SourceNode};
use crate::run::{Running, Settings, start};
use crate::sink::{Sink, SinkFactory, Worker};
use crate::source::{Chunk, ChunkSender, Decoded, Decoder, Message, Payload, Source};
use crate::testing::table;

/// Bytes of a message: there are so many that little may be on its way.
const MESSAGE: usize = 16 << 10;
/// What may be on its way in these tests.
const INPUT: u64 = 256 << 10;

/// Machines of which there are readings.
const KEYS: i64 = 5;

/// A machine, and a number that only grows.
fn schema() -> SchemaRef {
    table("machine:i n:i\n1 1").schema()
}

/// A live source of numbered messages, each of which waits until it is kept. It is then silent until the program stops.
struct Numbers {
    numbers: std::ops::Range<i64>,
    kept: Arc<Signal>,
}

/// A number that is waited for.
#[derive(Debug, Default)]
struct Signal(Mutex<i64>, Condvar);

impl Signal {
    fn add(&self, n: i64) {
        *self.0.lock().unwrap() += n;
        self.1.notify_all();
    }

    fn get(&self) -> i64 {
        *self.0.lock().unwrap()
    }

    /// Waits until it is at least `n`.
    #[track_caller]
    fn wait_for(&self, n: i64) {
        let minute = Duration::from_secs(60);
        let (value, timeout) =
            self.1.wait_timeout_while(self.0.lock().unwrap(), minute, |it| *it < n).unwrap();
        assert!(!timeout.timed_out(), "{} instead of {n}", *value);
    }
}

impl Source for Numbers {
    fn run(self: Box<Self>, chunks: ChunkSender, runtime: tokio::runtime::Handle) -> Result<()> {
        for number in self.numbers {
            let mut payload = vec![b' '; MESSAGE];
            let text = number.to_string();
            payload[..text.len()].copy_from_slice(text.as_bytes());
            let message = Message { payload, ..Message::default() };
            runtime.block_on(chunks.deliver(Chunk::new(Payload::Messages(vec![message]))))?;
            self.kept.add(1);
        }
        runtime.block_on(chunks.stopped());
        Ok(())
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::new(Digits)
    }

    fn is_bounded(&self) -> bool {
        false
    }
}

struct Digits;

impl Decoder for Digits {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn decode(&self, chunk: Chunk) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>> {
        let Payload::Messages(messages) = chunk.payload else { return Ok(Box::new(std::iter::empty())) };
        let number =
            |message: &Message| std::str::from_utf8(&message.payload).unwrap().trim().parse().unwrap();
        let numbers = Int64Array::from_iter_values(messages.iter().map(number));
        let machines = Int64Array::from_iter_values(numbers.values().iter().map(|number| number % KEYS));
        let rows = RecordBatch::try_new(schema(), vec![Arc::new(machines), Arc::new(numbers)]).unwrap();
        Ok(Box::new(std::iter::once(Ok(Decoded::new(rows, Vec::new())))))
    }
}

/// A sink through which as many rows pass as it is allowed. It has no state: what comes again is written again.
#[derive(Clone, Default)]
struct Gate {
    allowed: Arc<Signal>,
    passed: Arc<Mutex<Vec<i64>>>,
}

impl Gate {
    #[track_caller]
    fn wait_for(&self, passed: usize) {
        for _ in 0..60_000 {
            if self.passed.lock().unwrap().len() >= passed {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("{passed} rows never passed: {:?}", self.passed());
    }

    fn passed(&self) -> Vec<i64> {
        self.passed.lock().unwrap().clone()
    }
}

impl SinkFactory for Gate {
    fn open(&self, _schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Gate {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let numbers = batch.rows().column(1).as_any().downcast_ref::<Int64Array>().unwrap();
        for number in numbers.values() {
            let next = i64::try_from(self.passed.lock().unwrap().len()).unwrap() + 1;
            self.allowed.wait_for(next);
            self.passed.lock().unwrap().push(*number);
        }
        Ok(())
    }
}

/// A program that only writes what comes, with its input in a journal.
struct Program {
    running: Running,
    gate: Gate,
    kept: Arc<Signal>,
    _runtime: tokio::runtime::Runtime,
}

impl Program {
    fn start(folder: &Path, workers: usize, numbers: std::ops::Range<i64>, overload: Overload) -> Self {
        let gate = Gate::default();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let source = SourceNode {
            name: "numbers".into(),
            schema: schema(),
            watermark: None,
            deduplicate: None,
            is_table: false,
            is_changelog: false,
            overload,
        };
        let sink = SinkNode { name: "out".into(), from: Origin::Source(0), schema: schema() };
        let plan = Plan { sources: vec![source], nodes: vec![], sinks: vec![sink], failed: Arc::default() };
        let kept = Arc::<Signal>::default();
        let checkpoints = CheckpointSettings {
            disk: Arc::new(FileSystem),
            folder: folder.join("checkpoints"),
            every: Duration::from_millis(20),
            identity: "p".into(),
        };
        // A stop leaves what the gate does not let through.
        let journal =
            journal::Settings { works_off: Duration::ZERO, ..journal::Settings::new(folder.join("journal")) };
        let settings = Settings {
            workers,
            clock: Clock::system(),
            runtime: runtime.handle().clone(),
            checkpoints: Some(checkpoints),
            journal: Some(journal),
            input_bytes: INPUT,
            spill: None,
            swaps: None,
        };
        let source: Box<dyn Source> = Box::new(Numbers { numbers, kept: Arc::clone(&kept) });
        let sink: Arc<dyn SinkFactory> = Arc::new(gate.clone());
        let running = start(plan, vec![source], vec![sink], settings).unwrap();
        Self { running, gate, kept, _runtime: runtime }
    }

    fn passed(&self) -> Vec<i64> {
        self.gate.passed()
    }

    fn metrics(&self) -> Arc<Metrics> {
        self.running.metrics()
    }

    /// Stops it; gives what has passed.
    fn stop(self) -> Vec<i64> {
        self.running.stop();
        self.running.wait().unwrap();
        self.gate.passed()
    }

    /// Waits until nothing is left to be done.
    fn wait_until_caught_up(&self) {
        let metrics = self.metrics();
        for _ in 0..6000 {
            if metrics.lag.epochs.load(Ordering::Relaxed) == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("still behind: {:?}", metrics.lag);
    }
}

#[test]
fn while_a_sink_is_slow_all_is_kept_in_the_journal_and_little_in_memory() {
    for workers in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::start(folder.path(), workers, 0..400, Overload::Spill);
        program.gate.allowed.add(10);
        // All is acknowledged though hardly anything is worked on.
        program.kept.wait_for(400);
        let metrics = program.metrics();
        let lag = &metrics.lag;
        let (open, waiting) =
            (lag.open_bytes.load(Ordering::Relaxed), lag.journal_bytes.load(Ordering::Relaxed));
        // The last chunk may be beyond the limit.
        assert!(open <= INPUT + 2 * MESSAGE as u64, "{open}");
        assert!(waiting > 4 << 20 && lag.epochs.load(Ordering::Relaxed) > 300, "{lag:?}");
        assert!(lag.age(Clock::system().now()) > 0);
        program.gate.allowed.add(1_000_000);
        program.wait_until_caught_up();
        assert_eq!(program.passed(), (0..400).collect::<Vec<_>>());
        assert_eq!((metrics.sources[0].received.get(), metrics.sources[0].processed.get()), (400, 400));
        assert_eq!((lag.journal_bytes.load(Ordering::Relaxed), lag.age(Clock::system().now())), (0, 0));
        program.stop();
    }
}

#[test]
fn what_waits_at_a_stop_is_worked_on_after_the_next_start_before_what_comes_then() {
    for workers in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for part in [0..600, 600..700, 700..701] {
            let is_last = part.start == 700;
            let sent = i64::try_from(part.clone().count()).unwrap();
            let program = Program::start(folder.path(), workers, part, Overload::Spill);
            // New input is kept while the old still waits.
            program.kept.wait_for(sent);
            if is_last {
                program.gate.allowed.add(1_000_000);
                program.wait_until_caught_up();
            }
            program.running.stop();
            // What the workers have must be finished; more than the rest may wait.
            program.gate.allowed.add(64);
            let gate = program.gate.clone();
            program.running.wait().unwrap();
            let passed = gate.passed();
            assert!(is_last || passed.len() <= 64, "{}", passed.len());
            all.extend(passed);
        }
        assert_eq!(all, (0..701).collect::<Vec<_>>());
    }
}

#[test]
fn a_source_that_blocks_waits_for_the_workers() {
    for workers in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::start(folder.path(), workers, 0..200, Overload::Block);
        // On its way through the workers, in the journal, and the one that is handed over.
        let most = INPUT / MESSAGE as u64 + 4;
        for passed in 1..=200 {
            program.gate.allowed.add(1);
            program.gate.wait_for(passed);
            let ahead = program.kept.get() - i64::try_from(passed).unwrap();
            assert!(ahead <= i64::try_from(most).unwrap(), "{ahead}");
        }
        assert_eq!(program.passed(), (0..200).collect::<Vec<_>>());
        program.stop();
    }
}

/// What passed of 400 numbers of a source with this policy while hardly anything was worked on, with a stop and a start in
/// between; fails unless received = processed + shed.
fn shed_of_400(workers: usize, overload: &Overload) -> Vec<i64> {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), workers, 0..400, overload.clone());
    program.kept.wait_for(400);
    program.gate.allowed.add(200);
    program.gate.wait_for(1);
    let mut passed = program.stop();
    let program = Program::start(folder.path(), workers, 0..0, overload.clone());
    program.gate.allowed.add(1_000_000);
    program.wait_until_caught_up();
    let metrics = program.metrics();
    passed.extend(program.stop());
    let source = &metrics.sources[0];
    let (processed, shed) = (source.processed.get(), source.shed.get());
    assert_eq!((source.received.get(), processed + shed), (400, 400));
    assert_eq!(processed, passed.len() as u64);
    assert!(shed > 200, "{shed}");
    assert!(passed.is_sorted_by(|a, b| a < b), "in order, and none twice: {passed:?}");
    passed
}

#[test]
fn of_a_source_of_which_the_latest_counts_the_newest_row_of_each_key_is_worked_on() {
    for workers in [1, 2] {
        let passed = shed_of_400(workers, &Overload::Latest { keys: vec![0] });
        assert_eq!(passed[passed.len() - 5..], [395, 396, 397, 398, 399]);
    }
}

#[test]
fn of_a_source_that_drops_the_oldest_the_newest_is_worked_on() {
    for workers in [1, 2] {
        let passed = shed_of_400(workers, &Overload::DropOldest { limit: 64 * MESSAGE as u64 });
        // Half of what may wait is left.
        assert_eq!(passed[passed.len() - 30..], (370..400).collect::<Vec<_>>());
    }
}

#[test]
fn of_a_source_that_is_sampled_one_message_in_ten_is_kept_while_the_workers_are_behind() {
    for workers in [1, 2] {
        let passed = shed_of_400(workers, &Overload::Sample { one_in: 10 });
        let (first, last) = (passed[passed.len() - 20], passed[passed.len() - 1]);
        assert_eq!(last - first, 190, "{passed:?}");
    }
}
