//! Sizes of a database and of its collections.

use crate::batch::CollectionId;
use crate::state::{CollectionState, State};
use crate::writer::FileSizes;

/// Sizes of a database at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Number of the last visible commit.
    pub sequence: u64,
    /// Rows of all collections.
    pub rows: u64,
    /// Bytes of rows held in memory and not yet in a segment.
    pub memory_bytes: u64,
    /// Bytes that were cut off the end of the log when this handle opened the database to write: a
    /// write that was interrupted. If there were whole batches among them, which happens where the disk
    /// kept a later part of that write and not an earlier, and where a byte of the last write was
    /// damaged since, they are kept in `log/<number>.cut`, which nothing reads.
    pub cut_bytes: u64,
    /// Number of log files.
    pub logs: u64,
    /// Bytes of the log files that hold records; the last file may have zeros behind them.
    pub log_bytes: u64,
    /// Bytes of the manifest.
    pub manifest_bytes: u64,
    /// Bytes of all segments.
    pub segment_bytes: u64,
    /// What the last flush, or the last merge in the background, could not do, in words. It is tried
    /// again; as long as that does not help, commits fail when the memory is full.
    pub background_error: Option<String>,
    /// The collections, in the order of their creation.
    pub collections: Vec<CollectionStats>,
}

/// Sizes of one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectionStats {
    /// The collection.
    pub id: CollectionId,
    /// Its name.
    pub name: String,
    /// Code width in bits.
    pub bits: u32,
    /// All rows that are not deleted.
    pub rows: u64,
    /// Deleted rows that are still in segments, until a merge leaves them out.
    pub deleted_rows: u64,
    /// The rows of them that are in memory and not yet in a segment.
    pub memory_rows: u64,
    /// Number of segments.
    pub segments: u64,
    /// What its segments take on disk.
    pub bytes: SegmentBytes,
}

/// Bytes on disk, by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentBytes {
    /// Ids.
    pub ids: u64,
    /// Codes.
    pub codes: u64,
    /// Payloads, with their offsets.
    pub payloads: u64,
    /// All other sections: index tables, filters.
    pub indexes: u64,
    /// Headers, tables of contents, checksums and the gaps that align the sections.
    pub overhead: u64,
}

impl SegmentBytes {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.ids + self.codes + self.payloads + self.indexes + self.overhead
    }
}

impl Stats {
    pub(crate) fn new(
        state: &State,
        sizes: FileSizes,
        background_error: Option<String>,
        cut_bytes: u64,
    ) -> Stats {
        Stats {
            sequence: state.sequence,
            rows: state.collections.iter().map(|c| c.rows).sum(),
            memory_bytes: state.memory_bytes() as u64,
            logs: sizes.logs,
            log_bytes: sizes.log_bytes,
            manifest_bytes: sizes.manifest_bytes,
            background_error,
            cut_bytes,
            segment_bytes: state.segments().map(|s| s.file_bytes()).sum(),
            collections: state
                .collections
                .iter()
                .map(|c| CollectionStats::new(c))
                .collect(),
        }
    }
}

impl CollectionStats {
    fn new(collection: &CollectionState) -> CollectionStats {
        let mut stats = CollectionStats {
            id: collection.info.id,
            name: collection.info.name.clone(),
            bits: collection.info.bits,
            rows: collection.rows,
            deleted_rows: 0,
            memory_rows: 0,
            segments: 0,
            bytes: SegmentBytes::default(),
        };
        for part in &collection.parts {
            let Some(segment) = part.as_segment() else {
                stats.memory_rows += part.live();
                continue;
            };
            stats.deleted_rows += part.len() as u64 - part.live();
            let bytes = segment.bytes();
            stats.segments += 1;
            stats.bytes.ids += bytes.ids;
            stats.bytes.codes += bytes.codes;
            stats.bytes.payloads += bytes.payloads;
            stats.bytes.indexes += bytes.indexes;
            stats.bytes.overhead += bytes.overhead;
        }
        stats
    }
}
