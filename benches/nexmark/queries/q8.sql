-- Persons who opened an auction in the ten seconds in which they came.
CREATE VIEW q8 AS
SELECT p.id, p.name, p.window_start
FROM (
    SELECT window_start, window_end, id, name FROM TUMBLE(person, ts, INTERVAL '10' SECOND)
    GROUP BY window_start, window_end, id, name
) AS p
JOIN (
    SELECT window_start, window_end, seller FROM TUMBLE(auction, ts, INTERVAL '10' SECOND)
    GROUP BY window_start, window_end, seller
) AS a ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end;
