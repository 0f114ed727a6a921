//! The filter of ids of a segment: tells most ids that the segment does not hold, at the cost of one
//! cache line, where a binary search costs twenty.
//!
//! A split block Bloom filter (Putze, Sanders and Singler, "Cache-, hash- and space-efficient Bloom
//! filters", 2007; the variant that Parquet specifies): an id chooses a block of 256 bits, and sets
//! one bit in each of its eight words.

use crate::bytes::checksum;

/// Bytes of a block.
const BLOCK: usize = 32;
/// Bits for each id, which let about one foreign id in a hundred pass.
const BITS_AN_ID: u64 = 10;
/// Ids from which on there is no filter: it is made in memory.
const MOST_ROWS: u64 = 1 << 28;
/// Where ids are this dense in their range, the binary search is near its goal at once, and foreign
/// ids are mostly outside of the range.
const SPARSE: u64 = 4;

/// Ids whose blocks are fetched together.
const AT_ONCE: usize = 32;

/// One odd number for each word of a block.
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// Whether a segment of so many rows with ids from `smallest` to `largest` gets a filter.
pub(super) fn is_useful(rows: u64, smallest: u64, largest: u64) -> bool {
    rows <= MOST_ROWS && (largest - smallest) / SPARSE >= rows
}

/// A filter that is being made.
pub(super) struct Filter {
    bytes: Vec<u8>,
}

impl Filter {
    /// A filter for so many ids.
    pub(super) fn new(rows: u64) -> Filter {
        let blocks = (rows * BITS_AN_ID).div_ceil(8 * BLOCK as u64).max(1);
        Filter {
            bytes: vec![0; blocks as usize * BLOCK],
        }
    }

    pub(super) fn insert(&mut self, ids: &[u64]) {
        for ids in ids.chunks(AT_ONCE) {
            let mut places = [(0, 0); AT_ONCE];
            let mut touched = 0;
            for (to, &id) in places.iter_mut().zip(ids) {
                *to = place(id, self.bytes.len());
                touched ^= self.bytes[to.0];
            }
            // All blocks are called for before the first is waited for.
            std::hint::black_box(touched);
            for &(block, key) in &places[..ids.len()] {
                self.set(block, key);
            }
        }
    }

    fn set(&mut self, block: usize, key: u32) {
        let block = &mut self.bytes[block..block + BLOCK];
        for (word, salt) in block.chunks_exact_mut(4).zip(SALTS) {
            let bit = bit(key, salt);
            word[(bit / 8) as usize] |= 1 << (bit % 8);
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Whether the filter lets the id pass; a filter of a length that none has lets all pass.
pub(super) fn may_hold(filter: &[u8], id: u64) -> bool {
    if filter.is_empty() || !filter.len().is_multiple_of(BLOCK) {
        return true;
    }
    let (block, key) = place(id, filter.len());
    let block = &filter[block..block + BLOCK];
    block.chunks_exact(4).zip(SALTS).all(|(word, salt)| {
        let bit = bit(key, salt);
        word[(bit / 8) as usize] & (1 << (bit % 8)) != 0
    })
}

/// Where the block of an id starts, and what chooses the bits in it.
fn place(id: u64, bytes: usize) -> (usize, u32) {
    let hash = checksum(&id.to_le_bytes(), 0);
    let blocks = (bytes / BLOCK) as u64;
    let block = ((hash >> 32) * blocks) >> 32;
    (block as usize * BLOCK, hash as u32)
}

/// A bit of a word, 0 to 31.
fn bit(key: u32, salt: u32) -> u32 {
    key.wrapping_mul(salt) >> 27
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_passes_and_few_others_do() {
        for rows in [1, 10, 1000, 100_000_u64] {
            let mut filter = Filter::new(rows);
            let id = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            filter.insert(&(0..rows).map(id).collect::<Vec<_>>());
            let bytes = filter.into_bytes();
            assert!((0..rows).all(|n| may_hold(&bytes, id(n))));
            let foreign = (rows..rows + 100_000).filter(|&n| may_hold(&bytes, id(n)));
            let foreign = foreign.count();
            assert!(foreign < 3_000, "{foreign} of 100000 at {rows} rows");
        }
    }

    #[test]
    fn lengths_that_no_filter_has_let_all_pass() {
        for length in [0, 1, 31, 33] {
            assert!(may_hold(&vec![0; length], 7));
        }
        assert!(!may_hold(&[0; 32], 7));
    }
}
