-- When does a bearing begin to fail? Four bearings on a shaft, a snapshot of the vibration every ten minutes until one fails:
-- an alarm for each bearing that shakes as it did not in its first two days, and what it may be.

-- A line per sample, 20,000 a second; the samples of a snapshot have its time. A file need not have all bearings.
CREATE SOURCE samples (
    snapshot TIMESTAMP NOT NULL,
    b1_g DOUBLE, b2_g DOUBLE, b3_g DOUBLE, b4_g DOUBLE,
    WATERMARK FOR snapshot
) WITH (connector = 'file', path = '${env:IMS}', format = 'csv', timestamp_format = '%Y.%m.%d.%H.%M.%S');

CREATE VIEW accelerations AS
SELECT snapshot AS ts, 'bearing 1' AS bearing, b1_g AS g FROM samples WHERE b1_g IS NOT NULL
UNION ALL SELECT snapshot, 'bearing 2', b2_g FROM samples WHERE b2_g IS NOT NULL
UNION ALL SELECT snapshot, 'bearing 3', b3_g FROM samples WHERE b3_g IS NOT NULL
UNION ALL SELECT snapshot, 'bearing 4', b4_g FROM samples WHERE b4_g IS NOT NULL;

-- Rexnord ZA-2115 at 2,000 turns a minute: 16 rollers of 0.331 in on a circle of 2.815 in, at 15.17 degrees. Each time a roller
-- meets a spot, the bearing rings between 2 and 9 kHz, so the envelope of that band has the frequency of the damage. Its energy
-- within 3 % of that, for rollers slip, is compared with the energy within 15 %. A spot on a roller strikes both races in a
-- turn of the roller, which is what twice the speed stands for.
CREATE VIEW features AS
SELECT ts, bearing, rms(g) AS rms_g, kurtosis(g) AS kurtosis, envelope_rms(g, 20000, 2000, 9000) AS envelope_g,
       bearing_energy(g, 20000, 2000, 'BPFO', 16, 0.331, 2.815, 15.17, 2000, 9000, 3, 0.03) AS outer_near,
       bearing_energy(g, 20000, 2000, 'BPFO', 16, 0.331, 2.815, 15.17, 2000, 9000, 3, 0.15) AS outer_around,
       bearing_energy(g, 20000, 2000, 'BPFI', 16, 0.331, 2.815, 15.17, 2000, 9000, 3, 0.03) AS inner_near,
       bearing_energy(g, 20000, 2000, 'BPFI', 16, 0.331, 2.815, 15.17, 2000, 9000, 3, 0.15) AS inner_around,
       bearing_energy(g, 20000, 4000, 'BSF', 16, 0.331, 2.815, 15.17, 2000, 9000, 3, 0.03) AS roller_near,
       bearing_energy(g, 20000, 4000, 'BSF', 16, 0.331, 2.815, 15.17, 2000, 9000, 3, 0.15) AS roller_around
FROM accelerations GROUP BY ts, bearing
HAVING rms(g) > 0.01;                                      -- below it the machine stands still

-- The last hour, each snapshot at its level in nepers: what doubles counts the same at any level.
CREATE VIEW hourly AS
SELECT ts, bearing, rms_g, kurtosis, envelope_g, row_number() OVER in_order AS number,
       avg(ln(envelope_g)) OVER hour AS level,
       avg(outer_near) OVER hour / avg(outer_around) OVER hour AS outer_share,
       avg(inner_near) OVER hour / avg(inner_around) OVER hour AS inner_share,
       avg(roller_near) OVER hour / avg(roller_around) OVER hour AS roller_share
FROM features
WINDOW in_order AS (PARTITION BY bearing ORDER BY ts),
       hour AS (PARTITION BY bearing ORDER BY ts ROWS BETWEEN 5 PRECEDING AND CURRENT ROW);

-- What is usual is learned from the first 288 snapshots of a bearing, two days, and stays as it is.
CREATE VIEW compared AS
SELECT *, avg(CASE WHEN number <= 288 THEN level END) OVER so_far AS usual,
       stddev(CASE WHEN number <= 288 THEN level END) OVER so_far AS deviation
FROM hourly
WINDOW so_far AS (PARTITION BY bearing ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

-- Three snapshots running above six deviations are an alarm.
CREATE VIEW judged AS
SELECT *, avg(CASE WHEN number > 288 AND level > usual + 6 * deviation THEN 1.0 ELSE 0.0 END)
              OVER (PARTITION BY bearing ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) = 1 AS is_alarm
FROM compared;

CREATE SINK wear WITH (connector = 'parquet', path = 'wear') AS SELECT * FROM judged;

-- Only the snapshot that raises the alarm, and the damage whose frequency stands out most. Noise has a share of 0.2.
CREATE SINK alarms WITH (connector = 'stdout') AS
SELECT ts, bearing, number, rms_g, kurtosis,
       CASE WHEN greatest(outer_share, inner_share, roller_share) < 0.33 THEN 'not known yet'
            WHEN outer_share >= greatest(inner_share, roller_share) THEN 'outer race'
            WHEN inner_share >= roller_share THEN 'inner race'
            ELSE 'roller' END AS damage
FROM (SELECT *, lag(is_alarm) OVER (PARTITION BY bearing ORDER BY ts) AS was_alarm FROM judged)
WHERE is_alarm AND NOT was_alarm;
