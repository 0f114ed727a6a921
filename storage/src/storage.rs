//! The database of files: what the layer above calls.

use std::path::Path;
use std::sync::Arc;

use crate::backup::{self, BackupReport};
use crate::batch::{Batch, CollectionId, CollectionInfo, Commit};
use crate::bytes::{random, without_zeros};
use crate::disk::{Disk, Lock, OsDisk, list_if_there, read_from};
use crate::error::Error;
use crate::files;
use crate::log::{self, Cursor};
use crate::manifest::{self, LogRecord, Manifest, Seal, write_beside};
use crate::options::Options;
use crate::recover::{Loaded, apply, base_state, load, load_for_reading, read_manifest, sweep};
use crate::segment;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::stats::Stats;
use crate::sync::Mutex;
use crate::writer::{Background, FileSizes, Files, FlushedDeletes, Published, Writer};

/// The file that the writer locks.
pub(crate) const LOCK: &str = "LOCK";
const DIRECTORIES: [&str; 3] = [log::DIRECTORY, segment::DIRECTORY, files::DIRECTORY];
/// What a creation or a backup that was interrupted may leave.
const LEFT_BY_CREATE: [&str; 6] = [
    LOCK,
    backup::MARKER,
    log::DIRECTORY,
    segment::DIRECTORY,
    files::DIRECTORY,
    manifest::TEMPORARY,
];
/// Logs of earlier writers, each of which must be read to open, beyond which an opening flushes.
const MANY_LOGS: usize = 8;

/// An open database of files.
///
/// One handle writes; it may be shared by any number of threads, and holds an exclusive lock of the
/// operating system until it is closed or dropped. Any number of read-only handles, in any process,
/// may be open beside it.
///
/// Dropping a writing handle without [`close`](Storage::close) is safe: the log is read at the next
/// opening, as after a crash.
#[derive(Debug)]
pub struct Storage {
    disk: Arc<dyn Disk>,
    published: Arc<Published>,
    role: Role,
    /// Before the lock: its threads must be gone when another process may write.
    background: Option<Background>,
    _lock: Option<Box<dyn Lock>>,
    files: Mutex<()>,
    /// See [`Stats::cut_bytes`].
    cut_bytes: u64,
}

#[derive(Debug)]
enum Role {
    Writer(Arc<Writer>),
    Reader(Mutex<Position>),
}

/// What a read-only handle has read.
#[derive(Debug)]
struct Position {
    manifest: Manifest,
    cursors: Vec<Cursor>,
}

impl Storage {
    /// Creates a database in `dir`, which must not exist or be empty, and opens it for writing.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::Locked`], or [`Error::Io`]. What an interrupted creation left
    /// is no obstacle to the next one.
    pub fn create(dir: &Path, options: Options) -> Result<Storage, Error> {
        Storage::create_on(Arc::new(OsDisk::new(dir)), options)
    }

    /// As [`create`](Storage::create), on any disk.
    pub fn create_on(disk: Arc<dyn Disk>, options: Options) -> Result<Storage, Error> {
        let lock = prepare_directory(&*disk)?;
        let manifest = Manifest {
            database: random(),
            next_segment: 1,
            next_log: 1,
            next_collection: 1,
            ..Manifest::default()
        };
        let state = base_state(&manifest);
        let files = Files::start(&*disk, manifest, 0)?;
        Storage::writing(disk, options, state, files, FlushedDeletes::new(), lock)
    }

    /// Opens a database for reading and writing.
    ///
    /// Every commit that was acknowledged at [`Durability::Sync`](crate::Durability::Sync) is there,
    /// however the last writer ended; a batch that was not acknowledged is there as a whole or not
    /// at all.
    ///
    /// # Errors
    /// [`Error::NotADatabase`], [`Error::Locked`] if it is open for writing already,
    /// [`Error::UnsupportedVersion`], [`Error::Corrupt`], [`Error::MissingFile`], [`Error::Io`].
    pub fn open(dir: &Path, options: Options) -> Result<Storage, Error> {
        Storage::open_on(Arc::new(OsDisk::new(dir)), options)
    }

