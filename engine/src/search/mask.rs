//! Which bits of the codes a search counts.

use crate::error::Error;
use crate::kernels::MaskWord;
use crate::snapshot::Snapshot;

/// Shorter codes are read whole, and so are those of which a mask has more than half of the words.
const LONG: usize = 128;

/// A mask that was found to be one.
#[derive(Clone, Debug)]
pub(super) struct Mask {
    bytes: Vec<u8>,
    /// The bits that are set, ascending.
    bits: Vec<u32>,
}

impl Mask {
    /// The masks for so many queries: one for all of them, or one for each.
    ///
    /// # Errors
    /// [`Error::MaskWidth`], [`Error::MaskPadding`] and [`Error::EmptyMask`].
    pub(super) fn read(
        snapshot: &Snapshot,
        masks: &[u8],
        queries: usize,
    ) -> Result<Vec<Mask>, Error> {
        let (bits, stride) = (snapshot.bits(), snapshot.stride());
        let collection = || snapshot.facts.name.clone();
        if masks.len() != stride && Some(masks.len()) != stride.checked_mul(queries) {
            return Err(Error::MaskWidth {
                collection: collection(),
                bits,
                expected: stride,
                found: masks.len(),
                queries,
            });
        }
        let masks = masks.chunks_exact(stride).enumerate();
        let read = masks.map(|(number, mask)| {
            let ones =
                (0..8 * stride as u32).filter(|bit| mask[*bit as usize / 8] >> (bit % 8) & 1 == 1);
            let ones: Vec<u32> = ones.collect();
            match ones.last() {
                None => Err(Error::EmptyMask {
                    collection: collection(),
                    mask: number,
                }),
                Some(last) if *last >= bits => Err(Error::MaskPadding {
                    collection: collection(),
                    bits,
                    mask: number,
                }),
                Some(_) => Ok(Mask {
                    bytes: mask.to_vec(),
                    bits: ones,
                }),
            }
        });
        read.collect()
    }

    /// The bits that are set, ascending; at least one.
    pub(super) fn bits(&self) -> &[u32] {
        &self.bits
    }

    /// How many bits are set: the greatest distance that there is.
    pub(super) fn width(&self) -> u32 {
        self.bits.len() as u32
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The words of a code in which it has bits, with those of a query; `None` if codes are better read whole.
    pub(super) fn words(&self, query: &[u8]) -> Option<Vec<MaskWord>> {
        let stride = self.bytes.len();
        if stride <= LONG {
            return None;
        }
        let mut words: Vec<MaskWord> = Vec::new();
        for bit in &self.bits {
            // The last word ends where the code ends, and has no bits that the one before has.
            let first = *bit as usize / 64 * 8;
            let at = first.min(stride - 8) as u32;
            if words.last().is_none_or(|word| word.at != at) {
                words.push(MaskWord {
                    at,
                    mask: 0,
                    query: word_at(query, at),
                });
            }
            if let Some(word) = words.last_mut() {
                word.mask |= 1 << (bit - 8 * at);
            }
        }
        (words.len() <= stride / 16).then_some(words)
    }
}

/// Eight bytes of a code as a word, the first of them the lowest.
fn word_at(code: &[u8], at: u32) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&code[at as usize..][..8]);
    u64::from_le_bytes(word)
}
