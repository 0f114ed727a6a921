//! Trains PURPLE (Ma et al., "Improved Deep Unsupervised Hashing via Prototypical Learning", ACM MM 2022): codes
//! from pictures without labels.
//!
//! Frozen features are clustered; two pictures are alike as far as they lie near the same feature prototypes, and
//! codes are drawn together accordingly (L_S). Beside that, two augmented views of a picture are to lie near the
//! same of some fixed codes, the hashing prototypes, each of which gets its share of the pictures (L_C).
//!
//! The network is the backbone, whose last blocks are trained, and a linear head. A few views of every picture go
//! once through the blocks before them ([`Views`]), and each step draws two of those: anew for every step it would
//! be more than half of the time.
//!
//! Where this departs from the paper, the options say why.

mod losses;
mod network;
mod views;

use std::ops::ControlFlow;
use std::time::Instant;

use bitkin::model::ModelFile;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use self::losses::{feature_graph, graph_loss, hashing_prototypes, prototype_loss, pseudo_labels};
use self::network::Network;
pub use self::views::Views;
use super::augment::Augmentation;
use super::prior::cluster_centres;
use crate::dataset::Dataset;
use crate::device::use_one_thread;
use crate::error::Error;
use crate::features::Features;
use crate::hash::{HashModel, Layer, Method, unit};

/// Which losses are trained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losses {
    /// L_S + L_C.
    Both,
    /// L_S alone: codes follow the graph of features.
    Graph,
    /// L_C alone: views follow the hashing prototypes.
    Prototypes,
}

/// How to train. Defaults are the paper's, unless their description says otherwise.
#[derive(Clone, Debug)]
pub struct PurpleTraining {
    /// Code width b.
    pub bits: usize,
    /// Seed of prototypes, head, order and augmentation: the same seed and pictures give the same model, to the byte,
    /// whatever the number of threads.
    pub seed: u64,
    /// Which losses are trained with.
    pub losses: Losses,
    /// M, feature prototypes and hashing prototypes each.
    pub prototypes: usize,
    /// τ of both losses. Codes are compared with hashing prototypes by cosine, as with each other; the paper prints
    /// inner products, of up to the width: with them 64 bits retrieved worse than random ones (mAP 0.124 in place of
    /// 0.162, Tiny ImageNet's novel classes).
    pub temperature: f64,
    /// τ of the pseudo-labels q = softmax(zᵀc / τ). The paper has 0.5 for all; but then no picture of unit length
    /// can belong to one of 50 prototypes by more than 0.53, qᵀq never reaches the threshold, and the graph has no
    /// edge.
    pub feature_temperature: f64,
    /// T: pictures whose qᵀq reaches it count as the same.
    pub threshold: f64,
    /// γ of the assignment to hashing prototypes.
    pub smoothing: f64,
    /// Iterations of the assignment.
    pub iterations: usize,
    /// Last blocks of the backbone that are trained, 0 for the head alone; if it is not said, one where the backbone
    /// has blocks. The paper trains all of it, which is work for a GPU. On Tiny ImageNet's novel classes the head
    /// alone retrieves as well (mAP 0.162 with 64 bits and either) in a sixth of the time.
    pub blocks: Option<usize>,
    /// Learning rate of the backbone.
    pub backbone_rate: f64,
    /// Learning rate of the head. The paper has 1e-3 and does not say for how many epochs: with the head on features
    /// scaled to unit variance, three times as many of them (100) at 1e-3 gave no more than these at 1e-2.
    pub head_rate: f64,
    /// Momentum of SGD; the paper does not say.
    pub momentum: f64,
    /// Pictures a step.
    pub batch: usize,
    /// Passes over the pictures; the paper does not say.
    pub epochs: usize,
    /// Trains on no more than so many of the pictures, drawn by the seed; on all, if it is not said.
    pub pictures: Option<usize>,
    /// Augmented views that are made of every picture before the training, of which each step draws two; the paper
    /// makes new ones for every step, which would take more of it than training the last block does.
    pub views: usize,
    /// What makes a view of a picture. The paper names crop, colour, grey, blur and flip without numbers. How often
    /// each happens is as in SimCLR (Chen et al., ICML 2020); crops keep 0.3 of the area at least instead of 0.08,
    /// which of 64 pixels would leave 18, and colours change less. Not tuned.
    pub augmentation: Augmentation,
}

