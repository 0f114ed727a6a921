//! Sections of the layer above: how they are built, and how they are read.

use std::fmt::Debug;
use std::ops::Range;

use super::layout::BLOCK;
use super::reader::Segment;
use super::writer::SegmentWriter;
use crate::batch::CollectionInfo;
use crate::error::Error;
use crate::run::NO_PAYLOAD;

/// Bytes of a segment that are under one checksum, and are checked together.
pub const CHECKED_BLOCK: u64 = BLOCK as u64;

/// What every section starts at a multiple of.
const LEAST_ALIGNMENT: u64 = 64;

/// Builds sections of a segment for the layer above: index tables, filters of payloads.
///
/// It is asked for every segment that is written, by a flush or a merge, so what it builds is always
/// there for segments that were written with it; a reader must do without in others.
pub trait SectionBuilder: Send + Sync + Debug {
    /// Writes sections for a segment of `collection` with these rows.
    ///
    /// # Errors
    /// Those of `rows` and `sections`; any error ends the flush or merge, which leaves everything
    /// as it was.
    fn build(
        &self,
        collection: &CollectionInfo,
        rows: &SegmentRows<'_>,
        sections: &mut SectionSink<'_>,
    ) -> Result<(), Error>;
}

/// The rows of a segment that is being written, in the order of their ids.
#[derive(Clone, Copy, Debug)]
pub struct SegmentRows<'a> {
    pub(super) ids: &'a [u64],
    pub(super) codes: &'a [u8],
    /// As in the file; both are empty where no row has a payload.
    pub(super) payload_offsets: &'a [u64],
    pub(super) payload_bytes: &'a [u8],
}

impl<'a> SegmentRows<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none, which is never so.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Their ids, ascending.
    pub fn ids(&self) -> &'a [u64] {
        self.ids
    }

    /// Their codes, row-major, `ceil(bits / 8)` bytes a row.
    pub fn codes(&self) -> &'a [u8] {
        self.codes
    }

    /// The payload of one row; `None` if it has none, or if there is no such row.
    pub fn payload(&self, row: u32) -> Option<&'a [u8]> {
        let row = row as usize;
        let start = *self.payload_offsets.get(row)?;
        let end = *self.payload_offsets.get(row + 1)? & !NO_PAYLOAD;
        if start & NO_PAYLOAD != 0 {
            return None;
        }
        self.payload_bytes.get(start as usize..end as usize)
    }
}

/// Where a [`SectionBuilder`] writes.
pub struct SectionSink<'a> {
    pub(super) writer: &'a mut SegmentWriter,
    /// Asked again and again; an error ends the writing.
    pub(super) may_go_on: &'a dyn Fn() -> Result<(), Error>,
}

impl Debug for SectionSink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SectionSink").finish_non_exhaustive()
    }
}

impl SectionSink<'_> {
    /// Starts a section, which takes what is written from here on. It starts at a multiple of 64 in
    /// the file. `name` is 1 to 31 bytes, none of them zero, and no other section's; `version` is
    /// for the reader of the section.
    ///
    /// # Errors
    /// [`Error::BadSection`], [`Error::Io`], and those of [`may_go_on`](Self::may_go_on).
    pub fn begin(&mut self, name: &str, version: u32) -> Result<(), Error> {
        self.may_go_on()?;
        self.writer.begin_foreign(name, version, LEAST_ALIGNMENT)
    }

    /// As [`begin`](Self::begin), at a multiple of [`CHECKED_BLOCK`]: then whoever reads whole blocks of the
    /// section has no other bytes checked.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn begin_at_block(&mut self, name: &str, version: u32) -> Result<(), Error> {
        self.may_go_on()?;
        self.writer.begin_foreign(name, version, CHECKED_BLOCK)
    }

    /// Adds bytes to the section that was started last.
    ///
    /// # Errors
    /// [`Error::BadSection`] if none was, [`Error::Io`], and those of [`may_go_on`](Self::may_go_on).
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.may_go_on()?;
        self.writer.write_foreign(bytes)
    }

    /// To be asked now and then by a builder that works long before it writes.
    ///
    /// # Errors
    /// [`Error::Closing`], which the builder must return, when the work is not wanted any more.
    pub fn may_go_on(&self) -> Result<(), Error> {
        (self.may_go_on)()
    }
}

/// A section that a [`SectionBuilder`] wrote.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    pub(super) segment: &'a Segment,
    pub(super) version: u32,
    pub(super) range: Range<usize>,
}

impl<'a> Section<'a> {
    /// The version that its builder gave it.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.range.len() as u64
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Some of its bytes, straight from the file; byte 0 of the section lies at a multiple of 64 in
    /// memory. Only the blocks that hold them are checked.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a block is damaged, or if the section has no such bytes.
    pub fn bytes(&self, range: Range<u64>) -> Result<&'a [u8], Error> {
        self.segment.section_bytes(&self.range, range)
    }

    /// All of its bytes, for whoever reads a few of them here and there.
    pub fn lazy(&self) -> LazyBytes<'a> {
        self.segment.lazy(&self.range)
    }
}

/// Bytes of which only what is read is checked: whoever reads some asks for the check first.
#[derive(Clone, Copy, Debug)]
pub struct LazyBytes<'a> {
    /// `None`: they are in memory, and there is nothing to check.
    pub(super) segment: Option<&'a Segment>,
    /// Where they start in the segment.
    pub(super) start: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> LazyBytes<'a> {
    /// Bytes in memory, which need no check.
    pub fn in_memory(bytes: &'a [u8]) -> Self {
        LazyBytes {
            segment: None,
            start: 0,
            bytes,
        }
    }

    /// The bytes, checked or not; the first lies at a multiple of 64 in memory if they are a section.
    /// What was not [checked](Self::check) may be anything.
    pub fn unchecked(&self) -> &'a [u8] {
        self.bytes
    }

    /// Checks the blocks that hold these bytes, unless that was done before: then it takes about a
    /// nanosecond. Bytes beyond the end are no error.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a block is damaged.
    #[inline]
    pub fn check(&self, range: Range<usize>) -> Result<(), Error> {
        match self.segment {
            Some(segment) => {
                let end = self.start + range.end.min(self.bytes.len());
                segment.check(&(self.start + range.start..end))
            }
            None => Ok(()),
        }
    }

    /// The share of its blocks that was checked before: 1 means that no check is called for.
    pub fn share_checked(&self) -> f64 {
        match self.segment {
            Some(segment) if !self.bytes.is_empty() => {
                segment.share_checked(&(self.start..self.start + self.bytes.len()))
            }
            _ => 1.0,
        }
    }
}
