-- Does a chemical plant run as usual? Faults of the Tennessee Eastman process are found by dynamic principal components: each
-- channel as it is now, and as it was one and two samples before.

-- A record is a file of 52 channels, a sample every three minutes, blanks between them. There is no time: a sample is known by its line.
CREATE SOURCE records (
    x1 DOUBLE, x2 DOUBLE, x3 DOUBLE, x4 DOUBLE, x5 DOUBLE, x6 DOUBLE, x7 DOUBLE, x8 DOUBLE, x9 DOUBLE, x10 DOUBLE,
    x11 DOUBLE, x12 DOUBLE, x13 DOUBLE, x14 DOUBLE, x15 DOUBLE, x16 DOUBLE, x17 DOUBLE, x18 DOUBLE, x19 DOUBLE,
    x20 DOUBLE, x21 DOUBLE, x22 DOUBLE, x23 DOUBLE, x24 DOUBLE, x25 DOUBLE, x26 DOUBLE, x27 DOUBLE, x28 DOUBLE,
    x29 DOUBLE, x30 DOUBLE, x31 DOUBLE, x32 DOUBLE, x33 DOUBLE, x34 DOUBLE, x35 DOUBLE, x36 DOUBLE, x37 DOUBLE,
    x38 DOUBLE, x39 DOUBLE, x40 DOUBLE, x41 DOUBLE, x42 DOUBLE, x43 DOUBLE, x44 DOUBLE, x45 DOUBLE, x46 DOUBLE,
    x47 DOUBLE, x48 DOUBLE, x49 DOUBLE, x50 DOUBLE, x51 DOUBLE, x52 DOUBLE, file TEXT METADATA, line BIGINT METADATA
) WITH (connector = 'file', path = '${env:TEP}/d*_te.dat.gz', format = 'csv', header = false, delimiter = ' ');

-- The record of normal operation, from which is learned, has a line for each channel; here they become columns.
CREATE SOURCE normal_channels (text TEXT, line BIGINT METADATA)
WITH (connector = 'file', path = '${env:TEP}/d00.dat.gz', format = 'csv', header = false, delimiter = '|', quote = 'none');

CREATE VIEW normal_values AS
SELECT line AS channel, unnest(range(1, 501)) AS place,
       CAST(unnest(string_to_array(regexp_replace(trim(text), ' +', ' ', 'g'), ' ')) AS DOUBLE) AS v
FROM normal_channels;

CREATE VIEW normal AS
SELECT place,
       max(v) FILTER (WHERE channel = 1) AS x1, max(v) FILTER (WHERE channel = 2) AS x2,
       max(v) FILTER (WHERE channel = 3) AS x3, max(v) FILTER (WHERE channel = 4) AS x4,
       max(v) FILTER (WHERE channel = 5) AS x5, max(v) FILTER (WHERE channel = 6) AS x6,
       max(v) FILTER (WHERE channel = 7) AS x7, max(v) FILTER (WHERE channel = 8) AS x8,
       max(v) FILTER (WHERE channel = 9) AS x9, max(v) FILTER (WHERE channel = 10) AS x10,
       max(v) FILTER (WHERE channel = 11) AS x11, max(v) FILTER (WHERE channel = 12) AS x12,
       max(v) FILTER (WHERE channel = 13) AS x13, max(v) FILTER (WHERE channel = 14) AS x14,
       max(v) FILTER (WHERE channel = 15) AS x15, max(v) FILTER (WHERE channel = 16) AS x16,
       max(v) FILTER (WHERE channel = 17) AS x17, max(v) FILTER (WHERE channel = 18) AS x18,
       max(v) FILTER (WHERE channel = 19) AS x19, max(v) FILTER (WHERE channel = 20) AS x20,
       max(v) FILTER (WHERE channel = 21) AS x21, max(v) FILTER (WHERE channel = 22) AS x22,
       max(v) FILTER (WHERE channel = 23) AS x23, max(v) FILTER (WHERE channel = 24) AS x24,
       max(v) FILTER (WHERE channel = 25) AS x25, max(v) FILTER (WHERE channel = 26) AS x26,
       max(v) FILTER (WHERE channel = 27) AS x27, max(v) FILTER (WHERE channel = 28) AS x28,
       max(v) FILTER (WHERE channel = 29) AS x29, max(v) FILTER (WHERE channel = 30) AS x30,
       max(v) FILTER (WHERE channel = 31) AS x31, max(v) FILTER (WHERE channel = 32) AS x32,
       max(v) FILTER (WHERE channel = 33) AS x33, max(v) FILTER (WHERE channel = 34) AS x34,
       max(v) FILTER (WHERE channel = 35) AS x35, max(v) FILTER (WHERE channel = 36) AS x36,
       max(v) FILTER (WHERE channel = 37) AS x37, max(v) FILTER (WHERE channel = 38) AS x38,
       max(v) FILTER (WHERE channel = 39) AS x39, max(v) FILTER (WHERE channel = 40) AS x40,
       max(v) FILTER (WHERE channel = 41) AS x41, max(v) FILTER (WHERE channel = 42) AS x42,
       max(v) FILTER (WHERE channel = 43) AS x43, max(v) FILTER (WHERE channel = 44) AS x44,
       max(v) FILTER (WHERE channel = 45) AS x45, max(v) FILTER (WHERE channel = 46) AS x46,
       max(v) FILTER (WHERE channel = 47) AS x47, max(v) FILTER (WHERE channel = 48) AS x48,
       max(v) FILTER (WHERE channel = 49) AS x49, max(v) FILTER (WHERE channel = 50) AS x50,
       max(v) FILTER (WHERE channel = 51) AS x51, max(v) FILTER (WHERE channel = 52) AS x52
