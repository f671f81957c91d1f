//! `TUMBLE`, `HOP`, `CUMULATE`, `SESSION`, `COUNT_WINDOW` and `STATE_WINDOW` in `FROM`: a relation with two columns more,
//! `window_start` and `window_end`. In a logical plan they are an [`AssignWindow`].

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{
    Column, DFSchema, DFSchemaRef, Diagnostic, ExprSchema, ScalarValue, Span, TableReference,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore,
};
use datafusion::sql::sqlparser::ast::Spanned;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, ObjectName, TableFactor,
};
use lineshaft_engine::TIMESTAMP;
use lineshaft_operators::window::FixedWindows;

use crate::error::{NameKind, QueryError};

mod resample;

pub use resample::Resample;

/// The columns that a window adds.
pub const WINDOW_START: &str = "window_start";
/// See [`WINDOW_START`].
pub const WINDOW_END: &str = "window_end";

/// A kind of window with its sizes; times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WindowKind {
    /// `TUMBLE(relation, time, size [, offset])`, `HOP(relation, time, slide, size [, offset])` and `CUMULATE(relation, time,
    /// step, size [, offset])`.
    Fixed(FixedWindows),
    /// `SESSION(relation, time, gap, keys...)`.
    Session {
        /// The longest silence within a session.
        gap: i64,
    },
    /// `COUNT_WINDOW(relation, time, [slide,] size, keys...)`.
    Count {
        /// Rows from one start to the next.
        slide: usize,
        /// Rows of a window.
        size: usize,
    },
    /// `STATE_WINDOW(relation, time, state, keys...)`.
    State,
}

/// A window function applied to a relation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AssignWindow {
    pub(crate) input: LogicalPlan,
    pub(crate) kind: WindowKind,
    /// The event time.
    pub(crate) time: Column,
    /// What a session, count or state window is kept per.
    pub(crate) keys: Vec<Column>,
    /// What is equal in all rows of a state window.
    pub(crate) state: Option<Column>,
    /// `EMIT EVERY`: how often open windows are given, microseconds.
    pub(crate) every: Option<i64>,
    schema: DFSchemaRef,
}

impl AssignWindow {
    fn new(
        input: LogicalPlan,
        kind: WindowKind,
        time: Column,
        keys: Vec<Column>,
        state: Option<Column>,
    ) -> Result<Self> {
        let mut fields: Vec<(Option<TableReference>, Arc<Field>)> =
            input.schema().iter().map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
        for name in [WINDOW_START, WINDOW_END] {
            fields.push((None, Arc::new(Field::new(name, TIMESTAMP, false))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(Self { input, kind, time, keys, state, every: None, schema })
    }

    /// The same with `EMIT EVERY`.
    pub(crate) fn emit_every(self, every: i64) -> Self {
        Self { every: Some(every), ..self }
    }

    /// The columns that say which windows a row is in.
    fn columns(&self) -> impl Iterator<Item = &Column> {
        std::iter::once(&self.time).chain(&self.state).chain(&self.keys)
    }

    /// The window function of `plan`, if it is one.
    pub fn of(plan: &LogicalPlan) -> Option<&Self> {
        let LogicalPlan::Extension(extension) = plan else { return None };
        extension.node.as_any().downcast_ref()
    }

    /// For messages: the name of the function.
    pub fn function(&self) -> &'static str {
        match self.kind {
            WindowKind::Fixed(windows) if windows.grows => "CUMULATE",
            WindowKind::Fixed(windows) if windows.slide == windows.size => "TUMBLE",
            WindowKind::Fixed(_) => "HOP",
            WindowKind::Session { .. } => "SESSION",
            WindowKind::Count { .. } => "COUNT_WINDOW",
            WindowKind::State => "STATE_WINDOW",
        }
    }
}

impl fmt::Debug for AssignWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_for_explain(f)
    }
}

impl PartialOrd for AssignWindow {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.kind, &self.time).partial_cmp(&(other.kind, &other.time))
    }
}

