//! What is known of a domain before its new classes are seen: the whitening and the prior
//! prototypes, both computed from base classes in closed form.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::backbone::gaussian;
use crate::error::Error;
use crate::features::Features;
use crate::hash::{Prototypes, normalise, squared_distance, unit};

/// W = (Σ / σ² + λ I)^(−1/2), `[dim, dim]`: Σ is the covariance of centred directions within
/// classes, σ² its mean variance a dimension, λ the `shrinkage`. The identity where pictures of
/// a class do not vary at all.
pub(super) fn whitening(
    base: &Features,
    centre: &[f32],
    shrinkage: f64,
) -> Result<Vec<f32>, Error> {
    let dim = base.dim;
    let directions: Vec<Vec<f32>> = base
        .values
        .par_chunks_exact(dim)
        .map(|feature| normalise(feature, centre))
        .collect();
    let classes = base.labels.iter().max().map_or(0, |&m| m as usize + 1);
    let mut means = vec![vec![0f64; dim]; classes];
    let mut counts = vec![0usize; classes];
    for (direction, &label) in directions.iter().zip(&base.labels) {
        let mean = &mut means[label as usize];
        mean.iter_mut()
            .zip(direction)
            .for_each(|(m, v)| *m += f64::from(*v));
        counts[label as usize] += 1;
    }
    for (mean, count) in means.iter_mut().zip(counts) {
        mean.iter_mut().for_each(|m| *m /= count.max(1) as f64);
    }
    let residuals: Vec<f32> = directions
        .par_iter()
        .zip(&base.labels)
        .flat_map_iter(|(direction, &label)| {
            let mean = &means[label as usize];
            direction.iter().zip(mean).map(|(v, m)| v - *m as f32)
        })
        .collect();
    tch::no_grad(|| {
        let shape = [base.len() as i64, dim as i64];
        let residuals = Tensor::from_slice(&residuals).f_view(shape)?;
        let residuals = residuals.f_to_kind(Kind::Double)?;
        let covariance = residuals.f_tr()?.f_matmul(&residuals)?;
        let variance = covariance.f_trace()?.f_double_value(&[])? / dim as f64;
        let identity = Tensor::f_eye(dim as i64, (Kind::Double, Device::Cpu))?;
        let whitening = if variance > 0.0 {
            let shrunk = covariance / variance + identity * shrinkage;
            let (values, vectors) = shrunk.f_linalg_eigh("L")?;
            // Eigenvalues are λ at least, but for rounding.
            let scales = values.f_clamp_min(shrinkage)?.f_pow_tensor_scalar(-0.5)?;
            (&vectors * scales.f_unsqueeze(0)?).f_matmul(&vectors.f_tr()?)?
        } else {
            identity
        };
        let values = whitening.f_to_kind(Kind::Float)?.f_reshape([-1])?;
        Ok(Vec::try_from(values)?)
    })
}

/// Prior prototypes from the normalised base features: the mean of each class, or, where
/// `per_class` is more than one, the centres of that many clusters of it; of `of_classes` classes drawn at
/// random, if that is said; and the statistics of distances to them.
pub(super) fn prototypes(
    base: &[Vec<f32>],
    labels: &[u32],
    per_class: usize,
    of_classes: Option<usize>,
    rng: &mut ChaCha8Rng,
) -> Prototypes {
    let mut numbers = crate::features::classes(labels);
    if let Some(count) = of_classes.filter(|count| *count < numbers.len()) {
        numbers.shuffle(rng);
        numbers.truncate(count);
        numbers.sort_unstable();
    }
    let mut classes = Vec::new();
    let points: Vec<Vec<f32>> = numbers
        .into_iter()
        .flat_map(|class| {
            let members = base
                .iter()
                .zip(labels)
                .filter(|(_, label)| **label == class);
            let members: Vec<&[f32]> = members.map(|(e, _)| e.as_slice()).collect();
            let centres = cluster_centres(&members, per_class, rng);
            classes.extend(centres.iter().map(|_| class));
            centres
        })
        .collect();
    let statistics: Vec<(f32, f32)> = points
        .par_iter()
        .map(|point| {
            let distances = base
                .iter()
                .map(|e| f64::from(squared_distance(e, point).sqrt()));
            let (sum, squares) = distances.fold((0.0, 0.0), |(s, q), d| (s + d, q + d * d));
            let mean = sum / base.len() as f64;
            let variance = (squares / base.len() as f64 - mean * mean).max(1e-12);
            (mean as f32, (1.0 / variance.sqrt()) as f32)
        })
        .collect();
    let (mean, inverse_deviation) = statistics.into_iter().unzip();
    let distances: Vec<f64> = base
        .par_iter()
        .zip(labels)
        .filter_map(|(e, label)| {
            let own = points.iter().zip(&classes).filter(|(_, of)| *of == label);
            let distances = own.map(|(point, _)| f64::from(squared_distance(e, point)));
            distances.min_by(f64::total_cmp)
        })
        .collect();
    let spread = distances.iter().sum::<f64>() / distances.len().max(1) as f64;
    Prototypes {
        points: points.concat(),
        classes,
        spread: spread as f32,
        mean,
        inverse_deviation,
    }
}

