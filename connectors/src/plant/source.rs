//! The plant as a source: the readings of all presses as rows.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, SchemaRef};
use lineshaft_engine::clock::Clock;
use lineshaft_engine::declaration::{OptionError, SourceDeclaration};
use lineshaft_engine::source::{Chunk, ChunkSender, Decoder, Payload, Source};
use lineshaft_engine::{Error, Result, TIMESTAMP};
use tokio::sync::mpsc;
use tokio::time::interval;

use super::commands::{self, COMMAND_TOPIC};
use super::model::{Plant, PlantOptions, PlantState, Reading, SetPoint, Status};
use crate::generator::{start, starts_now};
use crate::options::{OptionDoc, OptionReader, suggestion};
use crate::position;
use crate::rows::{RowsDecoder, batch, needed_schema};

/// Rows of a chunk, about.
const MAX_ROWS: usize = 65_536;
/// A fast plant gathers the readings of this time in a chunk.
const PACE: Duration = Duration::from_millis(20);

/// The options of a plant.
pub const OPTIONS: &[OptionDoc] = &[
    OptionDoc::optional("lines", "whole number", "3", "Number of lines: line-1, line-2, ..."),
    OptionDoc::optional(
        "machines",
        "whole number",
        "4",
        "Number of presses of a line: press-1-1, press-1-2, ...",
    ),
    OptionDoc::optional("rate", "number", "1", "Readings per press and simulated second."),
    OptionDoc::optional("speedup", "number", "1", "Simulated seconds per second of wall-clock time."),
    OptionDoc::optional("seed", "whole number", "1", "Another seed gives another plant."),
    OptionDoc::optional(
        "start",
        "time or 'now'",
        "2026-01-01T00:00:00Z",
        "Event time of the first readings.",
    ),
    OptionDoc::optional("duration", "duration", "no end", "Simulated time after which the source ends."),
    OptionDoc::optional("url", "text", "none", "A broker where the plant listens for set-points."),
    OptionDoc::optional(
        "command_topic",
        "text",
        COMMAND_TOPIC,
        "Where set-points come in, as {\"speed\":..,\"heat\":..}.",
    ),
];

/// Name and type of each column. A metadata column is `received_at`.
const COLUMNS: [(&str, Kind); 16] = [
    ("ts", Kind::Time),
    ("line", Kind::Text(|reading| &reading.line)),
    ("machine", Kind::Text(|reading| &reading.machine)),
    ("speed", Kind::Number(|reading| reading.speed)),
    ("heat", Kind::Number(|reading| reading.heat)),
    ("humidity", Kind::Number(|reading| reading.humidity)),
    ("temperature", Kind::Number(|reading| reading.temperature)),
    ("vibration", Kind::Number(|reading| reading.vibration)),
    ("pressure", Kind::Number(|reading| reading.pressure)),
    ("current", Kind::Number(|reading| reading.current)),
    ("power", Kind::Number(|reading| reading.power)),
    ("throughput", Kind::Number(|reading| reading.throughput)),
    ("defects", Kind::Number(|reading| reading.defects)),
    ("wear", Kind::Number(|reading| reading.wear)),
    ("fault", Kind::Fault),
    ("status", Kind::Text(|reading| reading.status.name())),
];

#[derive(Clone, Copy)]
enum Kind {
    Time,
    Text(fn(&Reading) -> &str),
    Number(fn(&Reading) -> f64),
    Fault,
    ReceivedAt,
}

