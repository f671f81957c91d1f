//! Lineshaft: sensor streams in; features, scores, decisions, history and commands out; written in SQL.
//!
//! A program is one or more query files. [`Engine`] runs it live, [`backfill`] over history; [`history::query`] reads
//! what it kept.
//!
//! ```
//! use lineshaft::Engine;
//!
//! # fn main() -> Result<(), lineshaft::Error> {
//! let mut engine = Engine::from_sql(
//!     "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, machine TEXT, x DOUBLE, WATERMARK FOR ts)
//!          WITH (connector = 'generator', rows = 1000, keys = 3);
//!      CREATE VIEW means AS SELECT window_start, machine, avg(x) AS mean
//!          FROM TUMBLE(readings, ts, INTERVAL '100 ms') GROUP BY window_start, window_end, machine;",
//! )?;
//! let folder = tempfile::tempdir().unwrap();
//! engine.data(folder.path());
//! let mut means = engine.subscribe("means");
//! let running = engine.start()?;
//! let mut rows = 0;
//! while let Some(batch) = means.blocking_recv() {
//!     rows += batch.num_rows();
//! }
//! running.wait()?;
//! assert_eq!(rows, 30);
//! # Ok(())
//! # }
//! ```
//!
//! The parts: [`queries`] turns SQL into a plan of [`operators`], [`engine`] runs it, [`connectors`] are its ends.

mod alter;
pub mod backfill;
mod catalog;
mod declared;
mod drift;
pub mod durable;
mod embed;
mod error;
pub mod history;
mod memory;
mod model_tables;
mod models;
pub mod report;
mod train;
mod view;

pub use lineshaft_connectors as connectors;
pub use lineshaft_connectors::memory::Input;
pub use lineshaft_engine as engine;
pub use lineshaft_engine::Batch;
pub use lineshaft_operators as operators;
pub use lineshaft_queries as queries;

pub use embed::{Engine, MAX_WORKERS, Running};
pub use error::{Error, ProgramErrors};
pub use memory::Memory;
pub use view::View;
