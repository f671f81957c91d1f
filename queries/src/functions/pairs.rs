//! Covariances, regressions of one column on another, and variances by their other names, whose partial results are what they were
//! when they are taken up again.
//!
//! DataFusion's own round when a partial result is merged into nothing, so that a result would hang on when checkpoints are taken. All
//! else is DataFusion's.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef, Float64Type, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::covariance::{covar_pop_udaf, covar_samp_udaf};
use datafusion::functions_aggregate::regr::{
    regr_avgx_udaf, regr_avgy_udaf, regr_count_udaf, regr_intercept_udaf, regr_r2_udaf, regr_slope_udaf,
    regr_sxx_udaf, regr_sxy_udaf, regr_syy_udaf,
};
use datafusion::functions_aggregate::variance::{var_pop_udaf, var_samp_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature};

/// What is made of the sums.
type Evaluate = fn(&Sums) -> Option<f64>;

/// The functions.
pub(super) fn pairs() -> [Arc<AggregateUDF>; 13] {
    let slope: Evaluate = |sums| ratio(sums.products, sums.square_b);
    let all: [(Arc<AggregateUDF>, Evaluate); 13] = [
        (covar_samp_udaf(), |sums| over(sums.products, sums.n - 1.0)),
        (covar_pop_udaf(), |sums| over(sums.products, sums.n)),
        (var_samp_udaf(), |sums| over(sums.square_a, sums.n - 1.0)),
        (var_pop_udaf(), |sums| over(sums.square_a, sums.n)),
        (regr_slope_udaf(), slope),
        (regr_intercept_udaf(), |sums| {
            Some(sums.mean_a - ratio(sums.products, sums.square_b)? * sums.mean_b)
        }),
        (regr_r2_udaf(), |sums| {
            let by_a = ratio(sums.products, sums.square_a)?;
            Some(ratio(sums.products, sums.square_b)? * by_a)
        }),
        (regr_count_udaf(), |sums| Some(sums.n)),
        (regr_avgx_udaf(), |sums| over(sums.n * sums.mean_b, sums.n).map(|_| sums.mean_b)),
        (regr_avgy_udaf(), |sums| over(sums.n * sums.mean_a, sums.n).map(|_| sums.mean_a)),
        (regr_sxx_udaf(), |sums| over(sums.square_b, sums.n).map(|_| sums.square_b)),
        (regr_syy_udaf(), |sums| over(sums.square_a, sums.n).map(|_| sums.square_a)),
        (regr_sxy_udaf(), |sums| over(sums.products, sums.n).map(|_| sums.products)),
    ];
    all.map(|(function, evaluate)| Arc::new(AggregateUDF::from(Pair { function, evaluate })))
}

/// NULL without rows enough.
fn over(sum: f64, n: f64) -> Option<f64> {
    (n > 0.0).then(|| sum / n)
}

/// NULL if all values are equal, and below two.
fn ratio(products: f64, square: f64) -> Option<f64> {
    (square != 0.0).then(|| products / square)
}

#[derive(Debug)]
struct Pair {
    function: Arc<AggregateUDF>,
    evaluate: Evaluate,
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for Pair {}

impl Hash for Pair {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl Pair {
    fn family(&self) -> Family {
        match self.function.name() {
            "var" | "var_pop" => Family::Variance,
            "covar_samp" | "covar_pop" => Family::Covariance,
            _ => Family::Regression,
        }
    }
}

/// Which of the sums are in a partial result, as DataFusion has it.
#[derive(Clone, Copy, Debug)]
enum Family {
    Variance,
    Covariance,
    /// Its arguments are `(y, x)`, and its columns begin with those of x.
    Regression,
}

impl AggregateUDFImpl for Pair {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.function.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.function.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return self.function.accumulator(args);
        }
        let result = args.return_field.data_type().clone();
        let evaluate = self.evaluate;
        Ok(Box::new(PairAccumulator { sums: Sums::default(), family: self.family(), evaluate, result }))
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.function.default_value(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }
}

/// Of two columns, or of one: how many rows have both, the means, and the sums of squares and products around them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    n: f64,
    mean_a: f64,
    mean_b: f64,
    square_a: f64,
    square_b: f64,
    products: f64,
}

