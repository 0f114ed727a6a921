//! UGH: bits that the labelled examples select from a library, bits drawn from it at random, and all of it.

use bitkin::selection::{SelectionError, SelectionOptions};
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::Table;
use crate::error::Error;
use crate::features::Features;
use crate::train::ugh::{Library, select, with_bits};

impl Table<'_> {
    /// All bits of the library, whose number is its own.
    pub(super) fn whole_library(&mut self) -> Result<(), Error> {
        let Some(library) = self.wanted.library.clone() else {
            return Ok(());
        };
        self.trained("ugh-all", None, || Ok(library.model.clone()))?;
        self.add_library_seconds("ugh-all", &library);
        Ok(())
    }

    /// As many bits of it, selected and at random; nothing where it has fewer.
    pub(super) fn ugh(&mut self, bits: usize, seed: u64) -> Result<(), Error> {
        let Some(library) = self.wanted.library.clone() else {
            return Ok(());
        };
        if bits > library.model.bits {
            return Ok(());
        }
        let examples = self.split.training.adapt;
        self.trained("ugh", None, || {
            let none = Features {
                dim: examples.dim,
                ..Default::default()
            };
            let selected = |bits| {
                let options = SelectionOptions::new(bits);
                select(&library.model, examples, &none, &options)
            };
            let found = match selected(bits) {
                Err(Error::Selection(SelectionError::TooFewInformative { found, .. })) => found,
                all => return Ok(all?.0),
            };
            // Bits by chance make up for those that are missing: every seed must have its row.
            let selection = match found {
                0 => Vec::new(),
                found => selected(found)?.1.bits,
            };
            let mut chosen: Vec<usize> = selection.iter().map(|bit| bit.bit as usize).collect();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            for bit in index::sample(&mut rng, library.model.bits, library.model.bits) {
                if chosen.len() < bits && !chosen.contains(&bit) {
                    chosen.push(bit);
                }
            }
            with_bits(&library.model, &chosen)
        })?;
        self.add_library_seconds("ugh", &library);
        self.trained("ugh-random", None, || {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let drawn = index::sample(&mut rng, library.model.bits, bits);
            with_bits(&library.model, &drawn.into_vec())
        })?;
        self.add_library_seconds("ugh-random", &library);
        Ok(())
    }

    /// The library was trained before, for all widths and numbers of shots.
    fn add_library_seconds(&mut self, method: &str, library: &Library) {
        let last = self.measured.last_mut();
        if let Some(seconds) = last
            .filter(|row| row.method == method)
            .and_then(|row| row.training_seconds.as_mut())
        {
            *seconds += library.seconds;
        }
    }
}
