-- The same for each channel.
CREATE VIEW q16 AS
SELECT channel, window_start AS day, max(to_char(ts, '%H:%M')) AS minute, count(*) AS bids,
       count(*) FILTER (WHERE price < 10000) AS bids_cheap,
       count(*) FILTER (WHERE price >= 1000000) AS bids_dear,
       count(DISTINCT bidder) AS bidders,
       count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS bidders_dear,
       count(DISTINCT auction) AS auctions,
       count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS auctions_dear
FROM TUMBLE(bid, ts, INTERVAL '1' DAY)
GROUP BY channel, window_start;
