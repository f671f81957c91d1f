//! The queries that are tried over random rows.

/// A view, by its name.
#[derive(Clone, Copy)]
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
    /// Batch may differ within the error bound of the sketch; the numbers of workers may not.
    pub(super) is_approximate: bool,
}

pub(super) const fn query(name: &'static str, sql: &'static str) -> Query {
    Query { name, sql, is_approximate: false }
}

const fn approximate(name: &'static str, sql: &'static str) -> Query {
    Query { name, sql, is_approximate: true }
}

/// One aggregate over tumbling windows per machine.
macro_rules! tumbling {
    ($aggregates:literal) => {
        concat!(
            "SELECT window_start, window_end, machine, ",
            $aggregates,
            " FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, window_end, machine"
        )
    };
}

/// The aggregates of DataFusion.
pub(super) const AGGREGATES: &[Query] = &[
    query("counts", tumbling!("count(*) AS a, count(x) AS b, count(x, y) AS c, count(1) AS d")),
    query(
        "distinct_counts",
        tumbling!("count(DISTINCT n) AS a, count(DISTINCT line) AS b, count(DISTINCT x) AS c"),
    ),
    query("sums", tumbling!("sum(x) AS a, sum(n) AS b, avg(x) AS c, avg(n) AS d, sum(DISTINCT n) AS e")),
    query(
        "extremes",
        tumbling!("min(x) AS a, max(x) AS b, min(n) AS c, max(line) AS d, min(ts) AS e, max(ok) AS f"),
    ),
    query(
        "spreads",
        tumbling!("stddev(x) AS a, stddev_pop(x) AS b, var_samp(x) AS c, var_pop(x) AS d, variance(x) AS e"),
    ),
    query("pairs", tumbling!("corr(x, y) AS a, covar_samp(x, y) AS b, covar_pop(x, y) AS c")),
    query(
        "regressions",
        tumbling!(
            "regr_slope(y, x) AS a, regr_intercept(y, x) AS b, regr_count(y, x) AS c, regr_r2(y, x) AS d, \
             regr_avgx(y, x) AS e, regr_avgy(y, x) AS f, regr_sxx(y, x) AS g, regr_syy(y, x) AS h, regr_sxy(y, x) AS i"
        ),
    ),
    query("booleans", tumbling!("bool_and(ok) AS a, bool_or(ok) AS b, bool_and(x > 0) AS c")),
    query("bits", tumbling!("bit_and(n) AS a, bit_or(n) AS b, bit_xor(n) AS c")),
    query(
        "ends",
        tumbling!(
            "first_value(x ORDER BY ts, id) AS a, last_value(x ORDER BY ts, id) AS b, \
                             last_value(line ORDER BY id DESC) AS c"
        ),
    ),
    query("arrays", tumbling!("array_agg(n ORDER BY ts, id) AS a, array_agg(line ORDER BY id) AS b")),
    query("texts", tumbling!("string_agg(line, ', ' ORDER BY ts, id) AS a")),
    query(
        "middles",
        tumbling!("median(x) AS a, median(n) AS b, percentile_cont(0.4) WITHIN GROUP (ORDER BY x) AS c"),
    ),
    approximate("sketches", tumbling!("approx_distinct(line) AS a, approx_distinct(n) AS b")),
    approximate(
        "digests",
        tumbling!("approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY x) AS a, approx_median(x) AS b"),
    ),
    query(
        "filtered",
        tumbling!(
            "count(*) FILTER (WHERE x > 0) AS a, sum(x) FILTER (WHERE ok) AS b, \
                                 avg(n) FILTER (WHERE line = 'Line 1') AS c, count(DISTINCT n) FILTER (WHERE x > y) AS d"
        ),
    ),
    query(
        "of_all",
        "SELECT window_start, count(*) AS a, sum(x) AS b, max(ts) AS c \
                     FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, window_end",
    ),
    query(
        "per_machine_watermark",
        "SELECT window_start, machine, count(*) AS a, sum(x) AS b, avg(y) AS c \
                     FROM TUMBLE(others, ts, INTERVAL '3' SECOND) GROUP BY window_start, machine",
    ),
];

