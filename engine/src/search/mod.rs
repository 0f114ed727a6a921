//! Exact search by Hamming distance.
//!
//! Hits are ordered by (distance, id), always, so that every way to find them gives the same
//! answer to the bit. The obvious answers to odd questions: with `k` = 0 there are no hits, with
//! `k` beyond the rows all rows are hits, and so they are with a radius of the width or more.

mod nearest;
mod scan;
mod visible;

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::nearest::Nearest;
use self::scan::{Columns, Scan};
use self::visible::columns;
use crate::error::Error;
use crate::filter::Filter;
use crate::kernels::Kernels;
use crate::snapshot::Snapshot;

/// Hits of a search that names neither `k` nor a radius.
const DEFAULT_K: usize = 10;

/// Queries that share one pass over the codes, and the work of turning rows for the kernels.
const QUERIES_A_PASS: usize = 256;

/// A row that a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The row's id.
    pub id: u64,
    /// Its Hamming distance from the query: the number of bits that differ.
    pub distance: u32,
}

/// The answer to one query.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// A search for the rows nearest to one code; made by `search` of a collection or a snapshot.
#[must_use = "a search does nothing until it is run"]
pub struct Search<'a> {
    /// The error of taking it, if there was one, is reported by `run`.
    snapshot: Result<Snapshot, Error>,
    query: Cow<'a, [u8]>,
    wanted: Wanted,
    filter: Option<Filter>,
}

/// A search for the rows nearest to each of many codes; made by `search_batch` of a collection
/// or a snapshot.
#[must_use = "a search does nothing until it is run"]
pub struct BatchSearch<'a> {
    snapshot: Result<Snapshot, Error>,
    queries: &'a [u8],
    wanted: Wanted,
    filter: Option<Filter>,
    threads: Option<NonZeroUsize>,
}

/// Which rows an answer holds.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    k: Option<usize>,
    radius: Option<u32>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(snapshot: Result<Snapshot, Error>, query: Cow<'a, [u8]>) -> Self {
        Search {
            snapshot,
            query,
            wanted: Wanted::default(),
            filter: None,
        }
    }

    /// The `k` nearest rows. Together with a radius: the `k` nearest of those within it.
    pub fn k(mut self, k: usize) -> Self {
        self.wanted.k = Some(k);
        self
    }

    /// All rows at a distance of at most `radius`.
    pub fn radius(mut self, radius: u32) -> Self {
        self.wanted.radius = Some(radius);
        self
    }

    /// Only rows that pass `filter` are found, as if there were no others. A second filter takes
    /// the place of the first.
    pub fn filter(mut self, filter: &Filter) -> Self {
        self.filter = Some(filter.clone());
        self
    }

    /// Searches. With neither `k` nor a radius, the 10 nearest are found.
    ///
    /// # Errors
    /// [`Error::WrongWidth`] or [`Error::PaddingBits`] for a query that is no code of the
    /// collection, and what storage reports of damaged files.
    pub fn run(self) -> Result<Answer, Error> {
        let snapshot = self.snapshot?;
        snapshot.check_codes(&self.query, Some(1))?;
        let mut answers = self.wanted.prepare(1);
        let query: &[u8] = &self.query;
        let queries = [query];
        let mut scan = Scan::new(snapshot.kernels, &queries);
        for part in columns(&snapshot, self.filter.as_ref())? {
            scan.scan(&part, &mut answers);
        }
        let mut answers = answers
            .into_iter()
            .map(|found| self.wanted.answer(found, &snapshot));
        Ok(answers.next().unwrap_or_default())
    }
}

impl<'a> BatchSearch<'a> {
    pub(crate) fn new(snapshot: Result<Snapshot, Error>, queries: &'a [u8]) -> Self {
        BatchSearch {
            snapshot,
            queries,
            wanted: Wanted::default(),
            filter: None,
            threads: None,
        }
    }

    /// The `k` nearest rows of each query, as [`Search::k`].
    pub fn k(mut self, k: usize) -> Self {
        self.wanted.k = Some(k);
        self
    }

    /// All rows within `radius` of each query, as [`Search::radius`].
    pub fn radius(mut self, radius: u32) -> Self {
        self.wanted.radius = Some(radius);
        self
    }

    /// Only rows that pass `filter` are found, as [`Search::filter`]. It is evaluated once for
    /// all queries.
    pub fn filter(mut self, filter: &Filter) -> Self {
        self.filter = Some(filter.clone());
        self
    }

    /// Threads to search with; left out or 0, as many as the machine has. The answers are the
    /// same for any number.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = NonZeroUsize::new(threads);
        self
    }

    /// Searches; one answer a query, in their order. All see the same moment.
    ///
    /// # Errors
    /// As [`Search::run`], for all queries at once.
    pub fn run(self) -> Result<Vec<Answer>, Error> {
        let snapshot = self.snapshot?;
        snapshot.check_codes(self.queries, None)?;
        let queries: Vec<&[u8]> = self.queries.chunks_exact(snapshot.stride()).collect();
        let parts = columns(&snapshot, self.filter.as_ref())?;
        let (kernels, wanted) = (snapshot.kernels, self.wanted);
        let threads = self
            .threads
            .or_else(|| std::thread::available_parallelism().ok());
        let threads = threads.map_or(1, NonZeroUsize::get);
        let pass = queries.len().div_ceil(threads).clamp(1, QUERIES_A_PASS);
        let passes: Vec<&[&[u8]]> = queries.chunks(pass).collect();
        let threads = threads.min(passes.len());
        let search = |queries: &[&[u8]]| {
            search_pass(kernels, &parts, queries, wanted)
                .into_iter()
                .map(|found| wanted.answer(found, &snapshot))
                .collect::<Vec<_>>()
        };
        if threads <= 1 {
            return Ok(passes.into_iter().flat_map(search).collect());
        }

        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(queries) = passes.get(number) else {
                    return done;
                };
                done.push((number, search(queries)));
            }
        };
        let mut done: Vec<(usize, Vec<Answer>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            workers.into_iter().flat_map(join).collect()
        });
        done.sort_unstable_by_key(|(number, _)| *number);
        Ok(done.into_iter().flat_map(|(_, answers)| answers).collect())
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

    fn prepare(self, queries: usize) -> Vec<Nearest> {
        (0..queries)
            .map(|_| Nearest::new(self.k(), self.radius))
            .collect()
    }

    fn answer(self, found: Nearest, snapshot: &Snapshot) -> Answer {
        let found = found.finish();
        let hits: Vec<Hit> = found
            .into_iter()
            .map(|(distance, id)| Hit { id, distance })
            .collect();
        let certified_radius = if hits.len() == self.k() {
            hits.last().map(|hit| hit.distance)
        } else {
            Some(self.radius.unwrap_or(snapshot.bits()))
        };
        Answer {
            hits,
            certified_radius,
            exact: true,
        }
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

fn search_pass(
    kernels: &Kernels,
    parts: &[Columns<'_>],
    queries: &[&[u8]],
    wanted: Wanted,
) -> Vec<Nearest> {
    let mut answers = wanted.prepare(queries.len());
    let mut scan = Scan::new(kernels, queries);
    for part in parts {
        scan.scan(part, &mut answers);
    }
    answers
}
