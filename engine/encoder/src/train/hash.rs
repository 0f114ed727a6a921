//! Trains PP + SCDM hashing models from features.
//!
//! Two stages, after the poster "Make Prototypes Perform Again" where it speaks and our own
//! measurements where it is silent: the head learns on base classes without diffusion; then a
//! few steps on the labelled examples of the new classes, with the diffusion operator of
//! inference inside the loop, mixed with base pictures so that what was learnt is kept.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tch::nn::OptimizerConfig;
use tch::{Kind, Tensor, nn};

use super::{backbone::normal, prior};
use crate::device::use_one_thread;
use crate::error::Error;
use crate::features::Features;
use crate::hash::{
    Anchors, Diffusion, GraphSpace, HashModel, Layer, keep_factor, kernel_weights, squared_distance,
};

/// How to train a hashing model. The defaults were chosen on Tiny ImageNet.
#[derive(Clone, Debug)]
pub struct HashTraining {
    /// Code width b.
    pub bits: usize,
    /// Seed of weights and order; the same seed and data give the same model, to the byte.
    pub seed: u64,
    /// Shrinkage λ of the whitening towards none: a share λ of the average variance is added to
    /// every direction. None leaves whitening out.
    pub shrinkage: Option<f64>,
    /// Prior prototypes of each base class: one is its mean, more are the centres of as many
    /// clusters of it; with none the head sees the normalised feature itself.
    pub prototypes_per_class: usize,
    /// The diffusion (SCDM), or none.
    pub diffusion: Option<Diffusion>,
    /// Width of the head's hidden layer.
    pub hidden: usize,
    /// Passes over the base pictures.
    pub base_epochs: usize,
    /// Steps on the adapt set.
    pub adapt_steps: usize,
    /// Base pictures a step.
    pub batch: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Weight of the self-consistency loss ‖dec(z') − x̃‖₂.
    pub lambda_consistency: f64,
    /// Weight of the quantisation loss (z' − sign z')².
    pub lambda_quantisation: f64,
    /// Weight of the bit balance loss ‖mean tanh z'‖².
    pub lambda_balance: f64,
}

impl HashTraining {
    /// The defaults for codes of `bits` bits.
    pub fn new(bits: usize, seed: u64) -> HashTraining {
        HashTraining {
            bits,
            seed,
            shrinkage: Some(1.0),
            prototypes_per_class: 4,
            diffusion: Some(Diffusion {
                space: GraphSpace::Feature,
                alpha: 0.3,
                steps: 6,
                neighbours: 10,
            }),
            hidden: 256,
            base_epochs: 4,
            adapt_steps: 100,
            batch: 256,
            learning_rate: 1e-3,
            lambda_consistency: 0.1,
            lambda_quantisation: 0.01,
            lambda_balance: 0.1,
        }
    }
}

/// The pictures that a model is trained from, as features of one backbone.
#[derive(Clone, Copy)]
pub struct TrainingData<'a> {
    /// Base classes, labelled.
    pub base: &'a Features,
    /// A few labelled pictures of the new classes.
    pub adapt: &'a Features,
    /// Pictures of the target domain whose labels are not looked at: the anchors of the
    /// diffusion, beside the adapt set. May be empty.
    pub unlabelled: &'a Features,
}

