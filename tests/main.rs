//! All integration tests, in one binary: linking it is what takes the time.

mod examples;
mod oracle;
mod support;
