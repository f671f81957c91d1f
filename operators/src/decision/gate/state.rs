//! What the gate remembers of a key.

use super::*;

/// What was sent to a key, or would have been in shadow.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The last value of each column of the input; `None` for a column that is not a number or had no value.
    last: Vec<Option<f64>>,
    /// Wall clocks of what still counts for the rate, ascending.
    times: VecDeque<i64>,
    /// True if the failsafe was the last.
    pub(super) failsafe: bool,
}

impl Sent {
    /// The last value of a column.
    pub(super) fn value(&self, column: usize) -> Option<f64> {
        self.last.get(column).copied().flatten()
    }

    /// How many were sent in the interval before `now`; exactly one interval ago no longer counts.
    pub(super) fn within(&self, now: i64, interval: i64) -> usize {
        self.times.iter().filter(|&&time| now.saturating_sub(time) < interval).count()
    }

    /// Notes one; `interval` is how long its time is of interest.
    pub(super) fn note(&mut self, now: i64, values: Vec<Option<f64>>, failsafe: bool, interval: Option<i64>) {
        // A failsafe may leave a column out: its last value stays, so that its next step is measured from there.
        self.last.resize(values.len(), None);
        for (last, value) in self.last.iter_mut().zip(values) {
            *last = value.or(*last);
        }
        self.failsafe = failsafe;
        if let Some(interval) = interval {
            self.times.retain(|time| now.saturating_sub(*time) < interval);
            self.times.push_back(now);
        }
    }
}

/// Key columns, `failsafe`, then the last value of each of `width` columns.
pub(super) fn sent_table(keys: &Keys, width: usize, sent: &BTreeMap<Key, Sent>) -> Result<RecordBatch> {
    let mut fields: Vec<Field> = keys.fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut columns = keys.decode(sent.keys())?;
    fields.push(Field::new("failsafe", DataType::Boolean, false));
    let failsafe: Vec<bool> = sent.values().map(|sent| sent.failsafe).collect();
    columns.push(Arc::new(arrow::array::BooleanArray::from(failsafe)));
    for column in 0..width {
        fields.push(Field::new(format!("last_{column}"), DataType::Float64, true));
        columns.push(Arc::new(sent.values().map(|sent| sent.value(column)).collect::<Float64Array>()));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Key columns and `time`, a row for each that was sent.
pub(super) fn times_table(keys: &Keys, sent: &BTreeMap<Key, Sent>) -> Result<RecordBatch> {
    let pairs = || sent.iter().flat_map(|(key, sent)| sent.times.iter().map(move |time| (key, *time)));
    let mut fields: Vec<Field> = keys.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("time", TIMESTAMP, false));
    let mut columns = keys.decode(pairs().map(|(key, _)| key))?;
    let times = pairs().map(|(_, time)| time);
    columns.push(Arc::new(arrow::array::TimestampMicrosecondArray::from_iter_values(times)));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// What [`sent_table`] and [`times_table`] gave.
pub(super) fn restore(keys: &Keys, sent: &RecordBatch, times: &RecordBatch) -> Result<BTreeMap<Key, Sent>> {
    let width = keys.fields().len();
    let key_columns: Vec<usize> = (0..width).collect();
    let failsafe = sent.column(width).as_boolean();
    let last = &sent.columns()[width + 1..];
    let mut restored = BTreeMap::new();
    for (row, key) in keys.encode(sent, &key_columns)?.into_iter().enumerate() {
        let value = |column: &ArrayRef| column.as_primitive::<Float64Type>().iter().nth(row).flatten();
        let last = last.iter().map(value).collect();
        restored.insert(key, Sent { last, times: VecDeque::new(), failsafe: failsafe.value(row) });
    }
    let wall_clocks = times.column(width).as_primitive::<TimestampMicrosecondType>();
    for (key, &time) in keys.encode(times, &key_columns)?.into_iter().zip(wall_clocks.values()) {
        let sent: &mut Sent = restored.entry(key).or_default();
        sent.times.push_back(time);
    }
    Ok(restored)
}
