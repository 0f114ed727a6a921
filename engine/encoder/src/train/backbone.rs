//! Trains the compact backbone as a classifier of labelled pictures, and folds it for inference.
//!
//! A cosine classifier (Gidaris and Komodakis, CVPR 2018) makes classes differ by direction, which
//! is what retrieval by centred cosine, and the prior prototypes, need of features later. The
//! schedule starts on smaller crops, where an epoch costs a third, and ends at full size.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, TchError, Tensor};

use bitkin::encoder::ImageInput;

use super::augment::{Augmentation, changed};
use super::checkpoint::{Checkpoint, identity};
use crate::backbone::{
    Architecture, COMPACT_STAGES, Conv, Convolve, Description, ResidualPlan, channels_last,
};
use crate::error::Error;

/// How to train a backbone. Every field has the value that made the shipped one as its default.
#[derive(Clone, Debug)]
pub struct BackboneTraining {
    /// Passes over the pictures at each side length in pixels, in order: `(side, epochs)`.
    pub schedule: Vec<(i64, usize)>,
    /// Pictures a step.
    pub batch: usize,
    /// Peak learning rate of SGD with Nesterov momentum 0.9, reached after a twentieth of the steps
    /// and then lowered to zero along a cosine.
    pub learning_rate: f64,
    /// L2 penalty on convolution weights.
    pub weight_decay: f64,
    /// Seed of weights, order and augmentation.
    pub seed: u64,
}

impl Default for BackboneTraining {
    fn default() -> Self {
        BackboneTraining {
            schedule: vec![(40, 22), (64, 9)],
            batch: 64,
            learning_rate: 0.1,
            weight_decay: 5e-4,
            seed: 1,
        }
    }
}

/// What a finished or running epoch looked like.
#[derive(Clone, Copy, Debug)]
pub struct EpochReport {
    /// Epochs done, from 1.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Mean cross-entropy over the epoch's augmented pictures, in nats.
    pub loss: f64,
    /// Share of held-out pictures classified rightly, where there are any.
    pub accuracy: Option<f64>,
    /// Seconds since this process began.
    pub seconds: f64,
    /// Epochs done by this process.
    pub here: usize,
}

/// How far a training is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// A step is done.
    Step {
        /// Steps done.
        done: usize,
        /// Steps in all.
        steps: usize,
        /// Cross-entropy of the step's pictures, in nats.
        loss: f64,
    },
    /// An epoch is done, and kept in the checkpoint if there is one.
    Epoch(EpochReport),
}

struct BatchNorm {
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    var: Tensor,
}

struct TrainConv {
    weight: Tensor,
    norm: BatchNorm,
}

const EPS: f64 = 1e-5;

impl TrainConv {
    fn new(rng: &mut ChaCha8Rng, input: i64, output: i64, kernel: i64) -> TrainConv {
        // He initialisation, from our own generator so that the seed alone decides.
        let fan_in = (input * kernel * kernel) as f32;
        let weight = normal(rng, &[output, input, kernel, kernel], (2.0 / fan_in).sqrt());
        let f = (Kind::Float, Device::Cpu);
        TrainConv {
            weight: channels_last(&weight).set_requires_grad(true),
            norm: BatchNorm {
                gamma: Tensor::ones([output], f).set_requires_grad(true),
                beta: Tensor::zeros([output], f).set_requires_grad(true),
                mean: Tensor::zeros([output], f),
                var: Tensor::ones([output], f),
            },
        }
    }

    fn forward(
        &self,
        x: &Tensor,
        stride: i64,
        padding: [i64; 2],
        train: bool,
    ) -> Result<Tensor, TchError> {
        let y = x.f_conv2d(&self.weight, None::<Tensor>, stride, padding, 1, 1)?;
        let n = &self.norm;
        let stats = (Some(&n.mean), Some(&n.var));
        y.f_batch_norm(
            Some(&n.gamma),
            Some(&n.beta),
            stats.0,
            stats.1,
            train,
            0.1,
            EPS,
            false,
        )
    }

