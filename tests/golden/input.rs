//! The rows of the sources of a golden file: read from text or made up, put out of order within the declared bound,
//! cut into batches; and which of them batch execution gets.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{CastOptions, cast_with_options, take_record_batch};
use arrow::datatypes::{DataType, Schema, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use lineshaft::queries::SourceEntry;

use super::script::{RowsHead, split};
use crate::support::seeded::Seeded;

/// The rows of one source.
pub(crate) struct SourceRows {
    /// In the order of arrival, in batches.
    pub(crate) streamed: Vec<RecordBatch>,
    /// Those that take part, in the order of the file.
    pub(crate) on_time: RecordBatch,
    pub(crate) late: RecordBatch,
    /// Without a time.
    pub(crate) quarantined: usize,
    /// With the key of a row that has passed.
    pub(crate) repeated: usize,
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    OnTime,
    Late,
    NoTime,
    /// A row of its key has passed.
    Repeated,
    /// Another row of its key comes later in a table.
    Replaced,
}

impl SourceRows {
    pub(crate) fn new(
        source: &SourceEntry,
        head: &RowsHead,
        text: &str,
        random: &mut Seeded,
    ) -> Result<Self, String> {
        let rows = match head.generate {
            Some((seed, n)) => generated(source, seed, n, head.differing_times),
            None => parsed(source, text)?,
        };
        let order = match head.in_order {
            true => (0..rows.num_rows()).collect(),
            false => disordered(source, &rows, random),
        };
        let fates = fates(source, &rows, &order);
        if !head.in_order
            && let Some(late) = fates.iter().position(|fate| *fate == Fate::Late)
        {
            return Err(format!("row {} is late: write `rows {} in order`", late + 1, head.source));
        }
        let of = |fate: Fate| {
            let places = (0..).zip(&fates).filter(|(_, found)| **found == fate).map(|(place, _)| place);
            take_record_batch(&rows, &places.collect::<UInt32Array>()).unwrap()
        };
        let count = |fate: Fate| fates.iter().filter(|found| **found == fate).count();
        let (quarantined, repeated) = (count(Fate::NoTime), count(Fate::Repeated));
        let order: UInt32Array = order.iter().map(|place| u32::try_from(*place).unwrap()).collect();
        let arriving = take_record_batch(&rows, &order).unwrap();
        let streamed = random.cut(&arriving);
        Ok(Self { streamed, on_time: of(Fate::OnTime), late: of(Fate::Late), quarantined, repeated })
    }
}

fn parsed(source: &SourceEntry, text: &str) -> Result<RecordBatch, String> {
    let schema = source.schema();
    let rows: Vec<Vec<String>> = text.lines().filter(|line| !line.starts_with('#')).map(split).collect();
    if let Some(row) = rows.iter().find(|row| row.len() != schema.fields().len()) {
        return Err(format!(
            "{:?} is a row of {} columns, not {}",
            row.join(" "),
            row.len(),
            schema.fields().len()
        ));
    }
    let columns = schema.fields().iter().enumerate().map(|(at, field)| {
        let cells: Vec<Option<String>> = rows.iter().map(|row| value(&row[at], field.data_type())).collect();
        column(&cells, field.data_type()).map_err(|error| format!("column {}: {error}", field.name()))
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_, _>>()?)
        .map_err(|error| error.to_string())
}

/// A cell without its quotes, and with the date that it may go without.
fn value(cell: &str, data_type: &DataType) -> Option<String> {
    if cell == "NULL" {
        return None;
    }
    let plain = cell.strip_prefix('\'').and_then(|cell| cell.strip_suffix('\''));
    let plain = plain.map_or_else(|| cell.to_owned(), |cell| cell.replace("''", "'"));
    let is_short = matches!(data_type, DataType::Timestamp(..)) && plain.as_bytes().get(2) == Some(&b':');
    Some(if is_short { format!("1970-01-01T{plain}") } else { plain })
}

fn column(cells: &[Option<String>], data_type: &DataType) -> Result<ArrayRef, String> {
    if let DataType::List(_) = data_type {
        let lines: String =
            cells.iter().map(|cell| format!("{{\"c\":{}}}\n", cell.as_deref().unwrap_or("null"))).collect();
        let field = arrow::datatypes::Field::new("c", data_type.clone(), true);
        let reader = arrow::json::ReaderBuilder::new(Arc::new(Schema::new(vec![field])));
        let rows = reader.build(lines.as_bytes()).and_then(|mut rows| rows.next().transpose());
        let rows = rows.map_err(|error| error.to_string())?;
        return Ok(
            rows.map_or_else(|| arrow::array::new_empty_array(data_type), |rows| Arc::clone(rows.column(0)))
        );
    }
    let text: ArrayRef = Arc::new(cells.iter().map(Option::as_deref).collect::<StringArray>());
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&text, data_type, &options).map_err(|error| error.to_string())
}

/// Made-up rows: times go on by up to a second and sometimes not at all, a text is one of five, one value in ten is
/// NULL where it may be.
fn generated(source: &SourceEntry, seed: u64, n: usize, differing_times: bool) -> RecordBatch {
    let mut random = Seeded::new(seed);
    let schema = source.schema();
    let times: Vec<i64> = (0..n)
        .scan(0_i64, |time, _| {
            let steps = [0, 0, random.below(1000), random.below(1000), random.below(300)];
            *time += random.pick(&steps) * 1000 + i64::from(differing_times);
            Some(*time)
        })
        .collect();
    let columns = schema.fields().iter().enumerate().map(|(at, field)| {
        let cells: Vec<Option<String>> = (0..n)
            .map(|row| {
                let is_time = source.statement.watermark.as_ref().is_some_and(|w| w.column == at);
                if is_time || matches!(field.data_type(), DataType::Timestamp(..)) {
                    return Some(shown_time(times[row]));
                }
                let text = made_up(field.name(), field.data_type(), row, &mut random);
                let is_null = field.is_nullable() && field.name() != "id" && random.chance(10);
                (!is_null).then_some(text)
            })
            .collect();
        column(&cells, field.data_type()).unwrap()
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

fn made_up(name: &str, data_type: &DataType, row: usize, random: &mut Seeded) -> String {
    match data_type {
        DataType::Boolean => (random.below(2) == 0).to_string(),
        DataType::Int64 if name == "id" => row.to_string(),
        data_type if data_type.is_integer() => (random.below(100) - 50).to_string(),
        DataType::Utf8 => format!("{}{}", &name[..1], random.below(5)),
        // Quarters have no error: a sum is the same in any order.
        _ => format!("{}", f64::from(i32::try_from(random.below(4000) - 2000).unwrap()) / 4.0),
    }
}

fn shown_time(micros: i64) -> String {
    let time: ArrayRef = Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![micros]));
    array_value_to_string(&time, 0).unwrap()
}

/// The event times of rows; `None` if the source has none.
fn times<'a>(
    source: &SourceEntry,
    rows: &'a RecordBatch,
) -> Option<&'a arrow::array::TimestampMicrosecondArray> {
    // A table that ends is loaded before anything else: no row of it is late.
    let watermark = source.statement.watermark.as_ref().filter(|_| !source.is_table)?;
    Some(rows.column(watermark.column).as_primitive::<TimestampMicrosecondType>())
}

