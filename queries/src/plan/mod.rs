//! Logical plans -> [`Plan`]: what the engine runs.
//!
//! Lowering starts at the sinks and goes towards the sources; a view that several read is lowered once. One file a
//! family: `window`, `group`, `grouping_sets`, `per_window`, `over`, `resample`, `unnest`, `join`, `changelog`, `recursion`, `decision`.

mod changelog;
mod check;
mod compact;
mod constants;
mod decision;
mod failed;
mod group;
mod grouping_sets;
mod join;
mod join_as_of;
mod join_interval;
mod operators;
mod over;
mod per_window;
mod prune;
mod recursion;
mod resample;
mod revision;
mod stamp;
mod unnest;
mod wanted;
mod window;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::datatypes::SchemaRef;
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan};
use lineshaft_engine::declaration::{Options, SinkDeclaration, SourceDeclaration};
use lineshaft_engine::expression::Expression;
use lineshaft_engine::plan::{
    DeduplicateRule, Input, MakeOperator, Node, Origin, Overload, Plan, Route, SinkNode, SourceNode,
    WatermarkRule, Work,
};
use lineshaft_operators::failed::failures_schema;
use lineshaft_operators::map::{Map, MapOptions};
use lineshaft_operators::union::Union;

use self::prune::Readers;
use self::revision::Expected;
use self::wanted::Wanted;
use crate::as_of::AsOfJoin;
use crate::can_fail::can_fail;
use crate::context::RelationSource;
use crate::deep::deep;
use crate::error::{QueryError, from_datafusion};
use crate::event_time;
use crate::expression::expression;
use crate::now::has_now;
use crate::program::{Kind, Program, arrow_schema};
use crate::span::{Span, StatementText};
use crate::window_function::{AssignWindow, Resample, external};

pub(crate) use changelog::{CHANGELOG, KEY, ranked_rows};
pub(crate) use decision::{OF_GATE, log_schema, optimizer_columns, sent};
pub(crate) use over::delay;

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

/// What a quarantine and [`failed::FAILED`] may have on the disk: what goes wrong for ever must not fill it.
const QUARANTINE_SIZE: &str = "1 GB";

/// A program as the engine runs it, with what its connectors need to know.
#[derive(Debug)]
pub struct PlannedProgram {
    /// The graph.
    pub plan: Plan,
    /// The declaration of each source of the plan.
    pub sources: Vec<SourceDeclaration>,
    /// The declaration of each sink of the plan.
    pub sinks: Vec<SinkDeclaration>,
}

/// What is to be run, beside what the statements say.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// Relations whose rows are wanted in a sink of connector `memory`, named after the relation.
    pub subscriptions: Vec<String>,
    /// Keep what else is worth keeping (materialised views, late and bad rows, the log of commands) in the data
    /// directory.
    pub keep_history: bool,
    /// Commands go nowhere: backfill and replay.
    pub close_gates: bool,
    /// Sources whose connector gives text as dictionaries, which are cheaper to exchange and to group by.
    pub compact: Vec<String>,
    /// Actuators whose connector tells what has become of each command.
    pub told: Vec<String>,
    /// Only the subscriptions run; the sinks and actuators of the program do not.
    pub only_subscriptions: bool,
}

impl Program {
    /// Plans the program. Sinks write below `data`.
    ///
    /// # Errors
    /// What cannot be run as a stream, each with its place.
    pub fn plan(
        &self,
        data: &Path,
        outputs: &Outputs,
    ) -> std::result::Result<PlannedProgram, Vec<QueryError>> {
        deep(|| {
            let mut lowering = Lowering::new(self, data, outputs);
            let mut errors = Vec::new();
            lowering.all(&mut errors);
            if !errors.is_empty() {
                return Err(errors);
            }
            Ok(PlannedProgram { plan: lowering.plan, sources: lowering.declarations, sinks: lowering.sinks })
        })
    }

    /// True if no sink, actuator or kept view makes the program do anything.
    pub fn is_idle(&self) -> bool {
        let keeps = self.views.values().any(|view| view.is_materialized);
        self.sinks.is_empty() && self.actuators.is_empty() && !keeps
    }
}

/// In the data directory: where the changes of materialised views are kept.
pub const CHANGES: &str = "view-changes/";

