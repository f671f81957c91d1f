//! A source and a sink of one's own: what no connector speaks becomes rows, and rows become calls of one's own code.
//!
//! A source is two parts. [`Source::run`] reads, on a thread of its own; it hands over raw records as they come. The
//! decoder makes rows of them, on the workers of the engine; a record that it cannot read goes, with the reason, to
//! `weights.quarantine`, and all others are not harmed.
//!
//! `cargo run --example own_source_and_sink`

use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use lineshaft::engine::sink::{Sink, SinkFactory, Worker};
use lineshaft::engine::source::{Chunk, ChunkSender, Decoded, Decoder, Message, Payload, Rejected, Source};
use lineshaft::engine::{Result, TIMESTAMP};
use lineshaft::{Batch, Engine};

/// The connectors that are declared here are never opened: the program brings its own.
const PROGRAM: &str = "
    CREATE SOURCE weights (ts TIMESTAMP NOT NULL, kg DOUBLE NOT NULL, WATERMARK FOR ts) WITH (connector = 'memory');
    CREATE SINK heavy WITH (connector = 'memory') AS SELECT kg FROM weights WHERE kg > 50;
    CREATE SINK unreadable WITH (connector = 'memory') AS SELECT detail FROM weights.quarantine;";

/// What a scale sends: seconds, a sign, tenths of a kilogram.
const TELEGRAMS: [&str; 5] = ["0001+0612", "0002+0480", "0003+ERR.", "0004+0999", "0005+0070"];

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let found = run()?;
    writeln!(std::io::stdout(), "heavy: {:?} kg, unreadable: {:?}", found.heavy, found.unreadable)?;
    Ok(())
}

/// What came out.
pub(crate) struct Found {
    pub(crate) heavy: Vec<f64>,
    pub(crate) unreadable: Vec<String>,
}

/// Runs the program to the end of the telegrams.
pub(crate) fn run() -> std::result::Result<Found, Box<dyn Error>> {
    let (heavy, unreadable) = (Display::default(), Display::default());
    // Late and unreadable rows are kept in the data directory; here it goes with the example.
    let data = tempfile::tempdir()?;
    let mut engine = Engine::from_sql(PROGRAM)?;
    engine.data(data.path());
    engine.add_source("weights", Box::new(Scale));
    engine.add_sink("heavy", Arc::new(heavy.clone())).add_sink("unreadable", Arc::new(unreadable.clone()));
    engine.start()?.wait()?;
    let heavy = heavy
        .rows()
        .iter()
        .flat_map(|rows| rows.column(0).as_primitive::<Float64Type>().values().to_vec())
        .collect();
    let texts = |rows: &RecordBatch| {
        rows.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    Ok(Found { heavy, unreadable: unreadable.rows().iter().flat_map(texts).collect() })
}

/// The scale at its serial line.
struct Scale;

impl Source for Scale {
    fn run(self: Box<Self>, chunks: ChunkSender, _runtime: tokio::runtime::Handle) -> Result<()> {
        for telegram in TELEGRAMS {
            let message = Message { topic: "scale".into(), payload: telegram.into(), ..Message::default() };
            // It waits while the engine is full, and is an error once the engine stops.
            chunks.send(Chunk::new(Payload::Messages(vec![message])))?;
        }
        Ok(())
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        let fields = vec![Field::new("ts", TIMESTAMP, false), Field::new("kg", DataType::Float64, false)];
        Arc::new(Telegrams(Arc::new(Schema::new(fields))))
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

/// Reads telegrams: a pure function, so that a replay gives the same rows.
struct Telegrams(SchemaRef);

impl Decoder for Telegrams {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    fn decode(&self, chunk: Chunk) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>> {
        let Payload::Messages(messages) = chunk.payload else { return Ok(Box::new(std::iter::empty())) };
        let (mut times, mut weights, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages {
            match telegram(&message.payload) {
                Some((seconds, tenths)) => {
                    times.push(i64::from(seconds) * 1_000_000);
                    weights.push(f64::from(tenths) / 10.0);
                }
                None => rejected.push(Rejected {
                    detail: format!(
                        "{} is no telegram of a scale",
                        String::from_utf8_lossy(&message.payload)
                    ),
                    origin: message.topic,
                    line: None,
                    reason: "format",
                    raw: message.payload,
                }),
            }
        }
        let columns: Vec<ArrayRef> =
            vec![Arc::new(TimestampMicrosecondArray::from(times)), Arc::new(Float64Array::from(weights))];
        let rows = RecordBatch::try_new(Arc::clone(&self.0), columns)?;
        Ok(Box::new(std::iter::once(Ok(Decoded::new(rows, rejected)))))
    }
}

/// Seconds and tenths of a kilogram.
fn telegram(payload: &[u8]) -> Option<(u32, i32)> {
    let (seconds, weight) = std::str::from_utf8(payload).ok()?.split_once('+')?;
    Some((seconds.parse().ok()?, weight.parse().ok()?))
}

/// Keeps what it is given. One for all workers: [`SinkFactory::is_parallel`] is false if nothing else is said.
#[derive(Clone, Default)]
struct Display(Arc<Mutex<Vec<RecordBatch>>>);

impl Display {
    fn rows(&self) -> Vec<RecordBatch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SinkFactory for Display {
    fn open(&self, _schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Display {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(batch.rows().clone());
        Ok(())
    }
}
