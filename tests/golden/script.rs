//! A golden file: statements, rows of the sources, and queries with the rows or the message that they give.
//!
//! ```text
//! # What the file shows.
//! statement ok
//! CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, bar DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND);
//!
//! rows readings
//! 00:00:01 press 4.0
//! 00:00:13 press 6.0
//!
//! query
//! SELECT window_start, machine, max(bar) AS bar FROM TUMBLE(readings, ts, INTERVAL '10' SECOND)
//! GROUP BY window_start, machine
//! ----
//! 00:00:00 press 4.0
//! 00:00:10 press 6.0
//!
//! statement error no such column: .*baar
//! CREATE VIEW wrong AS SELECT baar FROM readings;
//! ----
//! error: ...
//! ```
//!
//! A blank line ends a block. The rows of a query are sorted, columns apart by blanks; `NULL` is NULL, a text that is
//! empty or has blanks stands in quotes, a time of 1970-01-01 goes without its date. `rows S in order` keeps the order
//! of arrival, so that rows may be late; `rows S generate seed=1 n=500` makes some up. `skipif stream REASON` before a
//! query leaves it to batch execution, `onlyif stream REASON` to the stream.

use std::fmt::Write as _;
use std::ops::Range;

/// What ends the SQL of a block.
const RULE: &str = "----";

/// A file, taken apart.
pub(crate) struct Script {
    lines: Vec<String>,
    pub(crate) blocks: Vec<Block>,
}

/// What stands between two blank lines.
pub(crate) struct Block {
    /// Of its first line, from 1.
    pub(crate) line: usize,
    pub(crate) kind: BlockKind,
    /// The lines below its head, up to the rule.
    pub(crate) text: String,
    /// The lines below the rule.
    pub(crate) expected: Option<Vec<String>>,
    expected_at: Range<usize>,
}

pub(crate) enum BlockKind {
    Statement,
    /// With the pattern that the message has, perhaps empty.
    Error(String),
    Rows(RowsHead),
    Query(Ways),
}

/// The head of a block of rows.
pub(crate) struct RowsHead {
    pub(crate) source: String,
    pub(crate) in_order: bool,
    /// Seed and number of rows.
    pub(crate) generate: Option<(u64, usize)>,
    /// Of made-up rows no two have one time.
    pub(crate) differing_times: bool,
}

/// The ways in which a query is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ways {
    All,
    OnlyBatch,
    OnlyStream,
}

impl Script {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if !lines.first().is_some_and(|line| line.starts_with("# ")) {
            return Err("1: the first line is a comment that says what the file shows".into());
        }
        let mut blocks = Vec::new();
        let mut at = 0;
        while at < lines.len() {
            if lines[at].trim().is_empty() || lines[at].starts_with('#') {
                at += 1;
                continue;
            }
            let end = (at..lines.len()).find(|at| lines[*at].trim().is_empty()).unwrap_or(lines.len());
            blocks.push(block(&lines, at, end).map_err(|error| format!("{}: {error}", at + 1))?);
            at = end;
        }
        Ok(Self { lines, blocks })
    }

    /// The text of the file, with other lines below the rules of some blocks: `(block, lines)`.
    pub(crate) fn with_expected(&self, new: &[(usize, Vec<String>)]) -> String {
        let mut lines = self.lines.clone();
        for (block, rows) in new.iter().rev() {
            let mut rows = rows.clone();
            if self.blocks[*block].expected.is_none() {
                rows.insert(0, RULE.to_owned());
            }
            lines.splice(self.blocks[*block].expected_at.clone(), rows);
        }
        lines.join("\n") + "\n"
    }
}

fn block(lines: &[String], first: usize, end: usize) -> Result<Block, String> {
    let mut at = first;
    let mut ways = Ways::All;
    if let Some(condition) = ["skipif stream ", "onlyif stream "].iter().find(|c| lines[at].starts_with(**c))
    {
        ways = if condition.starts_with("skipif") { Ways::OnlyBatch } else { Ways::OnlyStream };
        at += 1;
    }
    let head = if at < end { lines[at].as_str() } else { "" };
    let kind = match head.split_once(' ').unwrap_or((head, "")) {
        ("statement", "ok") => BlockKind::Statement,
        ("statement", error) if error.starts_with("error") => {
            BlockKind::Error(error["error".len()..].trim().to_owned())
        }
        ("rows", head) => BlockKind::Rows(rows_head(head)?),
        ("query", "") => BlockKind::Query(ways),
        _ => return Err(format!("{head:?} is no head of a block")),
    };
    let body = at + 1..end;
    let rule = body.clone().find(|at| lines[*at] == RULE);
    let text = lines[body.start..rule.unwrap_or(end)].join("\n");
    let expected_at = rule.map_or(end, |rule| rule + 1)..end;
    let expected = rule.map(|_| lines[expected_at.clone()].to_vec());
    Ok(Block { line: first + 1, kind, text, expected, expected_at })
}

fn rows_head(head: &str) -> Result<RowsHead, String> {
    let mut words = head.split_whitespace();
    let source = words.next().ok_or("rows of which source?")?.to_owned();
    let mut rest: Vec<&str> = words.collect();
    let in_order = rest.ends_with(&["in", "order"]);
    rest.truncate(rest.len() - if in_order { 2 } else { 0 });
    let number = |word: &str, name: &str| word.strip_prefix(name).and_then(|n| n.parse::<u64>().ok());
    let generate = match rest.as_slice() {
        [] => None,
        ["generate", seed, n] => match (number(seed, "seed="), number(n, "n=")) {
            (Some(seed), Some(n)) => Some((seed, usize::try_from(n).unwrap())),
            _ => return Err(format!("rows {head}: expected `generate seed=1 n=100`")),
        },
        _ => return Err(format!("rows {head}: expected `in order` or `generate seed=1 n=100`")),
    };
    Ok(RowsHead { source, in_order, generate, differing_times: false })
}

/// The cells of a line: apart by blanks, but not within quotes, which stay.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut cells = Vec::new();
    let mut characters = line.chars().peekable();
    while let Some(first) = characters.next() {
        if first.is_whitespace() {
            continue;
        }
        let mut cell = String::from(first);
        let mut is_quoted = first == '\'';
        while let Some(next) = characters.next_if(|c| is_quoted || !c.is_whitespace()) {
            is_quoted ^= next == '\'' && cell.starts_with('\'');
            cell.push(next);
        }
        cells.push(cell);
    }
    cells
}

/// Rows as lines whose columns stand below each other.
pub(crate) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:width$} ").unwrap();
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
