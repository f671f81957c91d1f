-- Gateways POST readings as JSON, CSV or Influx line protocol; the mean pressure of each machine is posted on when its
-- ten seconds are over.

CREATE SOURCE readings (
    ts      TIMESTAMP NOT NULL,
    machine TEXT NOT NULL,
    bar     DOUBLE,
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (connector = 'http', listen = '${env:LISTEN}', format = 'auto', token = '${env:TOKEN}');

CREATE SINK means WITH (connector = 'http', url = '${env:PEER}', format = 'jsonl') AS
SELECT window_start, machine, count(*) AS n, avg(bar) AS bar
FROM TUMBLE(readings, ts, INTERVAL '10' SECOND)
GROUP BY window_start, window_end, machine;
