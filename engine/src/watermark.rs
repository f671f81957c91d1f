//! The watermark of a source, and which of its rows are late: decided once, here, in arrival order, so that it does
//! not depend on batching, workers or timing.
//!
//! ```text
//! watermark of a partition or key = largest event time seen - disorder
//! watermark of the source         = the least of them, without those that ended or are idle; never going back
//! late                            = below the watermark of its partition or key, or of the source, by more than the
//!                                   lateness that is allowed
//! ```
//!
//! - **Keys of a source that ends.** In a file a key may begin anywhere, such as where the rows are sorted by machine.
//!   Until then nothing is known of it, so the watermark of the source is not made of the keys but of what is known of
//!   the rest of each file (the statistics of Parquet); where nothing is, windows close at the end of the file.
//! - **Silence.** Once all of a live source is idle, its watermark goes on with the clock, `idle_after` behind it, and
//!   with the watermarks of the other sources. So a session of the last machine closes, and who reads two sources
//!   does not wait for the one that is silent.

use std::sync::Arc;

use std::ops::Range;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use hashbrown::HashMap;

use crate::checkpoint::{column, damaged, number, numbers};
use crate::deduplicate::Deduplicator;
use crate::error::Result;
use crate::hash::hash_rows;
use crate::operator::Snapshot;
use crate::plan::WatermarkRule;
use crate::source::{Partition, Rejected};
use crate::time::{EventTime, Watermark};

/// The clock of one source: what it knows of event time.
#[derive(Debug)]
pub(crate) struct SourceClock {
    rule: Option<WatermarkRule>,
    partitions: Vec<Progress>,
    /// By partition and hash of the key: a key that stands in two files has a watermark in each.
    keys: HashMap<(usize, u64), Progress>,
    watermark: Watermark,
    /// Its input ends by itself.
    is_bounded: bool,
    started_at: i64,
}

/// How far a partition or key has come.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// The largest event time seen; for a partition not read yet, that of its first row.
    largest: EventTime,
    /// Wall clock of its last row.
    seen_at: i64,
    ended: bool,
    started: bool,
    /// What is not read yet of a partition of a source that ends is not before it.
    rest: EventTime,
}

/// Rows of one batch, told apart.
pub(crate) struct Stamped {
    pub(crate) on_time: RecordBatch,
    pub(crate) late: Option<RecordBatch>,
    pub(crate) rejected: Vec<Rejected>,
    /// Rows that were on time and are dropped.
    pub(crate) repeated: usize,
}

impl Stamped {
    fn all(on_time: RecordBatch) -> Self {
        Self { on_time, late: None, rejected: Vec::new(), repeated: 0 }
    }

    /// Drops the rows that came before.
    pub(crate) fn deduplicate(&mut self, of: &mut Deduplicator, watermark: Watermark) -> Result<()> {
        if let Some(passes) = of.first_seen(&self.on_time, watermark)? {
            self.repeated = passes.false_count();
            self.on_time = filter_record_batch(&self.on_time, &passes)?;
        }
        Ok(())
    }
}

/// A partition or key in a checkpoint.
type Row<'a> = (usize, Option<u64>, &'a Progress);

/// Rows that are looked at together before each by itself.
const BLOCK: usize = 1024;

/// What becomes of one row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    OnTime,
    Late,
    NullTime,
    Future,
}

impl Progress {
    fn watermark(&self, disorder: i64) -> EventTime {
        let reached = self.largest.saturating_sub(disorder);
        // Of a partition not read yet a bound may be known that says more than its first row.
        if self.started { reached } else { reached.max(self.rest) }
    }

    fn of_key(now: i64) -> Self {
        let (largest, rest) = (EventTime::MIN, EventTime::MIN);
        Self { largest, seen_at: now, ended: false, started: true, rest }
    }

    fn counts(&self, idle_before: Option<i64>) -> bool {
        !self.ended && idle_before.is_none_or(|before| self.seen_at >= before)
    }
}

