//! Chooses set-points: per key and tick the values of the variables that cost least and break no constraint.
//!
//! Ticks are the multiples of the interval since 1970. A row of the state belongs to the first tick at or after its
//! event time. When the watermark is past tick `T` (no row at `T` can follow), each key that got a row since the
//! tick before is solved for its newest row; of rows with one event time the one that came later counts. A key
//! without a new row is left out: its last choice stands. At the end of the input the ticks of all remaining rows
//! are solved. A row of a tick that is already solved is late and is left out, as is a retraction.
//!
//! - Candidates: the columns of the input, the same row repeated, then one `DOUBLE` column a variable. Objective and
//!   constraints are evaluated over many candidates at once.
//! - Steps: with `max_step` a value is at most that far from the last feasible choice of the key.
//! - Columns out: event time of the tick, key columns, variables, `cost`, `feasible`, `reason`. An infeasible row
//!   has the candidate that is nearest to feasible; without any usable cost the values are NULL.
//! - State: per key the last feasible choice, and one row a tick that is not solved yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use lineshaft_engine::batch::{Batch, TIMESTAMP};
use lineshaft_engine::error::{Error, Result};
use lineshaft_engine::operator::{Operator, Output, Snapshot};
use lineshaft_engine::time::{EventTime, Watermark};

mod options;

pub use options::{Constraint, OptimizerOptions, Variable};

use super::keys::{Key, Keys};
use super::solver::{Candidate, Range, Score, minimize};
use crate::model::random::mix;

/// The newest state of a key before a tick, as one row.
#[derive(Debug)]
struct State {
    event_time: EventTime,
    row: RecordBatch,
}

/// What came out for a key.
struct Choice {
    key: Key,
    point: Option<Vec<f64>>,
    cost: Option<f64>,
    /// `None` if feasible.
    reason: Option<String>,
}

/// See the page.
#[derive(Debug)]
pub struct Optimizer {
    options: OptimizerOptions,
    input: SchemaRef,
    candidates: SchemaRef,
    output: SchemaRef,
    keys: Keys,
    pending: BTreeMap<EventTime, BTreeMap<Key, State>>,
    previous: BTreeMap<Key, Vec<f64>>,
    solved: Watermark,
}

impl Optimizer {
    /// An optimiser of rows of `input`.
    ///
    /// # Errors
    /// If the bounds are not in order, or a key has a type that cannot be one.
    pub fn new(options: OptimizerOptions, input: SchemaRef) -> Result<Self> {
        options.check()?;
        Ok(Self {
            candidates: OptimizerOptions::candidate_schema(&input, &options.variables),
            output: options.output_schema(&input),
            keys: Keys::new(&input, &options.keys)?,
            pending: BTreeMap::new(),
            previous: BTreeMap::new(),
            solved: Watermark::START,
            options,
            input,
        })
    }

    /// The columns of the rows that come out.
    pub fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// Keeps the newest row of each key and tick.
    fn keep(&mut self, batch: &Batch) -> Result<()> {
        let rows = batch.rows();
        let times = cast(rows.column(self.options.event_time), &TIMESTAMP)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let mut newest: BTreeMap<(EventTime, Key), usize> = BTreeMap::new();
        for (row, key) in self.keys.encode(rows, &self.options.keys)?.into_iter().enumerate() {
            let retracted = batch.weights().is_some_and(|weights| weights.value(row) <= 0);
            if times.is_null(row) || retracted {
                continue;
            }
            let tick = tick_of(times.value(row), self.options.interval);
            if is_due(tick, self.solved) {
                continue;
            }
            let place = newest.entry((tick, key)).or_insert(row);
            if times.value(row) >= times.value(*place) {
                *place = row;
            }
        }
        for ((tick, key), row) in newest {
            let event_time = times.value(row);
            let of_tick = self.pending.entry(tick).or_default();
            if of_tick.get(&key).is_none_or(|known| known.event_time <= event_time) {
                of_tick.insert(key, State { event_time, row: copy_row(rows, row)? });
            }
        }
        Ok(())
    }

    fn solve_tick(&mut self, tick: EventTime, states: BTreeMap<Key, State>) -> Result<RecordBatch> {
        let mut choices = Vec::with_capacity(states.len());
        for (key, state) in states {
            let choice = self.solve(tick, key, &state.row)?;
            if let (Some(point), None) = (&choice.point, &choice.reason) {
                self.previous.insert(choice.key.clone(), point.clone());
            }
            choices.push(choice);
        }
        self.rows_of(tick, &choices)
    }

