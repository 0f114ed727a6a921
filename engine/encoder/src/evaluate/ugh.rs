//! UGH: bits selected from a library, bits drawn from it at random, and all of it.

use bitkin::selection::{SelectionError, SelectionOptions};
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::Table;
use crate::error::Error;
use crate::features::Features;
use crate::hash::HashModel;
use crate::train::ugh::{Library, select, with_bits};

impl Table<'_> {
    /// All bits of the library, whose number is its own.
    pub(super) fn whole_library(&mut self) -> Result<(), Error> {
        let Some(library) = self.wanted.library.clone() else {
            return Ok(());
        };
        self.from_library("ugh-all", &library, || Ok(library.model.clone()))
    }

    /// As many bits of it, selected and at random; nothing where it has fewer.
    pub(super) fn ugh(&mut self, bits: usize, seed: u64) -> Result<(), Error> {
        let Some(library) = self.wanted.library.clone() else {
            return Ok(());
        };
        let model = &library.model;
        if bits > model.bits {
            return Ok(());
        }
        let training = self.split.training;
        let (examples, others) = (training.adapt, training.unlabelled);
        let none = Features {
            dim: examples.dim,
            ..Default::default()
        };
        let aligned = SelectionOptions::new(bits);
        self.from_library("ugh", &library, || {
            Ok(select(model, examples, others, &aligned)?.0)
        })?;
        self.from_library("ugh-sparse", &library, || {
            sparse(model, examples, bits, seed)
        })?;
        if !others.is_empty() {
            self.from_library("ugh-similar", &library, || {
                Ok(select(model, &none, others, &aligned)?.0)
            })?;
        }
        self.from_library("ugh-random", &library, || {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let drawn = index::sample(&mut rng, model.bits, bits);
            with_bits(model, &drawn.into_vec())
        })
    }

    /// A model of bits of the library, which was trained before, for all widths and numbers of shots.
    fn from_library(
        &mut self,
        method: &'static str,
        library: &Library,
        choose: impl FnOnce() -> Result<HashModel, Error>,
    ) -> Result<(), Error> {
        self.trained(method, None, choose)?;
        let last = self.measured.last_mut();
        if let Some(seconds) = last
            .filter(|row| row.method == method)
            .and_then(|row| row.training_seconds.as_mut())
        {
            *seconds += library.seconds;
        }
        Ok(())
    }
}

/// As the paper selects them; where examples give a weight to fewer bits, bits by chance make up for those that are
/// missing: every seed must have its row.
fn sparse(
    library: &HashModel,
    examples: &Features,
    bits: usize,
    seed: u64,
) -> Result<HashModel, Error> {
    let none = Features {
        dim: examples.dim,
        ..Default::default()
    };
    let selected = |bits| select(library, examples, &none, &SelectionOptions::sparse(bits));
    let found = match selected(bits) {
        Err(Error::Selection(SelectionError::TooFewInformative { found, .. })) => found,
        all => return Ok(all?.0),
    };
    let selection = match found {
        0 => Vec::new(),
        found => selected(found)?.1.bits,
    };
    let mut chosen: Vec<usize> = selection.iter().map(|bit| bit.bit as usize).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for bit in index::sample(&mut rng, library.bits, library.bits) {
        if chosen.len() < bits && !chosen.contains(&bit) {
            chosen.push(bit);
        }
    }
    with_bits(library, &chosen)
}
