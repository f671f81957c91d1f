-- The whole loop on a simulated plant: readings -> features -> alarms and set-points -> commands -> readings.

CREATE SOURCE readings (
    ts          TIMESTAMP NOT NULL,
    line        TEXT NOT NULL,
    machine     TEXT NOT NULL,
    speed       DOUBLE,
    heat        DOUBLE,
    humidity    DOUBLE,
    temperature DOUBLE,
    vibration   DOUBLE,
    throughput  DOUBLE,
    defects     DOUBLE,
    wear        DOUBLE,
    fault       BOOLEAN,
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (connector = 'mqtt', url = 'mqtt://localhost:1883', topic = 'plant/+/+/readings', format = 'json');

-- What a machine did in half a minute.
CREATE MATERIALIZED VIEW features AS
SELECT window_start, window_end, line, machine,
       rms(vibration) AS vib_rms, max(vibration) AS vib_max, kurtosis(vibration) AS vib_kurtosis,
       avg(temperature) AS temperature, avg(defects) AS defects, max(wear) AS wear, bool_or(fault) AS fault
FROM TUMBLE(readings, ts, INTERVAL '30' SECOND)
GROUP BY window_start, window_end, line, machine;

-- Presses that shake or stand still.
CREATE VIEW troubles AS
SELECT window_end AS ts, line, machine, vib_rms, temperature, fault
FROM features WHERE vib_rms > 6 OR fault;

CREATE SINK alarms WITH (connector = 'parquet', path = 'alarms') AS SELECT * FROM troubles;

CREATE SINK alarm_messages WITH (connector = 'mqtt', url = 'mqtt://localhost:1883', topic = 'plant/{machine}/alarm') AS
SELECT ts, line, machine, vib_rms, fault FROM troubles;

-- What a line did in a minute of the plant.
CREATE VIEW line_state AS
SELECT window_end AS ts, line, avg(humidity) AS humidity, avg(vibration) AS vibration, avg(speed) AS speed_now
FROM TUMBLE(readings, ts, INTERVAL '60' SECOND)
GROUP BY window_end, line;

-- As fast as the shaking of the machines allows, in small steps.
CREATE OPTIMIZER setpoints
    MINIMIZE power(speed - 30, 2) + 40 * power(greatest(vibration * speed / speed_now - 3, 0), 2) + power((heat - 210) / 10, 2)
    OVER (speed DOUBLE BETWEEN 10 AND 40 MAX STEP 2, heat DOUBLE BETWEEN 180 AND 240)
    PER line EVERY INTERVAL '1' MINUTE
    FROM line_state;

CREATE ACTUATOR press_drive
    WITH (connector = 'mqtt', url = 'mqtt://localhost:1883', topic = 'plant/{line}/press/set', mode = 'auto')
    (line TEXT, speed DOUBLE BETWEEN 10 AND 40 MAX STEP 4, heat DOUBLE BETWEEN 180 AND 240)
    KEY (line)
    RATE 1 PER INTERVAL '1' SECOND;

INSERT INTO press_drive SELECT line, speed, heat FROM setpoints WHERE feasible;
