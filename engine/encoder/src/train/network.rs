//! The head, and the decoder that mirrors it, under training: losses and steps.

use std::ops::ControlFlow;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::nn::OptimizerConfig;
use tch::{Kind, Tensor, nn};

use super::backbone::normal;
use super::graph::smooth;
use super::hash::{HashLoss, HashTraining};
use crate::error::Error;
use crate::hash::{Layer, keep_factor};

/// What a network learns from, embedded as it will see pictures.
pub(super) struct Lessons<'a> {
    /// Base pictures, `[n, width]`; not those that are adapted to, but what must be kept.
    pub(super) base: Tensor,
    pub(super) base_labels: &'a [u32],
    pub(super) adapt: Tensor,
    pub(super) adapt_labels: &'a [u32],
    pub(super) anchors: Tensor,
    /// Weights among the anchors, and from the adapt pictures to them.
    pub(super) graph: Option<(Tensor, Tensor)>,
}

type Linear = (Tensor, Tensor);

/// Head and mirrored decoder under training.
pub(super) struct Network {
    store: nn::VarStore,
    head: Vec<Linear>,
    decoder: Vec<Linear>,
}

impl Network {
    /// One with random weights, for embeddings of `width` numbers.
    pub(super) fn new(
        options: &HashTraining,
        width: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Network, Error> {
        let hidden = Some(options.hidden).filter(|hidden| *hidden > 0);
        let sizes: Vec<usize> = std::iter::once(width)
            .chain(hidden)
            .chain([options.bits])
            .collect();
        let store = nn::VarStore::new(tch::Device::Cpu);
        let mut layers = |name: &str, sizes: &[usize]| -> Result<Vec<Linear>, Error> {
            let pairs = sizes.windows(2).enumerate();
            pairs
                .map(|(i, pair)| {
                    let (input, output) = (pair[0] as i64, pair[1] as i64);
                    let values = normal(rng, &[output, input], (1.0 / input as f32).sqrt());
                    let root = store.root();
                    let mut weight =
                        root.f_zeros(&format!("{name}_weight{i}"), &[output, input])?;
                    tch::no_grad(|| weight.f_copy_(&values).map(drop))?;
                    Ok((weight, root.f_zeros(&format!("{name}_bias{i}"), &[output])?))
                })
                .collect()
        };
        let head = layers("head", &sizes)?;
        let back: Vec<usize> = sizes.into_iter().rev().collect();
        let decoder = layers("decoder", &back)?;
        Ok(Network {
            store,
            head,
            decoder,
        })
    }

    /// One whose head is that of a model.
    pub(super) fn of_head(
        options: &HashTraining,
        width: usize,
        head: &[Layer],
        rng: &mut ChaCha8Rng,
    ) -> Result<Network, Error> {
        let mut network = Network::new(options, width, rng)?;
        for ((weight, bias), layer) in network.head.iter_mut().zip(head) {
            tch::no_grad(|| -> Result<(), Error> {
                let values = Tensor::from_slice(&layer.weight).f_view_as(weight)?;
                weight.f_copy_(&values)?;
                bias.f_copy_(&Tensor::from_slice(&layer.bias))?;
                Ok(())
            })?;
        }
        Ok(network)
    }

    /// Learns; `progress` is told the share of steps done, and the loss.
    pub(super) fn fit(
        &self,
        options: &HashTraining,
        lessons: &Lessons<'_>,
        rng: &mut ChaCha8Rng,
        progress: &mut impl FnMut(f64, f64) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut optimiser = nn::Adam::default().build(&self.store, options.learning_rate)?;
        let n = lessons.base_labels.len();
        let batch = options.batch.min(n);
        let (epochs, adapt_steps) = (options.epochs(), options.steps());
        let steps = epochs * n.div_ceil(batch.max(1)) + adapt_steps;
        let mut tell = |step: usize, loss: &Tensor| -> Result<(), Error> {
            match progress(step as f64 / steps as f64, loss.f_double_value(&[])?) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(Error::Stopped),
            }
        };
        let mut order: Vec<usize> = (0..n).collect();
        let mut step = 0;
        for _ in 0..epochs {
            order.shuffle(rng);
            for chunk in order.chunks(batch) {
                let loss = self.base_loss(options, lessons, chunk)?;
                optimiser.backward_step(&loss);
                step += 1;
                tell(step, &loss)?;
            }
        }
        for _ in 0..adapt_steps {
            let mut loss = self.adapt_loss(options, lessons)?;
            if options.rehearses() && n > 0 {
                let chunk: Vec<usize> = (0..batch).map(|_| rng.random_range(0..n)).collect();
                loss = loss.f_add(&self.base_loss(options, lessons, &chunk)?)?;
            }
            optimiser.backward_step(&loss);
            step += 1;
            tell(step, &loss)?;
        }
        Ok(())
    }

