//! `min` and `max`, to which NaN is the greatest number, as it is to `ORDER BY`.
//!
//! Over groups of floats DataFusion's own let the value after NaN take its place, so that the result hangs on the order
//! of the rows. All else is DataFusion's.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// Both functions.
pub(super) fn extremes() -> [Arc<AggregateUDF>; 2] {
    [min_udaf(), max_udaf()].map(|function| Arc::new(AggregateUDF::from(Extreme(function))))
}

/// DataFusion's function of the same name, but for groups of floats.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme(Arc<AggregateUDF>);

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.0.coerce_types(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.0.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.0.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let is_max = self.is_descending() == Some(true);
        match args.return_field.data_type() {
            DataType::Float32 if is_max => Ok(groups::<Float32Type>(Ordering::Greater, f32::NEG_INFINITY)),
            DataType::Float32 => Ok(groups::<Float32Type>(Ordering::Less, f32::NAN)),
            DataType::Float64 if is_max => Ok(groups::<Float64Type>(Ordering::Greater, f64::NEG_INFINITY)),
            DataType::Float64 => Ok(groups::<Float64Type>(Ordering::Less, f64::NAN)),
            _ => self.0.create_groups_accumulator(args),
        }
    }

    fn is_descending(&self) -> Option<bool> {
        self.0.is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.0.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        // The statistics of a file do not say whether it has NaN.
        if statistics.return_type.is_floating() { None } else { self.0.value_from_stats(statistics) }
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.0.inner().set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }
}

/// Per group the value that is `better` than all others; `start` is worse than any.
fn groups<T: ArrowPrimitiveType + Send>(better: Ordering, start: T::Native) -> Box<dyn GroupsAccumulator>
where
    T::Native: PartialOrd,
{
    let take = move |held: &mut T::Native, new: T::Native| {
        if order(&new, held) == better {
            *held = new;
        }
    };
    Box::new(PrimitiveGroupsAccumulator::<T, _>::new(&T::DATA_TYPE, take).with_starting_value(start))
}

fn order<N: PartialOrd>(a: &N, b: &N) -> Ordering {
    let is_nan = |x: &N| x.partial_cmp(x).is_none();
    a.partial_cmp(b).unwrap_or_else(|| is_nan(a).cmp(&is_nan(b)))
}
