//! The best rows found so far, and the threshold that they imply.

use std::ops::ControlFlow;

use super::Hit;

/// Candidates gathered beyond k before the best k are selected anew: a quarter of k, but not so
/// few that small k select all the time.
const SLACK: usize = 16;

/// The k nearest rows seen, in (distance, id) order, within a radius if there is one.
///
/// Rows may come in any order; the threshold shrinks as they come and never lets a row pass by
/// that belongs to the answer.
pub(super) struct Nearest<'a> {
    k: usize,
    radius: Option<u32>,
    /// (distance, id, part) of candidates. The best `k` of all offered are among them.
    found: Vec<(u32, u64, u32)>,
    /// Number of the part that was begun last.
    part: u32,
    /// The k-th best at the last selection: whatever does not come before it is not wanted.
    worst: Option<(u32, u64)>,
    /// Where rows go as they are found, instead of being kept; and how many went.
    sink: Option<(Sink<'a>, u64)>,
}

/// Takes rows as they are found; breaks when it wants no more.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Hit) -> ControlFlow<()>;

/// What another thread must know to find a part of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    k: usize,
    radius: Option<u32>,
    worst: Option<(u32, u64)>,
}

impl From<Share> for Nearest<'_> {
    fn from(share: Share) -> Self {
        Nearest {
            worst: share.worst,
            ..Nearest::new(share.k, share.radius)
        }
    }
}

impl<'a> Nearest<'a> {
    pub(super) fn new(k: usize, radius: Option<u32>) -> Self {
        Nearest {
            k,
            radius,
            found: Vec::new(),
            part: 0,
            worst: None,
            sink: None,
        }
    }

    /// Gives all rows within the radius to `sink`, in no order, and keeps none.
    pub(super) fn stream(radius: u32, sink: Sink<'a>) -> Self {
        Nearest {
            sink: Some((sink, 0)),
            ..Nearest::new(usize::MAX, Some(radius))
        }
    }

    /// Whether rows are given away as they are found: none can be taken back.
    pub(super) fn streams(&self) -> bool {
        self.sink.is_some()
    }

    /// How many rows were given away, and whether more were wanted.
    pub(super) fn streamed(&self) -> (u64, bool) {
        (
            self.sink.as_ref().map_or(0, |(_, count)| *count),
            self.k > 0,
        )
    }

    /// The greatest distance at which a row may still be wanted, if its id is `next_id` or
    /// greater; `None` when no such row is.
    ///
    /// Rows of a part come by ascending id. So once the part has passed the k-th best's id,
    /// rows at its very distance cannot come before it any more: the threshold is one less.
    /// A corpus full of duplicates is scanned as fast as any other for that.
    pub(super) fn threshold(&self, next_id: u64) -> Option<u32> {
        match self.worst {
            _ if self.k == 0 => None,
            None => Some(self.radius.unwrap_or(u32::MAX)),
            Some((distance, id)) if next_id < id => Some(distance),
            Some((distance, _)) => distance.checked_sub(1),
        }
    }

    pub(super) fn k(&self) -> usize {
        self.k
    }

    /// Whether the threshold is the radius, and not yet a distance that was found.
    pub(super) fn is_fixed(&self) -> bool {
        self.worst.is_none() && self.radius.is_some()
    }

    /// Rows offered from here on are those of another part.
    pub(super) fn begin_part(&mut self) {
        self.part += 1;
    }

    /// Forgets the rows of the part that was begun last: they will be offered anew. The threshold stays,
    /// since those rows are there.
    pub(super) fn forget_part(&mut self) {
        let part = self.part;
        self.found.retain(|(_, _, of)| *of != part);
        // The row that set it must pass too. No row has the last of all ids.
        if let Some((_, id)) = &mut self.worst {
            *id = id.saturating_add(1);
        }
    }

    /// The k-th distance found, if there are so many.
    pub(super) fn worst_distance(&self) -> Option<u32> {
        self.worst.map(|(distance, _)| distance)
    }

    /// Whether the threshold still lets every row within the radius pass.
    pub(super) fn is_open(&self) -> bool {
        self.worst.is_none()
    }

    /// Takes a row, which must be at a distance of at most the threshold.
    pub(super) fn offer(&mut self, distance: u32, id: u64) {
        if let Some((sink, count)) = &mut self.sink {
            if self.k > 0 {
                *count += 1;
                if sink(Hit { id, distance }).is_break() {
                    self.k = 0;
                }
            }
            return;
        }
        if self.worst.is_none_or(|worst| (distance, id) < worst) {
            self.found.push((distance, id, self.part));
        }
    }

    /// Lets the threshold shrink, if that is due.
    pub(super) fn settle(&mut self) {
        let due = match self.worst {
            None => self.k,
            Some(_) => self.k.saturating_add(SLACK.max(self.k / 4)),
        };
        if self.k == 0 || self.found.len() < due {
            return;
        }
        let (_, &mut (distance, id, _), _) = self.found.select_nth_unstable(self.k - 1);
        self.worst = Some((distance, id));
        self.found.truncate(self.k);
    }

    /// What an answer of its own for some of the rows begins with: it wants what this one wants now.
    pub(super) fn share(&self) -> Share {
        Share {
            k: self.k,
            radius: self.radius,
            worst: self.worst,
        }
    }

    /// Takes over what was found for a share of it.
    pub(super) fn absorb(&mut self, hits: Vec<Hit>) {
        for hit in hits {
            self.offer(hit.distance, hit.id);
        }
        self.settle();
    }

    /// The answer: (distance, id), ascending.
    pub(super) fn finish(mut self) -> Vec<Hit> {
        self.found.sort_unstable();
        self.found.truncate(self.k);
        let hits = self.found.into_iter();
        hits.map(|(distance, id, _)| Hit { id, distance }).collect()
    }
}
