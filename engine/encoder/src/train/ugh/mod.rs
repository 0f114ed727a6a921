//! Unsupervised generic hashing (UGH): hash functions learned from unlabelled pictures, and the choice among them
//! for a task of few labelled ones (Wang, Gui and Hebert, "Few-shot hash learning for image retrieval", ICCV
//! workshops 2017).
//!
//! Hyper-training repeats independent rounds. Each draws a subset of the pool, makes pseudo-categories of it by
//! max-min sampling (`sampling.rs`), learns a few hyperplanes whose codes agree within these and differ between
//! them (`dbc.rs`), adds to each category what looks like it, learns again, and moves each hyperplane to where a
//! calibrated probability is one half (`platt.rs`). All functions together are a **library**: a model with as many
//! bits. [`select`] makes an ordinary model of those that tell the classes of a few pictures apart. The paper selects
//! by the weights of an L1-regularised SVM; here that is one criterion, and not the default: bits that are aligned
//! with what all of them have learned from the same pictures retrieve far better.
//!
//! Where the paper is silent: mutual distance is the sum over pairs; a row belongs to the first category that
//! claims it; the two rankings of the expansion are standardised and added; the label that a held-out row should
//! have is its pseudo-category's most frequent one.

mod checkpoint;
mod dbc;
mod platt;
mod round;
mod sampling;
mod svm;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use bitkin::selection::{Selection, SelectionOptions};
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use self::checkpoint::Checkpoint;
use self::round::Functions;
use self::svm::Rows;
use super::hash::check_features;
use crate::error::Error;
use crate::features::Features;
use crate::hash::{HashModel, Layer, Method, pack_signs};
use crate::health::Columns;

/// How a library is hyper-trained. The defaults are the paper's, or ours where it is silent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UghTraining {
    /// Seed of everything that is drawn; the same seed and pool give the same library, to the byte, on any number
    /// of threads.
    pub seed: u64,
    /// Rounds D.
    pub rounds: usize,
    /// Rows M of the pool that a round sees; all of them, if the pool has fewer.
    pub subset: usize,
    /// Sets m of seeds that are drawn, of which the one that lies farthest apart is kept.
    pub candidates: usize,
    /// Pseudo-categories C.
    pub categories: usize,
    /// Rows T of each before the expansion: the seed and its nearest neighbours.
    pub per_category: usize,
    /// Hash functions K of a round.
    pub functions: usize,
    /// Rows F that the expansion adds to each pseudo-category, a tenth of which is held out for the calibration.
    pub expansion: usize,
    /// Weight λ₁ of the hinge loss.
    pub lambda1: f64,
    /// Weight λ₂ of the distance between categories; none gives pairs within and between categories the same
    /// weight in all: (T − 1) / (T (C − 1)).
    pub lambda2: Option<f64>,
    /// Weight γ of the squared weights.
    pub gamma: f64,
    /// Turns of labels and machines; the paper does not say how many.
    pub turns: usize,
    /// Passes of a machine over its examples in each turn, at most; the paper does not say how many.
    pub passes: usize,
    /// Functions are left out whose bits on the pool correlate by more than this with an earlier one's, or to the
    /// contrary; 1 keeps all. The paper keeps them.
    pub duplicate: f64,
}

impl UghTraining {
    /// The defaults.
    pub fn new(seed: u64) -> UghTraining {
        UghTraining {
            seed,
            rounds: 2000,
            subset: 20_000,
            candidates: 50,
            categories: 30,
            per_category: 6,
            functions: 10,
            expansion: 50,
            lambda1: 1.0,
            lambda2: None,
            gamma: 1.0,
            turns: 5,
            passes: 20,
            duplicate: 0.95,
        }
    }

    /// Rows of each category's expansion that are held out.
    fn held_out(&self) -> usize {
        self.expansion.div_ceil(10)
    }

    /// The cost C of a machine.
    fn cost(&self) -> f32 {
        (self.lambda1 / (2.0 * self.gamma)) as f32
    }

