//! How long the stream waits for a snapshot of much state, and what it costs while the rest is handed over.
//!
//! ```text
//! cargo bench -p lineshaft-operators --bench checkpoint                     # about 1 GB of each kind
//! cargo bench -p lineshaft-operators --bench checkpoint -- 0.1 windows      # less of one kind
//! ```
//!
//! Each kind is a process of its own. `pause` is the call of `snapshot`, for which the stream stands; `part` the longest call of
//! `rest_of_snapshot`, of which there is one between two batches; `batch` is a batch of 8,192 rows before the snapshot and the
//! slowest while the rest is handed over.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use lineshaft_engine::expression::{Accumulator, Aggregate, Column, Expression, Moment};
use lineshaft_engine::operator::{Operator, Output};
use lineshaft_engine::time::{EpochHeader, Watermark};
use lineshaft_engine::{Result, TIMESTAMP};
use lineshaft_operators::group::{Call as GroupCall, GroupAggregate, GroupOptions, Reversal};
use lineshaft_operators::join::{IntervalJoin, IntervalOptions, JoinKind, TimedSide};
use lineshaft_operators::over::{Call, Frame, Function, Over, OverOptions, Units};
use lineshaft_operators::window::{
    CountAggregate, CountOptions, FixedWindows, WindowAggregate, WindowOptions,
};

/// The allocator of the `lineshaft` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: i64 = 8_192;
const SECOND: i64 = 1_000_000;

/// An aggregate of a `DOUBLE` column: a moment, or by an accumulator of its own.
#[derive(Debug)]
struct Sum {
    arguments: Vec<Arc<dyn Expression>>,
    result: Field,
    moment: Option<Moment>,
}

impl Sum {
    fn of(column: usize, moment: Option<Moment>) -> Arc<dyn Aggregate> {
        let arguments = vec![Arc::new(Column { index: column, data_type: DataType::Float64 }) as _];
        Arc::new(Self { arguments, result: Field::new("x", DataType::Float64, true), moment })
    }
}

impl Aggregate for Sum {
    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Sums(Vec::new())))
    }

    fn arguments(&self) -> &[Arc<dyn Expression>] {
        &self.arguments
    }

    fn filter(&self) -> Option<&Arc<dyn Expression>> {
        None
    }

    fn result(&self) -> &Field {
        &self.result
    }

    fn state(&self) -> &[Field] {
        std::slice::from_ref(&self.result)
    }

    fn moment(&self) -> Option<Moment> {
        self.moment
    }
}

/// As DataFusion's: its state is taken out as a whole.
struct Sums(Vec<f64>);

impl Accumulator for Sums {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        _: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.0.resize(total, 0.0);
        for (x, group) in arguments[0].as_primitive::<Float64Type>().values().iter().zip(groups) {
            self.0[*group] += x;
        }
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update(state, groups, None, total)
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(Float64Array::from(std::mem::take(&mut self.0))))
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        self.0.len() * 8
    }
}

fn schema() -> SchemaRef {
    let fields = [("ts", TIMESTAMP), ("key", DataType::Int64), ("x", DataType::Float64)];
    Arc::new(Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
}

/// Rows `from..from + BATCH`, a millisecond apart, of so many keys in a scattered order.
fn rows(from: i64, keys: i64) -> RecordBatch {
    let all = || from..from + BATCH;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(all().map(|row| row * 1000))),
        Arc::new(Int64Array::from_iter_values(all().map(|row| row * 7_919 % keys))),
        Arc::new(Float64Array::from_iter_values(
            all().map(|row| f64::from(i32::try_from(row % 1000).unwrap_or(0))),
        )),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema")
}

/// Windows of all time, so that all keys are in the open one.
fn windows(keys: i64, moment: bool) -> Box<dyn Operator> {
    let aggregates = match moment {
        true => [Moment::Mean, Moment::Min, Moment::Max].map(|moment| Sum::of(2, Some(moment))).to_vec(),
        false => vec![Sum::of(2, None)],
    };
    let mut fields = vec![Field::new("key", DataType::Int64, true)];
    fields.extend(["window_start", "window_end"].map(|name| Field::new(name, TIMESTAMP, true)));
    fields.extend((0..aggregates.len()).map(|n| Field::new(format!("x{n}"), DataType::Float64, true)));
    assert!(keys > 0);
    let size = i64::MAX / 4;
    let options = WindowOptions {
        time: 0,
        windows: FixedWindows::tumbling(size),
        keys: vec![1],
        aggregates,
        schema: Arc::new(Schema::new(fields)),
    };
    Box::new(WindowAggregate::new(options).expect("windows"))
}

fn interval() -> Box<dyn Operator> {
    let side = || TimedSide { keys: vec![1], time: 0, lag: 0, schema: schema(), width: 3 };
    let fields = schema().fields().iter().chain(schema().fields().iter()).cloned().collect::<Vec<_>>();
    let options = IntervalOptions {
        left: side(),
        right: side(),
        lower: 0,
        upper: i64::MAX / 4,
        kind: JoinKind::Pairs { keeps: [true, false] },
        residual: None,
        schema: Arc::new(Schema::new(fields)),
    };
    Box::new(IntervalJoin::new(options).expect("a join"))
}

fn counted() -> Box<dyn Operator> {
    let mut fields = vec![Field::new("key", DataType::Int64, true)];
    fields.extend(["window_start", "window_end"].map(|name| Field::new(name, TIMESTAMP, true)));
    fields.push(Field::new("x", DataType::Float64, true));
    let options = CountOptions {
        time: 0,
        slide: 1_000_000,
        size: 1_000_000,
        keys: vec![1],
        aggregates: vec![Sum::of(2, None)],
        schema: Arc::new(Schema::new(fields)),
    };
    Box::new(CountAggregate::new(options).expect("windows"))
}

