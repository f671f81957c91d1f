//! What the gate remembers of a key.

use arrow::array::{BooleanArray, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;

use super::*;

/// The values of a command by column of the input; `None` for a column that is not a number or has no value.
pub(super) type Values = Vec<Option<f64>>;

/// What was sent to a key, or would have been in shadow.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The last value of each column that is known to have arrived.
    last: Values,
    /// True if the last that arrived was the failsafe.
    failsafe: bool,
    /// Commands whose outcome is not known (yet), the oldest first: each may have arrived.
    open: Vec<Open>,
    /// Wall clocks of what still counts for the rate, ascending.
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
    values: Values,
}

impl Sent {
    /// The values that a column may have at the machine: the last that arrived, and those that may have since.
    pub(super) fn values(&self, column: usize) -> impl Iterator<Item = f64> {
        let all = std::iter::once(&self.last).chain(self.open.iter().map(|open| &open.values));
        all.filter_map(move |values| values.get(column).copied().flatten())
    }

    /// How many were sent in the interval before `now`; exactly one interval ago no longer counts.
    pub(super) fn within(&self, now: i64, interval: i64) -> usize {
        self.times.iter().filter(|&&time| now.saturating_sub(time) < interval).count()
    }

    /// True if the failsafe was last: it has arrived, or it is still on its way, as it is no longer than its time to live.
    pub(super) fn is_failsafe(&self, now: i64, ttl: Option<i64>) -> bool {
        let is_on_its_way = |open: &Open| ttl.is_none_or(|ttl| now.saturating_sub(open.at) <= ttl);
        self.open.last().map_or(self.failsafe, |open| open.failsafe && is_on_its_way(open))
    }

    /// Notes a command with these values that goes out now, or would, and gives its number. It counts as arrived unless its
    /// outcome `is_told` later. For the rate it is of interest as long as `interval`.
    pub(super) fn note(
        &mut self,
        (now, values, failsafe): (i64, Values, bool),
        interval: Option<i64>,
        is_told: bool,
    ) -> i64 {
        let number = self.next;
        self.next += 1;
        let command = Open { number, at: now, failsafe, values };
        if is_told {
            self.open.push(command);
        } else {
            self.arrive(command);
        }
        if let Some(interval) = interval {
            self.times.retain(|time| now.saturating_sub(*time) < interval);
            self.times.push_back(now);
        }
        number
    }

    /// Learns what has become of a command. Those before the last one that arrived do not matter any more: a connection keeps
    /// their order.
    pub(super) fn learn(&mut self, number: i64, outcome: Outcome) {
        let Ok(place) = self.open.binary_search_by_key(&number, |open| open.number) else { return };
        match outcome {
            Outcome::Arrived => {
                let command = self.open.remove(place);
                self.open.drain(..place);
                self.arrive(command);
            }
            Outcome::Expired | Outcome::Unaddressed => {
                let command = self.open.remove(place);
                if let Some(time) = self.times.iter().position(|time| *time == command.at) {
                    self.times.remove(time);
                }
            }
            // It may have arrived, as before; the machine has one of both values until the next one arrives.
            Outcome::Unknown => {}
        }
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

/// Key columns, `number`, `at`, `failsafe`, then the values of each command that may have arrived.
pub(super) fn open_table(keys: &Keys, width: usize, sent: &BTreeMap<Key, Sent>) -> Result<RecordBatch> {
    let fields = [
        Field::new("number", DataType::Int64, false),
        Field::new("at", TIMESTAMP, false),
        Field::new("failsafe", DataType::Boolean, false),
    ];
    let open: Vec<(&Key, &Open)> =
        sent.iter().flat_map(|(key, sent)| sent.open.iter().map(move |open| (key, open))).collect();
    let columns: [ArrayRef; 3] = [
        Arc::new(Int64Array::from_iter_values(open.iter().map(|(_, open)| open.number))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(open.iter().map(|(_, open)| open.at))),
        Arc::new(open.iter().map(|(_, open)| Some(open.failsafe)).collect::<BooleanArray>()),
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
    let failsafe = open.column(width + 2).as_boolean();
    for (row, key) in keys.encode(open, &key_columns)?.into_iter().enumerate() {
        let (number, at, failsafe) = (numbers.value(row), at.value(row), failsafe.value(row));
        let command = Open { number, at, failsafe, values: values(open, width + 3, row) };
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
