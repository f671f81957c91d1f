-- The mean of the highest bids of each category so far.
CREATE VIEW q4 AS
SELECT category, avg(final) AS final
FROM (
    SELECT a.id, a.category, max(b.price) AS final
    FROM auction AS a JOIN bid AS b ON a.id = b.auction AND b.ts BETWEEN a.ts AND a.expires
    GROUP BY a.id, a.category
) AS closed
GROUP BY category;
