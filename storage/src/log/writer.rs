//! Writing a log.

use std::sync::Arc;

use super::record::Body;
use super::{DIRECTORY, HEADER_BYTES, chain, file_name, header};
use crate::bytes::{checksum, random, u64_at};
use crate::disk::{Disk, File};
use crate::error::Error;
use crate::manifest::{LogRecord, Seal};

/// Marks the start of a record.
pub(super) const MARKER: &[u8; 8] = b"BitkRec\n";
/// Bytes of a record before its body.
pub(super) const RECORD_HEADER_BYTES: usize = 56;
/// Records start at multiples of this many bytes.
pub(super) const RECORD_ALIGNMENT: usize = 8;

/// Small records that are written together are gathered into writes of about this many bytes.
const GATHER: usize = 1 << 20;

/// A write of at most this many bytes is followed by zeros up to [`AHEAD`], so that the writes after
/// it go to bytes that the file has: then a sync need not write the file's new length too, which
/// costs half as much again as the record. With larger writes the zeros would cost more than that.
const SMALL: usize = 4 << 10;
const AHEAD: usize = 256 << 10;

/// A record that has its sequence but not yet its place in a log.
#[derive(Debug)]
pub(crate) struct Record {
    sequence: u64,
    /// Bytes of the body that count; zeros fill it up to the alignment.
    body_bytes: usize,
    /// Room for the header, then the body.
    bytes: Vec<u8>,
}

impl Record {
    /// The record of commit `sequence`, with the body that `fill` writes, of about `capacity` bytes.
    pub(crate) fn new(sequence: u64, capacity: usize, fill: impl FnOnce(&mut Body)) -> Record {
        let mut body = Body::reserve(RECORD_HEADER_BYTES, capacity);
        fill(&mut body);
        let mut bytes = body.into_bytes();
        let body_bytes = bytes.len() - RECORD_HEADER_BYTES;
        bytes.resize(bytes.len().next_multiple_of(RECORD_ALIGNMENT), 0);
        Record {
            sequence,
            body_bytes,
            bytes,
        }
    }

    /// Bytes that it takes in the log.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Fills in the header, and returns its checksum.
    fn seal(&mut self, seed: u64, synced: u64) -> u64 {
        let (head, body) = self.bytes.split_at_mut(RECORD_HEADER_BYTES);
        head[..8].copy_from_slice(MARKER);
        head[8..16].copy_from_slice(&(self.body_bytes as u64).to_le_bytes());
        head[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        head[24..32].copy_from_slice(&synced.to_le_bytes());
        head[32..40].copy_from_slice(&0_u64.to_le_bytes());
        head[40..48].copy_from_slice(&checksum(body, seed).to_le_bytes());
        let sum = checksum(&head[..48], seed);
        head[48..56].copy_from_slice(&sum.to_le_bytes());
        sum
    }
}

/// The log that batches are written to.
#[derive(Debug)]
pub(crate) struct LogWriter {
    file: Arc<dyn File>,
    name: String,
    /// What the manifest says of it while it may grow.
    record: LogRecord,
    /// Where the next record goes.
    position: u64,
    /// Bytes that are on disk for certain.
    synced: u64,
    /// Bytes that the file has; those behind `position` are zeros.
    length: u64,
    chain: u64,
    last_sequence: u64,
}

impl LogWriter {
    /// Creates log `number`, durably, for commits from `first_sequence` on.
    pub(crate) fn create(
        disk: &dyn Disk,
        number: u64,
        first_sequence: u64,
    ) -> Result<LogWriter, Error> {
        let name = file_name(number);
        let seed = random();
        let header = header(number, first_sequence, seed);
        let file = disk.create(&name).map_err(Error::io("create", &name))?;
        file.write_at(0, &header)
            .map_err(Error::io("write", &name))?;
        file.sync().map_err(Error::io("sync", &name))?;
        disk.sync_dir(DIRECTORY)
            .map_err(Error::io("sync", DIRECTORY))?;
        Ok(LogWriter {
            file,
            name,
            record: LogRecord {
                number,
                first_sequence,
                seed,
                seal: None,
            },
            position: HEADER_BYTES as u64,
            synced: HEADER_BYTES as u64,
            length: HEADER_BYTES as u64,
            chain: u64_at(&header, HEADER_BYTES - 8).unwrap_or_default(),
            last_sequence: first_sequence - 1,
        })
    }

    /// What the manifest says of it while it may grow.
    pub(crate) fn record(&self) -> LogRecord {
        self.record.clone()
    }

    /// Whether it holds no record.
    pub(crate) fn is_empty(&self) -> bool {
        self.position == HEADER_BYTES as u64
    }

    /// Bytes of the log that count.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Writes the records, without syncing them. After an error the log must not be used again.
    pub(crate) fn append(&mut self, mut records: Vec<Record>) -> Result<(), Error> {
        for record in &mut records {
            self.chain = chain(self.chain, record.seal(self.record.seed, self.synced));
            self.last_sequence = record.sequence;
        }
        let mut records = records.into_iter().peekable();
        while let Some(record) = records.next() {
            let mut bytes = record.bytes;
            while let Some(next) = records.next_if(|r| bytes.len() + r.bytes.len() <= GATHER) {
                bytes.extend_from_slice(&next.bytes);
            }
            let end = self.position + bytes.len() as u64;
            if end > self.length && bytes.len() <= SMALL {
                bytes.resize(AHEAD, 0);
            }
            self.file
                .write_at(self.position, &bytes)
                .map_err(Error::io("write", &self.name))?;
            self.length = self.length.max(self.position + bytes.len() as u64);
            self.position = end;
        }
        Ok(())
    }

    /// Cuts off the zeros at the end and syncs the file: nothing more will be written. After an error
    /// the log must not be used again.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        if self.length > self.position {
            self.file
                .set_len(self.position)
                .map_err(Error::io("shorten", &self.name))?;
            self.length = self.position;
            // The new length is not on disk; the records may be.
            self.synced = self.synced.min(self.position - 1);
        }
        self.sync()
    }

    /// Returns when everything that was written is on disk for certain. After an error the log must
    /// not be used again.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        if self.synced < self.position {
            self.file.sync().map_err(Error::io("sync", &self.name))?;
            self.synced = self.position;
        }
        Ok(())
    }

    /// What the log holds, for the manifest, once nothing more is written.
    pub(crate) fn seal(&self) -> Seal {
        Seal {
            length: self.position,
            chain: self.chain,
            last_sequence: self.last_sequence,
        }
    }
}
