//! Binds the statements of a program: what every name stands for, and the logical plan of every query.
//!
//! A view is planned when it is first asked for, so statements may stand in any order. All errors of a program are
//! collected; a statement that depends on a broken one is left out of the reckoning.

mod actuators;
mod drift;
mod further;
mod model_file;
mod models;
mod rules;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Volatility};
use datafusion::sql::planner::SqlToRel;
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};
use lineshaft_engine::declaration::{OptionError, SinkDeclaration};
use lineshaft_operators::changelog::operations::with_operation;
use lineshaft_operators::model::Task;

use crate::alter;
use crate::catalog::{Connectors, DRIFT, LATE, LOG, QUARANTINE, SourceEntry, unknown_relation};
use crate::context::{Context, Functions, RelationSource, Relations, parser_options};
use crate::error::{NameKind, QueryError, from_datafusion};
use crate::event_time::{self, emit_every, fill_event_time, windows_of};
use crate::functions::mark_calls;
use crate::now::is_now;
use crate::optimize::optimize;
use crate::plan::{CHANGELOG, KEY, OF_GATE};
use crate::predict::Predict;
use crate::program::{Actuator, Kind, Model, Program, Relation, Sink, View, arrow_schema, relation_times};
use crate::rewrite::replaced;
use crate::span::{Name, SourceFile, Span, Spanned, StatementText};
use crate::statement::{CreateOptimizer, CreateView, Drift, Emit, Options, SelectQuery, Statement};
use crate::window_function::external;

/// Binds `statements`.
pub(crate) fn bind(
    files: &[SourceFile],
    statements: Vec<Statement>,
    connectors: &dyn Connectors,
    mut errors: Vec<QueryError>,
) -> std::result::Result<Program, Vec<QueryError>> {
    let predict = Predict::default();
    let functions = Functions::new(&predict);
    let names = names(&statements, &mut errors);
    let mut binder = Binder {
        files,
        names,
        functions: &functions,
        predict: &predict,
        connectors,
        uses: uses(&statements),
        statements: &statements,
        sources: BTreeMap::new(),
        done: RefCell::default(),
        in_work: RefCell::default(),
        errors: RefCell::default(),
        models: RefCell::default(),
    };
    for statement in &statements {
        if let Statement::CreateSource(source) | Statement::CreateTable(source) = statement {
            let is_table = matches!(statement, Statement::CreateTable(_));
            let folder = files[source.span.file].folder();
            let entry = SourceEntry::new(source, is_table, &folder, connectors, &mut errors);
            binder.sources.insert(source.name.value.clone(), entry);
        }
    }
    let mut parts = Parts::default();
    for name in statements.iter().filter_map(|statement| match statement {
        Statement::CreateModel(model) => Some(model.name.value.clone()),
        _ => None,
    }) {
        binder.model(&name);
    }
    for statement in &statements {
        binder.statement(statement, &mut parts);
    }
    let Binder { sources, done, errors: more, models, .. } = binder;
    errors.extend(more.into_inner());
    let Parts { optimizers, actuators, sinks } = parts;
    // An INSERT INTO with mistakes is one, too.
    let is_commanded = |name: &Name| {
        let mut inserts = statements.iter().filter(|it| matches!(it, Statement::InsertInto(_)));
        inserts.any(|insert| insert.name().value == name.value)
    };
    for actuator in actuators.values().filter(|actuator| !is_commanded(&actuator.statement.name)) {
        let name = &actuator.statement.name;
        let message = format!("actuator {:?} is never commanded", name.value);
        let help = format!("add INSERT INTO {} SELECT ..., or leave the actuator out", name.value);
        errors.push(QueryError::invalid(message, name.span).with_help(help));
    }
    let mut views = BTreeMap::new();
    let mut relations = BTreeMap::new();
    for (name, bound) in done.into_inner() {
        let Some(bound) = bound else { continue };
        relations.insert(name.clone(), bound.relation);
        views.extend(bound.view.map(|view| (name, view)));
    }
    let models = models.into_inner().into_values().flatten().collect();
    let program = Program {
        files: files.to_vec(),
        alterations: alter::of(statements),
        sources,
        views,
        models,
        optimizers,
        actuators,
        sinks,
        relations,
        functions,
        predict,
    };
    errors.extend(alter::check(&program));
    let circles = actuators::circles(&program);
    let can_be_planned = circles.is_empty();
    errors.extend(circles);
    if errors.is_empty() {
        return Ok(program);
    }
    // A program with mistakes is not planned, but its views that are whole can be looked at.
    if can_be_planned {
        errors.extend(program.check_views(&[]));
    }
    Err(sorted(errors))
}