    /// As [`open`](Storage::open), on any disk.
    pub fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<Storage, Error> {
        // Before the lock, which would leave its file in a directory that is no database.
        read_manifest(&*disk)?;
        let lock = take_lock(&*disk)?;
        let manifest = read_manifest(&*disk)?;
        // A process that died may have renamed it and not synced the name: it must be on disk for
        // certain before the files go that only the manifest before it needed.
        disk.sync_dir("").map_err(Error::io("sync", ""))?;
        for name in DIRECTORIES {
            disk.create_dir(name).map_err(Error::io("create", name))?;
        }
        let Loaded {
            mut manifest,
            state,
            cursors,
            flushed_deletes,
        } = load(&*disk, manifest, options.memory_map, None)?;
        sweep(&*disk, Some(&manifest))?;
        let mut cut_bytes = 0;
        if let (Some(log), Some(cursor)) = (manifest.logs.last_mut(), cursors.last())
            && log.seal.is_none()
        {
            let (seal, cut) = settle(&*disk, log, cursor)?;
            log.seal = Some(seal);
            cut_bytes = cut;
        }
        let flushed = manifest.flushed_sequence;
        let (kept, dropped): (Vec<_>, Vec<_>) = manifest.logs.into_iter().partition(|log| {
            let last = log.seal.map_or(0, |seal| seal.last_sequence);
            last >= log.first_sequence && last > flushed
        });
        manifest.logs = kept;
        let many_logs = manifest.logs.len() >= MANY_LOGS;
        let files = Files::start(&*disk, manifest, state.sequence)?;
        for log in dropped {
            // No manifest names it any more; if it cannot be removed, the next opening will.
            let _ = disk.remove(&log::file_name(log.number));
        }
        let mut storage = Storage::writing(disk, options, state, files, flushed_deletes, lock)?;
        storage.cut_bytes = cut_bytes;
        if many_logs {
            storage.flush()?;
        }
        Ok(storage)
    }

    /// Opens a database for reading. It sees every complete batch that is in the log now, and
    /// newer ones after [`refresh`](Storage::refresh). It takes no lock and writes nothing.
    ///
    /// # Errors
    /// As [`open`](Storage::open), save [`Error::Locked`].
    pub fn open_read_only(dir: &Path) -> Result<Storage, Error> {
        Storage::open_read_only_on(Arc::new(OsDisk::new(dir)))
    }

    /// As [`open_read_only`](Storage::open_read_only), on any disk.
    pub fn open_read_only_on(disk: Arc<dyn Disk>) -> Result<Storage, Error> {
        let Loaded {
            manifest,
            state,
            cursors,
            ..
        } = load_for_reading(&*disk, None)?;
        Ok(Storage {
            disk,
            published: Arc::new(Published::new(state)),
            role: Role::Reader(Mutex::new(Position { manifest, cursors })),
            background: None,
            _lock: None,
            files: Mutex::new(()),
            cut_bytes: 0,
        })
    }

    fn writing(
        disk: Arc<dyn Disk>,
        options: Options,
        state: State,
        files: Files,
        flushed_deletes: FlushedDeletes,
        lock: Box<dyn Lock>,
    ) -> Result<Storage, Error> {
        let published = Arc::new(Published::new(state));
        let writer = Writer::new(
            Arc::clone(&disk),
            options,
            Arc::clone(&published),
            files,
            flushed_deletes,
        );
        let writer = Arc::new(writer);
        let background = Background::start(&writer)?;
        Ok(Storage {
            disk,
            published,
            role: Role::Writer(writer),
            background: Some(background),
            _lock: Some(lock),
            files: Mutex::new(()),
            cut_bytes: 0,
        })
    }

    fn writer(&self) -> Result<&Writer, Error> {
        match &self.role {
            Role::Writer(writer) => Ok(writer),
            Role::Reader(_) => Err(Error::ReadOnly),
        }
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        self.disk.path()
    }

    /// Whether this handle only reads.
    pub fn is_read_only(&self) -> bool {
        matches!(self.role, Role::Reader(_))
    }

