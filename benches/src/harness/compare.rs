//! What changed between two files of results, beyond noise.

use std::collections::BTreeMap;

use bitkin_benches::measure::Spread;

use super::record::{Key, Line};

/// A change counts when the medians part by more than this share, whatever the noise.
const LEAST: f64 = 0.05;

/// A measurement that is in both files.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) what: String,
    /// New queries a second in parts of the old.
    pub(crate) ratio: f64,
    /// Whether all new rounds lie on one side of all old ones, and the medians are far enough apart.
    pub(crate) beyond_noise: bool,
}

/// All measurements that are in both; changes beyond noise come first, the greatest loss at the top.
///
/// Machines differ in speed from day to day. Where both files have the physical limits of a cell, a
/// line is compared after it was divided by how fast its machine read memory.
pub(crate) fn changes(old: &[Line], new: &[Line]) -> Vec<Change> {
    let known: BTreeMap<Key, &Line> = old.iter().map(|line| (line.key(), line)).collect();
    let mut changes: Vec<Change> = new
        .iter()
        .filter(|line| !line.is_limit())
        .filter_map(|line| {
            let before = known.get(&line.key())?;
            let drift = drift(before, old, line, new);
            let (old, new) = (rounds(before)?, rounds(line)?);
            let ratio = new.median / old.median / drift;
            let apart = new.least / drift > old.most || new.most / drift < old.least;
            Some(Change {
                what: format!(
                    "{}, {}, {} threads, {} a call",
                    line.cell(),
                    line.label(),
                    line.threads,
                    line.batch
                ),
                ratio,
                beyond_noise: apart && (ratio - 1.0).abs() > LEAST,
            })
        })
        .collect();
    changes.sort_by(|a, b| {
        let loud = b.beyond_noise.cmp(&a.beyond_noise);
        loud.then(a.ratio.total_cmp(&b.ratio))
    });
    changes
}

fn rounds(line: &Line) -> Option<Spread> {
    let rounds = &line.queries_per_second_rounds;
    (!rounds.is_empty()).then(|| Spread::of(rounds))
}

/// How much faster the machine itself was for the new line; 1 where that is not known.
fn drift(before: &Line, old: &[Line], line: &Line, new: &[Line]) -> f64 {
    let limit = |line: &Line, all: &[Line]| {
        let cell = line.cell();
        let limit = all
            .iter()
            .find(|one| one.system == "limit-read" && one.cell() == cell)?;
        limit.queries_per_second
    };
    match (limit(before, old), limit(line, new)) {
        (Some(old), Some(new)) if old > 0.0 => new / old,
        _ => 1.0,
    }
}
