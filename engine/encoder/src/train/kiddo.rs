//! Knowledge-guided discrete optimisation (KIDDO of KALAHash): the codes of the training pictures that suit both what
//! is known of their classes and what the network says of them.

/// What codes are chosen by, and the codes: those of `pictures`, of which every step lessens
/// α mean((Y − Bᵀ W)²) + β mean((U − B)²).
pub(super) struct Kiddo<'a> {
    /// α.
    pub(super) alpha: f64,
    /// β.
    pub(super) beta: f64,
    /// W, what is known of the classes, a column each: `[bits, classes]`, row-major.
    pub(super) knowledge: &'a [f32],
    /// U, the network's outputs: `[pictures, bits]`, row-major.
    pub(super) outputs: &'a [f32],
    /// The class of each picture: Y is 1 there and 0 elsewhere.
    pub(super) labels: &'a [u32],
    /// Number of classes.
    pub(super) classes: usize,
}

impl Kiddo<'_> {
    /// Goes over all bits `sweeps` times. `codes` are B, −1 or 1: `[pictures, bits]`, row-major. With the other bits
    /// as they are, each bit of all pictures becomes what is best:
    /// B_k ← sign((Y − B₋ₖᵀ W₋ₖ) w_k α/C + U_k β/b), which is the update of the paper with the ratio βC/(αb) that
    /// follows where losses are means.
    pub(super) fn improve(&self, codes: &mut [f32], sweeps: usize) {
        let bits = self.bits();
        let mut residuals = self.residuals(codes);
        let of_text = self.alpha / self.classes as f64;
        let of_outputs = self.beta / bits as f64;
        for _ in 0..sweeps {
            let mut changed = false;
            for bit in 0..bits {
                let w = &self.knowledge[bit * self.classes..][..self.classes];
                let pictures = residuals.chunks_exact_mut(self.classes);
                for (picture, residual) in pictures.enumerate() {
                    let place = picture * bits + bit;
                    let old = f64::from(codes[place]);
                    let text: f64 = residual
                        .iter()
                        .zip(w)
                        .map(|(r, &w)| (r + old * f64::from(w)) * f64::from(w))
                        .sum();
                    let score = of_text * text + of_outputs * f64::from(self.outputs[place]);
                    let new = if score >= 0.0 { 1.0 } else { -1.0 };
                    if new != old {
                        changed = true;
                        codes[place] = new as f32;
                        let step = new - old;
                        let residual = residual.iter_mut().zip(w);
                        residual.for_each(|(r, &w)| *r -= step * f64::from(w));
                    }
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// Y − Bᵀ W: `[pictures, classes]`, row-major.
    fn residuals(&self, codes: &[f32]) -> Vec<f64> {
        let rows = codes.chunks_exact(self.bits()).zip(self.labels);
        let rows = rows.map(|(code, &label)| {
            let mut residual = vec![0.0; self.classes];
            residual[label as usize] = 1.0;
            for (w, &b) in self.knowledge.chunks_exact(self.classes).zip(code) {
                let residual = residual.iter_mut().zip(w);
                residual.for_each(|(r, &w)| *r -= f64::from(b) * f64::from(w));
            }
            residual
        });
        rows.collect::<Vec<_>>().concat()
    }

    fn bits(&self) -> usize {
        self.knowledge.len() / self.classes
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// α mean((Y − Bᵀ W)²) + β mean((U − B)²), read off the formula.
    fn objective(problem: &Kiddo<'_>, codes: &[f32]) -> f64 {
        let (bits, n) = (problem.bits(), problem.labels.len());
        let mut text = 0.0;
        for i in 0..n {
            for c in 0..problem.classes {
                let y = if problem.labels[i] as usize == c {
                    1.0
                } else {
                    0.0
                };
                let product: f64 = (0..bits)
                    .map(|k| {
                        let w = problem.knowledge[k * problem.classes + c];
                        f64::from(codes[i * bits + k]) * f64::from(w)
                    })
                    .sum();
                text += (y - product).powi(2);
            }
        }
        let pairs = problem.outputs.iter().zip(codes);
        let outputs: f64 = pairs.map(|(u, b)| f64::from(u - b).powi(2)).sum();
        problem.alpha * text / (n * problem.classes) as f64
            + problem.beta * outputs / (n * bits) as f64
    }

    #[test]
    fn no_step_raises_the_objective_and_each_is_a_direct_search() {
        let (bits, classes, n) = (6, 3, 4);
        for seed in 0..40 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut numbers = |count: usize, most: f32| -> Vec<f32> {
                (0..count).map(|_| rng.random_range(-most..most)).collect()
            };
            let (knowledge, outputs) = (numbers(bits * classes, 0.6), numbers(n * bits, 1.0));
            let signs = numbers(n * bits, 1.0);
            let mut codes: Vec<f32> = signs.iter().map(|v| v.signum()).collect();
            let problem = Kiddo {
                alpha: [0.0, 1.0, 0.3, 0.01][seed as usize % 4],
                beta: [1.0, 0.0, 0.2, 1.0][seed as usize % 4],
                knowledge: &knowledge,
                outputs: &outputs,
                labels: &[0, 2, 1, 2],
                classes,
            };
            // One bit of all pictures after the other, by trying all 2ⁿ rows.
            let mut searched = codes.clone();
            for bit in 0..bits {
                let with = |row: u32| {
                    let mut codes = searched.clone();
                    for i in 0..n {
                        codes[i * bits + bit] = if row >> i & 1 == 1 { 1.0 } else { -1.0 };
                    }
                    codes
                };
                let rows = (0..1 << n).map(with);
                let least =
                    rows.min_by(|a, b| objective(&problem, a).total_cmp(&objective(&problem, b)));
                searched = least.unwrap();
            }
            let before = objective(&problem, &codes);
            problem.improve(&mut codes, 1);
            assert_eq!(codes, searched, "seed {seed}");
            let mut last = objective(&problem, &codes);
            assert!(last <= before);
            for _ in 0..5 {
                problem.improve(&mut codes, 1);
                let now = objective(&problem, &codes);
                assert!(now <= last + 1e-12, "{now} after {last}");
                last = now;
            }
        }
    }

    #[test]
    fn two_bits_by_hand() {
        // W = (1 0; 0 2): with B = (1, 1) of class 0 the residual is (1 - 1, 0 - 2). Bit 0: (0 + 1) · 1 / 2 stays.
        // Bit 1: without it the residual is 0 at class 1, so that the output alone decides.
        let problem = Kiddo {
            alpha: 1.0,
            beta: 1.0,
            knowledge: &[1.0, 0.0, 0.0, 2.0],
            outputs: &[-0.5, -0.1],
            labels: &[0],
            classes: 2,
        };
        let mut codes = [1.0, 1.0];
        problem.improve(&mut codes, 1);
        assert_eq!(codes, [1.0, -1.0]);
    }
}
