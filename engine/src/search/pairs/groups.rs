//! Rows that are near each other, gathered around rows that are kept: what deduplication asks for.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use super::PairSearch;
use crate::error::Error;
use crate::search::Hit;
use crate::snapshot::Snapshot;

/// A row that is kept, and those that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The row that is kept. No other kept row is within the radius of it.
    pub id: u64,
    /// Rows within the radius of it, by id; at least one.
    pub duplicates: Vec<Hit>,
}

impl PairSearch<'_> {
    /// Groups rows around some that are kept, each within the radius of every row of its group; by the id
    /// of the row that is kept. Rows that are near no other are in no group.
    ///
    /// Going through the rows by id, one is kept if none that is kept is near it; otherwise it is a duplicate
    /// of the nearest such row. So deleting all duplicates leaves no two rows within the radius, and
    /// takes none away that is far from all that stay, however long a chain of near rows may be.
    /// Memory grows with the number of rows that have a near one, not with that of the pairs. If its
    /// progress broke the search off, there are none. Parting a chain compares its rows with those of it that
    /// are kept, on one thread.
    ///
    /// # Errors
    /// As [`PairSearch::for_each`].
    pub fn groups(self) -> Result<Vec<Group>, Error> {
        let (snapshot, radius) = (self.snapshot.as_ref().ok().cloned(), self.radius);
        let mut joined = Joined::default();
        let outcome = self.for_each(|pair| {
            joined.join(pair.a, pair.b);
            ControlFlow::Continue(())
        })?;
        // Without one the search has failed.
        let Some(snapshot) = snapshot.filter(|_| outcome.is_complete) else {
            return Ok(Vec::new());
        };
        let mut groups = Vec::new();
        for chain in joined.chains() {
            part(&snapshot, radius, &chain, &mut groups)?;
        }
        groups.sort_unstable_by_key(|group| group.id);
        Ok(groups)
    }
}

/// Rows that are joined by pairs, directly or through others.
#[derive(Default)]
struct Joined {
    /// A row of less id that it is joined with; the least one of all has none.
    less: HashMap<u64, u64>,
}

impl Joined {
    fn join(&mut self, a: u64, b: u64) {
        let (a, b) = (self.least(a), self.least(b));
        if a != b {
            self.less.insert(a.max(b), a.min(b));
        }
    }

    fn least(&mut self, mut id: u64) -> u64 {
        while let Some(&less) = self.less.get(&id) {
            if let Some(&lesser) = self.less.get(&less) {
                // Halves the way for whoever comes after.
                self.less.insert(id, lesser);
            }
            id = less;
        }
        id
    }

    /// The rows of each chain, by id.
    fn chains(mut self) -> impl Iterator<Item = Vec<u64>> {
        let mut ids: Vec<u64> = self.less.keys().copied().collect();
        ids.sort_unstable();
        let mut chains: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for id in ids {
            let least = self.least(id);
            chains.entry(least).or_insert_with(|| vec![least]).push(id);
        }
        chains.into_values()
    }
}

/// Parts a chain of rows, by id, into groups.
fn part(
    snapshot: &Snapshot,
    radius: u32,
    chain: &[u64],
    groups: &mut Vec<Group>,
) -> Result<(), Error> {
    let first = groups.len();
    let mut kept = Vec::new();
    let mut near = Vec::new();
    for &id in chain {
        let lost = || snapshot.damaged(format!("row {id} was found, and is not there"));
        let (part, row) = snapshot.view.find(id)?.ok_or_else(lost)?;
        let code = snapshot.view.parts()[part].code(row)?;
        let code = code.ok_or_else(lost)?;
        near.clear();
        snapshot.kernels.within(code, &kept, 0, radius, &mut near);
        match near.iter().min_by_key(|found| (found.distance, found.row)) {
            Some(found) => groups[first + found.row as usize].duplicates.push(Hit {
                id,
                distance: found.distance,
            }),
            None => {
                kept.extend_from_slice(code);
                let duplicates = Vec::new();
                groups.push(Group { id, duplicates });
            }
        }
    }
    // The end of a chain may be near only to rows that are duplicates of others.
    let alone = groups
        .drain(first..)
        .filter(|group| !group.duplicates.is_empty());
    let parted: Vec<Group> = alone.collect();
    groups.extend(parted);
    Ok(())
}
