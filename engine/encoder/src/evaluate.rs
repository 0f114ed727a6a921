//! Measures how well codes retrieve pictures of classes that were never trained on.
//!
//! The protocol: queries against a database disjoint from them, from the adapt set and from the
//! anchors; a database picture is relevant when it shares the query's class; mean over queries
//! of the expected average precision over the whole ranking, ties counted by expectation.

use std::ops::ControlFlow;

use bitkin::metrics::{expected_average_precision, expected_average_precision_of_ties, mean};
use rayon::prelude::*;
use serde::Serialize;

use crate::baselines::Projection;
use crate::device::use_one_thread;
use crate::error::Error;
use crate::features::{Features, classes};
use crate::hash::{HashModel, dot, normalise, squared_distance, unit};
use crate::train::hash::{HashTraining, TrainOn, TrainingData, adapt, diffused_floats, train};

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
    /// Mean average precision, 0 to 1.
    pub map: f64,
}

/// What is measured, and what each has seen beside the base classes.
pub const METHODS: [(&str, &str); 13] = [
    (
        "float-centred",
        "cosine of features, seen from the mean of the base classes",
    ),
    ("float-cosine", "cosine of features as they are"),
    ("float-l2", "distance of features as they are"),
    (
        "float-whitened",
        "cosine of features, whitened as for codes",
    ),
    (
        "float-diffused",
        "the same, diffused over the same anchors as codes",
    ),
    (
        "float-lda",
        "whitened, by nearness to the means of the labelled examples",
    ),
    ("lsh", "random hyperplanes"),
    (
        "itq",
        "PCA-ITQ, fitted on the base classes or also on the anchors, whichever is better",
    ),
    ("pp", "prior prototypes and head, no diffusion"),
    (
        "scdm",
        "head on whitened features and diffusion, no prototypes",
    ),
    ("pp-scdm", "prior prototypes, head and diffusion"),
    (
        "pp-scdm-adapted",
        "the same, adapted from a model that knew the base classes alone, without their pictures",
    ),
    (
        "pp-scdm-latent",
        "the same before signs are taken, by cosine",
    ),
];

/// What is measured, and how models are trained.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Names out of [`METHODS`]; all of them, if there is none.
    pub methods: Vec<String>,
    /// Widths of codes.
    pub bits: Vec<usize>,
    /// Numbers of prior prototypes, one a base class, with which PP + SCDM is measured too.
    pub prototypes: Vec<usize>,
    /// How models are trained; the width and what a method leaves out are set for each.
    pub options: HashTraining,
}