    /// Creates a collection of codes of `bits` bits, durably whatever the options say.
    ///
    /// `properties` are stored with it and given back, never looked into.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::BadWidth`], [`Error::CollectionExists`], and those of writing:
    /// [`Error::ReadOnly`], [`Error::Io`], [`Error::Poisoned`].
    pub fn create_collection(
        &self,
        name: &str,
        bits: u32,
        properties: &[u8],
    ) -> Result<CollectionId, Error> {
        self.writer()?.create_collection(name, bits, properties)
    }

    /// The collection of this name.
    pub fn collection(&self, name: &str) -> Option<CollectionInfo> {
        self.published
            .get()
            .by_name(name)
            .map(|c| CollectionInfo::clone(&c.info))
    }

    /// All collections, in the order of their creation.
    pub fn collections(&self) -> Vec<CollectionInfo> {
        self.snapshot().collections()
    }

    /// Takes a collection away with all its rows, durably whatever the options say. Snapshots that
    /// show it keep it. Its files are removed by the next [`flush`](Storage::flush).
    ///
    /// # Errors
    /// [`Error::UnknownCollection`], and those of writing.
    pub fn drop_collection(&self, collection: CollectionId) -> Result<(), Error> {
        self.writer()?.drop_collection(collection)
    }

    /// Writes a batch: all of it or, with an error, nothing.
    ///
    /// When this returns, the changes are visible to new snapshots, and as durable as the options ask.
    /// A batch that changes nothing writes nothing.
    ///
    /// # Errors
    /// * [`Error::UnknownCollection`], [`Error::CodeLength`], [`Error::PaddingBits`],
    ///   [`Error::PayloadCount`], [`Error::ReservedId`], [`Error::RepeatedId`],
    ///   [`Error::DuplicateId`], [`Error::IdsExhausted`], [`Error::TooLarge`]: the batch cannot be
    ///   written; nothing changed.
    /// * [`Error::Corrupt`]: ids that had to be read are damaged; nothing changed.
    /// * [`Error::Io`]: writing failed. If it was the log, further writes give
    ///   [`Error::Poisoned`], and whether this batch is on disk is known when the database is
    ///   opened again. If it was a flush that had to come first (a full disk), nothing changed.
    pub fn commit(&self, batch: Batch) -> Result<Commit, Error> {
        self.writer()?.commit(batch)
    }

