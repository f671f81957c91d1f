-- How much nitrogen oxide leaves the stack, when the analyser is out of order? A soft sensor tells it from nine other channels: one
-- that was trained once, and one that goes on learning while the analyser works.

-- An hour of operation a line: ambient temperature (C), pressure (mbar) and humidity (%), filter difference and exhaust pressure
-- (mbar), turbine inlet and after temperature (C), energy yield (MWh), compressor discharge pressure (mbar), CO and NOx (mg/m3).
CREATE SOURCE hours (
    at DOUBLE, ap DOUBLE, ah DOUBLE, afdp DOUBLE, gtep DOUBLE, tit DOUBLE, tat DOUBLE, tey DOUBLE, cdp DOUBLE, co DOUBLE, nox DOUBLE,
    file TEXT METADATA, line BIGINT METADATA
) WITH (connector = 'file', path = '${env:GAS_TURBINE}/gt_*.csv', format = 'csv', header = false);

CREATE VIEW measured AS
SELECT at, ap, ah, afdp, gtep, tit, tat, tey, cdp, co, nox, line,
       CAST(substr(split_part(file, '/', -1), 4, 4) AS INT) AS year
FROM hours;

-- Rows follow in time, so the last ones are held back: the end of 2012.
CREATE MODEL nox WITH (algorithm = 'extra_trees_regressor', target = 'nox', trees = 100, max_depth = 20, min_samples_leaf = 3, seed = 7,
                       test_fraction = 0.1) AS
SELECT at, ap, ah, afdp, gtep, tit, tat, tey, cdp, nox FROM measured WHERE year <= 2012;

-- What the turbine did in these two years. Where it runs in another way, the soft sensor is not to be trusted.
CREATE MODEL known WITH (algorithm = 'pca_t2_spe', components = 0.95, confidence = 0.999, test_fraction = 0) AS
SELECT at, ap, ah, afdp, gtep, tit, tat, tey, cdp FROM measured WHERE year <= 2012;

CREATE SINK estimates WITH (connector = 'parquet', path = 'estimates') AS
SELECT line, nox, predict('nox', at, ap, ah, afdp, gtep, tit, tat, tey, cdp) AS estimate,
       NOT predict('known', at, ap, ah, afdp, gtep, tit, tat, tey, cdp) AS is_trusted
FROM measured WHERE year = 2013;

-- The other way: each hour is predicted from the hours before it, and learned a day later, as if a laboratory measured the stack. The rows
-- have no time, so their order is that of the years and lines.
CREATE VIEW learning AS
SELECT year, line, nox, co, rls(nox, [at, ap, ah, afdp, gtep, tit, tat, tey, cdp], 0.995, 1e6, 24) OVER before AS nox_estimate,
       rls(co, [at, ap, ah, afdp, gtep, tit, tat, tey, cdp], 0.999, 1e6, 24) OVER before AS co_estimate
FROM measured WINDOW before AS (ORDER BY year, line);

-- How far off the estimate may be, by what was known a day before: nine of ten hours lie within.
CREATE VIEW a_day_before AS
SELECT *, lag(nox, 24) OVER before AS known_nox, lag(nox_estimate, 24) OVER before AS known_estimate
FROM learning WINDOW before AS (ORDER BY year, line);

CREATE SINK learning WITH (connector = 'parquet', path = 'learning', changelog = 'rows') AS
SELECT year, line, nox, co, nox_estimate, co_estimate,
       adaptive_conformal(known_nox, known_estimate) OVER (ORDER BY year, line) AS nox_half_width
FROM a_day_before;
