//! What the leader works with: the log that is being written, and the manifest.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::FileSizes;
use crate::deleted::{self, Deleted};
use crate::disk::Disk;
use crate::error::Error;
use crate::log::{self, LogWriter};
use crate::manifest::{CollectionRecord, Manifest, SegmentRecord, StoreError};
use crate::segment;
use crate::state::{CollectionState, State};

/// The files that only one thread at a time may work with.
#[derive(Debug)]
pub(crate) struct Files {
    pub(super) log: LogWriter,
    /// The manifest on disk, save that its numbers to be given next may be ahead: a number that was
    /// given to a file which was then not needed is not given again.
    manifest: Manifest,
    manifest_bytes: u64,
    /// The number of the next segment, which flush and merge take from without leading.
    next_segment: Arc<AtomicU64>,
}

/// An error of [`Files::store`] or what comes before it.
fn not_stored(error: Error) -> StoreError {
    StoreError {
        error,
        maybe_stored: false,
    }
}

/// An error after which nothing more may be written.
fn in_doubt(error: Error) -> StoreError {
    StoreError {
        error,
        maybe_stored: true,
    }
}

impl Files {
    /// Creates the next log for a database whose manifest is `manifest`, and stores the manifest
    /// that lists it.
    pub(crate) fn start(
        disk: &dyn Disk,
        mut manifest: Manifest,
        sequence: u64,
    ) -> Result<Files, Error> {
        let log = LogWriter::create(disk, manifest.next_log, sequence + 1)?;
        manifest.edition += 1;
        manifest.next_log += 1;
        manifest.logs.push(log.record());
        let manifest_bytes = manifest.store(disk).map_err(|failed| failed.error)?;
        Ok(Files {
            log,
            next_segment: Arc::new(AtomicU64::new(manifest.next_segment)),
            manifest,
            manifest_bytes,
        })
    }

    pub(crate) fn sizes(&self) -> FileSizes {
        let sealed = self.manifest.logs.iter().filter_map(|log| log.seal);
        FileSizes {
            logs: self.manifest.logs.len() as u64,
            log_bytes: sealed.map(|seal| seal.length).sum::<u64>() + self.log.position(),
            manifest_bytes: self.manifest_bytes,
        }
    }

    /// Every commit up to here is in the segments.
    pub(super) fn flushed_sequence(&self) -> u64 {
        self.manifest.flushed_sequence
    }

