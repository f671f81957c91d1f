//! DataFusion's own batch execution: of ad-hoc queries over the history, of training queries, and of any view over
//! whole tables, where it is what a streamed result must equal.

mod ad_hoc;
mod as_of;
mod resample;
mod sliding;

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef, TimestampMicrosecondType};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::TableReference;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{MemTable, TableProvider, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::functions_nested::range::range_udf as range;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableScan, ident, lit, when};
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionConfig, SessionContext};
use lineshaft_operators::changelog::operations::OPERATION;
use lineshaft_operators::window::FixedWindows;

pub(crate) use sliding::with_frames;

use crate::as_of::AsOfJoin;
use crate::context::{RelationSource, WorkTable};
use crate::durations::PartsOfDurations;
use crate::functions::ArrayForms;
use crate::integers::CheckedIntegers;
use crate::program::{Kind, Program, arrow_schema};
use crate::window_function::{AssignWindow, Resample, WindowKind};

/// Rows by the name of their source.
pub type Tables = BTreeMap<String, Vec<RecordBatch>>;

/// Every row lies in all of these places of its window, brute force: `(row, start, end)`.
type Places = Vec<(u32, i64, i64)>;

impl Program {
    /// The rows of a view over whole sources.
    ///
    /// # Errors
    /// If DataFusion cannot run it.
    pub async fn batch(&self, view: &str, tables: &Tables) -> Result<Vec<RecordBatch>> {
        let view =
            self.views.get(view).ok_or_else(|| DataFusionError::Plan(format!("view {view:?} not found")))?;
        self.run_batch(view.logical.clone(), tables).await
    }

    /// The rows of the training query of a model, in one batch.
    ///
    /// # Errors
    /// If DataFusion cannot run it.
    pub async fn training_rows(&self, model: &crate::program::Model, tables: &Tables) -> Result<RecordBatch> {
        let schema = arrow_schema(&model.plan);
        let batches = self.run_batch(model.plan.clone(), tables).await?;
        // Batch execution says what can be NULL in its own way.
        let schema = batches.first().map_or(schema, RecordBatch::schema);
        Ok(concat_batches(&schema, &batches)?)
    }

    async fn run_batch(&self, plan: LogicalPlan, tables: &Tables) -> Result<Vec<RecordBatch>> {
        let context = context()?;
        let plan = self.with_tables(crate::optimize::without_subqueries(plan)?, tables)?;
        let plan = sliding::with_sliding(with_ours(&context, plan).await?)?;
        context.execute_logical_plan(plan).await?.collect().await
    }

    /// The same plan over tables in memory; views are put in place of their names.
    fn with_tables(&self, plan: LogicalPlan, tables: &Tables) -> Result<LogicalPlan> {
        let replaced = plan.transform_up_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
            if let Some(found) = scan.source.downcast_ref::<WorkTable>() {
                let table = Arc::new(CteWorkTable::new(&found.name, scan.source.schema()));
                let scan = TableScan { source: provider_as_source(table), ..scan.clone() };
                return Ok(Transformed::yes(LogicalPlan::TableScan(scan)));
            }
            let Some(source) = scan.source.downcast_ref::<RelationSource>() else {
                return Ok(Transformed::no(node));
            };
            let rows = match self.relations.get(&source.name).map(|relation| &relation.kind) {
                Some(Kind::View) => {
                    let view = self.views[&source.name].logical.clone();
                    self.with_tables(crate::optimize::without_subqueries(view)?, tables)?
                }
                _ => {
                    let rows = tables.get(&source.name).cloned().unwrap_or_default();
                    scan_of(&source.name, Arc::clone(&source.schema), rows)?
                }
            };
            let rows = LogicalPlanBuilder::from(rows).alias(scan.table_name.clone())?;
            let rows = match &scan.projection {
                Some(columns) => {
                    let all = rows.schema().columns();
                    rows.project(
                        columns.iter().map(|c| datafusion::logical_expr::Expr::Column(all[*c].clone())),
                    )?
                }
                None => rows,
            };
            Ok(Transformed::yes(rows.build()?))
        })?;
        Ok(replaced.data)
    }
}

