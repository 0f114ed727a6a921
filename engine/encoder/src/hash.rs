//! From a feature vector to a code: prior prototypes, hash head and self-consistency diffusion
//! (PP + SCDM) in inference form.
//!
//! Plain Rust in f32 with a fixed order of operations and no libm of the system's: given the
//! features, the code is the same bits on every machine, in every batch and on every thread.
//!
//! A feature f becomes e = W (f − c) / ‖W (f − c)‖ with the stored centre c and whitening W, then
//! the standardised distances x̃ to the prior prototypes, then the latent z = head(x̃) − z̄.
//! W evens out how features vary within base classes (WCCN; Hatch, Kajarekar and Stolcke,
//! Interspeech 2006): directions of light, colour or pose that set pictures of one class apart
//! count for less, in the prototypes and in the graph alike. Diffusion over the
//! anchors stored in the model gives z' = (1−α)ᵀ z + p Ā, where p are row-normalised kernel
//! weights over the k nearest anchors: T steps of z ← (1−α) z + α p A⁽ᵗ⁾ collapse into the
//! stored Ā, because p stays the same. The code is sign(z'), with sign(0) = 1.

use std::collections::BTreeMap;

use bitkin::model::{ModelError, ModelFile, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::Error;

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
    fn forward(&self, x: Vec<f32>) -> Vec<f32> {
        let mut y = only(with_rows::<Dot>(&self.weight, &[x]));
        y.iter_mut()
            .zip(&self.bias)
            .for_each(|(y, bias)| *y += bias);
        y
    }
}

/// A trained PP + SCDM model without its backbone.
#[derive(Clone, Debug, PartialEq)]
pub struct HashModel {
    /// Code width b.
    pub bits: usize,
    /// Feature centre c: `[dim]`.
    pub centre: Vec<f32>,
    /// Whitening W: `[dim, dim]`, row-major; without it e is the centred feature's direction.
    pub whitening: Option<Vec<f32>>,
    /// Prior prototypes; without them the head sees the normalised feature itself.
    pub prototypes: Option<Prototypes>,
    /// The hash head's layers, with ReLU between them.
    pub head: Vec<Layer>,
    /// z̄, the latent's mean over the anchors: `[bits]`.
    pub offset: Vec<f32>,
    /// The diffusion; without it z' = z.
    pub anchors: Option<Anchors>,
}

/// What stands in a model file under `bitkin`, beside the keys that every model has. A key that is
/// not known is refused: it may be a step that this program would leave out of the codes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    whitening: bool,
    prototypes: bool,
    layers: usize,
    diffusion: Option<Diffusion>,
}

impl HashModel {
    /// Numbers in a feature vector.
    pub fn dim(&self) -> usize {
        self.centre.len()
    }

