//! One moment of a collection.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;

use bitkin_storage::{CollectionView, Part};
use roaring::RoaringBitmap;

use crate::activity::{Activity, stopped};
use crate::collection::CollectionFacts;
use crate::error::Error;
use crate::filter::index::ReadError;
use crate::filter::{self, Filter, Source};
use crate::kernels::Kernels;
use crate::kernels::probe::ProbeError;
use crate::search::{BatchSearch, PairSearch, Search};

/// A row of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The row's key.
    pub id: u64,
    /// `ceil(bits / 8)` bytes; bit i is bit `i % 8` of byte `i / 8`.
    pub code: Vec<u8>,
    /// JSON, if the row has a payload.
    pub payload: Option<String>,
}

/// The rows of a collection at one moment. Later writes do not show, and holding it blocks
/// nobody; it outlives the database handle.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) view: CollectionView,
    pub(crate) facts: Arc<CollectionFacts>,
    pub(crate) kernels: &'static Kernels,
    /// What ends long reads of it.
    pub(crate) stop: Option<Activity>,
}

/// A part whose payloads cannot be read any more once the user has stopped that.
struct Stoppable<'a> {
    part: &'a Part,
    stop: &'a Activity,
}

impl Source for Stoppable<'_> {
    type Index<'a>
        = <Part as Source>::Index<'a>
    where
        Self: 'a;

    fn rows(&self) -> u32 {
        Source::rows(self.part)
    }

    fn deleted(&self) -> Option<&RoaringBitmap> {
        self.part.deleted()
    }

    fn payload(&self, row: u32) -> Result<Option<&[u8]>, bitkin_storage::Error> {
        match self.stop.is_stopped() {
            false => self.part.payload(row),
            true => Err(bitkin_storage::Error::Io {
                operation: "read",
                file: "payloads".to_owned(),
                source: stopped(),
            }),
        }
    }

    fn index(&self) -> Option<Self::Index<'_>> {
        Source::index(self.part)
    }
}

impl Snapshot {
    /// Number of rows, without looking at them.
    pub fn len(&self) -> u64 {
        self.view.parts().iter().map(Part::live).sum()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Code width in bits.
    pub fn bits(&self) -> u32 {
        self.facts.bits
    }

    /// Bytes of one code.
    pub(crate) fn stride(&self) -> usize {
        self.facts.stride()
    }

    /// The row of `id`, if there is one.
    ///
    /// # Errors
    /// What storage reports of damaged files.
    pub fn get(&self, id: u64) -> Result<Option<Row>, Error> {
        match self.view.find(id)? {
            Some((part, row)) => self.row(part, row, id).map(Some),
            None => Ok(None),
        }
    }

    /// All rows, by ascending id. Memory does not grow with their number.
    ///
    /// An error ends the iteration.
    pub fn rows(&self) -> Rows {
        self.rows_of(None)
    }

    /// The rows that pass `filter`, by ascending id. Which they are is found out at once, their
    /// codes and payloads are read one by one.
    ///
    /// # Errors
    /// [`Error::Damaged`], and what storage reports of damaged files.
    pub fn rows_where(&self, filter: &Filter) -> Result<Rows, Error> {
        let parts = self.view.parts().iter();
        let passing = parts.map(|part| self.passing(filter, part));
        Ok(self.rows_of(Some(passing.collect::<Result<_, Error>>()?)))
    }

    /// Number of rows that pass `filter`.
    ///
    /// # Errors
    /// As [`Snapshot::rows_where`].
    pub fn count(&self, filter: &Filter) -> Result<u64, Error> {
        let parts = self.view.parts().iter();
        let passing = parts.map(|part| Ok(self.passing(filter, part)?.len()));
        passing.sum()
    }

    /// The ids of the rows that pass `filter`, by part.
    pub(crate) fn ids_where(&self, filter: &Filter) -> Result<Vec<u64>, Error> {
        let mut ids = Vec::new();
        for part in self.view.parts() {
            for row in self.passing(filter, part)? {
                ids.extend(part.id(row)?);
            }
        }
        Ok(ids)
    }

    /// The rows of a part that pass, without deleted ones.
    pub(crate) fn passing(&self, filter: &Filter, part: &Part) -> Result<RoaringBitmap, Error> {
        let passing = match &self.stop {
            None => filter::passing(filter, part),
            Some(stop) => filter::passing(filter, &Stoppable { part, stop }),
        };
        self.check_stopped()?;
        passing.map_err(|error| match error {
            ReadError::Storage(error) => error.into(),
            malformed => self.damaged(malformed.to_string()),
        })
    }

    /// Refuses to go on once the user has stopped it.
    pub(crate) fn check_stopped(&self) -> Result<(), Error> {
        match self.is_stopped() {
            true => Err(Error::Stopped),
            false => Ok(()),
        }
    }

    /// Whether the user has stopped it.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(Activity::is_stopped)
    }

