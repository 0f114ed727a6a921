//! The rows of a part that a search may find, and their columns.

use std::borrow::Cow;

use bitkin_storage::Part;
use roaring::RoaringBitmap;

use super::scan::Columns;
use crate::error::Error;
use crate::filter::Filter;
use crate::snapshot::Snapshot;

/// Where fewer than one row in so many may be found, only their codes are read and compared;
/// otherwise all are, and what must not be found is dropped. A scan reads a code in a few
/// nanoseconds, a code by itself takes some tens.
const GATHER: u64 = 16;

/// The rows of a part that a scan must pass over.
#[derive(Debug)]
pub(super) enum Hidden<'a> {
    Nothing,
    /// These.
    Rows(&'a RoaringBitmap),
    /// All but these.
    AllBut(RoaringBitmap),
}

impl Hidden<'_> {
    pub(super) fn hides(&self, row: u32) -> bool {
        match self {
            Hidden::Nothing => false,
            Hidden::Rows(rows) => rows.contains(row),
            Hidden::AllBut(rows) => !rows.contains(row),
        }
    }
}

/// The columns of every part of the snapshot that has rows to be found. A filter is evaluated
/// here, once for all queries.
pub(super) fn columns<'a>(
    snapshot: &'a Snapshot,
    filter: Option<&Filter>,
) -> Result<Vec<Columns<'a>>, Error> {
    let mut columns = Vec::new();
    for part in snapshot.view.parts() {
        let visible = match filter {
            Some(filter) => Some(snapshot.passing(filter, part)?),
            None => None,
        };
        let found = visible.as_ref().map_or(part.live(), RoaringBitmap::len);
        if found == 0 {
            continue;
        }
        columns.push(match visible {
            Some(rows) if found < part.len() as u64 / GATHER => gather(snapshot, part, &rows)?,
            Some(rows) if found < part.len() as u64 => whole(snapshot, part, Hidden::AllBut(rows))?,
            Some(_) => whole(snapshot, part, Hidden::Nothing)?,
            None => {
                let hidden = part.deleted().map_or(Hidden::Nothing, Hidden::Rows);
                whole(snapshot, part, hidden)?
            }
        });
    }
    Ok(columns)
}

fn whole<'a>(
    snapshot: &Snapshot,
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
    })
}

/// Copies the columns of `rows`; only the blocks that hold them are read.
fn gather(
    snapshot: &Snapshot,
    part: &Part,
    rows: &RoaringBitmap,
) -> Result<Columns<'static>, Error> {
    let stride = snapshot.stride();
    let mut ids = Vec::with_capacity(rows.len() as usize);
    let mut codes = Vec::with_capacity(rows.len() as usize * stride);
    for row in rows {
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
    })
}
