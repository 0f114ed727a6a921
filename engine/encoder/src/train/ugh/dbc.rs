//! Predictable discriminative binary codes (DBC; Rastegari, Farhadi and Forsyth, ECCV 2012): hyperplanes with
//! large margins whose codes agree within categories and differ between them.
//!
//! With a label l = ±1 for every example i and bit k, Eq. 1 of the paper on UGH is
//!
//! Σ over pairs in one category of dist(lₘ, lₙ) − λ₂ Σ over pairs in different ones of dist(lₐ, l_b)
//! + γ Σₖ ‖wᵏ‖² + λ₁ Σₖ Σᵢ max(0, 1 − lᵢᵏ wᵏᵀxᵢ)
//!
//! with the Hamming distance. Labels and machines are improved in turns. Given the machines, its bits part, and
//! of one bit a label can be chosen with all others fixed: [`Labels::improve`].

use rand_chacha::ChaCha8Rng;

use super::svm::{Machine, Rows};
use crate::hash::dot;

/// The weights of the terms, and how long to go on.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    pub(super) lambda1: f32,
    pub(super) lambda2: f32,
    pub(super) gamma: f32,
    /// Turns of labels and machines.
    pub(super) turns: usize,
    /// Passes of a machine over the examples in a turn.
    pub(super) passes: usize,
}

/// The labels of one bit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Labels<'a> {
    /// 1 or −1 for each example.
    pub(super) values: Vec<f32>,
    /// The category of each.
    pub(super) categories: &'a [u32],
}

impl Labels<'_> {
    /// Goes through the labels one by one, choosing each so that Eq. 1 is least with all others as they are,
    /// until none changes; `responses` are the machine's. Returns whether any changed.
    ///
    /// Turning lᵢ from −1 to 1 adds −gᵢ + λ₁ (max(0, 1 − fᵢ) − max(0, 1 + fᵢ)) to the objective, where
    /// gᵢ = (1 + λ₂) S − λ₂ S', S the sum of the other labels of its category and S' of all other labels.
    pub(super) fn improve(&mut self, responses: &[f32], weights: &Weights) -> bool {
        /// Far more than is ever needed: every pass but the last lowers the objective.
        const MOST_PASSES: usize = 100;
        let count = self.categories.iter().max().map_or(0, |&c| c as usize + 1);
        let mut sums = vec![0.0f32; count];
        for (label, &category) in self.values.iter().zip(self.categories) {
            sums[category as usize] += label;
        }
        let mut all: f32 = sums.iter().sum();
        let mut any = false;
        for _ in 0..MOST_PASSES {
            let mut changed = false;
            for (i, &f) in responses.iter().enumerate() {
                let (label, sum) = (self.values[i], &mut sums[self.categories[i] as usize]);
                let g = (1.0 + weights.lambda2) * (*sum - label) - weights.lambda2 * (all - label);
                let hinge = (1.0 - f).max(0.0) - (1.0 + f).max(0.0);
                let gain = -g + weights.lambda1 * hinge;
                // A label stays where both are as good.
                let better = match gain {
                    gain if gain < 0.0 => 1.0,
                    gain if gain > 0.0 => -1.0,
                    _ => label,
                };
                if better != label {
                    self.values[i] = better;
                    *sum += better - label;
                    all += better - label;
                    changed = true;
                }
            }
            any |= changed;
            if !changed {
                break;
            }
        }
        any
    }
}

/// The hash functions, begun from the given labels for every bit: machines, and the labels that they learned.
pub(super) fn learn<'a>(
    rows: Rows<'_>,
    categories: &'a [u32],
    start: Vec<Vec<f32>>,
    weights: &Weights,
    rng: &mut ChaCha8Rng,
) -> Vec<(Vec<f32>, Labels<'a>)> {
    // γ ‖w‖² + λ₁ Σ max(…) is 2γ times what a machine of this cost minimises.
    let cost = weights.lambda1 / (2.0 * weights.gamma);
    let bits = start.into_iter().map(|values| {
        let mut labels = Labels { values, categories };
        let mut machine = Machine::new(rows.len(), rows.dim);
        let mut responses = vec![0.0; rows.len()];
        for turn in 0..weights.turns {
            labels.improve(&responses, weights);
            let same = machine.knows(&labels.values);
            if turn > 0 && same {
                break;
            }
            machine.learn(rows, &labels.values, cost, weights.passes, rng);
            for (i, response) in responses.iter_mut().enumerate() {
                *response = dot(rows.row(i), &machine.weight);
                if turn + 1 < weights.turns {
                    labels.values[i] = sign(*response);
                }
            }
        }
        (machine.weight, labels)
    });
    bits.collect()
}

