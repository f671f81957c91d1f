use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use lineshaft_engine::declaration::Options;

use super::super::random::Random;
use super::*;

fn training(options: &[(&str, &str)]) -> Training {
    let options: Options = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Training::from_options("wear", &options).unwrap()
}

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// `y = 3a - b` with a class `hot` when `a > 0.5`.
fn plant(rows: usize) -> (Float64Array, Float64Array, Float64Array, StringArray) {
    let mut random = Random::new(11);
    let a: Vec<f64> = (0..rows).map(|_| random.unit()).collect();
    let b: Vec<f64> = (0..rows).map(|_| random.unit()).collect();
    let y = a.iter().zip(&b).map(|(a, b)| 3.0 * a - b).collect::<Vec<f64>>();
    let state: Vec<&str> = a.iter().map(|&a| if a > 0.5 { "hot" } else { "cold" }).collect();
    (a.into(), b.into(), y.into(), state.into())
}

fn metric(trained: &Trained, name: &str) -> f64 {
    trained.metrics.iter().find(|metric| metric.name == name && metric.class.is_none()).unwrap().value
}

#[test]
fn each_regression_learns_a_plane_and_reports_it() {
    let (a, b, y, _) = plant(400);
    let table = table(vec![("a", Arc::new(a)), ("b", Arc::new(b)), ("y", Arc::new(y))]);
    for (algorithm, r2) in [
        ("linear_regression", 0.999_999),
        ("ridge", 0.999),
        ("random_forest_regressor", 0.9),
        ("extra_trees_regressor", 0.9),
        ("gradient_boosting_regressor", 0.9),
        ("decision_tree_regressor", 0.9),
        ("knn_regressor", 0.9),
    ] {
        let trained = train(&training(&[("algorithm", algorithm), ("target", "y")]), &table).unwrap();
        assert!(metric(&trained, "r2") > r2, "{algorithm}: {:?}", trained.metrics);
        assert_eq!(trained.features, ["a", "b"]);
        assert_eq!(trained.rows + trained.test_rows, 400);
        assert!((60..100).contains(&trained.test_rows), "{}", trained.test_rows);
        assert_eq!(trained.output_type(), DataType::Float64);
    }
}

#[test]
fn each_classifier_gives_back_the_text_of_its_classes() {
    let (a, b, _, state) = plant(400);
    let columns = [Arc::new(a) as ArrayRef, Arc::new(b)];
    let table = table(vec![
        ("a", Arc::clone(&columns[0])),
        ("state", Arc::new(state)),
        ("b", Arc::clone(&columns[1])),
    ]);
    for algorithm in [
        "random_forest_classifier",
        "logistic_regression",
        "decision_tree_classifier",
        "naive_bayes",
        "knn_classifier",
    ] {
        let trained = train(&training(&[("algorithm", algorithm), ("target", "state")]), &table).unwrap();
        assert!(metric(&trained, "accuracy") > 0.9, "{algorithm}: {:?}", trained.metrics);
        for name in ["f1", "precision", "recall", "log_loss"] {
            assert!(metric(&trained, name).is_finite());
        }
        let predicted = trained.predict(&columns).unwrap();
        let hot = trained.predict_proba(&columns, None).unwrap();
        let cold = trained.predict_proba(&columns, Some("cold")).unwrap();
        for row in 0..400 {
            let (hot, cold) =
                (hot.as_primitive::<Float64Type>().value(row), cold.as_primitive::<Float64Type>().value(row));
            assert!((hot + cold - 1.0).abs() < 1e-9);
            if (hot - 0.5).abs() > 1e-9 {
                assert_eq!(predicted.as_string::<i32>().value(row), if hot > 0.5 { "hot" } else { "cold" });
            }
        }
    }
}

#[test]
fn integer_and_boolean_classes_keep_their_type() {
    let (a, ..) = plant(200);
    let features: [ArrayRef; 1] = [Arc::new(a.clone())];
    let integers: Int32Array = a.values().iter().map(|&a| if a > 0.5 { 7 } else { -7 }).collect();
    let booleans: BooleanArray = a.values().iter().map(|&a| Some(a > 0.5)).collect();
    let options = training(&[("algorithm", "random_forest_classifier"), ("target", "y"), ("trees", "5")]);
    let trained =
        train(&options, &table(vec![("a", Arc::clone(&features[0])), ("y", Arc::new(integers))])).unwrap();
    let predicted = trained.predict(&features).unwrap();
    assert!(predicted.as_primitive::<Int64Type>().values().iter().all(|value| value.abs() == 7));
    let trained =
        train(&options, &table(vec![("a", Arc::clone(&features[0])), ("y", Arc::new(booleans))])).unwrap();
    assert_eq!(trained.predict(&features).unwrap().data_type(), &DataType::Boolean);
}

