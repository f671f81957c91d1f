//! A feature as an aggregate of DataFusion.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, FieldRef, Float64Type, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, GroupsAccumulator, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::array::{present, timed};
use super::collected;
use super::feature::{Feature, Time, event_time_type};
use super::parameter::Parameter;
use super::value::{Value, Values};

/// `rms(x)`: one value per group.
#[derive(Debug)]
pub(super) struct FeatureAggregate {
    feature: &'static Feature,
    signature: Signature,
}

impl FeatureAggregate {
    pub(super) fn new(feature: &'static Feature) -> Self {
        Self { feature, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl PartialEq for FeatureAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.feature.name == other.feature.name
    }
}

impl Eq for FeatureAggregate {}

impl Hash for FeatureAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.feature.name.hash(state);
    }
}

impl AggregateUDFImpl for FeatureAggregate {
    fn name(&self) -> &str {
        self.feature.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.feature.data_type())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let feature = self.feature;
        if let Some(found) = types.first().filter(|found| !found.is_numeric() && !found.is_null()) {
            return plan_err!("{}: x must be a number or an array of numbers, not {found}", feature.name);
        }
        let mut coerced = feature.coerce(DataType::Float64, types)?;
        if let Some(found) = types.get(coerced.len()) {
            let Some(time) = event_time_type(found) else {
                return plan_err!("{}: ts must be a TIMESTAMP, not {found}", feature.name);
            };
            coerced.push(time);
        }
        Ok(coerced)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let prefix = format_state_name(args.name, self.feature.name);
        Ok(match self.feature.sums {
            Some(sums) if !args.is_distinct => sums.state_fields(&prefix),
            _ => collected::state_fields(&prefix, self.feature.is_timed(args.input_fields.len())),
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match self.feature.sums {
            Some(sums) if !args.is_distinct => Ok(sums.accumulator(parameters(self.feature, args.exprs)?)),
            _ => self.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match self.feature.sums {
            Some(sums) if !args.is_distinct => {
                Ok(sums.groups_accumulator(parameters(self.feature, args.exprs)?))
            }
            _ => Ok(Box::new(collected::Groups::new(Call::of(self.feature, &args)?))),
        }
    }

    /// Keeps the samples even where sums would do: taking a large sample out of a sum leaves its rounding error behind.
    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(collected::Single::new(Call::of(self.feature, &args)?)))
    }
}

/// A call of a feature: what is the same for all its rows.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(super) feature: &'static Feature,
    pub(super) parameters: Vec<f64>,
    pub(super) distinct: bool,
    /// True if the last argument is the event time.
    pub(super) timed: bool,
}

impl Call {
    fn of(feature: &'static Feature, args: &AccumulatorArgs<'_>) -> Result<Self> {
        if args.is_distinct && feature.time != Time::Ignored {
            return plan_err!("{} depends on the order of the rows and does not take DISTINCT", feature.name);
        }
        Ok(Self {
            feature,
            parameters: parameters(feature, args.exprs)?,
            distinct: args.is_distinct,
            timed: feature.is_timed(args.exprs.len()),
        })
    }

    /// The call that an aggregate is, if it is one of a feature.
    pub(crate) fn in_aggregate(aggregate: &AggregateFunctionExpr) -> Option<Self> {
        let feature = aggregate.fun().inner().downcast_ref::<FeatureAggregate>()?.feature;
        let arguments = aggregate.expressions();
        let parameters = parameters(feature, &arguments).ok()?;
        let timed = feature.is_timed(arguments.len());
        Some(Self { feature, parameters, distinct: aggregate.is_distinct(), timed })
    }

    /// Those of all its arguments that differ from row to row: samples and times.
    pub(crate) fn of_rows<T: Clone>(&self, arguments: &[T]) -> Vec<T> {
        let times = arguments.last().filter(|_| self.timed);
        arguments.first().into_iter().chain(times).cloned().collect()
    }

    /// The values of groups whose rows are all there, one group after the other, up to `ends`: the kernel reads them where they are.
    pub(crate) fn of_whole_groups(&self, arguments: &[ArrayRef], ends: &[usize]) -> ArrayRef {
        let samples = arguments[0].as_primitive::<Float64Type>();
        let times = arguments.last().filter(|_| self.timed);
        let times = times.map(|times| times.as_primitive::<TimestampMicrosecondType>());
        let mut values = Values::new(&self.data_type(), ends.len());
        let mut start = 0;
        for end in ends {
            let rows = std::mem::replace(&mut start, *end)..*end;
            values.push(match times {
                None => self.evaluate(present(samples, rows), Cow::Borrowed(&[])),
                Some(times) => {
                    let (offset, length) = (rows.start, rows.len());
                    let (samples, times) =
                        timed(&samples.slice(offset, length), &times.slice(offset, length))
                            .unwrap_or_default();
                    self.evaluate(samples.into(), times.into())
                }
            });
        }
        values.finish()
    }

    /// The type of its values.
    pub(super) fn data_type(&self) -> DataType {
        self.feature.data_type()
    }

    pub(super) fn evaluate(&self, mut samples: Cow<'_, [f64]>, times: Cow<'_, [i64]>) -> Value {
        if self.distinct {
            let mut distinct = samples.into_owned();
            distinct.sort_by(f64::total_cmp);
            distinct.dedup_by(|a, b| a.total_cmp(b).is_eq());
            samples = Cow::Owned(distinct);
        }
        self.feature.evaluate(samples, self.timed.then_some(times), &self.parameters)
    }
}

/// The parameters of a call, which are constants.
fn parameters(feature: &Feature, arguments: &[Arc<dyn PhysicalExpr>]) -> Result<Vec<f64>> {
    let value = |(parameter, expression): (&Parameter, &Arc<dyn PhysicalExpr>)| {
        let value = constant(expression.as_ref());
        match value.map(|value| parameter.of_constant(feature.name, &value)).transpose()?.flatten() {
            Some(value) => Ok(value),
            None => plan_err!("{}: {} must be a constant", feature.name, parameter.name),
        }
    };
    feature.parameters.iter().zip(&arguments[1..]).map(value).collect()
}

/// The value of an expression without columns.
pub(super) fn constant(expression: &dyn PhysicalExpr) -> Option<ScalarValue> {
    let no_columns = RecordBatch::new_empty(datafusion::arrow::datatypes::Schema::empty().into());
    match expression.evaluate(&no_columns).ok()? {
        ColumnarValue::Scalar(value) => Some(value),
        ColumnarValue::Array(_) => None,
    }
}
