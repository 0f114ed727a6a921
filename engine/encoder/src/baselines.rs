//! The baselines that every table shows beside our codes: LSH and PCA-ITQ.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::error::Error;
use crate::features::Features;
use crate::hash::pack_signs;
use crate::train::backbone::normal;

/// Codes as signs of linear projections of centred features: sign((f − c) W).
pub struct Projection {
    /// c: `[dim]`.
    centre: Tensor,
    /// W: `[dim, bits]`.
    weight: Tensor,
}

impl Projection {
    /// Random hyperplanes through the mean of `base` (Charikar, STOC 2002).
    pub fn lsh(base: &Features, bits: usize, seed: u64) -> Projection {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let weight = normal(&mut rng, &[base.dim as i64, bits as i64], 1.0);
        Projection {
            centre: Tensor::from_slice(&base.mean()),
            weight,
        }
    }

    /// PCA followed by the rotation of iterative quantisation (Gong and Lazebnik, CVPR 2011),
    /// 50 iterations, fitted on `base`.
    ///
    /// # Errors
    /// [`Error::Data`] when `bits` exceeds the features' dimensions.
    pub fn itq(base: &Features, bits: usize, seed: u64) -> Result<Projection, Error> {
        if bits > base.dim {
            return Err(Error::Data(format!(
                "PCA-ITQ of {bits} bits needs as many feature dimensions, and there are {}",
                base.dim
            )));
        }
        tch::no_grad(|| {
            let centre = Tensor::from_slice(&base.mean());
            let x = base.tensor().f_sub(&centre)?.f_to_kind(Kind::Double)?;
            let covariance = x.tr().f_matmul(&x)?;
            // Eigenvalues come in ascending order.
            let (_, vectors) = covariance.f_linalg_eigh("L")?;
            let (dim, bits) = (base.dim as i64, bits as i64);
            let pca = vectors.f_narrow(1, dim - bits, bits)?;
            let v = x.f_matmul(&pca)?;
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let start = normal(&mut rng, &[bits, bits], 1.0).f_to_kind(Kind::Double)?;
            let (mut rotation, _) = Tensor::f_linalg_qr(&start, "reduced")?;
            for _ in 0..50 {
                let signs = v.f_matmul(&rotation)?.f_ge(0.0)?.f_to_kind(Kind::Double)? * 2.0 - 1.0;
                // The rotation that brings v nearest to its signs (orthogonal Procrustes).
                let (u, _, w) = v.tr().f_matmul(&signs)?.f_svd(true, true)?;
                rotation = u.f_matmul(&w.tr())?;
            }
            let weight = pca.f_matmul(&rotation)?.f_to_kind(Kind::Float)?;
            Ok(Projection { centre, weight })
        })
    }

    /// Width of the codes.
    pub fn bits(&self) -> usize {
        self.weight.size()[1] as usize
    }

    /// Packed codes, `ceil(bits / 8)` bytes a picture.
    ///
    /// # Errors
    /// [`Error::Torch`] when the widths do not match.
    pub fn codes(&self, features: &Features) -> Result<Vec<u8>, Error> {
        let projected = tch::no_grad(|| {
            features
                .tensor()
                .f_sub(&self.centre)?
                .f_matmul(&self.weight)?
                .f_contiguous()
        })?;
        let bits = projected.size()[1] as usize;
        let values: Vec<f32> = Vec::try_from(projected.f_to_device(Device::Cpu)?.f_reshape([-1])?)?;
        let bytes = bits.div_ceil(8);
        let mut codes = vec![0u8; features.len() * bytes];
        for (row, code) in values.chunks_exact(bits).zip(codes.chunks_exact_mut(bytes)) {
            pack_signs(row, code);
        }
        Ok(codes)
    }
}
