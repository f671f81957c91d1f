//! Queries over windows of every kind, that are tried over random rows.

use super::queries::{Query, query};

/// Windows that grow, and runs of a state.
pub(super) const KINDS: &[Query] = &[
    query(
        "cumulated",
        "SELECT window_start, window_end, machine, count(*) AS a, sum(x) AS b, avg(y) AS c, max(n) AS d, median(x) AS e \
         FROM CUMULATE(readings, ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND) GROUP BY window_start, window_end, machine",
    ),
    query(
        "cumulated_of_all",
        "SELECT window_end, count(*) AS a, min(x) AS b, count(DISTINCT machine) AS c \
         FROM CUMULATE(readings, ts, INTERVAL '1' SECOND, INTERVAL '8' SECOND) GROUP BY window_start, window_end",
    ),
    query(
        "cumulated_in_one_step",
        "SELECT window_start, window_end, line, count(*) AS a \
         FROM CUMULATE(readings, ts, INTERVAL '5' SECOND, INTERVAL '5' SECOND) GROUP BY window_start, window_end, line",
    ),
    query(
        "cumulated_per_machine",
        "SELECT window_start, window_end, machine, count(*) AS a, stddev(x) AS b \
         FROM CUMULATE(others, ts, INTERVAL '3' SECOND, INTERVAL '12' SECOND) GROUP BY window_start, window_end, machine",
    ),
    query(
        "cumulated_rows",
        "SELECT window_start, window_end, id, x FROM CUMULATE(readings, ts, INTERVAL '2' SECOND, INTERVAL '6' SECOND) \
         WHERE x > 0",
    ),
    query(
        "states",
        "SELECT window_start, window_end, machine, line, count(*) AS a, sum(x) AS b, max(n) AS c, median(x) AS d \
         FROM STATE_WINDOW(readings, ts, line, machine) GROUP BY window_start, window_end, machine, line",
    ),
    query(
        "states_with_gaps",
        "SELECT window_start, window_end, machine, ok, count(*) AS a, avg(x) AS b, min(id) AS c \
         FROM STATE_WINDOW(readings, ts, ok, machine) GROUP BY window_start, window_end, machine, ok",
    ),
    query(
        "states_of_all",
        "SELECT window_start, line, count(*) AS a, array_agg(c ORDER BY t) AS b FROM STATE_WINDOW( \
         (SELECT window_end AS t, max(line) AS line, count(*) AS c FROM TUMBLE(readings, ts, INTERVAL '1' SECOND) \
          GROUP BY window_end), t, line) GROUP BY window_start, window_end, line",
    ),
    query(
        "states_unnamed",
        "SELECT window_start, window_end, line, count(*) AS a, sum(c) AS b FROM STATE_WINDOW( \
         (SELECT window_end AS t, line, count(*) AS c, count(*) > 1 AS busy FROM TUMBLE(readings, ts, INTERVAL '1' SECOND) \
          GROUP BY window_end, line), t, busy, line) GROUP BY window_start, window_end, line",
    ),
    query(
        "states_computed",
        "SELECT window_start, window_end, machine, band, count(*) AS a, rms(x) AS b \
         FROM STATE_WINDOW((SELECT ts, machine, x, CASE WHEN x > 40 THEN 2 WHEN x > 0 THEN 1 ELSE 0 END AS band FROM readings), \
                           ts, band, machine) \
         GROUP BY window_start, window_end, machine, band HAVING count(*) > 1",
    ),
    query(
        "states_per_machine",
        "SELECT window_start, window_end, machine, n, count(*) AS a \
         FROM STATE_WINDOW(others, ts, n, machine) GROUP BY window_start, window_end, machine, n",
    ),
];

/// The same aggregates over rows of any window.
macro_rules! special {
    ($windows:literal) => {
        concat!(
            "SELECT window_start, window_end, machine, count(DISTINCT line) AS a, sum(DISTINCT n) AS b, \
             array_agg(DISTINCT line ORDER BY line) AS c, array_agg(x ORDER BY ts, id) AS d, \
             first_value(x ORDER BY ts, id) AS e, last_value(n ORDER BY ts DESC, id DESC) AS f, \
             string_agg(line, ',' ORDER BY y, id) AS g, \
             count(*) FILTER (WHERE ok) AS i, count(DISTINCT n) FILTER (WHERE x > 0) AS j, \
             array_agg(id ORDER BY id) FILTER (WHERE y > 0) AS k, min(x) FILTER (WHERE line = 'Line 1') AS l \
             FROM ",
            $windows,
            " GROUP BY window_start, window_end, machine"
        )
    };
}

