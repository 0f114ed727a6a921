//! KALAHash in the table: trained on the labelled examples alone, with and without its parts.

use std::ops::ControlFlow;

use super::Table;
use crate::error::Error;
use crate::train::kalahash::{KalaHashTraining, shots, train};

/// Its rows: whether with the calibration, and with what is known of the classes in the codes.
const ROWS: [(&str, bool, bool); 4] = [
    ("kalahash", true, true),
    ("kalahash-uncalibrated", false, true),
    ("kalahash-no-text", true, false),
    ("kalahash-plain", false, false),
];

impl Table<'_> {
    /// All of them at one width, where there are vectors of the classes.
    pub(super) fn kalahash(&mut self, bits: usize, seed: u64) -> Result<(), Error> {
        let examples = self.split.training.adapt;
        let wanted = self.wanted;
        let Some(text) = &wanted.text else {
            return match ROWS.iter().any(|row| self.named(row.0)) {
                false => Ok(()),
                true => Err(Error::Data(
                    "KALAHash needs a vector for each class: give --text".into(),
                )),
            };
        };
        for (method, calibrated, guided) in ROWS {
            self.trained(method, None, || {
                let mut options = KalaHashTraining::new(bits, seed, shots(examples));
                options.rank *= usize::from(calibrated);
                options.alpha *= f64::from(u8::from(guided));
                train(&options, examples, text, |_, _| ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }
}
