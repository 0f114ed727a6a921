//! PURPLE, and each of its losses alone: trained without labels, once for all numbers of shots.

use std::ops::ControlFlow;
use std::time::Instant;

use super::{Pictures, Table, Tuned};
use crate::dataset::Dataset;
use crate::error::Error;
use crate::train::purple::{Losses, Progress, PurpleTraining, train};

/// What is measured, and what it is.
pub(super) const METHODS: [(&str, &str); 3] = [
    (
        "purple",
        "PURPLE, trained on base pictures and anchors without labels",
    ),
    ("purple-graph", "the same with L_S, the graph, alone"),
    (
        "purple-prototypes",
        "the same with L_C, hashing prototypes, alone",
    ),
];

impl Table<'_> {
    /// Codes of one width and seed by PURPLE.
    pub(super) fn purple(&mut self, bits: usize, seed: u64) -> Result<(), Error> {
        let losses = [Losses::Both, Losses::Graph, Losses::Prototypes];
        for ((method, _), losses) in METHODS.into_iter().zip(losses) {
            if !self.asked(method) {
                continue;
            }
            let options = PurpleTraining {
                bits,
                seed,
                losses,
                ..self.wanted.purple.clone()
            };
            let pictures = self.pictures(method)?;
            let name = format!("{options:?}");
            let tuned = pictures.trained(&name, || learn(&options, pictures))?;
            self.tuned(method, &tuned)?;
        }
        Ok(())
    }
}

fn learn(options: &PurpleTraining, pictures: Pictures<'_>) -> Result<Tuned, Error> {
    let both = [pictures.base, pictures.unlabelled].map(|set| set.pictures.iter().cloned());
    let set = options.drawn(&Dataset {
        pictures: both.into_iter().flatten().collect(),
    });
    let features = pictures.frozen(&set)?;
    let what = format!("PURPLE, {} bits", options.bits);
    let mut told = |progress| match progress {
        Progress::Views { done, of } => pictures.tell("views", done, of),
        Progress::Step { done, steps, .. } => pictures.tell(&what, done, steps),
        Progress::Estimate { .. } => ControlFlow::Continue(()),
    };
    // Views serve several trainings, of which each would need them.
    let (views, seconds) = pictures.views(options, &set, &mut told)?;
    let start = Instant::now();
    let trained = train(options, pictures.backbone, &views, &features, &mut told)?;
    Ok(Tuned {
        backbone: trained.backbone,
        blocks: trained.blocks,
        model: trained.model,
        seconds: seconds + start.elapsed().as_secs_f64(),
    })
}
