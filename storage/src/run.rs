//! A sorted, immutable run of rows in memory.
//!
//! The memory table of a collection is a short list of runs. Each commit appends one; whenever four
//! are of like size they become one, so that n rows are in at most 3 log4(n) runs and each is copied
//! at most log4(n) times. Because runs never change, a snapshot is a clone of the list.

use std::ops::{ControlFlow, RangeInclusive};

use crate::deleted::{Deleted, count};
use crate::order::{Column, in_order};

/// Marks, in an entry of the payload offsets, a row that has no payload.
pub(crate) const NO_PAYLOAD: u64 = 1 << 63;

/// Payloads of consecutive rows: entry i of `offsets` is where payload i starts in `bytes`, with
/// [`NO_PAYLOAD`] set where the row has none; one entry more closes the last. Both are empty where
/// no row of the run has a payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payloads {
    pub(crate) offsets: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl Payloads {
    /// Adds the payload of row `row`, which must be the next one; earlier rows had none if this is
    /// the first that has one.
    pub(crate) fn push(&mut self, row: usize, payload: Option<&[u8]>) {
        match payload {
            None if self.offsets.is_empty() => {}
            None => {
                if let Some(last) = self.offsets.last_mut() {
                    *last |= NO_PAYLOAD;
                }
                self.offsets.push(self.bytes.len() as u64);
            }
            Some(payload) => {
                if self.offsets.is_empty() {
                    self.offsets.resize(row, NO_PAYLOAD);
                    self.offsets.push(0);
                }
                self.bytes.extend_from_slice(payload);
                self.offsets.push(self.bytes.len() as u64);
            }
        }
    }

    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        let start = *self.offsets.get(row)?;
        let end = *self.offsets.get(row + 1)? & !NO_PAYLOAD;
        if start & NO_PAYLOAD != 0 {
            return None;
        }
        self.bytes.get(start as usize..end as usize)
    }
}

/// Rows sorted by id, with no id twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) ids: Vec<u64>,
    /// Row-major, `code_bytes` a row.
    pub(crate) codes: Vec<u8>,
    pub(crate) code_bytes: usize,
    pub(crate) payloads: Payloads,
    /// The commits whose rows are here.
    pub(crate) sequences: RangeInclusive<u64>,
    /// Each flush begins another: it takes the runs up to its own, which must not be merged meanwhile
    /// with rows that come later.
    pub(crate) generation: u64,
}

/// Runs of like size that become one.
pub(crate) const FAN: usize = 4;

