//! Which windows are given more than once: with `EMIT EVERY` before they are final, and with `allowed_lateness` when late
//! rows come.
//!
//! Such a window is a changelog. What needs rows that are only added (another window, a sink that cannot take rows back)
//! gets each window once instead, when nothing can change it any more; so a view may run twice.

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, LogicalPlan};
use lineshaft_engine::declaration::Options;
use lineshaft_engine::plan::Origin;

use super::{Lowering, Result};
use crate::context::RelationSource;
use crate::event_time::{instant, is_reference, windows_of};
use crate::program::{Kind, Program};
use crate::window_function::{AssignWindow, WindowKind};

/// How often the results of a window are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    /// `EMIT EVERY`, microseconds of wall clock.
    pub(super) every: Option<i64>,
    /// How far below the watermark a row may come that corrects them, microseconds.
    pub(super) lateness: i64,
}

/// What is done with the rows that are being lowered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Expected {
    /// They may be taken back.
    #[default]
    Changes,
    /// They are not corrected when late rows come; `EMIT EVERY` holds.
    Uncorrected,
    /// They are only added.
    Final,
}

impl Lowering<'_> {
    /// Lowers a plan whose rows are expected in this way.
    pub(super) fn expecting<T>(&mut self, expected: Expected, lower: impl FnOnce(&mut Self) -> T) -> T {
        // Where no window is given twice, no view need run twice.
        let expected = if self.program.revises() { expected } else { Expected::default() };
        let outer = std::mem::replace(&mut self.expected, expected);
        let lowered = lower(self);
        self.expected = outer;
        lowered
    }

    /// The rows of a plan, none of which a window takes back; text may come as dictionaries.
    pub(super) fn final_rows(&mut self, plan: &LogicalPlan) -> Result<Origin> {
        self.expecting(Expected::Final, |lowering| lowering.lower_compact(plan))
    }

    /// The rows that a window function is applied to: of corrected windows with what is corrected, if the results can be
    /// corrected, too; otherwise each once.
    pub(super) fn window_input(&mut self, assign: &AssignWindow) -> Result<Origin> {
        let is_corrected = self.expected == Expected::Changes
            && is_of_fixed_size(assign)
            && self.program.lateness(&assign.input) > 0
            && !self.program.is_early(&assign.input);
        if is_corrected { self.lower_compact(&assign.input) } else { self.final_rows(&assign.input) }
    }

    /// How the rows of a sink are expected. One that cannot take rows back gets each window once.
    pub(super) fn expected_by(&self, options: &Options) -> Expected {
        let connector = options.get("connector").map_or("", String::as_str);
        let takes_back = options.contains_key(super::CHANGELOG) || matches!(connector, "memory" | "stdout");
        if takes_back && !self.outputs.close_gates { Expected::Changes } else { Expected::Uncorrected }
    }

    /// Of the rows of windows that are revised the column of event time, with its lag, below which none is taken back;
    /// `None` if there is no such column, or others may be taken back at any time.
    pub(super) fn taken_back_by(&self, plan: &LogicalPlan) -> Option<(usize, i64)> {
        if !self.is_of_windows(plan) {
            return None;
        }
        let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        instant(plan, &columns, &|name| self.program.times_of(name))
    }

    /// True for results of windows with nothing above them but what passes rows on one by one.
    fn is_of_windows(&self, plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::Projection(projection) => self.is_of_windows(&projection.input),
            LogicalPlan::Filter(filter) => self.is_of_windows(&filter.input),
            LogicalPlan::SubqueryAlias(alias) => self.is_of_windows(&alias.input),
            LogicalPlan::Aggregate(aggregate) => windows_of(&aggregate.input).is_some(),
            LogicalPlan::Join(join) => match (is_reference(&join.left), is_reference(&join.right)) {
                (true, false) => self.is_of_windows(&join.right),
                (false, true) => self.is_of_windows(&join.left),
                (true, true) | (false, false) => false,
            },
            LogicalPlan::TableScan(_) => {
                viewed(self.program, plan).is_some_and(|view| self.is_of_windows(view))
            }
            _ => false,
        }
    }

    /// How often a window is given; `None` if once.
    pub(super) fn revision(&self, assign: &AssignWindow) -> Option<Revision> {
        let lateness = if is_of_fixed_size(assign) { self.program.lateness(&assign.input) } else { 0 };
        let (every, lateness) = match self.expected {
            Expected::Changes => (assign.every, lateness),
            Expected::Uncorrected => (assign.every, 0),
            Expected::Final => (None, 0),
        };
        (every.is_some() || lateness > 0).then_some(Revision { every, lateness })
    }
}

impl Program {
    /// How far below the watermark rows of a plan may come, or be corrected, as late ones of a source do. What waits for
    /// them on the way (a session, a join of streams) gives none.
    fn lateness(&self, plan: &LogicalPlan) -> i64 {
        match plan {
            LogicalPlan::Projection(projection) => self.lateness(&projection.input),
            LogicalPlan::Filter(filter) => self.lateness(&filter.input),
            LogicalPlan::SubqueryAlias(alias) => self.lateness(&alias.input),
            LogicalPlan::Union(union) => {
                union.inputs.iter().map(|input| self.lateness(input)).max().unwrap_or(0)
            }
            LogicalPlan::Aggregate(aggregate) => match windows_of(&aggregate.input) {
                Some(windows) if is_of_fixed_size(windows.assign) => self.lateness(&windows.assign.input),
                _ => 0,
            },
            LogicalPlan::TableScan(scan) => match viewed(self, plan) {
                Some(view) => self.lateness(view),
                None => {
                    let source = scan.source.downcast_ref::<RelationSource>();
                    let is_late = |name: &str| matches!(self.relations[name].kind, Kind::Source);
                    source
                        .filter(|source| is_late(&source.name))
                        .map_or(0, |source| self.sources[&source.name].allowed_lateness)
                }
            },
            _ => 0,
        }
    }

    /// True if windows that a plan reads are given before they close.
    fn is_early(&self, plan: &LogicalPlan) -> bool {
        let is_early = |node: &LogicalPlan| {
            let is_own = AssignWindow::of(node).is_some_and(|assign| assign.every.is_some());
            Ok(is_own || viewed(self, node).is_some_and(|view| self.is_early(view)))
        };
        plan.exists(is_early).unwrap_or(true)
    }

    /// True if any window is given more than once.
    fn revises(&self) -> bool {
        let is_early = |plan: &LogicalPlan| {
            plan.exists(|node| Ok(AssignWindow::of(node).is_some_and(|assign| assign.every.is_some())))
        };
        let plans = self.views.values().chain(self.sinks.iter().map(|sink| &sink.view));
        self.sources.values().any(|source| source.allowed_lateness > 0)
            || plans.into_iter().any(|view| is_early(&view.plan).unwrap_or(false))
    }
}

fn is_of_fixed_size(assign: &AssignWindow) -> bool {
    matches!(assign.kind, WindowKind::Fixed(_))
}

/// The plan of the view that is read.
fn viewed<'a>(program: &'a Program, scan: &LogicalPlan) -> Option<&'a LogicalPlan> {
    let LogicalPlan::TableScan(scan) = scan else { return None };
    let name = &scan.source.downcast_ref::<RelationSource>()?.name;
    match program.relations.get(name)?.kind {
        Kind::View => Some(&program.views.get(name)?.plan),
        Kind::Source | Kind::Late(_) | Kind::Quarantine(_) | Kind::Optimizer | Kind::Log(_) => None,
    }
}
