//! Decisions: rules above a model, set-points that an optimiser chooses, and the gate that a command must pass.
//!
//! ```text
//! state of a key --> Optimizer --> set-points --> Gate --> command (port 0)
//!                                     interlock keys --^ `--> log, a row per proposal (port 1)
//! ```

pub mod gate;
pub mod interlock;
mod keys;
pub mod limits;
pub mod optimizer;
pub mod rules;
pub mod solver;

pub use gate::{Gate, GateOptions, Mode, Rate};
pub use interlock::Interlock;
pub use limits::Limits;
pub use optimizer::{Constraint, Optimizer, OptimizerOptions, Variable};
