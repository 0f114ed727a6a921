//! Measures how well codes retrieve pictures of classes that were never trained on.
//!
//! The protocol: queries against a database disjoint from them, from the adapt set and from the
//! anchors; a database picture is relevant when it shares the query's class; mean over queries
//! of the expected average precision over the whole ranking, ties counted by expectation.

use bitkin::metrics::{expected_average_precision, expected_average_precision_of_ties, mean};
use rayon::prelude::*;
use serde::Serialize;

use crate::baselines::Projection;
use crate::device::use_one_thread;
use crate::error::Error;
use crate::features::Features;
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

/// What is measured beside floats, and how models are trained.
#[derive(Clone, Debug)]
pub struct Wanted {
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
/// [`Error::Data`] when the split cannot be trained or searched, [`Error::Torch`] when libtorch
/// fails.
pub fn measure(split: Split<'_>, wanted: &Wanted) -> Result<Vec<Measured>, Error> {
    if split.database.is_empty() || split.queries.is_empty() {
        return Err(Error::Data("the database or the queries are empty".into()));
    }
    use_one_thread();
    let mut measured = Vec::new();
    let mut add = |method, bits, prototypes, map| {
        measured.push(Measured {
            method,
            bits,
            prototypes,
            map,
        });
    };
    for (method, map) in floats(split, &wanted.options)? {
        add(method, None, None, map);
    }
    for &bits in &wanted.bits {
        let options = HashTraining {
            bits,
            ..wanted.options.clone()
        };
        for (method, map) in baselines(split, bits, options.seed)? {
            add(method, Some(bits), None, map);
        }
        let without_diffusion = HashTraining {
            diffusion: None,
            ..options.clone()
        };
        let without_prototypes = HashTraining {
            prototypes_per_class: 0,
            ..options.clone()
        };
        for (method, options) in [
            ("pp", &without_diffusion),
            ("scdm", &without_prototypes),
            ("pp-scdm", &options),
        ] {
            let model = train(options, split.training, |_, _| {})?;
            let map = model_map(&model, split.database, split.queries);
            add(method, Some(bits), None, map);
            if method == "pp-scdm" {
                let latent = |feature: &[f32]| unit(&model.latent(feature));
                add(
                    "pp-scdm-latent",
                    Some(bits),
                    None,
                    ranked(split, latent, dot),
                );
            }
        }
        let model = adapt(
            &general(&options, split.training)?,
            &options,
            split.training.adapt,
            split.training.unlabelled,
            |_, _| {},
        )?;
        let map = model_map(&model, split.database, split.queries);
        add("pp-scdm-adapted", Some(bits), None, map);
        for &count in &wanted.prototypes {
            let options = HashTraining {
                prototypes_per_class: 1,
                prototype_classes: Some(count),
                ..options.clone()
            };
            let model = train(&options, split.training, |_, _| {})?;
            let map = model_map(&model, split.database, split.queries);
            add("pp-scdm", Some(bits), Some(count), map);
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
    train(&options, data, |_, _| {})
}

/// What features reach that are not made into bits.
fn floats(split: Split<'_>, options: &HashTraining) -> Result<Vec<(&'static str, f64)>, Error> {
    let training = split.training;
    let centre = training.base.mean();
    let origin = vec![0.0; centre.len()];
    let diffused = diffused_floats(options, training)?;
    // The means of the examples' classes, seen from where all of them are as far away.
    let examples = Means::of(training.adapt, |feature| diffused.normalise(feature));
    let scores = |feature: &[f32]| {
        let e = diffused.normalise(feature);
        let mut scores = examples.scores(&e);
        let mean = scores.iter().sum::<f32>() / scores.len().max(1) as f32;
        scores.iter_mut().for_each(|score| *score -= mean);
        unit(&scores)
    };
    let nearness = |a: &[f32], b: &[f32]| -squared_distance(a, b);
    Ok(vec![
        (
            "float-centred",
            ranked(split, |f| normalise(f, &centre), dot),
        ),
        (
            "float-cosine",
            ranked(split, |f| normalise(f, &origin), dot),
        ),
        ("float-l2", ranked(split, <[f32]>::to_vec, nearness)),
        (
            "float-whitened",
            ranked(split, |f| diffused.normalise(f), dot),
        ),
        (
            "float-diffused",
            ranked(split, |f| unit(&diffused.latent(f)), dot),
        ),
        ("float-lda", ranked(split, scores, dot)),
    ])
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

/// What codes reach that learn nothing of few examples.
fn baselines(split: Split<'_>, bits: usize, seed: u64) -> Result<Vec<(&'static str, f64)>, Error> {
    let TrainingData {
        base, unlabelled, ..
    } = split.training;
    let map = |projection: &Projection| -> Result<f64, Error> {
        let (database, queries) = (
            projection.codes(split.database)?,
            projection.codes(split.queries)?,
        );
        Ok(code_map(
            &database,
            &queries,
            bits,
            split.database,
            split.queries,
        ))
    };
    let mut maps = vec![("lsh", map(&Projection::lsh(base, bits, seed))?)];
    // PCA has no more directions than the features: for wider codes there is no such row.
    if bits <= base.dim {
        let both = Features {
            dim: base.dim,
            values: [&base.values[..], &unlabelled.values].concat(),
            labels: [&base.labels[..], &unlabelled.labels].concat(),
        };
        let on_base = map(&Projection::itq(base, bits, seed)?)?;
        let on_both = map(&Projection::itq(&both, bits, seed)?)?;
        maps.push(("itq", on_base.max(on_both)));
    }
    Ok(maps)
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