/// A source of the readings of a plant.
///
/// # Errors
/// All that is wrong with the options and columns.
pub fn source(declaration: &SourceDeclaration) -> Result<Box<dyn Source>, Vec<OptionError>> {
    let mut read = OptionReader::new("source", "plant", &declaration.options, OPTIONS);
    let options = read_options(&mut read);
    let speedup = positive(&mut read, "speedup", 1.0);
    let duration = read.get("duration").map(|duration: Duration| duration.as_secs_f64());
    let url: Option<String> = read.get("url");
    let topic = read.or("command_topic", COMMAND_TOPIC.to_owned());
    let listener = url.map(|url| commands::Listener::new(&declaration.name, &url, &topic));
    let listener = listener.transpose().unwrap_or_else(|error| {
        read.error(error);
        None
    });
    if let (Some(seconds), false) = (duration, declaration.options.contains_key("speedup")) {
        tracing::info!(
            "source {}: {seconds} s of the plant take {seconds} s; with speedup = '100' a hundredth",
            declaration.name
        );
    }
    let kinds = kinds(declaration, &mut read);
    let schema = needed_schema(declaration).map_err(|error| vec![OptionError::general(error.to_string())])?;
    let columns = read.finish(kinds)?;
    let reads_clock = starts_now(&declaration.options)
        || listener.is_some()
        || columns.iter().any(|kind| matches!(kind, Kind::ReceivedAt));
    Ok(Box::new(PlantSource {
        name: declaration.name.clone(),
        repeats: duration.is_some() && !reads_clock,
        plant: Plant::new(options.clone()),
        options,
        speedup,
        duration,
        listener,
        schema,
        columns,
    }))
}

/// What is wrong with the declaration of a plant.
pub(crate) fn check(declaration: &SourceDeclaration) -> Vec<OptionError> {
    source(declaration).err().unwrap_or_default()
}

fn read_options(read: &mut OptionReader<'_>) -> PlantOptions {
    let default = PlantOptions::default();
    let options = PlantOptions {
        lines: read.or("lines", default.lines),
        machines: read.or("machines", default.machines),
        rate: positive(read, "rate", default.rate),
        seed: read.or("seed", default.seed),
        start: start(read),
    };
    for (name, count) in [("lines", options.lines), ("machines", options.machines)] {
        if !(1..=10_000).contains(&count) {
            read.error(OptionError::of(name, format!("option {name:?} is not from 1 to 10000")));
        }
    }
    options
}

fn positive(read: &mut OptionReader<'_>, name: &str, default: f64) -> f64 {
    let value = read.or(name, default);
    if value > 0.0 {
        return value;
    }
    read.error(OptionError::of(name, format!("option {name:?} is not above 0")));
    default
}

/// The kind of each needed column.
fn kinds(declaration: &SourceDeclaration, read: &mut OptionReader<'_>) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (index, field) in declaration.schema.fields().iter().enumerate() {
        match kind(field, declaration.metadata.contains(&index)) {
            Ok(kind) if declaration.needed.contains(&index) => kinds.push(kind),
            Ok(_) => {}
            Err(error) => read.error(error),
        }
    }
    kinds
}

fn kind(field: &Field, is_metadata: bool) -> Result<Kind, OptionError> {
    let name = field.name().as_str();
    if is_metadata {
        return Ok(Kind::ReceivedAt);
    }
    let Some((_, kind)) = COLUMNS.iter().find(|(column, _)| *column == name) else {
        let names = COLUMNS.map(|(column, _)| column);
        let error = OptionError::general(format!("a plant source has no column {name:?}"));
        return Err(error.help(suggestion(name, &names)));
    };
    let (fits, expected) = match (kind, field.data_type()) {
        (Kind::Time | Kind::ReceivedAt, found) => (*found == TIMESTAMP, "TIMESTAMP"),
        (Kind::Text(_), found) => {
            (matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View), "TEXT")
        }
        (Kind::Number(_), found) => (found.is_floating(), "DOUBLE"),
        (Kind::Fault, found) => (*found == DataType::Boolean, "BOOLEAN"),
    };
    match fits {
        true => Ok(*kind),
        false => Err(OptionError::general(format!("column {name:?} of a plant source is of another type"))
            .help(format!("declare it as {expected}"))),
    }
}

struct PlantSource {
    name: String,
    /// The readings are the same in every run, and end.
    repeats: bool,
    plant: Plant,
    options: PlantOptions,
    speedup: f64,
    /// In simulated seconds.
    duration: Option<f64>,
    listener: Option<commands::Listener>,
    schema: SchemaRef,
    columns: Vec<Kind>,
}

