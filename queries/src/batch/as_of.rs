//! `ASOF JOIN` over whole tables: by sorting the one side and searching it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use lineshaft_operators::join::Nearest;

use crate::as_of::AsOfJoin;
use crate::expression::expression;

/// Of each row that has one: its number, key and time.
type Keyed = Vec<(u32, Vec<u8>, i64)>;

/// The rows of a join; `left` and `right` have the columns of its inputs.
pub(super) fn join(
    join: &AsOfJoin,
    left: &RecordBatch,
    right: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
    let mut by_key: HashMap<Vec<u8>, Vec<(i64, u32)>> = HashMap::new();
    for (row, key, time) in keyed(right, &right_keys, &join.right_time, join.right.schema())? {
        by_key.entry(key).or_default().push((time, row));
    }
    by_key.values_mut().for_each(|rows| rows.sort_unstable());
    let mut found = vec![None; left.num_rows()];
    for (row, key, time) in keyed(left, &left_keys, &join.left_time, join.left.schema())? {
        found[row as usize] = by_key.get(&key).and_then(|rows| nearest(rows, time, join.nearest));
    }
    let pairs = (0_u32..).zip(found).filter(|(_, found)| found.is_some() || join.keeps_left);
    let (left_rows, right_rows): (Vec<u32>, Vec<Option<u32>>) = pairs.unzip();
    let (left_rows, right_rows) = (UInt32Array::from(left_rows), UInt32Array::from(right_rows));
    let of_left = left.columns().iter().map(|column| take(column, &left_rows, None));
    let of_right = right.columns().iter().map(|column| take(column, &right_rows, None));
    let columns = of_left.chain(of_right).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Rows are sorted by time, and by number where that is the same; the last of those at one time counts.
fn nearest(rows: &[(i64, u32)], time: i64, nearest: Nearest) -> Option<u32> {
    let up_to = |is: &dyn Fn(i64) -> bool| rows.partition_point(|(at, _)| is(*at));
    let at = match nearest {
        Nearest::AtOrBefore => up_to(&|at| at <= time).checked_sub(1)?,
        Nearest::Before => up_to(&|at| at < time).checked_sub(1)?,
        Nearest::AtOrAfter | Nearest::After => {
            let first = match nearest {
                Nearest::AtOrAfter => up_to(&|at| at < time),
                _ => up_to(&|at| at <= time),
            };
            let (first, _) = *rows.get(first)?;
            up_to(&|at| at <= first) - 1
        }
    };
    Some(rows[at].1)
}

fn keyed(rows: &RecordBatch, keys: &[Expr], time: &Expr, schema: &DFSchema) -> Result<Keyed> {
    let evaluated = |expr: &Expr| -> Result<ArrayRef> {
        expression(expr, schema)?.evaluate(rows).map_err(|error| DataFusionError::External(Box::new(error)))
    };
    let times = evaluated(time)?;
    let no_time = || DataFusionError::Plan("an ASOF JOIN compares event times".into());
    let times = times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(no_time)?;
    let keys = keys.iter().map(evaluated).collect::<Result<Vec<_>>>()?;
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let encoded = match keys.is_empty() {
        true => None,
        false => Some(RowConverter::new(fields)?.convert_columns(&keys)?),
    };
    let is_valid = |row: usize| times.is_valid(row) && keys.iter().all(|key| key.is_valid(row));
    let numbered = (0_u32..).zip(0..rows.num_rows()).filter(|(_, row)| is_valid(*row));
    let key = |row: usize| encoded.as_ref().map(|encoded| encoded.row(row).as_ref().to_vec());
    Ok(numbered.map(|(number, row)| (number, key(row).unwrap_or_default(), times.value(row))).collect())
}
