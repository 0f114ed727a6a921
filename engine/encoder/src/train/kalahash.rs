//! KALAHash: hash functions from a few labelled pictures, and vectors of what their classes are called
//! (Knowledge-Anchored Low-Resource Adaptation for Deep Hashing, AAAI 2025).
//!
//! The network is the backbone's pooled feature, calibrated by class ([`Calibration`]), and one layer with tanh. In the
//! paper the calibration sits on the keys and values of a transformer's last block; here on the feature, the last
//! thing that every backbone has. The vectors K of the classes go through a layer F into feature space, where
//! they calibrate, and through a layer G into codes, W = G(K)ᵀ, where they guide the training pictures' codes B
//! ([`Kiddo`]). The loss is γ L_sim + α mean((Y − Bᵀ W)²) + β mean((U − B)²), with DPSH's pairwise L_sim.

use std::ops::ControlFlow;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{COptimizer, Kind, Tensor};

use super::backbone::normal;
use super::hash::check_features;
use super::kiddo::Kiddo;
use crate::class_vectors::ClassVectors;
use crate::device::use_one_thread;
use crate::error::Error;
use crate::features::{Features, classes};
use crate::hash::{Calibration, HashModel, Layer, Method, normalise};

/// How to train. The defaults are those of the authors' program, but for what [`KalaHashTraining::new`] says.
#[derive(Clone, Debug)]
pub struct KalaHashTraining {
    /// Code width b.
    pub bits: usize,
    /// Seed of weights, first codes and order; the same seed and data give the same model, to the byte.
    pub seed: u64,
    /// Rank r of the calibration, the classes that each picture takes; 0 leaves the calibration out. No more than
    /// there are classes.
    pub rank: usize,
    /// Scale s of the calibration.
    pub scale: f64,
    /// Weight α of what is known of the classes in the codes; 0 leaves it out.
    pub alpha: f64,
    /// Weight β of the quantisation loss.
    pub beta: f64,
    /// Weight γ of the pairwise loss.
    pub gamma: f64,
    /// Passes over the pictures; after each the codes B are improved.
    pub epochs: usize,
    /// Pictures a step.
    pub batch: usize,
    /// Learning rate of SGD.
    pub learning_rate: f64,
    /// Momentum of SGD.
    pub momentum: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// Times that the bits of B are gone over after each epoch.
    pub sweeps: usize,
}

impl KalaHashTraining {
    /// The defaults for codes of `bits` bits and `shots` pictures of each class. The authors chose r, s, α, β and γ for
    /// each number of shots, with codes of 16 bits on CIFAR-10: 1, 2, 4 and 8; of these the next that is not more.
    pub fn new(bits: usize, seed: u64, shots: usize) -> KalaHashTraining {
        let (rank, scale, alpha, beta, gamma) = match shots {
            0 | 1 => (1, 1.0, 0.1, 1.0, 3.0),
            2 | 3 => (4, 0.3, 0.1, 0.1, 4.0),
            4..=7 => (1, 0.1, 0.01, 0.01, 2.0),
            _ => (4, 0.2, 0.01, 0.1, 1.0),
        };
        KalaHashTraining {
            bits,
            seed,
            rank,
            scale,
            alpha,
            beta,
            gamma,
            epochs: 100,
            batch: 8,
            learning_rate: 0.01,
            momentum: 0.9,
            weight_decay: 1e-5,
            sweeps: 10,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let fail = |what: String| Err(Error::Data(what));
        if !(8..=65_536).contains(&self.bits) {
            return fail(format!("codes of {} bits: give 8 to 65,536", self.bits));
        }
        if self.batch == 0 || self.epochs == 0 {
            return fail("give at least one epoch, and one picture a step".into());
        }
        let numbers = [
            ("scale", self.scale),
            ("alpha", self.alpha),
            ("beta", self.beta),
            ("gamma", self.gamma),
            ("learning rate", self.learning_rate),
            ("momentum", self.momentum),
            ("weight decay", self.weight_decay),
        ];
        for (name, number) in numbers {
            if !(number.is_finite() && number >= 0.0) {
                return fail(format!("the {name} is {number}: give a number from 0"));
            }
        }
        Ok(())
    }
}

/// The fewest pictures of a class: the shots by which [`KalaHashTraining::new`] chooses.
pub fn shots(pictures: &Features) -> usize {
    let mut counts = std::collections::BTreeMap::<u32, usize>::new();
    for label in &pictures.labels {
        *counts.entry(*label).or_default() += 1;
    }
    counts.into_values().min().unwrap_or(0)
}

/// Trains a model from features of a few labelled pictures, and a vector for each of their class numbers;
/// `progress` is told the share of steps done, 0 to 1, and the loss, and may break off. libtorch computes on the
/// calling thread alone, then and afterwards.
///
/// # Errors
/// [`Error::Data`] when there are fewer than two classes, classes without a vector, numbers that are not finite, or
/// options that make no sense; [`Error::Stopped`]; [`Error::Torch`] when libtorch fails.
pub fn train(
    options: &KalaHashTraining,
    pictures: &Features,
    text: &ClassVectors,
    mut progress: impl FnMut(f64, f64) -> ControlFlow<()>,
) -> Result<HashModel, Error> {
    options.check()?;
    check_features("pictures'", pictures, pictures.dim)?;
    let found = classes(&pictures.labels);
    if found.len() < 2 {
        let what = "the pictures are of fewer than two classes: give a few of each of at least two";
        return Err(Error::Data(what.into()));
    }
    let (count, most) = (
        text.classes.len(),
        found.last().map_or(0, |&last| last as usize),
    );
    if most >= count || text.values.len() != count * text.dim() {
        return Err(Error::Data(format!(
            "there are vectors of {count} classes, and pictures of class number {most}: give a vector for each class"
        )));
    }
    use_one_thread();
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut network = Network::new(options, pictures, text, &mut rng)?;
    network.fit(options, &mut rng, &mut progress)?;
    network.model(options)
}

/// Everything that is learned, and what it is learned from.
struct Network<'a> {
    labels: &'a [u32],
    centre: Vec<f32>,
    /// Features of length 1, `[n, dim]`, as rows and as a tensor.
    rows: Vec<Vec<f32>>,
    features: Tensor,
    /// K.
    text: Tensor,
    to_features: (Tensor, Tensor),
    to_codes: (Tensor, Tensor),
    down: Tensor,
    head: (Tensor, Tensor),
    /// What of all this has a part in the loss.
    learned: Vec<Tensor>,
}

