-- The price of each bid in euros.
CREATE VIEW q1 AS
SELECT auction, bidder, 0.908 * price AS price, ts, extra FROM bid;
