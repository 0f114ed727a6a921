//! The threads that flush, merge and sync while others commit.

use std::sync::Arc;
use std::time::Duration;

use super::Writer;
use crate::error::Error;
use crate::options::Durability;
use crate::sync::{Condvar, JoinHandle, Mutex, spawn};

/// Time between tries to flush, after the first and after many failures.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Between a flush and the next for the number of rows. Each costs commits some syncs, and its rows
/// merges, the more the fewer they are: when they come fast, it had better have many. When they come
/// slowly, this is over long before the next is due. It ends early when there are [`MANY`] times as many
/// rows as call for a flush: searches feel those.
const PACE: Duration = Duration::from_secs(1);
/// See [`PACE`].
pub(super) const MANY: usize = 4;
/// Nothing was committed for so long: the database is at rest.
const REST: Duration = Duration::from_secs(1);
/// The shortest interval at which commits are synced.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// What the threads are asked to do.
#[derive(Debug, Default)]
pub(super) struct Signals {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    /// The memory is full.
    flush: bool,
    /// There are more rows in memory than is good for searches.
    rows: bool,
    /// There are many more.
    many: bool,
    /// Commits since the last flush after which there were rows that a rest is worth flushing.
    commits: u64,
    merge: bool,
    stop: bool,
    /// The last failure, until the same work goes well.
    flush_error: Option<String>,
    merge_error: Option<String>,
}

/// Why to flush.
enum Cause {
    Full,
    Rows,
    Rest,
}

impl Signals {
    /// Asks for a flush, of a full memory.
    pub(super) fn flush(&self) {
        self.wanted.lock().flush = true;
        self.changed.notify_all();
    }

    pub(super) fn merge(&self) {
        self.wanted.lock().merge = true;
        self.changed.notify_all();
    }

    /// Tells of a commit that left rows to be flushed: at the next rest, soon, or now.
    pub(super) fn committed(&self, soon: bool, now: bool) {
        let mut wanted = self.wanted.lock();
        // One that has been woken for this needs no further call.
        let is_new = wanted.commits == 0 || soon && !wanted.rows || now && !wanted.many;
        wanted.commits += 1;
        wanted.rows |= soon;
        wanted.many |= now;
        if is_new {
            drop(wanted);
            self.changed.notify_all();
        }
    }

    fn stop(&self) {
        self.wanted.lock().stop = true;
        self.changed.notify_all();
    }

    /// Waits until `take` takes something up. `None` when the thread must end.
    fn wait(&self, take: impl Fn(&mut Wanted) -> bool) -> Option<()> {
        let mut wanted = self.wanted.lock();
        loop {
            if wanted.stop {
                return None;
            }
            if take(&mut wanted) {
                return Some(());
            }
            self.changed.wait(&mut wanted);
        }
    }

    /// Waits until there is a cause to flush. `None` when the thread must end.
    fn wait_for_cause(&self) -> Option<Cause> {
        let mut wanted = self.wanted.lock();
        loop {
            if wanted.stop {
                return None;
            }
            if std::mem::take(&mut wanted.flush) {
                return Some(Cause::Full);
            }
            if std::mem::take(&mut wanted.rows) {
                wanted.many = false;
                return Some(Cause::Rows);
            }
            let commits = wanted.commits;
            if commits == 0 {
                self.changed.wait(&mut wanted);
                continue;
            }
            let quiet = |wanted: &mut Wanted| !(wanted.stop || wanted.flush || wanted.rows);
            let waited = self.changed.wait_while_for(&mut wanted, quiet, REST);
            if waited.timed_out() && wanted.commits == commits {
                wanted.commits = 0;
                return Some(Cause::Rest);
            }
        }
    }

    /// Waits for some time, or until the memory is full or there are many rows in it. `None` when the
    /// thread must end.
    fn pace(&self, time: Duration) -> Option<()> {
        let mut wanted = self.wanted.lock();
        let idle = |wanted: &mut Wanted| !(wanted.stop || wanted.flush || wanted.many);
        self.changed.wait_while_for(&mut wanted, idle, time);
        (!wanted.stop).then_some(())
    }

    /// Waits for some time. `None` when the thread must end.
    fn pause(&self, time: Duration) -> Option<()> {
        let mut wanted = self.wanted.lock();
        let ended = self
            .changed
            .wait_while_for(&mut wanted, |wanted| !wanted.stop, time);
        ended.timed_out().then_some(())
    }

