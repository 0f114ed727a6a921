//! Which way to find the pairs of each part, and of each two parts: what the ways would cost.

use bitkin_storage::LazyBytes;

use super::cross::{Lookup, Scan};
use super::join::{Join, low_bits};
use crate::error::Error;
use crate::kernels::join::padded;
use crate::kernels::probe::Malformed;
use crate::search::explain::Way;
use crate::search::visible::{Hidden, Visible};
use crate::snapshot::Snapshot;
use crate::tables::{MOST_DISTANCE, Tables, count, masks};

/// Rows of a table that are gone over together, about: they fit into the second-level cache, with those
/// that they are compared with.
pub(super) const PIECE_ROWS: usize = 1 << 13;

/// Rows whose keys are looked up to see how many others are near them.
const SAMPLE: usize = 256;

/// Keys of a shell that are looked up for that; of larger ones the size follows from the one before.
const MOST_KEYS: u64 = 1024;

/// Nanoseconds of a comparison, and of a byte of codes in it.
const COMPARE: f64 = 0.1;
const COMPARE_BYTE: f64 = 0.042;
/// Nanoseconds of finding the rows of one key to compare those of another with.
const KEY: f64 = 6.0;
/// Nanoseconds of a row and such a key, beside the comparisons.
const TARGET: f64 = 2.5;
/// Nanoseconds of copying a row where the rest of its code stands in the table, and where not.
const LOAD_BESIDE: f64 = 2.5;
const LOAD_APART: f64 = 60.0;

/// How many shells of each table are gone over, and what that is expected to take, in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Depths {
    pub(super) of: Vec<u32>,
    pub(super) costs: Vec<f64>,
}

/// A part, or two of them, and the way in which their pairs are found.
pub(super) enum Stage<'a> {
    Join(Join<'a>),
    Scan(Scan<'a>),
    Lookup(Lookup<'a>),
}

/// What is to be done.
pub(super) struct Plan<'a> {
    pub(super) stages: Vec<Stage<'a>>,
    /// Nanoseconds that it is expected to take.
    pub(super) cost: f64,
}

impl Stage<'_> {
    pub(super) fn tasks(&self) -> usize {
        match self {
            Stage::Join(join) => join.tasks(),
            Stage::Scan(scan) => scan.tasks(),
            Stage::Lookup(lookup) => lookup.tasks(),
        }
    }
}

/// The tables of a part, if it has any.
type Known<'a> = Option<(&'a Tables, LazyBytes<'a>)>;