impl Source for PlantSource {
    fn run(mut self: Box<Self>, chunks: ChunkSender, runtime: tokio::runtime::Handle) -> Result<()> {
        // Without a listener nobody holds the other end, and it is empty for ever.
        let (sender, set_points) = mpsc::channel(commands::WAITING);
        let listening = self.listener.take().map(|listener| runtime.spawn(listener.run(sender)));
        let result = runtime.block_on(self.run_on(&chunks, set_points));
        if let Some(listening) = listening {
            listening.abort();
        }
        result
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::new(RowsDecoder { schema: Arc::clone(&self.schema) })
    }

    fn is_bounded(&self) -> bool {
        self.duration.is_some()
    }

    fn go_on(&mut self, position: &[u8]) -> Result<()> {
        let state: PlantState = position::read("plant source", &self.name, position)?;
        match self.plant.set_state(state) {
            true => Ok(()),
            false => {
                let reason = "the plant of the journal has more or fewer presses";
                Err(Error::connector("plant source", &self.name, reason))
            }
        }
    }

    fn repeats(&self) -> bool {
        self.repeats
    }
}

impl PlantSource {
    async fn run_on(&mut self, chunks: &ChunkSender, mut set_points: mpsc::Receiver<SetPoint>) -> Result<()> {
        let step = Duration::from_secs_f64(1.0 / (self.options.rate * self.speedup));
        let pace = PACE.max(step);
        let mut ticks = interval(pace);
        let mut seconds = self.plant.seconds();
        loop {
            tokio::select! {
                _ = ticks.tick() => seconds += pace.as_secs_f64() * self.speedup,
                () = chunks.stopped() => return Ok(()),
            }
            while let Ok(set_point) = set_points.try_recv() {
                self.plant.command(&set_point);
            }
            let due = self.duration.map_or(seconds, |end| end.min(seconds));
            while self.plant.seconds() < due {
                let chunk = self.chunk(due)?;
                if chunks.send_async(chunk).await.is_err() {
                    return Ok(());
                }
            }
            if self.has_ended() {
                return Ok(());
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.duration.is_some_and(|end| self.plant.seconds() >= end)
    }

    /// The readings that are due, as many as make a good chunk.
    fn chunk(&mut self, due: f64) -> Result<Chunk> {
        let mut readings = Vec::new();
        while self.plant.seconds() < due && readings.len() < MAX_ROWS {
            readings.extend(self.plant.step());
        }
        let columns = self.columns.iter().map(|kind| column(*kind, &readings)).collect();
        let mut chunk = Chunk::new(Payload::Rows(batch(&self.schema, readings.len(), columns)?));
        chunk.near = readings.last().map(|reading| reading.ts);
        chunk.rest = chunk.near;
        chunk.last = self.has_ended();
        if !self.repeats {
            chunk.position = Some(position::write(&self.plant.state())?);
        }
        Ok(chunk)
    }
}

fn column(kind: Kind, readings: &[Reading]) -> ArrayRef {
    match kind {
        Kind::Time => {
            Arc::new(readings.iter().map(|reading| Some(reading.ts)).collect::<TimestampMicrosecondArray>())
        }
        Kind::Text(text) => Arc::new(StringArray::from_iter_values(readings.iter().map(text))),
        Kind::Number(number) => Arc::new(readings.iter().map(number).collect::<Float64Array>()),
        Kind::Fault => {
            let faults: Vec<bool> = readings.iter().map(|reading| reading.status == Status::Fault).collect();
            Arc::new(BooleanArray::from(faults))
        }
        Kind::ReceivedAt => {
            let now = Clock::system().now();
            Arc::new(readings.iter().map(|_| Some(now)).collect::<TimestampMicrosecondArray>())
        }
    }
}

/// A reading as a JSON object, with the names of the columns.
pub(super) fn to_json(reading: &Reading) -> Vec<u8> {
    use crate::format::rows::JsonObjects;
    let mut payload = Vec::new();
    let readings = std::slice::from_ref(reading);
    let columns = COLUMNS.iter().map(|(name, kind)| (*name, column(*kind, readings)));
    // Columns of one length and of types that JSON has: this cannot fail.
    let rows = arrow::array::RecordBatch::try_from_iter(columns).map_err(lineshaft_engine::Error::from);
    match rows.and_then(|rows| JsonObjects::new(&rows)) {
        Ok(objects) => objects.write(0, &mut payload),
        Err(error) => tracing::error!("a reading has no JSON: {error}"),
    }
    payload
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, RecordBatch};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Float64Type, Schema, TimestampMicrosecondType};

