//! PURPLE's losses, each a function of what a batch of pictures gives.
//!
//! Of a batch: z `[n, dim]` are frozen features of length 1, c `[prototypes, dim]` the feature prototypes,
//! v `[n, bits]` = tanh(G(x)) the approximate codes of one view, h `[prototypes, bits]` of ±1 the hashing prototypes.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, TchError, Tensor};

/// q, the pseudo-labels: softmax over prototypes of zᵀc / τ; `[n, prototypes]` (the paper's Eq. 1).
pub(super) fn pseudo_labels(z: &Tensor, c: &Tensor, temperature: f64) -> Result<Tensor, TchError> {
    (z.f_matmul(&c.f_tr()?)? / temperature).f_softmax(1, Kind::Float)
}

/// S^f: 1 for a picture and itself and where qᵢᵀqⱼ reaches the threshold, elsewhere qᵢᵀqⱼ; `[n, n]` (Eq. 2).
pub(super) fn feature_graph(q: &Tensor, threshold: f64) -> Result<Tensor, TchError> {
    let alike = q.f_matmul(&q.f_tr()?)?;
    let same = alike.f_ge(threshold)?;
    let mut graph = alike.f_masked_fill(&same, 1.0)?;
    graph.f_fill_diagonal_(1.0, false)
}

/// L_S: the cross-entropy of S^f and the rows of S^h, which is exp(cos / τ) of codes of first views, and of both
/// views of a picture on its diagonal (Eq. 3 and 4).
pub(super) fn graph_loss(
    graph: &Tensor,
    [first, second]: [&Tensor; 2],
    temperature: f64,
) -> Result<Tensor, TchError> {
    let n = graph.size()[0];
    let (first, second) = (unit_rows(first)?, unit_rows(second)?);
    let among = first.f_matmul(&first.f_tr()?)?;
    let between = (&first * &second).f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?;
    let itself = Tensor::f_eye(n, (Kind::Float, graph.device()))?;
    let cosines = &among * (itself.f_ones_like()? - &itself) + between * itself;
    let logarithms = (cosines / temperature).f_log_softmax(1, Kind::Float)?;
    Ok(-(graph * logarithms).f_sum(Kind::Float)? / n as f64)
}

/// L_C: each view's assignment to the hashing prototypes, balanced over the batch, foretold by the other view, mean
/// over both (Eq. 7, 8 and 11).
pub(super) fn prototype_loss(
    views: [&Tensor; 2],
    h: &Tensor,
    temperature: f64,
    smoothing: f64,
    iterations: usize,
) -> Result<Tensor, TchError> {
    let n = views[0].size()[0] as f64;
    let cosines = [cosines(views[0], h)?, cosines(views[1], h)?];
    let target = |of: &Tensor| sinkhorn(&of.f_detach()?, smoothing, iterations);
    let foretold = |of: &Tensor| (of / temperature).f_log_softmax(1, Kind::Float);
    let first = target(&cosines[0])? * foretold(&cosines[1])?;
    let second = target(&cosines[1])? * foretold(&cosines[0])?;
    Ok(-(first + second).f_sum(Kind::Float)? / (2.0 * n))
}

/// Balanced assignments of rows to columns by their scores `[n, m]`: rows sum to 1, columns to n / m, the more
/// exactly the more iterations (Sinkhorn and Knopp; Cuturi, NIPS 2013). In logarithms, so that no score is too large.
pub(super) fn sinkhorn(
    scores: &Tensor,
    smoothing: f64,
    iterations: usize,
) -> Result<Tensor, TchError> {
    let mut log = scores / smoothing;
    for _ in 0..iterations {
        // Columns to one and the same sum; which, the rows decide.
        log = &log - log.f_logsumexp([0i64].as_slice(), true)?;
        log = &log - log.f_logsumexp([1i64].as_slice(), true)?;
    }
    log.f_exp()
}

/// Cosines of codes and hashing prototypes: `[n, prototypes]`.
fn cosines(v: &Tensor, h: &Tensor) -> Result<Tensor, TchError> {
    let length = (h.size()[1] as f64).sqrt();
    unit_rows(v)?.f_matmul(&(h.f_tr()? / length))
}

