//! Finding rows by the search tables of a part: shell by shell, the cheapest first, until no row that
//! was not shown can be wanted.

use std::time::Instant;

use bitkin_storage::Section;

use super::costs::Costs;
use super::explain::Way;
use super::limit::Limit;
use super::nearest::Nearest;
use super::visible::Visible;
use crate::error::Error;
use crate::kernels::Kernels;
use crate::kernels::probe::{Ahead, Found, Malformed, ProbeError};
use crate::snapshot::Snapshot;
use crate::tables::{MOST_DISTANCE, Opened, SHELLS, Tables, count};

/// The share of a scan's cost that is spent before it is asked whether a scan would be cheaper. The
/// first rows found are far from the nearest, and what must be walked over seems more than it is.
const TRIAL: f32 = 0.05;

/// The share of a scan's cost that is spent from then on before it is asked again.
const AGAIN: f32 = 0.1;

/// The share of a scan's cost at which a walk ends in any case: a query takes that and a scan at most.
const MOST_SPENT: f32 = 1.2;

/// The share of a scan's cost after which the k-th distance found is taken for the last one.
const BELIEVED: f32 = 0.5;

/// The share of a scan's cost that a walk may take before it has looked at anything.
const MOST_START: f32 = 0.1;

/// The share of a scan's cost that a walk within a fixed radius may take if rows lie evenly. Where they crowd it takes
/// longer, which is seen when it has begun.
const MOST_EVEN: f32 = 0.6;

/// Shells that are reckoned ahead at most: with so many a scan is the cheaper way for certain.
const MOST_AHEAD: u32 = 4096;

/// What a walk, or a scan, did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    pub(super) shells: u64,
    pub(super) buckets: u64,
    pub(super) rows: u64,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Every row that is wanted was offered.
    Complete,
    /// A scan is the cheaper way from here.
    Scan,
    /// The search's limit is reached.
    Limit,
}

/// What came of a walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    pub(super) end: End,
    /// Every row at a distance of less than this was offered.
    pub(super) covered: u32,
    pub(super) work: Work,
    /// Nanoseconds that the whole walk was expected to take when that was last asked.
    pub(super) estimate: f32,
}

/// One query in the tables of one part.
struct Walk<'a> {
    tables: &'a Tables,
    /// Shells of each table that were looked at.
    depth: Vec<u32>,
    /// What the next shell of each table costs.
    next: Vec<f32>,
    sizes: Vec<[f32; SHELLS]>,
    costs: Costs,
    rows: f32,
    /// As `next` and `depth`, to look ahead.
    scratch: (Vec<f32>, Vec<u32>),
}