    fn solve(&self, tick: EventTime, key: Key, state: &RecordBatch) -> Result<Choice> {
        let previous = self.previous.get(&key).map(Vec::as_slice);
        let (ranges, out_of_reach) = self.ranges(previous);
        let seed = key.iter().fold(mix(self.options.seed) ^ mix(tick.cast_unsigned()), |seed, byte| {
            mix(seed ^ u64::from(*byte))
        });
        let whole = |point: &Vec<f64>| self.whole(point);
        let mut evaluate =
            |points: &[Vec<f64>]| self.score(state, &points.iter().map(whole).collect::<Vec<_>>());
        let mut best = minimize(&ranges, previous, seed, self.options.evaluations, &mut evaluate)?;
        best.point = self.whole(&best.point);
        if !best.score.is_usable() {
            let reason = Some(format!("cost is {}", best.score.cost));
            return Ok(Choice { key, point: None, cost: None, reason });
        }
        let reason = match out_of_reach {
            Some(reason) => Some(reason),
            None => self.broken_constraint(state, &best)?,
        };
        Ok(Choice { key, cost: Some(best.score.cost), point: Some(best.point), reason })
    }

    /// Bounds and steps together; and why no value satisfies both, if that is so.
    fn ranges(&self, previous: Option<&[f64]>) -> (Vec<Range>, Option<String>) {
        let mut out_of_reach = None;
        let mut range = |(index, variable): (usize, &Variable)| {
            let (lower, upper) = variable.bounds();
            let whole = Range { lower, upper };
            let (Some(last), Some(step)) = (previous.map(|point| point[index]), variable.max_step) else {
                return whole;
            };
            // A step from a whole number to the next ones is one, too.
            let step = if variable.is_whole { step.floor() } else { step };
            let (lower, upper) = (whole.lower.max(last - step), whole.upper.min(last + step));
            if lower <= upper {
                return Range { lower, upper };
            }
            let name = &variable.name;
            out_of_reach =
                Some(format!("the last {name} {last} is more than the step {step} outside the bounds"));
            let nearest = last.clamp(whole.lower, whole.upper);
            Range { lower: nearest, upper: nearest }
        };
        let ranges = self.options.variables.iter().enumerate().map(&mut range).collect();
        (ranges, out_of_reach)
    }

    /// The point with whole numbers where there must be. Their ranges end at such.
    fn whole(&self, point: &[f64]) -> Vec<f64> {
        let rounded =
            |(value, variable): (&f64, &Variable)| if variable.is_whole { value.round() } else { *value };
        point.iter().zip(&self.options.variables).map(rounded).collect()
    }

    fn score(&self, state: &RecordBatch, points: &[Vec<f64>]) -> Result<Vec<Score>> {
        let rows = self.candidate_rows(state, points)?;
        let costs = floats(&self.options.objective.evaluate(&rows)?)?;
        let mut scores: Vec<Score> = costs.into_iter().map(|cost| Score { cost, violation: 0.0 }).collect();
        for constraint in &self.options.constraints {
            for (score, violation) in scores.iter_mut().zip(violations(constraint, &rows)?) {
                score.violation += violation;
            }
        }
        Ok(scores)
    }

    fn candidate_rows(&self, state: &RecordBatch, points: &[Vec<f64>]) -> Result<RecordBatch> {
        let repeated = UInt32Array::from(vec![0; points.len()]);
        let mut columns = take_record_batch(state, &repeated)?.columns().to_vec();
        for variable in 0..self.options.variables.len() {
            let values = points.iter().map(|point| point[variable]);
            columns.push(Arc::new(Float64Array::from_iter_values(values)));
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.candidates), columns)?)
    }

    /// The constraint that a point breaks most, in words.
    fn broken_constraint(&self, state: &RecordBatch, best: &Candidate) -> Result<Option<String>> {
        let rows = self.candidate_rows(state, std::slice::from_ref(&best.point))?;
        let mut worst: Option<(usize, f64)> = None;
        for (index, constraint) in self.options.constraints.iter().enumerate() {
            let violation = violations(constraint, &rows)?[0];
            if violation > worst.map_or(0.0, |(_, most)| most) {
                worst = Some((index, violation));
            }
        }
        Ok(worst.map(|(index, violation)| self.describe(index, violation)))
    }

    fn describe(&self, index: usize, violation: f64) -> String {
        let number = index + 1;
        if self.options.constraints[index].violation.is_some() && violation.is_finite() {
            return format!("infeasible: constraint {number} by {violation:.6}");
        }
        format!("infeasible: constraint {number}")
    }

    fn rows_of(&self, tick: EventTime, choices: &[Choice]) -> Result<RecordBatch> {
        let ticks = arrow::array::TimestampMicrosecondArray::from(vec![tick; choices.len()]);
        let mut columns: Vec<ArrayRef> = vec![Arc::new(ticks)];
        columns.extend(self.keys.decode(choices.iter().map(|choice| &choice.key))?);
        for variable in 0..self.options.variables.len() {
            let values = choices.iter().map(|choice| choice.point.as_ref().map(|point| point[variable]));
            columns.push(Arc::new(values.collect::<Float64Array>()));
        }
        columns.push(Arc::new(choices.iter().map(|choice| choice.cost).collect::<Float64Array>()));
        columns.push(Arc::new(choices.iter().map(|c| Some(c.reason.is_none())).collect::<BooleanArray>()));
        columns.push(Arc::new(choices.iter().map(|c| c.reason.as_deref()).collect::<StringArray>()));
        Ok(RecordBatch::try_new(Arc::clone(&self.output), columns)?)
    }
}

