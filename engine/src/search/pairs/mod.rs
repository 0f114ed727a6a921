//! All pairs of rows that are near each other, without comparing everything with everything where there
//! are tables.
//!
//! The parts of a snapshot are gone over one by one and two by two, each in the way that is expected to
//! cost least (`plan.rs`): the tables of a part joined with themselves (`join.rs`), rows looked up in the
//! tables of another part, or every two rows compared (`cross.rs`). All of that falls into tasks, which
//! threads take one after another.

mod block;
mod cross;
mod groups;
mod join;
mod out;
mod plan;

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

pub use self::groups::Group;
use self::join::Desk;
pub use self::out::Pair;
use self::out::{Out, State};
use self::plan::{Plan, Stage};
use super::explain::Way;
use super::options::SearchOptions;
use super::pass::visible;
use super::threads;
use super::visible::passing;
use crate::error::Error;
use crate::filter::Filter;
use crate::snapshot::Snapshot;

/// How long progress goes unreported while nothing is found.
const BETWEEN: Duration = Duration::from_millis(50);

/// Handfuls of pairs that wait to be taken, for each thread.
const WAITING: usize = 2;

/// A search for all pairs of rows that are near each other; made by `pairs` of a collection or a snapshot.
///
/// Memory does not grow with the number of rows or of pairs, save for the vector that
/// [`PairSearch::run`] returns and what [`PairSearch::groups`] says.
///
/// ```
/// # fn main() -> Result<(), bitkin::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let db = bitkin::Database::create(directory.path().join("codes.bitkin"))?;
/// # let codes = db.create_collection("codes", bitkin::CollectionConfig::bits(8))?;
/// codes.insert(&[1, 2, 3], &[0x00, 0xff, 0x01])?;
/// let pairs = codes.pairs(1).run()?;
/// assert_eq!((pairs[0].a, pairs[0].b, pairs[0].distance), (1, 3, 1));
/// assert_eq!(pairs.len(), 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "a search does nothing until it is run"]
pub struct PairSearch<'a> {
    /// The error of taking it, if there was one, is reported when it is run.
    snapshot: Result<Snapshot, Error>,
    radius: u32,
    filter: Option<Filter>,
    way: Option<Way>,
    threads: Option<NonZeroUsize>,
    is_masked: bool,
    progress: Option<Box<dyn FnMut(f64) -> ControlFlow<()> + 'a>>,
}

/// How a search for pairs ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PairOutcome {
    /// Whether it went to its end, and was not broken off: every pair was handed over.
    pub is_complete: bool,
    /// Pairs that were handed over, the one included at which it was broken off.
    pub pairs: u64,
    /// Comparisons of two rows. One that was broken off may not have counted the last of them.
    pub compared: u64,
}

impl<'a> PairSearch<'a> {
    pub(crate) fn new(snapshot: Result<Snapshot, Error>, radius: u32) -> Self {
        PairSearch {
            snapshot,
            radius,
            filter: None,
            way: None,
            threads: None,
            is_masked: false,
            progress: None,
        }
    }

    /// The filter, the threads and the way of `options`, in place of what was said before. A mask is an error when
    /// the search is run; the rest of them says nothing about pairs.
    pub fn options(mut self, options: &SearchOptions) -> Self {
        self.filter.clone_from(&options.filter);
        self.threads = options.threads;
        self.way = options.wanted.way;
        self.is_masked = options.mask.is_some();
        self
    }

    /// Only pairs of rows that both pass `filter`. A second filter takes the place of the first.
    pub fn filter(mut self, filter: &Filter) -> Self {
        self.filter = Some(filter.clone());
        self
    }

    /// Threads to search with; left out or 0, as many as the machine has. The pairs are the same for
    /// any number; the order in which [`PairSearch::for_each`] gets them is not.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = NonZeroUsize::new(threads);
        self
    }

    /// Searches in one way, whatever the planner thinks: for measurements. What cannot be found by
    /// tables is found by comparing every two rows in any case.
    pub fn way(mut self, way: Way) -> Self {
        self.way = Some(way);
        self
    }

    /// Is told, on the thread that runs the search, which share of the work is done, by what it is
    /// expected to take: from 0 to 1, never less than before, and 1 exactly when all is done. A search
    /// that is broken off, or fails, does not get there. [`ControlFlow::Break`] ends the search, also
    /// while it finds no pair.
    pub fn progress(mut self, progress: impl FnMut(f64) -> ControlFlow<()> + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Finds all pairs, by (distance, a, b); what was found by then, if its progress broke it off.
    ///
    /// # Errors
    /// As [`PairSearch::for_each`].
    pub fn run(self) -> Result<Vec<Pair>, Error> {
        let mut pairs = Vec::new();
        self.for_each(|pair| {
            pairs.push(pair);
            ControlFlow::Continue(())
        })?;
        pairs.sort_unstable();
        Ok(pairs)
    }

    /// Hands every pair to `take` as soon as it is found, each once, in no order; on the thread that
    /// called. [`ControlFlow::Break`] ends the search.
    ///
    /// # Errors
    /// [`Error::MaskedPairs`], [`Error::Closed`], [`Error::NoThread`], [`Error::Damaged`], and what storage reports of
    /// damaged files. Pairs may have been handed over before the latter two.
    pub fn for_each(
        self,
        mut take: impl FnMut(Pair) -> ControlFlow<()>,
    ) -> Result<PairOutcome, Error> {
        let snapshot = self.snapshot?;
        if self.is_masked {
            return Err(Error::MaskedPairs {
                collection: snapshot.facts.name.clone(),
            });
        }
        let passing = passing(&snapshot, self.filter.as_ref())?;
        let parts = visible(&snapshot, &passing);
        // No two codes are farther apart.
        let radius = self.radius.min(snapshot.bits());
        let plan = Plan::new(&snapshot, &parts, radius, self.way)?;
        let state = State::default();
        let tasks = plan.stages.iter().map(Stage::tasks).sum();
        let job = Job {
            plan: &plan,
            stride: snapshot.stride(),
            tasks,
            next: AtomicUsize::new(0),
            state: &state,
        };
        let threads = threads(self.threads).min(tasks);
        let mut caller = Caller {
            take: &mut take,
            progress: self.progress,
            told: None,
            whole: plan.cost,
            pairs: 0,
        };
        if !caller.tell(0.0) {
            state.stop();
        } else if threads <= 1 {
            let mut hand_over =
                |pairs: &mut Vec<Pair>| caller.tell_of(&state) && caller.take(pairs);
            job.work(true, &mut hand_over)?;
        } else {
            job.in_parallel(threads, &mut caller)?;
        }
        let is_complete = !state.is_stopped();
        if is_complete {
            // All was handed over, whatever is said to that.
            caller.tell(1.0);
        }
        Ok(PairOutcome {
            is_complete,
            pairs: caller.pairs,
            compared: state.compared(),
        })
    }
}