/// The state of lowering one program.
struct Lowering<'a> {
    program: &'a Program,
    outputs: &'a Outputs,
    data: PathBuf,
    plan: Plan,
    declarations: Vec<SourceDeclaration>,
    sinks: Vec<SinkDeclaration>,
    /// Index in the plan by name.
    sources: BTreeMap<String, usize>,
    /// By name, and whether for a look-up.
    done: HashMap<(String, bool, Expected), Origin>,
    /// The same for what a view is made of: subqueries that become joins have parts in common.
    parts: HashMap<(LogicalPlan, String, bool, Expected), Origin>,
    /// The rows of tables are wanted as they come: a look-up keeps one row per primary key itself.
    reads_tables: bool,
    /// The name of what is being lowered, for the names of nodes.
    view: String,
    /// What is done with its rows.
    expected: Expected,
    /// Outputs with rows that could not be computed.
    failed: Vec<Origin>,
    /// By view: whether its first such row has been told.
    told: HashMap<String, Arc<AtomicBool>>,
}

impl<'a> Lowering<'a> {
    fn new(program: &'a Program, data: &Path, outputs: &'a Outputs) -> Self {
        Self {
            program,
            outputs,
            data: data.to_owned(),
            plan: Plan::default(),
            declarations: Vec::new(),
            sinks: Vec::new(),
            sources: BTreeMap::new(),
            done: HashMap::new(),
            parts: HashMap::new(),
            reads_tables: false,
            view: String::new(),
            expected: Expected::default(),
            failed: Vec::new(),
            told: HashMap::new(),
        }
    }

    fn all(&mut self, errors: &mut Vec<QueryError>) {
        let program = self.program;
        let (mut wanted, mut readers) = (Wanted::new(program), Readers::new(program));
        let runs = !self.outputs.only_subscriptions;
        for sink in program.sinks.iter().filter(|_| runs) {
            wanted.plan(&sink.view.plan);
            readers.plan(&sink.view.plan);
        }
        for insert in program.actuators.values().filter(|_| runs).flat_map(|actuator| &actuator.inserts) {
            wanted.plan(&insert.plan);
            readers.plan(&insert.plan);
        }
        let kept: Vec<&String> = match runs && self.outputs.keep_history {
            true => {
                program.views.iter().filter(|(_, view)| view.is_materialized).map(|(name, _)| name).collect()
            }
            false => Vec::new(),
        };
        // In a replay the versions that scored do so again, whatever has drifted.
        let trains = runs && !self.outputs.close_gates;
        let drifts: Vec<(String, String)> = match trains {
            true => program.models.iter().filter_map(|model| model.drift().zip(model.drift_sink())).collect(),
            false => Vec::new(),
        };
        let drifting = drifts.iter().map(|(relation, _)| relation);
        for name in kept.iter().copied().chain(&self.outputs.subscriptions).chain(drifting) {
            wanted.relation(name);
            readers.relation(name);
        }
        self.add_sources(&wanted, &readers);
        for sink in program.sinks.iter().filter(|_| runs) {
            let statement = &sink.statement;
            self.view.clone_from(&statement.name.value);
            let options = statement.options.to_map();
            let expected = self.expected_by(&options);
            let lowered = self.expecting(expected, |lowering| lowering.lower(&sink.view.plan));
            if let Some(from) = self.checked(lowered, sink.view.span, errors) {
                let added = self.add_sink(&statement.name.value, from, options);
                self.checked(added, statement.span, errors);
            }
        }
        if runs {
            for (name, actuator) in &program.actuators {
                let lowered = self.actuator(name, actuator);
                self.checked(lowered, actuator.statement.span, errors);
            }
        }
        for name in kept {
            self.keep(name, &format!("views/{name}"), None, errors);
        }
        let subscribed = self.outputs.subscriptions.iter().map(|name| (name, name));
        for (name, sink) in subscribed.chain(drifts.iter().map(|(relation, sink)| (relation, sink))) {
            let span = program.views.get(name).map(|view| view.span);
            let span = span.unwrap_or(Span { file: 0, start: 0, end: 0 });
            let options = Options::from([("connector".into(), "memory".into())]);
            let lowered = self.relation(name).and_then(|from| self.add_sink(sink, from, options));
            self.checked(lowered, span, errors);
        }
        if runs && self.outputs.keep_history {
            self.keep_what_went_aside(errors);
            let kept = self.keep_failed();
            self.checked(kept, Span { file: 0, start: 0, end: 0 }, errors);
        }
    }