#[test]
fn clusters_need_no_target() {
    let x: Vec<f64> = (0..100).map(|row| f64::from(row % 2) * 10.0 + f64::from(row) * 1e-3).collect();
    let features: [ArrayRef; 1] = [Arc::new(Float64Array::from(x))];
    let options = training(&[("algorithm", "kmeans"), ("k", "2")]);
    let trained = train(&options, &table(vec![("x", Arc::clone(&features[0]))])).unwrap();
    let clusters = trained.predict(&features).unwrap();
    let clusters: &Int64Array = clusters.as_primitive();
    assert!((0..98).all(|row| clusters.value(row) == clusters.value(row + 2)));
    assert_ne!(clusters.value(0), clusters.value(1));
    assert!(metric(&trained, "inertia") > 0.0);
}

#[test]
fn incomplete_rows_are_left_out_and_score_to_null() {
    let a =
        Float64Array::from(vec![Some(1.0), None, Some(f64::NAN), Some(4.0), Some(5.0), Some(f64::INFINITY)]);
    let y = Float64Array::from(vec![Some(2.0), Some(4.0), Some(6.0), Some(8.0), None, Some(1.0)]);
    let features: [ArrayRef; 1] = [Arc::new(a)];
    let options = training(&[("algorithm", "linear_regression"), ("target", "y"), ("test_fraction", "0")]);
    let trained = train(&options, &table(vec![("a", Arc::clone(&features[0])), ("y", Arc::new(y))])).unwrap();
    assert_eq!((trained.rows, trained.dropped_rows, trained.test_rows), (2, 4, 0));
    assert!(trained.metrics.is_empty());
    let predicted = trained.predict(&features).unwrap();
    let nulls: Vec<bool> = (0..6).map(|row| predicted.is_null(row)).collect();
    assert_eq!(nulls, [false, true, true, false, false, true]);
    assert!((predicted.as_primitive::<Float64Type>().value(4) - 10.0).abs() < 1e-9);
}

#[test]
fn the_seed_decides_the_held_back_part() {
    let (a, b, ..) = plant(300);
    let y: Float64Array = a.values().iter().map(|a| a * a).collect();
    let table = table(vec![("a", Arc::new(a)), ("b", Arc::new(b)), ("y", Arc::new(y))]);
    let with = |seed| {
        let options = [("algorithm", "linear_regression"), ("target", "y"), ("split", "row"), ("seed", seed)];
        train(&training(&options), &table).unwrap()
    };
    assert_eq!(with("1"), with("1"));
    assert_ne!(with("1").metrics, with("2").metrics);
}

