//! Kernels for AVX2: bits are counted by looking up each half byte with a byte shuffle, and
//! bytes summed into 64-bit lanes with `vpsadbw`. A vector holds the distances of four rows.

use std::arch::x86_64::*;

use crate::kernels::Kernels;
use crate::kernels::batch::{self, Planes};
use crate::kernels::planes::Bits;
use crate::kernels::scan::{self, Isa};

/// The kernels, if this machine can run them.
pub(in crate::kernels) fn kernels() -> Option<&'static Kernels> {
    let available = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
    available.then_some(&KERNELS)
}

struct Avx2;

scan::table!(
    Avx2,
    "avx2",
    batch::within::<Avx2, ROW_VECTORS>,
    "avx2,popcnt"
);

const WIDTH: usize = 32;

/// The number of set bits in each byte. At most 8, so that 31 of these add up in a byte.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
unsafe fn count_bytes(v: __m256i) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let of_half = _mm256_setr_epi8(
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, //
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
        );
        let low = _mm256_set1_epi8(0x0f);
        let low_halves = _mm256_and_si256(v, low);
        let high_halves = _mm256_and_si256(_mm256_srli_epi16::<4>(v), low);
        _mm256_add_epi8(
            _mm256_shuffle_epi8(of_half, low_halves),
            _mm256_shuffle_epi8(of_half, high_halves),
        )
    }
}

/// Sums of the bytes of each 64-bit lane.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
unsafe fn sum_lanes(bytes: __m256i) -> __m256i {
    // SAFETY: the caller's.
    unsafe { _mm256_sad_epu8(bytes, _mm256_setzero_si256()) }
}

/// # Safety
/// The machine must have AVX2, and 32 bytes must be readable.
#[inline(always)]
unsafe fn load(from: *const u8) -> __m256i {
    // SAFETY: the caller's; the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.cast()) }
}

/// The bits in which two vectors differ, of those in the mask if `MASKED`.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
unsafe fn differing<const MASKED: bool>(query: __m256i, mask: __m256i, row: __m256i) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let difference = _mm256_xor_si256(query, row);
        if MASKED {
            _mm256_and_si256(difference, mask)
        } else {
            difference
        }
    }
}

impl Avx2 {
    /// Set bits of a row's difference from the query, as four partial sums.
    ///
    /// # Safety
    /// As [`Isa::compare`], of one row; `STRIDE` is 32, 64 or 128.
    #[inline(always)]
    unsafe fn partial<const STRIDE: usize, const MASKED: bool>(
        query: [__m256i; 4],
        mask: [__m256i; 4],
        row: *const u8,
    ) -> __m256i {
        // SAFETY: `at + 32 <= STRIDE` in every turn.
        unsafe {
            let mut bytes = count_bytes(differing::<MASKED>(query[0], mask[0], load(row)));
            let mut at = WIDTH;
            while at < STRIDE {
                let part = at / WIDTH;
                let more = differing::<MASKED>(query[part], mask[part], load(row.add(at)));
                bytes = _mm256_add_epi8(bytes, count_bytes(more));
                at += WIDTH;
            }
            sum_lanes(bytes)
        }
    }
}

impl Avx2 {
    /// Set bits of the difference of two rows of 32 bytes from a query, over their first 16 bytes, as two
    /// partial sums each; `query` has those of the query twice.
    ///
    /// # Safety
    /// The machine must have AVX2, and 48 bytes must be readable.
    #[inline(always)]
    unsafe fn first_halves(query: __m256i, rows: *const u8) -> __m256i {
        // SAFETY: the caller's.
        unsafe {
            let row0 = _mm256_castsi128_si256(_mm_loadu_si128(rows.cast()));
            let row1 = _mm_loadu_si128(rows.add(WIDTH).cast());
            let rows01 = _mm256_inserti128_si256::<1>(row0, row1);
            sum_lanes(count_bytes(_mm256_xor_si256(query, rows01)))
        }
    }

