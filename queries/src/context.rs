//! What DataFusion's SQL planner may ask: relations, functions, types.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::common::TableReference;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::{
    AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::sql::planner::ParserOptions;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, TimezoneInfo};
use lineshaft_engine::TIMESTAMP;

use crate::as_of::AsOfJoins;
use crate::predict::Predict;
use crate::using::UsingJoins;
use crate::window_function::WindowFunctions;

/// How SQL is read: names fold to lower case, text is `Utf8`, errors know their place.
pub(crate) fn parser_options() -> ParserOptions {
    ParserOptions::new().with_map_string_types_to_utf8view(false).with_collect_spans(true)
}

/// The functions that a query may call: DataFusion's, ours, and `predict`.
#[derive(Debug)]
pub(crate) struct Functions {
    scalar: HashMap<String, Arc<ScalarUDF>>,
    aggregate: HashMap<String, Arc<AggregateUDF>>,
    window: HashMap<String, Arc<WindowUDF>>,
    expression_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
    options: ConfigOptions,
}

impl Functions {
    pub(crate) fn new(predict: &Predict) -> Self {
        let mut scalar = HashMap::new();
        let ours = crate::functions::scalars().into_iter().chain(predict.functions());
        let ours = ours.chain([Arc::new(crate::rewrite::casts::marked())]);
        let ours = ours.chain(crate::now::functions().map(Arc::new));
        for function in SessionStateDefaults::default_scalar_functions().into_iter().chain(ours) {
            for alias in function.aliases() {
                scalar.insert(alias.clone(), Arc::clone(&function));
            }
            scalar.insert(function.name().to_owned(), function);
        }
        if let Some(signum) = scalar.get("signum").cloned() {
            scalar.insert("sign".to_owned(), signum);
        }
        let mut aggregate = HashMap::new();
        let defaults = SessionStateDefaults::default_aggregate_functions();
        for function in defaults.into_iter().chain(crate::functions::aggregates()) {
            for alias in function.aliases() {
                aggregate.insert(alias.clone(), Arc::clone(&function));
            }
            let replaced = aggregate.insert(function.name().to_owned(), Arc::clone(&function));
            // Else `stddev` and `stddev_samp` would be two functions of one name.
            for alias in replaced.iter().flat_map(|replaced| replaced.aliases()) {
                aggregate.insert(alias.clone(), Arc::clone(&function));
            }
        }
        let mut expression_planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(crate::functions::ArrayForms)];
        expression_planners.extend(SessionStateDefaults::default_expr_planners());
        let window = SessionStateDefaults::default_window_functions();
        let window = window.into_iter().chain(crate::functions::windows());
        Self {
            scalar,
            aggregate,
            window: window.map(|function| (function.name().to_owned(), function)).collect(),
            expression_planners,
            relation_planners: vec![
                Arc::new(WindowFunctions { knows_others: false }),
                Arc::new(AsOfJoins),
                Arc::new(UsingJoins),
            ],
            options: ConfigOptions::default(),
        }
    }
}

impl Functions {
    /// The window function of this name.
    pub(crate) fn window(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.window.get(name).cloned()
    }
}

/// A relation of the catalog as DataFusion sees it.
#[derive(Debug)]
pub(crate) struct RelationSource {
    /// Its name in the catalog.
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    /// A view that is planned as a part of the query that reads it.
    pub(crate) inline: Option<LogicalPlan>,
    /// The plan of a view, whether it is inlined or not.
    pub(crate) plan: Option<LogicalPlan>,
    /// A `CREATE TABLE`, or a view that only filters one.
    pub(crate) is_table: bool,
    /// The same, or a view that is made of tables alone; see [`crate::event_time::is_reference`].
    pub(crate) is_reference: bool,
    /// The column of event time of a source or table.
    pub(crate) event_time: Option<usize>,
    /// The columns that tell the rows of a table apart.
    pub(crate) primary_key: Vec<usize>,
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        self.inline.as_ref().map(Cow::Borrowed)
    }
}

/// The rows that a recursive query has found so far, as its recursive part sees them.
#[derive(Debug)]
pub(crate) struct WorkTable {
    /// The name of the query.
    pub(crate) name: String,
    schema: SchemaRef,
}

impl TableSource for WorkTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Finds the relation of a name; the binder is one.
pub(crate) trait Relations {
    fn relation(&self, name: &TableReference) -> Result<Arc<RelationSource>>;
}

/// What the planner of one query asks.
pub(crate) struct Context<'a> {
    pub(crate) functions: &'a Functions,
    pub(crate) relations: &'a dyn Relations,
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        Ok(self.relations.relation(&name)?)
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(Arc::new(WorkTable { name: name.to_owned(), schema }))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.functions.expression_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.functions.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window.get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.functions.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window.keys().cloned().collect()
    }
}

/// `TIMESTAMP` is microseconds, as everywhere in the engine; DataFusion would take nanoseconds.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let plain = matches!(
            sql_type,
            SqlType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
                | SqlType::Datetime(None)
        );
        Ok(plain.then(|| Arc::new(Field::new("", TIMESTAMP, true))))
    }
}
