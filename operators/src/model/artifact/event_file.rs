//! Event files, as TensorBoard reads them: the figures of a training, epoch by epoch.
//!
//! ```text
//! tensorboard/<model>/v<N>/events.out.tfevents.<seconds>.lineshaft                   epochs, and figures of held-back rows
//! tensorboard/<model>/v<N>/<key>/...                                               epochs of the model of a key
//! tensorboard/<model>/v<N>/trial-<T>-fold-<F>/...                                    a fit of the cross-validation
//!
//! record: length u64 | masked CRC-32C of it | Event | masked CRC-32C of that
//! ```
//!
//! - Source: TensorFlow, `core/lib/io/record_writer` (records), `core/util/event.proto` and `core/framework/summary.proto` (what is
//!   in them; of these only what scalars need), protobuf encoding.
//! - Numbers are single precision there; `lineshaft.runs` and `lineshaft.metrics` have them in full.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lineshaft_engine::error::{Error, Result};

use super::super::{Metric, Models, Run, Trained};
use super::{Artifact, folder_of, write_whole};

/// Where the files are, in the data directory.
const FOLDER: &str = "tensorboard";

const MICROS_PER_SECOND: i64 = 1_000_000;

/// The scalars of one step.
struct Step {
    number: u64,
    scalars: Vec<(String, f64)>,
}

impl Artifact {
    /// Writes the event files of a version below the data directory `folder`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_events(&self, folder: &Path, version: u32) -> Result<()> {
        let name = &self.trained.training.name;
        // The same rule for the name as for the folder of the model.
        folder_of(folder, name)?;
        let root = folder.join(FOLDER).join(name).join(format!("v{version}"));
        for (part, steps) in files(&self.trained) {
            let folder = root.join(part);
            fs::create_dir_all(&folder).map_err(|source| Error::file("create", &folder, source))?;
            let seconds = self.created_at / MICROS_PER_SECOND;
            let path = folder.join(format!("events.out.tfevents.{seconds:010}.lineshaft"));
            let bytes = encode(self.created_at, &steps);
            write_whole(&path, &bytes).map_err(|source| Error::file("write", &path, source))?;
        }
        Ok(())
    }
}

/// What is in each file, by its folder below that of the version.
fn files(trained: &Trained) -> BTreeMap<PathBuf, Vec<Step>> {
    let mut files: BTreeMap<PathBuf, Vec<Step>> = BTreeMap::new();
    let mut model = 0;
    for run in &trained.runs {
        if run.fold > 0 {
            let folder = format!("trial-{:03}-fold-{:02}", run.trial, run.fold);
            files.entry(folder.into()).or_default().push(step("fold", 0, &run.metrics));
            continue;
        }
        // The epochs of the models follow each other, in the order of the keys.
        model += usize::from(run.epoch == 1);
        files.entry(folder_of_model(trained, model)).or_default().push(epoch(run));
    }
    let overall: Vec<Metric> =
        trained.metrics.iter().filter(|metric| metric.class.is_none()).cloned().collect();
    files.entry(PathBuf::new()).or_default().push(step("test", 0, &overall));
    files
}

/// None for a model of all rows, that of its key for another.
fn folder_of_model(trained: &Trained, number: usize) -> PathBuf {
    let Models::PerKey(models) = &trained.model else { return PathBuf::new() };
    let key = models.keys().nth(number.saturating_sub(1)).map(String::as_str).unwrap_or_default();
    // A key may be any text; its number keeps keys apart that differ in other letters only.
    let plain = key.chars().map(|c| if c.is_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' });
    format!("{}-{number}", plain.take(64).collect::<String>()).into()
}

fn epoch(run: &Run) -> Step {
    step("epoch", run.epoch as u64, &run.metrics)
}

fn step(what: &str, number: u64, metrics: &[Metric]) -> Step {
    let scalar = |metric: &Metric| (format!("{what}/{}", metric.name), metric.value);
    Step { number, scalars: metrics.iter().map(scalar).collect() }
}

/// A whole file; `at` is in microseconds since the Unix epoch.
fn encode(at: i64, steps: &[Step]) -> Vec<u8> {
    let time = wall_time(at);
    let mut bytes = record(&[time.clone(), text(3, "brain.Event:2")].concat());
    for step in steps.iter().filter(|step| !step.scalars.is_empty()) {
        let values: Vec<u8> =
            step.scalars.iter().flat_map(|(tag, value)| message(1, &scalar(tag, *value))).collect();
        let mut event = time.clone();
        // Zero is not written, as for every number of protobuf.
        if step.number > 0 {
            event.extend(key(2, VARINT));
            event.extend(varint(step.number));
        }
        event.extend(message(5, &values));
        bytes.extend(record(&event));
    }
    bytes
}

#[expect(clippy::cast_precision_loss, reason = "a microsecond of 285 years is within 2^53")]
fn wall_time(at: i64) -> Vec<u8> {
    let seconds = at as f64 / MICROS_PER_SECOND as f64;
    [key(1, FIXED_64), seconds.to_le_bytes().to_vec()].concat()
}

#[expect(clippy::cast_possible_truncation, reason = "scalars of event files are single precision")]
fn scalar(tag: &str, value: f64) -> Vec<u8> {
    [text(1, tag), key(2, FIXED_32), (value as f32).to_le_bytes().to_vec()].concat()
}

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED_32: u64 = 5;

/// Number and kind of a field.
fn key(field: u64, kind: u64) -> Vec<u8> {
    varint(field << 3 | kind)
}

fn text(field: u64, text: &str) -> Vec<u8> {
    message(field, text.as_bytes())
}

fn message(field: u64, body: &[u8]) -> Vec<u8> {
    [key(field, LENGTH), varint(body.len() as u64), body.to_vec()].concat()
}

/// Seven bits a byte, the lowest first; all but the last byte have the eighth.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = (number & 0x7f).to_le_bytes();
        number >>= 7;
        bytes.push(if number > 0 { low | 0x80 } else { low });
        if number == 0 {
            return bytes;
        }
    }
}

fn record(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), body, &masked(body)].concat()
}

/// A checksum that may stand in data which has a checksum itself.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `tests/fixtures/event_file_expected.py`.
    const EXPECTED: &str = include_str!("../../../../tests/fixtures/event_file_expected.txt");

    #[test]
    fn a_file_is_that_of_the_writer_of_tensorboard() {
        let step = |number, scalars: &[(&str, f64)]| Step {
            number,
            scalars: scalars.iter().map(|(tag, value)| ((*tag).to_owned(), *value)).collect(),
        };
        let steps = [
            step(1, &[("epoch/loss", 0.25), ("epoch/validation_loss", 0.5)]),
            step(300, &[("epoch/loss", 0.125)]),
            step(0, &[("test/rmse", -3.0)]),
            step(0, &[]),
        ];
        assert_eq!(super::super::super::options::hex(&encode(1_500_000, &steps)), EXPECTED.trim());
    }
}
