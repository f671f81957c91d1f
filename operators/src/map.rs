//! Filters rows and computes columns, in one step.
//!
//! - Rows: any, also of a changelog, which keep their weights. State: none.
//! - Where every row passes, and where a column is taken as it is, nothing is copied.
//! - A row that an expression has no value for goes to the second output. It is found by halving the batch, so that a
//!   batch without such rows costs nothing.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use lineshaft_engine::batch::Batch;
use lineshaft_engine::expression::Expression;
use lineshaft_engine::operator::{Operator, Output};
use lineshaft_engine::{Error, Result};

use crate::failed::{Failure, Failures};

/// What [`Map`] does, in this order.
#[derive(Clone, Debug)]
pub struct MapOptions {
    /// Only rows for which this is true pass (NULL is not true); computed from the columns of the input.
    pub predicate: Option<Arc<dyn Expression>>,
    /// Only these columns are kept, in this order; what is not kept is not copied by the filter.
    pub keep: Option<Vec<usize>>,
    /// The columns of the output, computed from the kept ones; `None`: the kept ones.
    pub columns: Option<Vec<Arc<dyn Expression>>>,
    /// Names and types of the output.
    pub schema: SchemaRef,
    /// Whose rows go to the second output if they cannot be computed; `None` if they end the program.
    pub failures: Option<Failures>,
}

/// `SELECT columns WHERE predicate`.
#[derive(Debug)]
pub struct Map {
    options: MapOptions,
}

impl Map {
    /// The operator.
    pub fn new(options: MapOptions) -> Self {
        Self { options }
    }

    /// The rows of a batch; `None` if none passes.
    fn mapped(&self, batch: Batch) -> Result<Option<Batch>> {
        let Some(batch) = self.filtered(batch)? else {
            return Ok(None);
        };
        let rows = batch.rows();
        let columns = match &self.options.columns {
            Some(columns) => columns.iter().map(|column| column.evaluate(rows)).collect::<Result<_>>()?,
            None => rows.columns().to_vec(),
        };
        let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = Arc::clone(&self.options.schema);
        let mapped = RecordBatch::try_new_with_options(schema, columns, &count)?;
        Ok(Some(with_rows(&batch, mapped)))
    }

