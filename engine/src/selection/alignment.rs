//! Bits whose distances follow a given likeness of rows: one after the other, the bit is taken that most raises the
//! centred alignment of what the bits taken say with what is to be said (Cortes, Mohri and Rostamizadeh, JMLR 2012).
//!
//! A sum of ±bits is aligned with a score of each row by their correlation; a set of bits with a kernel, the likeness
//! of every two rows, by the cosine of the two centred matrices. Either way a bit that says again what others have
//! said is worth little: that is what scoring bits one by one, or a penalty on weights, does not see.

use super::columns::Columns;
use super::{SelectedBit, Taken};

/// Bits whose signed sum follows `scores`, one for each row: at most `count`, fewer where no other bit follows them at
/// all. A weight is the correlation of the bit alone.
pub(super) fn with_scores(columns: &Columns, scores: &[f64], count: usize) -> Taken {
    let mut table = Centred::of(columns);
    let along = columns.products(&unit(scores));
    let weight = |bit: usize, table: &Centred<'_>| along[bit] / table.size(bit).sqrt();
    let mut taken = Greedy::new(count);
    // Σ over the bits taken of their signed products with each bit, and of all of these with each other.
    let mut with_sum = vec![0.0; columns.len()];
    let (mut followed, mut square) = (0.0, 0.0);
    let mut left: Vec<usize> = (0..columns.len())
        .filter(|&bit| table.size(bit) > 0.0 && weight(bit, &table).abs() > 1e-9)
        .collect();
    while taken.wants_more() {
        let value = |bit: usize| {
            let size = square + 2.0 * along[bit].signum() * with_sum[bit] + table.size(bit);
            // What takes back all that was said before follows nothing.
            match size > 0.0 {
                true => (followed + along[bit].abs()) / size.sqrt(),
                false => 0.0,
            }
        };
        let Some((value, bit)) = taken.best(&mut left, value) else {
            break;
        };
        let sign = along[bit].signum();
        followed += along[bit].abs();
        square += 2.0 * sign * with_sum[bit] + table.size(bit);
        let products = with_sum.iter_mut().zip(table.products(bit));
        products.for_each(|(sum, product)| *sum += sign * product);
        taken.push(bit, weight(bit, &table), value);
    }
    taken.taken
}

/// Bits whose distances follow how alike rows are: by all bits, and, where there are `scores` (of each class, one for
/// each row), by these; both count the same. At most `count`, fewer where no other bit says anything, and none where
/// the scores say nothing. A weight is the alignment of the bit alone.
pub(super) fn with_likeness(columns: &Columns, scores: Option<&[Vec<f64>]>, count: usize) -> Taken {
    /// Bits that stand for all: what the alignment with these leaves open is less than what a few hundred rows do.
    const STANDING_IN: usize = 2048;
    /// Drawn by its multiples, which meet each bit once, and at no step that codes may be made with.
    const PRIME: usize = 1_000_003;
    let mut table = Centred::of(columns);
    let mut left: Vec<usize> = (0..columns.len())
        .filter(|&bit| table.size(bit) > 0.0)
        .collect();
    let drawn: Vec<usize> = (0..left.len().min(STANDING_IN))
        .map(|i| left[i * PRIME % left.len()])
        .collect();
    let mut along = vec![0.0; columns.len()];
    for &bit in &drawn {
        let products = along.iter_mut().zip(table.products(bit));
        products.for_each(|(sum, product)| *sum += product * product);
    }
    // From here on in parts of the length of the target, which is made of one unit or two.
    let over_drawn = |along: &[f64]| drawn.iter().map(|&bit| along[bit]).sum::<f64>();
    let norm = over_drawn(&along).sqrt().max(f64::MIN_POSITIVE);
    along.iter_mut().for_each(|along| *along /= norm);
    if let Some(scores) = scores {
        let scores: Vec<Vec<f64>> = scores.iter().map(|scores| centred(scores)).collect();
        // Scores are of the size of 1, or of what rounding leaves of 0.
        let nothing = 1e-12 * columns.rows() as f64;
        if scores.iter().all(|scores| dot(scores, scores) < nothing) {
            return Taken::default();
        }
        let pairs = scores
            .iter()
            .flat_map(|a| scores.iter().map(move |b| dot(a, b)));
        let norm_of_scores = pairs.map(|product| product * product).sum::<f64>().sqrt();
        let mut along_scores = vec![0.0; columns.len()];
        for scores in &scores {
            let products = along_scores.iter_mut().zip(columns.products(scores));
            products.for_each(|(sum, product)| *sum += product * product / norm_of_scores);
        }
        let agreement = over_drawn(&along_scores) / norm;
        let length = (2.0 + 2.0 * agreement).sqrt();
        let both = along.iter_mut().zip(along_scores);
        both.for_each(|(along, of_scores)| *along = (*along + of_scores) / length);
    }

    // Σ over the bits taken of their squared products with each bit, and of all of these with each other.
    let mut with_taken = vec![0.0; columns.len()];
    let (mut followed, mut square) = (0.0, 0.0);
    let mut taken = Greedy::new(count);
    while taken.wants_more() {
        let value = |bit: usize| {
            let size = table.size(bit);
            (followed + along[bit]) / (square + 2.0 * with_taken[bit] + size * size).sqrt()
        };
        let Some((value, bit)) = taken.best(&mut left, value) else {
            break;
        };
        let size = table.size(bit);
        followed += along[bit];
        square += 2.0 * with_taken[bit] + size * size;
        let products = with_taken.iter_mut().zip(table.products(bit));
        products.for_each(|(sum, product)| *sum += product * product);
        taken.push(bit, along[bit] / size, value);
    }
    taken.taken
}