/// Trains a model; `progress` is told the share of steps done, 0 to 1, and the running loss.
/// libtorch computes on the calling thread alone, then and afterwards.
///
/// # Errors
/// [`Error::Data`] when there are fewer than two base classes, no adapt pictures, features that
/// are not finite or of different widths; [`Error::Torch`] when libtorch fails.
pub fn train(
    options: &HashTraining,
    data: TrainingData<'_>,
    mut progress: impl FnMut(f64, f64),
) -> Result<HashModel, Error> {
    check(options, &data)?;
    use_one_thread();
    let centre = data.base.mean();
    let mut model = HashModel {
        bits: options.bits,
        whitening: options
            .shrinkage
            .map(|shrinkage| prior::whitening(data.base, &centre, shrinkage))
            .transpose()?,
        centre,
        prototypes: None,
        head: Vec::new(),
        offset: vec![0.0; options.bits],
        anchors: None,
    };
    let base = normalised(&model, data.base);
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    if options.prototypes_per_class > 0 {
        let per_class = options.prototypes_per_class;
        model.prototypes = Some(prior::prototypes(
            &base,
            &data.base.labels,
            per_class,
            &mut rng,
        ));
    }
    let mut anchor_rows = normalised(&model, data.unlabelled);
    let adapt = normalised(&model, data.adapt);
    anchor_rows.extend(adapt.iter().cloned());
    let [x_base, x_adapt, x_anchors] =
        [&base, &adapt, &anchor_rows].map(|rows| embedded(&model, rows));
    let graph = options.diffusion.map(|d| {
        let (anchors, points) = match d.space {
            GraphSpace::Feature => (&anchor_rows, &adapt),
            GraphSpace::Pp => (&x_anchors, &x_adapt),
        };
        Graph::new(d, anchors, points)
    });

    let width = x_base[0].len();
    let network = Network::new(options, width, &mut rng)?;
    let tensors = Tensors {
        base: matrix(&x_base),
        base_labels: &data.base.labels,
        adapt: matrix(&x_adapt),
        adapt_labels: &data.adapt.labels,
        anchors: matrix(&x_anchors),
        graph: graph
            .as_ref()
            .map(|g| (matrix(&g.among), matrix(&g.to_adapt))),
    };
    network.fit(options, &tensors, &mut rng, &mut progress)?;

    model.head = network.layers()?;
    finish(&mut model, options, &anchor_rows, graph)?;
    Ok(model)
}

/// Class numbers are places in tables: without a bound, one wrong number asks for all memory.
const MOST_CLASSES: usize = 1 << 20;

fn check(options: &HashTraining, data: &TrainingData<'_>) -> Result<(), Error> {
    let fail = |what: String| Err(Error::Data(what));
    let classes = |f: &Features| {
        let mut labels = f.labels.clone();
        labels.sort_unstable();
        labels.dedup();
        labels.len()
    };
    if !(8..=65_536).contains(&options.bits) {
        return fail(format!("codes of {} bits: give 8 to 65,536", options.bits));
    }
    if options
        .shrinkage
        .is_some_and(|s| !(s.is_finite() && s > 0.0))
    {
        return fail("the shrinkage of the whitening must be a number above zero".into());
    }
    if options.batch == 0 || options.hidden == 0 {
        return fail("a batch and a hidden layer need at least one picture and one number".into());
    }
    if let Some(Err(reason)) = options.diffusion.map(|d| d.check()) {
        return fail(format!("the diffusion cannot be: {reason}"));
    }
    if classes(data.base) < 2 {
        return fail("the base pictures have fewer than two classes: give at least two".into());
    }
    if data.adapt.labels.is_empty() {
        return fail("no pictures to adapt to: give a few labelled ones of each new class".into());
    }
    for (name, features) in [
        ("base", data.base),
        ("adapt", data.adapt),
        ("unlabelled", data.unlabelled),
    ] {
        let rows = features.labels.len();
        if rows.checked_mul(features.dim) != Some(features.values.len()) {
            let (values, dim) = (features.values.len(), features.dim);
            return fail(format!(
                "{name} features: {values} numbers for {rows} rows of {dim}"
            ));
        }
        if features
            .labels
            .iter()
            .any(|&label| label as usize >= MOST_CLASSES)
        {
            return fail(format!(
                "{name} features: a class number of {MOST_CLASSES} or more"
            ));
        }
        if features.dim != data.base.dim && !features.values.is_empty() {
            let (got, expected) = (features.dim, data.base.dim);
            return fail(format!(
                "{name} features have {got} numbers, base features {expected}"
            ));
        }
        if let Some(i) = features.values.iter().position(|v| !v.is_finite()) {
            let row = i / features.dim.max(1);
            return fail(format!(
                "the {name} features of picture {row} are not finite numbers"
            ));
        }
    }
    Ok(())
}