FROM normal_values GROUP BY place;

-- The record that is learned from beside those that are judged.
CREATE VIEW all_records AS
SELECT 'normal' AS record, place, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12,
       x13, x14, x15, x16, x17, x18, x19, x20, x21, x22, x23, x24, x25, x26, x27, x28, x29, x30, x31, x32, x33, x34,
       x35, x36, x37, x38, x39, x40, x41, x42, x43, x44, x45, x46, x47, x48, x49, x50, x51, x52
FROM normal
UNION ALL
SELECT split_part(split_part(file, '/', -1), '_', 1) AS record, line AS place, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12,
       x13, x14, x15, x16, x17, x18, x19, x20, x21, x22, x23, x24, x25, x26, x27, x28, x29, x30, x31, x32, x33, x34,
       x35, x36, x37, x38, x39, x40, x41, x42, x43, x44, x45, x46, x47, x48, x49, x50, x51, x52
FROM records;

CREATE VIEW samples AS
SELECT *,
       lag(x1, 1) OVER w AS x1_1, lag(x2, 1) OVER w AS x2_1, lag(x3, 1) OVER w AS x3_1, lag(x4, 1) OVER w AS x4_1,
       lag(x5, 1) OVER w AS x5_1, lag(x6, 1) OVER w AS x6_1, lag(x7, 1) OVER w AS x7_1, lag(x8, 1) OVER w AS x8_1,
       lag(x9, 1) OVER w AS x9_1, lag(x10, 1) OVER w AS x10_1, lag(x11, 1) OVER w AS x11_1,
       lag(x12, 1) OVER w AS x12_1, lag(x13, 1) OVER w AS x13_1, lag(x14, 1) OVER w AS x14_1,
       lag(x15, 1) OVER w AS x15_1, lag(x16, 1) OVER w AS x16_1, lag(x17, 1) OVER w AS x17_1,
       lag(x18, 1) OVER w AS x18_1, lag(x19, 1) OVER w AS x19_1, lag(x20, 1) OVER w AS x20_1,
       lag(x21, 1) OVER w AS x21_1, lag(x22, 1) OVER w AS x22_1, lag(x23, 1) OVER w AS x23_1,
       lag(x24, 1) OVER w AS x24_1, lag(x25, 1) OVER w AS x25_1, lag(x26, 1) OVER w AS x26_1,
       lag(x27, 1) OVER w AS x27_1, lag(x28, 1) OVER w AS x28_1, lag(x29, 1) OVER w AS x29_1,
       lag(x30, 1) OVER w AS x30_1, lag(x31, 1) OVER w AS x31_1, lag(x32, 1) OVER w AS x32_1,
       lag(x33, 1) OVER w AS x33_1, lag(x34, 1) OVER w AS x34_1, lag(x35, 1) OVER w AS x35_1,
       lag(x36, 1) OVER w AS x36_1, lag(x37, 1) OVER w AS x37_1, lag(x38, 1) OVER w AS x38_1,
       lag(x39, 1) OVER w AS x39_1, lag(x40, 1) OVER w AS x40_1, lag(x41, 1) OVER w AS x41_1,
       lag(x42, 1) OVER w AS x42_1, lag(x43, 1) OVER w AS x43_1, lag(x44, 1) OVER w AS x44_1,
       lag(x45, 1) OVER w AS x45_1, lag(x46, 1) OVER w AS x46_1, lag(x47, 1) OVER w AS x47_1,
       lag(x48, 1) OVER w AS x48_1, lag(x49, 1) OVER w AS x49_1, lag(x50, 1) OVER w AS x50_1,
       lag(x51, 1) OVER w AS x51_1, lag(x52, 1) OVER w AS x52_1, lag(x1, 2) OVER w AS x1_2, lag(x2, 2) OVER w AS x2_2,
       lag(x3, 2) OVER w AS x3_2, lag(x4, 2) OVER w AS x4_2, lag(x5, 2) OVER w AS x5_2, lag(x6, 2) OVER w AS x6_2,
       lag(x7, 2) OVER w AS x7_2, lag(x8, 2) OVER w AS x8_2, lag(x9, 2) OVER w AS x9_2, lag(x10, 2) OVER w AS x10_2,
       lag(x11, 2) OVER w AS x11_2, lag(x12, 2) OVER w AS x12_2, lag(x13, 2) OVER w AS x13_2,
       lag(x14, 2) OVER w AS x14_2, lag(x15, 2) OVER w AS x15_2, lag(x16, 2) OVER w AS x16_2,
       lag(x17, 2) OVER w AS x17_2, lag(x18, 2) OVER w AS x18_2, lag(x19, 2) OVER w AS x19_2,
       lag(x20, 2) OVER w AS x20_2, lag(x21, 2) OVER w AS x21_2, lag(x22, 2) OVER w AS x22_2,
       lag(x23, 2) OVER w AS x23_2, lag(x24, 2) OVER w AS x24_2, lag(x25, 2) OVER w AS x25_2,
       lag(x26, 2) OVER w AS x26_2, lag(x27, 2) OVER w AS x27_2, lag(x28, 2) OVER w AS x28_2,
       lag(x29, 2) OVER w AS x29_2, lag(x30, 2) OVER w AS x30_2, lag(x31, 2) OVER w AS x31_2,
       lag(x32, 2) OVER w AS x32_2, lag(x33, 2) OVER w AS x33_2, lag(x34, 2) OVER w AS x34_2,
       lag(x35, 2) OVER w AS x35_2, lag(x36, 2) OVER w AS x36_2, lag(x37, 2) OVER w AS x37_2,
       lag(x38, 2) OVER w AS x38_2, lag(x39, 2) OVER w AS x39_2, lag(x40, 2) OVER w AS x40_2,
       lag(x41, 2) OVER w AS x41_2, lag(x42, 2) OVER w AS x42_2, lag(x43, 2) OVER w AS x43_2,
       lag(x44, 2) OVER w AS x44_2, lag(x45, 2) OVER w AS x45_2, lag(x46, 2) OVER w AS x46_2,
       lag(x47, 2) OVER w AS x47_2, lag(x48, 2) OVER w AS x48_2, lag(x49, 2) OVER w AS x49_2,
       lag(x50, 2) OVER w AS x50_2, lag(x51, 2) OVER w AS x51_2, lag(x52, 2) OVER w AS x52_2
