//! Rows that are compared with others: copied together, so that they stay in the nearest caches.

use bitkin_storage::LazyBytes;

use crate::error::Error;
use crate::kernels::join::{self, Rows};
use crate::kernels::probe::Malformed;
use crate::search::visible::{Hidden, Visible};
use crate::snapshot::Snapshot;
use crate::tables::Table;

/// Bytes of the codes of a block that is compared with others as a whole: half of a usual first-level
/// cache.
const BLOCK_BYTES: usize = 16 << 10;

/// Rows of such a block.
pub(super) fn block_rows(stride: usize) -> usize {
    (BLOCK_BYTES / join::padded(stride)).clamp(64, 2048)
}

/// The codes of a part, each checked before it is read.
#[derive(Clone, Copy)]
pub(super) struct Codes<'a> {
    bytes: LazyBytes<'a>,
    stride: usize,
}

impl<'a> Codes<'a> {
    pub(super) fn new(snapshot: &Snapshot, part: &Visible<'a>) -> Codes<'a> {
        Codes {
            bytes: part.part.lazy_codes(),
            stride: snapshot.stride(),
        }
    }

    /// The code of a row; `None` if there is no such row.
    #[inline]
    pub(super) fn get(&self, row: u32) -> Result<Option<&'a [u8]>, bitkin_storage::Error> {
        let at = row as usize * self.stride;
        self.bytes.check(at..at + self.stride)?;
        Ok(self.bytes.unchecked().get(at..at + self.stride))
    }
}

/// Where each block of `rows` visible rows of a part begins, and where the last one ends.
pub(super) fn edges(part: &Visible<'_>, rows: usize) -> Vec<u32> {
    let end = part.part.len() as u32;
    let mut edges: Vec<u32> = match part.hidden {
        Hidden::AllBut(passing) => (0..passing.len() as u32)
            .step_by(rows)
            .filter_map(|rank| passing.select(rank))
            .collect(),
        Hidden::Nothing | Hidden::Rows(_) => (0..end).step_by(rows).collect(),
    };
    edges.push(end);
    edges
}

/// Some rows of a table: of those whose keys have the same bits above the lowest ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The bits that their keys share.
    pub(super) block: u32,
    /// Where they stand in the table.
    pub(super) start: u32,
    pub(super) end: u32,
}

/// Some rows of a part that may be found.
pub(super) struct Block {
    pub(super) rows: Rows,
    /// Which rows of the part they are.
    pub(super) numbers: Vec<u32>,
    /// Where those of each key begin, and where the last ones end; if they come from a table.
    starts: Vec<u32>,
}

impl Block {
    /// A block for codes of `stride` bytes.
    pub(super) fn new(stride: usize) -> Block {
        Block {
            rows: Rows::new(stride),
            numbers: Vec::new(),
            starts: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.rows.len() as u32
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.numbers.clear();
        self.starts.clear();
    }

    /// Of the lower bits of a key: where its rows begin and end.
    #[inline]
    pub(super) fn of_key(&self, key: u32) -> (u32, u32) {
        let key = key as usize;
        match (self.starts.get(key), self.starts.get(key + 1)) {
            (Some(&start), Some(&end)) => (start, end),
            _ => (0, 0),
        }
    }

    /// Takes the visible rows of `part` from `start` to `end`.
    pub(super) fn load_rows(
        &mut self,
        part: &Visible<'_>,
        codes: &Codes<'_>,
        (start, end): (u32, u32),
    ) -> Result<(), Error> {
        self.clear();
        for row in part.hidden.visible(start..end) {
            if let Some(code) = codes.get(row)? {
                self.rows.push(code);
                self.numbers.push(row);
            }
        }
        Ok(())
    }

    /// Takes the visible rows of a piece of a table, whose blocks have `low` bits of the keys to themselves:
    /// the rest of their codes if it stands there, or else the codes.
    pub(super) fn load_piece(
        &mut self,
        snapshot: &Snapshot,
        part: &Visible<'_>,
        (table, section): (&Table<'_>, &LazyBytes<'_>),
        codes: &Codes<'_>,
        (piece, low): (Piece, u32),
    ) -> Result<(), Error> {
        self.clear();
        let (bucket, places) = (&table.bucket, &table.places);
        let first = (piece.block as usize) << low;
        let at = places.starts + 4 * first;
        section.check(at..at + 4 * ((1 << low) + 1))?;
        let at = |each: usize| piece.start as usize * each..piece.end as usize * each;
        let rows_at = at(4);
        section.check(places.rows + rows_at.start..places.rows + rows_at.end)?;
        let malformed = || snapshot.probe_failed(Malformed);
        let rest_bytes = bucket.rest_bytes;
        let rest_at = at(rest_bytes);
        let rest = match rest_bytes {
            0 => &[][..],
            _ => {
                let end = rest_at.end + 8 - rest_bytes;
                section.check(places.rest + rest_at.start..places.rest + end)?;
                bucket.rest.get(rest_at.start..end).ok_or_else(malformed)?
            }
        };
        let own = match rest_bytes {
            8.. => u64::MAX,
            bytes => (1 << (8 * bytes)) - 1,
        };
        let starts = bucket.starts.get(first..=first + (1 << low));
        let starts = starts.ok_or_else(malformed)?;
        let numbers = bucket.rows.get(piece.start as usize..piece.end as usize);
        let numbers = numbers.ok_or_else(malformed)?;
        let count = part.part.len() as u32;
        let mut before = starts[0];
        let mut at = piece.start.max(before);
        for &start in &starts[1..] {
            self.starts.push(self.rows.len() as u32);
            if start < before {
                return Err(malformed());
            }
            before = start;
            let end = start.min(piece.end);
            while at < end {
                let of_piece = (at - piece.start) as usize;
                at += 1;
                let row = numbers[of_piece];
                if row >= count {
                    return Err(malformed());
                }
                if part.hidden.hides(row) {
                    continue;
                }
                if rest_bytes == 0 {
                    self.rows.push(codes.get(row)?.ok_or_else(malformed)?);
                } else {
                    let word = rest
                        .get(of_piece * rest_bytes..)
                        .and_then(<[u8]>::first_chunk);
                    let word = u64::from_le_bytes(*word.ok_or_else(malformed)?) & own;
                    self.rows.push(&word.to_le_bytes());
                }
                self.numbers.push(row);
            }
        }
        self.starts.push(self.rows.len() as u32);
        Ok(())
    }

    /// The rest of a row's code, if that is what was taken.
    #[inline]
    pub(super) fn word(&self, row: u32) -> u64 {
        let word = self.rows.get(row).first_chunk();
        word.map_or(0, |word| u64::from_le_bytes(*word))
    }
}
