//! What a caller hands to `commit`, and what comes back.

use std::fmt;
use std::ops::Range;

/// Names a collection of one database.
///
/// It carries the collection's code width, so that a batch can count its rows; an id taken from
/// another database is refused as unknown unless number and width happen to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionId {
    pub(crate) number: u32,
    pub(crate) bits: u32,
}

impl CollectionId {
    /// The number under which files and messages name the collection, from 1.
    pub fn number(self) -> u32 {
        self.number
    }

    /// Code width in bits.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// Bytes that one code takes: ceil(bits / 8).
    pub fn code_bytes(self) -> usize {
        self.bits.div_ceil(8) as usize
    }

    /// The first row of the whole `codes` that sets a bit beyond the width.
    pub(crate) fn first_padded(self, codes: &[u8]) -> Option<usize> {
        let used = self.bits % 8;
        if used == 0 {
            return None;
        }
        let (last, padding) = (self.code_bytes() - 1, 0xff_u8 << used);
        codes
            .chunks_exact(self.code_bytes())
            .position(|code| code[last] & padding != 0)
    }
}

impl fmt::Display for CollectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// What is known of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionInfo {
    /// Its id in this database.
    pub id: CollectionId,
    /// Its name, unique in the database.
    pub name: String,
    /// Code width in bits, 8 to 65,536.
    pub bits: u32,
    /// Bytes that the layer above stores with the collection; storage never looks inside.
    pub properties: Vec<u8>,
}

impl CollectionInfo {
    /// Bytes that one code takes: ceil(bits / 8).
    pub fn code_bytes(&self) -> usize {
        self.id.code_bytes()
    }
}

/// What is to be written at once: all of it, in all its collections, or nothing.
///
/// A batch names no id of a collection twice, whether to insert, replace or delete its row, so the
/// order of its calls does not matter, save for the ids that are assigned.
///
/// Nothing is checked here; [`commit`](crate::Storage::commit) checks everything before it writes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) writes: Vec<Write>,
    pub(crate) deletes: Vec<(CollectionId, Vec<u64>)>,
}

/// One call of [`Batch::insert`] or [`Batch::upsert`].
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) collection: CollectionId,
    pub(crate) ids: Option<Vec<u64>>,
    pub(crate) codes: Vec<u8>,
    pub(crate) payloads: Option<Vec<Option<Vec<u8>>>>,
    /// Whether rows that exist are replaced.
    pub(crate) replace: bool,
}

impl Write {
    fn rows(&self) -> usize {
        match &self.ids {
            Some(ids) => ids.len(),
            None => self.codes.len() / self.collection.code_bytes(),
        }
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds rows of `collection`, whose ids must be new to it.
    ///
    /// * `ids`: one a row, in any order; `None` lets the database assign the ids that follow the
    ///   largest one that the collection ever held, this batch's earlier rows included.
    /// * `codes`: row-major, `ceil(bits / 8)` bytes a row, padding bits zero.
    /// * `payloads`: one a row where given; `None` is no payload, which differs from an empty one.
    pub fn insert(
        &mut self,
        collection: CollectionId,
        ids: Option<&[u64]>,
        codes: &[u8],
        payloads: Option<&[Option<&[u8]>]>,
    ) -> &mut Self {
        self.write(collection, ids, codes, payloads, false)
    }

    /// Adds rows of `collection`; rows that have these ids are replaced, payload included.
    ///
    /// Arguments are as for [`insert`](Batch::insert).
    pub fn upsert(
        &mut self,
        collection: CollectionId,
        ids: &[u64],
        codes: &[u8],
        payloads: Option<&[Option<&[u8]>]>,
    ) -> &mut Self {
        self.write(collection, Some(ids), codes, payloads, true)
    }

    fn write(
        &mut self,
        collection: CollectionId,
        ids: Option<&[u64]>,
        codes: &[u8],
        payloads: Option<&[Option<&[u8]>]>,
        replace: bool,
    ) -> &mut Self {
        self.writes.push(Write {
            collection,
            ids: ids.map(<[u64]>::to_vec),
            codes: codes.to_vec(),
            payloads: payloads
                .map(|payloads| payloads.iter().map(|p| p.map(<[u8]>::to_vec)).collect()),
            replace,
        });
        self
    }

    /// Deletes the rows of these ids, in any order. Ids without a row are passed over.
    pub fn delete(&mut self, collection: CollectionId, ids: &[u64]) -> &mut Self {
        self.deletes.push((collection, ids.to_vec()));
        self
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0 && self.deletes.iter().all(|(_, ids)| ids.is_empty())
    }

    /// Rows to be written, over all collections.
    pub fn rows(&self) -> usize {
        self.writes.iter().map(Write::rows).sum()
    }
}

/// The receipt of a batch that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Number of the commit: dense, from 1. A snapshot with this sequence or a later one shows it.
    pub sequence: u64,
    /// For each `insert` and `upsert` of the batch, in order: the ids that were assigned to its rows,
    /// or `None` where the caller named them.
    pub assigned: Vec<Option<Range<u64>>>,
    /// Rows that existed and were deleted.
    pub deleted: u64,
    /// Rows that existed and were replaced.
    pub replaced: u64,
}