impl<'a> Network<'a> {
    fn new(
        options: &KalaHashTraining,
        pictures: &'a Features,
        text: &ClassVectors,
        rng: &mut ChaCha8Rng,
    ) -> Result<Network<'a>, Error> {
        let (dim, width, bits) = (pictures.dim, text.dim(), options.bits);
        let classes = text.classes.len();
        let centre = match std::env::var("KC").is_ok() {
            true => pictures.mean(),
            false => vec![0.0; dim],
        };
        let rows: Vec<Vec<f32>> = pictures.rows().map(|f| normalise(f, &centre)).collect();
        let shape = |rows: usize, columns: usize| [rows as i64, columns as i64];
        let features = Tensor::from_slice(&rows.concat()).f_view(shape(rows.len(), dim))?;
        let scale = |tensor: Tensor| tensor.set_requires_grad(true);
        let mut linear = |input: usize, output: usize| {
            let bound = (1.0 / input as f32).sqrt();
            let weight = uniform(rng, &shape(output, input), bound);
            let bias = uniform(rng, &[output as i64], bound);
            (scale(weight), scale(bias))
        };
        let to_features = linear(width, dim);
        let to_codes = linear(width, bits);
        let rank = options.rank.min(classes);
        let down = linear(dim, rank.max(1)).0;
        let head = normal(rng, &shape(bits, dim), 0.01).set_requires_grad(true);
        let head = (
            head,
            Tensor::zeros([bits as i64], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true),
        );
        let mut learned = vec![head.0.shallow_clone(), head.1.shallow_clone()];
        if rank > 0 {
            learned.push(down.shallow_clone());
            learned.extend([to_features.0.shallow_clone(), to_features.1.shallow_clone()]);
        }
        if options.alpha > 0.0 {
            learned.extend([to_codes.0.shallow_clone(), to_codes.1.shallow_clone()]);
        }
        Ok(Network {
            labels: &pictures.labels,
            centre,
            rows,
            features,
            text: Tensor::from_slice(&scaled(text)).f_view(shape(classes, width))?,
            to_features,
            to_codes,
            down,
            head,
            learned,
        })
    }
}

