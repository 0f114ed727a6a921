//! Merging: several segments become one, without the rows that are deleted.
//!
//! The rows that a merge leaves out are those whose deletion is flushed. So, with or without the
//! merge, the manifest describes the database as of its flushed sequence, and the log goes on from
//! there. What is deleted while the merge is at work is carried over to the new segment when the
//! merge is published: what a flush made durable meanwhile in a delete file, the rest in memory.

use std::sync::Arc;

use super::Writer;
use super::policy::{self, Candidate};
use crate::batch::CollectionInfo;
use crate::error::Error;
use crate::segment;
use crate::snapshot::Part;
use crate::state::{CollectionState, carry_over};
use crate::sync::MutexGuard;

/// Segments to be merged, with the rows that are left out.
struct Job {
    collection: Arc<CollectionInfo>,
    inputs: Vec<Part>,
}

impl Writer {
    /// Does the smallest merge that is due. `false` if none is.
    fn merge_once(&self) -> Result<bool, Error> {
        let _merging = self.merging.lock();
        let limit = self.options.merge_limit;
        let chosen = |candidates: &[Candidate]| {
            let damaged = self.damaged.lock();
            let whole = |c: &&Candidate| !damaged.contains(&segment::file_name(c.number));
            let candidates: Vec<Candidate> = candidates.iter().filter(whole).copied().collect();
            vec![policy::choose(&candidates, limit)]
        };
        let bytes = |job: &Job| -> u64 {
            let segments = job.inputs.iter().filter_map(Part::as_segment);
            segments.map(|segment| segment.file_bytes()).sum()
        };
        match self.jobs(None, chosen).into_iter().min_by_key(bytes) {
            Some(job) => self.merge(job).map(|()| true),
            None => Ok(false),
        }
    }

    /// Does all merges that are due. A damaged segment does not keep others from being merged.
    pub(crate) fn merge_all_due(&self) -> Result<(), Error> {
        let mut damage = None;
        let merged = loop {
            match self.merge_once() {
                Ok(true) => {}
                Ok(false) => break damage.map_or(Ok(()), Err),
                Err(Error::Corrupt { file, offset, what })
                    if self.damaged.lock().insert(file.clone()) =>
                {
                    damage = Some(Error::Corrupt { file, offset, what });
                }
                Err(error) => break Err(error),
            }
        };
        self.signals.merged(&merged);
        merged
    }

    /// Has the merges done that are due after a flush: by the thread for it, or else now. If one
    /// fails, nothing is lost, and statistics tell.
    pub(super) fn merge_what_is_due(&self) {
        if self.options.background {
            self.signals.merge();
        } else {
            let _ = self.merge_all_due();
        }
    }

    /// Flushes, then merges all segments of a collection, or of each, into as few as can be. Rows
    /// that were deleted before are then in no file any more.
    pub(crate) fn compact(&self, collection: Option<u32>) -> Result<(), Error> {
        self.flush_if(|_| true)?;
        let _merging = self.merging.lock();
        for job in self.jobs(collection, policy::all) {
            self.merge(job)?;
        }
        self.erase()
    }

    /// What `choose` makes of each collection's segments. Must be called by whoever merges.
    fn jobs(&self, only: Option<u32>, choose: impl Fn(&[Candidate]) -> Vec<Vec<u64>>) -> Vec<Job> {
        let queue = self.queue.lock();
        let published = self.published.get();
        let mut jobs = Vec::new();
        let wanted =
            |c: &&Arc<CollectionState>| only.is_none_or(|number| c.info.id.number == number);
        for collection in published.collections.iter().filter(wanted) {
            // As of what is flushed.
            let flushed = |part: &Part| {
                let segment = part.as_segment()?;
                let deleted = queue.flushed_deletes.get(&segment.number())?;
                Some(Part::segment(Arc::clone(segment), deleted.clone()))
            };
            let parts: Vec<Part> = collection.parts.iter().filter_map(flushed).collect();
            let candidate = |part: &Part| {
                let segment = part.as_segment()?;
                Some(Candidate {
                    number: segment.number(),
                    bytes: segment.file_bytes(),
                    rows: u64::from(segment.rows()),
                    live: part.live(),
                })
            };
            let candidates: Vec<Candidate> = parts.iter().filter_map(candidate).collect();
            for numbers in choose(&candidates) {
                let of_it =
                    |part: &&Part| number_of(part).is_some_and(|number| numbers.contains(&number));
                let inputs: Vec<Part> = parts.iter().filter(of_it).cloned().collect();
                if !inputs.is_empty() {
                    jobs.push(Job {
                        collection: Arc::clone(&collection.info),
                        inputs,
                    });
                }
            }
        }
        jobs
    }

    fn merge(&self, Job { collection, inputs }: Job) -> Result<(), Error> {
        let mut created = Vec::new();
        let written = self.write_segment(&collection, &inputs, &mut created);
        let (record, segment) = written.inspect_err(|_| self.remove(&created))?.unzip();

        let _segments = self.segments.lock();
        let result = self.as_leader(|queue, files| {
            let numbers: Vec<u64> = inputs.iter().filter_map(number_of).collect();
            let mut now = Vec::with_capacity(inputs.len());
            for (input, number) in inputs.iter().zip(&numbers) {
                match queue.flushed_deletes.get(number) {
                    Some(deleted) => now.push((input, deleted)),
                    // The collection was dropped meanwhile, and nobody waits for the new segment.
                    None => return Ok(Vec::new()),
                }
            }
            let deleted = carry_over(now.into_iter(), segment.as_ref())?;
            let stored = MutexGuard::unlocked(queue, || {
                files.publish_merge(&*self.disk, &numbers, record, &deleted, &mut created)
            });
            let unlisted = self.stored(queue, stored, &mut created)?;
            for number in &numbers {
                queue.flushed_deletes.remove(number);
            }
            if let Some(segment) = &segment {
                queue.flushed_deletes.insert(segment.number(), deleted);
            }
            self.change_parts(queue, |state| {
                match state.by_number_mut(collection.id.number) {
                    Some(state) => state.replace_parts(&inputs, segment.clone()),
                    None => Ok(()),
                }
            })?;
            Ok(unlisted)
        });
        self.remove(&created);
        self.remove(&result?);
        Ok(())
    }
}

fn number_of(part: &Part) -> Option<u64> {
    part.as_segment().map(|segment| segment.number())
}