    /// e: the feature centred, whitened and of length 1.
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
        all.iter_mut().for_each(|e| to_unit_length(e));
        all
    }

    /// x̃: standardised distances to the prior prototypes, from e; e itself without prototypes.
    pub fn embed(&self, e: &[f32]) -> Vec<f32> {
        only(self.embed_all(&[e.to_vec()]))
    }

    /// x̃ of several.
    pub(crate) fn embed_all(&self, all: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let Some(p) = &self.prototypes else {
            return all.to_vec();
        };
        let mut distances = with_rows::<SquaredDistance>(&p.points, all);
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

    /// Tensors and metadata for a model file.
    pub(crate) fn to_tensors(&self) -> (BTreeMap<String, Tensor>, serde_json::Value) {
        let mut tensors = BTreeMap::new();
        let mut put = |name: &str, rows: usize, values: &[f32]| {
            let shape = match rows {
                0 => vec![values.len()],
                n => vec![n, values.len() / n],
            };
            tensors.insert(name.to_string(), Tensor::from_f32(&shape, values));
        };
        put("centre", 0, &self.centre);
        put("offset", 0, &self.offset);
        if let Some(whitening) = &self.whitening {
            put("whitening", self.dim(), whitening);
        }
        if let Some(p) = &self.prototypes {
            put("prototypes.points", p.mean.len(), &p.points);
            put("prototypes.mean", 0, &p.mean);
            let classes: Vec<f32> = p.classes.iter().map(|&class| class as f32).collect();
            put("prototypes.classes", 0, &classes);
            put("prototypes.spread", 0, &[p.spread]);
            put("prototypes.inverse_deviation", 0, &p.inverse_deviation);
        }
        for (i, layer) in self.head.iter().enumerate() {
            put(&format!("head.{i}.weight"), layer.bias.len(), &layer.weight);
            put(&format!("head.{i}.bias"), 0, &layer.bias);
        }
        if let Some(a) = &self.anchors {
            let count = a.smoothed.len() / self.bits;
            put("anchors.points", count, &a.points);
            put("anchors.smoothed", count, &a.smoothed);
            put("anchors.kernel_width", 0, &[a.kernel_width]);
        }
        let description = Description {
            whitening: self.whitening.is_some(),
            prototypes: self.prototypes.is_some(),
            layers: self.head.len(),
            diffusion: self.anchors.as_ref().map(|a| a.diffusion),
        };
        (tensors, serde_json::json!(description))
    }

    /// Reads the model out of a file, for a backbone whose features have `dim` numbers.
    ///
    /// # Errors
    /// [`ModelError`] naming the tensor or key that is missing, of another shape or not finite.
    pub fn from_file(file: &ModelFile, dim: usize) -> Result<HashModel, Error> {
        file.expect_kind(bitkin::model::ModelKind::Hash)?;
        let bits = file.bits().unwrap_or(0) as usize;
        let invalid = |key: &str, reason: String| ModelError::InvalidMetadata {
            key: key.to_string(),
            reason,
        };
        let json = file
            .metadata()
            .model
            .get("head")
            .ok_or(ModelError::MissingKey {
                key: "bitkin.head".into(),
            })?;
        let description: Description = serde_json::from_value(json.clone())
            .map_err(|e| invalid("bitkin.head", e.to_string()))?;
        if !(1..=8).contains(&description.layers) {
            let reason = format!("{} layers, expected 1 to 8", description.layers);
            return Err(invalid("bitkin.head.layers", reason).into());
        }
        let read = |name: &str, shape: &[usize]| -> Result<Vec<f32>, ModelError> {
            let values = file.tensor(name)?.to_f32(name, shape)?;
            match values.iter().all(|v| v.is_finite()) {
                true => Ok(values),
                false => Err(ModelError::WrongTensor {
                    name: name.to_string(),
                    found: "numbers that are not finite".into(),
                    expected: "finite numbers".into(),
                }),
            }
        };
        // A count that only the file knows; everything else must agree with it.
        let rows = |name: &str| -> Result<usize, ModelError> {
            let shape = file.tensor(name)?.shape;
            match shape.first() {
                Some(&count) if count > 0 => Ok(count),
                _ => Err(ModelError::WrongTensor {
                    name: name.to_string(),
                    found: format!("shape {shape:?}"),
                    expected: "at least one row".into(),
                }),
            }
        };
        let whitening = match description.whitening {
            false => None,
            true => Some(read("whitening", &[dim, dim])?),
        };
        let prototypes = match description.prototypes {
            false => None,
            true => {
                let count = rows("prototypes.mean")?;
                Some(Prototypes {
                    points: read("prototypes.points", &[count, dim])?,
                    // Small whole numbers, which f32 holds exactly; others are only other labels.
                    classes: read("prototypes.classes", &[count])?
                        .into_iter()
                        .map(|class| class as u32)
                        .collect(),
                    spread: read("prototypes.spread", &[1])?[0].max(0.0),
                    mean: read("prototypes.mean", &[count])?,
                    inverse_deviation: read("prototypes.inverse_deviation", &[count])?,
                })
            }
        };
        let embedding = prototypes.as_ref().map_or(dim, |p| p.mean.len());
        let mut head = Vec::new();
        let mut width = embedding;
        for i in 0..description.layers {
            let (weight, bias) = (format!("head.{i}.weight"), format!("head.{i}.bias"));
            let output = if i + 1 == description.layers {
                bits
            } else {
                rows(&bias)?
            };
            head.push(Layer {
                weight: read(&weight, &[output, width])?,
                bias: read(&bias, &[output])?,
            });
            width = output;
        }
        let anchors = match description.diffusion {
            None => None,
            Some(diffusion) => {
                if let Err(reason) = diffusion.check() {
                    return Err(invalid("bitkin.head.diffusion", reason).into());
                }
                let kernel_width = read("anchors.kernel_width", &[1])?[0];
                if kernel_width <= 0.0 {
                    return Err(ModelError::WrongTensor {
                        name: "anchors.kernel_width".into(),
                        found: kernel_width.to_string(),
                        expected: "a width above 0".into(),
                    }
                    .into());
                }
                let count = rows("anchors.points")?;
                let width = match diffusion.space {
                    GraphSpace::Feature => dim,
                    GraphSpace::Pp => embedding,
                };
                Some(Anchors {
                    points: read("anchors.points", &[count, width])?,
                    smoothed: read("anchors.smoothed", &[count, bits])?,
                    diffusion,
                    kernel_width,
                })
            }
        };
        let centre = read("centre", &[dim])?;
        let offset = read("offset", &[bits])?;
        Ok(HashModel {
            bits,
            centre,
            whitening,
            prototypes,
            head,
            offset,
            anchors,
        })
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

/// The term of every row of a matrix and every vector: for each vector its numbers by rows. A few vectors share
/// each pass over the matrix.
pub(crate) fn with_rows<T: Term>(matrix: &[f32], vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        /// # Safety
        /// The processor must have AVX2.
        #[target_feature(enable = "avx2")]
        unsafe fn wide<T: Term>(matrix: &[f32], vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
            with_rows_here::<T>(matrix, vectors)
        }
        // SAFETY: the processor has AVX2. Sums are the same with it: each product and each sum is rounded
        // as without.
        return unsafe { wide::<T>(matrix, vectors) };
    }
    with_rows_here::<T>(matrix, vectors)
}

/// [`with_rows`] with the instructions of whoever calls.
#[inline(always)]
fn with_rows_here<T: Term>(matrix: &[f32], vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let width = vectors.first().map_or(1, Vec::len).max(1);
    let mut numbers = vec![Vec::with_capacity(matrix.len() / width); vectors.len()];
    for row in matrix.chunks_exact(width) {
        for (numbers, vector) in numbers.iter_mut().zip(vectors) {
            numbers.push(T::of(row, vector));
        }
    }
    numbers
}

/// The one vector of one.
fn only(mut vectors: Vec<Vec<f32>>) -> Vec<f32> {
    vectors.pop().unwrap_or_default()
}

/// (f − c) / ‖f − c‖, or zeros where f = c.
pub(crate) fn normalise(feature: &[f32], centre: &[f32]) -> Vec<f32> {
    let mut e = centred(feature, centre);
    to_unit_length(&mut e);
    e
}

/// The direction of a vector, or zeros.
pub(crate) fn unit(vector: &[f32]) -> Vec<f32> {
    let mut unit = vector.to_vec();
    to_unit_length(&mut unit);
    unit
}

fn centred(feature: &[f32], centre: &[f32]) -> Vec<f32> {
    feature.iter().zip(centre).map(|(f, c)| f - c).collect()
}

fn to_unit_length(e: &mut [f32]) {
    let length = dot(e, e).sqrt();
    if length > 0.0 {
        e.iter_mut().for_each(|v| *v /= length);
    }
}

/// Independent sums, so that the compiler can use vector registers without changing the order.
const LANES: usize = 16;

#[inline(always)]
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(&x, &y)| term(x, y))
        .sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += term(x[i], y[i]);
        }
    }
    // The compiler would otherwise keep the lanes as the last sums want them: by twos.
    let mut lanes = std::hint::black_box(lanes);
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0] + tail
}

