//! Planes against what a naive look at all rows says, and with bytes that no writer wrote.

use bitkin_storage::LazyBytes;
use proptest::prelude::*;

use super::fuzzing::{section, within};
use super::read::Planes;
use super::{BLOCK_ROWS, FOOTER_BYTES, Footer};
use crate::kernels::Kernels;

fn any_bits() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(8_u32),
        Just(64),
        Just(256),
        Just(1000),
        8_u32..80,
        500_u32..700
    ]
}

fn any_rows() -> impl Strategy<Value = usize> {
    let most = if cfg!(miri) { 700 } else { 3000 };
    prop_oneof![
        Just(1_usize),
        Just(512),
        Just(513),
        Just(1024),
        1_usize..most
    ]
}

/// Codes whose bits are chance, of some more often than of others.
fn codes(bits: u32, rows: usize, seed: u64) -> Vec<u8> {
    let stride = bits.div_ceil(8) as usize;
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let few = next() % 2 == 0;
    let mut codes: Vec<u8> = (0..rows * stride)
        .map(|_| if few { next() & next() } else { next() } as u8)
        .collect();
    for code in codes.chunks_exact_mut(stride) {
        code[stride - 1] &= 0xff >> (8 * stride as u32 - bits);
    }
    codes
}

fn is_set(code: &[u8], bit: u32) -> bool {
    code[bit as usize / 8] >> (bit % 8) & 1 == 1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Under any mask and threshold, every instruction set finds in the planes what a look at the rows finds,
    /// with the distances, in the order of the rows.
    #[test]
    fn planes_have_the_rows(
        bits in any_bits(),
        rows in any_rows(),
        seed in any::<u64>(),
        block in 1_u32..5,
        share in prop_oneof![Just(1.0), Just(0.0), 0.0..1.0],
    ) {
        let stride = bits.div_ceil(8) as usize;
        let codes = codes(bits, rows, seed);
        let bytes = section(bits, &codes, 512 * block);
        let planes = Planes::read(LazyBytes::in_memory(&bytes), rows, bits).expect("what was written can be read");
        let query = &codes[(seed as usize % rows) * stride..][..stride];
        let hash = |bit: &u32| seed.wrapping_mul(2 * u64::from(*bit) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let mut mask: Vec<u32> = (0..bits).filter(|bit| hash(bit) as f64 / (1 << 24) as f64 <= share).collect();
        if mask.is_empty() {
            mask.push(seed as u32 % bits);
        }
        let apart = |code: &[u8]| {
            let differ = |bit: &&u32| is_set(code, **bit) != is_set(query, **bit);
            mask.iter().filter(differ).count() as u32
        };
        let all: Vec<(u32, u32)> = (0..).zip(codes.chunks_exact(stride).map(apart)).collect();
        let width = mask.len() as u32;
        for threshold in [0, 1, width / 10, width / 4, width / 2, width, u32::MAX] {
            let expected: Vec<(u32, u32)> = all.iter().copied().filter(|(_, distance)| *distance <= threshold).collect();
            for kernels in Kernels::available() {
                let found = within(kernels, &planes, rows, &mask, query, threshold);
                prop_assert!(found == expected, "{} of {} bits, threshold {}", kernels.name(), width, threshold);
            }
        }
    }

    /// Whatever the bytes are, a section is refused, or its rows are those of the segment.
    #[test]
    fn no_bytes_lead_astray(bytes in prop::collection::vec(any::<u8>(), 3..40)) {
        super::fuzzing::planes(&bytes);
    }
}

/// Sections that are not as long as their footer says, or of other rows or bits, are not read.
#[test]
fn a_section_must_fit() {
    let codes = codes(20, 700, 1);
    let good = section(20, &codes, 512);
    let read =
        |bytes: &[u8], rows, bits| Planes::read(LazyBytes::in_memory(bytes), rows, bits).is_some();
    assert!(read(&good, 700, 20));
    assert!(!read(&good, 701, 20) && !read(&good, 700, 21));
    assert!(!read(&good[1..], 700, 20) && !read(&good[64..], 700, 20) && !read(&[], 700, 20));
    let at = good.len() - FOOTER_BYTES as usize;
    for (offset, value) in [(0, 0), (4, 7), (4, 70_000), (8, 0), (8, 100), (8, u32::MAX)] {
        let mut bad = good.clone();
        bad[at + offset..][..4].copy_from_slice(&u32::to_le_bytes(value));
        assert!(!read(&bad, 700, 20), "{value} at {offset}");
    }
}

/// The bytes of `docs/format.md`: with blocks of 512 rows, bit 0 of rows 0 to 511, then bit 1 of them, and so on;
/// behind them the rows of the next block, then the footer.
#[test]
fn planes_lie_as_they_are_described() {
    let rows = 600;
    let mut codes = vec![0_u8; 2 * rows];
    for (row, bit) in [(0, 0), (9, 1), (511, 8), (512, 0), (599, 8)] {
        codes[2 * row + bit / 8] |= 1 << (bit % 8);
    }
    let section = section(9, &codes, 512);
    let mut expected = vec![0_u8; 2 * 9 * 64 + 64];
    for (row, bit) in [(0, 0), (9, 1), (511, 8), (512, 0), (599, 8)] {
        let at = row / 512 * 9 * 64 + bit * 64 + row % 512 / 8;
        expected[at] |= 1 << (row % 8);
    }
    expected[2 * 9 * 64..][..4].copy_from_slice(&600_u32.to_le_bytes());
    expected[2 * 9 * 64 + 4..][..4].copy_from_slice(&9_u32.to_le_bytes());
    expected[2 * 9 * 64 + 8..][..4].copy_from_slice(&512_u32.to_le_bytes());
    assert_eq!(section, expected);
}

/// The largest section that there can be is reckoned with rightly.
#[test]
fn no_length_overflows() {
    let footer = Footer {
        rows: u32::MAX,
        bits: 65_536,
        block_rows: BLOCK_ROWS,
    };
    let bytes = (1_u64 << 32) / 8 * 65_536 + FOOTER_BYTES;
    assert_eq!(footer.section_bytes(), bytes);
    let last = footer.rows_of(u32::MAX / BLOCK_ROWS);
    assert_eq!(last.end, u32::MAX);
    assert_eq!(footer.piece(&last, 65_535).end, bytes - FOOTER_BYTES);
}
