//! The tables of a segment, as a search uses them.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use bitkin_storage::{LazyBytes, Part, Section};

use super::layout::{
    ENTRY_BYTES, Entry, FOOTER_BYTES, Footer, GROUP_BITS, NAME, SHELLS, VERSION, decode_size,
};
use super::masks::masks;
use super::shape::MOST_BITS;
use crate::bytes::u32_at;
use crate::kernels::probe::{Bucket, Checks, Found, Malformed, Places, ProbeError, Shell};

/// What is known of a segment's tables without looking at them: read once, kept with the segment.
#[derive(Debug)]
pub(crate) struct Tables {
    footer: Footer,
    entries: Vec<Entry>,
    /// The positions of each table's substring in a rearranged code.
    spans: Vec<Range<u32>>,
    /// Where each bit of a code goes, in its rearranged form.
    position: Vec<u32>,
    /// For each table, the bits of a code that are its substring.
    masks: Vec<u8>,
    stride: usize,
    /// Whether every block of the section, and of the codes, was found to be whole.
    checked: AtomicBool,
    /// Searches since it was looked whether that is so.
    searches: AtomicU32,
    /// How much farther the k-th nearest rows were than if rows were spread evenly, in parts of a bit.
    beyond: AtomicI32,
}

/// Parts of a bit in which that is counted.
const BEYOND_UNIT: f32 = 256.0;

impl Tables {
    /// The tables of a part; `None` if it has none, or none that this version can read. Without them
    /// a part is scanned.
    pub(crate) fn of(part: &Part, bits: u32) -> Option<(&Tables, Section<'_>)> {
        let section = part.section(NAME)?;
        let tables = part.derived(|| Tables::read(&section, part.len(), bits).unwrap_or(None))?;
        Some((tables.as_ref()?, section))
    }

    fn read(
        section: &Section<'_>,
        rows: usize,
        bits: u32,
    ) -> Result<Option<Tables>, bitkin_storage::Error> {
        if section.version() != VERSION || bits > MOST_BITS {
            return Ok(None);
        }
        let Some(at) = section.len().checked_sub(FOOTER_BYTES as u64) else {
            return Ok(None);
        };
        let Some(footer) = Footer::decode(section.bytes(at..section.len())?) else {
            return Ok(None);
        };
        let begin = section.len().checked_sub(footer.tail());
        let Some(begin) = begin.filter(|_| {
            footer.rows as usize == rows && footer.bits == bits && footer.tables <= bits
        }) else {
            return Ok(None);
        };
        let tail = section.bytes(begin..at)?;
        let (order, entries) = tail.split_at(4 * bits as usize);
        Ok(Tables::decode(footer, entries, order, begin))
    }

