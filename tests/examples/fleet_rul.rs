//! `examples/fleet_rul` on the first thirty engines of each file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::{Formula, Series, assert_column, example, lineshaft, number, numbers, query};
use crate::support::shared_data;

/// Engines of each file; all hundred would take the test a minute.
const ENGINES: usize = 30;
const FLIGHTS: usize = 30;

/// Unit, flight and 24 numbers more.
fn lines(path: &Path) -> Vec<String> {
    let mut text = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let unit = |line: &str| line.split_whitespace().next().unwrap().parse::<usize>().unwrap();
    text.lines().filter(|line| unit(line) <= ENGINES).map(str::to_owned).collect()
}

/// Writes the first engines of the data set below `target`; gives the lines of the engines to score.
fn write_slice(data: &Path, target: &Path) -> Vec<String> {
    let mut last = Vec::new();
    for name in ["train_FD001.txt.gz", "test_FD001.txt.gz"] {
        last = lines(&data.join(name));
        let mut file = GzEncoder::new(File::create(target.join(name)).unwrap(), Compression::fast());
        file.write_all((last.join("\n") + "\n").as_bytes()).unwrap();
        file.finish().unwrap();
    }
    let truth = std::fs::read_to_string(data.join("RUL_FD001.txt")).unwrap();
    let truth: Vec<&str> = truth.lines().take(ENGINES).collect();
    std::fs::write(target.join("RUL_FD001.txt"), truth.join("\n") + "\n").unwrap();
    last
}

#[test]
fn fleet_rul_learns_from_failures_and_tells_how_long_the_others_last() {
    let Some(data) = shared_data("cmapss") else { return };
    let folder = tempfile::tempdir().unwrap();
    let flights = write_slice(&data, folder.path());
    let program = example("fleet_rul/fleet_rul.sql");
    let more = folder.path().join("more.sql");
    std::fs::write(
        &more,
        "CREATE SINK kept WITH (connector = 'parquet', path = 'kept') AS
         SELECT date_part('epoch', cycle) AS cycle, unit, mean_s4, dev_s9, slope_s11 FROM features WHERE NOT has_failed;",
    )
    .unwrap();
    let out = folder.path().join("out");
    let environment = [("CMAPSS", folder.path().to_str().unwrap())];
    lineshaft(&["run".as_ref(), &program, &more, "--data".as_ref(), &out], &environment);

    let rmse = "SELECT sqrt(avg(error * error)) AS rmse FROM scores";
    let printed = lineshaft(
        &["query".as_ref(), rmse.as_ref(), "--format".as_ref(), "csv".as_ref(), "--data".as_ref(), &out],
        &[],
    );
    let rmse: f64 = printed.lines().nth(1).unwrap().parse().unwrap();
    // With all engines it is 13.5; always saying the mean would be 42.
    assert!(rmse < 22.0, "{printed}");

    let windows = windows(&flights);
    let rows = query("SELECT * FROM kept ORDER BY unit, cycle", &out);
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers")]
    let keys: Vec<(i64, i64)> = numbers(&rows, "unit")
        .iter()
        .zip(numbers(&rows, "cycle"))
        .map(|(unit, cycle)| (*unit as i64, cycle as i64))
        .collect();
    let checks: [(&str, usize, Formula); 3] =
        [("mean_s4", 4, Series::mean), ("dev_s9", 9, Series::stddev), ("slope_s11", 11, Series::slope)];
    for (column, sensor, of) in checks {
        let expected: BTreeMap<_, _> =
            windows.iter().map(|(key, sensors)| (*key, of(&sensors[sensor - 1]))).collect();
        assert_column(&rows, column, &keys, &expected, 1.0);
    }
    every_engine_is_scored_once_at_its_last_flight(&flights, &out);
}

/// The sensors over the last flights, by unit and flight.
fn windows(lines: &[String]) -> BTreeMap<(i64, i64), Vec<Series>> {
    let rows: Vec<Vec<f64>> = lines
        .iter()
        .map(|line| line.split_whitespace().map(|cell| cell.parse().unwrap()).collect())
        .collect();
    let mut windows = BTreeMap::new();
    for window in rows.windows(FLIGHTS) {
        let (first, last) = (&window[0], &window[FLIGHTS - 1]);
        if (first[0] - last[0]).abs() < 0.5 {
            let mut sensors = vec![Series::default(); 21];
            for row in window {
                for (series, value) in sensors.iter_mut().zip(&row[5..]) {
                    series.push(row[1], *value);
                }
            }
            #[expect(clippy::cast_possible_truncation, reason = "whole numbers")]
            windows.insert((last[0] as i64, last[1] as i64), sensors);
        }
    }
    windows
}

fn every_engine_is_scored_once_at_its_last_flight(flights: &[String], out: &Path) {
    let engines = f64::from(u32::try_from(ENGINES).unwrap());
    assert!((number("SELECT count(DISTINCT unit) FROM scores", out) - engines).abs() < 0.5);
    assert!((number("SELECT count(*) FROM scores", out) - engines).abs() < 0.5);
    let expected = flights.len() - ENGINES * (FLIGHTS - 1);
    for count in ["SELECT count(remaining) FROM predictions", "SELECT sum(predictions) FROM scores"] {
        assert!((number(count, out) - f64::from(u32::try_from(expected).unwrap())).abs() < 0.5, "{count}");
    }
    let last =
        "SELECT s.predicted - p.remaining AS difference FROM scores s JOIN predictions p ON p.unit = s.unit
                WHERE p.cycle = (SELECT max(q.cycle) FROM predictions q WHERE q.unit = s.unit)";
    let differences = numbers(&query(last, out), "difference");
    assert_eq!(differences.len(), ENGINES);
    assert!(differences.iter().all(|difference| difference.abs() < 1e-12), "{differences:?}");
    let held_back = number("SELECT test_rows FROM lineshaft.models WHERE name = 'remaining_life'", out);
    assert!(held_back > 500.0, "metrics are of rows that were held back");
}