/// DISTINCT, ORDER BY and FILTER in aggregates, for every kind of window.
pub(super) const AGGREGATES: &[Query] = &[
    query("tumble", special!("TUMBLE(readings, ts, INTERVAL '5' SECOND)")),
    query("hop", special!("HOP(readings, ts, INTERVAL '2' SECOND, INTERVAL '6' SECOND)")),
    query("hop_of_many", special!("HOP(readings, ts, INTERVAL '1' SECOND, INTERVAL '9' SECOND)")),
    query("cumulate", special!("CUMULATE(readings, ts, INTERVAL '2' SECOND, INTERVAL '8' SECOND)")),
    query("session", special!("SESSION(readings, ts, INTERVAL '1' SECOND, machine)")),
    query("count_window", special!("COUNT_WINDOW(readings, ts, 5, machine)")),
    query("count_window_overlapping", special!("COUNT_WINDOW(readings, ts, 2, 6, machine)")),
    query(
        "state_window",
        "SELECT window_start, window_end, machine, ok, count(DISTINCT line) AS a, sum(DISTINCT n) AS b, \
         array_agg(x ORDER BY ts, id) AS c, first_value(x ORDER BY y, id) AS d, string_agg(line, ',' ORDER BY y, id) AS e, \
         count(DISTINCT n) FILTER (WHERE x > 0) AS f FROM STATE_WINDOW(readings, ts, ok, machine) \
         GROUP BY window_start, window_end, machine, ok",
    ),
    query(
        "nth_values",
        "SELECT window_start, window_end, machine, nth_value(id, 2 ORDER BY x DESC, id) AS a, count(*) AS b \
         FROM HOP(readings, ts, INTERVAL '2' SECOND, INTERVAL '6' SECOND) GROUP BY window_start, window_end, machine",
    ),
    query(
        "nth_values_from_the_end",
        "SELECT window_start, machine, nth_value(x, -1 ORDER BY ts, id) FILTER (WHERE ok) AS a \
         FROM SESSION(readings, ts, INTERVAL '1' SECOND, machine) GROUP BY window_start, window_end, machine",
    ),
    query(
        "distinct_rows",
        "SELECT DISTINCT window_start, window_end, machine, line FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) WHERE x > 0",
    ),
    query(
        "distinct_rows_of_hops",
        "SELECT DISTINCT window_end, upper(machine) AS m FROM HOP(readings, ts, INTERVAL '2' SECOND, INTERVAL '4' SECOND)",
    ),
    query(
        "sums",
        "SELECT window_start, window_end, machine, count(*) AS c FROM TUMBLE(readings, ts, INTERVAL '4' SECOND) \
         GROUP BY window_start, window_end, machine",
    ),
    query("distinct_results", "SELECT DISTINCT window_start, window_end, c FROM sums"),
    query("distinct_times", "SELECT DISTINCT ts, machine FROM readings"),
];

/// GROUPING SETS, ROLLUP and CUBE.
pub(super) const GROUPING_SETS: &[Query] = &[
    query(
        "sets",
        "SELECT window_start, window_end, machine, line, count(*) AS a, sum(x) AS b, grouping(machine) AS c, \
         grouping(machine, line) AS d FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
         GROUP BY GROUPING SETS ((window_start, window_end, machine), (window_start, window_end, line), \
                                 (window_start, window_end))",
    ),
    query(
        "rollup",
        "SELECT window_start, window_end, machine, line, count(*) AS a, max(x) AS b, grouping(line) AS c \
         FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, window_end, ROLLUP (machine, line)",
    ),
    query(
        "cube",
        "SELECT window_start, machine, line, ok, count(*) AS a, avg(x) AS b, grouping(machine, line, ok) AS c \
         FROM HOP(readings, ts, INTERVAL '3' SECOND, INTERVAL '6' SECOND) GROUP BY window_start, CUBE (machine, line, ok)",
    ),
    query(
        "sets_having",
        "SELECT window_end, upper(machine) AS m, count(*) AS a, count(DISTINCT line) AS b \
         FROM CUMULATE(readings, ts, INTERVAL '3' SECOND, INTERVAL '6' SECOND) WHERE x > 0 \
         GROUP BY window_end, ROLLUP (upper(machine)) HAVING count(*) > 1",
    ),
    query(
        "sets_twice",
        "SELECT window_start, machine, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
         GROUP BY GROUPING SETS ((window_start, machine), (window_start), (window_start))",
    ),
    query(
        "inner_sums",
        "SELECT window_start, window_end, machine, line, sum(x) AS total FROM TUMBLE(readings, ts, INTERVAL '2' SECOND) \
         GROUP BY window_start, window_end, machine, line",
    ),
    query(
        "sets_of_results",
        "SELECT window_start, window_end, machine, line, sum(total) AS a, count(*) AS b FROM inner_sums \
         GROUP BY window_start, window_end, ROLLUP (machine, line)",
    ),
    query(
        "largest_of_results",
        "SELECT window_end, max(total) AS a, count(*) FILTER (WHERE total > 0) AS b FROM inner_sums GROUP BY window_end",
    ),
];

