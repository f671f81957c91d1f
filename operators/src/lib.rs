//! The operators of Lineshaft: windows, joins, signal features, models, decisions.

pub mod decision;
pub mod keys;
pub mod map;
pub mod model;
pub mod signal;
pub mod union;