    /// The sum of each row's four partial sums, in row order.
    ///
    /// # Safety
    /// The machine must have AVX2.
    #[inline(always)]
    unsafe fn sum_rows([row0, row1, row2, row3]: [__m256i; 4]) -> __m256i {
        // SAFETY: the caller's.
        unsafe {
            // [0 1 0 1] and [2 3 2 3], two partial sums left in each.
            let rows01 = _mm256_add_epi64(
                _mm256_unpacklo_epi64(row0, row1),
                _mm256_unpackhi_epi64(row0, row1),
            );
            let rows23 = _mm256_add_epi64(
                _mm256_unpacklo_epi64(row2, row3),
                _mm256_unpackhi_epi64(row2, row3),
            );
            _mm256_add_epi64(
                _mm256_permute2x128_si256::<0x20>(rows01, rows23),
                _mm256_permute2x128_si256::<0x31>(rows01, rows23),
            )
        }
    }
}

impl Isa for Avx2 {
    /// Four 64-bit lanes.
    type Distances = __m256i;
    type Query = [__m256i; 4];
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn query<const STRIDE: usize>(query: *const u8) -> [__m256i; 4] {
        // SAFETY: each arm reads no more than its stride.
        unsafe {
            match STRIDE {
                8 => [_mm256_set1_epi64x(query.cast::<i64>().read_unaligned()); 4],
                16 => [_mm256_broadcastsi128_si256(_mm_loadu_si128(query.cast())); 4],
                32 => [load(query); 4],
                64 => {
                    let halves = [load(query), load(query.add(WIDTH))];
                    [halves[0], halves[1], halves[0], halves[1]]
                }
                _ => [
                    load(query),
                    load(query.add(WIDTH)),
                    load(query.add(2 * WIDTH)),
                    load(query.add(3 * WIDTH)),
                ],
            }
        }
    }

    #[inline(always)]
    unsafe fn compare<const STRIDE: usize, const MASKED: bool>(
        query: [__m256i; 4],
        mask: [__m256i; 4],
        rows: *const u8,
    ) -> __m256i {
        // SAFETY: reads `4 * STRIDE` bytes in every arm.
        unsafe {
            match STRIDE {
                8 => sum_lanes(count_bytes(differing::<MASKED>(
                    query[0],
                    mask[0],
                    load(rows),
                ))),
                16 => {
                    // Two rows in each: [0 0 1 1] and [2 2 3 3].
                    let rows01 = Self::partial::<32, MASKED>(query, mask, rows);
                    let rows23 = Self::partial::<32, MASKED>(query, mask, rows.add(WIDTH));
                    let rows0213 = _mm256_add_epi64(
                        _mm256_unpacklo_epi64(rows01, rows23),
                        _mm256_unpackhi_epi64(rows01, rows23),
                    );
                    _mm256_permute4x64_epi64::<0b11_01_10_00>(rows0213)
                }
                _ => {
                    let row0 = Self::partial::<STRIDE, MASKED>(query, mask, rows);
                    let row1 = Self::partial::<STRIDE, MASKED>(query, mask, rows.add(STRIDE));
                    let row2 = Self::partial::<STRIDE, MASKED>(query, mask, rows.add(2 * STRIDE));
                    let row3 = Self::partial::<STRIDE, MASKED>(query, mask, rows.add(3 * STRIDE));
                    Self::sum_rows([row0, row1, row2, row3])
                }
            }
        }
    }

    const HALVED: std::ops::RangeInclusive<usize> = 16..=128;

    #[inline(always)]
    unsafe fn compare_half<const STRIDE: usize>(query: [__m256i; 4], rows: *const u8) -> __m256i {
        // SAFETY: reads within `4 * STRIDE` bytes in every arm.
        unsafe {
            if STRIDE == 16 {
                // The first words of rows 0, 2, 1 and 3.
                let words = _mm256_unpacklo_epi64(load(rows), load(rows.add(WIDTH)));
                let query = _mm256_unpacklo_epi64(query[0], query[0]);
                return sum_lanes(count_bytes(_mm256_xor_si256(query, words)));
            }
            if STRIDE == 32 {
                let half = _mm256_permute2x128_si256::<0x00>(query[0], query[0]);
                let rows01 = Self::first_halves(half, rows);
                let rows23 = Self::first_halves(half, rows.add(2 * STRIDE));
                return _mm256_add_epi64(
                    _mm256_unpacklo_epi64(rows01, rows23),
                    _mm256_unpackhi_epi64(rows01, rows23),
                );
            }
            let mut halves = [_mm256_setzero_si256(); 4];
            let mut row = 0;
            while row < 4 {
                let from = rows.add(row * STRIDE);
                halves[row] = match STRIDE {
                    64 => Self::partial::<32, false>(query, query, from),
                    _ => Self::partial::<64, false>(query, query, from),
                };
                row += 1;
            }
            Self::sum_rows(halves)
        }
    }

