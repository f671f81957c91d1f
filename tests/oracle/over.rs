//! Functions over the rows around a row, and rows at fixed times.

use super::queries::{Query, query};

/// `OVER` by event time.
pub(super) const OVER: &[Query] = &[
    query(
        "last_five",
        "SELECT id, machine, avg(x) OVER w AS a, sum(x) OVER w AS b, min(y) OVER w AS c, max(y) OVER w AS d, \
         count(x) OVER w AS e, count(*) OVER w AS f, stddev(x) OVER w AS g, var_pop(y) OVER w AS h FROM readings \
         WINDOW w AS (PARTITION BY machine ORDER BY ts, id ROWS BETWEEN 4 PRECEDING AND CURRENT ROW)",
    ),
    query(
        "last_seconds",
        "SELECT id, avg(x) OVER w AS a, min(n) OVER w AS b, sum(n) OVER w AS c, count(*) OVER w AS d, \
         rms(y) OVER w AS e, kurtosis(x) OVER w AS f, median(x) OVER w AS g, bool_or(ok) OVER w AS h, \
         count(DISTINCT line) OVER w AS i FROM readings WINDOW w AS (PARTITION BY machine, line ORDER BY ts \
         RANGE BETWEEN INTERVAL '5 seconds' PRECEDING AND CURRENT ROW)",
    ),
    query(
        "long_frames",
        "SELECT id, avg(x) OVER w AS a, sum(x) OVER w AS b, min(x) OVER w AS c, max(x) OVER w AS d, \
         stddev(x) OVER w AS e, var_pop(y) OVER w AS f, count(y) OVER w AS g, sum(n) OVER w AS h, \
         max(line) OVER w AS i, min(n) FILTER (WHERE ok) OVER w AS j, count(DISTINCT machine) OVER w AS k, \
         rms(x) OVER w AS l FROM readings WINDOW w AS (ORDER BY ts, id ROWS 99 PRECEDING)",
    ),
    query(
        "running",
        "SELECT id, sum(x) OVER w AS a, avg(y) OVER w AS b, min(n) OVER w AS c, max(x) OVER w AS d, \
         count(*) OVER w AS e, count(n) OVER w AS f, stddev(x) OVER w AS g, sum(n) OVER w AS h, rms(x) OVER w AS i, \
         bool_and(ok) OVER w AS j, max(line) OVER w AS k FROM readings WINDOW w AS (PARTITION BY machine ORDER BY ts)",
    ),
    query(
        "running_rows",
        "SELECT id, sum(n) OVER (ORDER BY ts, id ROWS UNBOUNDED PRECEDING) AS a, avg(n) OVER (PARTITION BY line \
         ORDER BY ts, id ROWS BETWEEN UNBOUNDED PRECEDING AND 3 PRECEDING) AS b, count(*) OVER (PARTITION BY line \
         ORDER BY ts, id ROWS BETWEEN UNBOUNDED PRECEDING AND 2 FOLLOWING) AS c, sum(x) OVER (PARTITION BY line \
         ORDER BY ts RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL '2 seconds' FOLLOWING) AS d FROM readings",
    ),
    query(
        "around",
        "SELECT id, ts, avg(x) OVER (PARTITION BY machine ORDER BY ts RANGE BETWEEN INTERVAL '2 seconds' PRECEDING \
         AND INTERVAL '3 seconds' FOLLOWING) AS a, count(*) OVER (PARTITION BY machine ORDER BY ts RANGE BETWEEN \
         INTERVAL '1 second' FOLLOWING AND INTERVAL '4 seconds' FOLLOWING) AS b, max(n) OVER (PARTITION BY machine \
         ORDER BY ts RANGE BETWEEN INTERVAL '8 seconds' PRECEDING AND INTERVAL '2 seconds' PRECEDING) AS c \
         FROM readings",
    ),
    query(
        "rows_around",
        "SELECT id, sum(n) OVER (PARTITION BY machine ORDER BY ts, id ROWS BETWEEN 2 PRECEDING AND 3 FOLLOWING) AS a, \
         max(x) OVER (PARTITION BY machine ORDER BY ts, id ROWS BETWEEN 6 PRECEDING AND 2 PRECEDING) AS b, \
         avg(y) OVER (PARTITION BY machine ORDER BY ts, id ROWS BETWEEN 1 FOLLOWING AND 4 FOLLOWING) AS c FROM readings",
    ),
    query(
        "shifted",
        "SELECT id, x - lag(x) OVER w AS a, lag(line, 3, 'none') OVER w AS b, lead(n) OVER w AS c, \
         lead(x, 2, 0) OVER w AS d, lag(n, 2) IGNORE NULLS OVER w AS e, ts - lag(ts) OVER w AS f FROM readings \
         WINDOW w AS (PARTITION BY machine ORDER BY ts, id)",
    ),
    query(
        "values_of_frames",
        "SELECT id, first_value(x) OVER w AS a, last_value(line) OVER w AS b, nth_value(n, 2) OVER w AS c, \
         first_value(n) IGNORE NULLS OVER w AS d, last_value(n) IGNORE NULLS OVER w AS e FROM readings \
         WINDOW w AS (PARTITION BY machine ORDER BY ts, id ROWS BETWEEN 4 PRECEDING AND 1 PRECEDING)",
    ),
    query(
        "values_so_far",
        "SELECT id, first_value(line) OVER w AS a, last_value(x) OVER w AS b, nth_value(n, 3) OVER w AS c, \
         first_value(n) IGNORE NULLS OVER w AS d, last_value(n) IGNORE NULLS OVER w AS e, \
         nth_value(x, 2) IGNORE NULLS OVER w AS f FROM readings \
         WINDOW w AS (PARTITION BY machine ORDER BY ts, id ROWS UNBOUNDED PRECEDING)",
    ),
    query(
        "numbered",
        "SELECT id, row_number() OVER (PARTITION BY machine ORDER BY ts, id) AS a, rank() OVER (PARTITION BY machine \
         ORDER BY ts) AS b, dense_rank() OVER (PARTITION BY machine ORDER BY ts) AS c, rank() OVER (ORDER BY ts, line) \
         AS d, dense_rank() OVER (ORDER BY ts, line DESC, x NULLS FIRST) AS e FROM readings",
    ),
    query(
        "numbered_and_ahead",
        "SELECT id, rank() OVER w AS a, dense_rank() OVER w AS b, lead(line, 3) OVER w AS c, sum(n) OVER w AS d \
         FROM readings WINDOW w AS (PARTITION BY line ORDER BY ts, machine)",
    ),
    query(
        "first_of_each",
        "SELECT id, machine FROM readings QUALIFY row_number() OVER (PARTITION BY machine ORDER BY ts, id) = 1",
    ),
    query(
        "changes",
        "SELECT * FROM (SELECT id, machine, line, lag(line) OVER (PARTITION BY machine ORDER BY ts, id) AS before \
         FROM readings) WHERE line <> before",
    ),
    query(
        "filtered_frames",
        "SELECT id, count(*) FILTER (WHERE x > 0) OVER w AS a, sum(x) FILTER (WHERE ok) OVER w AS b, \
         sum(n) FILTER (WHERE n > 0) OVER v AS c FROM readings \
         WINDOW w AS (PARTITION BY machine ORDER BY ts, id ROWS 9 PRECEDING), v AS (PARTITION BY machine ORDER BY ts)",
    ),
    query(
        "computed_keys",
        "SELECT id, avg(x + y) OVER (PARTITION BY upper(machine), n % 2 ORDER BY ts, coalesce(n, 0), id ROWS 3 PRECEDING) \
         AS a, sum(n) OVER (PARTITION BY n % 2 ORDER BY ts) AS b FROM readings WHERE x IS NOT NULL",
    ),
    query(
        "twice",
        "SELECT id, lag(a) OVER (PARTITION BY line ORDER BY ts, id) AS b FROM (SELECT ts, id, line, avg(x) OVER \
         (PARTITION BY machine ORDER BY ts, id ROWS 2 PRECEDING) AS a FROM readings)",
    ),
    query(
        "trends",
        "SELECT id, slope(x) OVER w AS a, time_weighted_avg(x, ts) OVER w AS b, autocorrelation(x, 1) OVER w AS c FROM others \
         WINDOW w AS (PARTITION BY machine ORDER BY ts, id ROWS 7 PRECEDING)",
    ),
    query(
        "smooth",
        "SELECT ts, machine, avg(x) OVER (PARTITION BY machine ORDER BY ts RANGE BETWEEN INTERVAL '1 second' PRECEDING \
         AND INTERVAL '1 second' FOLLOWING) AS a FROM readings",
    ),
    query(
        "window_of_smooth",
        "SELECT window_start, machine, count(*) AS n, avg(a) AS a FROM TUMBLE(smooth, ts, INTERVAL '5' SECOND) \
         GROUP BY window_start, machine",
    ),
    query(
        "over_windows",
        "SELECT window_end, machine, a - lag(a) OVER (PARTITION BY machine ORDER BY window_end) AS rise, \
         avg(a) OVER (PARTITION BY machine ORDER BY window_end ROWS 2 PRECEDING) AS mean FROM (SELECT window_end, \
         machine, avg(x) AS a FROM TUMBLE(others, ts, INTERVAL '3' SECOND) GROUP BY window_end, machine)",
    ),
    query(
        "over_and_per_window",
        "SELECT window_end, machine, rank() OVER (PARTITION BY window_end ORDER BY a DESC, machine) AS place, \
         a - lag(a) OVER (PARTITION BY machine ORDER BY window_end) AS rise FROM (SELECT window_end, machine, \
         avg(x) AS a FROM TUMBLE(readings, ts, INTERVAL '3' SECOND) GROUP BY window_end, machine)",
    ),
];

