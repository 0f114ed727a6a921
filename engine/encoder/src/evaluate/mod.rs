//! Measures how well codes retrieve pictures of classes that were never trained on.
//!
//! The protocol: queries against a database disjoint from them, from the adapt set and from the
//! anchors; a database picture is relevant when it shares the query's class; mean over queries
//! of the expected average precision over the whole ranking, ties counted by expectation.

mod claims;
mod comae;
mod kalahash;
mod likeness;
mod methods;
mod pictures;
mod purple;
mod quality;
mod ugh;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

pub use self::claims::{CLAIMS, Claim, Difference, Verdict};
use self::likeness::Searches;
use self::methods::ALL;
pub use self::methods::{Described, METHODS, is_asked};
pub use self::pictures::{Pictures, Store, Tuned};
pub use self::quality::{Found, Quality, TOPS, spearman};
use self::quality::{of_codes, of_rankings};

use crate::backbone::Tail;
use crate::baselines::Projection;
use crate::class_vectors::ClassVectors;
use crate::device::use_one_thread;
use crate::error::Error;
use crate::features::{Features, classes};
use crate::hash::{HashModel, dot, normalise, squared_distance, unit};
use crate::train::comae::ComaeTraining;
use crate::train::hash::{
    HashTraining, Prior, TrainOn, TrainingData, adapt, diffused_floats, train_with,
};
use crate::train::kalahash::KalaHashTraining;
use crate::train::purple::PurpleTraining;
use crate::train::ugh::Library;

/// One evaluation's split, as features of one backbone. Class numbers of `database`, `queries`
/// and `adapt` mean the same classes; those of `base` others.
#[derive(Clone, Copy)]
pub struct Split<'a> {
    /// What models are trained from.
    pub training: TrainingData<'a>,
    /// The pictures searched.
    pub database: &'a Features,
    /// The pictures searched for.
    pub queries: &'a Features,
    /// The pictures themselves, where there are methods that train the backbone.
    pub pictures: Option<Pictures<'a>>,
}

/// Retrieval quality of one method at one width.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// See [`METHODS`].
    pub method: &'static str,
    /// Code width in bits; none for floats.
    pub bits: Option<usize>,
    /// Prior prototypes, where their number is what is looked at.
    pub prototypes: Option<usize>,
    /// Retrieval quality.
    #[serde(flatten)]
    pub quality: Quality,
    /// Seconds that training took; none for what is not trained.
    pub training_seconds: Option<f64>,
    /// Microseconds from a picture's features to its code, with all threads of the machine at work.
    pub coding_microseconds: Option<f64>,
    /// What is nearest to each of the queries to be shown; of codes alone.
    #[serde(skip)]
    pub shown: Vec<Vec<Found>>,
}

/// What is measured, and how models are trained.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Names out of [`METHODS`]; all that take seconds, if there is none.
    pub methods: Vec<String>,
    /// Widths of codes.
    pub bits: Vec<usize>,
    /// Numbers of prior prototypes, one a base class, with which PP + SCDM is measured too.
    pub prototypes: Vec<usize>,
    /// Places of queries whose nearest rows are to be shown.
    pub shown: Vec<usize>,
    /// How models are trained; the width and what a method leaves out are set for each.
    pub options: HashTraining,
    /// The library of UGH, hyper-trained on the base pictures; without it there are no rows of UGH.
    pub library: Option<Arc<Library>>,
    /// How PURPLE is trained; width, seed and losses are set for each.
    pub purple: PurpleTraining,
    /// Vectors of the new classes by class number, for KALAHash; without them it is left out.
    pub text: Option<ClassVectors>,
    /// Attributes of the base classes by class number, for COMAE; without them it is left out.
    pub attributes: Option<ClassVectors>,
    /// How KALAHash is trained; the width and what a row leaves out are set for each.
    pub kalahash: KalaHashTraining,
    /// How COMAE is trained; width, seed and what a row leaves out are set for each.
    pub comae: ComaeTraining,
}

impl Wanted {
    /// The methods that need features alone, at the width of `options`.
    pub fn new(options: HashTraining) -> Wanted {
        let (bits, seed) = (options.bits, options.seed);
        Wanted {
            methods: Vec::new(),
            bits: vec![bits],
            prototypes: Vec::new(),
            shown: Vec::new(),
            options,
            library: None,
            purple: PurpleTraining::new(bits, seed),
            text: None,
            attributes: None,
            kalahash: KalaHashTraining::new(bits, seed, 1),
            comae: ComaeTraining::new(bits, seed),
        }
    }
}