/// The features of signals.
pub(super) const FEATURES: &[Query] = &[
    query(
        "magnitudes",
        tumbling!(
            "rms(x) AS a, peak_to_peak(x) AS b, abs_energy(x) AS c, crest_factor(x) AS d, \
                                   shape_factor(x) AS e, impulse_factor(x) AS f, clearance_factor(x) AS g"
        ),
    ),
    query(
        "moments",
        tumbling!("skewness(x) AS a, kurtosis(x) AS b, variance_pop(x) AS c, stddev_pop(x) AS d"),
    ),
    query("quantiles", tumbling!("percentile(x, 90) AS a, mad(x) AS b, iqr(x) AS c, entropy(x, 4) AS d")),
    query("crossings", tumbling!("zero_crossing_rate(x) AS a, mean_crossing_rate(x) AS b")),
    query(
        "orders",
        tumbling!(
            "slope(x) AS a, slope(x, ts) AS b, slope_per_sample(x) AS c, autocorrelation(x, 1) AS d, \
                               time_weighted_avg(x, ts) AS e"
        ),
    ),
    query(
        "spectra",
        tumbling!(
            "band_energy(x, 2, 0, 1) AS a, spectral_centroid(x, 2) AS b, dominant_frequency(x, 2) AS c, \
                                spectral_entropy(x, 2) AS d"
        ),
    ),
    query(
        "of_expressions",
        tumbling!("rms(x - y) AS a, kurtosis(abs(x)) AS b, percentile(x + n, 50) AS c, rms(n) AS d"),
    ),
    query(
        "filtered",
        tumbling!("rms(x) FILTER (WHERE ok) AS a, slope(x, ts) FILTER (WHERE line = 'Line 0') AS b"),
    ),
    query(
        "hopping_features",
        "SELECT window_start, window_end, machine, rms(x) AS a, kurtosis(x) AS b, median(x) AS c, \
                               slope(x, ts) AS d, zero_crossing_rate(x) AS e, time_weighted_avg(x, ts) AS f \
                               FROM HOP(readings, ts, INTERVAL '2' SECOND, INTERVAL '6' SECOND) \
                               GROUP BY window_start, window_end, machine",
    ),
    query(
        "count_features",
        "SELECT window_start, window_end, line, rms(x) AS a, kurtosis(x) AS b, percentile(x, 25) AS c \
                             FROM COUNT_WINDOW(readings, ts, 8, line) GROUP BY window_start, window_end, line",
    ),
];