impl SourceClock {
    pub(crate) fn new(
        rule: Option<WatermarkRule>,
        partitions: &[Partition],
        is_bounded: bool,
        now: i64,
    ) -> Self {
        let unread = |partition: &Partition| Progress {
            largest: partition.earliest.unwrap_or(EventTime::MIN),
            seen_at: now,
            ended: false,
            started: false,
            rest: partition.rest.unwrap_or(EventTime::MIN),
        };
        // How fast a file is read says nothing of its machines.
        let idle_after = |rule: &WatermarkRule| rule.idle_after.filter(|_| !is_bounded);
        Self {
            rule: rule.map(|rule| WatermarkRule { idle_after: idle_after(&rule), ..rule }),
            partitions: partitions.iter().map(unread).collect(),
            keys: HashMap::new(),
            watermark: Watermark::START,
            is_bounded,
            started_at: now,
        }
    }

    /// Tells the rows of a batch of `partition` apart and moves the clock by them.
    pub(crate) fn stamp(&mut self, rows: RecordBatch, partition: usize, now: i64) -> Result<Stamped> {
        let Some(rule) = self.rule.clone() else {
            return Ok(Stamped::all(rows));
        };
        while self.partitions.len() <= partition {
            let largest = EventTime::MIN;
            let (ended, started) = (false, false);
            self.partitions.push(Progress { largest, seen_at: now, ended, started, rest: largest });
        }
        let fates = if rule.per_key.is_empty() {
            self.fates_by_partition(&rule, &rows, partition, now)
        } else {
            self.fates_by_key(&rule, &rows, partition, now)?
        };
        match fates {
            None => Ok(Stamped::all(rows)),
            Some(fates) => split(&rows, &fates, &rule, now),
        }
    }

    /// A chunk of the partition has been taken; no later one has a row before `rest`.
    pub(crate) fn set_rest(&mut self, partition: usize, rest: Option<EventTime>) {
        if let (Some(progress), Some(rest)) = (self.partitions.get_mut(partition), rest) {
            progress.rest = rest;
        }
    }

    /// All that it knows, as tables.
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        let partitions = self.partitions.iter().enumerate().map(|(at, progress)| (at, None, progress));
        let keys = self.keys.iter().map(|((at, key), progress)| (*at, Some(*key), progress));
        let mut all: Vec<Row<'_>> = partitions.chain(keys).collect();
        all.sort_by_key(|(at, key, _)| (*at, *key));
        let of = |value: fn(&Row<'_>) -> i64| -> Vec<i64> { all.iter().map(value).collect() };
        let mut snapshot = Snapshot::default();
        let progress = numbers([
            ("partition", of(|row| i64::try_from(row.0).unwrap_or(i64::MAX))),
            ("is_key", of(|row| i64::from(row.1.is_some()))),
            ("key", of(|row| row.1.unwrap_or_default().cast_signed())),
            ("largest", of(|row| row.2.largest)),
            ("seen_at", of(|row| row.2.seen_at)),
            ("ended", of(|row| i64::from(row.2.ended))),
            ("started", of(|row| i64::from(row.2.started))),
            ("rest", of(|row| row.2.rest)),
        ])?;
        snapshot.put("progress", progress);
        snapshot.put("watermark", numbers([("watermark", vec![self.watermark.0])])?);
        Ok(snapshot)
    }

    /// Puts back what [`SourceClock::snapshot`] gave.
    pub(crate) fn restore(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        let watermark = snapshot.take("watermark").ok_or_else(damaged)?;
        self.watermark = Watermark(number(&watermark, "watermark")?);
        let table = snapshot.take("progress").ok_or_else(damaged)?;
        let column = |name: &str| column(&table, name);
        let (partitions, is_key, keys) = (column("partition")?, column("is_key")?, column("key")?);
        let (largest, seen_at, rest) = (column("largest")?, column("seen_at")?, column("rest")?);
        let (ended, started) = (column("ended")?, column("started")?);
        self.partitions.clear();
        for row in 0..table.num_rows() {
            let progress = Progress {
                largest: largest[row],
                seen_at: seen_at[row],
                ended: ended[row] != 0,
                started: started[row] != 0,
                rest: rest[row],
            };
            if is_key[row] == 0 {
                self.partitions.push(progress);
            } else {
                let partition = usize::try_from(partitions[row]).map_err(|_| damaged())?;
                self.keys.insert((partition, keys[row].cast_unsigned()), progress);
            }
        }
        Ok(())
    }