/// By place, each once.
fn sorted(mut errors: Vec<QueryError>) -> Vec<QueryError> {
    errors.sort_by_key(|error| error.span().map(|span| (span.file, span.start)));
    errors.dedup();
    errors
}

#[derive(Default)]
struct Parts {
    optimizers: BTreeMap<String, CreateOptimizer>,
    actuators: BTreeMap<String, Actuator>,
    sinks: Vec<Sink>,
}

/// The statement that declares each relation; the same name twice is an error.
fn names(statements: &[Statement], errors: &mut Vec<QueryError>) -> BTreeMap<String, Statement> {
    let mut names: BTreeMap<String, Statement> = BTreeMap::new();
    let mut sinks: BTreeMap<String, Span> = BTreeMap::new();
    for statement in statements {
        let name = statement.name().clone();
        let kind = match statement {
            Statement::InsertInto(_) | Statement::AlterModel(_) => continue,
            Statement::CreateModel(_) => NameKind::Model,
            Statement::CreateActuator(_) => NameKind::Actuator,
            Statement::CreateSink(_) => NameKind::Sink,
            _ => NameKind::Relation,
        };
        let first = match statement {
            // A sink may have the name of the view it writes.
            Statement::CreateSink(_) => sinks.insert(name.value.clone(), name.span),
            // The first one counts: what reads it has no further mistakes.
            _ => {
                let first = names.get(&name.value).map(|first| first.name().span);
                names.entry(name.value.clone()).or_insert_with(|| statement.clone());
                first
            }
        };
        if first.is_some() {
            errors.push(QueryError::DuplicateName { kind, name: name.value, span: name.span, first });
        }
    }
    names
}

/// How often each word stands in the queries of the program: a view that is read once is planned as a part of its
/// reader, so that columns and filters are pushed through it.
fn uses(statements: &[Statement]) -> BTreeMap<String, usize> {
    let mut uses = BTreeMap::new();
    let mut count = |query: &SelectQuery| {
        let words = query.text.split(|c: char| !c.is_alphanumeric() && c != '_');
        for word in words.filter(|word| !word.is_empty()) {
            *uses.entry(word.to_ascii_lowercase()).or_insert(0) += 1;
        }
    };
    for statement in statements {
        match statement {
            Statement::CreateView(view) => count(&view.query),
            Statement::CreateRules(rules) => count(&rules.input),
            Statement::CreateOptimizer(optimizer) => count(&optimizer.input),
            Statement::CreateSink(sink) => count(&sink.query),
            Statement::InsertInto(insert) => count(&insert.query),
            Statement::CreateModel(model) => {
                model.training.iter().for_each(&mut count);
                if let Some(Drift::Query(query)) = &model.drift {
                    count(query);
                }
            }
            Statement::CreateActuator(actuator) => actuator.interlock.iter().for_each(&mut count),
            _ => {}
        }
    }
    uses
}

/// A relation with its plan, if it is a view.
#[derive(Clone)]
struct Bound {
    relation: Relation,
    view: Option<View>,
    inline: Option<LogicalPlan>,
}

struct Binder<'a> {
    files: &'a [SourceFile],
    names: BTreeMap<String, Statement>,
    functions: &'a Functions,
    predict: &'a Predict,
    connectors: &'a dyn Connectors,
    uses: BTreeMap<String, usize>,
    statements: &'a [Statement],
    sources: BTreeMap<String, SourceEntry>,
    /// `None` for a relation that is broken; its errors are in `errors`.
    done: RefCell<BTreeMap<String, Option<Bound>>>,
    in_work: RefCell<Vec<String>>,
    errors: RefCell<Vec<QueryError>>,
    models: RefCell<BTreeMap<String, Option<Model>>>,
}

/// What says that an error is already reported elsewhere.
const REPORTED: &str = "\u{1}reported";

/// True for an error that does not depend on the columns of a sink.
fn is_unknown_option(error: &OptionError) -> bool {
    error.option.as_deref() == Some("connector") || error.message.contains(" has no ")
}

pub(crate) fn reported() -> DataFusionError {
    external(QueryError::invalid(REPORTED, None))
}

