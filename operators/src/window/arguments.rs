//! The aggregates of a window: each distinct argument is computed once per batch, however many of them use it.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use lineshaft_engine::expression::{Accumulator, Aggregate, Expression, Moment};
use lineshaft_engine::{Error, Result};

use super::moments::{Moments, STATE_COLUMNS};

/// The arguments of some rows: columns, of which only some rows may be meant.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) columns: &'a [ArrayRef],
    /// The numbers of the rows that are meant; `None` for all, in their order.
    pub(crate) only: Option<&'a [u32]>,
}

impl<'a> From<&'a Vec<ArrayRef>> for Values<'a> {
    fn from(columns: &'a Vec<ArrayRef>) -> Self {
        columns.as_slice().into()
    }
}

impl<'a> From<&'a [ArrayRef]> for Values<'a> {
    fn from(columns: &'a [ArrayRef]) -> Self {
        Self { columns, only: None }
    }
}

impl<'a> Values<'a> {
    /// Columns of the rows that are meant.
    pub(crate) fn copied(self) -> Result<Cow<'a, [ArrayRef]>> {
        let Some(only) = self.only else { return Ok(Cow::Borrowed(self.columns)) };
        let only = UInt32Array::from(only.to_vec());
        Ok(Cow::Owned(self.columns.iter().map(|column| take(column, &only, None)).collect::<Result<_, _>>()?))
    }
}

/// Aggregates and their distinct arguments.
#[derive(Debug)]
pub(crate) struct Aggregates {
    functions: Vec<Function>,
    /// Arguments of rows and filters; expressions are the same if they are one object.
    expressions: Vec<Arc<dyn Expression>>,
    /// Where they are in the snapshots of versions that kept constants with each row, and how many columns those have.
    places_before: (Vec<usize>, usize),
    /// The arguments of which moments are taken, by their place among the expressions.
    moments: Vec<usize>,
}

/// An aggregate, and how it is computed.
#[derive(Debug)]
enum Function {
    /// By an accumulator of its own.
    Own(Own),
    /// Number of rows.
    Rows,
    /// A moment of an argument, by its place in [`Aggregates::moments`].
    Moment(usize, Moment),
}

/// An aggregate, and where its arguments are among the expressions.
#[derive(Debug)]
struct Own {
    aggregate: Arc<dyn Aggregate>,
    arguments: Vec<usize>,
    filter: Option<usize>,
}

impl Own {
    fn arguments(&self, columns: &[ArrayRef]) -> Vec<ArrayRef> {
        self.arguments.iter().map(|at| Arc::clone(&columns[*at])).collect()
    }

    fn update(
        &self,
        accumulator: &mut dyn Accumulator,
        columns: &[ArrayRef],
        groups: &[usize],
        total: usize,
    ) -> Result<()> {
        let filter = match self.filter {
            Some(at) => Some(columns[at].as_boolean_opt().ok_or_else(|| {
                Error::operator(self.aggregate.result().name(), "its FILTER is not a boolean")
            })?),
            None => None,
        };
        accumulator.update(&self.arguments(columns), groups, filter, total)
    }

    /// The results of groups whose rows are all there; `None` if the accumulator has to give them.
    fn of_whole_groups(&self, columns: &[ArrayRef], ends: &[usize]) -> Result<Option<ArrayRef>> {
        if self.filter.is_some() {
            return Ok(None);
        }
        self.aggregate.of_whole_groups(&self.arguments(columns), ends)
    }
}

impl Aggregates {
    pub(crate) fn new(aggregates: &[Arc<dyn Aggregate>]) -> Self {
        let (mut expressions, mut moments, mut before) = (Vec::new(), Vec::new(), Vec::new());
        for aggregate in aggregates.iter().filter(|aggregate| aggregate.moment() != Some(Moment::Rows)) {
            for expression in aggregate.arguments().iter().chain(aggregate.filter()) {
                place(&mut before, expression);
            }
        }
        let functions =
            aggregates.iter().map(|aggregate| match (aggregate.moment(), aggregate.arguments()) {
                (Some(Moment::Rows), _) => Function::Rows,
                (Some(moment), [argument]) => {
                    let argument = place(&mut expressions, argument);
                    let known = moments.iter().position(|other| *other == argument);
                    let at = known.unwrap_or_else(|| {
                        moments.push(argument);
                        moments.len() - 1
                    });
                    Function::Moment(at, moment)
                }
                _ => Function::Own(Own {
                    aggregate: Arc::clone(aggregate),
                    arguments: aggregate
                        .arguments_of_rows()
                        .iter()
                        .map(|argument| place(&mut expressions, argument))
                        .collect(),
                    filter: aggregate.filter().map(|filter| place(&mut expressions, filter)),
                }),
            });
        let functions = functions.collect();
        let places = expressions.iter().map(|expression| place(&mut before, expression)).collect();
        Self { functions, places_before: (places, before.len()), expressions, moments }
    }

