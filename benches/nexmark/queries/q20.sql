-- Bids on auctions of a category.
CREATE VIEW q20 AS
SELECT b.auction, b.bidder, b.price, b.channel, b.ts, a.item, a.initial_bid, a.seller, a.category
FROM bid AS b JOIN auction AS a ON b.auction = a.id
WHERE a.category = 10;
