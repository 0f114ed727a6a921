//! Saving what is whole of a damaged database into a new one.
//!
//! Nothing is written to the damaged database. Each row is taken if the blocks that hold its id and its
//! code pass their checksums; each batch of the logs, if its record does. What is missing is listed.
//! Without a manifest, segments tell by themselves what collection they belong to, and what was
//! deleted or written last is told by the numbers of files and commits.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::batch::{Batch, CollectionId};
use crate::deleted::{self, Deleted};
use crate::disk::{Disk, OsDisk};
use crate::error::Error;
use crate::files;
use crate::log::{self, Found, Operation};
use crate::manifest::{self, Manifest, SegmentRecord};
use crate::options::{Durability, Options};
use crate::recover::read_manifest;
use crate::segment::{self, SectionBuilder, Segment};
use crate::storage::{LOCK, Storage, take_lock};
use crate::verify::Problem;

/// Bytes of rows in one batch of the new database, about.
const BATCH_BYTES: usize = 4 << 20;

/// What [`repair`] saved, and what it could not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// The collections of the new database: name, and rows.
    pub collections: Vec<(String, u64)>,
    /// What is lost, or in doubt, in words, with the file that should have held it.
    pub lost: Vec<Problem>,
}

impl RepairReport {
    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty()
    }

    /// Rows of all collections.
    pub fn rows(&self) -> u64 {
        self.collections.iter().map(|(_, rows)| rows).sum()
    }

    fn lose(&mut self, file: &str, offset: Option<u64>, what: impl Into<String>) {
        self.lost.push(Problem {
            file: file.to_owned(),
            offset,
            what: what.into(),
        });
    }

    /// Takes an error that `file` is to blame for as a loss.
    fn lose_to(&mut self, file: &str, error: &Error) {
        match error {
            Error::Corrupt { offset, what, .. } => self.lose(file, Some(*offset), what.clone()),
            error => self.lose(file, None, error.to_string()),
        }
    }
}

/// Saves what is whole of the database in `dir`, which nobody may be writing, into a new database in
/// `dest`, which must not exist or be empty. `builder` is as in [`Options::builder`].
///
/// # Errors
/// [`Error::NotADatabase`] if `dir` holds no file of one; [`Error::Locked`] if it is being written;
/// [`Error::NotEmpty`] and [`Error::Io`] for `dest`. What cannot be read of `dir` is listed.
pub fn repair(
    dir: &Path,
    dest: &Path,
    builder: Option<Arc<dyn SectionBuilder>>,
) -> Result<RepairReport, Error> {
    repair_on(&OsDisk::new(dir), Arc::new(OsDisk::new(dest)), builder)
}

/// As [`repair`], on any disks.
pub fn repair_on(
    disk: &dyn Disk,
    dest: Arc<dyn Disk>,
    builder: Option<Arc<dyn SectionBuilder>>,
) -> Result<RepairReport, Error> {
    let names = disk.list("").map_err(|source| match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::NotADatabase {
            dir: disk.path().to_owned(),
        },
        _ => Error::io("list", "")(source),
    })?;
    // Only if it is there: nothing is written to the damaged database, not even an empty file.
    let _lock = match names.iter().any(|name| name == LOCK) {
        true => Some(take_lock(disk)?),
        false => None,
    };
    let mut report = RepairReport::default();
    let manifest = match read_manifest(disk) {
        Ok(manifest) => Some(manifest),
        Err(Error::NotADatabase { dir }) => {
            let numbers = numbers(disk, segment::DIRECTORY, ".seg");
            if numbers.is_empty() && self::numbers(disk, log::DIRECTORY, ".log").is_empty() {
                return Err(Error::NotADatabase { dir });
            }
            report.lose(manifest::FILE, None, "it is missing");
            None
        }
        Err(error) => {
            report.lose_to(manifest::FILE, &error);
            None
        }
    };
    let options = Options {
        durability: Durability::None,
        builder,
        ..Options::default()
    };
    let mut saved = Saved {
        storage: Storage::create_on(dest, options)?,
        collections: BTreeMap::new(),
        rows: BTreeMap::new(),
        bytes: 0,
        report,
    };
    let last = match &manifest {
        Some(manifest) => saved.take_listed_segments(disk, manifest)?,
        None => saved.take_all_segments(disk)?,
    };
    saved.commit()?;
    saved.take_logs(disk, manifest.as_ref(), last)?;
    saved.commit()?;
    saved.take_files(disk)?;
    let Saved {
        storage,
        mut report,
        ..
    } = saved;
    let snapshot = storage.snapshot();
    for info in snapshot.collections() {
        let rows = snapshot.collection(info.id).map_or(0, |view| view.len());
        report.collections.push((info.name, rows));
    }
    storage.compact(None)?;
    storage.close()?;
    Ok(report)
}

