//! From a feature vector to a code, whatever method trained it: what they have in common, and what only
//! some have, such as prior prototypes and self-consistency diffusion (PP + SCDM).
//!
//! Plain Rust in f32 with a fixed order of operations and no libm of the system's: given the
//! features, the code is the same bits on every machine, in every batch and on every thread.
//!
//! A feature f becomes e = W (f − c), with the stored centre c and whitening W and, unless the method takes
//! features as they are, divided by its length. Of a linear method, such as UGH, the code is sign(head(e)); KALAHash
//! has e calibrated by class before that ([`Calibration`]).
//!
//! Of PP + SCDM, e becomes
//! the standardised distances x̃ to the prior prototypes, then the latent z = head(x̃) − z̄.
//! W evens out how features vary within base classes (WCCN; Hatch, Kajarekar and Stolcke,
//! Interspeech 2006): directions of light, colour or pose that set pictures of one class apart
//! count for less, in the prototypes and in the graph alike. Diffusion over the
//! anchors stored in the model gives z' = (1−α)ᵀ z + p Ā, where p are row-normalised kernel
//! weights over the k nearest anchors: T steps of z ← (1−α) z + α p A⁽ᵗ⁾ collapse into the
//! stored Ā, because p stays the same. The code is sign(z'), with sign(0) = 1.

mod calibration;
mod file;
mod vectors;

use serde::{Deserialize, Serialize};

pub use self::calibration::Calibration;
pub(crate) use self::vectors::{
    Dot, SquaredDistance, Term, dot, normalise, squared_distance, unit, with_rows,
};
use self::vectors::{centred, to_unit_length};

/// What trained a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Prior prototypes and self-consistency diffusion.
    PpScdm,
    /// Hash functions that were trained without labels by the thousand, of which a few labelled pictures
    /// choose (UGH).
    Ugh,
    /// Prototypes of features and of codes, without labels (PURPLE).
    Purple,
    /// Prototypes of attributes, for classes that were never seen (COMAE).
    Comae,
    /// Calibration of few-shot hashing by the names of classes (KALAHash).
    KalaHash,
}

impl Method {
    /// All of them.
    pub const ALL: [Method; 5] = [
        Method::PpScdm,
        Method::Ugh,
        Method::Purple,
        Method::Comae,
        Method::KalaHash,
    ];

    /// Its name in model files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Method::PpScdm => "pp-scdm",
            Method::Ugh => "ugh",
            Method::Purple => "purple",
            Method::Comae => "comae",
            Method::KalaHash => "kalahash",
        }
    }

    /// The method of that name.
    pub fn of_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// Where the neighbours of the diffusion graph are sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GraphSpace {
    /// Among centred, normalised features: the best choice on photographs, by far.
    Feature,
    /// Among standardised prototype distances, as the poster's figure suggests.
    Pp,
}

/// Prior prototypes: means of base classes, or of clusters of them, among normalised features.
#[derive(Clone, Debug, PartialEq)]
pub struct Prototypes {
    /// `[count, dim]`, row-major.
    pub points: Vec<f32>,
    /// Number of the base class of each: what adapting the model goes on from; `[count]`.
    pub classes: Vec<u32>,
    /// Mean squared distance of base pictures to the nearest prototype of their class; for adapting, too.
    pub spread: f32,
    /// Mean distance of base pictures to each prototype; `[count]`.
    pub mean: Vec<f32>,
    /// One over the standard deviation of those distances; `[count]`.
    pub inverse_deviation: Vec<f32>,
}

/// The anchors of the diffusion, and how it runs over them.
#[derive(Clone, Debug, PartialEq)]
pub struct Anchors {
    /// Anchors in graph space: `[count, graph dim]`, row-major.
    pub points: Vec<f32>,
    /// Ā: `[count, bits]`, row-major.
    pub smoothed: Vec<f32>,
    /// Parameters.
    pub diffusion: Diffusion,
    /// Kernel width s²: weights are exp(−d² / s²).
    pub kernel_width: f32,
}

/// Parameters of the diffusion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diffusion {
    /// Where neighbours are sought.
    pub space: GraphSpace,
    /// Step length α, above 0 and below 1.
    pub alpha: f64,
    /// Steps T (the poster's diffusion layers).
    pub steps: u32,
    /// Neighbours k of a picture among the anchors.
    pub neighbours: usize,
}

