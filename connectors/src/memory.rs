//! `connector = 'memory'`: rows from and to the Rust program that embeds the engine.
//!
//! Option `channel` names the channel of a source or sink; without it, it is the name of the source or sink itself.
//! A source ends when every [`Input`] of its channel is closed or dropped. With `bounded = true` the engine counts on
//! that end: it reads the source in step with files, and closes its windows. Sending waits while the engine is full.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use lineshaft_engine::declaration::{OptionError, SinkDeclaration, SourceDeclaration};
use lineshaft_engine::sink::{Sink, SinkFactory, Worker};
use lineshaft_engine::source::{Chunk, ChunkSender, Decoded, Decoder, Payload, Source};
use lineshaft_engine::{Batch, Error, Result};
use tokio::sync::mpsc;

use crate::options::{OptionDoc, OptionReader};

const CHANNEL: OptionDoc =
    OptionDoc::optional("channel", "text", "its own name", "Name of the channel in the program.");

/// The options of the source.
pub const SOURCE_OPTIONS: &[OptionDoc] = &[
    CHANNEL,
    OptionDoc::optional("bounded", "true or false", "false", "Whether the rows end, as those of a file do."),
];

/// The options of the sink.
pub const SINK_OPTIONS: &[OptionDoc] = &[CHANNEL];

/// Batches that may wait in a channel.
const CAPACITY: usize = 16;

type Callback = Arc<dyn Fn(Batch) + Send + Sync>;

/// The channels between a program and its engine, by name. Clones are the same registry.
#[derive(Clone, Default)]
pub struct Registry {
    channels: Arc<Mutex<Channels>>,
}

#[derive(Default)]
struct Channels {
    inputs: HashMap<String, InputChannel>,
    outputs: HashMap<String, Vec<Callback>>,
}

struct InputChannel {
    /// The first sender, until the program asks for it.
    first: Option<mpsc::Sender<RecordBatch>>,
    more: mpsc::WeakSender<RecordBatch>,
    /// Until the source takes it.
    receiver: Option<mpsc::Receiver<RecordBatch>>,
}

impl InputChannel {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        Self { more: sender.downgrade(), first: Some(sender), receiver: Some(receiver) }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// The way into the source of this channel; may be asked for before or after the engine starts, and more than once.
    ///
    /// Returns `None` if all inputs of the channel have been closed.
    pub fn input(&self, channel: &str) -> Option<Input> {
        let mut channels = self.lock();
        let channel = channels.inputs.entry(channel.to_owned()).or_insert_with(InputChannel::new);
        let sender = channel.first.take().or_else(|| channel.more.upgrade())?;
        Some(Input { sender })
    }

    /// Calls `deliver` with each batch of the sinks of this channel, on a worker thread of the engine. It should be
    /// quick: the engine waits for it.
    pub fn output(&self, channel: &str, deliver: impl Fn(Batch) + Send + Sync + 'static) {
        self.lock().outputs.entry(channel.to_owned()).or_default().push(Arc::new(deliver));
    }

    /// The batches of the sinks of this channel, over a bounded channel: the engine waits while it is full. Dropping
    /// the receiver leaves later batches out.
    pub fn subscribe(&self, channel: &str) -> mpsc::Receiver<Batch> {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        self.output(channel, move |batch| {
            if sender.blocking_send(batch).is_err() {
                tracing::debug!("a subscriber has gone");
            }
        });
        receiver
    }

    /// The engine's end of a channel, once.
    fn take(&self, channel: &str) -> Option<mpsc::Receiver<RecordBatch>> {
        let mut channels = self.lock();
        channels.inputs.entry(channel.to_owned()).or_insert_with(InputChannel::new).receiver.take()
    }

    fn outputs(&self, channel: &str) -> Vec<Callback> {
        self.lock().outputs.get(channel).cloned().unwrap_or_default()
    }

    fn close_outputs(&self, channel: &str) {
        self.lock().outputs.remove(channel);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way of rows into a memory source. Dropping the last one ends the source.
#[derive(Clone, Debug)]
pub struct Input {
    sender: mpsc::Sender<RecordBatch>,
}

/// The engine no longer takes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source has stopped")]
pub struct Closed;

impl Input {
    /// Sends rows, whose columns are found by name; waits while the engine is full. For plain threads.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub fn send(&self, rows: RecordBatch) -> Result<(), Closed> {
        self.sender.blocking_send(rows).map_err(|_| Closed)
    }

    /// The same for async tasks.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub async fn send_async(&self, rows: RecordBatch) -> Result<(), Closed> {
        self.sender.send(rows).await.map_err(|_| Closed)
    }