impl<'a> Plan<'a> {
    /// The cheapest way for each part and each two of them; `way` forces one, where it is possible.
    ///
    /// # Errors
    /// What storage reports of damaged files, and [`Error::Damaged`].
    pub(super) fn new(
        snapshot: &'a Snapshot,
        parts: &'a [Visible<'a>],
        radius: u32,
        way: Option<Way>,
    ) -> Result<Plan<'a>, Error> {
        let stride = snapshot.stride();
        let compare = COMPARE + COMPARE_BYTE * padded(stride) as f64;
        let scans = |cost: f64, scan: f64| match way {
            None => cost >= scan,
            Some(way) => way == Way::Scan,
        };
        let known: Vec<Known<'a>> = parts
            .iter()
            .map(|part| {
                let (tables, section) = Tables::of(part.part, snapshot.bits())?;
                Some((tables, section.lazy()))
            })
            .collect();
        let mut plan = Plan {
            stages: Vec::new(),
            cost: 0.0,
        };
        for (part, known) in parts.iter().zip(&known) {
            let rows = part.rows as f64;
            let scan = rows * (rows - 1.0) / 2.0 * compare;
            // With so few comparisons, planning would take longer.
            let tables = known.filter(|_| way.is_some() || scan > 1e5);
            let depths = match tables {
                Some((tables, section)) if way != Some(Way::Scan) => {
                    let sizes = sizes(snapshot, part, part, (tables, section), radius)?;
                    join_depths(part, tables, radius, &sizes, stride)
                }
                _ => None,
            };
            match (tables, depths) {
                (Some(tables), Some(depths)) if !scans(depths.cost(), scan) => {
                    plan.cost += depths.cost();
                    let join = Join::new(snapshot, part, tables, radius, depths)?;
                    plan.stages.push(Stage::Join(join));
                }
                _ => {
                    plan.cost += scan;
                    let scan = Scan::new(snapshot, (part, None), radius, compare);
                    plan.stages.push(Stage::Scan(scan));
                }
            }
        }
        for (b, second) in parts.iter().enumerate() {
            for (a, first) in parts.iter().enumerate().take(b) {
                let scan = first.rows as f64 * second.rows as f64 * compare;
                let mut best: Option<(Depths, usize, usize)> = None;
                for (rows, of) in [(b, a), (a, b)] {
                    let tables = known[of].filter(|_| way.is_some() || scan > 1e5);
                    let Some((tables, section)) = tables.filter(|_| way != Some(Way::Scan)) else {
                        continue;
                    };
                    let (from, part) = (&parts[rows], &parts[of]);
                    let sizes = sizes(snapshot, from, part, (tables, section), radius)?;
                    let depths = lookup_depths(from, part, tables, radius, &sizes, stride);
                    let cost = |best: &Depths| best.cost();
                    best = [depths.map(|depths| (depths, rows, of)), best]
                        .into_iter()
                        .flatten()
                        .min_by(|a, b| cost(&a.0).total_cmp(&cost(&b.0)));
                }
                match best {
                    Some((depths, rows, of)) if !scans(depths.cost(), scan) => {
                        let Some(tables) = known[of] else { continue };
                        plan.cost += depths.cost();
                        let (rows, part) = (&parts[rows], &parts[of]);
                        let lookup = Lookup::new(snapshot, rows, part, tables, radius, depths)?;
                        plan.stages.push(Stage::Lookup(lookup));
                    }
                    _ => {
                        plan.cost += scan;
                        let scan = Scan::new(snapshot, (first, Some(second)), radius, compare);
                        plan.stages.push(Stage::Scan(scan));
                    }
                }
            }
        }
        Ok(plan)
    }
}

impl Depths {
    /// Nanoseconds of it all.
    fn cost(&self) -> f64 {
        self.costs.iter().sum()
    }
}

/// Rows of a shell at each distance, on average over the rows that it is laid around.
type Sizes = [f64; MOST_DISTANCE as usize + 1];