fn normalised(model: &HashModel, features: &Features) -> Vec<Vec<f32>> {
    features
        .rows()
        .collect::<Vec<_>>()
        .par_iter()
        .map(|f| model.normalise(f))
        .collect()
}

fn embedded(model: &HashModel, rows: &[Vec<f32>]) -> Vec<Vec<f32>> {
    rows.par_iter().map(|e| model.embed(e)).collect()
}

fn matrix(rows: &[Vec<f32>]) -> Tensor {
    let width = rows.first().map_or(0, Vec::len) as i64;
    Tensor::from_slice(&rows.concat()).view([rows.len() as i64, width])
}

/// The diffusion graph: row-stochastic weights among the anchors, and from adapt pictures to
/// them.
struct Graph {
    diffusion: Diffusion,
    kernel_width: f32,
    points: Vec<f32>,
    /// P_A: `[m, m]`.
    among: Vec<Vec<f32>>,
    /// `[adapt, m]`.
    to_adapt: Vec<Vec<f32>>,
}

impl Graph {
    fn new(diffusion: Diffusion, anchors: &[Vec<f32>], adapt: &[Vec<f32>]) -> Graph {
        let m = anchors.len();
        let distances: Vec<Vec<f32>> = anchors
            .par_iter()
            .map(|a| anchors.iter().map(|b| squared_distance(a, b)).collect())
            .collect();
        let mut off_diagonal: Vec<f32> = (0..m)
            .flat_map(|i| distances[i][..i].iter().copied())
            .collect();
        let kernel_width = if off_diagonal.is_empty() {
            1.0
        } else {
            let middle = off_diagonal.len() / 2;
            let (_, median, _) = off_diagonal.select_nth_unstable_by(middle, f32::total_cmp);
            median.max(f32::MIN_POSITIVE)
        };
        let mut among = vec![vec![0f32; m]; m];
        for (i, row) in distances.iter().enumerate() {
            let mut order: Vec<usize> = (0..m).filter(|&j| j != i).collect();
            order.sort_unstable_by(|&a, &b| row[a].total_cmp(&row[b]).then(a.cmp(&b)));
            for &j in order.iter().take(diffusion.neighbours) {
                let weight = libm::expf(-row[j] / kernel_width);
                // Symmetrised by the larger: the graph is undirected.
                among[i][j] = among[i][j].max(weight);
                among[j][i] = among[j][i].max(weight);
            }
        }
        for row in &mut among {
            let degree: f32 = row.iter().sum();
            if degree > 0.0 {
                row.iter_mut().for_each(|w| *w /= degree);
            }
        }
        let points = anchors.concat();
        let to_adapt = adapt
            .par_iter()
            .map(|point| {
                let mut row = vec![0f32; m];
                for (j, w) in kernel_weights(&points, point, diffusion.neighbours, kernel_width) {
                    row[j] = w;
                }
                row
            })
            .collect();
        Graph {
            diffusion,
            kernel_width,
            points,
            among,
            to_adapt,
        }
    }
}

struct Tensors<'a> {
    base: Tensor,
    base_labels: &'a [u32],
    adapt: Tensor,
    adapt_labels: &'a [u32],
    anchors: Tensor,
    graph: Option<(Tensor, Tensor)>,
}

/// Head and mirrored decoder under training.
struct Network {
    store: nn::VarStore,
    /// Weight and bias of the head's layers, then of the decoder's.
    layers: [(Tensor, Tensor); 4],
}

impl Network {
    fn new(options: &HashTraining, width: usize, rng: &mut ChaCha8Rng) -> Result<Network, Error> {
        let store = nn::VarStore::new(tch::Device::Cpu);
        let sizes = [width, options.hidden, options.bits, options.hidden, width];
        let mut layer = |i: usize| -> Result<(Tensor, Tensor), Error> {
            let (input, output) = (sizes[i] as i64, sizes[i + 1] as i64);
            let values = normal(rng, &[output, input], (1.0 / input as f32).sqrt());
            let root = store.root();
            let mut weight = root.f_zeros(&format!("weight{i}"), &[output, input])?;
            tch::no_grad(|| weight.f_copy_(&values).map(drop))?;
            Ok((weight, root.f_zeros(&format!("bias{i}"), &[output])?))
        };
        let layers = [layer(0)?, layer(1)?, layer(2)?, layer(3)?];
        Ok(Network { store, layers })
    }

