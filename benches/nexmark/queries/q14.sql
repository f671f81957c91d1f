-- Dear bids, with the time of day and how often a letter stands in a text.
CREATE VIEW q14 AS
SELECT auction, bidder, 0.908 * price AS price,
       CASE
           WHEN date_part('hour', ts) BETWEEN 8 AND 18 THEN 'dayTime'
           WHEN date_part('hour', ts) <= 6 OR date_part('hour', ts) >= 20 THEN 'nightTime'
           ELSE 'otherTime'
       END AS bid_time,
       ts, extra, length(extra) - length(replace(extra, 'c', '')) AS c_counts
FROM bid
WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000;
