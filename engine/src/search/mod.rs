//! Exact search by Hamming distance.
//!
//! Hits are ordered by (distance, id), always, so that every way to find them gives the same
//! answer to the bit. The obvious answers to odd questions: with `k` = 0 there are no hits, with
//! `k` beyond the rows all rows are hits, and so they are with a radius of the width or more.

mod costs;
mod explain;
mod limit;
mod mask;
mod masked;
mod nearest;
mod options;
mod pairs;
mod pass;
mod scan;
mod visible;
mod walk;

use std::borrow::Cow;
use std::cmp;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

pub use self::explain::{Explanation, PartExplanation, Way};
pub use self::limit::Budget;
use self::mask::Mask;
pub use self::options::SearchOptions;
pub use self::pairs::{Group, Pair, PairOutcome, PairSearch};
use self::pass::{Pass, Query, visible};
use self::visible::passing;
use crate::error::Error;
use crate::filter::Filter;
use crate::snapshot::Snapshot;

/// Hits of a search that names neither `k` nor a radius.
const DEFAULT_K: usize = 10;

/// Queries that share one pass over the codes.
const QUERIES_A_PASS: usize = 256;

/// What is covered when every row that may be wanted was offered, at whatever distance.
const EVERYTHING: u32 = u32::MAX;

/// A row that a search found. Hits are ordered as answers are: by (distance, id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hit {
    /// The row's id.
    pub id: u64,
    /// Its Hamming distance from the query: the number of bits that differ.
    pub distance: u32,
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        (self.distance, self.id).cmp(&(other.distance, other.id))
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The answer to one query. Iterating over it gives its hits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// By (distance, id), ascending.
    pub hits: Vec<Hit>,
    /// The largest r such that every row (of those that pass the filter) at a distance of at most r is among the hits or ranks
    /// after the k-th: hits at that distance or nearer are certainly right, rank included.
    ///
    /// Clipped to the k-th distance when k rows are returned, otherwise to the radius, or to the
    /// width where there is none. `None` if nothing is proven, and for k = 0, where there is no
    /// k-th distance.
    pub certified_radius: Option<u32>,
    /// Whether the search was exact: nothing that it should have found is missing.
    pub exact: bool,
}

/// What came of giving rows away as they were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Streamed {
    /// How many rows were given.
    pub hits: u64,
    /// The largest distance at which every row was given, at most the radius; `None` if nothing is proven,
    /// as when it was broken off.
    pub certified_radius: Option<u32>,
    /// Whether every row within the radius was given.
    pub exact: bool,
}

/// A search for the rows nearest to one code; made by `search` of a collection or a snapshot.
#[must_use = "a search does nothing until it is run"]
pub struct Search<'a> {
    /// The error of taking it, if there was one, is reported by `run`.
    snapshot: Result<Snapshot, Error>,
    query: Cow<'a, [u8]>,
    options: SearchOptions,
}

/// A search for the rows nearest to each of many codes; made by `search_batch` of a collection
/// or a snapshot.
#[must_use = "a search does nothing until it is run"]
pub struct BatchSearch<'a> {
    snapshot: Result<Snapshot, Error>,
    queries: &'a [u8],
    options: SearchOptions,
}

