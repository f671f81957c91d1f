-- Is the valve before the pump closing? Features of a pump rig, a classifier that learns from ten experiments, alarms
-- for the other six.

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
    WATERMARK FOR datetime
) WITH (connector = 'file', path = '${env:SKAB}/valve1/*.csv', format = 'csv', delimiter = ';');

-- A file is an experiment; its name is its number.
CREATE VIEW measured AS
SELECT datetime AS ts, CAST(split_part(split_part(file, '/', -1), '.', 1) AS INT) AS experiment,
       "Accelerometer1RMS" AS vibration_1, "Accelerometer2RMS" AS vibration_2, "Current" AS current,
       "Pressure" AS pressure, "Temperature" AS motor_temperature, "Thermocouple" AS fluid_temperature,
       "Voltage" AS voltage, "Volume Flow RateRMS" AS flow, anomaly > 0 AS is_faulty
FROM readings;

CREATE VIEW features AS
SELECT window_start, window_end, experiment, count(*) AS n, bool_or(is_faulty) AS is_faulty,
       avg(vibration_1) AS vibration_1, stddev(vibration_1) AS vibration_1_stddev,
       rms(vibration_1) AS vibration_1_rms, kurtosis(vibration_1) AS vibration_1_kurtosis,
       avg(vibration_2) AS vibration_2, stddev(vibration_2) AS vibration_2_stddev,
       rms(vibration_2) AS vibration_2_rms, kurtosis(vibration_2) AS vibration_2_kurtosis,
       avg(current) AS current, stddev(current) AS current_stddev, peak_to_peak(current) AS current_span,
       avg(pressure) AS pressure, stddev(pressure) AS pressure_stddev, peak_to_peak(pressure) AS pressure_span,
       avg(motor_temperature) AS motor_temperature, slope(motor_temperature, ts) AS motor_temperature_slope,
       avg(fluid_temperature) AS fluid_temperature, slope(fluid_temperature, ts) AS fluid_temperature_slope,
       avg(voltage) AS voltage, stddev(voltage) AS voltage_stddev,
       avg(flow) AS flow, stddev(flow) AS flow_stddev
FROM TUMBLE(measured, ts, INTERVAL '30' SECOND)
GROUP BY window_start, window_end, experiment;

CREATE SINK history WITH (connector = 'parquet', path = 'history', partition_by = 'day') AS SELECT * FROM features;

CREATE MODEL valve WITH (algorithm = 'random_forest_classifier', target = 'is_faulty', trees = 100, seed = 7,
                         group = 'experiment') AS
SELECT experiment, vibration_1, vibration_1_stddev, vibration_1_kurtosis, vibration_2, vibration_2_stddev, vibration_2_kurtosis,
       current_stddev, current_span, pressure, pressure_stddev, pressure_span, motor_temperature_slope,
       fluid_temperature_slope, voltage_stddev, flow, flow_stddev, is_faulty
FROM features WHERE experiment < 10;

CREATE VIEW scores AS
SELECT window_start, window_end, experiment, is_faulty,
       predict_proba('valve', vibration_1, vibration_1_stddev, vibration_1_kurtosis,
                     vibration_2, vibration_2_stddev, vibration_2_kurtosis, current_stddev, current_span,
                     pressure, pressure_stddev, pressure_span, motor_temperature_slope,
                     fluid_temperature_slope, voltage_stddev, flow, flow_stddev) AS risk
FROM features WHERE experiment >= 10;

CREATE SINK scores WITH (connector = 'parquet', path = 'scores') AS SELECT * FROM scores;

CREATE SINK alarms WITH (connector = 'mqtt', url = '${env:MQTT_URL}', topic = 'rig/{experiment}/alarm') AS
SELECT window_end AS ts, experiment, risk FROM scores WHERE risk > 0.5;
