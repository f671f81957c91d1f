//! A plan is run to its end, stopped, and failed on.

use super::*;
use crate::batch::Batch;
use crate::operator::{Operator, Output};
use crate::plan::{Input, Node, Origin, Route, SinkNode, WatermarkRule};
use crate::testing::{Collected, Rows, table};
use crate::time::{EpochHeader, Watermark};

/// Counts rows per worker and says so at the end.
struct CountRows(usize);

impl Operator for CountRows {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        self.0 += batch.num_rows();
        output.send(batch);
        Ok(())
    }
}

struct Fails;

impl Operator for Fails {
    fn on_batch(&mut self, _input: usize, _batch: Batch, _output: &mut Output) -> Result<()> {
        Err(Error::operator("fails", "it always does"))
    }
}

struct Panics;

impl Operator for Panics {
    fn on_batch(&mut self, _input: usize, _batch: Batch, _output: &mut Output) -> Result<()> {
        panic!("the bug")
    }
}

struct EchoesWatermarks;

impl Operator for EchoesWatermarks {
    fn on_batch(&mut self, _input: usize, _batch: Batch, _output: &mut Output) -> Result<()> {
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        let shown = if watermark == Watermark::END { 9999 } else { watermark.0 / 1_000_000 };
        output.send(table(&format!("at:i\n{shown}")));
        Ok(())
    }
}

fn readings() -> Vec<arrow::array::RecordBatch> {
    (0..20)
        .map(|batch| {
            let rows = (0..50).map(|row| format!("{} m{} {row}", batch * 10 + row % 10, (batch + row) % 7));
            table(&format!("ts:ts machine:s x:i\n{}", rows.collect::<Vec<_>>().join("\n")))
        })
        .collect()
}

fn plan(node: impl Fn() -> Box<dyn Operator> + Send + Sync + 'static, route: Route) -> Plan {
    let schema = readings()[0].schema();
    let watermark = WatermarkRule {
        column: 0,
        disorder: 10_000_000,
        allowed_lateness: 0,
        per_key: vec![],
        idle_after: None,
        max_future: None,
    };
    Plan {
        sources: vec![SourceNode {
            name: "readings".into(),
            schema: Arc::clone(&schema),
            watermark: Some(watermark),
            deduplicate: None,
            is_table: false,
            is_changelog: false,
            overload: crate::plan::Overload::default(),
        }],
        nodes: vec![Node {
            name: "node".into(),
            inputs: vec![Input { from: Origin::Source(0), route }],
            outputs: vec![Arc::clone(&schema)],
            is_stateless: false,
            is_changelog: false,
            takes_any_order: false,
            keeps_order: false,
            work: crate::plan::Work::Operator(Arc::new(move |_| Ok(node()))),
        }],
        sinks: vec![SinkNode { name: "out".into(), from: Origin::Node(0, 0), schema }],
        failed: Arc::default(),
    }
}

fn settings(workers: usize) -> (Settings, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let settings = Settings {
        workers,
        clock: Clock::fixed(0),
        runtime: runtime.handle().clone(),
        checkpoints: None,
        journal: None,
        input_bytes: u64::MAX,
        spill: None,
        swaps: None,
    };
    (settings, runtime)
}

fn execute(plan: Plan, workers: usize) -> (Result<()>, Collected, Arc<Metrics>) {
    let collected = Collected::default();
    let (settings, _runtime) = settings(workers);
    let sink: Arc<dyn SinkFactory> = Arc::new(collected.clone());
    let running = start(plan, vec![Rows::new(readings())], vec![sink], settings).unwrap();
    let metrics = running.metrics();
    (running.wait(), collected, metrics)
}

#[test]
fn every_row_arrives_once_in_the_same_order_with_any_number_of_workers() {
    let (_, one, _) = execute(plan(|| Box::new(CountRows(0)), Route::ByKey(vec![1])), 1);
    for workers in [2, 4] {
        let (result, many, metrics) =
            execute(plan(|| Box::new(CountRows(0)), Route::ByKey(vec![1])), workers);
        result.unwrap();
        let (one, many) = (crate::testing::lines(&one.batches()), crate::testing::lines(&many.batches()));
        assert_eq!(one.len(), 1000);
        assert_eq!(one, many);
        assert_eq!(metrics.sources[0].received.get(), 1000);
        assert_eq!(metrics.sinks[0].rows.get(), 1000);
    }
}

/// Passes on the rows of the stream of which the table has had its rows, as a look-up does.
#[derive(Default)]
struct AfterTable {
    from_table: usize,
    from_stream: usize,
}