#[test]
fn what_cannot_be_learned_is_said_clearly() {
    let numbers = |values: &[f64]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
    let forest =
        training(&[("algorithm", "random_forest_classifier"), ("target", "y"), ("test_fraction", "0")]);
    let linear = training(&[("algorithm", "linear_regression"), ("target", "y"), ("test_fraction", "0")]);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a"]));
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 3]));
    let (x, y) = (numbers(&[1.0, 2.0, 3.0]), numbers(&[1.0, 1.0, 1.0]));
    let cases = [
        (&forest, table(vec![("x", numbers(&[])), ("y", numbers(&[]))]), "gave no rows"),
        (
            &forest,
            table(vec![("x", numbers(&[f64::NAN])), ("y", numbers(&[1.0]))]),
            "each of the 1 training rows",
        ),
        (
            &forest,
            table(vec![("x", Arc::clone(&x)), ("y", Arc::clone(&y))]),
            "one class only in the 3 training rows",
        ),
        (
            &linear,
            table(vec![("x", Arc::clone(&x)), ("y", Arc::clone(&y))]),
            "the target is 1 in each of the 3",
        ),
        (
            &linear,
            table(vec![("x", Arc::clone(&text)), ("y", Arc::clone(&x))]),
            "feature \"x\" is Utf8, not a number",
        ),
        (&linear, table(vec![("x", time), ("y", Arc::clone(&x))]), "feature \"x\" is Timestamp"),
        (&linear, table(vec![("x", Arc::clone(&x)), ("y", text)]), "target \"y\" is Utf8"),
        (&linear, table(vec![("x", Arc::clone(&x)), ("z", Arc::clone(&x))]), "which has x, z"),
        (&linear, table(vec![("y", x)]), "no feature column"),
    ];
    for (training, table, expected) in cases {
        let error = train(training, &table).unwrap_err().to_string();
        assert!(error.starts_with("model \"wear\": ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_wrong_number_of_features_names_them() {
    let (a, b, y, state) = plant(50);
    let table = table(vec![("a", Arc::new(a.clone())), ("b", Arc::new(b)), ("y", Arc::new(y))]);
    let trained = train(&training(&[("algorithm", "ridge"), ("target", "y")]), &table).unwrap();
    let error = trained.predict(&[Arc::new(a) as ArrayRef]).unwrap_err().to_string();
    assert_eq!(error, "model \"wear\": it takes 2 features (a, b), not 1");
    let texts: [ArrayRef; 2] = [Arc::new(state.clone()), Arc::new(state)];
    assert!(trained.predict(&texts).unwrap_err().to_string().contains("not a number"));
    assert!(trained.predict_proba(&texts, None).unwrap_err().to_string().contains("gives no probabilities"));
}

#[test]
fn each_key_has_a_model_of_its_own() {
    let (a, b, ..) = plant(400);
    let key: Int64Array = (0..400).map(|row| row % 2).collect();
    let y: Float64Array =
        a.values().iter().zip(key.values()).map(|(a, &k)| if k == 0 { 2.0 * a } else { 5.0 - a }).collect();
    let columns: [ArrayRef; 3] = [Arc::new(key), Arc::new(a), Arc::new(b)];
    let table = table(vec![
        ("a", Arc::clone(&columns[1])),
        ("machine", Arc::clone(&columns[0])),
        ("b", Arc::clone(&columns[2])),
        ("y", Arc::new(y.clone())),
    ]);
    let training = training(&[("algorithm", "linear_regression"), ("target", "y")]);
    let training = Training { per: Some("machine".into()), ..training };
    let trained = train(&training, &table).unwrap();
    assert_eq!(trained.features, ["a", "b"]);
    assert_eq!((trained.rows, trained.test_rows), (320, 80));
    assert!(metric(&trained, "rmse") < 1e-9, "metrics are of all keys");
    let predicted = trained.predict(&columns).unwrap();
    let predicted = predicted.as_primitive::<Float64Type>();
    assert!(predicted.values().iter().zip(y.values()).all(|(p, y)| (p - y).abs() < 1e-9));
    // A double is the same key as an integer; a key without a model has no prediction.
    let keys: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(7.0), None]));
    let features = [1, 2].map(|place: usize| columns[place].slice(0, 3));
    let [first, second] = features;
    let some = trained.predict(&[keys, first, second]).unwrap();
    assert_eq!((some.is_valid(0), some.is_null(1), some.is_null(2)), (true, true, true));
    let failing = RecordBatch::try_from_iter([
        ("a", Arc::new(Float64Array::from(vec![1.0, 2.0])) as ArrayRef),
        ("machine", Arc::new(StringArray::from(vec!["press", "press"]))),
        ("y", Arc::new(Float64Array::from(vec![1.0, 1.0]))),
    ]);
    let error = train(&training, &failing.unwrap()).unwrap_err().to_string();
    assert!(error.contains("key \"press\": the target is 1 in each"), "{error}");
}

#[test]
fn whole_numbers_that_no_double_tells_apart_are_keys_of_their_own() {
    let serial = [1_445_678_901_234_567_890, 1_445_678_901_234_567_891];
    let keys: Vec<i64> = (0..8).map(|row| serial[row % 2]).collect();
    let x: Vec<f64> = (0..8).map(|row| f64::from(row / 2)).collect();
    let y: Vec<f64> = (0..8).map(|row| if row % 2 == 0 { 2.0 } else { -2.0 } * x[row]).collect();
    let table = RecordBatch::try_from_iter([
        ("x", Arc::new(Float64Array::from(x)) as ArrayRef),
        ("machine", Arc::new(Int64Array::from(keys))),
        ("y", Arc::new(Float64Array::from(y))),
    ]);
    let options = [("algorithm", "linear_regression"), ("target", "y"), ("test_fraction", "0")];
    let training = Training { per: Some("machine".to_owned()), ..training(&options) };
    let trained = train(&training, &table.unwrap()).unwrap();
    let asked: [ArrayRef; 2] =
        [Arc::new(Int64Array::from(serial.to_vec())), Arc::new(Float64Array::from(vec![4.0, 4.0]))];
    let predicted = trained.predict(&asked).unwrap();
    let predicted = predicted.as_primitive::<Float64Type>();
    assert!((predicted.value(0) - 8.0).abs() < 1e-9 && (predicted.value(1) + 8.0).abs() < 1e-9);
}

