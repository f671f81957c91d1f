//! Joins.
//!
//! ```text
//! lookup.rs    LookupJoin: each row of a stream with the rows of a table as of its epoch
//! table.rs     the rows of the table, by the columns of the join
//! interval.rs  IntervalJoin: two streams whose event times lie near each other, or are equal
//! as_of.rs     AsOfJoin: each row with the one row of the other side that is nearest in event time
//! held.rs      rows of one side that wait for those of the other,
//! on_disk.rs   and those of them that do not fit into memory
//! keys.rs      the columns of an equality, of both sides, as slots
//! remembered.rs  what was given for rows that may be taken back
//! ```

mod as_of;
mod held;
mod interval;
mod keys;
mod lookup;
mod on_disk;
mod remembered;
mod table;
#[cfg(test)]
mod testing;

pub use as_of::{AsOfJoin, AsOfOptions, Nearest};
pub use interval::{IntervalJoin, IntervalOptions, JoinKind, TimedSide};
pub use lookup::{LookupJoin, LookupKind, LookupOptions, Residual, Side};
