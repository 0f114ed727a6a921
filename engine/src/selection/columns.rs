//! What each bit says of some examples: codes turned into one column for each bit.

use crate::kernels::Kernels;

/// Columns of ±1, as bits: `ceil(rows / 8)` bytes each; a bit that is set is +1.
pub(super) struct Columns {
    rows: usize,
    bits: Vec<u8>,
}

impl Columns {
    pub(super) fn new(rows: usize) -> Columns {
        Columns {
            rows,
            bits: Vec::new(),
        }
    }

    /// A column for each of the first `width` bits of the codes.
    pub(super) fn of(width: u32, codes: &[&[u8]]) -> Columns {
        let bytes = codes.len().div_ceil(8);
        let mut bits = vec![0; width as usize * bytes];
        for (group, codes) in codes.chunks(8).enumerate() {
            for byte in 0..width.div_ceil(8) as usize {
                let mut square = [0; 8];
                for (to, code) in square.iter_mut().zip(codes) {
                    *to = code[byte];
                }
                let left = (width as usize - 8 * byte).min(8);
                for (bit, column) in transposed(square).into_iter().enumerate().take(left) {
                    bits[(8 * byte + bit) * bytes + group] = column;
                }
            }
        }
        Columns {
            rows: codes.len(),
            bits,
        }
    }

    pub(super) fn push(&mut self, column: &[u8]) {
        self.bits.extend_from_slice(column);
    }

    pub(super) fn len(&self) -> usize {
        self.bits.len() / self.bytes()
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    fn bytes(&self) -> usize {
        self.rows.div_ceil(8)
    }

    pub(super) fn column(&self, column: usize) -> &[u8] {
        &self.bits[column * self.bytes()..][..self.bytes()]
    }

    /// A column as numbers.
    pub(super) fn signs(&self, column: usize) -> Vec<f64> {
        let bits = self.column(column);
        (0..self.rows)
            .map(|i| f64::from(bits[i / 8] >> (i % 8) & 1) * 2.0 - 1.0)
            .collect()
    }

    /// The sum of each column.
    pub(super) fn sums(&self) -> Vec<i64> {
        let set = |column: &[u8]| -> i64 { column.iter().map(|b| i64::from(b.count_ones())).sum() };
        let columns = self.bits.chunks_exact(self.bytes());
        columns
            .map(|column| 2 * set(column) - self.rows as i64)
            .collect()
    }

    /// In how many rows each column differs from that one.
    pub(super) fn distances(&self, column: usize, distances: &mut [u32]) {
        kernels().distances(self.column(column), &self.bits, distances);
    }

    /// Σᵢ vᵢ xᵢⱼ for every column j: sums for every byte's value are looked up, not added.
    pub(super) fn products(&self, v: &[f64]) -> Vec<f64> {
        let tables: Vec<[f64; 256]> = v
            .chunks(8)
            .map(|v| {
                let mut table = [0.0; 256];
                for byte in 1..256usize {
                    let lowest = byte.trailing_zeros() as usize;
                    let without = byte & (byte - 1);
                    table[byte] = table[without] + v.get(lowest).copied().unwrap_or(0.0);
                }
                table
            })
            .collect();
        let all: f64 = v.iter().sum();
        let columns = self.bits.chunks_exact(self.bytes());
        columns
            .map(|column| {
                let sums = column.iter().zip(&tables);
                2.0 * sums.map(|(&byte, table)| table[byte as usize]).sum::<f64>() - all
            })
            .collect()
    }
}

/// The chosen kernels; where a wrong choice is named, which searches report, those that every machine has.
pub(super) fn kernels() -> &'static Kernels {
    let portable = || Kernels::available().next();
    Kernels::get()
        .ok()
        .or_else(portable)
        .expect("there are always the portable kernels")
}

/// Bit i of byte j becomes bit j of byte i.
fn transposed(square: [u8; 8]) -> [u8; 8] {
    let mut word = u64::from_le_bytes(square);
    for (low, shift) in [
        (0x00aa_00aa_00aa_00aa, 7),
        (0x0000_cccc_0000_cccc, 14),
        (0x0000_0000_f0f0_f0f0, 28),
    ] {
        let change = (word ^ word >> shift) & low;
        word ^= change ^ change << shift;
    }
    word.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn columns_say_what_the_codes_say(
            (width, codes) in (1u32..40).prop_flat_map(|width| {
                let code = proptest::collection::vec(any::<u8>(), width.div_ceil(8) as usize);
                (Just(width), proptest::collection::vec(code, 1..30))
            }),
        ) {
            let rows: Vec<&[u8]> = codes.iter().map(Vec::as_slice).collect();
            let columns = Columns::of(width, &rows);
            prop_assert_eq!((columns.len(), columns.rows()), (width as usize, codes.len()));
            let x: Vec<Vec<f64>> = (0..width as usize)
                .map(|bit| codes.iter().map(|c| f64::from(c[bit / 8] >> (bit % 8) & 1) * 2.0 - 1.0).collect())
                .collect();
            let v: Vec<f64> = (0..codes.len()).map(|i| 0.5 + i as f64).collect();
            let (sums, products) = (columns.sums(), columns.products(&v));
            let mut distances = vec![0; width as usize];
            columns.distances(0, &mut distances);
            for (bit, x) in x.iter().enumerate() {
                prop_assert_eq!(&columns.signs(bit), x);
                prop_assert_eq!(sums[bit] as f64, x.iter().sum::<f64>());
                let product: f64 = x.iter().zip(&v).map(|(x, v)| x * v).sum();
                prop_assert!((products[bit] - product).abs() < 1e-9);
            }
            for (bit, distance) in distances.into_iter().enumerate() {
                let differ = x[bit].iter().zip(&x[0]).filter(|(a, b)| a != b).count();
                prop_assert_eq!(distance as usize, differ);
            }
        }
    }
}