    /// The columns of [`Aggregates::evaluate`], then `others`, from a snapshot, which may be of a version that kept more.
    pub(crate) fn restored(&self, values: Vec<ArrayRef>, others: usize) -> Vec<ArrayRef> {
        let (places, width) = &self.places_before;
        if *width == self.expressions.len() || values.len() != width + others {
            return values;
        }
        let places = places.iter().copied().chain(*width..values.len());
        places.map(|place| Arc::clone(&values[place])).collect()
    }

    /// The columns of all arguments for `rows`.
    pub(crate) fn evaluate(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.expressions.iter().map(|expression| expression.evaluate(rows)).collect()
    }

    /// The columns of `rows` that the arguments are, if all of them are columns and only moments are taken: then no row need be
    /// copied to be added.
    pub(crate) fn columns_of(&self, rows: &RecordBatch) -> Option<Vec<ArrayRef>> {
        if self.own().next().is_some() {
            return None;
        }
        let columns =
            self.expressions.iter().map(|argument| Some(Arc::clone(rows.column(argument.column()?))));
        columns.collect()
    }

    /// Number of columns of [`Accumulators::state`].
    pub(crate) fn state_width(&self) -> usize {
        let rows = self.functions.iter().any(|function| matches!(function, Function::Rows));
        let own: usize = self.own().map(|own| own.aggregate.state().len()).sum();
        usize::from(rows) + self.moments.len() * STATE_COLUMNS + own
    }

    pub(crate) fn accumulators(&self) -> Result<Accumulators> {
        let own = self.own().map(|own| own.aggregate.accumulator()).collect::<Result<_>>()?;
        let moments = self.moments.iter().map(|_| Moments::default()).collect();
        let counts_rows = self.functions.iter().any(|function| matches!(function, Function::Rows));
        Ok(Accumulators { own, moments, rows: counts_rows.then(Vec::new) })
    }

    fn own(&self) -> impl Iterator<Item = &Own> {
        self.functions.iter().filter_map(|function| match function {
            Function::Own(own) => Some(own),
            Function::Rows | Function::Moment(..) => None,
        })
    }
}

fn place(expressions: &mut Vec<Arc<dyn Expression>>, expression: &Arc<dyn Expression>) -> usize {
    let known = expressions.iter().position(|other| Arc::ptr_eq(other, expression));
    known.unwrap_or_else(|| {
        expressions.push(Arc::clone(expression));
        expressions.len() - 1
    })
}

/// The accumulators of [`Aggregates`], all for the same groups.
pub(crate) struct Accumulators {
    own: Vec<Box<dyn Accumulator>>,
    moments: Vec<Moments>,
    /// Rows of each group, if somebody asks for them.
    rows: Option<Vec<i64>>,
}

