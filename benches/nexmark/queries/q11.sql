-- Bids of each bidder until it is silent for ten seconds.
CREATE VIEW q11 AS
SELECT bidder, count(*) AS bids, window_start, window_end
FROM SESSION(bid, ts, INTERVAL '10' SECOND, bidder)
GROUP BY bidder, window_start, window_end;
