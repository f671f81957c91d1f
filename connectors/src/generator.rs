//! `connector = 'generator'`: seeded rows, at a rate or as fast as possible. Needs nothing outside.
//!
//! Row `i` is a function of the seed and `i` alone, whatever the rate is and however rows are grouped:
//!
//! | column | value of row `i` |
//! |---|---|
//! | the event time (else the first `TIMESTAMP`) | `start + i * interval`, less up to `disorder` |
//! | the first `TEXT` | the device `i mod keys`, such as `dev-00042` |
//! | `DOUBLE`, `REAL` | a sine of 5 to 15 minutes plus noise; mean, height and phase are of the device and column |
//! | whole numbers | `i` |
//! | `BOOLEAN` | true once in 1,000 rows |
//! | other `TEXT` | one of ten values of the column |
//! | other `TIMESTAMP` | `start + i * interval` |
//!
//! Guarantee: the rows are the same at every run. It is bounded if `rows` is given.
//! Position: the number of the next row, and the event time of the first one, which may have been `now`.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, SchemaRef};
use lineshaft_engine::clock::Clock;
use lineshaft_engine::declaration::{OptionError, Options, SourceDeclaration};
use lineshaft_engine::source::{Chunk, ChunkSender, Decoder, Payload, Source};
use lineshaft_engine::time::EventTime;
use lineshaft_engine::{Result, TIMESTAMP};
use serde::{Deserialize, Serialize};
use tokio::time::interval;

use crate::MetadataColumn;
use crate::options::{OptionDoc, OptionReader};
use crate::position;
use crate::random::Random;
use crate::rows::{RowsDecoder, batch, needed_schema, parse_time};
use lineshaft_engine::hash::stable_hash;

/// Rows of a chunk, at most.
const MAX_ROWS: u64 = 65_536;
/// A source with a rate sends a chunk about this often.
const PACE: Duration = Duration::from_millis(20);

/// The options of a generator.
pub const OPTIONS: &[OptionDoc] = &[
    OptionDoc::optional("rows", "whole number", "no end", "How many rows there are; then the source ends."),
    OptionDoc::optional("rate", "number", "as fast as possible", "Rows per second of wall-clock time."),
    OptionDoc::optional("seed", "whole number", "1", "Another seed gives other rows."),
    OptionDoc::optional("keys", "whole number", "100", "Number of devices, which take turns."),
    OptionDoc::optional("start", "time or 'now'", "2026-01-01T00:00:00Z", "Event time of the first row."),
    OptionDoc::optional("interval", "duration", "1 ms", "Event time between a row and the next."),
    OptionDoc::optional(
        "disorder",
        "duration",
        "0 s",
        "How far a row may be behind its place in event time.",
    ),
];

/// The columns that it gives.
pub const METADATA: &[MetadataColumn] = &[MetadataColumn { name: "received_at", data_type: TIMESTAMP }];

#[derive(Clone, Debug)]
struct GeneratorOptions {
    rows: Option<u64>,
    rate: Option<f64>,
    seed: u64,
    keys: u64,
    start: EventTime,
    interval_us: i64,
    disorder_us: u64,
}

impl GeneratorOptions {
    fn read(options: &Options) -> Result<Self, Vec<OptionError>> {
        let mut read = OptionReader::new("source", "generator", options, OPTIONS);
        let read_options = Self {
            rows: read.get("rows"),
            rate: read.get("rate"),
            seed: read.or("seed", 1),
            keys: read.or("keys", 100),
            start: start(&mut read),
            interval_us: micros(read.or("interval", Duration::from_millis(1))),
            disorder_us: micros(read.or("disorder", Duration::ZERO)).unsigned_abs(),
        };
        if read_options.keys == 0 {
            read.error(
                OptionError::of("keys", "option \"keys\" is 0").help("a generator has at least one device"),
            );
        }
        if read_options.rate.is_some_and(|rate| rate <= 0.0) {
            read.error(
                OptionError::of("rate", "option \"rate\" is not above 0").help("leave it out for full speed"),
            );
        }
        read.finish(read_options)
    }
}