/// One partition: the order of rows is that of the input, which float sums depend on.
///
/// # Errors
/// If DataFusion does not take our rules.
fn context() -> Result<SessionContext> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    context.state_ref().write().register_function_rewrite(Arc::new(CheckedIntegers))?;
    Ok(context)
}

fn scan_of(name: &str, schema: SchemaRef, rows: Vec<RecordBatch>) -> Result<LogicalPlan> {
    let rows = rows.iter().map(|batch| batch.clone().with_schema(Arc::clone(&schema)));
    let rows = rows.collect::<std::result::Result<Vec<_>, _>>()?;
    let table = MemTable::try_new(schema, vec![rows])?;
    LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(table)), None)?.build()
}

/// Puts the rows of what DataFusion cannot run, windows and as-of joins, in its place.
async fn with_ours(context: &SessionContext, plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut inputs = Vec::new();
    for input in plan.inputs() {
        inputs.push(Box::pin(with_ours(context, input.clone())).await?);
    }
    if inputs.is_empty() {
        return Ok(plan);
    }
    let (assign, resample, as_of) = (AssignWindow::of(&plan), Resample::of(&plan), AsOfJoin::of(&plan));
    if assign.is_none() && resample.is_none() && as_of.is_none() {
        let expressions = plan.expressions();
        return plan.with_new_exprs(expressions, inputs);
    }
    let mut tables = Vec::new();
    for input in &inputs {
        let rows = context.execute_logical_plan(input.clone()).await?.collect().await?;
        let schema = rows.first().map_or_else(|| arrow_schema(input), RecordBatch::schema);
        tables.push(concat_batches(&schema, &rows)?);
    }
    let schema = arrow_schema(&plan);
    let rows = match (assign, resample, as_of, tables.as_slice()) {
        (Some(assign), _, _, [rows]) => assigned(assign, &assign.input, rows, &schema)?,
        (_, Some(resample), _, [rows]) => resample::resampled(resample, rows, &schema)?,
        (_, _, Some(join), [left, right]) => as_of::join(join, left, right, &schema)?,
        _ => return Err(DataFusionError::Internal("a relation of ours without input".into())),
    };
    // Of both sides of a join there may be columns of one name.
    let fields = schema.fields().iter().enumerate();
    let fields = fields.map(|(place, field)| field.as_ref().clone().with_name(format!("c{place}")));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let rows = RecordBatch::try_new(Arc::clone(&schema), rows.columns().to_vec())?;
    let scan = scan_of("ours", schema, vec![rows])?;
    let columns = scan.schema().columns().into_iter().zip(plan.schema().columns());
    let columns = columns.map(|(column, name)| {
        datafusion::logical_expr::Expr::Column(column).alias_qualified(name.relation, name.name)
    });
    LogicalPlanBuilder::from(scan).project(columns.collect::<Vec<_>>())?.build()
}

