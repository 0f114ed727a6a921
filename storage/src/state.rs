//! The in-memory picture of a database at one moment.
//!
//! A `State` never changes once it is published: a commit makes the next one out of it, sharing
//! everything that stays. That is what makes a snapshot the clone of one `Arc`.

use std::sync::Arc;

use crate::batch::{CollectionId, CollectionInfo};
use crate::run::Run;
use crate::segment::Segment;
use crate::snapshot::Part;

/// All collections as of one commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Number of the last commit that is in here.
    pub(crate) sequence: u64,
    /// Ascending by number.
    pub(crate) collections: Vec<Arc<CollectionState>>,
}

/// One collection as of one commit.
#[derive(Clone, Debug)]
pub(crate) struct CollectionState {
    pub(crate) info: Arc<CollectionInfo>,
    /// Segments first, then runs, each oldest first.
    pub(crate) parts: Vec<Part>,
    pub(crate) rows: u64,
    pub(crate) largest_id: Option<u64>,
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
        self.collections.push(Arc::new(CollectionState {
            info: Arc::new(info),
            parts: Vec::new(),
            rows: 0,
            largest_id,
        }));
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
    pub(crate) fn add_segment(&mut self, segment: Arc<Segment>) {
        let at = self
            .parts
            .iter()
            .take_while(|part| !part.is_memory())
            .count();
        self.rows += u64::from(segment.rows());
        self.largest_id = self.largest_id.max(Some(*segment.id_range().end()));
        self.parts.insert(at, Part::segment(segment));
    }

    /// Adds the rows of a commit and merges runs as a binary counter carries: whenever the last two
    /// are of like size, they become one.
    pub(crate) fn add_run(&mut self, run: Run) {
        self.rows += run.len() as u64;
        self.largest_id = self.largest_id.max(run.ids.last().copied());
        let mut run = Arc::new(run);
        while let Some(before) = self.parts.last().and_then(Part::as_run) {
            let fits = before.len() + run.len() <= u32::MAX as usize;
            if before.generation != run.generation || before.len() / 2 >= run.len() || !fits {
                break;
            }
            run = Arc::new(Run::merge(before, &run));
            self.parts.pop();
        }
        self.parts.push(Part::memory(run));
    }

    /// Replaces the runs up to `generation` by the segments that were written from them.
    pub(crate) fn replace_runs(&mut self, generation: u64, segments: Vec<Arc<Segment>>) {
        let runs = std::mem::take(&mut self.parts);
        let (mut parts, newer): (Vec<Part>, Vec<Part>) = runs
            .into_iter()
            .filter(|part| part.as_run().is_none_or(|run| run.generation > generation))
            .partition(|part| !part.is_memory());
        parts.extend(segments.into_iter().map(Part::segment));
        parts.extend(newer);
        self.parts = parts;
    }
}