    /// The database as of now. Never waits for a write.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            state: self.published.get(),
        }
    }

    /// Writes the rows in memory into segments, and empties the log.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Io`]. Unless the handle is poisoned by
    /// it, an error leaves everything as it was, and the call may be repeated.
    pub fn flush(&self) -> Result<(), Error> {
        self.writer()?.flush()
    }

    /// Returns when no merge is due: when segments are as few as merging in the background makes them.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Io`], [`Error::Corrupt`] if a segment that
    /// should be merged is damaged.
    pub fn merge(&self) -> Result<(), Error> {
        self.writer()?.merge_all_due()
    }

    /// Flushes, then merges the segments of a collection, or of each, into one (or as few as its
    /// rows need), without the deleted rows: what was deleted before this call is in no file of the
    /// database any more when it returns, save in those that an older snapshot or a backup still
    /// holds. Readers and writers go on meanwhile. Needs as much free disk as the collection takes.
    ///
    /// # Errors
    /// [`Error::UnknownCollection`], and those of [`flush`](Storage::flush).
    pub fn compact(&self, collection: Option<CollectionId>) -> Result<(), Error> {
        let writer = self.writer()?;
        if let Some(id) = collection {
            let number = id.number;
            self.published
                .get()
                .collection(id)
                .ok_or(Error::UnknownCollection { number })?;
        }
        writer.compact(collection.map(CollectionId::number))
    }

    /// Makes a copy of the database, as of now or a little later; see [`backup`](crate::backup).
    /// Reads and writes go on meanwhile.
    ///
    /// # Errors
    /// As [`backup`](crate::backup).
    pub fn backup(&self, dest: &Path) -> Result<BackupReport, Error> {
        self.backup_on(&OsDisk::new(dest))
    }

    /// As [`backup`](Storage::backup), to any disk.
    pub fn backup_on(&self, dest: &dyn Disk) -> Result<BackupReport, Error> {
        backup::backup_on(&*self.disk, dest)
    }

    /// Returns when everything that was committed is on disk for certain.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Io`].
    pub fn sync(&self) -> Result<(), Error> {
        self.writer()?.sync()
    }

    /// Read-only handles: looks for newer commits, and says whether there were any. For a writing
    /// handle, which sees its commits at once, `Ok(false)`.
    ///
    /// # Errors
    /// As [`open_read_only`](Storage::open_read_only); what was visible stays so.
    pub fn refresh(&self) -> Result<bool, Error> {
        let Role::Reader(position) = &self.role else {
            return Ok(false);
        };
        let mut position = position.lock();
        let before = self.published.get();
        let manifest = read_manifest(&*self.disk)?;
        let same = manifest.database == position.manifest.database;
        let state = if same
            && manifest.edition == position.manifest.edition
            && let Some((state, cursor)) = self.read_on(&position, &before)?
        {
            if let Some(last) = position.cursors.last_mut() {
                *last = cursor;
            }
            state
        } else {
            let loaded = load_for_reading(&*self.disk, same.then_some(&before))?;
            *position = Position {
                manifest: loaded.manifest,
                cursors: loaded.cursors,
            };
            loaded.state
        };
        let newer = !same || state.sequence > before.sequence;
        self.published.set(state);
        Ok(newer)
    }

    /// Reads on in the log where the last reading ended. `None` if that log is of no use any more
    /// or does not read well, which reading everything anew settles.
    fn read_on(
        &self,
        position: &Position,
        before: &State,
    ) -> Result<Option<(State, Cursor)>, Error> {
        let (Some(log), Some(cursor)) = (position.manifest.logs.last(), position.cursors.last())
        else {
            return Ok(None);
        };
        let mut state = before.clone();
        let name = log::file_name(log.number);
        let tail = log::replay(
            &*self.disk,
            log,
            Some(cursor.clone()),
            |sequence, operations| apply(&mut state, true, &name, sequence, operations),
        );
        match tail {
            Ok(tail) => Ok(Some((state, tail.cursor))),
            Err(Error::Corrupt { .. } | Error::MissingFile { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Syncs the log and seals it: its length and checksum are written into the manifest, so that
    /// any change to it is noticed. Rows stay in the log; [`flush`](Storage::flush) first to have
    /// the next opening read none.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Io`]. The handle is closed in any case; nothing that was
    /// acknowledged is lost.
    pub fn close(mut self) -> Result<(), Error> {
        self.background.take();
        match &self.role {
            Role::Writer(writer) => writer.close(),
            Role::Reader(_) => Ok(()),
        }
    }

    /// Stores a whole file under `models/<its SHA-256 in lower-case hex>`, durably. If it is there
    /// already, nothing happens.
    ///
    /// # Errors
    /// [`Error::BadFileName`], [`Error::DigestMismatch`], [`Error::ReadOnly`], [`Error::Io`]. The
    /// file is there as a whole or not at all.
    pub fn put_file(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.writer()?;
        // Two threads must not write the same temporary file.
        let _one = self.files.lock();
        files::put(&*self.disk, name, bytes)
    }

    /// Reads a file that was stored by [`put_file`](Storage::put_file), and checks its digest.
    ///
    /// # Errors
    /// [`Error::BadFileName`], [`Error::NoSuchFile`], [`Error::Corrupt`], [`Error::Io`].
    pub fn read_file(&self, name: &str) -> Result<Vec<u8>, Error> {
        files::read(&*self.disk, name)
    }

    /// Sizes, as of now.
    pub fn stats(&self) -> Stats {
        let state = self.published.get();
        let mut background_error = None;
        let sizes = match &self.role {
            Role::Writer(writer) => {
                background_error = writer.background_error();
                writer.sizes()
            }
            Role::Reader(position) => {
                let position = position.lock();
                FileSizes {
                    logs: position.cursors.len() as u64,
                    log_bytes: position.cursors.iter().map(|c| c.seal().length).sum(),
                    manifest_bytes: position.manifest.encoded_bytes(),
                }
            }
        };
        Stats::new(&state, sizes, background_error, self.cut_bytes)
    }
}

fn not_empty(disk: &dyn Disk) -> Error {
    Error::NotEmpty {
        dir: disk.path().to_owned(),
    }
}

/// Whether there are segments, or logs with records in them.
fn has_rows(disk: &dyn Disk) -> Result<bool, Error> {
    if list_if_there(disk, segment::DIRECTORY)?
        .iter()
        .any(|name| name.ends_with(".seg"))
    {
        return Ok(true);
    }
    for name in list_if_there(disk, log::DIRECTORY)? {
        let name = format!("{}/{name}", log::DIRECTORY);
        let file = disk.open(&name).map_err(Error::io("open", &name))?;
        let length = file.len().map_err(Error::io("look at", &name))?;
        if name.ends_with(".log") && length > log::HEADER_BYTES as u64 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the directories of a new database. They must not exist, or be what an interrupted creation
/// left, which is swept. Returns the lock of the database to be.
pub(crate) fn prepare_directory(disk: &dyn Disk) -> Result<Box<dyn Lock>, Error> {
    let found = list_if_there(disk, "").map_err(|error| match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotADirectory => {
            not_empty(disk)
        }
        error => error,
    })?;
    // The lock file is made first and the manifest last: between them is what an interrupted creation
    // leaves.
    let unfinished = found.iter().any(|name| name == LOCK)
        && found
            .iter()
            .all(|name| LEFT_BY_CREATE.contains(&name.as_str()));
    if !found.is_empty() && !unfinished {
        return Err(not_empty(disk));
    }
    // A database that has lost its manifest looks like that too, save that it has rows.
    if !found.iter().any(|name| name == backup::MARKER) && has_rows(disk)? {
        return Err(Error::ManifestLost {
            dir: disk.path().to_owned(),
        });
    }
    disk.create_dir("").map_err(Error::io("create", ""))?;
    let lock = take_lock(disk)?;
    // So that whatever else a crash leaves, the lock file is beside it.
    disk.sync_dir("").map_err(Error::io("sync", ""))?;
    if Manifest::read(disk)?.is_some() {
        return Err(not_empty(disk));
    }
    for name in DIRECTORIES {
        disk.create_dir(name).map_err(Error::io("create", name))?;
    }
    sweep(disk, None)?;
    disk.sync_dir("").map_err(Error::io("sync", ""))?;
    Ok(lock)
}

pub(crate) fn take_lock(disk: &dyn Disk) -> Result<Box<dyn Lock>, Error> {
    disk.lock(LOCK)
        .map_err(Error::io("lock", LOCK))?
        .ok_or_else(|| Error::Locked {
            dir: disk.path().to_owned(),
        })
}

/// Makes certain that the records of a log without a seal are on disk, and cuts off what is behind them.
/// Returns its seal, and the number of bytes that were cut off.
///
/// The records were read from the operating system's memory, where a process that died left them, and
/// where they stay even if writing them out failed: only writing them again brings the disk to what was
/// read. The same bytes go to the same place, so this can be interrupted anywhere.
fn settle(disk: &dyn Disk, log: &LogRecord, cursor: &Cursor) -> Result<(Seal, u64), Error> {
    let seal = cursor.seal();
    let name = log::file_name(cursor.number);
    let file = disk.open_write(&name).map_err(Error::io("open", &name))?;
    let mut bytes = read_from(&*file, 0).map_err(Error::io("read", &name))?;
    let tail = bytes.split_off(bytes.len().min(seal.length as usize));
    let cut = without_zeros(&tail);
    if cut.is_empty() && cursor.is_at_start() {
        return Ok((seal, 0));
    }
    if log::holds_records(&tail, log.seed) {
        // Most likely a write that a crash interrupted, of which the disk kept the later part. But if a
        // byte of it was damaged since, somebody will want the rest.
        let name = log::cut_file_name(cursor.number);
        write_beside(disk, &name, cut)?;
        disk.sync_dir(log::DIRECTORY)
            .map_err(Error::io("sync", log::DIRECTORY))?;
    }
    file.write_at(0, &bytes)
        .map_err(Error::io("write", &name))?;
    file.set_len(seal.length)
        .map_err(Error::io("shorten", &name))?;
    file.sync().map_err(Error::io("sync", &name))?;
    Ok((seal, cut.len() as u64))
}
