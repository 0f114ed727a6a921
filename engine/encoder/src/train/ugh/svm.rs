//! Linear support vector machines without a bias, by dual coordinate descent (Hsieh, Chang, Lin, Keerthi and
//! Sundararajan, ICML 2008):
//!
//! min ½ ‖w‖² + C Σᵢ max(0, 1 − lᵢ wᵀxᵢ)

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::hash::{Dot, Term};

/// Vectors of `dim` numbers, row by row.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) dim: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn len(self) -> usize {
        self.values.len() / self.dim
    }

    pub(super) fn row(self, i: usize) -> &'a [f32] {
        &self.values[i * self.dim..][..self.dim]
    }
}

/// A machine that can go on learning when labels change.
pub(super) struct Machine {
    /// w: `[dim]`.
    pub(super) weight: Vec<f32>,
    /// Σ over examples of dual variable times label gives w; between 0 and C.
    alphas: Vec<f32>,
    labels: Vec<f32>,
}

impl Machine {
    pub(super) fn new(examples: usize, dim: usize) -> Machine {
        Machine {
            weight: vec![0.0; dim],
            alphas: vec![0.0; examples],
            labels: vec![1.0; examples],
        }
    }

    /// Whether these are the labels that it learned last.
    pub(super) fn knows(&self, labels: &[f32]) -> bool {
        self.labels == labels
    }

    /// Learns the labels, each 1 or −1, at cost C in at most so many passes; examples whose labels are as
    /// before keep what they said.
    pub(super) fn learn(
        &mut self,
        rows: Rows<'_>,
        labels: &[f32],
        cost: f32,
        passes: usize,
        rng: &mut ChaCha8Rng,
    ) {
        for (i, &label) in labels.iter().enumerate() {
            if label != self.labels[i] {
                add(
                    -self.alphas[i] * self.labels[i],
                    rows.row(i),
                    &mut self.weight,
                );
                self.alphas[i] = 0.0;
                self.labels[i] = label;
            }
        }
        let squares: Vec<f32> = (0..rows.len())
            .map(|i| Dot::of(rows.row(i), rows.row(i)).max(f32::MIN_POSITIVE))
            .collect();
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        for _ in 0..passes {
            order.shuffle(rng);
            // As in LIBLINEAR: the distance of the projected gradients.
            const TOLERANCE: f32 = 0.1;
            if self.pass(rows, &squares, &order, cost) <= TOLERANCE {
                break;
            }
        }
    }

    /// One pass over the examples; returns by how much the optimality conditions were broken.
    fn pass(&mut self, rows: Rows<'_>, squares: &[f32], order: &[u32], cost: f32) -> f32 {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            /// # Safety
            /// The processor must have AVX2.
            #[target_feature(enable = "avx2")]
            unsafe fn wide(
                machine: &mut Machine,
                rows: Rows<'_>,
                squares: &[f32],
                order: &[u32],
                cost: f32,
            ) -> f32 {
                machine.pass_here(rows, squares, order, cost)
            }
            // SAFETY: the processor has AVX2. Sums are the same with it: each product and each sum is rounded
            // as without.
            return unsafe { wide(self, rows, squares, order, cost) };
        }
        self.pass_here(rows, squares, order, cost)
    }

    #[inline(always)]
    fn pass_here(&mut self, rows: Rows<'_>, squares: &[f32], order: &[u32], cost: f32) -> f32 {
        let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
        for &i in order {
            let i = i as usize;
            let (row, label, alpha) = (rows.row(i), self.labels[i], self.alphas[i]);
            let slope = label * Dot::of(row, &self.weight) - 1.0;
            let projected = if alpha <= 0.0 {
                slope.min(0.0)
            } else if alpha >= cost {
                slope.max(0.0)
            } else {
                slope
            };
            least = least.min(projected);
            most = most.max(projected);
            if projected != 0.0 {
                let next = (alpha - slope / squares[i]).clamp(0.0, cost);
                self.alphas[i] = next;
                add((next - alpha) * label, row, &mut self.weight);
            }
        }
        most - least
    }
}

#[inline(always)]
fn add(factor: f32, row: &[f32], weight: &mut [f32]) {
    weight
        .iter_mut()
        .zip(row)
        .for_each(|(w, x)| *w += factor * x);
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    fn objective(rows: Rows<'_>, labels: &[f32], cost: f64, w: &[f64]) -> f64 {
        let losses = labels.iter().enumerate().map(|(i, label)| {
            let row = rows.row(i).iter().zip(w);
            let product: f64 = row.map(|(x, w)| f64::from(*x) * w).sum();
            (1.0 - f64::from(*label) * product).max(0.0)
        });
        w.iter().map(|w| w * w).sum::<f64>() / 2.0 + cost * losses.sum::<f64>()
    }

    /// Subgradient descent with averaging over ever smaller steps: slow, and in the primal.
    fn slowly(rows: Rows<'_>, labels: &[f32], cost: f64) -> f64 {
        let mut w = vec![0.0; rows.dim];
        let mut best = f64::INFINITY;
        for t in 0..40_000 {
            let mut slope = w.clone();
            for (i, label) in labels.iter().enumerate() {
                let row = rows.row(i);
                let product: f64 = row.iter().zip(&w).map(|(x, w)| f64::from(*x) * w).sum();
                if f64::from(*label) * product < 1.0 {
                    let factor = cost * f64::from(*label);
                    let along = slope.iter_mut().zip(row);
                    along.for_each(|(s, x)| *s -= factor * f64::from(*x));
                }
            }
            let step = 1.0 / f64::from(t + 2);
            w.iter_mut().zip(&slope).for_each(|(w, s)| *w -= step * s);
            best = best.min(objective(rows, labels, cost, &w));
        }
        best
    }

    #[test]
    fn machines_find_what_slow_descent_finds_from_scratch_and_after_labels_changed() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let dim = 5;
        let values: Vec<f32> = (0..30 * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
        let rows = Rows {
            values: &values,
            dim,
        };
        let mut labels: Vec<f32> = (0..30)
            .map(|i| {
                if rows.row(i)[0] + 0.3 * rows.row(i)[1] > 0.1 {
                    1.0
                } else {
                    -1.0
                }
            })
            .collect();
        let mut machine = Machine::new(30, dim);
        for turn in 0..2 {
            machine.learn(rows, &labels, 0.5, 1000, &mut rng);
            let w: Vec<f64> = machine.weight.iter().map(|w| f64::from(*w)).collect();
            let found = objective(rows, &labels, 0.5, &w);
            let slow = slowly(rows, &labels, 0.5);
            // The tolerance of the projected gradients is 0.1; it is far less in the objective.
            assert!(
                (found - slow).abs() < 0.01 * slow,
                "turn {turn}: {found} {slow}"
            );
            labels[..5].iter_mut().for_each(|label| *label = -*label);
        }
    }
}
