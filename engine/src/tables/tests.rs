//! Tables against what a naive look at all rows says, and with bytes that no writer wrote.

use bitkin_storage::LazyBytes;
use proptest::prelude::*;

use super::fuzzing::{read, section, shell};
use crate::kernels::Kernels;

fn codes(bits: u32, rows: usize) -> impl Strategy<Value = Vec<u8>> {
    let stride = bits.div_ceil(8) as usize;
    let padding = 0xff_u8
        .checked_shr(8 * stride as u32 - bits)
        .unwrap_or(0xff);
    // Some bits change seldom, so that there are large buckets and empty ones.
    let bytes = prop::collection::vec(
        prop_oneof![3 => Just(0_u8), 2 => any::<u8>()],
        rows * stride,
    );
    bytes.prop_map(move |mut bytes| {
        for code in bytes.chunks_exact_mut(stride) {
            code[stride - 1] &= padding;
        }
        bytes
    })
}

fn apart(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

fn any_bits() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(64),
        Just(128),
        Just(256),
        Just(512),
        8_u32..=64,
        65_u32..300
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Each shell of each table has the rows whose substring is at its distance, each once; the threshold
    /// leaves out those that are too far and no others; what it says of them is so.
    #[test]
    fn a_shell_has_the_rows_at_its_distance(
        (bits, codes) in any_bits().prop_flat_map(|bits| (Just(bits), codes(bits, 200))),
        row in 0_usize..200,
        flips in prop::collection::vec(any::<u32>(), 0..6),
        threshold in prop_oneof![Just(u32::MAX), 0_u32..40],
    ) {
        let stride = bits.div_ceil(8) as usize;
        let mut query = codes[row * stride..][..stride].to_vec();
        for flip in flips {
            let bit = flip % bits;
            query[bit as usize / 8] ^= 1 << (bit % 8);
        }
        let words = section(bits, &codes);
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let tables = read(bits, bytes).expect("what was written can be read");
        for kernels in Kernels::available() {
            for table in 0..tables.count() {
                let mut depth = vec![0; tables.count()];
                for distance in 0..=tables.key_bits(table).min(3) {
                    let found = shell(kernels, &tables, bytes, &codes, &query, (table, distance, threshold)).unwrap();
                    let mut rows: Vec<(u32, u32)> = found.iter().map(|f| (f.row, f.distance)).collect();
                    rows.sort_unstable();
                    // A row is shown at this distance if it is not with this many shells, and is with one more.
                    let expected: Vec<(u32, u32)> = codes
                        .chunks_exact(stride)
                        .zip(0..)
                        .filter(|(code, _)| {
                            depth[table] = distance;
                            let before = tables.has_shown(&depth, &query, code);
                            depth[table] = distance + 1;
                            !before && tables.has_shown(&depth, &query, code)
                        })
                        .map(|(code, row)| (row, apart(code, &query)))
                        .filter(|(_, apart)| *apart <= threshold)
                        .collect();
                    prop_assert_eq!(&rows, &expected, "{} table {} distance {}", kernels.name(), table, distance);
                    if tables.has_rest() {
                        for found in &found {
                            prop_assert_eq!(found.difference.count_ones(), found.distance);
                            depth[table] = distance;
                            prop_assert!(!tables.has_shown_word(&depth, found.difference));
                            depth[table] = distance + 1;
                            prop_assert!(tables.has_shown_word(&depth, found.difference));
                        }
                    }
                }
            }
        }
    }

    /// Whatever the bytes are, a shell is an error or finds rows that there are; nothing panics or reads
    /// beyond the end.
    #[test]
    fn no_bytes_lead_astray(
        (bits, codes) in any_bits().prop_flat_map(|bits| (Just(bits), codes(bits, 50))),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..30),
        tail in prop::collection::vec((0_usize..200, any::<u8>()), 0..3),
    ) {
        let stride = bits.div_ceil(8) as usize;
        let mut words = section(bits, &codes);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let end = bytes.len();
        for (before, byte) in tail {
            bytes[end - 1 - before.min(end - 1)] = byte;
        }
        let Some(tables) = read(bits, bytes) else { return Ok(()) };
        for kernels in Kernels::available() {
            for table in 0..tables.count() {
                for distance in 0..=2 {
                    let found = shell(kernels, &tables, bytes, &codes, &codes[..stride], (table, distance, u32::MAX));
                    for found in found.unwrap_or_default() {
                        prop_assert!(tables.has_rest() || (found.row as usize) < codes.len() / stride);
                    }
                }
            }
        }
    }
}

/// The sizes of shells are right on average: their sum over all keys is the number of rows times the
/// number of keys in a shell.
#[test]
fn shells_have_about_the_sizes_that_are_kept() {
    let bits = 64;
    let mut state = 1_u64;
    let codes: Vec<u8> = (0..20_000)
        .flat_map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 20).to_le_bytes()
        })
        .collect();
    let words = section(bits, &codes);
    let bytes: &[u8] = bytemuck::cast_slice(&words);
    let tables = read(bits, bytes).unwrap();
    for number in 0..tables.count() {
        let table = tables.table(LazyBytes::in_memory(bytes), number).unwrap();
        let keys = 1_u32 << tables.key_bits(number);
        for distance in 0..4 {
            let sum: f64 = (0..keys)
                .map(|key| f64::from(table.sizes(key)[distance]))
                .sum();
            let expected = 20_000.0 * super::count(tables.key_bits(number), distance as u32) as f64;
            assert!(
                (0.8..1.25).contains(&(sum / expected)),
                "{distance}: {sum} for {expected}"
            );
        }
    }
}