    fn parameters(&self) -> [&Tensor; 3] {
        [&self.weight, &self.norm.gamma, &self.norm.beta]
    }

    /// The convolution with its batch norm multiplied in.
    fn fold(&self) -> Conv {
        tch::no_grad(|| {
            let scale = &self.norm.gamma / (&self.norm.var + EPS).sqrt();
            let weight = &self.weight * scale.view([-1, 1, 1, 1]);
            let bias = &self.norm.beta - &self.norm.mean * scale;
            Conv {
                weight: weight.detach(),
                bias: bias.detach(),
            }
        })
    }
}

/// Samples of N(0, sd²) by Box and Muller.
pub(super) fn gaussian(rng: &mut ChaCha8Rng, sd: f32) -> impl Iterator<Item = f32> {
    std::iter::repeat_with(move || {
        let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
        radius * (std::f32::consts::TAU * rng.random::<f32>()).cos() * sd
    })
}

/// As many of them as a tensor has.
pub(crate) fn normal(rng: &mut ChaCha8Rng, shape: &[i64], sd: f32) -> Tensor {
    let count = shape.iter().product::<i64>() as usize;
    let values: Vec<f32> = gaussian(rng, sd).take(count).collect();
    Tensor::from_slice(&values).view(shape)
}

pub(super) struct Network {
    convs: BTreeMap<String, TrainConv>,
    plan: ResidualPlan,
    classifier: Tensor,
    scale: Tensor,
}

impl Network {
    fn new(classes: i64, rng: &mut ChaCha8Rng) -> Network {
        let plan = ResidualPlan::compact(&COMPACT_STAGES);
        let mut convs = BTreeMap::new();
        for c in plan.convs() {
            convs.insert(
                c.name.clone(),
                TrainConv::new(rng, c.input, c.output, c.kernel),
            );
        }
        let classifier = normal(rng, &[classes, plan.dim()], 0.05).set_requires_grad(true);
        let scale = Tensor::from(10f32).set_requires_grad(true);
        Network {
            convs,
            plan,
            classifier,
            scale,
        }
    }

    fn features(&self, x: &Tensor, train: bool) -> Result<Tensor, TchError> {
        let layers = &self.convs;
        self.plan.forward(x, &Layers { layers, train })
    }

    fn logits(&self, features: &Tensor) -> Tensor {
        let f = unit_rows(features);
        let w = unit_rows(&self.classifier);
        f.matmul(&w.tr()) * &self.scale
    }

    /// Everything that training changes.
    pub(super) fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::from([
            ("classifier".to_owned(), self.classifier.shallow_clone()),
            ("scale".to_owned(), self.scale.shallow_clone()),
        ]);
        for (name, conv) in &self.convs {
            let norm = &conv.norm;
            for (part, tensor) in [
                ("weight", &conv.weight),
                ("gamma", &norm.gamma),
                ("beta", &norm.beta),
                ("mean", &norm.mean),
                ("var", &norm.var),
            ] {
                state.insert(format!("{name}.{part}"), tensor.shallow_clone());
            }
        }
        state
    }

    /// Parameters with and without weight decay.
    fn parameters(&self) -> (Vec<Tensor>, Vec<Tensor>) {
        let mut decayed = vec![self.classifier.shallow_clone()];
        let mut free = vec![self.scale.shallow_clone()];
        for conv in self.convs.values() {
            let [weight, gamma, beta] = conv.parameters();
            decayed.push(weight.shallow_clone());
            free.push(gamma.shallow_clone());
            free.push(beta.shallow_clone());
        }
        (decayed, free)
    }
}

/// The convolutions as they are trained, or as they are used.
struct Layers<'a> {
    layers: &'a BTreeMap<String, TrainConv>,
    train: bool,
}

impl Convolve for Layers<'_> {
    fn convolve(
        &self,
        name: &str,
        x: &Tensor,
        stride: i64,
        padding: [i64; 2],
        _: i64,
    ) -> Result<Tensor, TchError> {
        self.layers[name].forward(x, stride, padding, self.train)
    }

    fn kernel(&self, name: &str) -> i64 {
        self.layers[name].weight.size()[2]
    }
}

