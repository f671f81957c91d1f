-- What does a power plant give in this weather? A small neural network: three inputs, a dense layer of sixteen units, one number
-- out; a hundred times through the rows, in batches of 32, with steps of 0.001.

-- An hour of full load a line. The order of the lines is random, so a row says nothing about the next.
CREATE SOURCE hours (
    "AT" DOUBLE, "V" DOUBLE, "AP" DOUBLE, "RH" DOUBLE, "PE" DOUBLE, line BIGINT METADATA
) WITH (connector = 'file', path = '${env:CCPP}/ccpp.csv', format = 'csv');

CREATE VIEW measured AS
SELECT "AT" AS ambient_c, "V" AS vacuum_cm_hg, "RH" AS humidity, "PE" AS output_mw, line FROM hours;

-- Four fifths teach, the last fifth tests.
CREATE MODEL output WITH (algorithm = 'mlp', target = 'output_mw', loss = 'mse', hidden = '16', activation = 'relu',
                          epochs = 100, batch_size = 32, learning_rate = 0.001, seed = 7, test_fraction = 0.2) AS
SELECT ambient_c, vacuum_cm_hg, humidity, output_mw FROM measured;

CREATE SINK scores WITH (connector = 'parquet', path = 'scores') AS
SELECT line, output_mw, predict('output', ambient_c, vacuum_cm_hg, humidity) AS predicted_mw FROM measured;
