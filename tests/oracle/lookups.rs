//! A stream with tables, and with what is made of tables: no row of the stream is kept.

use super::queries::{Query, query};

/// Look-ups, and windows over them.
pub(super) const LOOKUPS: &[Query] = &[
    query("listed", "SELECT ts, id, x FROM readings WHERE machine IN (SELECT machine FROM machines)"),
    query("unlisted", "SELECT ts, id, x FROM readings WHERE machine NOT IN (SELECT machine FROM machines)"),
    query(
        "unlisted_known",
        "SELECT id FROM readings WHERE line NOT IN (SELECT line FROM shifts WHERE line IS NOT NULL)",
    ),
    query("listed_with_null", "SELECT id FROM readings WHERE line NOT IN (SELECT line FROM shifts)"),
    query(
        "above",
        "SELECT ts, id FROM readings r WHERE EXISTS \
         (SELECT 1 FROM machines m WHERE m.machine = r.machine AND r.x > m.x_limit)",
    ),
    query(
        "not_above",
        "SELECT ts, id, machine FROM readings r WHERE NOT EXISTS \
         (SELECT 1 FROM machines m WHERE m.machine = r.machine AND r.x > m.x_limit)",
    ),
    query(
        "above_any",
        "SELECT id FROM readings r WHERE EXISTS (SELECT 1 FROM machines m WHERE r.x > m.x_limit)",
    ),
    query(
        "listed_or_odd",
        "SELECT id, n FROM readings WHERE machine IN (SELECT machine FROM machines) OR n % 2 = 1",
    ),
    query("below", "SELECT r.id, m.hall FROM readings r JOIN machines m ON r.x < m.x_limit"),
    query(
        "between",
        "SELECT r.id, a.machine AS low, b.machine AS high FROM readings r \
         JOIN machines a ON r.x >= a.x_limit LEFT JOIN machines b ON r.x BETWEEN a.x_limit AND b.x_limit",
    ),
    query("each", "SELECT r.id, s.shift FROM readings r CROSS JOIN shifts s"),
    query("above_all", "SELECT ts, id, x FROM readings WHERE x > (SELECT max(x_limit) FROM machines)"),
    query(
        "above_mean_of_hall",
        "SELECT r.id FROM readings r JOIN machines m ON r.machine = m.machine \
         WHERE r.x > (SELECT avg(o.x_limit) FROM machines o WHERE o.hall = m.hall)",
    ),
    query("halls", "SELECT hall, count(*) AS machines, max(x_limit) AS x_limit FROM machines GROUP BY hall"),
    query(
        "placed",
        "SELECT m.machine, m.hall, s.shift, s.bonus FROM machines m JOIN shifts s ON s.bonus > length(m.hall)",
    ),
    query(
        "with_its_hall",
        "SELECT r.ts, r.id, m.hall, h.machines FROM readings r LEFT JOIN machines m ON r.machine = m.machine \
         LEFT JOIN halls h ON m.hall = h.hall",
    ),
    query(
        "with_its_places",
        "SELECT r.id, p.hall, p.shift FROM readings r JOIN placed p ON r.machine = p.machine",
    ),
    query(
        "windows_of_not_above",
        "SELECT window_end, machine, count(*) AS c FROM TUMBLE(not_above, ts, INTERVAL '3' SECOND) \
         GROUP BY window_end, machine",
    ),
    query(
        "windows_of_halls",
        "SELECT window_end, hall, count(*) AS c, max(machines) AS machines \
         FROM HOP(with_its_hall, ts, INTERVAL '2' SECOND, INTERVAL '6' SECOND) GROUP BY window_end, hall",
    ),
    query(
        "windows_above_all",
        "SELECT window_start, count(*) AS c FROM TUMBLE(above_all, ts, INTERVAL '3' SECOND) GROUP BY window_start",
    ),
];