    #[inline(always)]
    unsafe fn min(a: __m256i, b: __m256i) -> __m256i {
        // Distances fit in the lower halves of the lanes; the upper ones are zero in both.
        // SAFETY: the caller's.
        unsafe { _mm256_min_epu32(a, b) }
    }

    #[inline(always)]
    unsafe fn any_within(distances: __m256i, threshold: u32) -> bool {
        // SAFETY: the caller's.
        unsafe {
            let beyond = _mm256_cmpgt_epi64(distances, _mm256_set1_epi64x(i64::from(threshold)));
            _mm256_movemask_pd(_mm256_castsi256_pd(beyond)) != 0b1111
        }
    }

    #[inline(always)]
    unsafe fn lanes_within(distances: __m256i, threshold: u32) -> u32 {
        // SAFETY: the caller's.
        unsafe {
            let beyond = _mm256_cmpgt_epi64(distances, _mm256_set1_epi64x(i64::from(threshold)));
            !_mm256_movemask_pd(_mm256_castsi256_pd(beyond)) as u32 & 0b1111
        }
    }

    #[inline(always)]
    unsafe fn write(distances: __m256i, out: *mut u32) {
        // SAFETY: the caller's: four numbers, 16 bytes, can be written.
        unsafe {
            let halves = _mm256_setr_epi32(0, 2, 4, 6, 0, 0, 0, 0);
            let packed = _mm256_permutevar8x32_epi32(distances, halves);
            _mm_storeu_si128(out.cast(), _mm256_castsi256_si128(packed));
        }
    }

    #[inline(always)]
    unsafe fn prefetch(address: *const u8) {
        // SAFETY: every x86-64 machine has this, and no address faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    /// Whole vectors first. The bytes left over are read as the last 32 of the row, and those
    /// that were counted already are masked away.
    #[inline(always)]
    unsafe fn row<const MASKED: bool>(query: &[u8], mask: &[u8], row: *const u8) -> u32 {
        const COUNTED_THEN_LEFT: [u8; 2 * WIDTH] = {
            let mut mask = [0; 2 * WIDTH];
            let mut at = WIDTH;
            while at < 2 * WIDTH {
                mask[at] = 0xff;
                at += 1;
            }
            mask
        };
        let stride = query.len();
        if stride < WIDTH {
            // SAFETY: the caller's.
            return unsafe { scan::short_row::<MASKED>(query, mask, row) };
        }
        let (query, mask) = (query.as_ptr(), mask.as_ptr());
        let left = stride % WIDTH;
        let whole = stride - left;
        // SAFETY: every load ends at `stride` or before; the mask's ends at `left + 32 <= 64`.
        unsafe {
            let difference_at = |at| {
                let counting = if MASKED {
                    load(mask.add(at))
                } else {
                    _mm256_setzero_si256()
                };
                differing::<MASKED>(load(query.add(at)), counting, load(row.add(at)))
            };
            let mut lanes = _mm256_setzero_si256();
            let mut at = 0;
            while at < whole {
                // A byte holds the counts of at most 31 vectors.
                let stop = whole.min(at + 31 * WIDTH);
                let mut bytes = _mm256_setzero_si256();
                while at < stop {
                    bytes = _mm256_add_epi8(bytes, count_bytes(difference_at(at)));
                    at += WIDTH;
                }
                lanes = _mm256_add_epi64(lanes, sum_lanes(bytes));
            }
            if left > 0 {
                let difference = difference_at(stride - WIDTH);
                let uncounted = load(COUNTED_THEN_LEFT.as_ptr().add(left));
                let bytes = count_bytes(_mm256_and_si256(difference, uncounted));
                lanes = _mm256_add_epi64(lanes, sum_lanes(bytes));
            }
            let pairs = _mm_add_epi64(
                _mm256_castsi256_si128(lanes),
                _mm256_extracti128_si256::<1>(lanes),
            );
            let sum = _mm_add_epi64(pairs, _mm_unpackhi_epi64(pairs, pairs));
            _mm_cvtsi128_si64(sum) as u32
        }
    }
}

/// Vectors of rows that are summed at once: the sums for two queries take half of the registers.
const ROW_VECTORS: usize = 4;

impl Planes for Avx2 {
    type Bytes = __m256i;
    const WIDTH: usize = WIDTH;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m256i {
        // SAFETY: the caller's.
        unsafe { load(from) }
    }

