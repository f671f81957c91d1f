//! The operators of Lineshaft: windows, joins, signal features, models, decisions.

pub mod decision;
pub mod join;
pub mod keys;
pub mod map;
pub mod model;
pub mod signal;
#[cfg(test)]
mod testing;
pub mod union;
pub mod window;
