//! Checkpoints that are written while the stream goes on, and programs that end or crash meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::batch::Batch;
use crate::clock::Clock;
use crate::control::Control;
use crate::dataflow::{Keeps, Stateful};
use crate::operator::{Operator, Output};
use crate::plan::{Input, Node, Origin, Plan, Route, SinkNode, SourceNode, Work};
use crate::run::{Settings, start};
use crate::sink::{Sink, SinkFactory, Worker};
use crate::source::{Chunk, ChunkSender, Decoder, Payload, Source};
use crate::testing::{Undecoded, lines};

/// A snapshot of four tables, of which three come later.
#[derive(Default)]
struct Gradual {
    given: usize,
}

impl Gradual {
    fn table(&mut self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.put("rows", table(&format!("n:i \n {}", self.given)));
        self.given += 1;
        snapshot
    }
}

impl Keeps for Gradual {
    fn snapshot(&mut self) -> Result<Snapshot> {
        self.given = 0;
        Ok(self.table())
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        Ok((self.given < 4).then(|| self.table()))
    }
}

/// The checkpoints of a program of two workers, and what each of them does.
fn two_workers(root: &Path) -> (Arc<Checkpoints>, [HandOver; 2]) {
    let checkpoints = Checkpoints::open(settings(root), &mut 2).unwrap();
    let operators = || -> Stateful { vec![("node 1".into(), Rc::new(RefCell::new(Gradual::default())))] };
    let worker = |worker| HandOver::new(Arc::clone(&checkpoints), worker, operators());
    let workers = [worker(0), worker(1)];
    (checkpoints, workers)
}

fn begin(checkpoints: &Arc<Checkpoints>, number: usize, control: &Arc<Control>) {
    // Within a runtime, the writer is a thread.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let (next_epoch, program) = (10 * number as Epoch, parts(number + 100));
    checkpoints.begin(Begun { next_epoch, workers: 2, program }, control).unwrap();
}

/// Lets workers and writer do the rest.
fn finish(checkpoints: &Checkpoints, workers: &mut [HandOver]) {
    while !checkpoints.round.is_over() {
        for worker in workers.iter_mut() {
            worker.go_on().unwrap();
        }
        std::thread::yield_now();
    }
}

#[test]
fn the_stream_goes_on_when_every_worker_has_answered_and_what_follows_is_in_the_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let control = Arc::new(Control::default());
    let (checkpoints, mut workers) = two_workers(root.path());
    for number in 1..=3 {
        begin(&checkpoints, number, &control);
        assert!(workers[0].go_on().unwrap());
        assert!(!checkpoints.round.is_taken());
        assert!(workers[1].go_on().unwrap());
        assert!(checkpoints.round.is_taken() && !checkpoints.round.is_over());
        finish(&checkpoints, &mut workers);
        assert!(!control.has_failed());
    }
    assert!(workers.iter().all(|worker| worker.patience().is_none()), "they sleep until they are woken");
    assert_eq!(folders(root.path()), ["2", "3"]);
    let (store, restored) = Store::open(settings(root.path())).unwrap();
    assert_eq!(store.oldest_epoch(), Some(20));
    let restored = restored.unwrap();
    assert_eq!(restored.program, kept(103));
    for worker in 0..2 {
        let rows = restored.worker(worker).remove("node 1").unwrap().take_parts("rows");
        assert_eq!(lines(&rows), ["0", "1", "2", "3"]);
    }
}

#[test]
fn a_program_that_ends_while_one_is_written_leaves_the_older_ones_and_nothing_else() {
    for steps in 0..12 {
        let root = taken(2);
        let control = Arc::new(Control::default());
        let (checkpoints, mut workers) = two_workers(root.path());
        begin(&checkpoints, 3, &control);
        // The second worker never hands over all.
        for step in 0..steps {
            workers[0].go_on().unwrap();
            if step < 4 {
                workers[1].go_on().unwrap();
            }
        }
        drop(workers);
        checkpoints.close();
        assert!(!control.has_failed());
        assert_eq!(folders(root.path()), ["1", "2"], "after {steps} steps");
        assert_eq!(opened(root.path()).unwrap(), Some(2));
    }
}

#[test]
fn a_disk_that_fails_ends_the_program_and_the_workers_do_not_wait() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("checkpoint.ended"), "").unwrap();
    fs::create_dir(root.path().join("checkpoint")).unwrap();
    let control = Arc::new(Control::default());
    let (checkpoints, mut workers) = two_workers(root.path());
    begin(&checkpoints, 1, &control);
    finish(&checkpoints, &mut workers);
    assert!(control.has_failed());
    assert_eq!(checkpoints.store.oldest_epoch(), None);
}

/// A small disk in memory; gone at the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`, with a word on stderr, where it may not be mounted.
    fn mount() -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"]).arg(root.path()).output();
        if mount.is_ok_and(|mount| mount.status.success()) {
            return Some(Self(root));
        }
        eprintln!("skipped: a small disk cannot be mounted (that needs root)");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status().ok();
    }
}

