//! SQL text in, Plan out: the parser, planner and functions of Lineshaft.

pub mod error;
pub mod parse;
pub mod span;
pub mod statement;
