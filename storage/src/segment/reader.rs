//! Reading a segment out of its map.

use std::any::Any;
use std::ops::{Range, RangeInclusive};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::filter;
use super::layout::{
    BLOCK, CODES, COLLECTION, ENTRY_BYTES, FOOTER_BYTES, Footer, HEADER_BYTES, Header, ID_FILTER,
    IDS, KNOWN, MAX_SECTIONS, MUST_UNDERSTAND, PAYLOAD_BYTES, PAYLOAD_OFFSETS, Section,
    SectionKind, file_name,
};
use super::section::{self, LazyBytes};
use crate::bytes::{Fields, checksum, u64_at};
use crate::disk::{Disk, Region, open_listed};
use crate::error::Error;
use crate::manifest::SegmentRecord;
use crate::run::NO_PAYLOAD;
use crate::stats::SegmentBytes;

/// An open segment. It keeps its file, whatever happens to the file's name.
#[derive(Debug)]
pub(crate) struct Segment {
    name: String,
    header: Header,
    code_bytes: usize,
    region: Region,
    sections: Vec<Section>,
    /// Where the sections that every search needs are; checked to lie in the region.
    ids: Range<usize>,
    codes: Range<usize>,
    payloads: Option<(Range<usize>, Range<usize>)>,
    filter: Option<Range<usize>>,
    /// Where the checksums of the blocks are; all bytes before are under them.
    checksums: usize,
    /// One bit for each block that was found to be whole.
    checked: Vec<AtomicU64>,
    /// Set when the whole section was found to be whole, to spare the look at every bit.
    ids_checked: AtomicBool,
    codes_checked: AtomicBool,
    filter_checked: AtomicBool,
    /// What the layer above derived from its sections.
    derived: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Segment {
    /// Opens the segment that `record` describes, for a collection of `bits` bits, and checks
    /// everything but the blocks.
    pub(crate) fn open(
        disk: &dyn Disk,
        record: &SegmentRecord,
        bits: u32,
        map: bool,
    ) -> Result<Segment, Error> {
        let name = file_name(record.number);
        let file = open_listed(disk, &name)?;
        let length = file.len().map_err(Error::io("look at", &name))?;
        if length != record.length {
            let what = format!(
                "it has {length} bytes, and the manifest says {}",
                record.length
            );
            return Err(Error::corrupt(&name, length.min(record.length), what));
        }
        let region = if map {
            // SAFETY: a segment is complete before a manifest names it and never changed after.
            unsafe { file.map() }.map_err(Error::io("map", &name))?
        } else {
            Region::read(&*file).map_err(Error::io("read", &name))?
        };
        Segment::from_region(name, region, record, bits)
    }

    pub(super) fn from_region(
        name: String,
        region: Region,
        record: &SegmentRecord,
        bits: u32,
    ) -> Result<Segment, Error> {
        let header = Header::decode(&name, &region)?;
        if header != Header::of(record, bits) {
            let what = "its header and the manifest describe different segments";
            return Err(Error::corrupt(&name, 0, what));
        }
        let contents = Contents::read(&name, &region, header.number)?;
        Segment::assemble(name, region, header, contents)
    }

    /// A segment of these sections, if they are what the header calls for.
    pub(super) fn assemble(
        name: String,
        region: Region,
        header: Header,
        contents: Contents,
    ) -> Result<Segment, Error> {
        let Contents {
            sections,
            checksums,
        } = contents;
        let damaged = |offset: u64, what: &str| Error::corrupt(&name, offset, what);
        if header.rows == 0 || header.rows > u64::from(u32::MAX) || header.bits == 0 {
            return Err(damaged(
                24,
                "it has no rows, or more than a segment can have",
            ));
        }
        let code_bytes = header.bits.div_ceil(8) as usize;
        let find = |kind: SectionKind| of_kind(&sections, kind);
        let range =
            |section: &Section| section.offset as usize..(section.offset + section.length) as usize;
        // A section of the wrong length shows in the table of contents.
        let contents = region
            .len()
            .saturating_sub(FOOTER_BYTES + sections.len() * ENTRY_BYTES)
            as u64;
        let required = |kind: SectionKind, bytes: u64| match find(kind) {
            Some(section) if section.length == bytes => Ok(range(section)),
            Some(_) => Err(damaged(
                contents,
                &format!("section {:?} is not as long as the rows need", kind.name),
            )),
            None => Err(damaged(
                contents,
                &format!("it lacks the section {:?}", kind.name),
            )),
        };
        let ids = required(IDS, header.rows * 8)?;
        let codes = required(CODES, header.rows * code_bytes as u64)?;
        let payloads = match find(PAYLOAD_BYTES) {
            Some(bytes) => Some((
                required(PAYLOAD_OFFSETS, (header.rows + 1) * 8)?,
                range(bytes),
            )),
            None if find(PAYLOAD_OFFSETS).is_some() => {
                return Err(damaged(contents, "it lacks the section \"payload.bytes\""));
            }
            None => None,
        };
        let filter = of_kind(&sections, ID_FILTER).map(range);
        let checked = (0..checksums.div_ceil(BLOCK).div_ceil(64))
            .map(|_| AtomicU64::new(0))
            .collect();
        Ok(Segment {
            name,
            header,
            code_bytes,
            region,
            sections,
            ids,
            codes,
            payloads,
            filter,
            checksums,
            checked,
            ids_checked: AtomicBool::new(false),
            codes_checked: AtomicBool::new(false),
            filter_checked: AtomicBool::new(false),
            derived: OnceLock::new(),
        })
    }

    pub(crate) fn number(&self) -> u64 {
        self.header.number
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the segment that `record` describes.
    pub(crate) fn is(&self, record: &SegmentRecord) -> bool {
        self.header == Header::of(record, self.header.bits) && self.file_bytes() == record.length
    }

    /// Number of its collection.
    pub(crate) fn collection_number(&self) -> u32 {
        self.header.collection
    }

    /// Code width in bits.
    pub(crate) fn bits(&self) -> u32 {
        self.header.bits
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.region.len() as u64
    }

    pub(crate) fn rows(&self) -> u32 {
        // Checked when the segment was opened.
        self.header.rows as u32
    }

    pub(crate) fn sequences(&self) -> RangeInclusive<u64> {
        self.header.first_sequence..=self.header.last_sequence
    }

    pub(crate) fn id_range(&self) -> RangeInclusive<u64> {
        self.header.smallest_id..=self.header.largest_id
    }

    pub(crate) fn ids(&self) -> Result<&[u64], Error> {
        self.check_once(&self.ids_checked, &self.ids)?;
        // Regions start at a multiple of 64 and sections at one of 64 therein, so this cannot fail.
        bytemuck::try_cast_slice(self.slice(&self.ids)).map_err(|_| {
            Error::corrupt(&self.name, self.ids.start as u64, "the ids are not aligned")
        })
    }

    pub(crate) fn codes(&self) -> Result<&[u8], Error> {
        self.check_once(&self.codes_checked, &self.codes)?;
        Ok(self.slice(&self.codes))
    }

    pub(crate) fn code(&self, row: u32) -> Result<Option<&[u8]>, Error> {
        if row >= self.rows() {
            return Ok(None);
        }
        let start = self.codes.start + row as usize * self.code_bytes;
        let range = start..start + self.code_bytes;
        self.check(&range)?;
        Ok(Some(self.slice(&range)))
    }

    pub(crate) fn id(&self, row: u32) -> Result<Option<u64>, Error> {
        if row >= self.rows() {
            return Ok(None);
        }
        let start = self.ids.start + row as usize * 8;
        self.check(&(start..start + 8))?;
        Ok(u64_at(&self.region, start))
    }

    pub(crate) fn payload(&self, row: u32) -> Result<Option<&[u8]>, Error> {
        let Some(range) = self.payload_range(row)? else {
            return Ok(None);
        };
        self.check(&range)?;
        Ok(Some(self.slice(&range)))
    }

    /// Where the payload of a row is, without reading it.
    pub(crate) fn payload_range(&self, row: u32) -> Result<Option<Range<usize>>, Error> {
        let Some((offsets, bytes)) = &self.payloads else {
            return Ok(None);
        };
        if row >= self.rows() {
            return Ok(None);
        }
        let at = offsets.start + row as usize * 8;
        self.check(&(at..at + 16))?;
        let entry = u64_at(&self.region, at).unwrap_or(NO_PAYLOAD);
        let end = u64_at(&self.region, at + 8).unwrap_or(0) & !NO_PAYLOAD;
        if entry & NO_PAYLOAD != 0 {
            return Ok(None);
        }
        if entry > end || end > bytes.len() as u64 {
            let what = format!("the payload of row {row} lies outside of its section");
            return Err(Error::corrupt(&self.name, at as u64, what));
        }
        Ok(Some(
            bytes.start + entry as usize..bytes.start + end as usize,
        ))
    }

    pub(crate) fn find(&self, id: u64) -> Result<Option<u32>, Error> {
        if !self.id_range().contains(&id) {
            return Ok(None);
        }
        if let Some(filter) = &self.filter {
            self.check_once(&self.filter_checked, filter)?;
            if !filter::may_hold(self.slice(filter), id) {
                return Ok(None);
            }
        }
        let (mut low, mut high) = (0, self.rows());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.id(middle)? {
                Some(found) if found == id => return Ok(Some(middle)),
                Some(found) if found < id => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(None)
    }

    /// Whether a row may have a payload.
    pub(crate) fn has_payloads(&self) -> bool {
        self.payloads.is_some()
    }

    /// Whether there is a filter, which makes looking for a single id cheap.
    pub(crate) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// The section of this name, if it is one of the layer above.
    pub(crate) fn section(&self, name: &str) -> Option<section::Section<'_>> {
        let own = KNOWN.iter().any(|kind| kind.name == name);
        let found = self.sections.iter().find(|s| s.name == name && !own)?;
        Some(section::Section {
            segment: self,
            version: found.version,
            range: found.offset as usize..(found.offset + found.length) as usize,
        })
    }

    /// The bytes `range` of the section that lies at `section`.
    pub(super) fn section_bytes(
        &self,
        section: &Range<usize>,
        range: Range<u64>,
    ) -> Result<&[u8], Error> {
        let end = usize::try_from(range.end)
            .ok()
            .filter(|&end| end <= section.len());
        let (Some(end), true) = (end, range.start <= range.end) else {
            let what = format!(
                "bytes {} to {} of a section of {} bytes are called for",
                range.start,
                range.end,
                section.len()
            );
            return Err(Error::corrupt(&self.name, section.start as u64, what));
        };
        let bytes = section.start + range.start as usize..section.start + end;
        self.check(&bytes)?;
        Ok(self.slice(&bytes))
    }

    /// Name and properties of the collection, as they were when the segment was written.
    pub(crate) fn collection(&self) -> Result<Option<(String, Vec<u8>)>, Error> {
        let Some(section) = of_kind(&self.sections, COLLECTION) else {
            return Ok(None);
        };
        let range = section.offset as usize..(section.offset + section.length) as usize;
        self.check(&range)?;
        let mut fields = Fields::new(self.slice(&range));
        let mut take = || {
            let length = fields.u32()? as usize;
            let name = std::str::from_utf8(fields.bytes(length)?).ok()?.to_owned();
            Some((name, fields.rest().to_vec()))
        };
        let what = "its section \"collection\" holds no name";
        let found = take().ok_or_else(|| Error::corrupt(&self.name, section.offset, what))?;
        Ok(Some(found))
    }

    /// What the file's bytes hold.
    pub(crate) fn bytes(&self) -> SegmentBytes {
        let mut bytes = SegmentBytes::default();
        for section in &self.sections {
            let part = match section.name.as_str() {
                "ids" => &mut bytes.ids,
                "codes" => &mut bytes.codes,
                "payload.offsets" | "payload.bytes" => &mut bytes.payloads,
                "collection" => continue,
                _ => &mut bytes.indexes,
            };
            *part += section.length;
        }
        bytes.overhead = self.file_bytes() - bytes.total();
        bytes
    }

    /// Checks every block anew, whatever was checked before, and calls `report` with the offset of
    /// each one that is damaged.
    pub(crate) fn check_all(&self, mut report: impl FnMut(u64)) {
        for block in 0..self.checksums.div_ceil(BLOCK) {
            if !self.is_whole(block) {
                report((block * BLOCK) as u64);
            }
        }
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.region.get(range.clone()).unwrap_or_default()
    }

    fn check_once(&self, done: &AtomicBool, range: &Range<usize>) -> Result<(), Error> {
        // The order of memory does not matter: the flag says nothing of other memory, only that
        // bytes which never change were compared.
        if !done.load(Ordering::Relaxed) {
            self.check(range)?;
            done.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What the layer above derives from this segment, made at the first call and kept with it; `None`
    /// if what was derived first is of another type.
    pub(crate) fn derived<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        let derived = self.derived.get_or_init(|| Box::new(make()));
        derived.downcast_ref()
    }

    pub(super) fn lazy(&self, range: &Range<usize>) -> LazyBytes<'_> {
        LazyBytes {
            segment: Some(self),
            start: range.start,
            bytes: self.slice(range),
        }
    }

    pub(crate) fn lazy_codes(&self) -> LazyBytes<'_> {
        self.lazy(&self.codes)
    }

    /// The share of the blocks of `range`, which is not empty, that were checked.
    pub(super) fn share_checked(&self, range: &Range<usize>) -> f64 {
        let blocks = range.start / BLOCK..(range.end - 1) / BLOCK + 1;
        let all = blocks.len();
        let checked = blocks.filter(|block| self.is_checked(*block)).count();
        checked as f64 / all as f64
    }

    #[inline]
    fn is_checked(&self, block: usize) -> bool {
        let word = self.checked.get(block / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & 1 << (block % 64) != 0)
    }

    /// Checks the blocks of `range` that were not checked before.
    #[inline]
    pub(super) fn check(&self, range: &Range<usize>) -> Result<(), Error> {
        if range.is_empty() {
            return Ok(());
        }
        let (first, last) = (range.start / BLOCK, (range.end - 1) / BLOCK);
        if self.is_checked(first) && (last == first || last == first + 1 && self.is_checked(last)) {
            return Ok(());
        }
        self.check_blocks(range)
    }

    #[cold]
    fn check_blocks(&self, range: &Range<usize>) -> Result<(), Error> {
        for block in range.start / BLOCK..=(range.end - 1) / BLOCK {
            if self.is_checked(block) {
                continue;
            }
            if !self.is_whole(block) {
                let offset = (block * BLOCK) as u64;
                let what = "the checksum of the block that starts there does not hold";
                return Err(Error::corrupt(&self.name, offset, what));
            }
            if let Some(word) = self.checked.get(block / 64) {
                word.fetch_or(1 << (block % 64), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn is_whole(&self, block: usize) -> bool {
        let start = block * BLOCK;
        let bytes = self.region.get(start..self.checksums.min(start + BLOCK));
        let expected = u64_at(&self.region, self.checksums + block * 8);
        bytes.map(|bytes| checksum(bytes, self.header.number)) == expected && expected.is_some()
    }
}

fn of_kind(sections: &[Section], kind: SectionKind) -> Option<&Section> {
    let is = |s: &&Section| s.name == kind.name && s.version == kind.version;
    sections.iter().find(is)
}

/// Where everything is in a segment.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) sections: Vec<Section>,
    /// Where the checksums of the blocks start; all bytes before are under them.
    pub(super) checksums: usize,
}

impl Contents {
    /// Reads and checks footer and table of contents of segment `number`.
    pub(super) fn read(name: &str, region: &[u8], number: u64) -> Result<Contents, Error> {
        let end = region.len().saturating_sub(FOOTER_BYTES);
        let footer = region.get(end..).unwrap_or_default();
        let footer = Footer::decode(name, footer, region.len() as u64, number)?;
        Ok(Contents {
            sections: read_contents(name, region, &footer)?,
            checksums: footer.checksums as usize,
        })
    }
}

/// Reads the table of contents and checks that every section lies where sections may lie.
fn read_contents(name: &str, region: &[u8], footer: &Footer) -> Result<Vec<Section>, Error> {
    let damaged = |offset: u64, what: &str| Error::corrupt(name, offset, what);
    let length = region.len() as u64;
    let footer_at = length.saturating_sub(FOOTER_BYTES as u64);
    let contents_bytes = u64::from(footer.sections) * ENTRY_BYTES as u64;
    let consistent = footer.checksums >= HEADER_BYTES as u64
        && footer.checksums.is_multiple_of(8)
        && footer.checksums <= length
        && footer.sections <= MAX_SECTIONS
        && footer.blocks == footer.checksums.div_ceil(BLOCK as u64)
        && footer.checksums.checked_add(footer.blocks * 8) == Some(footer.contents)
        && footer.contents.checked_add(contents_bytes) == Some(footer_at);
    if !consistent {
        return Err(damaged(
            footer_at,
            "the footer does not fit the length of the file",
        ));
    }
    let entries = region
        .get(footer.contents as usize..footer_at as usize)
        .ok_or_else(|| damaged(footer_at, "the table of contents lies outside of the file"))?;
    if checksum(entries, footer.number) != footer.contents_sum {
        return Err(damaged(
            footer.contents,
            "the checksum of the table of contents does not hold",
        ));
    }
    let mut sections: Vec<Section> = Vec::with_capacity(footer.sections as usize);
    let mut free = HEADER_BYTES as u64;
    for (index, entry) in entries.chunks_exact(ENTRY_BYTES).enumerate() {
        let at = footer.contents + (index * ENTRY_BYTES) as u64;
        let section = Section::decode(entry)
            .ok_or_else(|| damaged(at, "the name of a section is not UTF-8"))?;
        let end = section.end().filter(|&end| end <= footer.checksums);
        let (Some(end), true, true) = (
            end,
            section.offset >= free,
            section.offset.is_multiple_of(64),
        ) else {
            return Err(damaged(at, "a section lies where none can be"));
        };
        if sections.iter().any(|other| other.name == section.name) {
            return Err(damaged(at, "two sections have the same name"));
        }
        let known = KNOWN
            .iter()
            .any(|k| k.name == section.name && k.version == section.version);
        if !known && section.flags & MUST_UNDERSTAND != 0 {
            let feature = format!("section {} version {}", section.name, section.version);
            return Err(Error::UnsupportedFeature {
                file: name.to_owned(),
                feature,
            });
        }
        free = end;
        sections.push(section);
    }
    Ok(sections)
}