/// Rows divided by their lengths; finite for rows of zeros, and so are its gradients.
fn unit_rows(x: &Tensor) -> Result<Tensor, TchError> {
    let squares = x.f_square()?;
    let lengths = squares.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float)?;
    x.f_div(&(lengths + 1e-12).f_sqrt()?)
}

/// h: `count` hashing prototypes, ±1 `[count, bits]`, row-major.
///
/// Where the width is a power of two above the count, they are columns of Sylvester's Hadamard matrix, drawn without
/// the column of ones alone, so any two differ in half of the bits; elsewhere every bit is drawn. Each column is
/// negated or not at random, which leaves it as far from the others: the matrix's first row is ones alone, and would
/// draw the first bit of all codes to one side.
pub(super) fn hashing_prototypes(count: usize, bits: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let sign = |negative: bool| if negative { -1.0 } else { 1.0 };
    if !(bits.is_power_of_two() && count < bits) {
        return (0..count * bits).map(|_| sign(rng.random())).collect();
    }
    let mut columns: Vec<usize> = (1..bits).collect();
    columns.shuffle(rng);
    let mut prototypes = Vec::with_capacity(count * bits);
    for column in columns.into_iter().take(count) {
        let negated: bool = rng.random();
        let bit = |row: usize| sign(((row & column).count_ones() % 2 == 1) != negated);
        prototypes.extend((0..bits).map(bit));
    }
    prototypes
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use tch::Device;

    const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

    fn matrix<const N: usize, const M: usize>(rows: [[f32; M]; N]) -> Tensor {
        Tensor::from_slice(rows.as_flattened()).view([N as i64, M as i64])
    }

    fn numbers(x: &Tensor) -> Vec<f64> {
        Vec::try_from(x.to_kind(Kind::Double).reshape([-1])).unwrap()
    }

    fn random(shape: [i64; 2], seed: u64) -> Tensor {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = shape[0] * shape[1];
        let values: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_slice(&values).view(shape)
    }

    fn cosine(a: &[f64], b: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn two_pictures_and_two_prototypes_by_hand() {
        let z = matrix([[1.0, 0.0], [0.0, 1.0]]);
        let q = pseudo_labels(&z, &z, 0.5).unwrap();
        // e² / (e² + 1), and what is left of one.
        let most = 2f64.exp() / (2f64.exp() + 1.0);
        let expected = [most, 1.0 - most, 1.0 - most, most];
        for (found, expected) in numbers(&q).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
        let alike = 2.0 * most * (1.0 - most);
        let graph = numbers(&feature_graph(&q, 0.8).unwrap());
        for (found, expected) in graph.iter().zip([1.0, alike, alike, 1.0]) {
            assert!((found - expected).abs() < 1e-6);
        }
        let graph = numbers(&feature_graph(&q, alike - 1e-4).unwrap());
        assert_eq!(graph, [1.0; 4]);
    }

    /// The paper has one temperature, 0.5, and a threshold of 0.8. With 50 prototypes and features of length 1 no
    /// qᵀq reaches it at 0.5, so the graph would have no edge; at 0.05 pictures of one cluster do.
    #[test]
    fn the_threshold_is_reached_at_the_lower_temperature_alone() {
        // A picture at its prototype, as far from all others as can be: at cosine −1.
        let z = matrix([[1.0], [1.0]]);
        let mut opposite = [[-1.0]; 50];
        opposite[0] = [1.0];
        let alike = |z: &Tensor, c: &Tensor, temperature: f64| {
            let q = pseudo_labels(z, c, temperature).unwrap();
            q.matmul(&q.tr()).double_value(&[0, 1])
        };
        assert!(alike(&z, &matrix(opposite), 0.5) < 0.3);
        // Orthogonal prototypes, and two pictures of cosine 0.9 and 0.8 to the same one.
        let axes = Tensor::eye(50, (Kind::Float, Device::Cpu));
        let mut z = [[0.0f32; 52]; 2];
        for (i, cosine) in [0.9f32, 0.8].into_iter().enumerate() {
            z[i][7] = cosine;
            z[i][50 + i] = (1.0 - cosine * cosine).sqrt();
        }
        let z = matrix(z).narrow(1, 0, 50);
        assert!(alike(&z, &axes, 0.5) < 0.1);
        assert!(alike(&z, &axes, 0.05) > 0.8);
    }

    #[test]
    fn graph_loss_is_the_sum_written_out() {
        let (n, bits) = (5, 4);
        let (first, second) = (random([n, bits], 1), random([n, bits], 2));
        let q = random([n, 3], 3).softmax(1, Kind::Float);
        let graph = feature_graph(&q, 0.4).unwrap();
        let row = |x: &Tensor, i: usize| numbers(&x.get(i as i64));
        let mut expected = 0.0;
        let weights = numbers(&graph);
        for i in 0..n as usize {
            let alike = |j: usize| {
                let other = if i == j {
                    row(&second, j)
                } else {
                    row(&first, j)
                };
                (cosine(&row(&first, i), &other) / 0.5).exp()
            };
            let sum: f64 = (0..n as usize).map(alike).sum();
            for j in 0..n as usize {
                expected -= weights[i * n as usize + j] * (alike(j) / sum).ln() / n as f64;
            }
        }
        let found = graph_loss(&graph, [&first, &second], 0.5).unwrap();
        assert!((found.double_value(&[]) - expected).abs() < 1e-5);
    }

    #[test]
    fn prototype_loss_is_the_sum_written_out() {
        let (n, bits, count) = (6, 8, 3);
        let views = [random([n, bits], 1), random([n, bits], 2)];
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let h = hashing_prototypes(count, bits as usize, &mut rng);
        let h = Tensor::from_slice(&h).view([count as i64, bits]);
        let cosines = |v: &Tensor| -> Vec<Vec<f64>> {
            let of = |i: i64| {
                let place = |m: i64| cosine(&numbers(&v.get(i)), &numbers(&h.get(m)));
                (0..count as i64).map(place).collect()
            };
            (0..n).map(of).collect()
        };
        let all = [cosines(&views[0]), cosines(&views[1])];
        // The algorithm as it is printed: on P itself, whole rows and columns in turn.
        let assigned = |cosines: &[Vec<f64>]| {
            let mut p: Vec<Vec<f64>> = cosines
                .iter()
                .map(|row| row.iter().map(|c| (c / 0.05).exp()).collect())
                .collect();
            for _ in 0..3 {
                for m in 0..count {
                    let sum: f64 = p.iter().map(|row| row[m]).sum();
                    p.iter_mut().for_each(|row| row[m] /= sum * count as f64);
                }
                for row in &mut p {
                    let sum: f64 = row.iter().sum();
                    row.iter_mut().for_each(|v| *v /= sum * n as f64);
                }
            }
            p.iter_mut().flatten().for_each(|v| *v *= n as f64);
            p
        };
        let mut expected = 0.0;
        for (from, to) in [(0, 1), (1, 0)] {
            for (target, cosines) in assigned(&all[from]).iter().zip(&all[to]) {
                let sum: f64 = cosines.iter().map(|c| (c / 0.5).exp()).sum();
                for (q, c) in target.iter().zip(cosines) {
                    expected -= q * ((c / 0.5).exp() / sum).ln() / (2.0 * n as f64);
                }
            }
        }
        let found = prototype_loss([&views[0], &views[1]], &h, 0.5, 0.05, 3).unwrap();
        assert!((found.double_value(&[]) - expected).abs() < 1e-5);
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let graph = feature_graph(&random([4, 3], 1).softmax(1, Kind::Float), 0.5).unwrap();
        let h = hashing_prototypes(3, 6, &mut ChaCha8Rng::seed_from_u64(2));
        let h = Tensor::from_slice(&h).view([3, 6]);
        let second = random([4, 6], 3);
        // One side of L_C alone: what is assigned is a constant to the gradient, but not to differences.
        let fixed = sinkhorn(&cosines(&second, &h).unwrap(), 0.05, 3).unwrap();
        let foretold = |v: &Tensor| -> Tensor {
            let logarithms = (cosines(v, &h).unwrap() / 0.5).log_softmax(1, Kind::Float);
            -(&fixed * logarithms).sum(Kind::Float)
        };
        let losses: [&dyn Fn(&Tensor) -> Tensor; 3] = [
            &|v| graph_loss(&graph, [v, &second], 0.5).unwrap(),
            &|v| graph_loss(&graph, [&second, v], 0.5).unwrap(),
            &foretold,
        ];
        for (number, loss) in losses.iter().enumerate() {
            let v = random([4, 6], 4).set_requires_grad(true);
            loss(&v).backward();
            let gradient = numbers(&v.grad());
            for (place, gradient) in gradient.iter().enumerate() {
                let moved = |by: f64| {
                    let x = v.detach().copy();
                    let _ = x.view([-1]).narrow(0, place as i64, 1).g_add_scalar_(by);
                    loss(&x).double_value(&[])
                };
                let step = 1e-2;
                let slope = (moved(step) - moved(-step)) / (2.0 * step);
                assert!(
                    (slope - gradient).abs() < 2e-3,
                    "loss {number}: {slope} {gradient}"
                );
            }
        }
    }

    #[test]
    fn assignments_are_balanced() {
        let scores = random([48, 50], 7);
        let assigned = sinkhorn(&scores, 0.05, 300).unwrap().to_kind(Kind::Double);
        for (dim, expected) in [(1i64, 1.0), (0, 48.0 / 50.0)] {
            let sums = assigned.sum_dim_intlist([dim].as_slice(), false, Kind::Double);
            let off: Tensor = (sums - expected).abs().max();
            assert!(off.double_value(&[]) < 1e-3);
        }
        // Rows are exact after every iteration, and one iteration more never unbalances the columns.
        let unbalance = |iterations: usize| {
            let assigned = sinkhorn(&scores, 0.05, iterations).unwrap();
            let rows = assigned.sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
            assert!((rows - 1.0).abs().max().double_value(&[]) < 1e-5);
            let columns = assigned.sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
            (columns - 48.0 / 50.0)
                .abs()
                .sum(Kind::Double)
                .double_value(&[])
        };
        let all: Vec<f64> = [1, 3, 10, 30].map(unbalance).to_vec();
        assert!(all.is_sorted_by(|a, b| a >= b), "{all:?}");
    }

    /// exp(64 / 0.05) is infinite, and was NaN after the first division.
    #[test]
    fn extreme_scores_are_assigned_in_finite_numbers() {
        for size in [1e-30, 64.0, 1e6] {
            let assigned = sinkhorn(&(random([8, 5], 1) * size), 0.05, 3).unwrap();
            assert_eq!(assigned.isfinite().all().int64_value(&[]), 1, "{size}");
            let rows = assigned.sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
            assert!((rows - 1.0).abs().max().double_value(&[]) < 1e-4);
        }
        let graph = Tensor::ones([3, 3], (Kind::Float, Device::Cpu));
        let h = matrix([[1.0, -1.0, 1.0, 1.0], [1.0, 1.0, -1.0, 1.0]]);
        for v in [[[0.0f32; 4]; 3], [[1.0; 4]; 3], [[-1e-20; 4]; 3]] {
            let v = matrix(v).set_requires_grad(true);
            let loss = graph_loss(&graph, [&v, &v], 1e-3).unwrap()
                + prototype_loss([&v, &v], &h, 1e-3, 1e-3, 3).unwrap();
            loss.backward();
            assert!(loss.double_value(&[]).is_finite());
            assert_eq!(v.grad().isfinite().all().int64_value(&[]), 1);
        }
    }

    #[test]
    fn hadamard_prototypes_are_orthogonal_and_say_something_in_every_bit() {
        for seed in 0..20 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (count, bits) = (50, 64);
            let h = hashing_prototypes(count, bits, &mut rng);
            let h = Tensor::from_slice(&h).view([count as i64, bits as i64]);
            assert_eq!(numbers(&h.abs()), vec![1.0; count * bits]);
            let products = h.matmul(&h.tr()).to_kind(Kind::Double);
            assert_eq!(products, Tensor::eye(count as i64, F64) * bits as f64);
            // None is ones alone, and each has as many of both signs.
            let sums = h.sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
            assert_eq!(numbers(&sums), vec![0.0; count]);
            let bits = h.sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
            assert!(numbers(&bits).iter().all(|sum| sum.abs() < count as f64));
        }
        // Too many for the width, or a width that is no power of two: drawn bit by bit.
        for (count, bits) in [(50, 16), (16, 16), (5, 24)] {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let h = hashing_prototypes(count, bits, &mut rng);
            assert_eq!(h.len(), count * bits);
            let ones = h.iter().filter(|v| **v == 1.0).count() as f64;
            let half = (count * bits) as f64 / 2.0;
            assert!((ones - half).abs() < 4.0 * (half / 2.0).sqrt(), "{ones}");
        }
    }
}
