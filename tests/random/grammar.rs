//! Random queries as trees: relations of equal columns `t, machine, x, n, ok`, so that each can stand for another, and
//! queries over them. A tree knows its text and the trees that are a step smaller.
//!
//! What the grammar leaves out, since batch and stream may rightly differ: sums of inexact floats that are grouped or
//! compared, and the order of rows of one time, but for the source `strict`, whose times are all different.

use super::expressions::{aggregate, any, boolean, call_of_all, call_over, having, key};
use super::relation::{Relation, Window};
use super::subqueries::{condition_with_subquery, subquery};
use crate::support::seeded::Seeded;

/// The sources and the table that the queries read.
pub(super) const DECLARATIONS: &str = "
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, n BIGINT, ok BOOLEAN,
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH (connector = 'memory', bounded = true);
CREATE SOURCE others (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, n BIGINT, ok BOOLEAN,
    WATERMARK FOR ts AS ts - INTERVAL '1' SECOND PER machine) WITH (connector = 'memory', bounded = true);
CREATE SOURCE strict (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, n BIGINT, ok BOOLEAN,
    WATERMARK FOR ts AS ts - INTERVAL '3' SECOND) WITH (connector = 'memory', bounded = true);
CREATE TABLE machines (machine TEXT PRIMARY KEY, hall TEXT, bound DOUBLE) WITH (connector = 'memory', bounded = true);
";

/// What sets of rows are compared by: with the time, and without.
const COLUMNS: [&str; 4] = ["machine", "machine, ok", "n, machine", "t, machine, x"];

/// A query that is a view.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Query {
    /// Filter and projection.
    Rows {
        from: Relation,
        columns: Vec<String>,
        filter: Option<String>,
    },
    /// Aggregates over windows.
    Grouped(Grouped),
    /// Aggregates over the rows around a row.
    Over {
        from: Relation,
        calls: Vec<String>,
    },
    /// A join without a window, by machine and number.
    Pair {
        left: Relation,
        right: Relation,
        join: &'static str,
    },
    /// Rows that have a row of the other side, or have none.
    Semi {
        left: Relation,
        right: Relation,
        condition: &'static str,
    },
    /// The first rows by all columns.
    Top {
        from: Relation,
        limit: i64,
    },
    /// Groups that are kept up to date.
    Totals(Totals),
    Distinct {
        from: Relation,
        columns: &'static str,
    },
    /// `UNION`, `INTERSECT` or `EXCEPT`, with `ALL` or not.
    Set {
        left: Relation,
        right: Relation,
        operator: &'static str,
        columns: &'static str,
    },
    /// Rows at fixed times, of `strict`.
    Resampled {
        filter: Option<String>,
        seconds: i64,
        options: &'static str,
    },
    /// Each row with the one of `strict` that is nearest.
    AsOf {
        from: Relation,
        join: &'static str,
        comparison: &'static str,
    },
    /// Rows whose times are close.
    Near {
        left: Relation,
        right: Relation,
        join: &'static str,
        before: i64,
        after: i64,
    },
    /// Functions of all rows of a partition, over relations of any order.
    OfAll {
        from: Relation,
        calls: Vec<String>,
    },
    /// Values of subqueries over the table.
    Subqueries {
        from: Relation,
        columns: Vec<String>,
        filter: Option<String>,
    },
    /// A row for each item of a list.
    Unnested {
        from: Relation,
        list: &'static str,
        join: &'static str,
    },
    /// Rows with those of the table.
    Lookup {
        from: Relation,
        join: &'static str,
        condition: &'static str,
    },
}

/// `GROUP BY` without a window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Totals {
    from: Relation,
    keys: Vec<String>,
    aggregates: Vec<String>,
    having: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grouped {
    from: Relation,
    window: Window,
    keys: Vec<String>,
    aggregates: Vec<String>,
    filter: Option<String>,
    having: Option<String>,
    /// Open windows are given, too; in the end that makes no difference.
    is_early: bool,
}

