//! `examples/supply_chain`: the error of the orders of the next day.

use super::{example, lineshaft, number};
use crate::support::shared_data;

#[test]
fn orders_are_forecast_better_than_by_the_week_before() {
    let Some(supply) = shared_data("supplygraph") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("out");
    let program = example("supply_chain/supply_chain.sql");
    lineshaft(&["run".as_ref(), &program, "--data".as_ref(), &data], &[("SUPPLY", supply.to_str().unwrap())]);
    let error = |of: &str, when: &str| {
        number(&format!("SELECT sum(abs(units - {of})) / sum(units) FROM forecasts WHERE {when}"), &data)
    };
    for (when, most) in [("day >= '2023-05-20'", 0.52), ("day >= '2023-03-01' AND day < '2023-05-20'", 0.65)]
    {
        let (ours, week_before) = (error("forecast", when), error("week_before", when));
        eprintln!("WAPE {ours:.3}, of the week before {week_before:.3}");
        assert!(ours < most && ours < week_before, "{ours}");
    }
    let rows = number("SELECT count(*) FROM forecasts", &data);
    assert!((rows - 41.0 * 159.0).abs() < 0.5, "a row per product and day: {rows}");
}
