//! Writes that go together.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::collection::{Collection, checked};
use crate::database::Shared;
use crate::error::Error;

/// Writes to one or several collections of a database that are committed together: all of them or none, and
/// no reader sees some without the others. Made by [`Database::batch`](crate::Database::batch).
///
/// A batch names no id of a collection twice, whether to insert, replace or delete its row, so the order of its
/// calls does not matter, save for ids that are assigned. Nothing is checked before [`Batch::commit`].
///
/// ```
/// # fn main() -> Result<(), bitkin::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let db = bitkin::Database::create(directory.path().join("codes.bitkin"))?;
/// # let config = || bitkin::CollectionConfig::bits(8);
/// # let inbox = db.create_collection("inbox", config())?;
/// # let done = db.create_collection("done", config())?;
/// inbox.insert(&[1, 2], &[0x0f, 0xf0])?;
///
/// // Row 1 moves: at no moment it is in both, or in neither.
/// let mut batch = db.batch();
/// batch.delete(&inbox, &[1]);
/// batch.insert(&done, &[1], &[0x0f]);
/// let committed = batch.commit()?;
/// assert_eq!(committed.deleted, 1);
/// # assert_eq!((inbox.len()?, done.len()?), (1, 1));
/// # Ok(())
/// # }
/// ```
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    shared: Arc<Shared>,
    writes: bitkin_storage::Batch,
    /// What was wrong with a call before, for [`Batch::commit`] to report.
    refused: Option<Error>,
}

/// The receipt of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// For each call that wrote rows, in order: the ids that were assigned to them, or `None` where they were
    /// given.
    pub assigned: Vec<Option<Range<u64>>>,
    /// Rows that were there and were deleted.
    pub deleted: u64,
    /// Rows that were there and were replaced.
    pub replaced: u64,
}

impl Batch {
    pub(crate) fn new(shared: Arc<Shared>) -> Batch {
        Batch {
            shared,
            writes: bitkin_storage::Batch::new(),
            refused: None,
        }
    }

    /// Adds rows under these ids, as [`Collection::insert`].
    pub fn insert(&mut self, collection: &Collection, ids: &[u64], codes: &[u8]) -> &mut Self {
        self.insert_with_payloads(collection, Some(ids), codes, &[])
    }

    /// Adds rows under ids that follow the largest one, as [`Collection::append`].
    pub fn append(&mut self, collection: &Collection, codes: &[u8]) -> &mut Self {
        self.insert_with_payloads(collection, None, codes, &[])
    }

    /// Adds rows with payloads, as [`Collection::insert_with_payloads`].
    pub fn insert_with_payloads(
        &mut self,
        collection: &Collection,
        ids: Option<&[u64]>,
        codes: &[u8],
        payloads: &[Option<&str>],
    ) -> &mut Self {
        self.check(collection);
        match checked(payloads) {
            Ok(payloads) => {
                self.writes
                    .insert(collection.facts.id, ids, codes, payloads.as_deref());
            }
            Err(error) => self.refuse(error),
        }
        self
    }

    /// Adds rows in place of those that have the same ids, as [`Collection::upsert`].
    pub fn upsert(&mut self, collection: &Collection, ids: &[u64], codes: &[u8]) -> &mut Self {
        self.upsert_with_payloads(collection, ids, codes, &[])
    }

    /// Adds rows with payloads in place of those that have the same ids, as
    /// [`Collection::upsert_with_payloads`].
    pub fn upsert_with_payloads(
        &mut self,
        collection: &Collection,
        ids: &[u64],
        codes: &[u8],
        payloads: &[Option<&str>],
    ) -> &mut Self {
        self.check(collection);
        match checked(payloads) {
            Ok(payloads) => {
                self.writes
                    .upsert(collection.facts.id, ids, codes, payloads.as_deref());
            }
            Err(error) => self.refuse(error),
        }
        self
    }

    /// Deletes the rows of these ids, as [`Collection::delete`].
    pub fn delete(&mut self, collection: &Collection, ids: &[u64]) -> &mut Self {
        self.check(collection);
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        self.writes.delete(collection.facts.id, &ids);
        self
    }

    /// Rows that are to be written, over all collections.
    pub fn rows(&self) -> usize {
        self.writes.rows()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Writes all of it, or nothing.
    ///
    /// # Errors
    /// Those of the methods of [`Collection`] that are named above, [`Error::UnknownCollection`] for a
    /// collection of another database, and what storage reports.
    pub fn commit(self) -> Result<Committed, Error> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let commit = self.shared.with(|storage| storage.commit(self.writes))?;
        Ok(Committed {
            assigned: commit.assigned,
            deleted: commit.deleted,
            replaced: commit.replaced,
        })
    }

    /// A collection of another database may have the number and the width of one of this.
    fn check(&mut self, collection: &Collection) {
        if Arc::ptr_eq(&self.shared, &collection.shared) {
            return;
        }
        let names = self.shared.with(|storage| {
            let collections = storage.collections().into_iter();
            Ok(collections.map(|collection| collection.name).collect())
        });
        self.refuse(match names {
            Ok(existing) => Error::UnknownCollection {
                name: format!(
                    "{} of {}",
                    collection.name(),
                    collection.shared.path.display()
                ),
                existing,
            },
            Err(closed) => closed,
        });
    }

    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}
