//! The writing half of an open database: group commit and flush.
//!
//! A commit is checked, numbered and added to the staged state under one short lock. Then one of the
//! committing threads, the leader, writes everything that is staged, and syncs it, without the lock;
//! the others wait for it, and what they staged meanwhile is the next leader's. Whoever holds
//! [`Files`] is the leader, so there is never more than one.
//!
//! **What must stay true:** the published state never holds a batch that is not in the log as
//! durably as the options ask.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use crate::batch::{Batch, CollectionId, CollectionInfo, Commit};
use crate::disk::Disk;
use crate::error::Error;
use crate::flush::{Files, Flushed};
use crate::log::Record;
use crate::stage::stage;
use crate::state::State;
use crate::storage::{Durability, Options};

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

#[derive(Debug)]
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    options: Options,
    published: Arc<Published>,
    queue: Mutex<Queue>,
    /// Told whenever a leader is done.
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    /// Every batch that has a sequence, written or not.
    staged: State,
    /// The records of those that are not yet written.
    pending: Vec<Record>,
    /// Bytes of rows in memory.
    memory_bytes: usize,
    memory_rows: usize,
    /// Generation of the runs that are being added.
    generation: u64,
    next_collection: u32,
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
        self.memory_bytes = self.staged.memory_bytes();
        self.memory_rows = self.staged.memory_rows();
    }
}

impl Writer {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        options: Options,
        published: Arc<Published>,
        files: Files,
    ) -> Writer {
        let staged = State::clone(&published.get());
        let mut queue = Queue {
            pending: Vec::new(),
            memory_bytes: 0,
            memory_rows: 0,
            generation: 1,
            next_collection: files.next_collection(&staged),
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
            queue: Mutex::new(queue),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn sizes(&self) -> FileSizes {
        self.queue.lock().sizes
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
        let number = queue.next_collection;
        queue.next_collection = number.checked_add(1).ok_or(Error::TooLarge {
            what: "the number of collections ever created",
            found: u64::from(number),
            limit: u64::from(u32::MAX) - 1,
        })?;
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

    pub(crate) fn commit(&self, batch: Batch) -> Result<Commit, Error> {
        let mut queue = self.queue.lock();
        let fits = queue.memory_rows + batch.rows() <= u32::MAX as usize;
        if queue.memory_rows > 0 && (queue.memory_bytes > self.options.memory_limit || !fits) {
            // Before anything of the batch is written, so that a flush which fails (a full disk)
            // refuses the batch, and memory does not grow without bound.
            drop(queue);
            self.flush()?;
            queue = self.queue.lock();
        }
        queue.check()?;
        let sequence = queue.staged.sequence + 1;
        let staged = stage(batch, &queue.staged, sequence, queue.generation)?;
        let bytes = staged.bytes();
        if staged.runs.is_empty() {
            return Ok(Commit {
                sequence: sequence - 1,
                assigned: staged.assigned,
            });
        }
        queue.pending.push(Record::new(
            sequence,
            bytes + 64 * staged.runs.len(),
            |body| {
                for (collection, run) in &staged.runs {
                    body.insert(*collection, run);
                }
            },
        ));
        for (collection, run) in staged.runs {
            queue.memory_rows += run.len();
            if let Some(collection) = queue.staged.by_number_mut(collection) {
                collection.add_run(run);
            }
        }
        queue.memory_bytes += bytes;
        queue.staged.sequence = sequence;
        self.wait(queue, sequence, false)?;
        Ok(Commit {
            sequence,
            assigned: staged.assigned,
        })
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

    /// Writes all rows in memory into segments, and starts a new log.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut queue = self.queue.lock();
        let mut files = self.lead(&mut queue)?;
        // Rows that come from here on go into runs of the next generation, and their records into
        // the next log: the flush takes what was there until here, neither more nor less.
        let generation = queue.generation;
        queue.generation += 1;
        let result = self.flush_generation(&mut queue, &mut files, generation);
        self.hand_back(&mut queue, files);
        let old_logs = result?;
        drop(queue);
        for name in old_logs {
            // No manifest names it any more; if it cannot be removed, the next opening will.
            let _ = self.disk.remove(&name);
        }
        Ok(())
    }

    /// Returns the names of the logs that are not needed any more.
    fn flush_generation(
        &self,
        queue: &mut MutexGuard<'_, Queue>,
        files: &mut Files,
        generation: u64,
    ) -> Result<Vec<String>, Error> {
        self.write_pending(queue, files)?;
        let frozen = self.published.get();
        let flushed = MutexGuard::unlocked(queue, || files.flush(&*self.disk, &frozen));
        let Flushed { segments, old_logs } = match flushed {
            Ok(Some(flushed)) => flushed,
            Ok(None) => return Ok(Vec::new()),
            Err(failed) => {
                if failed.maybe_stored {
                    // The manifest on disk may be the new one, which does not know of the log that
                    // is being written.
                    queue.poison(&failed.error);
                }
                return Err(failed.error);
            }
        };
        let mut published = State::clone(&frozen);
        for state in [&mut queue.staged, &mut published] {
            for (collection, segments) in &segments {
                if let Some(collection) = state.by_number_mut(*collection) {
                    collection.replace_runs(generation, segments.clone());
                }
            }
        }
        queue.count_memory();
        queue.synced = queue.synced.max(published.sequence);
        self.published.set(published);
        Ok(old_logs)
    }

    /// Syncs and seals the log. Nothing can be written afterwards.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.sync()?;
        let mut queue = self.queue.lock();
        let mut files = self.lead(&mut queue)?;
        let sealed = files.seal(&*self.disk);
        queue.poisoned = Some("the database was closed".to_owned());
        self.hand_back(&mut queue, files);
        sealed
    }
}