/// An order of arrival: each row up to the declared disorder after its time.
fn disordered(source: &SourceEntry, rows: &RecordBatch, random: &mut Seeded) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.num_rows()).collect();
    let (Some(times), Some(watermark)) = (times(source, rows), &source.statement.watermark) else {
        return order;
    };
    let mut before = i64::MIN;
    let arrivals: Vec<i64> = order
        .iter()
        .map(|row| {
            if times.is_valid(*row) {
                before = times.value(*row) + random.below(watermark.disorder_us + 1);
            }
            before
        })
        .collect();
    order.sort_by_key(|row| arrivals[*row]);
    order
}

/// Told by a plain loop over the rows in the order of their arrival.
fn fates(source: &SourceEntry, rows: &RecordBatch, order: &[usize]) -> Vec<Fate> {
    let mut fates = vec![Fate::OnTime; rows.num_rows()];
    let key_of = |columns: &[usize], row: usize| -> Vec<String> {
        columns.iter().map(|column| array_value_to_string(rows.column(*column), row).unwrap()).collect()
    };
    if let (Some(times), Some(watermark)) = (times(source, rows), &source.statement.watermark) {
        let mut largest: HashMap<Vec<String>, i64> = HashMap::new();
        for row in order {
            if times.is_null(*row) {
                fates[*row] = Fate::NoTime;
                continue;
            }
            let time = times.value(*row);
            let largest = largest.entry(key_of(&watermark.per, *row)).or_insert(time);
            if time < *largest - watermark.disorder_us - source.allowed_lateness {
                fates[*row] = Fate::Late;
            }
            *largest = time.max(*largest);
        }
    }
    if let (Some(times), Some(rule)) = (times(source, rows), &source.statement.deduplicate) {
        let mut passed: HashMap<Vec<String>, Vec<i64>> = HashMap::new();
        for row in order.iter().filter(|row| fates[**row] == Fate::OnTime).copied().collect::<Vec<_>>() {
            if rule.columns.iter().any(|column| rows.column(*column).is_null(row)) {
                continue;
            }
            let (time, passed) = (times.value(row), passed.entry(key_of(&rule.columns, row)).or_default());
            match passed.iter().any(|other| (other - time).abs() <= rule.within_us) {
                true => fates[row] = Fate::Repeated,
                false => passed.push(time),
            }
        }
    }
    if source.is_table && !source.statement.primary_key.is_empty() {
        let mut last: HashMap<Vec<String>, usize> = HashMap::new();
        for row in order {
            if let Some(replaced) = last.insert(key_of(&source.statement.primary_key, *row), *row) {
                fates[replaced] = Fate::Replaced;
            }
        }
    }
    fates
}
