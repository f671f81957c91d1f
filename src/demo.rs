//! `lineshaft demo`: a simulated plant, an embedded MQTT broker, and the whole loop.

use std::path::Path;
use std::time::Duration;

use lineshaft::connectors::broker::Broker;
use lineshaft::connectors::plant::{self, PlantOptions};
use lineshaft::engine::clock::Clock;
use lineshaft::{Engine, Error};

/// The program of the demo; `${env:...}` is not used, so that it can be read as it is.
const PROGRAM: &str = include_str!("../examples/demo/demo.sql");

/// Simulated seconds per second: a machine wears out within minutes.
const SPEEDUP: f64 = 30.0;

/// Runs the demo until Ctrl-C or for some seconds.
pub(crate) fn run(seconds: Option<u64>, data: &Path, quiet: bool) -> Result<(), Error> {
    let broker = Broker::start(None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Error::Query(format!("could not start the plant: {error}")))?;
    // The plant lives through an hour that has just passed, so that its clock is never ahead of ours.
    let start = Clock::system().now() - 24 * 3_600_000_000;
    let options = PlantOptions { start, ..PlantOptions::default() };
    let plant = runtime.spawn(plant::publish(broker.url(), options, SPEEDUP));
    tracing::info!(
        "a simulated plant publishes to {}/plant/#; commands go to plant/LINE/press/set",
        broker.url()
    );
    let mut engine = Engine::from_sql(&PROGRAM.replace("mqtt://localhost:1883", &broker.url()))?;
    engine.data(data).workers(1);
    let signals = super::Signals::listen();
    let running = engine.start()?;
    signals.stop(&running);
    if let Some(seconds) = seconds {
        let stop = running.stopper();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(seconds));
            stop();
        });
    }
    super::status::watch(&running, quiet);
    running.wait()?;
    plant.abort();
    let data = data.display();
    tracing::info!("look at what it kept: lineshaft query \"SELECT * FROM alarms LIMIT 10\" --data {data}");
    runtime.shutdown_background();
    Ok(())
}