/// Windows other than tumbling ones.
pub(super) const WINDOWS: &[Query] = &[
    query(
        "hop",
        "SELECT window_start, window_end, machine, count(*) AS a, sum(x) AS b, avg(y) AS c, max(n) AS d, \
                  stddev(x) AS e FROM HOP(readings, ts, INTERVAL '1' SECOND, INTERVAL '5' SECOND) \
                  GROUP BY window_start, window_end, machine",
    ),
    query(
        "hop_of_all",
        "SELECT window_end, count(*) AS a, min(x) AS b, count(DISTINCT machine) AS c \
                         FROM HOP(readings, ts, INTERVAL '2' SECOND, INTERVAL '6' SECOND) GROUP BY window_end",
    ),
    query(
        "hop_ends",
        "SELECT window_start, window_end, machine, first_value(x ORDER BY ts, id) AS a, \
                       last_value(x ORDER BY ts, id) AS b, array_agg(id ORDER BY id) AS c \
                       FROM HOP(readings, ts, INTERVAL '2' SECOND, INTERVAL '4' SECOND) \
                       GROUP BY window_start, window_end, machine",
    ),
    query(
        "hop_assigned",
        "SELECT window_start, window_end, id, x \
                           FROM HOP(readings, ts, INTERVAL '2' SECOND, INTERVAL '4' SECOND) WHERE x > 0",
    ),
    query(
        "hop_per_machine",
        "SELECT window_start, machine, count(*) AS a, sum(x) AS b \
                              FROM HOP(others, ts, INTERVAL '1' SECOND, INTERVAL '3' SECOND) GROUP BY window_start, machine",
    ),
    query(
        "session",
        "SELECT window_start, window_end, machine, count(*) AS a, sum(x) AS b, max(n) AS c, median(x) AS d \
                      FROM SESSION(readings, ts, INTERVAL '1' SECOND, machine) GROUP BY window_start, window_end, machine",
    ),
    query(
        "session_of_two",
        "SELECT window_start, window_end, machine, line, count(*) AS a, avg(x) AS b, \
                             first_value(id ORDER BY ts, id) AS c \
                             FROM SESSION(readings, ts, INTERVAL '3' SECOND, machine, line) \
                             GROUP BY window_start, window_end, machine, line",
    ),
    query(
        "session_of_all",
        "SELECT window_start, window_end, count(*) AS a, avg(x) AS b \
                             FROM SESSION(readings, ts, INTERVAL '500' MILLISECOND) GROUP BY window_start, window_end",
    ),
    query(
        "session_filtered",
        "SELECT window_start, window_end, line, count(*) AS a, rms(x) AS b \
                               FROM SESSION((SELECT * FROM readings WHERE x > 0), ts, INTERVAL '2' SECOND, line) \
                               GROUP BY window_start, window_end, line",
    ),
    query(
        "session_per_machine",
        "SELECT window_start, window_end, machine, count(*) AS a, sum(x) AS b \
                                  FROM SESSION(others, ts, INTERVAL '2' SECOND, machine) \
                                  GROUP BY window_start, window_end, machine",
    ),
    query(
        "counted",
        "SELECT window_start, window_end, machine, count(*) AS a, sum(x) AS b, min(id) AS c, max(id) AS d \
                      FROM COUNT_WINDOW(readings, ts, 4, machine) GROUP BY window_start, window_end, machine",
    ),
    query(
        "counted_overlapping",
        "SELECT window_start, window_end, machine, count(*) AS a, sum(x) AS b, min(id) AS c \
                                  FROM COUNT_WINDOW(readings, ts, 3, 7, machine) GROUP BY window_start, window_end, machine",
    ),
    query(
        "counted_of_all",
        "SELECT window_start, window_end, count(*) AS a, avg(x) AS b \
                             FROM COUNT_WINDOW(readings, ts, 10) GROUP BY window_start, window_end",
    ),
    query(
        "counted_per_machine",
        "SELECT window_start, window_end, machine, sum(x) AS a, max(id) AS b \
                                  FROM COUNT_WINDOW(others, ts, 2, 5, machine) GROUP BY window_start, window_end, machine",
    ),
    query(
        "start_only",
        "SELECT window_start, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '4' SECOND) \
                         GROUP BY window_start",
    ),
    query(
        "end_only",
        "SELECT window_end, sum(x) AS a FROM TUMBLE(readings, ts, INTERVAL '4' SECOND) GROUP BY window_end",
    ),
    query(
        "assigned",
        "SELECT window_start, window_end, machine, x FROM TUMBLE(readings, ts, INTERVAL '4' SECOND)",
    ),
    query(
        "of_a_subquery",
        "SELECT window_start, m, sum(z) AS a \
                            FROM TUMBLE((SELECT ts, upper(machine) AS m, x * 2 AS z FROM readings WHERE y > -100), ts, \
                            INTERVAL '4' SECOND) GROUP BY window_start, m",
    ),
    query(
        "aliased",
        "SELECT w.window_start, w.machine, max(w.x) AS a \
                      FROM TUMBLE(readings, ts, INTERVAL '4' SECOND) AS w WHERE w.ok GROUP BY w.window_start, w.machine",
    ),
    query(
        "minutes",
        "SELECT window_start, count(*) AS a, count(x) AS b FROM TUMBLE(readings, ts, INTERVAL '1' MINUTE) \
                      GROUP BY window_start",
    ),
];

