//! Models of ONNX files in a program: what they give, what is told of those that cannot be scored, and a file that changes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use lineshaft::Engine;

use crate::support::{Said, lineshaft};

/// Rows, and what onnxruntime makes of them.
const EXPECTED: &str = include_str!("fixtures/onnx/expected.txt");

/// A folder with the rows as a table and some of the models.
fn folder(models: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows = EXPECTED.lines().filter_map(|line| line.strip_prefix("row "));
    let row = |(n, row): (usize, &str)| format!("{n},{}\n", row.replace(' ', ","));
    let rows: String = rows.enumerate().map(row).collect();
    fs::write(folder.path().join("rows.csv"), format!("n,a,b,c,d\n{rows}")).unwrap();
    for model in models {
        copy(folder.path(), model, &format!("{model}.onnx"));
    }
    folder
}

fn copy(folder: &Path, model: &str, name: &str) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
    fs::copy(fixtures.join(format!("{model}.onnx")), folder.join(name)).unwrap();
}

fn words(name: &str) -> Vec<&'static str> {
    let line = EXPECTED.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().split(' ').collect()
}

const ROWS: &str = "CREATE SOURCE rows (n BIGINT, a DOUBLE, b DOUBLE, c DOUBLE, d DOUBLE)
WITH (connector = 'file', path = 'rows.csv', format = 'csv');\n";

#[test]
fn a_program_scores_with_models_of_files() {
    let folder = folder(&["forest_text", "linear"]);
    let program =
        "CREATE MODEL state WITH (format = 'onnx', path = 'forest_text.onnx', features = 'a, b, c, d');
        CREATE MODEL level WITH (format = 'onnx', path = 'linear.onnx');
        CREATE SINK scores WITH (connector = 'stdout') AS
        SELECT n, predict('state', a, b, c, d) AS state, predict('level', a, b, c, d) AS level FROM rows;";
    fs::write(folder.path().join("plant.sql"), format!("{ROWS}{program}")).unwrap();
    let said = lineshaft(folder.path(), &["run", "plant.sql", "--data", "data"]).exits(0);
    let (states, levels) = (words("forest_text"), words("linear"));
    let rows: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), states.len());
    for row in rows {
        let n = usize::try_from(row["n"].as_u64().unwrap()).unwrap();
        assert_eq!(row["state"].as_str(), Some(states[n]));
        let (found, expected) = (row["level"].as_f64().unwrap(), levels[n].parse::<f64>().unwrap());
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    let models = "SELECT name, algorithm, version, is_live FROM lineshaft.models ORDER BY name";
    let said = lineshaft(folder.path(), &["query", models, "--data", "data", "--format", "csv"]).exits(0);
    assert!(said.out.contains("level,onnx,1,true\nstate,onnx,1,true"), "{}", said.out);
}

/// What `check` says of a model, which is declared in line 3.
#[track_caller]
fn check(models: &[&str], statement: &str) -> Said {
    let folder = folder(models);
    fs::write(folder.path().join("plant.sql"), format!("{ROWS}{statement}")).unwrap();
    lineshaft(folder.path(), &["check", "plant.sql"]).exits(1)
}

#[test]
fn what_cannot_be_scored_is_told_by_check() {
    let of = |file: &str, more: &str| {
        format!("CREATE MODEL m WITH (format = 'onnx', path = '{file}'{more});\nCREATE VIEW v AS SELECT ")
    };
    let all = |file: &str, more: &str| of(file, more) + "predict('m', a, b, c, d) AS y FROM rows;";
    let changed = folder(&["net"]);
    let file = changed.path().join("net.onnx");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(8).position(|word| word == b"Softplus").unwrap();
    bytes[at..at + 8].copy_from_slice(b"Hardplus");
    fs::write(&file, bytes).unwrap();
    check(&[], &all(&file.display().to_string(), ""))
        .tells("operator Hardplus of ai.onnx is not supported")
        .tells("plant.sql:3:46");
    check(&[], &all("away.onnx", "")).tells("away.onnx").tells("No such file");
    check(&[], &all("rows.csv", "")).tells("no ONNX file");
    check(&["net"], &all("net.onnx", "")).tells("its output has 3 columns").tells("`classes`");
    check(&["linear"], &all("linear.onnx", ", ouput = 'y'")).tells("output");
    check(&["linear"], &(of("linear.onnx", "") + "predict('m', a, b) AS y FROM rows;"))
        .tells("model \"m\" takes 4 features, found 2");
    check(&["linear"], "CREATE MODEL m WITH (format = 'onnx', path = 'linear.onnx') AS SELECT a FROM rows;")
        .tells("a model of a file is not trained");
    check(&[], "CREATE MODEL m WITH (format = 'onnx');").tells("needs the option `path`");
    check(&[], "CREATE MODEL m WITH (format = 'pmml', path = 'm.pmml');").tells("is 'onnx'");
}

#[test]
fn a_changed_file_is_a_new_version_while_the_program_runs() {
    let folder = folder(&[]);
    copy(folder.path(), "linear", "level.onnx");
    let mut engine = Engine::from_sql(&format!(
        "CREATE SOURCE readings (n BIGINT, a DOUBLE) WITH (connector = 'memory', channel = 'readings');
         CREATE MODEL level WITH (format = 'onnx', path = '{}') RETRAIN EVERY INTERVAL '100' MILLISECOND;
         CREATE VIEW scored AS SELECT predict('level', a, a, a, a) AS y, model_version('level', a, a, a, a) AS version
         FROM readings;",
        folder.path().join("level.onnx").display()
    ))
    .unwrap();
    engine.data(folder.path().join("data"));
    let (input, mut scored) = (engine.input("readings").unwrap(), engine.subscribe("scored"));
    let running = engine.start().unwrap();
    let row = || {
        let columns = [
            ("n", std::sync::Arc::new(arrow::array::Int64Array::from(vec![1])) as arrow::array::ArrayRef),
            ("a", std::sync::Arc::new(arrow::array::Float64Array::from(vec![0.5]))),
        ];
        arrow::array::RecordBatch::try_from_iter(columns).unwrap()
    };
    let mut next = || {
        input.send(row()).unwrap();
        let batch = loop {
            let batch = scored.blocking_recv().unwrap();
            if batch.rows().num_rows() > 0 {
                break batch;
            }
        };
        let y = batch.rows().column(0).as_primitive::<Float64Type>().value(0);
        (batch.rows().column(1).as_primitive::<Int64Type>().value(0), y)
    };
    let (version, linear) = next();
    assert_eq!(version, 1);
    // Another one of the same features.
    copy(folder.path(), "boosted", "new.onnx");
    fs::rename(folder.path().join("new.onnx"), folder.path().join("level.onnx")).unwrap();
    let (mut version, mut boosted) = (1, linear);
    for _ in 0..600 {
        (version, boosted) = next();
        if version == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(version, 2);
    assert!((linear - boosted).abs() > 1e-3, "{linear} {boosted}");
    drop(input);
    while scored.blocking_recv().is_some() {}
    running.wait().unwrap();
}
