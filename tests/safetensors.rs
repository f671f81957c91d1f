//! Nets of safetensors files in a program, and the file that a trained net leaves for others.

use std::fs;
use std::path::Path;

use crate::support::{Said, lineshaft};

/// Rows, and what NumPy makes of them.
const EXPECTED: &str = include_str!("fixtures/safetensors/expected.txt");

const ROWS: &str = "CREATE SOURCE rows (n BIGINT, a DOUBLE, b DOUBLE, c DOUBLE)
WITH (connector = 'file', path = 'rows.csv', format = 'csv');\n";

fn folder(nets: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows = EXPECTED.lines().filter_map(|line| line.strip_prefix("row "));
    let row = |(n, row): (usize, &str)| format!("{n},{}\n", row.replace(' ', ","));
    let rows: String = rows.enumerate().map(row).collect();
    fs::write(folder.path().join("rows.csv"), format!("n,a,b,c\n{rows}")).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/safetensors");
    for net in nets {
        let name = format!("{net}.safetensors");
        fs::copy(fixtures.join(&name), folder.path().join(name)).unwrap();
    }
    folder
}

fn run(folder: &Path, statements: &str) -> Said {
    fs::write(folder.join("plant.sql"), format!("{ROWS}{statements}")).unwrap();
    lineshaft(folder, &["run", "plant.sql", "--data", "data"]).exits(0)
}

#[test]
fn a_program_scores_with_a_net_of_a_file() {
    let folder = folder(&["number", "two"]);
    let said = run(
        folder.path(),
        "CREATE MODEL level WITH (format = 'safetensors', path = 'number.safetensors', activation = 'relu', features = 'a, b, c');
         CREATE MODEL state WITH (format = 'safetensors', path = 'two.safetensors', activation = 'sigmoid', classes = 'good, worn');
         CREATE SINK scores WITH (connector = 'stdout') AS
         SELECT n, predict('level', a, b, c) AS level, predict('state', a, b, c) AS state,
                predict_proba('state', 'worn', a, b, c) AS risk FROM rows;",
    );
    let numbers = |name: &str| -> Vec<f64> {
        let line = EXPECTED.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        line.split(' ').map(|word| word.parse().unwrap()).collect()
    };
    let (levels, risks) = (numbers("number"), numbers("two"));
    let rows: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), levels.len());
    for row in rows {
        let n = usize::try_from(row["n"].as_u64().unwrap()).unwrap();
        assert!((row["level"].as_f64().unwrap() - levels[n]).abs() < 1e-4, "{row}");
        assert!((row["risk"].as_f64().unwrap() - risks[n]).abs() < 1e-5, "{row}");
        assert_eq!(row["state"], if risks[n] > 0.5 { "worn" } else { "good" });
    }
    let models = "SELECT name, algorithm, version FROM lineshaft.models ORDER BY name";
    let said = lineshaft(folder.path(), &["query", models, "--data", "data", "--format", "csv"]).exits(0);
    assert!(said.out.contains("level,safetensors,1\nstate,safetensors,1"), "{}", said.out);
}

#[test]
fn a_trained_net_is_a_file_that_scores_the_same() {
    let folder = folder(&[]);
    run(
        folder.path(),
        "CREATE MODEL net WITH (algorithm = 'mlp', target = 'c', hidden = '8 4', epochs = 5) AS SELECT a, b, c FROM rows;
         CREATE SINK scores WITH (connector = 'parquet', path = 'scores') AS SELECT n, predict('net', a, b) AS y FROM rows;",
    );
    let again = "CREATE MODEL copy WITH (format = 'safetensors', path = 'data/models/net/v1.safetensors');
         CREATE SINK scores_again WITH (connector = 'parquet', path = 'scores_again') AS
         SELECT n, predict('copy', a, b) AS y FROM rows;";
    fs::write(folder.path().join("again.sql"), format!("{ROWS}{again}")).unwrap();
    lineshaft(folder.path(), &["run", "again.sql", "--data", "again"]).exits(0);
    let scores = |data: &str, sink: &str| -> Vec<f64> {
        let sql = format!("SELECT y FROM {sink} ORDER BY n");
        let said = lineshaft(folder.path(), &["query", &sql, "--data", data, "--format", "csv"]).exits(0);
        said.out.lines().skip(1).map(|y| y.parse().unwrap()).collect()
    };
    let (first, second) = (scores("data", "scores"), scores("again", "scores_again"));
    assert_eq!(first.len(), 12);
    assert!(first.iter().zip(&second).all(|(a, b)| (a - b).abs() < 1e-9), "{first:?} {second:?}");
}

/// What `check` says of a model, which is declared in line 3.
#[track_caller]
fn check(nets: &[&str], options: &str) -> Said {
    let folder = folder(nets);
    let statement = format!("CREATE MODEL m WITH (format = 'safetensors', {options});");
    fs::write(folder.path().join("plant.sql"), format!("{ROWS}{statement}")).unwrap();
    lineshaft(folder.path(), &["check", "plant.sql"]).exits(1)
}

#[test]
fn what_cannot_be_loaded_is_told_by_check() {
    check(&["number"], "path = 'number.safetensors'")
        .tells("which activation stands between its layers?")
        .tells("plant.sql:3:53");
    check(&["norm"], "path = 'norm.safetensors', activation = 'relu'")
        .tells("\"1.running_mean\" is neither the weight nor the bias");
    check(&["half"], "path = 'half.safetensors'").tells("F16; F32 and F64 are read");
    check(&["three"], "path = 'three.safetensors', activation = 'tanh'")
        .tells("name them with the option `classes`");
    check(&["number"], "path = 'number.safetensors', activation = 'rleu'")
        .tells("did you mean \"relu\"?")
        .tells("plant.sql:3:");
    check(&["number"], "path = 'number.safetensors', output = 'y'").tells("has no option \"output\"");
    check(&[], "path = 'rows.csv'").tells("no safetensors file");
    check(&[], "path = 'away.safetensors'").tells("No such file");
}
