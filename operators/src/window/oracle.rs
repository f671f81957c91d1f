//! Test helper: random rows in random batches with random watermark steps, and windows by brute force.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use lineshaft_engine::operator::{Operator, Output};
use lineshaft_engine::testing::extend;
use lineshaft_engine::time::{EpochHeader, Watermark};
use proptest::prelude::*;

use crate::testing::window_rows;

/// A row: time in microseconds, key (`None` is NULL), value.
pub(super) type Reading = (i64, Option<u8>, i32);

/// Rows in the order of arrival, cut into epochs; an epoch ends with a watermark.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) epochs: Vec<Epoch>,
}

/// Batches and the watermark after them.
type Epoch = (Vec<Vec<Reading>>, i64);

/// Rows at most `disorder` behind the largest time so far, and watermarks that none is below.
pub(super) fn streams(rows: usize, step: i64, disorder: i64) -> impl Strategy<Value = Stream> {
    let reading = (0..step, 0..=disorder, prop::option::weighted(0.9, 0_u8..4), -1000..1000);
    (prop::collection::vec(reading, 0..rows), -50_i64..50, any::<u64>()).prop_map(
        move |(readings, start, cuts)| {
            let (mut largest, mut rows) = (start, Vec::new());
            for (ahead, behind, key, value) in readings {
                largest += ahead;
                rows.push((largest - behind, key, value));
            }
            cut(&rows, cuts)
        },
    )
}

/// Cuts rows into batches and epochs at random; a watermark is anywhere up to the least time that is still to come.
fn cut(rows: &[Reading], mut random: u64) -> Stream {
    let mut next = |below: usize| {
        // Constants of Knuth's MMIX generator.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    let (mut epochs, mut at) = (Vec::new(), 0);
    let mut watermark = i64::MIN;
    while at < rows.len() {
        let mut batches = Vec::new();
        for _ in 0..=next(3) {
            let len = (1 + next(8)).min(rows.len() - at);
            batches.push(rows[at..at + len].to_vec());
            at += len;
        }
        if let Some(least) = rows[at..].iter().map(|row| row.0).min()
            && next(2) == 0
        {
            watermark = watermark.max(least - i64::try_from(next(10)).unwrap());
        }
        epochs.push((batches, watermark));
    }
    Stream { epochs }
}

impl Stream {
    pub(super) fn rows(&self) -> impl Iterator<Item = Reading> {
        self.epochs.iter().flat_map(|(batches, _)| batches.iter().flatten().copied())
    }

    /// Only the rows for which `is` holds.
    pub(super) fn only(&self, is: impl Fn(&Reading) -> bool) -> Self {
        let mut only = self.clone();
        only.epochs.iter_mut().flat_map(|(batches, _)| batches).for_each(|rows| rows.retain(&is));
        only
    }

    /// Rows of each key in event-time order, ties in order of arrival.
    pub(super) fn by_key(&self) -> BTreeMap<Option<u8>, Vec<(i64, f64)>> {
        let mut by_key: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (time, key, value) in self.rows() {
            by_key.entry(key).or_default().push((time, number(value)));
        }
        by_key.values_mut().for_each(|rows| rows.sort_by_key(|row| row.0));
        by_key
    }
}

/// Not exact in binary, so that sums depend on their order.
pub(super) fn number(value: i32) -> f64 {
    f64::from(value) / 7.0
}

pub(super) fn text(key: Option<u8>) -> String {
    key.map_or("-".to_owned(), |key| format!("k{key}"))
}

/// A batch of columns ts, machine, x.
pub(super) fn batch(rows: &[Reading]) -> RecordBatch {
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.0)).collect();
    let keys: StringArray = rows.iter().map(|row| row.1.map(|key| text(Some(key)))).collect();
    let values: Float64Array = rows.iter().map(|row| Some(number(row.2))).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("ts", Arc::new(times) as ArrayRef, true),
        ("machine", Arc::new(keys) as ArrayRef, true),
        ("x", Arc::new(values) as ArrayRef, true),
    ])
    .unwrap()
}

/// A line as `window_rows` gives it, for the rows of a window in their order.
pub(super) fn line(key: Option<u8>, start: i64, end: i64, values: &[f64]) -> String {
    let seconds = |time: i64| time as f64 / 1e6;
    let sum = values[1..].iter().fold(values[0], |sum, x| sum + x);
    let (min, max) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
    format!("{} {} {} {} {sum} {min} {max}", text(key), seconds(start), seconds(end), values.len())
}

/// What the operator gives for the stream up to its end; after epoch `restart` a new one goes on from a snapshot, of which the
/// operator gave a part after each further epoch.
pub(super) fn results<O: Operator>(
    stream: &Stream,
    restart: Option<usize>,
    make: impl Fn() -> O,
) -> Vec<String> {
    let (mut operator, mut output) = (make(), Output::new(1));
    let epochs: Vec<_> = stream.epochs.iter().enumerate().collect();
    let (before, after) = epochs.split_at(restart.map_or(epochs.len(), |at| epochs.len().min(at + 1)));
    before.iter().for_each(|epoch| work(&mut operator, *epoch, &mut output));
    if restart.is_none() {
        operator.on_watermark(Watermark::END, &mut output).unwrap();
        return shown(&mut output);
    }
    let (mut snapshot, mut undisturbed) = (operator.snapshot().unwrap(), Output::new(1));
    for epoch in after {
        work(&mut operator, *epoch, &mut undisturbed);
        extend(&mut snapshot, &mut operator).unwrap();
    }
    operator.on_watermark(Watermark::END, &mut undisturbed).unwrap();
    while extend(&mut snapshot, &mut operator).unwrap() {}
    let (mut restored, mut gone_on) = (make(), Output::new(1));
    restored.restore(snapshot).unwrap();
    after.iter().for_each(|epoch| work(&mut restored, *epoch, &mut gone_on));
    restored.on_watermark(Watermark::END, &mut gone_on).unwrap();
    let gone_on = shown(&mut gone_on);
    assert_eq!(shown(&mut undisturbed), gone_on, "a snapshot changes nothing of what it is taken of");
    let mut all = [shown(&mut output), gone_on].concat();
    all.sort();
    all
}

fn work(operator: &mut dyn Operator, (epoch, (batches, watermark)): (usize, &Epoch), output: &mut Output) {
    for rows in batches.iter().filter(|rows| !rows.is_empty()) {
        operator.on_batch(0, batch(rows).into(), output).unwrap();
    }
    operator.on_watermark(Watermark(*watermark), output).unwrap();
    operator.on_epoch_end(EpochHeader::new(epoch as u64, 0), output).unwrap();
}

fn shown(output: &mut Output) -> Vec<String> {
    window_rows(&output.take(0).into_iter().map(|batch| batch.into_rows()).collect::<Vec<_>>())
}
