//! Optimisers and actuators.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator as Comparison};
use datafusion::sql::planner::SqlToRel;
use lineshaft_engine::declaration::{OUTCOMES, Options, SourceDeclaration};
use lineshaft_engine::plan::{Input, Origin, Overload, Route, SourceNode};
use lineshaft_operators::decision::{
    Constraint, Gate, GateOptions, Limits, Mode, Optimizer, OptimizerOptions, Rate, Variable,
};

use super::revision::Expected;
use super::{Lowering, Result, internal};
use crate::context::{Context, Functions, Relations, parser_options};
use crate::error::{NameKind, QueryError};
use crate::expression::{coerced, expression};
use crate::program::Actuator;
use crate::statement::{CreateActuator, CreateOptimizer, ExpressionText};
use crate::window_function::external;

/// The default of `seed`.
const SEED: u64 = 0;

/// Objective and constraints of an optimiser, over the columns of its input and its variables.
struct Problem {
    objective: Expr,
    constraints: Vec<Expr>,
    candidates: DFSchema,
}

fn variables(statement: &CreateOptimizer) -> Result<Vec<Variable>> {
    let variable = |bounded: &crate::statement::BoundedColumn| {
        let name = bounded.column.name.value.clone();
        let range = bounded.range.ok_or_else(|| {
            external(QueryError::invalid(format!("variable {name:?} has no BETWEEN"), bounded.column.span))
        })?;
        let is_whole = bounded.column.data_type.is_integer();
        let variable =
            Variable { name, lower: range.low, upper: range.high, max_step: range.max_step, is_whole };
        let (lower, upper) = variable.bounds();
        if lower > upper {
            let message = format!("variable {:?} has no whole number BETWEEN", variable.name);
            return Err(external(QueryError::invalid(message, bounded.column.span)));
        }
        Ok(variable)
    };
    statement.variables.iter().map(variable).collect()
}

impl Problem {
    fn plan(
        statement: &CreateOptimizer,
        input: &SchemaRef,
        functions: &Functions,
        relations: &dyn Relations,
    ) -> Result<Self> {
        let variables = variables(statement)?;
        for variable in &statement.variables {
            if input.field_with_name(&variable.column.name.value).is_ok() {
                let message =
                    format!("variable {:?} is also a column of the input", variable.column.name.value);
                let error = QueryError::invalid(message, variable.column.span);
                return Err(external(error.with_help("give the column another name in a view")));
            }
        }
        let schema = OptimizerOptions::candidate_schema(input, &variables);
        let candidates = DFSchema::try_from(schema.as_ref().clone())?;
        let plan = |text: &ExpressionText, wanted: &DataType| -> Result<Expr> {
            let context = Context { functions, relations };
            let planner = SqlToRel::new_with_options(&context, parser_options());
            let mut sql = text.expression.clone();
            crate::functions::mark_calls(&mut sql);
            let expr = planner.sql_to_expr(sql, &candidates, &mut Default::default())?;
            let expr = coerced(expr, &candidates)?;
            Ok(datafusion::logical_expr::cast(expr, wanted.clone()))
        };
        let objective = plan(&statement.objective, &DataType::Float64)?;
        let constraints = statement.constraints.iter().map(|text| plan(text, &DataType::Boolean));
        let constraints = constraints.collect::<Result<_>>()?;
        Ok(Self { objective, constraints, candidates })
    }
}

/// Checks an optimiser and gives the columns of its rows.
pub(crate) fn optimizer_columns(
    statement: &CreateOptimizer,
    input: &SchemaRef,
    functions: &Functions,
    relations: &dyn Relations,
) -> Result<SchemaRef> {
    let problem = Problem::plan(statement, input, functions, relations)?;
    let options = optimizer_options(statement, input, 0, &problem)?;
    Ok(options.output_schema(input))
}

