//! What models give beside a prediction: the probability and the explanation of a class, clusters, other coordinates.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use lineshaft::{Engine, Error, history};

/// Three kinds of parts, told apart by their size and weight, and rows that are none of them.
fn write_parts(folder: &Path) {
    let row = |i: i32| {
        let (kind, size, weight) =
            [("bolt", 10, 5), ("gear", 40, 60), ("plate", 90, 20)][usize::try_from(i % 3).unwrap()];
        format!("{kind},{}.{},{}\n", size + i % 7, i % 10, weight + i % 5)
    };
    let rows: String = (0..90).map(row).collect();
    std::fs::write(folder.join("parts.csv"), format!("kind,size,weight\n{rows}")).unwrap();
}

fn engine(folder: &Path, program: &str) -> Result<Engine, Error> {
    let mut engine = Engine::from_sql(&format!(
        "CREATE SOURCE parts (kind TEXT, size DOUBLE, weight DOUBLE) WITH (connector = 'file', path = '{}', format = 'csv');
         {program}",
        folder.join("parts.csv").display()
    ))?;
    engine.data(folder.join("data"));
    Ok(engine)
}

fn run(folder: &Path, program: &str) {
    write_parts(folder);
    engine(folder, program).unwrap().start().unwrap().wait().unwrap();
}

fn number(folder: &Path, sql: &str) -> f64 {
    let (_, rows) = history::query(sql, &folder.join("data")).unwrap();
    let column = arrow::compute::cast(rows[0].column(0), &arrow::datatypes::DataType::Float64).unwrap();
    column.as_primitive::<Float64Type>().value(0)
}

fn count(folder: &Path, sql: &str) -> i64 {
    let (_, rows) = history::query(sql, &folder.join("data")).unwrap();
    rows[0].column(0).as_primitive::<Int64Type>().value(0)
}

const KINDS: &str = "CREATE MODEL kinds WITH (algorithm = 'random_forest_classifier', target = 'kind', trees = 20, test_fraction = 0.1) AS
    SELECT size, weight, kind FROM parts;";

#[test]
fn a_class_by_name_has_a_probability_and_an_explanation() {
    let folder = tempfile::tempdir().unwrap();
    let program = format!(
        "{KINDS}
         CREATE SINK seen WITH (connector = 'parquet', path = 'seen') AS
         SELECT kind, predict_proba('kinds', 'gear', size, weight) AS gear, predict_proba('kinds', 'bolt', size, weight) AS bolt,
                predict_proba('kinds', 'plate', size, weight) AS plate,
                model_value('kinds', 'base', 'gear', size, weight) AS base,
                contributions('kinds', 'probability', 'gear', size, weight) AS parts FROM parts;"
    );
    run(folder.path(), &program);
    assert_eq!(
        count(folder.path(), "SELECT count(*) FROM seen WHERE abs(gear + bolt + plate - 1) < 1e-9"),
        90
    );
    assert_eq!(
        count(folder.path(), "SELECT count(*) FROM seen WHERE abs(base + parts[1] + parts[2] - gear) < 1e-9"),
        90
    );
    assert!(number(folder.path(), "SELECT min(gear) FROM seen WHERE kind = 'gear'") > 0.9);
}

#[test]
fn a_class_that_is_none_is_refused_before_a_row_is_read() {
    let folder = tempfile::tempdir().unwrap();
    write_parts(folder.path());
    let program =
        format!("{KINDS} CREATE VIEW v AS SELECT predict_proba('kinds', 'nut', size, weight) FROM parts;");
    let refused = engine(folder.path(), &program).unwrap().start().err().unwrap().to_string();
    assert!(
        refused
            .contains("has no class \"nut\", of which the program asks; its classes are bolt, gear, plate"),
        "{refused}"
    );
}

