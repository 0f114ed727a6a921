//! One search for a class by a few examples of it, with bits of a library that these select for themselves.
//!
//! The examples are queries of one class, as many as there are of each class to learn from; what is searched, and
//! what is drawn of it to say what else there is, are as for all methods.

use std::time::Instant;

use bitkin::selection::{Selection, SelectionError, SelectionOptions};
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::quality::{Masked, of_masked};
use super::{Measured, Table, model_codes};
use crate::error::Error;
use crate::features::{Features, classes};
use crate::hash::{dot, normalise};

/// Codes of a library, and searches by them.
pub(super) struct Searches {
    database: Vec<u8>,
    queries: Vec<u8>,
    others: Vec<u8>,
    groups: Vec<Group>,
}

/// Places of queries that are the examples of one search, and their class.
struct Group {
    places: Vec<usize>,
    label: u32,
}

impl Table<'_> {
    /// Searches by the mean of the examples' features.
    pub(super) fn like_float(&mut self) {
        let groups = self.groups();
        if !self.asked("like-float") || groups.is_empty() {
            return;
        }
        let centre = self.split.training.base.mean();
        let [database, queries] = [self.split.database, self.split.queries].map(|features| {
            let rows = features.values.par_chunks_exact(features.dim);
            rows.map(|row| normalise(row, &centre)).collect::<Vec<_>>()
        });
        let means = groups.iter().map(|group| {
            let mut sum = vec![0.0; self.split.queries.dim];
            for &place in &group.places {
                let row = sum.iter_mut().zip(&queries[place]);
                row.for_each(|(sum, value)| *sum += value);
            }
            sum
        });
        let means: Vec<Vec<f32>> = means.collect();
        let asked = Features {
            labels: groups.iter().map(|group| group.label).collect(),
            ..Default::default()
        };
        let rows = (&database[..], self.split.database);
        let quality = super::of_rankings(rows, (&means, &asked), dot);
        self.add("like-float", None, quality);
    }

    /// Searches with so many bits; nothing where the library has fewer, or there is no class of as many queries.
    pub(super) fn like(&mut self, bits: usize, seed: u64) -> Result<(), Error> {
        const METHODS: [&str; 3] = ["like", "like-sparse", "like-random"];
        let Some(library) = self.wanted.library.clone() else {
            return Ok(());
        };
        let others = self.split.training.unlabelled;
        if bits > library.model.bits
            || others.is_empty()
            || !METHODS.iter().any(|method| self.asked(method))
        {
            return Ok(());
        }
        let searches = match self.searches.take() {
            Some(searches) => searches,
            None => Searches {
                database: model_codes(&library.model, self.split.database),
                queries: model_codes(&library.model, self.split.queries),
                others: model_codes(&library.model, others),
                groups: self.groups(),
            },
        };
        for method in METHODS {
            if !self.asked(method) || searches.groups.is_empty() {
                continue;
            }
            let start = Instant::now();
            let options = match method {
                "like" => Some(SelectionOptions::new(bits)),
                "like-sparse" => Some(SelectionOptions::sparse(bits)),
                _ => None,
            };
            let queries = searches.queries(library.model.bits, bits, options.as_ref(), seed)?;
            let seconds = start.elapsed().as_secs_f64();
            let rows = (&searches.database[..], self.split.database);
            self.measured.push(Measured {
                method,
                bits: Some(bits),
                prototypes: None,
                quality: of_masked(rows, &queries, library.model.bits),
                training_seconds: Some(library.seconds + seconds),
                coding_microseconds: None,
                shown: Vec::new(),
            });
        }
        self.searches = Some(searches);
        Ok(())
    }

    /// At most ten searches for each class.
    fn groups(&self) -> Vec<Group> {
        const MOST: usize = 10;
        let (adapt, labels) = (self.split.training.adapt, &self.split.queries.labels);
        let shots = adapt.len() / classes(&adapt.labels).len().max(1);
        let of_class = |label: u32| {
            let places = (0..labels.len()).filter(|place| labels[*place] == label);
            let places: Vec<usize> = places.collect();
            let groups = places.chunks_exact(shots.max(1)).take(MOST);
            let group = |places: &[usize]| Group {
                places: places.to_vec(),
                label,
            };
            groups.map(group).collect::<Vec<_>>()
        };
        classes(labels).into_iter().flat_map(of_class).collect()
    }
}

impl Searches {
    /// What each search asks for; without options, bits are drawn at random. Where too few are of any use, those
    /// count.
    fn queries(
        &self,
        width: usize,
        bits: usize,
        options: Option<&SelectionOptions>,
        seed: u64,
    ) -> Result<Vec<Masked>, Error> {
        let bytes = width.div_ceil(8);
        let query = |(number, group): (usize, &Group)| -> Result<Masked, Error> {
            let codes = group.places.iter();
            let like: Vec<&[u8]> = codes.map(|i| &self.queries[i * bytes..][..bytes]).collect();
            let (mask, code) = match options {
                Some(options) => {
                    let like = like.concat();
                    let select = |options: &SelectionOptions| {
                        Selection::of_likeness(width as u32, &like, &[], &self.others, options)
                    };
                    let selection = match select(options) {
                        Err(SelectionError::TooFewInformative { found: 0, .. }) => None,
                        Err(SelectionError::TooFewInformative { found, .. }) => {
                            let mut fewer = options.clone();
                            fewer.bits = found;
                            Some(select(&fewer)?)
                        }
                        all => Some(all?),
                    };
                    match selection {
                        Some(selection) => (selection.mask(), selection.code().unwrap_or_default()),
                        None => (vec![0; bytes], vec![0; bytes]),
                    }
                }
                None => {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    rng.set_stream(number as u64);
                    let (mut mask, mut code) = (vec![0; bytes], vec![0; bytes]);
                    for bit in index::sample(&mut rng, width, bits) {
                        let (byte, place) = (bit / 8, 1 << (bit % 8));
                        mask[byte] |= place;
                        let set = like.iter().filter(|code| code[byte] & place != 0);
                        if 2 * set.count() > like.len() {
                            code[byte] |= place;
                        }
                    }
                    (mask, code)
                }
            };
            Ok(Masked {
                mask,
                code,
                label: group.label,
            })
        };
        self.groups.par_iter().enumerate().map(query).collect()
    }
}
