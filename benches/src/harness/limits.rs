//! What the machine can do at all: how fast the bytes that a scan must touch can be read, and how
//! fast bits can be counted. A scan's figure is said as a part of these, taken in the same rounds.

use std::hint::black_box;
use std::time::Instant;

use super::codes::Codes;

/// Bytes of codes that stay in the first-level cache.
const CACHED: usize = 16 << 10;

/// Passes a second over all rows, by one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Reading every byte, and nothing else: the best of 1 to 8 streams, with and without
    /// prefetching.
    pub(crate) read: f64,
    /// Counting the bits of as many codes as there are rows, out of the cache.
    pub(crate) popcount: f64,
}

impl Limits {
    pub(crate) fn measure(rows: &Codes) -> Limits {
        let words = whole_words(rows.bytes());
        let mut best = f64::INFINITY;
        for streams in [1, 2, 4, 8] {
            for prefetch in [false, true] {
                // Small rows are read again and again: a clock would not see one pass.
                let passes = (4_000_000 / rows.bytes().len().max(1)).max(1);
                let begin = Instant::now();
                for _ in 0..passes {
                    black_box(read(black_box(words), streams, prefetch));
                }
                best = best.min(begin.elapsed().as_secs_f64() / passes as f64);
            }
        }
        Limits {
            read: 1.0 / best,
            popcount: 1.0 / count(rows),
        }
    }
}

/// Reads all bytes, in the best of the ways that [`Limits`] tries. Returns something that depends on them.
pub(crate) fn read_all(bytes: &[u8]) -> u64 {
    read(whole_words(bytes), 4, true)
}

fn whole_words(bytes: &[u8]) -> &[[u8; 64]] {
    bytes.as_chunks::<64>().0
}

/// Reads all lines, by `streams` readers that begin at as many places.
fn read(lines: &[[u8; 64]], streams: usize, prefetch: bool) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn with_avx2(lines: &[[u8; 64]], streams: usize, prefetch: bool) -> u64 {
            read_lines(lines, streams, prefetch)
        }
        // SAFETY: the processor has the instructions, as was just asked.
        return unsafe { with_avx2(lines, streams, prefetch) };
    }
    read_lines(lines, streams, prefetch)
}

#[inline(always)]
fn read_lines(lines: &[[u8; 64]], streams: usize, prefetch: bool) -> u64 {
    match (streams, prefetch) {
        (1, false) => read_streams::<1, false>(lines),
        (1, true) => read_streams::<1, true>(lines),
        (2, false) => read_streams::<2, false>(lines),
        (2, true) => read_streams::<2, true>(lines),
        (4, false) => read_streams::<4, false>(lines),
        (4, true) => read_streams::<4, true>(lines),
        (_, false) => read_streams::<8, false>(lines),
        (_, true) => read_streams::<8, true>(lines),
    }
}

#[inline(always)]
fn read_streams<const N: usize, const PREFETCH: bool>(lines: &[[u8; 64]]) -> u64 {
    /// Lines ahead that are asked for.
    const AHEAD: usize = 16;
    let share = lines.len() / N;
    let mut sums = [[0_u64; 8]; N];
    let parts: [&[[u8; 64]]; N] = std::array::from_fn(|n| &lines[n * share..(n + 1) * share]);
    for at in 0..share {
        for (sum, part) in sums.iter_mut().zip(&parts) {
            if PREFETCH && let Some(ahead) = part.get(at + AHEAD) {
                prefetch_line(ahead);
            }
            for (sum, word) in sum.iter_mut().zip(part[at].as_chunks::<8>().0) {
                *sum |= u64::from_le_bytes(*word);
            }
        }
    }
    let rest = lines[N * share..].iter().flatten();
    sums.iter().flatten().fold(0, |a, b| a | b) | rest.fold(0, |a, b| a | u64::from(*b))
}

#[inline(always)]
fn prefetch_line(line: &[u8; 64]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching reads nothing that the program could see; every address is allowed.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Seconds for counting the bits in which as many codes as there are rows differ from one, where
/// all is in the cache and nothing is done with the counts.
fn count(rows: &Codes) -> f64 {
    let cached = (CACHED / rows.row_bytes()).clamp(1, rows.rows());
    let few = &rows.bytes()[..cached * rows.row_bytes()];
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let passes = 500;
        let begin = Instant::now();
        for _ in 0..passes {
            black_box(differing(black_box(few)));
        }
        best = best.min(begin.elapsed().as_secs_f64() / passes as f64);
    }
    best * rows.rows() as f64 / cached as f64
}

/// The number of bits in which words differ from a pattern, by the best instructions that there are.
fn differing(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512vpopcntdq")]
        fn with_avx512(bytes: &[u8]) -> u64 {
            differing_words(bytes)
        }
        #[target_feature(enable = "avx2,popcnt")]
        fn with_avx2(bytes: &[u8]) -> u64 {
            differing_words(bytes)
        }
        if std::is_x86_feature_detected!("avx512vpopcntdq") {
            // SAFETY: the processor has the instructions, as was just asked.
            return unsafe { with_avx512(bytes) };
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("popcnt") {
            // SAFETY: as above.
            return unsafe { with_avx2(bytes) };
        }
    }
    differing_words(bytes)
}

#[inline(always)]
fn differing_words(bytes: &[u8]) -> u64 {
    let mut counts = [0; 8];
    for line in bytes.as_chunks::<64>().0 {
        for (count, word) in counts.iter_mut().zip(line.as_chunks::<8>().0) {
            let word = u64::from_le_bytes(*word) ^ 0x5a5a_a5a5_0ff0_f00f;
            *count += u64::from(word.count_ones());
        }
    }
    counts.iter().sum()
}