impl Relations for Binder<'_> {
    fn relation(&self, reference: &TableReference) -> Result<Arc<RelationSource>> {
        let name = match reference.schema() {
            Some(schema) => format!("{schema}.{}", reference.table()),
            None => reference.table().to_owned(),
        };
        let bound = self.bound(&name)?.ok_or_else(reported)?;
        let source = self.sources.get(&name);
        let plan = bound.view.map(|view| view.plan);
        let is_table = source.is_some_and(|source| source.is_table);
        let is_plan = |of: fn(&LogicalPlan) -> bool| is_table || plan.as_ref().is_some_and(of);
        Ok(Arc::new(RelationSource {
            schema: bound.relation.schema,
            inline: bound.inline,
            is_table: is_plan(event_time::is_table),
            is_reference: is_plan(event_time::is_reference),
            event_time: source.and_then(|source| Some(source.statement.watermark.as_ref()?.column)),
            primary_key: source.map(|source| source.statement.primary_key.clone()).unwrap_or_default(),
            plan,
            name,
        }))
    }
}

impl Binder<'_> {
    /// The relation `name`; `None` if it is broken.
    fn bound(&self, name: &str) -> Result<Option<Bound>> {
        if let Some(bound) = self.done.borrow().get(name) {
            return Ok(bound.clone());
        }
        if self.in_work.borrow().iter().any(|other| other == name) {
            let cycle = format!("{} -> {name}", self.in_work.borrow().join(" -> "));
            return Err(external(QueryError::invalid(format!("view {name:?} reads itself: {cycle}"), None)));
        }
        self.in_work.borrow_mut().push(name.to_owned());
        let bound = self.bind_relation(name);
        self.in_work.borrow_mut().pop();
        let bound = bound?;
        self.done.borrow_mut().insert(name.to_owned(), bound.clone());
        Ok(bound)
    }

    /// For each column of a relation that is bound how far it stays behind the watermark.
    fn times_of(&self, name: &str) -> Vec<Option<i64>> {
        let bound = self.done.borrow().get(name).cloned().flatten();
        let Some(Bound { relation, view, .. }) = bound else { return Vec::new() };
        relation_times(name, view.as_ref(), &relation, &self.sources, &|name| self.times_of(name))
    }

    fn bind_relation(&self, name: &str) -> Result<Option<Bound>> {
        let plain =
            |kind, schema| Ok(Some(Bound { relation: Relation { kind, schema }, view: None, inline: None }));
        if let Some((owner, part)) = name.rsplit_once('.') {
            let owner = owner.to_owned();
            match (part, self.names.get(&owner)) {
                (LATE, Some(Statement::CreateSource(source))) => {
                    return plain(Kind::Late(owner), source.schema());
                }
                (QUARANTINE, Some(Statement::CreateSource(_) | Statement::CreateTable(_))) => {
                    return plain(Kind::Quarantine(owner), lineshaft_engine::plan::quarantine_schema());
                }
                (LOG, Some(Statement::CreateActuator(actuator))) => {
                    return plain(Kind::Log(owner), crate::plan::log_schema(actuator));
                }
                (DRIFT, Some(Statement::CreateModel(model))) => {
                    let drift = model.drift.as_ref().ok_or_else(|| self.unknown(name))?;
                    return Ok(self.bind_drift(model, drift));
                }
                _ => return Err(self.unknown(name)),
            }
        }
        match self.names.get(name) {
            Some(Statement::CreateSource(_) | Statement::CreateTable(_)) => {
                plain(Kind::Source, self.sources[name].schema())
            }
            Some(Statement::CreateView(view)) => Ok(self.bind_view(view)),
            Some(Statement::CreateRules(rules)) => Ok(self.bind_rules(rules)),
            Some(Statement::CreateOptimizer(optimizer)) => Ok(self.bind_optimizer(optimizer)),
            Some(Statement::Broken(_)) => Ok(None),
            _ => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> DataFusionError {
        let readable = self.names.iter().filter(|(_, statement)| {
            !matches!(statement, Statement::CreateModel(_) | Statement::CreateActuator(_))
        });
        external(unknown_relation(name, readable.map(|(name, _)| name.as_str())))
    }

    fn bind_view(&self, view: &CreateView) -> Option<Bound> {
        let (raw, planned) = self.plan(&view.query)?;
        let (raw, planned) = match self.renamed(view, raw, planned) {
            Ok(renamed) => renamed,
            Err(error) => {
                self.report(error, view.query.span);
                return None;
            }
        };
        let planned = View { is_materialized: view.materialized, span: view.span, ..planned };
        let schema = Arc::new(planned.plan.schema().as_arrow().clone());
        let name = &view.name.value;
        let is_read_once = self.uses.get(name).copied().unwrap_or(0) <= 1 && !view.materialized;
        let inline = (is_read_once || windows_of(&raw).is_some()).then_some(raw);
        Some(Bound { relation: Relation { kind: Kind::View, schema }, view: Some(planned), inline })
    }

    /// `CREATE VIEW name (a, b) AS ...`.
    fn renamed(&self, view: &CreateView, raw: LogicalPlan, planned: View) -> Result<(LogicalPlan, View)> {
        if view.columns.is_empty() {
            return Ok((raw, planned));
        }
        let (wanted, found) = (view.columns.len(), raw.schema().fields().len());
        if wanted != found {
            let message =
                format!("view {:?} names {wanted} columns, but its query gives {found}", view.name.value);
            return Err(external(QueryError::invalid(message, view.name.span)));
        }
        let columns = raw.schema().columns();
        let renamed =
            columns.into_iter().zip(&view.columns).map(|(c, name)| Expr::Column(c).alias(&name.value));
        let raw = LogicalPlanBuilder::from(raw).project(renamed.collect::<Vec<_>>())?.build()?;
        let view = View { logical: raw.clone(), plan: optimize(raw.clone())?, ..planned };
        Ok((raw, view))
    }

    /// Plans a query; reports its errors and gives `None` if there are any. The first plan is as it was written.
    fn plan(&self, query: &SelectQuery) -> Option<(LogicalPlan, View)> {
        let planned = self.logical(&query.query).and_then(|raw| {
            let filled = fill_event_time(raw, &|name| self.times_of(name))?;
            let logical = emitted(filled, query.emit.as_ref(), &|name| self.times_of(name))?;
            check_deterministic(&logical)?;
            crate::frames::check(&logical)?;
            let plan = optimize(logical.clone())?;
            let view = View { logical: logical.clone(), plan, is_materialized: false, span: query.span };
            Ok((logical, view))
        });
        match planned {
            Ok(planned) => Some(planned),
            Err(error) => {
                self.report_query(query, error);
                None
            }
        }
    }

    fn logical(&self, query: &Query) -> Result<LogicalPlan> {
        let context = Context { functions: self.functions, relations: self };
        let planner = SqlToRel::new_with_options(&context, parser_options());
        let mut query = query.clone();
        crate::rewrite::rewrite(&mut query);
        mark_calls(&mut query);
        crate::as_of::nest(&mut query);
        crate::using::nest(&mut query);
        if let Some(query) = replaced::left_out(&query)
            && let Err(error) = planner.sql_statement_to_plan(SqlStatement::Query(Box::new(query)))
            && replaced::is_no_column(&error)
        {
            return Err(error);
        }
        in_known_forms(planner.sql_statement_to_plan(SqlStatement::Query(Box::new(query)))?)
    }

    fn report(&self, error: DataFusionError, span: Span) {
        let statement = StatementText::new(self.files, span);
        let errors = from_datafusion(error, &statement).into_iter();
        let fresh =
            errors.filter(|e| !matches!(e, QueryError::Invalid { message, .. } if message == REPORTED));
        self.errors.borrow_mut().extend(fresh);
    }

    fn bind_optimizer(&self, optimizer: &CreateOptimizer) -> Option<Bound> {
        let (_, view) = self.plan(&optimizer.input)?;
        let input = Arc::new(view.plan.schema().as_arrow().clone());
        match crate::plan::optimizer_columns(optimizer, &input, self.functions, self) {
            Ok(schema) => Some(Bound {
                relation: Relation { kind: Kind::Optimizer, schema },
                view: Some(view),
                inline: None,
            }),
            Err(error) => {
                self.report(error, optimizer.span);
                None
            }
        }
    }

    fn statement(&self, statement: &Statement, parts: &mut Parts) {
        match statement {
            Statement::CreateView(view) => self.touch(&view.name.value, view.span),
            Statement::CreateRules(rules) => self.touch(&rules.name.value, rules.span),
            Statement::CreateOptimizer(optimizer) => {
                self.touch(&optimizer.name.value, optimizer.span);
                parts.optimizers.insert(optimizer.name.value.clone(), optimizer.clone());
            }
            Statement::CreateSource(source) | Statement::CreateTable(source) => {
                self.touch(&source.name.value, source.span);
                if let Statement::CreateSource(_) = statement {
                    self.touch(&format!("{}.{LATE}", source.name.value), source.span);
                }
                self.touch(&format!("{}.{QUARANTINE}", source.name.value), source.span);
            }
            Statement::CreateSink(sink) => {
                if let Some((_, view)) = self.plan(&sink.query) {
                    let mut schema = arrow_schema(&view.plan);
                    if sink.options.get(CHANGELOG).is_some() {
                        schema = with_operation(&schema);
                    }
                    self.check_sink(&sink.name.value, schema, &sink.options, &[CHANGELOG, KEY], |_| true);
                    parts.sinks.push(Sink { statement: sink.clone(), view });
                } else {
                    self.check_options(statement);
                }
            }
            Statement::CreateActuator(actuator) => self.actuator(actuator, parts),
            Statement::InsertInto(insert) => self.insert(insert, parts),
            Statement::CreateModel(model) if model.drift.is_some() => {
                self.touch(&format!("{}.{DRIFT}", model.name.value), model.span);
            }
            Statement::Broken(broken) => {
                broken.statement.iter().for_each(|statement| self.check_options(statement));
            }
            Statement::CreateModel(_) | Statement::AlterModel(_) => {}
        }
    }

    /// Of a statement with other errors: options that there are not. Of those that mean a column nothing can be told.
    fn check_options(&self, statement: &Statement) {
        let check_sink = |name: &Name, options, but: &[&str]| {
            self.check_sink(&name.value, Arc::new(Schema::empty()), options, but, is_unknown_option);
        };
        match statement {
            Statement::CreateSink(sink) => check_sink(&sink.name, &sink.options, &[CHANGELOG, KEY]),
            Statement::CreateActuator(actuator) => check_sink(&actuator.name, &actuator.options, &OF_GATE),
            Statement::CreateSource(source) | Statement::CreateTable(source) => {
                let is_table = matches!(statement, Statement::CreateTable(_));
                let folder = self.files[source.span.file].folder();
                let mut errors = Vec::new();
                SourceEntry::new(source, is_table, &folder, self.connectors, &mut errors);
                errors.retain(
                    |error| matches!(error, QueryError::Option { error, .. } if is_unknown_option(error)),
                );
                self.errors.borrow_mut().append(&mut errors);
            }
            _ => {}
        }
    }

    /// Asks the connector of a sink; the options `but` are not its.
    fn check_sink(
        &self,
        name: &str,
        schema: SchemaRef,
        options: &Options,
        but: &[&str],
        is_told: fn(&OptionError) -> bool,
    ) {
        let mut given = options.to_map();
        given.retain(|option, _| !but.contains(&option.as_str()));
        let folder = std::path::PathBuf::new();
        let declaration = SinkDeclaration { name: name.to_owned(), schema, options: given, folder };
        let errors = self.connectors.check_sink(&declaration).into_iter().filter(is_told);
        self.errors.borrow_mut().extend(errors.map(|error| options.error(error)));
    }

    fn touch(&self, name: &str, span: Span) {
        if let Err(error) = self.bound(name) {
            self.report(error, span);
        }
    }
}

/// The plan as DataFusion has made it, in the forms that we and its optimiser know.
///
/// # Errors
/// If a part of it cannot be put together.
pub(crate) fn in_known_forms(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = crate::laterals::inlined(crate::distinct_on::replaced(plan)?)?;
    let plan = crate::total_order::with_one_zero(crate::sets::counted(plan)?)?;
    crate::sums::in_range(crate::subqueries::joined(plan)?)
}

/// The plan of a query with what its `EMIT` says.
fn emitted(
    plan: LogicalPlan,
    emit: Option<&Spanned<Emit>>,
    times_of: &dyn Fn(&str) -> Vec<Option<i64>>,
) -> Result<LogicalPlan> {
    let Some(Spanned { value: emit, span }) = emit else { return Ok(plan) };
    let (what, plan) = match emit {
        Emit::Every(every) => ("EMIT EVERY without a window", emit_every(plan, *every)?),
        Emit::OnWindowClose => {
            let closes = event_time::closes(&plan, times_of)?;
            ("EMIT ON WINDOW CLOSE without a window", closes.then_some(plan))
        }
    };
    plan.ok_or_else(|| {
        let error = QueryError::not_supported(what, *span);
        external(error.with_help("leave it out: what has no window is given with every change"))
    })
}

/// A function that gives another value at each call would give another result at each replay.
fn check_deterministic(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::ScalarFunction(call) = part
                    && !is_now(part)
                {
                    let volatility = call.func.signature().volatility;
                    if volatility != Volatility::Immutable {
                        let error =
                            QueryError::not_supported(format!("function {:?}", call.func.name()), None);
                        let help =
                            "a query must give the same rows at every replay; use the event time of the row";
                        return Err(external(error.with_help(help)));
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// What `predict` gives for a model.
fn output_type(task: Task, target: Option<DataType>) -> DataType {
    match (task, target) {
        (Task::Classification, Some(DataType::Boolean)) => DataType::Boolean,
        (Task::Classification, Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)) => {
            DataType::Utf8
        }
        (Task::Classification, Some(target)) if target.is_floating() => DataType::Float64,
        (Task::Classification, Some(_)) | (Task::Clustering, _) => DataType::Int64,
        (Task::Anomaly, _) => DataType::Boolean,
        _ => DataType::Float64,
    }
}
