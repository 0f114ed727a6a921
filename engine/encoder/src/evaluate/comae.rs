//! COMAE in the table: trained on the base classes and their attributes, with and without each loss.

use std::time::Instant;

use super::{Pictures, Table, Tuned};
use crate::backbone::Tail;
use crate::class_vectors::ClassVectors;
use crate::dataset::Dataset;
use crate::error::Error;
use crate::train::comae::{ComaeTraining, Seen, train};

/// Its rows of the table.
const ROWS: [&str; 4] = ["comae", "comae-no-point", "comae-no-pair", "comae-no-class"];

impl Table<'_> {
    /// All of them at one width, where there are attributes: one training a row and seed for all numbers of shots.
    pub(super) fn comae(&mut self, bits: usize, seed: u64) -> Result<(), Error> {
        let wanted = self.wanted;
        let Some(attributes) = &wanted.attributes else {
            return match ROWS.iter().any(|row| self.named(row)) {
                false => Ok(()),
                true => Err(Error::Data(
                    "COMAE needs attributes of each base class: give --attributes".into(),
                )),
            };
        };
        for method in ROWS {
            if !self.asked(method) {
                continue;
            }
            let mut options = ComaeTraining {
                bits,
                seed,
                ..self.wanted.comae.clone()
            };
            match method {
                "comae-no-point" => options.lambda_point = 0.0,
                "comae-no-pair" => options.lambda_pair = 0.0,
                "comae-no-class" => options.lambda_class = 0.0,
                _ => (),
            }
            let pictures = self.pictures(method)?;
            let tuned = pictures.trained(&format!("{method} {options:?}"), || {
                learn(&options, pictures, attributes)
            })?;
            self.tuned(method, &tuned)?;
        }
        Ok(())
    }
}

fn learn(
    options: &ComaeTraining,
    pictures: Pictures<'_>,
    attributes: &ClassVectors,
) -> Result<Tuned, Error> {
    // Numbers of all classes, whichever are drawn.
    let numbers = pictures.base.classes().1;
    let places = options.drawn(pictures.base.pictures.len());
    let labels: Vec<u32> = places.iter().map(|&i| numbers[i]).collect();
    let drawn = places.iter().map(|&i| pictures.base.pictures[i].clone());
    let drawn = Dataset {
        pictures: drawn.collect(),
    };
    let trunks = pictures.trunks(&drawn, options.blocks)?;
    let start = Instant::now();
    let tail = Tail::of(pictures.backbone, options.blocks)?;
    let seen = Seen {
        trunks: &trunks,
        labels: &labels,
        attributes,
    };
    let model = train(options, seen, &tail, |done, _| {
        (pictures.progress)("comae", done)
    })?;
    Ok(Tuned {
        seconds: start.elapsed().as_secs_f64(),
        backbone: tail.in_file(pictures.backbone, "")?,
        blocks: options.blocks,
        model,
    })
}
