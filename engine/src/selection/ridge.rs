//! How much like its examples a decision finds each code: regularised least squares over all bits,
//!
//! min Σᵢ pᵢ (tᵢ − wᵀ(xᵢ − m))² + λ W ‖w‖²
//!
//! for targets tᵢ of ±1 and weights pᵢ that sum to 1, m the weighted mean of the codes and W their width. It is
//! solved over examples, whose products are Hamming distances, so the width hardly matters. The larger λ, the
//! nearer comes it to the difference of the two sides' means.

use super::columns::kernels;

/// Products xᵢ · xⱼ of codes of ±1, in parts of their width: of some with themselves and all.
pub(super) struct Gram {
    /// Row by row, a row for each of the first codes.
    products: Vec<f64>,
    columns: usize,
}

/// What a decision makes of an example.
#[derive(Clone, Copy)]
pub(super) struct Weighted {
    pub(super) target: f64,
    pub(super) weight: f64,
}

impl Gram {
    /// Of the first `examples` codes with each other and with all.
    pub(super) fn of(width: u32, codes: &[&[u8]], examples: usize) -> Gram {
        let all = codes.concat();
        let mut distances = vec![0; codes.len()];
        let mut products = Vec::with_capacity(examples * codes.len());
        for code in &codes[..examples] {
            kernels().distances(code, &all, &mut distances);
            let width = f64::from(width);
            products.extend(distances.iter().map(|d| 1.0 - 2.0 * f64::from(*d) / width));
        }
        Gram {
            products,
            columns: codes.len(),
        }
    }

    fn examples(&self) -> usize {
        self.products.len() / self.columns.max(1)
    }

    fn row(&self, example: usize) -> &[f64] {
        &self.products[example * self.columns..][..self.columns]
    }

    /// wᵀ(x − m) of every code, for a decision over the examples; weights of 0 take no part.
    pub(super) fn scores(&self, examples: &[Weighted], lambda: f64) -> Vec<f64> {
        // w = Σ aᵢ pᵢ (xᵢ − m), where (K P + λ) a = t − t̄; with u = √P a it is symmetric: √P K √P + λ.
        let part: Vec<usize> = (0..self.examples())
            .filter(|&i| examples[i].weight > 0.0)
            .collect();
        let weight = |i: usize| examples[i].weight;
        let mean_target: f64 = part.iter().map(|&i| weight(i) * examples[i].target).sum();
        // Products with the mean.
        let mut with_mean = vec![0.0; self.columns];
        for &i in &part {
            let row = with_mean.iter_mut().zip(self.row(i));
            row.for_each(|(sum, product)| *sum += weight(i) * product);
        }
        let of_mean: f64 = part.iter().map(|&i| weight(i) * with_mean[i]).sum();
        let centred = |i: usize, j: usize| self.row(i)[j] - with_mean[i] - with_mean[j] + of_mean;
        let roots: Vec<f64> = part.iter().map(|&i| weight(i).sqrt()).collect();
        let system: Vec<f64> = part
            .iter()
            .zip(&roots)
            .flat_map(|(&i, a)| {
                part.iter()
                    .zip(&roots)
                    .map(move |(&j, b)| a * b * centred(i, j))
            })
            .collect();
        let right: Vec<f64> = part
            .iter()
            .zip(&roots)
            .map(|(&i, root)| root * (examples[i].target - mean_target))
            .collect();
        let u = conjugate_gradients(&system, lambda, &right);
        let mut scores = vec![0.0; self.columns];
        for ((&i, root), u) in part.iter().zip(&roots).zip(u) {
            let factor = root * u;
            for (j, score) in scores.iter_mut().enumerate() {
                *score += factor * centred(i, j);
            }
        }
        scores
    }
}

/// Solves (A + λ) u = b, where A is positive semidefinite, row by row.
fn conjugate_gradients(a: &[f64], lambda: f64, b: &[f64]) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let n = b.len();
    let (mut u, mut residual) = (vec![0.0; n], b.to_vec());
    let mut direction = residual.clone();
    let mut size = dot(&residual, &residual);
    let enough = 1e-20 * size;
    // In exact arithmetic n steps are all that is needed.
    for _ in 0..2 * n {
        if size <= enough {
            break;
        }
        let image: Vec<f64> = a
            .chunks_exact(n)
            .zip(&direction)
            .map(|(row, own)| dot(row, &direction) + lambda * own)
            .collect();
        let step = size / dot(&direction, &image);
        u.iter_mut()
            .zip(&direction)
            .for_each(|(u, d)| *u += step * d);
        residual
            .iter_mut()
            .zip(&image)
            .for_each(|(r, image)| *r -= step * image);
        let before = size;
        size = dot(&residual, &residual);
        let turn = size / before;
        direction
            .iter_mut()
            .zip(&residual)
            .for_each(|(d, r)| *d = r + turn * *d);
    }
    u
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The same problem over bits, by gradient descent.
        #[test]
        fn scores_are_those_of_the_least_squares_problem_over_bits(
            codes in proptest::collection::vec(any::<u8>(), 4..9),
            first in 1usize..3,
            lambda in 0.05f64..2.0,
        ) {
            const WIDTH: usize = 8;
            let n = codes.len() - 1;
            let rows: Vec<&[u8]> = codes.chunks(1).collect();
            let example = |i: usize| match i < first {
                true => Weighted { target: 1.0, weight: 0.5 / first as f64 },
                false => Weighted { target: -1.0, weight: 0.5 / (n - first) as f64 },
            };
            let examples: Vec<Weighted> = (0..n).map(example).collect();
            let scores = Gram::of(WIDTH as u32, &rows, n).scores(&examples, lambda);

            let x: Vec<Vec<f64>> = codes.iter()
                .map(|code| (0..WIDTH).map(|bit| f64::from(code >> bit & 1) * 2.0 - 1.0).collect())
                .collect();
            let mean: Vec<f64> = (0..WIDTH)
                .map(|bit| (0..n).map(|i| examples[i].weight * x[i][bit]).sum())
                .collect();
            let score = |w: &[f64], i: usize| -> f64 {
                (0..WIDTH).map(|bit| w[bit] * (x[i][bit] - mean[bit])).sum()
            };
            let mut w = vec![0.0; WIDTH];
            for _ in 0..3000 {
                let off: Vec<f64> = (0..n)
                    .map(|i| examples[i].weight * (score(&w, i) - examples[i].target))
                    .collect();
                for bit in 0..WIDTH {
                    let slope: f64 = (0..n).map(|i| off[i] * (x[i][bit] - mean[bit])).sum();
                    w[bit] -= 0.03 * (slope + lambda * WIDTH as f64 * w[bit]);
                }
            }
            // Targets have a weighted mean of 0, so there is no bias.
            for (i, found) in scores.into_iter().enumerate() {
                prop_assert!((found - score(&w, i)).abs() < 1e-6, "{found} {}", score(&w, i));
            }
        }
    }
}