    fn two_layers(&self, first: usize, x: &Tensor) -> Result<Tensor, Error> {
        let (w, b) = &self.layers[first];
        let hidden = x.f_linear(w, Some(b))?.f_relu()?;
        let (w, b) = &self.layers[first + 1];
        Ok(hidden.f_linear(w, Some(b))?)
    }

    fn fit(
        &self,
        options: &HashTraining,
        data: &Tensors<'_>,
        rng: &mut ChaCha8Rng,
        progress: &mut impl FnMut(f64, f64),
    ) -> Result<(), Error> {
        let mut optimiser = nn::Adam::default().build(&self.store, options.learning_rate)?;
        let n = data.base_labels.len();
        let batch = options.batch.min(n);
        let per_epoch = n.div_ceil(batch);
        let steps = options.base_epochs * per_epoch + options.adapt_steps;
        let mut order: Vec<usize> = (0..n).collect();
        let mut step = 0;
        for _ in 0..options.base_epochs {
            order.shuffle(rng);
            for chunk in order.chunks(batch) {
                let loss = self.base_loss(options, data, chunk)?;
                optimiser.backward_step(&loss);
                step += 1;
                progress(step as f64 / steps as f64, loss.f_double_value(&[])?);
            }
        }
        for _ in 0..options.adapt_steps {
            let chunk: Vec<usize> = (0..batch).map(|_| rng.random_range(0..n)).collect();
            let loss = self.base_loss(options, data, &chunk)? + self.adapt_loss(options, data)?;
            optimiser.backward_step(&loss);
            step += 1;
            progress(step as f64 / steps as f64, loss.f_double_value(&[])?);
        }
        Ok(())
    }

    fn base_loss(
        &self,
        options: &HashTraining,
        data: &Tensors<'_>,
        chunk: &[usize],
    ) -> Result<Tensor, Error> {
        let index: Vec<i64> = chunk.iter().map(|&i| i as i64).collect();
        let labels: Vec<u32> = chunk.iter().map(|&i| data.base_labels[i]).collect();
        let x = data.base.f_index_select(0, &Tensor::from_slice(&index))?;
        let z = self.two_layers(0, &x)?;
        let z = &z - z.f_mean_dim([0i64].as_slice(), true, Kind::Float)?;
        self.loss(options, &x, &z, &labels)
    }

    fn adapt_loss(&self, options: &HashTraining, data: &Tensors<'_>) -> Result<Tensor, Error> {
        let anchors = self.two_layers(0, &data.anchors)?;
        let offset = anchors.f_mean_dim([0i64].as_slice(), true, Kind::Float)?;
        let mut z = self.two_layers(0, &data.adapt)?.f_sub(&offset)?;
        if let (Some((among, to_adapt)), Some(diffusion)) = (&data.graph, options.diffusion) {
            let smoothed = smooth_tensor(&anchors.f_sub(&offset)?, among, &diffusion)?;
            z = z * keep_factor(&diffusion) + to_adapt.f_matmul(&smoothed)?;
        }
        self.loss(options, &data.adapt, &z, data.adapt_labels)
    }

