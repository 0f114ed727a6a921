//! Kernels for AVX-512 with VPOPCNTDQ: the machine counts the bits of 64-bit lanes itself. A
//! vector holds the distances of eight rows.

use std::arch::x86_64::*;

use crate::kernels::join::{self, Near, Rows, Target};
use crate::kernels::probe::{self, Ahead, ProbeError, Shell, Take};
use crate::kernels::scan::{self, Isa};
use crate::kernels::{Candidate, Kernels};

static KERNELS: Kernels = Kernels {
    name: "avx512",
    within,
    distances,
    shell,
    join,
};

/// The kernels, if this machine can run them.
pub(in crate::kernels) fn kernels() -> Option<&'static Kernels> {
    let available = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vpopcntdq")
        && is_x86_feature_detected!("popcnt");
    available.then_some(&KERNELS)
}

struct Avx512;

/// # Safety
/// The machine must have the features that [`kernels`] checks; `query` must not be empty.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,popcnt")]
unsafe fn within(
    query: &[u8],
    rows: &[u8],
    first: u32,
    threshold: u32,
    found: &mut Vec<Candidate>,
) {
    // SAFETY: the caller's.
    unsafe { scan::within::<Avx512>(query, rows, first, threshold, found) }
}

/// # Safety
/// The machine must have the features that [`kernels`] checks; `query` must not be empty, and
/// `rows` must hold a row for each number of `out`.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,popcnt")]
unsafe fn distances(query: &[u8], rows: &[u8], out: &mut [u32]) {
    // SAFETY: the caller's.
    unsafe { scan::distances::<Avx512>(query, rows, out) }
}

