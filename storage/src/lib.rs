//! Files of a Bitkin database: log, segments, manifest, recovery, snapshots, checksums.
//!
//! A [`Storage`] keeps collections of rows in a directory. A row is an id (u64, unique in its
//! collection), a code of a fixed number of bits, and optional payload bytes. This crate knows
//! nothing of search, images or models; to it codes, payloads and properties are bytes.
//!
//! ```
//! use bitkin_storage::{Batch, Options, Storage};
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("db");
//! let storage = Storage::create(&path, Options::default())?;
//! let photos = storage.create_collection("photos", 16, b"")?;
//!
//! let mut batch = Batch::new();
//! batch.insert(photos, Some(&[7, 3]), &[0xff, 0x00, 0x0f, 0xf0], None);
//! storage.commit(batch)?; // On disk, whatever happens from here on.
//!
//! let view = storage.snapshot().collection(photos).unwrap();
//! let (part, row) = view.find(3)?.unwrap();
//! assert_eq!(view.parts()[part].code(row)?, Some(&[0x0f, 0xf0][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//! A [`Batch`] becomes one record of the **log**, which is synced as [`Durability`] asks, and sorted
//! *runs* in memory, which are searchable at once. When memory is over its limit, runs are **flushed**
//! into *segments*: immutable, memory-mapped files with the rows in the order of their ids. Deleted
//! rows are bitmaps beside runs and segments. **Merges** make one segment of several of like size, and
//! leave the deleted rows out. The **manifest** names the files that make up the database, and is
//! replaced in one step. A [`Snapshot`] is one moment of all that; it holds no lock.
//! `docs/format.md` describes every byte.
//!
//! Flushes and merges are done by threads of the database's own, or, with [`Options::background`] off,
//! by the commits that find them due. While a flush is under way commits go on, until as much again is
//! in memory; then they wait.
//!
//! # What holds
//! * A commit that was acknowledged at [`Durability::Sync`] survives any crash.
//! * A batch is there as a whole or not at all, on disk and in every snapshot.
//! * No snapshot of the handle that writes shows a batch that is not yet as durable as was asked. (A
//!   read-only handle reads the log as it is, and may see a batch a moment before it is synced.)
//! * One handle writes; any number read, in any process, and never block it.
//! * A damaged byte is never served: it gives [`Error::Corrupt`], which names the file and place.
//! * After a failed write or sync of the log nothing more is written ([`Error::Poisoned`]); a flush or
//!   merge that fails (a full disk) leaves everything as it was, and is tried again.
//! * After [`compact`](Storage::compact), what was deleted before it is in no file any more.
//!
//! [`verify`] checks all files; [`backup`] copies a database while it is written; [`repair`] saves what
//! is whole of a damaged one into a new one.
//!
//! # What the memory map asks of others
//! Segments are mapped, and their bytes are lent out as slices. No other program may write to the
//! files in `segments/` or cut them short while they are open: a changed byte is noticed only if its
//! block was not checked before, and reading behind the end of a file that was cut ends the process
//! (`SIGBUS`). Removing or renaming files is safe where the operating system lets mapped files be
//! removed. [`Options::memory_map`] turns the maps off: then damage of this kind, and a device that fails
//! to read, give errors where with maps they end the process. [`repair`] never maps.

#[cfg(target_endian = "big")]
compile_error!("ids are used straight from little-endian files; this machine is big-endian");

mod backup;
mod batch;
mod bytes;
mod deleted;
mod disk;
mod error;
mod files;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod manifest;
mod options;
mod order;
mod recover;
mod repair;
mod run;
mod segment;
mod snapshot;
mod stage;
mod state;
mod stats;
mod storage;
mod sync;
mod verify;
mod writer;

pub use backup::{BackupReport, backup, backup_on};
pub use batch::{Batch, CollectionId, CollectionInfo, Commit};
#[cfg(feature = "simulation")]
pub use disk::simulated;
pub use disk::{Disk, File, Lock, OsDisk, Region};
pub use error::Error;
pub use options::{Durability, Options};
pub use repair::{RepairReport, repair, repair_on};
pub use segment::{CHECKED_BLOCK, LazyBytes, Section, SectionBuilder, SectionSink, SegmentRows};
pub use snapshot::{CollectionView, Part, Snapshot};
pub use stats::{CollectionStats, SegmentBytes, Stats};
pub use storage::Storage;
pub use verify::{Problem, VerifyReport, verify, verify_on};
