//! Byte strings with a slot each.
//!
//! A short string is compared by two words, which stand in the hash table itself; a longer one by its hash and then
//! its bytes. The bytes of all lie in one arena, by slot.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use lineshaft_engine::Result;

use super::{ABSENT, next_slot};

/// Any fixed seed will do; it differs from the one that chooses workers.
const SEED: u64 = 0x736c_6f74;

/// Byte strings by slot.
#[derive(Debug, Default)]
pub(super) struct ByteKeys {
    table: HashTable<(Digest, u32)>,
    bytes: Vec<u8>,
    /// Where the bytes of each slot end.
    ends: Vec<usize>,
}

/// Differs between strings that differ, if they have at most [`SHORT`] bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Digest {
    first: u64,
    last: u64,
    /// Length, as far as it fits.
    len: u32,
}

/// So many bytes are the first and the last word of a string together.
const SHORT: u32 = 16;

impl Digest {
    #[inline]
    fn of(key: &[u8]) -> Self {
        let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
        let (first, last) = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
            _ if len > SHORT => (hash_bytes(key), 0),
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => (word(key), 0),
        };
        Self { first, last, len }
    }

    fn hash(self) -> u64 {
        let mut hasher = FixedState::with_seed(SEED).build_hasher();
        hasher.write_u64(self.first);
        hasher.write_u64(self.last ^ u64::from(self.len));
        hasher.finish()
    }
}

/// Fewer than eight bytes as a word.
fn word(key: &[u8]) -> u64 {
    key.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn hash_bytes(key: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(SEED).build_hasher();
    hasher.write(key);
    hasher.finish()
}

impl ByteKeys {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, slot: u32) -> &[u8] {
        let slot = slot as usize;
        let start = if slot == 0 { 0 } else { self.ends[slot - 1] };
        &self.bytes[start..self.ends[slot]]
    }

    pub(super) fn find(&self, key: &[u8]) -> u32 {
        self.find_digest(Digest::of(key), key)
    }

    #[inline]
    fn find_digest(&self, digest: Digest, key: &[u8]) -> u32 {
        let same =
            |entry: &(Digest, u32)| entry.0 == digest && (digest.len <= SHORT || self.get(entry.1) == key);
        self.table.find(digest.hash(), same).map_or(ABSENT, |entry| entry.1)
    }

    #[inline]
    pub(super) fn intern(&mut self, key: &[u8]) -> Result<u32> {
        let digest = Digest::of(key);
        match self.find_digest(digest, key) {
            ABSENT => self.insert(digest, key),
            slot => Ok(slot),
        }
    }

    #[cold]
    fn insert(&mut self, digest: Digest, key: &[u8]) -> Result<u32> {
        let slot = self.push(key)?;
        self.table.insert_unique(digest.hash(), (digest, slot), |entry| entry.0.hash());
        Ok(slot)
    }

    /// A slot that no key finds: the place of NULL.
    pub(super) fn push_unfindable(&mut self) -> Result<u32> {
        self.push(&[])
    }

    fn push(&mut self, key: &[u8]) -> Result<u32> {
        let slot = next_slot(self.ends.len())?;
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        Ok(slot)
    }

    /// The keys of live slots in a store of their own, and the new slots; `unfindable` stays so.
    pub(super) fn retain(
        &self,
        live: impl Fn(u32) -> bool,
        unfindable: Option<u32>,
    ) -> Result<(Self, Vec<Option<u32>>)> {
        let mut kept = Self::default();
        let mut slots = Vec::with_capacity(self.len());
        for (slot, _) in (0..).zip(&self.ends) {
            slots.push(match live(slot) {
                false => None,
                true if unfindable == Some(slot) => Some(kept.push_unfindable()?),
                true => Some(kept.intern(self.get(slot))?),
            });
        }
        Ok((kept, slots))
    }
}
