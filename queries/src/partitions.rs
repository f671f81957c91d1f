//! DataFusion's window functions (`OVER`) over rows that are all there.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, concat, partition, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_planner::create_window_expr;
use lineshaft_engine::expression::RowsFunction;
use lineshaft_engine::{Error, Result};

use crate::batch::with_frames;

/// Window functions whose results become columns behind those of the rows.
#[derive(Clone)]
pub(crate) struct Partitions {
    functions: Vec<Arc<dyn WindowExpr>>,
    schema: SchemaRef,
}

impl Partitions {
    /// `functions` over rows with the columns of `input`; `schema` is that of the result.
    pub(crate) fn new(
        functions: &[Expr],
        input: &DFSchema,
        schema: SchemaRef,
    ) -> std::result::Result<Self, DataFusionError> {
        let (context, properties) = (PhysicalPlanningContext::default(), ExecutionProps::new());
        let functions = functions.iter().map(|function| {
            create_window_expr(&with_frames(function.clone())?, input, &properties, &context)
        });
        Ok(Self { functions: functions.collect::<std::result::Result<_, _>>()?, schema })
    }
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.functions.iter().map(|function| function.name()).collect();
        write!(f, "{}", names.join(", "))
    }
}

impl RowsFunction for Partitions {
    fn compute(&self, rows: RecordBatch) -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        let mut sorted: Option<(usize, Sorted)> = None;
        for (place, function) in self.functions.iter().enumerate() {
            // Functions beside each other mostly have one order.
            let known = sorted.take().filter(|(of, _)| is_same_order(&self.functions[*of], function));
            let order = match known {
                Some((_, order)) => order,
                None => Sorted::new(&rows, function)?,
            };
            columns.push(order.evaluate(function)?);
            sorted = Some((place, order));
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

fn is_same_order(a: &Arc<dyn WindowExpr>, b: &Arc<dyn WindowExpr>) -> bool {
    let same_partitions = a.partition_by().len() == b.partition_by().len()
        && a.partition_by().iter().zip(b.partition_by()).all(|(a, b)| a.eq(b));
    same_partitions && a.order_by() == b.order_by()
}

/// Rows in the order of a window function.
struct Sorted {
    rows: RecordBatch,
    partitions: Vec<Range<usize>>,
    /// For each row as it came its place in `rows`.
    places: UInt32Array,
}

impl Sorted {
    /// By partition and order; rows that these do not tell apart by all their columns, so that the result does not
    /// depend on the order in which they came.
    fn new(rows: &RecordBatch, function: &Arc<dyn WindowExpr>) -> Result<Self> {
        let partition_columns = function
            .partition_by()
            .iter()
            .map(|expr| expr.evaluate(rows)?.into_array(rows.num_rows()))
            .collect::<std::result::Result<Vec<ArrayRef>, _>>()
            .map_err(|error| failed(&error))?;
        let ordering = function
            .order_by()
            .iter()
            .map(|order| order.evaluate_to_sort_column(rows))
            .collect::<std::result::Result<Vec<SortColumn>, _>>()
            .map_err(|error| failed(&error))?;
        let mut fields: Vec<SortField> = fields(&partition_columns);
        fields.extend(ordering.iter().map(|column| {
            let options = column.options.unwrap_or_default();
            SortField::new_with_options(column.values.data_type().clone(), options)
        }));
        fields.extend(self::fields(rows.columns()));
        let columns: Vec<ArrayRef> = (partition_columns.iter().cloned())
            .chain(ordering.into_iter().map(|column| column.values))
            .chain(rows.columns().iter().cloned())
            .collect();
        let mut order: Vec<u32> = (0_u32..).take(rows.num_rows()).collect();
        // Rows without columns, which are all equal, have no keys.
        if !columns.is_empty() {
            let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
            order.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
        }
        let mut places = vec![0; order.len()];
        for (place, row) in (0_u32..).zip(&order) {
            places[*row as usize] = place;
        }
        let order = UInt32Array::from(order);
        let columns = partition_columns.iter().map(|column| take(column, &order, None));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        let partitions = match columns.as_slice() {
            [] => std::iter::once(0..rows.num_rows()).filter(|all| !all.is_empty()).collect(),
            columns => partition(columns)?.ranges(),
        };
        let rows = if rows.num_columns() == 0 { rows.clone() } else { take_record_batch(rows, &order)? };
        Ok(Self { rows, partitions, places: places.into() })
    }

    /// The result for each row as it came.
    fn evaluate(&self, function: &Arc<dyn WindowExpr>) -> Result<ArrayRef> {
        let partitions = self.partitions.iter().map(|rows| {
            let rows = self.rows.slice(rows.start, rows.len());
            function.evaluate(&rows).map_err(|error| failed(&error))
        });
        let partitions = partitions.collect::<Result<Vec<ArrayRef>>>()?;
        let results = concat(&partitions.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
        Ok(take(&results, &self.places, None)?)
    }
}

fn fields(columns: &[ArrayRef]) -> Vec<SortField> {
    columns.iter().map(|column| SortField::new(column.data_type().clone())).collect()
}

fn failed(error: &DataFusionError) -> Error {
    Error::operator("window function", error.strip_backtrace())
}
