//! Joins of streams.

use super::queries::{Query, query};

/// Windows with windows.
pub(super) const WINDOWS: &[Query] = &[
    query(
        "left_windows",
        "SELECT window_start, window_end, machine, count(*) AS a, sum(x) AS s \
         FROM TUMBLE(readings, ts, INTERVAL '3' SECOND) GROUP BY window_start, window_end, machine",
    ),
    query(
        "right_windows",
        "SELECT window_start, window_end, machine, count(*) AS b, max(y) AS m \
         FROM TUMBLE(others, ts, INTERVAL '3' SECOND) GROUP BY window_start, window_end, machine",
    ),
    query(
        "inner_windows",
        "SELECT l.window_start, l.window_end, l.machine, l.a, r.b, l.s - r.m AS d FROM left_windows l \
         JOIN right_windows r ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.machine = r.machine",
    ),
    query(
        "windows_by_start",
        "SELECT l.window_start, l.machine, l.a, r.b FROM left_windows l \
         JOIN right_windows r ON l.window_start = r.window_start AND l.machine = r.machine",
    ),
    query(
        "windows_without_key",
        "SELECT l.window_end, l.machine, r.machine AS other, l.a, r.b FROM left_windows l \
         JOIN right_windows r ON l.window_end = r.window_end",
    ),
    query(
        "windows_using",
        "SELECT window_end, machine, a, b FROM left_windows JOIN right_windows USING (window_end, machine)",
    ),
    query(
        "left_outer_windows",
        "SELECT l.window_end, l.machine, l.a, r.b FROM left_windows l \
         LEFT JOIN right_windows r ON l.window_end = r.window_end AND l.machine = r.machine",
    ),
    query(
        "right_outer_windows",
        "SELECT r.window_end, r.machine, l.a, r.b FROM left_windows l \
         RIGHT JOIN right_windows r ON l.window_end = r.window_end AND l.machine = r.machine",
    ),
    query(
        "full_outer_windows",
        "SELECT coalesce(l.window_end, r.window_end) AS e, l.machine AS one, r.machine AS other, l.a, r.b \
         FROM left_windows l FULL JOIN right_windows r ON l.window_end = r.window_end AND l.machine = r.machine",
    ),
    query(
        "residual_windows",
        "SELECT l.window_end, l.machine, l.a, r.b FROM left_windows l \
         LEFT JOIN right_windows r ON l.window_end = r.window_end AND l.machine = r.machine AND l.a > r.b",
    ),
    query(
        "windows_where",
        "SELECT l.window_end, l.machine, l.a, r.b FROM left_windows l, right_windows r \
         WHERE l.window_end = r.window_end AND l.machine = r.machine AND l.a + r.b > 3 AND r.machine <> 'm1'",
    ),
    query(
        "windows_one_after_the_other",
        "SELECT l.window_end, l.machine, l.a, r.b FROM left_windows l \
         LEFT JOIN right_windows r ON l.window_start = r.window_end AND l.machine = r.machine",
    ),
    query(
        "windows_that_exist",
        "SELECT window_end, machine, a FROM left_windows l WHERE EXISTS \
         (SELECT 1 FROM right_windows r WHERE l.window_end = r.window_end AND l.machine = r.machine AND r.b > 1)",
    ),
    query(
        "windows_that_do_not_exist",
        "SELECT window_end, machine, a FROM left_windows l WHERE NOT EXISTS \
         (SELECT 1 FROM right_windows r WHERE l.window_end = r.window_end AND l.machine = r.machine)",
    ),
    query(
        "windows_in",
        "SELECT window_end, machine, a FROM left_windows WHERE window_end IN (SELECT window_end FROM right_windows)",
    ),
    query(
        "windows_of_another_kind",
        "SELECT l.window_end, l.machine, l.a, h.c FROM left_windows l JOIN \
         (SELECT window_end, machine, count(*) AS c FROM HOP(others, ts, INTERVAL '1' SECOND, INTERVAL '4' SECOND) \
         GROUP BY window_end, machine) h ON l.window_end = h.window_end AND l.machine = h.machine",
    ),
    query(
        "left_windows_again",
        "SELECT window_end, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '3' SECOND) GROUP BY window_end",
    ),
    query(
        "three_windows",
        "SELECT l.window_end, l.machine, l.a, r.b, t.a AS c FROM left_windows l \
         JOIN right_windows r ON l.window_end = r.window_end AND l.machine = r.machine \
         LEFT JOIN left_windows_again t ON l.window_end = t.window_end",
    ),
    query(
        "rows_in_windows",
        "SELECT l.id, r.id AS other, l.window_start FROM TUMBLE(readings, ts, INTERVAL '2' SECOND) l \
         JOIN TUMBLE(others, ts, INTERVAL '2' SECOND) r \
         ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.machine = r.machine",
    ),
    query(
        "window_of_joined_windows",
        "SELECT window_start, sum(a) AS a, sum(b) AS b, count(*) AS c FROM TUMBLE( \
         (SELECT l.window_end AS t, l.a, r.b FROM left_windows l \
          LEFT JOIN right_windows r ON l.window_end = r.window_end AND l.machine = r.machine), \
         t, INTERVAL '9' SECOND) GROUP BY window_start",
    ),
    query(
        "window_of_joined_starts",
        "SELECT window_start, sum(a) AS a, sum(b) AS b, count(*) AS c FROM TUMBLE( \
         (SELECT l.window_start AS t, l.a, r.b FROM left_windows l \
          JOIN right_windows r ON l.window_end = r.window_end AND l.machine = r.machine), \
         t, INTERVAL '9' SECOND) GROUP BY window_start",
    ),
];

