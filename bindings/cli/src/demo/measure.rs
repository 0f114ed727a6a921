//! Every query searched through the database, as a user would, and timed.

use super::split::Labelled;
use crate::error::Failure;
use crate::interrupt;
use crate::progress::Progress;
use crate::verbs;
use bitkin::metrics::{expected_average_precision, mean};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Neighbours on the page, and the k of the timed search.
pub(super) const K: usize = 10;

/// What the database's own answers are worth.
#[derive(Debug)]
pub(super) struct Measured {
    /// Mean over the queries of the expected average precision of the whole ranking.
    pub(super) map: f64,
    /// Median time of one search for the [`K`] nearest, in microseconds.
    pub(super) search_micros: f64,
    /// Rows in the collection.
    pub(super) rows: usize,
    /// What each query found, in the order of the queries.
    pub(super) found: Vec<Found>,
}

/// The nearest pictures of one query.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) near: Vec<Nearest>,
    pub(super) certified_radius: Option<u32>,
    pub(super) average_precision: f64,
}

/// A picture that was found.
#[derive(Debug)]
pub(super) struct Nearest {
    pub(super) picture: Labelled,
    pub(super) distance: u32,
}

/// Searches for every query picture.
///
/// # Errors
/// When the database cannot be read or a query cannot be encoded.
pub(super) fn queries(
    database: &Path,
    collection: &str,
    queries: &[Labelled],
) -> Result<Measured, Failure> {
    let database = verbs::open_to_read(database)?;
    let collection = verbs::collection(&database, collection)?;
    let encoder = verbs::encoder(&collection)?;
    let mut pictures = HashMap::new();
    for row in collection.rows().map_err(verbs::failure)? {
        let row = row.map_err(verbs::failure)?;
        pictures.insert(row.id, labelled(row.payload.as_deref().unwrap_or_default()));
    }
    let progress = Progress::new("searching", "queries", Some(queries.len() as u64));
    let (mut found, mut micros) = (Vec::new(), Vec::new());
    for (done, query) in queries.iter().enumerate() {
        interrupt::check(|| "stopped while searching".to_owned())?;
        let code = verbs::encode_file(&collection, &*encoder, &query.path)?;
        let search = |k: usize| collection.search(&code).k(k).run().map_err(verbs::failure);
        // Once to warm the caches, as a second user would find them.
        search(K)?;
        let started = Instant::now();
        let answer = search(K)?;
        micros.push(started.elapsed().as_secs_f64() * 1e6);
        let picture = |id: &u64| pictures.get(id).cloned().unwrap_or_else(|| labelled(""));
        let ranking: Vec<(u32, bool)> = search(pictures.len().max(1))?
            .hits
            .iter()
            .map(|hit| (hit.distance, picture(&hit.id).label == query.label))
            .collect();
        found.push(Found {
            near: answer
                .hits
                .iter()
                .map(|hit| Nearest {
                    picture: picture(&hit.id),
                    distance: hit.distance,
                })
                .collect(),
            certified_radius: answer.certified_radius,
            average_precision: expected_average_precision(&ranking),
        });
        progress.set(done as u64 + 1);
    }
    micros.sort_by(f64::total_cmp);
    Ok(Measured {
        map: mean(found.iter().map(|found| found.average_precision)),
        search_micros: micros.get(micros.len() / 2).copied().unwrap_or(0.0),
        rows: pictures.len(),
        found,
    })
}

/// Source and label as the ingest stored them; empty where the payload has none.
fn labelled(payload: &str) -> Labelled {
    let value: serde_json::Value = serde_json::from_str(payload).unwrap_or_default();
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Labelled {
        path: PathBuf::from(text("source")),
        label: text("label"),
    }
}
