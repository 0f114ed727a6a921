//! The writing half of an open database.
//!
//! A commit is checked, numbered and added to the staged state under one short lock. Then one of the
//! committing threads, the leader, writes everything that is staged, and syncs it, without the lock;
//! the others wait for it, and what they staged meanwhile is the next leader's. Whoever holds
//! [`Files`] is the leader, so there is never more than one. Flushes ([`flush`]) and merges
//! ([`merge`]) write segments beside all that, and lead only to seal the log and to store a manifest.
//!
//! **What must stay true:** the published state never holds a batch that is not in the log as
//! durably as the options ask; and its segments are those that the manifest lists, save for the
//! moment between storing one and publishing, when the leader is at it.
//!
//! Locks are taken in this order: `merging`, `segments`, `queue`.

mod background;
mod files;
mod flush;
mod merge;
mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::batch::{Batch, CollectionId, CollectionInfo, Commit};
use crate::deleted::Deleted;
use crate::disk::Disk;
use crate::error::Error;
use crate::log::{self, Record};
use crate::manifest::{SegmentRecord, StoreError};
use crate::options::{Durability, Options};
use crate::recover::remove;
use crate::run::Run;
use crate::segment::{self, Segment, Writing};
use crate::snapshot::Part;
use crate::stage::{BYTES_OF_A_DELETE, stage};
use crate::state::State;
use crate::sync::{Condvar, Mutex, MutexGuard, RwLock};

pub(crate) use background::Background;
pub(crate) use files::Files;

/// The state that readers see.
#[derive(Debug)]
pub(crate) struct Published(RwLock<Arc<State>>);

impl Published {
    pub(crate) fn new(state: State) -> Self {
        Published(RwLock::new(Arc::new(state)))
    }

    pub(crate) fn get(&self) -> Arc<State> {
        Arc::clone(&self.0.read())
    }

    pub(crate) fn set(&self, state: State) {
        let state = Arc::new(state);
        let before = std::mem::replace(&mut *self.0.write(), state);
        // What only the old state held is freed here, when readers can go on.
        drop(before);
    }
}

/// The deleted rows of each segment, by its number, as of what is flushed: those that the manifest
/// names. The published state may have more.
pub(crate) type FlushedDeletes = BTreeMap<u64, Deleted>;

#[derive(Debug)]
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    options: Options,
    published: Arc<Published>,
    /// Held by whoever merges.
    merging: Mutex<()>,
    /// Held while the list of segments must not change, or is being changed.
    segments: Mutex<()>,
    queue: Mutex<Queue>,
    /// Told whenever a leader is done.
    changed: Condvar,
    /// Shared with [`Files`].
    next_segment: Arc<AtomicU64>,
    /// Set when long work must end.
    closing: AtomicBool,
    /// Files that no manifest lists and that could not be removed.
    useless: Mutex<Vec<String>>,
    /// Segments that turned out to be damaged, which merges in the background leave alone.
    damaged: Mutex<BTreeSet<String>>,
    signals: background::Signals,
}

#[derive(Debug)]
struct Queue {
    /// Every batch that has a sequence, written or not.
    staged: State,
    /// The records of those that are not yet written.
    pending: Vec<Record>,
    /// Bytes of rows in memory and of deletes that are not flushed.
    memory_bytes: usize,
    memory_rows: usize,
    /// Bytes of deletes: of those that are being flushed, and of those that came since.
    frozen_deletes: usize,
    new_deletes: usize,
    /// Bytes of records since the log was begun that is being written.
    log_bytes: usize,
    /// Runs up to this generation are being flushed, and must stay as they are.
    frozen: u64,
    /// Generation of the runs that are being added.
    generation: u64,
    flushed_deletes: FlushedDeletes,
    /// Commits up to here are published, so in the log and, at `Durability::Sync`, synced.
    written: u64,
    /// Commits up to here are on disk for certain.
    synced: u64,
    /// Whether the next leader must sync, whatever the options say.
    sync_wanted: bool,
    /// The token of the leader; `None` while there is one.
    files: Option<Files>,
    sizes: FileSizes,
    /// Why nothing more may be written.
    poisoned: Option<String>,
}

/// Bytes in memory beyond which a database is flushed when it is closed, so that the next opening need
/// not read them out of the log.
const REPLAYED_AT_MOST: usize = 1 << 20;

/// Bytes of the files that are not segments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FileSizes {
    pub(crate) logs: u64,
    pub(crate) log_bytes: u64,
    pub(crate) manifest_bytes: u64,
}

