//! What readers see: one moment of the database, made of parts that never change.

use std::any::Any;
use std::ops::RangeInclusive;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::batch::{CollectionId, CollectionInfo};
use crate::deleted::{self, Deleted};
use crate::error::Error;
use crate::order::{Column, locate};
use crate::run::Run;
use crate::segment::{LazyBytes, Section, Segment};
use crate::state::{CollectionState, State};

/// One moment of the database. Cloning it is cheap, and holding it blocks nobody; the files that it
/// reads stay until it is dropped.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) state: Arc<State>,
}

impl Snapshot {
    /// Number of the last commit that is visible; 0 in an empty database.
    pub fn sequence(&self) -> u64 {
        self.state.sequence
    }

    /// The collection as of this moment, or `None` if this database has no such collection (yet).
    pub fn collection(&self, id: CollectionId) -> Option<CollectionView> {
        self.state.collection(id).map(|state| CollectionView {
            state: Arc::clone(state),
        })
    }

    /// The collections as of this moment, in the order of their creation.
    pub fn collections(&self) -> Vec<CollectionInfo> {
        self.state
            .collections
            .iter()
            .map(|c| CollectionInfo::clone(&c.info))
            .collect()
    }
}

/// The rows of one collection at one moment.
#[derive(Clone, Debug)]
pub struct CollectionView {
    pub(crate) state: Arc<CollectionState>,
}

impl CollectionView {
    /// Name, width and properties.
    pub fn info(&self) -> &CollectionInfo {
        &self.state.info
    }

    /// Number of rows, without looking at them. Deleted ones do not count.
    pub fn len(&self) -> u64 {
        self.state.rows
    }

    /// Whether the collection has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The segments and runs that hold the rows. No id is in two of them, save in deleted rows.
    pub fn parts(&self) -> &[Part] {
        &self.state.parts
    }

    /// Where the row of `id` is: the index of its part in [`parts`](Self::parts), and its row there.
    /// `None` if there is no such row, or no more.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the ids that had to be read are damaged.
    pub fn find(&self, id: u64) -> Result<Option<(usize, u32)>, Error> {
        for (index, part) in self.parts().iter().enumerate() {
            if let Some(row) = part.find(id)? {
                return Ok(Some((index, row)));
            }
        }
        Ok(None)
    }

    /// The largest id that the collection has held; ids to be assigned follow it. `None` while
    /// nothing was ever inserted.
    pub fn largest_id(&self) -> Option<u64> {
        self.state.largest_id
    }
}

/// Some rows of a collection, sorted by id: a segment on disk or a run in memory, and which of its
/// rows are deleted.
///
/// Bytes of a segment are checked against their checksums when they are first touched, so reading
/// can fail; once a block has passed it is not read for checking again.
#[derive(Clone, Debug)]
pub struct Part {
    pub(crate) source: Source,
    /// Rows that must not be shown.
    pub(crate) deleted: Deleted,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Memory(Arc<Run>),
    Segment(Arc<Segment>),
}

impl Part {
    pub(crate) fn memory(run: Arc<Run>) -> Self {
        Part {
            source: Source::Memory(run),
            deleted: None,
        }
    }

    pub(crate) fn segment(segment: Arc<Segment>, deleted: Deleted) -> Self {
        Part {
            source: Source::Segment(segment),
            deleted,
        }
    }

    pub(crate) fn as_run(&self) -> Option<&Arc<Run>> {
        match &self.source {
            Source::Memory(run) => Some(run),
            Source::Segment(_) => None,
        }
    }

    pub(crate) fn as_segment(&self) -> Option<&Arc<Segment>> {
        match &self.source {
            Source::Memory(_) => None,
            Source::Segment(segment) => Some(segment),
        }
    }

    /// Whether both have the same rows, deleted or not.
    pub(crate) fn same_rows(&self, other: &Part) -> bool {
        match (&self.source, &other.source) {
            (Source::Memory(a), Source::Memory(b)) => Arc::ptr_eq(a, b),
            (Source::Segment(a), Source::Segment(b)) => a.number() == b.number(),
            _ => false,
        }
    }

    /// Whether a row may have a payload.
    pub(crate) fn has_payloads(&self) -> bool {
        match &self.source {
            Source::Memory(run) => !run.payloads.offsets.is_empty(),
            Source::Segment(segment) => segment.has_payloads(),
        }
    }

    /// Length of a row's payload in bytes, without reading it; `None` if it has none.
    pub(crate) fn payload_length(&self, row: u32) -> Result<Option<u64>, Error> {
        match &self.source {
            Source::Memory(run) => Ok(run.payloads.get(row as usize).map(|p| p.len() as u64)),
            Source::Segment(segment) => {
                let range = segment.payload_range(row)?;
                Ok(range.map(|range| range.len() as u64))
            }
        }
    }