/// OVER with PARTITION BY a bound of a window.
pub(super) const PER_WINDOW: &[Query] = &[
    query(
        "totals",
        "SELECT window_start, window_end, machine, line, sum(x) AS total, count(*) AS rows \
         FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, window_end, machine, line",
    ),
    query(
        "top",
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY total DESC, machine, line) \
         AS place FROM totals) WHERE place <= 3",
    ),
    query(
        "top_of_each",
        "SELECT machine, line, total, place FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_end, machine \
         ORDER BY total NULLS LAST, line) AS place FROM totals) t WHERE place = 1",
    ),
    query(
        "ranks",
        "SELECT window_start, machine, line, rank() OVER w AS a, dense_rank() OVER w AS b, percent_rank() OVER w AS c, \
         cume_dist() OVER w AS d, ntile(2) OVER (PARTITION BY window_start, window_end ORDER BY rows, machine, line) AS e \
         FROM totals WINDOW w AS (PARTITION BY window_start, window_end ORDER BY rows)",
    ),
    query(
        "shares",
        "SELECT window_start, machine, line, total / sum(total) OVER (PARTITION BY window_start, window_end) AS a, \
         rows - avg(rows) OVER (PARTITION BY window_start, window_end, machine) AS b, \
         lag(rows) OVER (PARTITION BY window_start ORDER BY machine, line) AS c, \
         sum(rows) OVER (PARTITION BY window_start ORDER BY machine, line ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS d, \
         first_value(line) OVER (PARTITION BY window_start ORDER BY total DESC NULLS LAST, machine, line) AS e, \
         max(rows) OVER (PARTITION BY window_start ORDER BY rows RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS f FROM totals",
    ),
    query(
        "top_rows",
        "SELECT window_start, id, x FROM (SELECT window_start, window_end, id, x, ROW_NUMBER() OVER \
         (PARTITION BY window_start, window_end ORDER BY x DESC NULLS LAST, id) AS place \
         FROM HOP(readings, ts, INTERVAL '2' SECOND, INTERVAL '4' SECOND)) WHERE place <= 2",
    ),
    query(
        "top_sessions",
        "SELECT * FROM (SELECT *, rank() OVER (PARTITION BY window_end ORDER BY a DESC, machine) AS place FROM \
         (SELECT window_start, window_end, machine, count(*) AS a FROM SESSION(readings, ts, INTERVAL '1' SECOND, machine) \
          GROUP BY window_start, window_end, machine)) WHERE place < 3",
    ),
    query(
        "window_of_top",
        "SELECT window_start, count(*) AS a, sum(total) AS b FROM TUMBLE(top, window_end, INTERVAL '10' SECOND) \
         GROUP BY window_start",
    ),
    query(
        "joined_top",
        "SELECT t.machine, t.place, m.hall FROM top t LEFT JOIN machines m ON t.machine = m.machine",
    ),
];