    pub(super) fn decode(
        footer: Footer,
        entries: &[u8],
        order: &[u8],
        length: u64,
    ) -> Option<Tables> {
        let entries = entries.chunks_exact(ENTRY_BYTES);
        let entries: Vec<Entry> = entries
            .map(|entry| Entry::decode(entry, &footer, length))
            .collect::<Option<_>>()?;
        let mut spans = Vec::with_capacity(entries.len());
        let mut at = 0;
        for entry in &entries {
            spans.push(at..at + entry.key_bits);
            at += entry.key_bits;
        }
        let word = footer.bits <= 64;
        let rest = |entry: &Entry| (footer.bits - entry.key_bits).div_ceil(8) <= footer.rest_bytes;
        if at != footer.bits
            || footer.rest_bytes > 8
            || footer.rest_bytes > 0 && !(word && entries.iter().all(rest))
            // Otherwise a row is compared where the codes are.
            || footer.rest_bytes == 0 && word && footer.tables > 1
        {
            return None;
        }
        let bits = footer.bits as usize;
        let mut position = vec![u32::MAX; bits];
        for to in 0..bits {
            let bit = u32_at(order, 4 * to)? as usize;
            let place = position.get_mut(bit).filter(|place| **place == u32::MAX)?;
            *place = to as u32;
        }
        let stride = bits.div_ceil(8);
        let mut masks = vec![0; stride * spans.len()];
        for (bit, to) in position.iter().enumerate() {
            let table = spans.partition_point(|span| span.end <= *to);
            masks[table * stride + bit / 8] |= 1 << (bit % 8);
        }
        Some(Tables {
            footer,
            entries,
            spans,
            position,
            masks,
            stride,
            checked: AtomicBool::new(false),
            searches: AtomicU32::new(0),
            beyond: AtomicI32::new(0),
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Bits of a table's keys.
    pub(crate) fn key_bits(&self, table: usize) -> u32 {
        self.entries[table].key_bits
    }

    /// How far the k-th nearest row is likely to be from a query.
    pub(crate) fn expected_distance(&self, k: usize) -> u32 {
        let beyond = self.beyond.load(Ordering::Relaxed) as f32 / BEYOND_UNIT;
        (self.even_distance(k) + beyond).max(0.0) as u32
    }

    /// The k-th nearest row of a query was so far.
    pub(crate) fn learn_distance(&self, k: usize, distance: u32) {
        let known = self.beyond.load(Ordering::Relaxed);
        let seen = BEYOND_UNIT * (distance as f32 - self.even_distance(k));
        self.beyond.store(
            known + ((seen - known as f32) / 16.0) as i32,
            Ordering::Relaxed,
        );
    }

    /// How far the k-th nearest row is from a query that is like the rows, if these are spread evenly: where
    /// they crowd it is nearer, and where distances are no bell it is elsewhere.
    fn even_distance(&self, k: usize) -> f32 {
        let share = (k as f64 / f64::from(self.footer.rows.max(1))).clamp(1e-12, 0.5);
        // The quantile of the normal distribution (Abramowitz and Stegun, 26.2.23).
        let t = (-2.0 * share.ln()).sqrt();
        let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
        let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
        let quantile = t - above / below;
        let (mean, deviation) = (
            f64::from(self.footer.mean),
            f64::from(self.footer.deviation),
        );
        ((mean - quantile * deviation) / 256.0) as f32
    }

    /// Bytes that are read of each row of a bucket.
    pub(crate) fn bytes_a_row(&self) -> u64 {
        match self.footer.rest_bytes {
            0 => 4 + self.stride as u64,
            rest => 4 + u64::from(rest),
        }
    }

    /// Whether the rest of the code stands with each row, so that codes are not looked at.
    pub(crate) fn has_rest(&self) -> bool {
        self.footer.rest_bytes > 0
    }

    /// The keys of a query, one a table, and its rearranged form if it is a word.
    pub(crate) fn keys(&self, query: &[u8]) -> (Vec<u32>, u64) {
        let mut words = vec![0_u64; self.position.len().div_ceil(64)];
        for (byte, &value) in query.iter().enumerate() {
            let mut value = value;
            while value != 0 {
                let bit = 8 * byte + value.trailing_zeros() as usize;
                if let Some(&to) = self.position.get(bit) {
                    words[to as usize / 64] |= 1 << (to % 64);
                }
                value &= value - 1;
            }
        }
        let key = |span: &Range<u32>| {
            let (word, shift) = (span.start as usize / 64, span.start % 64);
            let mut key = words[word] >> shift;
            if shift > 0
                && let Some(next) = words.get(word + 1)
            {
                key |= next << (64 - shift);
            }
            (key & ((1 << span.len()) - 1)) as u32
        };
        (self.spans.iter().map(key).collect(), words[0])
    }

    /// Whether the tables that were asked so far have shown a row at this difference from the query:
    /// `depth[t]` shells of table t were looked at.
    pub(crate) fn has_shown(&self, depth: &[u32], query: &[u8], code: &[u8]) -> bool {
        let mut masks = self.masks.chunks_exact(self.stride).zip(depth);
        masks.any(|(mask, &depth)| {
            let bytes = mask.iter().zip(query).zip(code);
            depth > 0
                && bytes
                    .map(|((mask, a), b)| (mask & (a ^ b)).count_ones())
                    .sum::<u32>()
                    < depth
        })
    }

    /// The same, of the difference of rearranged words.
    pub(crate) fn has_shown_word(&self, depth: &[u32], difference: u64) -> bool {
        let mut spans = self.spans.iter().zip(depth);
        spans.any(|(span, &depth)| {
            let part = difference >> span.start & ((1 << span.len()) - 1);
            part.count_ones() < depth
        })
    }

    /// A table, in the bytes of the section.
    ///
    /// # Errors
    /// [`Malformed`] if they are not where they should be.
    pub(crate) fn table<'a>(
        &self,
        bytes: LazyBytes<'a>,
        number: usize,
    ) -> Result<Table<'a>, Malformed> {
        let entry = self.entries.get(number).ok_or(Malformed)?;
        let span = self.spans.get(number).ok_or(Malformed)?;
        let at = |range: &Range<u64>| {
            bytes
                .unchecked()
                .get(range.start as usize..range.end as usize)
        };
        let numbers = |range| bytemuck::try_cast_slice::<u8, u32>(at(range)?).ok();
        let shells = at(&entry.shells).ok_or(Malformed)?;
        Ok(Table {
            bucket: Bucket {
                starts: numbers(&entry.starts).ok_or(Malformed)?,
                rows: numbers(&entry.rows).ok_or(Malformed)?,
                rest: at(&entry.rest).ok_or(Malformed)?,
                rest_bytes: self.footer.rest_bytes as usize,
                first_bit: span.start,
                key_bits: entry.key_bits,
            },
            shells,
            shells_at: entry.shells.start as usize,
            places: Places {
                starts: entry.starts.start as usize,
                rows: entry.rows.start as usize,
                rest: entry.rest.start as usize,
            },
        })
    }

    /// Whether all that a walk can touch was checked before. While it was not, this looks now and then
    /// how much is missing, and has the rest checked once it is little.
    ///
    /// # Errors
    /// What storage reports of damaged files.
    pub(crate) fn is_checked(
        &self,
        bytes: &LazyBytes<'_>,
        codes: &LazyBytes<'_>,
    ) -> Result<bool, bitkin_storage::Error> {
        if self.checked.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let searches = self.searches.fetch_add(1, Ordering::Relaxed) + 1;
        if !searches.is_power_of_two() {
            return Ok(false);
        }
        let used: &[&LazyBytes<'_>] = if self.has_rest() {
            &[bytes]
        } else {
            &[bytes, codes]
        };
        if used.iter().any(|bytes| bytes.share_checked() < ENOUGH) {
            return Ok(false);
        }
        for bytes in used {
            bytes.check(0..bytes.unchecked().len())?;
        }
        self.checked.store(true, Ordering::Relaxed);
        Ok(true)
    }
}

/// The tables of a part with the bytes of its file, as queries look rows up in them.
pub(crate) struct Opened<'a> {
    pub(crate) tables: &'a Tables,
    table: Vec<Table<'a>>,
    section: LazyBytes<'a>,
    codes: LazyBytes<'a>,
    is_checked: bool,
}

