-- What can a combined cycle power plant give in this weather, and at which exhaust vacuum?

-- An hour of full load a line. The order of the lines is random, so a row says nothing about the next.
CREATE SOURCE hours (
    "AT" DOUBLE, "V" DOUBLE, "AP" DOUBLE, "RH" DOUBLE, "PE" DOUBLE, line BIGINT METADATA
) WITH (connector = 'file', path = '${env:CCPP}/ccpp.csv', format = 'csv');

CREATE VIEW measured AS
SELECT "AT" AS ambient_c, "V" AS vacuum_cm_hg, "AP" AS pressure_mbar, "RH" AS humidity, "PE" AS output_mw, line FROM hours;

-- Four fifths teach, the last fifth tests.
CREATE MODEL output WITH (algorithm = 'gradient_boosting_regressor', target = 'output_mw', trees = 150, max_depth = 6,
                          learning_rate = 0.15, subsample = 0.8, seed = 7, test_fraction = 0.2) AS
SELECT ambient_c, vacuum_cm_hg, pressure_mbar, humidity, output_mw FROM measured;

-- Which points the plant has been seen at: of others the model above knows nothing.
CREATE MODEL seen WITH (algorithm = 'isolation_forest', confidence = 0.95, seed = 7) AS
SELECT ambient_c, vacuum_cm_hg, pressure_mbar, humidity FROM measured;

-- Some weathers, and vacuums that could be set.
CREATE TABLE weathers (weather TEXT PRIMARY KEY, ambient_c DOUBLE, pressure_mbar DOUBLE, humidity DOUBLE)
    WITH (connector = 'file', path = 'weathers.csv', format = 'csv');

CREATE VIEW choices AS
SELECT weather, ambient_c, pressure_mbar, humidity, CAST(unnest(range(30, 81, 2)) AS DOUBLE) AS vacuum_cm_hg FROM weathers;

CREATE VIEW possible AS
SELECT weather, vacuum_cm_hg, predict('output', ambient_c, vacuum_cm_hg, pressure_mbar, humidity) AS output_mw
FROM choices
WHERE NOT predict('seen', ambient_c, vacuum_cm_hg, pressure_mbar, humidity);

CREATE MATERIALIZED VIEW best AS
SELECT weather, vacuum_cm_hg, output_mw
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY weather ORDER BY output_mw DESC, vacuum_cm_hg) AS place FROM possible)
WHERE place = 1;
