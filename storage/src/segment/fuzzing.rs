//! Segments whose checksums hold and whose fields are what no writer writes.

use super::layout::{BLOCK, FOOTER_BYTES, HEADER_BYTES, Header, file_name};
use super::reader::{Contents, Segment};
use crate::bytes::{checksum, u64_at};
use crate::disk::Region;
use crate::error::Error;

/// Reads all of a segment in every way, as far as it goes.
pub(crate) fn read_all(segment: &Segment) -> Result<(), Error> {
    segment.check_all(|_| {});
    let _ = (segment.bytes(), segment.collection());
    for row in (0..=segment.rows().min(1000)).chain([segment.rows(), u32::MAX]) {
        let _ = (segment.id(row)?, segment.code(row)?, segment.payload(row));
    }
    for id in (0..15).chain([u64::MAX - 1]) {
        segment.find(id)?;
    }
    for name in ["filter", "backwards"] {
        if let Some(section) = segment.section(name) {
            section.bytes(0..section.len())?;
        }
    }
    segment.ids()?;
    segment.codes()?;
    Ok(())
}

/// Reads bytes as a segment of which nothing is known but the number, with its checksums mended.
pub(crate) fn segment(bytes: &[u8]) {
    const NUMBER: u64 = 7;
    /// Where the number is in the header, and how far before the end of the file it is again.
    const NUMBER_AT: usize = 16;
    const FOOTER_NUMBER_AT: usize = FOOTER_BYTES - 40;
    let mut bytes = bytes.to_vec();
    // Files of any number can be the start of a corpus.
    for at in [NUMBER_AT, bytes.len().saturating_sub(FOOTER_NUMBER_AT)] {
        if let Some(place) = bytes.get_mut(at..at + 8) {
            place.copy_from_slice(&NUMBER.to_le_bytes());
        }
    }
    mend(&mut bytes, NUMBER);
    let region = Region::from_bytes(&bytes);
    let read = || {
        let header = Header::decode("fuzzed", &region)?;
        let contents = Contents::read("fuzzed", &region, NUMBER)?;
        Ok::<_, Error>((header, contents))
    };
    if let Ok((header, contents)) = read()
        && let Ok(segment) = Segment::assemble(file_name(NUMBER), region, header, contents)
    {
        let _ = read_all(&segment);
    }
}

/// Makes all checksums hold again, as far as the fields that say where they are can be followed.
pub(crate) fn mend(bytes: &mut [u8], number: u64) {
    if bytes.len() < HEADER_BYTES + FOOTER_BYTES {
        return;
    }
    let put = |bytes: &mut [u8], at: usize, sum: u64| {
        if let Some(place) = bytes.get_mut(at..at + 8) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
    };
    let header = checksum(&bytes[..HEADER_BYTES - 8], 0);
    put(bytes, HEADER_BYTES - 8, header);
    let footer = bytes.len() - FOOTER_BYTES;
    let field = |bytes: &[u8], at: usize| u64_at(bytes, footer + at).unwrap_or_default() as usize;
    let (contents, checksums) = (field(bytes, 16), field(bytes, 24));
    if let Some(blocks) = bytes.get(..checksums) {
        let sums: Vec<u64> = blocks
            .chunks(BLOCK)
            .map(|block| checksum(block, number))
            .collect();
        for (index, sum) in sums.into_iter().enumerate() {
            put(bytes, checksums + index * 8, sum);
        }
    }
    if let Some(entries) = bytes.get(contents..footer) {
        let sum = checksum(entries, number);
        put(bytes, footer + 48, sum);
    }
    let sum = checksum(&bytes[footer..footer + 56], number);
    put(bytes, footer + 56, sum);
}
