-- Bids as they come: what reading and writing costs.
CREATE VIEW q0 AS
SELECT auction, bidder, price, ts, extra FROM bid;
