//! Random relations of equal columns `t, machine, x, n, ok`, so that each can stand for another, and windows over them.

use super::expressions::{boolean, float, integer};
use crate::support::seeded::Seeded;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Relation {
    Source(&'static str),
    /// With the table, inner or left.
    Joined(&'static str),
    Union(Box<Relation>, Box<Relation>),
    Filtered(Box<Relation>, String),
    /// Each row of the left with the `x` of the row of `strict` before it, inner or left.
    Latest(Box<Relation>, &'static str),
    /// At every so many seconds, of rows of differing times.
    Resampled(Box<Relation>, i64),
    /// Other `x` and `n`.
    Computed(Box<Relation>, String, String),
    /// Windows of windows: the aggregates that become `x` and `n`.
    Windowed(Box<Relation>, Window, &'static str, &'static str),
}

/// Lengths in seconds; the last one of the first three is the offset.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Window {
    Tumble(i64, i64),
    Hop(i64, i64, i64),
    Cumulate(i64, i64, i64),
    /// Per machine or for all.
    Session(i64, bool),
    /// These three need times that differ.
    Count(i64, bool),
    State,
}

impl Window {
    pub(super) fn random(random: &mut Seeded, has_differing_times: bool) -> Self {
        let slide = 1 + random.below(6);
        let offset = if random.chance(30) { random.below(40) - 20 } else { 0 };
        match random.below(if has_differing_times { 8 } else { 6 }) {
            0 | 1 => Self::Tumble(1 + random.below(20), offset),
            2 => Self::Hop(slide, slide * (1 + random.below(5)), offset),
            3 => Self::Cumulate(slide, slide * (1 + random.below(5)), offset),
            4 | 5 => Self::Session(1 + random.below(4), random.chance(70)),
            6 => Self::Count(1 + random.below(9), random.chance(70)),
            _ => Self::State,
        }
    }

    /// The window function over a relation.
    pub(super) fn over(&self, from: &Relation) -> String {
        let relation = from.sql();
        let seconds = |n: &i64| format!("INTERVAL '{n}' SECOND");
        let moved =
            |offset: &i64| if *offset == 0 { String::new() } else { format!(", {}", seconds(offset)) };
        let key = |has_key: &bool| if *has_key { ", machine" } else { "" };
        match self {
            Self::Tumble(size, offset) => {
                format!("TUMBLE(({relation}), t, {}{})", seconds(size), moved(offset))
            }
            Self::Hop(slide, size, offset) => {
                format!("HOP(({relation}), t, {}, {}{})", seconds(slide), seconds(size), moved(offset))
            }
            Self::Cumulate(step, size, offset) => {
                format!("CUMULATE(({relation}), t, {}, {}{})", seconds(step), seconds(size), moved(offset))
            }
            Self::Session(gap, keyed) => {
                format!("SESSION(({relation}), t, {}{})", seconds(gap), key(keyed))
            }
            Self::Count(size, keyed) => format!("COUNT_WINDOW(({relation}), t, {size}{})", key(keyed)),
            Self::State => format!("STATE_WINDOW(({relation}), t, ok, machine)"),
        }
    }

    /// The keys that are not free to choose.
    pub(super) fn keys(&self) -> Option<Vec<String>> {
        match self {
            Self::Session(_, keyed) | Self::Count(_, keyed) => {
                Some(if *keyed { vec!["machine".to_owned()] } else { Vec::new() })
            }
            Self::State => Some(vec!["machine".to_owned(), "ok".to_owned()]),
            Self::Tumble(..) | Self::Hop(..) | Self::Cumulate(..) => None,
        }
    }
}

impl Relation {
    pub(super) fn random(random: &mut Seeded, depth: usize) -> Self {
        let inner = |random: &mut Seeded| Box::new(Self::random(random, depth - 1));
        let sources = ["readings", "others", "strict"];
        match random.below(if depth == 0 { 4 } else { 11 }) {
            0..=2 => Self::Source(random.pick(&sources)),
            3 => Self::Joined(random.pick(&["JOIN", "LEFT JOIN"])),
            4 => Self::Union(inner(random), inner(random)),
            5 | 6 => Self::Filtered(inner(random), boolean(random, 1)),
            7 => Self::Computed(inner(random), float(random, 1), integer(random, 1)),
            8 => Self::Latest(inner(random), random.pick(&["JOIN", "LEFT JOIN"])),
            9 => {
                let strict = Box::new(Self::Source("strict"));
                let filtered = Self::Filtered(strict.clone(), boolean(random, 1));
                let from = if random.chance(50) { strict } else { Box::new(filtered) };
                Self::Resampled(from, 1 + random.below(4))
            }
            _ => {
                let window = match random.below(3) {
                    0 => Window::Tumble(1 + random.below(6), 0),
                    1 => Window::Hop(2, 2 * (1 + random.below(3)), 0),
                    _ => Window::Cumulate(2, 2 * (1 + random.below(3)), 0),
                };
                let x = random.pick(&["sum(x)", "min(x)", "max(x)"]);
                Self::Windowed(inner(random), window, x, random.pick(&["count(*)", "sum(n)", "max(n)"]))
            }
        }
    }

    /// As the text of a query.
    pub(super) fn sql(&self) -> String {
        match self {
            Self::Source(name) => format!("SELECT ts AS t, machine, x, n, ok FROM {name}"),
            Self::Joined(join) => format!(
                "SELECT r.ts AS t, m.hall AS machine, r.x - m.bound AS x, r.n, r.ok FROM readings r {join} machines m \
                 ON r.machine = m.machine"
            ),
            Self::Union(a, b) => format!("{} UNION ALL {}", a.sql(), b.sql()),
            Self::Filtered(from, filter) => format!("SELECT * FROM ({}) AS r WHERE {filter}", from.sql()),
            Self::Latest(from, join) => format!(
                "SELECT a.t, a.machine, b.x AS x, a.n, a.ok FROM ({}) AS a ASOF {join} strict AS b \
                 MATCH_CONDITION (a.t >= b.ts) ON a.machine = b.machine",
                from.sql()
            ),
            Self::Resampled(from, seconds) => format!(
                "SELECT t, machine, x, n, ok FROM RESAMPLE(({}), t, INTERVAL '{seconds}' SECOND, machine, \
                 PREVIOUS(x, n, ok), MAX_GAP => INTERVAL '5' SECOND, SKIP_GAPS => true)",
                from.sql()
            ),
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

    pub(super) fn has_differing_times(&self) -> bool {
        match self {
            Self::Source(name) => *name == "strict",
            Self::Filtered(from, _) | Self::Computed(from, ..) | Self::Latest(from, _) => {
                from.has_differing_times()
            }
            Self::Joined(_) | Self::Union(..) | Self::Windowed(..) | Self::Resampled(..) => false,
        }
    }

    pub(super) fn smaller(&self) -> Vec<Self> {
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
            Self::Latest(from, join) => rebuilt(from, &|from| Self::Latest(from, join)),
            // What is in it is a filter of `strict` at most.
            Self::Resampled(from, seconds) => {
                from.smaller().into_iter().map(|from| Self::Resampled(Box::new(from), *seconds)).collect()
            }
            Self::Computed(from, x, n) => rebuilt(from, &|from| Self::Computed(from, x.clone(), n.clone())),
            Self::Windowed(from, window, x, n) => {
                rebuilt(from, &|from| Self::Windowed(from, window.clone(), x, n))
            }
        }
    }
}