#[test]
fn a_full_disk_costs_a_checkpoint_and_not_the_program() {
    let Some(disk) = SmallDisk::mount() else { return };
    let root = disk.0.path();
    let control = Arc::new(Control::default());
    let (checkpoints, mut workers) = two_workers(root);
    begin(&checkpoints, 1, &control);
    finish(&checkpoints, &mut workers);
    let filler = root.join("filler");
    for room in [0, 4096, 12_288] {
        // As much as there is, less some room, so that it ends in the midst of the files.
        let free = fs::write(&filler, vec![0; 1 << 20]).err().map(|_| fs::metadata(&filler).unwrap().len());
        File::options().write(true).open(&filler).unwrap().set_len(free.unwrap() - room).unwrap();
        for _ in 0..2 {
            begin(&checkpoints, 2, &control);
            finish(&checkpoints, &mut workers);
            assert!(!control.has_failed());
            assert_eq!(folders(root), ["1"], "the draft is gone");
            assert_eq!(checkpoints.store.oldest_epoch(), Some(10));
        }
        fs::remove_file(&filler).unwrap();
    }
    begin(&checkpoints, 2, &control);
    finish(&checkpoints, &mut workers);
    assert_eq!(folders(root), ["1", "2"]);
    let (_, restored) = Store::open(settings(root)).unwrap();
    assert_eq!(restored.unwrap().program, kept(102));
}

/// The sum so far, which crashes at some batches. Its snapshot is ten times the same sum.
struct Sum {
    sum: i64,
    saved: (i64, usize),
    until_crash: usize,
}

impl Operator for Sum {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        self.until_crash -= 1;
        if self.until_crash == 0 {
            return Err(Error::Plan("the crash".into()));
        }
        self.sum += column(batch.rows(), "n")?.iter().sum::<i64>();
        output.send(table(&format!("n:i \n {}", self.sum)));
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.saved = (self.sum, 10);
        Ok(Snapshot::default())
    }

    fn rest_of_snapshot(&mut self) -> Result<Option<Snapshot>> {
        if self.saved.1 == 0 {
            return Ok(None);
        }
        self.saved.1 -= 1;
        let mut snapshot = Snapshot::default();
        snapshot.put("sum", table(&format!("n:i \n {}", self.saved.0)));
        Ok(Some(snapshot))
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let parts = snapshot.take_parts("sum");
        let sums = parts.iter().map(|part| number(part, "n")).collect::<Result<Vec<_>>>()?;
        assert_eq!(sums, vec![sums[0]; 10]);
        self.sum = sums[0];
        Ok(())
    }
}

/// Chunks of a number each.
struct Numbers(i64);

impl Source for Numbers {
    fn run(self: Box<Self>, chunks: ChunkSender, _runtime: tokio::runtime::Handle) -> Result<()> {
        for number in 0..self.0 {
            chunks.send(Chunk::new(Payload::Rows(table(&format!("n:i \n {number}")))))?;
        }
        Ok(())
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::new(Undecoded(table("n:i \n 0").schema()))
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

/// Writes at once, and takes back what it wrote after a checkpoint.
#[derive(Clone, Default)]
struct TakesBack(Arc<Mutex<Vec<String>>>);

impl SinkFactory for TakesBack {
    fn open(&self, _schema: arrow::datatypes::SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for TakesBack {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        lock(&self.0).extend(lines([batch.rows()]));
        Ok(())
    }

    fn commit(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        snapshot.put("written", table(&format!("n:i \n {}", lock(&self.0).len())));
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let written = number(&snapshot.take("written").unwrap(), "n")?;
        lock(&self.0).truncate(usize::try_from(written).unwrap());
        Ok(())
    }
}

const NUMBERS: i64 = 40;

/// Runs the program until it crashes after so many numbers, or to its end.
fn run_to_crash(sink: &TakesBack, root: &Path, workers: usize, until_crash: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let schema = table("n:i \n 0").schema();
    let source = SourceNode {
        name: "numbers".into(),
        schema: Arc::clone(&schema),
        watermark: None,
        deduplicate: None,
        is_table: false,
        is_changelog: false,
        overload: crate::plan::Overload::default(),
    };
    let node = Node {
        name: "sum".into(),
        inputs: vec![Input { from: Origin::Source(0), route: Route::Gather }],
        outputs: vec![Arc::clone(&schema)],
        is_stateless: false,
        is_changelog: false,
        takes_any_order: false,
        keeps_order: false,
        work: Work::Operator(Arc::new(move |_| Ok(Box::new(Sum { sum: 0, saved: (0, 0), until_crash })))),
    };
    let out = SinkNode { name: "out".into(), from: Origin::Node(0, 0), schema };
    let plan = Plan { sources: vec![source], nodes: vec![node], sinks: vec![out], failed: Arc::default() };
    let settings = Settings {
        workers,
        clock: Clock::fixed(0),
        runtime: runtime.handle().clone(),
        checkpoints: Some(CheckpointSettings { every: Duration::ZERO, ..settings(root) }),
        journal: None,
        input_bytes: u64::MAX,
        spill: None,
        swaps: None,
    };
    let sink: Arc<dyn SinkFactory> = Arc::new(sink.clone());
    start(plan, vec![Box::new(Numbers(NUMBERS))], vec![sink], settings)?.wait()
}

#[test]
fn wherever_a_program_crashes_it_goes_on_from_what_was_written_before() {
    let mut sum = 0;
    let expected: Vec<String> = (0..NUMBERS).map(|number| (sum += number, sum.to_string()).1).collect();
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for round in 0..8 {
        let (root, sink) = (tempfile::tempdir().unwrap(), TakesBack::default());
        let mut crashes = 0;
        loop {
            // Sooner or later it comes to the end.
            let until_crash = 2 + random.next_u32() as usize % (20 + 10 * crashes);
            let Err(error) = run_to_crash(&sink, root.path(), 1 + round % 2, until_crash) else { break };
            assert_eq!(error.to_string(), "the crash");
            crashes += 1;
        }
        assert_eq!(*lock(&sink.0), expected, "round {round}, after {crashes} crashes");
        assert!(!root.path().join("checkpoint").exists());
    }
}
