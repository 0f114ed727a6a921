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

/// What is left of a budget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    rows: Option<u64>,
    until: Option<Instant>,
}

impl Limit {
    pub(super) fn new(budget: Option<Budget>) -> Limit {
        let mut limit = Limit {
            rows: None,
            until: None,
        };
        match budget {
            Some(Budget::Candidates(rows)) => limit.rows = Some(rows),
            // A time beyond all clocks is no limit.
            Some(Budget::Time(time)) => limit.until = Instant::now().checked_add(time),
            None => {}
        }
        limit
    }

    pub(super) fn is_set(&self) -> bool {
        self.rows.is_some() || self.until.is_some()
    }

    /// Whether anything is left.
    pub(super) fn is_reached(&self) -> bool {
        self.rows == Some(0) || self.until.is_some_and(|until| Instant::now() >= until)
    }

    pub(super) fn spend(&mut self, rows: u64) {
        if let Some(left) = &mut self.rows {
            *left = left.saturating_sub(rows);
        }
    }
}
