//! Pairs without a join of tables: every two rows compared, in blocks that stay in the nearest cache, or
//! the rows of one part looked up in the tables of another.

use bitkin_storage::LazyBytes;

use super::block::{Codes, block_rows, edges};
use super::join::Desk;
use super::out::{Out, Pair};
use super::plan::Depths;
use crate::error::Error;
use crate::kernels::join::Target;
use crate::kernels::probe::{Ahead, Found, Malformed};
use crate::search::visible::Visible;
use crate::snapshot::Snapshot;
use crate::tables::{Opened, Tables};

/// Rows of a block that are compared with another block at once.
const ROWS_AT_ONCE: u32 = 128;

/// Rows that are looked up between two questions whether to go on.
const LOOKUPS: usize = 256;

/// Every row of one part against every row of another, or of itself.
pub(super) struct Scan<'a> {
    snapshot: &'a Snapshot,
    a: Side<'a>,
    /// `None`: within the first.
    b: Option<Side<'a>>,
    radius: u32,
    /// Nanoseconds that a comparison is expected to take.
    cost: f64,
}

struct Side<'a> {
    part: &'a Visible<'a>,
    codes: Codes<'a>,
    edges: Vec<u32>,
}

impl<'a> Side<'a> {
    fn new(snapshot: &Snapshot, part: &'a Visible<'a>, rows: usize) -> Side<'a> {
        Side {
            part,
            codes: Codes::new(snapshot, part),
            edges: edges(part, rows),
        }
    }

    fn blocks(&self) -> usize {
        self.edges.len().saturating_sub(1)
    }

    fn block(&self, number: usize) -> (u32, u32) {
        match self.edges.get(number..number + 2) {
            Some(&[start, end]) => (start, end),
            _ => (0, 0),
        }
    }
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        (a, b): (&'a Visible<'a>, Option<&'a Visible<'a>>),
        radius: u32,
        cost: f64,
    ) -> Scan<'a> {
        let rows = block_rows(snapshot.stride());
        Scan {
            snapshot,
            a: Side::new(snapshot, a, rows),
            b: b.map(|part| Side::new(snapshot, part, rows)),
            radius,
            cost,
        }
    }

    pub(super) fn tasks(&self) -> usize {
        self.a.blocks()
    }

    /// Compares one block of the first part with all others; returns whether to go on.
    pub(super) fn run(
        &self,
        task: usize,
        desk: &mut Desk,
        out: &mut Out<'_>,
    ) -> Result<bool, Error> {
        let a = &self.a;
        desk.x.load_rows(a.part, &a.codes, a.block(task))?;
        let (b, first) = match &self.b {
            Some(b) => (b, 0),
            None => {
                if !self.itself(desk, out)? {
                    return Ok(false);
                }
                (a, task + 1)
            }
        };
        for block in first..b.blocks() {
            desk.y.load_rows(b.part, &b.codes, b.block(block))?;
            let targets = [Target {
                start: 0,
                end: desk.y.len(),
                threshold: self.radius,
            }];
            let rows = desk.x.len();
            for start in (0..rows).step_by(ROWS_AT_ONCE as usize) {
                let queries = (start, rows.min(start + ROWS_AT_ONCE));
                let Desk { x, y, near, .. } = desk;
                let kernels = self.snapshot.kernels;
                kernels.join(&x.rows, queries, &y.rows, &targets, near);
                if !self.found(b.part, false, desk, out)? {
                    return Ok(false);
                }
            }
            if !self.compared(u64::from(rows) * u64::from(desk.y.len()), out) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Block X against itself.
    fn itself(&self, desk: &mut Desk, out: &mut Out<'_>) -> Result<bool, Error> {
        let rows = desk.x.len();
        for row in 0..rows {
            let targets = [Target {
                start: row + 1,
                end: rows,
                threshold: self.radius,
            }];
            let Desk { x, near, .. } = desk;
            let kernels = self.snapshot.kernels;
            kernels.join(&x.rows, (row, row + 1), &x.rows, &targets, near);
            if !self.found(self.a.part, true, desk, out)? {
                return Ok(false);
            }
        }
        let rows = u64::from(rows);
        Ok(self.compared(rows * rows.saturating_sub(1) / 2, out))
    }

    fn compared(&self, rows: u64, out: &mut Out<'_>) -> bool {
        out.compared(rows);
        out.done(rows as f64 * self.cost);
        out.go_on()
    }

    fn found(
        &self,
        b: &Visible<'_>,
        itself: bool,
        desk: &mut Desk,
        out: &mut Out<'_>,
    ) -> Result<bool, Error> {
        let Desk { x, y, near, .. } = desk;
        let y = if itself { &*x } else { &*y };
        for near in near.drain(..) {
            let a = self.a.part.id(x.numbers[near.query as usize])?;
            let b = b.id(y.numbers[near.row as usize])?;
            if !out.give(Pair::new(a, b, near.distance)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The rows of one part, each looked up in the tables of another.
pub(super) struct Lookup<'a> {
    snapshot: &'a Snapshot,
    rows: Side<'a>,
    part: &'a Visible<'a>,
    opened: Opened<'a>,
    radius: u32,
    depths: Depths,
}

impl<'a> Lookup<'a> {
    /// # Errors
    /// What storage reports of a damaged section, and [`Error::Damaged`] for one that leads astray.
    pub(super) fn new(
        snapshot: &'a Snapshot,
        rows: &'a Visible<'a>,
        part: &'a Visible<'a>,
        (tables, section): (&'a Tables, LazyBytes<'a>),
        radius: u32,
        depths: Depths,
    ) -> Result<Lookup<'a>, Error> {
        let opened = Opened::new(tables, section, part.part.lazy_codes());
        Ok(Lookup {
            snapshot,
            rows: Side::new(snapshot, rows, LOOKUPS),
            part,
            opened: opened.map_err(|error| snapshot.probe_failed(error))?,
            radius,
            depths,
        })
    }

    pub(super) fn tasks(&self) -> usize {
        self.rows.blocks()
    }

    /// Looks up one block of rows; returns whether to go on.
    pub(super) fn run(&self, task: usize, out: &mut Out<'_>) -> Result<bool, Error> {
        let (start, end) = self.rows.block(task);
        let rows = self.rows.part;
        let mut count = 0;
        let mut on = true;
        for row in rows.hidden.visible(start..end) {
            count += 1;
            on = self.row(row, out)?;
            if !on {
                break;
            }
        }
        let cost: f64 = self.depths.costs.iter().sum();
        out.done(cost * f64::from(count) / rows.rows as f64);
        Ok(on && out.go_on())
    }

    fn row(&self, row: u32, out: &mut Out<'_>) -> Result<bool, Error> {
        let id = self.rows.part.id(row)?;
        let query = self.rows.codes.get(row)?;
        let query = query.ok_or_else(|| self.snapshot.damaged(format!("row {row} has no code")))?;
        let (keys, word) = self.opened.tables.keys(query);
        let mut shells = Vec::new();
        let mut of_table = Vec::new();
        for (number, &depth) in self.depths.of.iter().enumerate() {
            let of = (0..depth)
                .map_while(|distance| self.opened.shell((number, distance), (&keys, word), query));
            shells.extend(of);
            of_table.resize(shells.len(), number);
        }
        let mut ahead = Ahead::new();
        let mut result = Ok(true);
        for (at, &table) in of_table.iter().enumerate() {
            let mut take = |found: &mut Vec<Found>| {
                for found in found.drain(..) {
                    result = self.found((id, query), &self.depths.of[..table], found, out);
                    if !matches!(result, Ok(true)) {
                        return None;
                    }
                }
                Some(self.radius)
            };
            let kernels = self.snapshot.kernels;
            let looked_at = kernels.shell(&shells[at..], &mut ahead, self.radius, &mut take);
            let looked_at = looked_at.map_err(|error| self.snapshot.probe_failed(error))?;
            out.compared(looked_at);
            if !matches!(result, Ok(true)) {
                break;
            }
        }
        result
    }

    fn found(
        &self,
        (id, query): (u64, &[u8]),
        earlier: &[u32],
        found: Found,
        out: &mut Out<'_>,
    ) -> Result<bool, Error> {
        if found.row as usize >= self.part.part.len() {
            return Err(self.snapshot.probe_failed(Malformed));
        }
        if self.opened.has_shown(earlier, query, &found) || self.part.hidden.hides(found.row) {
            return Ok(true);
        }
        let other = self.part.id(found.row)?;
        Ok(out.give(Pair::new(id, other, found.distance)))
    }
}
