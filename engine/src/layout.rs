//! How a collection lies in its segments.

use crate::filter::index;
use crate::planes;
use crate::snapshot::Snapshot;
use crate::tables::{self, Tables};

/// How one segment is laid out for searching.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentLayout {
    /// Rows in it, deleted ones included.
    pub rows: u64,
    /// Bits of the keys of each search table; none if it has no tables, and is scanned.
    pub tables: Vec<u32>,
    /// Bytes of the search tables.
    pub table_bytes: u64,
    /// Bytes of the bit planes; 0 if it has none.
    pub plane_bytes: u64,
    /// Bytes of the index of payload fields.
    pub filter_bytes: u64,
}

impl Snapshot {
    /// The segments; rows that are in memory have no layout.
    pub fn layout(&self) -> Vec<SegmentLayout> {
        let parts = self.view.parts().iter().filter(|part| !part.is_memory());
        let segments = parts.map(|part| {
            let bytes = |name: &str| part.section(name).map_or(0, |section| section.len());
            let keys = |(tables, _): (&Tables, _)| {
                (0..tables.count())
                    .map(|table| tables.key_bits(table))
                    .collect()
            };
            SegmentLayout {
                rows: part.len() as u64,
                tables: Tables::of(part, self.bits()).map_or(Vec::new(), keys),
                table_bytes: bytes(tables::NAME),
                plane_bytes: bytes(planes::NAME),
                filter_bytes: bytes(index::NAME),
            }
        });
        segments.collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{CollectionConfig, Database, FieldKind};

    #[test]
    fn segments_tell_their_tables() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::create(dir.path().join("db")).unwrap();
        let config = CollectionConfig::bits(64).index("year", FieldKind::Int);
        let codes = db.create_collection("c", config).unwrap();
        let bytes: Vec<u8> = (0..5000_u64)
            .flat_map(|id| id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .collect();
        let payloads = vec![Some("{\"year\": 7}"); 5000];
        codes.insert_with_payloads(None, &bytes, &payloads).unwrap();
        assert_eq!(codes.snapshot().unwrap().layout(), []);
        codes.compact().unwrap();
        let layout = codes.snapshot().unwrap().layout();
        assert_eq!(layout.len(), 1);
        let segment = &layout[0];
        assert_eq!((segment.rows, segment.tables.iter().sum()), (5000, 64));
        let bytes = codes.stats().unwrap().bytes;
        assert!(
            segment.table_bytes > 5000 && segment.filter_bytes > 0,
            "{segment:?}"
        );
        assert!(segment.table_bytes + segment.filter_bytes <= bytes.indexes);
    }
}