impl Network<'_> {
    fn fit(
        &self,
        options: &KalaHashTraining,
        rng: &mut ChaCha8Rng,
        progress: &mut impl FnMut(f64, f64) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (n, bits) = (self.labels.len(), options.bits);
        let mut sgd = COptimizer::sgd(
            options.learning_rate,
            options.momentum,
            0.0,
            options.weight_decay,
            false,
        )?;
        for tensor in &self.learned {
            sgd.add_parameters(tensor, 0)?;
        }
        let mut codes: Vec<f32> = (0..n * bits)
            .map(|_| if rng.random() { 1.0 } else { -1.0 })
            .collect();
        let everything: Vec<usize> = (0..n).collect();
        let mut outputs = self.outputs_of(options, &everything)?.f_detach()?;
        let mut order = everything.clone();
        let steps = options.epochs * n.div_ceil(options.batch);
        let mut step = 0;
        for _ in 0..options.epochs {
            order.shuffle(rng);
            let target = Tensor::from_slice(&codes).f_view([n as i64, bits as i64])?;
            for chunk in order.chunks(options.batch) {
                let loss = self.loss(options, chunk, &mut outputs, &target)?;
                sgd.zero_grad()?;
                loss.f_backward()?;
                sgd.step()?;
                step += 1;
                let loss = loss.f_double_value(&[])?;
                if !loss.is_finite() {
                    let what = "the training diverged: lower --learning-rate, or the weights of the losses";
                    return Err(Error::Data(what.into()));
                }
                if progress(step as f64 / steps as f64, loss).is_break() {
                    return Err(Error::Stopped);
                }
            }
            // With the weights as they are now, not as each batch last saw them.
            outputs = self.outputs_of(options, &everything)?.f_detach()?;
            let knowledge = self.knowledge()?.f_detach()?;
            let kiddo = Kiddo {
                alpha: options.alpha,
                beta: options.beta,
                knowledge: &to_vec(&knowledge)?,
                outputs: &to_vec(&outputs)?,
                labels: self.labels,
                classes: self.text.size()[0] as usize,
            };
            kiddo.improve(&mut codes, options.sweeps);
        }
        Ok(())
    }

    /// The loss of a few pictures, whose rows of U are brought up to date: in the pairwise loss they stand beside
    /// all pictures, of which the others' outputs are those of their last step.
    fn loss(
        &self,
        options: &KalaHashTraining,
        chunk: &[usize],
        outputs: &mut Tensor,
        codes: &Tensor,
    ) -> Result<Tensor, Error> {
        let places = index(chunk);
        let u = self.outputs_of(options, chunk)?;
        *outputs = outputs.f_index_copy(0, &places, &u.f_detach()?)?;
        let labels = labels_of(self.labels.iter());
        let own = labels_of(chunk.iter().map(|&i| &self.labels[i]));
        let mut loss = pairwise_loss(&u, &own, outputs, &labels)? * options.gamma;
        let codes = codes.f_index_select(0, &places)?;
        if options.alpha > 0.0 {
            let classes = self.text.size()[0];
            let product = codes.f_matmul(&self.knowledge()?)?;
            let wanted = own.f_one_hot(classes)?.f_to_kind(Kind::Float)?;
            loss = loss + (wanted - product).f_square()?.f_mean(Kind::Float)? * options.alpha;
        }
        Ok(loss + (u - codes).f_square()?.f_mean(Kind::Float)? * options.beta)
    }

    /// W = G(K)ᵀ: `[bits, classes]`.
    fn knowledge(&self) -> Result<Tensor, Error> {
        let (weight, bias) = &self.to_codes;
        Ok(self.text.f_linear(weight, Some(bias))?.f_transpose(0, 1)?)
    }

    /// R = F(K): `[classes, dim]`.
    fn classes(&self) -> Result<Tensor, Error> {
        let (weight, bias) = &self.to_features;
        Ok(self.text.f_linear(weight, Some(bias))?)
    }

    /// U = tanh of the head, of some pictures: `[pictures, bits]`.
    fn outputs_of(&self, options: &KalaHashTraining, chunk: &[usize]) -> Result<Tensor, Error> {
        let mut e = self.features.f_index_select(0, &index(chunk))?;
        let rank = options.rank.min(self.text.size()[0] as usize);
        if rank > 0 {
            let classes = self.classes()?;
            let rows: Vec<Vec<f32>> = chunk.iter().map(|&i| self.rows[i].clone()).collect();
            let nearest = Calibration::cosines(&to_vec(&classes.f_detach()?)?, &rows)
                .iter()
                .flat_map(|cosines| Calibration::nearest(cosines, rank))
                .collect::<Vec<_>>();
            let (n, r) = (chunk.len() as i64, rank as i64);
            let chosen = classes
                .f_index_select(0, &index(&nearest))?
                .f_view([n, r, -1])?;
            let amounts = e.f_matmul(&self.down.f_transpose(0, 1)?)?;
            let shift = amounts
                .f_view([n, 1, r])?
                .f_bmm(&chosen)?
                .f_squeeze_dim(1)?;
            e = e + shift * (options.scale / (rank as f64).sqrt());
        }
        let e = e * (self.features.size()[1] as f64).sqrt();
        let (weight, bias) = &self.head;
        Ok(e.f_linear(weight, Some(bias))?.f_tanh()?)
    }

    fn model(&self, options: &KalaHashTraining) -> Result<HashModel, Error> {
        let scale = (self.features.size()[1] as f64).sqrt() as f32;
        let head = Layer {
            weight: to_vec(&(&self.head.0 * f64::from(scale)))?,
            bias: to_vec(&self.head.1)?,
        };
        let mut model = HashModel::linear(Method::KalaHash, head, true);
        model.centre = self.centre.clone();
        let rank = options.rank.min(self.text.size()[0] as usize);
        if rank > 0 {
            model.calibration = Some(Calibration {
                classes: to_vec(&self.classes()?)?,
                down: to_vec(&self.down)?,
                scale: (options.scale / (rank as f64).sqrt()) as f32,
            });
        }
        Ok(model)
    }
}

