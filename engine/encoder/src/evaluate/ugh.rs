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
        self.by_library("ugh-all", &library, || Ok(library.model.clone()))
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
        let (aligned, sparse) = (SelectionOptions::new(bits), SelectionOptions::sparse(bits));
        self.by_library("ugh", &library, || {
            selected(model, examples, others, &aligned, seed)
        })?;
        self.by_library("ugh-sparse", &library, || {
            selected(model, examples, &none, &sparse, seed)
        })?;
        if !others.is_empty() {
            self.by_library("ugh-similar", &library, || {
                selected(model, &none, others, &aligned, seed)
            })?;
        }
        self.by_library("ugh-random", &library, || {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let drawn = index::sample(&mut rng, model.bits, bits);
            with_bits(model, &drawn.into_vec())
        })
    }

    /// A model of bits of the library, which was trained before, for all widths and numbers of shots.
    fn by_library(
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

/// Bits that are selected; where there are fewer of any use, bits by chance make up for those that are missing: every
/// seed must have its row.
fn selected(
    library: &HashModel,
    examples: &Features,
    others: &Features,
    options: &SelectionOptions,
    seed: u64,
) -> Result<HashModel, Error> {
    let bits = options.bits;
    let of = |bits| {
        let mut options = options.clone();
        options.bits = bits;
        select(library, examples, others, &options)
    };
    let found = match of(bits) {
        Err(Error::Selection(SelectionError::TooFewInformative { found, .. })) => found,
        all => return Ok(all?.0),
    };
    let selection = match found {
        0 => Vec::new(),
        found => of(found)?.1.bits,
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
