//! Where pairs go, and how far the work is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Pairs that a thread gathers before it hands them over.
const PAIRS_AT_ONCE: usize = 4096;

/// Two rows that are near each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// Their Hamming distance: the number of bits that differ.
    pub distance: u32,
    /// The lesser id.
    pub a: u64,
    /// The greater id.
    pub b: u64,
}

impl Pair {
    pub(super) fn new(a: u64, b: u64, distance: u32) -> Pair {
        Pair {
            distance,
            a: a.min(b),
            b: a.max(b),
        }
    }
}

/// What all threads of a job share.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Nobody wants any more.
    stop: AtomicBool,
    /// Nanoseconds that what was done was expected to take.
    done: AtomicU64,
    compared: AtomicU64,
}

impl State {
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn compared(&self) -> u64 {
        self.compared.load(Ordering::Relaxed)
    }
}

/// Takes pairs, empties the vector, and says whether to go on.
pub(super) type Take<'a> = &'a mut dyn FnMut(&mut Vec<Pair>) -> bool;

/// What one thread found.
pub(super) struct Out<'a> {
    state: &'a State,
    take: Take<'a>,
    pairs: Vec<Pair>,
    /// Not told yet.
    compared: u64,
}

impl<'a> Out<'a> {
    pub(super) fn new(state: &'a State, take: Take<'a>) -> Out<'a> {
        Out {
            state,
            take,
            pairs: Vec::new(),
            compared: 0,
        }
    }

    /// Gives on a pair; returns whether to go on.
    #[inline]
    pub(super) fn give(&mut self, pair: Pair) -> bool {
        self.pairs.push(pair);
        self.pairs.len() < PAIRS_AT_ONCE || self.hand_over()
    }

    pub(super) fn compared(&mut self, rows: u64) {
        self.compared += rows;
    }

    /// Notes that something was done that was expected to take so many nanoseconds.
    pub(super) fn done(&self, nanos: f64) {
        self.state.done.fetch_add(nanos as u64, Ordering::Relaxed);
    }

    /// Asked now and then: whether to go on.
    pub(super) fn go_on(&mut self) -> bool {
        let compared = std::mem::take(&mut self.compared);
        self.state.compared.fetch_add(compared, Ordering::Relaxed);
        !self.state.is_stopped()
    }

    /// Hands over what there is; returns whether to go on.
    pub(super) fn hand_over(&mut self) -> bool {
        let on = (self.take)(&mut self.pairs);
        self.pairs.clear();
        if !on {
            self.state.stop();
        }
        on
    }
}
