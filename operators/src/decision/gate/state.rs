//! What the gate remembers of a key.

use arrow::array::{BinaryArray, BooleanArray, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;

use super::*;

/// The values of a command by column of the input; `None` for a column that is not a number or has no value.
pub(super) type Values = Vec<Option<f64>>;

/// A command that arrives within so many microseconds counts for the rate from when it was sent; one that has waited for its
/// broker from when it arrived.
const AT_ONCE: i64 = 1_000_000;

/// What was sent to a key, or would have been in shadow.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The last value of each column that is known to have arrived.
    last: Values,
    /// True if the last that arrived was the failsafe.
    failsafe: bool,
    /// Commands whose outcome is not known (yet), the oldest first: each may have arrived.
    open: Vec<Open>,
    /// Wall clocks of what still counts for the rate, beside what is on its way.
    times: VecDeque<i64>,
    /// The number of the next command.
    next: i64,
}

/// A command that may have arrived or not.
#[derive(Debug)]
struct Open {
    number: i64,
    at: i64,
    failsafe: bool,
    /// It is not on its way any more.
    is_lost: bool,
    values: Values,
    /// Its columns, for the log.
    row: Key,
}

impl Sent {
    /// The values that a column may have at the machine: the last that arrived, and those that may have since, which are open.
    pub(super) fn values(&self, column: usize) -> impl Iterator<Item = (f64, bool)> {
        let open = self.open.iter().map(|open| (&open.values, true));
        let all = std::iter::once((&self.last, false)).chain(open);
        all.filter_map(move |(values, is_open)| Some((values.get(column).copied().flatten()?, is_open)))
    }

    /// How many may arrive in the interval before `now` or just now; exactly one interval ago no longer counts.
    pub(super) fn within(&self, now: i64, interval: i64) -> usize {
        let past = self.times.iter().filter(|&&time| now.saturating_sub(time) < interval).count();
        past + self.open.iter().filter(|open| !open.is_lost).count()
    }

    /// True if the failsafe was last, and has arrived or is on its way.
    pub(super) fn is_failsafe(&self) -> bool {
        self.open.last().map_or(self.failsafe, |open| open.failsafe && !open.is_lost)
    }

    /// True if a failsafe may have arrived or not, and is not on its way any more: nothing may be near enough to where the machine
    /// is then.
    pub(super) fn has_lost_failsafe(&self) -> bool {
        self.open.iter().any(|open| open.failsafe && open.is_lost)
    }

    /// Notes a command with these values that goes out now, or would, and gives its number. It counts as arrived unless its
    /// outcome `is_told` later.
    pub(super) fn note(
        &mut self,
        (now, values, failsafe): (i64, Values, bool),
        rate: Option<Rate>,
        is_told: bool,
    ) -> i64 {
        let number = self.next;
        self.next += 1;
        let command = Open { number, at: now, failsafe, is_lost: false, values, row: Key::default() };
        if is_told {
            self.open.push(command);
        } else {
            self.count(now, now, rate);
            self.arrive(command);
        }
        number
    }

    /// One has arrived at this time, or perhaps.
    fn count(&mut self, time: i64, now: i64, rate: Option<Rate>) {
        let Some(rate) = rate else { return };
        self.times.retain(|time| now.saturating_sub(*time) < rate.interval);
        self.times.push_back(time);
    }

    /// Keeps the columns of a command that is open.
    pub(super) fn keep(&mut self, number: i64, row: Key) {
        if let Ok(place) = self.place(number) {
            self.open[place].row = row;
        }
    }

    fn place(&self, number: i64) -> Result<usize, usize> {
        self.open.binary_search_by_key(&number, |open| open.number)
    }

    /// Learns what has become of a command; false if that is known. Those before the last one that arrived do not matter any more:
    /// a connection keeps their order.
    pub(super) fn learn(&mut self, number: i64, outcome: Outcome, now: i64, rate: Option<Rate>) -> bool {
        let Ok(place) = self.place(number) else { return false };
        match outcome {
            Outcome::Arrived => {
                let command = self.open.remove(place);
                let has_waited = now.saturating_sub(command.at) > AT_ONCE;
                self.count(if has_waited { now } else { command.at }, now, rate);
                self.open.drain(..place);
                self.arrive(command);
            }
            Outcome::Expired | Outcome::Unaddressed => {
                self.open.remove(place);
            }
            // It may have arrived, as before; the machine has one of both values until the next one arrives.
            Outcome::Unknown => {
                self.count(now, now, rate);
                self.open[place].is_lost = true;
            }
            Outcome::Begun => {}
        }
        true
    }

    /// What was on its way is not any more: gives the columns of those commands.
    pub(super) fn lose(&mut self, now: i64, rate: Option<Rate>) -> Vec<Key> {
        let mut lost = Vec::new();
        for open in self.open.iter_mut().filter(|open| !open.is_lost) {
            open.is_lost = true;
            lost.push(open.row.clone());
        }
        lost.iter().for_each(|_| self.count(now, now, rate));
        lost
    }

    fn arrive(&mut self, command: Open) {
        // A failsafe may leave a column out: its last value stays, so that its next step is measured from there.
        self.last.resize(command.values.len(), None);
        for (last, value) in self.last.iter_mut().zip(command.values) {
            *last = value.or(*last);
        }
        self.failsafe = command.failsafe;
    }
}

