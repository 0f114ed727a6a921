//! One pass over the parts of a snapshot, for one query or for many.

use std::borrow::Cow;
use std::time::Instant;

use roaring::RoaringBitmap;

use super::costs::nanos;
use super::explain::{Explanation, PartExplanation, Way};
use super::limit::Limit;
use super::mask::Mask;
use super::nearest::{Nearest, Sink};
use super::scan::{Columns, Scan, scan_together};
use super::visible::Visible;
use super::walk::{End, Ground, Walked, Work, walk};
use super::{Answer, EVERYTHING, Streamed, Wanted};
use crate::error::Error;
use crate::snapshot::Snapshot;
use crate::tables::Tables;

/// Rows that a search with a budget scans before it looks whether that is spent.
const ROWS_BETWEEN: usize = 1 << 14;

/// A search, with all that its queries share.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// The largest first.
    pub(super) parts: &'a [Visible<'a>],
    pub(super) wanted: Wanted,
    /// Threads that may share a long scan.
    pub(super) threads: usize,
}

/// The parts of a snapshot that have rows to be found, the largest first: what is found there spares
/// the most in the others.
pub(super) fn visible<'a>(
    snapshot: &'a Snapshot,
    passing: &'a [Option<RoaringBitmap>],
) -> Vec<Visible<'a>> {
    let parts = snapshot.view.parts().iter().zip(passing);
    let mut visible: Vec<Visible<'_>> = parts
        .filter_map(|(part, passing)| Visible::new(snapshot, part, passing.as_ref()))
        .collect();
    visible.sort_by_key(|part| std::cmp::Reverse(part.part.len()));
    visible
}

/// A code, and the bits of it that count: all of them if there is no mask. Either all queries of a search have
/// one or none has.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) code: &'a [u8],
    pub(super) mask: Option<&'a Mask>,
}

/// One query of a pass.
pub(super) struct Asked<'a> {
    pub(super) query: &'a [u8],
    pub(super) mask: Option<&'a Mask>,
    pub(super) answer: Nearest<'a>,
    /// Every row at a distance of less than this was offered, in all parts.
    pub(super) covered: u32,
    pub(super) limit: Limit,
}

impl Asked<'_> {
    /// The greatest distance that there is.
    pub(super) fn width(&self, snapshot: &Snapshot) -> u32 {
        self.mask.map_or(snapshot.bits(), Mask::width)
    }
}

