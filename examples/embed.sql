-- Rows come from the Rust program: its channel has the name of the source.
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, press TEXT NOT NULL, bar DOUBLE, WATERMARK FOR ts)
    WITH (connector = 'memory');

CREATE VIEW pressures AS
SELECT press, avg(bar) AS bar
FROM TUMBLE(readings, ts, INTERVAL '10' SECOND)
GROUP BY window_start, window_end, press;
