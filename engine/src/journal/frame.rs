//! A frame: `len u32 | crc32c u32 | kind u8 | body`, where `len` counts kind and body.
//!
//! The checksum begins with the salt of the segment and the place in it, so a frame counts only where it was written. A
//! length of zero ends the segment: files are made of zeros.

use std::ops::Range;

/// Bytes before the body.
pub(super) const HEAD: usize = 9;
/// The most that kind and body may have. A longer frame is refused when it is written, and damage when it is read.
pub(super) const MOST: usize = 1 << 30;

/// A frame as it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) body: &'a [u8],
    /// Where it begins.
    pub(super) start: usize,
    /// Where the next one begins.
    pub(super) end: usize,
}

/// What the checksums in a piece of a segment depend on, beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal {
    pub(super) salt: u32,
    /// Where in the segment the piece begins.
    pub(super) base: usize,
}

impl From<u32> for Seal {
    /// Of a whole segment.
    fn from(salt: u32) -> Self {
        Self { salt, base: 0 }
    }
}

/// What is at a place of a segment.
pub(super) enum Found<'a> {
    /// Zeros.
    End,
    /// A frame whose checksum is right.
    Frame(Frame<'a>),
    /// Anything else; where it would end if its length were right.
    Bad { end: usize },
}

/// Appends a frame without its checksum, which depends on the place. Returns its bytes of kind and body.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, encode: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let start = out.len();
    out.extend([0; HEAD - 1]);
    out.push(kind);
    encode(out);
    let length = out.len() - start - (HEAD - 1);
    // One that does not fit is above `MOST`, and refused by who asked for it.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    start + HEAD - 1..out.len()
}

/// Fills in the checksums of frames that follow one another, now that their place is known.
pub(super) fn seal(frames: &mut [u8], salt: u32, place: usize) {
    let mut start = 0;
    while let Some(length) = length(frames, start) {
        let end = start + HEAD - 1 + length;
        let sum = checksum(&frames[start..end], salt, place + start);
        frames[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
        start = end;
    }
}

/// Reads what is at `start` of a segment, or of a piece of one.
pub(super) fn read(segment: &[u8], start: usize, seal: impl Into<Seal>) -> Found<'_> {
    let length = match length(segment, start) {
        Some(0) => return Found::End,
        Some(length) => length,
        None if segment[start.min(segment.len())..].iter().all(|byte| *byte == 0) => return Found::End,
        None => return Found::Bad { end: segment.len() },
    };
    let end = start + HEAD - 1 + length;
    let Some(frame) = segment.get(start..end).filter(|_| length <= MOST) else { return Found::Bad { end } };
    let Seal { salt, base } = seal.into();
    if frame[4..8] != checksum(frame, salt, base + start).to_le_bytes() {
        return Found::Bad { end };
    }
    Found::Frame(Frame { kind: frame[HEAD - 1], body: &frame[HEAD..], start, end })
}

/// The length that stands at `start`; `None` if there is no room for the head of a frame.
fn length(segment: &[u8], start: usize) -> Option<usize> {
    let head: [u8; HEAD] = *segment.get(start..)?.first_chunk()?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    // On a machine of 16 bits it would be too long anyway.
    Some(usize::try_from(length).unwrap_or(usize::MAX))
}

fn checksum(frame: &[u8], salt: u32, place: usize) -> u32 {
    let sum = crc32c::crc32c(&salt.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &(place as u64).to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &frame[..4]);
    crc32c::crc32c_append(sum, &frame[HEAD - 1..])
}
