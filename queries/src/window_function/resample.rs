//! `RESAMPLE` in `FROM`: a relation with rows at fixed times. In a logical plan it is a [`Resample`].

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ExprSchema};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore,
};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
};
use lineshaft_operators::resample::{Filling, Grid};

use super::{Call, at, external};
use crate::error::QueryError;

/// `RESAMPLE` applied to a relation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Resample {
    pub(crate) input: LogicalPlan,
    /// The event time.
    pub(crate) time: Column,
    /// What the rows are resampled per.
    pub(crate) keys: Vec<Column>,
    interval: i64,
    max_gap: Option<i64>,
    skip_gaps: bool,
    /// The columns that are filled; the others have a value only where a row is.
    fillings: Vec<(Column, Filling)>,
    schema: DFSchemaRef,
}

impl Resample {
    /// The `RESAMPLE` of `plan`, if it is one.
    pub fn of(plan: &LogicalPlan) -> Option<&Self> {
        let LogicalPlan::Extension(extension) = plan else { return None };
        extension.node.as_any().downcast_ref()
    }

    /// Where its rows are.
    pub(crate) fn grid(&self) -> Grid {
        Grid { interval: self.interval, max_gap: self.max_gap, skip_gaps: self.skip_gaps }
    }

    /// How far a row may come after its time, beyond what the input has; `None` if there is no limit.
    pub(crate) fn delay(&self) -> Option<i64> {
        self.max_gap.filter(|_| self.skip_gaps)
    }

    /// How each column is filled.
    pub(crate) fn fillings(&self) -> Vec<Filling> {
        self.schema.columns().iter().map(|column| self.filling(column)).collect()
    }

    fn filling(&self, column: &Column) -> Filling {
        let named = self.fillings.iter().find(|(named, _)| named == column);
        match named {
            _ if *column == self.time => Filling::Time,
            _ if self.keys.contains(column) => Filling::Key,
            Some((_, filling)) => *filling,
            None => Filling::None,
        }
    }

    /// All but the time and the key may be NULL.
    fn with_schema(mut self) -> Result<Self> {
        let fields = self.input.schema().iter().map(|(table, field)| {
            let column = Column::new(table.cloned(), field.name());
            let is_filled = !matches!(self.filling(&column), Filling::Time | Filling::Key);
            let field = Field::new(field.name(), field.data_type().clone(), is_filled || field.is_nullable());
            (table.cloned(), Arc::new(field))
        });
        self.schema = Arc::new(DFSchema::new_with_metadata(fields.collect(), Default::default())?);
        Ok(self)
    }
}

impl fmt::Debug for Resample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_for_explain(f)
    }
}

impl PartialOrd for Resample {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.interval, &self.time).partial_cmp(&(other.interval, &other.time))
    }
}

impl UserDefinedLogicalNodeCore for Resample {
    fn name(&self) -> &str {
        "RESAMPLE"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(&self.time).chain(&self.keys).cloned().map(Expr::Column).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RESAMPLE {:?} over {}", self.grid(), self.time)
    }

