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

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Three classes of two attributes: standardised (−1.22, 0, 1.22), and (0.71, 0.71, −1.41).
    fn attributes(options: &ComaeTraining) -> Attributes {
        let table = ClassVectors {
            classes: ["a", "b", "c"].map(String::from).into(),
            columns: ["x", "y"].map(String::from).into(),
            values: vec![0.0, 5.0, 1.0, 5.0, 2.0, 2.0],
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        Attributes::new(options, &table, 3, 4, &mut rng).unwrap()
    }

    fn value(loss: &Tensor) -> f64 {
        loss.double_value(&[])
    }

    #[test]
    fn the_point_loss_is_of_the_most_similar_positions() {
        let attributes = attributes(&ComaeTraining::new(8, 1));
        // Of one picture of class a: the attributes are seen as 0.5 and 2.
        let similar = [-1.0f32, 0.5, 0.0, -3.0, 2.0, 1.0, -9.0, 2.0];
        let similar = Tensor::from_slice(&similar).view([1, 2, 4]);
        let loss = attributes.point_loss(&similar, &Tensor::from_slice(&[0i64]));
        let right = ((0.5 + 1.5f64.sqrt()).powi(2) + (2.0 - 0.5f64.sqrt()).powi(2)) / 2.0;
        assert!((value(&loss.unwrap()) - right).abs() < 1e-6);
    }

    #[test]
    fn info_nce_by_hand() {
        // Picture 0 has one pair and one other, 1 only pairs, 2 only others: the first alone tells.
        let logits = Tensor::from_slice(&[9.0f32, 1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0, 9.0]);
        let mask = |bits: [i64; 9]| {
            Tensor::from_slice(&bits)
                .view([1, 3, 3])
                .to_kind(Kind::Bool)
        };
        let pairs = mask([0, 1, 0, 1, 0, 1, 0, 0, 0]);
        let others = mask([0, 0, 1, 0, 0, 0, 1, 1, 0]);
        let loss = info_nce(&logits.view([1, 3, 3]), &pairs, &others).unwrap();
        assert!((value(&loss) - (1f64.exp() + 2f64.exp()).ln() + 1.0).abs() < 1e-6);
        let none = mask([0; 9]);
        let logits = logits.view([1, 3, 3]);
        assert_eq!(value(&info_nce(&logits, &none, &none).unwrap()), 0.0);
    }

    /// Attribute by attribute and picture by picture, as the formula says, all others taken.
    #[test]
    fn the_pair_loss_is_the_formula_read_slowly() {
        let options = ComaeTraining {
            embedding: 5,
            negatives: 99,
            ..ComaeTraining::new(8, 1)
        };
        let attributes = attributes(&options);
        let labels = [0usize, 1, 2, 0, 2];
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let similar = uniform(&mut rng, &[5, 2, 4], 1.0);
        let own = Tensor::from_slice(&labels.map(|label| label as i64));
        let loss = attributes.pair_loss(&options, &similar, &own, &mut rng);
        let embedded = similar.linear(&attributes.embed.0, Some(&attributes.embed.1));
        let embedded = Vec::<f32>::try_from(embedded.view([-1])).unwrap();
        let known = Vec::<f32>::try_from(attributes.of_classes.view([-1])).unwrap();
        let cosine = |d: usize, i: usize, j: usize| -> f64 {
            let [a, b] = [i, j].map(|i| &embedded[(i * 2 + d) * 5..][..5]);
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
            };
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let (mut sum, mut count) = (0.0, 0.0);
        for d in 0..2 {
            for i in 0..5 {
                let gap = |j: usize| (known[labels[i] * 2 + d] - known[labels[j] * 2 + d]).abs();
                let total = |alike: bool| -> f64 {
                    let others = (0..5).filter(|&j| j != i && (gap(j) < 0.9) == alike);
                    others.map(|j| (cosine(d, i, j) / 0.1).exp()).sum()
                };
                let (pairs, others) = (total(true), total(false));
                if pairs > 0.0 && others > 0.0 {
                    sum -= (pairs / (pairs + others)).ln();
                    count += 1.0;
                }
            }
        }
        assert!(count >= 4.0);
        let loss = value(&loss.unwrap());
        assert!((loss - sum / count).abs() < 1e-4, "{loss} {}", sum / count);
    }

    #[test]
    fn few_others_are_drawn_and_pairs_are_all_taken() {
        // Ten pictures of class a, and ten of c: with one other each, and all embeddings alike, every picture has 9
        // pairs out of 10.
        let options = ComaeTraining {
            negatives: 1,
            ..ComaeTraining::new(8, 1)
        };
        let attributes = attributes(&options);
        let labels: Vec<i64> = (0..20).map(|i| i % 2 * 2).collect();
        let similar = Tensor::ones([20, 2, 4], (Kind::Float, tch::Device::Cpu));
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let labels = Tensor::from_slice(&labels);
        let loss = attributes.pair_loss(&options, &similar, &labels, &mut rng);
        assert!((value(&loss.unwrap()) - (10f64 / 9.0).ln()).abs() < 1e-5);
    }

    #[test]
    fn the_class_loss_is_cross_entropy_over_classes() {
        let attributes = attributes(&ComaeTraining::new(8, 1));
        let g = Tensor::from_slice(&[0.3f32, -0.2, 0.9]).view([1, 3]);
        let loss = attributes.class_loss(&g, &Tensor::from_slice(&[1i64]));
        let w = Vec::<f32>::try_from(attributes.to_attributes.view([-1])).unwrap();
        let seen = [0, 1].map(|d| 0.3 * w[3 * d] - 0.2 * w[3 * d + 1] + 0.9 * w[3 * d + 2]);
        let seen = seen.map(f64::from);
        let (x, y) = (1.5f64.sqrt(), 0.5f64.sqrt());
        let rows = [[-x, y], [0.0, y], [x, -2.0 * y]];
        let logits = rows.map(|row| (row[0] * seen[0] + row[1] * seen[1]).exp());
        let right = -(logits[1] / logits.iter().sum::<f64>()).ln();
        assert!((value(&loss.unwrap()) - right).abs() < 1e-5);
    }

    /// Gradients of each loss by one number each of what learns, against finite differences.
    #[test]
    fn gradients_agree_with_finite_differences() {
        let options = ComaeTraining::new(8, 1);
        let attributes = attributes(&options);
        let labels = Tensor::from_slice(&[0i64, 1, 2, 0, 2, 1]);
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let maps = uniform(&mut rng, &[6, 3, 2, 2], 1.0);
        let loss = || -> Tensor {
            let mut rng = ChaCha8Rng::seed_from_u64(9);
            let similar = attributes.maps(&maps).unwrap();
            let pair = attributes.pair_loss(&options, &similar, &labels, &mut rng);
            let g = crate::backbone::Tail::pooled(&maps).unwrap();
            attributes.point_loss(&similar, &labels).unwrap()
                + pair.unwrap()
                + attributes.class_loss(&g, &labels).unwrap()
        };
        // Prototypes begin so near to zero that the pair loss bends sharply there.
        tch::no_grad(|| {
            let louder = &attributes.prototypes * 3000.0;
            attributes.prototypes.shallow_clone().copy_(&louder);
        });
        loss().backward();
        for tensor in attributes.parameters() {
            let gradient = Vec::<f32>::try_from(tensor.grad().reshape([-1])).unwrap();
            let place = gradient.len() / 2;
            const STEP: f64 = 1e-2;
            let at = |step: f64| {
                tch::no_grad(|| {
                    let mut number = tensor.detach().view([-1]).narrow(0, place as i64, 1);
                    let _ = number.g_add_scalar_(step);
                    let loss = value(&loss());
                    let _ = number.g_sub_scalar_(step);
                    loss
                })
            };
            let found = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            let right = f64::from(gradient[place]);
            assert!(
                (found - right).abs() < 0.02 * right.abs() + 2e-3,
                "{found} {right}"
            );
        }
    }
}
