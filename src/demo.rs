//! `lineshaft demo`: a simulated plant, an embedded MQTT broker, and the whole loop, told in plain words.

mod story;

use std::path::Path;
use std::time::Duration;

use lineshaft::connectors::broker::Broker;
use lineshaft::connectors::plant::{self, PlantOptions};
use lineshaft::engine::clock::Clock;
use lineshaft::{Engine, Error};

use story::Story;

/// The program of the demo; `${env:...}` is not used, so that it can be read as it is.
const PROGRAM: &str = include_str!("../examples/demo/demo.sql");

/// Simulated seconds per second: a machine wears out within minutes.
const SPEEDUP: u32 = 30;

/// Runs the demo for some seconds or until Ctrl-C.
pub(crate) fn run(seconds: u64, data: &Path, quiet: bool) -> Result<(), Error> {
    let broker = Broker::start(None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Error::Query(format!("could not start the plant: {error}")))?;
    let options = PlantOptions { start: start(seconds), ..PlantOptions::default() };
    if !quiet {
        super::status::say(&story::beginning(seconds, &broker.url(), data));
    }
    let plant = runtime.spawn(plant::publish(broker.url(), options, f64::from(SPEEDUP)));
    let mut engine = Engine::from_sql(&PROGRAM.replace("mqtt://localhost:1883", &broker.url()))?;
    engine.data(data).workers(1);
    let (troubles, commands) = (engine.subscribe("troubles"), engine.subscribe("press_drive.log"));
    let signals = super::Signals::listen();
    let running = engine.start()?;
    signals.stop(&running);
    let story = runtime.spawn(Story::default().tell(troubles, commands, quiet));
    let stop = running.stopper();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(seconds));
        stop();
    });
    super::status::watch(&running, quiet);
    running.wait()?;
    plant.abort();
    let story = runtime.block_on(story).map_err(|error| Error::Query(format!("the demo failed: {error}")))?;
    if !quiet {
        super::status::say(&story.ending(data));
    }
    runtime.shutdown_background();
    Ok(())
}

/// The time at which the plant begins: its clock, which is faster than ours, is behind it until the demo ends.
fn start(seconds: u64) -> i64 {
    /// Until the first reading has come.
    const MARGIN_S: i64 = 5;
    let gained = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(i64::from(SPEEDUP - 1));
    let behind = gained.saturating_add(MARGIN_S).saturating_mul(1_000_000);
    Clock::system().now().saturating_sub(behind)
}