impl Accumulators {
    /// Adds rows whose arguments are `values`, as [`Aggregates::evaluate`] gave them.
    pub(crate) fn update<'a>(
        &mut self,
        of: &Aggregates,
        values: impl Into<Values<'a>>,
        groups: &[usize],
        total: usize,
    ) -> Result<()> {
        let values = values.into();
        self.update_shared(of, values, groups, total)?;
        if self.own.is_empty() {
            return Ok(());
        }
        let columns = values.copied()?;
        let mut own = self.own.iter_mut().zip(of.own());
        own.try_for_each(|(accumulator, own)| own.update(accumulator.as_mut(), &columns, groups, total))
    }

    /// Adds rows to what is not in an accumulator of an aggregate's own.
    fn update_shared(
        &mut self,
        of: &Aggregates,
        values: Values<'_>,
        groups: &[usize],
        total: usize,
    ) -> Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.resize(total, 0);
            for group in groups {
                rows[*group] += 1;
            }
        }
        let mut moments = self.moments.iter_mut().zip(&of.moments);
        moments.try_for_each(|(moments, column)| {
            moments.update(&values.columns[*column], values.only, groups, total)
        })
    }

    /// The results of groups whose rows are all there, one group after the other, up to `ends`; there were no groups, and there
    /// are none after it.
    pub(crate) fn of_whole_groups(
        &mut self,
        of: &Aggregates,
        columns: &[ArrayRef],
        ends: &[usize],
    ) -> Result<Vec<ArrayRef>> {
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let sizes = starts.zip(ends).map(|(start, end)| end - start);
        let groups: Vec<usize> =
            sizes.enumerate().flat_map(|(group, size)| std::iter::repeat_n(group, size)).collect();
        self.update_shared(of, columns.into(), &groups, ends.len())?;
        let mut whole = Vec::with_capacity(self.own.len());
        for (accumulator, own) in self.own.iter_mut().zip(of.own()) {
            let result = own.of_whole_groups(columns, ends)?;
            if result.is_none() {
                own.update(accumulator.as_mut(), columns, &groups, ends.len())?;
            }
            whole.push(result);
        }
        self.results(of, whole)
    }

    /// Adds partial results, as [`Accumulators::state`] gave them.
    pub(crate) fn merge(
        &mut self,
        of: &Aggregates,
        mut states: &[ArrayRef],
        groups: &[usize],
        total: usize,
    ) -> Result<()> {
        let mut next = |width: usize| {
            let wrong = || Error::operator("window", "a snapshot of another plan");
            let (own, others) = states.split_at_checked(width).ok_or_else(wrong)?;
            states = others;
            Ok::<_, Error>(own)
        };
        if let Some(rows) = &mut self.rows {
            let counts = next(1)?[0].as_primitive::<Int64Type>();
            rows.resize(total, 0);
            for (group, count) in groups.iter().zip(counts.values()) {
                rows[*group] += count;
            }
        }
        for moments in &mut self.moments {
            moments.merge(next(STATE_COLUMNS)?, groups, total)?;
        }
        for (accumulator, own) in self.own.iter_mut().zip(of.own()) {
            accumulator.merge(next(own.aggregate.state().len())?, groups, total)?;
        }
        Ok(())
    }

    /// The partial results of all groups, one aggregate's columns after the other's; no group is left.
    pub(crate) fn state(&mut self) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        if let Some(rows) = &mut self.rows {
            columns.push(Arc::new(Int64Array::from(std::mem::take(rows))));
        }
        for moments in &mut self.moments {
            columns.extend(moments.state());
        }
        for accumulator in &mut self.own {
            columns.extend(accumulator.state()?);
        }
        Ok(columns)
    }

    /// Bytes in memory, about.
    pub(crate) fn size(&self) -> usize {
        let rows = self.rows.as_ref().map_or(0, |rows| rows.capacity() * size_of::<i64>());
        let moments: usize = self.moments.iter().map(Moments::size).sum();
        rows + moments + self.own.iter().map(|accumulator| accumulator.size()).sum::<usize>()
    }

    /// The results of all groups, in the order of [`Aggregates`]; no group is left.
    pub(crate) fn evaluate(&mut self, of: &Aggregates) -> Result<Vec<ArrayRef>> {
        let none = vec![None; self.own.len()];
        self.results(of, none)
    }

    /// The same, with the results of aggregates that are there already.
    fn results(&mut self, of: &Aggregates, whole: Vec<Option<ArrayRef>>) -> Result<Vec<ArrayRef>> {
        let mut own = self.own.iter_mut().zip(whole);
        let mut results = Vec::with_capacity(of.functions.len());
        for function in &of.functions {
            results.push(match function {
                Function::Rows => {
                    Arc::new(Int64Array::from(self.rows.clone().unwrap_or_default())) as ArrayRef
                }
                Function::Moment(at, moment) => self.moments[*at].result(*moment),
                Function::Own(_) => match own.next() {
                    Some((_, Some(result))) => result,
                    Some((accumulator, None)) => accumulator.evaluate()?,
                    None => return Err(Error::operator("window", "an aggregate without accumulator")),
                },
            });
        }
        self.rows.iter_mut().for_each(Vec::clear);
        self.moments.iter_mut().for_each(Moments::clear);
        Ok(results)
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

        fn arguments_of_rows(&self) -> &[Arc<dyn Expression>] {
            &self.1[..1]
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
        let results = accumulators.evaluate(&aggregates).unwrap();
        assert_eq!(results[0].as_ref(), &Float64Array::from(vec![3.0]) as &dyn arrow::array::Array);
        assert_eq!(results[1].as_ref(), &Float64Array::from(vec![2.0]) as &dyn arrow::array::Array);
    }

    #[test]
    fn constants_that_older_snapshots_have_with_each_row_are_left_out() {
        let column = |index| -> Arc<dyn Expression> {
            Arc::new(lineshaft_engine::expression::Column { index, data_type: DataType::Float64 })
        };
        let (x, constant, y) = (column(0), column(1), column(2));
        let of =
            |arguments| -> Arc<dyn Aggregate> { Arc::new(Of(aggregate(Statistic::Sum, 0, None), arguments)) };
        let all = [of(vec![Arc::clone(&x), Arc::clone(&constant)]), of(vec![y, constant]), of(vec![x])];
        let aggregates = Aggregates::new(&all);
        let named = |value: f64| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
        let (before, state) = (vec![named(1.0), named(2.0), named(3.0)], named(4.0));
        let now = vec![named(1.0), named(3.0)];
        assert_eq!(aggregates.restored(before.clone(), 0), now);
        assert_eq!(aggregates.restored(now.clone(), 0), now);
        let with_state = [now.as_slice(), &[Arc::clone(&state)]].concat();
        assert_eq!(aggregates.restored([before, vec![state]].concat(), 1), with_state);
        assert_eq!(aggregates.restored(with_state.clone(), 1), with_state);
    }
}
