//! KALAHash in the table: trained on the labelled examples alone, with and without its parts.

use std::ops::ControlFlow;

use super::Table;
use crate::error::Error;
use crate::train::kalahash::{KalaHashTraining, train};

/// Its rows of the table.
pub(super) const METHODS: [(&str, &str); 4] = [
    (
        "kalahash",
        "the labelled examples and a vector for each new class, nothing of the base classes",
    ),
    ("kalahash-uncalibrated", "the same without calibration"),
    (
        "kalahash-no-text",
        "the same with calibration, but codes not guided by the vectors",
    ),
    ("kalahash-plain", "without both: the examples alone"),
];

/// Whether a row is with the calibration, and with what is known of the classes in the codes.
const PARTS: [(bool, bool); 4] = [(true, true), (false, true), (true, false), (false, false)];

impl Table<'_> {
    /// All of them at one width, where there are vectors of the classes.
    pub(super) fn kalahash(&mut self, bits: usize) -> Result<(), Error> {
        let examples = self.split.training.adapt;
        let wanted = self.wanted;
        let Some(text) = &wanted.text else {
            return match METHODS.iter().any(|row| self.named(row.0)) {
                false => Ok(()),
                true => Err(Error::Data(
                    "KALAHash needs a vector for each class: give --text".into(),
                )),
            };
        };
        for ((method, _), (calibrated, guided)) in METHODS.into_iter().zip(PARTS) {
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