    /// Where the numbers of segments are taken from.
    pub(super) fn segment_numbers(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.next_segment)
    }

    /// Seals the log, in which commits up to `sequence` are, and goes on with another, unless there
    /// is nothing in it.
    pub(super) fn rotate(&mut self, disk: &dyn Disk, sequence: u64) -> Result<(), StoreError> {
        if self.log.is_empty() {
            return Ok(());
        }
        // What is sealed must be on disk before a manifest says so. If the sync fails, a later one that
        // succeeds would say nothing of what this one did not write: the log is of no use any more.
        self.log.end().map_err(in_doubt)?;
        let number = self.manifest.next_log;
        self.manifest.next_log += 1;
        // If it cannot be removed, the next opening will.
        let remove = || disk.remove(&log::file_name(number));
        let log = LogWriter::create(disk, number, sequence + 1)
            .inspect_err(|_| drop(remove()))
            .map_err(not_stored)?;
        let mut next = self.manifest.clone();
        if let Some(last) = next.logs.last_mut() {
            last.seal = Some(self.log.seal());
        }
        next.logs.push(log.record());
        self.store(disk, next).inspect_err(|failed| {
            if !failed.maybe_stored {
                drop(remove());
            }
        })?;
        self.log = log;
        Ok(())
    }

    /// Lists `segments`, which hold the rows in memory of `frozen`, and the rows of older segments
    /// that are deleted in it, and lists no log any more whose commits `frozen` has all. Names of
    /// files that are written are added to `created`. Returns the names of those not listed any more.
    pub(super) fn publish_flush(
        &mut self,
        disk: &dyn Disk,
        frozen: &State,
        segments: Vec<SegmentRecord>,
        created: &mut Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        let mut next = self.manifest.clone();
        next.flushed_sequence = frozen.sequence;
        next.next_collection = frozen.next_collection;
        next.collections = frozen.collections.iter().map(record_of).collect();
        let kept = |segment: &SegmentRecord| {
            let of_it = |c: &CollectionRecord| c.number == segment.collection;
            next.collections.iter().any(of_it)
        };
        next.segments.retain(kept);
        let deleted: HashMap<u64, &Deleted> = frozen.deleted_rows().collect();
        for record in &mut next.segments {
            let before = record.deletes.map_or(0, |deletes| deletes.rows);
            let rows = deleted.get(&record.number).and_then(|rows| rows.as_ref());
            // Rows are only ever added to what is deleted in a segment.
            if let Some(rows) = rows
                && rows.len() > before
            {
                created.push(deleted::file_name(record.number, frozen.sequence));
                let deletes = deleted::write(disk, record.number, frozen.sequence, rows);
                record.deletes = Some(deletes.map_err(not_stored)?);
            }
        }
        next.segments.extend(segments);
        next.logs.retain(|log| {
            log.seal
                .is_none_or(|seal| seal.last_sequence > frozen.sequence)
        });
        self.publish(disk, next)
    }

    /// Lists `output` in the place of the segments `inputs`, with the rows of it that are deleted as
    /// of what is flushed. Returns the names of files that are not listed any more.
    pub(super) fn publish_merge(
        &mut self,
        disk: &dyn Disk,
        inputs: &[u64],
        output: Option<SegmentRecord>,
        deleted: &Deleted,
        created: &mut Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        let mut next = self.manifest.clone();
        next.segments
            .retain(|segment| !inputs.contains(&segment.number));
        if let Some(mut output) = output {
            if let Some(rows) = deleted {
                let sequence = next.flushed_sequence;
                created.push(deleted::file_name(output.number, sequence));
                let deletes = deleted::write(disk, output.number, sequence, rows);
                output.deletes = Some(deletes.map_err(not_stored)?);
            }
            next.segments.push(output);
        }
        self.publish(disk, next)
    }

    /// Stores a manifest that lists other segments. Returns the names of files that it does not list
    /// any more.
    fn publish(&mut self, disk: &dyn Disk, next: Manifest) -> Result<Vec<String>, StoreError> {
        disk.sync_dir(segment::DIRECTORY)
            .map_err(Error::io("sync", segment::DIRECTORY))
            .map_err(not_stored)?;
        let mut before = self.manifest.files();
        self.store(disk, next)?;
        let now = self.manifest.files();
        before.retain(|name| !now.contains(name));
        Ok(before)
    }

    /// Writes into the manifest what the log holds: nothing more may be written to it.
    pub(super) fn seal(&mut self, disk: &dyn Disk) -> Result<(), Error> {
        self.log.end()?;
        let mut next = self.manifest.clone();
        if let Some(log) = next.logs.last_mut() {
            log.seal = Some(self.log.seal());
        }
        self.store(disk, next).map_err(|failed| failed.error)
    }

    fn store(&mut self, disk: &dyn Disk, mut next: Manifest) -> Result<(), StoreError> {
        next.edition += 1;
        next.next_segment = self.next_segment.load(Ordering::Relaxed);
        self.manifest_bytes = next.store(disk)?;
        self.manifest = next;
        Ok(())
    }
}

fn record_of(collection: &Arc<CollectionState>) -> CollectionRecord {
    CollectionRecord {
        number: collection.info.id.number,
        bits: collection.info.bits,
        name: collection.info.name.clone(),
        properties: collection.info.properties.clone(),
        largest_id: collection.largest_id,
    }
}