/// What is reckoned of two vectors. A type and not a closure, which would not be inlined into functions
/// for wider instructions.
pub(crate) trait Term {
    fn of(a: &[f32], b: &[f32]) -> f32;
}

pub(crate) struct Dot;

impl Term for Dot {
    #[inline(always)]
    fn of(a: &[f32], b: &[f32]) -> f32 {
        sum_of(a, b, |x, y| x * y)
    }
}

pub(crate) struct SquaredDistance;

impl Term for SquaredDistance {
    #[inline(always)]
    fn of(a: &[f32], b: &[f32]) -> f32 {
        sum_of(a, b, |x, y| (x - y) * (x - y))
    }
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    Dot::of(a, b)
}

pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    SquaredDistance::of(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes are the same on every machine.
    #[test]
    fn wide_instructions_give_the_same_bits() {
        let number = |i: usize| ((i * 7919) % 1009) as f32 / 503.0 - 1.0;
        for width in [1, 15, 16, 37, 256] {
            let matrix: Vec<f32> = (0..11 * width).map(number).collect();
            let vectors: Vec<Vec<f32>> = (0..5)
                .map(|v| (0..width).map(|i| number(i * 31 + v)).collect())
                .collect();
            let plain = with_rows_here::<Dot>(&matrix, &vectors);
            assert_eq!(with_rows::<Dot>(&matrix, &vectors), plain);
            let plain = with_rows_here::<SquaredDistance>(&matrix, &vectors);
            assert_eq!(with_rows::<SquaredDistance>(&matrix, &vectors), plain);
        }
    }
}
