//! Backbone and head under training.
//!
//! A batch is parted into a fixed number of parts, each of which one thread computes by itself, and sums over
//! parts are taken in their order: what comes out does not depend on the number of threads.

use bitkin::model::ModelFile;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::PurpleTraining;
use crate::backbone::Tail;
use crate::device::use_one_thread;
use crate::error::Error;
use crate::features::Features;
use crate::train::backbone::normal;

/// Parts of a batch.
const PARTS: usize = 8;

pub(super) struct Network {
    tail: Option<Tail>,
    /// The tail for each part of a batch.
    twins: Vec<Option<Tail>>,
    /// The head works on (f − μ) / σ, so that its learning rate means the same for every backbone: μ `[dim]`.
    mean: Tensor,
    /// σ², the mean variance of a feature's numbers.
    variance: f64,
    /// `[bits, dim]`.
    weight: Tensor,
    /// `[bits]`.
    bias: Tensor,
    tail_steps: Momentum,
    head_steps: Momentum,
}

impl Network {
    pub(super) fn new(
        options: &PurpleTraining,
        file: &ModelFile,
        blocks: usize,
        features: &Features,
        rng: &mut ChaCha8Rng,
    ) -> Result<Network, Error> {
        let tail = match blocks {
            0 => None,
            blocks => Some(Tail::of(file, blocks)?),
        };
        let twin = |_| tail.as_ref().map(Tail::twin).transpose();
        let twins = (0..PARTS).map(twin).collect::<Result<_, Error>>()?;
        let mean = features.mean();
        let squares = features.values.iter().zip(mean.iter().cycle());
        let squares = squares.map(|(value, mean)| f64::from(value - mean).powi(2));
        // Of pictures that are all the same nothing can be learned, but nothing is divided by zero either.
        let variance = (squares.sum::<f64>() / features.values.len() as f64).max(1e-12);
        let (bits, dim) = (options.bits as i64, features.dim as i64);
        let weight = normal(rng, &[bits, dim], (1.0 / dim as f32).sqrt()).set_requires_grad(true);
        let bias = Tensor::zeros([bits], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
        let parameters = tail.as_ref().map(Tail::parameters).unwrap_or_default();
        Ok(Network {
            twins,
            mean: Tensor::from_slice(&mean),
            variance,
            tail_steps: Momentum::new(parameters, options.backbone_rate, options.momentum),
            head_steps: Momentum::new(
                vec![weight.shallow_clone(), bias.shallow_clone()],
                options.head_rate,
                options.momentum,
            ),
            weight,
            bias,
            tail,
        })
    }

    /// One step on two views of n pictures, as [`super::Views`] has them. `loss` is given tanh(G(x)) of both,
    /// `[n, bits]`. Returns the loss before the step.
    pub(super) fn step(
        &mut self,
        views: &Tensor,
        loss: impl FnOnce([&Tensor; 2]) -> Result<Tensor, Error>,
    ) -> Result<f64, Error> {
        let n = views.size()[0] / 2;
        let part = (2 * n as usize).div_ceil(PARTS) as i64;
        let twins = std::mem::take(&mut self.twins).into_par_iter();
        let parts = twins.zip(views.f_split(part, 0)?).map(|(tail, views)| {
            use_one_thread();
            let features = match &tail {
                None => views,
                Some(tail) => Tail::pooled(&tail.maps(&views)?)?,
            };
            Ok((features, tail))
        });
        let parts = parts.collect::<Result<Vec<_>, Error>>()?;
        let (features, twins): (Vec<Tensor>, Vec<Option<Tail>>) = parts.into_iter().unzip();

        let trains = self.tail.is_some();
        let f = Tensor::f_cat(&features, 0)?
            .f_detach()?
            .set_requires_grad(trains);
        let e = f.f_sub(&self.mean)? / self.variance.sqrt();
        let v = e.f_linear(&self.weight, Some(&self.bias))?.f_tanh()?;
        let loss = loss([&v.f_narrow(0, 0, n)?, &v.f_narrow(0, n, n)?])?;
        let mut inputs = vec![&self.weight, &self.bias];
        inputs.extend(trains.then_some(&f));
        let mut gradients = Tensor::f_run_backward(&[&loss], &inputs, false, false)?;
        if trains && let Some(gradient) = gradients.pop() {
            let gradients = gradient.f_split(part, 0)?;
            let (gradients, twins) = back(features, twins, gradients)?;
            self.twins = twins;
            self.tail_steps.step(&gradients)?;
        } else {
            self.twins = twins;
        }
        self.head_steps.step(&gradients)?;
        Ok(loss.f_double_value(&[])?)
    }

    /// Weight `[bits, dim]` and bias of the head for features as the backbone gives them.
    pub(super) fn head(&self) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let weight = self.weight.f_detach()? / self.variance.sqrt();
        let bias = self.bias.f_detach()? - weight.f_mv(&self.mean)?;
        let numbers = |x: &Tensor| Ok::<_, Error>(Vec::try_from(x.f_reshape([-1])?)?);
        Ok((numbers(&weight)?, numbers(&bias)?))
    }