/// Inner products of columns, each less its mean.
struct Centred<'a> {
    columns: &'a Columns,
    sums: Vec<i64>,
    distances: Vec<u32>,
}

impl<'a> Centred<'a> {
    fn of(columns: &'a Columns) -> Centred<'a> {
        Centred {
            columns,
            sums: columns.sums(),
            distances: vec![0; columns.len()],
        }
    }

    /// Of a column with itself: exactly 0 where it is constant.
    fn size(&self, column: usize) -> f64 {
        let rows = self.columns.rows() as i64;
        let sum = self.sums[column];
        (rows * rows - sum * sum) as f64 / rows as f64
    }

    /// Of one column with each.
    fn products(&mut self, column: usize) -> impl Iterator<Item = f64> + '_ {
        self.columns.distances(column, &mut self.distances);
        let rows = self.columns.rows() as i64;
        let sum = self.sums[column];
        let others = self.distances.iter().zip(&self.sums);
        others.map(move |(distance, other)| {
            let product = rows - 2 * i64::from(*distance);
            (rows * product - sum * other) as f64 / rows as f64
        })
    }
}

/// Takes the best bit time and again.
struct Greedy {
    count: usize,
    highest: f64,
    taken: Taken,
}

impl Greedy {
    fn new(count: usize) -> Greedy {
        Greedy {
            count,
            highest: 0.0,
            taken: Taken::default(),
        }
    }

    fn wants_more(&self) -> bool {
        self.taken.bits.len() < self.count
    }

    /// The bit of the highest value, the first of equals; it is left no more.
    fn best(&self, left: &mut Vec<usize>, value: impl Fn(usize) -> f64) -> Option<(f64, usize)> {
        let mut best: Option<(f64, usize)> = None;
        for (place, &bit) in left.iter().enumerate() {
            let value = value(bit);
            if best.is_none_or(|(highest, _)| value > highest) {
                best = Some((value, place));
            }
        }
        best.map(|(value, place)| (value, left.remove(place)))
    }

