//! `GROUP BY` and `DISTINCT` without a window function.

use super::queries::{Query, query};

/// One aggregate per machine over all rows.
macro_rules! grouped {
    ($aggregates:literal) => {
        concat!("SELECT machine, ", $aggregates, " FROM readings GROUP BY machine")
    };
}

/// `GROUP BY` without a window function, closed by event time.
pub(super) const CLOSING_GROUPS: &[Query] = &[
    query(
        "by_window",
        "SELECT window_start, window_end, machine, sum(x) AS total, count(*) AS rows \
         FROM TUMBLE(readings, ts, INTERVAL '2' SECOND) GROUP BY window_start, window_end, machine",
    ),
    query(
        "of_window",
        "SELECT window_start, count(*) AS a, sum(total) AS b FROM by_window GROUP BY window_start",
    ),
    query(
        "of_both_bounds",
        "SELECT window_start, window_end, max(rows) AS a FROM by_window GROUP BY window_start, window_end \
         HAVING max(rows) > 1",
    ),
    query(
        "binned",
        "SELECT date_bin(INTERVAL '10 seconds', ts) AS t, machine, count(*) AS a, sum(x) AS b, median(y) AS c \
         FROM readings GROUP BY date_bin(INTERVAL '10 seconds', ts), machine",
    ),
    query(
        "truncated",
        "SELECT date_trunc('minute', ts) AS t, count(*) AS a, avg(x) AS b, count(DISTINCT machine) AS c \
         FROM readings GROUP BY 1",
    ),
    query("by_instant", "SELECT ts, machine, count(*) AS a, max(x) AS b FROM readings GROUP BY ts, machine"),
    query(
        "earlier",
        "SELECT ts - INTERVAL '3' SECOND AS t, count(*) AS a FROM readings WHERE ok GROUP BY ts - INTERVAL '3' SECOND",
    ),
    query(
        "bins_of_bins",
        "SELECT date_bin(INTERVAL '30 seconds', t) AS u, sum(a) AS a, count(*) AS b FROM binned GROUP BY 1",
    ),
    query(
        "window_of_bins",
        "SELECT window_start, machine, sum(a) AS a FROM TUMBLE(binned, t, INTERVAL '20' SECOND) \
         GROUP BY window_start, machine",
    ),
    query("instants", "SELECT DISTINCT ts, machine FROM readings"),
    query(
        "window_of_instants",
        "SELECT window_start, count(*) AS a FROM TUMBLE(instants, ts, INTERVAL '4' SECOND) GROUP BY window_start",
    ),
    query("distinct_lines", "SELECT DISTINCT machine, line, ok FROM readings WHERE x > 0"),
    query("either", "SELECT machine, line FROM readings UNION SELECT machine, line FROM others"),
    query("keys_only", "SELECT machine FROM readings GROUP BY machine"),
];