/// Which rows an answer holds.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    k: Option<usize>,
    radius: Option<u32>,
    budget: Option<Budget>,
    way: Option<Way>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(snapshot: Result<Snapshot, Error>, query: Cow<'a, [u8]>) -> Self {
        Search {
            snapshot,
            query,
            options: SearchOptions::default(),
        }
    }

    /// All that is said of how to search, in place of what was said before.
    pub fn options(mut self, options: &SearchOptions) -> Self {
        self.options = options.clone();
        self
    }

    /// The `k` nearest rows. Together with a radius: the `k` nearest of those within it.
    pub fn k(mut self, k: usize) -> Self {
        self.options = self.options.k(k);
        self
    }

    /// All rows at a distance of at most `radius`.
    pub fn radius(mut self, radius: u32) -> Self {
        self.options = self.options.radius(radius);
        self
    }

    /// Ends the search when `budget` is spent. What was found by then is the answer, and its
    /// certificate says how far it can be trusted.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.options = self.options.budget(budget);
        self
    }

    /// Searches every part in one way, whatever the planner thinks: for measurements. Parts without
    /// tables are scanned in any case.
    pub fn way(mut self, way: Way) -> Self {
        self.options = self.options.way(way);
        self
    }

    /// Only rows that pass `filter` are found, as if there were no others. A second filter takes
    /// the place of the first.
    pub fn filter(mut self, filter: &Filter) -> Self {
        self.options = self.options.filter(filter);
        self
    }

    /// Only the bits of `mask` count: the distance of a row is the number of bits in the mask in which it
    /// differs from the code, and certificates reach to the number of bits in the mask.
    ///
    /// * `mask`: laid out as a code; bits that count are set, at least one of them.
    ///
    /// Collections with [planes](crate::CollectionConfig::planes) read those bits and no others.
    ///
    /// ```
    /// # fn main() -> Result<(), bitkin::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let db = bitkin::Database::create(directory.path().join("codes.bitkin"))?;
    /// let config = bitkin::CollectionConfig::bits(16).planes(true);
    /// let codes = db.create_collection("codes", config)?;
    /// codes.insert(&[1, 2], &[0x0f, 0xff, 0x0e, 0x00])?;
    /// let answer = codes.search(&[0x0f, 0x00]).mask(&[0x0f, 0x00]).k(1).run()?;
    /// assert_eq!((answer.hits[0].id, answer.hits[0].distance), (1, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn mask(mut self, mask: &[u8]) -> Self {
        self.options = self.options.mask(mask);
        self
    }

    /// Threads that may share a long scan, of some milliseconds; left out or 0, as many as the machine has.
    /// Whatever is shorter is done by the calling thread alone. The answer is the same for any number.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options = self.options.threads(threads);
        self
    }

    /// Searches. With neither `k` nor a radius, the 10 nearest are found.
    ///
    /// # Errors
    /// [`Error::WrongWidth`] or [`Error::PaddingBits`] for a query that is no code of the
    /// collection, [`Error::MaskWidth`], [`Error::MaskPadding`] or [`Error::EmptyMask`] for a mask that is none,
    /// and what storage reports of damaged files.
    pub fn run(self) -> Result<Answer, Error> {
        self.search(None)
    }

    fn search(self, explanation: Option<&mut Explanation>) -> Result<Answer, Error> {
        let snapshot = self.snapshot?;
        snapshot.check_codes(&self.query, Some(1))?;
        let masks = self.options.masks(&snapshot, 1)?;
        let passing = passing(&snapshot, self.options.filter.as_ref())?;
        let parts = visible(&snapshot, &passing);
        let search = Pass {
            snapshot: &snapshot,
            parts: &parts,
            wanted: self.options.wanted,
            threads: threads(self.options.threads),
        };
        let query = Query {
            code: &self.query,
            mask: masks.first(),
        };
        let mut answers = search.run(&[query], explanation)?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// Gives every row within the radius to `each` as it is found, in no order, until that breaks: however
    /// many there are, none is kept. What is said of `k` has no effect; without a radius, every row is given.
    ///
    /// # Errors
    /// As [`Search::run`]; rows may have been given before.
    pub fn for_each(self, mut each: impl FnMut(Hit) -> ControlFlow<()>) -> Result<Streamed, Error> {
        let snapshot = self.snapshot?;
        snapshot.check_codes(&self.query, Some(1))?;
        let masks = self.options.masks(&snapshot, 1)?;
        let passing = passing(&snapshot, self.options.filter.as_ref())?;
        let parts = visible(&snapshot, &passing);
        let width = masks.first().map_or(snapshot.bits(), Mask::width);
        let radius = self.options.wanted.radius.unwrap_or(width);
        let search = Pass {
            snapshot: &snapshot,
            parts: &parts,
            wanted: Wanted {
                k: None,
                radius: Some(radius),
                ..self.options.wanted
            },
            threads: 1,
        };
        let query = Query {
            code: &self.query,
            mask: masks.first(),
        };
        search.stream(query, radius, &mut each)
    }

    /// Searches as [`Search::run`] does, and tells how the answer was found.
    ///
    /// # Errors
    /// As [`Search::run`].
    pub fn explain(self) -> Result<(Answer, Explanation), Error> {
        let mut explanation = Explanation::default();
        let answer = self.search(Some(&mut explanation))?;
        Ok((answer, explanation))
    }
}

