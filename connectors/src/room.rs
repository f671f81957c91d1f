//! Waiting for room on a full disk. A live program goes on when there is some: that is the back-pressure.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use lineshaft_engine::sink::Run;

/// How long it waits until it tries again.
const FULL_FOR: Duration = Duration::from_millis(500);

/// The room that a sink has below its folder.
pub(crate) struct Room {
    sink: String,
    folder: PathBuf,
    run: Run,
    /// It has been told that there is none.
    is_full: AtomicBool,
}

impl Room {
    pub(crate) fn new(sink: &str, folder: &Path, run: Run) -> Self {
        Self { sink: sink.to_owned(), folder: folder.to_owned(), run, is_full: AtomicBool::new(false) }
    }

    /// Room that is not waited for.
    pub(crate) fn impatient(sink: &str, folder: &Path) -> Self {
        let mut run = Run::default();
        run.is_live = false;
        Self::new(sink, folder, run)
    }

    /// Tries until there is room for it, in a live program that is not asked to stop; in others it fails at once.
    pub(crate) fn patiently<T>(&self, mut write: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            #[cfg(test)]
            crash::step()?;
            match write() {
                Err(error) if is_full(&error) => self.wait(error)?,
                other => {
                    if other.is_ok() && self.is_full.swap(false, Ordering::Relaxed) {
                        tracing::info!(
                            "there is room in {} again: sink {:?} goes on",
                            self.folder.display(),
                            self.sink
                        );
                    }
                    return other;
                }
            }
        }
    }

    fn wait(&self, error: io::Error) -> io::Result<()> {
        if !self.run.is_live {
            return Err(error);
        }
        if self.run.is_stopping() {
            let reason = format!(
                "{error}; it is stopped while it waits for room: make room and start it again, it goes on from its last checkpoint"
            );
            return Err(io::Error::new(error.kind(), reason));
        }
        if !self.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "STALLED(disk): sink {:?} has no room in {} ({error}): make room there; until then nothing more is taken, and the \
                 program goes on by itself",
                self.sink,
                self.folder.display()
            );
        }
        sleep(FULL_FOR);
        Ok(())
    }
}

/// True if there is no room, or none for us.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Crashes of tests: from some step on, nothing that this thread does reaches the disk.
#[cfg(test)]
pub(crate) mod crash {
    use std::cell::Cell;
    use std::io;

    thread_local!(static STEPS: Cell<Option<u64>> = const { Cell::new(None) });

    /// It crashes after so many steps; `None` never.
    pub(crate) fn after(steps: Option<u64>) {
        STEPS.set(steps);
    }

    pub(super) fn step() -> io::Result<()> {
        match STEPS.get() {
            Some(0) => Err(io::Error::other("crashed")),
            Some(steps) => {
                STEPS.set(Some(steps - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }
}
