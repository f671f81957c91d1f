//! Time, state and progress of Lineshaft: batches, operators, and the timely dataflow that runs a plan.
//!
//! ```text
//! Source --Chunk--> intake --epoch--> Decoder on a worker --Batch--> Operator ... --Batch--> Sink
//! ```
//!
//! - [`source`], [`sink`], [`operator`], [`expression`]: the traits that the other crates implement
//! - [`changelog`]: the second shape of an operator, on differential dataflow
//! - [`plan`]: the graph of sources, operators and sinks; [`run`] starts it
//! - [`simulation`]: runs it in a test, on one thread and a disk that fails
//! - [`time`]: epoch, event time, watermark; [`batch`]: what travels
//! - [`spill`]: how much state may be in memory, and files for what is more
//! - [`swap`]: what changes between two epochs, such as the version of a model
//! - [`journal`]: what came in, durable before it is worked on; [`checkpoint`]: the state; [`disk`]: what both need of a disk
//! - `intake` forms epochs, `watermark` decides what is late, `dataflow` renders a plan on timely

mod background;
pub mod batch;
pub mod changelog;
pub mod checkpoint;
pub mod clock;
mod control;
mod dataflow;
pub mod declaration;
mod deduplicate;
pub mod disk;
pub mod error;
pub mod expression;
pub mod hash;
mod intake;
pub mod journal;
pub mod metrics;
pub mod operator;
pub mod plan;
pub mod run;
pub mod simulation;
pub mod sink;
pub mod source;
pub mod spill;
pub mod swap;
pub mod testing;
pub mod time;
mod watermark;

pub use batch::{Batch, TIMESTAMP};
pub use error::{Error, Result};
