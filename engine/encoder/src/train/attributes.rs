//! What COMAE learns of attributes: prototypes of them, and three losses.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Reduction, Tensor};

use super::backbone::normal;
use super::comae::ComaeTraining;
use super::kalahash::uniform;
use crate::class_vectors::ClassVectors;
use crate::error::Error;

/// The prototypes and what goes with them.
pub(super) struct Attributes {
    /// Standardised attributes of the classes: `[classes, attributes]`.
    of_classes: Tensor,
    /// `[attributes, dim, 1, 1]`.
    prototypes: Tensor,
    /// From the map of an attribute to an embedding: `[embedding, positions]`, and a bias.
    embed: (Tensor, Tensor),
    /// W, transposed: `[attributes, dim]`.
    to_attributes: Tensor,
}

impl Attributes {
    /// Random ones, for maps of `dim` channels and so many positions.
    pub(super) fn new(
        options: &ComaeTraining,
        attributes: &ClassVectors,
        dim: i64,
        positions: i64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Attributes, Error> {
        let standardised = attributes.standardised()?;
        let count = attributes.dim() as i64;
        let of_classes = Tensor::from_slice(&standardised.values).f_view([-1, count])?;
        let embedding = options.embedding as i64;
        let bound = (1.0 / positions as f32).sqrt();
        let prototypes = (uniform(rng, &[count, dim, 1, 1], 1.0) + 1.0) * 1e-4;
        let embed = (
            uniform(rng, &[embedding, positions], bound),
            uniform(rng, &[embedding], bound),
        );
        let to_attributes = normal(rng, &[count, dim], (1.0 / dim as f32).sqrt());
        let learned = |tensor: Tensor| tensor.set_requires_grad(true);
        Ok(Attributes {
            of_classes,
            prototypes: learned(prototypes),
            embed: (learned(embed.0), learned(embed.1)),
            to_attributes: learned(to_attributes),
        })
    }

    pub(super) fn parameters(&self) -> Vec<Tensor> {
        let all = [
            &self.prototypes,
            &self.embed.0,
            &self.embed.1,
            &self.to_attributes,
        ];
        all.map(Tensor::shallow_clone).into()
    }

    /// Similarity of every position to every prototype: `[n, attributes, positions]`.
    pub(super) fn maps(&self, maps: &Tensor) -> Result<Tensor, Error> {
        let similar = maps.f_conv2d(&self.prototypes, None::<Tensor>, 1, 0, 1, 1)?;
        Ok(similar.f_flatten(2, 3)?)
    }

    /// Mean squared error of the attributes seen, each where it is most similar, and those of the class.
    pub(super) fn point_loss(&self, similar: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
        let found = similar.f_amax([2i64].as_slice(), false)?;
        let right = self.of_classes.f_index_select(0, labels)?;
        Ok(found.f_mse_loss(&right, Reduction::Mean)?)
    }

    /// InfoNCE of the embedded maps, attribute by attribute: a picture's pairs are those whose class has about as much
    /// of the attribute, and stand beside some of the others. Mean over pictures and attributes that have both.
    pub(super) fn pair_loss(
        &self,
        options: &ComaeTraining,
        similar: &Tensor,
        labels: &Tensor,
        rng: &mut ChaCha8Rng,
    ) -> Result<Tensor, Error> {
        let n = labels.size()[0];
        let right = self
            .of_classes
            .f_index_select(0, labels)?
            .f_transpose(0, 1)?;
        let gaps = right
            .f_unsqueeze(2)?
            .f_sub(&right.f_unsqueeze(1)?)?
            .f_abs()?;
        let alike = gaps.f_lt(options.threshold)?;
        let itself = Tensor::eye(n, (Kind::Bool, similar.device()));
        let pairs = alike.f_logical_and(&itself.f_logical_not()?)?;
        let others = alike.f_logical_not()?;
        // The others with the highest lots, as many as are wanted; -1 is below all lots.
        let lots: Vec<f32> = (0..n * n).map(|_| rng.random()).collect();
        let lots = Tensor::from_slice(&lots)
            .f_view([1, n, n])?
            .f_expand_as(&others)?;
        let lots = lots.f_masked_fill(&others.f_logical_not()?, -1.0)?;
        let kept = (options.negatives as i64).min(n);
        let least = lots
            .f_topk(kept, -1, true, true)?
            .0
            .f_amin([-1i64].as_slice(), true)?;
        let others = others.f_logical_and(&lots.f_ge_tensor(&least)?)?;

        let (weight, bias) = &self.embed;
        let embedded = unit(&similar.f_linear(weight, Some(bias))?)?.f_transpose(0, 1)?;
        let cosines = embedded.f_bmm(&embedded.f_transpose(1, 2)?)? / options.temperature;
        info_nce(&cosines, &pairs, &others)
    }

    /// Cross-entropy over classes of gᵀ W a_c.
    pub(super) fn class_loss(&self, g: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
        let seen = g.f_linear(&self.to_attributes, None::<Tensor>)?;
        let logits = seen.f_matmul(&self.of_classes.f_transpose(0, 1)?)?;
        cross_entropy(&logits, labels)
    }
}

/// −log of the share that the pairs have of the sum of exp over pairs and others, mean over rows that have both:
/// `[attributes, n, n]`.
fn info_nce(logits: &Tensor, pairs: &Tensor, others: &Tensor) -> Result<Tensor, Error> {
    /// What exp makes 0 of, and differences of which are no NaN.
    const NOTHING: f64 = -1e9;
    let sum = |mask: &Tensor| -> Result<Tensor, Error> {
        let of = logits.f_masked_fill(&mask.f_logical_not()?, NOTHING)?;
        Ok(of.f_logsumexp([-1i64].as_slice(), false)?)
    };
    let loss = sum(&pairs.f_logical_or(others)?)? - sum(pairs)?;
    let any = |mask: &Tensor| mask.f_any_dim(-1, false);
    let told = any(pairs)?
        .f_logical_and(&any(others)?)?
        .f_to_kind(Kind::Float)?;
    Ok((loss * &told).f_sum(Kind::Float)? / told.f_sum(Kind::Float)?.f_clamp_min(1.0)?)
}

/// Cross-entropy of logits `[n, classes]`, mean over rows.
pub(super) fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
    let none = None::<Tensor>;
    Ok(logits.f_cross_entropy_loss(labels, none, Reduction::Mean, -100, 0.0)?)
}

/// Directions along the last dimension.
pub(super) fn unit(x: &Tensor) -> Result<Tensor, Error> {
    let squared = x
        .f_square()?
        .f_sum_dim_intlist([-1i64].as_slice(), true, Kind::Float)?;
    Ok(x.f_div(&(squared + 1e-12).f_sqrt()?)?)
}
