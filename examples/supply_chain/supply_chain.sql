-- How many units of each product will be ordered tomorrow? One model of all products goes on learning, day by day.

CREATE SOURCE orders (
    "Date" TIMESTAMP NOT NULL,
    "SOS008L02P" DOUBLE, "SOS005L04P" DOUBLE, "SOS003L04P" DOUBLE, "SOS002L09P" DOUBLE, "SOS001L12P" DOUBLE,
    "SOS500M24P" DOUBLE, "SOS250M48P" DOUBLE, "SOP001L12P" DOUBLE, "POV005L04P" DOUBLE, "POV002L09P" DOUBLE,
    "POV001L24P" DOUBLE, "POV500M24P" DOUBLE, "POP001L12P" DOUBLE, "POP015K" DOUBLE, "SO0005L04P" DOUBLE,
    "SO0002L09P" DOUBLE, "SO0001L12P" DOUBLE, "SO0500M24P" DOUBLE, "POP005L04P" DOUBLE, "POP002L09P" DOUBLE,
    "POP001L12P.1" DOUBLE, "POP500M24P" DOUBLE, "POPF01L12P" DOUBLE, "AT5X5K" DOUBLE, "ATN02K12P" DOUBLE,
    "ATN01K24P" DOUBLE, "MAR02K12P" DOUBLE, "MAR01K24P" DOUBLE, "ATWWP002K12P" DOUBLE, "ATWWP001K24P" DOUBLE,
    "MASR025K" DOUBLE, "MAHS025K" DOUBLE, "SE500G24P" DOUBLE, "SE200G24P" DOUBLE, "ATPPCH5X5K" DOUBLE,
    "ATPA1K24P" DOUBLE, "MAPA1K24P" DOUBLE, "MAP1K25P" DOUBLE, "MAC1K25P" DOUBLE, "EEA500G12P" DOUBLE,
    "EEA200G24P" DOUBLE,
    WATERMARK FOR "Date"
) WITH (connector = 'file', path = '${env:SUPPLY}/sales_order_unit.csv', format = 'csv');

-- A row for each product and day.
CREATE VIEW daily AS
SELECT day, product, units
FROM (SELECT "Date" AS day, unnest(['SOS008L02P', 'SOS005L04P', 'SOS003L04P', 'SOS002L09P', 'SOS001L12P', 'SOS500M24P', 'SOS250M48P',
           'SOP001L12P', 'POV005L04P', 'POV002L09P', 'POV001L24P', 'POV500M24P', 'POP001L12P', 'POP015K',
           'SO0005L04P', 'SO0002L09P', 'SO0001L12P', 'SO0500M24P', 'POP005L04P', 'POP002L09P', 'POP001L12P.1',
           'POP500M24P', 'POPF01L12P', 'AT5X5K', 'ATN02K12P', 'ATN01K24P', 'MAR02K12P', 'MAR01K24P',
           'ATWWP002K12P', 'ATWWP001K24P', 'MASR025K', 'MAHS025K', 'SE500G24P', 'SE200G24P', 'ATPPCH5X5K',
           'ATPA1K24P', 'MAPA1K24P', 'MAP1K25P', 'MAC1K25P', 'EEA500G12P', 'EEA200G24P']) AS product,
             unnest(["SOS008L02P", "SOS005L04P", "SOS003L04P", "SOS002L09P", "SOS001L12P", "SOS500M24P", "SOS250M48P",
           "SOP001L12P", "POV005L04P", "POV002L09P", "POV001L24P", "POV500M24P", "POP001L12P", "POP015K",
           "SO0005L04P", "SO0002L09P", "SO0001L12P", "SO0500M24P", "POP005L04P", "POP002L09P", "POP001L12P.1",
           "POP500M24P", "POPF01L12P", "AT5X5K", "ATN02K12P", "ATN01K24P", "MAR02K12P", "MAR01K24P",
           "ATWWP002K12P", "ATWWP001K24P", "MASR025K", "MAHS025K", "SE500G24P", "SE200G24P", "ATPPCH5X5K",
           "ATPA1K24P", "MAPA1K24P", "MAP1K25P", "MAC1K25P", "EEA500G12P", "EEA200G24P"]) AS units FROM orders);

-- What is known the evening before: the same weekdays, and how much is usual.
CREATE VIEW known AS
SELECT day, product, units, lag(units, 7) OVER past AS week_before, lag(units, 14) OVER past AS two_weeks_before,
       lag(units, 21) OVER past AS three_weeks_before,
       avg(units) OVER (PARTITION BY product ORDER BY day ROWS BETWEEN 7 PRECEDING AND 1 PRECEDING) AS of_a_week,
       avg(units) OVER (PARTITION BY product ORDER BY day ROWS BETWEEN 28 PRECEDING AND 1 PRECEDING) AS of_four_weeks
FROM daily WINDOW past AS (PARTITION BY product ORDER BY day);

-- In logarithms, because what counts is by how much a product sells more. A day has 41 rows: with a delay of as many, the orders of
-- a day are learned when the day is over, and no product is told by another one of the same day.
CREATE VIEW learned AS
SELECT day, product, units, week_before,
       exp(rls(ln(1 + units), [ln(1 + week_before), ln(1 + two_weeks_before), ln(1 + three_weeks_before), ln(1 + of_a_week),
                               ln(1 + of_four_weeks)], 0.999, 1e6, 41) OVER (ORDER BY day, product)) - 1 AS estimate
FROM known WHERE three_weeks_before IS NOT NULL;

CREATE SINK forecasts WITH (connector = 'parquet', path = 'forecasts') AS
SELECT day, product, units, week_before, (greatest(estimate, 0) + week_before) / 2 AS forecast FROM learned;
