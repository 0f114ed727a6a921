//! How the bits of a code are parted: into how many substrings, and which bit goes where.

use std::ops::Range;

/// Rows of a segment below which a scan is faster than anything.
pub(super) const LEAST_ROWS: usize = 4096;

/// Bits of codes beyond which there are no tables: distances of hundreds of bits are out of their reach.
pub(super) const MOST_BITS: u32 = 2048;

/// Bits of a key at most: a table has 4 bytes for each value of one.
pub(super) const MOST_KEY_BITS: u32 = 28;

/// Rows of the sample by which bits are assigned.
const SAMPLE: usize = 2048;

/// How the bits of codes are parted into substrings.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    /// `order[i]` is the bit of a code that stands at position i of its rearranged form.
    pub(super) order: Vec<u32>,
    /// The positions of each substring; together all of them, in order.
    pub(super) spans: Vec<Range<u32>>,
    /// Mean and standard deviation of the distance of two rows by chance.
    pub(super) distance: (f32, f32),
}

impl Shape {
    /// The shape for these codes of `bits` bits.
    pub(super) fn choose(bits: u32, codes: &[u8]) -> Shape {
        let stride = bits.div_ceil(8) as usize;
        let rows = codes.len() / stride;
        let spans = spans(bits, tables(bits, rows));
        let order = assign(&Likeness::measure(bits, codes), &spans);
        let distance = spread(stride, codes);
        Shape {
            order,
            spans,
            distance,
        }
    }
}

/// Number of substrings: such that a key has two to four rows or some more, measured to be best for the
/// nearest as well as within a radius. With longer keys there are fewer rows to look at, but more buckets,
/// and a bucket costs as much as some rows.
pub(super) fn tables(bits: u32, rows: usize) -> u32 {
    let key_bits = (rows.max(4) as f64).log2() - 1.0;
    let tables = (f64::from(bits) / key_bits).ceil() as u32;
    tables.clamp(bits.div_ceil(MOST_KEY_BITS), bits)
}

/// `bits` positions in `tables` spans of nearly the same length.
pub(super) fn spans(bits: u32, tables: u32) -> Vec<Range<u32>> {
    let edge = |table: u32| (u64::from(bits) * u64::from(table) / u64::from(tables)) as u32;
    (0..tables)
        .map(|table| edge(table)..edge(table + 1))
        .collect()
}

/// Mean and standard deviation of the distance of two rows by chance.
fn spread(stride: usize, codes: &[u8]) -> (f32, f32) {
    let rows = codes.len() / stride;
    let count = rows.min(2 * SAMPLE);
    let code = |sampled: usize| &codes[sampled * rows / count * stride..][..stride];
    let mut chance = 0x9e37_79b9_u32;
    let distances: Vec<f32> = (0..count)
        .map(|a| {
            chance = chance.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            let b = (chance >> 8) as usize % count;
            let bytes = code(a).iter().zip(code(b));
            bytes.map(|(a, b)| (a ^ b).count_ones()).sum::<u32>() as f32
        })
        .collect();
    let mean = distances.iter().sum::<f32>() / count.max(1) as f32;
    let squares = distances.iter().map(|d| (d - mean) * (d - mean));
    (mean, (squares.sum::<f32>() / count.max(1) as f32).sqrt())
}

/// How alike any two bits are: 0 if they agree in half of the rows, 1 if in all or none. Two bits
/// that are nearly always the same value are alike, whatever they say of a row.
struct Likeness {
    bits: usize,
    of: Vec<f32>,
}

