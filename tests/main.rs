//! All integration tests, in one binary: linking it is what takes the time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod cli;
mod durable;
mod examples;
mod faults;
mod fuzz;
mod golden;
mod history;
mod http;
mod journal;
mod late_rows;
mod model_cases;
mod model_figures;
mod model_life;
mod nexmark;
mod onnx;
mod oracle;
mod pages;
mod random;
mod resume;
mod rules;
mod safetensors;
mod simulation;
mod sources;
mod spill;
mod support;
mod tables;
mod tidy;