    /// Late and bad rows and the log of commands are kept in the data directory.
    fn keep_what_went_aside(&mut self, errors: &mut Vec<QueryError>) {
        let program = self.program;
        for (name, relation) in &program.relations {
            let limit = match &relation.kind {
                Kind::Late(source) if self.sources.contains_key(source) => None,
                Kind::Quarantine(source) if self.sources.contains_key(source) => {
                    let options = &program.sources[source].statement.options;
                    Some(options.text("quarantine_size").unwrap_or(QUARANTINE_SIZE))
                }
                Kind::Log(_) => None,
                _ => continue,
            };
            self.keep(name, &format!("aside/{name}"), limit, errors);
        }
    }

    /// Keeps the rows of a relation in `path`; of more bytes than `limit` the newest.
    fn keep(&mut self, name: &str, path: &str, limit: Option<&str>, errors: &mut Vec<QueryError>) {
        let span = self.program.views.get(name).map_or(Span { file: 0, start: 0, end: 0 }, |view| view.span);
        let lowered = self.relation(name).and_then(|from| {
            // A changelog is kept with all its changes, which a reader adds up.
            let is_changelog = self.plan.is_changelog(from);
            let path = if is_changelog { path.replace("views/", CHANGES) } else { path.to_owned() };
            let mut options = vec![("connector", "parquet"), ("path", path.as_str())];
            if is_changelog {
                options.push((CHANGELOG, "rows"));
            }
            options.extend(limit.map(|limit| ("retain_size", limit)));
            let options = options.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            self.add_sink(name, from, options.collect())
        });
        self.checked(lowered, span, errors);
    }

