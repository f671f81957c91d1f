//! The manifest of a checkpoint: what it is of, and which files it has. It is written last, and is text, for those who have
//! to find out at night what there is:
//!
//! ```text
//! lineshaft checkpoint 2
//! number 7
//! workers 2
//! next_epoch 4711
//! identity 6d1f0a...          XXH3-128 of what the program and its input are
//! file program 812 0b35c7...  name, length, XXH3-128
//! file worker-0 96321 f01c...
//! file worker-1 95870 27aa...
//! file part-5be1... 4101120 5be1...
//! checksum 90d3e1...          XXH3-128 of the lines above
//! ```

use std::fmt::Write as _;
use std::iter;
use std::path::Path;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_128;

use super::error::{CheckpointError, Damage};
use super::parts::part_file;
use super::state::Written;
use super::store::{PROGRAM, worker_file};
use crate::disk::{self, Disk};
use crate::error::{Error, Result};
use crate::time::Epoch;

/// The name of the file.
pub(super) const FILE: &str = "manifest";
/// The format of manifests and of the files that they name. Those of format 1 have no parts.
pub(super) const FORMAT: u32 = 2;
const TITLE: &str = "lineshaft checkpoint";
const CHECKSUM: &str = "checksum ";

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// The number of the checkpoint, which is the name of its folder.
    pub(super) number: u64,
    pub(super) workers: usize,
    /// The first epoch after the checkpoint.
    pub(super) next_epoch: Epoch,
    /// The hash of what the program is: statements and options may be long, and may have secrets.
    pub(super) identity: u128,
    pub(super) files: Vec<Written>,
}

/// Why a manifest is not used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Another checkpoint may be whole.
    Damaged(Damage),
    /// It is whole, and not for us.
    Refused(CheckpointError),
}

/// The hash of `identity` in manifests.
pub(super) fn hash_identity(identity: &str) -> u128 {
    xxh3_128(identity.as_bytes())
}

impl Manifest {
    /// Makes the checkpoint in `folder` whole. All files that it names are durable.
    pub(super) fn write(&self, disk: &dyn Disk, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let written = disk::write_whole(disk, &path, self.encode().as_bytes());
        written.map_err(|error| Error::file("write", &path, error))
    }

    /// Reads that of checkpoint `number` in `folder`.
    pub(super) fn read(disk: &dyn Disk, folder: &Path, number: u64) -> Result<Self, Unusable> {
        let path = folder.join(FILE);
        let damaged = |what: String| Unusable::Damaged(Damage::new(&path, what));
        let bytes = disk::read_all(disk, &path).map_err(|error| damaged(error.to_string()))?;
        let body = checked(&bytes).ok_or_else(|| damaged("the checksum does not match".into()))?;
        let mut lines = body.lines();
        let format = match field(&mut lines, TITLE) {
            Some(format @ 1..=FORMAT) => format,
            Some(version) => {
                return Err(Unusable::Refused(CheckpointError::Format {
                    file: path,
                    version,
                    known: FORMAT,
                }));
            }
            None => return Err(damaged("it is no manifest".into())),
        };
        let manifest = Self::decode(format, lines).filter(Self::names_all_files);
        let manifest = manifest.ok_or_else(|| damaged("it is no manifest".into()))?;
        if manifest.number != number {
            return Err(damaged(format!("it is of checkpoint {}", manifest.number)));
        }
        Ok(manifest)
    }

    /// The program and the workers have one each, and all others are parts of tables.
    fn names_all_files(&self) -> bool {
        let names = iter::once(PROGRAM.to_owned()).chain((0..self.workers).map(worker_file));
        let Some((states, _)) = self.files.split_at_checked(self.workers + 1) else { return false };
        names.eq(states.iter().map(|file| file.name.clone()))
            && self.parts().iter().all(|part| part.name == part_file(part.hash))
    }

    /// Files with parts of tables.
    pub(super) fn parts(&self) -> &[Written] {
        self.files.get(self.workers + 1..).unwrap_or_default()
    }

    fn encode(&self) -> String {
        let Self { format, number, workers, next_epoch, identity, files } = self;
        let mut text = format!(
            "{TITLE} {format}\nnumber {number}\nworkers {workers}\nnext_epoch {next_epoch}\nidentity {identity:032x}\n"
        );
        for Written { name, length, hash } in files {
            writeln!(text, "file {name} {length} {hash:032x}").expect("a text takes all that is written");
        }
        let sum = xxh3_128(text.as_bytes());
        writeln!(text, "{CHECKSUM}{sum:032x}").expect("a text takes all that is written");
        text
    }

    fn decode<'a>(format: u32, mut lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        Some(Self {
            format,
            number: field(&mut lines, "number")?,
            workers: field(&mut lines, "workers")?,
            next_epoch: field(&mut lines, "next_epoch")?,
            identity: hex(lines.next()?.strip_prefix("identity ")?)?,
            files: lines.map(file).collect::<Option<_>>()?,
        })
    }
}

/// The lines before the checksum, if it is theirs.
fn checked(bytes: &[u8]) -> Option<&str> {
    let text = str::from_utf8(bytes).ok()?;
    let body = &text[..text.rfind(CHECKSUM)?];
    let sum = format!("{CHECKSUM}{:032x}\n", xxh3_128(body.as_bytes()));
    (text[body.len()..] == sum).then_some(body)
}

fn field<'a, T: FromStr>(lines: &mut impl Iterator<Item = &'a str>, name: &str) -> Option<T> {
    lines.next()?.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()
}

fn file(line: &str) -> Option<Written> {
    let mut words = line.strip_prefix("file ")?.split(' ');
    let name = words.next()?.to_owned();
    Some(Written { name, length: words.next()?.parse().ok()?, hash: hex(words.next()?)? })
}

fn hex(text: &str) -> Option<u128> {
    u128::from_str_radix(text, 16).ok()
}
