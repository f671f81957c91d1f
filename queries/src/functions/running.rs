//! Aggregates that keep a few sums per group: [`Running`] as DataFusion's accumulators.

use std::fmt::{self, Debug};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use lineshaft_operators::signal::running::Running;

use super::collected::Rows;

/// The sums that a feature is made of, and how.
pub(super) trait Sums: Debug + Send + Sync {
    /// Columns of the partial result.
    fn state_fields(&self, prefix: &str) -> Vec<FieldRef>;

    /// Without groups.
    fn accumulator(&self, parameters: Vec<f64>) -> Box<dyn Accumulator>;

    /// With groups.
    fn groups_accumulator(&self, parameters: Vec<f64>) -> Box<dyn GroupsAccumulator>;
}

/// A feature of the sums `S`.
pub(super) struct Of<S>(pub(super) fn(&S) -> Option<f64>);

/// A feature of the sums `S` and of parameters.
pub(super) struct With<S>(pub(super) fn(&S, &[f64]) -> Option<f64>);

/// What makes a feature of its sums.
enum Finish<S> {
    Sums(fn(&S) -> Option<f64>),
    Parameters(fn(&S, &[f64]) -> Option<f64>, Vec<f64>),
}

impl<S> Finish<S> {
    fn of(&self, sums: &S) -> Option<f64> {
        match self {
            Self::Sums(finish) => finish(sums),
            Self::Parameters(finish, parameters) => finish(sums, parameters),
        }
    }
}

impl<S> Debug for Finish<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<S>())
    }
}

impl<S> Debug for Of<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<S>())
    }
}

impl<S> Debug for With<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<S>())
    }
}

impl<S: Running> Sums for Of<S> {
    fn state_fields(&self, prefix: &str) -> Vec<FieldRef> {
        fields::<S>(prefix)
    }

    fn accumulator(&self, _parameters: Vec<f64>) -> Box<dyn Accumulator> {
        Box::new(Single { sums: S::default(), finish: Finish::Sums(self.0) })
    }

    fn groups_accumulator(&self, _parameters: Vec<f64>) -> Box<dyn GroupsAccumulator> {
        Box::new(Groups::<S> { sums: Vec::new(), finish: Finish::Sums(self.0) })
    }
}

impl<S: Running> Sums for With<S> {
    fn state_fields(&self, prefix: &str) -> Vec<FieldRef> {
        fields::<S>(prefix)
    }

    fn accumulator(&self, parameters: Vec<f64>) -> Box<dyn Accumulator> {
        Box::new(Single { sums: S::default(), finish: Finish::Parameters(self.0, parameters) })
    }

    fn groups_accumulator(&self, parameters: Vec<f64>) -> Box<dyn GroupsAccumulator> {
        Box::new(Groups::<S> { sums: Vec::new(), finish: Finish::Parameters(self.0, parameters) })
    }
}

fn fields<S: Running>(prefix: &str) -> Vec<FieldRef> {
    let field = |name| Arc::new(Field::new(format!("{prefix}[{name}]"), DataType::Float64, true));
    S::FIELDS.iter().map(field).collect()
}

/// One group.
#[derive(Debug)]
struct Single<S> {
    sums: S,
    finish: Finish<S>,
}

impl<S: Running> Accumulator for Single<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        Rows::of(values, false, None).for_each(|_, x, _| self.sums.add(x));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for row in 0..states[0].len() {
            self.sums.merge(&from_columns(states, row));
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let fields = (0..S::FIELDS.len()).map(|i| self.sums.field(i));
        Ok(fields.map(|field| ScalarValue::Float64(Some(field))).collect())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.finish.of(&self.sums)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// Sums by group number.
struct Groups<S> {
    sums: Vec<S>,
    finish: Finish<S>,
}

impl<S: Running> GroupsAccumulator for Groups<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.sums.resize(total, S::default());
        let of_batch = Rows::of(values, false, filter);
        of_batch.for_each_run(groups, |group, rows| {
            // A copy, so that the sums stay in registers from row to row.
            let mut sums = self.sums[group];
            of_batch.samples(rows).iter().for_each(|x| sums.add(*x));
            self.sums[group] = sums;
        });
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.sums.resize(total, S::default());
        for (row, group) in groups.iter().enumerate() {
            self.sums[*group].merge(&from_columns(states, row));
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        Ok(Arc::new(Float64Array::from_iter(sums.iter().map(|sums| self.finish.of(sums)))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(columns(&emit_to.take_needed(&mut self.sums)))
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut sums = vec![S::default(); values[0].len()];
        Rows::of(values, false, filter).for_each(|row, x, _| sums[row].add(x));
        Ok(columns(&sums))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sums.capacity() * size_of::<S>()
    }
}

fn columns<S: Running>(sums: &[S]) -> Vec<ArrayRef> {
    let column =
        |i| -> ArrayRef { Arc::new(Float64Array::from_iter_values(sums.iter().map(|sums| sums.field(i)))) };
    (0..S::FIELDS.len()).map(column).collect()
}

fn from_columns<S: Running>(columns: &[ArrayRef], row: usize) -> S {
    S::from_fields(|i| columns[i].as_primitive::<Float64Type>().value(row))
}
