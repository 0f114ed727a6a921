//! What changed between two files of results, beyond noise.

use std::collections::BTreeMap;

use bitkin_benches::Result;
use bitkin_benches::measure::Spread;

use super::record::{Cell, Key, Line};

/// A change of speed counts when the medians part by more than this share, whatever the noise.
const LEAST: f64 = 0.05;
/// With fewer rounds all of one run lie on one side of the other's by chance too often.
const ROUNDS: usize = 4;

/// A measurement that is in both files, and what changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) what: String,
    pub(crate) kind: Kind,
}

/// The kinds of changes, the worst first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// It is not there any more, or failed.
    Gone,
    /// Less is found: the recall before and now.
    FindsLess(f64, f64),
    /// Slower than before, in parts of it.
    Slower(f64),
    Faster(f64),
    FindsMore(f64, f64),
    /// As fast as before, within noise.
    Same,
}

impl Kind {
    pub(crate) fn is_worse(self) -> bool {
        matches!(self, Kind::Gone | Kind::FindsLess(..) | Kind::Slower(_))
    }

    fn rank(self) -> (u8, f64) {
        match self {
            Kind::Gone => (0, 0.0),
            Kind::FindsLess(..) => (1, 0.0),
            Kind::Slower(ratio) => (2, ratio),
            Kind::Faster(ratio) => (3, ratio),
            Kind::FindsMore(..) => (4, 0.0),
            Kind::Same => (5, 0.0),
        }
    }
}

/// All measurements that are in both, the worst changes first.
///
/// Machines differ in speed from day to day. Where both files have FAISS's flat index in a cell, which
/// does not change, a line is compared after it was divided by how much faster that was.
///
/// # Errors
/// If the files are not of one kind of run: seed, length, machine.
pub(crate) fn changes(old: &[Line], new: &[Line]) -> Result<Vec<Change>> {
    alike(old, new)?;
    let cells: std::collections::BTreeSet<Cell> = new.iter().map(Line::cell).collect();
    let known: BTreeMap<Key, &Line> = new.iter().map(|line| (line.key(), line)).collect();
    let measured = old
        .iter()
        .filter(|line| !line.is_limit() && line.error.is_none() && cells.contains(&line.cell()));
    let mut changes: Vec<Change> = measured
        .map(|before| Change {
            what: format!(
                "{}, {}, {} threads, {} a call",
                before.cell(),
                before.label(),
                before.threads,
                before.batch
            ),
            kind: match known.get(&before.key()) {
                None => Kind::Gone,
                Some(now) => kind(before, now, drift(before, old, new)),
            },
        })
        .collect();
    changes.sort_by(|a, b| {
        let ((a, a_ratio), (b, b_ratio)) = (a.kind.rank(), b.kind.rank());
        a.cmp(&b).then(a_ratio.total_cmp(&b_ratio))
    });
    Ok(changes)
}

fn kind(before: &Line, now: &Line, drift: f64) -> Kind {
    let (Some(found), Some(finds)) = (before.recall, now.recall) else {
        return Kind::Gone;
    };
    // A graph that is built by several threads is never twice the same.
    if (found - finds).abs() > 0.01 || (found == 1.0) != (finds == 1.0) {
        return match found > finds {
            true => Kind::FindsLess(found, finds),
            false => Kind::FindsMore(found, finds),
        };
    }
    let (rounds, again) = (
        &before.queries_per_second_rounds,
        &now.queries_per_second_rounds,
    );
    if again.is_empty() {
        return Kind::Gone;
    }
    let (old, new) = (Spread::of(rounds), Spread::of(again));
    let ratio = new.median / old.median / drift;
    let apart = new.least / drift > old.most || new.most / drift < old.least;
    let sure = apart && rounds.len().min(again.len()) >= ROUNDS;
    match ratio {
        _ if !sure || (ratio - 1.0).abs() <= LEAST => Kind::Same,
        _ if ratio < 1.0 => Kind::Slower(ratio),
        _ => Kind::Faster(ratio),
    }
}

fn alike(old: &[Line], new: &[Line]) -> Result<()> {
    let (Some(old), Some(new)) = (old.first(), new.first()) else {
        return Err("one of the two has no results".into());
    };
    let facts = |line: &Line| {
        let fact = |name: &str| line.machine.get(name).cloned().unwrap_or_default();
        [
            ("seed", line.seed.to_string()),
            ("quick", line.quick.to_string()),
            ("seconds a round", line.seconds.to_string()),
            ("processor", fact("cpu")),
            ("cores", fact("cores")),
            ("instructions", fact("simd")),
        ]
    };
    for ((what, before), (_, now)) in facts(old).into_iter().zip(facts(new)) {
        if before != now {
            let both = format!("{before} in one and {now} in the other");
            return Err(format!("they cannot be compared: {what} {both}").into());
        }
    }
    Ok(())
}

/// How much faster FAISS's flat index was in the new file, asked in the same way; 1 where it was not.
fn drift(line: &Line, old: &[Line], new: &[Line]) -> f64 {
    let flat = |lines: &[Line]| {
        let flat = lines.iter().find(|one| {
            one.system == "faiss-flat"
                && one.cell() == line.cell()
                && (one.threads, one.batch) == (line.threads, line.batch)
        });
        flat.and_then(|flat| flat.queries_per_second)
    };
    match (flat(old), flat(new)) {
        (Some(old), Some(new)) if line.system != "faiss-flat" && old > 0.0 => new / old,
        _ => 1.0,
    }
}