impl Pass<'_> {
    /// The answers to `queries`; of the first, `explanation` tells how it was found.
    pub(super) fn run(
        &self,
        queries: &[Query<'_>],
        explanation: Option<&mut Explanation>,
    ) -> Result<Vec<Answer>, Error> {
        let nearest = || Nearest::new(self.wanted.k(), self.wanted.radius);
        let asked = queries.iter().map(|query| self.asked(*query, nearest()));
        let mut asked: Vec<Asked<'_>> = asked.collect();
        self.parts(&mut asked, explanation)?;
        let answers = asked.into_iter();
        Ok(answers
            .map(|asked| {
                let width = asked.width(self.snapshot);
                self.wanted
                    .answer(asked.answer.finish(), asked.covered, width)
            })
            .collect())
    }

    /// Gives every row within the radius to `sink`.
    pub(super) fn stream(
        &self,
        query: Query<'_>,
        radius: u32,
        sink: Sink<'_>,
    ) -> Result<Streamed, Error> {
        let mut asked = [self.asked(query, Nearest::stream(radius, sink))];
        self.parts(&mut asked, None)?;
        let [asked] = asked;
        let (covered, width) = (asked.covered, asked.width(self.snapshot));
        let (hits, is_complete) = asked.answer.streamed();
        let answer = self.wanted.answer(Vec::new(), covered, width);
        Ok(Streamed {
            hits,
            certified_radius: answer.certified_radius.filter(|_| is_complete),
            exact: answer.exact && is_complete,
        })
    }

    fn asked<'b>(&self, query: Query<'b>, answer: Nearest<'b>) -> Asked<'b> {
        Asked {
            query: query.code,
            mask: query.mask,
            answer,
            covered: EVERYTHING,
            limit: Limit::new(self.wanted.budget),
        }
    }

    fn parts(
        &self,
        asked: &mut [Asked<'_>],
        mut explanation: Option<&mut Explanation>,
    ) -> Result<(), Error> {
        for part in self.parts {
            self.snapshot.check_stopped()?;
            let explain = explanation.is_some();
            let explained = match asked.first() {
                Some(Asked { mask: Some(_), .. }) => self.masked_part(part, asked, explain)?,
                _ => self.part(part, asked, explain)?,
            };
            if let (Some(explanation), Some(explained)) = (&mut explanation, explained) {
                explanation.parts.push(explained);
            }
        }
        Ok(())
    }

    /// Searches one part: by its tables, and by a scan for the queries for which that is cheaper.
    fn part(
        &self,
        part: &Visible<'_>,
        asked: &mut [Asked<'_>],
        explain: bool,
    ) -> Result<Option<PartExplanation>, Error> {
        let begun = explain.then(Instant::now);
        let tables = match self.wanted.way {
            Some(Way::Scan) => None,
            _ => Tables::of(part.part, self.snapshot.bits()),
        };
        let stride = self.snapshot.stride();
        let known = tables.as_ref().map(|(tables, _)| *tables);
        let costs = part.costs(stride, known, asked.len());
        // What is found in the first part tells how far rows are; in others, fewer are still wanted.
        let teaches = part.rows == part.part.len() as u64
            && asked
                .iter()
                .all(|asked| asked.answer.is_open() && !asked.limit.is_set());
        let mut walked = None;
        let mut scanned = Vec::new();
        match &tables {
            Some((tables, section)) => {
                let ground = Ground {
                    snapshot: self.snapshot,
                    part,
                    tables,
                    section,
                    costs,
                    way: self.wanted.way,
                };
                for asked in asked.iter_mut() {
                    self.snapshot.check_stopped()?;
                    let Asked {
                        query,
                        answer,
                        covered,
                        limit,
                        ..
                    } = &mut *asked;
                    answer.begin_part();
                    if !ground.is_worth_a_walk(answer, limit) {
                        scanned.push(asked);
                        continue;
                    }
                    limit.begin();
                    let of = walk(ground, query, answer, limit)?;
                    limit.pause();
                    match of.end {
                        End::Complete => {}
                        End::Limit => *covered = (*covered).min(of.covered),
                        End::Scan => {
                            answer.forget_part();
                            scanned.push(asked);
                        }
                    }
                    walked.get_or_insert(of);
                }
            }
            None => scanned.extend(asked.iter_mut()),
        }
        let mut compared = 0;
        if !scanned.is_empty() {
            let columns = part.columns()?;
            let limited = scanned.iter().any(|asked| asked.limit.is_set());
            if limited {
                for asked in &mut scanned {
                    compared = self.scan_within(&columns, asked);
                }
            } else {
                compared = columns.ids.len() as u64;
                let queries: Vec<&[u8]> = scanned.iter().map(|asked| asked.query).collect();
                let mut answers: Vec<&mut Nearest<'_>> =
                    scanned.iter_mut().map(|asked| &mut asked.answer).collect();
                let begun = Instant::now();
                match (
                    &queries[..],
                    &mut answers[..],
                    costs.scan_threads(self.threads),
                ) {
                    ([query], [answer], threads @ 2..) if !answer.streams() => {
                        scan_together(self.snapshot.kernels, query, &columns, answer, threads);
                    }
                    _ => {
                        Scan::new(self.snapshot.kernels, &queries).scan(&columns, &mut answers);
                        // Else it would be taken for a quick one.
                        self.snapshot.check_stopped()?;
                        costs.learn_scan(queries.len(), begun.elapsed().as_nanos() as f32);
                    }
                }
            }
        }
        self.snapshot.check_stopped()?;
        if let (Some(tables), true) = (known, teaches) {
            for asked in asked.iter() {
                if let Some(distance) = asked.answer.worst_distance() {
                    tables.learn_distance(asked.answer.k(), distance);
                }
            }
        }
        let Some(begun) = begun else { return Ok(None) };
        let work = walked.map_or_else(Work::default, |walked: Walked| walked.work);
        let a_row = tables
            .as_ref()
            .map_or(0, |(tables, _)| tables.bytes_a_row());
        let way = match walked {
            None => Way::Scan,
            Some(walked) if walked.end != End::Scan => Way::Tables,
            Some(walked) if walked.work == Work::default() => Way::Scan,
            Some(_) => Way::TablesThenScan,
        };
        Ok(asked.first().map(|asked| PartExplanation {
            tables: tables.as_ref().map_or(0, |(tables, _)| tables.count()),
            predicted_scan: costs.predicted_scan(),
            predicted_tables: walked.map(|walked| nanos(walked.estimate)),
            took: begun.elapsed(),
            shells: work.shells,
            buckets: work.buckets,
            candidates: work.rows + compared,
            bytes: 8 * work.buckets + work.rows * a_row + compared * (stride as u64),
            covered_radius: match walked {
                Some(walked) if walked.end == End::Limit => {
                    walked.covered.min(asked.covered).checked_sub(1)
                }
                _ if asked.covered == 0 => None,
                _ => Some(self.snapshot.bits()),
            },
            ..PartExplanation::new(part, way)
        }))
    }

    /// Scans for one query that has a budget, until it is spent; returns the number of rows that were
    /// compared.
    fn scan_within(&self, columns: &Columns<'_>, asked: &mut Asked<'_>) -> u64 {
        let stride = self.snapshot.stride();
        let queries = [asked.query];
        let mut scan = Scan::new(self.snapshot.kernels, &queries);
        let mut start = 0;
        asked.limit.begin();
        while start < columns.ids.len() {
            if asked.limit.is_reached() {
                asked.covered = 0;
                break;
            }
            let end = columns.ids.len().min(start + ROWS_BETWEEN);
            let piece = Columns {
                ids: Cow::Borrowed(&columns.ids[start..end]),
                codes: Cow::Borrowed(&columns.codes[start * stride..end * stride]),
                hidden: columns.hidden,
                first_row: start as u32,
                stop: columns.stop,
            };
            scan.scan(&piece, &mut [&mut asked.answer]);
            asked.limit.spend((end - start) as u64);
            start = end;
        }
        asked.limit.pause();
        start as u64
    }
}
