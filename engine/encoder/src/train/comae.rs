//! COMAE: hash functions for classes that were never seen, from attributes of those that were (COMprehensive Attribute
//! Exploration for zero-shot hashing, 2024).
//!
//! A layer of 1 × 1 convolutions over the backbone's last maps, a prototype for each attribute, is drawn towards the
//! attributes of a picture's class in three ways (`attributes.rs`); the code layer on the pooled feature g learns
//! from the classes, u = tanh(FC(g)), by a hypersphere loss: CosFace (Wang et al., CVPR 2018) of u and learned centres,
//! which are driven apart, and evenly.
//! The backbone's last blocks learn from all of it, or the attributes would not touch the codes. Codes are
//! sign(FC(g)); attributes and prototypes are for training alone.

use std::ops::ControlFlow;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{COptimizer, Kind, Tensor};

use super::attributes::{Attributes, cross_entropy, unit};
use super::backbone::normal;
use super::hash::diverged;
use crate::backbone::Tail;
use crate::class_vectors::ClassVectors;
use crate::device::use_one_thread;
use crate::error::Error;
use crate::hash::{HashModel, Layer, Method};

/// How to train. The defaults are the paper's, or the authors' earlier programs' where it is silent, but for what is
/// said.
#[derive(Clone, Debug)]
pub struct ComaeTraining {
    /// Code width b.
    pub bits: usize,
    /// Seed of weights and order; the same seed and data give the same model, to the byte.
    pub seed: u64,
    /// Last blocks of the backbone that learn; the paper's learns as a whole.
    pub blocks: usize,
    /// Train from so many of the pictures, drawn by the seed; from all, if it is not said.
    pub pictures: Option<usize>,
    /// Passes over the pictures.
    pub epochs: usize,
    /// Pictures a step.
    pub batch: usize,
    /// Learning rate of Adam, of the backbone's blocks.
    pub learning_rate: f64,
    /// The same of all that begins at random.
    pub head_rate: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// Weight λ₁ of the point-wise loss, MSE of the attributes; 0 leaves it out.
    pub lambda_point: f64,
    /// Weight λ₂ of the pair-wise loss; 0 leaves it out.
    pub lambda_pair: f64,
    /// Weight λ₃ of the class-wise loss; 0 leaves it out.
    pub lambda_class: f64,
    /// Pictures whose classes' standardised attributes differ by less are a pair: ε.
    pub threshold: f64,
    /// Other pictures beside the pairs that each picture is compared with, at most.
    pub negatives: usize,
    /// Temperature τ of the pair-wise loss.
    pub temperature: f64,
    /// Numbers in the embedding of an attribute's map.
    pub embedding: usize,
    /// Scale s of the hypersphere loss.
    pub scale: f64,
    /// Margin m of the hypersphere loss.
    pub margin: f64,
    /// Weight of what drives its centres apart; 0 leaves it out.
    pub apart: f64,
}

impl ComaeTraining {
    /// The defaults for codes of `bits` bits.
    pub fn new(bits: usize, seed: u64) -> ComaeTraining {
        ComaeTraining {
            bits,
            seed,
            blocks: 1,
            pictures: None,
            epochs: 10,
            batch: 64,
            learning_rate: 1e-4,
            head_rate: 1e-4,
            weight_decay: 5e-4,
            lambda_point: 10.0,
            lambda_pair: 1.0,
            lambda_class: 10.0,
            threshold: 0.9,
            negatives: 16,
            temperature: 0.1,
            embedding: 128,
            scale: 10.0,
            margin: 0.2,
            apart: 1.0,
        }
    }

    /// Places of the pictures that are trained from, out of so many, ascending.
    pub fn drawn(&self, count: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..count).collect();
        if let Some(most) = self.pictures.filter(|most| *most < count) {
            places.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
            places.truncate(most);
            places.sort_unstable();
        }
        places
    }

    fn check(&self) -> Result<(), Error> {
        let fail = |what: String| Err(Error::Data(what));
        if !(8..=65_536).contains(&self.bits) {
            return fail(format!("codes of {} bits: give 8 to 65,536", self.bits));
        }
        if [self.batch, self.epochs, self.negatives, self.embedding].contains(&0) {
            return fail(
                "give at least one epoch, picture a step, negative, and number of an embedding"
                    .into(),
            );
        }
        let numbers = [
            ("learning rate", self.learning_rate, 0.0),
            ("head's learning rate", self.head_rate, 0.0),
            ("weight decay", self.weight_decay, 0.0),
            ("weight of the point-wise loss", self.lambda_point, 0.0),
            ("weight of the pair-wise loss", self.lambda_pair, 0.0),
            ("weight of the class-wise loss", self.lambda_class, 0.0),
            ("threshold", self.threshold, f64::MIN_POSITIVE),
            ("temperature", self.temperature, 1e-3),
            ("scale", self.scale, f64::MIN_POSITIVE),
            ("margin", self.margin, 0.0),
            ("weight of the centres' distances", self.apart, 0.0),
        ];
        for (name, number, least) in numbers {
            if !(number.is_finite() && number >= least) {
                let range = match least {
                    0.0 => "from 0",
                    1e-3 => "from 0.001",
                    _ => "above 0",
                };
                return fail(format!("the {name} is {number}: give a number {range}"));
            }
        }
        Ok(())
    }
}

