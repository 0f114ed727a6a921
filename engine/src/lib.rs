//! Bitkin finds the kin of any image, or of any binary code, by its bits.
//!
//! An embedded database engine: a directory on disk and this library in the application's
//! process, no server. Rows are binary codes of a fixed width with an id and an optional JSON
//! payload; a search brings back those at the least Hamming distance, exactly.
//!
//! ```
//! use bitkin::{CollectionConfig, Database};
//!
//! # fn main() -> Result<(), bitkin::Error> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("codes.bitkin");
//! let db = Database::create(path)?;
//! let codes = db.create_collection("codes", CollectionConfig::bits(16))?;
//! codes.insert(&[1, 2, 3], &[0x00, 0x00, 0xff, 0x00, 0xff, 0xff])?; // three rows, 2 bytes each
//!
//! let answer = codes.search(&[0x7f, 0x00]).k(2).run()?;
//! assert_eq!((answer.hits[0].id, answer.hits[0].distance), (2, 1));
//! assert_eq!((answer.hits[1].id, answer.hits[1].distance), (1, 7));
//! db.close()
//! # }
//! ```
//!
//! With a [model](CollectionConfig::model), or with the perceptual hash [`pdq`], a collection takes
//! pictures: they are decoded ([`image`]), encoded by an [`encoder::Encoder`] and inserted ([`ingest`]).
//! The encoder of models lives in a crate of its own; this one links no network runtime. An application
//! that stores only codes turns the feature `images` off and compiles no picture decoder.
//!
//! Searches, deletes and counts may be confined to rows whose payloads fulfil a condition: see
//! [`Filter`].
//!
//! # Codes
//! A code of b bits, 8 to 65,536, is `ceil(b / 8)` bytes; bit i is bit `i % 8` of byte `i / 8`
//! (numpy's `packbits(..., bitorder="little")`). Padding bits must be zero. Many codes are one
//! slice, row by row.

#![warn(missing_debug_implementations)]

mod activity;
mod batch;
mod bytes;
mod collection;
mod database;
pub mod encoder;
mod error;
mod filter;
pub mod image;
#[cfg(feature = "images")]
pub mod ingest;
pub mod jsonl;
// Distances between codes that are in no database: for measurements of this workspace. What it has, and how it
// is called, may change with any version.
#[doc(hidden)]
pub mod kernels;
mod layout;
mod likeness;
pub mod metrics;
pub mod model;
pub mod npy;
pub mod pdq;
mod planes;
mod search;
pub mod selection;
mod snapshot;
mod tables;
mod upkeep;

pub use bitkin_storage::{
    BackupReport, CollectionId, CollectionStats, Durability, Error as StorageError, Problem,
    RepairReport, SegmentBytes, Stats, VerifyReport,
};

pub use self::activity::Activity;
pub use self::batch::{Batch, Committed};
pub use self::collection::{Collection, CollectionConfig, FieldKind, IndexField, check_payloads};
pub use self::database::{Database, DatabaseOptions};
pub use self::error::{Error, ErrorKind};
pub use self::filter::{Filter, FilterError, FilterPlace};
pub use self::kernels::KernelError;
pub use self::layout::SegmentLayout;
pub use self::search::{
    Answer, BatchSearch, Budget, Explanation, Group, Hit, Pair, PairOutcome, PairSearch,
    PartExplanation, Search, SearchOptions, Streamed, Way,
};
pub use self::snapshot::{Row, Rows, Snapshot};
pub use self::upkeep::{backup, backup_with, repair, repair_with, verify, verify_with};

/// Ways in for the targets of `fuzz/`.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::filter::fuzzing::payload_filter;
    pub use crate::planes::fuzzing::planes;
    pub use crate::tables::fuzzing::tables;
}

/// The id that no row can have, 2^64 - 1: interfaces that need a value for "no row" use it.
pub const RESERVED_ID: u64 = u64::MAX;

/// The widths of codes that a collection may have, in bits.
pub(crate) fn valid_bits(bits: u32) -> bool {
    (8..=65_536).contains(&bits)
}

/// The README's example, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