FROM all_records WINDOW w AS (PARTITION BY record ORDER BY place);

CREATE MODEL process WITH (algorithm = 'pca_t2_spe', components = 29, confidence = 0.99, test_fraction = 0, time = 'place') AS
SELECT place, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15, x16, x17, x18, x19, x20, x21, x22, x23, x24,
       x25, x26, x27, x28, x29, x30, x31, x32, x33, x34, x35, x36, x37, x38, x39, x40, x41, x42, x43, x44, x45, x46,
       x47, x48, x49, x50, x51, x52, x1_1, x2_1, x3_1, x4_1, x5_1, x6_1, x7_1, x8_1, x9_1, x10_1, x11_1, x12_1, x13_1,
       x14_1, x15_1, x16_1, x17_1, x18_1, x19_1, x20_1, x21_1, x22_1, x23_1, x24_1, x25_1, x26_1, x27_1, x28_1, x29_1,
       x30_1, x31_1, x32_1, x33_1, x34_1, x35_1, x36_1, x37_1, x38_1, x39_1, x40_1, x41_1, x42_1, x43_1, x44_1, x45_1,
       x46_1, x47_1, x48_1, x49_1, x50_1, x51_1, x52_1, x1_2, x2_2, x3_2, x4_2, x5_2, x6_2, x7_2, x8_2, x9_2, x10_2,
       x11_2, x12_2, x13_2, x14_2, x15_2, x16_2, x17_2, x18_2, x19_2, x20_2, x21_2, x22_2, x23_2, x24_2, x25_2, x26_2,
       x27_2, x28_2, x29_2, x30_2, x31_2, x32_2, x33_2, x34_2, x35_2, x36_2, x37_2, x38_2, x39_2, x40_2, x41_2, x42_2,
       x43_2, x44_2, x45_2, x46_2, x47_2, x48_2, x49_2, x50_2, x51_2, x52_2
