//! The manifest: the one file that says which other files make up the database.
//!
//! It is replaced as a whole: the new one is written beside it, synced, renamed over it, and the
//! directory is synced. So there is always exactly one, and it is always whole.

use std::io::ErrorKind::{NotADirectory, NotFound};

use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};

use crate::bytes::{Fields, checksum};
use crate::deleted;
use crate::disk::{Disk, read_from};
use crate::error::Error;
use crate::log;
use crate::segment;

/// The manifest's file name.
pub(crate) const FILE: &str = "MANIFEST";
/// The name under which the next manifest is written.
pub(crate) const TEMPORARY: &str = "MANIFEST.tmp";
/// Version of the manifest format that this build reads and writes.
pub(crate) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"BitkMan\n";
const HEADER_BYTES: usize = 32;
/// Commits, files and manifests that no database comes to have.
const MOST: u64 = 1 << 62;

/// The body of the manifest. Its layout on disk is rkyv's, so any change here is a new
/// [`VERSION`].
#[derive(Clone, Debug, Default, PartialEq, Archive, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Drawn by chance for this database; another one in the same place, a backup of this one too, has
    /// another.
    pub(crate) database: u64,
    /// Counts the manifests of this database.
    pub(crate) edition: u64,
    /// Features that a reader must know; one that does not know them all refuses the database.
    pub(crate) features: Vec<String>,
    /// Every commit up to this one is in the segments.
    pub(crate) flushed_sequence: u64,
    /// Numbers that were never given to a file or a collection.
    pub(crate) next_segment: u64,
    pub(crate) next_log: u64,
    pub(crate) next_collection: u32,
    /// Ascending by number.
    pub(crate) collections: Vec<CollectionRecord>,
    /// In the order in which they were written.
    pub(crate) segments: Vec<SegmentRecord>,
    /// In the order of their sequences. All but the last are sealed; the last one too after a clean
    /// close.
    pub(crate) logs: Vec<LogRecord>,
}

#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub(crate) struct CollectionRecord {
    pub(crate) number: u32,
    pub(crate) bits: u32,
    pub(crate) name: String,
    pub(crate) properties: Vec<u8>,
    /// The largest id that flushed commits ever gave to a row; rows may be gone since.
    pub(crate) largest_id: Option<u64>,
}

/// The file is `segments/<number, 16 digits>.seg`.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub(crate) struct SegmentRecord {
    pub(crate) number: u64,
    pub(crate) collection: u32,
    /// Bytes of the file.
    pub(crate) length: u64,
    pub(crate) rows: u64,
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    pub(crate) smallest_id: u64,
    pub(crate) largest_id: u64,
    /// Which of its rows are deleted as of `flushed_sequence`; `None` while none are.
    pub(crate) deletes: Option<DeleteRecord>,
}

/// The file is `segments/<number of the segment, 16 digits>.<sequence, 16 digits>.del`.
#[derive(Clone, Copy, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub(crate) struct DeleteRecord {
    /// The rows are deleted as of this commit, or of a later one that deleted no more of them.
    pub(crate) sequence: u64,
    /// Bytes of the file.
    pub(crate) length: u64,
    /// Number of deleted rows.
    pub(crate) rows: u64,
}

/// The file is `log/<number, 16 digits>.log`.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub(crate) struct LogRecord {
    pub(crate) number: u64,
    /// The sequence of the first commit that it can hold.
    pub(crate) first_sequence: u64,
    /// The seed of its records' checksums, drawn by chance.
    pub(crate) seed: u64,
    /// `None` while it may still grow.
    pub(crate) seal: Option<Seal>,
}

/// What a log must hold once nothing more is written to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Archive, Serialize, Deserialize)]
pub(crate) struct Seal {
    /// Bytes that count; any bytes behind them are what a crash left of an unfinished write.
    pub(crate) length: u64,
    /// The checksums of all its records, chained.
    pub(crate) chain: u64,
    /// The sequence of its last commit, or the one before its first if it has none.
    pub(crate) last_sequence: u64,
}

/// Why a manifest was not stored.
#[derive(Debug)]
pub(crate) struct StoreError {
    pub(crate) error: Error,
    /// Whether the new manifest may have taken the old one's place nevertheless.
    pub(crate) maybe_stored: bool,
}

impl SegmentRecord {
    /// The name of the file with its deleted rows, if it has one.
    pub(crate) fn delete_file(&self) -> Option<String> {
        let deletes = self.deletes.as_ref()?;
        Some(deleted::file_name(self.number, deletes.sequence))
    }
}

