-- The winning bid of each auction so far.
CREATE VIEW q9 AS
SELECT id, item, seller, category, auction, bidder, price
FROM (
    SELECT a.id, a.item, a.seller, a.category, b.auction, b.bidder, b.price,
           row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.ts) AS place
    FROM auction AS a JOIN bid AS b ON a.id = b.auction AND b.ts BETWEEN a.ts AND a.expires
) AS ranked
WHERE place <= 1;