/// Measures floats, and every kind of code at each width, with what follows from the base pictures alone already
/// computed; PCA-ITQ only where the width does not exceed the
/// features' dimensions.
///
/// # Errors
/// [`Error::Data`] when the split cannot be trained or searched or a method is not known, [`Error::Torch`]
/// when libtorch fails.
pub fn measure(split: Split<'_>, prior: &Prior, wanted: &Wanted) -> Result<Vec<Measured>, Error> {
    if split.database.is_empty() || split.queries.is_empty() {
        return Err(Error::Data("the database or the queries are empty".into()));
    }
    let names = METHODS.map(|method| method.name);
    let known = |name: &str| name == ALL || names.contains(&name);
    if let Some(unknown) = wanted.methods.iter().find(|m| !known(m)) {
        let names = names.join(", ");
        return Err(Error::Data(format!(
            "there is no method {unknown:?}: there are {names}, and {ALL} of them"
        )));
    }
    let classes = classes(&split.training.base.labels).len();
    if let Some(count) = wanted.prototypes.iter().find(|count| **count > classes) {
        let what = format!("{count} prototypes: there are {classes} base classes");
        return Err(Error::Data(what));
    }
    use_one_thread();
    let mut table = Table {
        split,
        prior,
        wanted,
        measured: Vec::new(),
        searches: None,
    };
    table.floats()?;
    table.like_float();
    table.whole_library()?;
    for &bits in &wanted.bits {
        table.codes(&HashTraining {
            bits,
            ..wanted.options.clone()
        })?;
    }
    Ok(table.measured)
}

/// The measurements of one split, as they are made.
struct Table<'a> {
    split: Split<'a>,
    prior: &'a Prior,
    wanted: &'a Wanted,
    measured: Vec<Measured>,
    /// For searches by examples, once the library has coded them.
    searches: Option<Searches>,
}

impl<'a> Table<'a> {
    fn asked(&self, method: &str) -> bool {
        is_asked(&self.wanted.methods, method)
    }

    /// Whether a method is asked for by name.
    fn named(&self, method: &str) -> bool {
        self.wanted.methods.iter().any(|m| m == method)
    }