impl Query {
    pub(super) fn random(random: &mut Seeded) -> Self {
        let depth = random.index(4);
        let from = Relation::random(random, depth);
        match random.below(27) {
            10 => {
                let join = random.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
                Self::Pair { left: from, right: Relation::random(random, 1), join }
            }
            11 => {
                let condition = random.pick(&["EXISTS", "NOT EXISTS"]);
                Self::Semi { left: from, right: Relation::random(random, 1), condition }
            }
            12 => Self::Top { from, limit: 1 + random.below(12) },
            13 | 14 => Self::Totals(Totals::random(random, from)),
            15 => Self::Distinct { from, columns: random.pick(&COLUMNS) },
            16 | 17 => {
                let operators = ["UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"];
                let (operator, columns) = (random.pick(&operators), random.pick(&COLUMNS));
                Self::Set { left: from, right: Relation::random(random, 2), operator, columns }
            }
            18 => Self::Resampled {
                filter: random.chance(50).then(|| boolean(random, 1)),
                seconds: 1 + random.below(5),
                options: random.pick(&[
                    "LINEAR(x, n), PREVIOUS(ok)",
                    "machine, LINEAR(x), PREVIOUS(n)",
                    "machine, LINEAR(x, n), MAX_GAP => INTERVAL '3' SECOND",
                    "machine, PREVIOUS(x, n, ok), MAX_GAP => INTERVAL '2' SECOND, SKIP_GAPS => true",
                ]),
            },
            19 => Self::AsOf {
                from,
                join: random.pick(&["JOIN", "LEFT JOIN"]),
                comparison: random.pick(&[">=", ">", "<=", "<"]),
            },
            20 => Self::Near {
                left: from,
                right: Relation::random(random, 1),
                join: random.pick(&[
                    "JOIN",
                    "LEFT JOIN",
                    "RIGHT JOIN",
                    "FULL JOIN",
                    "LEFT SEMI JOIN",
                    "LEFT ANTI JOIN",
                ]),
                before: random.below(5),
                after: random.below(3),
            },
            22 | 23 => {
                let calls = (0..1 + random.below(3)).map(|_| call_of_all(random)).collect();
                Self::OfAll { from, calls }
            }
            24 | 25 => Self::Subqueries {
                from,
                columns: (0..1 + random.below(2)).map(|_| subquery(random)).collect(),
                filter: random.chance(40).then(|| condition_with_subquery(random)),
            },
            26 => Self::Unnested {
                from,
                list: random.pick(&[
                    "make_array(x, CAST(n AS DOUBLE))",
                    "range(0, n % 4)",
                    "make_array(machine)",
                ]),
                join: random.pick(&["CROSS JOIN", "LEFT JOIN"]),
            },
            21 => Self::Lookup {
                from,
                join: random.pick(&["JOIN", "LEFT JOIN"]),
                condition: random.pick(&["", " AND a.x > b.bound", " AND b.hall IS NOT NULL"]),
            },
            0 | 1 => {
                let columns = (0..1 + random.below(4)).map(|_| any(random)).collect();
                Self::Rows { from, columns, filter: random.chance(60).then(|| boolean(random, 2)) }
            }
            2 => {
                let calls =
                    (0..1 + random.below(3)).map(|_| call_over(random, from.has_differing_times())).collect();
                Self::Over { from, calls }
            }
            _ => Self::Grouped(Grouped::random(random, from)),
        }
    }

