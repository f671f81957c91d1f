//! DataFusion's analyser and optimiser, with the rules that keep a plan one that can be run as a stream.

use std::sync::Arc;

use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_join::EliminateJoin;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};

use crate::beforehand::computed_before;
use crate::durations::PartsOfDurations;

/// Types made equal, constants folded, filters and columns pushed to where the rows come from.
///
/// Left out are rules that assume a table of known extent (limits, empty relations) or that turn one aggregate into
/// two, which would part it from its window.
///
/// # Errors
/// If the types of an expression do not fit.
pub(crate) fn optimize(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = analyze(plan)?;
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(EliminateJoin::new()),
        // Subqueries become joins.
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(SimplifyExpressions::new()),
        // A key twice would become two columns of one name.
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    computed_before(run(rules, plan)?)
}

/// `EXISTS` and `IN` as joins, nothing else.
///
/// # Errors
/// If the types of an expression do not fit.
pub(crate) fn without_subqueries(plan: LogicalPlan) -> Result<LogicalPlan> {
    run(vec![Arc::new(DecorrelatePredicateSubquery::new())], analyze(plan)?)
}

fn run(rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>, plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut options = ConfigOptions::default();
    options.optimizer.filter_null_join_keys = false;
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    let context = OptimizerContext::new_with_config_options(Arc::new(options)).with_max_passes(3);
    Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})
}

/// Types made equal, and functions made ours.
pub(crate) fn analyze(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut analyzer = Analyzer::new();
    analyzer.add_function_rewrite(Arc::new(PartsOfDurations));
    analyzer.execute_and_check(plan, &ConfigOptions::default(), |_, _| {})
}
