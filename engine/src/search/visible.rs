//! The rows of a part that a search may find, and their columns.

use std::borrow::Cow;
use std::ops::Range;

use bitkin_storage::Part;
use roaring::RoaringBitmap;

use super::costs::Costs;
use super::scan::Columns;
use crate::error::Error;
use crate::filter::Filter;
use crate::snapshot::Snapshot;
use crate::tables::Tables;

/// Where fewer than one row in so many may be found, only their codes are read and compared;
/// otherwise all are, and what must not be found is dropped. A scan reads a code in a few
/// nanoseconds, a code by itself takes some tens.
const GATHER: u64 = 16;

/// The rows of a part that a search must pass over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hidden<'a> {
    Nothing,
    /// These.
    Rows(&'a RoaringBitmap),
    /// All but these.
    AllBut(&'a RoaringBitmap),
}

impl<'a> Hidden<'a> {
    /// Those of `rows` that are not hidden, ascending.
    pub(super) fn visible(self, rows: Range<u32>) -> impl Iterator<Item = u32> + 'a {
        let (passing, others) = match self {
            Hidden::AllBut(passing) => (Some(passing.range(rows)), None),
            hidden => (None, Some(rows.filter(move |row| !hidden.hides(*row)))),
        };
        passing
            .into_iter()
            .flatten()
            .chain(others.into_iter().flatten())
    }

    pub(super) fn hides(&self, row: u32) -> bool {
        match self {
            Hidden::Nothing => false,
            Hidden::Rows(rows) => rows.contains(row),
            Hidden::AllBut(rows) => !rows.contains(row),
        }
    }
}

/// A part, and which rows of it may be found.
#[derive(Debug)]
pub(super) struct Visible<'a> {
    snapshot: &'a Snapshot,
    pub(super) part: &'a Part,
    pub(super) hidden: Hidden<'a>,
    /// Number of rows that may be found; never 0.
    pub(super) rows: u64,
    /// The id of the first row, if those of all others follow it one by one.
    first_id: Option<u64>,
}

impl<'a> Visible<'a> {
    /// `None` if no row of the part may be found. `passing` are the rows that pass the search's filter.
    pub(super) fn new(
        snapshot: &'a Snapshot,
        part: &'a Part,
        passing: Option<&'a RoaringBitmap>,
    ) -> Option<Visible<'a>> {
        let rows = passing.map_or(part.live(), RoaringBitmap::len);
        if rows == 0 {
            return None;
        }
        let hidden = match (passing, part.deleted()) {
            _ if rows == part.len() as u64 => Hidden::Nothing,
            (Some(rows), _) => Hidden::AllBut(rows),
            (None, Some(deleted)) => Hidden::Rows(deleted),
            (None, None) => Hidden::Nothing,
        };
        let ids = part.id_range();
        let dense = ids.end() - ids.start() == part.len() as u64 - 1;
        Some(Visible {
            snapshot,
            part,
            hidden,
            rows,
            first_id: dense.then_some(*ids.start()),
        })
    }

    /// The id of a row of the part.
    pub(super) fn id(&self, row: u32) -> Result<u64, Error> {
        if let Some(first) = self.first_id {
            return Ok(first + u64::from(row));
        }
        let id = self.part.id(row)?;
        id.ok_or_else(|| {
            self.snapshot
                .damaged(format!("row {row} of a part has no id"))
        })
    }

    /// Whether so few rows pass that they are gathered and not sought among all.
    pub(super) fn gathers(&self) -> bool {
        matches!(self.hidden, Hidden::AllBut(_)) && self.rows < self.part.len() as u64 / GATHER
    }

    /// What it takes to find the nearest of one of so many queries.
    pub(super) fn costs(&self, stride: usize, tables: Option<&Tables>, queries: usize) -> Costs {
        let gathered = self.gathers().then_some(self.rows);
        Costs::new(self.part.len(), stride, gathered, tables, queries)
    }

    /// The columns that a scan goes over.
    pub(super) fn columns(&self) -> Result<Columns<'a>, Error> {
        match self.hidden {
            Hidden::AllBut(rows) if self.gathers() => gather(self.snapshot, self.part, rows),
            hidden => whole(self.snapshot, self.part, hidden),
        }
    }
}

/// The rows of each part that pass `filter`.
pub(super) fn passing(
    snapshot: &Snapshot,
    filter: Option<&Filter>,
) -> Result<Vec<Option<RoaringBitmap>>, Error> {
    let parts = snapshot.view.parts().iter();
    let passing = parts.map(|part| {
        filter
            .map(|filter| snapshot.passing(filter, part))
            .transpose()
    });
    passing.collect()
}

fn whole<'a>(
    snapshot: &'a Snapshot,
    part: &'a Part,
    hidden: Hidden<'a>,
) -> Result<Columns<'a>, Error> {
    let (ids, codes) = (part.ids()?, part.codes()?);
    if codes.len() != ids.len() * snapshot.stride() {
        let reason = format!("{} ids for {} bytes of codes", ids.len(), codes.len());
        return Err(snapshot.damaged(reason));
    }
    Ok(Columns {
        ids: Cow::Borrowed(ids),
        codes: Cow::Borrowed(codes),
        hidden,
        first_row: 0,
        stop: snapshot.stop.as_ref(),
    })
}

/// Copies the columns of `rows`; only the blocks that hold them are read.
fn gather<'a>(
    snapshot: &'a Snapshot,
    part: &'a Part,
    rows: &RoaringBitmap,
) -> Result<Columns<'a>, Error> {
    let stride = snapshot.stride();
    let mut ids = Vec::with_capacity(rows.len() as usize);
    let mut codes = Vec::with_capacity(rows.len() as usize * stride);
    for row in rows {
        snapshot.check_stopped()?;
        let (Some(id), Some(code)) = (part.id(row)?, part.code(row)?) else {
            return Err(snapshot.damaged(format!("row {row} of a part has no code")));
        };
        ids.push(id);
        codes.extend_from_slice(code);
    }
    Ok(Columns {
        ids: Cow::Owned(ids),
        codes: Cow::Owned(codes),
        hidden: Hidden::Nothing,
        first_row: 0,
        stop: snapshot.stop.as_ref(),
    })
}