    fn base_loss(
        &self,
        options: &HashTraining,
        lessons: &Lessons<'_>,
        chunk: &[usize],
    ) -> Result<Tensor, Error> {
        let index: Vec<i64> = chunk.iter().map(|&i| i as i64).collect();
        let labels: Vec<u32> = chunk.iter().map(|&i| lessons.base_labels[i]).collect();
        let x = lessons
            .base
            .f_index_select(0, &Tensor::from_slice(&index))?;
        let z = through(&self.head, &x)?;
        let z = &z - z.f_mean_dim([0i64].as_slice(), true, Kind::Float)?;
        self.loss(options, &x, &z, &labels)
    }

    fn adapt_loss(&self, options: &HashTraining, lessons: &Lessons<'_>) -> Result<Tensor, Error> {
        let anchors = through(&self.head, &lessons.anchors)?;
        let offset = anchors.f_mean_dim([0i64].as_slice(), true, Kind::Float)?;
        let mut z = through(&self.head, &lessons.adapt)?.f_sub(&offset)?;
        if let (Some((among, to_adapt)), Some(diffusion)) = (&lessons.graph, options.diffusion) {
            let smoothed = smooth(&anchors.f_sub(&offset)?, among, &diffusion)?;
            z = z * keep_factor(&diffusion) + to_adapt.f_matmul(&smoothed)?;
        }
        self.loss(options, &lessons.adapt, &z, lessons.adapt_labels)
    }

    fn loss(
        &self,
        options: &HashTraining,
        x: &Tensor,
        z: &Tensor,
        labels: &[u32],
    ) -> Result<Tensor, Error> {
        let u = z.f_tanh()?;
        let reconstruction = (through(&self.decoder, z)? - x).f_square()?;
        let reconstruction =
            reconstruction.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
        let consistency = (reconstruction + 1e-8).f_sqrt()?.f_mean(Kind::Float)?;
        let signs = z.f_ge(0.0)?.f_to_kind(Kind::Float)? * 2.0 - 1.0;
        let quantisation = (z - signs).f_square()?.f_mean(Kind::Float)?;
        let balance = u.f_mean_dim([0i64].as_slice(), false, Kind::Float)?;
        let balance = balance.f_square()?.f_sum(Kind::Float)?;
        // The decoder's target has unit variance a coordinate, so its norm grows with √width.
        let width = (x.size()[1] as f64).sqrt();
        let loss = consistency * (options.lambda_consistency / width)
            + quantisation * options.lambda_quantisation
            + balance * (options.lambda_balance / options.bits as f64);
        match options.loss {
            HashLoss::Pairwise => Ok(loss.f_add(&pairwise_loss_among(&u, labels)?)?),
            HashLoss::None => Ok(loss),
        }
    }

    /// The head's layers.
    pub(super) fn layers(&self) -> Result<Vec<Layer>, Error> {
        let to_vec = |t: &Tensor| -> Result<Vec<f32>, Error> {
            Ok(Vec::try_from(t.f_detach()?.f_reshape([-1])?)?)
        };
        let head = self.head.iter();
        head.map(|(w, b)| {
            Ok(Layer {
                weight: to_vec(w)?,
                bias: to_vec(b)?,
            })
        })
        .collect()
    }
}

/// Fully connected layers with ReLU between them.
fn through(layers: &[Linear], x: &Tensor) -> Result<Tensor, Error> {
    let mut x = x.shallow_clone();
    for (i, (weight, bias)) in layers.iter().enumerate() {
        if i > 0 {
            x = x.f_relu()?;
        }
        x = x.f_linear(weight, Some(bias))?;
    }
    Ok(x)
}

/// [`pairwise_loss`] of all pairs of two.
fn pairwise_loss_among(u: &Tensor, labels: &[u32]) -> Result<Tensor, Error> {
    let n = labels.len() as i64;
    let labels: Vec<i64> = labels.iter().map(|&l| i64::from(l)).collect();
    let labels = Tensor::from_slice(&labels);
    let same = labels
        .view([-1, 1])
        .f_eq_tensor(&labels.view([1, -1]))?
        .f_to_kind(Kind::Float)?;
    let diagonal = Tensor::eye(n, (Kind::Float, tch::Device::Cpu));
    let positive = &same - &diagonal;
    let negative = same.f_ones_like()? - &same;
    pairwise_loss(u, u, &positive, &negative)
}

/// DPSH's pairwise loss (Li, Wang and Kang, IJCAI 2016) on u = tanh z' and others like it, `positive` being 1 for
/// pairs of one class and `negative` for pairs of two, which are weighted to equal mass; θ is scaled by the code's
/// width so that its range, and with it the gradient, does not grow with the bits.
pub(super) fn pairwise_loss(
    u: &Tensor,
    others: &Tensor,
    positive: &Tensor,
    negative: &Tensor,
) -> Result<Tensor, Error> {
    let theta = u.f_matmul(&others.tr())? * (8.0 / u.size()[1] as f64);
    let mean = |mask: &Tensor, value: Tensor| -> Result<Tensor, Error> {
        let mass = mask.f_sum(Kind::Float)?.f_clamp_min(1.0)?;
        Ok((value * mask).f_sum(Kind::Float)? / mass)
    };
    let pull = mean(positive, (-&theta).f_softplus()?)?;
    let push = mean(negative, theta.f_softplus()?)?;
    Ok((pull + push) * 0.5)
}