/// Labelled pictures of the seen classes, and what is known of these.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// What the tail is given for each picture: `[n, channels, h, w]`.
    pub trunks: &'a Tensor,
    /// Class number of each picture.
    pub labels: &'a [u32],
    /// Attributes by class number; as they are, not standardised.
    pub attributes: &'a ClassVectors,
}

/// Trains the tail of a backbone and the code layer behind it; `progress` is told the share of steps done, 0 to 1,
/// and the loss, and may break off. libtorch computes on the calling thread alone, then and afterwards.
///
/// # Errors
/// [`Error::Data`] when there are fewer than two classes, classes without attributes, attributes that are the same
/// for all classes, or options that make no sense; [`Error::Stopped`]; [`Error::Torch`] when libtorch fails.
pub fn train(
    options: &ComaeTraining,
    seen: Seen<'_>,
    tail: &Tail,
    mut progress: impl FnMut(f64, f64) -> ControlFlow<()>,
) -> Result<HashModel, Error> {
    options.check()?;
    seen.attributes.check_for(seen.labels)?;
    if tail.blocks() != options.blocks {
        let (blocks, wanted) = (tail.blocks(), options.blocks);
        return Err(Error::Data(format!(
            "a tail of {blocks} blocks, not {wanted}"
        )));
    }
    let n = seen.labels.len();
    if seen.trunks.size().first() != Some(&(n as i64)) {
        let what = format!("{n} labels, and trunks of shape {:?}", seen.trunks.size());
        return Err(Error::Data(what));
    }
    use_one_thread();
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let network = Network::new(options, seen, tail, &mut rng)?;
    let mut adam = COptimizer::adam(
        options.learning_rate,
        0.9,
        0.999,
        options.weight_decay,
        1e-8,
        false,
    )?;
    for tensor in tail.parameters() {
        adam.add_parameters(&tensor, 0)?;
    }
    for tensor in network.parameters() {
        adam.add_parameters(&tensor, 1)?;
    }
    adam.set_learning_rate_group(1, options.head_rate)?;
    adam.set_weight_decay_group(1, options.weight_decay)?;
    let mut order: Vec<i64> = (0..n as i64).collect();
    let steps = options.epochs * n.div_ceil(options.batch);
    let mut step = 0;
    for _ in 0..options.epochs {
        order.shuffle(&mut rng);
        for chunk in order.chunks(options.batch) {
            let loss = network.loss(options, seen, tail, chunk, &mut rng)?;
            adam.zero_grad()?;
            loss.f_backward()?;
            adam.step()?;
            step += 1;
            let loss = loss.f_double_value(&[])?;
            if !loss.is_finite() {
                let what =
                    "the training diverged: lower --learning-rate, or the weights of the losses";
                return Err(Error::Data(what.into()));
            }
            if progress(step as f64 / steps as f64, loss).is_break() {
                return Err(Error::Stopped);
            }
        }
    }
    let (weight, bias) = &network.codes;
    let head = Layer {
        weight: Vec::try_from(weight.f_detach()?.f_reshape([-1])?)?,
        bias: Vec::try_from(bias.f_detach()?)?,
    };
    match head.is_finite() {
        true => Ok(HashModel::linear(Method::Comae, head, false)),
        false => Err(diverged()),
    }
}

/// What learns beside the tail.
struct Network {
    attributes: Attributes,
    /// FC.
    codes: (Tensor, Tensor),
    /// `[classes, bits]`.
    centres: Tensor,
}

impl Network {
    fn new(
        options: &ComaeTraining,
        seen: Seen<'_>,
        tail: &Tail,
        rng: &mut ChaCha8Rng,
    ) -> Result<Network, Error> {
        let some = (seen.labels.len() as i64).min(512);
        let every = seen.labels.len() as i64 / some;
        let places: Vec<i64> = (0..some).map(|i| i * every).collect();
        let some = seen
            .trunks
            .f_index_select(0, &Tensor::from_slice(&places))?;
        let maps = tch::no_grad(|| tail.maps(&some))?;
        let (dim, positions) = (maps.size()[1], maps.size()[2] * maps.size()[3]);
        let attributes = Attributes::new(options, seen.attributes, dim, positions, rng)?;
        let bits = options.bits as i64;
        let weight = normal(rng, &[bits, dim], (1.0 / dim as f32).sqrt());
        // So that bits begin balanced: features are not centred.
        let mean = Tail::pooled(&maps)?.f_mean_dim([0i64].as_slice(), false, Kind::Float)?;
        let bias = weight.f_mv(&mean)?.f_neg()?;
        let classes = seen.attributes.classes.len() as i64;
        Ok(Network {
            attributes,
            codes: (weight.set_requires_grad(true), bias.set_requires_grad(true)),
            centres: normal(rng, &[classes, bits], 1.0).set_requires_grad(true),
        })
    }