    /// A column that nobody needs may be missing in the input; its filling is then of no use.
    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut columns = exprs.into_iter().map(|expr| match expr {
            Expr::Column(column) => Ok(column),
            other => Err(DataFusionError::Internal(format!("RESAMPLE over {other}"))),
        });
        let missing = || DataFusionError::Internal("RESAMPLE without time or input".into());
        let time = columns.next().ok_or_else(missing)??;
        let keys = columns.collect::<Result<_>>()?;
        Self { input: inputs.pop().ok_or_else(missing)?, time, keys, ..self.clone() }.with_schema()
    }

    /// Points depend on time and keys only, and each column on itself.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let mut needed = output_columns.to_vec();
        for column in std::iter::once(&self.time).chain(&self.keys) {
            needed.push(self.input.schema().index_of_column(column).ok()?);
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

const USAGE: &str = "RESAMPLE(relation, time, INTERVAL '1' SECOND, key, LINEAR(a, b), PREVIOUS(c), \
                     MAX_GAP => INTERVAL '10' SECOND)";

fn wrong(message: String) -> DataFusionError {
    external(QueryError::invalid(message, None).with_help(format!("write {USAGE}")))
}

/// What follows the interval.
#[derive(Default)]
struct Rest {
    keys: Vec<Column>,
    fillings: Vec<(Column, Filling)>,
    max_gap: Option<i64>,
    skip_gaps: bool,
}

impl Call<'_> {
    /// Plans `RESAMPLE`.
    pub(super) fn resample(&self, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let input = self.relation(context)?;
        let time = self.column(1, "the column of event time", &input, context)?;
        self.check_time(&time, &input)?;
        let interval = self.length(2, &input, context)?;
        let mut rest = Rest::default();
        for place in 3..self.arguments.len() {
            let read = self.argument_of_resample(place, &input, context, &mut rest);
            read.map_err(|error| self.at(place, error))?;
        }
        let Rest { keys, fillings, max_gap, skip_gaps } = rest;
        if skip_gaps && max_gap.is_none() {
            return Err(wrong("RESAMPLE: SKIP_GAPS needs MAX_GAP".into()));
        }
        let taken = std::iter::once(&time).chain(&keys);
        if let Some(both) = taken.into_iter().find(|column| fillings.iter().any(|(c, _)| c == *column)) {
            return Err(wrong(format!("RESAMPLE: {:?} is the time or a key and is not filled", both.name)));
        }
        let input = with_doubles(input, &fillings)?;
        let schema = Arc::clone(input.schema());
        let node =
            Resample { input, time, keys, interval, max_gap, skip_gaps, fillings, schema }.with_schema()?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }

    fn argument_of_resample(
        &self,
        place: usize,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
        rest: &mut Rest,
    ) -> Result<()> {
        match &self.arguments[place] {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Function(function))) => {
                let filling = filling(function)?;
                for column in columns(function)? {
                    let column = column_of(column, input, context)?;
                    check_filling(&column, filling, input)?;
                    if rest.fillings.iter().any(|(other, _)| *other == column) {
                        let message = format!("RESAMPLE: column {:?} has two fillings", column.name);
                        let help = "name it once: in LINEAR, PREVIOUS or NONE";
                        return Err(external(QueryError::invalid(message, None).with_help(help)));
                    }
                    rest.fillings.push((column, filling));
                }
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => {
                rest.keys.push(self.column(place, "a column of the key", input, context)?);
            }
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                match name.value.to_ascii_uppercase().as_str() {
                    "MAX_GAP" => {
                        let value = [FunctionArg::Unnamed(FunctionArgExpr::Expr(value.clone()))];
                        let call = Call { function: "MAX_GAP".into(), arguments: &value };
                        rest.max_gap = Some(call.length(0, input, context)?);
                    }
                    "SKIP_GAPS" => rest.skip_gaps = boolean(value)?,
                    other => {
                        let message = format!("RESAMPLE has no argument {other:?}");
                        let help = "there are MAX_GAP and SKIP_GAPS";
                        return Err(external(QueryError::invalid(message, None).with_help(help)));
                    }
                }
            }
            other => return Err(wrong(format!("RESAMPLE: expected a key or a filling, found {other}"))),
        }
        Ok(())
    }
}

fn filling(function: &Function) -> Result<Filling> {
    match function.name.to_string().to_ascii_uppercase().as_str() {
        "LINEAR" => Ok(Filling::Linear),
        "PREVIOUS" => Ok(Filling::Previous),
        "NONE" => Ok(Filling::None),
        other => {
            let message = format!("RESAMPLE: {other} is no filling");
            let help = "the fillings are LINEAR(a, b), PREVIOUS(c) and NONE(d)";
            Err(external(QueryError::invalid(message, None).with_help(help)))
        }
    }
}

fn columns(function: &Function) -> Result<Vec<&SqlExpr>> {
    let none = || wrong(format!("RESAMPLE: {} needs columns", function.name));
    let FunctionArguments::List(list) = &function.args else { return Err(none()) };
    let columns = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
        other => Err(at(other, wrong(format!("RESAMPLE: expected a column, found {other}")))),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    if columns.is_empty() { Err(none()) } else { Ok(columns) }
}

fn column_of(
    expr: &SqlExpr,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<Column> {
    match context.sql_to_expr(expr.clone(), input.schema())? {
        Expr::Column(column) => Ok(column),
        _ => Err(at(expr, wrong(format!("RESAMPLE: expected a column, found {expr}")))),
    }
}

fn check_filling(column: &Column, filling: Filling, input: &LogicalPlan) -> Result<()> {
    let field = input.schema().field_from_column(column)?;
    if filling != Filling::Linear || field.data_type().is_numeric() {
        return Ok(());
    }
    let message =
        format!("column {:?} of LINEAR must be a number, but is {}", column.name, field.data_type());
    Err(external(QueryError::invalid(message, None).with_help("use PREVIOUS or NONE for it")))
}

fn boolean(value: &SqlExpr) -> Result<bool> {
    match value {
        SqlExpr::Value(value) => match value.value {
            Value::Boolean(value) => Ok(value),
            _ => Err(wrong(format!("RESAMPLE: expected true or false, found {value}"))),
        },
        other => Err(wrong(format!("RESAMPLE: expected true or false, found {other}"))),
    }
}

/// A line between two numbers is one of doubles.
fn with_doubles(input: LogicalPlan, fillings: &[(Column, Filling)]) -> Result<LogicalPlan> {
    let is_linear = |column: &Column| fillings.contains(&(column.clone(), Filling::Linear));
    let needs = |column: &Column| {
        let double = input.schema().data_type(column).is_ok_and(|found| *found == DataType::Float64);
        is_linear(column) && !double
    };
    let columns = input.schema().columns();
    if !columns.iter().any(needs) {
        return Ok(input);
    }
    let columns = columns.into_iter().map(|column| match needs(&column) {
        true => datafusion::logical_expr::cast(Expr::Column(column.clone()), DataType::Float64)
            .alias_qualified(column.relation.clone(), column.name),
        false => Expr::Column(column),
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(input).project(columns)?.build()
}
