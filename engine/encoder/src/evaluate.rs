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
use crate::hash::{HashModel, dot, normalise};
use crate::train::hash::{HashTraining, TrainingData, train};

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
    /// `float-centred`, `lsh`, `itq`, `pp` (no diffusion) or `pp-scdm`.
    pub method: &'static str,
    /// Code width in bits; none for floats.
    pub bits: Option<usize>,
    /// Mean average precision, 0 to 1.
    pub map: f64,
}

/// Measures the float reference, and every kind of code at each width; PCA-ITQ only where the
/// width does not exceed the features' dimensions.
///
/// # Errors
/// [`Error::Data`] when the split cannot be trained or searched, [`Error::Torch`] when libtorch
/// fails.
pub fn measure(split: Split<'_>, bits: &[usize], seed: u64) -> Result<Vec<Measured>, Error> {
    if split.database.is_empty() || split.queries.is_empty() {
        return Err(Error::Data("the database or the queries are empty".into()));
    }
    use_one_thread();
    let base = split.training.base;
    let map = float_map(split.database, split.queries, &base.mean());
    let mut measured = vec![Measured {
        method: "float-centred",
        bits: None,
        map,
    }];
    for &bits in bits {
        let mut add = |method, map| {
            measured.push(Measured {
                method,
                bits: Some(bits),
                map,
            })
        };
        let of = |projection: &Projection| -> Result<f64, Error> {
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
        add("lsh", of(&Projection::lsh(base, bits, seed))?);
        // PCA has no more directions than the features: for wider codes there is no such row.
        if bits <= base.dim {
            add("itq", of(&Projection::itq(base, bits, seed)?)?);
        }
        let with_diffusion = HashTraining::new(bits, seed);
        let without = HashTraining {
            diffusion: None,
            ..with_diffusion.clone()
        };
        for (method, options) in [("pp", without), ("pp-scdm", with_diffusion)] {
            let model = train(&options, split.training, |_, _| {})?;
            add(method, model_map(&model, split.database, split.queries));
        }
    }
    Ok(measured)
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

/// Mean average precision of features by the cosine of the angle between them, seen from
/// `centre`: the upper reference of every table.
pub fn float_map(database: &Features, queries: &Features, centre: &[f32]) -> f64 {
    let rows: Vec<Vec<f32>> = database.rows().map(|f| normalise(f, centre)).collect();
    let precisions: Vec<f64> = queries
        .values
        .par_chunks_exact(queries.dim)
        .zip(&queries.labels)
        .map(|(query, label)| {
            let query = normalise(query, centre);
            let mut ranked: Vec<(f32, bool)> = rows
                .iter()
                .zip(&database.labels)
                .map(|(row, row_label)| (dot(row, &query), row_label == label))
                .collect();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
            expected_average_precision(&ranked)
        })
        .collect();
    mean(precisions)
}