    pub(super) fn sql(&self) -> String {
        match self {
            Self::Rows { from, columns, filter } => {
                let columns = named("c", columns).join(", ");
                format!("SELECT t, {columns} FROM ({}) AS r{}", from.sql(), clause("WHERE", filter.as_ref()))
            }
            Self::Over { from, calls } => {
                let calls = named("o", calls).join(", ");
                format!("SELECT t, machine, x, {calls} FROM ({}) AS r", from.sql())
            }
            Self::Grouped(grouped) => grouped.sql(),
            Self::Pair { left, right, join } => format!(
                "SELECT a.t, a.machine, a.x, b.t AS u, b.x AS y FROM ({}) AS a {join} ({}) AS b \
                 ON a.machine = b.machine AND a.n = b.n",
                left.sql(),
                right.sql()
            ),
            Self::Semi { left, right, condition } => format!(
                "SELECT t, machine, x FROM ({}) AS a WHERE {condition} \
                 (SELECT 1 FROM ({}) AS b WHERE b.machine = a.machine AND b.n = a.n)",
                left.sql(),
                right.sql()
            ),
            Self::Totals(totals) => totals.sql(),
            Self::Distinct { from, columns } => {
                format!("SELECT DISTINCT {columns} FROM ({}) AS r", from.sql())
            }
            Self::Set { left, right, operator, columns } => format!(
                "SELECT {columns} FROM ({}) AS a {operator} SELECT {columns} FROM ({}) AS b",
                left.sql(),
                right.sql()
            ),
            Self::Resampled { filter, seconds, options } => format!(
                "SELECT t, machine, x, n, ok FROM RESAMPLE((SELECT ts AS t, machine, x, n, ok FROM strict{}), t, \
                 INTERVAL '{seconds}' SECOND, {options})",
                clause("WHERE", filter.as_ref())
            ),
            Self::AsOf { from, join, comparison } => format!(
                "SELECT a.t, a.machine, a.x, b.ts AS u, b.x AS y FROM ({}) AS a ASOF {join} strict AS b \
                 MATCH_CONDITION (a.t {comparison} b.ts) ON a.machine = b.machine",
                from.sql()
            ),
            Self::Near { left, right, join, before, after } => {
                let of_right = if join.ends_with("SEMI JOIN") || join.ends_with("ANTI JOIN") {
                    ""
                } else {
                    ", b.t AS u, b.x AS y"
                };
                format!(
                    "SELECT a.t, a.machine, a.x{of_right} FROM ({}) AS a {join} ({}) AS b ON a.machine = b.machine \
                     AND a.t >= b.t - INTERVAL '{before}' SECOND AND a.t <= b.t + INTERVAL '{after}' SECOND",
                    left.sql(),
                    right.sql()
                )
            }
            Self::OfAll { from, calls } => {
                let calls = named("o", calls).join(", ");
                format!("SELECT t, machine, x, {calls} FROM ({}) AS r", from.sql())
            }
            Self::Subqueries { from, columns, filter } => {
                let columns = named("c", columns).join(", ");
                let filter = clause("WHERE", filter.as_ref());
                format!("SELECT t, machine, {columns} FROM ({}) AS r{filter}", from.sql())
            }
            Self::Unnested { from, list, join } => {
                let on = if *join == "LEFT JOIN" { " ON TRUE" } else { "" };
                format!("SELECT t, machine, u.v FROM ({}) AS r {join} UNNEST({list}) AS u(v){on}", from.sql())
            }
            Self::Lookup { from, join, condition } => format!(
                "SELECT a.t, a.machine, a.x, b.hall, b.bound FROM ({}) AS a {join} machines AS b \
                 ON a.machine = b.machine{condition}",
                from.sql()
            ),
            Self::Top { from, limit } => format!(
                "SELECT t, machine, x, n, ok FROM ({}) AS r ORDER BY x DESC, n, machine, t, ok LIMIT {limit}",
                from.sql()
            ),
        }
    }