/// Windows over the results of windows.
pub(super) const NESTED: &[Query] = &[
    query(
        "small",
        "SELECT window_start, window_end, machine, sum(x) AS total, count(*) AS rows \
         FROM TUMBLE(readings, ts, INTERVAL '1' SECOND) GROUP BY window_start, window_end, machine",
    ),
    query(
        "busy",
        "SELECT window_start, window_end, machine, count(*) AS rows, sum(x) AS total \
         FROM SESSION(readings, ts, INTERVAL '700' MILLISECOND, machine) GROUP BY window_start, window_end, machine",
    ),
    query(
        "blocks",
        "SELECT window_start, window_end, machine, max(x) AS top FROM COUNT_WINDOW(readings, ts, 3, machine) \
         GROUP BY window_start, window_end, machine",
    ),
    query(
        "hop_of_tumble",
        "SELECT window_start, window_end, machine, sum(total) AS a, sum(rows) AS b \
         FROM HOP(small, window_end, INTERVAL '2' SECOND, INTERVAL '8' SECOND) GROUP BY window_start, window_end, machine",
    ),
    query(
        "cumulate_of_tumble",
        "SELECT window_start, window_end, sum(rows) AS a \
         FROM CUMULATE(small, window_start, INTERVAL '3' SECOND, INTERVAL '9' SECOND) GROUP BY window_start, window_end",
    ),
    query(
        "session_of_tumble",
        "SELECT window_start, window_end, machine, count(*) AS a, sum(rows) AS b \
         FROM SESSION(small, window_end, INTERVAL '2' SECOND, machine) GROUP BY window_start, window_end, machine",
    ),
    query(
        "count_of_tumble",
        "SELECT window_start, window_end, machine, sum(rows) AS a FROM COUNT_WINDOW(small, window_end, 2, 4, machine) \
         GROUP BY window_start, window_end, machine",
    ),
    query(
        "states_of_tumble",
        "SELECT window_start, window_end, machine, busy, count(*) AS a, sum(rows) AS b \
         FROM STATE_WINDOW((SELECT *, rows > 1 AS busy FROM small), window_end, busy, machine) \
         GROUP BY window_start, window_end, machine, busy",
    ),
    query(
        "tumble_of_session",
        "SELECT window_start, window_end, count(*) AS a, sum(rows) AS b FROM TUMBLE(busy, window_end, INTERVAL '10' SECOND) \
         GROUP BY window_start, window_end",
    ),
    query(
        "hop_of_session",
        "SELECT window_end, machine, max(rows) AS a FROM HOP(busy, window_end, INTERVAL '5' SECOND, INTERVAL '10' SECOND) \
         GROUP BY window_end, machine",
    ),
    query(
        "session_of_session",
        "SELECT window_start, window_end, count(*) AS a FROM SESSION(busy, window_end, INTERVAL '3' SECOND) \
         GROUP BY window_start, window_end",
    ),
    query(
        "tumble_of_count",
        "SELECT window_start, machine, count(*) AS a, max(top) AS b FROM TUMBLE(blocks, window_end, INTERVAL '10' SECOND) \
         GROUP BY window_start, machine",
    ),
    query(
        "tumble_of_cumulate",
        "SELECT window_start, count(*) AS a, max(c) AS b FROM TUMBLE((SELECT window_end AS t, count(*) AS c \
         FROM CUMULATE(readings, ts, INTERVAL '2' SECOND, INTERVAL '6' SECOND) GROUP BY window_start, window_end), \
         t, INTERVAL '12' SECOND) GROUP BY window_start",
    ),
    query(
        "tumble_of_group",
        "SELECT window_start, max(most) AS a FROM TUMBLE((SELECT window_end AS t, max(rows) AS most FROM small \
         GROUP BY window_end), t, INTERVAL '6' SECOND) GROUP BY window_start",
    ),
];

/// Windows of a source whose rows may be late, with what reads them.
pub(super) const CORRECTED: &[Query] = &[
    query(
        "sums",
        "SELECT window_start, window_end, machine, count(*) AS rows, sum(x) AS total, max(n) AS most, median(x) AS middle \
         FROM TUMBLE(readings, ts, INTERVAL '2' SECOND) GROUP BY window_start, window_end, machine",
    ),
    query(
        "of_all",
        "SELECT window_end, count(*) AS a, min(x) AS b FROM TUMBLE(readings, ts, INTERVAL '1' SECOND) GROUP BY window_end",
    ),
    query(
        "hops",
        "SELECT window_start, window_end, machine, count(DISTINCT line) AS a, avg(x) AS b, array_agg(id ORDER BY id) AS c \
         FROM HOP(readings, ts, INTERVAL '1' SECOND, INTERVAL '4' SECOND) GROUP BY window_start, window_end, machine \
         HAVING count(*) > 1",
    ),
    query(
        "so_far",
        "SELECT window_start, window_end, line, sum(n) AS a \
         FROM CUMULATE(readings, ts, INTERVAL '1' SECOND, INTERVAL '5' SECOND) GROUP BY window_start, window_end, line",
    ),
    query(
        "sets",
        "SELECT window_start, machine, line, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '2' SECOND) \
         GROUP BY window_start, ROLLUP (machine, line)",
    ),
    query("filtered", "SELECT window_end, upper(machine) AS m, total / rows AS a FROM sums WHERE rows > 1"),
    query(
        "joined",
        "SELECT s.window_end, s.machine, s.rows, m.hall FROM sums s LEFT JOIN machines m ON s.machine = m.machine",
    ),
    query("joined_twice", "SELECT j.*, t.shift FROM joined j JOIN shifts t ON j.rows = t.bonus"),
    query("united", "SELECT window_end, rows FROM sums UNION ALL SELECT window_end, a FROM of_all"),
    query(
        "sessions",
        "SELECT window_start, window_end, machine, count(*) AS a FROM SESSION(readings, ts, INTERVAL '1' SECOND, machine) \
                       GROUP BY window_start, window_end, machine",
    ),
    query(
        "blocks",
        "SELECT window_end, machine, sum(x) AS a FROM COUNT_WINDOW(readings, ts, 3, machine) GROUP BY window_start, window_end, machine",
    ),
    query(
        "best",
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY rows DESC, machine) AS place \
         FROM sums) WHERE place <= 2",
    ),
    query(
        "longer",
        "SELECT window_start, sum(rows) AS a FROM TUMBLE(sums, window_end, INTERVAL '8' SECOND) GROUP BY window_start",
    ),
];