impl<'a> Opened<'a> {
    /// # Errors
    /// What storage reports of damaged files, and [`Malformed`].
    pub(crate) fn new(
        tables: &'a Tables,
        section: LazyBytes<'a>,
        codes: LazyBytes<'a>,
    ) -> Result<Opened<'a>, ProbeError> {
        let table = (0..tables.count()).map(|number| tables.table(section, number));
        Ok(Opened {
            tables,
            table: table.collect::<Result<_, _>>()?,
            section,
            codes,
            is_checked: tables.is_checked(&section, &codes)?,
        })
    }

    /// How many rows the first [`SHELLS`] shells around the key of each table have, about.
    ///
    /// # Errors
    /// What storage reports of damaged files.
    pub(crate) fn sizes(&self, keys: &[u32]) -> Result<Vec<[f32; SHELLS]>, bitkin_storage::Error> {
        let tables = self.table.iter().zip(keys);
        let sizes = tables.map(|(table, &key)| {
            if !self.is_checked {
                self.section.check(table.sizes_at(key))?;
            }
            Ok(table.sizes(key))
        });
        sizes.collect()
    }

    /// The shell at `distance` of a table for a query, whose [keys](Tables::keys) these are; `None` if
    /// there is none, or none that anybody should look at.
    pub(crate) fn shell<'b>(
        &self,
        (number, distance): (usize, u32),
        (keys, word): (&[u32], u64),
        query: &'b [u8],
    ) -> Option<Shell<'b>>
    where
        'a: 'b,
    {
        let table = self.table.get(number)?;
        Some(Shell {
            bucket: table.bucket,
            key: *keys.get(number)?,
            word,
            masks: masks(table.bucket.key_bits, distance)?,
            distance,
            query,
            codes: self.codes.unchecked(),
            checks: (!self.is_checked).then_some(Checks {
                section: self.section,
                places: table.places,
                codes: self.codes,
            }),
        })
    }

    /// Whether the shells that were looked at before, `depth[t]` of table t, have shown a row that one of
    /// them gave for `query`.
    pub(crate) fn has_shown(&self, depth: &[u32], query: &[u8], found: &Found) -> bool {
        if self.tables.has_rest() {
            return self.tables.has_shown_word(depth, found.difference);
        }
        let at = found.row as usize * query.len();
        let code = self.codes.unchecked().get(at..at + query.len());
        code.is_some_and(|code| self.tables.has_shown(depth, query, code))
    }
}

/// The share of blocks which, once checked, has all others checked too: searches will not have to ask
/// any more, and it takes no longer than what was spent on those.
const ENOUGH: f64 = 0.5;

/// One table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    pub(crate) bucket: Bucket<'a>,
    shells: &'a [u8],
    shells_at: usize,
    pub(crate) places: Places,
}

impl Table<'_> {
    /// How many rows the first [`SHELLS`] shells around a key have, about.
    pub(crate) fn sizes(&self, key: u32) -> [f32; SHELLS] {
        let at = SHELLS * (key >> GROUP_BITS.min(self.bucket.key_bits)) as usize;
        let bytes = self.shells.get(at..at + SHELLS).unwrap_or(&[0; SHELLS]);
        std::array::from_fn(|shell| SIZES[bytes[shell] as usize])
    }

    /// Where those sizes are in the section.
    pub(crate) fn sizes_at(&self, key: u32) -> Range<usize> {
        let at = self.shells_at + SHELLS * (key >> GROUP_BITS.min(self.bucket.key_bits)) as usize;
        at..at + SHELLS
    }
}

/// [`decode_size`] of every byte.
static SIZES: std::sync::LazyLock<[f32; 256]> =
    std::sync::LazyLock::new(|| std::array::from_fn(|byte| decode_size(byte as u8)));
