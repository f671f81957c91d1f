-- The auctions with the most bids of the last ten seconds, every two seconds.
CREATE VIEW q5 AS
WITH counted AS (
    SELECT window_start, window_end, auction, count(*) AS bids
    FROM HOP(bid, ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND)
    GROUP BY window_start, window_end, auction
)
SELECT auction, bids, window_start, window_end FROM counted
QUALIFY rank() OVER (PARTITION BY window_start, window_end ORDER BY bids DESC) = 1;