impl Operator for AfterTable {
    fn on_batch(&mut self, input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        if input == 1 {
            self.from_table += batch.num_rows();
            return Ok(());
        }
        self.from_stream += batch.num_rows();
        if self.from_stream <= self.from_table {
            output.send(batch);
        }
        Ok(())
    }
}

#[test]
fn of_an_epoch_a_look_up_gets_the_rows_of_its_table_first_and_keeps_the_order_of_the_stream() {
    for workers in [1, 2] {
        let mut plan = plan(|| Box::<AfterTable>::default(), Route::Local);
        let node = &mut plan.nodes[0];
        node.keeps_order = true;
        node.inputs.push(Input { from: Origin::Source(0), route: Route::Broadcast });
        let (result, collected, _) = execute(plan, workers);
        result.unwrap();
        let stream = crate::testing::lines(&readings());
        assert_eq!(crate::testing::lines(&collected.batches()), stream);
    }
}

/// Gives the sum of what came, once no more follows at once.
#[derive(Default)]
struct Waits(i64);

impl Operator for Waits {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.0 += i64::try_from(batch.num_rows()).unwrap();
        Ok(())
    }

    fn on_epoch_end(&mut self, header: EpochHeader, output: &mut Output) -> Result<()> {
        if self.0 > 0 && !header.more_follows {
            output.send(table(&format!("rows:i\n{}", self.0)));
        }
        Ok(())
    }
}

/// The plan of [`Waits`] on one worker.
fn waiting() -> Plan {
    let mut plan = plan(|| Box::<Waits>::default(), Route::Gather);
    let schema = table("rows:i\n0").schema();
    plan.nodes[0].outputs = vec![Arc::clone(&schema)];
    plan.sinks[0].schema = schema;
    plan
}

#[test]
fn while_history_is_read_few_epochs_say_that_nothing_follows_at_once() {
    for workers in [1, 2] {
        let (result, collected, _) = execute(waiting(), workers);
        result.unwrap();
        assert_eq!(crate::testing::lines(&collected.batches()), ["1000"], "only the end of the source");
    }
}

/// History that is not read to its end before the program is stopped.
struct Endless(Box<Rows>, std::sync::mpsc::Sender<()>);

impl Source for Endless {
    fn run(self: Box<Self>, chunks: ChunkSender, runtime: tokio::runtime::Handle) -> Result<()> {
        let last = chunks.clone();
        self.0.run(chunks, runtime)?;
        self.1.send(()).unwrap();
        while !last.is_stopped() {
            std::thread::sleep(CONNECTOR_TRY);
        }
        Ok(())
    }

    fn decoder(&self) -> Arc<dyn crate::source::Decoder> {
        self.0.decoder()
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

#[test]
fn what_waits_for_more_history_is_given_when_the_program_is_stopped() {
    let (sender, given) = channel();
    let source = Box::new(Endless(Rows::new(readings()), sender));
    let collected = Collected::default();
    let sink: Arc<dyn SinkFactory> = Arc::new(collected.clone());
    let (settings, _runtime) = settings(1);
    let running = start(waiting(), vec![source], vec![sink], settings).unwrap();
    given.recv().unwrap();
    running.stop();
    running.wait().unwrap();
    let given = crate::testing::lines(&collected.batches());
    assert_eq!(given.last().map(String::as_str), Some("1000"), "{given:?}");
}

#[test]
fn the_watermark_reaches_every_worker_and_ends_at_the_end() {
    let mut plan = plan(|| Box::new(EchoesWatermarks), Route::Broadcast);
    let schema = table("at:i\n0").schema();
    plan.nodes[0].outputs = vec![Arc::clone(&schema)];
    plan.sinks[0].schema = schema;
    let (result, collected, _) = execute(plan, 2);
    result.unwrap();
    let seen = collected.sorted();
    assert_eq!(seen.iter().filter(|line| *line == "9999").count(), 2, "{seen:?}");
    assert_eq!(seen.iter().filter(|line| *line == "189").count(), 2, "{seen:?}");
}

#[test]
fn an_error_of_an_operator_ends_the_program_with_it() {
    let (result, _, _) = execute(plan(|| Box::new(Fails), Route::Local), 2);
    assert_eq!(result.unwrap_err().to_string(), "fails: it always does");
}

#[test]
fn a_worker_that_panics_ends_the_program_and_not_only_itself() {
    let (result, _, _) = execute(plan(|| Box::new(Panics), Route::Gather), 4);
    assert!(matches!(result.unwrap_err(), Error::Panic { message, .. } if message == "the bug"));
}