impl Manifest {
    /// Reads the manifest. `Ok(None)` if there is none.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Manifest>, Error> {
        let file = match disk.open(FILE) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
            Err(error) => return Err(Error::io("open", FILE)(error)),
        };
        let bytes = read_from(&*file, 0).map_err(Error::io("read", FILE))?;
        Manifest::decode(&bytes).map(Some)
    }

    fn decode(bytes: &[u8]) -> Result<Manifest, Error> {
        let short = || Error::corrupt(FILE, 0, "the file ends within its header");
        let mut fields = Fields::new(bytes);
        if fields.bytes(8).ok_or_else(short)? != MAGIC {
            return Err(Error::corrupt(
                FILE,
                0,
                "it does not start as a manifest does",
            ));
        }
        let found = fields.u32().ok_or_else(short)?;
        if found != VERSION {
            let file = FILE.to_owned();
            return Err(Error::UnsupportedVersion {
                file,
                found,
                supported: VERSION,
            });
        }
        let _reserved = fields.u32().ok_or_else(short)?;
        let length = fields.length().ok_or_else(short)?;
        let sum = fields.u64().ok_or_else(short)?;
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        if body.len() != length {
            let what = format!("{} bytes follow the header, not {length}", body.len());
            return Err(Error::corrupt(FILE, 16, what));
        }
        if checksum_of(bytes.get(..24).unwrap_or_default(), body) != sum {
            return Err(Error::corrupt(FILE, 24, "the checksum does not hold"));
        }
        Manifest::decode_body(body)
    }

    /// Reads the body, whose checksum holds.
    pub(crate) fn decode_body(body: &[u8]) -> Result<Manifest, Error> {
        let manifest = rkyv::from_bytes::<Manifest, rancor::Error>(body)
            .map_err(|e| Error::corrupt(FILE, HEADER_BYTES as u64, format!("no manifest: {e}")))?;
        if let Some(feature) = manifest.features.first() {
            let (file, feature) = (FILE.to_owned(), feature.clone());
            return Err(Error::UnsupportedFeature { file, feature });
        }
        manifest.check()?;
        Ok(manifest)
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        let body = rkyv::to_bytes::<rancor::Error>(self).map_err(|error| Error::Io {
            operation: "encode",
            file: FILE.to_owned(),
            source: std::io::Error::other(error),
        })?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&checksum_of(&bytes, &body).to_le_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// The names of all files that it lists.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for segment in &self.segments {
            names.push(segment::file_name(segment.number));
            names.extend(segment.delete_file());
        }
        names.extend(self.logs.iter().map(|log| log::file_name(log.number)));
        names
    }

    /// Bytes that it takes on disk.
    pub(crate) fn encoded_bytes(&self) -> u64 {
        self.encode().map_or(0, |bytes| bytes.len() as u64)
    }

    /// Puts this manifest in the place of the one on disk, durably. Returns its length in bytes.
    pub(crate) fn store(&self, disk: &dyn Disk) -> Result<u64, StoreError> {
        let not_stored = |error| StoreError {
            error,
            maybe_stored: false,
        };
        let maybe_stored = |error| StoreError {
            error,
            maybe_stored: true,
        };
        let bytes = self.encode().map_err(not_stored)?;
        write_beside(disk, TEMPORARY, &bytes).map_err(not_stored)?;
        disk.rename(TEMPORARY, FILE)
            .map_err(Error::io("rename", TEMPORARY))
            .map_err(maybe_stored)?;
        disk.sync_dir("")
            .map_err(Error::io("sync", ""))
            .map_err(maybe_stored)?;
        Ok(bytes.len() as u64)
    }

    /// Cross-references that hold in every manifest; the rest of the crate relies on them.
    fn check(&self) -> Result<(), Error> {
        let damaged = |what: String| Err(Error::corrupt(FILE, HEADER_BYTES as u64, what));
        // So that what is counted from them stays far from where u64 ends.
        let counts = [
            self.edition,
            self.flushed_sequence,
            self.next_segment,
            self.next_log,
        ];
        let firsts = self.logs.iter().map(|log| log.first_sequence);
        if counts.into_iter().chain(firsts).any(|count| count > MOST) {
            return damaged("a count is larger than it can be".to_owned());
        }
        let largest = self.collections.iter().filter_map(|c| c.largest_id);
        if largest.max() == Some(u64::MAX) {
            return damaged("the largest id is the reserved one".to_owned());
        }
        if !self.collections.is_sorted_by(|a, b| a.number < b.number) {
            return damaged("the collections are not in the order of their numbers".to_owned());
        }
        for collection in &self.collections {
            if !(8..=65_536).contains(&collection.bits) || collection.number >= self.next_collection
            {
                return damaged(format!("collection {} cannot be", collection.number));
            }
        }
        let mut numbers: Vec<u64> = self.segments.iter().map(|s| s.number).collect();
        numbers.sort_unstable();
        if !numbers.is_sorted_by(|a, b| a < b) {
            return damaged("a segment is listed twice".to_owned());
        }
        for segment in &self.segments {
            let known = self
                .collections
                .binary_search_by_key(&segment.collection, |collection| collection.number)
                .is_ok();
            if !known || segment.number >= self.next_segment {
                return damaged(format!("segment {} cannot be", segment.number));
            }
            if segment.last_sequence > self.flushed_sequence
                || segment.first_sequence > segment.last_sequence
                || segment.smallest_id > segment.largest_id
            {
                return damaged(format!(
                    "the ranges of segment {} cannot be",
                    segment.number
                ));
            }
            if let Some(deletes) = &segment.deletes
                && (deletes.sequence > self.flushed_sequence
                    || deletes.rows == 0
                    || deletes.rows > segment.rows)
            {
                return damaged(format!(
                    "the deletes of segment {} cannot be",
                    segment.number
                ));
            }
        }
        let ordered = self
            .logs
            .is_sorted_by(|a, b| a.number < b.number && a.first_sequence <= b.first_sequence);
        if !ordered || self.logs.iter().any(|log| log.number >= self.next_log) {
            return damaged("the logs are not in the order of their numbers".to_owned());
        }
        if self.logs.iter().rev().skip(1).any(|log| log.seal.is_none()) {
            return damaged("a log that is not the last has no seal".to_owned());
        }
        Ok(())
    }
}