/// Measures floats, and every kind of code at each width; PCA-ITQ only where the width does not exceed the
/// features' dimensions.
///
/// # Errors
/// [`Error::Data`] when the split cannot be trained or searched or a method is not known, [`Error::Torch`]
/// when libtorch fails.
pub fn measure(split: Split<'_>, wanted: &Wanted) -> Result<Vec<Measured>, Error> {
    if split.database.is_empty() || split.queries.is_empty() {
        return Err(Error::Data("the database or the queries are empty".into()));
    }
    let names = METHODS.map(|(name, _)| name);
    if let Some(unknown) = wanted.methods.iter().find(|m| !names.contains(&m.as_str())) {
        let names = names.join(", ");
        return Err(Error::Data(format!(
            "there is no method {unknown:?}: there are {names}"
        )));
    }
    let classes = classes(&split.training.base.labels).len();
    if let Some(count) = wanted.prototypes.iter().find(|count| **count > classes) {
        let what = format!("{count} prototypes: there are {classes} base classes");
        return Err(Error::Data(what));
    }
    use_one_thread();
    let asked = |name: &str| wanted.methods.is_empty() || wanted.methods.iter().any(|m| m == name);
    let mut measured = Vec::new();
    let mut add = |method, bits, prototypes, map| {
        measured.push(Measured {
            method,
            bits,
            prototypes,
            map,
        });
    };
    let floats = names.into_iter().filter(|name| name.starts_with("float"));
    for (method, map) in self::floats(split, &wanted.options, floats.filter(|name| asked(name)))? {
        add(method, None, None, map);
    }
    for &bits in &wanted.bits {
        let options = HashTraining {
            bits,
            ..wanted.options.clone()
        };
        let learned = |options: &HashTraining| {
            train(options, split.training, |_, _| ControlFlow::Continue(()))
        };
        let map = |model: &HashModel| model_map(model, split.database, split.queries);
        if asked("lsh") {
            let projection = Projection::lsh(split.training.base, bits, options.seed);
            add("lsh", Some(bits), None, projected(split, &projection)?);
        }
        if asked("itq")
            && let Some(map) = itq(split, bits, options.seed)?
        {
            add("itq", Some(bits), None, map);
        }
        if asked("pp") {
            let options = HashTraining {
                diffusion: None,
                ..options.clone()
            };
            add("pp", Some(bits), None, map(&learned(&options)?));
        }
        if asked("scdm") {
            let options = HashTraining {
                prototypes_per_class: 0,
                ..options.clone()
            };
            add("scdm", Some(bits), None, map(&learned(&options)?));
        }
        if asked("pp-scdm") || asked("pp-scdm-latent") {
            let model = learned(&options)?;
            if asked("pp-scdm") {
                add("pp-scdm", Some(bits), None, map(&model));
            }
            if asked("pp-scdm-latent") {
                let latent = |feature: &[f32]| unit(&model.latent(feature));
                let map = ranked(split, latent, dot);
                add("pp-scdm-latent", Some(bits), None, map);
            }
        }
        if asked("pp-scdm-adapted") {
            let (examples, unlabelled) = (split.training.adapt, split.training.unlabelled);
            let general = general(&options, split.training)?;
            let model = adapt(&general, &options, examples, unlabelled, |_, _| {
                ControlFlow::Continue(())
            })?;
            add("pp-scdm-adapted", Some(bits), None, map(&model));
        }
        for &count in &wanted.prototypes {
            let options = HashTraining {
                prototypes_per_class: 1,
                prototype_classes: Some(count),
                ..options.clone()
            };
            add("pp-scdm", Some(bits), Some(count), map(&learned(&options)?));
        }
    }
    Ok(measured)
}

/// A model of the base classes alone; some of their pictures are its anchors.
fn general(options: &HashTraining, data: TrainingData<'_>) -> Result<HashModel, Error> {
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
    train(&options, data, |_, _| ControlFlow::Continue(()))
}

/// What features reach that are not made into bits, by these methods.
fn floats(
    split: Split<'_>,
    options: &HashTraining,
    methods: impl Iterator<Item = &'static str>,
) -> Result<Vec<(&'static str, f64)>, Error> {
    let centre = split.training.base.mean();
    let origin = vec![0.0; centre.len()];
    let nearness = |a: &[f32], b: &[f32]| -squared_distance(a, b);
    let mut whitened = None;
    let mut maps = Vec::new();
    for method in methods {
        let map = match method {
            "float-centred" => ranked(split, |f| normalise(f, &centre), dot),
            "float-cosine" => ranked(split, |f| normalise(f, &origin), dot),
            "float-l2" => ranked(split, <[f32]>::to_vec, nearness),
            _ => {
                let model = match whitened.take() {
                    Some(model) => model,
                    None => diffused_floats(options, split.training)?,
                };
                let model = whitened.insert(model);
                match method {
                    "float-whitened" => ranked(split, |f| model.normalise(f), dot),
                    "float-diffused" => ranked(split, |f| unit(&model.latent(f)), dot),
                    _ => lda(split, model),
                }
            }
        };
        maps.push((method, map));
    }
    Ok(maps)
}