/// `GROUP BY` without a window function: rows that are kept up to date, added up at the end.
pub(super) const GROUPS: &[Query] = &[
    query("group_counts", grouped!("count(*) AS a, count(x) AS b, count(x, y) AS c, count(1) AS d")),
    query("group_sums", grouped!("sum(x) AS a, sum(n) AS b, avg(x) AS c, avg(n) AS d, sum(x + n) AS e")),
    query(
        "group_extremes",
        grouped!("min(x) AS a, max(x) AS b, min(n) AS c, max(line) AS d, min(ts) AS e, max(ok) AS f"),
    ),
    query(
        "group_spreads",
        grouped!("stddev(x) AS a, stddev_pop(x) AS b, var_samp(x) AS c, variance(x) AS d"),
    ),
    query("group_bits", grouped!("bool_and(ok) AS a, bool_or(ok) AS b, bit_and(n) AS c, bit_xor(n) AS d")),
    query(
        "group_distinct",
        grouped!("count(DISTINCT n) AS a, sum(DISTINCT n) AS b, count(DISTINCT line) AS c, avg(x) AS d"),
    ),
    query(
        "group_filtered",
        grouped!(
            "count(*) FILTER (WHERE x > 0) AS a, sum(x) FILTER (WHERE ok) AS b, \
             count(DISTINCT n) FILTER (WHERE x > y) AS c, avg(n) AS d"
        ),
    ),
    query(
        "group_ordered",
        grouped!(
            "first_value(x ORDER BY ts, id) AS a, last_value(line ORDER BY id DESC) AS b, \
             array_agg(n ORDER BY ts, id) AS c, string_agg(line, ',' ORDER BY id) AS d"
        ),
    ),
    query("group_middles", grouped!("median(x) AS a, percentile(x, 90) AS b, rms(x) AS c, kurtosis(y) AS d")),
    query(
        "group_in_time",
        grouped!(
            "slope(x) AS a, slope(x, ts) AS b, autocorrelation(x, 1) AS c, time_weighted_avg(x, ts) AS d"
        ),
    ),
    query("of_everything", "SELECT count(*) AS a, sum(x) AS b, max(ts) AS c FROM readings"),
    query("of_nothing", "SELECT count(*) AS a, sum(x) AS b, max(n) AS c FROM readings WHERE x > 1e9"),
    query("no_group", "SELECT machine, count(*) AS a FROM readings WHERE x > 1e9 GROUP BY machine"),
    query(
        "two_keys",
        "SELECT upper(line) AS l, n % 3 AS m, count(*) AS a, sum(y) AS b FROM others GROUP BY upper(line), n % 3",
    ),
    query(
        "having",
        "SELECT machine, avg(x) AS a FROM readings GROUP BY machine HAVING count(*) > 9 AND avg(x) > 0",
    ),
    query(
        "rolled_up",
        "SELECT machine, line, count(*) AS a, sum(x) AS b, grouping(machine) AS c, grouping(line) AS d \
         FROM readings GROUP BY ROLLUP (machine, line)",
    ),
    query(
        "cubed",
        "SELECT machine, ok, count(*) AS a, min(x) AS b FROM readings GROUP BY CUBE (machine, ok)",
    ),
    query(
        "sets",
        "SELECT machine, line, n % 2 AS m, count(*) AS a FROM readings \
         GROUP BY GROUPING SETS ((machine, line), (n % 2), (), (machine), (machine))",
    ),
    query(
        "sets_of_nothing",
        "SELECT machine, count(*) AS a FROM readings WHERE x > 1e9 GROUP BY ROLLUP (machine)",
    ),
    query(
        "mixed_sets",
        "SELECT ok, machine, line, count(*) AS a FROM readings GROUP BY ok, ROLLUP (machine, line)",
    ),
    query("of_table", "SELECT hall, count(*) AS a, avg(x_limit) AS b FROM machines GROUP BY hall"),
];

/// `GROUP BY` over rows that are taken back.
pub(super) const GROUPS_OF_GROUPS: &[Query] = &[
    query(
        "inner_groups",
        "SELECT machine, line, count(*) AS c, sum(x) AS s, min(n) AS lo, max(ts) AS t, bool_or(ok) AS ok \
         FROM readings GROUP BY machine, line",
    ),
    query(
        "again_sums",
        "SELECT line, count(*) AS a, sum(c) AS b, sum(s) AS c, avg(s) AS d, avg(c) AS e, count(s) AS f \
         FROM inner_groups GROUP BY line",
    ),
    query(
        "again_spreads",
        "SELECT line, stddev(s) AS a, var_pop(s) AS b, variance(c) AS c, stddev_pop(c) AS d FROM inner_groups GROUP BY line",
    ),
    query(
        "again_extremes",
        "SELECT line, min(s) AS a, max(s) AS b, min(t) AS c, max(lo) AS d, max(machine) AS e, bool_and(ok) AS f \
         FROM inner_groups GROUP BY line",
    ),
    query(
        "again_distinct",
        "SELECT line, count(DISTINCT c) AS a, sum(DISTINCT c) AS b, count(DISTINCT ok) AS d FROM inner_groups GROUP BY line",
    ),
    query(
        "again_filtered",
        "SELECT line, count(*) FILTER (WHERE c > 2) AS a, sum(s) FILTER (WHERE ok) AS b, \
         count(DISTINCT lo) FILTER (WHERE s > 0) AS c FROM inner_groups GROUP BY line",
    ),
    query(
        "again_kept",
        "SELECT line, median(s) AS a, percentile(s, 25) AS b, array_agg(c ORDER BY t, machine) AS c, \
         bit_xor(c) AS d, corr(s, c) AS e, rms(s) AS f, first_value(machine ORDER BY t DESC, machine) AS g \
         FROM inner_groups GROUP BY line",
    ),
    query("again_in_time", "SELECT line, slope(s, t) AS a FROM inner_groups GROUP BY line"),
    query("again_of_all", "SELECT count(*) AS a, sum(c) AS b, max(s) AS c FROM inner_groups WHERE c > 3"),
    query("histogram", "SELECT c, count(*) AS machines FROM inner_groups GROUP BY c"),
    query(
        "of_histogram",
        "SELECT max(c) AS a, sum(c * machines) AS b, count(*) AS d FROM histogram WHERE machines > 1",
    ),
    query("distinct_of_groups", "SELECT DISTINCT c, ok FROM inner_groups"),
    query(
        "again_rolled_up",
        "SELECT line, ok, sum(c) AS a, count(*) AS b FROM inner_groups GROUP BY ROLLUP (line, ok)",
    ),
    query("again_having", "SELECT line, sum(c) AS a FROM inner_groups GROUP BY line HAVING sum(c) > 10"),
    query(
        "groups_and_rows",
        "SELECT line, count(*) AS a, sum(v) AS b FROM (SELECT line, s AS v FROM inner_groups UNION ALL \
         SELECT line, x FROM others) GROUP BY line",
    ),
    query(
        "groups_and_own_rows",
        "SELECT machine, count(*) AS a, sum(v) AS b FROM (SELECT machine, s AS v FROM inner_groups UNION ALL \
         SELECT machine, x FROM readings) GROUP BY machine",
    ),
];