#[test]
fn a_key_whose_rows_determine_no_model_is_left_out_and_told() {
    let keys = ["a", "a", "a", "b", "c", "c", "c"];
    let table = RecordBatch::try_from_iter([
        ("x", Arc::new(Float64Array::from(vec![1.0, 2.0, 4.0, 5.0, 1.0, 2.0, 3.0])) as ArrayRef),
        ("machine", Arc::new(StringArray::from(keys.to_vec()))),
        ("y", Arc::new(Float64Array::from(vec![2.0, 4.0, 8.0, 1.0, 3.0, 3.0, 3.0]))),
    ]);
    let options = [("algorithm", "linear_regression"), ("target", "y"), ("test_fraction", "0")];
    let training = Training { per: Some("machine".to_owned()), ..training(&options) };
    let trained = train(&training, &table.unwrap()).unwrap();
    let told: Vec<&str> = trained.left_out.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!((told, trained.rows), (vec!["b", "c"], 3));
    let columns: [ArrayRef; 2] =
        [Arc::new(StringArray::from(vec!["a", "b", "c"])), Arc::new(Float64Array::from(vec![3.0, 3.0, 3.0]))];
    let predicted = trained.predict(&columns).unwrap();
    assert_eq!((predicted.null_count(), predicted.is_valid(0)), (2, true));
}

#[test]
fn groups_and_times_decide_the_split_and_are_no_features() {
    let (a, b, y, _) = plant(400);
    let unit: StringArray = (0..400).map(|row| Some(format!("u{}", row % 10))).collect();
    let times = TimestampMicrosecondArray::from_iter_values((0..400).rev());
    let table = table(vec![
        ("a", Arc::new(a)),
        ("unit", Arc::new(unit)),
        ("b", Arc::new(b)),
        ("ts", Arc::new(times)),
        ("y", Arc::new(y)),
    ]);
    let features = |names: &[&str], batch: &RecordBatch| {
        let places: Vec<usize> = names.iter().map(|name| batch.schema().index_of(name).unwrap()).collect();
        batch.project(&places).unwrap()
    };
    let by_group =
        training(&[("algorithm", "ridge"), ("target", "y"), ("group", "unit"), ("test_fraction", "0.3")]);
    let trained = train(&by_group, &features(&["a", "unit", "b", "y"], &table)).unwrap();
    // Whole units of 40 rows, about three of the ten.
    assert_eq!((trained.rows + trained.test_rows, trained.test_rows % 40), (400, 0));
    assert!((40..=240).contains(&trained.test_rows), "{}", trained.test_rows);
    let by_time = training(&[("algorithm", "ridge"), ("target", "y"), ("time", "ts")]);
    let trained = train(&by_time, &features(&["a", "ts", "b", "y"], &table)).unwrap();
    assert_eq!(
        (trained.features.as_slice(), trained.test_rows),
        (["a".to_owned(), "b".to_owned()].as_slice(), 80)
    );
}

#[test]
fn gaps_constants_and_rare_classes_are_treated_as_stated() {
    let a: Float64Array = (0..100).map(|row| (row % 10 != 0).then(|| f64::from(row))).collect();
    let dead = Float64Array::from(vec![7.0; 100]);
    let failed: BooleanArray = (0..100).map(|row| Some(row % 9 == 0)).collect();
    let table = table(vec![("a", Arc::new(a)), ("dead", Arc::new(dead)), ("failed", Arc::new(failed))]);
    let with = |more: &[(&str, &str)]| {
        let options = [
            ("algorithm", "random_forest_classifier"),
            ("target", "failed"),
            ("trees", "3"),
            ("test_fraction", "0"),
        ];
        train(&training(&[options.as_slice(), more].concat()), &table)
    };
    let plain = with(&[]).unwrap();
    assert_eq!((plain.rows, plain.dropped_rows), (90, 10));
    assert_eq!(plain.constant_features, ["dead"]);
    // Ten rows of the 90 have failed: 9, 18, ... without 0 and 90.
    assert_eq!(with(&[("balance", "oversample")]).unwrap().rows, 160);
    assert_eq!(with(&[("balance", "undersample")]).unwrap().rows, 20);
    let refused = |option| with(&[(option, "refuse")]).unwrap_err().to_string();
    assert!(refused("missing").contains("10 of 100 rows have a NULL, NaN or infinite value (a)"));
    assert!(refused("constant").contains("constant in all training rows: dead"));
}