/// Rows with rows near them in time.
pub(super) const INTERVALS: &[Query] = &[
    query(
        "inner_interval",
        "SELECT a.id, b.id AS other, a.x, b.y FROM readings a JOIN others b ON a.machine = b.machine \
         AND a.ts BETWEEN b.ts - INTERVAL '5' SECOND AND b.ts + INTERVAL '1' SECOND",
    ),
    query(
        "left_interval",
        "SELECT a.id, b.id AS other FROM readings a LEFT JOIN others b ON a.machine = b.machine \
         AND a.ts BETWEEN b.ts AND b.ts + INTERVAL '1' SECOND",
    ),
    query(
        "right_interval",
        "SELECT a.id, b.id AS other FROM readings a RIGHT JOIN others b ON a.machine = b.machine \
         AND b.ts >= a.ts - INTERVAL '500' MILLISECOND AND b.ts < a.ts",
    ),
    query(
        "full_interval",
        "SELECT a.id, b.id AS other FROM readings a FULL JOIN others b ON a.machine = b.machine \
         AND a.line = b.line AND b.ts > a.ts - INTERVAL '2' SECOND AND b.ts <= a.ts + INTERVAL '1' SECOND",
    ),
    query(
        "interval_where",
        "SELECT a.id, b.id AS other FROM readings a, others b WHERE a.machine = b.machine \
         AND a.ts + INTERVAL '1' SECOND >= b.ts AND a.ts - INTERVAL '1' SECOND <= b.ts AND a.x > 0 AND b.ok",
    ),
    query(
        "interval_residual",
        "SELECT a.id, b.id AS other FROM readings a LEFT JOIN others b ON a.machine = b.machine \
         AND b.ts BETWEEN a.ts - INTERVAL '3' SECOND AND a.ts AND a.x > b.x AND a.line <> b.line",
    ),
    query(
        "interval_of_difference",
        "SELECT a.id, b.id AS other FROM readings a JOIN others b ON upper(a.machine) = upper(b.machine) \
         AND a.ts - b.ts <= INTERVAL '2' SECOND AND b.ts - a.ts < INTERVAL '1' SECOND",
    ),
    query(
        "interval_without_key",
        "SELECT a.id, b.id AS other FROM readings a LEFT JOIN others b \
         ON b.ts BETWEEN a.ts AND a.ts + INTERVAL '300' MILLISECOND",
    ),
    query("equal_times", "SELECT a.id, b.id AS other FROM readings a FULL JOIN others b ON a.ts = b.ts"),
    query(
        "equal_times_and_keys",
        "SELECT a.id, b.id AS other FROM readings a JOIN readings b ON a.ts = b.ts AND a.machine = b.machine AND a.id < b.id",
    ),
    query(
        "interval_exists",
        "SELECT id, x FROM readings a WHERE EXISTS (SELECT 1 FROM others b WHERE a.machine = b.machine \
         AND b.ts BETWEEN a.ts - INTERVAL '1' SECOND AND a.ts + INTERVAL '1' SECOND AND b.x > a.x)",
    ),
    query(
        "interval_not_exists",
        "SELECT id, x FROM readings a WHERE NOT EXISTS (SELECT 1 FROM others b WHERE a.machine = b.machine \
         AND b.ts BETWEEN a.ts - INTERVAL '1' SECOND AND a.ts + INTERVAL '1' SECOND)",
    ),
    query(
        "interval_semi",
        "SELECT a.id FROM readings a LEFT SEMI JOIN others b ON a.machine = b.machine \
         AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '2' SECOND",
    ),
    query(
        "interval_right_anti",
        "SELECT b.id FROM readings a RIGHT ANTI JOIN others b ON a.machine = b.machine \
         AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '2' SECOND",
    ),
    query(
        "interval_self",
        "SELECT a.id, b.id AS next, b.x - a.x AS d FROM readings a JOIN readings b ON a.machine = b.machine \
         AND b.ts > a.ts AND b.ts <= a.ts + INTERVAL '1' SECOND",
    ),
    query(
        "interval_with_table",
        "SELECT a.id, b.id AS other, m.hall FROM readings a JOIN others b ON a.machine = b.machine \
         AND a.ts BETWEEN b.ts AND b.ts + INTERVAL '1' SECOND JOIN machines m ON a.machine = m.machine",
    ),
    query(
        "window_of_interval",
        "SELECT window_start, machine, count(*) AS a, sum(d) AS b FROM TUMBLE( \
         (SELECT a.ts, a.machine, a.x - b.x AS d FROM readings a LEFT JOIN others b ON a.machine = b.machine \
          AND a.ts BETWEEN b.ts - INTERVAL '2' SECOND AND b.ts + INTERVAL '1' SECOND), \
         ts, INTERVAL '5' SECOND) GROUP BY window_start, machine",
    ),
    query(
        "window_of_interval_by_the_other",
        "SELECT window_start, count(*) AS a, sum(d) AS b FROM TUMBLE( \
         (SELECT b.ts, a.x - b.x AS d FROM readings a RIGHT JOIN others b ON a.machine = b.machine \
          AND b.ts BETWEEN a.ts - INTERVAL '2' SECOND AND a.ts + INTERVAL '1' SECOND), \
         ts, INTERVAL '5' SECOND) GROUP BY window_start",
    ),
    query(
        "interval_with_window",
        "SELECT a.id, w.a AS rows FROM readings a JOIN (SELECT window_end, machine, count(*) AS a \
         FROM TUMBLE(others, ts, INTERVAL '2' SECOND) GROUP BY window_end, machine) w \
         ON a.machine = w.machine AND a.ts > w.window_end AND a.ts <= w.window_end + INTERVAL '2' SECOND",
    ),
];