/// The option `start`, which the plant has too.
pub(crate) fn start(read: &mut OptionReader<'_>) -> EventTime {
    let text = read.or("start", "2026-01-01T00:00:00Z".to_owned());
    if text == "now" {
        return Clock::system().now();
    }
    parse_time("start", &text).unwrap_or_else(|error| {
        read.error(error);
        0
    })
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A source of seeded rows.
///
/// # Errors
/// All that is wrong with the options, and columns that it has no values for.
pub fn source(declaration: &SourceDeclaration) -> Result<Box<dyn Source>, Vec<OptionError>> {
    let options = GeneratorOptions::read(&declaration.options)?;
    let rows = Rows::new(declaration, options.clone())?;
    let reads_clock = starts_now(&declaration.options)
        || rows.columns.iter().any(|(filling, ..)| matches!(filling, Filling::ReceivedAt));
    let repeats = options.rows.is_some() && !reads_clock;
    Ok(Box::new(Generator { name: declaration.name.clone(), options, rows, first: 0, repeats }))
}

/// True if the option `start` is another time at every run.
pub(crate) fn starts_now(options: &Options) -> bool {
    options.get("start").is_some_and(|start| start == "now")
}

/// What is wrong with the declaration of a generator.
pub(crate) fn check(declaration: &SourceDeclaration) -> Vec<OptionError> {
    source(declaration).err().unwrap_or_default()
}

struct Generator {
    name: String,
    options: GeneratorOptions,
    rows: Rows,
    /// The row to begin with.
    first: u64,
    /// The rows are the same in every run, and end.
    repeats: bool,
}

/// Where a generator stands.
#[derive(Serialize, Deserialize)]
struct Place {
    next: u64,
    start: EventTime,
}

impl Source for Generator {
    fn run(self: Box<Self>, chunks: ChunkSender, runtime: tokio::runtime::Handle) -> Result<()> {
        match self.options.rate {
            Some(rate) => runtime.block_on(self.run_at(rate, &chunks)),
            None => self.run_freely(&chunks),
        }
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::new(RowsDecoder { schema: Arc::clone(&self.rows.schema) })
    }

    fn is_bounded(&self) -> bool {
        self.options.rows.is_some()
    }

    fn go_on(&mut self, position: &[u8]) -> Result<()> {
        let place: Place = position::read("generator source", &self.name, position)?;
        self.first = place.next;
        self.rows.options.start = place.start;
        Ok(())
    }

    fn repeats(&self) -> bool {
        self.repeats
    }

    fn total_rows(&self) -> Option<u64> {
        self.options.rows
    }
}

impl Generator {
    fn run_freely(&self, chunks: &ChunkSender) -> Result<()> {
        let mut first = self.first;
        while first < self.end() {
            let next = self.end().min(first + MAX_ROWS);
            if chunks.send(self.chunk(first, next)?).is_err() {
                return Ok(());
            }
            first = next;
        }
        Ok(())
    }

    /// An interval that was missed is made up for, so the mean rate holds; but not the time between two runs.
    async fn run_at(&self, rate: f64, chunks: &ChunkSender) -> Result<()> {
        let pace = PACE.max(Duration::from_secs_f64((1.0 / rate).min(3_600.0)));
        let mut ticks = interval(pace);
        let (mut first, mut seconds) = (self.first, 0.0);
        while first < self.end() {
            tokio::select! {
                _ = ticks.tick() => seconds += pace.as_secs_f64(),
                () = chunks.stopped() => return Ok(()),
            }
            let due = self.end().min(self.first.saturating_add(whole(rate * seconds)));
            while first < due {
                let next = due.min(first + MAX_ROWS);
                if chunks.send_async(self.chunk(first, next)?).await.is_err() {
                    return Ok(());
                }
                first = next;
            }
        }
        Ok(())
    }

    fn end(&self) -> u64 {
        self.options.rows.unwrap_or(u64::MAX)
    }

    fn chunk(&self, first: u64, end: u64) -> Result<Chunk> {
        let mut chunk = Chunk::new(Payload::Rows(self.rows.make(first, end)?));
        chunk.near = Some(self.rows.time(end - 1));
        let disorder = i64::try_from(self.rows.options.disorder_us).unwrap_or(i64::MAX);
        chunk.rest = Some(self.rows.time(end).saturating_sub(disorder));
        chunk.last = end == self.end();
        if !self.repeats {
            let place = Place { next: end, start: self.rows.options.start };
            chunk.position = Some(position::write(&place)?);
        }
        Ok(chunk)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates, which is what is meant")]
fn whole(number: f64) -> u64 {
    // A hair more, so that 10 rows/s * 0.1 s is a row.
    (number + 1e-6) as u64
}

/// How a column is filled.
#[derive(Clone, Copy, Debug)]
enum Filling {
    EventTime,
    Time,
    Device,
    Category,
    Wave,
    Sequence,
    Rare,
    ReceivedAt,
}

/// Makes the rows.
struct Rows {
    options: GeneratorOptions,
    schema: SchemaRef,
    /// Per column of `schema`: how it is filled, its name, and its own seed.
    columns: Vec<(Filling, String, u64)>,
}

impl Rows {
    fn new(declaration: &SourceDeclaration, options: GeneratorOptions) -> Result<Self, Vec<OptionError>> {
        let fields = declaration.schema.fields();
        let event_time = declaration
            .event_time
            .or_else(|| fields.iter().position(|field| *field.data_type() == TIMESTAMP));
        let device = fields.iter().position(|field| is_text(field.data_type()));
        let (mut fillings, mut errors) = (Vec::new(), Vec::new());
        for (index, field) in fields.iter().enumerate() {
            let is_metadata = declaration.metadata.contains(&index);
            match filling(field, is_metadata, Some(index) == event_time, Some(index) == device) {
                Ok(filling) => fillings.push(filling),
                Err(error) => errors.push(error),
            }
        }
        let schema =
            needed_schema(declaration).map_err(|error| vec![OptionError::general(error.to_string())])?;
        if !errors.is_empty() {
            return Err(errors);
        }
        let columns = declaration.needed.iter().map(|&index| {
            let name = fields[index].name();
            (fillings[index], name.clone(), stable_hash(&[name.as_bytes(), &options.seed.to_le_bytes()]))
        });
        Ok(Self { columns: columns.collect(), options, schema })
    }

    /// Rows `first..end`.
    fn make(&self, first: u64, end: u64) -> Result<RecordBatch> {
        let columns =
            self.columns.iter().map(|(filling, name, seed)| self.column(*filling, name, *seed, first, end));
        let rows = usize::try_from(end - first).unwrap_or(usize::MAX);
        batch(&self.schema, rows, columns.collect())
    }

    fn column(&self, filling: Filling, name: &str, seed: u64, first: u64, end: u64) -> ArrayRef {
        let rows = first..end;
        match filling {
            Filling::EventTime => times(rows.map(|row| self.disordered(seed, row))),
            Filling::Time => times(rows.map(|row| self.time(row))),
            Filling::Device => texts(rows.map(|row| format!("dev-{:05}", row % self.options.keys))),
            Filling::Category => {
                texts(rows.map(|row| format!("{name}-{}", Random::part(seed, row).below(10))))
            }
            Filling::Wave => self.wave(seed, first, end),
            Filling::Sequence => {
                Arc::new(rows.map(|row| i64::try_from(row).unwrap_or(i64::MAX)).collect::<Int64Array>())
            }
            Filling::Rare => {
                let values: Vec<bool> = rows.map(|row| Random::part(seed, row).below(1_000) == 0).collect();
                Arc::new(BooleanArray::from(values))
            }
            Filling::ReceivedAt => {
                let now = Clock::system().now();
                times(rows.map(|_| now))
            }
        }
    }

    fn time(&self, row: u64) -> EventTime {
        let passed = i64::try_from(row).unwrap_or(i64::MAX).saturating_mul(self.options.interval_us);
        self.options.start.saturating_add(passed)
    }

    fn disordered(&self, seed: u64, row: u64) -> EventTime {
        let disorder = self.options.disorder_us;
        if disorder == 0 {
            return self.time(row);
        }
        let behind = Random::part(seed, row).below(disorder + 1);
        self.time(row).saturating_sub(i64::try_from(behind).unwrap_or(i64::MAX))
    }

    fn wave(&self, seed: u64, first: u64, end: u64) -> ArrayRef {
        let values = (first..end).map(|row| {
            let shape = Wave::of(seed, row % self.options.keys);
            let seconds = (self.time(row) - self.options.start) as f64 / 1e6;
            shape.at(seconds) + Random::part(seed, row).noise()
        });
        Arc::new(values.collect::<Float64Array>())
    }
}

/// The sine of one device in one column.
struct Wave {
    mean: f64,
    height: f64,
    period_s: f64,
    phase: f64,
}

impl Wave {
    fn of(seed: u64, device: u64) -> Self {
        let mut random = Random::part(seed.rotate_left(17), device);
        Self {
            mean: 40.0 + 20.0 * random.uniform(),
            height: 5.0 + 10.0 * random.uniform(),
            period_s: 300.0 + 600.0 * random.uniform(),
            phase: TAU * random.uniform(),
        }
    }

    fn at(&self, seconds: f64) -> f64 {
        self.mean + self.height * (TAU * seconds / self.period_s + self.phase).sin()
    }
}

fn times(values: impl Iterator<Item = EventTime>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<TimestampMicrosecondArray>())
}

fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn filling(
    field: &Field,
    is_metadata: bool,
    is_event_time: bool,
    is_device: bool,
) -> Result<Filling, OptionError> {
    match field.data_type() {
        _ if is_metadata => Ok(Filling::ReceivedAt),
        _ if is_event_time => Ok(Filling::EventTime),
        DataType::Timestamp(_, _) => Ok(Filling::Time),
        _ if is_device => Ok(Filling::Device),
        text if is_text(text) => Ok(Filling::Category),
        DataType::Float32 | DataType::Float64 => Ok(Filling::Wave),
        number if number.is_integer() => Ok(Filling::Sequence),
        DataType::Boolean => Ok(Filling::Rare),
        other => Err(OptionError::general(format!(
            "a generator source has no values for column {:?} of type {other}",
            field.name()
        ))
        .help("it fills TIMESTAMP, TEXT, DOUBLE, REAL, whole numbers and BOOLEAN")),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Float64Type, Int64Type, Schema, TimestampMicrosecondType};

    use super::*;
    use crate::position::testing::{all_rows, take};

    fn declaration(options: &[(&str, &str)]) -> SourceDeclaration {
        let schema = Schema::new(vec![
            Field::new("ts", TIMESTAMP, false),
            Field::new("device", DataType::Utf8, false),
            Field::new("level", DataType::Float64, true),
            Field::new("n", DataType::Int64, true),
            Field::new("alarm", DataType::Boolean, true),
        ]);
        SourceDeclaration {
            name: "readings".into(),
            schema: Arc::new(schema),
            metadata: Vec::new(),
            needed: (0..5).collect(),
            wanted: Vec::new(),
            event_time: Some(0),
            table: None,
            options: options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            folder: ".".into(),
        }
    }

    /// All rows of one that ends.
    fn run(declaration: &SourceDeclaration) -> RecordBatch {
        all_rows(source(declaration).unwrap())
    }

    #[test]
    fn the_rows_of_a_seed_do_not_depend_on_the_rate() {
        let fast = run(&declaration(&[("rows", "2000"), ("keys", "7"), ("disorder", "50 ms")]));
        let slow =
            run(&declaration(&[("rows", "2000"), ("keys", "7"), ("disorder", "50 ms"), ("rate", "20000")]));
        assert_eq!(fast, slow);
        let other =
            run(&declaration(&[("rows", "2000"), ("keys", "7"), ("disorder", "50 ms"), ("seed", "2")]));
        assert_ne!(fast, other);
    }

    #[test]
    fn a_generator_without_an_end_goes_on_where_it_stood() {
        for options in [vec![("start", "now")], vec![("rate", "3000"), ("disorder", "1 s"), ("keys", "7")]] {
            let declaration = declaration(&options);
            let first = source(&declaration).unwrap();
            assert!(!first.repeats() && !first.is_bounded());
            let (mut rows, position) = take(first, 3);
            let mut second = source(&declaration).unwrap();
            second.go_on(&position).unwrap();
            rows.extend(take(second, 2).0);
            let together = concat_batches(&rows[0].schema(), &rows).unwrap();
            let numbers = together.column(3).as_primitive::<Int64Type>().values();
            assert!((0..).zip(numbers).all(|(row, number)| row == *number));
            if options[0].0 == "start" {
                let times = together.column(0).as_primitive::<TimestampMicrosecondType>().values();
                assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1_000));
            }
        }
    }

    #[test]
    fn only_a_generator_that_ends_and_reads_no_clock_repeats() {
        let repeats = |options: &[(&str, &str)]| source(&declaration(options)).unwrap().repeats();
        assert!(repeats(&[("rows", "10")]));
        assert!(!repeats(&[("rows", "10"), ("start", "now")]));
        assert!(!repeats(&[]));
        let error = source(&declaration(&[])).unwrap().go_on(b"x").unwrap_err();
        assert!(
            error.to_string().contains("\"readings\": the journal does not tell where it stood"),
            "{error}"
        );
    }

    #[test]
    fn columns_are_filled_by_type() {
        let rows = run(&declaration(&[("rows", "100000"), ("keys", "1000"), ("interval", "2 ms")]));
        let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(0), 1_767_225_600_000_000);
        assert_eq!(times.value(5), times.value(0) + 10_000);
        assert_eq!(rows.column(1).as_string::<i32>().value(42_042), "dev-00042");
        let levels = rows.column(2).as_primitive::<Float64Type>();
        assert!(levels.values().iter().all(|level| (20.0..80.0).contains(level)));
        assert_eq!(rows.column(3).as_primitive::<Int64Type>().value(99_999), 99_999);
        let alarms = rows.column(4).as_boolean().true_count();
        assert!((50..200).contains(&alarms), "{alarms}");
    }

    #[test]
    fn disorder_stays_within_its_limit() {
        let rows = run(&declaration(&[("rows", "10000"), ("disorder", "20 ms")]));
        let times = rows.column(0).as_primitive::<TimestampMicrosecondType>().values();
        let behind = |(row, time): (i64, &i64)| 1_767_225_600_000_000 + row * 1_000 - time;
        let most = (0..).zip(times).map(behind).max().unwrap();
        assert!((19_000..=20_000).contains(&most), "{most}");
        assert!((0..).zip(times).map(behind).min().unwrap() >= 0);
    }

    #[test]
    fn a_column_that_is_not_used_changes_no_other() {
        let mut part = declaration(&[("rows", "100")]);
        part.needed = vec![2];
        assert_eq!(run(&part).column(0), run(&declaration(&[("rows", "100")])).column(2));
        part.needed = vec![];
        assert_eq!(run(&part).num_rows(), 100);
    }

    #[test]
    fn wrong_options_and_columns_are_told() {
        let mut wrong = declaration(&[("keys", "0"), ("start", "yesterday")]);
        assert_eq!(source(&wrong).err().unwrap().len(), 2);
        wrong.options.clear();
        wrong.schema = Arc::new(Schema::new(vec![Field::new("raw", DataType::Binary, true)]));
        wrong.needed = vec![0];
        wrong.event_time = None;
        let errors = source(&wrong).err().unwrap();
        assert!(errors[0].to_string().contains("\"raw\""), "{errors:?}");
    }
}
