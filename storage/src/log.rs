//! The log: where every batch is written first.
//!
//! A log file is a header and records, one a batch. The checksums of a record have a seed that was
//! drawn by chance for this log, so that bytes of another log (a misdirected write, or a payload that
//! somebody made to look like a record) never pass. Each record also says up to which byte the log was synced when it was written. That tells a torn
//! tail from damage: a bad record that a later record names as synced was whole once.

mod record;
mod replay;
#[cfg(test)]
mod tests;
mod writer;

#[cfg(feature = "simulation")]
pub(crate) use record::decode;
pub(crate) use record::{MAX_PAYLOAD, Operation};
pub(crate) use replay::{Cursor, Found, holds_records, replay, salvage};
pub(crate) use writer::{LogWriter, Record};

use crate::bytes::{Fields, checksum};
use crate::error::Error;
use crate::manifest::LogRecord;

/// The name of the directory that holds the logs.
pub(crate) const DIRECTORY: &str = "log";
/// Version of the log format that this build reads and writes.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"BitkLog\n";
/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 64;

/// The name of log `number`, relative to the database directory.
pub(crate) fn file_name(number: u64) -> String {
    format!("{DIRECTORY}/{number:016}.log")
}

/// The name of the file that keeps what was cut off log `number`, if there were whole records in it.
pub(crate) fn cut_file_name(number: u64) -> String {
    format!("{DIRECTORY}/{number:016}.cut")
}

/// The header of a log; the chain of checksums starts with its last 8 bytes.
fn header(number: u64, first_sequence: u64, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&first_sequence.to_le_bytes());
    bytes.extend_from_slice(&seed.to_le_bytes());
    bytes.resize(HEADER_BYTES - 8, 0);
    bytes.extend_from_slice(&checksum(&bytes, number).to_le_bytes());
    bytes
}

/// Checks the header of a log and returns where the chain of checksums starts.
fn check_header(file: &str, bytes: &[u8], log: &LogRecord) -> Result<u64, Error> {
    let damaged = |what: &str| Error::corrupt(file, 0, what);
    let found = bytes
        .get(..HEADER_BYTES)
        .ok_or_else(|| damaged("the file ends within its header"))?;
    let mut fields = Fields::new(found);
    if fields.bytes(8) != Some(MAGIC) {
        return Err(damaged("it does not start as a log does"));
    }
    let version = fields.u32().unwrap_or(0);
    if version != VERSION {
        let file = file.to_owned();
        return Err(Error::UnsupportedVersion {
            file,
            found: version,
            supported: VERSION,
        });
    }
    if found != header(log.number, log.first_sequence, log.seed) {
        return Err(damaged(
            "its header is not the one that the manifest calls for",
        ));
    }
    let start = crate::bytes::u64_at(found, HEADER_BYTES - 8);
    start.ok_or_else(|| damaged("the file ends within its header"))
}

/// The chain of checksums after one more record.
fn chain(before: u64, record: u64) -> u64 {
    checksum(&record.to_le_bytes(), before)
}