    /// For categories of so many rows.
    fn weights(&self, per_category: usize) -> dbc::Weights {
        let (t, c) = (per_category as f64, self.categories as f64);
        dbc::Weights {
            lambda1: self.lambda1 as f32,
            lambda2: self.lambda2.unwrap_or((t - 1.0) / (t * (c - 1.0))) as f32,
            gamma: self.gamma as f32,
            turns: self.turns,
            passes: self.passes,
        }
    }

    /// Says what makes no sense, or does not go with a pool of so many pictures.
    fn check(&self, pool: usize) -> Result<(), Error> {
        let fail = |what: String| Err(Error::Data(what));
        for (name, number, least) in [
            ("rounds", self.rounds, 1),
            ("candidates", self.candidates, 1),
            ("categories", self.categories, 2),
            ("per-category", self.per_category, 2),
            ("functions", self.functions, 1),
            ("expansion", self.expansion, 2),
            ("turns", self.turns, 1),
            ("passes", self.passes, 1),
        ] {
            if number < least {
                return fail(format!("{name} is {number}: it must be at least {least}"));
            }
        }
        for (name, number) in [("lambda1", self.lambda1), ("gamma", self.gamma)] {
            if !(number.is_finite() && number > 0.0) {
                return fail(format!("{name} is {number}: it must be above 0"));
            }
        }
        if self.lambda2.is_some_and(|l| !(l.is_finite() && l >= 0.0)) {
            return fail("lambda2 must be at least 0".into());
        }
        if !(self.duplicate > 0.0 && self.duplicate <= 1.0) {
            let duplicate = self.duplicate;
            return fail(format!(
                "duplicate is {duplicate}: it must be above 0 and at most 1"
            ));
        }
        let (seen, c) = (self.subset.min(pool), self.categories);
        let (t, f) = (self.per_category, self.expansion);
        let needed = c * (t + f);
        if seen < needed {
            return fail(format!(
                "{} pictures are too few: {c} pseudo-categories of {t} and {f} added pictures each need \
                 {needed} (give more pictures, or fewer --categories, --per-category or --expansion{})",
                seen,
                if self.subset < pool {
                    ", or a larger --subset"
                } else {
                    ""
                }
            ));
        }
        if self.functions >= c * t {
            let k = self.functions;
            return fail(format!(
                "{k} functions a round: there are directions for fewer than {}, the pictures that they are \
                 begun from",
                c * t
            ));
        }
        Ok(())
    }

    /// Bytes of memory that hyper-training takes beside the features that it is given, on so many threads.
    pub fn memory(&self, pool: usize, dim: usize, threads: usize) -> usize {
        let rows = self.subset.min(pool);
        let own = if self.subset < pool { rows * dim } else { 0 };
        // Two lists of responses for each category and one for each function, and the codes.
        let lists = rows * (2 * self.categories + 2 * self.functions);
        let augmented = self.categories * (self.per_category + self.expansion) * dim;
        let library = self.rounds * self.functions * (dim + 1);
        4 * (pool * dim + 2 * library + threads * (own + lists + augmented))
    }
}

/// How far hyper-training is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Rounds that are done.
    pub done: usize,
    /// All rounds.
    pub rounds: usize,
    /// Rounds done since the start, those of a checkpoint left out.
    pub here: usize,
    /// Seconds since the start.
    pub seconds: f64,
}

/// A hyper-trained library, and what became of its functions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Library {
    /// The model; it has a bit for each function.
    pub model: HashModel,
    /// Functions that were learned.
    pub learned: usize,
    /// Those that were left out since they say the same of nearly all pictures: they are set in less than 2 % or
    /// more than 98 % of them.
    pub dead: usize,
    /// Those that were left out since they say what an earlier one says.
    pub twins: usize,
    /// Seconds that it took, and rounds that were done in them; those of a checkpoint left out.
    pub seconds: f64,
    /// See `seconds`.
    pub here: usize,
}