/// Keys, conditions and expressions.
pub(super) const EXPRESSIONS: &[Query] = &[
    query(
        "no_window",
        "SELECT ts, machine, x * 2 + y AS a, round(x) AS b, n % 7 AS c, -x AS d FROM readings",
    ),
    query(
        "conditions",
        "SELECT id FROM readings WHERE (x > 0 OR y IS NULL) AND machine IN ('m1', 'm2') AND NOT ok",
    ),
    query(
        "cases",
        "SELECT id, CASE WHEN x > 50 THEN 'high' WHEN x < -50 THEN 'low' ELSE 'normal' END AS a, \
                    CASE line WHEN 'Line 0' THEN 0 ELSE 1 END AS b, coalesce(x, y, 0.0) AS c, nullif(n, 3) AS d FROM readings",
    ),
    query(
        "casts",
        "SELECT id, CAST(x AS BIGINT) AS a, n::double AS b, CAST(n AS TEXT) AS c, CAST('7' AS INT) + id AS d, \
                    CAST(ok AS INT) AS e, TRY_CAST(machine AS DOUBLE) AS f FROM readings",
    ),
    query(
        "strings",
        "SELECT id, upper(machine) AS a, machine || '/' || line AS b, substr(line, 6) AS c, length(line) AS d, \
                      replace(line, 'Line', 'L') AS e, split_part(line, ' ', 2) AS f, line LIKE '%1' AS g, \
                      regexp_replace(line, '[0-9]', '#') AS h, concat(machine, ':', n) AS i FROM readings",
    ),
    query(
        "times",
        "SELECT id, date_trunc('minute', ts) AS a, date_part('second', ts) AS b, ts + INTERVAL '1' HOUR AS c, \
                    extract(hour FROM ts) AS d, to_char(ts, '%H:%M') AS e, date_bin(INTERVAL '15' SECOND, ts) AS f, \
                    ts > TIMESTAMP '1970-01-01T00:00:00' AS g FROM readings",
    ),
    query(
        "quoted",
        "SELECT window_start, avg(\"room temp\") AS \"mean temp\", max(\"room temp\") - 1 AS b \
                     FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) WHERE \"room temp\" > -100 GROUP BY window_start",
    ),
    query(
        "computed_keys",
        "SELECT window_start, upper(machine) AS m, x > 3 AS big, count(*) AS a, sum(y) AS b \
                            FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, upper(machine), x > 3",
    ),
    query(
        "keys_by_place",
        "SELECT window_end, line, machine, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
                            GROUP BY 1, 2, 3",
    ),
    query(
        "number_keys",
        "SELECT window_start, n, ok, sum(x) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
                          GROUP BY window_start, n, ok",
    ),
    query(
        "float_keys",
        "SELECT window_start, x, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
                         GROUP BY window_start, x",
    ),
    query(
        "time_keys",
        "SELECT window_start, ts, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
                        GROUP BY window_start, ts",
    ),
    query(
        "case_keys",
        "SELECT window_start, CASE WHEN machine IS NULL THEN 'none' ELSE 'some' END AS k, count(*) AS a \
                        FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
                        GROUP BY window_start, CASE WHEN machine IS NULL THEN 'none' ELSE 'some' END",
    ),
    query(
        "hidden_keys",
        "SELECT window_start, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
                          GROUP BY window_start, machine",
    ),
    query(
        "having_count",
        "SELECT window_start, machine, avg(x) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
                     GROUP BY window_start, machine HAVING count(*) > 2 AND avg(x) IS NOT NULL",
    ),
    query(
        "having_key",
        "SELECT window_start, machine, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
                         GROUP BY window_start, machine HAVING machine <> 'm1'",
    ),
    query(
        "of_aggregates",
        "SELECT window_start, machine, sum(x) / count(*) AS a, max(x) - min(x) AS b, \
                            CASE WHEN count(*) > 3 THEN 'many' ELSE 'few' END AS c, round(avg(y)) AS d, \
                            sum(x) + sum(x) AS e, abs(sum(n)) + 1 AS f \
                            FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, machine",
    ),
    query(
        "of_windows",
        "SELECT window_start + INTERVAL '1' SECOND AS later, window_end - window_start AS size, \
                         date_part('minute', window_end) AS minute, count(*) AS a \
                         FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, window_end",
    ),
    query(
        "where_after",
        "SELECT * FROM (SELECT window_start, machine, sum(x) AS total \
                          FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, machine) WHERE total > 10",
    ),
    query(
        "where_window",
        "SELECT window_start, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
                           WHERE window_start >= TIMESTAMP '1970-01-01T00:00:10' AND x > 0 GROUP BY window_start",
    ),
    query(
        "where_key",
        "SELECT window_start, machine, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
                        WHERE machine = 'm2' GROUP BY window_start, machine",
    ),
    query(
        "where_never",
        "SELECT window_start, count(*) AS a FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) \
                          WHERE x > 1e9 GROUP BY window_start",
    ),
    query("constants", "SELECT 1 AS one, 'a' AS a, id, true AS yes FROM readings WHERE 1 = 1"),
    query(
        "with_query",
        "WITH good AS (SELECT * FROM readings WHERE ok) SELECT window_start, count(*) AS a \
                         FROM TUMBLE(good, ts, INTERVAL '5' SECOND) GROUP BY window_start",
    ),
    query(
        "arrays",
        "SELECT id, make_array(x, y) AS a, array_length(make_array(n, n)) AS b, rms(make_array(x, y)) AS c \
                     FROM readings",
    ),
];

