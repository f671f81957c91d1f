-- Which of these series do something that they have not done before? One pass, no labels, the same settings for all of them.

-- A file is a series.
CREATE SOURCE readings (
    timestamp TIMESTAMP NOT NULL,
    value     DOUBLE,
    file      TEXT METADATA,
    line      BIGINT METADATA,
    -- One clock is set back by an hour.
    WATERMARK FOR timestamp AS timestamp - INTERVAL '1' HOUR
) WITH (connector = 'file', path = '${env:NAB}/data/*/*.csv', format = 'csv');

-- A value, or the mean of 24 of them, that is further from all before it than any was of late.
CREATE VIEW novelties AS
SELECT split_part(file, '/', -2) || '/' || split_part(file, '/', -1) AS series, line, timestamp AS ts, value,
       greatest(novelty(value) OVER past, novelty(value, 24) OVER past) AS novelty
FROM readings WINDOW past AS (PARTITION BY file ORDER BY timestamp);

-- What goes on is told once: after an alarm the next 200 rows are held off.
CREATE VIEW scores AS
SELECT *, holdoff(novelty, 0.5, 200) OVER (PARTITION BY series ORDER BY ts) IS NOT NULL AS is_alarm FROM novelties;

CREATE SINK scores WITH (connector = 'parquet', path = 'scores') AS SELECT * FROM scores;

CREATE SINK alarms WITH (connector = 'parquet', path = 'alarms') AS SELECT series, ts, value, novelty FROM scores WHERE is_alarm;
