-- Bids of each auction and day.
CREATE VIEW q17 AS
SELECT auction, window_start AS day, count(*) AS bids,
       count(*) FILTER (WHERE price < 10000) AS bids_cheap,
       count(*) FILTER (WHERE price >= 1000000) AS bids_dear,
       min(price) AS least, max(price) AS greatest, avg(price) AS mean, sum(price) AS total
FROM TUMBLE(bid, ts, INTERVAL '1' DAY)
GROUP BY auction, window_start;