    /// Keeps what came of a flush, by whatever thread.
    pub(super) fn flushed(&self, result: &Result<bool, Error>) {
        self.wanted.lock().flush_error = result.as_ref().err().map(Error::to_string);
    }

    /// Keeps what came of the merges that were due.
    pub(super) fn merged(&self, result: &Result<(), Error>) {
        self.wanted.lock().merge_error = result.as_ref().err().map(Error::to_string);
    }

    /// What the threads could not do, in words.
    pub(super) fn error(&self) -> Option<String> {
        let wanted = self.wanted.lock();
        wanted.flush_error.clone().or(wanted.merge_error.clone())
    }
}

/// The threads of a writer. Dropping this ends them, and waits for it.
#[derive(Debug)]
pub(crate) struct Background {
    writer: Arc<Writer>,
    threads: Vec<JoinHandle<()>>,
}

impl Background {
    /// Starts the threads that the options call for.
    pub(crate) fn start(writer: &Arc<Writer>) -> Result<Background, Error> {
        let mut background = Background {
            writer: Arc::clone(writer),
            threads: Vec::new(),
        };
        if let Durability::Interval(interval) = writer.options.durability {
            background.spawn("bitkin-sync", move |writer| {
                while writer
                    .signals
                    .pause(interval.max(SHORTEST_INTERVAL))
                    .is_some()
                {
                    // A failure poisons the writer, so that the next commit reports it.
                    if writer.sync().is_err() {
                        break;
                    }
                }
            })?;
        }
        if writer.options.background {
            background.spawn("bitkin-flush", flush_when_asked)?;
            background.spawn("bitkin-merge", merge_when_asked)?;
            // Merges that were due when the database was closed, and rows that were in the log.
            writer.signals.merge();
            let rows = writer.queue.lock().memory_rows;
            writer.tell_of_rows(rows);
        }
        Ok(background)
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce(&Writer) + Send + 'static,
    ) -> Result<(), Error> {
        let writer = Arc::clone(&self.writer);
        let thread =
            spawn(name, move || work(&writer)).map_err(Error::io("start a thread for", ""))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Ends the threads, which give up what they are at: the log has it all.
    fn stop(&mut self) {
        self.writer.signals.stop();
        self.writer.give_up_long_work(true);
        for thread in self.threads.drain(..) {
            // They do nothing that can panic; if they did, there is nothing to be done here.
            let _ = thread.join();
        }
        self.writer.give_up_long_work(false);
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

fn flush_when_asked(writer: &Writer) {
    let signals = &writer.signals;
    let mut pause = FIRST_PAUSE;
    while let Some(cause) = signals.wait_for_cause() {
        let flushed = match cause {
            Cause::Full => writer.flush_if_full(),
            Cause::Rows => writer.flush_if_above(writer.options.flush_rows),
            Cause::Rest => writer.flush_if_above(writer.rows_at_rest()),
        };
        // If it fails, commits go on until twice the limit is in memory, and then try themselves,
        // and report it.
        if let Ok(any) = flushed {
            pause = FIRST_PAUSE;
            signals.merge();
            if any && signals.pace(PACE).is_none() {
                return;
            }
            continue;
        }
        // Every try begins another log. As long as nobody waits, there is time.
        if signals.pause(pause).is_none() {
            return;
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

fn merge_when_asked(writer: &Writer) {
    let signals = &writer.signals;
    while signals
        .wait(|wanted| std::mem::take(&mut wanted.merge))
        .is_some()
    {
        // What fails is tried again after the next flush.
        let _ = writer.merge_all_due();
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    /// One second after another, a burst of rows once waited in memory, where every search scanned it.
    #[test]
    fn many_rows_are_not_kept_waiting() {
        let signals = Arc::new(Signals::default());
        signals.committed(true, false);
        assert!(matches!(signals.wait_for_cause(), Some(Cause::Rows)));
        let (done, ended) = std::sync::mpsc::channel();
        let waiting = Arc::clone(&signals);
        std::thread::spawn(move || done.send(waiting.pace(Duration::from_secs(3600))));
        signals.committed(true, false);
        assert!(ended.try_recv().is_err(), "a few rows must wait");
        signals.committed(true, true);
        let paced = ended.recv_timeout(Duration::from_secs(60));
        assert_eq!(paced, Ok(Some(())), "many rows must not");
        assert!(matches!(signals.wait_for_cause(), Some(Cause::Rows)));
        // The flush has them all.
        assert!(!signals.wanted.lock().many);
    }
}
