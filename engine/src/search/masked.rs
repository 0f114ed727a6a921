//! Searching a part under masks: by its bit planes, or over its rows.

use std::ops::Range;
use std::time::Instant;

use super::costs::Costs;
use super::explain::{PartExplanation, Way};
use super::limit::Limit;
use super::nearest::Nearest;
use super::pass::{Asked, Pass};
use super::scan::Columns;
use super::visible::Visible;
use super::{EVERYTHING, together};
use crate::error::Error;
use crate::kernels::{
    Candidate, Kernels, LINE_ROWS, MaskWord, PLANES_ROWS, PlaneCounters, PlaneQuery, PlaneRows,
};
use crate::planes::Planes;

/// Rows that are looked at first: thresholds begin open, so the stretches between begin small, and double.
const FIRST_ROWS: u32 = LINE_ROWS as u32;

/// The most rows that are read one after the other for one query, so that they are still in a cache for the next.
const MOST_ROWS: u32 = 2048;

/// Where the rows of a part are looked at.
enum Ground<'a> {
    Planes(Planes<'a>, &'a Visible<'a>),
    Rows(Columns<'a>),
}

impl Ground<'_> {
    fn rows(&self) -> u32 {
        match self {
            Ground::Planes(_, part) => part.part.len() as u32,
            Ground::Rows(columns) => columns.ids.len() as u32,
        }
    }

    /// The id of a row, which is there.
    fn id(&self, row: u32) -> Result<u64, Error> {
        match self {
            Ground::Planes(_, part) => part.id(row),
            Ground::Rows(columns) => Ok(columns.ids[row as usize]),
        }
    }

    fn hides(&self, row: u32) -> bool {
        match self {
            Ground::Planes(_, part) => part.hidden.hides(row),
            Ground::Rows(columns) => columns.hidden.hides(columns.first_row + row),
        }
    }

    /// Where a stretch ends that starts at a row and has so many of them or less.
    fn end(&self, start: u32, rows: u32) -> u32 {
        let (most, end) = match self {
            Ground::Planes(planes, _) => (PLANES_ROWS as u32, planes.block(start).end),
            Ground::Rows(columns) => (MOST_ROWS, columns.ids.len() as u32),
        };
        end.min(start.saturating_add(rows.min(most)))
    }
}

/// A query as the rows of a ground are held against it.
enum Held<'a> {
    Planes {
        query: PlaneQuery,
        /// The rows whose planes were looked up last.
        block: Range<u32>,
        planes: Vec<&'a [u8]>,
    },
    Words(Vec<MaskWord>),
    Whole,
}

impl<'a> Held<'a> {
    fn new(ground: &Ground<'a>, asked: &Asked<'_>) -> Held<'a> {
        let mask = asked.mask;
        match ground {
            Ground::Planes(..) => {
                let bit = |bit: &u32| asked.query[*bit as usize / 8] >> (bit % 8) & 1 == 1;
                let bits = mask.map_or(&[][..], |mask| mask.bits());
                Held::Planes {
                    query: PlaneQuery::new(bits.iter().map(bit)),
                    block: 0..0,
                    planes: Vec::new(),
                }
            }
            Ground::Rows(_) => match mask.and_then(|mask| mask.words(asked.query)) {
                Some(words) => Held::Words(words),
                None => Held::Whole,
            },
        }
    }

    /// Finds the rows of a stretch within the threshold; returns how many bytes were read for that.
    fn find(
        &mut self,
        kernels: &Kernels,
        ground: &Ground<'a>,
        rows: &Range<u32>,
        asked: (&Asked<'_>, u32),
        found: &mut Found,
    ) -> Result<u64, Error> {
        let (asked, threshold) = asked;
        let Some(mask) = asked.mask else { return Ok(0) };
        let Found {
            rows: found,
            counters,
        } = found;
        match (self, ground) {
            (
                Held::Planes {
                    query,
                    block,
                    planes,
                },
                Ground::Planes(of, _),
            ) => {
                if !block.contains(&rows.start) {
                    *block = of.block(rows.start);
                    of.of_block(block, mask.bits(), planes)?;
                }
                let rows = PlaneRows {
                    planes,
                    start: (rows.start - block.start) as usize,
                    end: (rows.end - block.start) as usize,
                    first_row: block.start,
                };
                Ok(kernels.within_planes(query, &rows, threshold, counters, found))
            }
            (held, Ground::Rows(columns)) => {
                let stride = asked.query.len();
                let codes = rows.start as usize * stride..rows.end as usize * stride;
                let codes = &columns.codes[codes];
                if let Held::Words(words) = held {
                    kernels.within_words(words, stride, codes, rows.start, threshold, found);
                    Ok(8 * (words.len() * rows.len()) as u64)
                } else {
                    let (query, mask) = (asked.query, mask.bytes());
                    kernels.within_masked(query, mask, codes, rows.start, threshold, found);
                    Ok(codes.len() as u64)
                }
            }
            _ => Ok(0),
        }
    }
}

/// What a stretch gave, and the memory that it takes.
#[derive(Default)]
struct Found {
    rows: Vec<Candidate>,
    counters: PlaneCounters,
}

/// What was done for the first query.
#[derive(Clone, Copy, Default)]
struct Work {
    rows: u64,
    bytes: u64,
}

