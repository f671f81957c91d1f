//! What a simulated program lives in: a disk, a clock, two brokers and the sinks; and the program itself, from one start to
//! the next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use lineshaft::connectors::{self, Context, memory};
use lineshaft::engine::checkpoint::CheckpointSettings;
use lineshaft::engine::clock::Clock;
use lineshaft::engine::declaration::{OptionError, SinkDeclaration, SourceDeclaration};
use lineshaft::engine::disk::SimulatedDisk;
use lineshaft::engine::run::Settings;
use lineshaft::engine::simulation::{Part, Simulation};
use lineshaft::engine::sink::SinkFactory;
use lineshaft::engine::{Error, journal};
use lineshaft::queries::parse::ProcessEnvironment;
use lineshaft::queries::plan::Outputs;
use lineshaft::queries::span::SourceFile;
use lineshaft::queries::{Connectors, Program};
use tokio::runtime::Runtime;

use super::broker::Broker;
use super::sink::Kept;
use crate::support::seeded::Seeded;

/// Joins, windows, what is kept per key and what is taken back, over two streams.
const PROGRAM: &str = "
CREATE SOURCE a (ts TIMESTAMP NOT NULL, machine TEXT, n BIGINT, k BIGINT, x DOUBLE,
        WATERMARK FOR ts AS ts - INTERVAL '2' SECOND, DEDUPLICATE BY (machine, k) WITHIN INTERVAL '3' SECOND)
    WITH (connector = 'mqtt', url = 'mqtt://nowhere', topic = 'a', format = 'json', timestamp_format = 'unix_ms', max_future = '36500 days');
CREATE SOURCE b (ts TIMESTAMP NOT NULL, machine TEXT, n BIGINT, y DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
    WITH (connector = 'mqtt', url = 'mqtt://nowhere', topic = 'b', format = 'json', timestamp_format = 'unix_ms', max_future = '36500 days');
CREATE VIEW history AS SELECT ts, machine, n, x FROM a;
CREATE VIEW late AS SELECT n FROM a.late;
CREATE VIEW other_late AS SELECT n FROM b.late;
CREATE VIEW bad AS SELECT raw FROM a.quarantine;
CREATE VIEW other AS SELECT n FROM b;
CREATE VIEW sums AS SELECT window_start, machine, count(*) AS c, sum(n) AS n, min(x) AS x
    FROM TUMBLE(a, ts, INTERVAL '2' SECOND) GROUP BY window_start, window_end, machine;
CREATE VIEW visits AS SELECT window_start, window_end, machine, sum(n) AS n
    FROM SESSION(a, ts, INTERVAL '700' MILLISECOND, machine) GROUP BY window_start, window_end, machine;
CREATE VIEW pairs AS SELECT a.n AS n, b.n AS m FROM a JOIN b ON a.machine = b.machine
    AND b.ts BETWEEN a.ts - INTERVAL '1' SECOND AND a.ts;
CREATE VIEW before AS SELECT a.n AS n, b.n AS m, b.y FROM a ASOF LEFT JOIN b
    MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine;
CREATE VIEW totals AS
    SELECT machine, count(*) AS c, sum(n) AS n, max(x) AS x FROM a GROUP BY machine;";

/// Its views whose rows are wanted.
const VIEWS: [&str; 10] =
    ["history", "late", "other_late", "bad", "other", "sums", "visits", "pairs", "before", "totals"];

/// So often that many of them are disturbed.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(300);
/// 2026-03-01, microseconds.
const BEGIN: i64 = 1_772_323_200_000_000;
/// More steps than any life needs: a program that takes them hangs.
const MOST_STEPS: usize = 200_000;

/// Sources and sinks need one; nothing runs on it.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap());

thread_local! {
    /// Compiling costs more than a run.
    static COMPILED: RefCell<Option<Arc<Program>>> = const { RefCell::new(None) };
}

fn compiled() -> Arc<Program> {
    COMPILED.with_borrow_mut(|compiled| {
        let compile = || {
            let files = [SourceFile::new("program.sql", PROGRAM)];
            Arc::new(lineshaft::queries::compile(&files, &Simulated, &ProcessEnvironment).unwrap())
        };
        Arc::clone(compiled.get_or_insert_with(compile))
    })
}

/// All sources are live.
struct Simulated;

impl Connectors for Simulated {
    fn check_source(&self, declaration: &SourceDeclaration) -> Vec<OptionError> {
        connectors::check_source(declaration)
    }

    fn check_sink(&self, _declaration: &SinkDeclaration) -> Vec<OptionError> {
        Vec::new()
    }

    fn is_bounded(&self, declaration: &SourceDeclaration) -> bool {
        connectors::is_bounded(declaration)
    }
}

/// All but the program.
pub(super) struct World {
    pub(super) random: Seeded,
    pub(super) disk: SimulatedDisk,
    pub(super) clock: Clock,
    pub(super) brokers: [Broker; 2],
    sinks: BTreeMap<String, Kept>,
}

/// How a life of the program has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// All was delivered, and it was stopped.
    Done,
    /// It failed, as it does when a disk fails.
    Failed(Error),
    /// It was killed.
    Killed,
}