impl PurpleTraining {
    /// The defaults for codes of `bits` bits.
    pub fn new(bits: usize, seed: u64) -> PurpleTraining {
        PurpleTraining {
            bits,
            seed,
            losses: Losses::Both,
            prototypes: 50,
            temperature: 0.5,
            feature_temperature: 0.05,
            threshold: 0.8,
            smoothing: 0.05,
            iterations: 3,
            blocks: None,
            backbone_rate: 1e-5,
            head_rate: 1e-2,
            momentum: 0.9,
            batch: 48,
            epochs: 30,
            pictures: None,
            views: 4,
            augmentation: Augmentation {
                least_area: 0.3,
                turn: 0.0,
                jitter: 0.8,
                contrast: (0.6, 1.4),
                balance: 0.1,
                brightness: 0.2,
                saturation: (0.6, 1.4),
                grey: 0.2,
                blur: 0.5,
                blur_width: 2.0 / 224.0,
            },
        }
    }

    /// Refuses options that make no sense, or not for so many pictures: before anything is done that takes long.
    ///
    /// # Errors
    /// [`Error::Data`].
    pub fn check(&self, pictures: usize) -> Result<(), Error> {
        if pictures == 0 {
            return Err(Error::Data("there are no pictures".into()));
        }
        let fail = |what: String| Err(Error::Data(what));
        if !(8..=65_536).contains(&self.bits) {
            return fail(format!("codes of {} bits: give 8 to 65,536", self.bits));
        }
        for (name, value) in [
            ("--temperature", self.temperature),
            ("--feature-temperature", self.feature_temperature),
            ("--threshold", self.threshold),
            ("--smoothing", self.smoothing),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return fail(format!("{name} is {value}: give a number above zero"));
            }
        }
        for (name, value) in [
            ("--backbone-rate", self.backbone_rate),
            ("--head-rate", self.head_rate),
            ("--momentum", self.momentum),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return fail(format!("{name} is {value}: give a number, zero or more"));
            }
        }
        for (name, value, least) in [
            ("--prototypes", self.prototypes, 2),
            ("--batch", self.batch, 2),
            ("--epochs", self.epochs, 1),
            ("--iterations", self.iterations, 1),
            ("--views", self.views, 2),
        ] {
            if value < least {
                return fail(format!("{name} is {value}: give {least} at least"));
            }
        }
        for (what, count, option) in [
            ("prototypes", self.prototypes, "--prototypes"),
            ("a batch", self.batch, "--batch"),
        ] {
            if pictures < count {
                return fail(format!(
                    "{pictures} pictures are fewer than the {count} of {what}: give more pictures, or a smaller {option}"
                ));
            }
        }
        Ok(())
    }

    /// The pictures of a set that are trained on, in the set's order.
    pub fn drawn(&self, set: &Dataset) -> Dataset {
        let mut places: Vec<usize> = (0..set.pictures.len()).collect();
        if let Some(count) = self.pictures.filter(|count| *count < places.len()) {
            places.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
            places.truncate(count);
            places.sort_unstable();
        }
        let pictures = places.into_iter().map(|i| set.pictures[i].clone());
        Dataset {
            pictures: pictures.collect(),
        }
    }
}

/// How far a training is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// What views, or steps, will take in all; told once of each, when the first are done.
    Estimate {
        /// `views` or `steps`.
        what: &'static str,
        /// Seconds, if all take as long.
        seconds: f64,
        /// Memory for them, in bytes.
        bytes: usize,
    },
    /// Pictures whose views are made, and pictures in all.
    Views {
        /// Done.
        done: usize,
        /// In all.
        of: usize,
    },
    /// A step is done.
    Step {
        /// Steps done.
        done: usize,
        /// Steps in all.
        steps: usize,
        /// Loss of the step's pictures.
        loss: f64,
    },
}

/// A trained model.
pub struct Trained {
    /// What comes behind the backbone.
    pub model: HashModel,
    /// The backbone with its last blocks as they were trained, rounded to f16 as files have them.
    pub backbone: ModelFile,
    /// How many blocks were trained.
    pub blocks: usize,
}