    /// No more rows from here.
    pub fn close(self) {}
}

/// What is wrong with the options of a source.
pub fn check_source(declaration: &SourceDeclaration) -> Vec<OptionError> {
    let mut read = OptionReader::new("source", "memory", &declaration.options, SOURCE_OPTIONS);
    read.get::<bool>("bounded");
    read.errors()
}

/// What is wrong with the options of a sink.
pub fn check_sink(declaration: &SinkDeclaration) -> Vec<OptionError> {
    OptionReader::new("sink", "memory", &declaration.options, SINK_OPTIONS).errors()
}

/// A source of the rows that the program sends.
///
/// # Errors
/// What is wrong with the options, or that the channel has another source already.
pub fn source(
    declaration: &SourceDeclaration,
    registry: &Registry,
) -> Result<Box<dyn Source>, Vec<OptionError>> {
    let mut read = OptionReader::new("source", "memory", &declaration.options, SOURCE_OPTIONS);
    let channel = read.or("channel", declaration.name.clone());
    let is_bounded = read.or("bounded", false);
    let receiver = registry.take(&channel);
    if receiver.is_none() {
        read.error(
            OptionError::general(format!("the channel {channel:?} has a source already"))
                .help("use one channel a source"),
        );
    }
    let receiver = read.finish(receiver)?;
    let fields: Vec<usize> = declaration.needed.clone();
    let decoder = MemoryDecoder {
        output: Arc::new(
            declaration
                .schema
                .project(&fields)
                .map_err(|error| vec![OptionError::general(error.to_string())])?,
        ),
        schema: Arc::clone(&declaration.schema),
        name: declaration.name.clone(),
    };
    Ok(Box::new(MemorySource { receiver, is_bounded, decoder: Arc::new(decoder) }))
}

struct MemorySource {
    receiver: Option<mpsc::Receiver<RecordBatch>>,
    is_bounded: bool,
    decoder: Arc<MemoryDecoder>,
}

impl Source for MemorySource {
    fn run(self: Box<Self>, chunks: ChunkSender, runtime: tokio::runtime::Handle) -> Result<()> {
        let Some(mut receiver) = self.receiver else {
            return Ok(());
        };
        runtime.block_on(async {
            loop {
                let rows = tokio::select! {
                    rows = receiver.recv() => rows,
                    () = chunks.stopped() => None,
                };
                let Some(rows) = rows else { break };
                let rows = self.decoder.shape(&rows)?;
                chunks.send_async(Chunk::new(Payload::Rows(rows))).await?;
            }
            if !chunks.is_stopped() {
                chunks.send_async(Chunk { last: true, ..Chunk::new(Payload::Empty) }).await?;
            }
            Ok(())
        })
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::clone(&self.decoder) as Arc<dyn Decoder>
    }

    fn is_bounded(&self) -> bool {
        self.is_bounded
    }
}

struct MemoryDecoder {
    schema: SchemaRef,
    output: SchemaRef,
    name: String,
}

impl MemoryDecoder {
    /// All declared columns must be there with values of their type; the needed ones are kept.
    fn shape(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let error = |reason: String| Error::connector("memory source", &self.name, reason);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.output.fields().len());
        for field in self.schema.fields() {
            let (name, data_type) = (field.name(), field.data_type());
            let array = match rows.column_by_name(name) {
                Some(array) if array.data_type() == data_type => Arc::clone(array),
                Some(array) => cast(array, data_type)
                    .ok()
                    .filter(|cast| cast.null_count() == array.logical_null_count())
                    .ok_or_else(|| {
                        error(format!("column {name:?} is {}, declared {data_type}", array.data_type()))
                    })?,
                None => new_null_array(data_type, rows.num_rows()),
            };
            if !field.is_nullable() && array.null_count() > 0 {
                return Err(error(format!("column {name:?} has NULL, but is declared NOT NULL")));
            }
            if self.output.column_with_name(name).is_some() {
                arrays.push(array);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output), arrays, &options)?)
    }
}

