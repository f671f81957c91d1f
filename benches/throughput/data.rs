//! Readings of sensors: 10,000 rows per second of event time in order of arrival, one in twenty up to 5 s late.
//! Fixed seed. Parquet in files of a million rows, and the first two million also as CSV and JSON lines. Beside them a
//! table with a row for each device, and one with eight versions of what it should do.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::Data;

const FILE_ROWS: usize = 1_000_000;
const TEXT_ROWS: usize = 2_000_000;
const RATE: i64 = 10_000;
/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000_000;

/// A small random generator (splitmix64, Steele, Lea and Flood 2014), so that the files are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal: a sum of twelve uniforms.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Writes what is not there yet.
pub(crate) fn prepare(folder: &Path, rows: usize) -> Data {
    for (tag, devices) in [("1k", 1_000), ("100k", 100_000)] {
        let set = folder.join(format!("{tag}-{rows}"));
        if !set.join("done").exists() {
            write(&set, rows, devices);
            File::create(set.join("done")).expect("a file");
        }
        if !set.join("recipes.parquet").exists() {
            write_tables(&set, rows, devices);
        }
    }
    Data { folder: folder.to_owned() }
}

fn write(folder: &Path, rows: usize, devices: u64) {
    std::fs::create_dir_all(folder.join("parquet")).expect("a folder");
    let mut random = Random(20_260_101 + devices);
    let mut csv = BufWriter::new(File::create(folder.join("all.csv")).expect("a file"));
    let mut json = BufWriter::new(File::create(folder.join("all.jsonl")).expect("a file"));
    let mut done = 0;
    while done < rows {
        let count = FILE_ROWS.min(rows - done);
        let batch = readings(&mut random, done, count, devices);
        let path = folder.join(format!("parquet/part-{:03}.parquet", done / FILE_ROWS));
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let file = File::create(path).expect("a file");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        if done < TEXT_ROWS {
            let batch = batch.slice(0, count.min(TEXT_ROWS - done));
            arrow::csv::WriterBuilder::new()
                .with_header(done == 0)
                .build(&mut csv)
                .write(&batch)
                .expect("written");
            arrow::json::LineDelimitedWriter::new(&mut json).write(&batch).expect("written");
        }
        done += count;
    }
    csv.flush().expect("flushed");
    json.flush().expect("flushed");
}

/// `machines` and `recipes`.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn write_tables(folder: &Path, rows: usize, devices: u64) {
    let mut random = Random(20_260_201 + devices);
    let texts = |texts: Vec<String>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let name = |device: u64| format!("dev-{device:05}");
    let lines: Vec<u64> = (0..devices).map(|_| random.next() % 50).collect();
    let limits: Vec<f64> = (0..devices).map(|_| 64.0 + 8.0 * random.unit()).collect();
    let machines = RecordBatch::try_from_iter([
        ("device_id", texts((0..devices).map(name).collect())),
        ("site", texts(lines.iter().map(|line| format!("site-{}", line / 5)).collect())),
        ("line", texts(lines.iter().map(|line| format!("line-{line:02}")).collect())),
        ("limit_c", Arc::new(Float64Array::from(limits))),
    ]);
    const VERSIONS: u64 = 8;
    let span = rows as i64 * 1_000_000 / RATE / VERSIONS.cast_signed();
    let versions = || (0..devices).flat_map(|device| (0..VERSIONS).map(move |version| (device, version)));
    // The first one holds before any reading.
    let since = versions().map(|(device, version)| match version.cast_signed() {
        0 => START - 3_600_000_000,
        version => START + version * span + device.cast_signed() * 1_000 % span,
    });
    let since: Vec<i64> = since.collect();
    let recipes = RecordBatch::try_from_iter([
        ("device_id", texts(versions().map(|(device, _)| name(device)).collect())),
        ("valid_from", Arc::new(TimestampMicrosecondArray::from(since)) as ArrayRef),
        ("recipe_id", texts(versions().map(|_| format!("recipe-{:02}", random.next() % 40)).collect())),
        ("set_point", Arc::new(versions().map(|(_, at)| 50.0 + 3.0 * at as f64).collect::<Float64Array>())),
    ]);
    for (name, table) in [("machines", machines), ("recipes", recipes)] {
        let table = table.expect("columns of one length");
        let file = File::create(folder.join(format!("{name}.parquet"))).expect("a file");
        let mut writer = ArrowWriter::try_new(file, table.schema(), None).expect("a writer");
        writer.write(&table).expect("written");
        writer.close().expect("closed");
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers")]
fn readings(random: &mut Random, first: usize, count: usize, devices: u64) -> RecordBatch {
    let (mut times, mut names) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut fields = [const { Vec::new() }; 3];
    let mut status = Vec::with_capacity(count);
    for row in 0..count {
        let micros = (first + row) as i64 * 1_000_000 / RATE;
        let late = if random.unit() < 0.05 { (random.unit() * 5e6) as i64 } else { 0 };
        times.push(START + (micros - late) / 1000 * 1000);
        let device = random.next() % devices;
        names.push(format!("dev-{device:05}"));
        let second = micros as f64 / 1e6;
        let round = |x: f64| (x * 1000.0).round() / 1000.0;
        fields[0].push(round(60.0 + 10.0 * (second / 48.0 + device as f64).sin() + 2.0 * random.normal()));
        fields[1].push(round((1.2 * random.normal()).abs() + 0.05));
        fields[2].push(round(100.0 + 5.0 * (second / 9.5).sin() + random.normal()));
        status.push(if random.unit() < 0.9 { 0 } else { (random.next() % 4) as i32 + 1 });
    }
    let [temperature, vibration, pressure] = fields.map(Float64Array::from);
    RecordBatch::try_from_iter([
        ("ts", Arc::new(TimestampMicrosecondArray::from(times)) as _),
        ("device_id", Arc::new(StringArray::from(names)) as _),
        ("temperature", Arc::new(temperature) as _),
        ("vibration", Arc::new(vibration) as _),
        ("pressure", Arc::new(pressure) as _),
        ("status", Arc::new(Int32Array::from(status)) as _),
    ])
    .expect("columns of one length")
}
