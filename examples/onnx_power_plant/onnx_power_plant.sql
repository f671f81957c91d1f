-- What does a power plant give in this weather? A net that was trained in Python, scored here; and what it was not trained on is vetoed.

-- An hour of full load a line. The order of the lines is random, so a row says nothing about the next.
CREATE SOURCE hours (
    "AT" DOUBLE, "V" DOUBLE, "AP" DOUBLE, "RH" DOUBLE, "PE" DOUBLE, line BIGINT METADATA
) WITH (connector = 'file', path = '${env:CCPP}/ccpp.csv', format = 'csv');

-- Written by train.py: a scaler and two layers of 24 units.
CREATE MODEL output WITH (format = 'onnx', path = 'output.onnx',
                          features = 'ambient_c, vacuum_cm_hg, pressure_mbar, humidity');

CREATE VIEW estimates AS
SELECT line, "AT" AS ambient_c, "PE" AS output_mw, predict('output', "AT", "V", "AP", "RH") AS estimate_mw FROM hours;

-- The net has seen 2.34 to 37.11 degrees.
CREATE RULES trusted FROM estimates DECIDE estimate_mw (
    colder_than_known WHEN ambient_c < 2.34 THEN VETO,
    hotter_than_known WHEN ambient_c > 37.11 THEN VETO
);

CREATE SINK scores WITH (connector = 'parquet', path = 'scores') AS
SELECT line, output_mw, estimate_mw, decision AS trusted_mw, decided_by FROM trusted;
