-- Bids, bidders and auctions of each day, by how dear the bids are.
CREATE VIEW q15 AS
SELECT window_start AS day, count(*) AS bids,
       count(*) FILTER (WHERE price < 10000) AS bids_cheap,
       count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS bids_middle,
       count(*) FILTER (WHERE price >= 1000000) AS bids_dear,
       count(DISTINCT bidder) AS bidders,
       count(DISTINCT bidder) FILTER (WHERE price < 10000) AS bidders_cheap,
       count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS bidders_dear,
       count(DISTINCT auction) AS auctions,
       count(DISTINCT auction) FILTER (WHERE price < 10000) AS auctions_cheap,
       count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS auctions_dear
FROM TUMBLE(bid, ts, INTERVAL '1' DAY)
GROUP BY window_start;