impl World {
    pub(super) fn new(seed: u64, published: [Vec<Vec<u8>>; 2]) -> Self {
        Self {
            random: Seeded::new(seed),
            disk: SimulatedDisk::default(),
            clock: Clock::fixed(BEGIN),
            brokers: published.map(Broker::new),
            sinks: BTreeMap::new(),
        }
    }

    /// The rows of all sinks.
    pub(super) fn rows(&self) -> BTreeMap<&str, BTreeMap<String, i64>> {
        self.sinks.iter().map(|(name, kept)| (name.as_str(), kept.rows())).collect()
    }

    fn start(&mut self) -> Result<Simulation, Error> {
        let subscriptions = VIEWS.map(str::to_owned).to_vec();
        let outputs = Outputs { subscriptions, ..Outputs::default() };
        let planned = compiled().plan(std::path::Path::new("nowhere"), &outputs).unwrap();
        let context = Context::new(RUNTIME.handle().clone(), memory::Registry::default());
        let sources =
            planned.sources.iter().map(|source| connectors::source(source, &context).unwrap()).collect();
        let sinks = planned.sinks.iter().map(|sink| {
            Arc::new(self.sinks.entry(sink.name.clone()).or_default().clone()) as Arc<dyn SinkFactory>
        });
        let sinks = sinks.collect();
        let settings = Settings {
            workers: 1,
            clock: self.clock.clone(),
            runtime: RUNTIME.handle().clone(),
            input_bytes: 1 << 20,
            spill: None,
            swaps: None,
            checkpoints: Some(CheckpointSettings {
                disk: Arc::new(self.disk.clone()),
                folder: "data/checkpoints".into(),
                every: CHECKPOINT_EVERY,
                identity: "simulated".into(),
            }),
            journal: Some(journal::Settings {
                disk: Arc::new(self.disk.clone()),
                segment_bytes: 8 << 10,
                max_bytes: u64::MAX,
                reserve_bytes: 1,
                ..journal::Settings::new("data/journal")
            }),
        };
        Simulation::start(planned.plan, sources, sinks, settings)
    }

    /// One life of the program: `fault` is told the number of each step, and says whether it is killed in it.
    pub(super) fn live(
        &mut self,
        mut fault: impl FnMut(&mut Self, usize) -> bool,
    ) -> (Ended, Option<String>) {
        self.brokers.iter_mut().for_each(Broker::disconnect);
        let mut program = match self.start() {
            Ok(program) => program,
            Err(error) => return (Ended::Failed(error), None),
        };
        let mut stops = false;
        for step in 0..MOST_STEPS {
            if fault(self, step) {
                return (Ended::Killed, None);
            }
            if !stops && self.brokers.iter().all(Broker::is_done) {
                program.stop();
                stops = true;
            }
            if let Err(error) = self.step(&mut program, stops) {
                return (Ended::Failed(error), None);
            }
            if program.has_ended() {
                return (Ended::Done, Some(unbalanced(&program)));
            }
        }
        panic!("it hangs: {program:?}");
    }

    fn step(&mut self, program: &mut Simulation, stops: bool) -> Result<(), Error> {
        match self.random.below(100) {
            0..35 => program.step(Part::Intake)?,
            35..55 => program.step(Part::Worker)?,
            55..60 => program.step(Part::Writer)?,
            60..92 if !stops => {
                let source = self.random.index(2);
                // Sources are in the order in which the plan has them.
                self.brokers[source].step(program.chunks(source), &mut self.random);
            }
            _ => self.clock.set(self.clock.steady() + self.random.below(15_000)),
        }
        Ok(())
    }
}

/// What does not add up in the accounts of the sources; empty if all does.
fn unbalanced(program: &Simulation) -> String {
    let mut wrong = String::new();
    for source in &program.metrics().sources {
        let [received, processed, late, quarantined, deduplicated] =
            [&source.received, &source.processed, &source.late, &source.quarantined, &source.deduplicated]
                .map(|counter| counter.get());
        if received != processed + late + quarantined + deduplicated {
            wrong += &format!(
                "{}: {received} != {processed} + {late} + {quarantined} + {deduplicated}\n",
                source.name
            );
        }
    }
    wrong
}
