-- Bids with a column of a bounded table.
CREATE VIEW q13 AS
SELECT b.auction, b.bidder, b.price, b.ts, s.value
FROM bid AS b JOIN side_input AS s ON b.auction % 1000 = s.key;
