-- How many flights has an engine left? A model learns from 100 engines that ran until they failed, and tells it of 100
-- others after each of their flights.

-- A line per flight of an engine. There is no clock: the number of the flight is the time, one second a flight.
CREATE SOURCE flights (
    unit INT NOT NULL, cycle TIMESTAMP NOT NULL, setting_1 DOUBLE, setting_2 DOUBLE, setting_3 DOUBLE,
    s1 DOUBLE, s2 DOUBLE, s3 DOUBLE, s4 DOUBLE, s5 DOUBLE, s6 DOUBLE, s7 DOUBLE, s8 DOUBLE, s9 DOUBLE, s10 DOUBLE,
    s11 DOUBLE, s12 DOUBLE, s13 DOUBLE, s14 DOUBLE, s15 DOUBLE, s16 DOUBLE, s17 DOUBLE, s18 DOUBLE, s19 DOUBLE,
    s20 DOUBLE, s21 DOUBLE,
    file TEXT METADATA,
    -- The engines come one after another in a file: an engine begins hundreds of flights behind the one before it.
    WATERMARK FOR cycle AS cycle - INTERVAL '1' HOUR
) WITH (connector = 'file', path = '${env:CMAPSS}/*_FD001.txt.gz', format = 'csv', header = false, delimiter = ' ',
        timestamp_format = 'unix_s');

CREATE VIEW engines AS
SELECT *, split_part(split_part(file, '/', -1), '_', 1) = 'train' AS has_failed FROM flights;

-- The last 30 flights, after each flight. The sensors that are left out are constant.
CREATE VIEW features AS
SELECT window_end AS cycle, has_failed, unit,
       avg(s2) AS mean_s2, avg(s3) AS mean_s3, avg(s4) AS mean_s4, avg(s7) AS mean_s7, avg(s8) AS mean_s8,
       avg(s9) AS mean_s9, avg(s11) AS mean_s11, avg(s12) AS mean_s12, avg(s13) AS mean_s13, avg(s14) AS mean_s14,
       avg(s15) AS mean_s15, avg(s17) AS mean_s17, avg(s20) AS mean_s20, avg(s21) AS mean_s21,
       stddev(s2) AS dev_s2, stddev(s3) AS dev_s3, stddev(s4) AS dev_s4, stddev(s7) AS dev_s7,
       stddev(s8) AS dev_s8, stddev(s9) AS dev_s9, stddev(s11) AS dev_s11, stddev(s12) AS dev_s12,
       stddev(s13) AS dev_s13, stddev(s14) AS dev_s14, stddev(s15) AS dev_s15, stddev(s17) AS dev_s17,
       stddev(s20) AS dev_s20, stddev(s21) AS dev_s21, slope(s2, cycle) AS slope_s2, slope(s3, cycle) AS slope_s3,
       slope(s4, cycle) AS slope_s4, slope(s7, cycle) AS slope_s7, slope(s8, cycle) AS slope_s8,
       slope(s9, cycle) AS slope_s9, slope(s11, cycle) AS slope_s11, slope(s12, cycle) AS slope_s12,
       slope(s13, cycle) AS slope_s13, slope(s14, cycle) AS slope_s14, slope(s15, cycle) AS slope_s15,
       slope(s17, cycle) AS slope_s17, slope(s20, cycle) AS slope_s20, slope(s21, cycle) AS slope_s21
FROM COUNT_WINDOW(engines, cycle, 1, 30, has_failed, unit)
GROUP BY window_start, window_end, has_failed, unit;

-- Wear cannot be seen in the first flights: whatever is far away counts as 125.
CREATE MODEL remaining_life WITH (algorithm = 'random_forest_regressor', target = 'remaining', trees = 50, seed = 7,
                                  group = 'unit') AS
SELECT unit, mean_s2, mean_s3, mean_s4, mean_s7, mean_s8, mean_s9, mean_s11, mean_s12, mean_s13, mean_s14, mean_s15,
       mean_s17, mean_s20, mean_s21, dev_s2, dev_s3, dev_s4, dev_s7, dev_s8, dev_s9, dev_s11, dev_s12, dev_s13,
       dev_s14, dev_s15, dev_s17, dev_s20, dev_s21, slope_s2, slope_s3, slope_s4, slope_s7, slope_s8, slope_s9,
       slope_s11, slope_s12, slope_s13, slope_s14, slope_s15, slope_s17, slope_s20, slope_s21,
       least(date_part('epoch', max(cycle) OVER (PARTITION BY unit)) - date_part('epoch', cycle), 125) AS remaining
FROM features WHERE has_failed;

CREATE VIEW predictions AS
SELECT cycle, unit, predict('remaining_life',
           mean_s2, mean_s3, mean_s4, mean_s7, mean_s8, mean_s9, mean_s11, mean_s12, mean_s13, mean_s14, mean_s15,
           mean_s17, mean_s20, mean_s21, dev_s2, dev_s3, dev_s4, dev_s7, dev_s8, dev_s9, dev_s11, dev_s12, dev_s13,
           dev_s14, dev_s15, dev_s17, dev_s20, dev_s21, slope_s2, slope_s3, slope_s4, slope_s7, slope_s8, slope_s9,
           slope_s11, slope_s12, slope_s13, slope_s14, slope_s15, slope_s17, slope_s20, slope_s21) AS remaining
FROM features WHERE NOT has_failed;

CREATE SINK predictions WITH (connector = 'parquet', path = 'predictions') AS SELECT * FROM predictions;

-- What was left in truth after the last flight of each engine: a line per engine.
CREATE TABLE truth (remaining DOUBLE, line BIGINT METADATA)
    WITH (connector = 'file', path = '${env:CMAPSS}/RUL_FD001.txt', format = 'csv', header = false, delimiter = ' ');

-- The last prediction of an engine: after it there is none for an hour.
CREATE VIEW last_predictions AS
SELECT unit, window_end, last_value(remaining ORDER BY cycle) AS predicted, count(*) AS predictions
FROM SESSION(predictions, cycle, INTERVAL '1' HOUR, unit)
GROUP BY window_start, window_end, unit;

CREATE SINK scores WITH (connector = 'parquet', path = 'scores') AS
SELECT p.unit, p.predicted, t.remaining, p.predicted - t.remaining AS error, p.predictions
FROM last_predictions AS p JOIN truth AS t ON p.unit = t.line;