    /// The pictures, for a method that cannot do without.
    fn pictures(&self, method: &str) -> Result<Pictures<'a>, Error> {
        let what = || format!("{method} trains the backbone: it needs pictures, not only features");
        self.split.pictures.ok_or_else(|| Error::Data(what()))
    }

    /// What features reach that are not made into bits.
    fn floats(&mut self) -> Result<(), Error> {
        let training = self.split.training;
        let centre = training.base.mean();
        let origin = vec![0.0; centre.len()];
        let nearness = |a: &[f32], b: &[f32]| -squared_distance(a, b);
        self.ranking("float-centred", |f| normalise(f, &centre), dot);
        self.ranking("float-cosine", |f| normalise(f, &origin), dot);
        self.ranking("float-l2", <[f32]>::to_vec, nearness);
        let whitened = ["float-whitened", "float-diffused", "float-lda"];
        if !whitened.iter().any(|method| self.asked(method)) {
            return Ok(());
        }
        let model = diffused_floats(self.prior, &self.wanted.options, training)?;
        self.ranking("float-whitened", |f| model.normalise(f), dot);
        self.ranking("float-diffused", |f| unit(&model.latent(f)), dot);
        // By scores of nearness to the labelled examples' classes, seen from their mean.
        let means = Means::of(training.adapt, |f| model.normalise(f));
        let scores = |feature: &[f32]| {
            let mut scores = means.scores(&model.normalise(feature));
            let mean = scores.iter().sum::<f32>() / scores.len().max(1) as f32;
            scores.iter_mut().for_each(|score| *score -= mean);
            unit(&scores)
        };
        self.ranking("float-lda", scores, dot);
        Ok(())
    }

    /// Every kind of code of one width.
    fn codes(&mut self, options: &HashTraining) -> Result<(), Error> {
        let data = self.split.training;
        let bits = options.bits;
        let prior = self.prior;
        let go_on = |_, _| ControlFlow::Continue(());
        let learn = |options: HashTraining| train_with(prior, &options, data, go_on);
        if self.asked("lsh") {
            let projection = Projection::lsh(data.base, bits, options.seed);
            self.projection("lsh", &projection)?;
        }
        if self.asked("itq") {
            self.itq(bits, options.seed)?;
        }
        self.trained("pp", None, || {
            learn(HashTraining {
                diffusion: None,
                ..options.clone()
            })
        })?;
        self.trained("scdm", None, || {
            learn(HashTraining {
                prototypes_per_class: 0,
                ..options.clone()
            })
        })?;
        let mut model = None;
        self.trained("pp-scdm", None, || {
            let learned = learn(options.clone())?;
            model = Some(learned.clone());
            Ok(learned)
        })?;
        if self.asked("pp-scdm-latent") {
            let model = match model {
                Some(model) => model,
                None => learn(options.clone())?,
            };
            let latent = |feature: &[f32]| unit(&model.latent(feature));
            self.ranking("pp-scdm-latent", latent, dot);
            // Floats they are, but of a model for codes of this width.
            if let Some(last) = self.measured.last_mut() {
                last.bits = Some(bits);
            }
        }
        self.trained("pp-scdm-adapted", None, || {
            let general = general(prior, options, data)?;
            adapt(&general, options, data.adapt, data.unlabelled, go_on)
        })?;
        self.ugh(bits, options.seed)?;
        self.like(bits, options.seed)?;
        self.kalahash(bits)?;
        self.comae(bits, options.seed)?;
        for &count in &self.wanted.prototypes {
            let options = HashTraining {
                prototypes_per_class: 1,
                prototype_classes: Some(count),
                ..options.clone()
            };
            self.model("pp-scdm", Some(count), || learn(options))?;
        }
        self.purple(bits, options.seed)
    }

    /// Measures a ranking by embedded pictures, if it is asked for.
    fn ranking(
        &mut self,
        method: &'static str,
        embed: impl Fn(&[f32]) -> Vec<f32> + Sync,
        nearness: impl Fn(&[f32], &[f32]) -> f32 + Sync,
    ) {
        if !self.asked(method) {
            return;
        }
        let (rows, asked) = (self.split.database, self.split.queries);
        let [database, queries] = [rows, asked].map(|features| -> Vec<Vec<f32>> {
            let rows = features.values.par_chunks_exact(features.dim);
            rows.map(&embed).collect()
        });
        let quality = of_rankings((&database, rows), (&queries, asked), nearness);
        self.add(method, None, quality);
    }

    /// Measures a model, if the method is asked for.
    fn trained(
        &mut self,
        method: &'static str,
        prototypes: Option<usize>,
        train: impl FnOnce() -> Result<HashModel, Error>,
    ) -> Result<(), Error> {
        match self.asked(method) {
            true => self.model(method, prototypes, train),
            false => Ok(()),
        }
    }

    fn model(
        &mut self,
        method: &'static str,
        prototypes: Option<usize>,
        train: impl FnOnce() -> Result<HashModel, Error>,
    ) -> Result<(), Error> {
        let start = Instant::now();
        let model = train()?;
        let seconds = start.elapsed().as_secs_f64();
        let features = [self.split.database, self.split.queries];
        self.coded(method, prototypes, &model, seconds, features);
        Ok(())
    }

    /// Measures the codes of a model for features of the database and the queries.
    fn coded(
        &mut self,
        method: &'static str,
        prototypes: Option<usize>,
        model: &HashModel,
        seconds: f64,
        [rows, asked]: [&Features; 2],
    ) {
        let start = Instant::now();
        let codes = [rows, asked].map(|features| model_codes(model, features));
        let coding = start.elapsed().as_secs_f64() * 1e6 / (rows.len() + asked.len()) as f64;
        let (quality, shown) = of_codes(
            (&codes[0], rows),
            (&codes[1], asked),
            model.bits,
            &self.wanted.shown,
        );
        self.measured.push(Measured {
            method,
            bits: Some(model.bits),
            prototypes,
            quality,
            training_seconds: Some(seconds),
            coding_microseconds: Some(coding),
            shown,
        });
    }

    /// Measures a model that has a backbone of its own.
    fn tuned(&mut self, method: &'static str, tuned: &Tuned) -> Result<(), Error> {
        let (model, seconds) = (&tuned.model, tuned.seconds);
        if tuned.blocks == 0 {
            let features = [self.split.database, self.split.queries];
            self.coded(method, None, model, seconds, features);
            return Ok(());
        }
        let pictures = self.pictures(method)?;
        let tail = Tail::of(&tuned.backbone, tuned.blocks)?;
        let rows = pictures.features(pictures.database, &tail)?;
        let asked = pictures.features(pictures.queries, &tail)?;
        self.coded(method, None, model, seconds, [&rows, &asked]);
        Ok(())
    }

    fn projection(&mut self, method: &'static str, projection: &Projection) -> Result<(), Error> {
        let quality = projected(self.split, projection)?;
        self.add(method, Some(projection.bits()), quality);
        Ok(())
    }

    /// PCA-ITQ, fitted on the base classes or on the anchors too: whichever is better.
    fn itq(&mut self, bits: usize, seed: u64) -> Result<(), Error> {
        let TrainingData {
            base, unlabelled, ..
        } = self.split.training;
        // PCA has no more directions than the features: for wider codes there is no such row.
        if bits > base.dim {
            return Ok(());
        }
        let both = Features {
            dim: base.dim,
            values: [&base.values[..], &unlabelled.values].concat(),
            labels: [&base.labels[..], &unlabelled.labels].concat(),
        };
        let on_base = projected(self.split, &Projection::itq(base, bits, seed)?)?;
        let on_both = projected(self.split, &Projection::itq(&both, bits, seed)?)?;
        let best = match on_base.map >= on_both.map {
            true => on_base,
            false => on_both,
        };
        self.add("itq", Some(bits), best);
        Ok(())
    }

    fn add(&mut self, method: &'static str, bits: Option<usize>, quality: Quality) {
        self.measured.push(Measured {
            method,
            bits,
            prototypes: None,
            quality,
            training_seconds: None,
            coding_microseconds: None,
            shown: Vec::new(),
        });
    }
}

