-- Does the pump run as it did in the first minutes? Each experiment has a model of its own normal operation; nobody has
-- to label a fault.

CREATE SOURCE readings (
    datetime               TIMESTAMP NOT NULL,
    "Accelerometer1RMS"    DOUBLE,
    "Accelerometer2RMS"    DOUBLE,
    "Current"              DOUBLE,
    "Pressure"             DOUBLE,
    "Temperature"          DOUBLE,
    "Thermocouple"         DOUBLE,
    "Voltage"              DOUBLE,
    "Volume Flow RateRMS"  DOUBLE,
    anomaly                DOUBLE,
    file                   TEXT METADATA,
    line                   BIGINT METADATA,
    WATERMARK FOR datetime
) WITH (connector = 'file', path = '${env:SKAB}/valve1/*.csv', format = 'csv', delimiter = ';');

-- A file is an experiment. Its first line is the header, so row 1 is in line 2.
CREATE VIEW measured AS
SELECT datetime AS ts, split_part(split_part(file, '/', -1), '.', 1) AS experiment, line - 1 AS place, anomaly > 0 AS is_faulty,
       "Accelerometer1RMS" AS vibration_1, "Accelerometer2RMS" AS vibration_2, "Current" AS current,
       "Pressure" AS pressure, "Temperature" AS motor_temperature, "Thermocouple" AS fluid_temperature,
       "Voltage" AS voltage, "Volume Flow RateRMS" AS flow
FROM readings;

-- The first 400 seconds are normal. All of them are learned from; the limits are wide, because rows follow in time.
CREATE MODEL normal PER experiment WITH (algorithm = 'pca_t2_spe', components = 0.85, confidence = 0.999, test_fraction = 0) AS
SELECT experiment, vibration_1, vibration_2, current, pressure, motor_temperature, fluid_temperature, voltage, flow
FROM measured WHERE place <= 400;

CREATE VIEW monitored AS
SELECT ts, experiment, place, is_faulty,
       model_value('normal', 't2', experiment, vibration_1, vibration_2, current, pressure, motor_temperature,
                   fluid_temperature, voltage, flow) AS t2,
       model_value('normal', 'spe', experiment, vibration_1, vibration_2, current, pressure, motor_temperature,
                   fluid_temperature, voltage, flow) AS spe,
       model_value('normal', 't2_limit', experiment, vibration_1, vibration_2, current, pressure, motor_temperature,
                   fluid_temperature, voltage, flow) AS t2_limit,
       model_value('normal', 'spe_limit', experiment, vibration_1, vibration_2, current, pressure, motor_temperature,
                   fluid_temperature, voltage, flow) AS spe_limit,
       contributions('normal', 'spe', experiment, vibration_1, vibration_2, current, pressure, motor_temperature,
                     fluid_temperature, voltage, flow) AS spe_by_channel
FROM measured;

-- A single outlier is none: the median of five seconds counts.
CREATE VIEW smooth AS
SELECT ts, experiment, place, is_faulty, t2_limit, spe_limit, spe_by_channel,
       median(t2) OVER last_five AS t2, median(spe) OVER last_five AS spe
FROM monitored
WINDOW last_five AS (PARTITION BY experiment ORDER BY ts ROWS BETWEEN 4 PRECEDING AND CURRENT ROW);

CREATE SINK alarms WITH (connector = 'parquet', path = 'alarms') AS
SELECT *, t2 > t2_limit OR spe > spe_limit AS alarm FROM smooth WHERE place > 400;
