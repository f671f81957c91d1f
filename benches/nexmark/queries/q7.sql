-- The highest bids of every ten seconds.
CREATE VIEW q7 AS
SELECT auction, price, bidder, ts, extra
FROM TUMBLE(bid, ts, INTERVAL '10' SECOND)
QUALIFY rank() OVER (PARTITION BY window_start, window_end ORDER BY price DESC) = 1;
