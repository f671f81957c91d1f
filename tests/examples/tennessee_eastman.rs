//! Faults of the Tennessee Eastman process, found by principal components: the benchmark of process monitoring.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use super::{lineshaft, number};
use crate::support::shared_data;

/// Fault, and the percentage of its rows that T2 and SPE find; fault 0 is normal operation.
const DETECTED: [(u32, f64, f64); 9] = [
    (0, 2.7, 2.9),
    (1, 99.2, 99.9),
    (2, 98.2, 98.8),
    (4, 14.4, 100.0),
    (5, 27.6, 27.4),
    (6, 99.5, 100.0),
    (8, 97.0, 96.2),
    (10, 46.1, 37.8),
    (13, 94.1, 95.2),
];

/// The rows of a file of 52 columns.
fn rows(path: &Path) -> Vec<Vec<String>> {
    let mut text = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// The 22 continuous measurements and the 11 valves.
fn channels(row: &[String]) -> String {
    row[..22].iter().chain(&row[41..]).cloned().collect::<Vec<_>>().join(",")
}

/// Writes `normal.csv`, which is transposed at its source, and `faults.csv` with the fault and the place of each row.
fn write_tables(data: &Path, target: &Path) {
    let names: Vec<String> = (1..=33).map(|n| format!("x{n}")).collect();
    let transposed = rows(&data.join("d00.dat.gz"));
    let mut normal = names.join(",") + "\n";
    for column in 0..transposed[0].len() {
        let row: Vec<String> = transposed.iter().map(|row| row[column].clone()).collect();
        normal += &(channels(&row) + "\n");
    }
    std::fs::write(target.join("normal.csv"), normal).unwrap();
    let mut faults = format!("fault,place,{}\n", names.join(","));
    for (fault, ..) in DETECTED {
        for (place, row) in rows(&data.join(format!("d{fault:02}_te.dat.gz"))).iter().enumerate() {
            writeln!(faults, "{fault},{},{}", place + 1, channels(row)).unwrap();
        }
    }
    std::fs::write(target.join("faults.csv"), faults).unwrap();
}

fn program() -> String {
    let names: Vec<String> = (1..=33).map(|n| format!("x{n}")).collect();
    let (columns, names) = (names.join(" DOUBLE, ") + " DOUBLE", names.join(", "));
    format!(
        "CREATE SOURCE normal ({columns}) WITH (connector = 'file', path = 'normal.csv', format = 'csv');
         CREATE SOURCE faults (fault INT, place INT, {columns}) WITH (connector = 'file', path = 'faults.csv', format = 'csv');
         CREATE MODEL process WITH (algorithm = 'pca_t2_spe', components = 9, confidence = 0.99, test_fraction = 0) AS
         SELECT {names} FROM normal;
         CREATE SINK found WITH (connector = 'parquet', path = 'found') AS
         SELECT fault, place, predict('process', {names}) AS is_anomaly,
                model_value('process', 't2', {names}) > model_value('process', 't2_limit', {names}) AS by_t2,
                model_value('process', 'spe', {names}) > model_value('process', 'spe_limit', {names}) AS by_spe
         FROM faults;"
    )
}

#[test]
fn faults_of_the_tennessee_eastman_process_are_found_as_published() {
    let Some(data) = shared_data("tep") else { return };
    let folder = tempfile::tempdir().unwrap();
    write_tables(&data, folder.path());
    let file = folder.path().join("process.sql");
    std::fs::write(&file, program()).unwrap();
    let out = folder.path().join("out");
    lineshaft(&["run".as_ref(), &file, "--data".as_ref(), &out], &[]);
    for (fault, t2, spe) in DETECTED {
        // A fault begins after row 160.
        let condition =
            if fault == 0 { "fault = 0".to_owned() } else { format!("fault = {fault} AND place > 160") };
        let percent = |flag: &str| {
            number(&format!("SELECT 100 * avg(CAST({flag} AS DOUBLE)) FROM found WHERE {condition}"), &out)
        };
        println!("fault {fault}: T2 {:.1}, SPE {:.1}", percent("by_t2"), percent("by_spe"));
        assert!((percent("by_t2") - t2).abs() < 1.0, "fault {fault}: T2 {}", percent("by_t2"));
        assert!((percent("by_spe") - spe).abs() < 1.0, "fault {fault}: SPE {}", percent("by_spe"));
        assert!((percent("is_anomaly") - percent("by_t2 OR by_spe")).abs() < 1e-9);
    }
}
