//! The in-memory picture of a database at one moment.
//!
//! A `State` never changes once it is published: a commit makes the next one out of it, sharing
//! everything that stays. That is what makes a snapshot the clone of one `Arc`.

use std::sync::Arc;

use crate::batch::{CollectionId, CollectionInfo};
use crate::deleted::{self, Deleted};
use crate::error::Error;
use crate::run::{FAN, Run};
use crate::segment::Segment;
use crate::snapshot::Part;

/// All collections as of one commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Number of the last commit that is in here.
    pub(crate) sequence: u64,
    /// A number that no collection ever had, and all larger ones.
    pub(crate) next_collection: u32,
    /// Ascending by number.
    pub(crate) collections: Vec<Arc<CollectionState>>,
}

/// One collection as of one commit.
#[derive(Clone, Debug)]
pub(crate) struct CollectionState {
    pub(crate) info: Arc<CollectionInfo>,
    /// Segments first, then runs, oldest first.
    pub(crate) parts: Vec<Part>,
    /// Rows that are not deleted.
    pub(crate) rows: u64,
    pub(crate) largest_id: Option<u64>,
}

/// Rows that were looked for, and are there and not deleted.
#[derive(Debug, Default)]
pub(crate) struct Located {
    /// For each part that has some of them: its index, and the rows, ascending.
    pub(crate) rows: Vec<(usize, Vec<u32>)>,
    /// The indexes of their ids, in any order.
    pub(crate) ids: Vec<usize>,
}

impl State {
    fn position(&self, number: u32) -> Option<usize> {
        self.collections
            .binary_search_by_key(&number, |c| c.info.id.number)
            .ok()
    }

    /// The collection of this id, if number and width are this database's.
    pub(crate) fn collection(&self, id: CollectionId) -> Option<&Arc<CollectionState>> {
        let found = self.collections.get(self.position(id.number)?)?;
        (found.info.id == id).then_some(found)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<CollectionState>> {
        self.collections.iter().find(|c| c.info.name == name)
    }

    /// The collection, to be changed; the copy that snapshots hold stays as it is.
    pub(crate) fn by_number_mut(&mut self, number: u32) -> Option<&mut CollectionState> {
        let position = self.position(number)?;
        self.collections.get_mut(position).map(Arc::make_mut)
    }

    /// Adds a collection whose number is larger than all others.
    pub(crate) fn add_collection(&mut self, info: CollectionInfo, largest_id: Option<u64>) {
        self.next_collection = self.next_collection.max(info.id.number.saturating_add(1));
        self.collections.push(Arc::new(CollectionState {
            info: Arc::new(info),
            parts: Vec::new(),
            rows: 0,
            largest_id,
        }));
    }

    /// Takes a collection away; says whether it was there.
    pub(crate) fn remove_collection(&mut self, number: u32) -> bool {
        let position = self.position(number);
        position.map(|at| self.collections.remove(at)).is_some()
    }

    /// Bytes of rows in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.collections
            .iter()
            .flat_map(|c| c.runs())
            .map(|run| run.bytes())
            .sum()
    }

    /// Rows in memory.
    pub(crate) fn memory_rows(&self) -> usize {
        self.collections
            .iter()
            .flat_map(|c| c.runs())
            .map(|run| run.len())
            .sum()
    }

    /// The deleted rows of every segment, by its number.
    pub(crate) fn deleted_rows(&self) -> impl Iterator<Item = (u64, &Deleted)> {
        let parts = self.collections.iter().flat_map(|c| c.parts.iter());
        parts.filter_map(|part| Some((part.as_segment()?.number(), &part.deleted)))
    }

    /// All segments.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.collections
            .iter()
            .flat_map(|c| c.parts.iter())
            .filter_map(Part::as_segment)
    }
}

