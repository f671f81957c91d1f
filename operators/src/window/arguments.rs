//! The aggregates of a window: each distinct argument is computed once per batch, however many of them use it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use lineshaft_engine::expression::{Accumulator, Aggregate, Expression};
use lineshaft_engine::{Error, Result};

/// Aggregates and their distinct arguments.
#[derive(Debug)]
pub(super) struct Aggregates {
    functions: Vec<Function>,
    /// Arguments and filters; expressions are the same if they are one object.
    expressions: Vec<Arc<dyn Expression>>,
}

/// An aggregate, and where its arguments are among the expressions.
#[derive(Debug)]
struct Function {
    aggregate: Arc<dyn Aggregate>,
    arguments: Vec<usize>,
    filter: Option<usize>,
}

impl Aggregates {
    pub(super) fn new(aggregates: &[Arc<dyn Aggregate>]) -> Self {
        let mut expressions = Vec::new();
        let functions = aggregates.iter().map(|aggregate| Function {
            aggregate: Arc::clone(aggregate),
            arguments: aggregate.arguments().iter().map(|a| place(&mut expressions, a)).collect(),
            filter: aggregate.filter().map(|filter| place(&mut expressions, filter)),
        });
        Self { functions: functions.collect(), expressions }
    }

    /// The columns of all arguments for `rows`.
    pub(super) fn evaluate(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.expressions.iter().map(|expression| expression.evaluate(rows)).collect()
    }

    pub(super) fn accumulators(&self) -> Result<Accumulators> {
        let new = |function: &Function| function.aggregate.accumulator();
        Ok(Accumulators(self.functions.iter().map(new).collect::<Result<_>>()?))
    }
}

fn place(expressions: &mut Vec<Arc<dyn Expression>>, expression: &Arc<dyn Expression>) -> usize {
    let known = expressions.iter().position(|other| Arc::ptr_eq(other, expression));
    known.unwrap_or_else(|| {
        expressions.push(Arc::clone(expression));
        expressions.len() - 1
    })
}

/// One accumulator for each of [`Aggregates`], all for the same groups.
pub(super) struct Accumulators(Vec<Box<dyn Accumulator>>);

impl Accumulators {
    /// Adds rows whose arguments are `columns`, as [`Aggregates::evaluate`] gave them.
    pub(super) fn update(
        &mut self,
        of: &Aggregates,
        columns: &[ArrayRef],
        groups: &[usize],
        total: usize,
    ) -> Result<()> {
        for (accumulator, function) in self.0.iter_mut().zip(&of.functions) {
            let arguments: Vec<_> = function.arguments.iter().map(|at| Arc::clone(&columns[*at])).collect();
            let filter = match function.filter {
                Some(at) => Some(columns[at].as_boolean_opt().ok_or_else(|| {
                    Error::operator(function.aggregate.result().name(), "its FILTER is not a boolean")
                })?),
                None => None,
            };
            accumulator.update(&arguments, groups, filter, total)?;
        }
        Ok(())
    }

    /// Adds partial results, as [`Accumulators::state`] gave them.
    pub(super) fn merge(
        &mut self,
        of: &Aggregates,
        mut states: &[ArrayRef],
        groups: &[usize],
        total: usize,
    ) -> Result<()> {
        for (accumulator, function) in self.0.iter_mut().zip(&of.functions) {
            let width = function.aggregate.state().len();
            let Some((own, others)) = states.split_at_checked(width) else {
                return Err(Error::operator("window", "a snapshot of another plan"));
            };
            accumulator.merge(own, groups, total)?;
            states = others;
        }
        Ok(())
    }

    /// The partial results of all groups, one aggregate's columns after the other's; no group is left.
    pub(super) fn state(&mut self) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for accumulator in &mut self.0 {
            columns.extend(accumulator.state()?);
        }
        Ok(columns)
    }

    /// The results of all groups; no group is left.
    pub(super) fn evaluate(&mut self) -> Result<Vec<ArrayRef>> {
        self.0.iter_mut().map(|accumulator| accumulator.evaluate()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::array::Float64Array;
    use arrow::datatypes::{DataType, Field};
    use lineshaft_engine::testing::table;

    use super::*;
    use crate::testing::{Statistic, aggregate};

    /// Column 0, counting how often it is computed.
    #[derive(Debug, Default)]
    struct Counted(AtomicUsize);

    impl Expression for Counted {
        fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Arc::clone(rows.column(0)))
        }

        fn data_type(&self) -> &DataType {
            &DataType::Float64
        }
    }

    /// An aggregate with another argument.
    #[derive(Debug)]
    struct Of(Arc<dyn Aggregate>, Vec<Arc<dyn Expression>>);

    impl Aggregate for Of {
        fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
            self.0.accumulator()
        }

        fn arguments(&self) -> &[Arc<dyn Expression>] {
            &self.1
        }

        fn filter(&self) -> Option<&Arc<dyn Expression>> {
            None
        }

        fn result(&self) -> &Field {
            self.0.result()
        }

        fn state(&self) -> &[Field] {
            self.0.state()
        }
    }

    #[test]
    fn an_argument_of_several_aggregates_is_computed_once() {
        let counted = Arc::new(Counted::default());
        let of = |statistic| -> Arc<dyn Aggregate> {
            Arc::new(Of(aggregate(statistic, 0, None), vec![Arc::clone(&counted) as _]))
        };
        let aggregates = Aggregates::new(&[of(Statistic::Sum), of(Statistic::Max)]);
        let columns = aggregates.evaluate(&table("x:f \n 1 \n 2")).unwrap();
        assert_eq!(counted.0.load(Ordering::Relaxed), 1);
        let mut accumulators = aggregates.accumulators().unwrap();
        accumulators.update(&aggregates, &columns, &[0, 0], 1).unwrap();
        let results = accumulators.evaluate().unwrap();
        assert_eq!(results[0].as_ref(), &Float64Array::from(vec![3.0]) as &dyn arrow::array::Array);
        assert_eq!(results[1].as_ref(), &Float64Array::from(vec![2.0]) as &dyn arrow::array::Array);
    }
}