/// At most `count` centres of `points` by Lloyd's k-means, begun at points drawn far from each
/// other (k-means++; Arthur and Vassilvitskii, SODA 2007). One centre is the mean.
pub(super) fn cluster_centres(
    points: &[&[f32]],
    count: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<f32>> {
    const ROUNDS: usize = 20;
    if points.is_empty() {
        return Vec::new();
    }
    if count <= 1 {
        return vec![mean_of(points.iter().copied())];
    }
    let mut centres = spread_points(points, count, rng);
    let mut members = Vec::new();
    for _ in 0..ROUNDS {
        let now: Vec<usize> = points
            .par_iter()
            .map(|point| nearest(point, &centres).0)
            .collect();
        if now == members {
            break;
        }
        members = now;
        for (number, centre) in centres.iter_mut().enumerate() {
            let own = points
                .iter()
                .zip(&members)
                .filter(|(_, member)| **member == number);
            if own.clone().next().is_some() {
                *centre = mean_of(own.map(|(point, _)| *point));
            }
        }
    }
    centres
}

/// The mean of at least one point.
fn mean_of<'a>(points: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let (mut sum, mut count) = (Vec::new(), 0);
    for point in points {
        sum.resize(point.len(), 0f64);
        sum.iter_mut()
            .zip(point)
            .for_each(|(s, v)| *s += f64::from(*v));
        count += 1;
    }
    sum.iter()
        .map(|s| (s / f64::from(count.max(1))) as f32)
        .collect()
}

fn nearest(point: &[f32], centres: &[Vec<f32>]) -> (usize, f32) {
    let distances = centres
        .iter()
        .map(|c| squared_distance(point, c))
        .enumerate();
    distances
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0, 0.0))
}

fn spread_points(points: &[&[f32]], count: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
    let mut centres = vec![points[rng.random_range(0..points.len())].to_vec()];
    while centres.len() < count {
        let distances: Vec<f32> = points.par_iter().map(|p| nearest(p, &centres).1).collect();
        let sum: f64 = distances.iter().map(|d| f64::from(*d)).sum();
        if sum <= 0.0 {
            break; // Fewer different points than centres.
        }
        let mut left = rng.random_range(0.0..1.0) * sum;
        let chosen = distances.iter().position(|d| {
            left -= f64::from(*d);
            left < 0.0
        });
        centres.push(points[chosen.unwrap_or(points.len() - 1)].to_vec());
    }
    centres
}