    /// Trees that are a step smaller.
    pub(super) fn smaller(&self) -> Vec<Self> {
        match self {
            Self::Rows { from, columns, filter } => {
                let with = |from: &Relation, columns: &[String], filter: &Option<String>| Self::Rows {
                    from: from.clone(),
                    columns: columns.to_vec(),
                    filter: filter.clone(),
                };
                let mut all: Vec<Self> =
                    from.smaller().iter().map(|from| with(from, columns, filter)).collect();
                all.extend(fewer(columns, 1).iter().map(|columns| with(from, columns, filter)));
                all.extend(filter.is_some().then(|| with(from, columns, &None)));
                all
            }
            Self::Over { from, calls } => {
                let with = |from: &Relation, calls: &[String]| Self::Over {
                    from: from.clone(),
                    calls: calls.to_vec(),
                };
                let mut all: Vec<Self> = from.smaller().iter().map(|from| with(from, calls)).collect();
                all.extend(fewer(calls, 1).iter().map(|calls| with(from, calls)));
                all
            }
            Self::Grouped(grouped) => grouped.smaller().into_iter().map(Self::Grouped).collect(),
            Self::Pair { left, right, join } => {
                pairs(left, right).into_iter().map(|(left, right)| Self::Pair { left, right, join }).collect()
            }
            Self::Semi { left, right, condition } => pairs(left, right)
                .into_iter()
                .map(|(left, right)| Self::Semi { left, right, condition })
                .collect(),
            Self::Totals(totals) => totals.smaller().into_iter().map(Self::Totals).collect(),
            Self::Distinct { from, columns } => {
                from.smaller().into_iter().map(|from| Self::Distinct { from, columns }).collect()
            }
            Self::Set { left, right, operator, columns } => pairs(left, right)
                .into_iter()
                .map(|(left, right)| Self::Set { left, right, operator, columns })
                .collect(),
            Self::Resampled { filter, seconds, options } => {
                let smaller = Self::Resampled { filter: None, seconds: *seconds, options };
                if filter.is_some() { vec![smaller] } else { Vec::new() }
            }
            Self::AsOf { from, join, comparison } => {
                from.smaller().into_iter().map(|from| Self::AsOf { from, join, comparison }).collect()
            }
            Self::Near { left, right, join, before, after } => pairs(left, right)
                .into_iter()
                .map(|(left, right)| Self::Near { left, right, join, before: *before, after: *after })
                .collect(),
            Self::OfAll { from, calls } => {
                let with = |from: &Relation, calls: &[String]| Self::OfAll {
                    from: from.clone(),
                    calls: calls.to_vec(),
                };
                let mut all: Vec<Self> = from.smaller().iter().map(|from| with(from, calls)).collect();
                all.extend(fewer(calls, 1).iter().map(|calls| with(from, calls)));
                all
            }
            Self::Subqueries { from, columns, filter } => {
                let with = |from: &Relation, columns: &[String], filter: &Option<String>| Self::Subqueries {
                    from: from.clone(),
                    columns: columns.to_vec(),
                    filter: filter.clone(),
                };
                let mut all: Vec<Self> =
                    from.smaller().iter().map(|from| with(from, columns, filter)).collect();
                all.extend(fewer(columns, 1).iter().map(|columns| with(from, columns, filter)));
                all.extend(filter.is_some().then(|| with(from, columns, &None)));
                all
            }
            Self::Unnested { from, list, join } => {
                from.smaller().into_iter().map(|from| Self::Unnested { from, list, join }).collect()
            }
            Self::Lookup { from, join, condition } => {
                from.smaller().into_iter().map(|from| Self::Lookup { from, join, condition }).collect()
            }
            Self::Top { from, limit } => {
                from.smaller().into_iter().map(|from| Self::Top { from, limit: *limit }).collect()
            }
        }
    }
}

impl Grouped {
    fn random(random: &mut Seeded, from: Relation) -> Self {
        let window = Window::random(random, from.has_differing_times());
        let free = (0..random.below(3)).map(|_| key(random)).collect();
        Self {
            keys: window.keys().unwrap_or(free),
            window,
            aggregates: (0..1 + random.below(4)).map(|_| aggregate(random)).collect(),
            filter: random.chance(40).then(|| boolean(random, 1)),
            having: random.chance(25).then(|| having(random)),
            is_early: random.chance(20),
            from,
        }
    }