/// Views that read views.
pub(super) const GRAPHS: &[Query] = &[
    query(
        "small",
        "SELECT window_start, window_end, machine, sum(x) AS total, count(*) AS rows \
                    FROM TUMBLE(readings, ts, INTERVAL '2' SECOND) GROUP BY window_start, window_end, machine",
    ),
    query(
        "by_end",
        "SELECT window_start, machine, sum(total) AS a, sum(rows) AS b \
                     FROM TUMBLE(small, window_end, INTERVAL '10' SECOND) GROUP BY window_start, machine",
    ),
    query(
        "by_start",
        "SELECT window_start, count(*) AS a, max(total) AS b \
                       FROM TUMBLE((SELECT window_start AS ws, total FROM small), ws, INTERVAL '6' SECOND) \
                       GROUP BY window_start",
    ),
    query(
        "hops_of_small",
        "SELECT window_start, machine, avg(total) AS a \
                            FROM HOP((SELECT window_end AS t, machine, total FROM small), t, INTERVAL '2' SECOND, INTERVAL '6' SECOND) \
                            GROUP BY window_start, machine",
    ),
    query("good", "SELECT *, x + y AS z FROM readings WHERE x IS NOT NULL"),
    query("left_side", "SELECT ts, id, machine, z FROM good WHERE z > 0"),
    query("right_side", "SELECT ts, id, machine, -z AS z FROM good WHERE z <= 0 OR ok"),
    query("diamond", "SELECT * FROM left_side UNION ALL SELECT * FROM right_side"),
    query(
        "window_of_diamond",
        "SELECT window_start, machine, count(*) AS a, max(z) AS b \
                                FROM TUMBLE(diamond, ts, INTERVAL '5' SECOND) GROUP BY window_start, machine",
    ),
    query(
        "sums_of_diamond",
        "SELECT window_start, sum(z) AS a FROM TUMBLE(diamond, ts, INTERVAL '5' SECOND) GROUP BY window_start",
    ),
    query("two_sources", "SELECT ts, machine, x FROM readings UNION ALL SELECT ts, machine, y FROM others"),
    query(
        "window_of_two",
        "SELECT window_start, machine, count(*) AS a, avg(x) AS b, median(x) AS c \
                            FROM TUMBLE(two_sources, ts, INTERVAL '5' SECOND) GROUP BY window_start, machine",
    ),
    query(
        "session_of_two_sources",
        "SELECT window_start, window_end, machine, count(*) AS a, sum(x) AS b \
                            FROM SESSION(two_sources, ts, INTERVAL '1' SECOND, machine) GROUP BY window_start, window_end, machine",
    ),
    query(
        "three",
        "SELECT id, 'a' AS origin, n AS v FROM readings UNION ALL SELECT id, 'b', x FROM others \
                    UNION ALL SELECT id, 'c', NULL FROM readings",
    ),
    query(
        "union_of_windows",
        "SELECT window_start, window_end, count(*) AS c FROM TUMBLE(readings, ts, INTERVAL '3' SECOND) \
                               GROUP BY window_start, window_end UNION ALL \
                               SELECT window_start, window_end, count(*) FROM TUMBLE(others, ts, INTERVAL '7' SECOND) \
                               GROUP BY window_start, window_end",
    ),
    query(
        "window_of_union_of_windows",
        "SELECT window_start, sum(c) AS a \
                               FROM TUMBLE((SELECT window_end AS t, c FROM union_of_windows), t, INTERVAL '21' SECOND) \
                               GROUP BY window_start",
    ),
    query(
        "deep",
        "SELECT window_start, max(a) AS b FROM TUMBLE((SELECT window_end AS t, count(*) AS a \
                   FROM TUMBLE((SELECT window_end AS t, sum(x) AS s FROM TUMBLE(readings, ts, INTERVAL '1' SECOND) \
                   GROUP BY window_end, machine), t, INTERVAL '2' SECOND) GROUP BY window_end), t, INTERVAL '8' SECOND) \
                   GROUP BY window_start",
    ),
];

