//! `connector = 'plant'`: a simulated plant, for the demo, for examples and for tests. Needs nothing outside.
//!
//! ```text
//! Plant (model.rs) --readings--> source.rs: rows        or  publish(): plant/{line}/{machine}/readings
//!       ^---------------- set-points --------- commands.rs: plant/{line}/press/set {"speed":..,"heat":..}
//! ```
//!
//! Columns, by name, any of them: `ts, line, machine, speed, heat, humidity, temperature, vibration, pressure, current,
//! power, throughput, defects, wear, fault, status`. Guarantee: without a broker the rows are the same at every run; with
//! one they depend on when commands come. It is bounded if `duration` is given. Position: the state of the simulation.

mod commands;
pub mod model;
mod source;

pub use commands::{COMMAND_TOPIC, publish};
pub use model::PlantOptions;
pub(crate) use source::check;
pub use source::{OPTIONS, source};

pub use crate::generator::METADATA;