    /// The partition has no more rows.
    pub(crate) fn end_partition(&mut self, partition: usize) {
        if let Some(progress) = self.partitions.get_mut(partition) {
            progress.ended = true;
        }
        self.keys.retain(|(of, _), _| *of != partition);
    }

    /// The source has no more rows.
    pub(crate) fn end(&mut self) {
        self.watermark = Watermark::END;
    }

    /// The watermark as of wall clock `now`. Without a rule nothing is promised before the end.
    pub(crate) fn watermark(&mut self, now: i64) -> Watermark {
        if let Some(reached) = self.rule.as_ref().and_then(|rule| self.reached(rule, now)) {
            self.watermark = self.watermark.max(Watermark(reached));
        }
        self.watermark
    }

    /// No row below it passes any more: the watermark less the lateness that is allowed.
    pub(crate) fn passed(&mut self, now: i64) -> Watermark {
        let lateness = self.rule.as_ref().map_or(0, |rule| rule.allowed_lateness);
        self.watermark(now).less(lateness)
    }

    fn reached(&self, rule: &WatermarkRule, now: i64) -> Option<EventTime> {
        if self.is_bounded && !rule.per_key.is_empty() {
            return self.partitions.iter().filter(|p| !p.ended).map(|p| p.rest).min();
        }
        let idle_before = rule.idle_after.map(|idle| now.saturating_sub(idle));
        let least = |all: &mut dyn Iterator<Item = &Progress>| {
            all.filter(|p| p.counts(idle_before)).map(|p| p.watermark(rule.disorder)).min()
        };
        // The keys say more than their partition, but only once there are any.
        let reached = if self.keys.is_empty() {
            least(&mut self.partitions.iter())
        } else {
            let unread = least(&mut self.partitions.iter().filter(|p| !p.started));
            let keys = least(&mut self.keys.values());
            [unread, keys].into_iter().flatten().min()
        };
        reached.or_else(|| self.gone_on(rule, now))
    }

    /// The watermark of a source that is silent: it goes on with the clock from its last row.
    fn gone_on(&self, rule: &WatermarkRule, now: i64) -> Option<EventTime> {
        let silent = || self.partitions.iter().chain(self.keys.values()).filter(|p| p.started && !p.ended);
        let reached = silent().filter(|p| p.largest > EventTime::MIN).map(|p| p.watermark(rule.disorder));
        let passed = now.saturating_sub(silent().map(|p| p.seen_at).max()?).saturating_sub(rule.idle_after?);
        Some(reached.max()?.saturating_add(passed.max(0)))
    }

    /// True if nothing has come for so long that nobody waits for this source.
    pub(crate) fn is_idle(&self, now: i64) -> bool {
        let Some(idle) = self.rule.as_ref().and_then(|rule| rule.idle_after) else { return false };
        let seen = self.partitions.iter().map(|p| p.seen_at).max().unwrap_or(self.started_at);
        seen < now.saturating_sub(idle)
    }

    /// The watermarks of the other sources, if they go on while this one is silent.
    pub(crate) fn follow(&mut self, others: Watermark, now: i64) {
        if self.is_idle(now) && others != Watermark::END {
            self.watermark = self.watermark.max(others);
        }
    }

