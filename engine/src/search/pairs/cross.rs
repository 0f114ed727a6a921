//! Pairs without a join of tables: every two rows compared, in blocks that stay in the nearest cache, or
//! the rows of one part looked up in the tables of another.

use bitkin_storage::LazyBytes;

use super::block::{Codes, block_rows, edges};
use super::join::Desk;
use super::out::{Out, Pair};
use super::plan::Depths;
use crate::error::Error;
use crate::kernels::join::Target;
use crate::kernels::probe::{Ahead, Checks, Found, Malformed, ProbeError, Shell};
use crate::search::visible::{Hidden, Visible};
use crate::snapshot::Snapshot;
use crate::tables::{Table, Tables, masks};

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
    tables: &'a Tables,
    section: LazyBytes<'a>,
    table: Vec<Table<'a>>,
    is_checked: bool,
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
        let table = (0..tables.count()).map(|number| tables.table(section, number));
        let table: Result<Vec<_>, Malformed> = table.collect();
        Ok(Lookup {
            snapshot,
            rows: Side::new(snapshot, rows, LOOKUPS),
            part,
            tables,
            section,
            table: table.map_err(|malformed| snapshot.damaged(malformed.to_string()))?,
            is_checked: tables.is_checked(&section, &part.part.lazy_codes())?,
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
        let mut look_up = |row: u32| {
            count += 1;
            self.row(row, out)
        };
        let mut on = true;
        match rows.hidden {
            Hidden::AllBut(passing) => {
                for row in passing.range(start..end) {
                    on = on && look_up(row)?;
                }
            }
            hidden => {
                for row in (start..end).filter(|row| !hidden.hides(*row)) {
                    on = on && look_up(row)?;
                }
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
        let (keys, word) = self.tables.keys(query);
        let codes = self.part.part.lazy_codes();
        let mut shells = Vec::new();
        let mut of_table = Vec::new();
        for (number, (table, &depth)) in self.table.iter().zip(&self.depths.of).enumerate() {
            for distance in 0..depth {
                let Some(masks) = masks(table.bucket.key_bits, distance) else {
                    break;
                };
                of_table.push(number);
                shells.push(Shell {
                    bucket: table.bucket,
                    key: keys[number],
                    word,
                    masks,
                    distance,
                    query,
                    codes: codes.unchecked(),
                    checks: (!self.is_checked).then_some(Checks {
                        section: self.section,
                        places: table.places,
                        codes,
                    }),
                });
            }
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
            let looked_at = looked_at.map_err(|error| match error {
                ProbeError::Storage(error) => Error::from(error),
                ProbeError::Malformed(malformed) => self.snapshot.damaged(malformed.to_string()),
            })?;
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
            return Err(self.snapshot.damaged(Malformed.to_string()));
        }
        let shown = if self.tables.has_rest() {
            self.tables.has_shown_word(earlier, found.difference)
        } else {
            let at = found.row as usize * query.len();
            let codes = self.part.part.lazy_codes().unchecked();
            let code = codes.get(at..at + query.len());
            code.is_some_and(|code| self.tables.has_shown(earlier, query, code))
        };
        if shown || self.part.hidden.hides(found.row) {
            return Ok(true);
        }
        let other = self.part.id(found.row)?;
        Ok(out.give(Pair::new(id, other, found.distance)))
    }
}