impl Decoder for MemoryDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    fn decode(&self, chunk: Chunk) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>> {
        Ok(match chunk.payload {
            Payload::Rows(rows) => Box::new(std::iter::once(Ok(Decoded::new(rows, Vec::new())))),
            _ => Box::new(std::iter::empty()),
        })
    }
}

/// A sink that gives its rows to the program.
///
/// # Errors
/// What is wrong with the options.
pub fn sink(
    declaration: &SinkDeclaration,
    registry: &Registry,
) -> Result<Box<dyn SinkFactory>, Vec<OptionError>> {
    let mut read = OptionReader::new("sink", "memory", &declaration.options, SINK_OPTIONS);
    let channel = read.or("channel", declaration.name.clone());
    let registry = registry.clone();
    read.finish(Box::new(MemorySinkFactory { channel, registry }) as Box<dyn SinkFactory>)
}

struct MemorySinkFactory {
    channel: String,
    registry: Registry,
}

impl SinkFactory for MemorySinkFactory {
    fn open(&self, _schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        let outputs = self.registry.outputs(&self.channel);
        Ok(Box::new(MemorySink { outputs, channel: self.channel.clone(), registry: self.registry.clone() }))
    }
}

struct MemorySink {
    outputs: Vec<Callback>,
    channel: String,
    registry: Registry,
}

impl Sink for MemorySink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.outputs.iter().for_each(|deliver| deliver(batch.clone()));
        Ok(())
    }
}

/// A subscriber sees the end when its sender is gone, also when the program fails.
impl Drop for MemorySink {
    fn drop(&mut self) {
        self.registry.close_outputs(&self.channel);
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::format::testing::{declaration, lines};

    fn received(rows: RecordBatch) -> Result<Vec<String>> {
        let registry = Registry::default();
        let mut declaration = declaration("a DOUBLE, n BIGINT NOT NULL, s TEXT");
        declaration.needed = vec![0, 2];
        let source = source(&declaration, &registry).unwrap();
        assert!(
            super::source(&declaration, &registry).err().unwrap()[0].message.contains("has a source already")
        );
        let input = registry.input("readings").unwrap();
        let second = registry.input("readings").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (sender, mut receiver) = ChunkSender::channel();
        let (decoder, handle) = (source.decoder(), runtime.handle().clone());
        let thread = std::thread::spawn(move || source.run(sender, handle));
        input.send(rows).unwrap();
        input.close();
        second.close();
        assert!(registry.input("readings").is_none());
        let mut all = Vec::new();
        while let Some(chunk) = receiver.blocking_recv() {
            for decoded in decoder.decode(chunk)? {
                all.extend(lines(&decoded?.rows));
            }
        }
        thread.join().unwrap()?;
        Ok(all)
    }

    #[test]
    fn columns_are_found_by_name_and_the_source_ends_with_its_inputs() {
        let columns: [(&str, ArrayRef); 2] = [
            ("n", Arc::new(Int64Array::from(vec![1, 2]))),
            ("a", Arc::new(Float32Array::from(vec![0.5, 1.5]))),
        ];
        assert_eq!(received(RecordBatch::try_from_iter(columns).unwrap()).unwrap(), ["0.5|", "1.5|"]);
    }

    #[test]
    fn a_column_that_does_not_fit_is_an_error_with_its_name() {
        let names: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let rows = RecordBatch::try_from_iter([("n", names)]).unwrap();
        let error = received(rows).unwrap_err();
        assert!(error.to_string().contains("column \"n\" is Utf8, declared Int64"), "{error}");
    }

    #[test]
    fn a_subscriber_gets_the_batches_and_the_end() {
        let registry = Registry::default();
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let declaration = SinkDeclaration {
            name: "out".into(),
            schema: Arc::clone(&schema),
            options: Default::default(),
            folder: Default::default(),
        };
        let mut batches = registry.subscribe("out");
        let mut sink =
            sink(&declaration, &registry).unwrap().open(schema, Worker { index: 0, count: 1 }).unwrap();
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        sink.write(&RecordBatch::try_from_iter([("n", numbers)]).unwrap().into()).unwrap();
        drop(sink);
        assert_eq!(lines(batches.blocking_recv().unwrap().rows()), ["7"]);
        assert_eq!(batches.blocking_recv(), None);
    }
}