#[test]
fn a_monitor_of_normal_operation_flags_scores_and_explains() {
    let (a, b, ..) = plant(400);
    let columns: [ArrayRef; 2] = [Arc::new(a), Arc::new(b)];
    let table = table(vec![("a", Arc::clone(&columns[0])), ("b", Arc::clone(&columns[1]))]);
    let trained = train(&training(&[("algorithm", "pca_t2_spe"), ("components", "1")]), &table).unwrap();
    assert_eq!(trained.output_type(), DataType::Boolean);
    assert!(metric(&trained, "alarm_rate") < 0.1);
    let rows: [ArrayRef; 2] = [
        Arc::new(Float64Array::from(vec![Some(0.5), Some(90.0), None])),
        Arc::new(Float64Array::from(vec![0.5, -90.0, 0.5])),
    ];
    let flags = trained.predict(&rows).unwrap();
    assert_eq!(flags.as_boolean(), &BooleanArray::from(vec![Some(false), Some(true), None]));
    let score = trained.value("score", None, &rows).unwrap();
    assert!(score.as_primitive::<Float64Type>().value(1) > 1.0 && score.is_null(2));
    let parts = trained.contributions("spe", None, &rows).unwrap();
    assert_eq!((parts.as_list::<i32>().value(1).len(), parts.is_null(2)), (2, true));
    let scores = trained.transform(&rows).unwrap();
    assert_eq!((scores.as_list::<i32>().value(1).len(), scores.is_null(2)), (1, true));
    let error = trained.value("t3", None, &rows).unwrap_err().to_string();
    assert!(error.contains("pca_t2_spe has no figure \"t3\"; known are score, t2"), "{error}");
}

#[test]
fn a_search_keeps_every_run_and_trains_the_best() {
    let (a, b, y, state) = plant(300);
    let with = |target: ArrayRef, name: &str| {
        table(vec![("a", Arc::new(a.clone()) as ArrayRef), ("b", Arc::new(b.clone())), (name, target)])
    };
    // The shallow trees cannot follow the plane.
    let options = [
        ("algorithm", "decision_tree_regressor"),
        ("target", "y"),
        ("max_depth", "2, 9"),
        ("min_samples_leaf", "1,3"),
        ("search", "grid"),
        ("folds", "3"),
    ];
    let training = training(&options);
    let trained = train(&training, &with(Arc::new(y), "y")).unwrap();
    assert_eq!((training.trials.len(), trained.runs.len()), (4, 12));
    assert!(trained.chosen.starts_with("max_depth = 9, min_samples_leaf = "), "{}", trained.chosen);
    assert_eq!(trained.training, training, "a stored model is found again by its definition");
    assert!(metric(&trained, "r2") > 0.9);
    // By time: 240 rows in four blocks, of which the first is never tested.
    let sizes: Vec<(usize, usize)> = trained.runs[..3].iter().map(|run| (run.rows, run.test_rows)).collect();
    assert_eq!(sizes, [(60, 60), (120, 60), (180, 60)]);

    let random = [
        ("algorithm", "knn_classifier"),
        ("target", "state"),
        ("k", "1, 3, 5, 7, 9"),
        ("search", "random"),
        ("trials", "2"),
        ("split", "row"),
    ];
    let random = self::training(&random);
    let trained = train(&random, &with(Arc::new(state), "state")).unwrap();
    assert_eq!((random.trials.len(), trained.runs.len()), (2, 6));
    assert!(metric(&trained, "accuracy") > 0.9);
}

