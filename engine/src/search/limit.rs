//! When a search with a budget ends.

use std::time::{Duration, Instant};

/// What a search may spend; see [`Search::budget`](super::Search::budget).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Budget {
    /// So many rows are compared with the query, or some more: it ends behind the shell or block in
    /// which they are reached.
    Candidates(u64),
    /// About so long.
    Time(Duration),
}

/// What is left of a budget. Time passes only while its query is worked on, between [`Limit::begin`] and
/// [`Limit::pause`]: the queries of a batch take turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    rows: Option<u64>,
    time: Option<Duration>,
    begun: Option<Instant>,
}

impl Limit {
    pub(super) fn new(budget: Option<Budget>) -> Limit {
        let (rows, time) = match budget {
            Some(Budget::Candidates(rows)) => (Some(rows), None),
            Some(Budget::Time(time)) => (None, Some(time)),
            None => (None, None),
        };
        Limit {
            rows,
            time,
            begun: None,
        }
    }

    pub(super) fn begin(&mut self) {
        self.begun = self.time.map(|_| Instant::now());
    }

    pub(super) fn pause(&mut self) {
        if let (Some(time), Some(begun)) = (&mut self.time, self.begun.take()) {
            *time = time.saturating_sub(begun.elapsed());
        }
    }

    pub(super) fn is_set(&self) -> bool {
        self.rows.is_some() || self.time.is_some()
    }

    /// Whether nothing is left.
    pub(super) fn is_reached(&self) -> bool {
        let taken = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        self.rows == Some(0) || self.time.is_some_and(|time| taken >= time)
    }

    pub(super) fn spend(&mut self, rows: u64) {
        if let Some(left) = &mut self.rows {
            *left = left.saturating_sub(rows);
        }
    }
}
