//! Random rows of the sources of the oracle, and what declares them.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use lineshaft::engine::testing::lines;
use lineshaft::queries::batch::Tables;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// The furthest that a row comes after a later one, milliseconds.
const DISORDER: i64 = 2_000;

/// Two sources of the same columns, one with a watermark per machine, and three tables.
pub(super) const DECLARATIONS: &str = "
CREATE SOURCE readings (
    ts TIMESTAMP NOT NULL, id BIGINT, machine TEXT, line TEXT, x DOUBLE, y DOUBLE, n BIGINT, ok BOOLEAN,
    \"room temp\" DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (connector = 'memory', bounded = true);
CREATE SOURCE others (
    ts TIMESTAMP NOT NULL, id BIGINT, machine TEXT, line TEXT, x DOUBLE, y DOUBLE, n BIGINT, ok BOOLEAN,
    \"room temp\" DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND PER machine
) WITH (connector = 'memory', bounded = true);
CREATE TABLE machines (machine TEXT PRIMARY KEY, hall TEXT, x_limit DOUBLE)
    WITH (connector = 'memory', bounded = true);
CREATE TABLE prices (machine TEXT, price DOUBLE, since TIMESTAMP, WATERMARK FOR since AS since)
    WITH (connector = 'memory', bounded = true);
CREATE TABLE shifts (line TEXT, shift TEXT, bonus BIGINT) WITH (connector = 'memory', bounded = true);
";

/// The rows of all sources.
#[derive(Clone, Debug)]
pub(super) struct Input {
    readings: Readings,
    others: Readings,
}

/// Rows in the order of their arrival, and how many come at a time.
#[derive(Clone)]
struct Readings {
    rows: Vec<Row>,
    sizes: Vec<usize>,
}

#[derive(Clone)]
struct Row {
    /// Milliseconds.
    ts: i64,
    id: i64,
    machine: Option<u8>,
    line: u8,
    x: Option<f64>,
    y: Option<f64>,
    n: Option<i64>,
    ok: Option<bool>,
    room: Option<f64>,
}

/// Random inputs.
pub(super) fn input() -> impl Strategy<Value = Input> {
    (readings(), readings()).prop_map(|(readings, others)| Input { readings, others })
}

fn readings() -> impl Strategy<Value = Readings> {
    // Steps in time: often none, so that rows are of one time; now and then a silence.
    let step = prop_oneof![3 => Just(0_i64), 8 => 1_i64..700, 1 => 4_000_i64..15_000];
    let late = prop_oneof![1 => Just(0_i64), 2 => 0..=DISORDER];
    let number =
        || prop_oneof![1 => Just(None), 9 => (-1000_i32..1000).prop_map(|x| Some(f64::from(x) / 7.0))];
    let machine = prop_oneof![1 => Just(None), 6 => (0_u8..5).prop_map(Some)];
    let rest = (any::<Option<bool>>(), proptest::option::of(-50_i64..50));
    let row = (step, late, machine, 0_u8..3, number(), number(), number(), rest);
    (vec(row, 1..250), vec(1_usize..60, 1..20), -60_000_i64..60_000).prop_map(|(rows, sizes, begin)| {
        let mut now = begin;
        let mut arrivals: Vec<(i64, Row)> = (0..)
            .zip(rows)
            .map(|(id, (step, late, machine, line, x, y, room, (ok, n)))| {
                now += step;
                (now + late, Row { ts: now, id, machine, line, x, y, n, ok, room })
            })
            .collect();
        arrivals.sort_by_key(|(arrival, _)| *arrival);
        Readings { rows: arrivals.into_iter().map(|(_, row)| row).collect(), sizes }
    })
}

impl Input {
    /// The rows by source, in batches of random sizes.
    pub(super) fn tables(&self) -> Tables {
        Tables::from([
            ("readings".to_owned(), self.readings.batches()),
            ("others".to_owned(), self.others.batches()),
            ("machines".to_owned(), vec![machines()]),
            ("prices".to_owned(), vec![prices()]),
            ("shifts".to_owned(), vec![shifts()]),
        ])
    }

    /// The rows of `readings` in one batch.
    pub(super) fn readings(&self) -> RecordBatch {
        batch(&self.readings.rows)
    }
}

/// As lines of text, such as `engine::testing` shows batches.
impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in batches of {:?}", lines(&[batch(&self.rows)]), self.sizes)
    }
}

impl Readings {
    fn batches(&self) -> Vec<RecordBatch> {
        let all = batch(&self.rows);
        let mut sizes = self.sizes.iter().cycle();
        let (mut batches, mut start) = (Vec::new(), 0);
        while start < all.num_rows() {
            let size = sizes.next().unwrap().min(&(all.num_rows() - start)).to_owned();
            batches.push(all.slice(start, size));
            start += size;
        }
        batches
    }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let floats =
        |of: fn(&Row) -> Option<f64>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Float64Array>()) };
    let machine = |row: &Row| row.machine.map(|machine| format!("m{machine}"));
    let columns: [(&str, ArrayRef); 9] = [
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.ts * 1000)))),
        ("id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id)))),
        ("machine", Arc::new(rows.iter().map(machine).collect::<StringArray>())),
        (
            "line",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| format!("Line {}", row.line)))),
        ),
        ("x", floats(|row| row.x)),
        ("y", floats(|row| row.y)),
        ("n", Arc::new(rows.iter().map(|row| row.n).collect::<Int64Array>())),
        ("ok", Arc::new(rows.iter().map(|row| row.ok).collect::<BooleanArray>())),
        ("room temp", floats(|row| row.room)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, name != "ts")))
        .unwrap()
}

/// One machine is missing, one is of no stream.
fn machines() -> RecordBatch {
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("machine", Arc::new(StringArray::from(vec!["m0", "m1", "m2", "m3", "m9"])), false),
        ("hall", Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("a"), None, Some("c")])), true),
        (
            "x_limit",
            Arc::new(Float64Array::from(vec![Some(20.0), Some(-5.0), None, Some(0.0), Some(1.0)])),
            true,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Two rows of one line, none of another.
fn shifts() -> RecordBatch {
    let columns: [(&str, ArrayRef, bool); 3] = [
        (
            "line",
            Arc::new(StringArray::from(vec![Some("Line 0"), Some("Line 0"), Some("Line 1"), None])),
            true,
        ),
        ("shift", Arc::new(StringArray::from(vec!["early", "night", "early", "lost"])), true),
        ("bonus", Arc::new(Int64Array::from(vec![1, 2, 3, 4])), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Versions in no order, two at one time, one of no time.
fn prices() -> RecordBatch {
    let seconds = [Some(5), Some(-20), Some(30), Some(5), None, Some(-1000), Some(0)];
    let machines = ["m0", "m0", "m0", "m0", "m1", "m1", "m2"];
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("machine", Arc::new(StringArray::from(machines.to_vec())), true),
        ("price", Arc::new(Float64Array::from_iter_values((1_u8..=7).map(f64::from))), true),
        (
            "since",
            Arc::new(TimestampMicrosecondArray::from_iter(seconds.map(|s| s.map(|s| s * 1_000_000)))),
            true,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}