/// DPSH's pairwise loss (Li, Wang and Kang, IJCAI 2016) of some outputs beside all of them: the mean of
/// log(1 + exp θ) − s θ with θ = ½ uᵢᵀ uⱼ, s being 1 for pictures of one class and 0 for others.
fn pairwise_loss(u: &Tensor, own: &Tensor, all: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
    let same = own
        .f_view([-1, 1])?
        .f_eq_tensor(&labels.f_view([1, -1])?)?
        .f_to_kind(Kind::Float)?;
    let f = |k: &str, d: f64| {
        std::env::var(k)
            .ok()
            .and_then(|v| v.parse().ok())
            .unwrap_or(d)
    };
    let scale = match f("KT", 0.0) {
        0.0 => 0.5,
        s => s / u.size()[1] as f64,
    };
    let theta = u.f_matmul(&all.f_transpose(0, 1)?)? * scale;
    if f("KB", 0.0) > 0.0 {
        let neg = same.f_ones_like()? - &same;
        let pull = ((-&theta).f_softplus()? * &same).f_sum(Kind::Float)?
            / same.f_sum(Kind::Float)?.f_clamp_min(1.0)?;
        let push = (theta.f_softplus()? * &neg).f_sum(Kind::Float)?
            / neg.f_sum(Kind::Float)?.f_clamp_min(1.0)?;
        return Ok((pull + push) * 0.5);
    }
    let loss = theta.f_softplus()? - same * theta;
    Ok(loss.f_mean(Kind::Float)?)
}

/// The vectors, each brought to a root mean square of 1 once their mean is taken off, so that it does not matter
/// which program made them.
fn scaled(text: &ClassVectors) -> Vec<f32> {
    let width = text.dim();
    let mut values = text.values.clone();
    if std::env::var("KM").is_ok() {
        let n = text.classes.len() as f32;
        let mut mean = vec![0f32; width];
        for row in text.values.chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += v / n);
        }
        for row in values.chunks_exact_mut(width) {
            row.iter_mut().zip(&mean).for_each(|(v, m)| *v -= m);
        }
    }
    for row in values.chunks_exact_mut(width) {
        let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        let scale = (width as f32).sqrt() / length.max(f32::MIN_POSITIVE);
        row.iter_mut().for_each(|v| *v *= scale);
    }
    values
}

fn uniform(rng: &mut ChaCha8Rng, shape: &[i64], bound: f32) -> Tensor {
    let count = shape.iter().product::<i64>();
    let values: Vec<f32> = (0..count)
        .map(|_| rng.random_range(-bound..=bound))
        .collect();
    Tensor::from_slice(&values).view(shape)
}

fn index(places: &[usize]) -> Tensor {
    let places: Vec<i64> = places.iter().map(|&i| i as i64).collect();
    Tensor::from_slice(&places)
}

fn labels_of<'a>(labels: impl Iterator<Item = &'a u32>) -> Tensor {
    let labels: Vec<i64> = labels.map(|&label| i64::from(label)).collect();
    Tensor::from_slice(&labels)
}

fn to_vec(tensor: &Tensor) -> Result<Vec<f32>, Error> {
    Ok(Vec::try_from(
        tensor.f_detach()?.f_contiguous()?.f_reshape([-1])?,
    )?)
}
