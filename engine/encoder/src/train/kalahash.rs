//! KALAHash: hash functions from a few labelled pictures, and vectors of what their classes are called
//! (Knowledge-Anchored Low-Resource Adaptation for Deep Hashing, AAAI 2025).
//!
//! The network is the backbone's pooled feature, calibrated by class ([`Calibration`]), and one layer with tanh. In the
//! paper the calibration sits on the keys and values of a transformer's last block; here on the feature, the last
//! thing that every backbone has. The vectors K of the classes go through a layer F into feature space, where
//! they calibrate, and through a layer G into codes, W = G(K)ᵀ, where they guide the training pictures' codes B
//! (KIDDO, `kiddo.rs`). The loss is γ L_sim + α mean((Y − Bᵀ W)²) + β mean((U − B)²), with DPSH's pairwise L_sim.
//!
//! Where we depart from the authors' program: the calibration's place; in L_sim pairs of one class and of two weigh
//! the same and θ is 8 uᵢᵀ uⱼ / b (their ½ uᵢᵀ uⱼ at 16 bits; unscaled, wide codes collapsed into one); bits begin
//! balanced; features and vectors have a fixed length, and F and G begin as they do for CLIP's, or the calibration
//! shifts features too far; gradients are cut, or some seeds end with one code for all; W and U are computed anew after
//! each epoch; f32 throughout.

use std::ops::ControlFlow;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{COptimizer, Kind, Tensor};

use super::backbone::normal;
use super::hash::{check_features, diverged};
use super::kiddo::Kiddo;
use super::network::pairwise_loss;
use crate::class_vectors::ClassVectors;
use crate::device::use_one_thread;
use crate::error::Error;
use crate::features::{Features, classes};
use crate::hash::{self, Calibration, HashModel, Layer, Method, normalise};

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
    /// Length to which the gradient of a step is cut, all weights together; 0 leaves it as it is, as the authors'
    /// program does.
    pub clip: f64,
    /// Times that the bits of B are gone over after each epoch.
    pub sweeps: usize,
}

impl KalaHashTraining {
    /// The defaults for codes of `bits` bits and `shots` pictures of each class. The authors chose r, s, α, β and γ for
    /// each number of shots, with codes of 16 bits on CIFAR-10: 1, 2, 4 and 8; of these the next that is not more. Only
    /// s of one shot was 1 there: so much of a class shifts a feature further than one picture can tell of which class
    /// it is, and retrieved worse.
    pub fn new(bits: usize, seed: u64, shots: usize) -> KalaHashTraining {
        let (rank, scale, alpha, beta, gamma) = match shots {
            0 | 1 => (1, 0.1, 0.1, 1.0, 3.0),
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
            clip: 1.0,
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
            ("length of gradients", self.clip),
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
    let labels = &pictures.labels;
    let of = |class: &u32| labels.iter().filter(|label| *label == class).count();
    classes(labels).iter().map(of).min().unwrap_or(0)
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
    text.check_for(&pictures.labels)?;
    use_one_thread();
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let network = Network::new(options, pictures, text, &mut rng)?;
    network.fit(options, &mut rng, &mut progress)?;
    let model = network.model()?;
    let calibration = model.calibration.iter();
    let mut calibration = calibration.flat_map(|c| c.classes.iter().chain(&c.down));
    match model.head[0].is_finite() && calibration.all(|v| v.is_finite()) {
        true => Ok(model),
        false => Err(diverged()),
    }
}

/// A fully connected layer under training.
type Linear = (Tensor, Tensor);

/// Everything that is learned, and what it is learned from.
struct Network<'a> {
    labels: &'a [u32],
    /// Features of length 1, `[n, dim]`, as rows and as a tensor.
    rows: Vec<Vec<f32>>,
    features: Tensor,
    /// K.
    text: Tensor,
    /// F, A and s / √r of the calibration.
    calibration: Option<(Linear, Tensor, f64)>,
    /// G.
    to_codes: Linear,
    head: Linear,
}

impl<'a> Network<'a> {
    fn new(
        options: &KalaHashTraining,
        pictures: &'a Features,
        text: &ClassVectors,
        rng: &mut ChaCha8Rng,
    ) -> Result<Network<'a>, Error> {
        let (width, classes) = (text.dim() as i64, text.classes.len());
        let (dim, bits) = (pictures.dim as i64, options.bits as i64);
        let origin = vec![0.0; pictures.dim];
        let rows: Vec<Vec<f32>> = pictures.rows().map(|f| normalise(f, &origin)).collect();
        let features = Tensor::from_slice(&rows.concat()).f_view([-1, dim])?;
        let text = Tensor::from_slice(&scaled(text)).f_view([-1, width])?;
        let mean = features.f_mean_dim([0i64].as_slice(), false, Kind::Float)?;

