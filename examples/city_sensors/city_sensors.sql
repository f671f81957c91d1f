-- The stations of many cities, each message with all that a station measures (SenML): a row per value, a window per
-- sensor, and the state of all of them together.

CREATE SOURCE measured (
    ts      TIMESTAMP NOT NULL,
    source  TEXT,
    name    TEXT NOT NULL,
    unit    TEXT,
    value   DOUBLE,
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'mqtt', url = '${env:MQTT_URL}', topic = 'city/+/measured', format = 'senml');

CREATE VIEW minutes AS
SELECT window_start, window_end, source, name, count(*) AS n, avg(value) AS mean, min(value) AS least,
       max(value) AS greatest, stddev(value) AS deviation
FROM TUMBLE(measured, ts, INTERVAL '1' MINUTE)
GROUP BY window_start, window_end, source, name;

CREATE SINK minutes WITH (connector = 'parquet', path = 'minutes', partition_by = 'day') AS SELECT * FROM minutes;

-- Where a station is does not change.
CREATE SINK summary WITH (connector = 'stdout', format = 'json') AS
SELECT window_end AS ts, name, count(*) AS n, median(value) AS middle, percentile(value, 95) AS high
FROM TUMBLE(measured, ts, INTERVAL '1' MINUTE)
WHERE name NOT IN ('longitude', 'latitude')
GROUP BY window_start, window_end, name;