/// The first multiple of the interval at or after an event time.
fn tick_of(event_time: EventTime, interval: i64) -> EventTime {
    let behind = event_time.rem_euclid(interval);
    if behind == 0 { event_time } else { event_time.saturating_add(interval - behind) }
}

/// True if no row at or before the tick can follow. The watermark itself may still come as an event time.
fn is_due(tick: EventTime, watermark: Watermark) -> bool {
    watermark == Watermark::END || tick < watermark.0
}

/// A row of its own, so that the rest of the batch can be dropped.
fn copy_row(rows: &RecordBatch, row: usize) -> Result<RecordBatch> {
    let index = u32::try_from(row).map_err(|error| Error::operator("optimizer", error))?;
    Ok(take_record_batch(rows, &UInt32Array::from(vec![index]))?)
}

/// NULL as NaN.
fn floats(column: &ArrayRef) -> Result<Vec<f64>> {
    let column = cast(column, &DataType::Float64)?;
    Ok(column.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

/// How far each candidate is off; zero where the constraint holds.
fn violations(constraint: &Constraint, rows: &RecordBatch) -> Result<Vec<f64>> {
    let holds = cast(&constraint.holds.evaluate(rows)?, &DataType::Boolean)?;
    let measured = match &constraint.violation {
        Some(violation) => floats(&violation.evaluate(rows)?)?,
        None => vec![1.0; rows.num_rows()],
    };
    let off = |(holds, measured): (Option<bool>, f64)| match holds {
        Some(true) => 0.0,
        // At the edge of a strict comparison the distance is zero, and still it does not hold.
        _ if measured >= 0.0 => measured.max(f64::MIN_POSITIVE),
        _ => f64::INFINITY,
    };
    Ok(holds.as_boolean().iter().zip(measured).map(off).collect())
}

impl Operator for Optimizer {
    fn on_batch(&mut self, _input: usize, batch: Batch, _output: &mut Output) -> Result<()> {
        self.keep(&batch)
    }

    fn on_watermark(&mut self, watermark: Watermark, output: &mut Output) -> Result<()> {
        while let Some(entry) = self.pending.first_entry() {
            let tick = *entry.key();
            if !is_due(tick, watermark) {
                break;
            }
            let states = entry.remove();
            output.send(self.solve_tick(tick, states)?);
        }
        self.solved = self.solved.max(watermark);
        Ok(())
    }

    /// Tables: `pending` (rows of the input), `previous` (key, choice), `solved` (the watermark).
    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        let rows = self.pending.values().flat_map(|states| states.values().map(|state| &state.row));
        snapshot.put("pending", concat_batches(&self.input, rows)?);
        let mut fields: Vec<Field> = self.keys.fields().iter().map(|field| field.as_ref().clone()).collect();
        let mut columns = self.keys.decode(self.previous.keys())?;
        for (index, variable) in self.options.variables.iter().enumerate() {
            fields.push(Field::new(&variable.name, DataType::Float64, false));
            columns.push(Arc::new(Float64Array::from_iter_values(
                self.previous.values().map(|point| point[index]),
            )));
        }
        snapshot.put("previous", RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?);
        let solved: ArrayRef = Arc::new(Int64Array::from(vec![self.solved.0]));
        snapshot.put("solved", RecordBatch::try_from_iter([("watermark", solved)])?);
        Ok(snapshot)
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let name = format!("optimizer {:?}", self.options.name);
        let mut table = |table: &str| {
            snapshot
                .take(table)
                .ok_or_else(|| Error::operator(name.as_str(), format!("no table {table:?} to restore")))
        };
        let (pending, previous, solved) = (table("pending")?, table("previous")?, table("solved")?);
        self.keep(&Batch::new(pending))?;
        let width = self.keys.fields().len();
        let keys = self.keys.encode(&previous, &(0..width).collect::<Vec<_>>())?;
        let values: Result<Vec<Vec<f64>>> = previous.columns()[width..].iter().map(floats).collect();
        let values = values?;
        let point = |row: usize| values.iter().map(|column| column[row]).collect();
        self.previous = keys.into_iter().enumerate().map(|(row, key)| (key, point(row))).collect();
        self.solved = Watermark(solved.column(0).as_primitive::<Int64Type>().value(0));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