    use super::*;
    use crate::position::testing::{all_rows, take};

    fn declaration(options: &[(&str, &str)], columns: &[(&str, DataType)]) -> SourceDeclaration {
        let fields: Vec<Field> =
            columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
        SourceDeclaration {
            name: "readings".into(),
            schema: Arc::new(Schema::new(fields)),
            metadata: Vec::new(),
            needed: (0..columns.len()).collect(),
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
    fn a_bounded_plant_gives_all_readings_and_ends() {
        let options = [("duration", "10 min"), ("speedup", "1000000"), ("rate", "2"), ("lines", "2")];
        let columns = [
            ("ts", TIMESTAMP),
            ("machine", DataType::Utf8),
            ("speed", DataType::Float32),
            ("fault", DataType::Boolean),
        ];
        let rows = run(&declaration(&options, &columns));
        assert_eq!(rows.num_rows(), 600 * 2 * 2 * 4);
        let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(9_599) - times.value(0), 599_500_000);
        assert_eq!(rows.column(1).as_string::<i32>().value(5), "press-2-2");
    }

    #[test]
    fn a_plant_without_an_end_goes_on_as_it_stood() {
        let columns = [("ts", TIMESTAMP), ("machine", DataType::Utf8), ("wear", DataType::Float64)];
        let endless = [("speedup", "20000"), ("rate", "2"), ("lines", "2")];
        let declared = declaration(&endless, &columns);
        let (mut rows, position) = take(source(&declared).unwrap(), 3);
        let mut second = source(&declared).unwrap();
        second.go_on(&position).unwrap();
        rows.extend(take(second, 2).0);
        let together = concat_batches(&rows[0].schema(), &rows).unwrap();
        let ended: Vec<_> = endless.into_iter().chain([("duration", "5000 s")]).collect();
        let undisturbed = run(&declaration(&ended, &columns));
        let common = together.num_rows().min(undisturbed.num_rows());
        assert!(common > rows.iter().take(4).map(RecordBatch::num_rows).sum::<usize>());
        assert_eq!(together.slice(0, common), undisturbed.slice(0, common));

        let mut smaller = source(&declaration(&[("lines", "1")], &columns)).unwrap();
        let error = smaller.go_on(&position).unwrap_err().to_string();
        assert!(error.contains("more or fewer presses"), "{error}");
        assert!(smaller.go_on(&position[..9]).unwrap_err().to_string().contains("is damaged"));
    }

    #[test]
    fn wrong_columns_and_options_are_told() {
        let columns = [("ts", DataType::Utf8), ("vibrtion", DataType::Float64), ("wear", DataType::Float64)];
        let Err(errors) = source(&declaration(&[("lines", "0"), ("rate", "0")], &columns)) else {
            panic!("it is wrong")
        };
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        let helps: Vec<&str> = errors.iter().filter_map(|error| error.help.as_deref()).collect();
        assert_eq!(helps, ["declare it as TIMESTAMP", "did you mean \"vibration\"?"]);
    }

    #[test]
    fn a_reading_is_an_object_with_the_names_of_the_columns() {
        let reading = &Plant::new(PlantOptions::default()).step()[5];
        let object: serde_json::Value = serde_json::from_slice(&to_json(reading)).unwrap();
        assert_eq!(object["ts"], "2026-01-01T00:00:00Z");
        assert_eq!((&object["line"], &object["machine"]), (&"line-2".into(), &"press-2-2".into()));
        assert_eq!(object["vibration"], reading.vibration);
        assert_eq!(object["fault"], false);
        let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        assert_eq!(object.as_object().unwrap().len(), names.len());
        assert!(
            column(COLUMNS[3].1, std::slice::from_ref(reading)).as_primitive::<Float64Type>().value(0) > 0.0
        );
    }
}