/// Key columns, `failsafe`, `next`, then the last value of each of `width` columns.
pub(super) fn sent_table(keys: &Keys, width: usize, sent: &BTreeMap<Key, Sent>) -> Result<RecordBatch> {
    let fields =
        [Field::new("failsafe", DataType::Boolean, false), Field::new("next", DataType::Int64, false)];
    let columns: [ArrayRef; 2] = [
        Arc::new(sent.values().map(|sent| Some(sent.failsafe)).collect::<BooleanArray>()),
        Arc::new(Int64Array::from_iter_values(sent.values().map(|sent| sent.next))),
    ];
    let last: Vec<&Values> = sent.values().map(|sent| &sent.last).collect();
    table(keys, sent.keys(), fields, columns, width, &last)
}

/// Key columns, `number`, `at`, `failsafe`, `lost`, `row`, then the values of each command that may have arrived.
pub(super) fn open_table(keys: &Keys, width: usize, sent: &BTreeMap<Key, Sent>) -> Result<RecordBatch> {
    let fields = [
        Field::new("number", DataType::Int64, false),
        Field::new("at", TIMESTAMP, false),
        Field::new("failsafe", DataType::Boolean, false),
        Field::new("lost", DataType::Boolean, false),
        Field::new("row", DataType::Binary, false),
    ];
    let open: Vec<(&Key, &Open)> =
        sent.iter().flat_map(|(key, sent)| sent.open.iter().map(move |open| (key, open))).collect();
    let columns: [ArrayRef; 5] = [
        Arc::new(Int64Array::from_iter_values(open.iter().map(|(_, open)| open.number))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(open.iter().map(|(_, open)| open.at))),
        Arc::new(open.iter().map(|(_, open)| Some(open.failsafe)).collect::<BooleanArray>()),
        Arc::new(open.iter().map(|(_, open)| Some(open.is_lost)).collect::<BooleanArray>()),
        Arc::new(BinaryArray::from_iter_values(open.iter().map(|(_, open)| &open.row))),
    ];
    let values: Vec<&Values> = open.iter().map(|(_, open)| &open.values).collect();
    table(keys, open.iter().map(|(key, _)| *key), fields, columns, width, &values)
}

/// Key columns and `time`, a row for each that was sent.
pub(super) fn times_table(keys: &Keys, sent: &BTreeMap<Key, Sent>) -> Result<RecordBatch> {
    let pairs = || sent.iter().flat_map(|(key, sent)| sent.times.iter().map(move |time| (key, *time)));
    let times: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from_iter_values(pairs().map(|(_, time)| time)));
    let fields = [Field::new("time", TIMESTAMP, false)];
    table(keys, pairs().map(|(key, _)| key), fields, [times], 0, &[])
}

/// Key columns, then these, then `width` columns of values.
fn table<'a, const N: usize>(
    keys: &Keys,
    of: impl Iterator<Item = &'a Key>,
    more: [Field; N],
    columns: [ArrayRef; N],
    width: usize,
    values: &[&Values],
) -> Result<RecordBatch> {
    let mut fields: Vec<Field> = keys.fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut all = keys.decode(of)?;
    fields.extend(more);
    all.extend(columns);
    for column in 0..width {
        fields.push(Field::new(format!("last_{column}"), DataType::Float64, true));
        let value = |values: &&Values| values.get(column).copied().flatten();
        all.push(Arc::new(values.iter().map(value).collect::<Float64Array>()));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), all)?)
}

/// What [`sent_table`], [`times_table`] and [`open_table`] gave.
pub(super) fn restore(keys: &Keys, [sent, times, open]: [&RecordBatch; 3]) -> Result<BTreeMap<Key, Sent>> {
    let width = keys.fields().len();
    let key_columns: Vec<usize> = (0..width).collect();
    let mut restored = BTreeMap::new();
    let (failsafe, next) =
        (sent.column(width).as_boolean(), sent.column(width + 1).as_primitive::<Int64Type>());
    for (row, key) in keys.encode(sent, &key_columns)?.into_iter().enumerate() {
        let (last, failsafe, next) = (values(sent, width + 2, row), failsafe.value(row), next.value(row));
        restored.insert(key, Sent { last, failsafe, next, ..Sent::default() });
    }
    let wall_clocks = times.column(width).as_primitive::<TimestampMicrosecondType>();
    for (key, &time) in keys.encode(times, &key_columns)?.into_iter().zip(wall_clocks.values()) {
        let sent: &mut Sent = restored.entry(key).or_default();
        sent.times.push_back(time);
    }
    let numbers = open.column(width).as_primitive::<Int64Type>();
    let at = open.column(width + 1).as_primitive::<TimestampMicrosecondType>();
    let (failsafe, is_lost) = (open.column(width + 2).as_boolean(), open.column(width + 3).as_boolean());
    let rows = open.column(width + 4).as_binary::<i32>();
    for (row, key) in keys.encode(open, &key_columns)?.into_iter().enumerate() {
        let command = Open {
            number: numbers.value(row),
            at: at.value(row),
            failsafe: failsafe.value(row),
            is_lost: is_lost.value(row),
            values: values(open, width + 5, row),
            row: rows.value(row).into(),
        };
        restored.entry(key).or_default().open.push(command);
    }
    Ok(restored)
}

/// The values of a row, from this column on.
fn values(rows: &RecordBatch, from: usize, row: usize) -> Values {
    let value = |column: &ArrayRef| {
        let column = column.as_primitive::<Float64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    rows.columns()[from..].iter().map(value).collect()
}
