//! Which rows of a part pass: what the indexes know, then the payloads of the rest.
//!
//! Truth is ordered, false < unknown < true; `AND` is the minimum, `OR` the maximum, `NOT` turns
//! the order around. For every condition the indexes give each row bounds in that order, kept as
//! four sets; a condition without index has the widest. Bounds combine set by set, with no row
//! looked at. Where they leave open whether the whole filter is true, the payload decides, of
//! the whole filter at once: no payload is read twice, and none that an indexed condition rules
//! out.

use std::ops::{BitAndAssign, BitOrAssign};

use roaring::RoaringBitmap;

use super::Filter;
use super::ast::{FieldPath, Node};
use super::index::{self, Bytes, Index, ReadError};
use super::payload::FieldReader;
use super::value::Truth;

/// A part of a collection, as filters see it.
pub(crate) trait Source {
    /// The bytes of its index.
    type Index<'a>: Bytes
    where
        Self: 'a;

    /// Number of rows, deleted ones included.
    fn rows(&self) -> u32;

    /// Rows that are not there any more.
    fn deleted(&self) -> Option<&RoaringBitmap>;

    /// The payload of a row.
    fn payload(&self, row: u32) -> Result<Option<&[u8]>, bitkin_storage::Error>;

    /// Its index, if it has one that this build knows.
    fn index(&self) -> Option<Self::Index<'_>>;
}

impl Source for bitkin_storage::Part {
    type Index<'a> = bitkin_storage::Section<'a>;

    fn rows(&self) -> u32 {
        self.len() as u32
    }

    fn deleted(&self) -> Option<&RoaringBitmap> {
        self.deleted()
    }

    fn payload(&self, row: u32) -> Result<Option<&[u8]>, bitkin_storage::Error> {
        self.payload(row)
    }

    fn index(&self) -> Option<Self::Index<'_>> {
        // Another build's index is of no use, and of no harm: the payloads say the same.
        self.section(index::NAME)
            .filter(|section| section.version() == index::VERSION)
    }
}

/// Where the truth of a condition lies, row by row.
#[derive(Clone, Debug)]
struct Bounds {
    /// Rows for which it is true.
    is_true: RoaringBitmap,
    /// Rows for which it is true or unknown.
    not_false: RoaringBitmap,
    /// Rows for which it may be true; all of `is_true` among them.
    may_be_true: RoaringBitmap,
    /// Rows for which it may be true or unknown; all of `not_false` and `may_be_true` among them.
    may_not_be_false: RoaringBitmap,
}

impl Bounds {
    /// The same for all rows of `live`.
    fn constant(truth: Truth, live: &RoaringBitmap) -> Bounds {
        let rows = |all: bool| {
            if all {
                live.clone()
            } else {
                RoaringBitmap::new()
            }
        };
        let (is_true, not_false) = (truth == Some(true), truth != Some(false));
        Bounds {
            is_true: rows(is_true),
            not_false: rows(not_false),
            may_be_true: rows(is_true),
            may_not_be_false: rows(not_false),
        }
    }

    /// Nothing is known.
    fn open(live: &RoaringBitmap) -> Bounds {
        Bounds {
            is_true: RoaringBitmap::new(),
            not_false: RoaringBitmap::new(),
            may_be_true: live.clone(),
            may_not_be_false: live.clone(),
        }
    }

    fn not(self, live: &RoaringBitmap) -> Bounds {
        Bounds {
            is_true: live - self.may_not_be_false,
            not_false: live - self.may_be_true,
            may_be_true: live - self.not_false,
            may_not_be_false: live - self.is_true,
        }
    }

    /// `IS TRUE`, `IS FALSE`, `IS UNKNOWN`: never unknown.
    fn is(self, truth: Truth, live: &RoaringBitmap) -> Bounds {
        let (sure, possible) = match truth {
            Some(true) => (self.is_true, self.may_be_true),
            Some(false) => (live - self.may_not_be_false, live - self.not_false),
            None => (
                self.not_false - self.may_be_true,
                self.may_not_be_false - self.is_true,
            ),
        };
        Bounds {
            is_true: sure.clone(),
            not_false: sure,
            may_be_true: possible.clone(),
            may_not_be_false: possible,
        }
    }

    fn and(&mut self, other: &Bounds) {
        self.is_true.bitand_assign(&other.is_true);
        self.not_false.bitand_assign(&other.not_false);
        self.may_be_true.bitand_assign(&other.may_be_true);
        self.may_not_be_false.bitand_assign(&other.may_not_be_false);
    }

    fn or(&mut self, other: &Bounds) {
        self.is_true.bitor_assign(&other.is_true);
        self.not_false.bitor_assign(&other.not_false);
        self.may_be_true.bitor_assign(&other.may_be_true);
        self.may_not_be_false.bitor_assign(&other.may_not_be_false);
    }
}

/// The rows of `source` for which `filter` is true. Deleted ones are neither looked at nor
/// among them.
///
/// # Errors
/// What storage reports, or [`ReadError::Malformed`] for an index that cannot be.
pub(crate) fn passing<S: Source>(filter: &Filter, source: &S) -> Result<RoaringBitmap, ReadError> {
    let mut live = RoaringBitmap::new();
    live.insert_range(0..source.rows());
    if let Some(deleted) = source.deleted() {
        live -= deleted;
    }
    let bounds = match source.index() {
        Some(bytes) => {
            let planner = Planner {
                index: Index::open(&bytes, source.rows())?,
                fields: &filter.0.fields,
                live: &live,
            };
            planner.bounds(&filter.0.root)?
        }
        None => Bounds::open(&live),
    };
    let mut passing = bounds.is_true;
    let mut reader = FieldReader::new(&filter.0.fields);
    for row in &(bounds.may_be_true - &passing) {
        let payload = source.payload(row)?;
        let truth = reader.read(payload, |values| filter.0.root.evaluate(values));
        if truth == Some(true) {
            passing.insert(row);
        }
    }
    Ok(passing)
}

struct Planner<'a, B> {
    index: Index<'a, B>,
    fields: &'a [FieldPath],
    live: &'a RoaringBitmap,
}

impl<B: Bytes> Planner<'_, B> {
    fn bounds(&self, node: &Node) -> Result<Bounds, ReadError> {
        Ok(match node {
            Node::Constant(truth) => Bounds::constant(*truth, self.live),
            Node::CompareFields(..) => Bounds::open(self.live),
            Node::Test(field, test) => {
                let Some(path) = self.fields.get(*field) else {
                    return Ok(Bounds::open(self.live));
                };
                let known = self.index.test(path, test)?;
                let is_true = known.is_true & self.live;
                let not_false = &is_true | (known.unknown & self.live);
                let open = known.open & self.live;
                Bounds {
                    may_be_true: &is_true | &open,
                    may_not_be_false: &not_false | &open,
                    is_true,
                    not_false,
                }
            }
            Node::Is(inner, truth) => self.bounds(inner)?.is(*truth, self.live),
            Node::Not(inner) => self.bounds(inner)?.not(self.live),
            Node::And(nodes) => {
                let mut all = Bounds::constant(Some(true), self.live);
                for node in nodes {
                    all.and(&self.bounds(node)?);
                }
                all
            }
            Node::Or(nodes) => {
                let mut any = Bounds::constant(Some(false), self.live);
                for node in nodes {
                    any.or(&self.bounds(node)?);
                }
                any
            }
        })
    }
}