impl Likeness {
    fn measure(bits: u32, codes: &[u8]) -> Likeness {
        let stride = bits.div_ceil(8) as usize;
        let bits = bits as usize;
        let rows = codes.len() / stride;
        let count = rows.min(SAMPLE);
        let words = count.div_ceil(64);
        // A plane for each bit: its values in the rows of the sample.
        let mut planes = vec![0_u64; bits * words];
        for sampled in 0..count {
            let code = &codes[sampled * rows / count * stride..][..stride];
            for (byte, &value) in code.iter().enumerate() {
                let mut value = value;
                while value != 0 {
                    let bit = 8 * byte + value.trailing_zeros() as usize;
                    if bit < bits {
                        planes[bit * words + sampled / 64] |= 1 << (sampled % 64);
                    }
                    value &= value - 1;
                }
            }
        }
        let mut of = vec![0.0; bits * bits];
        for a in 0..bits {
            let plane = &planes[a * words..][..words];
            for b in 0..a {
                let other = &planes[b * words..][..words];
                let differ: u32 = plane
                    .iter()
                    .zip(other)
                    .map(|(a, b)| (a ^ b).count_ones())
                    .sum();
                let likeness = 1.0 - 2.0 * differ as f32 / count.max(1) as f32;
                of[a * bits + b] = likeness * likeness;
                of[b * bits + a] = likeness * likeness;
            }
        }
        Likeness { bits, of }
    }

    fn between(&self, a: usize, b: usize) -> f32 {
        self.of[a * self.bits + b]
    }

    fn of_all(&self, bit: usize) -> f32 {
        self.of[bit * self.bits..][..self.bits].iter().sum()
    }
}

/// Parts bits that are alike: each in turn, those first that are like many others, goes where it is
/// least like what is there.
fn assign(likeness: &Likeness, spans: &[Range<u32>]) -> Vec<u32> {
    let bits = likeness.bits;
    let mut todo: Vec<usize> = (0..bits).collect();
    let of_all: Vec<f32> = todo.iter().map(|&bit| likeness.of_all(bit)).collect();
    todo.sort_by(|&a, &b| of_all[b].total_cmp(&of_all[a]));
    let mut placed: Vec<Vec<u32>> = vec![Vec::new(); spans.len()];
    for bit in todo {
        let like = |there: &Vec<u32>| -> f32 {
            there
                .iter()
                .map(|&other| likeness.between(bit, other as usize))
                .sum()
        };
        let open = (0..spans.len()).filter(|&t| placed[t].len() < spans[t].len());
        let room = |t: &usize| spans[*t].len() - placed[*t].len();
        let best = open.min_by(|a, b| {
            let (x, y) = (like(&placed[*a]), like(&placed[*b]));
            x.total_cmp(&y).then(room(b).cmp(&room(a)))
        });
        if let Some(best) = best {
            placed[best].push(bit as u32);
        }
    }
    for bits in &mut placed {
        bits.sort_unstable();
    }
    placed.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_in_one_substring() {
        for (bits, rows) in [
            (8, 10),
            (64, 1 << 20),
            (100, 5000),
            (256, 10_000_000),
            (1024, 4096),
        ] {
            let tables = tables(bits, rows);
            let spans = spans(bits, tables);
            assert_eq!(spans.len(), tables as usize);
            assert_eq!(
                spans.iter().map(ExactSizeIterator::len).sum::<usize>(),
                bits as usize
            );
            assert!(
                spans
                    .iter()
                    .all(|s| !s.is_empty() && s.len() <= MOST_KEY_BITS as usize)
            );
            let stride = bits.div_ceil(8) as usize;
            let codes: Vec<u8> = (0..300 * stride).map(|i| (i * i) as u8).collect();
            let mut order = assign(&Likeness::measure(bits, &codes), &spans);
            order.sort_unstable();
            assert_eq!(order, (0..bits).collect::<Vec<_>>());
        }
    }

    /// Bits that always agree come into different substrings, and so do bits that never change.
    #[test]
    fn bits_that_are_alike_are_parted() {
        let spans = spans(32, 4);
        let mut state = 1_u32;
        let codes: Vec<u8> = (0..1000)
            .flat_map(|_| {
                state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
                let chance = state >> 16;
                // Bits 0 to 3 are one, bits 4 to 7 are all zero, the others are by chance.
                let code = if chance & 1 == 1 { 0xf } else { 0 }
                    | chance << 8 & 0xff00
                    | state & 0xffff_0000;
                code.to_le_bytes()
            })
            .collect();
        let order = assign(&Likeness::measure(32, &codes), &spans);
        let table = |bit: u32| order.iter().position(|b| *b == bit).unwrap() / 8;
        for group in [0..4, 4..8] {
            let mut tables: Vec<usize> = group.map(table).collect();
            tables.sort_unstable();
            assert_eq!(tables, [0, 1, 2, 3]);
        }
    }
}