impl Diffusion {
    /// Steps beyond any use: the effect of one more is below f32 long before.
    const MOST_STEPS: u32 = 1000;

    /// Says what makes no sense.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return Err(format!("alpha is {}, not between 0 and 1", self.alpha));
        }
        if self.steps > Self::MOST_STEPS {
            let (steps, most) = (self.steps, Self::MOST_STEPS);
            return Err(format!("{steps} steps, more than {most}"));
        }
        if self.neighbours == 0 {
            return Err("no neighbours".into());
        }
        Ok(())
    }
}

/// A fully connected layer; the weight is `[out, in]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// `[out, in]`.
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

impl Layer {
    /// Whether all its numbers are finite.
    pub(crate) fn is_finite(&self) -> bool {
        self.weight.iter().chain(&self.bias).all(|v| v.is_finite())
    }

    fn forward(&self, x: Vec<f32>) -> Vec<f32> {
        let mut y = only(with_rows::<Dot>(&self.weight, &[x]));
        y.iter_mut()
            .zip(&self.bias)
            .for_each(|(y, bias)| *y += bias);
        y
    }
}

/// A trained model without its backbone.
#[derive(Clone, Debug, PartialEq)]
pub struct HashModel {
    /// What trained it.
    pub method: Method,
    /// Code width b.
    pub bits: usize,
    /// Feature centre c: `[dim]`.
    pub centre: Vec<f32>,
    /// Whitening W: `[dim, dim]`, row-major; without it W is left out.
    pub whitening: Option<Vec<f32>>,
    /// Whether e is divided by its length.
    pub unit_length: bool,
    /// Calibration of e by class; without it e stays as it is.
    pub calibration: Option<Calibration>,
    /// Prior prototypes; without them the head sees the normalised feature itself.
    pub prototypes: Option<Prototypes>,
    /// The hash head's layers, with ReLU between them.
    pub head: Vec<Layer>,
    /// z̄, the latent's mean over the anchors: `[bits]`.
    pub offset: Vec<f32>,
    /// The diffusion; without it z' = z.
    pub anchors: Option<Anchors>,
}

impl HashModel {
    /// Numbers in a feature vector.
    pub fn dim(&self) -> usize {
        self.centre.len()
    }

    /// A method's linear hash functions: bit i is set when `head.weight[i] · e + head.bias[i]` ≥ 0. Features are
    /// centred at zero, and divided by their lengths if it is said; what else a model may have is left out.
    pub fn linear(method: Method, head: Layer, unit_length: bool) -> HashModel {
        let bits = head.bias.len();
        let dim = head.weight.len() / bits.max(1);
        HashModel {
            method,
            bits,
            centre: vec![0.0; dim],
            whitening: None,
            unit_length,
            calibration: None,
            prototypes: None,
            head: vec![head],
            offset: vec![0.0; bits],
            anchors: None,
        }
    }

    /// e: the feature centred, whitened and of length 1, as far as the model does so.
    pub fn normalise(&self, feature: &[f32]) -> Vec<f32> {
        only(self.normalise_all(&[feature]))
    }

    /// e of several features. Matrices are gone through once for all of them, which do not stay in a cache.
    pub(crate) fn normalise_all(&self, features: &[&[f32]]) -> Vec<Vec<f32>> {
        let centred = |feature: &&[f32]| centred(feature, &self.centre);
        let mut all: Vec<Vec<f32>> = features.iter().map(centred).collect();
        if let Some(whitening) = &self.whitening {
            all = with_rows::<Dot>(whitening, &all);
        }
        if self.unit_length {
            all.iter_mut().for_each(|e| to_unit_length(e));
        }
        all
    }

    /// x̃: standardised distances to the prior prototypes, from e once it is calibrated; the latter without
    /// prototypes.
    pub fn embed(&self, e: &[f32]) -> Vec<f32> {
        only(self.embed_all(&[e.to_vec()]))
    }

    /// x̃ of several.
    pub(crate) fn embed_all(&self, all: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let calibrated = match &self.calibration {
            Some(calibration) => calibration.apply(all),
            None => all.to_vec(),
        };
        let Some(p) = &self.prototypes else {
            return calibrated;
        };
        let mut distances = with_rows::<SquaredDistance>(&p.points, &calibrated);
        for x in &mut distances {
            let scales = p.mean.iter().zip(&p.inverse_deviation);
            for (distance, (mean, inverse)) in x.iter_mut().zip(scales) {
                *distance = (distance.sqrt() - mean) * inverse;
            }
        }
        distances
    }

