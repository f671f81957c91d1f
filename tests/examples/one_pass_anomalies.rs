//! `examples/one_pass_anomalies`: the score by the rule of the Numenta Anomaly Benchmark, on all series that are here.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::{example, lineshaft, numbers, query};
use crate::support::shared_data;

/// What a detection and a miss count.
struct Profile {
    false_alarm: f64,
    missed: f64,
}

const STANDARD: Profile = Profile { false_alarm: 0.11, missed: 1.0 };
const FEW_FALSE_ALARMS: Profile = Profile { false_alarm: 0.22, missed: 1.0 };
const FEW_MISSED: Profile = Profile { false_alarm: 0.11, missed: 2.0 };

/// First and last row of a window.
type Span = (usize, usize);

#[expect(clippy::cast_precision_loss, reason = "small numbers of rows")]
fn number(rows: usize) -> f64 {
    rows as f64
}

/// From 1 far before the right edge of a window, 0 at it, to -1 far behind it.
fn sigmoid(y: f64) -> f64 {
    2.0 / (1.0 + (5.0 * y).exp()) - 1.0
}

/// The score of the alarms of a series: Lavin, Ahmad, "Evaluating real-time anomaly detection algorithms - the Numenta Anomaly
/// Benchmark" (2015), section III, as version 1.1 of the benchmark computes it.
fn score(rows: usize, windows: &[Span], alarms: &[usize], profile: &Profile) -> f64 {
    let learning = (rows * 15 / 100).min(750);
    let mut best: Vec<Option<f64>> = vec![None; windows.len()];
    let mut score = 0.0;
    for alarm in alarms.iter().copied().filter(|alarm| *alarm >= learning) {
        if let Some(place) = windows.iter().position(|(left, right)| (*left..=*right).contains(&alarm)) {
            let (left, right) = windows[place];
            let y = -number(right - alarm + 1) / number(right - left + 1);
            let found = sigmoid(y) / sigmoid(-1.0);
            best[place] = Some(best[place].map_or(found, |best| best.max(found)));
        } else {
            let before = windows.iter().rev().find(|(_, right)| *right < alarm);
            let distance = before.map(|(left, right)| number(alarm - right) / number(right - left));
            let weight = distance.filter(|d| *d <= 3.0).map_or(-1.0, sigmoid);
            score += profile.false_alarm * weight;
        }
    }
    score + best.iter().map(|best| best.unwrap_or(-profile.missed)).sum::<f64>()
}

/// The windows of the labels, as rows of a series.
fn rows_of(windows: &serde_json::Value, times: &[String]) -> Vec<Span> {
    // To the second, as the series.
    let instant = |text: &serde_json::Value| text.as_str().unwrap()[..19].replace(' ', "T");
    let row = |window: &serde_json::Value| {
        let (start, end) = (instant(&window[0]), instant(&window[1]));
        let inside = |time: &String| (&start..=&end).contains(&time);
        Some((times.iter().position(inside)?, times.iter().rposition(inside)?))
    };
    windows.as_array().unwrap().iter().filter_map(row).collect()
}

/// The times of the rows of a series, and the rows that are alarms.
type Alarms = (Vec<String>, Vec<usize>);

fn alarms(data: &Path) -> BTreeMap<String, Alarms> {
    let rows = query("SELECT series, ts, is_alarm FROM scores ORDER BY series, ts, line", data);
    let [series, times] = [0, 1].map(|column| cast(rows.column(column), &DataType::Utf8).unwrap());
    let (series, times) = (series.as_string::<i32>(), times.as_string::<i32>());
    let mut found: BTreeMap<String, Alarms> = BTreeMap::new();
    for (row, is_alarm) in numbers(&rows, "is_alarm").into_iter().enumerate() {
        let (of_series, alarms) = found.entry(series.value(row).to_owned()).or_default();
        if is_alarm > 0.0 {
            alarms.push(of_series.len());
        }
        of_series.push(times.value(row)[..19].to_owned());
    }
    found
}

/// From 0, for a detector that says nothing, to 100 for a perfect one.
fn normalised(labels: &serde_json::Value, found: &BTreeMap<String, Alarms>, of: &Profile) -> f64 {
    let (mut total, mut windows) = (0.0, 0);
    for (series, (times, alarms)) in found {
        let spans = rows_of(&labels[series], times);
        total += score(times.len(), &spans, alarms, of);
        windows += spans.len();
    }
    let nothing = -of.missed * number(windows);
    100.0 * (total - nothing) / (number(windows) - nothing)
}

#[test]
fn the_score_of_alarms_is_that_of_the_rule() {
    let score = |alarms: &[usize]| score(1000, &[(300, 399), (700, 799)], alarms, &STANDARD);
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found}");
    near(score(&[]), -2.0);
    near(score(&[300, 700]), 2.0);
    near(score(&[300, 350, 700]), 2.0);
    near(score(&[100, 300, 700]), 2.0 - 0.11 - 0.11 * 0.0 + 0.11);
    near(score(&[200, 300, 700]), 2.0 - 0.11);
    // Half a window behind its end.
    near(score(&[300, 399 + 50, 700]), 2.0 + 0.11 * sigmoid(50.0 / 99.0));
}

#[test]
fn one_pass_over_all_series_finds_what_is_new() {
    let Some(nab) = shared_data("nab") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("out");
    let program = example("one_pass_anomalies/one_pass_anomalies.sql");
    lineshaft(&["run".as_ref(), &program, "--data".as_ref(), &data], &[("NAB", nab.to_str().unwrap())]);
    let labels = std::fs::read_to_string(nab.join("labels/combined_windows.json")).unwrap();
    let labels: serde_json::Value = serde_json::from_str(&labels).unwrap();
    let found = alarms(&data);
    assert!(found.keys().all(|series| labels[series].is_array()), "{:?}", found.keys());
    // Of detectors with published alarms the windowed Gaussian has 32.8 on these series, KNN-CAD 59.9, HTM 73.3.
    let standard = normalised(&labels, &found, &STANDARD);
    let few_false_alarms = normalised(&labels, &found, &FEW_FALSE_ALARMS);
    let few_missed = normalised(&labels, &found, &FEW_MISSED);
    eprintln!("standard {standard:.1}, few false alarms {few_false_alarms:.1}, few missed {few_missed:.1}");
    assert!(standard > 65.0 && few_false_alarms > 60.0 && few_missed > 68.0);
}