impl Run {
    /// Runs of one tier are of like size: within a factor of [`FAN`].
    pub(crate) fn tier(&self) -> u32 {
        self.len().max(1).ilog(FAN)
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The smallest and the largest id; an empty range if there are no rows.
    pub(crate) fn id_range(&self) -> RangeInclusive<u64> {
        let bounds = self.ids.first().zip(self.ids.last());
        bounds.map_or(RangeInclusive::new(u64::MAX, 0), |(&first, &last)| {
            first..=last
        })
    }

    /// Bytes of the rows.
    pub(crate) fn bytes(&self) -> usize {
        self.ids.len() * 8
            + self.codes.len()
            + self.payloads.offsets.len() * 8
            + self.payloads.bytes.len()
    }

    pub(crate) fn code(&self, row: usize) -> Option<&[u8]> {
        self.codes
            .get(row * self.code_bytes..(row + 1) * self.code_bytes)
    }

    pub(crate) fn column<'a>(&'a self, deleted: &'a Deleted) -> Column<'a> {
        Column {
            ids: &self.ids,
            deleted: deleted.as_deref(),
        }
    }

    /// One run with the rows of all `inputs`, which share no id, save those deleted.
    pub(crate) fn merge(inputs: &[(&Run, &Deleted)]) -> Run {
        let runs = || inputs.iter().map(|(run, _)| *run);
        let live = |(run, deleted): &(&Run, &Deleted)| run.len() - count(deleted) as usize;
        let rows: usize = inputs.iter().map(live).sum();
        let code_bytes = runs().map(|run| run.code_bytes).next().unwrap_or_default();
        let has_payloads = runs().any(|run| !run.payloads.offsets.is_empty());
        let first = runs().map(|run| *run.sequences.start()).min();
        let last = runs().map(|run| *run.sequences.end()).max();
        let mut merged = Run {
            ids: Vec::with_capacity(rows),
            codes: Vec::with_capacity(rows * code_bytes),
            code_bytes,
            payloads: Payloads {
                offsets: Vec::with_capacity(if has_payloads { rows + 1 } else { 0 }),
                bytes: Vec::with_capacity(runs().map(|run| run.payloads.bytes.len()).sum()),
            },
            sequences: first.unwrap_or_default()..=last.unwrap_or_default(),
            generation: runs().map(|run| run.generation).max().unwrap_or_default(),
        };
        let columns: Vec<Column<'_>> = inputs
            .iter()
            .map(|(run, deleted)| run.column(deleted))
            .collect();
        let _ = in_order(&columns, |index, rows| {
            merged.extend(inputs[index].0, rows.start, rows.end);
            ControlFlow::<()>::Continue(())
        });
        merged
    }

    fn extend(&mut self, from: &Run, start: usize, end: usize) {
        let first = self.len();
        self.ids.extend_from_slice(&from.ids[start..end]);
        self.codes
            .extend_from_slice(&from.codes[start * self.code_bytes..end * self.code_bytes]);
        if self.payloads.offsets.is_empty() && from.payloads.offsets.is_empty() {
            return;
        }
        for row in start..end {
            self.payloads
                .push(first + row - start, from.payloads.get(row));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ids: &[u64], with_payloads: bool) -> Run {
        let mut payloads = Payloads::default();
        for (row, id) in ids.iter().enumerate().filter(|_| with_payloads) {
            payloads.push(
                row,
                id.is_multiple_of(2)
                    .then(|| id.to_string())
                    .as_deref()
                    .map(str::as_bytes),
            );
        }
        Run {
            ids: ids.to_vec(),
            codes: ids.iter().flat_map(|&id| [id as u8, !(id as u8)]).collect(),
            code_bytes: 2,
            payloads,
            sequences: 1..=1,
            generation: 0,
        }
    }

    #[test]
    fn merging_is_sorting_together() {
        let cases: [(&[u64], &[u64]); 6] = [
            (&[1, 2, 3], &[4, 5, 6]),
            (&[4, 5, 6], &[1, 2, 3]),
            (&[1, 3, 5, 7], &[2, 4, 6]),
            (&[2, 10], &[3, 4, 5, 6, 11]),
            (&[], &[1]),
            (&[1], &[]),
        ];
        for (older, newer) in cases {
            for payloads in [(false, false), (true, false), (false, true), (true, true)] {
                let (first, second) = (run(older, payloads.0), run(newer, payloads.1));
                let merged = Run::merge(&[(&first, &None), (&second, &None)]);
                let mut ids = [older, newer].concat();
                ids.sort_unstable();
                assert_eq!(merged.ids, ids);
                assert_eq!(merged.codes, run(&ids, false).codes);
                for (row, id) in ids.iter().enumerate() {
                    let had = if older.contains(id) {
                        payloads.0
                    } else {
                        payloads.1
                    };
                    let wanted = (had && id.is_multiple_of(2)).then(|| id.to_string());
                    let found = merged.payloads.get(row);
                    assert_eq!(
                        found,
                        wanted.as_deref().map(str::as_bytes),
                        "{older:?} {newer:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn equal_ids_are_merged_without_end_or_loss() {
        let (older, newer) = (run(&[1, 5, 5, 9], false), run(&[5, 9], true));
        let merged = Run::merge(&[(&older, &None), (&newer, &None)]);
        assert_eq!(merged.ids, [1, 5, 5, 5, 9, 9]);
    }

    #[test]
    fn deleted_rows_are_left_out_with_their_payloads() {
        let (older, newer) = (run(&[1, 2, 6, 8], true), run(&[3, 4], true));
        let rows = |rows: &[u32]| Some(std::sync::Arc::new(rows.iter().copied().collect()));
        let merged = Run::merge(&[(&older, &rows(&[1, 3])), (&newer, &rows(&[0]))]);
        assert_eq!(merged.ids, [1, 4, 6]);
        assert_eq!(merged.codes, run(&[1, 4, 6], false).codes);
        assert_eq!(merged.payloads, run(&[1, 4, 6], true).payloads);
    }
}
