//! Kernels for NEON: the machine counts the bits of bytes, and pairs of lanes are added until a
//! vector holds the distances of four rows.

use std::arch::aarch64::*;

use crate::kernels::Kernels;
use crate::kernels::batch::{self, Planes};
use crate::kernels::planes::Bits;
use crate::kernels::scan::{self, Isa};

/// The kernels, if this machine can run them.
pub(in crate::kernels) fn kernels() -> Option<&'static Kernels> {
    std::arch::is_aarch64_feature_detected!("neon").then_some(&KERNELS)
}

struct Neon;

scan::table!(Neon, "neon", batch::within::<Neon, ROW_VECTORS>, "neon");

const WIDTH: usize = 16;

/// # Safety
/// The machine must have NEON, and 16 bytes must be readable.
#[inline(always)]
unsafe fn load(from: *const u8) -> uint8x16_t {
    // SAFETY: the caller's; the load needs no alignment.
    unsafe { vld1q_u8(from) }
}

/// Set bits of the difference in each byte, of those in the mask if `MASKED`. At most 8, so that
/// 31 of these add up in a byte.
///
/// # Safety
/// The machine must have NEON.
#[inline(always)]
unsafe fn count<const MASKED: bool>(
    query: uint8x16_t,
    mask: uint8x16_t,
    row: uint8x16_t,
) -> uint8x16_t {
    // SAFETY: the caller's.
    unsafe {
        let difference = veorq_u8(query, row);
        vcntq_u8(if MASKED {
            vandq_u8(difference, mask)
        } else {
            difference
        })
    }
}

/// Sums of the bytes of each 32-bit lane.
///
/// # Safety
/// The machine must have NEON.
#[inline(always)]
unsafe fn sum_lanes(bytes: uint8x16_t) -> uint32x4_t {
    // SAFETY: the caller's.
    unsafe { vpaddlq_u16(vpaddlq_u8(bytes)) }
}

impl Neon {
    /// Set bits of a row's difference from the query, as four partial sums.
    ///
    /// # Safety
    /// As [`Isa::compare`], of one row; `STRIDE` is 16, 32, 64 or 128.
    #[inline(always)]
    unsafe fn partial<const STRIDE: usize, const MASKED: bool>(
        query: [uint8x16_t; 8],
        mask: [uint8x16_t; 8],
        row: *const u8,
    ) -> uint32x4_t {
        // SAFETY: `at + 16 <= STRIDE` in every turn.
        unsafe {
            let mut bytes = count::<MASKED>(query[0], mask[0], load(row));
            let mut at = WIDTH;
            while at < STRIDE {
                let part = at / WIDTH;
                let more = count::<MASKED>(query[part], mask[part], load(row.add(at)));
                bytes = vaddq_u8(bytes, more);
                at += WIDTH;
            }
            sum_lanes(bytes)
        }
    }
}

impl Isa for Neon {
    /// Four 32-bit lanes.
    type Distances = uint32x4_t;
    type Query = [uint8x16_t; 8];
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn query<const STRIDE: usize>(query: *const u8) -> [uint8x16_t; 8] {
        // SAFETY: vectors end at STRIDE or before; one of 8 bytes is read as such.
        unsafe {
            if STRIDE == 8 {
                let bytes = vld1_u8(query);
                return [vcombine_u8(bytes, bytes); 8];
            }
            let mut vectors = [load(query); 8];
            let mut at = WIDTH;
            while at < STRIDE {
                vectors[at / WIDTH] = load(query.add(at));
                at += WIDTH;
            }
            vectors
        }
    }

    #[inline(always)]
    unsafe fn compare<const STRIDE: usize, const MASKED: bool>(
        query: [uint8x16_t; 8],
        mask: [uint8x16_t; 8],
        rows: *const u8,
    ) -> uint32x4_t {
        // SAFETY: reads `4 * STRIDE` bytes in either arm.
        unsafe {
            if STRIDE == 8 {
                // Two rows in each, two partial sums a row: [0 0 1 1] and [2 2 3 3].
                let rows01 = sum_lanes(count::<MASKED>(query[0], mask[0], load(rows)));
                let rows23 = sum_lanes(count::<MASKED>(query[0], mask[0], load(rows.add(WIDTH))));
                return vpaddq_u32(rows01, rows23);
            }
            let row0 = Self::partial::<STRIDE, MASKED>(query, mask, rows);
            let row1 = Self::partial::<STRIDE, MASKED>(query, mask, rows.add(STRIDE));
            let row2 = Self::partial::<STRIDE, MASKED>(query, mask, rows.add(2 * STRIDE));
            let row3 = Self::partial::<STRIDE, MASKED>(query, mask, rows.add(3 * STRIDE));
            vpaddq_u32(vpaddq_u32(row0, row1), vpaddq_u32(row2, row3))
        }
    }

    #[inline(always)]
    unsafe fn min(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        // SAFETY: the caller's.
        unsafe { vminq_u32(a, b) }
    }

    #[inline(always)]
    unsafe fn any_within(distances: uint32x4_t, threshold: u32) -> bool {
        // SAFETY: the caller's.
        unsafe { vminvq_u32(distances) <= threshold }
    }

    #[inline(always)]
    unsafe fn write(distances: uint32x4_t, out: *mut u32) {
        // SAFETY: the caller's: four numbers can be written.
        unsafe { vst1q_u32(out, distances) }
    }