impl Sums {
    /// Welford, "Note on a method for calculating corrected sums of squares and products", 1962.
    fn add(&mut self, a: f64, b: f64) {
        self.n += 1.0;
        let (from_a, from_b) = (a - self.mean_a, b - self.mean_b);
        self.mean_a += from_a / self.n;
        self.mean_b += from_b / self.n;
        self.square_a += from_a * (a - self.mean_a);
        self.square_b += from_b * (b - self.mean_b);
        self.products += from_a * (b - self.mean_b);
    }

    /// Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    fn merge(&mut self, other: Self) {
        if self.n == 0.0 {
            *self = other;
            return;
        }
        if other.n == 0.0 {
            return;
        }
        let n = self.n + other.n;
        let (from_a, from_b) = (other.mean_a - self.mean_a, other.mean_b - self.mean_b);
        let weight = self.n * other.n / n;
        self.mean_a += from_a * other.n / n;
        self.mean_b += from_b * other.n / n;
        self.square_a += other.square_a + from_a * from_a * weight;
        self.square_b += other.square_b + from_b * from_b * weight;
        self.products += other.products + from_a * from_b * weight;
        self.n = n;
    }
}

#[derive(Debug)]
struct PairAccumulator {
    sums: Sums,
    family: Family,
    evaluate: Evaluate,
    result: DataType,
}

impl Accumulator for PairAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let columns: Vec<_> = values.iter().map(|column| column.as_primitive::<Float64Type>()).collect();
        let Some(a) = columns.first() else { return Ok(()) };
        let b = columns.last().unwrap_or(a);
        for (a, b) in a.iter().zip(b.iter()) {
            if let (Some(a), Some(b)) = (a, b) {
                self.sums.add(a, b);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[0].as_primitive::<UInt64Type>();
        let numbers: Vec<_> = states[1..].iter().map(|column| column.as_primitive::<Float64Type>()).collect();
        for row in 0..counts.len() {
            let numbers: Vec<f64> = numbers.iter().map(|column| column.value(row)).collect();
            #[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
            let n = counts.value(row) as f64;
            let sums = Sums { n, ..Sums::default() };
            self.sums.merge(match *numbers.as_slice() {
                [mean_a, square_a] => Sums { mean_a, square_a, ..sums },
                [mean_a, mean_b, products] => Sums { mean_a, mean_b, products, ..sums },
                [mean_b, mean_a, square_b, square_a, products] => {
                    Sums { mean_a, mean_b, square_a, square_b, products, n }
                }
                _ => return datafusion::common::internal_err!("a state of another function"),
            });
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of rows")]
        let n = ScalarValue::from(self.sums.n as u64);
        let Sums { mean_a, mean_b, square_a, square_b, products, .. } = self.sums;
        let numbers = match self.family {
            Family::Variance => vec![mean_a, square_a],
            Family::Covariance => vec![mean_a, mean_b, products],
            Family::Regression => vec![mean_b, mean_a, square_b, square_a, products],
        };
        Ok(std::iter::once(n).chain(numbers.into_iter().map(ScalarValue::from)).collect())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::Float64((self.evaluate)(&self.sums)).cast_to(&self.result)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(rows: std::ops::Range<u32>) -> Sums {
        let mut sums = Sums::default();
        rows.map(f64::from).for_each(|x| sums.add((x * 0.7).sin() + 0.1 * x, (x * 1.3).cos()));
        sums
    }

    #[test]
    fn a_partial_result_merged_into_nothing_is_what_it_was_and_two_are_as_one() {
        let mut fresh = Sums::default();
        fresh.merge(sums(0..37));
        assert_eq!(fresh, sums(0..37));
        fresh.merge(sums(37..100));
        let whole = sums(0..100);
        for (found, expected) in [
            (fresh.mean_a, whole.mean_a),
            (fresh.square_a, whole.square_a),
            (fresh.square_b, whole.square_b),
            (fresh.products, whole.products),
        ] {
            assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found} {expected}");
        }
    }
}
