-- What is broken in a bearing? Records of a motor with a healthy bearing, and with a pit in one part of it; what is broken shows
-- in the envelope of the vibration.

-- A file is a record: 12,000 samples a second of the acceleration beside the bearing. There is no clock.
CREATE SOURCE samples (
    de_g DOUBLE,
    file TEXT METADATA,
    line BIGINT METADATA
) WITH (connector = 'file', path = '${env:CWRU}', format = 'csv');

-- The name of a file ends in the load of the motor, `IR007_2hp`, which decides how fast it turns.
CREATE VIEW records AS
SELECT record, line, de_g,
       CASE split_part(record, '_', 2) WHEN '0hp' THEN 1796 WHEN '1hp' THEN 1772 WHEN '2hp' THEN 1749 WHEN '3hp' THEN 1730
            ELSE 1772 END AS rpm
FROM (SELECT *, split_part(split_part(file, '/', -1), '.', 1) AS record FROM samples);

-- Two seconds each, as a list. The first line has the names.
CREATE VIEW pieces AS
SELECT record, rpm, (line - 2) / 24000 AS piece, array_agg(de_g ORDER BY line) AS g
FROM records GROUP BY record, rpm, (line - 2) / 24000
HAVING count(*) = 24000;

-- SKF 6205: 9 balls of 0.3126 in on a circle of 1.537 in. The energy of the envelope within 1 % of the frequency of a fault and two
-- harmonics, and within 10 %. A pit in a ball strikes both races in a turn of the ball, which is what twice the speed stands for.
CREATE VIEW energies AS
SELECT record, piece, array_rms(g) AS rms_g, array_kurtosis(g) AS kurtosis,
       array_bearing_energy(g, 12000, rpm, 'BPFO', 9, 0.3126, 1.537, 0, 500, 5900, 3, 0.01) AS outer_near,
       array_bearing_energy(g, 12000, rpm, 'BPFO', 9, 0.3126, 1.537, 0, 500, 5900, 3, 0.1) AS outer_around,
       array_bearing_energy(g, 12000, rpm, 'BPFI', 9, 0.3126, 1.537, 0, 500, 5900, 3, 0.01) AS inner_near,
       array_bearing_energy(g, 12000, rpm, 'BPFI', 9, 0.3126, 1.537, 0, 500, 5900, 3, 0.1) AS inner_around,
       array_bearing_energy(g, 12000, 2 * rpm, 'BSF', 9, 0.3126, 1.537, 0, 500, 5900, 3, 0.01) AS ball_near,
       array_bearing_energy(g, 12000, 2 * rpm, 'BSF', 9, 0.3126, 1.537, 0, 500, 5900, 3, 0.1) AS ball_around
FROM pieces;

-- How far a fault stands out, in nepers: a tenth of the lines has a tenth of the energy if there is nothing.
CREATE VIEW scores AS
SELECT record, avg(rms_g) AS rms_g, avg(kurtosis) AS kurtosis,
       avg(ln(9 * outer_near / (outer_around - outer_near))) AS outer_race,
       avg(ln(9 * inner_near / (inner_around - inner_near))) AS inner_race,
       avg(ln(9 * ball_near / (ball_around - ball_near))) AS ball
FROM energies GROUP BY record;

-- Twelve times the energy around it, and more than the others.
CREATE MATERIALIZED VIEW verdicts AS
SELECT *, CASE WHEN greatest(outer_race, inner_race, ball) < 2.5 THEN 'none that shows'
               WHEN outer_race >= greatest(inner_race, ball) THEN 'outer race'
               WHEN inner_race >= ball THEN 'inner race'
               ELSE 'ball' END AS fault
FROM scores;
