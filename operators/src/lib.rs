//! The operators of Lineshaft: windows, joins, signal features, models, decisions.
//!
//! ```text
//! rows --on_batch, on_watermark, on_epoch_end--> Operator --> rows
//! ```
//!
//! Each is an ordinary state machine behind the engine's trait `Operator`: the same rows in the same order give the same
//! result. None does I/O, reads a clock, waits or spawns.
//!
//! - [`map`]: filter and projection; [`failed`]: rows that it cannot compute; [`union`]: several inputs as one; [`unnest`]:
//!   a row for each item of a list;
//!   [`constants`]: rows that stand in the query; [`stamp`]: the time of the epoch
//! - [`group`]: `GROUP BY` without a window, and `DISTINCT`
//! - [`window`]: tumbling, hopping, session and count windows
//! - [`join`]: a stream with a table, streams by their event time
//! - [`over`]: functions over the rows around a row; [`resample`]: rows at fixed times
//! - [`changelog`]: rows that may be taken back: joins without a window, top-k, recursion
//! - [`decision`]: the optimiser, and the gate that a command must pass
//! - [`online`]: functions that go from row to row, such as filters and control charts, with what they remember
//! - [`signal`]: numeric kernels as plain functions over slices, which the SQL functions wrap
//! - [`model`]: training, artefacts and scoring; the one place that stores files
//! - [`keys`]: keys of any type as dense slots, which windows share

pub mod changelog;
pub mod constants;
pub mod decision;
pub mod failed;
pub mod group;
pub mod join;
pub mod keys;
pub mod map;
pub mod model;
pub mod online;
pub mod over;
pub mod resample;
mod shared;
pub mod signal;
pub mod stamp;
#[cfg(test)]
mod testing;
pub mod union;
pub mod unnest;
pub mod window;