/// For each table of `part`, how many rows the shells around the keys of `rows` have, on average over a
/// sample of them.
fn sizes(
    snapshot: &Snapshot,
    rows: &Visible<'_>,
    part: &Visible<'_>,
    (tables, section): (&Tables, LazyBytes<'_>),
    radius: u32,
) -> Result<Vec<Sizes>, Error> {
    let malformed = |malformed: Malformed| snapshot.probe_failed(malformed);
    let mut keys = Vec::new();
    for row in sample(rows) {
        if let Some(code) = rows.part.code(row)? {
            keys.push(tables.keys(code).0);
        }
    }
    let count_keys = keys.len().max(1) as f64;
    let mut all = Vec::with_capacity(tables.count());
    for number in 0..tables.count() {
        let table = tables.table(section, number).map_err(malformed)?;
        let starts = table.bucket.starts;
        let at = table.places.starts;
        section.check(at..at + 4 * starts.len())?;
        let key_bits = table.bucket.key_bits;
        let mut sizes = [0.0; MOST_DISTANCE as usize + 1];
        for distance in 0..=MOST_DISTANCE.min(key_bits).min(radius) {
            let keys_there = count(key_bits, distance);
            let masks = masks(key_bits, distance).filter(|_| keys_there <= MOST_KEYS);
            sizes[distance as usize] = match masks {
                Some(masks) => {
                    let mut sum = 0_u64;
                    for keys in &keys {
                        for mask in masks {
                            let key = (keys[number] ^ mask) as usize;
                            if let (Some(start), Some(end)) = (starts.get(key), starts.get(key + 1))
                            {
                                sum += u64::from(end.saturating_sub(*start));
                            }
                        }
                    }
                    sum as f64 / count_keys
                }
                // Beyond, it grows as the number of keys does, and there are not less than on average.
                None => {
                    let before = distance.saturating_sub(1);
                    let density = sizes[before as usize] / count(key_bits, before) as f64;
                    let mean = part.part.len() as f64 / f64::from(key_bits).exp2();
                    density.max(mean) * keys_there as f64
                }
            };
        }
        all.push(sizes);
    }
    Ok(all)
}

/// Some visible rows of a part, from everywhere in it.
fn sample(part: &Visible<'_>) -> Vec<u32> {
    let all = part.part.len() as u64;
    let count = part.rows.min(SAMPLE as u64);
    let at = |of: u64| move |number: u64| (number * of / count) as u32;
    match part.hidden {
        Hidden::AllBut(passing) => (0..count)
            .map(at(passing.len()))
            .filter_map(|rank| passing.select(rank))
            .collect(),
        hidden => (0..count)
            .map(at(all))
            .filter(|row| !hidden.hides(*row))
            .collect(),
    }
}

/// The depths of least cost that prove `radius`, where `cost` is what so many shells of a table cost; none,
/// if that is out of their reach.
fn depths(tables: &Tables, radius: u32, cost: impl Fn(usize, u32) -> f64) -> Option<Depths> {
    let shells = radius as usize + 1;
    // `best[s]` is what s shells cost, of the tables up to the one at hand; more are as good as s.
    let mut best = vec![f64::INFINITY; shells + 1];
    best[0] = 0.0;
    let mut chosen = Vec::with_capacity(tables.count());
    for table in 0..tables.count() {
        let most = MOST_DISTANCE.min(tables.key_bits(table)) + 1;
        let costs: Vec<f64> = (0..=most).map(|depth| cost(table, depth)).collect();
        let mut next = vec![f64::INFINITY; shells + 1];
        let mut depth_of = vec![0_u32; shells + 1];
        for (before, &spent) in best.iter().enumerate() {
            for (depth, cost) in (0_u32..).zip(&costs) {
                let sum = shells.min(before + depth as usize);
                if spent + cost < next[sum] {
                    next[sum] = spent + cost;
                    depth_of[sum] = depth << 16 | (sum - before) as u32;
                }
            }
        }
        best = next;
        chosen.push((depth_of, costs));
    }
    if best[shells].is_infinite() {
        return None;
    }
    let mut depths = Depths {
        of: vec![0; tables.count()],
        costs: vec![0.0; tables.count()],
    };
    let mut at = shells;
    for (table, (depth_of, costs)) in chosen.iter().enumerate().rev() {
        let depth = depth_of[at] >> 16;
        at -= (depth_of[at] & 0xffff) as usize;
        depths.of[table] = depth;
        depths.costs[table] = costs[depth as usize];
    }
    Some(depths)
}

fn join_depths(
    part: &Visible<'_>,
    tables: &Tables,
    radius: u32,
    sizes: &[Sizes],
    stride: usize,
) -> Option<Depths> {
    let (all, rows) = (part.part.len() as f64, part.rows as f64);
    let (bytes, load) = match tables.has_rest() {
        true => (8, LOAD_BESIDE),
        false => (padded(stride), LOAD_APART),
    };
    let compare = COMPARE + COMPARE_BYTE * bytes as f64;
    depths(tables, radius, |table, depth| {
        if depth == 0 {
            return 0.0;
        }
        let key_bits = tables.key_bits(table);
        let keys = f64::from(key_bits).exp2().min(rows);
        let high = key_bits - low_bits(key_bits, part.part.len());
        let mut loads = 1.0;
        let mut of_row = 0.0;
        let mut of_key = 0.0;
        for distance in 0..depth {
            // Hidden rows are left out when they are copied.
            let size = sizes[table][distance as usize] * rows / all;
            let buckets = count(key_bits, distance) as f64;
            of_row += size * compare + size.min(buckets) * TARGET;
            of_key += buckets * KEY;
            if distance > 0 {
                loads += count(high, distance) as f64 / 2.0;
            }
        }
        rows / 2.0 * of_row + keys / 2.0 * of_key + all * loads * load
    })
}

fn lookup_depths(
    rows: &Visible<'_>,
    part: &Visible<'_>,
    tables: &Tables,
    radius: u32,
    sizes: &[Sizes],
    stride: usize,
) -> Option<Depths> {
    let costs = part.costs(stride, Some(tables), 1);
    depths(tables, radius, |table, depth| {
        let shells = (0..depth).map(|distance| {
            let buckets = count(tables.key_bits(table), distance) as f32;
            let size = sizes[table][distance as usize] as f32;
            f64::from(costs.shell(buckets, size))
        });
        rows.rows as f64 * shells.sum::<f64>()
    })
}