impl Pass<'_> {
    /// Searches one part for queries that all have masks.
    pub(super) fn masked_part(
        &self,
        part: &Visible<'_>,
        asked: &mut [Asked<'_>],
        explain: bool,
    ) -> Result<Option<PartExplanation>, Error> {
        let begun = Instant::now();
        let planes = match self.wanted.way {
            Some(Way::Scan) => None,
            _ => Planes::of(part.part, self.snapshot.bits()),
        };
        let [of_planes, of_rows] = part.masked_costs(self.snapshot.stride(), asked);
        // Few rows are quicker gathered, if their codes are not too long.
        let planes = planes.filter(|_| !part.gathers() || of_planes.scan < of_rows.scan);
        let (way, costs) = match planes {
            Some(_) => (Way::Planes, of_planes),
            None => (Way::Scan, of_rows),
        };
        let ground = match planes {
            Some(planes) => Ground::Planes(planes, part),
            None => Ground::Rows(part.columns()?),
        };
        let begun_at = Instant::now();
        let work = match (&mut *asked, costs.scan_threads(self.threads)) {
            ([asked], threads @ 2..) if !asked.answer.streams() && !asked.limit.is_set() => {
                self.look_together(&ground, asked, threads)?
            }
            (asked, _) => {
                let work = self.look(&ground, 0..ground.rows(), asked)?;
                let took = begun_at.elapsed().as_nanos() as f32;
                if work.rows == u64::from(ground.rows()) {
                    costs.learn_scan(asked.len(), took);
                }
                work
            }
        };
        let Some(first) = asked.first().filter(|_| explain) else {
            return Ok(None);
        };
        let mut explained = PartExplanation::new(part, way);
        explained.predicted_scan = costs.predicted_scan();
        explained.took = begun.elapsed();
        explained.candidates = work.rows;
        explained.bytes = work.bytes;
        explained.covered_radius = (first.covered > 0).then(|| first.width(self.snapshot));
        Ok(Some(explained))
    }

    /// For one query, with several threads, each of which has a stretch of the rows.
    fn look_together(
        &self,
        ground: &Ground<'_>,
        asked: &mut Asked<'_>,
        threads: usize,
    ) -> Result<Work, Error> {
        let rows = ground.rows();
        let share = rows.div_ceil(threads as u32).next_multiple_of(FIRST_ROWS);
        let wanted = asked.answer.share();
        let (query, mask) = (asked.query, asked.mask);
        let found = together(rows.div_ceil(share) as usize, |number| {
            let start = number as u32 * share;
            let mut own = [Asked {
                query,
                mask,
                answer: Nearest::from(wanted),
                covered: EVERYTHING,
                limit: Limit::new(None),
            }];
            let work = self.look(
                ground,
                start..rows.min(start.saturating_add(share)),
                &mut own,
            )?;
            let [own] = own;
            Ok::<_, Error>((own.answer.finish(), work))
        });
        let mut all = Work::default();
        for found in found {
            let (hits, work) = found?;
            asked.answer.absorb(hits);
            all.rows += work.rows;
            all.bytes += work.bytes;
        }
        Ok(all)
    }

    /// Offers every one of these rows that may be wanted to each query's answer, until its budget is spent.
    fn look(
        &self,
        ground: &Ground<'_>,
        rows: Range<u32>,
        asked: &mut [Asked<'_>],
    ) -> Result<Work, Error> {
        let mut held: Vec<Held<'_>> = asked.iter().map(|asked| Held::new(ground, asked)).collect();
        let mut found = Found::default();
        let mut work = Work::default();
        let (mut start, mut size) = (rows.start, FIRST_ROWS);
        while start < rows.end {
            self.snapshot.check_stopped()?;
            let stretch = start..rows.end.min(ground.end(start, size));
            let first_id = ground.id(start)?;
            let mut is_wanted = false;
            for (number, (held, asked)) in held.iter_mut().zip(&mut *asked).enumerate() {
                let Some(threshold) = asked.answer.threshold(first_id) else {
                    continue;
                };
                asked.limit.begin();
                if asked.limit.is_reached() {
                    asked.covered = 0;
                    continue;
                }
                is_wanted = true;
                let kernels = self.snapshot.kernels;
                let bytes = held.find(kernels, ground, &stretch, (asked, threshold), &mut found)?;
                if number == 0 {
                    work.rows += stretch.len() as u64;
                    work.bytes += bytes;
                }
                if !found.rows.is_empty() {
                    for row in found.rows.drain(..) {
                        if !ground.hides(row.row) {
                            asked.answer.offer(row.distance, ground.id(row.row)?);
                        }
                    }
                    asked.answer.settle();
                }
                asked.limit.spend(stretch.len() as u64);
                asked.limit.pause();
            }
            if !is_wanted {
                break;
            }
            (start, size) = (stretch.end, size.saturating_mul(2));
        }
        Ok(work)
    }
}

impl Visible<'_> {
    /// What it takes to find the nearest under a mask, by planes and by rows.
    fn masked_costs(&self, stride: usize, asked: &[Asked<'_>]) -> [Costs; 2] {
        let mask = asked.first().and_then(|asked| asked.mask);
        let width = mask.map_or(0, |mask| mask.width()) as usize;
        let rows = self.part.len();
        let of_rows = match self.gathers() {
            true => Costs::masked(rows, stride, Some(self.rows)),
            // A cache line for each bit, where they lie far apart.
            false => Costs::masked(rows, stride.min(64 * width), None),
        };
        [Costs::masked(rows, width.div_ceil(8), None), of_rows]
    }
}