fn unit_rows(x: &Tensor) -> Tensor {
    let squared = x
        .square()
        .sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
    x / (squared + 1e-12).sqrt()
}

/// SGD with Nesterov momentum; written out because decay applies to some parameters only.
pub(super) struct Sgd {
    groups: [(Vec<Tensor>, f64); 2],
    momentum: Vec<Vec<Tensor>>,
}

impl Sgd {
    fn new(decayed: Vec<Tensor>, free: Vec<Tensor>, decay: f64) -> Sgd {
        let zeros = |ps: &[Tensor]| ps.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
        let momentum = vec![zeros(&decayed), zeros(&free)];
        Sgd {
            groups: [(decayed, decay), (free, 0.0)],
            momentum,
        }
    }

    /// Everything that steps change beside the parameters.
    pub(super) fn state(&self) -> BTreeMap<String, Tensor> {
        let groups = self.momentum.iter().enumerate();
        let tensors = groups.flat_map(|(group, tensors)| {
            let tensors = tensors.iter().enumerate();
            tensors.map(move |(i, m)| (format!("momentum.{group}.{i}"), m.shallow_clone()))
        });
        tensors.collect()
    }

    fn step(&mut self, rate: f64) {
        tch::no_grad(|| {
            for ((parameters, decay), momentum) in self.groups.iter_mut().zip(&mut self.momentum) {
                for (p, m) in parameters.iter_mut().zip(momentum) {
                    let mut g = p.grad();
                    if !g.defined() {
                        continue;
                    }
                    if *decay > 0.0 {
                        g += &*p * *decay;
                    }
                    let _ = m.g_mul_scalar_(0.9).g_add_(&g);
                    let update = (g + &*m * 0.9) * rate;
                    let _ = p.g_sub_(&update);
                    p.zero_grad();
                }
            }
        });
    }
}

/// What pictures go through on their way to a step.
const AUGMENTATION: Augmentation = Augmentation {
    least_area: 0.3,
    turn: 0.17,
    jitter: 1.0,
    contrast: (0.65, 1.4),
    balance: 0.15,
    brightness: 0.15,
    saturation: (0.5, 1.4),
    grey: 0.1,
    blur: 0.0,
    blur_width: 0.0,
};

/// Mean and standard deviation of the shipped backbone's input, per channel, on a scale of 0 to 1.
pub(crate) const MEAN: [f32; 3] = [0.48, 0.448, 0.398];
pub(crate) const DEVIATION: [f32; 3] = [0.277, 0.269, 0.282];

fn normalise(x: &Tensor) -> Tensor {
    let shape = [1, 3, 1, 1];
    (x - Tensor::from_slice(&MEAN).view(shape)) / Tensor::from_slice(&DEVIATION).view(shape)
}

/// Description of a backbone that [`train_compact`] made, for pictures of `side` × `side` pixels.
pub fn describe(side: u32) -> Description {
    let deviation = DEVIATION.map(f64::from);
    Description {
        architecture: Architecture::Compact {
            stages: COMPACT_STAGES.to_vec(),
        },
        scale: deviation.map(|d| 1.0 / (255.0 * d)),
        shift: [0, 1, 2].map(|c| -f64::from(MEAN[c]) / deviation[c]),
        input: ImageInput::stretch(side, side),
    }
}

/// Pictures and their classes.
#[derive(Clone, Copy)]
pub struct Labelled<'a> {
    /// u8 `[n, 3, side, side]`.
    pub pixels: &'a Tensor,
    /// Class numbers from 0: i64 `[n]`.
    pub labels: &'a Tensor,
}

