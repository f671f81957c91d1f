//! Helpers for tests: aggregates over a column of doubles, and what a window operator gives, as numbers.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, TimestampMicrosecondType};
use lineshaft_engine::Result;
use lineshaft_engine::batch::event_time_field;
use lineshaft_engine::expression::{Accumulator, Aggregate, Column, Expression};

/// What is computed of the doubles of a group. Sums are added one after the other, so their bits tell the order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Statistic {
    Count,
    Sum,
    Min,
    Max,
}

#[derive(Debug)]
struct Statistics {
    statistic: Statistic,
    arguments: Vec<Arc<dyn Expression>>,
    filter: Option<Arc<dyn Expression>>,
}

static RESULT: LazyLock<Field> = LazyLock::new(|| Field::new("result", DataType::Float64, true));

/// The statistic of column `of`, `COUNT` without arguments, of the rows for which column `filter` is true.
pub(crate) fn aggregate(statistic: Statistic, of: usize, filter: Option<usize>) -> Arc<dyn Aggregate> {
    let column = |index, data_type| Arc::new(Column { index, data_type }) as Arc<dyn Expression>;
    Arc::new(Statistics {
        statistic,
        arguments: match statistic {
            Statistic::Count => Vec::new(),
            _ => vec![column(of, DataType::Float64)],
        },
        filter: filter.map(|filter| column(filter, DataType::Boolean)),
    })
}

/// Count, sum, least and greatest of a column.
pub(crate) fn all_of(column: usize) -> Vec<Arc<dyn Aggregate>> {
    use Statistic::{Count, Max, Min, Sum};
    [Count, Sum, Min, Max].map(|statistic| aggregate(statistic, column, None)).into()
}

/// The output columns of a window operator with these key columns and so many results.
pub(crate) fn window_schema(keys: &[Field], results: usize) -> SchemaRef {
    let mut fields = keys.to_vec();
    fields.push(event_time_field("window_start"));
    fields.push(event_time_field("window_end"));
    fields.extend((0..results).map(|i| Field::new(format!("result_{i}"), DataType::Float64, true)));
    Arc::new(Schema::new(fields))
}

/// Rows of a window operator with a text key and [`all_of`]: `(key, start, end, count, sum bits, min, max)`, times
/// in seconds, sorted.
pub(crate) fn window_rows<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        let time = |column: usize, row: usize| {
            batch.column(column).as_primitive::<TimestampMicrosecondType>().value(row) as f64 / 1e6
        };
        for row in 0..batch.num_rows() {
            let key = batch.column(0).as_string::<i32>();
            let mut line = if key.is_null(row) { "-" } else { key.value(row) }.to_owned();
            line += &format!(" {} {}", time(1, row), time(2, row));
            for column in &batch.columns()[3..] {
                let numbers = column.as_primitive::<Float64Type>();
                line += &match numbers.is_null(row) {
                    true => " -".to_owned(),
                    false => format!(" {}", numbers.value(row)),
                };
            }
            rows.push(line);
        }
    }
    rows.sort();
    rows
}

impl Aggregate for Statistics {
    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Values { statistic: self.statistic, groups: Vec::new() }))
    }

    fn arguments(&self) -> &[Arc<dyn Expression>] {
        &self.arguments
    }

    fn filter(&self) -> Option<&Arc<dyn Expression>> {
        self.filter.as_ref()
    }

    fn result(&self) -> &Field {
        &RESULT
    }

    fn state(&self) -> &[Field] {
        std::slice::from_ref(&RESULT)
    }
}

struct Values {
    statistic: Statistic,
    groups: Vec<Option<f64>>,
}

impl Values {
    fn add(&mut self, group: usize, value: f64) {
        let so_far = &mut self.groups[group];
        *so_far = Some(match (*so_far, self.statistic) {
            (None, _) => value,
            (Some(x), Statistic::Count | Statistic::Sum) => x + value,
            (Some(x), Statistic::Min) => x.min(value),
            (Some(x), Statistic::Max) => x.max(value),
        });
    }
}

impl Accumulator for Values {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        assert!(total >= self.groups.len(), "groups never become fewer");
        self.groups.resize(total, None);
        for (row, group) in groups.iter().enumerate() {
            if filter.is_some_and(|filter| filter.is_null(row) || !filter.value(row)) {
                continue;
            }
            match arguments {
                [] => self.add(*group, 1.0),
                [column, ..] => {
                    let numbers = column.as_primitive::<Float64Type>();
                    if numbers.is_valid(row) {
                        self.add(*group, numbers.value(row));
                    }
                }
            }
        }
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize(total, None);
        for (state, group) in state[0].as_primitive::<Float64Type>().iter().zip(groups) {
            if let Some(state) = state {
                self.add(*group, state);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.groups.drain(..).collect::<Float64Array>()))
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        self.groups.len() * size_of::<Option<f64>>()
    }
}

/// Numbers in [0, 1) of the generator of Numerical Recipes (2nd ed., 7.1), so that Python makes the same ones.
pub(crate) fn units(seed: u32) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state) / 4_294_967_296.0
    }
}