/// A model of the base classes alone; some of their pictures are its anchors.
fn general(
    prior: &Prior,
    options: &HashTraining,
    data: TrainingData<'_>,
) -> Result<HashModel, Error> {
    const ANCHORS: usize = 512;
    let base = data.base;
    let step = (base.len() / ANCHORS).max(1);
    let mut anchors = Features {
        dim: base.dim,
        ..Default::default()
    };
    for (feature, label) in base.rows().zip(&base.labels).step_by(step) {
        anchors.values.extend_from_slice(feature);
        anchors.labels.push(*label);
    }
    let none = Features {
        dim: base.dim,
        ..Default::default()
    };
    let options = HashTraining {
        train_on: TrainOn::Base,
        ..options.clone()
    };
    let data = TrainingData {
        base,
        adapt: &anchors,
        unlabelled: &none,
    };
    train_with(prior, &options, data, |_, _| ControlFlow::Continue(()))
}

/// Class means: with whitened features, what linear discriminant analysis scores by.
struct Means(Vec<Vec<f32>>);

impl Means {
    fn of(examples: &Features, embed: impl Fn(&[f32]) -> Vec<f32>) -> Means {
        let classes = examples.labels.iter().max().map_or(0, |&m| m as usize + 1);
        let mut sums: Vec<(Vec<f32>, f32)> = vec![(Vec::new(), 0.0); classes];
        for (feature, label) in examples.rows().zip(&examples.labels) {
            let e = embed(feature);
            let (sum, count) = &mut sums[*label as usize];
            sum.resize(e.len(), 0.0);
            sum.iter_mut().zip(&e).for_each(|(s, v)| *s += v);
            *count += 1.0;
        }
        let means = sums.into_iter().filter(|(_, count)| *count > 0.0);
        let mean = |(sum, count): (Vec<f32>, f32)| sum.iter().map(|s| s / count).collect();
        Means(means.map(mean).collect())
    }

    fn scores(&self, e: &[f32]) -> Vec<f32> {
        let means = self.0.iter();
        means
            .map(|mean| dot(mean, e) - 0.5 * dot(mean, mean))
            .collect()
    }
}

/// Of codes that are signs of projections.
fn projected(split: Split<'_>, projection: &Projection) -> Result<Quality, Error> {
    let (rows, asked) = (split.database, split.queries);
    let (database, queries) = (projection.codes(rows)?, projection.codes(asked)?);
    let bits = projection.bits();
    Ok(of_codes((&database, rows), (&queries, asked), bits, &[]).0)
}

/// Codes by a model, packed, `ceil(bits / 8)` bytes each.
fn model_codes(model: &HashModel, features: &Features) -> Vec<u8> {
    /// Pictures that share a pass over the model's matrices.
    const TOGETHER: usize = 16;
    let bytes = model.bits.div_ceil(8);
    let mut codes = vec![0u8; features.len() * bytes];
    codes
        .par_chunks_mut(TOGETHER * bytes)
        .zip(features.values.par_chunks(TOGETHER * features.dim))
        .for_each(|(codes, features)| {
            let rows: Vec<&[f32]> = features.chunks_exact(model.dim()).collect();
            for (code, latent) in codes.chunks_exact_mut(bytes).zip(model.latents(&rows)) {
                model.pack(&latent, code);
            }
        });
    codes
}

/// Mean average precision of a model's codes.
pub fn model_map(model: &HashModel, database: &Features, queries: &Features) -> f64 {
    let codes = [database, queries].map(|features| model_codes(model, features));
    code_map(&codes[0], &codes[1], model.bits, database, queries)
}

/// Mean average precision of packed codes by Hamming distance.
pub fn code_map(
    database: &[u8],
    queries: &[u8],
    bits: usize,
    database_labels: &Features,
    query_labels: &Features,
) -> f64 {
    let (database, queries) = ((database, database_labels), (queries, query_labels));
    of_codes(database, queries, bits, &[]).0.map
}
