//! The planes of a segment, as searches read them.

use std::ops::Range;

use bitkin_storage::{LazyBytes, Part};

use super::{FOOTER_BYTES, Footer, NAME, VERSION};

/// The planes of a part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes<'a> {
    footer: Footer,
    bytes: LazyBytes<'a>,
}

impl<'a> Planes<'a> {
    /// The planes of a part; `None` if it has none, or none that this version can read. Without them its rows
    /// are scanned.
    pub(crate) fn of(part: &'a Part, bits: u32) -> Option<Planes<'a>> {
        let section = part.section(NAME)?;
        let at = section.len().checked_sub(FOOTER_BYTES)?;
        if section.version() != VERSION {
            return None;
        }
        // If that is damaged, so is a block; a scan of the codes is not concerned.
        section.bytes(at..section.len()).ok()?;
        Planes::read(section.lazy(), part.len(), bits)
    }

    /// The section of a part of so many rows.
    pub(super) fn read(bytes: LazyBytes<'a>, rows: usize, bits: u32) -> Option<Planes<'a>> {
        let length = bytes.unchecked().len();
        let at = length.checked_sub(FOOTER_BYTES as usize)?;
        let footer = Footer::decode(bytes.unchecked().get(at..)?)?;
        let fits = footer.rows as usize == rows
            && footer.bits == bits
            && footer.section_bytes() == length as u64;
        fits.then_some(Planes { footer, bytes })
    }

    /// The rows of the block that `row` is in; none, if there is no such row.
    pub(crate) fn block(&self, row: u32) -> Range<u32> {
        self.footer.rows_of(row / self.footer.block_rows)
    }

    /// Puts into `planes`, for each of `bits`, the bits of a [block](Self::block)'s rows. What was not read
    /// before is checked.
    ///
    /// # Errors
    /// What storage reports of damaged files.
    pub(crate) fn of_block(
        &self,
        block: &Range<u32>,
        bits: &[u32],
        planes: &mut Vec<&'a [u8]>,
    ) -> Result<(), bitkin_storage::Error> {
        planes.clear();
        for &bit in bits {
            let piece = self.footer.piece(block, bit);
            let piece = piece.start as usize..piece.end as usize;
            self.bytes.check(piece.clone())?;
            // The section is as long as its footer calls for, and no bit is beyond it.
            planes.push(self.bytes.unchecked().get(piece).unwrap_or_default());
        }
        Ok(())
    }
}
