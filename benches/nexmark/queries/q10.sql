-- Bids with day and minute, as for files by day.
CREATE VIEW q10 AS
SELECT auction, bidder, price, ts, extra, to_char(ts, '%Y-%m-%d') AS day, to_char(ts, '%H:%M') AS minute FROM bid;