/// 1 or −1; 1 for 0.
pub(super) fn sign(value: f32) -> f32 {
    if value >= 0.0 { 1.0 } else { -1.0 }
}

/// Signs of the first `count` principal components of the rows: where all diversity of the bits comes from.
///
/// By orthogonal iteration on the matrix of inner products of the centred rows, in a fixed order and so the same
/// everywhere; as close to the components as that comes in its iterations.
pub(super) fn principal_signs(
    rows: Rows<'_>,
    count: usize,
    start: impl FnMut() -> f64,
) -> Vec<Vec<f32>> {
    const ITERATIONS: usize = 100;
    let n = rows.len();
    let mut gram: Vec<f64> = Vec::with_capacity(n * n);
    for i in 0..n {
        for j in 0..n {
            let product = match j < i {
                true => gram[j * n + i],
                false => f64::from(dot(rows.row(i), rows.row(j))),
            };
            gram.push(product);
        }
    }
    // Inner products of centred rows: every row and column comes to have the mean 0.
    let means: Vec<f64> = gram
        .chunks_exact(n)
        .map(|r| r.iter().sum::<f64>() / n as f64)
        .collect();
    let mean = means.iter().sum::<f64>() / n as f64;
    for (row, row_mean) in gram.chunks_exact_mut(n).zip(&means) {
        let columns = row.iter_mut().zip(&means);
        columns.for_each(|(value, column_mean)| *value += mean - row_mean - column_mean);
    }
    let mut start = std::iter::repeat_with(start);
    let mut basis: Vec<Vec<f64>> = (0..count)
        .map(|_| start.by_ref().take(n).collect())
        .collect();
    for _ in 0..ITERATIONS {
        for vector in &mut basis {
            let products = gram
                .chunks_exact(n)
                .map(|row| row.iter().zip(&*vector).map(|(a, b)| a * b).sum());
            *vector = products.collect();
        }
        for k in 0..count {
            let (before, rest) = basis.split_at_mut(k);
            let vector = &mut rest[0];
            for other in before {
                let product: f64 = vector.iter().zip(&*other).map(|(a, b)| a * b).sum();
                vector
                    .iter_mut()
                    .zip(&*other)
                    .for_each(|(a, b)| *a -= product * b);
            }
            let length = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
            if length > 0.0 {
                vector.iter_mut().for_each(|v| *v /= length);
            }
        }
    }
    let signs = basis
        .iter()
        .map(|vector| vector.iter().map(|v| sign(*v as f32)).collect());
    signs.collect()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    const WEIGHTS: Weights = Weights {
        lambda1: 1.0,
        lambda2: 0.3,
        gamma: 1.0,
        turns: 5,
        passes: 50,
    };

    /// Eq. 1, pair by pair and term by term; bits by examples.
    fn objective(
        rows: Rows<'_>,
        categories: &[u32],
        labels: &[Vec<f32>],
        w: &[Vec<f32>],
        weights: &Weights,
    ) -> f64 {
        let n = categories.len();
        let mut sum = 0.0;
        for a in 0..n {
            for b in 0..n {
                let distance = labels.iter().filter(|l| l[a] != l[b]).count() as f64;
                match categories[a] == categories[b] {
                    true => sum += distance / 2.0,
                    false => sum -= f64::from(weights.lambda2) / 2.0 * distance,
                }
            }
        }
        for (w, labels) in w.iter().zip(labels) {
            sum += f64::from(weights.gamma) * w.iter().map(|w| f64::from(w * w)).sum::<f64>();
            for (i, label) in labels.iter().enumerate() {
                let loss = 1.0 - label * dot(rows.row(i), w);
                sum += f64::from(weights.lambda1) * f64::from(loss.max(0.0));
            }
        }
        sum
    }

    fn random(rng: &mut ChaCha8Rng, n: usize, size: f32) -> Vec<f32> {
        (0..n).map(|_| rng.random_range(-size..size)).collect()
    }

    #[test]
    fn choosing_labels_never_raises_the_objective_and_each_is_the_best_alone() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut improved = 0;
        for _ in 0..300 {
            let (n, dim) = (12, 4);
            let values = random(&mut rng, n * dim, 1.0);
            let rows = Rows {
                values: &values,
                dim,
            };
            let categories: Vec<u32> = (0..n).map(|_| rng.random_range(0..4)).collect();
            let weights = Weights {
                lambda1: rng.random_range(0.0..3.0),
                lambda2: rng.random_range(0.0..2.0),
                ..WEIGHTS
            };
            let w = random(&mut rng, dim, 2.0);
            let start: Vec<f32> = random(&mut rng, n, 1.0).into_iter().map(sign).collect();
            let f: Vec<f32> = (0..n).map(|i| dot(rows.row(i), &w)).collect();
            let at = |labels: &[f32]| {
                objective(
                    rows,
                    &categories,
                    &[labels.to_vec()],
                    std::slice::from_ref(&w),
                    &weights,
                )
            };
            let mut labels = Labels {
                values: start.clone(),
                categories: &categories,
            };
            labels.improve(&f, &weights);
            let (before, after) = (at(&start), at(&labels.values));
            assert!(after <= before + 1e-4, "{before} {after}");
            improved += usize::from(after < before);
            for i in 0..n {
                let mut other = labels.values.clone();
                other[i] = -other[i];
                assert!(
                    at(&other) >= after - 1e-4,
                    "label {i}: {after} {}",
                    at(&other)
                );
            }
        }
        assert!(improved > 200, "{improved}");
    }

    /// Whole turns end lower than they begin.
    #[test]
    fn learning_ends_below_its_start() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let (n, dim) = (40, 6);
        let categories: Vec<u32> = (0..n as u32).map(|i| i % 8).collect();
        let centres = random(&mut rng, 8 * dim, 1.0);
        let values: Vec<f32> = categories
            .iter()
            .flat_map(|&c| centres[c as usize * dim..][..dim].to_vec())
            .map(|v| v + rng.random_range(-0.2..0.2))
            .collect();
        let rows = Rows {
            values: &values,
            dim,
        };
        let mut draw = ChaCha8Rng::seed_from_u64(7);
        let start = principal_signs(rows, 3, || draw.random_range(-1.0..1.0));
        let learned = learn(rows, &categories, start.clone(), &WEIGHTS, &mut rng);
        let (w, labels): (Vec<Vec<f32>>, Vec<Vec<f32>>) = learned
            .into_iter()
            .map(|(w, labels)| (w, labels.values))
            .unzip();
        let zero = vec![vec![0.0; dim]; 3];
        let before = objective(rows, &categories, &start, &zero, &WEIGHTS);
        let after = objective(rows, &categories, &labels, &w, &WEIGHTS);
        assert!(after < before, "{before} {after}");
        // Categories that lie apart have one label each.
        let of_category = |labels: &[f32], c: u32| -> f32 {
            categories
                .iter()
                .zip(labels)
                .filter(|(k, _)| **k == c)
                .map(|(_, l)| l)
                .sum()
        };
        for labels in &labels {
            assert!(
                (0..8).all(|c| of_category(labels, c).abs() == 5.0),
                "{labels:?}"
            );
        }
    }

    #[test]
    fn principal_components_are_those_of_the_covariance() {
        // Every combination of numbers along three axes, which are turned and moved: the components are the axes,
        // of variance 7.5, 3.5 and 0.25.
        let mut along = Vec::new();
        for a in [-4.0f32, -1.0, 2.0, 3.0] {
            for b in [-2.0, -0.5, 2.5] {
                along.extend([-0.5, 0.5].map(|c| [a, b, c]));
            }
        }
        let values: Vec<f32> = along
            .iter()
            .flat_map(|[a, b, c]| [0.6 * a - 0.8 * b + 3.0, 0.8 * a + 0.6 * b - 1.0, c + 2.0])
            .collect();
        let rows = Rows {
            values: &values,
            dim: 3,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let signs = principal_signs(rows, 2, || rng.random_range(-1.0..1.0));
        for (k, signs) in signs.iter().enumerate() {
            let agree = along.iter().zip(signs).filter(|(a, s)| sign(a[k]) == **s);
            // The sign of a component itself is arbitrary.
            assert!([0, along.len()].contains(&agree.count()), "{k}: {signs:?}");
        }
    }
}
