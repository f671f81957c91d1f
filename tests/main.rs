//! All integration tests, in one binary: linking it is what takes the time.

mod bad_input;
mod cli;
mod oracle;
mod support;
