//! Several sorted columns of ids, gone through as one.

use std::ops::{ControlFlow, Range};

use roaring::RoaringBitmap;
use roaring::bitmap::Iter;

/// The ids of a part, ascending, and the rows of it that are left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column<'a> {
    pub(crate) ids: &'a [u64],
    pub(crate) deleted: Option<&'a RoaringBitmap>,
}

/// Where the going through one column has got to: the rows `rows` are next, and none of them is
/// deleted.
struct Cursor<'a> {
    ids: &'a [u64],
    rows: Range<usize>,
    /// Ranges of deleted rows behind `rows`.
    deleted: Option<Iter<'a>>,
    /// Where the range after the next deleted one starts.
    resume: usize,
}

impl<'a> Cursor<'a> {
    fn new(column: Column<'a>) -> Self {
        let mut cursor = Cursor {
            ids: column.ids,
            rows: 0..0,
            deleted: column.deleted.map(RoaringBitmap::iter),
            resume: 0,
        };
        cursor.refill();
        cursor
    }

    /// Goes on to the next rows that are not deleted, once `rows` is used up.
    fn refill(&mut self) {
        while self.rows.is_empty() && self.resume < self.ids.len() {
            let start = self.resume;
            let gap = self.deleted.as_mut().and_then(Iter::next_range);
            // A bitmap read from disk is checked against the number of rows; `min` costs nothing.
            let end = gap.as_ref().map_or(self.ids.len(), |gap| {
                (*gap.start() as usize).min(self.ids.len())
            });
            self.resume = gap.map_or(self.ids.len(), |gap| *gap.end() as usize + 1);
            self.rows = start..end;
        }
    }

    fn head(&self) -> Option<u64> {
        if self.rows.is_empty() {
            return None;
        }
        self.ids.get(self.rows.start).copied()
    }

    /// Takes the rows whose ids are at most `bound`; at least one, if the head is.
    fn take(&mut self, bound: u64) -> Range<usize> {
        let ids = &self.ids[self.rows.clone()];
        // Steps that double, then halves: columns that hardly interleave cost next to nothing, and
        // neither do those that always do.
        let mut step = 1;
        while ids.get(step).is_some_and(|&id| id <= bound) {
            step *= 2;
        }
        let near = &ids[step / 2..ids.len().min(step + 1)];
        // (At least one, so that ids which do not ascend, out of a damaged log, hang nothing.)
        let count = (step / 2 + near.partition_point(|&id| id <= bound)).max(1);
        let taken = self.rows.start..self.rows.start + count;
        self.rows.start += count;
        self.refill();
        taken
    }
}

/// Calls `take` with the index of a column and rows of it that follow each other, again and again,
/// so that over all calls ids ascend and every row that is not deleted comes once.
///
/// (Equal ids, which come from no writer, come one after the other.)
pub(crate) fn in_order<B>(
    columns: &[Column<'_>],
    mut take: impl FnMut(usize, Range<usize>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let mut cursors: Vec<Cursor<'_>> = columns.iter().map(|&column| Cursor::new(column)).collect();
    loop {
        // The smallest head and the next to it; there are few columns.
        let mut first: Option<(u64, usize)> = None;
        let mut bound = u64::MAX;
        for (index, cursor) in cursors.iter().enumerate() {
            let Some(head) = cursor.head() else { continue };
            match first {
                Some((smallest, _)) if head >= smallest => bound = bound.min(head),
                _ => {
                    bound = first.map_or(u64::MAX, |(smallest, _)| smallest);
                    first = Some((head, index));
                }
            }
        }
        let Some((_, index)) = first else {
            return ControlFlow::Continue(());
        };
        let rows = cursors[index].take(bound);
        take(index, rows)?;
    }
}

/// Calls `found` with the index of an id and its row, for each of the ascending `ids` that stands in
/// the column, deleted or not.
pub(crate) fn locate(column: &[u64], ids: &[u64], mut found: impl FnMut(usize, u32)) {
    let mut at = 0;
    for (index, &id) in ids.iter().enumerate() {
        // Ids ascend, so the search goes on where it was, in steps that double.
        let held = &column[at..];
        let mut step = 1;
        while held.get(step).is_some_and(|&other| other < id) {
            step *= 2;
        }
        let near = &held[step / 2..held.len().min(step + 1)];
        at += step / 2 + near.partition_point(|&other| other < id);
        match column.get(at) {
            Some(&other) if other == id => found(index, at as u32),
            Some(_) => {}
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn columns() -> impl Strategy<Value = Vec<(BTreeSet<u64>, RoaringBitmap)>> {
        let column = (
            prop::collection::btree_set(0_u64..300, 0..80),
            prop::collection::btree_set(0_u32..90, 0..60),
            any::<bool>(),
        );
        let column = column.prop_map(|(ids, rows, dense)| {
            let rows = rows.into_iter().filter(|&row| (row as usize) < ids.len());
            let deleted = if dense {
                (0..ids.len() as u32).filter(|row| row % 7 > 1).collect()
            } else {
                rows.collect()
            };
            (ids, deleted)
        });
        prop::collection::vec(column, 0..5)
    }

    proptest! {
        #[test]
        fn going_through_columns_is_sorting_their_live_rows(parts in columns()) {
            let ids: Vec<Vec<u64>> = parts.iter().map(|(ids, _)| ids.iter().copied().collect()).collect();
            let columns: Vec<Column<'_>> = ids.iter().zip(&parts).map(|(ids, (_, deleted))| Column {
                ids,
                deleted: (!deleted.is_empty()).then_some(deleted),
            }).collect();
            let mut found = Vec::new();
            let mut calls = 0;
            let _ = in_order(&columns, |index, rows| {
                calls += 1;
                assert!(!rows.is_empty());
                found.extend(rows.map(|row| (ids[index][row], index, row)));
                ControlFlow::<()>::Continue(())
            });
            let mut wanted: Vec<(u64, usize, usize)> = Vec::new();
            for (index, (ids, deleted)) in ids.iter().zip(parts.iter().map(|p| &p.1)).enumerate() {
                wanted.extend(ids.iter().enumerate()
                    .filter(|(row, _)| !deleted.contains(*row as u32))
                    .map(|(row, &id)| (id, index, row)));
            }
            wanted.sort_unstable();
            found.sort_by_key(|&(id, index, _)| (id, index));
            prop_assert_eq!(&found, &wanted);
            prop_assert!(calls <= wanted.len());
        }

        #[test]
        fn ids_are_located_where_they_are(
            column in prop::collection::btree_set(0_u64..200, 0..100),
            ids in prop::collection::btree_set(0_u64..220, 0..100),
        ) {
            let column: Vec<u64> = column.into_iter().collect();
            let ids: Vec<u64> = ids.into_iter().collect();
            let mut found = Vec::new();
            locate(&column, &ids, |index, row| found.push((index, row)));
            let wanted: Vec<(usize, u32)> = ids.iter().enumerate()
                .filter_map(|(index, id)| Some((index, column.binary_search(id).ok()? as u32)))
                .collect();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn columns_that_follow_each_other_are_taken_whole() {
        let (low, high): (Vec<u64>, Vec<u64>) = ((0..1000).collect(), (1000..2000).collect());
        let column = |ids| Column { ids, deleted: None };
        let mut calls = Vec::new();
        let _ = in_order(&[column(&high), column(&low)], |index, rows| {
            calls.push((index, rows));
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(calls, [(1, 0..1000), (0, 0..1000)]);
    }
}
