//! Subqueries over the table `machines`, in the SELECT list and in conditions of a query over `r`.

use super::expressions::boolean;
use crate::support::seeded::Seeded;

/// A value.
pub(super) fn subquery(random: &mut Seeded) -> String {
    match random.below(7) {
        0 => membership(random),
        1 => exists(random),
        2 => format!("(SELECT count(*) FROM machines AS m WHERE m.bound {} r.x)", comparison(random)),
        3 => format!(
            "(SELECT {}(m.bound) FROM machines AS m WHERE m.machine = r.machine)",
            random.pick(&["min", "max", "count"])
        ),
        4 => format!(
            "(SELECT m.hall FROM machines AS m WHERE m.bound {} r.x ORDER BY m.bound DESC, m.machine LIMIT 1)",
            comparison(random)
        ),
        5 => "(SELECT sum(m.bound) FROM machines AS m WHERE m.machine <> r.machine AND m.bound < r.x)".into(),
        _ => format!("CASE WHEN {} THEN 1 WHEN {} THEN 2 ELSE 3 END", membership(random), exists(random)),
    }
}

/// A condition of `WHERE`.
pub(super) fn condition_with_subquery(random: &mut Seeded) -> String {
    let condition = if random.chance(50) { membership(random) } else { exists(random) };
    match random.below(4) {
        0 => condition,
        1 => format!("({condition}) IS NOT FALSE"),
        2 => format!("{condition} OR {}", boolean(random, 0)),
        _ => format!("NOT ({condition}) AND {}", boolean(random, 0)),
    }
}

fn membership(random: &mut Seeded) -> String {
    let not = random.pick(&["", "NOT "]);
    match random.below(4) {
        0 => format!("machine {not}IN (SELECT hall FROM machines)"),
        1 => format!("machine {not}IN (SELECT machine FROM machines WHERE bound > 0)"),
        2 => format!("(machine, ok) {not}IN (SELECT machine, bound > 0 FROM machines)"),
        _ => format!("x {not}IN (SELECT bound FROM machines WHERE bound IS NOT NULL)"),
    }
}

fn exists(random: &mut Seeded) -> String {
    let not = random.pick(&["", "NOT "]);
    let and = random.pick(&["", " AND m.bound < r.x", " AND m.hall IS NOT NULL"]);
    format!("{not}EXISTS (SELECT 1 FROM machines AS m WHERE m.machine = r.machine{and})")
}

fn comparison(random: &mut Seeded) -> &'static str {
    random.pick(&["<", "<=", ">", ">=", "<>"])
}