    fn push(&mut self, bit: usize, weight: f64, value: f64) {
        let bit = bit as u32;
        self.taken.bits.push(SelectedBit { bit, weight });
        // By more than rounding.
        if value > self.highest + 1e-9 {
            self.highest = value;
            self.taken.informative = self.taken.bits.len();
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn centred(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    values.iter().map(|value| value - mean).collect()
}

/// Centred, of length 1; all zeros where all are equal but for rounding.
fn unit(values: &[f64]) -> Vec<f64> {
    let mut values = centred(values);
    let length = dot(&values, &values).sqrt();
    let scale = if length > 1e-9 { 1.0 / length } else { 0.0 };
    values.iter_mut().for_each(|value| *value *= scale);
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Columns of ±1, each less its mean.
    fn plain(codes: &[u8]) -> Vec<Vec<f64>> {
        let sign = |code: &u8, bit: usize| f64::from(code >> bit & 1) * 2.0 - 1.0;
        (0..8)
            .map(|bit| centred(&codes.iter().map(|c| sign(c, bit)).collect::<Vec<f64>>()))
            .collect()
    }

    fn columns(codes: &[u8]) -> Columns {
        Columns::of(8, &codes.chunks(1).collect::<Vec<_>>())
    }

    /// The centred Gram matrix of columns.
    fn kernel(columns: &[&[f64]]) -> Vec<f64> {
        let n = columns.first().map_or(0, |column| column.len());
        (0..n * n)
            .map(|ij| columns.iter().map(|c| c[ij / n] * c[ij % n]).sum())
            .collect()
    }

    fn cosine(a: &[f64], b: &[f64]) -> f64 {
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        if lengths < 1e-9 {
            0.0
        } else {
            dot(a, b) / lengths
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// By a direct search over all bits with the sums written out.
        #[test]
        fn each_bit_is_the_one_that_makes_the_sum_follow_the_scores_best(
            codes in proptest::collection::vec(any::<u8>(), 3..20),
            seed in proptest::collection::vec(-1.0f64..1.0, 20),
        ) {
            let x = plain(&codes);
            let scores = &seed[..codes.len()];
            let target = centred(scores);
            let taken = with_scores(&columns(&codes), scores, 8);
            let mut sum = vec![0.0; codes.len()];
            let mut left: Vec<usize> = (0..8)
                .filter(|&bit| dot(&x[bit], &target).abs() > 1e-6)
                .collect();
            prop_assert_eq!(taken.bits.len(), left.len());
            let mut highest = (0.0, 0);
            for (place, chosen) in taken.bits.iter().enumerate() {
                let with = |bit: usize| -> Vec<f64> {
                    let sign = dot(&x[bit], &target).signum();
                    sum.iter().zip(&x[bit]).map(|(sum, x)| sum + sign * x).collect()
                };
                let best = left.iter().map(|&bit| cosine(&with(bit), &target)).fold(f64::MIN, f64::max);
                let bit = chosen.bit as usize;
                let own = with(bit);
                let value = cosine(&own, &target);
                prop_assert!(value > best - 1e-9, "{value} {best}");
                prop_assert!((chosen.weight - cosine(&x[bit], &target)).abs() < 1e-9);
                if value > highest.0 + 1e-9 {
                    highest = (value, place + 1);
                }
                left.retain(|other| *other != bit);
                sum = own;
            }
            prop_assert_eq!(taken.informative, highest.1);
        }

        #[test]
        fn each_bit_is_the_one_that_makes_the_kernel_follow_the_likeness_best(
            codes in proptest::collection::vec(any::<u8>(), 3..12),
            seed in proptest::collection::vec(-1.0f64..1.0, 24),
            classes in 0usize..3,
        ) {
            let x = plain(&codes);
            let n = codes.len();
            let scores: Vec<Vec<f64>> = (0..classes).map(|c| seed[c * n..][..n].to_vec()).collect();
            let all: Vec<&[f64]> = x.iter().map(Vec::as_slice).collect();
            let centred_scores: Vec<Vec<f64>> = scores.iter().map(|s| centred(s)).collect();
            let of_scores: Vec<&[f64]> = centred_scores.iter().map(Vec::as_slice).collect();
            let unit = |kernel: Vec<f64>| -> Vec<f64> {
                let length = dot(&kernel, &kernel).sqrt();
                kernel.into_iter().map(|k| if length > 0.0 { k / length } else { 0.0 }).collect()
            };
            let mut target = unit(kernel(&all));
            if classes > 0 {
                target.iter_mut().zip(unit(kernel(&of_scores))).for_each(|(t, s)| *t += s);
            }
            let scores = (classes > 0).then_some(&scores[..]);
            let target = unit(target);
            let taken = with_likeness(&columns(&codes), scores, 8);
            if taken.bits.is_empty() {
                // Nothing differs, in bits or in scores.
                let differ = x.iter().any(|x| dot(x, x) > 0.0);
                prop_assert!(!differ || classes > 0 && of_scores.iter().all(|s| dot(s, s) < 1e-9));
                return Ok(());
            }
            let mut highest = (0.0, 0);
            let mut chosen: Vec<&[f64]> = Vec::new();
            let mut left: Vec<usize> = (0..8).filter(|&bit| dot(&x[bit], &x[bit]) > 0.0).collect();
            prop_assert_eq!(taken.bits.len(), left.len());
            for (place, one) in taken.bits.iter().enumerate() {
                let value = |bit: usize| {
                    let mut with = chosen.clone();
                    with.push(&x[bit]);
                    dot(&kernel(&with), &target) / dot(&kernel(&with), &kernel(&with)).sqrt()
                };
                let best = left.iter().map(|&bit| value(bit)).fold(f64::MIN, f64::max);
                let bit = one.bit as usize;
                prop_assert!(value(bit) > best - 1e-9);
                if value(bit) > highest.0 + 1e-9 {
                    highest = (value(bit), place + 1);
                }
                left.retain(|other| *other != bit);
                chosen.push(&x[bit]);
                prop_assert!((one.weight - cosine(&kernel(&[&x[bit]]), &target)).abs() < 1e-9);
            }
            prop_assert_eq!(taken.informative, highest.1);
        }
    }
}