fn optimizer_options(
    statement: &CreateOptimizer,
    input: &SchemaRef,
    event_time: usize,
    problem: &Problem,
) -> Result<OptimizerOptions> {
    let key = |name: &crate::span::Name| {
        input.index_of(&name.value).map_err(|_| {
            let columns = input.fields().iter().map(|field| field.name().as_str());
            external(QueryError::unknown(NameKind::Column, &name.value, Some(name.span), columns))
        })
    };
    let number = |option: &str, default: u64| -> Result<u64> {
        let Some(entry) = statement.options.get(option) else { return Ok(default) };
        let text = entry.value.value.text();
        text.parse().map_err(|_| {
            let message = format!("option {option:?} must be a whole number, found {text:?}");
            external(QueryError::invalid(message, entry.value.span))
        })
    };
    for entry in &statement.options.entries {
        if !["seed", "evaluations"].contains(&entry.name.value.as_str()) {
            let known = ["seed", "evaluations"];
            return Err(external(QueryError::unknown(
                NameKind::Option,
                &entry.name.value,
                Some(entry.name.span),
                known,
            )));
        }
    }
    let objective = match statement.maximize {
        true => Expr::Negative(Box::new(problem.objective.clone())),
        false => problem.objective.clone(),
    };
    let constraint = |holds: &Expr| -> Result<Constraint> {
        let violation =
            violation(holds).map(|violation| expression(&violation, &problem.candidates)).transpose()?;
        Ok(Constraint { holds: expression(holds, &problem.candidates)?, violation })
    };
    Ok(OptimizerOptions {
        name: statement.name.value.clone(),
        variables: variables(statement)?,
        objective: expression(&objective, &problem.candidates)?,
        constraints: problem.constraints.iter().map(constraint).collect::<Result<_>>()?,
        keys: statement.per.iter().map(key).collect::<Result<_>>()?,
        event_time,
        interval: statement.every_us.value,
        seed: number("seed", SEED)?,
        evaluations: usize::try_from(number("evaluations", OptimizerOptions::EVALUATIONS as u64)?)
            .unwrap_or(usize::MAX),
    })
}

