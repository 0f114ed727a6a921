//! The diffusion graph under training.

use rayon::prelude::*;
use tch::Tensor;

use crate::error::Error;
use crate::hash::{Diffusion, kernel_weights, squared_distance};

/// The diffusion graph: row-stochastic weights among the anchors, and from adapt pictures to
/// them.
pub(super) struct Graph {
    pub(super) diffusion: Diffusion,
    pub(super) kernel_width: f32,
    pub(super) points: Vec<f32>,
    /// P_A: `[m, m]`.
    pub(super) among: Vec<Vec<f32>>,
    /// `[adapt, m]`.
    pub(super) to_adapt: Vec<Vec<f32>>,
}

impl Graph {
    pub(super) fn new(diffusion: Diffusion, anchors: &[Vec<f32>], adapt: &[Vec<f32>]) -> Graph {
        let m = anchors.len();
        let distances: Vec<Vec<f32>> = anchors
            .par_iter()
            .map(|a| anchors.iter().map(|b| squared_distance(a, b)).collect())
            .collect();
        let mut off_diagonal: Vec<f32> = (0..m)
            .flat_map(|i| distances[i][..i].iter().copied())
            .collect();
        let kernel_width = if off_diagonal.is_empty() {
            1.0
        } else {
            let middle = off_diagonal.len() / 2;
            let (_, median, _) = off_diagonal.select_nth_unstable_by(middle, f32::total_cmp);
            median.max(f32::MIN_POSITIVE)
        };
        let mut among = vec![vec![0f32; m]; m];
        for (i, row) in distances.iter().enumerate() {
            let mut order: Vec<usize> = (0..m).filter(|&j| j != i).collect();
            order.sort_unstable_by(|&a, &b| row[a].total_cmp(&row[b]).then(a.cmp(&b)));
            for &j in order.iter().take(diffusion.neighbours) {
                let weight = libm::expf(-row[j] / kernel_width);
                // Symmetrised by the larger: the graph is undirected.
                among[i][j] = among[i][j].max(weight);
                among[j][i] = among[j][i].max(weight);
            }
        }
        for row in &mut among {
            let degree: f32 = row.iter().sum();
            if degree > 0.0 {
                row.iter_mut().for_each(|w| *w /= degree);
            }
        }
        let points = anchors.concat();
        let to_adapt = adapt
            .par_iter()
            .map(|point| {
                let mut row = vec![0f32; m];
                let distances = points.chunks_exact(point.len().max(1));
                let distances = distances.map(|anchor| squared_distance(anchor, point));
                let weights =
                    kernel_weights(distances.collect(), diffusion.neighbours, kernel_width);
                for (j, w) in weights {
                    row[j] = w;
                }
                row
            })
            .collect();
        Graph {
            diffusion,
            kernel_width,
            points,
            among,
            to_adapt,
        }
    }
}

/// Ā = α Σₜ (1−α)^(T−1−t) A⁽ᵗ⁾ with A⁽ᵗ⁺¹⁾ = (1−α) A⁽ᵗ⁾ + α P A⁽ᵗ⁾.
pub(super) fn smooth(a: &Tensor, among: &Tensor, diffusion: &Diffusion) -> Result<Tensor, Error> {
    let alpha = diffusion.alpha;
    let mut a = a.shallow_clone();
    let mut sum = a.f_zeros_like()?;
    for _ in 0..diffusion.steps {
        sum = sum * (1.0 - alpha) + &a * alpha;
        a = &a * (1.0 - alpha) + among.f_matmul(&a)? * alpha;
    }
    Ok(sum)
}