    /// Whole vectors first. The bytes left over are read as the last 16 of the row, and those
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
        if stride < 2 * WIDTH {
            // SAFETY: the caller's.
            return unsafe { scan::short_row::<MASKED>(query, mask, row) };
        }
        let (query, mask) = (query.as_ptr(), mask.as_ptr());
        let left = stride % WIDTH;
        let whole = stride - left;
        // SAFETY: every load ends at `stride` or before; the last mask's ends at
        // `left + 16 <= 32`.
        unsafe {
            let mut sum = 0;
            let mut at = 0;
            while at < whole {
                // A byte holds the counts of at most 31 vectors.
                let stop = whole.min(at + 31 * WIDTH);
                let mut bytes = vdupq_n_u8(0);
                while at < stop {
                    let counting = if MASKED {
                        load(mask.add(at))
                    } else {
                        vdupq_n_u8(0)
                    };
                    let counted = count::<MASKED>(load(query.add(at)), counting, load(row.add(at)));
                    bytes = vaddq_u8(bytes, counted);
                    at += WIDTH;
                }
                sum += u32::from(vaddlvq_u8(bytes));
            }
            if left > 0 {
                let at = stride - WIDTH;
                let mut counting = load(COUNTED_THEN_LEFT.as_ptr().add(left));
                if MASKED {
                    counting = vandq_u8(counting, load(mask.add(at)));
                }
                let counted = count::<true>(load(query.add(at)), counting, load(row.add(at)));
                sum += u32::from(vaddlvq_u8(counted));
            }
            sum
        }
    }
}

/// Vectors of rows that are summed at once.
const ROW_VECTORS: usize = 4;

impl Planes for Neon {
    type Bytes = uint8x16_t;
    const WIDTH: usize = WIDTH;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { load(from) }
    }

    #[inline(always)]
    unsafe fn store(bytes: uint8x16_t, to: *mut u8) {
        // SAFETY: the caller's; the store needs no alignment.
        unsafe { vst1q_u8(to, bytes) }
    }

    #[inline(always)]
    unsafe fn splat(byte: u8) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vdupq_n_u8(byte) }
    }

    #[inline(always)]
    unsafe fn table(from: *const u8) -> uint8x16_t {
        // SAFETY: the caller's: 16 bytes.
        unsafe { load(from) }
    }

    #[inline(always)]
    unsafe fn look_up(table: uint8x16_t, nibbles: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vqtbl1q_u8(table, nibbles) }
    }

    #[inline(always)]
    unsafe fn add(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vaddq_u8(a, b) }
    }

    #[inline(always)]
    unsafe fn add_saturating(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vqaddq_u8(a, b) }
    }

    #[inline(always)]
    unsafe fn high(bytes: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vshrq_n_u8::<4>(bytes) }
    }

    #[inline(always)]
    unsafe fn less_shifted(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vsubq_u8(a, vshlq_n_u8::<4>(b)) }
    }

    #[inline(always)]
    unsafe fn least(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vminq_u8(a, b) }
    }

    #[inline(always)]
    unsafe fn any_byte_within(sums: uint8x16_t, threshold: uint8x16_t) -> bool {
        // SAFETY: the caller's.
        unsafe { vmaxvq_u8(vcleq_u8(sums, threshold)) != 0 }
    }

    #[inline(always)]
    unsafe fn even(bytes: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vandq_u8(bytes, vreinterpretq_u8_u16(vdupq_n_u16(0xff))) }
    }

    #[inline(always)]
    unsafe fn odd(bytes: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vreinterpretq_u8_u16(vshrq_n_u16::<8>(vreinterpretq_u16_u8(bytes))) }
    }

    #[inline(always)]
    unsafe fn add_pairs(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe {
            let sums = vaddq_u16(vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b));
            vreinterpretq_u8_u16(sums)
        }
    }

    #[inline(always)]
    unsafe fn splat_pair(value: u16) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vreinterpretq_u8_u16(vdupq_n_u16(value)) }
    }

    #[inline(always)]
    unsafe fn any_pair_within(sums: uint8x16_t, threshold: uint8x16_t) -> bool {
        // SAFETY: the caller's.
        unsafe {
            let within = vcleq_u16(vreinterpretq_u16_u8(sums), vreinterpretq_u16_u8(threshold));
            vmaxvq_u16(within) != 0
        }
    }
}

impl Bits for Neon {
    type Vector = uint8x16_t;
    const BYTES: usize = WIDTH;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { load(from) }
    }

    #[inline(always)]
    unsafe fn store(bits: uint8x16_t, to: *mut u8) {
        // SAFETY: the caller's; the store needs no alignment.
        unsafe { vst1q_u8(to, bits) }
    }

    #[inline(always)]
    unsafe fn splat(word: u64) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vreinterpretq_u8_u64(vdupq_n_u64(word)) }
    }

    #[inline(always)]
    unsafe fn xor(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { veorq_u8(a, b) }
    }

    #[inline(always)]
    unsafe fn and(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vandq_u8(a, b) }
    }

    #[inline(always)]
    unsafe fn or(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vorrq_u8(a, b) }
    }

    #[inline(always)]
    unsafe fn without(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: the caller's.
        unsafe { vbicq_u8(a, b) }
    }

    #[inline(always)]
    unsafe fn any(bits: uint8x16_t) -> bool {
        // SAFETY: the caller's.
        unsafe { vmaxvq_u8(bits) != 0 }
    }
}
