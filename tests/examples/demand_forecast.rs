//! `examples/demand_forecast`: the error of the forecasts of real series.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::{example, lineshaft, numbers, query};
use crate::support::shared_data;

/// The hours that follow each series.
fn future(path: &Path) -> BTreeMap<String, Vec<f64>> {
    let text = std::fs::read_to_string(path).unwrap().replace('"', "");
    let series = text.lines().skip(1).map(|line| {
        let (name, values) = line.split_once(',').unwrap();
        let values = values.split(',').filter(|value| !value.is_empty());
        (name.to_owned(), values.map(|value| value.parse().unwrap()).collect())
    });
    series.collect()
}

/// The symmetric mean absolute percentage error, as the M4 competition has it.
#[expect(clippy::cast_precision_loss, reason = "48 values")]
fn smape(forecast: &[f64], truth: &[f64]) -> f64 {
    assert_eq!(forecast.len(), truth.len());
    let part = |(f, y): (&f64, &f64)| 200.0 * (f - y).abs() / (f.abs() + y.abs());
    forecast.iter().zip(truth).map(part).sum::<f64>() / truth.len() as f64
}

#[test]
fn demand_is_forecast_better_than_by_the_day_before() {
    let Some(m4) = shared_data("m4_hourly") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("out");
    let program = example("demand_forecast/demand_forecast.sql");
    lineshaft(&["run".as_ref(), &program, "--data".as_ref(), &data], &[("M4", m4.to_str().unwrap())]);
    let rows = query("SELECT series, step, value FROM forecasts ORDER BY series, step", &data);
    let series = cast(rows.column(0), &DataType::Utf8).unwrap();
    let mut forecasts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, value) in series.as_string::<i32>().iter().zip(numbers(&rows, "value")) {
        forecasts.entry(name.unwrap()).or_default().push(value);
    }
    assert_eq!(forecasts.len(), 207);
    let truth = future(&m4.join("Hourly-test.csv"));
    let errors: Vec<f64> = forecasts.iter().map(|(name, forecast)| smape(forecast, &truth[*name])).collect();
    let mean = errors.iter().sum::<f64>() / 207.0;
    eprintln!("sMAPE {mean:.3} %");
    // The day before has 13.98 %.
    assert!(mean < 9.8, "{mean}");
}
