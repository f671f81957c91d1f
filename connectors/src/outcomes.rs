//! What has become of commands: from the sink that sends them back into the program, as the rows of a source.
//!
//! A source of outcomes goes on as long as others do, as that of a table that may change. What has not been kept when the
//! program ends is not told any more, so it begins with [`Outcome::Begun`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use lineshaft_engine::declaration::{OptionError, SourceDeclaration};
use lineshaft_engine::sink::Outcome;
use lineshaft_engine::source::{Chunk, ChunkSender, Decoder, Payload, Source};
use lineshaft_engine::{Error, Result};
use tokio::sync::mpsc;

use crate::rows::RowsDecoder;

/// Outcomes that are told at once, at most.
const MAX_AT_ONCE: usize = 4096;

/// The outcome of a command, and its row: the columns of the command and its number.
type Told = (Outcome, RecordBatch);

/// The ways from sinks to sources of outcomes, by the name of the actuator. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    channels: Arc<Mutex<HashMap<String, Channel>>>,
}

#[derive(Debug)]
struct Channel {
    teller: Teller,
    /// Until the source takes it.
    receiver: Option<mpsc::UnboundedReceiver<Told>>,
}

/// Where a sink tells outcomes. They are as many as the commands that wait in its outbox, at most.
#[derive(Clone, Debug)]
pub(crate) struct Teller(mpsc::UnboundedSender<Told>);

impl Teller {
    /// Tells what has become of a command; nobody listens if the program ends.
    pub(crate) fn tell(&self, outcome: Outcome, command: &RecordBatch) {
        self.0.send((outcome, command.clone())).ok();
    }
}

impl Outcomes {
    /// Where the sink of an actuator tells.
    pub(crate) fn teller(&self, actuator: &str) -> Teller {
        self.with(actuator, |channel| channel.teller.clone())
    }

    fn with<T>(&self, actuator: &str, of: impl FnOnce(&mut Channel) -> T) -> T {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = channels.entry(actuator.to_owned()).or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            Channel { teller: Teller(sender), receiver: Some(receiver) }
        });
        of(channel)
    }
}

/// The source of outcomes of an actuator.
///
/// # Errors
/// If there are two of one actuator.
pub(crate) fn source(
    declaration: &SourceDeclaration,
    outcomes: &Outcomes,
) -> Result<Box<dyn Source>, Vec<OptionError>> {
    let actuator = declaration.options.get("actuator").map_or("", String::as_str);
    let taken = || vec![OptionError::of("actuator", format!("the outcomes of {actuator:?} are read twice"))];
    let receiver = outcomes.with(actuator, |channel| channel.receiver.take()).ok_or_else(taken)?;
    let (name, schema) = (declaration.name.clone(), Arc::clone(&declaration.schema));
    Ok(Box::new(OutcomeSource { name, schema, receiver }))
}

struct OutcomeSource {
    name: String,
    schema: SchemaRef,
    receiver: mpsc::UnboundedReceiver<Told>,
}

impl OutcomeSource {
    fn rows(&self, told: &[Told]) -> Result<RecordBatch> {
        let rows = |(outcome, command): &Told| {
            let mut columns = command.columns().to_vec();
            columns.push(Arc::new(StringArray::from(vec![outcome.name(); command.num_rows()])) as ArrayRef);
            RecordBatch::try_new(Arc::clone(&self.schema), columns)
                .map_err(|error| Error::connector("source", &self.name, error))
        };
        let rows: Vec<RecordBatch> = told.iter().map(rows).collect::<Result<_>>()?;
        Ok(concat_batches(&self.schema, &rows)?)
    }
}

impl OutcomeSource {
    /// A row of no command.
    fn begun(&self) -> Result<RecordBatch> {
        let names = StringArray::from(vec![Outcome::Begun.name()]);
        let numbers = Int64Array::from(vec![-1]);
        let of_command = &self.schema.fields()[..self.schema.fields().len() - 2];
        let columns = of_command.iter().map(|field| new_null_array(field.data_type(), 1));
        let columns = columns.chain([Arc::new(numbers) as ArrayRef, Arc::new(names)]).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl Source for OutcomeSource {
    fn run(mut self: Box<Self>, chunks: ChunkSender, runtime: tokio::runtime::Handle) -> Result<()> {
        runtime.block_on(async {
            let begun = Chunk { is_loaded: true, ..Chunk::new(Payload::Rows(self.begun()?)) };
            chunks.send_async(begun).await?;
            loop {
                let mut told = Vec::new();
                tokio::select! {
                    _ = self.receiver.recv_many(&mut told, MAX_AT_ONCE) => {}
                    () = chunks.stopped() => return Ok(()),
                }
                if told.is_empty() {
                    return Ok(());
                }
                chunks.send_async(Chunk::new(Payload::Rows(self.rows(&told)?))).await?;
            }
        })
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::new(RowsDecoder { schema: Arc::clone(&self.schema) })
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn loads(&self) -> bool {
        true
    }
}
