//! Random expressions over the columns `t, machine, x, n, ok`, as text.

use crate::support::seeded::Seeded;

pub(super) fn any(random: &mut Seeded) -> String {
    match random.below(4) {
        0 => float(random, 2),
        1 => integer(random, 2),
        2 => text(random, 2),
        _ => boolean(random, 2),
    }
}

pub(super) fn float(random: &mut Seeded, depth: usize) -> String {
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

pub(super) fn integer(random: &mut Seeded, depth: usize) -> String {
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

pub(super) fn boolean(random: &mut Seeded, depth: usize) -> String {
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

pub(super) fn key(random: &mut Seeded) -> String {
    match random.below(6) {
        0..=2 => "machine".to_owned(),
        3 => "ok".to_owned(),
        4 => "n % 3".to_owned(),
        _ => text(random, 1),
    }
}

/// An aggregate that does not depend on the order of the rows.
pub(super) fn aggregate(random: &mut Seeded) -> String {
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

pub(super) fn having(random: &mut Seeded) -> String {
    match random.below(4) {
        0 => format!("count(*) > {}", random.below(6)),
        1 => format!("sum(x) > {}", quarter(random)),
        2 => "max(n) IS NOT NULL".to_owned(),
        _ => "count(DISTINCT machine) < 3 AND min(x) < 0".to_owned(),
    }
}

/// Rows of one time are in a frame of `RANGE` together; `ROWS` takes times that differ.
pub(super) fn call_over(random: &mut Seeded, has_differing_times: bool) -> String {
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
    if !has_differing_times || random.chance(40) {
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

/// Rows that the order does not tell apart are peers, so the result does not depend on the order of arrival.
pub(super) fn call_of_all(random: &mut Seeded) -> String {
    let partition = random.pick(&["PARTITION BY machine ", "PARTITION BY ok ", "PARTITION BY n % 3 ", ""]);
    let order = random.pick(&["x", "n DESC", "t DESC", "machine, n NULLS FIRST", "x DESC, t"]);
    let function = random.pick(&["count(*)", "sum(x)", "min(n)", "max(machine)", "avg(n)", "bool_or(ok)"]);
    match random.below(5) {
        0 => format!("{function} OVER ({partition})"),
        1 => {
            let ranking = random.pick(&["rank()", "dense_rank()", "percent_rank()", "cume_dist()"]);
            format!("{ranking} OVER ({partition}ORDER BY {order})")
        }
        2 => format!("{function} OVER ({partition}ORDER BY {order})"),
        3 => {
            let start = random.pick(&["UNBOUNDED PRECEDING", "1 PRECEDING", "CURRENT ROW"]);
            let end = random.pick(&["UNBOUNDED FOLLOWING", "2 FOLLOWING", "CURRENT ROW"]);
            format!("{function} OVER ({partition}ORDER BY {order} GROUPS BETWEEN {start} AND {end})")
        }
        _ => format!(
            "{function} OVER ({partition}ORDER BY {order} RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)"
        ),
    }
}