/// The database that is being made.
struct Saved {
    storage: Storage,
    /// The new collections, by their numbers in the damaged database.
    collections: BTreeMap<u32, CollectionId>,
    /// Rows that are not yet written: code and payload, by collection and id.
    rows: BTreeMap<(CollectionId, u64), Row>,
    bytes: usize,
    report: RepairReport,
}

/// Code and payload.
type Row = (Vec<u8>, Option<Vec<u8>>);

impl Saved {
    /// Makes the collection that had this number, unless it is made. `false` if no collection can be
    /// like this.
    fn create(
        &mut self,
        number: u32,
        bits: u32,
        name: &str,
        properties: &[u8],
    ) -> Result<bool, Error> {
        if self.collections.contains_key(&number) {
            return Ok(true);
        }
        // Two of a name can be met where one was dropped and the manifest is lost.
        let names = [name.to_owned(), format!("collection {number}")];
        let others = (1..).map(|n| format!("collection {number} ({n})"));
        for name in names.into_iter().chain(others) {
            match self.storage.create_collection(&name, bits, properties) {
                Ok(id) => {
                    self.collections.insert(number, id);
                    return Ok(true);
                }
                Err(Error::CollectionExists { .. } | Error::BadName { .. }) => {}
                Err(Error::BadWidth { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Takes a row; `false` if no row can be like this.
    fn put(
        &mut self,
        collection: CollectionId,
        id: u64,
        code: &[u8],
        payload: Option<&[u8]>,
    ) -> Result<bool, Error> {
        let padded = collection.first_padded(code).is_some();
        if id == u64::MAX || padded || code.len() != collection.code_bytes() {
            return Ok(false);
        }
        self.bytes += 64 + code.len() + payload.map_or(0, <[u8]>::len);
        let row = (code.to_vec(), payload.map(<[u8]>::to_vec));
        self.rows.insert((collection, id), row);
        if self.bytes > BATCH_BYTES {
            self.commit()?;
        }
        Ok(true)
    }

    /// Writes the rows that were put.
    fn commit(&mut self) -> Result<(), Error> {
        self.bytes = 0;
        let mut batch = Batch::new();
        let rows: Vec<_> = std::mem::take(&mut self.rows).into_iter().collect();
        for rows in rows.chunk_by(|((a, _), _), ((b, _), _)| a == b) {
            let ids: Vec<u64> = rows.iter().map(|((_, id), _)| *id).collect();
            let codes: Vec<u8> = rows
                .iter()
                .flat_map(|(_, (code, _))| code)
                .copied()
                .collect();
            let payloads: Vec<Option<&[u8]>> = rows
                .iter()
                .map(|(_, (_, payload))| payload.as_deref())
                .collect();
            batch.upsert(rows[0].0.0, &ids, &codes, Some(&payloads));
        }
        self.storage.commit(batch).map(drop)
    }

    /// Returns the sequence up to which the segments hold everything.
    fn take_listed_segments(&mut self, disk: &dyn Disk, manifest: &Manifest) -> Result<u64, Error> {
        for collection in &manifest.collections {
            let (name, properties) = (&collection.name, &collection.properties);
            self.create(collection.number, collection.bits, name, properties)?;
        }
        for record in &manifest.segments {
            let bits = manifest
                .collections
                .iter()
                .find(|c| c.number == record.collection);
            let Some(bits) = bits.map(|collection| collection.bits) else {
                continue;
            };
            let deleted = deleted::read(disk, record).unwrap_or_else(|error| {
                let name = record.delete_file().unwrap_or_default();
                self.report.lose_to(&name, &error);
                let count = record.deletes.map_or(0, |deletes| deletes.rows);
                self.report.lose(
                    &name,
                    None,
                    format!(
                        "which {count} rows of {} were deleted is lost: they are there again",
                        segment::file_name(record.number)
                    ),
                );
                None
            });
            self.take_segment(disk, record.number, Some((record, bits)), &deleted)?;
        }
        Ok(manifest.flushed_sequence)
    }

    fn take_all_segments(&mut self, disk: &dyn Disk) -> Result<u64, Error> {
        let mut last = 0;
        // The newest delete file of each segment; names are in the order of their sequences.
        let mut deletes: BTreeMap<u64, Deleted> = BTreeMap::new();
        let mut names = disk.list(segment::DIRECTORY).unwrap_or_default();
        names.sort();
        for name in names.iter().filter(|name| name.ends_with(deleted::SUFFIX)) {
            let name = format!("{}/{name}", segment::DIRECTORY);
            let read = disk
                .open(&name)
                .and_then(|file| crate::disk::read_from(&*file, 0))
                .map_err(Error::io("read", &name))
                .and_then(|bytes| deleted::decode(&name, &bytes));
            match read {
                Ok(file) => {
                    last = last.max(file.sequence);
                    deletes.insert(file.number, Some(Arc::new(file.rows)));
                }
                Err(error) => self.report.lose_to(&name, &error),
            }
        }
        // Where an id stands in two, as after a merge whose inputs were not yet removed, the newer one
        // counts.
        for number in numbers(disk, segment::DIRECTORY, ".seg") {
            let deleted = deletes.remove(&number).flatten();
            last = last.max(self.take_segment(disk, number, None, &deleted)?);
        }
        Ok(last)
    }

    /// Takes the whole rows of a segment. Returns the last commit with rows in it.
    fn take_segment(
        &mut self,
        disk: &dyn Disk,
        number: u64,
        known: Option<(&SegmentRecord, u32)>,
        deleted: &Deleted,
    ) -> Result<u64, Error> {
        let segment = match Segment::open_damaged(disk, number, known) {
            Ok(segment) => segment,
            Err(error) => {
                let name = segment::file_name(number);
                self.report.lose_to(&name, &error);
                if let Some((record, _)) = known {
                    let rows = record.rows - record.deletes.map_or(0, |deletes| deletes.rows);
                    let (from, to) = (record.smallest_id, record.largest_id);
                    let what =
                        format!("all its {rows} rows are lost; their ids lie in {from} to {to}");
                    self.report.lose(&name, None, what);
                }
                return Ok(0);
            }
        };
        let collection = segment.collection_number();
        if !self.collections.contains_key(&collection) {
            let (name, properties) = match segment.collection() {
                Ok(Some(found)) => found,
                _ => {
                    let what =
                        format!("the name and properties of collection {collection} are lost");
                    self.report.lose(segment.name(), None, what);
                    (format!("collection {collection}"), Vec::new())
                }
            };
            self.create(collection, segment.bits(), &name, &properties)?;
        }
        let Some(&id) = self.collections.get(&collection) else {
            let what = format!("no collection can have codes of {} bits", segment.bits());
            self.report.lose(segment.name(), None, what);
            return Ok(0);
        };
        if id.bits() != segment.bits() {
            let what = format!(
                "its codes have {} bits, its collection's {}",
                segment.bits(),
                id.bits()
            );
            self.report.lose(segment.name(), None, what);
            return Ok(0);
        }
        let mut losses = Losses::default();
        for row in 0..segment.rows() {
            if deleted.as_ref().is_some_and(|rows| rows.contains(row)) {
                continue;
            }
            let Ok(Some(key)) = segment.id(row) else {
                losses.add(row, None, "their ids are damaged: the rows are lost");
                continue;
            };
            let Ok(Some(code)) = segment.code(row) else {
                losses.add(row, Some(key), "their codes are damaged: the rows are lost");
                continue;
            };
            let payload = segment.payload(row).unwrap_or_else(|_| {
                losses.add(
                    row,
                    Some(key),
                    "their payloads are lost; the rows are there without",
                );
                None
            });
            if !self.put(id, key, code, payload)? {
                losses.add(row, Some(key), "no writer wrote them: the rows are lost");
            }
        }
        self.commit()?;
        for loss in losses.0 {
            self.report.lose(segment.name(), None, loss.to_string());
        }
        Ok(*segment.sequences().end())
    }

    /// Takes the whole batches of the logs that follow commit `last`, up to which the segments hold
    /// all; without a manifest, up to which a segment holds something.
    fn take_logs(
        &mut self,
        disk: &dyn Disk,
        manifest: Option<&Manifest>,
        last: u64,
    ) -> Result<(), Error> {
        let numbers = match manifest {
            Some(manifest) => manifest.logs.iter().map(|log| log.number).collect(),
            None => numbers(disk, log::DIRECTORY, ".log"),
        };
        let mut done = last;
        if manifest.is_none() {
            // A flush may have been interrupted that had written one segment of several. So the logs
            // count, as far back as commits follow each other without a gap: doing them again, all of
            // them and in order, changes nothing where they were done. Older ones are in logs that
            // nobody needed any more.
            let mut sequences = Vec::new();
            for &number in &numbers {
                let _ = log::salvage(disk, number, None, |found| {
                    if let Found::Batch(sequence, _) = found {
                        sequences.push(sequence);
                    }
                    Ok(())
                });
            }
            let follow = |pair: &[u64]| pair[1] == pair[0].saturating_add(1);
            let first = sequences.windows(2).rposition(|pair| !follow(pair));
            let first = first.map_or(0, |at| at + 1);
            if let Some(&first) = sequences.get(first) {
                done = first.saturating_sub(1);
                self.lose_commits(log::DIRECTORY, last + 1, done);
            }
        }
        for number in numbers {
            let name = log::file_name(number);
            let listed = manifest.and_then(|m| m.logs.iter().find(|log| log.number == number));
            let seed = listed.map(|log| log.seed);
            let salvaged = log::salvage(disk, number, seed, |found| {
                match found {
                    Found::Damage(from, to) => {
                        let what = format!("the bytes up to {to} hold no whole record");
                        self.report.lose(&name, Some(from), what);
                    }
                    Found::Batch(sequence, _) if sequence <= done => {}
                    Found::Batch(sequence, operations) => {
                        self.lose_commits(&name, done + 1, sequence.saturating_sub(1));
                        done = sequence;
                        self.take_batch(&name, sequence, operations)?;
                    }
                }
                Ok(())
            });
            match salvaged {
                Err(Error::Io { ref file, .. }) if *file != name => salvaged?,
                Err(error @ (Error::Io { .. } | Error::Corrupt { .. })) => {
                    self.report.lose_to(&name, &error);
                }
                salvaged => salvaged?,
            }
            if let Some(seal) = listed.and_then(|log| log.seal)
                && seal.last_sequence > done
            {
                self.lose_commits(&name, done + 1, seal.last_sequence);
                done = seal.last_sequence;
            }
        }
        Ok(())
    }

    fn lose_commits(&mut self, log: &str, first: u64, last: u64) {
        if first <= last {
            let what = format!("commits {first} to {last} are lost, or what is left of them");
            self.report.lose(log, None, what);
        }
    }

    fn take_batch(
        &mut self,
        log: &str,
        sequence: u64,
        operations: Vec<Operation>,
    ) -> Result<(), Error> {
        let mut unknown = Vec::new();
        for operation in operations {
            match operation {
                Operation::CreateCollection {
                    number,
                    bits,
                    name,
                    properties,
                } => {
                    if !self.create(number, bits, &name, &properties)? {
                        unknown.push(number);
                    }
                }
                Operation::DropCollection { number } => {
                    self.commit()?;
                    if let Some(id) = self.collections.remove(&number) {
                        self.storage.drop_collection(id)?;
                    }
                }
                Operation::Delete { collection, ids } => {
                    self.commit()?;
                    match self.collections.get(&collection) {
                        Some(&id) => {
                            let mut batch = Batch::new();
                            batch.delete(id, &ids);
                            self.storage.commit(batch)?;
                        }
                        None => unknown.push(collection),
                    }
                }
                Operation::Insert { collection, run } => {
                    let Some(&id) = self.collections.get(&collection) else {
                        unknown.push(collection);
                        continue;
                    };
                    for (row, &key) in run.ids.iter().enumerate() {
                        let code = run.code(row).unwrap_or_default();
                        self.put(id, key, code, run.payloads.get(row))?;
                    }
                }
            }
        }
        for collection in unknown {
            let what = format!(
                "what commit {sequence} says of collection {collection} is lost: what the collection \
                 was is not known"
            );
            self.report.lose(log, None, what);
        }
        Ok(())
    }

    fn take_files(&mut self, disk: &dyn Disk) -> Result<(), Error> {
        let names = match files::stored(disk) {
            Ok(names) => names,
            Err(error) => {
                self.report.lose_to(files::DIRECTORY, &error);
                return Ok(());
            }
        };
        for name in names {
            match files::read(disk, &name) {
                Ok(bytes) => self.storage.put_file(&name, &bytes)?,
                Err(error) => self.report.lose_to(&name, &error),
            }
        }
        Ok(())
    }
}

/// Rows that are lost for one reason, put together where they follow each other.
#[derive(Default)]
struct Losses(Vec<Loss>);

struct Loss {
    rows: (u32, u32),
    /// Smallest and largest id, where known.
    ids: Option<(u64, u64)>,
    what: &'static str,
}

impl Losses {
    /// Adds a row; rows come in order.
    fn add(&mut self, row: u32, id: Option<u64>, what: &'static str) {
        if let Some(last) = self.0.last_mut()
            && last.what == what
            && last.rows.1 + 1 == row
        {
            last.rows.1 = row;
            if let (Some(ids), Some(id)) = (&mut last.ids, id) {
                ids.1 = id;
            }
            return;
        }
        self.0.push(Loss {
            rows: (row, row),
            ids: id.map(|id| (id, id)),
            what,
        });
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, last) = self.rows;
        write!(f, "{} rows, {first} to {last}", last - first + 1)?;
        if let Some((first, last)) = self.ids {
            write!(f, " (ids {first} to {last})")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// The numbers of the files in a directory whose names end in `suffix`, ascending.
fn numbers(disk: &dyn Disk, directory: &str, suffix: &str) -> Vec<u64> {
    let names = disk.list(directory).unwrap_or_default();
    let number = |name: &String| name.strip_suffix(suffix)?.parse().ok();
    let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}
