//! A program on one thread, step by step in an order that a test chooses: with its disk, its clock and the peers of its
//! sources in the hands of the test, the same choices give the same run.
//!
//! ```text
//! test --chunks--> [ intake | worker | writer ] --> sinks of the test
//!   `-- which of them takes the next step, what the clock says, which call of the disk fails
//! ```
//!
//! All is as in [`run::start`](crate::run::start), but for threads: what a program does between two steps of the intake or of the
//! worker is never disturbed.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use timely::WorkerConfig;
use timely::communication::allocator::{Allocator, Thread};
use timely::worker::Worker as TimelyWorker;

use crate::error::{Error, Result};
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::run::{Settings, Wired, WorkerLoop, wire};
use crate::sink::SinkFactory;
use crate::source::{ChunkSender, Source};

/// What takes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Takes chunks, keeps them, makes epochs of them, and begins checkpoints.
    Intake,
    /// Decodes, computes and writes; hands over its state for a checkpoint.
    Worker,
    /// Writes a checkpoint, once all is handed over.
    Writer,
}

/// A program that runs while the test makes it. Dropping it is like a crash: nothing is finished.
pub struct Simulation {
    // Before the worker: its dataflow reads what the intake gives.
    intake: Option<Pin<Box<dyn Future<Output = ()>>>>,
    worker: TimelyWorker,
    worker_loop: WorkerLoop,
    wired: Wired,
    chunks: Vec<ChunkSender>,
}

impl Simulation {
    /// Starts `plan` as [`run::start`](crate::run::start) does. The sources do not run: the test hands over their chunks.
    ///
    /// # Errors
    /// As for [`run::start`](crate::run::start).
    pub fn start(
        plan: Plan,
        sources: Vec<Box<dyn Source>>,
        sinks: Vec<Arc<dyn SinkFactory>>,
        mut settings: Settings,
    ) -> Result<Self> {
        settings.workers = 1;
        let (wired, intake, connectors) = wire(plan, sources, sinks, &mut settings)?;
        if settings.workers != 1 {
            return Err(Error::Plan("the checkpoint is of a run with several workers".into()));
        }
        let mut worker =
            TimelyWorker::new(WorkerConfig::default(), Allocator::Thread(Thread::default()), None);
        let worker_loop = WorkerLoop::build(&wired.program, &mut worker)?;
        let chunks = connectors.into_iter().map(|connector| connector.chunks).collect();
        Ok(Self { intake: Some(Box::pin(Intake::run(intake))), worker, worker_loop, wired, chunks })
    }

    /// Where the test hands over the chunks of a source.
    pub fn chunks(&self, source: usize) -> &ChunkSender {
        &self.chunks[source]
    }

    /// Lets one part of the program take a step; one that has nothing to do does nothing.
    ///
    /// # Errors
    /// What ends the program.
    pub fn step(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Intake => {
                let mut context = Context::from_waker(Waker::noop());
                if self.intake.as_mut().is_some_and(|intake| intake.as_mut().poll(&mut context).is_ready()) {
                    self.intake = None;
                }
            }
            Part::Worker => {
                self.worker.step();
                self.worker_loop.after_step(&self.wired.program, &self.worker)?;
            }
            Part::Writer => {
                if let Some(checkpoints) = &self.wired.checkpoints {
                    checkpoints.write_now();
                }
            }
        }
        match self.wired.control.take_failure() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Asks the program to stop: what was handed over is finished.
    pub fn stop(&self) {
        self.wired.control.stop();
    }

    /// True once it has stopped.
    pub fn has_ended(&self) -> bool {
        self.intake.is_none() && self.worker_loop.is_done()
    }

    /// What went where so far.
    pub fn metrics(&self) -> &Metrics {
        &self.wired.program.metrics
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.intake = None;
        for dataflow in self.worker.installed_dataflows() {
            self.worker.drop_dataflow(dataflow);
        }
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Simulation").field("has_ended", &self.has_ended()).finish_non_exhaustive()
    }
}
