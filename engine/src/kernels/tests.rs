//! Every instruction set that the machine has, against the obvious loop.

use super::*;
use proptest::prelude::*;

/// One bit at a time, with nothing in common with the kernels.
fn naive_distance(a: &[u8], b: &[u8]) -> u32 {
    let mut distance = 0;
    for (x, y) in a.iter().zip(b) {
        for bit in 0..8 {
            distance += u32::from((x >> bit) & 1 != (y >> bit) & 1);
        }
    }
    distance
}

fn naive_distances(query: &[u8], rows: &[u8]) -> Vec<u32> {
    rows.chunks_exact(query.len())
        .map(|row| naive_distance(query, row))
        .collect()
}

/// Query, rows and the offset at which they are laid out, so that nothing is aligned.
fn scans() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, usize)> {
    let strides = prop_oneof![
        1usize..40,
        prop::sample::select(vec![
            1, 2, 7, 8, 9, 13, 16, 31, 32, 33, 48, 63, 64, 65, 95, 96, 127, 128, 129, 256, 1000,
            1024, 2047, 8192,
        ]),
    ];
    (strides, 0usize..70, 0usize..64).prop_flat_map(|(stride, rows, offset)| {
        let rows = rows.min(1 + 40_000 / stride);
        // Runs of 00 and ff reach the greatest sums; random bytes the ones in between.
        let byte = prop_oneof![Just(0u8), Just(0xff), any::<u8>()];
        let query = prop::collection::vec(byte.clone(), stride);
        let codes = prop::collection::vec(byte, stride * rows);
        (query, codes, Just(offset))
    })
}