fn checksum_of(header: &[u8], body: &[u8]) -> u64 {
    checksum(body, checksum(header, 0))
}

/// Writes a whole file under a name that nobody reads, and syncs it.
pub(crate) fn write_beside(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), Error> {
    match disk.remove(name) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("remove", name)(error)),
    }
    let file = disk.create(name).map_err(Error::io("create", name))?;
    file.write_at(0, bytes).map_err(Error::io("write", name))?;
    file.sync().map_err(Error::io("sync", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Manifest {
        Manifest {
            database: 99,
            edition: 7,
            features: Vec::new(),
            flushed_sequence: 41,
            next_segment: 4,
            next_log: 3,
            next_collection: 3,
            collections: vec![CollectionRecord {
                number: 2,
                bits: 100,
                name: "pictures".to_owned(),
                properties: b"{}".to_vec(),
                largest_id: Some(99),
            }],
            segments: vec![SegmentRecord {
                number: 3,
                collection: 2,
                length: 1234,
                rows: 10,
                first_sequence: 2,
                last_sequence: 41,
                smallest_id: 5,
                largest_id: 99,
                deletes: Some(DeleteRecord {
                    sequence: 41,
                    length: 77,
                    rows: 3,
                }),
            }],
            logs: vec![LogRecord {
                number: 2,
                first_sequence: 42,
                seed: 11,
                seal: Some(Seal {
                    length: 64,
                    chain: 5,
                    last_sequence: 41,
                }),
            }],
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let bytes = example().encode().unwrap();
        assert_eq!(Manifest::decode(&bytes).unwrap(), example());
    }

    #[test]
    fn every_flipped_or_missing_byte_is_noticed() {
        let bytes = example().encode().unwrap();
        for at in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                assert!(
                    Manifest::decode(&bytes).is_err(),
                    "flipped bit {bit} at {at}"
                );
            }
        }
    }

    #[test]
    fn bodies_of_any_bytes_are_refused_without_panic() {
        // With a right checksum, so that it is the validation of the body that must hold.
        let good = example().encode().unwrap();
        for at in HEADER_BYTES..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let sum = checksum_of(&bytes[..24], &bytes[HEADER_BYTES..]);
                bytes[24..32].copy_from_slice(&sum.to_le_bytes());
                let _ = Manifest::decode(&bytes);
            }
        }
    }

    #[test]
    fn references_that_do_not_hold_are_refused() {
        let cases: [fn(&mut Manifest); 15] = [
            |m| m.edition = u64::MAX,
            |m| m.flushed_sequence = u64::MAX,
            |m| m.next_log = u64::MAX,
            |m| m.logs[0].first_sequence = u64::MAX,
            |m| m.collections[0].largest_id = Some(u64::MAX),
            |m| m.segments[0].deletes.as_mut().unwrap().rows = 11,
            |m| m.segments[0].deletes.as_mut().unwrap().rows = 0,
            |m| m.segments[0].deletes.as_mut().unwrap().sequence = 42,
            |m| m.segments[0].collection = 1,
            |m| m.segments[0].number = 4,
            |m| m.segments[0].last_sequence = 42,
            |m| m.collections[0].bits = 7,
            |m| m.logs[0].number = 3,
            |m| {
                m.logs.insert(
                    0,
                    LogRecord {
                        number: 1,
                        first_sequence: 1,
                        seed: 0,
                        seal: None,
                    },
                )
            },
            |m| m.segments.push(m.segments[0].clone()),
        ];
        for (index, change) in cases.iter().enumerate() {
            let mut manifest = example();
            change(&mut manifest);
            let found = Manifest::decode(&manifest.encode().unwrap());
            assert!(
                matches!(found, Err(Error::Corrupt { .. })),
                "case {index}: {found:?}"
            );
        }
    }
}