/// How far a comparison is from being true: `b - a` for `a >= b`.
fn violation(holds: &Expr) -> Option<Expr> {
    match holds {
        Expr::Cast(cast) => violation(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let number = |expr: &Expr| datafusion::logical_expr::cast(expr.clone(), DataType::Float64);
            let minus = |a: &Expr, b: &Expr| number(a) - number(b);
            match op {
                Comparison::GtEq | Comparison::Gt => Some(minus(right, left)),
                Comparison::LtEq | Comparison::Lt => Some(minus(left, right)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The column of event time among columns with these lags.
fn event_time_of(times: &[Option<i64>], statement: &CreateOptimizer) -> Result<(usize, i64)> {
    let found = times.iter().enumerate().filter_map(|(place, lag)| Some((place, (*lag)?)));
    found.min_by_key(|(_, lag)| *lag).ok_or_else(|| {
        let needed_by = format!("EVERY of optimizer {:?}", statement.name.value);
        let relation = statement.input.text.rsplit(' ').next().unwrap_or_default().to_owned();
        external(QueryError::MissingWatermark { relation, needed_by, span: Some(statement.input.span) })
    })
}

impl Relations for crate::program::Program {
    fn relation(
        &self,
        reference: &datafusion::common::TableReference,
    ) -> Result<Arc<crate::context::RelationSource>> {
        Err(internal(&format!("{reference} in an expression")))
    }
}

impl Lowering<'_> {
    /// The rows of an optimiser: the solution of each key and tick.
    pub(super) fn optimizer(&mut self, name: &str) -> Result<Origin> {
        let program = self.program;
        let (statement, view) = (&program.optimizers[name], &program.views[name]);
        let (event_time, lag) = event_time_of(&self.times(&view.plan), statement)?;
        let input: SchemaRef = Arc::new(view.plan.schema().as_arrow().clone());
        let problem = Problem::plan(statement, &input, &program.functions, program)?;
        let options = optimizer_options(statement, &input, event_time, &problem)?;
        let outer = std::mem::replace(&mut self.view, name.to_owned());
        let from = self.expecting(Expected::Final, |lowering| lowering.lower(&view.plan))?;
        self.only_added(from, "an optimiser")?;
        let output = options.output_schema(&input);
        let route = if options.keys.is_empty() { Route::Gather } else { Route::ByKey(options.keys.clone()) };
        let origin = self.node("optimize", vec![Input { from, route }], vec![output], false, move |_| {
            let optimizer = Optimizer::new(options.clone(), Arc::clone(&input))?;
            Ok(super::operators::lagged(lag, Box::new(optimizer)))
        });
        self.view = outer;
        Ok(origin)
    }

    /// The gate of an actuator; gives its log. The commands go to a sink of the actuator's name.
    pub(super) fn actuator(&mut self, name: &str, actuator: &Actuator) -> Result<Origin> {
        let log = (format!("{name}.log"), false, Expected::default());
        if let Some(origin) = self.done.get(&log) {
            return Ok(*origin);
        }
        let statement = &actuator.statement;
        let mut options = gate_options(statement, self.outputs.close_gates)?;
        options.tells_outcomes =
            options.sends() && self.outputs.told.contains(&actuator.statement.name.value);
        let outer = std::mem::replace(&mut self.view, name.to_owned());
        let mut inputs = Vec::new();
        for insert in &actuator.inserts {
            let from = self.expecting(Expected::Final, |lowering| lowering.lower(&insert.plan))?;
            self.only_added(from, "commands")?;
            inputs.push(Input { from, route: Route::Local });
        }
        let input = command_schema(statement);
        let from = match inputs.len() {
            1 => inputs[0].from,
            _ => self.union(inputs, Arc::clone(&input)),
        };
        let route = if options.keys.is_empty() { Route::Gather } else { Route::ByKey(options.keys.clone()) };
        let mut inputs = vec![Input { from, route }];
        if options.tells_outcomes {
            // One of them is about all keys.
            let from = self.outcomes(name, GateOptions::outcome_schema(&input));
            inputs.push(Input { from, route: Route::Broadcast });
        }
        let ports = vec![options.command_schema(&input), options.log_schema(&input)];
        let gate = self.node("gate", inputs, ports, false, move |_| {
            Ok(Box::new(Gate::new(options.clone(), Arc::clone(&input))?))
        });
        self.view = outer;
        let Origin::Node(node, _) = gate else { return Err(internal("a gate is a node")) };
        if !self.outputs.close_gates {
            let (_, options) = sent(statement);
            self.add_sink(name, Origin::Node(node, 0), options)?;
        }
        self.done.insert(log, Origin::Node(node, 1));
        Ok(Origin::Node(node, 1))
    }
}

impl Lowering<'_> {
    /// What the connector of an actuator tells of its commands. It enters as the rows of a source do, so that it is in the journal,
    /// and decisions are the same when they are made again.
    fn outcomes(&mut self, actuator: &str, schema: SchemaRef) -> Origin {
        let declaration = SourceDeclaration {
            name: format!("{actuator}.outcomes"),
            schema: Arc::clone(&schema),
            metadata: Vec::new(),
            needed: (0..schema.fields().len()).collect(),
            wanted: Vec::new(),
            event_time: None,
            table: None,
            options: [("connector", OUTCOMES), ("actuator", actuator)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            folder: self.data.clone(),
        };
        // As a table it holds back no watermark, and what comes before the first command is nothing.
        self.plan.sources.push(SourceNode {
            name: declaration.name.clone(),
            schema,
            watermark: None,
            deduplicate: None,
            is_table: true,
            is_changelog: false,
            overload: Overload::default(),
        });
        self.declarations.push(declaration);
        Origin::Source(self.plan.sources.len() - 1)
    }
}

/// Columns of a command.
pub(crate) fn command_schema(statement: &CreateActuator) -> SchemaRef {
    let field = |bounded: &crate::statement::BoundedColumn| {
        Field::new(&bounded.column.name.value, bounded.column.data_type.clone(), true)
    };
    Arc::new(Schema::new(statement.columns.iter().map(field).collect::<Vec<_>>()))
}

/// Columns and options of the sink that commands go to.
pub(crate) fn sent(statement: &CreateActuator) -> (SchemaRef, Options) {
    let gate = GateOptions { ttl: Some(time_to_live(statement)), ..GateOptions::default() };
    let mut options = statement.options.to_map();
    OF_GATE.iter().for_each(|option| drop(options.remove(*option)));
    // So that a connector that keeps rows back (a broker that is away) neither repeats nor delays a command.
    options.insert("ttl".to_owned(), format!("{} us", time_to_live(statement)));
    (gate.command_schema(&command_schema(statement)), options)
}

/// Columns of `<actuator>.log`.
pub(crate) fn log_schema(statement: &CreateActuator) -> SchemaRef {
    GateOptions::default().log_schema(&command_schema(statement))
}

const BEYOND_STEP: &str = "beyond_step";
/// The options of an actuator that its connector does not know.
pub(crate) const OF_GATE: [&str; 2] = ["mode", BEYOND_STEP];

/// A command without a `TTL` lives for 10 s: none is so urgent that it should come later, and a sink of commands sends
/// each at most once.
const DEFAULT_TIME_TO_LIVE_US: i64 = 10_000_000;

fn time_to_live(statement: &CreateActuator) -> i64 {
    statement.time_to_live_us.as_ref().map_or(DEFAULT_TIME_TO_LIVE_US, |ttl| ttl.value)
}

fn gate_options(statement: &CreateActuator, closed: bool) -> Result<GateOptions> {
    let limits = statement.columns.iter().enumerate().filter_map(|(column, bounded)| {
        let range = bounded.range?;
        Some(Limits { column, lower: Some(range.low), upper: Some(range.high), max_step: range.max_step })
    });
    let mode = match statement.options.get("mode") {
        None => Mode::Shadow,
        Some(entry) => match entry.value.value.text() {
            "shadow" => Mode::Shadow,
            "auto" => Mode::Auto,
            "approve" => {
                let error = QueryError::not_supported("mode 'approve'", entry.value.span);
                return Err(external(error.with_help("use 'shadow' (logged, not sent) or 'auto'")));
            }
            other => {
                let message = format!("mode {other:?} is not known");
                let error = QueryError::invalid(message, entry.value.span);
                return Err(external(error.with_help("use 'shadow' (logged, not sent) or 'auto'")));
            }
        },
    };
    let approaches = match statement.options.get(BEYOND_STEP) {
        None => false,
        Some(entry) => match entry.value.value.text() {
            "reject" => false,
            "approach" => true,
            other => {
                let message = format!("{BEYOND_STEP} {other:?} is not known");
                let error = QueryError::invalid(message, entry.value.span);
                return Err(external(error.with_help("use 'reject' or 'approach'")));
            }
        },
    };
    let failsafe =
        statement.failsafe.iter().map(|failsafe| Ok((failsafe.column, constant(&failsafe.value)?)));
    Ok(GateOptions {
        name: statement.name.value.clone(),
        mode,
        keys: statement.key.clone(),
        limits: limits.collect(),
        rate: statement.rate.map(|rate| Rate {
            count: usize::try_from(rate.commands).unwrap_or(usize::MAX),
            interval: rate.per_us,
        }),
        interlock_keys: Vec::new(),
        ttl: Some(time_to_live(statement)),
        failsafe: failsafe.collect::<Result<_>>()?,
        closed,
        approaches,
        tells_outcomes: false,
    })
}

/// The number of a constant expression.
fn constant(text: &ExpressionText) -> Result<f64> {
    text.text.trim().parse().map_err(|_| {
        let message = format!("a failsafe value must be a number, found {}", text.text);
        external(QueryError::invalid(message, text.span))
    })
}