FROM samples WHERE record = 'normal';

CREATE MATERIALIZED VIEW judged AS
SELECT record, place,
       model_value('process', 't2',
           x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15, x16, x17, x18, x19, x20, x21, x22, x23,
           x24, x25, x26, x27, x28, x29, x30, x31, x32, x33, x34, x35, x36, x37, x38, x39, x40, x41, x42, x43, x44,
           x45, x46, x47, x48, x49, x50, x51, x52, x1_1, x2_1, x3_1, x4_1, x5_1, x6_1, x7_1, x8_1, x9_1, x10_1, x11_1,
           x12_1, x13_1, x14_1, x15_1, x16_1, x17_1, x18_1, x19_1, x20_1, x21_1, x22_1, x23_1, x24_1, x25_1, x26_1,
           x27_1, x28_1, x29_1, x30_1, x31_1, x32_1, x33_1, x34_1, x35_1, x36_1, x37_1, x38_1, x39_1, x40_1, x41_1,
           x42_1, x43_1, x44_1, x45_1, x46_1, x47_1, x48_1, x49_1, x50_1, x51_1, x52_1, x1_2, x2_2, x3_2, x4_2, x5_2,
           x6_2, x7_2, x8_2, x9_2, x10_2, x11_2, x12_2, x13_2, x14_2, x15_2, x16_2, x17_2, x18_2, x19_2, x20_2, x21_2,
           x22_2, x23_2, x24_2, x25_2, x26_2, x27_2, x28_2, x29_2, x30_2, x31_2, x32_2, x33_2, x34_2, x35_2, x36_2,
           x37_2, x38_2, x39_2, x40_2, x41_2, x42_2, x43_2, x44_2, x45_2, x46_2, x47_2, x48_2, x49_2, x50_2, x51_2,
           x52_2) AS t2,
       model_value('process', 'spe',
           x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15, x16, x17, x18, x19, x20, x21, x22, x23,
           x24, x25, x26, x27, x28, x29, x30, x31, x32, x33, x34, x35, x36, x37, x38, x39, x40, x41, x42, x43, x44,
           x45, x46, x47, x48, x49, x50, x51, x52, x1_1, x2_1, x3_1, x4_1, x5_1, x6_1, x7_1, x8_1, x9_1, x10_1, x11_1,
           x12_1, x13_1, x14_1, x15_1, x16_1, x17_1, x18_1, x19_1, x20_1, x21_1, x22_1, x23_1, x24_1, x25_1, x26_1,
           x27_1, x28_1, x29_1, x30_1, x31_1, x32_1, x33_1, x34_1, x35_1, x36_1, x37_1, x38_1, x39_1, x40_1, x41_1,
           x42_1, x43_1, x44_1, x45_1, x46_1, x47_1, x48_1, x49_1, x50_1, x51_1, x52_1, x1_2, x2_2, x3_2, x4_2, x5_2,
           x6_2, x7_2, x8_2, x9_2, x10_2, x11_2, x12_2, x13_2, x14_2, x15_2, x16_2, x17_2, x18_2, x19_2, x20_2, x21_2,
           x22_2, x23_2, x24_2, x25_2, x26_2, x27_2, x28_2, x29_2, x30_2, x31_2, x32_2, x33_2, x34_2, x35_2, x36_2,
           x37_2, x38_2, x39_2, x40_2, x41_2, x42_2, x43_2, x44_2, x45_2, x46_2, x47_2, x48_2, x49_2, x50_2, x51_2,
           x52_2) AS spe
FROM samples WHERE record <> 'normal';

-- The limits are what one of a hundred samples of a normal record exceeds that was not learned from. A fault begins after sample 160.
CREATE MATERIALIZED VIEW missed AS
SELECT record, avg(CAST(t2 <= t2_limit AS DOUBLE)) AS by_t2, avg(CAST(spe <= spe_limit AS DOUBLE)) AS by_spe
FROM judged CROSS JOIN (SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY t2) AS t2_limit,
                               percentile_cont(0.99) WITHIN GROUP (ORDER BY spe) AS spe_limit
                        FROM judged WHERE record = 'd00')
WHERE place > 160 AND record <> 'd00'
GROUP BY record;