        let bound = (1.0 / CLIP as f32).sqrt();
        let to_codes = (
            uniform(rng, &[bits, width], bound),
            uniform(rng, &[bits], bound),
        );
        let weight = normal(rng, &[bits, dim], 0.01);
        // So that bits begin balanced: features are not centred.
        let bias = weight.f_mv(&mean)? * -LENGTH;
        let calibration = match options.rank.min(classes) {
            0 => None,
            rank => {
                let to_features = (
                    uniform(rng, &[dim, width], bound),
                    uniform(rng, &[dim], bound),
                );
                let down = uniform(rng, &[rank as i64, dim], (1.0 / dim as f32).sqrt());
                let scale = options.scale / (rank as f64).sqrt();
                Some((learned(to_features), down.set_requires_grad(true), scale))
            }
        };
        Ok(Network {
            labels: &pictures.labels,
            rows,
            features,
            text,
            calibration,
            to_codes: learned(to_codes),
            head: learned((weight, bias)),
        })
    }

    /// What of all this has a part in the loss.
    fn parameters(&self, options: &KalaHashTraining) -> Vec<&Tensor> {
        let mut all = vec![&self.head.0, &self.head.1];
        if let Some((to_features, down, _)) = &self.calibration {
            all.extend([&to_features.0, &to_features.1, down]);
        }
        if options.alpha > 0.0 {
            all.extend([&self.to_codes.0, &self.to_codes.1]);
        }
        all
    }

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
        let parameters = self.parameters(options);
        for tensor in &parameters {
            sgd.add_parameters(tensor, 0)?;
        }
        let mut codes: Vec<f32> = (0..n * bits)
            .map(|_| if rng.random() { 1.0 } else { -1.0 })
            .collect();
        let everything: Vec<usize> = (0..n).collect();
        let mut outputs = self.outputs_of(&everything)?.f_detach()?;
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
                cut(&parameters, options.clip)?;
                sgd.step()?;
                step += 1;
                let loss = loss.f_double_value(&[])?;
                if !loss.is_finite() {
                    return Err(diverged());
                }
                if progress(step as f64 / steps as f64, loss).is_break() {
                    return Err(Error::Stopped);
                }
            }
            // With the weights as they are now, not as each batch last saw them.
            outputs = self.outputs_of(&everything)?.f_detach()?;
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
        let u = self.outputs_of(chunk)?;
        *outputs = outputs.f_index_copy(0, &places, &u.f_detach()?)?;
        let own = labels_of(chunk.iter().map(|&i| &self.labels[i]));
        let all = labels_of(self.labels.iter());
        let same = own.f_view([-1, 1])?.f_eq_tensor(&all.f_view([1, -1])?)?;
        let same = same.f_to_kind(Kind::Float)?;
        let others = same.f_ones_like()? - &same;
        let mut loss = pairwise_loss(&u, outputs, &same, &others)? * options.gamma;
        let codes = codes.f_index_select(0, &places)?;
        if options.alpha > 0.0 {
            let classes = self.text.size()[0];
            let product = codes.f_matmul(&self.knowledge()?)?;
            let wanted = own.f_one_hot(classes)?.f_to_kind(Kind::Float)?;
            let text = (wanted - product).f_square()?.f_mean(Kind::Float)?;
            loss = loss.f_add(&(text * options.alpha))?;
        }
        Ok(loss + (u - codes).f_square()?.f_mean(Kind::Float)? * options.beta)
    }

    /// W = G(K)ᵀ: `[bits, classes]`.
    fn knowledge(&self) -> Result<Tensor, Error> {
        Ok(through(&self.to_codes, &self.text)?.f_transpose(0, 1)?)
    }

    /// U = tanh of the head, of some pictures: `[pictures, bits]`.
    fn outputs_of(&self, chunk: &[usize]) -> Result<Tensor, Error> {
        let mut e = self.features.f_index_select(0, &index(chunk))?;
        if let Some((to_features, down, scale)) = &self.calibration {
            let classes = through(to_features, &self.text)?;
            let rows: Vec<Vec<f32>> = chunk.iter().map(|&i| self.rows[i].clone()).collect();
            let (n, rank) = (chunk.len() as i64, down.size()[0]);
            let nearest: Vec<usize> = Calibration::cosines(&to_vec(&classes)?, &rows)
                .iter()
                .flat_map(|cosines| Calibration::nearest(cosines, rank as usize))
                .collect();
            let chosen = classes.f_index_select(0, &index(&nearest))?;
            let amounts = e.f_matmul(&down.f_transpose(0, 1)?)?.f_view([n, 1, rank])?;
            let shift = amounts.f_bmm(&chosen.f_view([n, rank, -1])?)?;
            e = e.f_add(&(shift.f_squeeze_dim(1)? * *scale))?;
        }
        let z = through(&self.head, &(e * LENGTH))?;
        Ok(z.f_tanh()?)
    }

    fn model(&self) -> Result<HashModel, Error> {
        let (weight, bias) = &self.head;
        let head = Layer {
            weight: to_vec(&(weight * LENGTH))?,
            bias: to_vec(bias)?,
        };
        let mut model = HashModel::linear(Method::KalaHash, head, true);
        if let Some((to_features, down, scale)) = &self.calibration {
            model.calibration = Some(Calibration {
                classes: to_vec(&through(to_features, &self.text)?)?,
                down: to_vec(down)?,
                scale: *scale as f32,
            });
        }
        Ok(model)
    }
}

