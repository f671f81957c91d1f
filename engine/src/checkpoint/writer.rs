//! Writes a checkpoint on a thread of its own.
//!
//! A failure ends the program, but for a disk that is full: then the checkpoint before is kept, with the journal since then,
//! and the next one is tried when it is due.

use std::fmt;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use tokio::runtime::Handle;

use super::store::Place;
use super::{Checkpoints, Parts};
use crate::control::{Control, lock};
use crate::error::{Error, Result};
use crate::operator::Snapshot;
use crate::time::Epoch;

/// Parts on their way to the writer. More of them would only be more memory: a disk is slower than what makes them.
const PARTS: usize = 4;

/// The same in a simulation, where the writer begins when it has all.
const ALL_PARTS: usize = 4096;

/// Who writes.
pub(super) enum Writer {
    Thread(JoinHandle<()>),
    /// In a simulation: when the test says so.
    Later(Box<dyn FnOnce() + Send>),
}

impl Writer {
    fn waits(&self) -> bool {
        matches!(self, Self::Later(_))
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.waits() { "Later" } else { "Thread" })
    }
}

/// What workers hand over.
#[derive(Debug)]
pub(crate) enum Part {
    /// Tables of an operator.
    Tables { worker: usize, owner: String, snapshot: Snapshot },
    /// A worker has handed over all.
    Last,
}

/// A checkpoint as the intake begins it.
pub(crate) struct Begun {
    /// The first epoch after it.
    pub(crate) next_epoch: Epoch,
    pub(crate) workers: usize,
    /// What is known of the sources and of the program.
    pub(crate) program: Parts,
}

/// How a checkpoint has ended.
enum Ended {
    Written {
        number: u64,
    },
    /// The program has ended before.
    Abandoned,
}

impl Checkpoints {
    /// Begins a checkpoint; none is on its way, and nothing of the stream.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub(crate) fn begin(self: &Arc<Self>, begun: Begun, control: &Arc<Control>) -> Result<()> {
        let is_simulated = Handle::try_current().is_err();
        let (parts, handed) = sync_channel(if is_simulated { ALL_PARTS } else { PARTS });
        self.round.begin(parts, begun.workers);
        let (checkpoints, control) = (Arc::clone(self), Arc::clone(control));
        let work = move || {
            let written = catch_unwind(AssertUnwindSafe(|| checkpoints.write(begun, handed)));
            let bug = |_| Err(Error::Plan("the writer of checkpoints panicked: this is a bug".to_owned()));
            checkpoints.note(written.unwrap_or_else(bug), &control);
            checkpoints.round.end();
            control.changed.notify_one();
        };
        let writer = if is_simulated {
            Writer::Later(Box::new(work))
        } else {
            let writer = thread::Builder::new().name("checkpoint".to_owned()).spawn(work);
            Writer::Thread(writer.map_err(|error| Error::Plan(format!("could not start a thread: {error}")))?)
        };
        *lock(&self.writer) = Some(writer);
        Ok(())
    }

    /// In a [simulation](crate::simulation): writes what the workers have handed over, if that is all of it.
    pub(crate) fn write_now(&self) {
        let writer = lock(&self.writer).take_if(|writer| writer.waits() && self.round.is_handed_over());
        if let Some(Writer::Later(work)) = writer {
            work();
        }
    }

    /// No more checkpoints: what is being written is left, and no part of it stays.
    pub(crate) fn close(&self) {
        self.round.close();
        let writer = lock(&self.writer).take();
        if let Some(Writer::Thread(writer)) = writer {
            // A panic was caught and told.
            writer.join().ok();
        }
    }

    fn write(&self, begun: Begun, handed: Receiver<Part>) -> Result<Ended> {
        let Begun { next_epoch, workers, program } = begun;
        let mut draft = self.store.create(workers)?;
        for (owner, snapshot) in program {
            draft.put(Place::Program, &owner, &snapshot)?;
        }
        let mut missing = workers;
        for part in handed {
            match part {
                Part::Tables { worker, owner, snapshot } => {
                    draft.put(Place::Worker(worker), &owner, &snapshot)?;
                }
                Part::Last => missing -= 1,
            }
        }
        if missing > 0 {
            return Ok(Ended::Abandoned);
        }
        Ok(Ended::Written { number: self.store.finish(draft, next_epoch)? })
    }

    /// Tells how a checkpoint has ended; what is left of one that is not whole is deleted.
    fn note(&self, ended: Result<Ended>, control: &Control) {
        let was_full = self.is_full.swap(false, Ordering::Relaxed);
        match ended {
            Ok(Ended::Written { number }) => {
                tracing::debug!("checkpoint {number} is written");
                if was_full {
                    tracing::info!("there is room for checkpoints again");
                }
            }
            Ok(Ended::Abandoned) => {
                // It is deleted by the next start, too.
                self.store.discard().ok();
            }
            Err(error) => match full(&error) {
                Some(reason) => {
                    self.is_full.store(true, Ordering::Relaxed);
                    let goes_on = match self.store.oldest_epoch() {
                        Some(_) => {
                            "the program goes on, keeps the one before, and the journal grows meanwhile"
                        }
                        None => "nothing is read until there is a first one",
                    };
                    tracing::warn!(
                        "STALLED(disk): no room for a checkpoint: {error}: {reason}; {goes_on}: make room on the disk, it is tried again"
                    );
                    if let Err(error) = self.store.discard() {
                        control.fail(error);
                    }
                }
                None => control.fail(error),
            },
        }
    }
}

/// The reason, if the disk has no room.
fn full(error: &Error) -> Option<&std::io::Error> {
    match error {
        Error::File { source, .. }
            if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
        {
            Some(source)
        }
        _ => None,
    }
}
