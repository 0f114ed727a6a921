//! Kernels for AVX-512 with VPOPCNTDQ: the machine counts the bits of 64-bit lanes itself. A
//! vector holds the distances of eight rows.

use std::arch::x86_64::*;

use crate::kernels::Kernels;
use crate::kernels::batch::{self, Planes};
use crate::kernels::planes::Bits;
use crate::kernels::scan::{self, Isa};

/// The kernels, if this machine can run them.
pub(in crate::kernels) fn kernels() -> Option<&'static Kernels> {
    let available = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vpopcntdq")
        && is_x86_feature_detected!("popcnt");
    available.then_some(&KERNELS)
}

struct Avx512;

scan::table!(
    Avx512,
    "avx512",
    batch::within::<Avx512, ROW_VECTORS>,
    "avx512f,avx512bw,avx512vpopcntdq,popcnt"
);

const WIDTH: usize = 64;

/// # Safety
/// The machine must have AVX-512, and 64 bytes must be readable.
#[inline(always)]
unsafe fn load(from: *const u8) -> __m512i {
    // SAFETY: the caller's; the load needs no alignment.
    unsafe { _mm512_loadu_si512(from.cast()) }
}

/// Set bits of the difference in each 64-bit lane, of those in the mask if `MASKED`.
///
/// # Safety
/// The machine must have AVX-512 with VPOPCNTDQ.
#[inline(always)]
unsafe fn count<const MASKED: bool>(query: __m512i, mask: __m512i, row: __m512i) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        let difference = _mm512_xor_si512(query, row);
        _mm512_popcnt_epi64(if MASKED {
            _mm512_and_si512(difference, mask)
        } else {
            difference
        })
    }
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
    unsafe fn partial<const STRIDE: usize, const MASKED: bool>(
        query: [__m512i; 2],
        mask: [__m512i; 2],
        row: *const u8,
    ) -> __m512i {
        // SAFETY: reads STRIDE bytes.
        unsafe {
            let first = count::<MASKED>(query[0], mask[0], load(row));
            match STRIDE {
                64 => first,
                _ => {
                    let second = count::<MASKED>(query[1], mask[1], load(row.add(WIDTH)));
                    _mm512_add_epi64(first, second)
                }
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
    unsafe fn compare<const STRIDE: usize, const MASKED: bool>(
        query: [__m512i; 2],
        mask: [__m512i; 2],
        rows: *const u8,
    ) -> __m512i {
        // SAFETY: reads `8 * STRIDE` bytes in every arm.
        unsafe {
            let count_at =
                |vector: usize| count::<MASKED>(query[0], mask[0], load(rows.add(vector * WIDTH)));
            match STRIDE {
                8 => count_at(0),
                16 => add_neighbours(count_at(0), count_at(1)),
                32 => add_neighbours(
                    add_neighbours(count_at(0), count_at(1)),
                    add_neighbours(count_at(2), count_at(3)),
                ),
                _ => {
                    let rows01 = add_neighbours(
                        Self::partial::<STRIDE, MASKED>(query, mask, rows),
                        Self::partial::<STRIDE, MASKED>(query, mask, rows.add(STRIDE)),
                    );
                    let rows23 = add_neighbours(
                        Self::partial::<STRIDE, MASKED>(query, mask, rows.add(2 * STRIDE)),
                        Self::partial::<STRIDE, MASKED>(query, mask, rows.add(3 * STRIDE)),
                    );
                    let rows45 = add_neighbours(
                        Self::partial::<STRIDE, MASKED>(query, mask, rows.add(4 * STRIDE)),
                        Self::partial::<STRIDE, MASKED>(query, mask, rows.add(5 * STRIDE)),
                    );
                    let rows67 = add_neighbours(
                        Self::partial::<STRIDE, MASKED>(query, mask, rows.add(6 * STRIDE)),
                        Self::partial::<STRIDE, MASKED>(query, mask, rows.add(7 * STRIDE)),
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
    unsafe fn row<const MASKED: bool>(query: &[u8], mask: &[u8], row: *const u8) -> u32 {
        let stride = query.len();
        if stride < WIDTH / 2 {
            // SAFETY: the caller's.
            return unsafe { scan::short_row::<MASKED>(query, mask, row) };
        }
        let (query, mask) = (query.as_ptr(), mask.as_ptr());
        let left = stride % WIDTH;
        let whole = stride - left;
        // SAFETY: whole vectors end at `whole`; the masked ones read `left` bytes after that.
        unsafe {
            let counting = |at: usize, loaded: __mmask64| {
                if MASKED {
                    _mm512_maskz_loadu_epi8(loaded, mask.add(at).cast())
                } else {
                    _mm512_setzero_si512()
                }
            };
            let mut lanes = _mm512_setzero_si512();
            let mut at = 0;
            while at < whole {
                let (query, row) = (load(query.add(at)), load(row.add(at)));
                let counted = count::<MASKED>(query, counting(at, u64::MAX), row);
                lanes = _mm512_add_epi64(lanes, counted);
                at += WIDTH;
            }
            if left > 0 {
                let last = (1u64 << left) - 1;
                let query = _mm512_maskz_loadu_epi8(last, query.add(whole).cast());
                let row = _mm512_maskz_loadu_epi8(last, row.add(whole).cast());
                let counted = count::<MASKED>(query, counting(whole, last), row);
                lanes = _mm512_add_epi64(lanes, counted);
            }
            _mm512_reduce_add_epi64(lanes) as u32
        }
    }
}

/// Vectors of rows that are summed at once.
const ROW_VECTORS: usize = 2;

impl Planes for Avx512 {
    type Bytes = __m512i;
    const WIDTH: usize = WIDTH;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { load(from) }
    }

    #[inline(always)]
    unsafe fn store(bytes: __m512i, to: *mut u8) {
        // SAFETY: the caller's; the store needs no alignment.
        unsafe { _mm512_storeu_si512(to.cast(), bytes) }
    }

    #[inline(always)]
    unsafe fn splat(byte: u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_set1_epi8(byte.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn table(from: *const u8) -> __m512i {
        // SAFETY: the caller's: 16 bytes.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn look_up(table: __m512i, nibbles: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_shuffle_epi8(table, nibbles) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_add_epi8(a, b) }
    }

    #[inline(always)]
    unsafe fn add_saturating(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_adds_epu8(a, b) }
    }

    #[inline(always)]
    unsafe fn high(bytes: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), _mm512_set1_epi8(0x0f)) }
    }

    #[inline(always)]
    unsafe fn less_shifted(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            let shifted = _mm512_and_si512(_mm512_slli_epi16::<4>(b), _mm512_set1_epi8(-16));
            _mm512_sub_epi8(a, shifted)
        }
    }

    #[inline(always)]
    unsafe fn least(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_min_epu8(a, b) }
    }

    #[inline(always)]
    unsafe fn any_byte_within(sums: __m512i, threshold: __m512i) -> bool {
        // SAFETY: the caller's.
        unsafe { _mm512_cmple_epu8_mask(sums, threshold) != 0 }
    }

    #[inline(always)]
    unsafe fn even(bytes: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_and_si512(bytes, _mm512_set1_epi16(0xff)) }
    }

    #[inline(always)]
    unsafe fn odd(bytes: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_srli_epi16::<8>(bytes) }
    }

    #[inline(always)]
    unsafe fn add_pairs(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_add_epi16(a, b) }
    }

    #[inline(always)]
    unsafe fn splat_pair(value: u16) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_set1_epi16(value.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn any_pair_within(sums: __m512i, threshold: __m512i) -> bool {
        // SAFETY: the caller's.
        unsafe { _mm512_cmple_epu16_mask(sums, threshold) != 0 }
    }
}

impl Bits for Avx512 {
    type Vector = __m512i;
    const BYTES: usize = WIDTH;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { load(from) }
    }

    #[inline(always)]
    unsafe fn store(bits: __m512i, to: *mut u8) {
        // SAFETY: the caller's; the store needs no alignment.
        unsafe { _mm512_storeu_si512(to.cast(), bits) }
    }

    #[inline(always)]
    unsafe fn splat(word: u64) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_set1_epi64(word.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn xor(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    unsafe fn and(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    unsafe fn without(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_andnot_si512(b, a) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i, c: __m512i) -> (__m512i, __m512i) {
        // SAFETY: the caller's. The truth tables of exclusive or and of the majority.
        unsafe {
            (
                _mm512_ternarylogic_epi64::<0x96>(a, b, c),
                _mm512_ternarylogic_epi64::<0xe8>(a, b, c),
            )
        }
    }

    #[inline(always)]
    unsafe fn any(bits: __m512i) -> bool {
        // SAFETY: the caller's.
        unsafe { _mm512_test_epi64_mask(bits, bits) != 0 }
    }
}