#[test]
fn halving_drops_trials_and_adds_rows() {
    let (a, b, y, _) = plant(1000);
    let table =
        table(vec![("a", Arc::new(a) as ArrayRef), ("b", Arc::new(b)), ("y", Arc::new(y) as ArrayRef)]);
    let options = [
        ("algorithm", "decision_tree_regressor"),
        ("target", "y"),
        ("max_depth", "1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("search", "halving"),
    ];
    let trained = train(&training(&options), &table).unwrap();
    // Of 800 rows 200, 400 and 600 come before the three that are tested: each ninth of them, each third, all.
    let rounds: Vec<usize> = trained.runs.chunk_by(|a, b| a.trial <= b.trial).map(<[Run]>::len).collect();
    assert_eq!(rounds.iter().sum::<usize>(), (9 + 3 + 1) * 3);
    let rows = |run: usize| trained.runs[run].rows;
    assert_eq!([rows(0), rows(1), rows(2)], [23, 45, 67]);
    assert_eq!([rows(27), rows(36), rows(38)], [67, 200, 600]);
    let depth: u32 = trained.chosen.trim_start_matches("max_depth = ").parse().unwrap();
    assert!(depth >= 5, "shallow trees cannot follow the plane: {depth}");
}

#[test]
fn a_trial_that_cannot_be_fitted_is_out() {
    let (a, b, y, _) = plant(60);
    let table =
        table(vec![("a", Arc::new(a) as ArrayRef), ("b", Arc::new(b)), ("y", Arc::new(y) as ArrayRef)]);
    let with = |k: &str| {
        let options =
            [("algorithm", "knn_regressor"), ("target", "y"), ("search", "grid"), ("folds", "3"), ("k", k)];
        train(&training(&options), &table)
    };
    // The first block of time has 12 rows.
    let trained = with("3, 50").unwrap();
    assert_eq!(trained.chosen, "k = 3");
    let refused = trained.runs.last().unwrap();
    assert_eq!((refused.trial, refused.rows, refused.metrics.len()), (2, 0, 0));
    let error = with("40, 50").unwrap_err().to_string();
    assert!(error.contains("k is 40, but there are 12 training rows"), "{error}");
}

#[test]
fn a_target_that_cannot_be_scaled_is_refused() {
    let (a, ..) = plant(60);
    let y: Float64Array = a.iter().map(|a| a.map(|a| (a - 0.5) * 1e300)).collect();
    let table = table(vec![("a", Arc::new(a) as ArrayRef), ("y", Arc::new(y) as ArrayRef)]);
    for algorithm in ["mlp", "svr"] {
        let error = train(&training(&[("algorithm", algorithm), ("target", "y")]), &table).unwrap_err();
        assert!(error.to_string().contains("the target is so large"), "{algorithm}: {error}");
    }
}

#[test]
fn a_forecaster_is_tested_on_the_last_rows_and_fitted_on_all() {
    // Two machines whose rows come mixed, and in any order.
    let hour = |row: i64| (row * 7) % 40;
    let machine = StringArray::from_iter_values((0..80).map(|row| if row % 2 == 0 { "a" } else { "b" }));
    let hours: Int64Array = (0..80).map(|row| Some(hour(row / 2))).collect();
    let load: Int64Array = (0..80).map(|row| Some(hour(row / 2) % 4 + 10 * (row % 2))).collect();
    let columns: Vec<(&str, ArrayRef)> =
        vec![("machine", Arc::new(machine)), ("hour", Arc::new(hours)), ("load", Arc::new(load))];
    let options = [
        ("algorithm", "seasonal_naive"),
        ("target", "load"),
        ("time", "hour"),
        ("season", "4"),
        ("horizon", "6"),
    ];
    let training = Training { per: Some("machine".to_owned()), ..training(&options) };
    let trained = train(&training, &table(columns.clone())).unwrap();
    assert_eq!(
        (trained.rows, trained.test_rows, trained.features.as_slice()),
        (80, 16, ["step".to_owned()].as_slice())
    );
    assert!(metric(&trained, "mae") < 1e-12);
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "b", "b", "c"]));
    let steps: ArrayRef = Arc::new(Int64Array::from(vec![2, 1, 6, 7, 1]));
    let found = trained.predict(&[keys, steps]).unwrap();
    let found: Vec<Option<f64>> = found.as_primitive::<Float64Type>().iter().collect();
    assert_eq!(found, [Some(1.0), Some(10.0), Some(11.0), None, None]);
    let without_key = Training { per: None, ..training };
    let error = train(&without_key, &table(columns)).unwrap_err().to_string();
    assert!(error.contains("takes no features; leave machine out of its query"), "{error}");
}