    /// The backbone as its file has it after training.
    pub(super) fn backbone(&self, file: &ModelFile) -> Result<ModelFile, Error> {
        match &self.tail {
            None => Ok(file.clone()),
            Some(tail) => {
                let notes = file.metadata().notes.as_deref().unwrap_or("no notes");
                let blocks = tail.blocks();
                tail.in_file(
                    file,
                    &format!("last blocks trained by PURPLE: {blocks}; {notes}"),
                )
            }
        }
    }
}

/// Gradients of the tail's parameters, from those of the features of each part.
fn back(
    features: Vec<Tensor>,
    twins: Vec<Option<Tail>>,
    gradients: Vec<Tensor>,
) -> Result<(Vec<Tensor>, Vec<Option<Tail>>), Error> {
    let parts = features.into_par_iter().zip(twins).zip(gradients);
    let parts: Vec<(Vec<Tensor>, Option<Tail>)> = parts
        .map(|((features, tail), gradient)| {
            use_one_thread();
            let sum = (features * gradient).f_sum(Kind::Float)?;
            let parameters = tail.as_ref().map(Tail::parameters).unwrap_or_default();
            let gradients = Tensor::f_run_backward(&[sum], &parameters, false, false)?;
            Ok((gradients, tail))
        })
        .collect::<Result<_, Error>>()?;
    let mut sums: Vec<Tensor> = Vec::new();
    let mut twins = Vec::new();
    for (gradients, tail) in parts {
        match sums.is_empty() {
            true => sums = gradients,
            false => {
                for (sum, gradient) in sums.iter_mut().zip(&gradients) {
                    *sum = sum.f_add(gradient)?;
                }
            }
        }
        twins.push(tail);
    }
    Ok((sums, twins))
}

/// SGD with momentum.
struct Momentum {
    parameters: Vec<Tensor>,
    velocity: Vec<Tensor>,
    rate: f64,
    momentum: f64,
}

impl Momentum {
    fn new(parameters: Vec<Tensor>, rate: f64, momentum: f64) -> Momentum {
        Momentum {
            velocity: parameters.iter().map(Tensor::zeros_like).collect(),
            parameters,
            rate,
            momentum,
        }
    }

    fn step(&mut self, gradients: &[Tensor]) -> Result<(), Error> {
        tch::no_grad(|| {
            let parameters = self.parameters.iter_mut().zip(&mut self.velocity);
            for ((parameter, velocity), gradient) in parameters.zip(gradients) {
                *velocity = &*velocity * self.momentum + gradient;
                let _ = parameter.f_sub_(&(&*velocity * self.rate))?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::shipped;
    use rand::SeedableRng;

    /// A batch in parts, and gradients handed on from one to the other, are the same as the whole at once.
    #[test]
    fn a_step_goes_down_the_gradient_of_the_whole_batch() {
        let options = PurpleTraining {
            head_rate: 0.5,
            backbone_rate: 0.25,
            ..PurpleTraining::new(8, 1)
        };
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let file = shipped().unwrap();
        let features = Features {
            dim: 256,
            values: Vec::try_from(normal(&mut rng, &[30 * 256], 2.0) + 1.0).unwrap(),
            labels: vec![0; 30],
        };
        let mut network = Network::new(&options, &file, 1, &features, &mut rng).unwrap();
        // 5 pictures: parts of two views.
        let views = normal(&mut rng, &[10, 256, 2, 2], 1.0).relu();
        let pull = normal(&mut rng, &[5, 8], 1.0);
        let loss = |[first, second]: [&Tensor; 2]| {
            Ok((first * &pull).sum(Kind::Float) + (second - first).square().sum(Kind::Float))
        };

        let tail = Tail::of(&file, 1).unwrap();
        let (weight, bias) = (network.weight.copy(), network.bias.copy());
        let f = Tail::pooled(&tail.maps(&views).unwrap()).unwrap();
        let e = (f - &network.mean) / network.variance.sqrt();
        let [weight, bias] = [weight, bias].map(|x| x.detach().set_requires_grad(true));
        let v = e.linear(&weight, Some(&bias)).tanh();
        let whole = loss([&v.narrow(0, 0, 5), &v.narrow(0, 5, 5)]).unwrap();
        whole.backward();

        let told = network.step(&views, loss).unwrap();
        assert!((told - whole.double_value(&[])).abs() < 1e-4);
        let mut pairs = vec![(&weight, &network.weight, 0.5), (&bias, &network.bias, 0.5)];
        let (before, after) = (
            tail.parameters(),
            network.tail.as_ref().unwrap().parameters(),
        );
        assert_eq!(after.len(), 4);
        pairs.extend(before.iter().zip(&after).map(|(a, b)| (a, b, 0.25)));
        for (before, after, rate) in pairs {
            let expected = before.grad() * -rate;
            let moved = after - before;
            let off = (&moved - &expected).abs().max().double_value(&[]);
            let largest = expected.abs().max().double_value(&[]);
            assert!(largest > 1e-3 && off < 1e-3 * largest, "{off} of {largest}");
        }
        // The parts see the weights as they are now.
        let twin = network.twins[3].as_ref().unwrap().parameters();
        assert_eq!(twin[0], after[0]);
    }
}