/// # Safety
/// The machine must have the features that [`kernels`] checks.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,popcnt")]
unsafe fn shell(
    shells: &[Shell<'_>],
    ahead: &mut Ahead,
    threshold: u32,
    take: Take<'_>,
) -> Result<u64, ProbeError> {
    // SAFETY: the caller's.
    unsafe { probe::shell::<Avx512>(shells, ahead, threshold, take) }
}

/// # Safety
/// The machine must have the features that [`kernels`] checks; as [`join::join`].
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,popcnt")]
unsafe fn join(from: (&Rows, (u32, u32)), rows: &Rows, targets: &[Target], found: &mut Vec<Near>) {
    // SAFETY: the caller's.
    unsafe { join::join::<Avx512>(from, rows, targets, found) }
}

const WIDTH: usize = 64;

/// # Safety
/// The machine must have AVX-512, and 64 bytes must be readable.
#[inline(always)]
unsafe fn load(from: *const u8) -> __m512i {
    // SAFETY: the caller's; the load needs no alignment.
    unsafe { _mm512_loadu_si512(from.cast()) }
}

/// Set bits of the difference, in each 64-bit lane.
///
/// # Safety
/// The machine must have AVX-512 with VPOPCNTDQ.
#[inline(always)]
unsafe fn count(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller's.
    unsafe { _mm512_popcnt_epi64(_mm512_xor_si512(a, b)) }
}

/// Sums of neighbouring lanes: lanes 0+1, 2+3, 4+5, 6+7 of `a`, then those of `b`.
///
/// Partial sums of rows that stand in row order stay in row order, so that applying this over
/// and over leaves one lane for each row.
///
/// # Safety
/// The machine must have AVX-512.
#[inline(always)]
unsafe fn add_neighbours(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller's. An index of 8 or more picks from `b`.
    unsafe {
        let even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
        let odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
        _mm512_add_epi64(
            _mm512_permutex2var_epi64(a, even, b),
            _mm512_permutex2var_epi64(a, odd, b),
        )
    }
}

impl Avx512 {
    /// Set bits of a row's difference from the query, as eight partial sums.
    ///
    /// # Safety
    /// As [`Isa::compare`], of one row; `STRIDE` is 64 or 128.
    #[inline(always)]
    unsafe fn partial<const STRIDE: usize>(query: [__m512i; 2], row: *const u8) -> __m512i {
        // SAFETY: reads STRIDE bytes.
        unsafe {
            let first = count(query[0], load(row));
            match STRIDE {
                64 => first,
                _ => _mm512_add_epi64(first, count(query[1], load(row.add(WIDTH)))),
            }
        }
    }
}

impl Isa for Avx512 {
    /// Eight 64-bit lanes.
    type Distances = __m512i;
    type Query = [__m512i; 2];
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn query<const STRIDE: usize>(query: *const u8) -> [__m512i; 2] {
        // SAFETY: each arm reads no more than its stride.
        unsafe {
            match STRIDE {
                8 => [_mm512_set1_epi64(query.cast::<i64>().read_unaligned()); 2],
                16 => [_mm512_broadcast_i32x4(_mm_loadu_si128(query.cast())); 2],
                32 => [_mm512_broadcast_i64x4(_mm256_loadu_si256(query.cast())); 2],
                64 => [load(query); 2],
                _ => [load(query), load(query.add(WIDTH))],
            }
        }
    }

    #[inline(always)]
    unsafe fn compare<const STRIDE: usize>(query: [__m512i; 2], rows: *const u8) -> __m512i {
        // SAFETY: reads `8 * STRIDE` bytes in every arm.
        unsafe {
            match STRIDE {
                8 => count(query[0], load(rows)),
                16 => add_neighbours(
                    count(query[0], load(rows)),
                    count(query[0], load(rows.add(WIDTH))),
                ),
                32 => add_neighbours(
                    add_neighbours(
                        count(query[0], load(rows)),
                        count(query[0], load(rows.add(WIDTH))),
                    ),
                    add_neighbours(
                        count(query[0], load(rows.add(2 * WIDTH))),
                        count(query[0], load(rows.add(3 * WIDTH))),
                    ),
                ),
                _ => {
                    let rows01 = add_neighbours(
                        Self::partial::<STRIDE>(query, rows),
                        Self::partial::<STRIDE>(query, rows.add(STRIDE)),
                    );
                    let rows23 = add_neighbours(
                        Self::partial::<STRIDE>(query, rows.add(2 * STRIDE)),
                        Self::partial::<STRIDE>(query, rows.add(3 * STRIDE)),
                    );
                    let rows45 = add_neighbours(
                        Self::partial::<STRIDE>(query, rows.add(4 * STRIDE)),
                        Self::partial::<STRIDE>(query, rows.add(5 * STRIDE)),
                    );
                    let rows67 = add_neighbours(
                        Self::partial::<STRIDE>(query, rows.add(6 * STRIDE)),
                        Self::partial::<STRIDE>(query, rows.add(7 * STRIDE)),
                    );
                    add_neighbours(
                        add_neighbours(rows01, rows23),
                        add_neighbours(rows45, rows67),
                    )
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn min(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_min_epu64(a, b) }
    }

    #[inline(always)]
    unsafe fn any_within(distances: __m512i, threshold: u32) -> bool {
        // SAFETY: the caller's.
        unsafe {
            let limit = _mm512_set1_epi64(i64::from(threshold));
            _mm512_cmple_epu64_mask(distances, limit) != 0
        }
    }

    #[inline(always)]
    unsafe fn lanes_within(distances: __m512i, threshold: u32) -> u32 {
        // SAFETY: the caller's.
        unsafe {
            let limit = _mm512_set1_epi64(i64::from(threshold));
            u32::from(_mm512_cmple_epu64_mask(distances, limit))
        }
    }

    #[inline(always)]
    unsafe fn write(distances: __m512i, out: *mut u32) {
        // SAFETY: the caller's: eight numbers, 32 bytes, can be written.
        unsafe { _mm256_storeu_si256(out.cast(), _mm512_cvtepi64_epi32(distances)) }
    }

    #[inline(always)]
    unsafe fn prefetch(address: *const u8) {
        // SAFETY: every x86-64 machine has this, and no address faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    /// Whole vectors first; the bytes left over are loaded under a mask, which reads as zero
    /// beyond the row.
    #[inline(always)]
    unsafe fn row(query: &[u8], row: *const u8) -> u32 {
        let stride = query.len();
        if stride < WIDTH / 2 {
            // SAFETY: the caller's.
            return unsafe { scan::short_row(query, row) };
        }
        let query = query.as_ptr();
        let left = stride % WIDTH;
        let whole = stride - left;
        // SAFETY: whole vectors end at `whole`; the masked ones read `left` bytes after that.
        unsafe {
            let mut lanes = _mm512_setzero_si512();
            let mut at = 0;
            while at < whole {
                lanes = _mm512_add_epi64(lanes, count(load(query.add(at)), load(row.add(at))));
                at += WIDTH;
            }
            if left > 0 {
                let mask = (1u64 << left) - 1;
                let last_query = _mm512_maskz_loadu_epi8(mask, query.add(whole).cast());
                let last_row = _mm512_maskz_loadu_epi8(mask, row.add(whole).cast());
                lanes = _mm512_add_epi64(lanes, count(last_query, last_row));
            }
            _mm512_reduce_add_epi64(lanes) as u32
        }
    }
}