    fn loss(
        &self,
        options: &HashTraining,
        x: &Tensor,
        z: &Tensor,
        labels: &[u32],
    ) -> Result<Tensor, Error> {
        let u = z.f_tanh()?;
        let reconstruction = (self.two_layers(2, z)? - x).f_square()?;
        let reconstruction =
            reconstruction.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?;
        let consistency = (reconstruction + 1e-8).f_sqrt()?.f_mean(Kind::Float)?;
        let signs = z.f_ge(0.0)?.f_to_kind(Kind::Float)? * 2.0 - 1.0;
        let quantisation = (z - signs).f_square()?.f_mean(Kind::Float)?;
        let balance = u.f_mean_dim([0i64].as_slice(), false, Kind::Float)?;
        let balance = balance.f_square()?.f_sum(Kind::Float)?;
        // The decoder's target has unit variance a coordinate, so its norm grows with √width.
        let width = (x.size()[1] as f64).sqrt();
        Ok(pairwise_loss(&u, labels)?
            + consistency * (options.lambda_consistency / width)
            + quantisation * options.lambda_quantisation
            + balance * (options.lambda_balance / options.bits as f64))
    }

    fn layers(&self) -> Result<Vec<Layer>, Error> {
        let to_vec = |t: &Tensor| -> Result<Vec<f32>, Error> {
            Ok(Vec::try_from(t.f_detach()?.f_reshape([-1])?)?)
        };
        let head = &self.layers[..2];
        head.iter()
            .map(|(w, b)| {
                Ok(Layer {
                    weight: to_vec(w)?,
                    bias: to_vec(b)?,
                })
            })
            .collect()
    }
}

/// Ā = α Σₜ (1−α)^(T−1−t) A⁽ᵗ⁾ with A⁽ᵗ⁺¹⁾ = (1−α) A⁽ᵗ⁾ + α P A⁽ᵗ⁾.
fn smooth_tensor(a: &Tensor, among: &Tensor, diffusion: &Diffusion) -> Result<Tensor, Error> {
    let alpha = diffusion.alpha;
    let mut a = a.shallow_clone();
    let mut sum = a.f_zeros_like()?;
    for _ in 0..diffusion.steps {
        sum = sum * (1.0 - alpha) + &a * alpha;
        a = &a * (1.0 - alpha) + among.f_matmul(&a)? * alpha;
    }
    Ok(sum)
}

/// DPSH's pairwise loss (Li, Wang and Kang, IJCAI 2016) on u = tanh z', pairs of one class and
/// pairs of two weighted to equal mass; θ is scaled by the code's width so that its range, and
/// with it the gradient, does not grow with the bits.
fn pairwise_loss(u: &Tensor, labels: &[u32]) -> Result<Tensor, Error> {
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
    let theta = u.f_matmul(&u.tr())? * (8.0 / u.size()[1] as f64);
    let mean = |mask: &Tensor, value: Tensor| -> Result<Tensor, Error> {
        let mass = mask.f_sum(Kind::Float)?.f_clamp_min(1.0)?;
        Ok((value * mask).f_sum(Kind::Float)? / mass)
    };
    let pull = mean(&positive, (-&theta).f_softplus()?)?;
    let push = mean(&negative, theta.f_softplus()?)?;
    Ok((pull + push) * 0.5)
}

/// Computes z̄ and Ā with the arithmetic of inference.
fn finish(
    model: &mut HashModel,
    options: &HashTraining,
    anchor_rows: &[Vec<f32>],
    graph: Option<Graph>,
) -> Result<(), Error> {
    let mut latents: Vec<Vec<f32>> = anchor_rows
        .par_iter()
        .map(|e| model.head_of(&model.embed(e)))
        .collect();
    let m = latents.len();
    for bit in 0..options.bits {
        let sum: f64 = latents.iter().map(|z| f64::from(z[bit])).sum();
        model.offset[bit] = (sum / m as f64) as f32;
    }
    let Some(graph) = graph else { return Ok(()) };
    for z in &mut latents {
        z.iter_mut()
            .zip(&model.offset)
            .for_each(|(z, mean)| *z -= mean);
    }
    let smoothed = smooth_tensor(&matrix(&latents), &matrix(&graph.among), &graph.diffusion)?;
    model.anchors = Some(Anchors {
        points: graph.points,
        smoothed: Vec::try_from(smoothed.f_reshape([-1])?)?,
        diffusion: graph.diffusion,
        kernel_width: graph.kernel_width,
    });
    Ok(())
}