/// Trains the compact architecture on pictures of so many classes, and returns its folded convolutions by name.
///
/// * `held_out` pictures are classified after each epoch for the report, and are not trained on.
/// * `checkpoint`: a file that holds what is needed to go on after the last whole epoch. If it is there, and of the
///   same options and pictures, training goes on from it, and ends as if it had never been interrupted.
/// * `progress` may break off.
///
/// # Errors
/// [`Error::Stopped`]; [`Error::Data`] for a checkpoint of another training; [`Error::Io`] when it cannot be
/// written; [`Error::Torch`] when libtorch fails.
pub fn train_compact(
    options: &BackboneTraining,
    pictures: Labelled<'_>,
    classes: i64,
    held_out: Option<Labelled<'_>>,
    checkpoint: Option<&Path>,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<BTreeMap<String, Conv>, Error> {
    let Labelled { pixels, labels } = pictures;
    let n = pixels.size()[0] as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let network = Network::new(classes, &mut rng);
    let (decayed, free) = network.parameters();
    let mut sgd = Sgd::new(decayed, free, options.weight_decay);
    let mut order: Vec<i64> = (0..n as i64).collect();
    let mut done = 0;
    let checkpoint = checkpoint.map(|path| Checkpoint {
        path,
        identity: identity(options, pictures),
    });
    if let Some(checkpoint) = &checkpoint {
        done = checkpoint.load(&network, &mut sgd, &mut order, &mut rng)?;
    }
    let steps_per_epoch = n.div_ceil(options.batch);
    let stages = options.schedule.iter();
    let sides: Vec<i64> = stages
        .flat_map(|&(side, epochs)| std::iter::repeat_n(side, epochs))
        .collect();
    let steps = steps_per_epoch * sides.len();
    let warm_up = (steps as f64 / 20.0).max(1.0);
    let start = Instant::now();
    let mut tell = |what| match progress(what) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    };
    let first = done;
    for (epoch, &side) in sides.iter().enumerate().skip(first) {
        order.shuffle(&mut rng);
        let mut loss_sum = 0.0;
        for (chunk, step) in order.chunks(options.batch).zip(epoch * steps_per_epoch..) {
            let index = Tensor::from_slice(chunk);
            let changes = AUGMENTATION.draw(chunk.len(), &mut rng);
            let x = changed(&pixels.f_index_select(0, &index)?, &changes, [side; 2])?;
            let x = channels_last(&normalise(&x));
            let logits = network.logits(&network.features(&x, true)?);
            let loss = logits.cross_entropy_for_logits(&labels.index_select(0, &index));
            loss.backward();
            let s = step as f64;
            let rate = if s < warm_up {
                options.learning_rate * (s + 1.0) / warm_up
            } else {
                let done = (s - warm_up) / (steps as f64 - warm_up).max(1.0);
                options.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            };
            sgd.step(rate);
            let loss = loss.f_double_value(&[])?;
            loss_sum += loss * chunk.len() as f64;
            tell(Progress::Step {
                done: step + 1,
                steps,
                loss,
            })?;
        }
        done = epoch + 1;
        if let Some(checkpoint) = &checkpoint {
            checkpoint.save(&network, &sgd, &order, &rng, done)?;
        }
        tell(Progress::Epoch(EpochReport {
            epoch: done,
            epochs: sides.len(),
            loss: loss_sum / n as f64,
            accuracy: held_out
                .map(|set| accuracy(&network, set.pixels, set.labels))
                .transpose()?,
            seconds: start.elapsed().as_secs_f64(),
            here: done - first,
        }))?;
    }
    Ok(network
        .convs
        .iter()
        .map(|(name, conv)| (name.clone(), conv.fold()))
        .collect())
}

fn accuracy(network: &Network, pixels: &Tensor, labels: &Tensor) -> Result<f64, Error> {
    tch::no_grad(|| {
        let n = pixels.size()[0];
        let mut right = 0.0;
        for start in (0..n).step_by(256) {
            let length = 256.min(n - start);
            let x = normalise(&(pixels.narrow(0, start, length).to_kind(Kind::Float) / 255.0));
            let x = channels_last(&x);
            let predicted = network
                .logits(&network.features(&x, false)?)
                .argmax(1, false);
            let same = predicted.eq_tensor(&labels.narrow(0, start, length));
            right += same
                .to_kind(Kind::Double)
                .sum(Kind::Double)
                .double_value(&[]);
        }
        Ok(right / n as f64)
    })
}