/// Trains on pictures without labels.
///
/// * `file` is the backbone's; `features` are what it gives for the pictures, whose `views` are trained on.
/// * `progress` may break off.
///
/// # Errors
/// [`Error::Data`] for options or pictures that cannot be trained with, and when training diverges;
/// [`Error::Backbone`] when the backbone has not so many blocks; [`Error::Stopped`]; [`Error::Torch`].
pub fn train(
    options: &PurpleTraining,
    file: &ModelFile,
    views: &Views,
    features: &Features,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Trained, Error> {
    options.check(features.len())?;
    check_features(views, features)?;
    use_one_thread();
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let labels = labels_of(options, features, &mut rng)?;
    let h = hashing_prototypes(options.prototypes, options.bits, &mut rng);
    let h = Tensor::from_slice(&h).f_view([options.prototypes as i64, options.bits as i64])?;
    let mut network = Network::new(options, file, views.blocks, features, &mut rng)?;

    let n = features.len();
    let steps = options.epochs * (n / options.batch);
    let mut order: Vec<i64> = (0..n as i64).collect();
    let mut tell = |what| match progress(what) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    };
    let mut done = 0;
    for _ in 0..options.epochs {
        order.shuffle(&mut rng);
        // A rest too small for a batch waits for the next order.
        for chunk in order.chunks_exact(options.batch) {
            let start = Instant::now();
            let pictures = Tensor::from_slice(chunk);
            let q = labels.f_index_select(0, &pictures)?;
            let pairs = views.pairs(chunk, &mut rng)?;
            let loss = network.step(&pairs, |views| loss_of(options, &q, views, &h))?;
            if !loss.is_finite() {
                return Err(diverged());
            }
            done += 1;
            if done == 2 {
                tell(Progress::Estimate {
                    what: "steps",
                    seconds: start.elapsed().as_secs_f64() * steps as f64,
                    // Features, and the same of length 1.
                    bytes: 2 * features.values.len() * size_of::<f32>(),
                })?;
            }
            tell(Progress::Step { done, steps, loss })?;
        }
    }
    let (weight, bias) = network.head()?;
    if !weight.iter().chain(&bias).all(|v| v.is_finite()) {
        return Err(diverged());
    }
    Ok(Trained {
        model: HashModel::linear(Method::Purple, Layer { weight, bias }, false),
        backbone: network.backbone(file)?,
        blocks: views.blocks,
    })
}

fn diverged() -> Error {
    Error::Data("the training diverged: lower --head-rate or --backbone-rate".into())
}

fn loss_of(
    options: &PurpleTraining,
    q: &Tensor,
    views: [&Tensor; 2],
    h: &Tensor,
) -> Result<Tensor, Error> {
    let graph = || {
        graph_loss(
            &feature_graph(q, options.threshold)?,
            views,
            options.temperature,
        )
    };
    let prototypes = || {
        let (smoothing, iterations) = (options.smoothing, options.iterations);
        prototype_loss(views, h, options.temperature, smoothing, iterations)
    };
    Ok(match options.losses {
        Losses::Both => graph()? + prototypes()?,
        Losses::Graph => graph()?,
        Losses::Prototypes => prototypes()?,
    })
}

/// q of all pictures: `[n, prototypes]`.
fn labels_of(
    options: &PurpleTraining,
    features: &Features,
    rng: &mut ChaCha8Rng,
) -> Result<Tensor, Error> {
    let z: Vec<Vec<f32>> = features.rows().map(unit).collect();
    let rows: Vec<&[f32]> = z.iter().map(Vec::as_slice).collect();
    let centres = cluster_centres(&rows, options.prototypes, rng);
    if centres.len() < options.prototypes {
        let (have, wanted) = (centres.len(), options.prototypes);
        return Err(Error::Data(format!(
            "only {have} different pictures for {wanted} prototypes: give more pictures, or ask for fewer \
             with --prototypes"
        )));
    }
    let dim = features.dim as i64;
    let matrix =
        |rows: &[Vec<f32>]| Tensor::from_slice(&rows.concat()).f_view([rows.len() as i64, dim]);
    let labels = pseudo_labels(
        &matrix(&z)?,
        &matrix(&centres)?,
        options.feature_temperature,
    )?;
    Ok(labels)
}

/// Refuses features that are not of the pictures whose views there are.
fn check_features(views: &Views, features: &Features) -> Result<(), Error> {
    let fail = |what: String| Err(Error::Data(what));
    let n = features.len();
    if views.pictures != n || features.values.len() != n * features.dim {
        let (values, pictures) = (features.values.len(), views.pictures);
        return fail(format!(
            "{values} numbers are no features of {n} pictures with views of {pictures}"
        ));
    }
    if let Some(place) = features.values.iter().position(|v| !v.is_finite()) {
        let row = place / features.dim;
        return fail(format!(
            "the features of picture {row} are not finite numbers: the backbone's weights are damaged, or not made \
             for such pictures"
        ));
    }
    Ok(())
}