    /// Its ids, with the rows that are left out.
    pub(crate) fn column(&self) -> Result<Column<'_>, Error> {
        Ok(Column {
            ids: self.ids()?,
            deleted: self.deleted.as_deref(),
        })
    }

    /// Calls `found` with the index of an id and its row, for each of the ascending `ids` that has a
    /// row here which is not deleted.
    pub(crate) fn locate(
        &self,
        ids: &[u64],
        mut found: impl FnMut(usize, u32),
    ) -> Result<(), Error> {
        let range = self.id_range();
        let start = ids.partition_point(|id| id < range.start());
        let end = ids.partition_point(|id| id <= range.end());
        let ids = ids.get(start..end).unwrap_or_default();
        if ids.is_empty() {
            return Ok(());
        }
        let mut live = |index: usize, row: u32| {
            if !self.deleted.as_ref().is_some_and(|rows| rows.contains(row)) {
                found(start + index, row);
            }
        };
        if let Source::Segment(segment) = &self.source
            && (segment.has_filter() || ids.len() < segment.rows() as usize / 2048)
        {
            // One by one, which touches only the blocks that could hold them, where these are fewer
            // than all.
            for (index, &id) in ids.iter().enumerate() {
                if let Some(row) = segment.find(id)? {
                    live(index, row);
                }
            }
            return Ok(());
        }
        locate(self.ids()?, ids, live);
        Ok(())
    }

    /// Rows that are deleted at this moment and must not be shown; `None` where there are none.
    /// [`len`](Self::len) counts them, and all that reads by row reads them too.
    pub fn deleted(&self) -> Option<&RoaringBitmap> {
        self.deleted.as_deref()
    }

    /// Number of rows that are not deleted.
    pub fn live(&self) -> u64 {
        self.len() as u64 - deleted::count(&self.deleted)
    }

    /// A section of the segment that a [`SectionBuilder`](crate::SectionBuilder) wrote; `None` if
    /// it has none of this name, as rows in memory have not.
    pub fn section(&self, name: &str) -> Option<Section<'_>> {
        self.as_segment()?.section(name)
    }

    /// What the layer above derives from the segment, made at the first call and dropped with it;
    /// `None` for rows in memory, and if what was derived first is of another type.
    pub fn derived<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.as_segment()?.derived(make)
    }

    /// The codes of all rows, as [`codes`](Self::codes), for whoever reads a few of them here and there.
    pub fn lazy_codes(&self) -> LazyBytes<'_> {
        match &self.source {
            Source::Memory(run) => LazyBytes::in_memory(&run.codes),
            Source::Segment(segment) => segment.lazy_codes(),
        }
    }

    /// Number of rows, deleted ones included, at most 2³²−1.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Memory(run) => run.len(),
            Source::Segment(segment) => segment.rows() as usize,
        }
    }

    /// Whether there are no rows. (No part of a collection is empty.)
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the rows are in memory and not yet in a segment.
    pub fn is_memory(&self) -> bool {
        matches!(self.source, Source::Memory(_))
    }

    /// The commits that wrote the rows: all of them lie in this range.
    pub fn sequences(&self) -> RangeInclusive<u64> {
        match &self.source {
            Source::Memory(run) => run.sequences.clone(),
            Source::Segment(segment) => segment.sequences(),
        }
    }

    /// The smallest and the largest id, of deleted rows too.
    pub fn id_range(&self) -> RangeInclusive<u64> {
        match &self.source {
            Source::Memory(run) => run.id_range(),
            Source::Segment(segment) => segment.id_range(),
        }
    }

    /// The ids of all rows, ascending.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a block of them is damaged.
    pub fn ids(&self) -> Result<&[u64], Error> {
        match &self.source {
            Source::Memory(run) => Ok(&run.ids),
            Source::Segment(segment) => segment.ids(),
        }
    }

    /// The codes of all rows: row-major, `ceil(bits / 8)` bytes a row, nothing between them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a block of them is damaged.
    pub fn codes(&self) -> Result<&[u8], Error> {
        match &self.source {
            Source::Memory(run) => Ok(&run.codes),
            Source::Segment(segment) => segment.codes(),
        }
    }

    /// The code of one row, `ceil(bits / 8)` bytes; `None` if there is no such row. Only the blocks
    /// that hold it are checked.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if they are damaged.
    pub fn code(&self, row: u32) -> Result<Option<&[u8]>, Error> {
        match &self.source {
            Source::Memory(run) => Ok(run.code(row as usize)),
            Source::Segment(segment) => segment.code(row),
        }
    }

    /// The id of one row; `None` if there is no such row. Only the block that holds it is checked.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is damaged.
    pub fn id(&self, row: u32) -> Result<Option<u64>, Error> {
        match &self.source {
            Source::Memory(run) => Ok(run.ids.get(row as usize).copied()),
            Source::Segment(segment) => segment.id(row),
        }
    }

    /// The payload of one row; `None` if it has none, or if there is no such row.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the blocks that hold it are damaged.
    pub fn payload(&self, row: u32) -> Result<Option<&[u8]>, Error> {
        match &self.source {
            Source::Memory(run) => Ok(run.payloads.get(row as usize)),
            Source::Segment(segment) => segment.payload(row),
        }
    }

    /// The row of `id` that is not deleted, by the bounds, the segment's filter of ids, and then by
    /// binary search.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a block of ids on the way is damaged.
    pub fn find(&self, id: u64) -> Result<Option<u32>, Error> {
        if !self.id_range().contains(&id) {
            return Ok(None);
        }
        let row = match &self.source {
            Source::Memory(run) => run.ids.binary_search(&id).ok().map(|row| row as u32),
            Source::Segment(segment) => segment.find(id)?,
        };
        let deleted = self.deleted.as_ref();
        Ok(row.filter(|&row| !deleted.is_some_and(|rows| rows.contains(row))))
    }
}
