//! Trains PP + SCDM hashing models from features.
//!
//! Two stages, after the poster "Make Prototypes Perform Again" where it speaks and our own
//! measurements where it is silent: the head learns on base classes without diffusion; then a
//! few steps on the labelled examples of the new classes, with the diffusion operator of
//! inference inside the loop, mixed with base pictures so that what was learnt is kept.

use std::ops::ControlFlow;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tch::Tensor;

use super::graph::{Graph, smooth};
use super::network::{Lessons, Network};
use super::prior;
use crate::device::use_one_thread;
use crate::error::Error;
use crate::features::{Features, classes};
use crate::hash::{Anchors, Diffusion, GraphSpace, HashModel, Layer, Method};

/// What a head learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainOn {
    /// The labelled examples alone, as on the poster: too few where there are not many of each class.
    Adapt,
    /// The base classes alone.
    Base,
    /// The base classes, then the examples beside them.
    BaseThenAdapt,
}

/// What labels are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashLoss {
    /// Codes of one class are drawn together, those of others apart (DPSH's pairwise loss).
    Pairwise,
    /// Nothing: self-consistency alone, as on the poster.
    None,
}

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
    /// Prototypes of only so many base classes, drawn by the seed; of all, if it is not said.
    pub prototype_classes: Option<usize>,
    /// What the head learns from.
    pub train_on: TrainOn,
    /// What labels are used for.
    pub loss: HashLoss,
    /// The diffusion (SCDM), or none.
    pub diffusion: Option<Diffusion>,
    /// Width of the head's hidden layer; with none the head is linear.
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
            prototype_classes: None,
            train_on: TrainOn::BaseThenAdapt,
            loss: HashLoss::Pairwise,
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

    /// Passes over the base pictures, all told.
    pub(super) fn epochs(&self) -> usize {
        match self.train_on {
            TrainOn::Adapt => 0,
            TrainOn::Base | TrainOn::BaseThenAdapt => self.base_epochs,
        }
    }

    /// Steps on the adapt set, all told.
    pub(super) fn steps(&self) -> usize {
        match self.train_on {
            TrainOn::Base => 0,
            TrainOn::Adapt | TrainOn::BaseThenAdapt => self.adapt_steps,
        }
    }

    /// Whether steps on the adapt set see base pictures too, so that what was learnt is kept.
    pub(super) fn rehearses(&self) -> bool {
        self.train_on == TrainOn::BaseThenAdapt
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

/// Trains a model; `progress` is told the share of steps done, 0 to 1, and the running loss, and may break off.
/// libtorch computes on the calling thread alone, then and afterwards.
///
/// # Errors
/// [`Error::Data`] when there are fewer than two base classes, no adapt pictures, features that
/// are not finite or of different widths; [`Error::Torch`] when libtorch fails.
pub fn train(
    options: &HashTraining,
    data: TrainingData<'_>,
    progress: impl FnMut(f64, f64) -> ControlFlow<()>,
) -> Result<HashModel, Error> {
    train_with(
        &Prior::of(options.shrinkage, data.base)?,
        options,
        data,
        progress,
    )
}

/// The same, with what follows from the base pictures alone already computed.
///
/// # Errors
/// As [`train`]; [`Error::Data`] when the prior is not of `data.base`, or of another shrinkage.
pub fn train_with(
    prior: &Prior,
    options: &HashTraining,
    data: TrainingData<'_>,
    progress: impl FnMut(f64, f64) -> ControlFlow<()>,
) -> Result<HashModel, Error> {
    let all = [
        ("base", data.base),
        ("adapt", data.adapt),
        ("unlabelled", data.unlabelled),
    ];
    check(options, &all, data.base.dim)?;
    if classes(&data.base.labels).len() < 2 {
        let what = "the base pictures have fewer than two classes: give at least two";
        return Err(Error::Data(what.into()));
    }
    if options.prototype_classes == Some(0) {
        let what = "no class to take prototypes of: leave them all out, or none";
        return Err(Error::Data(what.into()));
    }
    if prior.shrinkage != options.shrinkage || prior.base.len() != data.base.len() {
        let what = "the prior was computed of other base pictures, or with another shrinkage";
        return Err(Error::Data(what.into()));
    }
    use_one_thread();
    let mut model = prior.model(options.bits);
    let base = &prior.base;
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    if options.prototypes_per_class > 0 {
        let per_class = options.prototypes_per_class;
        model.prototypes = Some(prior::prototypes(
            base,
            &data.base.labels,
            per_class,
            options.prototype_classes,
            &mut rng,
        ));
    }
    let x_base = embedded(&model, base);
    let network = Network::new(options, x_base[0].len(), &mut rng)?;
    let base = (matrix(&x_base), &data.base.labels[..]);
    learn(
        model,
        network,
        options,
        base,
        (data.adapt, data.unlabelled),
        &mut rng,
        progress,
    )
}

/// What follows from the base pictures before any network learns, and is the same in every training of the same
/// shrinkage: centre and whitening, and the pictures' features so normalised.
pub struct Prior {
    shrinkage: Option<f64>,
    centre: Vec<f32>,
    whitening: Option<Vec<f32>>,
    base: Vec<Vec<f32>>,
}

impl Prior {
    /// Computes it; see [`HashTraining::shrinkage`].
    ///
    /// # Errors
    /// As [`train`].
    pub fn of(shrinkage: Option<f64>, base: &Features) -> Result<Prior, Error> {
        check_shrinkage(shrinkage)?;
        check_features("base", base, base.dim)?;
        let centre = base.mean();
        let mut prior = Prior {
            shrinkage,
            whitening: shrinkage
                .map(|shrinkage| prior::whitening(base, &centre, shrinkage))
                .transpose()?,
            centre,
            base: Vec::new(),
        };
        prior.base = normalised(&prior.model(0), base);
        Ok(prior)
    }

    /// A model that centres and whitens, and has nothing behind that.
    fn model(&self, bits: usize) -> HashModel {
        HashModel {
            method: Method::PpScdm,
            bits,
            centre: self.centre.clone(),
            whitening: self.whitening.clone(),
            unit_length: true,
            calibration: None,
            prototypes: None,
            head: Vec::new(),
            offset: vec![0.0; bits],
            anchors: None,
        }
    }
}

/// Pictures that are drawn around each prototype.
const DRAWN: usize = 16;

/// Makes a model for new classes out of one that was trained: whitening and prototypes stay, the head goes
/// on learning from the labelled `adapt` pictures, and the anchors are these and the `unlabelled` ones. Takes
/// seconds, and no pictures of the base classes: such as are drawn around the prototypes stand in for them. Of `options` those count
/// that speak of the adapt set; the width is the model's.
///
/// # Errors
/// As [`train`].
pub fn adapt(
    model: &HashModel,
    options: &HashTraining,
    adapt: &Features,
    unlabelled: &Features,
    progress: impl FnMut(f64, f64) -> ControlFlow<()>,
) -> Result<HashModel, Error> {
    if model.head.len() > 2 {
        let layers = model.head.len();
        let what = format!("the model's head has {layers} layers: only one or two can be adapted");
        return Err(Error::Data(what));
    }
    let options = HashTraining {
        bits: model.bits,
        hidden: match &model.head[..] {
            [] | [_] => 0,
            [first, ..] => first.bias.len(),
        },
        base_epochs: 0,
        ..options.clone()
    };
    check(
        &options,
        &[("adapt", adapt), ("unlabelled", unlabelled)],
        model.dim(),
    )?;
    use_one_thread();
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let none = (Vec::new(), Vec::new());
    let (base, labels) = model
        .prototypes
        .as_ref()
        .map_or(none, |prototypes| prior::drawn(prototypes, DRAWN, &mut rng));
    let x_base = embedded(model, &base);
    let width = model
        .prototypes
        .as_ref()
        .map_or(model.dim(), |p| p.mean.len());
    let network = Network::of_head(&options, width, &model.head, &mut rng)?;
    let base = (matrix(&x_base), &labels[..]);
    learn(
        model.clone(),
        network,
        &options,
        base,
        (adapt, unlabelled),
        &mut rng,
        progress,
    )
}

/// Whitened features diffused over the anchors that a model's codes would be diffused over: what shows
/// whether codes owe their quality to what the diffusion sees. Its latents are the features.
///
/// # Errors
/// As [`train`].
pub fn diffused_floats(
    prior: &Prior,
    options: &HashTraining,
    data: TrainingData<'_>,
) -> Result<HashModel, Error> {
    let dim = data.base.dim;
    let all = [
        ("base", data.base),
        ("adapt", data.adapt),
        ("unlabelled", data.unlabelled),
    ];
    check(options, &all, dim)?;
    let options = HashTraining {
        bits: dim,
        diffusion: options.diffusion.map(|diffusion| Diffusion {
            space: GraphSpace::Feature,
            ..diffusion
        }),
        ..options.clone()
    };
    let mut model = prior.model(dim);
    let mut identity = vec![0.0; dim * dim];
    identity.iter_mut().step_by(dim + 1).for_each(|v| *v = 1.0);
    model.head = vec![Layer {
        weight: identity,
        bias: vec![0.0; dim],
    }];
    let adapt = normalised(&model, data.adapt);
    let mut anchors = normalised(&model, data.unlabelled);
    anchors.extend(adapt.iter().cloned());
    let graph = options.diffusion.map(|d| Graph::new(d, &anchors, &adapt));
    finish(&mut model, &options, &anchors, graph)?;
    Ok(model)
}

/// Fits the network of a model that lacks head, offset and anchors, or has old ones.
fn learn(
    mut model: HashModel,
    network: Network,
    options: &HashTraining,
    (base, base_labels): (Tensor, &[u32]),
    (adapt, unlabelled): (&Features, &Features),
    rng: &mut ChaCha8Rng,
    mut progress: impl FnMut(f64, f64) -> ControlFlow<()>,
) -> Result<HashModel, Error> {
    let mut anchor_rows = normalised(&model, unlabelled);
    let adapt_rows = normalised(&model, adapt);
    anchor_rows.extend(adapt_rows.iter().cloned());
    let [x_adapt, x_anchors] = [&adapt_rows, &anchor_rows].map(|rows| embedded(&model, rows));
    let graph = options.diffusion.map(|d| {
        let (anchors, points) = match d.space {
            GraphSpace::Feature => (&anchor_rows, &adapt_rows),
            GraphSpace::Pp => (&x_anchors, &x_adapt),
        };
        Graph::new(d, anchors, points)
    });
    let lessons = Lessons {
        base,
        base_labels,
        adapt: matrix(&x_adapt),
        adapt_labels: &adapt.labels,
        anchors: matrix(&x_anchors),
        graph: graph
            .as_ref()
            .map(|g| (matrix(&g.among), matrix(&g.to_adapt))),
    };
    network.fit(options, &lessons, rng, &mut progress)?;
    model.head = network.layers()?;
    finish(&mut model, options, &anchor_rows, graph)?;
    let smoothed = model.anchors.iter().flat_map(|anchors| &anchors.smoothed);
    let finite = smoothed.chain(&model.offset).all(|v| v.is_finite());
    if !finite || !model.head.iter().all(Layer::is_finite) {
        return Err(diverged());
    }
    Ok(model)
}

/// What numbers that are not finite come from.
pub(super) fn diverged() -> Error {
    let what = "the training diverged: lower --learning-rate, or the weights of the losses";
    Error::Data(what.into())
}

/// Class numbers are places in tables: without a bound, one wrong number asks for all memory.
const MOST_CLASSES: usize = 1 << 20;

/// Refuses options and sets of features, each of `dim` numbers, that cannot be learned from.
fn check(options: &HashTraining, sets: &[(&str, &Features)], dim: usize) -> Result<(), Error> {
    let fail = |what: String| Err(Error::Data(what));
    if !(8..=65_536).contains(&options.bits) {
        return fail(format!("codes of {} bits: give 8 to 65,536", options.bits));
    }
    check_shrinkage(options.shrinkage)?;
    if options.batch == 0 {
        return fail("a batch needs at least one picture".into());
    }
    if let Some(Err(reason)) = options.diffusion.map(|d| d.check()) {
        return fail(format!("the diffusion cannot be: {reason}"));
    }
    for &(name, features) in sets {
        if name == "adapt" && features.is_empty() {
            let what = "no pictures to adapt to: give a few labelled ones of each new class";
            return fail(what.into());
        }
        check_features(name, features, dim)?;
    }
    Ok(())
}

fn check_shrinkage(shrinkage: Option<f64>) -> Result<(), Error> {
    match shrinkage {
        Some(share) if !(share.is_finite() && share > 0.0) => {
            let what = "the shrinkage of the whitening must be a number above zero";
            Err(Error::Data(what.into()))
        }
        _ => Ok(()),
    }
}

/// Refuses features that are not `dim` numbers a row, all of them finite.
pub(super) fn check_features(name: &str, features: &Features, dim: usize) -> Result<(), Error> {
    let fail = |what: String| Err(Error::Data(what));
    let rows = features.labels.len();
    if rows.checked_mul(features.dim) != Some(features.values.len()) {
        let (values, dim) = (features.values.len(), features.dim);
        return fail(format!(
            "{name} features: {values} numbers for {rows} rows of {dim}"
        ));
    }
    let labels = &features.labels;
    if labels.iter().any(|&label| label as usize >= MOST_CLASSES) {
        return fail(format!(
            "{name} features: a class number of {MOST_CLASSES} or more"
        ));
    }
    if features.dim != dim && !features.values.is_empty() {
        let got = features.dim;
        return fail(format!(
            "{name} features have {got} numbers, those of the model {dim}"
        ));
    }
    if let Some(i) = features.values.iter().position(|v| !v.is_finite()) {
        let row = i / features.dim.max(1);
        return fail(format!(
            "the {name} features of picture {row} are not finite numbers"
        ));
    }
    Ok(())
}

/// Rows that share a pass over a model's matrices.
const TOGETHER: usize = 16;

fn normalised(model: &HashModel, features: &Features) -> Vec<Vec<f32>> {
    let rows: Vec<&[f32]> = features.rows().collect();
    rows.par_chunks(TOGETHER)
        .flat_map_iter(|rows| model.normalise_all(rows))
        .collect()
}

fn embedded(model: &HashModel, rows: &[Vec<f32>]) -> Vec<Vec<f32>> {
    rows.par_chunks(TOGETHER)
        .flat_map_iter(|rows| model.embed_all(rows))
        .collect()
}

fn matrix(rows: &[Vec<f32>]) -> Tensor {
    let width = rows.first().map_or(0, Vec::len) as i64;
    Tensor::from_slice(&rows.concat()).view([rows.len() as i64, width])
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
    model.anchors = None;
    let Some(graph) = graph else { return Ok(()) };
    for z in &mut latents {
        z.iter_mut()
            .zip(&model.offset)
            .for_each(|(z, mean)| *z -= mean);
    }
    let smoothed = smooth(&matrix(&latents), &matrix(&graph.among), &graph.diffusion)?;
    model.anchors = Some(Anchors {
        points: graph.points,
        smoothed: Vec::try_from(smoothed.f_reshape([-1])?)?,
        diffusion: graph.diffusion,
        kernel_width: graph.kernel_width,
    });
    Ok(())
}
