//! All pairs of one part, by its tables.
//!
//! The shells 0 to `D_t - 1` of each table t are gone over, for every key, with the sum of the `D_t` one
//! more than the radius: two rows within it are in one of them. A pair counts in the first table that
//! shows it, which follows from the two codes alone, so nothing is kept of the pairs that were found.
//!
//! Keys are gone over in blocks that share their upper bits, for every mask of those:
//!
//! ```text
//! for each piece X of a block, for each mask of upper bits, for each piece Y of the block that it leads to:
//!     for each key of X: its rows against those in Y that have the key, but for a mask of lower bits
//! ```
//!
//! Each two rows meet once: pieces of one block as X not behind Y, and of two blocks with the lesser as X;
//! where X is Y, with the lesser key first.

use bitkin_storage::LazyBytes;

use super::block::{Block, Codes, Piece};
use super::out::{Out, Pair};
use super::plan::{Depths, PIECE_ROWS};
use crate::error::Error;
use crate::kernels::join::{Near, Target};
use crate::kernels::probe::Malformed;
use crate::search::visible::Visible;
use crate::snapshot::Snapshot;
use crate::tables::{Table, Tables, masks};

/// Comparisons of one call, of more rows than one: all might be near.
const AT_ONCE: u64 = 1 << 18;

/// The tables of one part, joined with themselves.
pub(super) struct Join<'a> {
    snapshot: &'a Snapshot,
    part: &'a Visible<'a>,
    tables: &'a Tables,
    section: LazyBytes<'a>,
    codes: Codes<'a>,
    radius: u32,
    depths: Depths,
    /// The tables that are gone over.
    joined: Vec<Joined<'a>>,
}

struct Joined<'a> {
    number: usize,
    table: Table<'a>,
    depth: u32,
    /// Bits of a key that are not those of its block.
    low: u32,
    /// By where they are.
    pieces: Vec<Piece>,
}

/// What a thread works with.
pub(super) struct Desk {
    pub(super) x: Block,
    pub(super) y: Block,
    pub(super) targets: Vec<Target>,
    /// What is flipped of the lower bits, for each of the targets.
    masks: Vec<u32>,
    pub(super) near: Vec<Near>,
}

impl Desk {
    /// For codes of `stride` bytes.
    pub(super) fn new(stride: usize) -> Desk {
        Desk {
            x: Block::new(stride),
            y: Block::new(stride),
            targets: Vec::new(),
            masks: Vec::new(),
            near: Vec::new(),
        }
    }
}

