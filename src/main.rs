//! The `lineshaft` command.
fn main() {}