/// `RESAMPLE`.
pub(super) const RESAMPLE: &[Query] = &[
    query(
        "every_second",
        "SELECT * FROM RESAMPLE(readings, ts, INTERVAL '1' SECOND, machine, LINEAR(x, n), PREVIOUS(line, y, ok))",
    ),
    query(
        "with_a_largest_gap",
        "SELECT ts, line, x, y, id FROM RESAMPLE(others, ts, INTERVAL '500' MILLISECOND, line, LINEAR(x), \
         previous(y), NONE(id), MAX_GAP => INTERVAL '2' SECOND)",
    ),
    query(
        "all_together",
        "SELECT r.ts, r.x + 1 AS x FROM RESAMPLE(readings, ts, INTERVAL '3' SECOND, LINEAR(x)) r",
    ),
    query(
        "two_keys",
        "SELECT upper(line) AS line, ts, n FROM RESAMPLE((SELECT ts, machine, line, n FROM readings WHERE ok), ts, \
         INTERVAL '700' MILLISECOND, machine, line, PREVIOUS(n)) WHERE n > 0",
    ),
    query(
        "even",
        "SELECT * FROM RESAMPLE(readings, ts, INTERVAL '250' MILLISECOND, machine, LINEAR(x), \
         MAX_GAP => INTERVAL '3' SECOND, SKIP_GAPS => true)",
    ),
    query(
        "window_of_even",
        "SELECT window_start, machine, count(*) AS a, avg(x) AS b FROM TUMBLE(even, ts, INTERVAL '2' SECOND) \
         GROUP BY window_start, machine",
    ),
    query(
        "over_even",
        "SELECT ts, machine, avg(x) OVER (PARTITION BY machine ORDER BY ts ROWS 3 PRECEDING) AS a FROM even",
    ),
];
