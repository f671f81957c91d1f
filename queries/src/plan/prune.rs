//! Which rows of a source the program wants at all: the conditions that each of its readers has on columns of the
//! source. By them a connector leaves out what it need not read, such as row groups of Parquet.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, TableScan};
use lineshaft_engine::declaration::{Comparison, Condition};

use crate::context::RelationSource;
use crate::program::{Kind, Program};
use crate::window_function::{AssignWindow, WindowKind};

/// With more readers than this a source is read as a whole.
const MAX_READERS: usize = 16;

/// The conditions of all that read, by source.
pub(super) struct Readers<'a> {
    program: &'a Program,
    found: BTreeMap<String, Vec<Vec<Condition>>>,
    /// Views of which all rows are wanted.
    whole: BTreeSet<String>,
}

impl<'a> Readers<'a> {
    pub(super) fn new(program: &'a Program) -> Self {
        Self { program, found: BTreeMap::new(), whole: BTreeSet::new() }
    }

    /// All rows of a plan are wanted.
    pub(super) fn plan(&mut self, plan: &LogicalPlan) {
        self.visit(plan, Vec::new());
    }

    /// All rows of a relation are wanted.
    pub(super) fn relation(&mut self, name: &str) {
        self.read(name, Vec::new());
    }

    /// Rows of a source are wanted if they meet all conditions of one of these; empty: all rows are.
    pub(super) fn wanted(&self, source: &str) -> Vec<Vec<Condition>> {
        let readers = self.found.get(source).map(Vec::as_slice).unwrap_or_default();
        // What is not read is not remembered: a repetition of it would pass, and what it replaces would stay.
        let statement = &self.program.sources[source].statement;
        let remembers = statement.deduplicate.is_some() || !statement.primary_key.is_empty();
        if remembers || readers.len() > MAX_READERS || readers.iter().any(Vec::is_empty) {
            return Vec::new();
        }
        readers.to_vec()
    }

    /// `conditions` are on the columns of `plan`.
    fn visit(&mut self, plan: &LogicalPlan, mut conditions: Vec<Condition>) {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.visit(&alias.input, conditions),
            LogicalPlan::Filter(filter) => {
                conditions.extend(conditions_of(&filter.predicate, filter.input.schema()));
                self.visit(&filter.input, conditions);
            }
            LogicalPlan::Projection(projection) => {
                let input = projection.input.schema();
                let source = |expr: &Expr| match expr.clone().unalias() {
                    Expr::Column(column) => input.index_of_column(&column).ok(),
                    _ => None,
                };
                let conditions = moved(conditions, |column| source(projection.expr.get(column)?));
                self.visit(&projection.input, conditions);
            }
            LogicalPlan::Union(union) => {
                union.inputs.iter().for_each(|input| self.visit(input, conditions.clone()));
            }
            LogicalPlan::TableScan(scan) => self.scan(scan, conditions),
            other => self.visit_inputs(other, conditions),
        }
    }

    /// A condition on rows of a window of fixed size is one on the rows before; others change which rows there are.
    fn visit_inputs(&mut self, plan: &LogicalPlan, conditions: Vec<Condition>) {
        let fixed = AssignWindow::of(plan)
            .filter(|assign| matches!(assign.kind, WindowKind::Fixed(windows) if !windows.grows));
        if let Some(assign) = fixed {
            let width = assign.input.schema().fields().len();
            self.visit(&assign.input, moved(conditions, |column| (column < width).then_some(column)));
            return;
        }
        plan.inputs().into_iter().for_each(|input| self.visit(input, Vec::new()));
    }

    fn scan(&mut self, scan: &TableScan, conditions: Vec<Condition>) {
        let Some(source) = scan.source.downcast_ref::<RelationSource>() else { return };
        let conditions = match &scan.projection {
            Some(columns) => moved(conditions, |column| columns.get(column).copied()),
            None => conditions,
        };
        self.read(&source.name, conditions);
    }

    fn read(&mut self, name: &str, conditions: Vec<Condition>) {
        let program = self.program;
        let Some(relation) = program.relations.get(name) else { return };
        match &relation.kind {
            Kind::Source => self.found.entry(name.to_owned()).or_default().push(conditions),
            // Which rows are late or bad is only known when they have been read.
            Kind::Late(source) | Kind::Quarantine(source) => {
                self.found.entry(source.clone()).or_default().push(Vec::new());
            }
            Kind::View if conditions.is_empty() && !self.whole.insert(name.to_owned()) => {}
            Kind::View => self.visit(&program.views[name].plan, conditions),
            Kind::Optimizer => self.visit(&program.views[name].plan, Vec::new()),
            Kind::Log(actuator) => {
                for insert in &program.actuators[actuator].inserts {
                    self.visit(&insert.plan, Vec::new());
                }
            }
        }
    }
}

/// The conditions whose columns have a place below.
fn moved(conditions: Vec<Condition>, place: impl Fn(usize) -> Option<usize>) -> Vec<Condition> {
    let moved = |condition: Condition| Some(Condition { column: place(condition.column)?, ..condition });
    conditions.into_iter().filter_map(moved).collect()
}

/// What a predicate says of single columns: `column < constant` and the like, all of which must hold.
fn conditions_of(predicate: &Expr, schema: &DFSchema) -> Vec<Condition> {
    let mut found = Vec::new();
    for part in split_conjunction(predicate) {
        match part {
            Expr::BinaryExpr(binary) => match (binary.left.as_ref(), binary.right.as_ref()) {
                (column, Expr::Literal(value, _)) => {
                    found.extend(comparison(binary.op).and_then(|op| condition(column, op, value, schema)));
                }
                (Expr::Literal(value, _), column) => {
                    let op = comparison(binary.op).map(mirrored);
                    found.extend(op.and_then(|op| condition(column, op, value, schema)));
                }
                _ => {}
            },
            Expr::Between(between) if !between.negated => {
                for (bound, op) in
                    [(&between.low, Comparison::GreaterOrEqual), (&between.high, Comparison::LessOrEqual)]
                {
                    if let Expr::Literal(value, _) = bound.as_ref() {
                        found.extend(condition(&between.expr, op, value, schema));
                    }
                }
            }
            _ => {}
        }
    }
    found
}

fn condition(
    column: &Expr,
    comparison: Comparison,
    value: &ScalarValue,
    schema: &DFSchema,
) -> Option<Condition> {
    let Expr::Column(column) = column else { return None };
    let column = schema.index_of_column(column).ok()?;
    let is_same = *schema.field(column).data_type() == value.data_type();
    let value = value.to_array().ok().filter(|_| is_same && !value.is_null())?;
    Some(Condition { column, comparison, value })
}

fn comparison(op: Operator) -> Option<Comparison> {
    match op {
        Operator::Lt => Some(Comparison::Less),
        Operator::LtEq => Some(Comparison::LessOrEqual),
        Operator::Eq => Some(Comparison::Equal),
        Operator::GtEq => Some(Comparison::GreaterOrEqual),
        Operator::Gt => Some(Comparison::Greater),
        _ => None,
    }
}

/// `constant < column` is `column > constant`.
fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Equal => Comparison::Equal,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        Comparison::Greater => Comparison::Less,
    }
}