/// Windows that are given before they are complete.
pub(super) const EARLY: &[Query] = &[
    query(
        "sums",
        "SELECT window_start, window_end, machine, count(*) AS rows, sum(x) AS total, max(n) AS most \
         FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, window_end, machine \
         EMIT EVERY INTERVAL '1' MILLISECOND",
    ),
    query(
        "hops",
        "SELECT window_start, window_end, line, count(*) AS a, max(x) AS b \
         FROM HOP(readings, ts, INTERVAL '2' SECOND, INTERVAL '8' SECOND) WHERE x > 0 GROUP BY window_start, window_end, line \
         HAVING count(*) > 1 EMIT EVERY INTERVAL '1' MILLISECOND",
    ),
    query(
        "so_far",
        "SELECT window_start, window_end, count(*) AS a FROM CUMULATE(others, ts, INTERVAL '2' SECOND, INTERVAL '6' SECOND) \
         GROUP BY window_start, window_end EMIT EVERY INTERVAL '1' MILLISECOND",
    ),
    query(
        "joined",
        "SELECT s.window_start, s.machine, s.rows, m.hall FROM sums s JOIN machines m ON s.machine = m.machine",
    ),
    query(
        "longer",
        "SELECT window_start, sum(rows) AS a FROM TUMBLE(sums, window_end, INTERVAL '10' SECOND) GROUP BY window_start",
    ),
];

/// Rows with the bounds of their windows, and bounds among other columns.
pub(super) const ROWS: &[Query] = &[
    query("session_rows", "SELECT * FROM SESSION(readings, ts, INTERVAL '1' SECOND, machine)"),
    query(
        "session_rows_of_some",
        "SELECT id, window_end - window_start AS length FROM SESSION(readings, ts, INTERVAL '2' SECOND, line) WHERE x > 0",
    ),
    query(
        "count_rows",
        "SELECT id, machine, window_start, window_end FROM COUNT_WINDOW(readings, ts, 2, 5, machine)",
    ),
    query(
        "state_rows",
        "SELECT id, line, window_start, window_end FROM STATE_WINDOW(readings, ts, ok, line)",
    ),
    query(
        "first_of_session",
        "SELECT id, machine, window_end FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_end, machine ORDER BY ts, id) \
         AS place FROM SESSION(readings, ts, INTERVAL '1' SECOND, machine)) WHERE place = 1",
    ),
    query(
        "bounds_in_aggregates",
        "SELECT window_start, machine, max(window_end) AS a, sum(x) AS b, avg(date_part('epoch', ts - window_start)) AS c \
         FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, machine",
    ),
    query(
        "bounds_in_groups",
        "SELECT window_end, ts > window_start + INTERVAL '1' SECOND AS is_later, count(*) AS a \
         FROM HOP(readings, ts, INTERVAL '2' SECOND, INTERVAL '4' SECOND) \
         GROUP BY window_end, ts > window_start + INTERVAL '1' SECOND",
    ),
    query(
        "bounds_in_conditions",
        "SELECT window_start, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
         WHERE ts < window_start + INTERVAL '3' SECOND GROUP BY window_start, window_end",
    ),
];