/// `bytes` at an address that is `offset` beyond a multiple of 64.
fn at_offset(bytes: &[u8], offset: usize) -> (Vec<u8>, std::ops::Range<usize>) {
    let mut buffer = vec![0xa5; bytes.len() + 128];
    let start = (64 - buffer.as_ptr() as usize % 64) % 64 + offset;
    buffer[start..start + bytes.len()].copy_from_slice(bytes);
    (buffer, start..start + bytes.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 10 } else { 400 }))]

    #[test]
    fn every_instruction_set_equals_the_naive_loop((query, rows, offset) in scans()) {
        let expected = naive_distances(&query, &rows);
        let (rows, span) = at_offset(&rows, offset);
        let rows = &rows[span];
        let (query, span) = at_offset(&query, 63 - offset);
        let query = &query[span];
        let width = 8 * query.len() as u32;
        let mut thresholds = vec![0, width / 2, width, u32::MAX];
        thresholds.extend(expected.iter().take(3).flat_map(|&d| [d, d.saturating_sub(1)]));

        for kernels in Kernels::available() {
            let mut distances = vec![u32::MAX; expected.len()];
            kernels.distances(query, rows, &mut distances);
            prop_assert_eq!(&distances, &expected, "{:?}, stride {}", kernels, query.len());

            for &threshold in &thresholds {
                let within = naive_within(&expected, 1000, threshold);
                let kept = Candidate { row: 7, distance: 7 };
                let mut found = vec![kept];
                kernels.within(query, rows, 1000, threshold, &mut found);
                prop_assert_eq!(found[0], kept);
                prop_assert_eq!(
                    &found[1..], &within[..],
                    "{:?}, stride {}, threshold {}", kernels, query.len(), threshold
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 10 } else { 200 }))]

    /// Where thresholds are small, half of the bits may decide: rows that are near by one half and far by
    /// the other, near by both, and far by both, in any mixture.
    #[test]
    fn half_of_the_bits_never_hides_a_row(
        (stride, query, kinds) in prop::sample::select(vec![8_usize, 16, 32, 64, 128]).prop_flat_map(|stride| (
            Just(stride),
            prop::collection::vec(any::<u8>(), stride),
            // A run of one kind, long enough to wear out what counts how often halves were in vain.
            prop::collection::vec((0_u8..4, 1_usize..60, any::<u64>()), 1..8),
        )),
        share in 0_usize..8,
    ) {
        let mut rows = Vec::new();
        for (kind, count, seed) in kinds {
            let mut state = seed | 1;
            let mut random = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            for _ in 0..count {
                let mut row: Vec<u8> = (0..stride).map(|_| random() as u8).collect();
                match kind {
                    0 => {}
                    1 => row[..stride / 2].copy_from_slice(&query[..stride / 2]),
                    2 => row[stride / 2..].copy_from_slice(&query[stride / 2..]),
                    _ => {
                        row.copy_from_slice(&query);
                        for _ in 0..random() % (stride as u64) {
                            let bit = random() as usize % (8 * stride);
                            row[bit / 8] ^= 1 << (bit % 8);
                        }
                    }
                }
                rows.extend_from_slice(&row);
            }
        }
        let distances = naive_distances(&query, &rows);
        let threshold = (share * stride / 4) as u32;
        for kernels in Kernels::available() {
            let mut found = Vec::new();
            kernels.within(&query, &rows, 0, threshold, &mut found);
            prop_assert_eq!(&found, &naive_within(&distances, 0, threshold), "{:?}", kernels);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 60 }))]

    /// Many rows are read in several streams, with some left over behind the last of them.
    #[test]
    fn streams_miss_no_row_and_find_none_twice(
        stride in prop::sample::select(vec![8_usize, 16, 32, 64, 128, 12, 40]),
        more in 0_usize..3000,
        left_over in 0_usize..20,
        seed in any::<u64>(),
        near in prop::collection::vec((any::<prop::sample::Index>(), 0_u32..12), 0..40),
        offset in 0_usize..64,
    ) {
        let mut state = seed | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        let count = (scan::STREAMED + more * 8) / stride + left_over;
        let mut rows: Vec<u8> = (0..count * stride).map(|_| random()).collect();
        let query: Vec<u8> = (0..stride).map(|_| random()).collect();
        for (place, bits) in near {
            let row = place.index(count);
            let row = &mut rows[row * stride..(row + 1) * stride];
            row.copy_from_slice(&query);
            for bit in 0..bits {
                row[(bit as usize * 5) % stride] ^= 1 << (bit % 8);
            }
        }
        let expected = naive_distances(&query, &rows);
        let (rows, span) = at_offset(&rows, offset);
        let rows = &rows[span];
        let width = 8 * stride as u32;
        let mask: Vec<u8> = (0..stride).map(|_| random()).collect();
        for kernels in Kernels::available() {
            for threshold in [0, 3, width / 5, width / 2, width] {
                let mut found = Vec::new();
                kernels.within(&query, rows, 1000, threshold, &mut found);
                found.sort_unstable_by_key(|candidate| candidate.row);
                prop_assert!(found == naive_within(&expected, 1000, threshold), "{:?}, stride {}", kernels, stride);
                let mut found = Vec::new();
                kernels.within_masked(&query, &mask, rows, 0, threshold, &mut found);
                found.sort_unstable_by_key(|candidate| candidate.row);
                let mut distances = vec![0; count];
                kernels.distances_masked(&query, &mask, rows, &mut distances);
                prop_assert!(found == naive_within(&distances, 0, threshold), "{:?}, stride {}", kernels, stride);
            }
        }
    }
}

/// Queries, rows, thresholds and offset.
type Batch = (Vec<Vec<u8>>, Vec<u8>, Vec<Option<u32>>, usize);

/// What a batch may be asked for; `None` of some queries, and all that is odd.
fn batches() -> impl Strategy<Value = Batch> {
    let strides = prop_oneof![
        1usize..40,
        prop::sample::select(vec![62, 63, 64, 65, 93, 94, 128, 129, 255, 256, 257]),
    ];
    let cases = (strides, 0usize..40, 0usize..300, 0usize..64);
    cases.prop_flat_map(|(stride, queries, rows, offset)| {
        let rows = if cfg!(miri) { rows / 8 } else { rows };
        let bits = 8 * stride as u32;
        let byte = prop_oneof![Just(0u8), Just(0xff), any::<u8>()];
        // A third of the bytes of 00 and ff each: distances spread, up to all of the bits.
        let threshold = prop_oneof![
            1 => Just(None),
            4 => (bits / 3..=bits / 2 + 4).prop_map(Some),
            1 => prop::sample::select(vec![0, 254, 255, 256, bits, u32::MAX]).prop_map(Some),
        ];
        (
            prop::collection::vec(prop::collection::vec(byte.clone(), stride), queries),
            prop::collection::vec(byte, stride * rows),
            prop::collection::vec(threshold, queries),
            Just(offset),
        )
    })
}