#[test]
fn support_vectors_tell_kinds_apart_and_estimate() {
    let folder = tempfile::tempdir().unwrap();
    let program = "CREATE MODEL kinds WITH (algorithm = 'svc', target = 'kind', c = 10, split = 'row') AS
             SELECT size, weight, kind FROM parts;
         CREATE MODEL heavy WITH (algorithm = 'svr', target = 'weight', c = 100, epsilon = 0.01, split = 'row') AS
             SELECT size, weight FROM parts;
         CREATE SINK seen WITH (connector = 'parquet', path = 'seen') AS
             SELECT kind, weight, predict('kinds', size, weight) AS found, predict('heavy', size) AS estimate FROM parts;";
    run(folder.path(), program);
    assert_eq!(count(folder.path(), "SELECT count(*) FROM seen WHERE kind = found"), 90);
    assert!(number(folder.path(), "SELECT avg(abs(weight - estimate)) FROM seen") < 2.0);
    let ranked = "SELECT count(*) FROM lineshaft.metrics WHERE metric IN ('roc_auc', 'log_loss')";
    assert_eq!(count(folder.path(), ranked), 0, "it has no probabilities to rank by");
    let asked = format!("{program} CREATE VIEW v AS SELECT predict_proba('kinds', size, weight) FROM parts;");
    let refused = engine(folder.path(), &asked).err().unwrap().to_string();
    assert!(refused.contains("is svc: it has no probabilities"), "{refused}");
}

#[test]
fn clusters_by_density_and_scores_of_components_are_columns() {
    let folder = tempfile::tempdir().unwrap();
    let program = "CREATE MODEL heaps WITH (algorithm = 'dbscan', eps = 0.5, min_samples = 4) AS SELECT size, weight FROM parts;
         CREATE MODEL axes WITH (algorithm = 'pca', components = 2, test_fraction = 0) AS SELECT size, weight FROM parts;
         CREATE VIEW seen_by AS
             SELECT kind, predict('heaps', size, weight) AS heap, predict('heaps', size + 1000, weight) AS far,
                    model_transform('axes', size, weight) AS scores, model_value('axes', 't2', size, weight) AS t2 FROM parts;
         CREATE SINK seen WITH (connector = 'parquet', path = 'seen') AS
             SELECT kind, heap, far, scores[1] AS first, scores[2] AS second, t2 FROM seen_by;";
    run(folder.path(), program);
    assert_eq!(count(folder.path(), "SELECT count(DISTINCT heap) FROM seen"), 3);
    assert_eq!(count(folder.path(), "SELECT count(*) FROM seen WHERE far = -1"), 90);
    let t2 = "SELECT max(abs(t2 - first * first / v1 - second * second / v2)) FROM seen,
        (SELECT var_samp(first) AS v1, var_samp(second) AS v2 FROM seen) AS variances";
    assert!(number(folder.path(), t2) < 1e-9, "T2 is made of the scores");
    let asked =
        format!("{program} CREATE VIEW v AS SELECT model_transform('heaps', size, weight) FROM parts;");
    let refused = engine(folder.path(), &asked).err().unwrap().to_string();
    assert!(refused.contains("is dbscan: it gives no other coordinates"), "{refused}");
}

#[test]
fn a_training_leaves_event_files_of_its_epochs_and_folds() {
    let folder = tempfile::tempdir().unwrap();
    let program =
        "CREATE MODEL weights PER kind WITH (algorithm = 'mlp', target = 'weight', epochs = 3, folds = 2) AS
             SELECT kind, size, weight FROM parts;";
    run(
        folder.path(),
        &format!(
            "{program} CREATE SINK seen WITH (connector = 'parquet', path = 'seen') AS SELECT * FROM parts;"
        ),
    );
    let version = folder.path().join("data/tensorboard/weights/v1");
    let mut found: Vec<String> = std::fs::read_dir(&version)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("events.out.tfevents."))
        .collect();
    found.sort();
    assert_eq!(found, ["bolt-1", "gear-2", "plate-3", "trial-001-fold-01", "trial-001-fold-02"]);
    let file = |part: &str| {
        let entry = std::fs::read_dir(version.join(part)).unwrap().map(Result::unwrap);
        std::fs::read(entry.map(|entry| entry.path()).find(|path| path.is_file()).unwrap()).unwrap()
    };
    let has =
        |part: &str, tag: &str| file(part).windows(tag.len()).filter(|it| *it == tag.as_bytes()).count();
    assert_eq!(
        (has("gear-2", "epoch/loss"), has("trial-001-fold-02", "fold/rmse"), has("", "test/rmse")),
        (3, 1, 1)
    );
}