impl<'a> BatchSearch<'a> {
    pub(crate) fn new(snapshot: Result<Snapshot, Error>, queries: &'a [u8]) -> Self {
        BatchSearch {
            snapshot,
            queries,
            options: SearchOptions::default(),
        }
    }

    /// All that is said of how to search, in place of what was said before.
    pub fn options(mut self, options: &SearchOptions) -> Self {
        self.options = options.clone();
        self
    }

    /// The `k` nearest rows of each query, as [`Search::k`].
    pub fn k(mut self, k: usize) -> Self {
        self.options = self.options.k(k);
        self
    }

    /// All rows within `radius` of each query, as [`Search::radius`].
    pub fn radius(mut self, radius: u32) -> Self {
        self.options = self.options.radius(radius);
        self
    }

    /// Ends the search of each query when `budget` is spent, as [`Search::budget`].
    pub fn budget(mut self, budget: Budget) -> Self {
        self.options = self.options.budget(budget);
        self
    }

    /// Searches in one way, as [`Search::way`].
    pub fn way(mut self, way: Way) -> Self {
        self.options = self.options.way(way);
        self
    }

    /// Only rows that pass `filter` are found, as [`Search::filter`]. It is evaluated once for
    /// all queries.
    pub fn filter(mut self, filter: &Filter) -> Self {
        self.options = self.options.filter(filter);
        self
    }

    /// Only the bits of `mask` count, as [`Search::mask`]: one mask for all queries, or one for each of them, one
    /// after the other.
    pub fn mask(mut self, mask: &[u8]) -> Self {
        self.options = self.options.mask(mask);
        self
    }