    /// The same, in halves, until each row that cannot be computed is alone. Whether it can does not depend on the rows
    /// beside it.
    fn mapped_in_parts(&self, batch: Batch, parts: &mut Vec<Batch>, failed: &mut Vec<Failure>) -> Result<()> {
        let count = batch.num_rows();
        match self.mapped(batch.clone()) {
            Ok(mapped) => parts.extend(mapped),
            Err(Error::Row { .. }) if count > 1 => {
                let (first, second) = (batch.slice(0, count / 2), batch.slice(count / 2, count - count / 2));
                self.mapped_in_parts(first, parts, failed)?;
                self.mapped_in_parts(second, parts, failed)?;
            }
            Err(Error::Row { expression, reason }) => {
                failed.push(Failure { row: batch.into_rows(), expression, error: reason });
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    fn filtered(&self, batch: Batch) -> Result<Option<Batch>> {
        let keep = match &self.options.predicate {
            Some(predicate) => Some(predicate.evaluate(batch.rows())?),
            None => None,
        };
        let batch = match &self.options.keep {
            Some(columns) => with_rows(&batch, batch.rows().project(columns)?),
            None => batch,
        };
        let Some(keep) = keep else {
            return Ok(Some(batch));
        };
        let keep = keep
            .as_boolean_opt()
            .ok_or_else(|| Error::operator("filter", "the condition is not a boolean"))?;
        match keep.true_count() {
            0 => Ok(None),
            all if all == batch.num_rows() => Ok(Some(batch)),
            _ => Ok(Some(batch.filter(keep)?)),
        }
    }
}

/// Other columns for the same rows.
fn with_rows(batch: &Batch, rows: RecordBatch) -> Batch {
    match batch.weights() {
        Some(weights) => Batch::with_weights(rows, weights.clone()),
        None => Batch::new(rows),
    }
}

impl Operator for Map {
    fn on_batch(&mut self, _input: usize, batch: Batch, output: &mut Output) -> Result<()> {
        let Some(failures) = &self.options.failures else {
            self.mapped(batch)?.into_iter().for_each(|mapped| output.send(mapped));
            return Ok(());
        };
        let (mut parts, mut failed) = (Vec::new(), Vec::new());
        self.mapped_in_parts(batch, &mut parts, &mut failed)?;
        if let Some(mapped) = Batch::concat(&parts)? {
            output.send(mapped);
        }
        if !failed.is_empty() {
            output.send_to(1, failures.rows(&failed)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use lineshaft_engine::expression::Column;
    use lineshaft_engine::testing::{Step, lines, run, table};

    use super::*;

    fn column(index: usize, data_type: DataType) -> Arc<dyn Expression> {
        Arc::new(Column { index, data_type })
    }

    fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
        let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
        Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
    }

    fn hot_machines() -> Map {
        Map::new(MapOptions {
            predicate: Some(column(2, DataType::Boolean)),
            keep: Some(vec![1, 0]),
            columns: None,
            schema: schema(&[("bar", DataType::Float64), ("machine", DataType::Utf8)]),
            failures: None,
        })
    }

    #[test]
    fn rows_pass_where_the_condition_is_true_and_not_where_it_is_null() {
        let rows = table("m:s x:f hot:b \n a 1 true \n b 2 false \n c 3 - \n d 4 true");
        let passed = run(&mut hot_machines(), 1, vec![Step::Rows(0, rows)]).unwrap();
        assert_eq!(lines(&passed), ["1.0 a", "4.0 d"]);
        assert_eq!(passed[0].schema().field(0).name(), "bar");
    }

    #[test]
    fn a_batch_without_a_matching_row_is_dropped() {
        let rows = table("m:s x:f hot:b \n a 1 false");
        assert!(run(&mut hot_machines(), 1, vec![Step::Rows(0, rows)]).unwrap().is_empty());
    }

    #[test]
    fn where_all_rows_pass_nothing_is_copied() {
        let rows = table("m:s x:f hot:b \n a 1 true \n b 2 true");
        let passed = run(&mut hot_machines(), 1, vec![Step::Rows(0, rows.clone())]).unwrap();
        assert!(Arc::ptr_eq(passed[0].column(0), rows.column(1)));
    }

    #[test]
    fn columns_are_computed_from_the_kept_ones_and_weights_stay() {
        let mut map = Map::new(MapOptions {
            predicate: Some(column(1, DataType::Boolean)),
            keep: Some(vec![0]),
            columns: Some(vec![column(0, DataType::Int64), column(0, DataType::Int64)]),
            schema: schema(&[("a", DataType::Int64), ("b", DataType::Int64)]),
            failures: None,
        });
        let rows = table("x:i keep:b \n 7 true \n 8 false \n 9 true");
        let mut output = Output::new(1);
        let batch = Batch::with_weights(rows, Int64Array::from(vec![1, 1, -1]));
        map.on_batch(0, batch, &mut output).unwrap();
        let passed = output.take(0).remove(0);
        assert_eq!(lines([passed.rows()]), ["7 7", "9 9"]);
        assert_eq!(passed.weights().unwrap().values(), &[1, -1]);
    }

    #[test]
    fn rows_without_columns_are_still_counted() {
        let mut map = Map::new(MapOptions {
            predicate: None,
            keep: Some(vec![]),
            columns: Some(vec![]),
            schema: schema(&[]),
            failures: None,
        });
        let passed = run(&mut map, 1, vec![Step::Rows(0, table("x:i \n 7 \n 8"))]).unwrap();
        assert_eq!(passed[0].num_rows(), 2);
    }

    /// Odd numbers have no half, and the batch as a whole has none if it has one of them.
    #[derive(Debug)]
    struct Half;

    impl Expression for Half {
        fn evaluate(&self, rows: &RecordBatch) -> Result<arrow::array::ArrayRef> {
            let numbers = rows.column(0).as_primitive::<arrow::datatypes::Int64Type>();
            let half = |n: i64| match n % 2 {
                0 => Ok(n / 2),
                _ => Err(Error::Row { expression: "half(x)".into(), reason: format!("{n} is odd") }),
            };
            let halves = numbers.values().iter().map(|n| half(*n)).collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(Int64Array::from(halves)))
        }

        fn data_type(&self) -> &DataType {
            &DataType::Int64
        }
    }

    #[test]
    fn a_row_that_cannot_be_computed_goes_aside_and_the_others_pass_in_order() {
        let counter = Arc::<lineshaft_engine::metrics::Counter>::default();
        let failures =
            Failures { relation: "v".into(), counter: Arc::clone(&counter), is_told: Arc::default() };
        let mut map = Map::new(MapOptions {
            predicate: None,
            keep: None,
            columns: Some(vec![Arc::new(Half)]),
            schema: schema(&[("half", DataType::Int64)]),
            failures: Some(failures),
        });
        let numbers = [0, 2, 3, 4, 6, 8, 9, 11, 12];
        let weights: Vec<i64> = numbers.iter().map(|n| n % 5 - 2).collect();
        let rows = table(&format!("x:i \n {}", numbers.map(|n: i64| n.to_string()).join("\n")));
        let mut output = Output::new(2);
        map.on_batch(0, Batch::with_weights(rows, weights.into()), &mut output).unwrap();
        let passed = output.take(0).remove(0);
        assert_eq!(lines([passed.rows()]), ["0", "1", "2", "3", "4", "6"]);
        assert_eq!(passed.weights().unwrap().values(), &[-2, 0, 2, -1, 1, 0]);
        let told: Vec<RecordBatch> = output.take(1).into_iter().map(Batch::into_rows).collect();
        let half = |n: i64| format!("v half(x) {n} is odd {{\"x\":{n}}}");
        assert_eq!(lines(&told), [3, 9, 11].map(half));
        assert_eq!(counter.get(), 3);
    }
}
