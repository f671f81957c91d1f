-- The last bid of each bidder on each auction.
CREATE VIEW q18 AS
SELECT auction, bidder, price, channel, ts
FROM (SELECT *, row_number() OVER (PARTITION BY bidder, auction ORDER BY ts DESC) AS age FROM bid) AS ranked
WHERE age <= 1;