    /// `None` means that all rows are on time, the common case.
    fn fates_by_partition(
        &mut self,
        rule: &WatermarkRule,
        rows: &RecordBatch,
        partition: usize,
        now: i64,
    ) -> Option<Vec<Fate>> {
        let source = self.watermark.0;
        let progress = &mut self.partitions[partition];
        if rows.num_rows() > 0 {
            progress.seen_at = now;
        }
        let times = rows.column(rule.column).as_primitive::<TimestampMicrosecondType>();
        let latest_allowed = rule.max_future.map_or(EventTime::MAX, |future| now.saturating_add(future));
        let mut largest = if progress.started { progress.largest } else { EventTime::MIN };
        let mut fates = None;
        for block in (0..times.len()).step_by(BLOCK) {
            let rows = block..times.len().min(block + BLOCK);
            if let Some(newest) = all_on_time(times, rows.clone(), largest, rule, source, latest_allowed) {
                largest = newest;
                continue;
            }
            for row in rows {
                let fate = if times.is_null(row) {
                    Fate::NullTime
                } else {
                    let time = times.value(row);
                    if time > latest_allowed {
                        Fate::Future
                    } else if rule.is_late(time, largest.saturating_sub(rule.disorder).max(source)) {
                        Fate::Late
                    } else {
                        largest = largest.max(time);
                        continue;
                    }
                };
                fates.get_or_insert_with(|| vec![Fate::OnTime; times.len()])[row] = fate;
            }
        }
        if largest > EventTime::MIN {
            progress.largest = largest;
            progress.started = true;
        }
        fates
    }

    fn fates_by_key(
        &mut self,
        rule: &WatermarkRule,
        rows: &RecordBatch,
        partition: usize,
        now: i64,
    ) -> Result<Option<Vec<Fate>>> {
        let source = self.watermark.0;
        let times = rows.column(rule.column).as_primitive::<TimestampMicrosecondType>();
        let keys: Vec<_> = rule.per_key.iter().map(|key| Arc::clone(rows.column(*key))).collect();
        let keys = hash_rows(&keys, rows.num_rows())?;
        let latest_allowed = rule.max_future.map_or(EventTime::MAX, |future| now.saturating_add(future));
        let mut fates = vec![Fate::OnTime; times.len()];
        for (row, key) in keys.into_iter().enumerate() {
            if times.is_null(row) {
                fates[row] = Fate::NullTime;
                continue;
            }
            let time = times.value(row);
            if time > latest_allowed {
                fates[row] = Fate::Future;
                continue;
            }
            let progress = self.keys.entry((partition, key)).or_insert_with(|| Progress::of_key(now));
            progress.seen_at = now;
            if rule.is_late(time, progress.watermark(rule.disorder).max(source)) {
                fates[row] = Fate::Late;
            } else {
                progress.largest = progress.largest.max(time);
            }
        }
        if rows.num_rows() > 0 {
            let progress = &mut self.partitions[partition];
            (progress.started, progress.seen_at) = (true, now);
        }
        Ok(fates.iter().any(|fate| *fate != Fate::OnTime).then_some(fates))
    }
}

/// The largest event time after `rows`, if one look at their least and largest shows that none of them is late or from
/// the future, in whatever order they are. Nearly all rows of a plant pass here, at a fraction of the cost.
fn all_on_time(
    times: &TimestampMicrosecondArray,
    rows: Range<usize>,
    largest: EventTime,
    rule: &WatermarkRule,
    source: EventTime,
    latest_allowed: EventTime,
) -> Option<EventTime> {
    if times.null_count() > 0 {
        return None;
    }
    let times = &times.values()[rows];
    let (least, newest) = times
        .iter()
        .fold((EventTime::MAX, largest), |(least, newest), time| (least.min(*time), newest.max(*time)));
    let watermark = newest.saturating_sub(rule.disorder).max(source);
    (newest <= latest_allowed && !rule.is_late(least, watermark)).then_some(newest)
}

impl WatermarkRule {
    fn is_late(&self, time: EventTime, watermark: EventTime) -> bool {
        time < watermark.saturating_sub(self.allowed_lateness)
    }
}

fn split(rows: &RecordBatch, fates: &[Fate], rule: &WatermarkRule, now: i64) -> Result<Stamped> {
    let only = |fate: Fate| -> Result<RecordBatch> {
        let keep: BooleanArray = fates.iter().map(|f| Some(*f == fate)).collect();
        Ok(filter_record_batch(rows, &keep)?)
    };
    let late = only(Fate::Late)?;
    let mut rejected = Vec::new();
    for (row, fate) in fates.iter().enumerate() {
        if matches!(fate, Fate::Future | Fate::NullTime) {
            rejected.push(reject(rows, row, *fate, rule, now)?);
        }
    }
    let late = (late.num_rows() > 0).then_some(late);
    Ok(Stamped { on_time: only(Fate::OnTime)?, late, rejected, repeated: 0 })
}

