//! Random queries as trees: relations of equal columns `t, machine, x, n, ok`, so that each can stand for another, and
//! queries over them. A tree knows its text and the trees that are a step smaller.
//!
//! What the grammar leaves out, since batch and stream may rightly differ: sums of inexact floats that are grouped or
//! compared, and the order of rows of one time, but for the source `strict`, whose times are all different.

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

/// A query that is a view.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Query {
    /// Filter and projection.
    Rows { from: Relation, columns: Vec<String>, filter: Option<String> },
    /// Aggregates over windows.
    Grouped(Grouped),
    /// Aggregates over the rows around a row.
    Over { from: Relation, calls: Vec<String> },
    /// A join without a window, by machine and number.
    Pair { left: Relation, right: Relation, join: &'static str },
    /// Rows that have a row of the other side, or have none.
    Semi { left: Relation, right: Relation, condition: &'static str },
    /// The first rows by all columns.
    Top { from: Relation, limit: i64 },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grouped {
    from: Relation,
    window: Window,
    keys: Vec<String>,
    aggregates: Vec<String>,
    filter: Option<String>,
    having: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Relation {
    Source(&'static str),
    /// With the table, inner or left.
    Joined(&'static str),
    Union(Box<Relation>, Box<Relation>),
    Filtered(Box<Relation>, String),
    /// Other `x` and `n`.
    Computed(Box<Relation>, String, String),
    /// Windows of windows: the aggregates that become `x` and `n`.
    Windowed(Box<Relation>, Window, &'static str, &'static str),
}

/// Lengths in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Window {
    Tumble(i64),
    Hop(i64, i64),
    Cumulate(i64, i64),
    /// Per machine or for all.
    Session(i64, bool),
    /// These three need times that differ.
    Count(i64, bool),
    State,
}

impl Window {
    fn random(random: &mut Seeded, has_differing_times: bool) -> Self {
        let slide = 1 + random.below(6);
        match random.below(if has_differing_times { 8 } else { 6 }) {
            0 | 1 => Self::Tumble(1 + random.below(20)),
            2 => Self::Hop(slide, slide * (1 + random.below(5))),
            3 => Self::Cumulate(slide, slide * (1 + random.below(5))),
            4 | 5 => Self::Session(1 + random.below(4), random.chance(70)),
            6 => Self::Count(1 + random.below(9), random.chance(70)),
            _ => Self::State,
        }
    }

    /// The window function over a relation.
    fn over(&self, from: &Relation) -> String {
        let relation = from.sql();
        let seconds = |n: &i64| format!("INTERVAL '{n}' SECOND");
        let key = |has_key: &bool| if *has_key { ", machine" } else { "" };
        match self {
            Self::Tumble(size) => format!("TUMBLE(({relation}), t, {})", seconds(size)),
            Self::Hop(slide, size) => format!("HOP(({relation}), t, {}, {})", seconds(slide), seconds(size)),
            Self::Cumulate(step, size) => {
                format!("CUMULATE(({relation}), t, {}, {})", seconds(step), seconds(size))
            }
            Self::Session(gap, keyed) => {
                format!("SESSION(({relation}), t, {}{})", seconds(gap), key(keyed))
            }
            Self::Count(size, keyed) => format!("COUNT_WINDOW(({relation}), t, {size}{})", key(keyed)),
            Self::State => format!("STATE_WINDOW(({relation}), t, ok, machine)"),
        }
    }

    /// The keys that are not free to choose.
    fn keys(&self) -> Option<Vec<String>> {
        match self {
            Self::Session(_, keyed) | Self::Count(_, keyed) => {
                Some(if *keyed { vec!["machine".to_owned()] } else { Vec::new() })
            }
            Self::State => Some(vec!["machine".to_owned(), "ok".to_owned()]),
            Self::Tumble(_) | Self::Hop(..) | Self::Cumulate(..) => None,
        }
    }
}

impl Relation {
    fn random(random: &mut Seeded, depth: usize) -> Self {
        let inner = |random: &mut Seeded| Box::new(Self::random(random, depth - 1));
        let sources = ["readings", "others", "strict"];
        match random.below(if depth == 0 { 4 } else { 9 }) {
            0..=2 => Self::Source(random.pick(&sources)),
            3 => Self::Joined(random.pick(&["JOIN", "LEFT JOIN"])),
            4 => Self::Union(inner(random), inner(random)),
            5 | 6 => Self::Filtered(inner(random), boolean(random, 1)),
            7 => Self::Computed(inner(random), float(random, 1), integer(random, 1)),
            _ => {
                let window = match random.below(3) {
                    0 => Window::Tumble(1 + random.below(6)),
                    1 => Window::Hop(2, 2 * (1 + random.below(3))),
                    _ => Window::Cumulate(2, 2 * (1 + random.below(3))),
                };
                let x = random.pick(&["sum(x)", "min(x)", "max(x)"]);
                Self::Windowed(inner(random), window, x, random.pick(&["count(*)", "sum(n)", "max(n)"]))
            }
        }
    }

    /// As the text of a query.
    fn sql(&self) -> String {
        match self {
            Self::Source(name) => format!("SELECT ts AS t, machine, x, n, ok FROM {name}"),
            Self::Joined(join) => format!(
                "SELECT r.ts AS t, m.hall AS machine, r.x - m.bound AS x, r.n, r.ok FROM readings r {join} machines m \
                 ON r.machine = m.machine"
            ),
            Self::Union(a, b) => format!("{} UNION ALL {}", a.sql(), b.sql()),
            Self::Filtered(from, filter) => format!("SELECT * FROM ({}) AS r WHERE {filter}", from.sql()),
            Self::Computed(from, x, n) => {
                format!("SELECT t, machine, {x} AS x, {n} AS n, ok FROM ({}) AS r", from.sql())
            }
            Self::Windowed(from, window, x, n) => format!(
                "SELECT window_end AS t, machine, {x} AS x, {n} AS n, bool_or(ok) AS ok FROM {} \
                 GROUP BY window_start, window_end, machine",
                window.over(from)
            ),
        }
    }

    fn has_differing_times(&self) -> bool {
        match self {
            Self::Source(name) => *name == "strict",
            Self::Filtered(from, _) | Self::Computed(from, ..) => from.has_differing_times(),
            Self::Joined(_) | Self::Union(..) | Self::Windowed(..) => false,
        }
    }

    fn smaller(&self) -> Vec<Self> {
        let rebuilt = |from: &Self, build: &dyn Fn(Box<Self>) -> Self| -> Vec<Self> {
            let inner = from.smaller().into_iter().map(|from| build(Box::new(from)));
            std::iter::once(from.clone()).chain(inner).collect()
        };
        match self {
            Self::Source("strict") => Vec::new(),
            Self::Source(_) | Self::Joined(_) => vec![Self::Source("strict")],
            Self::Union(a, b) => {
                let mut all = rebuilt(a, &|a| Self::Union(a, b.clone()));
                all.extend(rebuilt(b, &|b| Self::Union(a.clone(), b)));
                all
            }
            Self::Filtered(from, filter) => rebuilt(from, &|from| Self::Filtered(from, filter.clone())),
            Self::Computed(from, x, n) => rebuilt(from, &|from| Self::Computed(from, x.clone(), n.clone())),
            Self::Windowed(from, window, x, n) => {
                rebuilt(from, &|from| Self::Windowed(from, window.clone(), x, n))
            }
        }
    }
}

impl Query {
    pub(super) fn random(random: &mut Seeded) -> Self {
        let depth = random.index(4);
        let from = Relation::random(random, depth);
        match random.below(13) {
            10 => {
                let join = random.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
                Self::Pair { left: from, right: Relation::random(random, 1), join }
            }
            11 => {
                let condition = random.pick(&["EXISTS", "NOT EXISTS"]);
                Self::Semi { left: from, right: Relation::random(random, 1), condition }
            }
            12 => Self::Top { from, limit: 1 + random.below(12) },
            0 | 1 => {
                let columns = (0..1 + random.below(4)).map(|_| any(random)).collect();
                Self::Rows { from, columns, filter: random.chance(60).then(|| boolean(random, 2)) }
            }
            2 => {
                let calls = (0..1 + random.below(3)).map(|_| call_over(random, &from)).collect();
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
            from,
        }
    }

    fn sql(&self) -> String {
        let mut columns = vec!["window_start".to_owned(), "window_end".to_owned()];
        columns.extend(named("k", &self.keys));
        columns.extend(named("a", &self.aggregates));
        let keys: String = self.keys.iter().map(|key| format!(", {key}")).collect();
        format!(
            "SELECT {} FROM {}{} GROUP BY window_start, window_end{keys}{}",
            columns.join(", "),
            self.window.over(&self.from),
            clause("WHERE", self.filter.as_ref()),
            clause("HAVING", self.having.as_ref())
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

fn any(random: &mut Seeded) -> String {
    match random.below(4) {
        0 => float(random, 2),
        1 => integer(random, 2),
        2 => text(random, 2),
        _ => boolean(random, 2),
    }
}

fn float(random: &mut Seeded, depth: usize) -> String {
    if depth == 0 {
        return if random.chance(80) { "x".to_owned() } else { quarter(random) };
    }
    let (a, b) = (float(random, depth - 1), float(random, depth - 1));
    match random.below(8) {
        0 => format!("({a} + {b})"),
        1 => format!("({a} - {b})"),
        2 => format!("abs({a})"),
        3 => format!("coalesce({a}, {b})"),
        4 => format!("CASE WHEN {} THEN {a} ELSE {b} END", boolean(random, depth - 1)),
        5 => format!("({a} * {})", 1 + random.below(4)),
        6 => format!("round({a})"),
        _ => format!("greatest({a}, {b})"),
    }
}

fn integer(random: &mut Seeded, depth: usize) -> String {
    if depth == 0 {
        return if random.chance(80) { "n".to_owned() } else { random.below(20).to_string() };
    }
    let (a, b) = (integer(random, depth - 1), integer(random, depth - 1));
    match random.below(7) {
        0 => format!("({a} + {b})"),
        1 => format!("({a} % {})", 2 + random.below(5)),
        2 => format!("coalesce({a}, -1)"),
        3 => format!("CASE WHEN {} THEN {a} END", boolean(random, depth - 1)),
        4 => format!("CAST(length({}) AS BIGINT)", text(random, depth - 1)),
        5 => format!("({a} / {})", 1 + random.below(4)),
        _ => format!("nullif({a}, {b})"),
    }
}

fn text(random: &mut Seeded, depth: usize) -> String {
    if depth == 0 {
        return "machine".to_owned();
    }
    let a = text(random, depth - 1);
    match random.below(5) {
        0 => format!("upper({a})"),
        1 => format!("coalesce({a}, '?')"),
        2 => format!("concat({a}, '-', n % 3)"),
        3 => format!("substr({a}, 2)"),
        _ => format!("CASE WHEN {} THEN {a} ELSE 'none' END", boolean(random, depth - 1)),
    }
}

fn boolean(random: &mut Seeded, depth: usize) -> String {
    if depth > 0 && random.chance(40) {
        let (a, b) = (boolean(random, depth - 1), boolean(random, depth - 1));
        return match random.below(3) {
            0 => format!("({a} AND {b})"),
            1 => format!("({a} OR {b})"),
            _ => format!("NOT {a}"),
        };
    }
    match random.below(8) {
        0 => "ok".to_owned(),
        1 => format!("x > {}", quarter(random)),
        2 => format!("n < {}", random.below(60) - 30),
        3 => format!("machine = 'm{}'", random.below(5)),
        4 => "machine IN ('m1', 'm3', 'north')".to_owned(),
        5 => random
            .pick(&["x IS NULL", "machine IS NOT NULL", "machine IS NULL", "(n IS DISTINCT FROM 3)"])
            .to_owned(),
        6 => "x BETWEEN -300 AND 300".to_owned(),
        _ => "machine LIKE '%1%'".to_owned(),
    }
}

fn quarter(random: &mut Seeded) -> String {
    format!("{}.{}", random.below(600) - 300, random.pick(&["0", "25", "5", "75"]))
}

fn key(random: &mut Seeded) -> String {
    match random.below(6) {
        0..=2 => "machine".to_owned(),
        3 => "ok".to_owned(),
        4 => "n % 3".to_owned(),
        _ => text(random, 1),
    }
}

/// An aggregate that does not depend on the order of the rows.
fn aggregate(random: &mut Seeded) -> String {
    let depth = usize::from(random.chance(30));
    match random.below(14) {
        0 => "count(*)".to_owned(),
        1 => format!("count({})", any(random)),
        2 => format!("sum({})", float(random, depth)),
        3 => format!("sum({})", integer(random, depth)),
        4 => format!("{}({})", random.pick(&["min", "max"]), float(random, depth)),
        5 => format!("{}({})", random.pick(&["min", "max"]), text(random, depth)),
        6 => format!("avg({})", float(random, depth)),
        7 => format!(
            "{}({})",
            random.pick(&["stddev", "var_pop", "rms", "peak_to_peak"]),
            float(random, depth)
        ),
        8 => format!("count(DISTINCT {})", if random.chance(50) { "machine" } else { "n" }),
        9 => format!("{}({})", random.pick(&["bool_and", "bool_or"]), boolean(random, 1)),
        10 => format!("{}(x)", random.pick(&["median", "mad", "iqr"])),
        11 => format!("count(*) FILTER (WHERE {})", boolean(random, 1)),
        12 => format!("max(n) FILTER (WHERE {})", boolean(random, 0)),
        _ => format!("sum(CASE WHEN {} THEN 1 ELSE 0 END)", boolean(random, 1)),
    }
}

fn having(random: &mut Seeded) -> String {
    match random.below(4) {
        0 => format!("count(*) > {}", random.below(6)),
        1 => format!("sum(x) > {}", quarter(random)),
        2 => "max(n) IS NOT NULL".to_owned(),
        _ => "count(DISTINCT machine) < 3 AND min(x) < 0".to_owned(),
    }
}

/// Rows of one time are in a frame of `RANGE` together; `ROWS` takes times that differ.
fn call_over(random: &mut Seeded, from: &Relation) -> String {
    let functions = [
        "count(*)",
        "sum(x)",
        "avg(x)",
        "min(n)",
        "max(x)",
        "count(DISTINCT n)",
        "bool_or(ok)",
        "max(machine)",
    ];
    let partition = random.pick(&["PARTITION BY machine ", "PARTITION BY machine, ok ", ""]);
    let over = |function: &str, frame: &str| format!("{function} OVER ({partition}ORDER BY t{frame})");
    if !from.has_differing_times() || random.chance(40) {
        let seconds = random.below(8);
        let start = [format!("INTERVAL '{seconds}' SECOND PRECEDING"), "UNBOUNDED PRECEDING".to_owned()];
        let end = ["CURRENT ROW".to_owned(), format!("INTERVAL '{}' SECOND FOLLOWING", random.below(3))];
        let frame = format!(" RANGE BETWEEN {} AND {}", random.pick(&start), random.pick(&end));
        return over(random.pick(&functions), &frame);
    }
    match random.below(3) {
        0 => over(
            random.pick(&["lag(x)", "lag(n, 2)", "lag(machine, 1, 'none')", "row_number()", "lead(x)"]),
            "",
        ),
        1 => over(
            random.pick(&["first_value(x)", "last_value(n)", "nth_value(x, 2)"]),
            " ROWS BETWEEN 3 PRECEDING AND CURRENT ROW",
        ),
        _ => {
            let frame = format!(" ROWS BETWEEN {} PRECEDING AND CURRENT ROW", random.below(6));
            over(random.pick(&functions), &frame)
        }
    }
}
