//! Reading what is whole of a segment that is damaged.

use super::layout::{
    BLOCK, CODES, ENTRY_BYTES, FOOTER_BYTES, HEADER_BYTES, Header, IDS, PAYLOAD_BYTES,
    PAYLOAD_OFFSETS, Section, SectionKind, file_name,
};
use super::reader::{Contents, Segment};
use crate::bytes::{checksum, u64_at};
use crate::disk::{Disk, Region};
use crate::error::Error;
use crate::manifest::SegmentRecord;
use crate::run::NO_PAYLOAD;

/// Sections that a segment without a table of contents may have had, at most.
const MOST_SECTIONS: u64 = 64;
/// Blocks whose checksums must hold, mostly, where only the length of the file says where they are.
const PROBES: usize = 9;

impl Segment {
    /// Opens segment `number` as well as can be: a damaged header is taken from `known`, what the
    /// manifest says of the segment with the width of its codes, and where the table of contents is
    /// damaged, the sections are sought where a writer puts them. Blocks are checked as ever.
    pub(crate) fn open_damaged(
        disk: &dyn Disk,
        number: u64,
        known: Option<(&SegmentRecord, u32)>,
    ) -> Result<Segment, Error> {
        let name = file_name(number);
        let file = disk.open(&name).map_err(Error::io("open", &name))?;
        // Not mapped: a disk that loses bytes may fail to read others, which must not end the process.
        let region = Region::read(&*file).map_err(Error::io("read", &name))?;
        let header = match (Header::decode(&name, &region), known) {
            (Ok(header), _) if header.number == number => header,
            (_, Some((record, bits))) => Header::of(record, bits),
            (Ok(_), None) => {
                let what = "its header is that of another segment";
                return Err(Error::corrupt(&name, 0, what));
            }
            (Err(error), None) => return Err(error),
        };
        let contents = match Contents::read(&name, &region, header.number) {
            Ok(contents) => contents,
            Err(error) => guess(&region, &header).ok_or(error)?,
        };
        Segment::assemble(name, region, header, contents)
    }
}

/// The sections of a segment whose table of contents is damaged, by the length of the file and the
/// order in which sections are written.
fn guess(region: &[u8], header: &Header) -> Option<Contents> {
    let checksums = guess_checksums(region, header.number)?;
    let mut sections = Vec::new();
    let ids = header.rows.checked_mul(8)?;
    let codes = header
        .rows
        .checked_mul(u64::from(header.bits.div_ceil(8)))?;
    add(&mut sections, IDS, 64, ids, checksums)?;
    add(&mut sections, CODES, 4096, codes, checksums)?;
    // If there are payloads, the first starts at 0. What else would be here is the collection's name,
    // whose length is not 0.
    let offsets = ids.checked_add(8)?;
    let mut with_payloads = sections.clone();
    let at = add(&mut with_payloads, PAYLOAD_OFFSETS, 64, offsets, checksums);
    if let Some(at) = at
        && u64_at(region, at)? & !NO_PAYLOAD == 0
        && let Some(bytes) = u64_at(region, at + ids as usize)
        && add(
            &mut with_payloads,
            PAYLOAD_BYTES,
            64,
            bytes & !NO_PAYLOAD,
            checksums,
        )
        .is_some()
    {
        sections = with_payloads;
    }
    Some(Contents {
        sections,
        checksums,
    })
}

/// Adds a section behind the last, and says where it starts; `None` if it does not end before
/// `checksums`.
fn add(
    sections: &mut Vec<Section>,
    kind: SectionKind,
    alignment: u64,
    length: u64,
    checksums: usize,
) -> Option<usize> {
    let end = sections
        .last()
        .map_or(Some(HEADER_BYTES as u64), Section::end)?;
    let offset = end.checked_next_multiple_of(alignment)?;
    offset
        .checked_add(length)
        .filter(|&end| end <= checksums as u64)?;
    sections.push(Section {
        name: kind.name.to_owned(),
        version: kind.version,
        flags: kind.flags,
        offset,
        length,
    });
    Some(offset as usize)
}

/// Where the block checksums start, if most of those that are tried hold there.
fn guess_checksums(region: &[u8], number: u64) -> Option<usize> {
    for sections in 1..MOST_SECTIONS {
        let tail = FOOTER_BYTES as u64 + sections * ENTRY_BYTES as u64;
        let Some(both) = (region.len() as u64).checked_sub(tail) else {
            break;
        };
        // The bytes under checksums, and 8 for each block of them.
        let blocks = both.div_ceil(BLOCK as u64 + 8);
        let Some(checksums) = both.checked_sub(blocks * 8) else {
            break;
        };
        if checksums.is_multiple_of(8)
            && checksums.div_ceil(BLOCK as u64) == blocks
            && mostly_holds(region, checksums as usize, blocks as usize, number)
        {
            return Some(checksums as usize);
        }
    }
    None
}

fn mostly_holds(region: &[u8], checksums: usize, blocks: usize, number: u64) -> bool {
    let probes = blocks.min(PROBES);
    let holds = |probe: &usize| {
        let block = probe * (blocks - 1) / (probes - 1).max(1);
        let bytes = region.get(block * BLOCK..checksums.min((block + 1) * BLOCK));
        bytes.map(|bytes| checksum(bytes, number)) == u64_at(region, checksums + block * 8)
    };
    let held = (0..probes).filter(holds).count();
    held * 2 >= probes && held > 0
}
