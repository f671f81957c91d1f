-- A thousand readings, seeded: the live source of this example.
CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT NOT NULL, amps DOUBLE, WATERMARK FOR ts)
    WITH (connector = 'generator', rows = 1000, keys = 3, seed = 7);

CREATE SINK raw WITH (connector = 'parquet', path = 'raw') AS SELECT * FROM readings;

CREATE SINK windows WITH (connector = 'parquet', path = 'windows') AS
SELECT window_start, machine, count(*) AS n, avg(amps) AS amps, stddev(amps) AS deviation
FROM TUMBLE(readings, ts, INTERVAL '200 ms')
GROUP BY window_start, window_end, machine;