/// The row as it is kept in the quarantine: `column=value` for each column.
fn reject(rows: &RecordBatch, row: usize, fate: Fate, rule: &WatermarkRule, now: i64) -> Result<Rejected> {
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let options = FormatOptions::default().with_null("NULL");
    let mut shown = Vec::with_capacity(rows.num_columns());
    let mut values = Vec::with_capacity(rows.num_columns());
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let value = ArrayFormatter::try_new(column.as_ref(), &options)?.value(row).to_string();
        shown.push(format!("{}={value}", field.name()));
        values.push(value);
    }
    let column = rows.schema().field(rule.column).name().clone();
    let (reason, detail) = match fate {
        Fate::NullTime => ("null_time", format!("column {column:?}: the event time is NULL")),
        _ => {
            let now = show_time(now);
            let limit = rule.max_future.unwrap_or_default() / 1_000_000;
            let found = &values[rule.column];
            (
                "future",
                format!("column {column:?}: {found} is more than {limit} s ahead of its arrival at {now}"),
            )
        }
    };
    Ok(Rejected { origin: String::new(), line: None, reason, detail, raw: shown.join(" ").into_bytes() })
}

/// A wall clock as text, by way of Arrow.
fn show_time(micros: i64) -> String {
    use arrow::util::display::array_value_to_string;
    let array = arrow::array::TimestampMicrosecondArray::from(vec![micros]);
    array_value_to_string(&array, 0).unwrap_or_else(|_| micros.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{StringArray, TimestampMicrosecondArray};

    const SECOND: i64 = 1_000_000;

    fn rule(per_key: Vec<usize>) -> WatermarkRule {
        WatermarkRule {
            column: 0,
            disorder: 2 * SECOND,
            allowed_lateness: 0,
            per_key,
            idle_after: None,
            max_future: None,
        }
    }

    fn rows(of: &[(i64, &str)]) -> RecordBatch {
        let times = of.iter().map(|(s, _)| Some(s * SECOND)).collect::<TimestampMicrosecondArray>();
        let keys = of.iter().map(|(_, key)| Some(*key)).collect::<StringArray>();
        RecordBatch::try_from_iter([("ts", Arc::new(times) as _), ("machine", Arc::new(keys) as _)]).unwrap()
    }

    fn late(stamped: &Stamped) -> usize {
        stamped.late.as_ref().map_or(0, RecordBatch::num_rows)
    }

    #[test]
    fn a_row_is_late_by_the_rows_before_it_however_they_are_batched() {
        let all = [(10, "a"), (13, "a"), (10, "a"), (11, "a"), (20, "a"), (17, "a"), (18, "a")];
        let mut whole = SourceClock::new(Some(rule(vec![])), &[Partition::default()], false, 0);
        let stamped = whole.stamp(rows(&all), 0, 0).unwrap();
        assert_eq!(late(&stamped), 2);
        assert_eq!(stamped.on_time.num_rows(), 5);
        let mut single = SourceClock::new(Some(rule(vec![])), &[Partition::default()], false, 0);
        let count: usize = all.iter().map(|row| late(&single.stamp(rows(&[*row]), 0, 0).unwrap())).sum();
        assert_eq!(count, 2);
        assert_eq!(single.watermark(0), Watermark(18 * SECOND));
    }

    #[test]
    fn a_row_within_the_allowed_lateness_passes_and_moves_no_watermark() {
        for (keys, at_once) in [(vec![], true), (vec![], false), (vec![1], true), (vec![1], false)] {
            let patient = WatermarkRule { allowed_lateness: 5 * SECOND, ..rule(keys) };
            let mut clock = SourceClock::new(Some(patient), &[Partition::default()], false, 0);
            let all = [(20, "a"), (13, "a"), (12, "a"), (18, "a")];
            let batches =
                if at_once { vec![all.to_vec()] } else { all.iter().map(|row| vec![*row]).collect() };
            let stamped: Vec<_> =
                batches.iter().map(|batch| clock.stamp(rows(batch), 0, 0).unwrap()).collect();
            assert_eq!(stamped.iter().map(late).sum::<usize>(), 1, "12 s is 6 s below the watermark");
            assert_eq!(clock.watermark(0), Watermark(18 * SECOND));
        }
    }

    #[test]
    fn many_rows_at_once_are_judged_as_one_by_one() {
        // Mostly in order; some two seconds back, some far, some from the future.
        let seconds = (0_i64..5000).map(|row| match row % 997 {
            13 => row / 10 - 2,
            500 => row / 10 - 30,
            700 => row / 10 + 90_000,
            _ => row / 10,
        });
        let all: Vec<(i64, &str)> = seconds.map(|second| (second, "a")).collect();
        let guarded = WatermarkRule { max_future: Some(10_000 * SECOND), ..rule(vec![]) };
        let clock = || SourceClock::new(Some(guarded.clone()), &[Partition::default()], false, 0);
        let (mut whole, mut single) = (clock(), clock());
        let together = whole.stamp(rows(&all), 0, 0).unwrap();
        let mut late_rows = 0;
        let mut future = 0;
        for row in &all {
            let stamped = single.stamp(rows(&[*row]), 0, 0).unwrap();
            late_rows += late(&stamped);
            future += stamped.rejected.len();
        }
        assert_eq!((late(&together), together.rejected.len()), (late_rows, future));
        assert!(late_rows > 0 && future > 0);
        assert_eq!(whole.watermark(0), single.watermark(0));
    }

    #[test]
    fn a_file_that_is_not_read_yet_holds_the_watermark_at_its_earliest_row() {
        let bound = |earliest: i64| Some(earliest * SECOND);
        let file = |at: i64| Partition { earliest: bound(at), rest: bound(at), ..Partition::default() };
        let mut clock = SourceClock::new(Some(rule(vec![])), &[file(0), file(50)], true, 0);
        assert_eq!(late(&clock.stamp(rows(&[(100, "a")]), 0, 0).unwrap()), 0);
        assert_eq!(clock.watermark(0), Watermark(50 * SECOND));
        assert_eq!(late(&clock.stamp(rows(&[(50, "a"), (60, "a")]), 1, 0).unwrap()), 0);
        clock.end_partition(1);
        assert_eq!(clock.watermark(0), Watermark(98 * SECOND));
    }

    #[test]
    fn in_a_file_of_which_only_the_first_row_is_known_others_may_be_before_it() {
        let file = |first: i64| Partition { earliest: Some(first * SECOND), ..Partition::default() };
        let mut clock = SourceClock::new(Some(rule(vec![])), &[file(0), file(50)], true, 0);
        assert_eq!(late(&clock.stamp(rows(&[(100, "a")]), 0, 0).unwrap()), 0);
        assert_eq!(clock.watermark(0), Watermark(48 * SECOND));
        assert_eq!(late(&clock.stamp(rows(&[(50, "a"), (49, "a")]), 1, 0).unwrap()), 0);
    }

    #[test]
    fn with_per_key_a_fast_clock_of_one_machine_makes_no_other_late() {
        let mut clock = SourceClock::new(Some(rule(vec![1])), &[Partition::default()], false, 0);
        let stamped =
            clock.stamp(rows(&[(10, "slow"), (9000, "fast"), (11, "slow"), (8000, "fast")]), 0, 0).unwrap();
        assert_eq!(late(&stamped), 1);
        assert_eq!(clock.watermark(0), Watermark(9 * SECOND));
    }

    #[test]
    fn with_per_key_a_machine_in_two_files_is_late_in_neither_and_a_file_that_ended_holds_nothing_back() {
        let files = [Partition::default(), Partition::default()];
        let mut clock = SourceClock::new(Some(rule(vec![1])), &files, false, 0);
        assert_eq!(late(&clock.stamp(rows(&[(100, "press")]), 0, 0).unwrap()), 0);
        assert_eq!(late(&clock.stamp(rows(&[(10, "press"), (50, "press")]), 1, 0).unwrap()), 0);
        assert_eq!(clock.watermark(0), Watermark(48 * SECOND));
        clock.end_partition(1);
        assert_eq!(clock.watermark(0), Watermark(98 * SECOND));
    }

    #[test]
    fn with_per_key_a_machine_may_begin_anywhere_in_a_file() {
        let mut clock = SourceClock::new(Some(rule(vec![1])), &[Partition::default()], true, 0);
        assert_eq!(late(&clock.stamp(rows(&[(10, "a"), (9000, "a")]), 0, 0).unwrap()), 0);
        assert_eq!(clock.watermark(0), Watermark::START);
        // Here the file says what else is in it.
        clock.set_rest(0, Some(5 * SECOND));
        assert_eq!(clock.watermark(0), Watermark(5 * SECOND));
        assert_eq!(late(&clock.stamp(rows(&[(5, "b"), (80, "b"), (70, "b")]), 0, 0).unwrap()), 1);
        clock.end_partition(0);
        clock.end();
        assert_eq!(clock.watermark(0), Watermark::END);
    }

    #[test]
    fn a_silent_source_goes_on_with_the_clock_and_with_the_others() {
        for keys in [vec![], vec![1]] {
            let idle = WatermarkRule { idle_after: Some(5 * SECOND), ..rule(keys) };
            let mut clock = SourceClock::new(Some(idle), &[Partition::default()], false, 0);
            clock.follow(Watermark(50 * SECOND), 4 * SECOND);
            assert_eq!(clock.watermark(4 * SECOND), Watermark::START);
            clock.follow(Watermark(60 * SECOND), 6 * SECOND);
            assert_eq!(clock.watermark(6 * SECOND), Watermark(60 * SECOND), "it has never said anything");
            clock.stamp(rows(&[(100, "a")]), 0, 7 * SECOND).unwrap();
            assert_eq!(clock.watermark(12 * SECOND), Watermark(98 * SECOND));
            assert_eq!(clock.watermark(20 * SECOND), Watermark((98 + 20 - 7 - 5) * SECOND));
            clock.follow(Watermark(200 * SECOND), 20 * SECOND);
            assert_eq!(late(&clock.stamp(rows(&[(199, "a"), (205, "a")]), 0, 21 * SECOND).unwrap()), 1);
        }
    }

    #[test]
    fn a_silent_key_lets_go_of_the_watermark_after_its_idle_time() {
        let idle = WatermarkRule { idle_after: Some(5 * SECOND), ..rule(vec![1]) };
        let mut clock = SourceClock::new(Some(idle), &[Partition::default()], false, 0);
        clock.stamp(rows(&[(10, "silent"), (10, "alive")]), 0, 0).unwrap();
        clock.stamp(rows(&[(30, "alive")]), 0, 4 * SECOND).unwrap();
        assert_eq!(clock.watermark(4 * SECOND), Watermark(8 * SECOND));
        assert_eq!(clock.watermark(6 * SECOND), Watermark(28 * SECOND));
        let back = clock.stamp(rows(&[(12, "silent"), (40, "silent")]), 0, 7 * SECOND).unwrap();
        assert_eq!(late(&back), 1, "its window has closed");
    }

    #[test]
    fn a_row_from_the_future_is_kept_aside_and_moves_no_watermark() {
        let guarded = WatermarkRule { max_future: Some(300 * SECOND), ..rule(vec![]) };
        let mut clock = SourceClock::new(Some(guarded), &[Partition::default()], false, 0);
        let stamped = clock.stamp(rows(&[(10, "a"), (86_400, "mad"), (11, "a")]), 0, 12 * SECOND).unwrap();
        assert_eq!(stamped.on_time.num_rows(), 2);
        assert_eq!(stamped.rejected[0].reason, "future");
        assert_eq!(stamped.rejected[0].raw, b"ts=1970-01-02T00:00:00 machine=mad");
        assert_eq!(clock.watermark(12 * SECOND), Watermark(9 * SECOND));
    }
}
