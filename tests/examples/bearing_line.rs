//! `examples/bearing_line` on a part of each snapshot and record.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::{example, lineshaft, number, query};
use crate::support::shared_data;

/// Samples that the shared files have of a snapshot, and how many of them are enough for the test.
const SNAPSHOT: usize = 4096;
const KEPT: usize = 1024;

/// Three pieces of a record.
const RECORD: usize = 72_000;

/// Copies the header and the lines below it for whose number `keeps` is true.
fn copy(from: &Path, folder: &Path, keeps: impl Fn(usize) -> bool) {
    let lines = BufReader::new(GzDecoder::new(File::open(from).unwrap())).lines();
    let target = File::create(folder.join(from.file_name().unwrap())).unwrap();
    let mut target = GzEncoder::new(target, Compression::fast());
    for (number, line) in lines.map(Result::unwrap).enumerate() {
        if number == 0 || keeps(number - 1) {
            writeln!(target, "{line}").unwrap();
        }
    }
    target.finish().unwrap();
}

fn files(folder: &Path, start: &str) -> Vec<PathBuf> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| name(path).starts_with(start) && name(path).ends_with(".gz")).collect()
}

/// Runs a program over the files `*.csv.gz` of `folder`.
fn run(program: &str, variable: &str, folder: &Path) -> String {
    let paths = folder.join("*.csv.gz");
    let environment = [(variable, paths.to_str().unwrap())];
    let (program, data) = (example(program), folder.join("data"));
    lineshaft(&["run".as_ref(), &program, "--data".as_ref(), &data], &environment)
}

#[test]
fn the_bearing_that_will_fail_raises_an_alarm_days_before_and_no_other_does() {
    let Some(data) = shared_data("ims_bearing") else { return };
    let folder = tempfile::tempdir().unwrap();
    // Up to snapshot 661: the alarm is to come between 530 and 600, and none before 500.
    for day in 12..=16 {
        let name = format!("test2_2004-02-{day}.csv.gz");
        copy(&data.join(name), folder.path(), |sample| sample % SNAPSHOT < KEPT);
    }
    let alarms = run("bearing_line/wear.sql", "IMS", folder.path());
    let alarms: Vec<serde_json::Value> =
        alarms.lines().map(|alarm| serde_json::from_str(alarm).unwrap()).collect();
    let found = |alarm: &serde_json::Value| (alarm["bearing"].clone(), alarm["number"].as_u64().unwrap());
    eprintln!("{alarms:?}");
    let (bearing, number_of_alarm) = found(&alarms[0]);
    assert_eq!(bearing, "bearing 1");
    assert!((530..=600).contains(&number_of_alarm), "{alarms:?}");
    assert!(alarms.iter().all(|alarm| found(alarm).0 == "bearing 1"), "{alarms:?}");
    let shares = "SELECT count(*) FROM wear WHERE bearing = 'bearing 1' AND number > 600 AND outer_share < inner_share";
    assert!(number(shares, &folder.path().join("data")) < 0.5, "the outer race stands out");
}

#[test]
fn faults_of_both_races_are_told_from_a_healthy_bearing() {
    let Some(data) = shared_data("cwru_bearing") else { return };
    let folder = tempfile::tempdir().unwrap();
    let records = ["IR", "OR", "normal"].into_iter().flat_map(|start| files(&data, start));
    for record in records {
        copy(&record, folder.path(), |sample| sample < RECORD);
    }
    run("bearing_line/fault_type.sql", "CWRU", folder.path());
    let verdicts = query("SELECT record, fault FROM verdicts ORDER BY record", &folder.path().join("data"));
    let texts = |column: usize| -> Vec<String> {
        let column =
            arrow::compute::cast(verdicts.column(column), &arrow::datatypes::DataType::Utf8).unwrap();
        column.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
    };
    assert_eq!(texts(0).len(), 7);
    for (record, fault) in texts(0).into_iter().zip(texts(1)) {
        let expected = match &record[..2] {
            "IR" => "inner race",
            "OR" => "outer race",
            _ => "none that shows",
        };
        assert_eq!(fault, expected, "{record}");
    }
}