/// Pictures such as the base classes have: drawn around the prototypes, as far off as those were; and the
/// numbers of their classes.
pub(super) fn drawn(
    prototypes: &Prototypes,
    of_each: usize,
    rng: &mut ChaCha8Rng,
) -> (Vec<Vec<f32>>, Vec<u32>) {
    let dim = prototypes.points.len() / prototypes.mean.len().max(1);
    let sd = (prototypes.spread / dim.max(1) as f32).sqrt();
    let mut drawn = (Vec::new(), Vec::new());
    let points = prototypes.points.chunks_exact(dim.max(1));
    for (point, class) in points.zip(&prototypes.classes) {
        for _ in 0..of_each {
            let noise = gaussian(rng, sd).take(dim);
            let picture: Vec<f32> = point.iter().zip(noise).map(|(p, n)| p + n).collect();
            drawn.0.push(unit(&picture));
            drawn.1.push(*class);
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::dot;
    use rand::SeedableRng;

    fn features(dim: usize, classes: u32, per_class: u32, seed: u64) -> Features {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut features = Features {
            dim,
            ..Default::default()
        };
        for i in 0..classes * per_class {
            features.labels.push(i % classes);
            let place = (i % classes) as f32;
            // Each dimension varies differently, and with the one before it.
            let mut last = 0.0;
            for d in 0..dim {
                last = 0.5 * last + rng.random_range(-1.0f32..1.0) * (d + 1) as f32;
                features.values.push(last + place * (d as f32 - place));
            }
        }
        features
    }

    /// W must undo (Σ / σ² + λ I): multiplied from both sides it leaves the identity.
    #[test]
    fn whitening_is_the_inverse_root_of_the_shrunk_covariance() {
        let (dim, shrinkage) = (5, 0.3);
        let base = features(dim, 3, 40, 1);
        let centre = base.mean();
        let w: Vec<f64> = whitening(&base, &centre, shrinkage)
            .unwrap()
            .into_iter()
            .map(f64::from)
            .collect();

        let directions: Vec<Vec<f32>> = base.rows().map(|f| normalise(f, &centre)).collect();
        let mut covariance = vec![0f64; dim * dim];
        for class in 0..3 {
            let own = directions.iter().zip(&base.labels);
            let own: Vec<&Vec<f32>> = own.filter(|(_, l)| **l == class).map(|(d, _)| d).collect();
            let mean = |i: usize| own.iter().map(|d| f64::from(d[i])).sum::<f64>() / 40.0;
            for i in 0..dim {
                for j in 0..dim {
                    let product =
                        |d: &&Vec<f32>| (f64::from(d[i]) - mean(i)) * (f64::from(d[j]) - mean(j));
                    covariance[i * dim + j] += own.iter().map(product).sum::<f64>();
                }
            }
        }
        let variance = (0..dim).map(|i| covariance[i * dim + i]).sum::<f64>() / dim as f64;
        for i in 0..dim {
            for j in 0..dim {
                let mut product = 0.0;
                for a in 0..dim {
                    for b in 0..dim {
                        let identity = if a == b { shrinkage } else { 0.0 };
                        let middle = covariance[a * dim + b] / variance + identity;
                        product += w[i * dim + a] * middle * w[b * dim + j];
                    }
                }
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-4, "{i} {j}: {product}");
            }
        }
    }

    #[test]
    fn classes_that_do_not_vary_leave_features_as_they_are() {
        let mut base = features(4, 3, 1, 2);
        base.values.extend(base.values.clone());
        base.labels.extend(base.labels.clone());
        let w = whitening(&base, &base.mean(), 1.0).unwrap();
        for (i, value) in w.iter().enumerate() {
            assert_eq!(*value, if i % 5 == 0 { 1.0 } else { 0.0 });
        }
    }

    #[test]
    fn one_prototype_is_the_mean_and_more_are_the_clusters() {
        let corners = [[0.0f32, 0.0], [10.0, 0.0], [0.0, 10.0]];
        let points: Vec<Vec<f32>> = (0..30)
            .map(|i| {
                let [x, y] = corners[i % 3];
                vec![x + (i as f32 * 0.3).sin(), y + (i as f32 * 0.7).cos()]
            })
            .collect();
        let labels = vec![0; 30];
        let at = |per_class, seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            prototypes(&points, &labels, per_class, None, &mut rng)
        };
        let one = at(1, 1);
        for d in 0..2 {
            let mean = points.iter().map(|p| p[d]).sum::<f32>() / 30.0;
            assert!((one.points[d] - mean).abs() < 1e-4);
        }
        for seed in 0..10 {
            let three = at(3, seed);
            for corner in &corners {
                let near = three.points.chunks(2);
                let near = near.filter(|p| squared_distance(p, corner) < 1.0);
                assert_eq!(near.count(), 1, "{:?} at {corner:?}", three.points);
            }
        }
        // Standardised over the base pictures: mean 0, deviation 1.
        let distances: Vec<f32> = points
            .iter()
            .map(|p| squared_distance(p, &one.points).sqrt() - one.mean[0])
            .map(|d| d * one.inverse_deviation[0])
            .collect();
        assert!(distances.iter().sum::<f32>().abs() < 1e-3);
        assert!((dot(&distances, &distances) / 30.0 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn alike_pictures_give_fewer_prototypes_than_asked_for() {
        let points = vec![vec![1.0f32, 2.0]; 9];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(
            prototypes(&points, &[0; 9], 4, None, &mut rng).points,
            [1.0, 2.0]
        );
    }
}