impl Queue {
    fn check(&self) -> Result<(), Error> {
        match &self.poisoned {
            None => Ok(()),
            Some(cause) => Err(Error::Poisoned {
                cause: cause.clone(),
            }),
        }
    }

    fn poison(&mut self, error: &Error) {
        self.poisoned.get_or_insert_with(|| error.to_string());
    }

    fn count_memory(&mut self) {
        let deletes = self.frozen_deletes + self.new_deletes;
        self.memory_bytes = self.staged.memory_bytes() + deletes;
        self.memory_rows = self.staged.memory_rows();
    }
}

impl Writer {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        options: Options,
        published: Arc<Published>,
        files: Files,
        flushed_deletes: FlushedDeletes,
    ) -> Writer {
        let staged = State::clone(&published.get());
        let next_segment = files.segment_numbers();
        let mut queue = Queue {
            pending: Vec::new(),
            memory_bytes: 0,
            memory_rows: 0,
            frozen_deletes: 0,
            new_deletes: 0,
            log_bytes: 0,
            frozen: 0,
            generation: 1,
            flushed_deletes,
            written: staged.sequence,
            synced: staged.sequence,
            sync_wanted: false,
            sizes: files.sizes(),
            files: Some(files),
            poisoned: None,
            staged,
        };
        queue.count_memory();
        Writer {
            disk,
            options,
            published,
            merging: Mutex::new(()),
            segments: Mutex::new(()),
            next_segment,
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            closing: AtomicBool::new(false),
            useless: Mutex::new(Vec::new()),
            damaged: Mutex::new(BTreeSet::new()),
            signals: background::Signals::default(),
        }
    }

    pub(crate) fn sizes(&self) -> FileSizes {
        self.queue.lock().sizes
    }

    pub(crate) fn background_error(&self) -> Option<String> {
        self.signals.error()
    }

    pub(crate) fn create_collection(
        &self,
        name: &str,
        bits: u32,
        properties: &[u8],
    ) -> Result<CollectionId, Error> {
        if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
            return Err(Error::BadName {
                name: name.to_owned(),
            });
        }
        if !(8..=65_536).contains(&bits) {
            return Err(Error::BadWidth { bits });
        }
        let mut queue = self.queue.lock();
        queue.check()?;
        if queue.staged.by_name(name).is_some() {
            return Err(Error::CollectionExists {
                name: name.to_owned(),
            });
        }
        let number = queue.staged.next_collection;
        if number == u32::MAX {
            return Err(Error::TooLarge {
                what: "the number of collections ever created",
                found: u64::from(number),
                limit: u64::from(u32::MAX) - 1,
            });
        }
        let id = CollectionId { number, bits };
        let info = CollectionInfo {
            id,
            name: name.to_owned(),
            bits,
            properties: properties.to_vec(),
        };
        let sequence = queue.staged.sequence + 1;
        queue.pending.push(Record::new(
            sequence,
            64 + name.len() + properties.len(),
            |body| {
                body.create_collection(number, bits, name, properties);
            },
        ));
        queue.staged.add_collection(info, None);
        queue.staged.sequence = sequence;
        self.wait(queue, sequence, true)?;
        Ok(id)
    }

    /// Takes a collection away, with all its rows.
    pub(crate) fn drop_collection(&self, id: CollectionId) -> Result<(), Error> {
        let mut queue = self.queue.lock();
        queue.check()?;
        let number = id.number;
        if queue.staged.collection(id).is_none() || !queue.staged.remove_collection(number) {
            return Err(Error::UnknownCollection { number });
        }
        let sequence = queue.staged.sequence + 1;
        let record = Record::new(sequence, 16, |body| body.drop_collection(number));
        queue.pending.push(record);
        queue.staged.sequence = sequence;
        queue.count_memory();
        self.wait(queue, sequence, true)
    }

    pub(crate) fn commit(&self, batch: Batch) -> Result<Commit, Error> {
        let mut queue = self.make_room(batch.rows())?;
        queue.check()?;
        let sequence = queue.staged.sequence + 1;
        let staged = stage(batch, &queue.staged, sequence, queue.generation)?;
        let mut commit = Commit {
            sequence,
            assigned: staged.assigned,
            deleted: staged.deleted,
            replaced: staged.replaced,
        };
        let changes = staged.changes;
        if changes.is_empty() {
            commit.sequence = sequence - 1;
            return Ok(commit);
        }
        let bytes = changes.iter().map(|change| change.bytes() + 128).sum();
        let record = Record::new(sequence, bytes, |body| {
            for change in &changes {
                if !change.gone.is_empty() {
                    body.delete(change.collection, &change.gone);
                }
                if let Some(run) = &change.run {
                    body.insert(change.collection, run);
                }
            }
        });
        queue.log_bytes += record.len();
        queue.pending.push(record);
        let frozen = queue.frozen;
        for change in changes {
            queue.memory_bytes += change.bytes();
            queue.memory_rows += change.run.as_ref().map_or(0, Run::len);
            queue.new_deletes += change.gone.len() * BYTES_OF_A_DELETE;
            if let Some(collection) = queue.staged.by_number_mut(change.collection) {
                change.apply(collection, frozen);
            }
        }
        queue.staged.sequence = sequence;
        let rows = queue.memory_rows;
        self.wait(queue, sequence, false)?;
        self.tell_of_rows(rows);
        Ok(commit)
    }

    /// Lets the thread that flushes know how many rows are in memory, after a commit.
    fn tell_of_rows(&self, rows: usize) {
        if self.options.background && rows > self.rows_at_rest() {
            let (soon, many) = (self.options.flush_rows, background::MANY);
            let now = rows > soon.saturating_mul(many);
            self.signals.committed(rows > soon, now);
        }
    }

    /// Rows that stay in memory when nothing is committed: so few are scanned in no time.
    fn rows_at_rest(&self) -> usize {
        self.options.flush_rows / 16
    }

    /// Whether so much is in memory that it should be flushed.
    fn is_full(&self, queue: &Queue) -> bool {
        // What is in the log must be read to open the database: records of few bytes each take more
        // there than in memory.
        let log_limit = self.options.memory_limit.saturating_mul(2);
        queue.log_bytes > log_limit || queue.memory_bytes > self.options.memory_limit
    }

    /// Waits until a batch of so many rows may come into memory: while a flush is under way, as much
    /// again as the limit may come in beside it.
    ///
    /// This comes before anything of the batch is written, so that a flush which fails (a full disk)
    /// refuses the batch, and memory does not grow without bound.
    fn make_room(&self, rows: usize) -> Result<MutexGuard<'_, Queue>, Error> {
        let mut queue = self.queue.lock();
        if queue.memory_rows + rows > u32::MAX as usize && queue.memory_rows > 0 {
            drop(queue);
            self.flush()?;
            queue = self.queue.lock();
        }
        if self.is_full(&queue) {
            let waits =
                !self.options.background || queue.memory_bytes / 2 > self.options.memory_limit;
            drop(queue);
            if waits {
                self.flush_if_full()?;
                self.merge_what_is_due();
            } else {
                self.signals.flush();
            }
            queue = self.queue.lock();
        }
        Ok(queue)
    }

    /// Returns when all that was committed is on disk for certain.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let queue = self.queue.lock();
        let sequence = queue.staged.sequence;
        self.wait(queue, sequence, true)
    }

    /// Waits until commit `sequence` is published, and synced if so asked; leads if nobody does.
    fn wait(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        sequence: u64,
        synced: bool,
    ) -> Result<(), Error> {
        loop {
            let done = if synced { queue.synced } else { queue.written };
            if done >= sequence {
                return Ok(());
            }
            queue.check()?;
            queue.sync_wanted |= synced;
            match queue.files.take() {
                None => self.changed.wait(&mut queue),
                Some(mut files) => {
                    let written = self.write_pending(&mut queue, &mut files);
                    self.hand_back(&mut queue, files);
                    written?;
                }
            }
        }
    }

    /// As the leader: writes what is pending, syncs it if need be, and publishes it.
    fn write_pending(
        &self,
        queue: &mut MutexGuard<'_, Queue>,
        files: &mut Files,
    ) -> Result<(), Error> {
        let pending = std::mem::take(&mut queue.pending);
        let state = queue.staged.clone();
        let wanted = std::mem::take(&mut queue.sync_wanted);
        let sync = wanted || self.options.durability == Durability::Sync;
        let written = MutexGuard::unlocked(queue, || {
            files.log.append(pending)?;
            if sync { files.log.sync() } else { Ok(()) }
        });
        if let Err(error) = &written {
            queue.poison(error);
            return written;
        }
        queue.written = state.sequence;
        if sync {
            queue.synced = state.sequence;
        }
        self.published.set(state);
        Ok(())
    }

    /// As the leader: steps down.
    fn hand_back(&self, queue: &mut MutexGuard<'_, Queue>, files: Files) {
        queue.sizes = files.sizes();
        queue.files = Some(files);
        self.changed.notify_all();
    }

    /// Becomes the leader.
    fn lead(&self, queue: &mut MutexGuard<'_, Queue>) -> Result<Files, Error> {
        loop {
            queue.check()?;
            if let Some(files) = queue.files.take() {
                return Ok(files);
            }
            self.changed.wait(queue);
        }
    }

    /// Does `work` as the leader.
    fn as_leader<T>(
        &self,
        work: impl FnOnce(&mut MutexGuard<'_, Queue>, &mut Files) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut queue = self.queue.lock();
        let mut files = self.lead(&mut queue)?;
        let result = work(&mut queue, &mut files);
        self.hand_back(&mut queue, files);
        result
    }

    /// As the leader: what came of storing a manifest. If it is stored, or may be, the files that were
    /// `created` for it must stay. If it is in doubt, nothing more may be written: what memory holds
    /// and what the manifest on disk says may differ.
    fn stored<T>(
        &self,
        queue: &mut Queue,
        stored: Result<T, StoreError>,
        created: &mut Vec<String>,
    ) -> Result<T, Error> {
        match stored {
            Ok(value) => {
                created.clear();
                Ok(value)
            }
            Err(failed) => {
                if failed.maybe_stored {
                    created.clear();
                    queue.poison(&failed.error);
                }
                Err(failed.error)
            }
        }
    }

    /// Lets long work end: merges, and flushes in the background.
    fn give_up_long_work(&self, give_up: bool) {
        self.closing.store(give_up, Ordering::Relaxed);
    }

    /// Changes the list of parts, for readers and for later commits alike.
    fn change_parts(
        &self,
        queue: &mut MutexGuard<'_, Queue>,
        change: impl Fn(&mut State) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut published = State::clone(&self.published.get());
        if let Err(error) = change(&mut queue.staged).and_then(|()| change(&mut published)) {
            // All that is read here was read before, so this does not happen; if it did, the manifest
            // would list segments that memory does not know.
            queue.poison(&error);
            return Err(error);
        }
        queue.count_memory();
        self.published.set(published);
        Ok(())
    }

    /// Writes a segment of the rows of `inputs` that are not deleted, and opens it. Its file's name,
    /// which is not synced, is added to `created` before.
    fn write_segment(
        &self,
        collection: &CollectionInfo,
        inputs: &[Part],
        created: &mut Vec<String>,
    ) -> Result<Option<(SegmentRecord, Arc<Segment>)>, Error> {
        let number = self.next_segment.fetch_add(1, Ordering::Relaxed);
        created.push(segment::file_name(number));
        let writing = Writing {
            disk: &*self.disk,
            map: self.options.memory_map,
            builder: self.options.builder.as_deref(),
            may_go_on: &|| match self.closing.load(Ordering::Relaxed) {
                false => Ok(()),
                true => Err(Error::Closing),
            },
        };
        let Some(record) = writing.write(number, collection, inputs)? else {
            return Ok(None);
        };
        let map = self.options.memory_map;
        let segment = Segment::open(&*self.disk, &record, collection.bits, map)?;
        // Now, when it can still be given up: later its ids and their filter must be read without fail.
        segment.ids()?;
        segment.find(record.smallest_id)?;
        Ok(Some((record, Arc::new(segment))))
    }

    /// Removes files that no manifest lists. Those that cannot be removed are tried again by
    /// [`erase`](Self::erase), or by the next opening.
    fn remove(&self, names: &[String]) {
        for name in names {
            if remove(&*self.disk, name).is_err() {
                self.useless.lock().push(name.clone());
            }
        }
    }

    /// Returns when every file that was to be removed is gone for certain.
    fn erase(&self) -> Result<(), Error> {
        let mut useless = self.useless.lock();
        while let Some(name) = useless.last() {
            remove(&*self.disk, name)?;
            useless.pop();
        }
        drop(useless);
        for name in [segment::DIRECTORY, log::DIRECTORY] {
            self.disk.sync_dir(name).map_err(Error::io("sync", name))?;
        }
        Ok(())
    }

    /// Syncs and seals the log. Nothing can be written afterwards.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.sync()?;
        if self.queue.lock().memory_bytes > REPLAYED_AT_MOST {
            self.flush()?;
        }
        self.as_leader(|queue, files| {
            let sealed = files.seal(&*self.disk);
            queue.poisoned = Some("the database was closed".to_owned());
            sealed
        })
    }
}