impl<'a> Join<'a> {
    /// # Errors
    /// What storage reports of a damaged section, and [`Error::Damaged`] for one that leads astray.
    pub(super) fn new(
        snapshot: &'a Snapshot,
        part: &'a Visible<'a>,
        (tables, section): (&'a Tables, LazyBytes<'a>),
        radius: u32,
        depths: Depths,
    ) -> Result<Join<'a>, Error> {
        let malformed = |malformed: Malformed| snapshot.probe_failed(malformed);
        let mut joined = Vec::new();
        for (number, &depth) in depths
            .of
            .iter()
            .enumerate()
            .filter(|(_, depth)| **depth > 0)
        {
            let table = tables.table(section, number).map_err(malformed)?;
            let key_bits = table.bucket.key_bits;
            let low = low_bits(key_bits, part.part.len());
            let starts_at = table.places.starts;
            let end = starts_at + 4 * table.bucket.starts.len();
            section.check(starts_at..end)?;
            let pieces = pieces(&table, low).ok_or_else(|| malformed(Malformed))?;
            joined.push(Joined {
                number,
                table,
                depth,
                low,
                pieces,
            });
        }
        Ok(Join {
            snapshot,
            part,
            tables,
            section,
            codes: Codes::new(snapshot, part),
            radius,
            depths,
            joined,
        })
    }

    pub(super) fn tasks(&self) -> usize {
        self.joined.iter().map(|joined| joined.pieces.len()).sum()
    }

    /// Whether words are compared and not codes.
    pub(super) fn has_rest(&self) -> bool {
        self.tables.has_rest()
    }

    /// Goes over one piece; returns whether to go on.
    pub(super) fn run(
        &self,
        mut task: usize,
        desk: &mut Desk,
        out: &mut Out<'_>,
    ) -> Result<bool, Error> {
        for joined in &self.joined {
            if let Some(&piece) = joined.pieces.get(task) {
                let share = f64::from(piece.end - piece.start) / self.part.part.len() as f64;
                out.done(share * self.depths.costs[joined.number]);
                return self.piece(joined, (task, piece), desk, out);
            }
            task -= joined.pieces.len();
        }
        Ok(true)
    }

    fn piece(
        &self,
        joined: &Joined<'_>,
        (number, piece): (usize, Piece),
        desk: &mut Desk,
        out: &mut Out<'_>,
    ) -> Result<bool, Error> {
        let load = |block: &mut Block, piece| {
            let table = (&joined.table, &self.section);
            block.load_piece(
                self.snapshot,
                self.part,
                table,
                &self.codes,
                (piece, joined.low),
            )
        };
        load(&mut desk.x, piece)?;
        if desk.x.len() == 0 {
            return Ok(true);
        }
        if !self.blocks(joined, (0, 0), true, desk, out)? {
            return Ok(false);
        }
        let following = joined.pieces.iter().skip(number + 1);
        for other in following.take_while(|other| other.block == piece.block) {
            load(&mut desk.y, *other)?;
            if !self.blocks(joined, (0, 0), false, desk, out)? {
                return Ok(false);
            }
        }
        let high = joined.table.bucket.key_bits - joined.low;
        for distance in 1..joined.depth {
            for &mask in masks(high, distance).unwrap_or_default() {
                let block = piece.block ^ mask;
                if block < piece.block {
                    continue;
                }
                let first = joined.pieces.partition_point(|other| other.block < block);
                let others = joined.pieces.iter().skip(first);
                for other in others.take_while(|other| other.block == block) {
                    load(&mut desk.y, *other)?;
                    if !self.blocks(joined, (mask, distance), false, desk, out)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Block X against block Y, or against itself.
    fn blocks(
        &self,
        joined: &Joined<'_>,
        (high_mask, high): (u32, u32),
        itself: bool,
        desk: &mut Desk,
        out: &mut Out<'_>,
    ) -> Result<bool, Error> {
        let (kernels, has_rest) = (self.snapshot.kernels, self.tables.has_rest());
        let lows: Vec<&[u32]> = (0..joined.depth - high)
            .map_while(|distance| masks(joined.low, distance))
            .collect();
        for key in 0..1_u32 << joined.low {
            let (first, last) = desk.x.of_key(key);
            if first == last {
                continue;
            }
            desk.targets.clear();
            desk.masks.clear();
            let y = if itself { &desk.x } else { &desk.y };
            let mut compared = 0;
            for (distance, masks) in (high..).zip(&lows) {
                let threshold = self.radius - if has_rest { distance } else { 0 };
                for &mask in *masks {
                    let other = key ^ mask;
                    // Of a row and those with the same key, below.
                    if itself && other <= key {
                        continue;
                    }
                    let (start, end) = y.of_key(other);
                    if start < end {
                        compared += u64::from(end - start);
                        desk.targets.push(Target {
                            start,
                            end,
                            threshold,
                        });
                        desk.masks.push(mask);
                    }
                }
            }
            let group = (AT_ONCE / compared.max(1)).clamp(1, u64::from(last - first)) as u32;
            for start in (first..last).step_by(group as usize) {
                let end = last.min(start + group);
                let y = if itself { &desk.x } else { &desk.y };
                kernels.join(
                    &desk.x.rows,
                    (start, end),
                    &y.rows,
                    &desk.targets,
                    &mut desk.near,
                );
                out.compared(u64::from(end - start) * compared);
                if !desk.near.is_empty() && !self.found(joined, high_mask, itself, desk, out)? {
                    return Ok(false);
                }
            }
            if itself {
                desk.masks.clear();
                desk.masks.push(0);
                for row in first..last {
                    let own = [Target {
                        start: row + 1,
                        end: last,
                        threshold: self.radius,
                    }];
                    let x = &desk.x.rows;
                    kernels.join(x, (row, row + 1), x, &own, &mut desk.near);
                    if !desk.near.is_empty() && !self.found(joined, high_mask, true, desk, out)? {
                        return Ok(false);
                    }
                }
                let rows = u64::from(last - first);
                out.compared(rows * (rows - 1) / 2);
            }
        }
        Ok(out.go_on())
    }

    /// Gives on what was found, unless another table did; returns whether to go on.
    fn found(
        &self,
        joined: &Joined<'_>,
        high_mask: u32,
        itself: bool,
        desk: &mut Desk,
        out: &mut Out<'_>,
    ) -> Result<bool, Error> {
        let earlier = &self.depths.of[..joined.number];
        let Desk {
            x, y, masks, near, ..
        } = desk;
        let y = if itself { &*x } else { &*y };
        let stride = self.snapshot.stride();
        let bucket = &joined.table.bucket;
        for near in near.drain(..) {
            let mask = high_mask << joined.low | masks[near.target as usize];
            let (distance, shown) = if self.tables.has_rest() {
                let rest = x.word(near.query) ^ y.word(near.row);
                // The bits behind the key move up, and its own come between.
                let above = rest.checked_shr(bucket.first_bit).unwrap_or(0);
                let low = rest ^ above.checked_shl(bucket.first_bit).unwrap_or(0);
                let above = above.checked_shl(bucket.first_bit + bucket.key_bits);
                let difference = low | u64::from(mask) << bucket.first_bit | above.unwrap_or(0);
                let shown = self.tables.has_shown_word(earlier, difference);
                (near.distance + mask.count_ones(), shown)
            } else {
                let (a, b) = (x.rows.get(near.query), y.rows.get(near.row));
                let shown = self.tables.has_shown(earlier, &a[..stride], &b[..stride]);
                (near.distance, shown)
            };
            if shown {
                continue;
            }
            let (a, b) = (x.numbers[near.query as usize], y.numbers[near.row as usize]);
            // Only in a damaged table is a row beside itself.
            if a != b && !out.give(Pair::new(self.part.id(a)?, self.part.id(b)?, distance)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Bits of a key that vary within a block, such that it has about [`PIECE_ROWS`] rows.
pub(super) fn low_bits(key_bits: u32, rows: usize) -> u32 {
    let blocks = rows.div_ceil(PIECE_ROWS).max(1).next_power_of_two();
    key_bits - blocks.ilog2().min(key_bits)
}

/// The rows of a table in pieces of its blocks; `None` if it leads outside of itself.
fn pieces(table: &Table<'_>, low: u32) -> Option<Vec<Piece>> {
    let bucket = &table.bucket;
    let mut pieces = Vec::new();
    for block in 0..1_u32 << (bucket.key_bits - low) {
        let edge = |block: u32| bucket.starts.get((block as usize) << low).copied();
        let (mut start, end) = (edge(block)?, edge(block + 1)?);
        if start > end || end as usize > bucket.rows.len() {
            return None;
        }
        while start < end {
            let next = end.min(start.saturating_add(2 * PIECE_ROWS as u32));
            pieces.push(Piece {
                block,
                start,
                end: next,
            });
            start = next;
        }
    }
    Some(pieces)
}
