//! The engine in a program that has a tokio runtime: connectors run on it, rows are sent and received with `await`.
//!
//! The workers of the engine are threads of its own; nothing here blocks the runtime.
//!
//! `cargo run --example own_runtime`

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use lineshaft::Engine;
use tokio::runtime::Handle;

const PROGRAM: &str = "
    CREATE SOURCE readings (machine TEXT NOT NULL, celsius DOUBLE) WITH (connector = 'memory');
    CREATE VIEW hot AS SELECT machine, celsius * 1.8 + 32 AS fahrenheit FROM readings WHERE celsius > 80;";

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let found = runtime.block_on(run())?;
    writeln!(std::io::stdout(), "{found:?}")?;
    Ok(())
}

/// The hot machines.
pub(crate) async fn run() -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    // Late and unreadable rows are kept in the data directory; here it goes with the example.
    let data = tempfile::tempdir()?;
    let mut engine = Engine::from_sql(PROGRAM)?;
    engine.data(data.path());
    engine.runtime(Handle::current());
    let mut hot = engine.subscribe("hot");
    let input = engine.input("readings").ok_or("the source has been closed")?;
    let running = engine.start()?;

    let sender = tokio::spawn(async move {
        for (machine, celsius) in [("press", 85.0), ("saw", 40.0), ("oven", 210.0)] {
            let columns: [(&str, ArrayRef); 2] = [
                ("machine", Arc::new(StringArray::from(vec![machine]))),
                ("celsius", Arc::new(Float64Array::from(vec![celsius]))),
            ];
            let rows = RecordBatch::try_from_iter(columns).map_err(|error| error.to_string())?;
            input.send_async(rows).await.map_err(|closed| closed.to_string())?;
        }
        // The last input of the source is dropped here: it ends, and so does the program.
        Ok::<(), String>(())
    });

    let mut found = Vec::new();
    while let Some(batch) = hot.recv().await {
        let rows = batch.into_rows();
        let (machine, heat) =
            (rows.column(0).as_string::<i32>(), rows.column(1).as_primitive::<Float64Type>());
        found.extend((0..rows.num_rows()).map(|row| (machine.value(row).to_owned(), heat.value(row))));
    }
    sender.await??;
    // Waiting blocks, so it is done where that is allowed.
    tokio::task::spawn_blocking(|| running.wait()).await??;
    Ok(found)
}