    #[inline(always)]
    unsafe fn store(bytes: __m256i, to: *mut u8) {
        // SAFETY: the caller's; the store needs no alignment.
        unsafe { _mm256_storeu_si256(to.cast(), bytes) }
    }

    #[inline(always)]
    unsafe fn splat(byte: u8) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_set1_epi8(byte.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn table(from: *const u8) -> __m256i {
        // SAFETY: the caller's: 16 bytes.
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn look_up(table: __m256i, nibbles: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_shuffle_epi8(table, nibbles) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_add_epi8(a, b) }
    }

    #[inline(always)]
    unsafe fn add_saturating(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_adds_epu8(a, b) }
    }

    #[inline(always)]
    unsafe fn high(bytes: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0f)) }
    }

    #[inline(always)]
    unsafe fn less_shifted(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe {
            let shifted = _mm256_and_si256(_mm256_slli_epi16::<4>(b), _mm256_set1_epi8(-16));
            _mm256_sub_epi8(a, shifted)
        }
    }

    #[inline(always)]
    unsafe fn least(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_min_epu8(a, b) }
    }

    #[inline(always)]
    unsafe fn any_byte_within(sums: __m256i, threshold: __m256i) -> bool {
        // SAFETY: the caller's.
        unsafe {
            let within = _mm256_cmpeq_epi8(_mm256_min_epu8(sums, threshold), sums);
            _mm256_movemask_epi8(within) != 0
        }
    }

    #[inline(always)]
    unsafe fn even(bytes: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_and_si256(bytes, _mm256_set1_epi16(0xff)) }
    }

    #[inline(always)]
    unsafe fn odd(bytes: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_srli_epi16::<8>(bytes) }
    }

    #[inline(always)]
    unsafe fn add_pairs(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_add_epi16(a, b) }
    }

    #[inline(always)]
    unsafe fn splat_pair(value: u16) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_set1_epi16(value.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn any_pair_within(sums: __m256i, threshold: __m256i) -> bool {
        // SAFETY: the caller's.
        unsafe {
            let within = _mm256_cmpeq_epi16(_mm256_min_epu16(sums, threshold), sums);
            _mm256_movemask_epi8(within) != 0
        }
    }
}

impl Bits for Avx2 {
    type Vector = __m256i;
    const BYTES: usize = WIDTH;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m256i {
        // SAFETY: the caller's.
        unsafe { load(from) }
    }

    #[inline(always)]
    unsafe fn store(bits: __m256i, to: *mut u8) {
        // SAFETY: the caller's; the store needs no alignment.
        unsafe { _mm256_storeu_si256(to.cast(), bits) }
    }

    #[inline(always)]
    unsafe fn splat(word: u64) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_set1_epi64x(word.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn xor(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    unsafe fn and(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_and_si256(a, b) }
    }

    #[inline(always)]
    unsafe fn or(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_or_si256(a, b) }
    }

    #[inline(always)]
    unsafe fn without(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_andnot_si256(b, a) }
    }

    #[inline(always)]
    unsafe fn any(bits: __m256i) -> bool {
        // SAFETY: the caller's.
        unsafe { _mm256_testz_si256(bits, bits) == 0 }
    }
}
