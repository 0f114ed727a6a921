//! KALAHash in the table: trained on the labelled examples alone, with and without its parts.

use std::ops::ControlFlow;

use super::Table;
use crate::error::Error;
use crate::train::kalahash::{KalaHashTraining, train};

/// Its rows of the table.
const ROWS: [&str; 4] = [
    "kalahash",
    "kalahash-uncalibrated",
    "kalahash-no-text",
    "kalahash-plain",
];

/// Whether a row is with the calibration, and with what is known of the classes in the codes.
const PARTS: [(bool, bool); 4] = [(true, true), (false, true), (true, false), (false, false)];

impl Table<'_> {
    /// All of them at one width, where there are vectors of the classes.
    pub(super) fn kalahash(&mut self, bits: usize) -> Result<(), Error> {
        let examples = self.split.training.adapt;
        let wanted = self.wanted;
        let Some(text) = &wanted.text else {
            return match ROWS.iter().any(|row| self.named(row)) {
                false => Ok(()),
                true => Err(Error::Data(
                    "KALAHash needs a vector for each class: give --text".into(),
                )),
            };
        };
        for (method, (calibrated, guided)) in ROWS.into_iter().zip(PARTS) {
            let mut options = KalaHashTraining {
                bits,
                ..wanted.kalahash.clone()
            };
            if !calibrated {
                options.rank = 0;
            }
            if !guided {
                options.alpha = 0.0;
            }
            self.trained(method, None, || {
                train(&options, examples, text, |_, _| ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }
}