/// Streams with tables.
pub(super) const JOINS: &[Query] = &[
    query(
        "inner_join",
        "SELECT r.id, r.machine, m.hall, m.x_limit FROM readings r JOIN machines m ON r.machine = m.machine",
    ),
    query(
        "left_join",
        "SELECT r.id, m.hall, r.x - m.x_limit AS over FROM readings r LEFT JOIN machines m ON r.machine = m.machine",
    ),
    query(
        "table_on_the_left",
        "SELECT m.hall, r.id, r.x FROM machines m RIGHT JOIN readings r ON m.machine = r.machine",
    ),
    query("inner_table_first", "SELECT m.*, r.id FROM machines m JOIN readings r USING (machine)"),
    query(
        "residual",
        "SELECT r.id, m.hall FROM readings r JOIN machines m ON r.machine = m.machine AND r.x > m.x_limit",
    ),
    query(
        "left_residual",
        "SELECT r.id, m.hall FROM readings r LEFT JOIN machines m ON r.machine = m.machine AND r.x > m.x_limit",
    ),
    query("many_matches", "SELECT r.id, s.shift, s.bonus FROM readings r JOIN shifts s ON r.line = s.line"),
    query(
        "many_matches_left",
        "SELECT r.id, s.shift, s.bonus FROM readings r LEFT JOIN shifts s ON r.line = s.line",
    ),
    query(
        "upper_key",
        "SELECT r.id, m.hall FROM readings r JOIN machines m ON upper(r.machine) = upper(m.machine)",
    ),
    query("limits", "SELECT machine, hall FROM machines WHERE x_limit > 0"),
    query("filtered_table", "SELECT r.id, l.hall FROM readings r JOIN limits l ON r.machine = l.machine"),
    query(
        "two_tables",
        "SELECT r.id, m.hall, s.shift FROM readings r JOIN machines m ON r.machine = m.machine \
                         LEFT JOIN shifts s ON r.line = s.line AND s.bonus > 1",
    ),
    query(
        "joined_window",
        "SELECT window_start, hall, count(*) AS a, avg(x - x_limit) AS b FROM TUMBLE( \
                            (SELECT r.ts, r.x, m.hall, m.x_limit FROM readings r JOIN machines m ON r.machine = m.machine), \
                            ts, INTERVAL '5' SECOND) GROUP BY window_start, hall",
    ),
    query(
        "window_joined",
        "SELECT w.window_start, w.machine, w.a, m.hall FROM (SELECT window_start, machine, avg(x) AS a \
                            FROM TUMBLE(readings, ts, INTERVAL '5' SECOND) GROUP BY window_start, machine) w \
                            LEFT JOIN machines m ON w.machine = m.machine",
    ),
    query(
        "where_on_table",
        "SELECT r.id FROM readings r LEFT JOIN machines m ON r.machine = m.machine WHERE m.hall = 'a'",
    ),
    query(
        "where_missing",
        "SELECT r.id FROM readings r LEFT JOIN machines m ON r.machine = m.machine WHERE m.machine IS NULL",
    ),
    query(
        "comma_join",
        "SELECT r.id, m.hall FROM readings r, machines m WHERE r.machine = m.machine AND r.x > 0",
    ),
];