    fn sql(&self) -> String {
        let mut columns = vec!["window_start".to_owned(), "window_end".to_owned()];
        columns.extend(named("k", &self.keys));
        columns.extend(named("a", &self.aggregates));
        let keys: String = self.keys.iter().map(|key| format!(", {key}")).collect();
        format!(
            "SELECT {} FROM {}{} GROUP BY window_start, window_end{keys}{}{}",
            columns.join(", "),
            self.window.over(&self.from),
            clause("WHERE", self.filter.as_ref()),
            clause("HAVING", self.having.as_ref()),
            if self.is_early { " EMIT EVERY INTERVAL '1' MILLISECOND" } else { "" }
        )
    }

    fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let needs_order = matches!(self.window, Window::Count(..) | Window::State);
        let from = self.from.smaller().into_iter().filter(|from| !needs_order || from.has_differing_times());
        all.extend(from.map(|from| Self { from, ..self.clone() }));
        all.extend(
            fewer(&self.aggregates, 1).into_iter().map(|aggregates| Self { aggregates, ..self.clone() }),
        );
        if self.window.keys().is_none() {
            all.extend(fewer(&self.keys, 0).into_iter().map(|keys| Self { keys, ..self.clone() }));
        }
        all.extend(self.filter.is_some().then(|| Self { filter: None, ..self.clone() }));
        all.extend(self.having.is_some().then(|| Self { having: None, ..self.clone() }));
        all.extend(self.is_early.then(|| Self { is_early: false, ..self.clone() }));
        all
    }
}

impl Totals {
    fn random(random: &mut Seeded, from: Relation) -> Self {
        Self {
            from,
            keys: (0..random.below(3)).map(|_| key(random)).collect(),
            aggregates: (0..1 + random.below(4)).map(|_| aggregate(random)).collect(),
            having: random.chance(30).then(|| having(random)),
        }
    }

    fn sql(&self) -> String {
        let columns = [named("k", &self.keys), named("a", &self.aggregates)].concat();
        let keys =
            if self.keys.is_empty() { String::new() } else { format!(" GROUP BY {}", self.keys.join(", ")) };
        let having = clause("HAVING", self.having.as_ref());
        format!("SELECT {} FROM ({}) AS r{keys}{having}", columns.join(", "), self.from.sql())
    }

    fn smaller(&self) -> Vec<Self> {
        let of = |from: Relation| Self { from, ..self.clone() };
        let mut all: Vec<Self> = self.from.smaller().into_iter().map(of).collect();
        all.extend(
            fewer(&self.aggregates, 1).into_iter().map(|aggregates| Self { aggregates, ..self.clone() }),
        );
        all.extend(fewer(&self.keys, 0).into_iter().map(|keys| Self { keys, ..self.clone() }));
        all.extend(self.having.is_some().then(|| Self { having: None, ..self.clone() }));
        all
    }
}

/// Two relations, one of them a step smaller.
fn pairs(left: &Relation, right: &Relation) -> Vec<(Relation, Relation)> {
    let lefts = left.smaller().into_iter().map(|left| (left, right.clone()));
    lefts.chain(right.smaller().into_iter().map(|right| (left.clone(), right))).collect()
}

/// The lists with one entry less, down to `least`.
fn fewer(list: &[String], least: usize) -> Vec<Vec<String>> {
    let without = |left_out: usize| {
        let kept = list.iter().enumerate().filter(|(place, _)| *place != left_out);
        kept.map(|(_, entry)| entry.clone()).collect()
    };
    if list.len() > least { (0..list.len()).map(without).collect() } else { Vec::new() }
}

fn named(prefix: &str, expressions: &[String]) -> Vec<String> {
    expressions.iter().enumerate().map(|(number, text)| format!("{text} AS {prefix}{number}")).collect()
}

fn clause(word: &str, condition: Option<&String>) -> String {
    condition.map_or_else(String::new, |condition| format!(" {word} {condition}"))
}