/// The rows at a distance of at most `threshold`, by distances of all.
fn naive_within(distances: &[u32], first_row: u32, threshold: u32) -> Vec<Candidate> {
    (first_row..)
        .zip(distances)
        .filter(|(_, distance)| **distance <= threshold)
        .map(|(row, &distance)| Candidate { row, distance })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 10 } else { 300 }))]

    #[test]
    fn a_batch_equals_its_queries_one_by_one((queries, rows, thresholds, offset) in batches()) {
        let (rows, span) = at_offset(&rows, offset);
        let rows = &rows[span];
        let codes: Vec<&[u8]> = queries.iter().map(Vec::as_slice).collect();
        let kept = Candidate { row: 7, distance: 7 };
        for kernels in Kernels::available() {
            let mut batch = QueryBatch::new(&codes);
            // Twice: nothing of the first scan may be left for the second.
            for first_row in [1000, 5] {
                let mut found = vec![vec![kept]; codes.len()];
                kernels.within_batch(&mut batch, rows, first_row, &thresholds, &mut found);
                for ((query, threshold), found) in codes.iter().zip(&thresholds).zip(&found) {
                    let mut expected = vec![kept];
                    if let Some(threshold) = *threshold {
                        let distances = naive_distances(query, rows);
                        expected.extend(naive_within(&distances, first_row, threshold));
                    }
                    prop_assert_eq!(
                        found, &expected,
                        "{:?}, stride {}, threshold {:?}", kernels, query.len(), threshold
                    );
                }
            }
        }
    }

    #[test]
    fn only_bits_of_the_mask_count((query, rows, offset) in scans(), seed in any::<u64>()) {
        let mut state = seed | 1;
        let mask: Vec<u8> = query
            .iter()
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                [0, 0xff, (state >> 8) as u8][state as usize % 3]
            })
            .collect();
        let and = |code: &[u8]| -> Vec<u8> { code.iter().zip(&mask).map(|(a, b)| a & b).collect() };
        let expected: Vec<u32> = rows
            .chunks_exact(query.len())
            .map(|row| naive_distance(&and(&query), &and(row)))
            .collect();
        let (rows, span) = at_offset(&rows, offset);
        let rows = &rows[span];
        let (shifted, span) = at_offset(&mask, 63 - offset);
        let mask = &shifted[span];
        for kernels in Kernels::available() {
            let mut distances = vec![u32::MAX; expected.len()];
            kernels.distances_masked(&query, mask, rows, &mut distances);
            prop_assert_eq!(&distances, &expected, "{:?}, stride {}", kernels, query.len());
            for threshold in expected.iter().take(3).copied().chain([0, u32::MAX]) {
                let mut found = Vec::new();
                kernels.within_masked(&query, mask, rows, 9, threshold, &mut found);
                prop_assert_eq!(found, naive_within(&expected, 9, threshold));
            }
        }
    }
}

#[test]
fn sums_of_long_codes_do_not_overflow() {
    for kernels in Kernels::available() {
        for stride in [31, 32, 33, 62, 64, 128, 256] {
            let (query, rows) = (vec![0xff; stride], vec![0; stride * 200]);
            let bits = 8 * stride as u32;
            let mut batch = QueryBatch::new(&[&query[..]; 9]);
            for (threshold, expected) in [
                (254, bits <= 254),
                (255, bits <= 255),
                (bits - 1, false),
                (bits, true),
            ] {
                let mut found = vec![Vec::new(); 9];
                kernels.within_batch(&mut batch, &rows, 0, &[Some(threshold); 9], &mut found);
                for found in found {
                    assert_eq!(
                        found.len(),
                        if expected { 200 } else { 0 },
                        "{kernels:?} {stride} {threshold}"
                    );
                    assert!(found.iter().all(|candidate| candidate.distance == bits));
                }
            }
        }
    }
}

