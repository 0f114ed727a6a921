//! What the leader works with: the log that is being written and the manifest. Flushing and sealing.

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Error;
use crate::log::{self, LogWriter};
use crate::manifest::{CollectionRecord, LogRecord, Manifest, StoreError};
use crate::run::Run;
use crate::segment::{self, Segment};
use crate::state::{CollectionState, State};
use crate::writer::FileSizes;

/// The files that only one thread at a time may work with.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) log: LogWriter,
    /// The manifest on disk, save that its numbers to be given next may be ahead: a number that was
    /// given to a file which was then not needed is not given again.
    manifest: Manifest,
    manifest_bytes: u64,
    /// Bytes of the sealed logs that the manifest still lists.
    sealed_bytes: u64,
    map: bool,
}

/// What a flush changed.
#[derive(Debug)]
pub(crate) struct Flushed {
    /// The new segments of each collection, by its number.
    pub(crate) segments: Vec<(u32, Vec<Arc<Segment>>)>,
    /// Names of the logs whose rows are all in segments now.
    pub(crate) old_logs: Vec<String>,
}

impl Files {
    /// Creates the next log for a database whose manifest is `manifest`, and stores the manifest
    /// that lists it.
    pub(crate) fn start(
        disk: &dyn Disk,
        mut manifest: Manifest,
        sequence: u64,
        sealed_bytes: u64,
        map: bool,
    ) -> Result<Files, Error> {
        let log = LogWriter::create(disk, manifest.next_log, sequence + 1)?;
        manifest.edition += 1;
        manifest.next_log += 1;
        manifest.logs.push(LogRecord {
            number: log.number(),
            first_sequence: sequence + 1,
            seal: None,
        });
        let manifest_bytes = manifest.store(disk).map_err(|failed| failed.error)?;
        Ok(Files {
            log,
            manifest,
            manifest_bytes,
            sealed_bytes,
            map,
        })
    }

    pub(crate) fn sizes(&self) -> FileSizes {
        FileSizes {
            logs: self.manifest.logs.len() as u64,
            log_bytes: self.sealed_bytes + self.log.length(),
            manifest_bytes: self.manifest_bytes,
        }
    }

    /// A number that no collection ever had.
    pub(crate) fn next_collection(&self, state: &State) -> u32 {
        let last = state.collections.last().map_or(0, |c| c.info.id.number);
        self.manifest.next_collection.max(last.saturating_add(1))
    }

    /// Writes the runs of `frozen`, the state that is published, into segments, stores a manifest
    /// with them and a new log, and goes on with that log. `Ok(None)` if there is nothing to do.
    ///
    /// After an error everything is as before, unless the error says that the new manifest may be
    /// on disk.
    pub(crate) fn flush(
        &mut self,
        disk: &dyn Disk,
        frozen: &State,
    ) -> Result<Option<Flushed>, StoreError> {
        if frozen.sequence == self.manifest.flushed_sequence {
            return Ok(None);
        }
        let mut created = Vec::new();
        let flushed = self.flush_to(disk, frozen, &mut created);
        if flushed.as_ref().is_err_and(|failed| !failed.maybe_stored) {
            for name in created {
                // If it cannot be removed, the next opening will.
                let _ = disk.remove(&name);
            }
        }
        flushed.map(Some)
    }

    fn flush_to(
        &mut self,
        disk: &dyn Disk,
        frozen: &State,
        created: &mut Vec<String>,
    ) -> Result<Flushed, StoreError> {
        let not_stored = |error| StoreError {
            error,
            maybe_stored: false,
        };
        let next_log = self.manifest.next_log;
        self.manifest.next_log += 1;
        created.push(log::file_name(next_log));
        let log = LogWriter::create(disk, next_log, frozen.sequence + 1).map_err(not_stored)?;

        let mut records = Vec::new();
        let mut segments = Vec::new();
        for collection in &frozen.collections {
            let Some(run) = merged(collection) else {
                continue;
            };
            let number = self.manifest.next_segment;
            self.manifest.next_segment += 1;
            created.push(segment::file_name(number));
            let info = &collection.info;
            let record = segment::write(disk, number, info, &run).map_err(not_stored)?;
            let segment = Segment::open(disk, &record, info.bits, self.map).map_err(not_stored)?;
            segments.push((info.id.number, vec![Arc::new(segment)]));
            records.push(record);
        }
        disk.sync_dir(segment::DIRECTORY)
            .map_err(Error::io("sync", segment::DIRECTORY))
            .map_err(not_stored)?;

        let mut next = self.manifest.clone();
        next.edition += 1;
        next.flushed_sequence = frozen.sequence;
        next.next_collection = self.next_collection(frozen);
        next.collections = frozen.collections.iter().map(|c| record_of(c)).collect();
        next.segments.extend(records);
        next.logs = vec![LogRecord {
            number: next_log,
            first_sequence: frozen.sequence + 1,
            seal: None,
        }];
        self.manifest_bytes = next.store(disk)?;
        let old_logs = self
            .manifest
            .logs
            .iter()
            .map(|log| log::file_name(log.number))
            .collect();
        self.manifest = next;
        self.log = log;
        self.sealed_bytes = 0;
        Ok(Flushed { segments, old_logs })
    }

    /// Writes into the manifest what the log holds: nothing more may be written to it.
    pub(crate) fn seal(&mut self, disk: &dyn Disk) -> Result<(), Error> {
        let mut next = self.manifest.clone();
        next.edition += 1;
        if let Some(log) = next.logs.last_mut() {
            log.seal = Some(self.log.seal());
        }
        self.manifest_bytes = next.store(disk).map_err(|failed| failed.error)?;
        self.manifest = next;
        Ok(())
    }
}

fn record_of(collection: &CollectionState) -> CollectionRecord {
    CollectionRecord {
        number: collection.info.id.number,
        bits: collection.info.bits,
        name: collection.info.name.clone(),
        properties: collection.info.properties.clone(),
        largest_id: collection.largest_id,
    }
}

/// All runs of a collection as one, or `None` if it has none.
fn merged(collection: &CollectionState) -> Option<Arc<Run>> {
    // Runs get smaller toward the end of the list: from there each row is copied about twice.
    let mut runs: Vec<&Arc<Run>> = collection.runs().collect();
    let mut merged = Arc::clone(runs.pop()?);
    while let Some(run) = runs.pop() {
        merged = Arc::new(Run::merge(run, &merged));
    }
    Some(merged)
}