fn over() -> Box<dyn Operator> {
    let mut fields = schema().fields().to_vec();
    fields.push(Arc::new(Field::new("mean", DataType::Float64, true)));
    let frame = Frame { units: Units::Range, start: Some(-1_000_000 * SECOND), end: 0 };
    let options = OverOptions {
        time: 0,
        keys: vec![1],
        order: Vec::new(),
        calls: vec![Call { function: Function::Aggregate(Sum::of(2, Some(Moment::Mean))), frame }],
        input: schema(),
        schema: Arc::new(Schema::new(fields)),
    };
    Box::new(Over::new(options).expect("frames"))
}

/// Groups without a window, of which rows may be taken back or not.
fn grouped(takes_changes: bool) -> Box<dyn Operator> {
    let moments = [Moment::Count, Moment::Sum, Moment::Mean];
    let mut fields = vec![Field::new("key", DataType::Int64, true)];
    fields.push(Field::new("count", DataType::Int64, true));
    fields.extend(["sum", "mean"].map(|name| Field::new(name, DataType::Float64, true)));
    let call = |moment: Moment| {
        let data_type = if moment == Moment::Count { DataType::Int64 } else { DataType::Float64 };
        let arguments = vec![Arc::new(Column { index: 2, data_type: DataType::Float64 }) as _];
        let aggregate: Arc<dyn Aggregate> =
            Arc::new(Sum { arguments, result: Field::new("x", data_type, true), moment: Some(moment) });
        GroupCall { aggregate, is_distinct: false, reversal: Reversal::Statistic(moment) }
    };
    let options = GroupOptions {
        keys: vec![1],
        calls: moments.map(call).to_vec(),
        takes_changes,
        input: schema(),
        schema: Arc::new(Schema::new(fields)),
    };
    Box::new(GroupAggregate::new(options, true).expect("groups"))
}

/// An operator with so many bytes of state, about; the rows given so far and the number of keys.
struct Filled {
    operator: Box<dyn Operator>,
    rows: i64,
    keys: i64,
}

fn filled(kind: &str, bytes: f64) -> Filled {
    #[expect(clippy::cast_possible_truncation, reason = "a size")]
    let of = |bytes_of_a_row: f64| (bytes / bytes_of_a_row) as i64;
    let (mut operator, rows, keys) = match kind {
        "windows" => (windows(1, true), of(110.0), of(110.0)),
        "sums" => (windows(1, false), of(55.0), of(55.0)),
        "interval" => (interval(), of(42.0), 100_000),
        "count" => (counted(), of(33.0), 1_000),
        "over" => (over(), of(70.0), 1_000),
        "groups" => (grouped(false), of(200.0), of(200.0)),
        "changes" => (grouped(true), of(300.0), of(300.0)),
        other => panic!("there is no kind {other:?}"),
    };
    let mut at = 0;
    while at < rows {
        give(operator.as_mut(), at, keys);
        at += BATCH;
    }
    Filled { operator, rows: at, keys }
}

fn give(operator: &mut dyn Operator, from: i64, keys: i64) {
    let mut output = Output::new(1);
    operator.on_batch(0, rows(from, keys).into(), &mut output).expect("a batch");
    operator.on_watermark(Watermark(from * 1000), &mut output).expect("a watermark");
    let header = EpochHeader::new(from.unsigned_abs(), 0);
    operator.on_epoch_end(header, &mut output).expect("the end of an epoch");
}

#[expect(clippy::disallowed_methods, reason = "a bench measures")]
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed(), done)
}

/// Resident memory, bytes.
fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() * 1024.0
}

fn measure(kind: &str, gigabytes: f64) {
    let before = memory();
    let Filled { mut operator, rows, keys } = filled(kind, gigabytes * 1e9);
    let state = memory() - before;
    let mut next = rows;
    let mut batch = |operator: &mut dyn Operator| {
        next += BATCH;
        timed(|| give(operator, next, keys)).0
    };
    let mut undisturbed: Vec<_> = (0..31).map(|_| batch(operator.as_mut())).collect();
    undisturbed.sort_unstable();
    let (pause, snapshot) = timed(|| operator.snapshot().expect("a snapshot"));
    drop(snapshot);
    let (mut parts, mut longest, mut all, mut slowest) = (0, Duration::ZERO, Duration::ZERO, Duration::ZERO);
    loop {
        let (took, part) = timed(|| operator.rest_of_snapshot().expect("a part"));
        (longest, all) = (longest.max(took), all + took);
        if part.is_none() {
            break;
        }
        parts += 1;
        slowest = slowest.max(batch(operator.as_mut()));
    }
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let line = format!(
        "{kind:9} state {:5.2} GB   pause {:8.2} ms   {parts:5} parts, longest {:7.2} ms, all {:8.1} ms   batch {:6.2} ms, slowest {:7.2} ms",
        state / 1e9,
        ms(pause),
        ms(longest),
        ms(all),
        ms(undisturbed[15]),
        ms(slowest)
    );
    writeln!(std::io::stdout(), "{line}").expect("a line");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let kinds = ["windows", "sums", "interval", "count", "over", "groups", "changes"];
    let gigabytes = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(1.0);
    let chosen: Vec<&str> = kinds.into_iter().filter(|kind| arguments.iter().any(|it| it == kind)).collect();
    if let [kind] = chosen.as_slice() {
        return measure(kind, gigabytes);
    }
    let program = std::env::current_exe().expect("the path of this bench");
    for kind in kinds {
        let mut one = std::process::Command::new(&program);
        let ended = one.args([kind, &gigabytes.to_string()]).status();
        assert!(ended.is_ok_and(|status| status.success()), "{kind} failed");
    }
}
