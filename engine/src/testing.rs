//! Helpers for tests: batches from text tables, an operator without a dataflow, a source and a sink in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::util::display::array_value_to_string;

use crate::batch::Batch;
use crate::changelog::{Row, RowCodec};
use crate::control::lock;
use crate::error::Result;
use crate::operator::{Operator, Output, Snapshot};
use crate::sink::{Sink, SinkFactory, Worker};
use crate::source::{Chunk, ChunkSender, Decoded, Decoder, Payload, Source};
use crate::time::{Epoch, EpochHeader, Watermark};

/// Rows from a text table: a header of `name:type` (types `ts` in seconds, `f` double, `i` bigint, `s` text, `b`
/// boolean), then a line per row; columns are separated by blanks, `-` is NULL.
///
/// # Panics
/// If the table is not of that form.
pub fn table(text: &str) -> RecordBatch {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let header: Vec<_> = lines.next().expect("a header").split_whitespace().collect();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    let columns = header.iter().enumerate().map(|(place, column)| {
        let (name, kind) = column.split_once(':').expect("name:type");
        let cells: Vec<Option<&str>> =
            rows.iter().map(|row| (row[place] != "-").then_some(row[place])).collect();
        (name.to_owned(), column_of(kind, &cells), true)
    });
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}

fn column_of(kind: &str, cells: &[Option<&str>]) -> ArrayRef {
    let numbers = || cells.iter().map(|cell| cell.map(|cell| cell.parse::<f64>().expect("a number")));
    #[expect(clippy::cast_possible_truncation, reason = "small numbers of tests")]
    let micros = || numbers().map(|s| s.map(|s| (s * 1e6).round() as i64));
    match kind {
        "ts" => Arc::new(micros().collect::<TimestampMicrosecondArray>()),
        "f" => Arc::new(numbers().collect::<Float64Array>()),
        "i" => Arc::new(
            cells.iter().map(|c| c.map(|c| c.parse::<i64>().expect("a number"))).collect::<Int64Array>(),
        ),
        "b" => Arc::new(cells.iter().map(|c| c.map(|c| c == "true")).collect::<BooleanArray>()),
        _ => Arc::new(cells.iter().copied().collect::<StringArray>()),
    }
}

/// The rows as lines of text, columns separated by a blank, NULL as `-`.
///
/// # Panics
/// If a column has a type that cannot be shown.
pub fn lines<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayRef| match column.is_null(row) {
                true => "-".to_owned(),
                false => array_value_to_string(column, row).expect("a value that can be shown"),
            };
            lines.push(batch.columns().iter().map(cell).collect::<Vec<_>>().join(" "));
        }
    }
    lines
}

/// One step of an operator under test.
#[derive(Clone, Debug)]
pub enum Step {
    /// Rows on an input.
    Rows(usize, RecordBatch),
    /// Rows with weights on an input.
    Changes(usize, Batch),
    /// The watermark moves to so many seconds.
    Watermark(f64),
    /// The input has ended.
    End,
}

/// Runs an operator without a dataflow; gives the rows of its first port. Every step is an epoch.
///
/// # Errors
/// What the operator says.
pub fn run(operator: &mut dyn Operator, ports: usize, steps: Vec<Step>) -> Result<Vec<RecordBatch>> {
    let mut output = Output::new(ports);
    for (epoch, step) in (0..).zip(steps) {
        take_step(operator, epoch, step, &mut output)?;
    }
    Ok(output.take(0).into_iter().map(Batch::into_rows).collect())
}

fn take_step(operator: &mut dyn Operator, epoch: Epoch, step: Step, output: &mut Output) -> Result<()> {
    match step {
        Step::Rows(input, rows) => operator.on_batch(input, rows.into(), output)?,
        Step::Changes(input, changes) => operator.on_batch(input, changes, output)?,
        #[expect(clippy::cast_possible_truncation, reason = "small numbers of tests")]
        Step::Watermark(seconds) => operator.on_watermark(Watermark((seconds * 1e6) as i64), output)?,
        Step::End => operator.on_watermark(Watermark::END, output)?,
    }
    operator.on_epoch_end(EpochHeader::new(epoch, 0), output)
}

/// What an operator gives in each step, on all its ports, as sorted [`lines`] with their weights. After step `restart` a
/// new one goes on from a snapshot, whose last part was given when the operator had taken all other steps, too.
///
/// # Errors
/// What the operator says.
///
/// # Panics
/// If the operator gives something else because a snapshot is taken of it.
pub fn run_restarted<O: Operator>(
    make: impl Fn() -> O,
    ports: usize,
    steps: &[Step],
    restart: Option<usize>,
) -> Result<Vec<Vec<String>>> {
    let (mut operator, mut given) = (make(), Vec::with_capacity(steps.len()));
    let numbered: Vec<(Epoch, &Step)> = (0..).zip(steps).collect();
    let (before, after) =
        numbered.split_at(restart.map_or(steps.len(), |restart| steps.len().min(restart + 1)));
    for step in before {
        given.push(lines_of_step(&mut operator, ports, *step)?);
    }
    if restart.is_none() {
        return Ok(given);
    }
    let mut snapshot = operator.snapshot()?;
    let (mut undisturbed, mut is_whole) = (Vec::with_capacity(after.len()), false);
    for step in after {
        undisturbed.push(lines_of_step(&mut operator, ports, *step)?);
        is_whole = is_whole || !extend(&mut snapshot, &mut operator)?;
    }
    while !is_whole {
        is_whole = !extend(&mut snapshot, &mut operator)?;
    }
    let mut restored = make();
    restored.restore(snapshot)?;
    let gone_on = after.iter().map(|step| lines_of_step(&mut restored, ports, *step));
    given.extend(gone_on.collect::<Result<Vec<_>>>()?);
    let plain = if after.is_empty() { Vec::new() } else { run_restarted(make, ports, steps, None)? };
    assert!(plain.ends_with(&undisturbed), "a snapshot changes what it is taken of");
    Ok(given)
}

