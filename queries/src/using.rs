//! `JOIN b USING (k)` and `NATURAL JOIN b`: of the columns that are named there is one, `k`. It is that of the left side, of the
//! right side in a `RIGHT JOIN`, and the one that is not NULL in a `FULL JOIN`.
//!
//! DataFusion keeps the columns of both sides, and takes now the one and now the other for `k`. So each such join is put in
//! parentheses of its own ([`nest`]), as an `ASOF JOIN` is, and planned here. Where a query names `b.k` as well, it stays beside
//! `k` under a name that nobody else can write ([`references`]).

mod references;

use datafusion::common::{Column, JoinType};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Join, JoinConstraint, JoinOperator, ObjectName, TableFactor};

use references::{Side, hidden_in, name_of};

pub(crate) use references::nest;

/// Plans what [`nest`] has put in parentheses.
#[derive(Debug)]
pub(crate) struct UsingJoins;

impl RelationPlanner for UsingJoins {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::NestedJoin { table_with_joins, alias } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let [join] = table_with_joins.joins.as_slice() else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some((join_type, constraint)) = merging(join) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let left = context.plan(table_with_joins.relation.clone())?;
        let right = context.plan(join.relation.clone())?;
        let names = match constraint {
            JoinConstraint::Using(names) => names.as_slice(),
            _ => &[],
        };
        let plan = Merging { left, right, join_type, names }.planned(constraint)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

/// The type and the constraint of a join that makes one column of two.
fn merging(join: &Join) -> Option<(JoinType, &JoinConstraint)> {
    let (join_type, constraint) = match &join.join_operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (JoinType::Inner, constraint),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (JoinType::Left, constraint),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
            (JoinType::Right, constraint)
        }
        JoinOperator::FullOuter(constraint) => (JoinType::Full, constraint),
        _ => return None,
    };
    matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
        .then_some((join_type, constraint))
}

/// The constraint of such a join, to be changed.
fn merged_by(join: &mut Join) -> Option<&mut JoinConstraint> {
    match &mut join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

struct Merging<'a> {
    left: LogicalPlan,
    right: LogicalPlan,
    join_type: JoinType,
    /// What stands in `USING`, and the names under which columns stay ([`hidden_in`]).
    names: &'a [ObjectName],
}

/// A column in `USING`, as both sides have it.
struct Pair {
    left: Column,
    right: Column,
}

impl Merging<'_> {
    fn planned(self, constraint: &JoinConstraint) -> Result<LogicalPlan> {
        let names = match constraint {
            JoinConstraint::Natural => self.common(),
            _ => self.names.iter().filter(|name| hidden_in(name).is_none()).filter_map(name_of).collect(),
        };
        let pairs = names.iter().map(|name| self.pair(name)).collect::<Result<Vec<_>>>()?;
        let columns = self.columns(&pairs);
        let (left, right): (Vec<Column>, Vec<Column>) =
            pairs.into_iter().map(|pair| (pair.left, pair.right)).unzip();
        let rows = LogicalPlanBuilder::from(self.left);
        let rows = match left.is_empty() {
            true => rows.cross_join(self.right)?,
            false => rows.join(self.right, self.join_type, (left, right), None)?,
        };
        rows.project(columns)?.build()
    }

    /// The names that both sides have.
    fn common(&self) -> Vec<String> {
        let right = self.right.schema();
        let left = self.left.schema().fields().iter().map(|field| field.name().clone());
        left.filter(|name| right.has_column_with_unqualified_name(name)).collect()
    }

    fn pair(&self, name: &str) -> Result<Pair> {
        let of =
            |side: &LogicalPlan| side.schema().qualified_field_with_unqualified_name(name).map(Column::from);
        Ok(Pair { left: of(&self.left)?, right: of(&self.right)? })
    }

    /// The columns of the join: those of the left side, then those of the right one that are not in `USING`.
    fn columns(&self, pairs: &[Pair]) -> Vec<Expr> {
        let mut columns = Vec::new();
        for column in self.left.schema().columns() {
            match pairs.iter().find(|pair| pair.left == column) {
                Some(pair) => {
                    columns.push(self.merged(pair));
                    columns.extend(self.kept(Side::Left, &pair.left));
                }
                None => columns.push(Expr::Column(column)),
            }
        }
        for column in self.right.schema().columns() {
            match pairs.iter().find(|pair| pair.right == column) {
                Some(pair) => columns.extend(self.kept(Side::Right, &pair.right)),
                None => columns.push(Expr::Column(column)),
            }
        }
        columns
    }

    fn merged(&self, Pair { left, right }: &Pair) -> Expr {
        let [of_left, of_right] = [left, right].map(|column| Expr::Column(column.clone()));
        let named = |value: Expr| value.alias_qualified(left.relation.clone(), &left.name);
        match self.join_type {
            JoinType::Right => named(of_right),
            JoinType::Full => named(coalesce(vec![of_left, of_right])),
            _ => of_left,
        }
    }

    /// The column of one side under its other name, if the query asks for it.
    fn kept(&self, side: Side, column: &Column) -> Option<Expr> {
        let names = self.names.iter().filter_map(|name| Some((hidden_in(name)?, name_of(name)?)));
        let mut names = names.filter(|((of, name), _)| *of == side && *name == column.name);
        let (_, name) = names.next()?;
        Some(Expr::Column(column.clone()).alias_qualified(column.relation.clone(), name))
    }
}