    /// The head's output for x̃, before z̄ is taken off: `[bits]`.
    pub(crate) fn head_of(&self, x: &[f32]) -> Vec<f32> {
        let mut z = x.to_vec();
        for (i, layer) in self.head.iter().enumerate() {
            if i > 0 {
                z.iter_mut().for_each(|v| *v = v.max(0.0));
            }
            z = layer.forward(z);
        }
        z
    }

    /// z', the real-valued code before its signs are taken: `[bits]`.
    pub fn latent(&self, feature: &[f32]) -> Vec<f32> {
        only(self.latents(&[feature]))
    }

    /// z' of several features: the same numbers as one by one, in less time.
    pub fn latents(&self, features: &[&[f32]]) -> Vec<Vec<f32>> {
        let e = self.normalise_all(features);
        let x = self.embed_all(&e);
        let mut latents: Vec<Vec<f32>> = x.iter().map(|x| self.head_of(x)).collect();
        for z in &mut latents {
            let means = self.offset.iter();
            z.iter_mut().zip(means).for_each(|(z, mean)| *z -= mean);
        }
        let Some(anchors) = &self.anchors else {
            return latents;
        };
        let points = match anchors.diffusion.space {
            GraphSpace::Feature => &e,
            GraphSpace::Pp => &x,
        };
        let distances = with_rows::<SquaredDistance>(&anchors.points, points);
        let keep = keep_factor(&anchors.diffusion) as f32;
        for (z, distances) in latents.iter_mut().zip(distances) {
            z.iter_mut().for_each(|v| *v *= keep);
            for (anchor, weight) in anchors.weights(distances) {
                let smoothed = &anchors.smoothed[anchor * self.bits..][..self.bits];
                z.iter_mut()
                    .zip(smoothed)
                    .for_each(|(z, a)| *z += weight * a);
            }
        }
        latents
    }

    /// Packs the signs of a latent into `code`, `ceil(bits / 8)` bytes; bit i is set when
    /// z'ᵢ ≥ 0.
    pub fn pack(&self, latent: &[f32], code: &mut [u8]) {
        pack_signs(latent, code);
    }
}

/// Packs signs into `code`, `ceil(values / 8)` bytes: bit i is set when value i is ≥ 0.
pub(crate) fn pack_signs(values: &[f32], code: &mut [u8]) {
    code.fill(0);
    for (i, _) in values.iter().enumerate().filter(|(_, v)| **v >= 0.0) {
        code[i / 8] |= 1 << (i % 8);
    }
}

/// (1−α)ᵀ, what is left of the picture's own latent.
pub(crate) fn keep_factor(diffusion: &Diffusion) -> f64 {
    (0..diffusion.steps).fold(1.0, |keep, _| keep * (1.0 - diffusion.alpha))
}

impl Anchors {
    /// Row-normalised kernel weights of a point over its nearest anchors, as (anchor, weight), from its
    /// squared distances to all of them; ties are broken by the anchor's number.
    pub fn weights(&self, distances: Vec<f32>) -> Vec<(usize, f32)> {
        kernel_weights(distances, self.diffusion.neighbours, self.kernel_width)
    }
}

/// See [`Anchors::weights`].
pub(crate) fn kernel_weights(
    distances: Vec<f32>,
    neighbours: usize,
    kernel_width: f32,
) -> Vec<(usize, f32)> {
    let mut nearest: Vec<(f32, usize)> = distances.into_iter().zip(0..).collect();
    let by_distance = |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if nearest.len() > neighbours {
        nearest.select_nth_unstable_by(neighbours, by_distance);
        nearest.truncate(neighbours);
    }
    nearest.sort_unstable_by(by_distance);
    let Some(&(least, _)) = nearest.first() else {
        return Vec::new();
    };
    // The least distance is taken off, so that the largest weight is 1 and none underflows all.
    let mut weights: Vec<(usize, f32)> = nearest
        .iter()
        .map(|&(distance, i)| (i, libm::expf((least - distance) / kernel_width)))
        .collect();
    let sum: f32 = weights.iter().map(|w| w.1).sum();
    weights.iter_mut().for_each(|w| w.1 /= sum);
    weights
}

/// The one vector of one.
fn only(mut vectors: Vec<Vec<f32>>) -> Vec<f32> {
    vectors.pop().unwrap_or_default()
}
