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

/// Rows to be written at once: all of them, in all their collections, or none.
///
/// Nothing is checked here; [`commit`](crate::Storage::commit) checks everything before it writes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) inserts: Vec<Insert>,
}

/// One call of [`Batch::insert`].
#[derive(Clone, Debug)]
pub(crate) struct Insert {
    pub(crate) collection: CollectionId,
    pub(crate) ids: Option<Vec<u64>>,
    pub(crate) codes: Vec<u8>,
    pub(crate) payloads: Option<Vec<Option<Vec<u8>>>>,
}

impl Insert {
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

    /// Adds rows of `collection`.
    ///
    /// * `ids`: one a row, in any order; `None` lets the database assign the ids that follow the
    ///   largest one of the collection, this batch's earlier rows included.
    /// * `codes`: row-major, `ceil(bits / 8)` bytes a row, padding bits zero.
    /// * `payloads`: one a row where given; `None` is no payload, which differs from an empty one.
    pub fn insert(
        &mut self,
        collection: CollectionId,
        ids: Option<&[u64]>,
        codes: &[u8],
        payloads: Option<&[Option<&[u8]>]>,
    ) -> &mut Self {
        self.inserts.push(Insert {
            collection,
            ids: ids.map(<[u64]>::to_vec),
            codes: codes.to_vec(),
            payloads: payloads
                .map(|payloads| payloads.iter().map(|p| p.map(<[u8]>::to_vec)).collect()),
        });
        self
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Rows to be written, over all collections.
    pub fn rows(&self) -> usize {
        self.inserts.iter().map(Insert::rows).sum()
    }
}

/// The receipt of a batch that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Number of the commit: dense, from 1. A snapshot with this sequence or a later one shows it.
    pub sequence: u64,
    /// For each `insert` of the batch, in order: the ids that were assigned to its rows, or `None`
    /// where the caller named them.
    pub assigned: Vec<Option<Range<u64>>>,
}
