//! Time, state and progress of Lineshaft: batches, operators, and the timely dataflow that runs a plan.

pub mod batch;
pub mod declaration;
pub mod error;
pub mod expression;
pub mod operator;
pub mod sink;
pub mod source;
pub mod time;

pub use batch::{Batch, TIMESTAMP};
pub use error::{Error, Result};