/// Each row once for each of its windows.
fn assigned(
    assign: &AssignWindow,
    input: &LogicalPlan,
    rows: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let time = rows.column(input.schema().index_of_column(&assign.time)?);
    let times = time.as_primitive::<TimestampMicrosecondType>();
    let places = match assign.kind {
        WindowKind::Fixed(windows) if windows.grows => cumulate(times, windows),
        WindowKind::Fixed(windows) => hop(times, windows),
        kind => {
            let keys = assign
                .keys
                .iter()
                .map(|key| Ok(Arc::clone(rows.column(input.schema().index_of_column(key)?))));
            let state = match &assign.state {
                Some(state) => Some(rows.column(input.schema().index_of_column(state)?)),
                None => None,
            };
            by_key(times, &keys.collect::<Result<Vec<_>>>()?, state, kind)?
        }
    };
    let taken = take_record_batch(rows, &places.iter().map(|place| place.0).collect::<UInt32Array>())?;
    let mut columns = taken.columns().to_vec();
    for bound in
        [places.iter().map(|place| place.1).collect::<Vec<_>>(), places.iter().map(|p| p.2).collect()]
    {
        columns.push(Arc::new(TimestampMicrosecondArray::from(bound)));
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn hop(times: &TimestampMicrosecondArray, windows: FixedWindows) -> Places {
    let FixedWindows { slide, size, offset, .. } = windows;
    let mut places = Vec::new();
    for (row, time) in (0..).zip(times) {
        let Some(time) = time else { continue };
        let mut start = (time - offset).div_euclid(slide) * slide + offset;
        while start + size > time {
            places.push((row, start, start + size));
            start -= slide;
        }
    }
    places
}

fn cumulate(times: &TimestampMicrosecondArray, windows: FixedWindows) -> Places {
    let FixedWindows { slide: step, size, offset, .. } = windows;
    let mut places = Vec::new();
    for (row, time) in (0..).zip(times) {
        let Some(time) = time else { continue };
        let start = (time - offset).div_euclid(size) * size + offset;
        let ends = (1..=size / step).map(|steps| start + steps * step);
        places.extend(ends.filter(|end| *end > time).map(|end| (row, start, end)));
    }
    places
}

fn by_key(
    times: &TimestampMicrosecondArray,
    keys: &[ArrayRef],
    state: Option<&ArrayRef>,
    kind: WindowKind,
) -> Result<Places> {
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let mut groups: HashMap<Option<OwnedRow>, Vec<(i64, u32)>> = HashMap::new();
    let encoded = if keys.is_empty() { None } else { Some(converter.convert_columns(keys)?) };
    for row in 0..times.len() {
        if times.is_valid(row) {
            let key = encoded.as_ref().map(|encoded| encoded.row(row).owned());
            let number =
                u32::try_from(row).map_err(|_| DataFusionError::Execution("too many rows".into()))?;
            groups.entry(key).or_default().push((times.value(row), number));
        }
    }
    let mut places = Vec::new();
    for mut rows in groups.into_values() {
        rows.sort_by_key(|(time, _)| *time);
        match kind {
            WindowKind::Session { gap } => sessions(&rows, gap, &mut places),
            WindowKind::Count { slide, size } => counts(&rows, slide, size, &mut places),
            WindowKind::State => states(&rows, state, &mut places)?,
            WindowKind::Fixed(_) => {}
        }
    }
    places.sort_unstable();
    Ok(places)
}

fn sessions(rows: &[(i64, u32)], gap: i64, places: &mut Places) {
    for session in rows.chunk_by(|a, b| b.0 - a.0 <= gap) {
        let (start, end) = (session[0].0, session[session.len() - 1].0 + gap);
        places.extend(session.iter().map(|(_, row)| (*row, start, end)));
    }
}

fn states(rows: &[(i64, u32)], state: Option<&ArrayRef>, places: &mut Places) -> Result<()> {
    let Some(state) = state else { return Ok(()) };
    let converter = RowConverter::new(vec![SortField::new(state.data_type().clone())])?;
    let encoded = converter.convert_columns(std::slice::from_ref(state))?;
    let known: Vec<(i64, u32)> =
        rows.iter().copied().filter(|(_, row)| state.is_valid(*row as usize)).collect();
    for run in known.chunk_by(|a, b| encoded.row(a.1 as usize) == encoded.row(b.1 as usize)) {
        let (start, end) = (run[0].0, run[run.len() - 1].0);
        places.extend(run.iter().map(|(_, row)| (*row, start, end)));
    }
    Ok(())
}

fn counts(rows: &[(i64, u32)], slide: usize, size: usize, places: &mut Places) {
    let mut first = 0;
    while first + size <= rows.len() {
        let window = &rows[first..first + size];
        places.extend(window.iter().map(|(_, row)| (*row, window[0].0, window[size - 1].0)));
        first += slide;
    }
}

/// What a query may put aside on the disk, in multiples of its memory: the disk is that of the live program, too.
const SPILLED: u64 = 4;

/// Tables that an ad-hoc query may read, by name.
pub type History = BTreeMap<String, Recorded>;

/// The Parquet files of a table.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// In the order in which they were written.
    pub files: Vec<PathBuf>,
    /// They have the changes of a view, which are added up.
    pub is_changelog: bool,
}

/// Runs a query over the history; `extra` are tables in memory. Its rows are given to `take` batch by batch, which says how many
/// bytes it keeps of each, and these count as memory of the query; or `None` if it wants no more.
///
/// # Errors
/// If it is wrong, a file cannot be read, or it needs more memory than `memory` bytes for what it sorts, groups and joins
/// after it has put aside on the disk what it can ([`DataFusionError::ResourcesExhausted`]). It runs on `partitions` threads.
pub async fn query(
    sql: &str,
    history: &History,
    extra: Vec<(String, RecordBatch)>,
    memory: usize,
    partitions: usize,
    mut take: impl FnMut(&RecordBatch) -> Option<usize>,
) -> Result<SchemaRef> {
    let config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_information_schema(true)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    let pool: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(memory));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::clone(&pool))
        .with_max_temp_directory_size(SPILLED * memory as u64)
        .build_arc()?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    for function in crate::functions::aggregates() {
        context.register_udaf(function.as_ref().clone());
    }
    for function in crate::functions::scalars() {
        context.register_udf(function.as_ref().clone());
    }
    for function in crate::functions::windows() {
        context.register_udwf(function.as_ref().clone());
    }
    context.register_udf(crate::rewrite::casts::marked());
    context.state_ref().write().register_expr_planner(Arc::new(ArrayForms))?;
    context.state_ref().write().register_function_rewrite(Arc::new(PartsOfDurations))?;
    context.state_ref().write().register_function_rewrite(Arc::new(CheckedIntegers))?;
    for (name, recorded) in history {
        add_schema(&context, name)?;
        let files = recorded.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
        let mut table = context.read_parquet(files, ParquetReadOptions::default()).await?;
        if recorded.is_changelog {
            table = added_up(table)?;
        }
        register(&context, name, table.into_view())?;
    }
    for (name, rows) in extra {
        add_schema(&context, &name)?;
        let table = Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?);
        register(&context, &name, table)?;
    }
    let plan = sliding::with_sliding(ad_hoc::plan(&context, sql).await?)?;
    let frame = context.execute_logical_plan(plan).await?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let kept = MemoryConsumer::new("rows of the result").register(&pool);
    let mut rows = frame.execute_stream().await?;
    while let Some(batch) = poll_fn(|context| rows.as_mut().poll_next(context)).await.transpose()? {
        let Some(bytes) = take(&batch) else { break };
        kept.try_grow(bytes)?;
    }
    Ok(schema)
}

