//! Rows of a part that are deleted: a roaring bitmap of row numbers, beside the part.
//!
//! Parts never change, so deleting a row means to note its number. The bitmap of a part in memory is
//! shared with the snapshots that hold it and copied before it is changed. The bitmap of a segment is
//! also written to a file of its own whenever rows in memory are flushed, so that the log that said
//! so can go; a merge leaves the rows out, and the bitmap is gone.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::bytes::{Fields, checksum};
use crate::disk::{Disk, open_listed, read_from};
use crate::error::Error;
use crate::manifest::{DeleteRecord, SegmentRecord, write_beside};
use crate::segment;

/// What the name of a delete file ends in.
pub(crate) const SUFFIX: &str = ".del";
/// Version of the format of delete files that this build reads and writes.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"BitkDel\n";
const HEADER_BYTES: usize = 48;

/// The deleted rows of a part; `None` where there are none.
pub(crate) type Deleted = Option<Arc<RoaringBitmap>>;

/// How many rows are deleted.
pub(crate) fn count(deleted: &Deleted) -> u64 {
    deleted.as_ref().map_or(0, |rows| rows.len())
}

/// The rows that are deleted in `now` and were not in `before`.
pub(crate) fn since(now: &Deleted, before: &Deleted) -> RoaringBitmap {
    match (now, before) {
        (None, _) => RoaringBitmap::new(),
        (Some(now), None) => RoaringBitmap::clone(now),
        (Some(now), Some(before)) if Arc::ptr_eq(now, before) => RoaringBitmap::new(),
        (Some(now), Some(before)) => &**now - &**before,
    }
}

/// Adds rows, which must ascend.
pub(crate) fn add(deleted: &mut Deleted, rows: &[u32]) {
    if !rows.is_empty() {
        Arc::make_mut(deleted.get_or_insert_default()).extend(rows);
    }
}

/// The name of the file that holds the deleted rows of segment `number` as of commit `sequence`.
pub(crate) fn file_name(number: u64, sequence: u64) -> String {
    format!("{}/{number:016}.{sequence:016}{SUFFIX}", segment::DIRECTORY)
}

/// Writes the deleted rows of segment `number` as of commit `sequence`, and syncs the file. Its name
/// is not synced.
pub(crate) fn write(
    disk: &dyn Disk,
    number: u64,
    sequence: u64,
    deleted: &RoaringBitmap,
) -> Result<DeleteRecord, Error> {
    let name = file_name(number, sequence);
    // Writing to a vector cannot fail.
    let mut body = Vec::with_capacity(deleted.serialized_size());
    let _ = deleted.serialize_into(&mut body);
    let bytes = with_header(number, sequence, deleted.len(), &body);
    // No manifest names it: the one that is named has another sequence, or there is none.
    write_beside(disk, &name, &bytes)?;
    Ok(DeleteRecord {
        sequence,
        length: bytes.len() as u64,
        rows: deleted.len(),
    })
}

/// A delete file with this body.
pub(crate) fn with_header(number: u64, sequence: u64, rows: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    for field in [number, sequence, rows] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    let sum = checksum(body, checksum(&bytes, number));
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Reads the deleted rows that the manifest names for a segment.
pub(crate) fn read(disk: &dyn Disk, segment: &SegmentRecord) -> Result<Deleted, Error> {
    let Some(record) = &segment.deletes else {
        return Ok(None);
    };
    let name = file_name(segment.number, record.sequence);
    let file = open_listed(disk, &name)?;
    let bytes = read_from(&*file, 0).map_err(Error::io("read", &name))?;
    let found = decode(&name, &bytes)?;
    if found.number != segment.number
        || found.sequence != record.sequence
        || found.rows.len() != record.rows
        || bytes.len() as u64 != record.length
    {
        let what = "it and the manifest describe different deletes";
        return Err(Error::corrupt(&name, 0, what));
    }
    if found
        .rows
        .max()
        .is_some_and(|row| u64::from(row) >= segment.rows)
    {
        let what = "it deletes rows that the segment does not have";
        return Err(Error::corrupt(&name, HEADER_BYTES as u64, what));
    }
    Ok(Some(Arc::new(found.rows)))
}

/// What a delete file says.
pub(crate) struct DeleteFile {
    pub(crate) number: u64,
    pub(crate) sequence: u64,
    pub(crate) rows: RoaringBitmap,
}

/// Reads the bytes of a delete file; `name` is for messages.
pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<DeleteFile, Error> {
    let damaged = |offset, what: &str| Error::corrupt(name, offset, what);
    let short = || damaged(0, "the file ends within its header");
    let mut fields = Fields::new(bytes);
    if fields.bytes(8) != Some(MAGIC) {
        return Err(damaged(0, "it does not start as a delete file does"));
    }
    let found = fields.u32().ok_or_else(short)?;
    if found != VERSION {
        return Err(Error::UnsupportedVersion {
            file: name.to_owned(),
            found,
            supported: VERSION,
        });
    }
    let _reserved = fields.u32().ok_or_else(short)?;
    let number = fields.u64().ok_or_else(short)?;
    let sequence = fields.u64().ok_or_else(short)?;
    let count = fields.u64().ok_or_else(short)?;
    let sum = fields.u64().ok_or_else(short)?;
    let (head, body) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(short)?;
    let head = head.get(..HEADER_BYTES - 8).unwrap_or_default();
    if checksum(body, checksum(head, number)) != sum {
        return Err(damaged(40, "the checksum does not hold"));
    }
    let no_bitmap = || damaged(HEADER_BYTES as u64, "its rows are no roaring bitmap");
    let mut rest = body;
    let rows = RoaringBitmap::deserialize_from(&mut rest).map_err(|_| no_bitmap())?;
    if !rest.is_empty() || rows.len() != count || count == 0 {
        return Err(no_bitmap());
    }
    Ok(DeleteFile {
        number,
        sequence,
        rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    #[test]
    fn every_flipped_or_missing_byte_of_a_delete_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = OsDisk::new(dir.path());
        disk.create_dir(segment::DIRECTORY).unwrap();
        let rows: RoaringBitmap = [3, 5, 70_000].into_iter().chain(100..900).collect();
        let record = write(&disk, 7, 42, &rows).unwrap();
        assert_eq!((record.rows, record.sequence), (803, 42));
        let name = file_name(7, 42);
        let bytes = std::fs::read(dir.path().join(&name)).unwrap();
        assert_eq!(record.length, bytes.len() as u64);
        assert_eq!(decode(&name, &bytes).unwrap().rows, rows);
        for at in 0..bytes.len() {
            assert!(decode(&name, &bytes[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                assert!(decode(&name, &bytes).is_err(), "bit {bit} at {at}");
            }
        }
    }

    #[test]
    fn bodies_of_any_bytes_are_refused_without_panic() {
        // With a right checksum, so that it is the reading of the bitmap that must hold.
        let dir = tempfile::tempdir().unwrap();
        let disk = OsDisk::new(dir.path());
        disk.create_dir(segment::DIRECTORY).unwrap();
        let rows: RoaringBitmap = (0..40).chain(70_000..71_000).collect();
        write(&disk, 7, 42, &rows).unwrap();
        let good = std::fs::read(dir.path().join(file_name(7, 42))).unwrap();
        for at in HEADER_BYTES..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let sum = checksum(&bytes[HEADER_BYTES..], checksum(&bytes[..40], 7));
                bytes[40..48].copy_from_slice(&sum.to_le_bytes());
                let _ = decode("x", &bytes);
            }
        }
    }
}
