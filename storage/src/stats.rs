//! Sizes of a database and of its collections.

use crate::batch::CollectionId;
use crate::state::{CollectionState, State};
use crate::writer::FileSizes;

/// Sizes of a database at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Number of the last visible commit.
    pub sequence: u64,
    /// Rows of all collections.
    pub rows: u64,
    /// Bytes of rows held in memory and not yet in a segment.
    pub memory_bytes: u64,
    /// Number of log files.
    pub logs: u64,
    /// Bytes of the log files.
    pub log_bytes: u64,
    /// Bytes of the manifest.
    pub manifest_bytes: u64,
    /// Bytes of all segments.
    pub segment_bytes: u64,
    /// The collections, in the order of their creation.
    pub collections: Vec<CollectionStats>,
}

/// Sizes of one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionStats {
    /// The collection.
    pub id: CollectionId,
    /// Its name.
    pub name: String,
    /// Code width in bits.
    pub bits: u32,
    /// All rows.
    pub rows: u64,
    /// The rows of them that are in memory and not yet in a segment.
    pub memory_rows: u64,
    /// Number of segments.
    pub segments: u64,
    /// What its segments take on disk.
    pub bytes: SegmentBytes,
}

/// Bytes on disk, by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    pub(crate) fn new(state: &State, sizes: FileSizes) -> Stats {
        Stats {
            sequence: state.sequence,
            rows: state.collections.iter().map(|c| c.rows).sum(),
            memory_bytes: state.memory_bytes() as u64,
            logs: sizes.logs,
            log_bytes: sizes.log_bytes,
            manifest_bytes: sizes.manifest_bytes,
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
            memory_rows: collection.runs().map(|run| run.len() as u64).sum(),
            segments: 0,
            bytes: SegmentBytes::default(),
        };
        for segment in collection.parts.iter().filter_map(|part| part.as_segment()) {
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