/// True if a query was given up because it needs more memory than it may have, or more of the disk in its place.
pub fn is_out_of_memory(error: &DataFusionError) -> bool {
    // What a writer of rows that are put aside meets comes as text.
    let is_disk = || error.to_string().contains("used disk space during the spilling process");
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) || is_disk()
}

/// The rows that were not taken back, each as often as it is there.
fn added_up(changes: DataFrame) -> Result<DataFrame> {
    const COUNT: &str = "\u{1}count";
    let names: Vec<String> = changes.schema().fields().iter().map(|field| field.name().clone()).collect();
    let columns: Vec<Expr> = names.iter().filter(|name| *name != OPERATION).map(ident).collect();
    let weight = when(ident(OPERATION).eq(lit("insert")), lit(1_i64)).otherwise(lit(-1_i64))?;
    let counted = changes.aggregate(columns.clone(), vec![sum(weight).alias(COUNT)])?;
    let present = counted.filter(ident(COUNT).gt(lit(0_i64)))?;
    let times = range().call(vec![lit(0_i64), ident(COUNT)]).alias(COUNT);
    let with_times = columns.iter().cloned().chain([times]).collect::<Vec<_>>();
    present.select(with_times)?.unnest_columns(&[COUNT])?.select(columns)
}

/// Adds a table; one with a dot in its name also as one name, `"readings.late"`.
fn register(context: &SessionContext, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
    if name.contains('.') {
        context.register_table(TableReference::bare(name), Arc::clone(&table))?;
    }
    context.register_table(reference(name), table)?;
    Ok(())
}

/// `readings.late` is a table of schema `readings`.
fn reference(name: &str) -> TableReference {
    match name.rsplit_once('.') {
        Some((schema, table)) => TableReference::partial(schema, table),
        None => TableReference::bare(name),
    }
}

fn add_schema(context: &SessionContext, name: &str) -> Result<()> {
    let Some((schema, _)) = name.rsplit_once('.') else { return Ok(()) };
    let catalog =
        context.catalog("datafusion").ok_or_else(|| DataFusionError::Internal("no catalog".into()))?;
    if catalog.schema(schema).is_none() {
        let provider = datafusion::catalog::MemorySchemaProvider::new();
        catalog.register_schema(schema, Arc::new(provider))?;
    }
    Ok(())
}
