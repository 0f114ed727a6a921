//! A category made up on the spot: what examples have in common becomes a query and a mask.

use crate::collection::Collection;
use crate::error::Error;
use crate::selection::{Selection, SelectionOptions};

/// Rows that stand for everything that will be searched.
const STANDING_IN: u64 = 500;

impl Collection {
    /// Selects the bits that tell codes like `like` from those like `unlike`, both row-major. The collection is then
    /// searched for more of the kind by the selection's [code](Selection::code) under its [mask](Selection::mask);
    /// or by a code of the caller's under that mask. 500 rows of the collection, from the first to the last at even
    /// steps, save those that have the code of an example, say what else there is; so `unlike` may be empty.
    ///
    /// ```
    /// # fn main() -> Result<(), bitkin::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let db = bitkin::Database::create(directory.path().join("codes.bitkin"))?;
    /// # let codes = db.create_collection("codes", bitkin::CollectionConfig::bits(16).planes(true))?;
    /// // Those with bit 3 are alike; the other bits say nothing.
    /// codes.insert(&[1, 2, 3, 4], &[0x08, 0xf0, 0x09, 0x0f, 0x00, 0xf0, 0x01, 0x0f])?;
    /// let options = bitkin::selection::SelectionOptions::new(1);
    /// let selection = codes.select_bits(&[0x08, 0x00, 0x09, 0xff], &[0x00, 0x00, 0x01, 0xff], &options)?;
    /// let query = selection.code().unwrap();
    /// let found = codes.search(&query).mask(&selection.mask()).radius(0).run()?;
    /// assert!(found.ids().eq([1, 2]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Selection`] for examples from which nothing can be learned, and what storage reports of damaged
    /// files.
    pub fn select_bits(
        &self,
        like: &[u8],
        unlike: &[u8],
        options: &SelectionOptions,
    ) -> Result<Selection, Error> {
        let others = self.drawn(like)?;
        let selection = Selection::of_likeness(self.bits(), like, unlike, &others, options)?;
        Ok(selection)
    }

    /// The codes of some rows, none of which is one of `others`.
    fn drawn(&self, others: &[u8]) -> Result<Vec<u8>, Error> {
        let snapshot = self.snapshot()?;
        let stride = self.code_bytes();
        let all: u64 = snapshot
            .view
            .parts()
            .iter()
            .map(|part| part.len() as u64)
            .sum();
        let count = all.min(STANDING_IN);
        let mut codes = Vec::new();
        let mut next = 0;
        let mut before = 0;
        for part in snapshot.view.parts() {
            let end = before + part.len() as u64;
            while next < count {
                // The middles of so many equal stretches.
                let row = (2 * next + 1) * all / (2 * count);
                if row >= end {
                    break;
                }
                next += 1;
                let row = (row - before) as u32;
                if part.deleted().is_some_and(|deleted| deleted.contains(row)) {
                    continue;
                }
                if let Some(code) = part.code(row)?
                    && !others.chunks_exact(stride).any(|other| other == code)
                {
                    codes.extend_from_slice(code);
                }
            }
            before = end;
        }
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use crate::selection::{SelectionError, SelectionOptions};
    use crate::{CollectionConfig, Database, Error};

    /// Rows in memory and in segments stand in for what is unlike, deleted ones and examples do not.
    #[test]
    fn rows_stand_in_for_what_is_unlike() {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::create(directory.path().join("db")).unwrap();
        let codes = db
            .create_collection("c", CollectionConfig::bits(16))
            .unwrap();
        let options = SelectionOptions::new(1);
        let like = [0x10, 0x01, 0x11, 0x02];
        let none = codes.select_bits(&like, &[], &options);
        assert!(matches!(
            none,
            Err(Error::Selection(SelectionError::NoExamples { .. }))
        ));
        // Of all rows but the examples, and one that is deleted, bit 4 is zero.
        for number in 0..2000_u32 {
            if number == 1000 {
                codes.compact().unwrap();
            }
            codes
                .append(&[number as u8 & 0x0f, (number >> 4) as u8])
                .unwrap();
        }
        codes.append(&like).unwrap();
        codes.append(&[0x1f, 0xff]).unwrap();
        codes.delete(&[2002]).unwrap();
        let drawn = codes.drawn(&like).unwrap();
        assert!((900..=1000).contains(&drawn.len()), "{}", drawn.len());
        assert!(drawn.chunks_exact(2).all(|code| code[0] & 0x10 == 0));
        let selection = codes.select_bits(&like, &[], &options).unwrap();
        assert_eq!(
            (selection.mask(), selection.code()),
            (vec![0x10, 0], Some(vec![0x10, 0]))
        );
        let found = codes
            .search(&[0x10, 0])
            .mask(&[0x10, 0])
            .radius(0)
            .run()
            .unwrap();
        assert!(found.ids().eq([2000, 2001]));
    }
}