#[test]
fn a_batch_of_nothing_finds_nothing() {
    for kernels in Kernels::available() {
        let mut none = QueryBatch::new(&[]);
        assert!(none.is_empty());
        kernels.within_batch(&mut none, &[1, 2, 3], 0, &[], &mut []);
        let mut ten = QueryBatch::new(&[&[1u8, 2, 3][..]; 10]);
        assert_eq!(ten.len(), 10);
        for rows in [&[][..], &[1, 2][..]] {
            let mut found = vec![Vec::new(); 10];
            kernels.within_batch(&mut ten, rows, 0, &[Some(u32::MAX); 10], &mut found);
            assert!(found.iter().all(Vec::is_empty));
        }
    }
}

#[test]
#[should_panic(expected = "one length")]
fn queries_of_a_batch_have_one_length() {
    let _ = QueryBatch::new(&[&[1, 2][..], &[1][..]]);
}

#[test]
#[should_panic(expected = "thresholds")]
fn a_batch_has_a_threshold_for_each_query() {
    let mut batch = QueryBatch::new(&[&[1, 2][..]]);
    Kernels::get()
        .unwrap()
        .within_batch(&mut batch, &[], 0, &[], &mut [Vec::new()]);
}

#[test]
#[should_panic(expected = "a mask of 1 bytes")]
fn a_mask_is_as_long_as_its_query() {
    let kernels = Kernels::get().unwrap();
    kernels.distances_masked(&[1, 2], &[1], &[], &mut []);
}

#[test]
fn the_widest_code_does_not_overflow() {
    for kernels in Kernels::available() {
        let mut distances = [0; 2];
        kernels.distances(&[0xff; 8192], &[0; 16384], &mut distances);
        assert_eq!(distances, [65_536; 2], "{kernels:?}");
    }
}

#[test]
fn no_rows_no_candidates() {
    for kernels in Kernels::available() {
        for stride in [1, 8, 13, 64, 128] {
            let mut found = Vec::new();
            kernels.within(&vec![0; stride], &[], 0, u32::MAX, &mut found);
            kernels.within(
                &vec![0; stride],
                &vec![0; stride - 1],
                0,
                u32::MAX,
                &mut found,
            );
            kernels.distances(&vec![0; stride], &[], &mut []);
            assert!(found.is_empty());
        }
    }
}

#[test]
fn a_forced_set_is_used_or_refused() {
    let choose = |name: &str| Kernels::choose(Some(OsStr::new(name)));
    assert_eq!(choose("portable").unwrap().name(), "portable");
    assert_eq!(
        Kernels::choose(None).unwrap().name(),
        Kernels::available().last().unwrap().name()
    );
    assert_eq!(
        choose("").unwrap().name(),
        Kernels::choose(None).unwrap().name()
    );
    for name in ["avx2", "avx512", "neon"] {
        match choose(name) {
            Ok(kernels) => assert_eq!(kernels.name(), name),
            Err(error) => {
                assert!(matches!(&error, KernelError::Unavailable { .. }));
                assert!(error.to_string().contains("portable"), "{error}");
            }
        }
    }
    for name in ["sse9", "AVX2", "avx2 "] {
        assert!(
            matches!(choose(name), Err(KernelError::Unknown { .. })),
            "{name}"
        );
    }
}

/// Memory with an unreadable page on either side, so that a read too far is a crash.
#[cfg(all(target_os = "linux", not(miri)))]
struct Guarded {
    start: *mut u8,
    length: usize,
    page: usize,
}

