-- Which fault has this steel plate? Seven kinds of surface faults, told apart by their geometry and brightness.

CREATE SOURCE plates (
    "X_Minimum" DOUBLE, "X_Maximum" DOUBLE, "Y_Minimum" DOUBLE, "Y_Maximum" DOUBLE, "Pixels_Areas" DOUBLE,
    "X_Perimeter" DOUBLE, "Y_Perimeter" DOUBLE, "Sum_of_Luminosity" DOUBLE, "Minimum_of_Luminosity" DOUBLE,
    "Maximum_of_Luminosity" DOUBLE, "Length_of_Conveyer" DOUBLE, "TypeOfSteel_A300" DOUBLE, "TypeOfSteel_A400" DOUBLE,
    "Steel_Plate_Thickness" DOUBLE, "Edges_Index" DOUBLE, "Empty_Index" DOUBLE, "Square_Index" DOUBLE,
    "Outside_X_Index" DOUBLE, "Edges_X_Index" DOUBLE, "Edges_Y_Index" DOUBLE, "Outside_Global_Index" DOUBLE,
    "LogOfAreas" DOUBLE, "Log_X_Index" DOUBLE, "Log_Y_Index" DOUBLE, "Orientation_Index" DOUBLE,
    "Luminosity_Index" DOUBLE, "SigmoidOfAreas" DOUBLE, "failure.type" INT, line BIGINT METADATA
) WITH (connector = 'file', path = '${env:STEEL_PLATES}/faults.csv', format = 'csv');

CREATE VIEW measured AS
SELECT "X_Minimum" AS x_minimum, "X_Maximum" AS x_maximum, "Y_Minimum" AS y_minimum, "Y_Maximum" AS y_maximum,
       "Pixels_Areas" AS pixels_areas, "X_Perimeter" AS x_perimeter, "Y_Perimeter" AS y_perimeter,
       "Sum_of_Luminosity" AS sum_of_luminosity, "Minimum_of_Luminosity" AS minimum_of_luminosity,
       "Maximum_of_Luminosity" AS maximum_of_luminosity, "Length_of_Conveyer" AS length_of_conveyer,
       "TypeOfSteel_A300" AS is_a300, "TypeOfSteel_A400" AS is_a400, "Steel_Plate_Thickness" AS steel_plate_thickness,
       "Edges_Index" AS edges_index, "Empty_Index" AS empty_index, "Square_Index" AS square_index,
       "Outside_X_Index" AS outside_x_index, "Edges_X_Index" AS edges_x_index, "Edges_Y_Index" AS edges_y_index,
       "Outside_Global_Index" AS outside_global_index, "LogOfAreas" AS log_of_areas, "Log_X_Index" AS log_x_index,
       "Log_Y_Index" AS log_y_index, "Orientation_Index" AS orientation_index, "Luminosity_Index" AS luminosity_index,
       "SigmoidOfAreas" AS sigmoid_of_areas,
       CASE "failure.type" WHEN 0 THEN 'other' WHEN 1 THEN 'bumps' WHEN 2 THEN 'k_scratch' WHEN 3 THEN 'z_scratch'
                           WHEN 4 THEN 'pastry' WHEN 5 THEN 'stains' ELSE 'dirtiness' END AS fault,
       line
FROM plates;

-- The file is sorted by fault, and no plate has to do with the next: here single rows may be held back.
CREATE MODEL fault WITH (algorithm = 'random_forest_classifier', target = 'fault', trees = 100, max_depth = 20, seed = 7,
                         split = 'row', test_fraction = 0.2, folds = 3) AS
SELECT x_minimum, x_maximum, y_minimum, y_maximum, pixels_areas, x_perimeter, y_perimeter, sum_of_luminosity,
       minimum_of_luminosity, maximum_of_luminosity, length_of_conveyer, is_a300, steel_plate_thickness, edges_index,
       empty_index, square_index, outside_x_index, edges_x_index, edges_y_index, outside_global_index, log_of_areas,
       log_x_index, log_y_index, orientation_index, luminosity_index, sigmoid_of_areas, fault
FROM measured;

CREATE SINK graded WITH (connector = 'parquet', path = 'graded') AS
SELECT line, fault, predict('fault',
           x_minimum, x_maximum, y_minimum, y_maximum, pixels_areas, x_perimeter, y_perimeter, sum_of_luminosity,
           minimum_of_luminosity, maximum_of_luminosity, length_of_conveyer, is_a300, steel_plate_thickness,
           edges_index, empty_index, square_index, outside_x_index, edges_x_index, edges_y_index,
           outside_global_index, log_of_areas, log_x_index, log_y_index, orientation_index, luminosity_index,
           sigmoid_of_areas) AS predicted
FROM measured;