impl<'a> Walk<'a> {
    fn new(tables: &'a Tables, sizes: Vec<[f32; SHELLS]>, costs: Costs, rows: usize) -> Walk<'a> {
        let mut walk = Walk {
            tables,
            depth: vec![0; sizes.len()],
            next: Vec::new(),
            sizes,
            costs,
            rows: rows as f32,
            scratch: (Vec::new(), Vec::new()),
        };
        walk.next = (0..tables.count())
            .map(|number| walk.cost(number, 0))
            .collect();
        walk
    }

    /// Of the shell at `distance` of a table: how many rows are in there, about.
    fn size(&self, table: usize, distance: u32) -> f32 {
        match self.sizes[table].get(distance as usize) {
            Some(size) => *size,
            // Beyond what is kept, it grows as the number of keys does.
            None => {
                let key_bits = self.tables.key_bits(table);
                let keys = |distance| count(key_bits, distance) as f32;
                let last = SHELLS - 1;
                let mean = self.rows * (-(key_bits as f32)).exp2();
                let size = (self.sizes[table][last] / keys(last as u32)).max(mean) * keys(distance);
                size.min(self.rows)
            }
        }
    }

    fn cost(&self, table: usize, distance: u32) -> f32 {
        let key_bits = self.tables.key_bits(table);
        if distance > key_bits {
            return 0.0;
        }
        if distance > MOST_DISTANCE {
            return f32::INFINITY;
        }
        let buckets = count(key_bits, distance) as f32;
        self.costs.shell(buckets, self.size(table, distance))
    }

    fn cheapest(next: &[f32]) -> usize {
        let cheapest = next.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        cheapest.map_or(0, |(table, _)| table)
    }

    /// The cheapest shell, and the two that will be the cheapest behind it: the order depends on nothing
    /// that is found.
    fn following(&mut self) -> [(usize, u32); 3] {
        let (next, depth) = (&mut self.scratch.0, &mut self.scratch.1);
        next.clone_from(&self.next);
        depth.clone_from(&self.depth);
        let mut following = [(0, 0); 3];
        for (number, shell) in following.iter_mut().enumerate() {
            let table = Walk::cheapest(&self.scratch.0);
            *shell = (table, self.scratch.1[table]);
            if number < 2 {
                self.scratch.1[table] += 1;
                self.scratch.0[table] = self.cost(table, self.scratch.1[table]);
            }
        }
        following
    }

    /// What so many shells more cost.
    fn ahead(&self, shells: u32) -> f32 {
        let (mut next, mut depth) = (self.next.clone(), self.depth.clone());
        let mut sum = 0.0;
        for _ in 0..shells {
            let table = Walk::cheapest(&next);
            sum += next[table];
            if sum.is_infinite() {
                break;
            }
            depth[table] += 1;
            next[table] = self.cost(table, depth[table]);
        }
        sum
    }
}

/// The part that queries walk over, by its tables.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) part: &'a Visible<'a>,
    pub(super) tables: &'a Tables,
    pub(super) section: &'a Section<'a>,
    pub(super) costs: Costs,
    /// `None`: whichever seems cheaper.
    pub(super) way: Option<Way>,
}

impl Ground<'_> {
    /// Whether it is worth asking the tables at all. In a small part that takes as long as a good piece of a
    /// scan, unless little is to be looked up, which a fixed radius says before.
    pub(super) fn is_worth_a_walk(&self, answer: &Nearest<'_>, limit: &Limit) -> bool {
        let tables = self.tables.count() as u32;
        let little = |radius: u32| {
            let (rows, key_bits) = (self.part.part.len(), self.tables.key_bits(0));
            let even = || self.costs.even_walk((tables, key_bits), rows, radius);
            answer.is_fixed() && (radius < tables || even() < MOST_EVEN * self.costs.scan)
        };
        self.way.is_some()
            || limit.is_set()
            || self.costs.start < MOST_START * self.costs.scan
            || answer.threshold(0).is_some_and(little)
    }
}