/// What has no window: rows that are taken back, added up at the end.
pub(super) const CHANGELOGS: &[Query] = &[
    query(
        "joined_streams",
        "SELECT a.id, b.id AS other, a.machine, a.x + b.x AS x FROM readings a JOIN others b \
         ON a.machine = b.machine AND a.n = b.n",
    ),
    query(
        "left_joined",
        "SELECT a.id, b.id AS other FROM readings a LEFT JOIN others b ON a.machine = b.machine AND a.x < b.x AND a.n = b.n",
    ),
    query(
        "right_joined",
        "SELECT a.id, b.id AS other, b.line FROM readings a RIGHT JOIN others b ON a.n = b.n AND a.line = b.line",
    ),
    query(
        "full_joined",
        "SELECT a.id, b.id AS other FROM readings a FULL JOIN others b ON a.n = b.n AND a.machine = b.machine AND a.ok <> b.ok",
    ),
    query(
        "joined_tables",
        "SELECT m.machine, m.hall, s.shift FROM machines m JOIN shifts s ON m.hall = s.line",
    ),
    query("crossed", "SELECT m.machine, s.shift, s.bonus FROM machines m CROSS JOIN shifts s"),
    query(
        "computed_keys",
        "SELECT a.id, b.id AS other FROM readings a JOIN others b ON a.n + 1 = b.n * 2 AND upper(a.machine) = upper(b.machine)",
    ),
    query(
        "present",
        "SELECT id, machine FROM readings a WHERE EXISTS (SELECT 1 FROM others b WHERE b.n = a.n AND b.x > a.x)",
    ),
    query(
        "absent",
        "SELECT id, machine FROM readings a WHERE NOT EXISTS (SELECT 1 FROM others b WHERE b.n = a.n)",
    ),
    query("among", "SELECT id FROM readings WHERE n IN (SELECT n FROM others WHERE x > 0)"),
    query(
        "not_among",
        "SELECT id FROM readings WHERE n NOT IN (SELECT n FROM others WHERE n IS NOT NULL AND x > 0)",
    ),
    query("not_among_nulls", "SELECT id FROM readings WHERE n NOT IN (SELECT n FROM others WHERE x > 10)"),
    query("among_or", "SELECT id FROM readings WHERE n IN (SELECT n FROM others) OR x > 100"),
    query("first_rows", "SELECT id, x FROM readings WHERE x IS NOT NULL ORDER BY x DESC, id LIMIT 5"),
    query(
        "next_rows",
        "SELECT id, machine FROM readings ORDER BY machine NULLS LAST, id DESC LIMIT 4 OFFSET 3",
    ),
    query(
        "latest_of_each",
        "SELECT id, machine, ts FROM (SELECT *, row_number() OVER (PARTITION BY machine ORDER BY ts DESC, id) AS rn \
         FROM readings) WHERE rn = 1",
    ),
    query(
        "ranked",
        "SELECT id, line, r FROM (SELECT id, line, rank() OVER (PARTITION BY line ORDER BY n DESC NULLS LAST) AS r \
         FROM readings) WHERE r <= 3 AND id > 2",
    ),
    query(
        "densely_ranked",
        "SELECT * FROM (SELECT id, n, dense_rank() OVER (ORDER BY n) AS r FROM others) WHERE r < 4",
    ),
    query(
        "joined_with_latest",
        "SELECT a.id, b.id AS latest FROM readings a JOIN latest_of_each b ON a.machine = b.machine WHERE a.x > 0",
    ),
    query(
        "chain",
        "WITH RECURSIVE chain AS (SELECT n, 0 AS depth FROM readings WHERE n BETWEEN 0 AND 5 \
         UNION SELECT o.n, c.depth + 1 FROM chain c JOIN others o ON o.n = c.n + 1 WHERE c.depth < 6) \
         SELECT n, depth FROM chain",
    ),
    query(
        "reachable",
        "WITH RECURSIVE reach AS (SELECT a.machine AS start, a.machine AS at FROM machines a \
         UNION SELECT r.start, m.hall FROM reach r JOIN machines m ON r.at = m.machine) SELECT * FROM reach",
    ),
];