impl CollectionState {
    pub(crate) fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.parts.iter().filter_map(Part::as_run)
    }

    /// Adds a segment behind the segments that are there.
    pub(crate) fn add_segment(&mut self, segment: Arc<Segment>, deleted: Deleted) {
        self.rows += u64::from(segment.rows()) - deleted::count(&deleted);
        self.largest_id = self.largest_id.max(Some(*segment.id_range().end()));
        self.put_segment(segment, deleted);
    }

    fn put_segment(&mut self, segment: Arc<Segment>, deleted: Deleted) {
        let at = self
            .parts
            .iter()
            .take_while(|part| !part.is_memory())
            .count();
        self.parts.insert(at, Part::segment(segment, deleted));
    }

    /// Adds the rows of a commit, and merges the last runs where [`FAN`] are of like size, or where
    /// smaller ones stand before a larger. Runs up to the generation `frozen` stay as they are.
    pub(crate) fn add_run(&mut self, run: Run, frozen: u64) {
        self.rows += run.len() as u64;
        self.largest_id = self.largest_id.max(run.ids.last().copied());
        let mut tier = run.tier();
        self.parts.push(Part::memory(Arc::new(run)));
        loop {
            let is_like = |part: &&Part| {
                let run = part.as_run();
                run.is_some_and(|run| run.generation > frozen && run.tier() <= tier)
            };
            let like = self.parts.iter().rev().take_while(is_like);
            let (mut count, mut rows, mut smaller) = (0, 0, false);
            for part in like {
                count += 1;
                rows += part.len();
                smaller |= part.as_run().is_some_and(|run| run.tier() < tier);
            }
            if count < 2 || (count < FAN && !smaller) || rows > u32::MAX as usize {
                return;
            }
            let last = self.parts.split_off(self.parts.len() - count);
            let inputs: Vec<_> = last
                .iter()
                .filter_map(|part| Some((&**part.as_run()?, &part.deleted)))
                .collect();
            let merged = Run::merge(&inputs);
            if merged.ids.is_empty() {
                return;
            }
            tier = merged.tier();
            self.parts.push(Part::memory(Arc::new(merged)));
        }
    }

    /// Deletes rows: for each part, by its index, the rows of it, ascending. None of them may be
    /// deleted already.
    pub(crate) fn delete(&mut self, rows: &[(usize, Vec<u32>)]) {
        for (index, rows) in rows {
            if let Some(part) = self.parts.get_mut(*index) {
                self.rows -= rows.len() as u64;
                deleted::add(&mut part.deleted, rows);
            }
        }
    }

    /// Looks for the rows of these ascending ids.
    pub(crate) fn locate(&self, ids: &[u64]) -> Result<Located, Error> {
        let mut located = Located::default();
        for (part, index) in self.parts.iter().zip(0..) {
            let mut rows = Vec::new();
            part.locate(ids, |id, row| {
                located.ids.push(id);
                rows.push(row);
            })?;
            if !rows.is_empty() {
                located.rows.push((index, rows));
            }
        }
        Ok(located)
    }

    /// Puts `segment`, which has the rows of `inputs` that were not deleted in them, in the place of
    /// those parts; `None` where no row was left. Rows that were deleted since are deleted in the
    /// segment.
    pub(crate) fn replace_parts(
        &mut self,
        inputs: &[Part],
        segment: Option<Arc<Segment>>,
    ) -> Result<(), Error> {
        let input_of = |part: &Part| inputs.iter().find(|input| input.same_rows(part));
        let replaced = self
            .parts
            .iter()
            .filter_map(|part| Some((input_of(part)?, part)));
        let deletes = replaced.map(|(input, part)| (input, &part.deleted));
        let deleted = carry_over(deletes, segment.as_ref())?;
        self.parts.retain(|part| input_of(part).is_none());
        if let Some(segment) = segment {
            self.put_segment(segment, deleted);
        }
        Ok(())
    }
}

/// The rows of `segment`, which was written of parts, that were deleted in these since: for each part
/// as it was then, what is deleted of it now.
pub(crate) fn carry_over<'a>(
    inputs: impl Iterator<Item = (&'a Part, &'a Deleted)>,
    segment: Option<&Arc<Segment>>,
) -> Result<Deleted, Error> {
    let mut ids: Vec<u64> = Vec::new();
    for (input, now) in inputs {
        for row in deleted::since(now, &input.deleted) {
            ids.extend(input.id(row)?);
        }
    }
    ids.sort_unstable();
    let mut rows = Vec::with_capacity(ids.len());
    if let Some(segment) = segment {
        Part::segment(Arc::clone(segment), None).locate(&ids, |_, row| rows.push(row))?;
    }
    let mut deleted = None;
    deleted::add(&mut deleted, &rows);
    Ok(deleted)
}