/// Offers to `answer` the rows of the part that may be wanted, as far as its tables are the way.
pub(super) fn walk(
    ground: Ground<'_>,
    query: &[u8],
    answer: &mut Nearest<'_>,
    limit: &mut Limit,
) -> Result<Walked, Error> {
    let Ground {
        snapshot,
        part,
        tables,
        section,
        costs,
        way,
    } = ground;
    let kernels: &Kernels = snapshot.kernels;
    let begun = Instant::now();
    let failed = |error: ProbeError| snapshot.probe_failed(error);
    let opened = Opened::new(tables, section.lazy(), part.part.lazy_codes()).map_err(failed)?;
    let (keys, word) = tables.keys(query);
    let mut walk = Walk::new(tables, opened.sizes(&keys)?, costs, part.part.len());
    let least_id = *part.part.id_range().start();
    let mut walked = Walked {
        end: End::Complete,
        covered: 0,
        work: Work::default(),
        estimate: 0.0,
    };
    // What has a budget stays with the tables: half of a scan proves nothing.
    let may_scan = way.is_none() && !limit.is_set();
    let mut shells = Vec::with_capacity(3);
    let mut ahead = Ahead::new();
    let mut spent = costs.start;
    // The distance to which the way was last reckoned, what must be spent before it is reckoned anew, and
    // where it is likely to end.
    let mut asked = None;
    let mut due = TRIAL * costs.scan;
    let expected = tables.expected_distance(answer.k());
    while let Some(threshold) = answer.threshold(least_id) {
        if walked.covered > threshold {
            break;
        }
        // What was given away cannot be offered anew: a stream is scanned for from the start or never.
        let may_leave = !answer.streams() || walked.covered == 0;
        let following = walk.following();
        let (table, distance) = following[0];
        let next = walk.next[table];
        // A fixed radius is known from the start; a k-th distance only after a while, and until then it is
        // taken for what it was for other queries. The farther the walk went, the more is what it found.
        let goal = match answer.is_fixed() {
            true => threshold,
            false => {
                let least = threshold.min(expected.max(walked.covered));
                let gone = (spent / (BELIEVED * costs.scan)).min(1.0);
                let most = threshold.min(snapshot.bits()).max(least);
                least + (gone * (most - least) as f32) as u32
            }
        };
        let changed = answer.is_fixed() && asked != Some(goal);
        if changed || spent > due {
            asked = Some(goal);
            due = spent + AGAIN * costs.scan;
            let shells = goal.saturating_add(1).saturating_sub(walked.covered);
            let ahead = walk.ahead(shells.min(MOST_AHEAD));
            walked.estimate = spent + ahead;
            // What was spent is gone: only what is to come counts. But who was wrong once is believed less.
            let most = if spent > costs.scan { 0.5 } else { 1.0 } * costs.scan;
            if may_leave && (ahead > most && may_scan || ahead.is_infinite() && answer.streams()) {
                walked.end = End::Scan;
                break;
            }
        }
        if next.is_infinite() || spent + next > MOST_SPENT * costs.scan && may_scan && may_leave {
            walked.end = End::Scan;
            break;
        }
        if limit.is_reached() {
            walked.end = End::Limit;
            break;
        }
        let key_bits = tables.key_bits(table);
        if distance > key_bits {
            // All keys of a table were looked at, and so were all rows.
            break;
        }
        shells.clear();
        let following = following.into_iter();
        shells.extend(following.map_while(|shell| opened.shell(shell, (&keys, word), query)));
        let looked_at = match shells.first() {
            None => 0,
            Some(shell) => {
                walked.work.buckets += shell.masks.len() as u64;
                let depth = &walk.depth;
                let mut error = None;
                let mut take = |found: &mut Vec<Found>| {
                    for found in found.drain(..) {
                        if opened.has_shown(depth, query, &found) || part.hidden.hides(found.row) {
                            continue;
                        }
                        if found.row as usize >= part.part.len() {
                            error = Some(snapshot.probe_failed(Malformed));
                            return None;
                        }
                        match part.id(found.row) {
                            Ok(id) => answer.offer(found.distance, id),
                            Err(wrong) => {
                                error = Some(wrong);
                                return None;
                            }
                        }
                    }
                    answer.settle();
                    answer.threshold(least_id)
                };
                let looked_at = kernels
                    .shell(&shells, &mut ahead, threshold, &mut take)
                    .map_err(failed)?;
                if let Some(error) = error {
                    return Err(error);
                }
                looked_at
            }
        };
        walked.work.shells += 1;
        walked.work.rows += looked_at;
        limit.spend(looked_at);
        spent += costs.shell(count(key_bits, distance) as f32, looked_at as f32);
        walk.depth[table] += 1;
        walk.next[table] = walk.cost(table, walk.depth[table]);
        walked.covered += 1;
    }
    costs.learn_walk(spent, begun.elapsed().as_nanos() as f32);
    if walked.estimate == 0.0 {
        walked.estimate = spent;
    }
    Ok(walked)
}
