//! Random numbers that are the same at every run: splitmix64, as in S. Vigna's reference implementation.

use arrow::array::RecordBatch;

/// A generator of random numbers.
#[derive(Clone)]
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Seeded by a text, such as the name of a file (FNV-1a).
    pub(crate) fn of(text: &str) -> Self {
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(text.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `limit - 1`.
    pub(crate) fn below(&mut self, limit: i64) -> i64 {
        let limit = u64::try_from(limit.max(1)).unwrap();
        i64::try_from(self.next() % limit).unwrap()
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(len).unwrap()).unwrap()
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())].clone()
    }

    /// True `percent` times of a hundred.
    pub(crate) fn chance(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    /// The rows in batches of random sizes; one that is empty if there are none.
    pub(crate) fn cut(&mut self, rows: &RecordBatch) -> Vec<RecordBatch> {
        let most = 1 + rows.num_rows() / 3;
        let (mut batches, mut start) = (Vec::new(), 0);
        while start < rows.num_rows() || batches.is_empty() {
            let size = (1 + self.index(most)).min(rows.num_rows() - start);
            batches.push(rows.slice(start, size));
            start += size;
        }
        batches
    }
}
