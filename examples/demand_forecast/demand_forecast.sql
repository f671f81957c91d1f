-- How much is needed in each of the next 48 hours? A forecaster for each series, all of them fitted in one statement.

-- A line is a series: its name, then the value of each hour, all in quotes; short series end in empty fields.
CREATE SOURCE lines (fields TEXT, line BIGINT METADATA)
    WITH (connector = 'file', path = '${env:M4}/Hourly-train.csv*', format = 'csv', header = false, delimiter = '\t', quote = 'none');

CREATE VIEW series AS
SELECT fields[1] AS series, array_slice(fields, 2, CAST(array_length(fields) AS BIGINT)) AS hourly
FROM (SELECT string_to_array(replace(fields, '"', ''), ',') AS fields FROM lines WHERE line > 1);

CREATE VIEW history AS
SELECT series, hour, CAST(value AS DOUBLE) AS value
FROM (SELECT series, unnest(hourly) AS value, unnest(range(1, CAST(array_length(hourly) AS BIGINT) + 1)) AS hour FROM series)
WHERE value <> '';

-- A day has 24 hours and a week 168. For each of both the value of a season before, and Theta on the seasonally adjusted series:
-- what counts is how well each of the four has done in the last six days, seen from before them.
CREATE MODEL demand PER series WITH (algorithm = 'forecast_combination', target = 'value', time = 'hour', season = '24, 168',
                                     backtests = 3, horizon = 48, test_fraction = 0.05) AS
SELECT series, hour, value FROM history;

CREATE SINK forecasts WITH (connector = 'parquet', path = 'forecasts') AS
SELECT series, step, predict('demand', series, step) AS value FROM series, UNNEST(range(1, 49)) AS ahead(step);
