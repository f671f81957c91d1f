//! A segment: a file of groups, `j-<number>.ljn`, made of zeros and then filled.
//!
//! ```text
//! header | group | group | ... | zeros
//!          group = frame of a record, ..., frame of the commit
//! ```

use xxhash_rust::xxh3::xxh3_64;

use super::codec::{Cursor, Malformed, Read};
use super::group::{self, Group, Next};

const MAGIC: [u8; 8] = *b"lineshJ\n";
/// The format of header, frames and records.
pub(super) const VERSION: u32 = 1;
/// Bytes of the header.
pub(super) const HEADER: usize = 80;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Which journal it is of.
    pub(super) journal: u128,
    /// Which start of the engine made it.
    pub(super) incarnation: u64,
    /// Counts the segments of the journal.
    pub(super) sequence: u64,
    /// The sequence of the segment before it; of the first one, its own.
    pub(super) previous: u64,
    /// That of its name: the first epoch, or above the number of the segment before.
    pub(super) number: u64,
    /// Bytes that the file was made with.
    pub(super) size: u64,
}

impl Header {
    /// Goes into each checksum, so that a frame of another segment is none of this. It can be told from the name, too:
    /// a segment is read even if its header is damaged.
    pub(super) fn salt(&self) -> u32 {
        salt(self.journal, self.number)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend(self.salt().to_le_bytes());
        out.extend(self.journal.to_le_bytes());
        for number in [self.incarnation, self.sequence, self.previous, self.number, self.size] {
            out.extend(number.to_le_bytes());
        }
        out.extend([0; 4]);
        out.extend(crc32c::crc32c(&out).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Read<Self> {
        let (header, sum) = bytes.split_at(HEADER - 4);
        if sum != crc32c::crc32c(header).to_le_bytes() {
            return Err(Malformed("the checksum of the header does not match"));
        }
        let mut from = Cursor(&header[MAGIC.len() + 4..]);
        let salt = from.u32()?;
        let (journal, incarnation, sequence) = (from.u128()?, from.u64()?, from.u64()?);
        let (previous, number, size) = (from.u64()?, from.u64()?, from.u64()?);
        let header = Self { journal, incarnation, sequence, previous, number, size };
        if salt == header.salt() { Ok(header) } else { Err(Malformed("the salt does not match")) }
    }
}

pub(super) fn salt(journal: u128, number: u64) -> u32 {
    let mut bytes = journal.to_le_bytes().to_vec();
    bytes.extend(number.to_le_bytes());
    let [a, b, c, d, ..] = xxh3_64(&bytes).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The name of the segment with this number.
pub(super) fn name(number: u64) -> String {
    format!("j-{number:020}.ljn")
}

/// The number of a segment; `None` if the file is none.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("j-")?.strip_suffix(".ljn")?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_ours.then(|| digits.parse().ok()).flatten()
}

/// What the beginning of a file says.
#[derive(Debug)]
pub(super) enum Head {
    /// It is a segment.
    Known(Header),
    /// Nothing is in it, though a segment gets its name with its header: it was cut or cleared.
    Empty,
    /// A format of another version.
    Version(u32),
    /// Neither: where, and what is wrong.
    Damaged(usize, &'static str),
}

/// The header of the segment `number`, if all is right with it; the rest of the file is not looked at.
pub(super) fn header(bytes: &[u8], number: u64) -> Option<Header> {
    let is_known = bytes.starts_with(&MAGIC) && bytes.get(8..12) == Some(&VERSION.to_le_bytes());
    let header = Header::decode(bytes.get(..HEADER).filter(|_| is_known)?).ok()?;
    (header.number == number).then_some(header)
}

/// Reads the header of the segment `number`.
pub(super) fn head(bytes: &[u8], number: u64) -> Head {
    let is_empty = || bytes.iter().skip(HEADER).all(|byte| *byte == 0);
    let Some(header) = bytes.get(..HEADER) else { return Head::Empty };
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    match Header::decode(header) {
        _ if header.starts_with(&MAGIC) && version != VERSION => Head::Version(version),
        Ok(header) if header.number != number => Head::Damaged(0, "the file has the name of another segment"),
        Ok(header) if (bytes.len() as u64) < header.size => match is_empty() {
            true => Head::Empty,
            false => Head::Damaged(bytes.len(), "the file is shorter than it was made"),
        },
        Ok(_) if !header.starts_with(&MAGIC) => Head::Damaged(0, "it is no segment of a journal"),
        Ok(header) => Head::Known(header),
        Err(_) if is_empty() => Head::Empty,
        Err(error) => Head::Damaged(0, error.0),
    }
}

/// How the groups of a segment end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// With zeros.
    Whole,
    /// With a write that was never finished, up to this place; it was never acknowledged.
    Torn { end: usize },
    /// With something that was written otherwise: where, and what is wrong.
    Damaged { at: usize, what: &'static str },
}

/// Visits the groups from `start` on. Returns where the last good one ends and what follows.
pub(super) fn scan<'a>(
    segment: &'a [u8],
    start: usize,
    salt: u32,
    mut visit: impl FnMut(Group<'a>),
) -> (usize, Tail) {
    let mut at = start;
    loop {
        match group::read(segment, at, salt) {
            Next::Group(group) => {
                at = group.end;
                visit(group);
            }
            Next::End if segment[at.min(segment.len())..].iter().all(|byte| *byte == 0) => {
                return (at, Tail::Whole);
            }
            Next::End => return (at, tail(segment, at, salt, at, at, "bytes where there were none")),
            Next::Bad { at: bad, end, what } => return (at, tail(segment, at, salt, bad, end, what)),
        }
    }
}

/// The next group that is whole, anywhere behind what is damaged at `bad`.
pub(super) fn next_group(segment: &[u8], bad: usize, salt: u32) -> Option<usize> {
    let is_whole = |start: &usize| matches!(group::read(segment, *start, salt), Next::Group(_));
    group::starts_after(segment, bad, salt).find(is_whole)
}

/// Tells a write that was not finished from one that was and is damaged. Of the first, a disk has some sectors and of
/// the others zeros, as the file was made; or its end is missing. And nothing was written after it.
fn tail(segment: &[u8], start: usize, salt: u32, bad: usize, end: usize, what: &'static str) -> Tail {
    let written = segment.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let torn = Tail::Torn { end: written };
    let mut commits = group::starts_after(segment, bad, salt).peekable();
    let has_commit = commits.peek().is_some();
    let is_last = commits.all(|begin| begin == start);
    let has_hole = || {
        let sector = |at: usize| &segment[at.max(start)..(at + SECTOR).min(written)];
        let mut sectors = (start - start % SECTOR..written).step_by(SECTOR);
        sectors.any(|at| sector(at).iter().all(|byte| *byte == 0))
    };
    // Bytes in the zeros behind the last group are nobody's.
    let is_stray = end == start;
    if is_last && (has_hole() || !has_commit && (end > written || bad >= written || is_stray)) {
        torn
    } else {
        Tail::Damaged { at: bad, what }
    }
}