/// Groups among joins, subqueries and top-k.
pub(super) const GROUPS_AND_JOINS: &[Query] = &[
    query("counted", "SELECT machine, count(*) AS c, sum(x) AS s FROM readings GROUP BY machine"),
    query("counted_others", "SELECT machine, count(*) AS c, max(x) AS top FROM others GROUP BY machine"),
    query("above_mean", "SELECT id, x FROM readings WHERE x > (SELECT avg(x) FROM readings)"),
    query(
        "above_own_mean",
        "SELECT id FROM readings r WHERE x > (SELECT avg(x) FROM readings o WHERE o.machine = r.machine)",
    ),
    query(
        "with_counts",
        "SELECT m.machine, (SELECT count(*) FROM readings r WHERE r.machine = m.machine) AS c FROM machines m",
    ),
    query("busiest", "SELECT machine, c FROM counted ORDER BY c DESC, machine LIMIT 2"),
    query(
        "groups_joined",
        "SELECT a.machine, a.c, b.machine AS other, b.c AS d, b.top FROM counted a FULL JOIN counted_others b \
         ON a.machine = b.machine",
    ),
    query(
        "groups_with_table",
        "SELECT g.machine, g.c, m.hall FROM counted g LEFT JOIN machines m ON g.machine = m.machine",
    ),
    query(
        "of_joined_streams",
        "SELECT a.line, count(*) AS n, sum(b.x) AS s, min(a.x - b.x) AS d FROM readings a JOIN others b \
         ON a.machine = b.machine GROUP BY a.line",
    ),
    query(
        "of_left_joined",
        "SELECT count(*) AS a, count(b.id) AS b, count(DISTINCT b.line) AS c, median(b.x) AS d FROM readings a \
         LEFT JOIN others b ON a.n = b.n",
    ),
    query("intersected", "SELECT machine, line FROM readings INTERSECT SELECT machine, line FROM others"),
    query("excepted", "SELECT machine, n FROM readings EXCEPT SELECT machine, n FROM others"),
    query(
        "of_latest",
        "SELECT line, count(*) AS a, avg(x) AS b FROM (SELECT *, row_number() OVER (PARTITION BY machine ORDER BY ts DESC, \
         id) AS rn FROM readings) WHERE rn = 1 GROUP BY line",
    ),
    query("distinct_of_table", "SELECT DISTINCT hall FROM machines"),
    query(
        "halls",
        "SELECT m.hall, sum(g.c) AS a FROM counted g JOIN machines m ON g.machine = m.machine GROUP BY m.hall",
    ),
];
