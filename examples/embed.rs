//! The engine inside a program of plain threads: one thread sends what it measures, another one reads what a view
//! makes of it, and the program decides when that ends.
//!
//! `cargo run --example embed`

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::thread;

use lineshaft::{Engine, Input};

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Float64Type;
use arrow::error::ArrowError;

const PROGRAM: &str = include_str!("embed.sql");

/// 2026-01-01, microseconds since 1970.
const START: i64 = 1_767_225_600_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    for (press, bar) in run(6)? {
        writeln!(std::io::stdout(), "{press}: {bar:.1} bar")?;
    }
    Ok(())
}

/// The mean pressures of the first `windows` windows.
pub(crate) fn run(windows: usize) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    // Late and unreadable rows are kept in the data directory; here it goes with the example.
    let data = tempfile::tempdir()?;
    let mut engine = Engine::from_sql(PROGRAM)?;
    engine.data(data.path());
    let mut pressures = engine.subscribe("pressures");
    let input = engine.input("readings").ok_or("the source has been closed")?;
    let running = engine.start()?;
    let sensor = thread::spawn(move || measure(&input));

    let mut found = Vec::new();
    while found.len() < windows {
        let batch = pressures.blocking_recv().ok_or("the engine has ended early")?.into_rows();
        let (press, bar) =
            (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Float64Type>());
        found.extend((0..batch.num_rows()).map(|row| (press.value(row).to_owned(), bar.value(row))));
    }
    found.truncate(windows);

    // Nobody reads any more: a subscription that is kept and not read would make the engine wait.
    drop(pressures);
    running.stop();
    running.wait()?;
    sensor.join().map_err(|_| "the sensor panicked")??;
    Ok(found)
}

/// Two presses, a reading of each a second, until the engine takes no more.
fn measure(input: &Input) -> Result<(), ArrowError> {
    for second in 0.. {
        let times = TimestampMicrosecondArray::from(vec![START + second * 1_000_000; 2]);
        let columns: [(&str, ArrayRef); 3] = [
            ("ts", Arc::new(times)),
            ("press", Arc::new(StringArray::from(vec!["left", "right"]))),
            ("bar", Arc::new(Float64Array::from(vec![4.0, if second % 2 == 0 { 6.0 } else { 8.0 }]))),
        ];
        // The only error is that the engine has stopped.
        if input.send(RecordBatch::try_from_iter(columns)?).is_err() {
            break;
        }
    }
    Ok(())
}
