//! Flushing: rows in memory become segments, and the log that held them goes.
//!
//! 1. The log is sealed and another begun; from here on new rows belong to the next generation of
//!    runs. What is published now is *frozen*.
//! 2. The frozen runs of each collection are written as one segment. Commits go on meanwhile, and may
//!    delete rows of the frozen runs.
//! 3. A manifest is stored that lists the segments and the rows of older ones that were deleted in the
//!    frozen state, says that all commits up to it are flushed, and lists the sealed log no more.
//! 4. In memory the segments take the place of the frozen runs; what was deleted of these since is
//!    deleted in the segments.
//!
//! A crash before 3 leaves the logs as they were; segments that were written are swept.

use std::sync::Arc;

use super::{Files, Queue, Writer};
use crate::error::Error;
use crate::log::Record;
use crate::manifest::SegmentRecord;
use crate::segment::Segment;
use crate::snapshot::Part;
use crate::state::State;
use crate::sync::MutexGuard;

/// The rows in memory of one collection, and the segment that was written of them.
struct Written {
    collection: u32,
    runs: Vec<Part>,
    /// `None` if all the rows were deleted.
    segment: Option<(SegmentRecord, Arc<Segment>)>,
}

impl Writer {
    /// Writes all rows in memory into segments, and starts a new log.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.flush_if(|_| true)?;
        self.merge_what_is_due();
        Ok(())
    }

    /// As [`flush`](Self::flush), if the memory is over the limit when it is this thread's turn.
    pub(super) fn flush_if_full(&self) -> Result<bool, Error> {
        self.flush_if(|queue| self.is_full(queue))
    }

    /// As [`flush_if_full`](Self::flush_if_full), if there are more than `rows` in memory.
    pub(super) fn flush_if_above(&self, rows: usize) -> Result<bool, Error> {
        self.flush_if(|queue| queue.memory_rows > rows)
    }

    /// Says whether anything was flushed.
    pub(super) fn flush_if(&self, wanted: impl FnOnce(&Queue) -> bool) -> Result<bool, Error> {
        // No segment comes or goes until the frozen state is published: its deletes are those of
        // segments that the manifest lists.
        let _segments = self.segments.lock();
        let flushed = self.try_flush_if(wanted);
        self.queue.lock().frozen = 0;
        self.signals.flushed(&flushed);
        flushed
    }

    fn try_flush_if(&self, wanted: impl FnOnce(&Queue) -> bool) -> Result<bool, Error> {
        let frozen = self.as_leader(|queue, files| {
            if wanted(queue) {
                self.freeze(queue, files)
            } else {
                Ok(None)
            }
        })?;
        let Some((frozen, generation)) = frozen else {
            return Ok(false);
        };
        let mut created = Vec::new();
        let written = self.write_frozen(&frozen, generation, &mut created);
        let written = written.inspect_err(|_| self.remove(&created))?;
        let result = self.as_leader(|queue, files| {
            let records = written
                .iter()
                .filter_map(|w| Some(w.segment.as_ref()?.0.clone()));
            let records = records.collect();
            let stored = MutexGuard::unlocked(queue, || {
                files.publish_flush(&*self.disk, &frozen, records, &mut created)
            });
            let unlisted = self.stored(queue, stored, &mut created)?;
            self.put_segments(queue, &written, &frozen)?;
            Ok(unlisted)
        });
        self.remove(&created);
        self.remove(&result?);
        Ok(true)
    }

    /// As the leader: seals the log and begins another. Returns what is published then, and the
    /// generation of its last runs; `None` if all of it is in segments already.
    fn freeze(
        &self,
        queue: &mut MutexGuard<'_, Queue>,
        files: &mut Files,
    ) -> Result<Option<(Arc<State>, u64)>, Error> {
        let generation = queue.generation;
        queue.generation += 1;
        queue.frozen = generation;
        queue.frozen_deletes += std::mem::take(&mut queue.new_deletes);
        self.write_pending(queue, files)?;
        let frozen = self.published.get();
        if frozen.sequence == files.flushed_sequence() {
            return Ok(None);
        }
        let rotated = MutexGuard::unlocked(queue, || files.rotate(&*self.disk, frozen.sequence));
        // If the manifest is in doubt, it may say that the log which is being written is sealed.
        self.stored(queue, rotated, &mut Vec::new())?;
        queue.synced = queue.synced.max(frozen.sequence);
        queue.log_bytes = queue.pending.iter().map(Record::len).sum();
        Ok(Some((frozen, generation)))
    }

    fn write_frozen(
        &self,
        frozen: &State,
        generation: u64,
        created: &mut Vec<String>,
    ) -> Result<Vec<Written>, Error> {
        let mut written = Vec::new();
        for collection in &frozen.collections {
            let of_it = |part: &&Part| part.as_run().is_some_and(|r| r.generation <= generation);
            let runs: Vec<Part> = collection.parts.iter().filter(of_it).cloned().collect();
            if runs.is_empty() {
                continue;
            }
            let info = &collection.info;
            written.push(Written {
                collection: info.id.number,
                segment: self.write_segment(info, &runs, created)?,
                runs,
            });
        }
        Ok(written)
    }

    /// As the leader: puts the segments in the place of the runs, for readers and for later commits.
    fn put_segments(
        &self,
        queue: &mut MutexGuard<'_, Queue>,
        written: &[Written],
        frozen: &State,
    ) -> Result<(), Error> {
        let new = written
            .iter()
            .filter_map(|w| Some((w.segment.as_ref()?.0.number, None)));
        let older = frozen
            .deleted_rows()
            .map(|(number, rows)| (number, rows.clone()));
        queue.flushed_deletes = older.chain(new).collect();
        queue.frozen_deletes = 0;
        self.change_parts(queue, |state| {
            for Written {
                collection,
                runs,
                segment,
            } in written
            {
                if let Some(state) = state.by_number_mut(*collection) {
                    let segment = segment.as_ref().map(|(_, segment)| Arc::clone(segment));
                    state.replace_parts(runs, segment)?;
                }
            }
            Ok(())
        })
    }
}