/// Rows with the nearest one.
pub(super) const AS_OF: &[Query] = &[
    query(
        "as_of",
        "SELECT a.id, b.id AS other, a.x, b.y, b.ts FROM readings a ASOF JOIN others b \
         MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine",
    ),
    query(
        "as_of_left",
        "SELECT a.id, b.id AS other, b.line FROM readings a ASOF LEFT JOIN others b \
         MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine",
    ),
    query(
        "as_of_before",
        "SELECT a.*, b.x AS bx FROM readings a ASOF LEFT JOIN others b MATCH_CONDITION (a.ts > b.ts) \
         ON a.machine = b.machine AND a.line = b.line",
    ),
    query(
        "as_of_after",
        "SELECT a.id, b.id AS other FROM readings a ASOF JOIN others b MATCH_CONDITION (a.ts < b.ts) ON a.machine = b.machine",
    ),
    query(
        "as_of_at_or_after",
        "SELECT a.id, b.id AS other FROM readings a ASOF LEFT JOIN others b MATCH_CONDITION (b.ts >= a.ts) ON b.machine = a.machine",
    ),
    query(
        "as_of_in_on",
        "SELECT a.id, b.id AS other FROM readings a ASOF JOIN others b ON a.machine = b.machine AND a.ts >= b.ts",
    ),
    query(
        "as_of_left_in_on",
        "SELECT a.id, b.id AS other FROM readings AS a ASOF LEFT JOIN others AS b ON b.ts < a.ts AND upper(a.machine) = upper(b.machine)",
    ),
    query(
        "as_of_without_key",
        "SELECT a.id, b.id AS other FROM readings a ASOF JOIN others b MATCH_CONDITION (a.ts >= b.ts + INTERVAL '1' SECOND)",
    ),
    query(
        "as_of_where",
        "SELECT a.id, b.id AS other FROM readings a ASOF JOIN others b MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine \
         WHERE b.x > 0 AND a.x > b.x",
    ),
    query(
        "as_of_filtered",
        "SELECT a.id, b.id AS other FROM readings a ASOF JOIN (SELECT * FROM others WHERE x > 0) b \
         MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine",
    ),
    query(
        "as_of_twice",
        "SELECT a.id, b.id AS other, c.id AS third, m.hall FROM readings a \
         ASOF JOIN others b MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine \
         ASOF LEFT JOIN others c MATCH_CONDITION (a.ts < c.ts) ON a.machine = c.machine \
         LEFT JOIN machines m ON a.machine = m.machine",
    ),
    query(
        "as_of_in_parentheses",
        "SELECT q.id, q.other FROM (SELECT a.id, b.id AS other FROM readings a ASOF LEFT JOIN others b \
         MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine) q UNION ALL \
         SELECT a.id, b.id FROM others a ASOF JOIN readings b MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine",
    ),
    query(
        "window_of_as_of",
        "SELECT window_start, machine, count(*) AS a, sum(d) AS b FROM TUMBLE( \
         (SELECT a.ts, a.machine, a.x - b.x AS d FROM readings a ASOF LEFT JOIN others b \
          MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine), ts, INTERVAL '5' SECOND) GROUP BY window_start, machine",
    ),
    query(
        "as_of_window",
        "SELECT a.id, w.a AS rows, w.window_end FROM readings a ASOF JOIN (SELECT window_end, machine, count(*) AS a \
         FROM TUMBLE(others, ts, INTERVAL '2' SECOND) GROUP BY window_end, machine) w \
         MATCH_CONDITION (a.ts >= w.window_end) ON a.machine = w.machine",
    ),
    query(
        "as_of_version",
        "SELECT a.id, p.price, p.since FROM readings a JOIN prices FOR SYSTEM_TIME AS OF a.ts AS p ON a.machine = p.machine",
    ),
    query(
        "as_of_version_left",
        "SELECT a.id, p.price FROM readings AS a LEFT JOIN prices FOR SYSTEM_TIME AS OF a.ts p ON p.machine = a.machine \
         WHERE a.x > 0",
    ),
    query(
        "as_of_version_unnamed",
        "SELECT id, price FROM readings JOIN prices FOR SYSTEM_TIME AS OF readings.ts ON readings.machine = prices.machine",
    ),
    query(
        "as_of_table",
        "SELECT a.id, p.price FROM readings a ASOF JOIN prices p MATCH_CONDITION (a.ts > p.since) ON a.machine = p.machine",
    ),
];
