//! Byte strings with a slot each: the bytes lie in one arena, the table holds hash and slot.

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
    table: HashTable<(u64, u32)>,
    bytes: Vec<u8>,
    /// Where the bytes of each slot end.
    ends: Vec<usize>,
}

pub(super) fn hash_bytes(key: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(SEED).build_hasher();
    hasher.write(key);
    hasher.finish()
}

impl ByteKeys {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, slot: u32) -> &[u8] {
        bytes_of(&self.bytes, &self.ends, slot)
    }

    pub(super) fn find(&self, key: &[u8]) -> u32 {
        self.find_hashed(hash_bytes(key), key)
    }

    fn find_hashed(&self, hash: u64, key: &[u8]) -> u32 {
        let same = |entry: &(u64, u32)| entry.0 == hash && self.get(entry.1) == key;
        self.table.find(hash, same).map_or(ABSENT, |entry| entry.1)
    }

    pub(super) fn intern(&mut self, key: &[u8]) -> Result<u32> {
        let hash = hash_bytes(key);
        match self.find_hashed(hash, key) {
            ABSENT => self.insert(hash, key),
            slot => Ok(slot),
        }
    }

    fn insert(&mut self, hash: u64, key: &[u8]) -> Result<u32> {
        let slot = self.push(key)?;
        self.table.insert_unique(hash, (hash, slot), |entry| entry.0);
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

fn bytes_of<'a>(bytes: &'a [u8], ends: &[usize], slot: u32) -> &'a [u8] {
    let slot = slot as usize;
    let start = if slot == 0 { 0 } else { ends[slot - 1] };
    &bytes[start..ends[slot]]
}
