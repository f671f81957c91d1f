//! Which columns of which sources a program reads, and which tables it reads as versions.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;

use crate::as_of::AsOfJoin;
use crate::context::RelationSource;
use crate::event_time::is_table;
use crate::program::{Kind, Program, relations_of};

/// What is read of each source by all that runs.
pub(super) struct Wanted<'a> {
    program: &'a Program,
    /// The columns by the name of the source.
    pub(super) columns: BTreeMap<String, BTreeSet<usize>>,
    /// Tables of which an as-of join reads all versions of a row.
    pub(super) versions: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(program: &'a Program) -> Self {
        Self { program, columns: BTreeMap::new(), versions: BTreeSet::new(), seen: BTreeSet::new() }
    }

    pub(super) fn plan(&mut self, plan: &LogicalPlan) {
        let mut scans = Vec::new();
        let collected = plan.apply(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(source) = scan.source.downcast_ref::<RelationSource>()
            {
                scans.push((source.name.clone(), scan.projection.clone()));
            }
            if let Some(join) = AsOfJoin::of(node) {
                let sides = [&join.left, &join.right].into_iter().filter(|side| is_table(side));
                sides.for_each(|side| self.versioned(side));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(collected.is_ok());
        for (name, projection) in scans {
            self.scan(&name, projection);
        }
    }

    fn scan(&mut self, name: &str, projection: Option<Vec<usize>>) {
        let program = self.program;
        let Some(relation) = program.relations.get(name) else { return };
        let all = || (0..relation.schema.fields().len()).collect();
        match &relation.kind {
            Kind::Source => {
                self.columns.entry(name.to_owned()).or_default().extend(projection.unwrap_or_else(all));
            }
            // A late row is kept as a whole.
            Kind::Late(source) => {
                let all = 0..program.relations[source].schema.fields().len();
                self.columns.entry(source.clone()).or_default().extend(all);
            }
            Kind::Quarantine(source) => {
                self.columns.entry(source.clone()).or_default();
            }
            Kind::View | Kind::Optimizer => {
                if self.seen.insert(name.to_owned()) {
                    self.plan(&program.views[name].plan);
                }
            }
            Kind::Log(actuator) => {
                for insert in &program.actuators[actuator].inserts {
                    self.plan(&insert.plan);
                }
            }
        }
    }

    /// The table below a plan that is one.
    fn versioned(&mut self, plan: &LogicalPlan) {
        for name in relations_of(plan) {
            match self.program.views.get(&name) {
                Some(view) => self.versioned(&view.plan),
                None => {
                    self.versions.insert(name);
                }
            }
        }
    }

    pub(super) fn relation(&mut self, name: &str) {
        self.scan(name, None);
    }
}