impl fmt::Debug for PairSearch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairSearch")
            .field("snapshot", &self.snapshot)
            .field("radius", &self.radius)
            .finish_non_exhaustive()
    }
}

/// Whoever asked for the pairs.
struct Caller<'a, 'b> {
    take: &'a mut dyn FnMut(Pair) -> ControlFlow<()>,
    progress: Option<Box<dyn FnMut(f64) -> ControlFlow<()> + 'b>>,
    /// The share that was told last.
    told: Option<f64>,
    /// What all is expected to take.
    whole: f64,
    pairs: u64,
}

impl Caller<'_, '_> {
    /// Hands over pairs; returns whether to go on.
    fn take(&mut self, pairs: &mut Vec<Pair>) -> bool {
        pairs.drain(..).all(|pair| {
            self.pairs += 1;
            (self.take)(pair).is_continue()
        })
    }

    /// Tells how far the work is; returns whether to go on.
    fn tell_of(&mut self, state: &State) -> bool {
        // Only when all is done, it is said to be.
        let share = state.done() as f64 / self.whole.max(1.0);
        self.tell(share.clamp(0.0, 0.999))
    }

    fn tell(&mut self, share: f64) -> bool {
        let (Some(progress), true) = (
            &mut self.progress,
            self.told.is_none_or(|told| told < share),
        ) else {
            return true;
        };
        self.told = Some(share);
        progress(share).is_continue()
    }
}

/// The tasks of all stages, which threads take one after another.
struct Job<'a> {
    plan: &'a Plan<'a>,
    stride: usize,
    tasks: usize,
    next: AtomicUsize,
    state: &'a State,
}

impl Job<'_> {
    /// Does tasks until there are none, handing over what each found, or only what is a handful.
    fn work(&self, each: bool, take: out::Take<'_>) -> Result<(), Error> {
        let mut out = Out::new(self.state, take);
        // For the rest of codes, and for whole ones.
        let mut words = Desk::new(8);
        let mut codes = Desk::new(self.stride);
        while !self.state.is_stopped() {
            let mut task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= self.tasks {
                break;
            }
            for stage in &self.plan.stages {
                if task >= stage.tasks() {
                    task -= stage.tasks();
                    continue;
                }
                let done = match stage {
                    Stage::Join(join) if join.has_rest() => join.run(task, &mut words, &mut out),
                    Stage::Join(join) => join.run(task, &mut codes, &mut out),
                    Stage::Scan(scan) => scan.run(task, &mut codes, &mut out),
                    Stage::Lookup(lookup) => lookup.run(task, &mut out),
                };
                if done.inspect_err(|_| self.state.stop())? && each {
                    out.hand_over();
                }
                break;
            }
        }
        if !self.state.is_stopped() {
            out.hand_over();
        }
        out.go_on();
        Ok(())
    }

    /// Works with so many threads beside this one, which hands over what they find.
    fn in_parallel(&self, threads: usize, caller: &mut Caller<'_, '_>) -> Result<(), Error> {
        let (sender, receiver) = sync_channel::<Vec<Pair>>(WAITING * threads);
        std::thread::scope(|scope| {
            // Dropped when the caller's closures panic, so that nobody waits for them.
            let receiver = receiver;
            let worker = || {
                let sender = sender.clone();
                let work = move || {
                    let mut hand_over = |pairs: &mut Vec<Pair>| {
                        pairs.is_empty() || sender.send(std::mem::take(pairs)).is_ok()
                    };
                    self.work(false, &mut hand_over)
                };
                std::thread::Builder::new().spawn_scoped(scope, work)
            };
            // Fewer do, where the system starts no more.
            let workers = match worker() {
                Ok(first) => {
                    let others = (1..threads).map_while(|_| worker().ok());
                    std::iter::once(first).chain(others).collect::<Vec<_>>()
                }
                Err(error) => return Err(Error::NoThread(error)),
            };
            drop(sender);
            loop {
                let on = match receiver.recv_timeout(BETWEEN) {
                    Ok(mut pairs) => caller.take(&mut pairs),
                    Err(RecvTimeoutError::Timeout) => true,
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if !(on && caller.tell_of(self.state)) {
                    self.state.stop();
                    break;
                }
            }
            drop(receiver);
            let mut result = Ok(());
            for worker in workers {
                match worker.join() {
                    Ok(done) => result = result.and(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            result
        })
    }
}