/// Length of what the head sees, and of the classes' vectors: about that of CLIP's pictures and texts, for which the
/// learning rate was chosen. With longer ones SGD does not settle.
const LENGTH: f64 = 10.0;

/// Numbers in CLIP's vectors of texts: F and G begin as they do for those, or shorter vectors, brought to the same
/// length, would shift features several times as far.
const CLIP: usize = 512;

/// The vectors, each brought to [`LENGTH`], so that it does not matter which program made them.
fn scaled(text: &ClassVectors) -> Vec<f32> {
    let rows = text.values.chunks_exact(text.dim());
    let rows = rows.flat_map(|row| hash::unit(row).into_iter().map(|v| v * LENGTH as f32));
    rows.collect()
}

/// Shortens the gradient of all these together to a length, if it is longer; 0 leaves it as it is.
fn cut(parameters: &[&Tensor], length: f64) -> Result<(), Error> {
    if length == 0.0 {
        return Ok(());
    }
    let mut squared = 0.0;
    for tensor in parameters {
        squared += tensor
            .f_grad()?
            .f_square()?
            .f_sum(Kind::Float)?
            .f_double_value(&[])?;
    }
    if squared.sqrt() > length {
        for tensor in parameters {
            // In place; what it returns is the gradient once more.
            let _ = tensor.f_grad()?.f_mul_scalar_(length / squared.sqrt())?;
        }
    }
    Ok(())
}