    /// Threads to search with; left out or 0, as many as the machine has. The answers are the
    /// same for any number.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options = self.options.threads(threads);
        self
    }

    /// Searches; one answer a query, in their order. All see the same moment.
    ///
    /// # Errors
    /// As [`Search::run`], for all queries at once.
    pub fn run(self) -> Result<Vec<Answer>, Error> {
        let mut done = Vec::new();
        self.each_pass(|first, answers| {
            done.push((first, answers));
            ControlFlow::Continue(())
        })?;
        done.sort_unstable_by_key(|(first, _)| *first);
        Ok(done.into_iter().flat_map(|(_, answers)| answers).collect())
    }

    /// Searches, and gives each answer to `each` with the number of its query, from 0, some time after it
    /// was found and in no order, on the thread that called; until that breaks. All see the same moment.
    ///
    /// # Errors
    /// As [`BatchSearch::run`]; answers may have been given before.
    pub fn for_each(
        self,
        mut each: impl FnMut(usize, Answer) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.each_pass(|first, answers| {
            let mut numbered = (first..).zip(answers);
            numbered.try_for_each(|(number, answer)| each(number, answer))
        })
    }

    /// Gives the answers to queries that shared a pass, and the number of the first of them.
    fn each_pass(
        self,
        mut each: impl FnMut(usize, Vec<Answer>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let snapshot = self.snapshot?;
        snapshot.check_codes(self.queries, None)?;
        let codes = self.queries.chunks_exact(snapshot.stride());
        let masks = self.options.masks(&snapshot, codes.len())?;
        let mask_of = |number: usize| match &masks[..] {
            [mask] => Some(mask),
            masks => masks.get(number),
        };
        let queries: Vec<Query<'_>> = codes
            .enumerate()
            .map(|(number, code)| Query {
                code,
                mask: mask_of(number),
            })
            .collect();
        let threads = threads(self.options.threads);
        let passing = passing(&snapshot, self.options.filter.as_ref())?;
        let parts = visible(&snapshot, &passing);
        let search = Pass {
            snapshot: &snapshot,
            parts: &parts,
            wanted: self.options.wanted,
            // Several queries have a thread each.
            threads: if let [_] = queries[..] { threads } else { 1 },
        };
        let pass = queries.len().div_ceil(threads).clamp(1, QUERIES_A_PASS);
        let passes: Vec<&[Query<'_>]> = queries.chunks(pass).collect();
        let next = AtomicUsize::new(0);
        // The answers of the next pass that nobody has begun.
        let work = || {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let queries = passes.get(number)?;
            let answers = search.run(queries, None);
            Some(answers.map(|answers| (number * pass, answers)))
        };
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            for _ in 1..threads.min(passes.len()) {
                let (sender, work) = (sender.clone(), &work);
                // Where the system has no thread, the others do its work.
                let _ = std::thread::Builder::new().spawn_scoped(scope, move || {
                    while let Some(done) = work() {
                        if sender.send(done).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let mut take = |done: Result<(usize, Vec<Answer>), Error>| {
                let on = done.map(|(first, answers)| each(first, answers));
                if !matches!(on, Ok(ControlFlow::Continue(()))) {
                    // Nothing more is begun.
                    next.store(passes.len(), Ordering::Relaxed);
                }
                on
            };
            while let Some(done) = work() {
                for done in std::iter::once(done).chain(receiver.try_iter()) {
                    if take(done)?.is_break() {
                        return Ok(());
                    }
                }
            }
            for done in receiver {
                if take(done)?.is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}

impl fmt::Debug for Search<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("snapshot", &self.snapshot)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for BatchSearch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSearch")
            .field("snapshot", &self.snapshot)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What `work` returns for 0, 1 and so on to `threads`: each on a thread of its own, the first on the one that
/// calls, and so are those for which the system has no thread.
fn together<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|number| {
                let thread = std::thread::Builder::new();
                thread.spawn_scoped(scope, move || work(number))
            })
            .collect();
        let mut done = vec![work(0)];
        for (number, other) in (1..).zip(others) {
            done.push(match other.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(done)) => done,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(_) => work(number),
            });
        }
        done
    })
}

/// Threads to work with: as many as the machine has, if nobody said.
fn threads(wanted: Option<NonZeroUsize>) -> usize {
    // Asking takes as long as a search: the system's limits stand in files.
    static OF_MACHINE: OnceLock<usize> = OnceLock::new();
    let of_machine = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    wanted.map_or_else(|| *OF_MACHINE.get_or_init(of_machine), NonZeroUsize::get)
}

impl SearchOptions {
    /// The masks for so many queries; none where all bits count.
    fn masks(&self, snapshot: &Snapshot, queries: usize) -> Result<Vec<Mask>, Error> {
        match &self.mask {
            Some(mask) => Mask::read(snapshot, mask, queries),
            None => Ok(Vec::new()),
        }
    }
}

impl Wanted {
    /// `k` as a number: everything, where only a radius is given.
    fn k(self) -> usize {
        match (self.k, self.radius) {
            (Some(k), _) => k,
            (None, Some(_)) => usize::MAX,
            (None, None) => DEFAULT_K,
        }
    }

    /// The answer of these rows, when every row at a distance of less than `covered` was offered.
    fn answer(self, hits: Vec<Hit>, covered: u32, bits: u32) -> Answer {
        let clip = match hits.last() {
            _ if hits.len() < self.k() => Some(self.radius.unwrap_or(bits)),
            last => last.map(|hit| hit.distance),
        };
        let proven = match covered {
            EVERYTHING => Some(u32::MAX),
            covered => covered.checked_sub(1),
        };
        Answer {
            certified_radius: clip.and_then(|clip| Some(clip.min(proven?))),
            exact: clip.is_none_or(|clip| proven >= Some(clip)),
            hits,
        }
    }
}

impl Answer {
    /// The hits that are certainly right, rank included: those within the certified radius. Of an exact
    /// search these are all.
    pub fn certain(&self) -> &[Hit] {
        let certain = self.certified_radius.map_or(0, |radius| {
            self.hits.partition_point(|hit| hit.distance <= radius)
        });
        &self.hits[..certain]
    }

    /// The ids of the hits, in their order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.hits.iter().map(|hit| hit.id)
    }
}

impl IntoIterator for Answer {
    type Item = Hit;
    type IntoIter = std::vec::IntoIter<Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.into_iter()
    }
}

impl<'a> IntoIterator for &'a Answer {
    type Item = &'a Hit;
    type IntoIter = std::slice::Iter<'a, Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.iter()
    }
}

impl Default for Answer {
    /// No hits, from a search of nothing: exact, and nothing certified.
    fn default() -> Self {
        Answer {
            hits: Vec::new(),
            certified_radius: None,
            exact: true,
        }
    }
}