    fn checked<T>(&self, result: Result<T>, span: Span, errors: &mut Vec<QueryError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let statement = StatementText::new(&self.program.files, span);
                for error in from_datafusion(error, &statement) {
                    if !errors.contains(&error) {
                        errors.push(error);
                    }
                }
                None
            }
        }
    }

    /// Adds the sources that are read, tables first, each with the columns that are needed.
    fn add_sources(&mut self, wanted: &Wanted<'_>, readers: &Readers<'_>) {
        // What is replayed is read once, whatever its connector is.
        let is_live = !self.outputs.close_gates
            && wanted.columns.keys().any(|name| !self.program.sources[name].is_bounded);
        for (name, columns) in &wanted.columns {
            let source = &self.program.sources[name];
            let mut declaration = source.declaration.clone();
            let watermark = source.statement.watermark.as_ref();
            let mut needed: BTreeSet<usize> = columns.clone();
            let deduplicate = source.statement.deduplicate.as_ref();
            needed.extend(watermark.iter().flat_map(|w| w.per.iter().copied().chain([w.column])));
            needed.extend(deduplicate.iter().flat_map(|deduplicate| &deduplicate.columns));
            if source.is_table {
                needed.extend(source.statement.primary_key.iter());
            }
            if let Overload::Latest { keys } = &source.overload {
                needed.extend(keys);
            }
            if needed.is_empty() {
                needed.insert(0);
            }
            declaration.needed = needed.into_iter().collect();
            let reads_again = is_live && source.can_read_again;
            let mut keeps_versions = false;
            if let Some(table) = &mut declaration.table {
                table.reads_again = reads_again;
                table.keeps_versions |= wanted.versions.contains(name);
                keeps_versions = table.keeps_versions;
            }
            declaration.wanted = readers.wanted(name);
            if self.outputs.compact.contains(name) {
                declaration.schema = compact::with_dictionaries(&declaration.schema, &declaration.metadata);
            }
            let place =
                |column: usize| declaration.needed.iter().position(|needed| *needed == column).unwrap_or(0);
            let schema = declaration
                .schema
                .project(&declaration.needed)
                .map_or_else(|_| Arc::clone(&declaration.schema), Arc::new);
            // A table that ends is loaded before anything else: its rows are in no order that could be late.
            let watermark = watermark.filter(|_| !(source.is_table && source.is_bounded));
            let watermark = watermark.map(|watermark| WatermarkRule {
                column: place(watermark.column),
                disorder: watermark.disorder_us,
                allowed_lateness: source.allowed_lateness,
                per_key: watermark.per.iter().map(|column| place(*column)).collect(),
                idle_after: source.idle_after,
                max_future: source.max_future,
            });
            let deduplicate = deduplicate.zip(watermark.as_ref()).map(|(rule, watermark)| DeduplicateRule {
                keys: rule.columns.iter().map(|column| place(*column)).collect(),
                time: watermark.column,
                within: rule.within_us,
            });
            self.sources.insert(name.clone(), self.plan.sources.len());
            let (name, is_table) = (name.clone(), source.is_table);
            let is_changelog = reads_again && !keeps_versions;
            let overload = match &source.overload {
                Overload::Latest { keys } => {
                    Overload::Latest { keys: keys.iter().map(|column| place(*column)).collect() }
                }
                other => other.clone(),
            };
            let node = SourceNode { name, schema, watermark, deduplicate, is_table, is_changelog, overload };
            self.plan.sources.push(node);
            self.declarations.push(declaration);
        }
    }

    fn add_sink(&mut self, name: &str, from: Origin, mut options: Options) -> Result<()> {
        let from = self.sink_rows(from, &mut options)?;
        let schema = self.plan.schema(from);
        let declaration = SinkDeclaration {
            name: name.to_owned(),
            schema: Arc::clone(&schema),
            options,
            folder: self.data.clone(),
        };
        self.plan.sinks.push(SinkNode { name: name.to_owned(), from, schema });
        self.sinks.push(declaration);
        Ok(())
    }

    /// The rows of a relation, all columns that the program needs of it.
    fn relation(&mut self, name: &str) -> Result<Origin> {
        let origin = self.compact_relation(name)?;
        let declared = Arc::clone(&self.program.relations[name].schema);
        self.plain_columns(origin, &declared)
    }

    /// The same; text may come as dictionaries.
    fn compact_relation(&mut self, name: &str) -> Result<Origin> {
        let place = (name.to_owned(), self.reads_tables, self.expected);
        if let Some(origin) = self.done.get(&place) {
            return Ok(*origin);
        }
        let program = self.program;
        let relation = program.relations.get(name).ok_or_else(|| {
            external(crate::catalog::unknown_relation(name, program.relations.keys().map(String::as_str)))
        })?;
        let source = |name: &String| {
            self.sources.get(name).copied().ok_or_else(|| internal("a source is not in the plan"))
        };
        let origin = match &relation.kind {
            Kind::Source => {
                let from = Origin::Source(source(&name.to_owned())?);
                if program.sources[name].is_table && !self.reads_tables {
                    self.table(name, from)
                } else {
                    from
                }
            }
            Kind::Late(owner) => Origin::Late(source(owner)?),
            Kind::Quarantine(owner) => Origin::Quarantine(source(owner)?),
            Kind::View => {
                let outer = std::mem::replace(&mut self.view, name.to_owned());
                let origin = self.lower(&program.views[name].plan);
                self.view = outer;
                origin?
            }
            Kind::Optimizer => self.optimizer(name)?,
            Kind::Log(actuator) => {
                let (name, actuator) = (actuator.clone(), &program.actuators[actuator]);
                return self.actuator(&name, actuator);
            }
        };
        self.done.insert(place, origin);
        Ok(origin)
    }

    /// The rows of a plan; their columns are those of the plan, in its order.
    fn lower(&mut self, plan: &LogicalPlan) -> Result<Origin> {
        let origin = self.lower_compact(plan)?;
        Ok(self.plain(origin, &arrow_schema(plan)))
    }

    /// The same; text may come as dictionaries.
    fn lower_compact(&mut self, plan: &LogicalPlan) -> Result<Origin> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => return self.lower_compact(&alias.input),
            LogicalPlan::TableScan(scan) => return self.scan(scan),
            _ => {}
        }
        let part = (plan.clone(), self.view.clone(), self.reads_tables, self.expected);
        if let Some(origin) = self.parts.get(&part) {
            return Ok(*origin);
        }
        let origin = self.lower_part(plan)?;
        self.parts.insert(part, origin);
        Ok(origin)
    }

    fn lower_part(&mut self, plan: &LogicalPlan) -> Result<Origin> {
        match plan {
            LogicalPlan::Projection(projection) => {
                let (mut input, mut predicate) = (projection.input.as_ref(), None);
                let mut from = None;
                if let LogicalPlan::Filter(filter) = input {
                    from = self.ranked(filter)?;
                    if from.is_none() {
                        (input, predicate) = (filter.input.as_ref(), Some(&filter.predicate));
                    }
                }
                let from = from.map_or_else(|| self.lower_compact(input), Ok)?;
                self.map(from, input.schema(), predicate, Some(&projection.expr), arrow_schema(plan))
            }
            LogicalPlan::Filter(filter) => {
                if let Some(ranked) = self.ranked(filter)? {
                    return Ok(ranked);
                }
                let from = self.lower_compact(&filter.input)?;
                self.map(from, filter.input.schema(), Some(&filter.predicate), None, arrow_schema(plan))
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Window(window) => match self.per_window(window)? {
                Some(origin) => Ok(origin),
                None => self.over(window),
            },
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Values(values) => self.values(plan, values),
            LogicalPlan::EmptyRelation(empty) => self.empty(plan, empty),
            LogicalPlan::RecursiveQuery(recursive) => self.recursive(recursive),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Union(union) => {
                let schema = arrow_schema(plan);
                let inputs = union
                    .inputs
                    .iter()
                    .map(|input| self.union_input(input, &schema))
                    .collect::<Result<Vec<_>>>()?;
                Ok(self.union(inputs, schema))
            }
            LogicalPlan::Extension(_) => match (AssignWindow::of(plan), AsOfJoin::of(plan)) {
                (Some(assign), _) => self.assign(assign),
                (_, Some(join)) => self.as_of_join(join),
                _ => match Resample::of(plan) {
                    Some(resample) => self.resample(resample),
                    None => Err(unsupported(plan)),
                },
            },
            other => Err(unsupported(other)),
        }
    }

    /// All rows of all inputs, which have the columns of `schema`.
    fn union(&mut self, inputs: Vec<Input>, schema: SchemaRef) -> Origin {
        let outputs = vec![Arc::clone(&schema)];
        let is_changelog = inputs.iter().any(|input| self.plan.is_changelog(input.from));
        let origin = self
            .node("union", inputs, outputs, false, move |_| Ok(Box::new(Union::new(Arc::clone(&schema)))));
        if is_changelog {
            self.mark_changelog(origin);
        }
        origin
    }

    fn union_input(&mut self, input: &LogicalPlan, schema: &SchemaRef) -> Result<Input> {
        let from = self.lower(input)?;
        let casts = input.schema().columns().into_iter().zip(schema.fields()).map(|(column, field)| {
            let same = input.schema().data_type(&column).is_ok_and(|found| found == field.data_type());
            let column = Expr::Column(column);
            if same { column } else { datafusion::logical_expr::cast(column, field.data_type().clone()) }
        });
        let casts: Vec<Expr> = casts.collect();
        let from = self.map(from, input.schema(), None, Some(&casts), Arc::clone(schema))?;
        Ok(Input { from, route: Route::Local })
    }

    /// The columns that are read of a source, as they are declared.
    fn declared_schema(&self, index: usize) -> SchemaRef {
        let declaration = &self.declarations[index];
        let all = &self.program.sources[&declaration.name].declaration.schema;
        all.project(&declaration.needed).map_or_else(|_| Arc::clone(all), Arc::new)
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Origin> {
        let source = scan
            .source
            .downcast_ref::<RelationSource>()
            .ok_or_else(|| internal("a scan of something else"))?;
        let from = self.compact_relation(&source.name)?;
        let Some(columns) = &scan.projection else { return Ok(from) };
        // A source gives only the columns that somebody needs.
        let is_source = self.program.relations[&source.name].kind == Kind::Source;
        let given = match self.sources.get(&source.name) {
            Some(index) if is_source => self.declarations[*index].needed.clone(),
            _ => (0..source.schema.fields().len()).collect(),
        };
        let place = |column: &usize| given.iter().position(|given| given == column);
        let keep: Option<Vec<usize>> = columns.iter().map(place).collect();
        let keep = keep.ok_or_else(|| internal("a column is not read"))?;
        if keep.len() == self.plan.schema(from).fields().len()
            && keep.iter().enumerate().all(|(a, b)| a == *b)
        {
            return Ok(from);
        }
        let schema = compact::kept(&self.plan.schema(from), &keep, &source.schema.project(columns)?);
        Ok(self.columns(from, keep, schema))
    }

    /// Keeps some columns, in that order.
    fn columns(&mut self, from: Origin, keep: Vec<usize>, schema: SchemaRef) -> Origin {
        let options = MapOptions { predicate: None, keep: Some(keep), columns: None, schema, failures: None };
        self.map_node("columns", from, options)
    }

    /// Filter and projection; `input` names the columns of `from`.
    fn map(
        &mut self,
        from: Origin,
        input: &DFSchema,
        predicate: Option<&Expr>,
        columns: Option<&[Expr]>,
        schema: SchemaRef,
    ) -> Result<Origin> {
        if predicate.into_iter().chain(columns.unwrap_or_default()).any(has_now) {
            return self.stamped_map(from, input, predicate, columns, schema);
        }
        let keep = columns.and_then(|columns| plain_columns(columns, input));
        let from = self.ready(from, input, predicate, columns);
        let schema = match (&keep, columns) {
            (Some(keep), _) => compact::kept(&self.plan.schema(from), keep, &schema),
            (None, Some(columns)) => compact::mapped(&self.plan.schema(from), columns, input, &schema),
            (None, None) => self.plan.schema(from),
        };
        if predicate.is_none()
            && keep.as_ref().is_some_and(|keep| is_identity(keep, input))
            && *self.plan.schema(from) == *schema
        {
            return Ok(from);
        }
        let compute = |columns: &[Expr]| columns.iter().map(|column| expression(column, input)).collect();
        let may_fail = |expr: &Expr| can_fail(expr, input);
        let may_fail = predicate.is_some_and(may_fail)
            || keep.is_none() && columns.is_some_and(|columns| columns.iter().any(may_fail));
        let computed: Option<Result<Vec<Arc<dyn Expression>>>> =
            if keep.is_some() { None } else { columns.map(compute) };
        let options = MapOptions {
            predicate: predicate.map(|predicate| expression(predicate, input)).transpose()?,
            keep,
            columns: computed.transpose()?,
            schema,
            failures: may_fail.then(|| self.failures()),
        };
        let name = match (predicate.is_some(), columns.is_some()) {
            (true, true) => "filter and project",
            (true, false) => "filter",
            _ => "project",
        };
        Ok(self.map_node(name, from, options))
    }

    fn map_node(&mut self, name: &str, from: Origin, options: MapOptions) -> Origin {
        let mut outputs = vec![Arc::clone(&options.schema)];
        if options.failures.is_some() {
            outputs.push(failures_schema());
            self.failed.push(Origin::Node(self.plan.nodes.len(), 1));
        }
        let input = Input { from, route: Route::Local };
        self.node(name, vec![input], outputs, true, move |_| Ok(Box::new(Map::new(options.clone()))))
    }

    /// Adds a node; its first port is what is read.
    fn node<F>(
        &mut self,
        name: &str,
        inputs: Vec<Input>,
        outputs: Vec<SchemaRef>,
        is_stateless: bool,
        make: F,
    ) -> Origin
    where
        F: Fn(
                lineshaft_engine::sink::Worker,
            ) -> lineshaft_engine::Result<Box<dyn lineshaft_engine::operator::Operator>>
            + Send
            + Sync
            + 'static,
    {
        let make: MakeOperator = Arc::new(make);
        let name = format!("{}: {name}", self.view);
        // What passes rows on one by one keeps their weights.
        let is_changelog = is_stateless && inputs.iter().any(|input| self.plan.is_changelog(input.from));
        let work = Work::Operator(make);
        let (takes_any_order, keeps_order) = (false, false);
        let node =
            Node { name, inputs, outputs, is_stateless, is_changelog, takes_any_order, keeps_order, work };
        self.plan.nodes.push(node);
        Origin::Node(self.plan.nodes.len() - 1, 0)
    }

    /// For each column of a plan how far it stays behind the watermark.
    fn times(&self, plan: &LogicalPlan) -> Vec<Option<i64>> {
        event_time::times(plan, &|name| self.program.times_of(name))
    }
}

/// The places of columns in `input`, if all expressions are plain columns.
fn plain_columns(columns: &[Expr], input: &DFSchema) -> Option<Vec<usize>> {
    let place = |column: &Expr| match column.clone().unalias() {
        Expr::Column(column) => input.index_of_column(&column).ok(),
        _ => None,
    };
    columns.iter().map(place).collect()
}

fn is_identity(keep: &[usize], input: &DFSchema) -> bool {
    keep.len() == input.fields().len() && keep.iter().enumerate().all(|(place, column)| place == *column)
}

/// What cannot be run as a stream yet, in the words of SQL.
fn unsupported(plan: &LogicalPlan) -> DataFusionError {
    let (what, help) = match plan {
        LogicalPlan::Subquery(_) => (
            "LATERAL with LIMIT, or with a comparison that is no equality",
            "use a scalar subquery, ROW_NUMBER() OVER (...) with a condition on it, or ASOF JOIN for the nearest in time",
        ),
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
            ("a program without a source", "declare a source or table, and read it in a view")
        }
        other => {
            let name = other.display().to_string();
            let error = QueryError::not_supported(name, None);
            return external(error);
        }
    };
    external(QueryError::not_supported(what, None).with_help(help))
}

fn internal(message: &str) -> DataFusionError {
    DataFusionError::Internal(message.to_owned())
}
