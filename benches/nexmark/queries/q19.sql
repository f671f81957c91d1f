-- The ten highest bids of each auction.
CREATE VIEW q19 AS
SELECT auction, bidder, price, ts, place
FROM (SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC, ts) AS place FROM bid) AS ranked
WHERE place <= 10;