    fn rows_of(&self, passing: Option<Vec<RoaringBitmap>>) -> Rows {
        let mut rows = Rows {
            snapshot: self.clone(),
            passing,
            next: BinaryHeap::new(),
            error: None,
        };
        for part in 0..self.view.parts().len() {
            rows.queue(part, 0);
        }
        rows
    }

    /// Searches for the rows nearest to `code`.
    pub fn search<'a>(&self, code: &'a [u8]) -> Search<'a> {
        Search::new(Ok(self.clone()), Cow::Borrowed(code))
    }

    /// Searches for the rows nearest to each of `codes`, row-major.
    pub fn search_batch<'a>(&self, codes: &'a [u8]) -> BatchSearch<'a> {
        BatchSearch::new(Ok(self.clone()), codes)
    }

    /// Searches for all pairs of rows at a distance of at most `radius` of each other: 0 finds
    /// duplicates.
    pub fn pairs<'a>(&self, radius: u32) -> PairSearch<'a> {
        PairSearch::new(Ok(self.clone()), radius)
    }

    /// Refuses bytes that are not `rows` codes (or any number, for `None`) of the collection.
    pub(crate) fn check_codes(&self, codes: &[u8], rows: Option<usize>) -> Result<(), Error> {
        let (facts, stride) = (&self.facts, self.stride());
        let whole = match rows {
            Some(rows) => Some(codes.len()) == rows.checked_mul(stride),
            None => codes.len().is_multiple_of(stride),
        };
        if !whole {
            return Err(Error::WrongWidth {
                collection: facts.name.clone(),
                bits: facts.bits,
                expected: stride,
                found: codes.len(),
                rows,
            });
        }
        let padding = match facts.bits % 8 {
            0 => 0,
            used => 0xffu8 << used,
        };
        let spoilt = |code: &[u8]| code.last().is_some_and(|last| last & padding != 0);
        match codes.chunks_exact(stride).position(spoilt) {
            None => Ok(()),
            Some(row) => {
                let (collection, bits) = (facts.name.clone(), facts.bits);
                Err(Error::PaddingBits {
                    collection,
                    bits,
                    row,
                })
            }
        }
    }

    pub(crate) fn damaged(&self, reason: String) -> Error {
        Error::Damaged {
            collection: self.facts.name.clone(),
            reason,
        }
    }

    /// The error of tables that could not be looked up.
    pub(crate) fn probe_failed(&self, error: impl Into<ProbeError>) -> Error {
        match error.into() {
            ProbeError::Storage(error) => error.into(),
            ProbeError::Malformed(malformed) => self.damaged(malformed.to_string()),
        }
    }

    fn row(&self, part: usize, row: u32, id: u64) -> Result<Row, Error> {
        let part = &self.view.parts()[part];
        let code = part
            .code(row)?
            .ok_or_else(|| self.damaged(format!("id {id} has no code")))?;
        let payload = part
            .payload(row)?
            .map(|bytes| String::from_utf8(bytes.to_vec()));
        let payload = payload
            .transpose()
            .map_err(|_| self.damaged(format!("the payload of id {id} is not UTF-8")))?;
        Ok(Row {
            id,
            code: code.to_vec(),
            payload,
        })
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, rows) = (&self.facts.name, self.len());
        f.debug_struct("Snapshot")
            .field("collection", name)
            .field("rows", &rows)
            .finish()
    }
}

/// The rows of a snapshot by ascending id: the parts merged.
#[derive(Debug)]
pub struct Rows {
    snapshot: Snapshot,
    /// The rows of each part that are wanted; all that are not deleted, if it is not said.
    passing: Option<Vec<RoaringBitmap>>,
    /// The next (id, part, row) of each part that has one.
    next: BinaryHeap<Reverse<(u64, usize, u32)>>,
    /// Met while looking ahead; reported after the rows before it.
    error: Option<Error>,
}

impl Rows {
    /// Queues the first wanted row of a part from `row` on.
    fn queue(&mut self, part: usize, mut row: u32) {
        let number = part;
        let part = &self.snapshot.view.parts()[number];
        match self.passing.as_ref().map(|passing| &passing[number]) {
            Some(passing) => match passing.range(row..).next() {
                Some(passes) => row = passes,
                None => return,
            },
            None => {
                while part.deleted().is_some_and(|deleted| deleted.contains(row)) {
                    match row.checked_add(1) {
                        Some(following) => row = following,
                        None => return,
                    }
                }
            }
        }
        let (part, found) = (number, part.id(row));
        match found {
            Ok(Some(id)) => self.next.push(Reverse((id, part, row))),
            Ok(None) => {}
            Err(error) => self.error = Some(error.into()),
        }
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            self.next.clear();
            return Some(Err(error));
        }
        if self.snapshot.is_stopped() && !self.next.is_empty() {
            self.next.clear();
            return Some(Err(Error::Stopped));
        }
        let Reverse((id, part, row)) = self.next.pop()?;
        if let Some(following) = row.checked_add(1) {
            self.queue(part, following);
        }
        let found = self.snapshot.row(part, row, id);
        if found.is_err() {
            self.next.clear();
            self.error = None;
        }
        Some(found)
    }
}