pub(super) fn uniform(rng: &mut ChaCha8Rng, shape: &[i64], bound: f32) -> Tensor {
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

fn learned((weight, bias): Linear) -> Linear {
    (weight.set_requires_grad(true), bias.set_requires_grad(true))
}

fn through((weight, bias): &Linear, x: &Tensor) -> Result<Tensor, Error> {
    Ok(x.f_linear(weight, Some(bias))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network<'a>(options: &KalaHashTraining, pictures: &'a Features) -> Network<'a> {
        let text = ClassVectors {
            classes: ["a", "b", "c"].map(String::from).into(),
            columns: ["x", "y"].map(String::from).into(),
            values: vec![0.0, 5.0, 1.0, 5.0, 2.0, -2.0],
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        Network::new(options, pictures, &text, &mut rng).unwrap()
    }

    fn pictures() -> Features {
        let number = |i: usize| ((i * 7919) % 1009) as f32 / 1009.0;
        Features {
            dim: 4,
            values: (0..24).map(number).collect(),
            labels: vec![0, 1, 2, 2, 1, 0],
        }
    }

    fn options() -> KalaHashTraining {
        KalaHashTraining {
            rank: 2,
            scale: 0.7,
            alpha: 0.3,
            beta: 0.5,
            ..KalaHashTraining::new(8, 1, 1)
        }
    }

    /// What training computes is what the model computes: tanh of its latents.
    #[test]
    fn training_and_inference_agree() {
        let pictures = pictures();
        for rank in [0, 1, 3] {
            let options = KalaHashTraining { rank, ..options() };
            let network = network(&options, &pictures);
            let outputs = network.outputs_of(&[0, 1, 2, 3, 4, 5]).unwrap();
            let model = network.model().unwrap();
            let latents = pictures.rows().flat_map(|f| model.latent(f));
            for (z, u) in latents.zip(to_vec(&outputs).unwrap()) {
                assert!((z.tanh() - u).abs() < 1e-5, "{z} {u}");
            }
        }
    }

    /// The loss of two pictures beside all, as the formula says.
    #[test]
    fn the_loss_is_the_formula_read_slowly() {
        let (pictures, options) = (pictures(), options());
        let network = network(&options, &pictures);
        let mut all = network.outputs_of(&[0, 1, 2, 3, 4, 5]).unwrap().detach();
        let codes: Vec<f32> = (0..48)
            .map(|i| if i % 3 == 0 { 1.0 } else { -1.0 })
            .collect();
        let codes_tensor = Tensor::from_slice(&codes).view([6, 8]);
        let loss = network.loss(&options, &[4, 2], &mut all, &codes_tensor);
        let [u, w] = [&all, &network.knowledge().unwrap()].map(|t| to_vec(t).unwrap());
        let (mut pull, mut push, mut text, mut quantisation) = (vec![], vec![], vec![], vec![]);
        for i in [4, 2] {
            for j in 0..6 {
                let products = (0..8).map(|k| f64::from(u[i * 8 + k] * u[j * 8 + k]));
                let theta = products.sum::<f64>();
                match pictures.labels[i] == pictures.labels[j] {
                    true => pull.push((1.0 + (-theta).exp()).ln()),
                    false => push.push((1.0 + theta.exp()).ln()),
                }
            }
            for class in 0..3 {
                let y = f64::from(u8::from(pictures.labels[i] == class as u32));
                let product = (0..8).map(|k| f64::from(codes[i * 8 + k] * w[k * 3 + class]));
                text.push((y - product.sum::<f64>()).powi(2));
            }
            quantisation.extend((0..8).map(|k| f64::from(u[i * 8 + k] - codes[i * 8 + k]).powi(2)));
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let right = options.gamma * 0.5 * (mean(&pull) + mean(&push))
            + options.alpha * mean(&text)
            + options.beta * mean(&quantisation);
        let loss = loss.unwrap().double_value(&[]);
        assert!((loss - right).abs() < 1e-4, "{loss} {right}");
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (pictures, options) = (pictures(), options());
        let network = network(&options, &pictures);
        let codes = Tensor::ones([6, 8], (Kind::Float, tch::Device::Cpu));
        // Others' outputs stay as they are: of all pictures, these are none.
        let loss = || {
            let mut all = Tensor::zeros([6, 8], (Kind::Float, tch::Device::Cpu)) + 0.25;
            let u = network.outputs_of(&[1, 3]).unwrap();
            let (same, others) = (Tensor::ones([2, 6], (Kind::Float, tch::Device::Cpu)), 0.5);
            let pair = pairwise_loss(&u, &all, &same, &(&same * others)).unwrap();
            all = codes.narrow(0, 0, 2);
            let text = (&all.matmul(&network.knowledge().unwrap()) - 1.0).square();
            pair + (u - all).square().mean(Kind::Float) + text.mean(Kind::Float) * 0.1
        };
        loss().backward();
        for tensor in network.parameters(&options) {
            let gradient = to_vec(&tensor.grad()).unwrap();
            let place = gradient.len() / 2;
            const STEP: f64 = 1e-2;
            let at = |step: f64| {
                tch::no_grad(|| {
                    let mut number = tensor.detach().view([-1]).narrow(0, place as i64, 1);
                    let _ = number.g_add_scalar_(step);
                    let loss = loss().double_value(&[]);
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

    #[test]
    fn long_gradients_are_cut_together() {
        let made = |values: &[f32]| {
            let tensor = Tensor::from_slice(values).set_requires_grad(true);
            (&tensor * &tensor * 0.5).sum(Kind::Float).backward();
            tensor
        };
        let gradients = |cut_to: f64| {
            let (a, b) = (made(&[3.0, 0.0]), made(&[4.0]));
            cut(&[&a, &b], cut_to).unwrap();
            [to_vec(&a.grad()).unwrap(), to_vec(&b.grad()).unwrap()].concat()
        };
        assert_eq!(gradients(0.0), [3.0, 0.0, 4.0]);
        assert_eq!(gradients(6.0), [3.0, 0.0, 4.0]);
        for (cut, right) in gradients(1.0).into_iter().zip([0.6, 0.0, 0.8]) {
            assert!((cut - right).abs() < 1e-6, "{cut} {right}");
        }
    }

    /// Vectors of 16 numbers, eigenvectors that stood in for CLIP's 512, began with class rows some six times as long,
    /// and with a few seeds training ended with one code for all pictures.
    #[test]
    fn class_rows_begin_as_long_for_vectors_of_any_width() {
        let pictures = Features {
            dim: 256,
            values: (0..1024).map(|i| (i % 37) as f32).collect(),
            labels: vec![0, 1, 1, 0],
        };
        let length = |width: usize| {
            let text = ClassVectors {
                classes: ["a", "b"].map(String::from).into(),
                columns: (0..width).map(|i| i.to_string()).collect(),
                values: (0..2 * width)
                    .map(|i| ((i * i) % 11) as f32 - 5.0)
                    .collect(),
            };
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            let network = Network::new(&options(), &pictures, &text, &mut rng).unwrap();
            let (to_features, _, _) = network.calibration.as_ref().unwrap();
            let rows = through(to_features, &network.text).unwrap();
            (rows.square().sum(Kind::Float).double_value(&[]) / 2.0).sqrt()
        };
        // 10 / √(3 · 512) a number.
        let right = (256.0f64 * 100.0 / 1536.0).sqrt();
        for width in [2, 16, 512, 2048] {
            let found = length(width);
            assert!(
                (found / right - 1.0).abs() < 0.3,
                "{width}: {found} {right}"
            );
        }
    }
}