    fn parameters(&self) -> Vec<Tensor> {
        let own = [&self.codes.0, &self.codes.1, &self.centres];
        let mut all = self.attributes.parameters();
        all.extend(own.map(Tensor::shallow_clone));
        all
    }

    fn loss(
        &self,
        options: &ComaeTraining,
        seen: Seen<'_>,
        tail: &Tail,
        chunk: &[i64],
        rng: &mut ChaCha8Rng,
    ) -> Result<Tensor, Error> {
        let x = seen.trunks.f_index_select(0, &Tensor::from_slice(chunk))?;
        let labels = chunk.iter().map(|&i| i64::from(seen.labels[i as usize]));
        let labels = Tensor::from_slice(&labels.collect::<Vec<_>>());
        let maps = tail.maps(&x)?;
        let g = Tail::pooled(&maps)?;
        let (weight, bias) = &self.codes;
        let u = g.f_linear(weight, Some(bias))?.f_tanh()?;
        let mut loss = hypersphere_loss(&u, &self.centres, &labels, options.scale, options.margin)?;
        if options.apart > 0.0 {
            loss = loss.f_add(&(nearness(&self.centres)? * options.apart))?;
        }
        let attributes = &self.attributes;
        if options.lambda_point > 0.0 || options.lambda_pair > 0.0 {
            let similar = attributes.maps(&maps)?;
            if options.lambda_point > 0.0 {
                let point = attributes.point_loss(&similar, &labels)?;
                loss = loss.f_add(&(point * options.lambda_point))?;
            }
            if options.lambda_pair > 0.0 {
                let pair = attributes.pair_loss(options, &similar, &labels, rng)?;
                loss = loss.f_add(&(pair * options.lambda_pair))?;
            }
        }
        if options.lambda_class > 0.0 {
            let class = attributes.class_loss(&g, &labels)?;
            loss = loss.f_add(&(class * options.lambda_class))?;
        }
        Ok(loss)
    }
}

/// CosFace: cross-entropy of s (cos(u, centre) − m), m being taken off the picture's own class alone.
fn hypersphere_loss(
    u: &Tensor,
    centres: &Tensor,
    labels: &Tensor,
    scale: f64,
    margin: f64,
) -> Result<Tensor, Error> {
    let cosines = unit(u)?.f_matmul(&unit(centres)?.f_transpose(0, 1)?)?;
    let own = labels
        .f_one_hot(centres.size()[0])?
        .f_to_kind(Kind::Float)?;
    cross_entropy(&((cosines - own * margin) * scale), labels)
}

/// Less the mean of the Hamming distances between centres, and their variance: of ½ (b − cᵢ · cⱼ), c being tanh of
/// the directions; b/2 is left out, which is the same for all.
fn nearness(centres: &Tensor) -> Result<Tensor, Error> {
    let count = centres.size()[0];
    let directions = unit(centres)?.f_tanh()?;
    let all = directions.f_matmul(&directions.f_transpose(0, 1)?)? * 0.5;
    let pairs = Tensor::f_triu_indices(count, count, 1, (Kind::Int64, tch::Device::Cpu))?;
    let near = all.f_index(&[Some(pairs.f_get(0)?), Some(pairs.f_get(1)?)])?;
    let mean = near.f_mean(Kind::Float)?;
    let spread = (&near - &mean).f_square()?.f_mean(Kind::Float)?;
    Ok(mean + spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hypersphere_loss_by_hand() {
        let u = Tensor::from_slice(&[3.0f32, 4.0]).view([1, 2]);
        let centres = Tensor::from_slice(&[2.0f32, 0.0, 0.0, 0.5]).view([2, 2]);
        let loss = hypersphere_loss(&u, &centres, &Tensor::from_slice(&[1i64]), 10.0, 0.2);
        // Cosines are 0.6 and 0.8, and the picture's own class loses 0.2.
        assert!((loss.unwrap().double_value(&[]) - 2f64.ln()).abs() < 1e-5);
    }

    #[test]
    fn the_centres_nearness_by_hand() {
        // Directions (1, 0), (0, 1) and (−1, 0), of which tanh keeps t = tanh 1: products 0, −t² and 0.
        let centres = Tensor::from_slice(&[2.0f32, 0.0, 0.0, 9.0, -0.5, 0.0]).view([3, 2]);
        let half = 1f64.tanh().powi(2) / 2.0;
        let (mean, near) = (-half / 3.0, [0.0, -half, 0.0]);
        let spread = near.map(|n: f64| (n - mean).powi(2)).iter().sum::<f64>() / 3.0;
        let found = nearness(&centres).unwrap().double_value(&[]);
        assert!((found - mean - spread).abs() < 1e-6, "{found}");
    }
}
