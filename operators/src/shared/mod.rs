//! Collections that a snapshot shares with the stream: a copy costs a pointer for many values, and what changes after it is
//! copied first (persistent data structures by blocks).
//!
//! ```text
//! deque.rs    values that come at the end and go at the front: full blocks never change
//! vector.rs   a value for each slot: a block is copied when one of its values changes while a copy is there
//! saved.rs    such a copy as the tables of a snapshot, one after the other
//! ```

mod deque;
mod saved;
mod vector;

pub(crate) use deque::SharedDeque;
pub(crate) use saved::{BySlot, SavedState, Whole};
pub(crate) use vector::SharedVec;