/// All of the state at once.
///
/// # Errors
/// What the operator says.
pub fn whole_snapshot(operator: &mut dyn Operator) -> Result<Snapshot> {
    let mut snapshot = operator.snapshot()?;
    while extend(&mut snapshot, operator)? {}
    Ok(snapshot)
}

/// Adds the next part of a snapshot; false if that was all.
///
/// # Errors
/// What the operator says.
pub fn extend(snapshot: &mut Snapshot, operator: &mut dyn Operator) -> Result<bool> {
    let rest = operator.rest_of_snapshot()?;
    let is_more = rest.is_some();
    snapshot.tables.extend(rest.into_iter().flat_map(|rest| rest.tables));
    Ok(is_more)
}

fn lines_of_step(
    operator: &mut dyn Operator,
    ports: usize,
    (epoch, step): (Epoch, &Step),
) -> Result<Vec<String>> {
    let mut output = Output::new(ports);
    take_step(operator, epoch, step.clone(), &mut output)?;
    let mut lines: Vec<String> = (0..ports)
        .flat_map(|port| output.take(port).into_iter().flat_map(move |batch| with_weights(port, &batch)))
        .collect();
    lines.sort();
    Ok(lines)
}

/// Port, weight and columns of each row.
fn with_weights(port: usize, batch: &Batch) -> Vec<String> {
    let weight = |row: usize| batch.weights().map_or(1, |weights| weights.value(row));
    let rows = lines([batch.rows()]).into_iter().enumerate();
    rows.map(|(row, line)| format!("{port}: {:+} {line}", weight(row))).collect()
}

/// A bounded source of rows in memory; each batch is a chunk.
pub struct Rows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Rows {
    /// A source of `batches`, which are not empty.
    ///
    /// # Panics
    /// If there is no batch.
    pub fn new(batches: Vec<RecordBatch>) -> Box<Self> {
        Box::new(Self { schema: batches[0].schema(), batches })
    }
}

impl Source for Rows {
    fn run(self: Box<Self>, chunks: ChunkSender, _runtime: tokio::runtime::Handle) -> Result<()> {
        for batch in self.batches {
            chunks.send(Chunk::new(Payload::Rows(batch)))?;
        }
        Ok(())
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::new(Undecoded(Arc::clone(&self.schema)))
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

/// The decoder of rows that need no decoding.
pub struct Undecoded(pub SchemaRef);

impl Decoder for Undecoded {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    fn decode(&self, chunk: Chunk) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>> {
        let rows = match chunk.payload {
            Payload::Rows(rows) => Some(Ok(Decoded::new(rows, Vec::new()))),
            _ => None,
        };
        Ok(Box::new(rows.into_iter()))
    }
}

/// A sink that keeps all rows in memory.
#[derive(Clone, Debug, Default)]
pub struct Collected(Arc<Mutex<Vec<Batch>>>);

impl Collected {
    /// The rows that are there: of a changelog those that were not taken back.
    ///
    /// # Panics
    /// If a row was taken back that was not there.
    pub fn batches(&self) -> Vec<RecordBatch> {
        let batches = lock(&self.0).clone();
        match batches.iter().any(|batch| batch.weights().is_some()) {
            true => added_up(&batches),
            false => batches.into_iter().map(Batch::into_rows).collect(),
        }
    }

    /// What came, with its weights.
    pub fn changes(&self) -> Vec<Batch> {
        lock(&self.0).clone()
    }

    /// The rows so far, as sorted [`lines`].
    pub fn sorted(&self) -> Vec<String> {
        let mut lines = lines(&self.batches());
        lines.sort();
        lines
    }
}

impl SinkFactory for Collected {
    fn open(&self, _schema: SchemaRef, _worker: Worker) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Collected {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        lock(&self.0).push(batch.clone());
        Ok(())
    }
}

/// Each row as often as its weights say.
fn added_up(batches: &[Batch]) -> Vec<RecordBatch> {
    let schema = batches[0].schema();
    let codec = RowCodec::new(&schema).expect("columns that can be encoded");
    let mut counts: BTreeMap<Row, i64> = BTreeMap::new();
    for batch in batches {
        let rows = codec.encode(batch.rows().columns(), batch.num_rows()).expect("rows of one schema");
        for (number, row) in rows.into_iter().enumerate() {
            *counts.entry(row).or_default() += batch.weights().map_or(1, |weights| weights.value(number));
        }
    }
    let times = |count: i64| usize::try_from(count).expect("no row is taken back that is not there");
    let rows = counts.iter().flat_map(|(row, count)| std::iter::repeat_n(row.as_slice(), times(*count)));
    let columns = codec.decode(rows).expect("rows that were encoded");
    vec![RecordBatch::try_new(schema, columns).expect("columns of the schema")]
}

/// Number and bytes of the files that state is in, below the folder of [`crate::spill::SpillSettings`].
///
/// # Panics
/// If the folder cannot be read.
pub fn state_files(folder: &Path) -> (usize, u64) {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.expect("a folder of a test").path()).collect::<Vec<_>>()
    };
    let own = entries(folder).into_iter().filter(|path| path.is_dir());
    let files = own.flat_map(|own| entries(&own)).filter(|path| !path.ends_with("lock"));
    let sizes = files.map(|path| path.metadata().map_or(0, |file| file.len()));
    sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
}