/// By scores of nearness to the labelled examples' classes, seen from their mean.
fn lda(split: Split<'_>, model: &HashModel) -> f64 {
    let means = Means::of(split.training.adapt, |feature| model.normalise(feature));
    let scores = |feature: &[f32]| {
        let mut scores = means.scores(&model.normalise(feature));
        let mean = scores.iter().sum::<f32>() / scores.len().max(1) as f32;
        scores.iter_mut().for_each(|score| *score -= mean);
        unit(&scores)
    };
    ranked(split, scores, dot)
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
fn projected(split: Split<'_>, projection: &Projection) -> Result<f64, Error> {
    let (database, queries) = (
        projection.codes(split.database)?,
        projection.codes(split.queries)?,
    );
    Ok(code_map(
        &database,
        &queries,
        projection.bits(),
        split.database,
        split.queries,
    ))
}

/// Of PCA-ITQ, fitted on the base classes or on the anchors too: whichever is better.
fn itq(split: Split<'_>, bits: usize, seed: u64) -> Result<Option<f64>, Error> {
    let TrainingData {
        base, unlabelled, ..
    } = split.training;
    // PCA has no more directions than the features: for wider codes there is no such row.
    if bits > base.dim {
        return Ok(None);
    }
    let both = Features {
        dim: base.dim,
        values: [&base.values[..], &unlabelled.values].concat(),
        labels: [&base.labels[..], &unlabelled.labels].concat(),
    };
    let on_base = projected(split, &Projection::itq(base, bits, seed)?)?;
    let on_both = projected(split, &Projection::itq(&both, bits, seed)?)?;
    Ok(Some(on_base.max(on_both)))
}

/// Mean average precision of a model's codes.
pub fn model_map(model: &HashModel, database: &Features, queries: &Features) -> f64 {
    let codes = |features: &Features| {
        let bytes = model.bits.div_ceil(8);
        let mut codes = vec![0u8; features.len() * bytes];
        codes
            .par_chunks_exact_mut(bytes)
            .zip(features.values.par_chunks_exact(features.dim))
            .for_each(|(code, feature)| model.pack(&model.latent(feature), code));
        codes
    };
    code_map(
        &codes(database),
        &codes(queries),
        model.bits,
        database,
        queries,
    )
}

/// Mean average precision of packed codes by Hamming distance.
pub fn code_map(
    database: &[u8],
    queries: &[u8],
    bits: usize,
    database_labels: &Features,
    query_labels: &Features,
) -> f64 {
    let bytes = bits.div_ceil(8);
    let precisions: Vec<f64> = queries
        .par_chunks_exact(bytes)
        .zip(&query_labels.labels)
        .map(|(query, label)| {
            // (items, relevant items) at each distance.
            let mut ties = vec![(0u64, 0u64); bits + 1];
            for (row, row_label) in database.chunks_exact(bytes).zip(&database_labels.labels) {
                let distance: u32 = row
                    .iter()
                    .zip(query)
                    .map(|(a, b)| (a ^ b).count_ones())
                    .sum();
                let tie = &mut ties[distance as usize];
                tie.0 += 1;
                tie.1 += u64::from(row_label == label);
            }
            expected_average_precision_of_ties(ties)
        })
        .collect();
    mean(precisions)
}

/// Mean average precision of pictures by how near `embed` brings them, greater `nearness` first.
fn ranked(
    split: Split<'_>,
    embed: impl Fn(&[f32]) -> Vec<f32> + Sync,
    nearness: impl Fn(&[f32], &[f32]) -> f32 + Sync,
) -> f64 {
    let (database, queries) = (split.database, split.queries);
    let rows: Vec<Vec<f32>> = database
        .values
        .par_chunks_exact(database.dim)
        .map(&embed)
        .collect();
    let precisions: Vec<f64> = queries
        .values
        .par_chunks_exact(queries.dim)
        .zip(&queries.labels)
        .map(|(query, label)| {
            let query = embed(query);
            let mut ranked: Vec<(f32, bool)> = rows
                .iter()
                .zip(&database.labels)
                .map(|(row, row_label)| (nearness(row, &query), row_label == label))
                .collect();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
            expected_average_precision(&ranked)
        })
        .collect();
    mean(precisions)
}
