//! A segment that is made before it is needed, on another thread: room on the disk that has been written once, so that no
//! commit waits for it.

use std::io;
use std::sync::Arc;

use super::folder::{Folder, temporary};
use super::segment::{self, Header};
use super::start;
use crate::disk::DiskFile;

/// What is written at once. In between, commits have their turn.
const PIECE: usize = 1 << 20;

/// The name of the file until it is a segment. A start removes it.
fn name() -> String {
    temporary("next")
}

/// What makes a spare segment.
#[derive(Debug)]
pub struct Maker {
    pub(super) folder: Arc<Folder>,
    pub(super) size: u64,
}

/// A file of zeros that can become the next segment.
#[derive(Debug)]
pub struct Spare {
    file: Box<dyn DiskFile>,
    pub(super) size: u64,
}

impl Maker {
    /// Makes it; takes a while. Without room or with a disk that fails there is none: the commit that needs a segment tells.
    pub fn make(self) -> Option<Spare> {
        match self.write() {
            Ok(file) => Some(Spare { file, size: self.size }),
            Err(error) => {
                tracing::debug!("no segment was made ahead: {error}");
                // What is left of it takes room until the next start.
                start::remove(&self.folder, [name()]).ok();
                None
            }
        }
    }

    fn write(&self) -> io::Result<Box<dyn DiskFile>> {
        let mut file = self.folder.create(&name(), self.size)?;
        let zeros = vec![0; PIECE];
        for at in (0..self.size).step_by(PIECE) {
            let length = usize::try_from(self.size - at).unwrap_or(PIECE).min(PIECE);
            file.write_at(at, &zeros[..length])?;
            file.sync()?;
        }
        Ok(file)
    }
}

impl Spare {
    /// Makes it the segment with this header; the name is durable when the folder is synced.
    pub(super) fn become_segment(self, folder: &Folder, header: &Header) -> io::Result<Box<dyn DiskFile>> {
        let mut file = self.file;
        file.write_at(0, &header.encode())?;
        file.sync()?;
        folder.rename(&name(), &segment::name(header.number))?;
        Ok(file)
    }
}