/// Hyper-trains a library on the features of unlabelled pictures; labels are not looked at. Finished rounds are kept
/// in the file `checkpoint`, if there is one, and taken from there: a training that was interrupted gives the same
/// library as one that was not. `progress` may break off.
///
/// # Errors
/// [`Error::Data`] when an option makes no sense, the pool is smaller than the sampling needs, features are not
/// finite, or the checkpoint is of another training; [`Error::Io`] when it cannot be read or written;
/// [`Error::Stopped`] when `progress` breaks off.
pub fn hyper_train(
    options: &UghTraining,
    pool: &Features,
    checkpoint: Option<&Path>,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Library, Error> {
    check_features("pool", pool, pool.dim)?;
    options.check(pool.len())?;
    let start = Instant::now();
    let mut model = HashModel {
        method: Method::Ugh,
        bits: 0,
        // The paper leaves features where they are; from their mean, selected bits retrieved worse.
        centre: vec![0.0; pool.dim],
        whitening: None,
        unit_length: true,
        prototypes: None,
        head: Vec::new(),
        offset: Vec::new(),
        anchors: None,
        calibration: None,
    };
    let rows: Vec<Vec<f32>> = pool
        .values
        .par_chunks_exact(pool.dim.max(1))
        .map(|feature| model.normalise(feature))
        .collect();
    let values = rows.concat();
    drop(rows);
    let rows = Rows {
        values: &values,
        dim: pool.dim,
    };

    let (mut kept, mut rounds) = (None, Default::default());
    if let Some(path) = checkpoint {
        let (file, found) = Checkpoint::open(path, &identity(options, pool), pool.dim)?;
        (kept, rounds) = (Some(file), found);
    }
    let missing: Vec<u32> = (0..options.rounds as u32)
        .filter(|n| !rounds.contains_key(n))
        .collect();
    let mut here = 0;
    for numbers in missing.chunks(2 * rayon::current_num_threads()) {
        let functions = numbers
            .par_iter()
            .map(|&n| (n, round::round(options, rows, n)));
        let functions: Vec<(u32, Functions)> = functions.collect();
        if let Some(file) = &mut kept {
            file.add(&functions)?;
        }
        here += functions.len();
        rounds.extend(functions);
        let told = progress(Progress {
            done: options.rounds - missing.len() + here,
            rounds: options.rounds,
            here,
            seconds: start.elapsed().as_secs_f64(),
        });
        if told.is_break() {
            return Err(Error::Stopped);
        }
    }

    let mut all = Functions::default();
    for functions in rounds.into_values().take(options.rounds) {
        all.weights.extend(functions.weights);
        all.thresholds.extend(functions.thresholds);
    }
    let learned = all.thresholds.len();
    set_functions(&mut model, all);
    let (chosen, dead) = worth_keeping(&model, options, pool)?;
    let twins = learned - dead - chosen.len();
    if chosen.is_empty() {
        let what = "every function says the same of nearly all pictures: the pool is too uniform";
        return Err(Error::Data(what.into()));
    }
    Ok(Library {
        model: with_bits(&model, &chosen)?,
        learned,
        dead,
        twins,
        seconds: start.elapsed().as_secs_f64(),
        here,
    })
}

/// Names a training: its options, but for how many rounds there are, and its pictures.
fn identity(options: &UghTraining, pool: &Features) -> String {
    let mut hash = Sha256::new();
    let any = UghTraining {
        rounds: 0,
        ..options.clone()
    };
    hash.update(format!("{any:?} {}", pool.dim));
    pool.values
        .iter()
        .for_each(|value| hash.update(value.to_le_bytes()));
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

fn set_functions(model: &mut HashModel, functions: Functions) {
    model.bits = functions.thresholds.len();
    model.offset = vec![0.0; model.bits];
    model.head = vec![Layer {
        weight: functions.weights,
        bias: functions.thresholds.iter().map(|beta| -beta).collect(),
    }];
}

/// Bits that are neither dead nor twins of earlier ones on some pictures of the pool, and how many are dead.
fn worth_keeping(
    model: &HashModel,
    options: &UghTraining,
    pool: &Features,
) -> Result<(Vec<usize>, usize), Error> {
    /// Enough that a correlation of 0.95 is told from one of 0.9.
    const LOOKED_AT: usize = 1024;
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut places = index::sample(&mut rng, pool.len(), LOOKED_AT.min(pool.len())).into_vec();
    places.sort_unstable();
    let codes: Vec<Vec<u8>> = places
        .par_iter()
        .map(|&i| code(model, &pool.values[i * pool.dim..][..pool.dim]))
        .collect();
    let columns = Columns::of(&codes, model.bits);
    let alive = columns.alive(0.02);
    let dead = model.bits - alive.len();
    let twins = columns.twins(&alive, options.duplicate);
    let mut is_twin = vec![false; model.bits];
    twins.iter().for_each(|(_, second)| is_twin[*second] = true);
    Ok((
        alive.into_iter().filter(|bit| !is_twin[*bit]).collect(),
        dead,
    ))
}

fn code(model: &HashModel, feature: &[f32]) -> Vec<u8> {
    let mut code = vec![0; model.bits.div_ceil(8)];
    pack_signs(&model.latent(feature), &mut code);
    code
}

/// The model of those bits alone, in that order.
///
/// # Errors
/// [`Error::Data`] when the model is no library: its head has more than one layer, or it diffuses; or it lacks one
/// of the bits.
pub fn with_bits(library: &HashModel, bits: &[usize]) -> Result<HashModel, Error> {
    let ([layer], None) = (&library.head[..], &library.anchors) else {
        let what = "bits can only be selected of a model that is one layer of hash functions, such as `train \
                    --method ugh` makes";
        return Err(Error::Data(what.into()));
    };
    if let Some(bit) = bits.iter().find(|bit| **bit >= library.bits) {
        let what = format!("there is no bit {bit}: the library has {}", library.bits);
        return Err(Error::Data(what));
    }
    let width = layer.weight.len() / library.bits;
    let rows = bits
        .iter()
        .flat_map(|bit| &layer.weight[bit * width..][..width]);
    Ok(HashModel {
        bits: bits.len(),
        head: vec![Layer {
            weight: rows.copied().collect(),
            bias: bits.iter().map(|&bit| layer.bias[bit]).collect(),
        }],
        offset: bits.iter().map(|&bit| library.offset[bit]).collect(),
        ..library.clone()
    })
}

/// Selects bits of a library for a task, and makes a model of them; its first bits are the most informative ones.
/// The task is to tell the classes of the `examples` apart, or, where all of them are of one class, these from the
/// `others`; without examples it is to find alike what all bits find alike. The others are pictures of what will be
/// stored, without labels: there may be none beside examples of several classes, but codes are better for them.
///
/// # Errors
/// [`Error::Selection`] as [`Selection::of_classes`], and where there is nothing to select by; [`Error::Data`] as [`with_bits`], and for features of another
/// width or that are not finite.
pub fn select(
    library: &HashModel,
    examples: &Features,
    others: &Features,
    options: &SelectionOptions,
) -> Result<(HashModel, Selection), Error> {
    check_features("examples'", examples, library.dim())?;
    check_features("unlabelled", others, library.dim())?;
    with_bits(library, &[])?;
    let (width, labels) = (library.bits as u32, &examples.labels);
    let one = labels.windows(2).all(|pair| pair[0] == pair[1]);
    let [examples, others] = [examples, others].map(|features| codes(library, features));
    let selection = match (examples.is_empty(), others.is_empty()) {
        (true, _) => Selection::of_similarity(width, &others, options)?,
        (_, false) if one => Selection::of_likeness(width, &examples, &[], &others, options)?,
        _ => Selection::of_classes(width, &examples, labels, &others, options)?,
    };
    let bits: Vec<usize> = selection.bits.iter().map(|bit| bit.bit as usize).collect();
    Ok((with_bits(library, &bits)?, selection))
}

/// Codes by all bits of a library, packed, one after the other.
fn codes(library: &HashModel, features: &Features) -> Vec<u8> {
    let rows = features.values.par_chunks_exact(features.dim.max(1));
    let codes: Vec<Vec<u8>> = rows.map(|feature| code(library, feature)).collect();
    codes.concat()
}
