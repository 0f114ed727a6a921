//! Segments: the immutable files that hold the rows of a collection.
//!
//! A segment is never trusted. Its header, footer and table of contents carry checksums and are
//! checked when it is opened, which reads nothing proportional to the rows; the sections are checked
//! a block of 16 KiB at a time, when a block is touched for the first time. Every offset is checked
//! against the length of the file before it is used.

mod layout;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use crate::batch::CollectionInfo;
use crate::disk::Disk;
use crate::error::Error;
use crate::manifest::SegmentRecord;
use crate::run::Run;

pub(crate) use layout::file_name;
pub(crate) use reader::Segment;

/// The name of the directory that holds the segments.
pub(crate) const DIRECTORY: &str = "segments";

/// Writes the rows of `run`, of which there must be some, as segment `number`, and syncs the file. Its name is not synced.
pub(crate) fn write(
    disk: &dyn Disk,
    number: u64,
    collection: &CollectionInfo,
    run: &Run,
) -> Result<SegmentRecord, Error> {
    let (smallest_id, largest_id) = run.id_range().into_inner();
    let header = layout::Header {
        number,
        collection: collection.id.number,
        bits: collection.bits,
        rows: run.len() as u64,
        first_sequence: *run.sequences.start(),
        last_sequence: *run.sequences.end(),
        smallest_id,
        largest_id,
    };
    let mut writer = writer::SegmentWriter::create(disk, &header)?;
    writer.begin(layout::IDS, 64)?;
    writer.write(bytemuck::cast_slice(&run.ids))?;
    writer.begin(layout::CODES, 4096)?;
    writer.write(&run.codes)?;
    if !run.payloads.offsets.is_empty() {
        writer.begin(layout::PAYLOAD_OFFSETS, 64)?;
        writer.write(bytemuck::cast_slice(&run.payloads.offsets))?;
        writer.begin(layout::PAYLOAD_BYTES, 64)?;
        writer.write(&run.payloads.bytes)?;
    }
    let length = writer.finish()?;
    Ok(SegmentRecord {
        number,
        collection: collection.id.number,
        length,
        rows: header.rows,
        first_sequence: header.first_sequence,
        last_sequence: header.last_sequence,
        smallest_id,
        largest_id,
    })
}