#[cfg(all(target_os = "linux", not(miri)))]
impl Guarded {
    /// At least `length` bytes, and whole pages.
    fn new(length: usize) -> Guarded {
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let length = length.next_multiple_of(page);
        // SAFETY: a fresh private mapping, which only this struct knows.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length + 2 * page,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED);
        let start = start.cast::<u8>();
        // SAFETY: these pages lie inside the mapping.
        let opened = unsafe {
            let inner = start.add(page).cast();
            libc::mprotect(inner, length, libc::PROT_READ | libc::PROT_WRITE)
        };
        assert_eq!(opened, 0);
        Guarded {
            start,
            length,
            page,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `new` made these pages readable and writable, and zero; they live as long as
        // `self`, which is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(self.page), self.length) }
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, of the same length.
        unsafe { libc::munmap(self.start.cast(), self.length + 2 * self.page) };
    }
}

/// A load that took in bytes past the last row and masked them off gave right distances, and would
/// have crashed at the end of a mapped segment.
#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn nothing_beyond_query_and_rows_is_read() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    const BATCH: usize = 8;
    let (mut query, mut codes) = (Guarded::new(2048), Guarded::new(2048 * 128));
    for stride in (1..=200).chain([255, 256, 257, 1000, 1024, 2047]) {
        for rows in [1, 7, 8, 9, 33, 41, 128] {
            for at_end in [false, true] {
                let (query, codes) = (query.bytes(), codes.bytes());
                let (query, codes) = if at_end {
                    let (first, second) = (query.len() - stride, codes.len() - stride * rows);
                    (&mut query[first..], &mut codes[second..])
                } else {
                    (&mut query[..stride], &mut codes[..stride * rows])
                };
                query.fill_with(&mut random);
                codes.fill_with(&mut random);
                let expected = naive_distances(query, codes);
                for kernels in Kernels::available() {
                    let mut distances = vec![0; rows];
                    kernels.distances(query, codes, &mut distances);
                    assert_eq!(distances, expected, "{kernels:?}, {stride} bytes");
                    let mut found = vec![Vec::new(); 1 + BATCH];
                    kernels.within(query, codes, 0, u32::MAX, &mut found[0]);
                    let mut batch = QueryBatch::new(&[&*query; BATCH]);
                    let thresholds = [Some(u32::MAX); BATCH];
                    kernels.within_batch(&mut batch, codes, 0, &thresholds, &mut found[1..]);
                    for found in found {
                        assert!(
                            found
                                .iter()
                                .map(|c| c.distance)
                                .eq(expected.iter().copied())
                        );
                    }
                    // The query as its own mask: that page ends where the query ends.
                    kernels.distances_masked(query, query, codes, &mut distances);
                    let mut found = Vec::new();
                    kernels.within_masked(query, query, codes, 0, u32::MAX, &mut found);
                    assert!(found.iter().map(|c| c.distance).eq(distances));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A join finds what is within the threshold of each target, and nothing of what lies behind it.
    #[test]
    fn a_join_finds_what_is_within(
        (query, codes, _) in scans(),
        ends in prop::collection::vec((0_usize..70, 0_usize..70, 0_u32..80), 0..6),
        queries in (0_usize..70, 0_usize..70),
    ) {
        let stride = query.len();
        let mut rows = join::Rows::new(stride);
        // What was there before is gone, in the bytes that fill up a code too.
        rows.push(&vec![0xff; stride]);
        rows.clear();
        rows.push(&query);
        codes.chunks_exact(stride).for_each(|code| rows.push(code));
        let count = rows.len();
        prop_assert_eq!(count, 1 + codes.len() / stride);
        prop_assert_eq!(&rows.get(0)[..stride], &query[..]);
        prop_assert_eq!(rows.get(count as u32).len(), 0);
        let targets: Vec<Target> = ends
            .into_iter()
            .map(|(start, end, threshold)| Target {
                start: start.min(count) as u32,
                end: end.min(count) as u32,
                threshold,
            })
            .collect();
        let (first, last) = (queries.0.min(count) as u32, queries.1.min(count) as u32);
        let mut expected = Vec::new();
        for query in first..last {
            for (of, target) in (0..).zip(&targets) {
                for row in target.start..target.end {
                    let distance = naive_distance(rows.get(query), rows.get(row));
                    if distance <= target.threshold {
                        expected.push((query, row, distance, of));
                    }
                }
            }
        }
        expected.sort_unstable();
        for kernels in Kernels::available() {
            let mut found = Vec::new();
            kernels.join(&rows, (first, last), &rows, &targets, &mut found);
            let found = found.iter().map(|near| (near.query, near.row, near.distance, near.target));
            let mut found: Vec<_> = found.collect();
            found.sort_unstable();
            prop_assert_eq!(&found, &expected, "{}", kernels.name());
        }
    }
}

#[test]
#[should_panic(expected = "rows to be joined are there")]
fn a_join_of_rows_that_are_not_there_is_refused() {
    let rows = join::Rows::new(8);
    let target = Target {
        start: 0,
        end: 1,
        threshold: 0,
    };
    let kernels = Kernels::available().next().expect("there is one");
    kernels.join(&rows, (0, 0), &rows, &[target], &mut Vec::new());
}
