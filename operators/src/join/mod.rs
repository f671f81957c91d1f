//! Joins.
//!
//! ```text
//! lookup.rs   LookupJoin: each row of a stream with the rows of a table as of its epoch
//! table.rs    the rows of the table, by the columns of the join
//! ```

mod lookup;
mod table;

pub use lookup::{LookupJoin, LookupKind, LookupOptions, Side};