impl UserDefinedLogicalNodeCore for AssignWindow {
    fn name(&self) -> &str {
        self.function()
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.columns().cloned().map(Expr::Column).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} over {}", self.function(), self.kind, self.time)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut columns = exprs.into_iter().map(|expr| match expr {
            Expr::Column(column) => Ok(column),
            other => Err(DataFusionError::Internal(format!("a window over {other}"))),
        });
        let missing = || DataFusionError::Internal("a window without time or input".into());
        let time = columns.next().ok_or_else(missing)??;
        let state = self.state.as_ref().and_then(|_| columns.next()).transpose()?;
        let keys = columns.collect::<Result<_>>()?;
        let new = Self::new(inputs.pop().ok_or_else(missing)?, self.kind, time, keys, state)?;
        Ok(Self { every: self.every, ..new })
    }

    /// A row's windows depend on its time and keys only.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let mut needed: Vec<usize> =
            output_columns.iter().copied().filter(|column| *column < width).collect();
        for column in self.columns() {
            needed.push(self.input.schema().index_of_column(column).ok()?);
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// Plans window functions in `FROM`.
#[derive(Debug)]
pub(crate) struct WindowFunctions {
    /// Other functions that give relations are left to DataFusion.
    pub(crate) knows_others: bool,
}

impl RelationPlanner for WindowFunctions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table { name, args: Some(arguments), alias, .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let call = Call { function: name.to_string().to_ascii_uppercase(), arguments: &arguments.args };
        let plan = match call.function.as_str() {
            "TUMBLE" | "HOP" | "CUMULATE" | "SESSION" | "COUNT_WINDOW" | "STATE_WINDOW" => {
                call.plan(context).map_err(|error| at(name, error))?
            }
            "RESAMPLE" => call.resample(context).map_err(|error| at(name, error))?,
            _ if self.knows_others => return Ok(RelationPlanning::Original(Box::new(relation))),
            _ => {
                let error = QueryError::unknown(NameKind::Function, &name.to_string(), None, FUNCTIONS);
                return Err(at(name, external(error)));
            }
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

/// What can be called in `FROM`.
const FUNCTIONS: [&str; 7] =
    ["TUMBLE", "HOP", "CUMULATE", "SESSION", "COUNT_WINDOW", "STATE_WINDOW", "RESAMPLE"];

/// Gives an error of ours the place of `node`, if none is known nearer to it.
fn at(node: &impl Spanned, error: DataFusionError) -> DataFusionError {
    let span = Span::try_from_sqlparser_span(node.span());
    match error {
        DataFusionError::External(_) if span.is_some() => {
            error.with_diagnostic(Diagnostic::new_error("", span))
        }
        other => other,
    }
}

/// A call of a window function.
struct Call<'a> {
    function: String,
    arguments: &'a [FunctionArg],
}

impl Call<'_> {
    fn plan(&self, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let input = self.relation(context)?;
        let time = self.column(1, "the column of event time", &input, context)?;
        self.check_time(&time, &input)?;
        let (kind, keys_at) = self.kind(&input, context)?;
        let keys = (keys_at..self.arguments.len())
            .map(|at| self.column(at, "a column of the key", &input, context))
            .collect::<Result<Vec<_>>>()?;
        let state = match kind {
            WindowKind::State => Some(self.column(2, "the column of the state", &input, context)?),
            _ => None,
        };
        let (time, keys) = (inner(&time), keys.iter().map(inner).collect());
        let node = AssignWindow::new(without_window(input)?, kind, time, keys, state.as_ref().map(inner))?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }

    fn kind(
        &self,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<(WindowKind, usize)> {
        match self.function.as_str() {
            "TUMBLE" => {
                let windows = FixedWindows::tumbling(self.length(2, input, context)?);
                self.fixed(windows, 3, input, context)
            }
            "HOP" => {
                let (slide, size) = self.step_and_size("slide", input, context)?;
                self.fixed(FixedWindows::hopping(slide, size), 4, input, context)
            }
            "CUMULATE" => {
                let (step, size) = self.step_and_size("step", input, context)?;
                self.fixed(FixedWindows::cumulating(step, size), 4, input, context)
            }
            "STATE_WINDOW" => Ok((WindowKind::State, 3)),
            "SESSION" => Ok((WindowKind::Session { gap: self.length(2, input, context)? }, 3)),
            _ => {
                let first = self.count(2, input, context)?;
                match self.count(3, input, context) {
                    Ok(size) if size < first => {
                        let message =
                            format!("the slide of {first} rows is larger than the window of {size} rows");
                        let help = "the slide comes first, then the size";
                        Err(self.at(2, external(QueryError::invalid(message, None).with_help(help))))
                    }
                    Ok(size) => Ok((WindowKind::Count { slide: first, size }, 4)),
                    Err(_) => Ok((WindowKind::Count { slide: first, size: first }, 3)),
                }
            }
        }
    }

    /// Windows that may have an offset, as the argument after the `given` ones.
    fn fixed(
        &self,
        windows: FixedWindows,
        given: usize,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<(WindowKind, usize)> {
        self.no_more_than(given + 1)?;
        let offset = match self.arguments.get(given) {
            Some(_) => self.interval(given, "an offset, a constant interval", input, context)?,
            None => 0,
        };
        Ok((WindowKind::Fixed(FixedWindows { offset, ..windows }), given + 1))
    }

    /// Two intervals, of which the second is a multiple of the first.
    fn step_and_size(
        &self,
        step_name: &str,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<(i64, i64)> {
        let (step, size) = (self.length(2, input, context)?, self.length(3, input, context)?);
        if size % step != 0 {
            let message =
                format!("window size {} is not a multiple of its {step_name} {}", show(size), show(step));
            let help = format!("choose a {step_name} that divides {}", show(size));
            return Err(self.at(2, external(QueryError::invalid(message, None).with_help(help))));
        }
        Ok((step, size))
    }

    fn usage(&self) -> &'static str {
        match self.function.as_str() {
            "TUMBLE" => "TUMBLE(relation, time, INTERVAL '10' SECOND)",
            "HOP" => "HOP(relation, time, INTERVAL '5' SECOND, INTERVAL '60' SECOND): slide, then size",
            "CUMULATE" => "CUMULATE(relation, time, INTERVAL '1' HOUR, INTERVAL '1' DAY): step, then size",
            "SESSION" => "SESSION(relation, time, INTERVAL '30' SECOND, key)",
            "STATE_WINDOW" => "STATE_WINDOW(relation, time, state, key)",
            "RESAMPLE" => "RESAMPLE(relation, time, INTERVAL '1' SECOND, key, LINEAR(x))",
            "MAX_GAP" => "MAX_GAP => INTERVAL '10' SECOND",
            _ => "COUNT_WINDOW(relation, time, 1024, key)",
        }
    }

    fn wrong(&self, message: String) -> DataFusionError {
        external(QueryError::invalid(message, None).with_help(format!("write {}", self.usage())))
    }

    /// Gives an error of ours the place of an argument.
    fn at(&self, argument: usize, error: DataFusionError) -> DataFusionError {
        match self.arguments.get(argument) {
            Some(argument) => at(argument, error),
            None => error,
        }
    }

    fn no_more_than(&self, count: usize) -> Result<()> {
        if self.arguments.len() > count {
            return Err(self.wrong(format!(
                "{} takes {count} arguments, found {}",
                self.function,
                self.arguments.len()
            )));
        }
        Ok(())
    }

    fn argument(&self, at: usize, what: &str) -> Result<&SqlExpr> {
        match self.arguments.get(at) {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) => Ok(expr),
            Some(other) => {
                Err(self.at(at, self.wrong(format!("{}: expected {what}, found {other}", self.function))))
            }
            None => Err(self.wrong(format!("{}: {what} is missing", self.function))),
        }
    }

    fn relation(&self, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let factor = match self.argument(0, "a relation")? {
            SqlExpr::Identifier(name) => table(vec![name.clone()].into()),
            SqlExpr::CompoundIdentifier(names) => table(names.clone().into()),
            SqlExpr::Subquery(subquery) => {
                TableFactor::Derived { lateral: false, subquery: subquery.clone(), alias: None, sample: None }
            }
            other => return Err(self.wrong(format!("{}: expected a relation, found {other}", self.function))),
        };
        context.plan(factor)
    }

    fn column(
        &self,
        at: usize,
        what: &str,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Column> {
        let argument = self.argument(at, what)?;
        match context.sql_to_expr(argument.clone(), input.schema())? {
            Expr::Column(column) => Ok(column),
            _ => {
                Err(self.at(at, self.wrong(format!("{}: expected {what}, found {argument}", self.function))))
            }
        }
    }

    fn check_time(&self, time: &Column, input: &LogicalPlan) -> Result<()> {
        let data_type = input.schema().field_from_column(time)?.data_type();
        if matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, None)) {
            return Ok(());
        }
        let error = QueryError::TypeMismatch {
            what: format!("event time {:?} of {}", time.name, self.function),
            expected: "TIMESTAMP".into(),
            found: data_type.to_string(),
            span: None,
        };
        Err(self.at(1, external(error)))
    }

    fn literal(
        &self,
        at: usize,
        what: &str,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<ScalarValue> {
        let argument = self.argument(at, what)?;
        match context.sql_to_expr(argument.clone(), input.schema())? {
            Expr::Literal(value, _) => Ok(value),
            _ => {
                Err(self.at(at, self.wrong(format!("{}: expected {what}, found {argument}", self.function))))
            }
        }
    }

    /// An interval that is longer than zero, microseconds.
    fn length(
        &self,
        at: usize,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<i64> {
        let length = self.interval(at, "a constant interval", input, context)?;
        if length <= 0 {
            let message = format!("{}: the interval must be longer than zero", self.function);
            return Err(self.at(at, self.wrong(message)));
        }
        Ok(length)
    }

    fn interval(
        &self,
        at: usize,
        what: &str,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<i64> {
        let value = self.literal(at, what, input, context)?;
        let micros = match value {
            ScalarValue::IntervalMonthDayNano(Some(i)) if i.months == 0 => {
                i64::from(i.days) * 86_400_000_000 + i.nanoseconds / 1_000
            }
            ScalarValue::IntervalMonthDayNano(_) | ScalarValue::IntervalYearMonth(_) => {
                return Err(
                    self.at(at, self.wrong(format!("{}: months have no fixed length", self.function)))
                );
            }
            ScalarValue::IntervalDayTime(Some(i)) => {
                i64::from(i.days) * 86_400_000_000 + i64::from(i.milliseconds) * 1_000
            }
            _ => {
                return Err(
                    self.at(at, self.wrong(format!("{}: expected {what}, found {value}", self.function)))
                );
            }
        };
        Ok(micros)
    }

    fn count(
        &self,
        at: usize,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<usize> {
        let what = "a number of rows";
        match self.literal(at, what, input, context)? {
            ScalarValue::Int64(Some(count)) if count > 0 => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            other => {
                Err(self.at(at, self.wrong(format!("{}: expected {what}, found {other}", self.function))))
            }
        }
    }
}

/// The window that the rows are in already makes room for the new one: its columns become `inner_window_start` and
/// `inner_window_end`. What is one further in is no longer seen.
fn without_window(input: LogicalPlan) -> Result<LogicalPlan> {
    let columns = input.schema().columns();
    if !columns.iter().any(is_bound) {
        return Ok(input);
    }
    let new: Vec<String> =
        columns.iter().filter(|column| is_bound(column)).map(|column| inner(column).name).collect();
    let kept = columns.iter().filter(|column| !new.contains(&column.name)).map(|column| {
        let value = Expr::Column(column.clone());
        if is_bound(column) {
            value.alias_qualified(column.relation.clone(), inner(column).name)
        } else {
            value
        }
    });
    LogicalPlanBuilder::from(input).project(kept.collect::<Vec<_>>())?.build()
}

fn is_bound(column: &Column) -> bool {
    column.name == WINDOW_START || column.name == WINDOW_END
}

/// What a column of the input is called after [`without_window`].
fn inner(column: &Column) -> Column {
    if is_bound(column) {
        Column::new(column.relation.clone(), format!("inner_{}", column.name))
    } else {
        column.clone()
    }
}

/// A relation by its name.
pub(crate) fn table(name: ObjectName) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

/// An error of ours on its way through DataFusion.
pub(crate) fn external(error: QueryError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A span of time as a person writes it.
pub(crate) fn show(micros: i64) -> String {
    const UNITS: [(i64, &str); 4] =
        [(3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
    let unit = UNITS.iter().find(|(size, _)| micros != 0 && micros % size == 0);
    unit.map_or_else(|| format!("{micros} us"), |(size, unit)| format!("{} {unit}", micros / size))
}
