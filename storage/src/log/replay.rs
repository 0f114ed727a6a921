//! Reading a log back.

use super::record::{self, Operation};
use super::writer::{MARKER, RECORD_ALIGNMENT, RECORD_HEADER_BYTES};
use super::{HEADER_BYTES, chain, check_header, file_name, header};
use crate::bytes::{Fields, checksum, u64_at, without_zeros};
use crate::disk::{Disk, open_listed, read_from};
use crate::error::Error;
use crate::manifest::{LogRecord, Seal};

/// Where to go on reading a log that may have grown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) number: u64,
    position: u64,
    chain: u64,
    last_sequence: u64,
}

impl Cursor {
    /// What the log holds up to here.
    pub(crate) fn seal(&self) -> Seal {
        Seal {
            length: self.position,
            chain: self.chain,
            last_sequence: self.last_sequence,
        }
    }

    /// Whether no record was found.
    pub(crate) fn is_at_start(&self) -> bool {
        self.position == HEADER_BYTES as u64
    }
}

/// How a log ended.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Behind the last whole record.
    pub(crate) cursor: Cursor,
    /// Bytes of the file behind it that make up no whole record, up to the last that is not zero.
    pub(crate) torn_bytes: u64,
}

struct Header {
    body_bytes: usize,
    sequence: u64,
    /// The log was synced up to here when the record was written.
    synced: u64,
    body_sum: u64,
    sum: u64,
}

impl Header {
    /// Reads a record's header; `None` if the bytes are none of the log with this seed.
    fn decode(bytes: &[u8], seed: u64) -> Option<Header> {
        let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
        let mut fields = Fields::new(bytes);
        if fields.bytes(8)? != MARKER {
            return None;
        }
        let body_bytes = fields.length()?;
        let sequence = fields.u64()?;
        let synced = fields.u64()?;
        let _reserved = fields.u64()?;
        let body_sum = fields.u64()?;
        let sum = fields.u64()?;
        let covered = bytes.get(..RECORD_HEADER_BYTES - 8)?;
        (sum == checksum(covered, seed)).then_some(Header {
            body_bytes,
            sequence,
            synced,
            body_sum,
            sum,
        })
    }
}

/// Reads the log that `log` describes, from its start or from where an earlier call ended, and hands
/// each batch with its sequence to `apply`.
///
/// A sealed log must hold exactly what its seal says. One without a seal is read to its last whole
/// record.
///
/// # Errors
/// [`Error::Corrupt`] for a record that was whole once, and whatever `apply` returns.
pub(crate) fn replay(
    disk: &dyn Disk,
    log: &LogRecord,
    from: Option<Cursor>,
    mut apply: impl FnMut(u64, Vec<Operation>) -> Result<(), Error>,
) -> Result<Tail, Error> {
    let name = file_name(log.number);
    let file = open_listed(disk, &name)?;
    let base = from.as_ref().map_or(0, |cursor| cursor.position);
    let mut bytes = read_from(&*file, base).map_err(Error::io("read", &name))?;
    if let Some(seal) = log.seal {
        let whole = base + bytes.len() as u64;
        if seal.length > whole {
            let what = format!("it has {whole} bytes, and its seal says {}", seal.length);
            return Err(Error::corrupt(&name, whole, what));
        }
        bytes.truncate(seal.length.saturating_sub(base) as usize);
    }
    let mut cursor = match from {
        Some(cursor) => cursor,
        None => Cursor {
            number: log.number,
            position: HEADER_BYTES as u64,
            chain: check_header(&name, &bytes, log)?,
            last_sequence: log.first_sequence.saturating_sub(1),
        },
    };
    let mut rest = bytes
        .get((cursor.position - base) as usize..)
        .unwrap_or_default();
    while !rest.is_empty() {
        let Some((header, body)) = whole_record(rest, log.seed) else {
            if log.seal.is_some() || was_synced(rest, log.seed, cursor.position) {
                let what = "a record that was whole when it was written is damaged";
                return Err(Error::corrupt(&name, cursor.position, what));
            }
            break;
        };
        let damaged = |what: String| Error::corrupt(&name, cursor.position, what);
        if header.sequence != cursor.last_sequence + 1 {
            let (found, expected) = (header.sequence, cursor.last_sequence + 1);
            return Err(damaged(format!(
                "commit {found} stands where {expected} must be"
            )));
        }
        let operations = record::decode(body, header.sequence)
            .ok_or_else(|| damaged("a record has a right checksum and no meaning".to_owned()))?;
        apply(header.sequence, operations)?;
        let length = RECORD_HEADER_BYTES + body.len().next_multiple_of(RECORD_ALIGNMENT);
        cursor.position += length as u64;
        cursor.chain = chain(cursor.chain, header.sum);
        cursor.last_sequence = header.sequence;
        rest = rest.get(length..).unwrap_or_default();
    }
    if let Some(seal) = log.seal
        && seal != cursor.seal()
    {
        let what = "its records are not those that were sealed";
        return Err(Error::corrupt(&name, cursor.position, what));
    }
    Ok(Tail {
        cursor,
        torn_bytes: without_zeros(rest).len() as u64,
    })
}

/// What is found in a log that may be damaged anywhere.
#[derive(Debug)]
pub(crate) enum Found {
    /// A whole batch, with its sequence.
    Batch(u64, Vec<Operation>),
    /// Bytes, from the first offset to the second, that hold no whole record.
    Damage(u64, u64),
}

/// Goes through all whole records of log `number`, whatever is between them. What follows the last of
/// them is a write that was not finished, or lost without a trace; it is not told. `seed` is what the
/// manifest says; without it the header is believed.
pub(crate) fn salvage(
    disk: &dyn Disk,
    number: u64,
    seed: Option<u64>,
    mut see: impl FnMut(Found) -> Result<(), Error>,
) -> Result<(), Error> {
    let name = file_name(number);
    let file = disk.open(&name).map_err(Error::io("open", &name))?;
    let bytes = read_from(&*file, 0).map_err(Error::io("read", &name))?;
    let said = u64_at(&bytes, 32);
    let expected = u64_at(&bytes, 24).zip(said);
    let expected = expected.map(|(first, seed)| header(number, first, seed));
    let whole = expected.is_some() && bytes.get(..HEADER_BYTES) == expected.as_deref();
    if !whole {
        see(Found::Damage(0, HEADER_BYTES as u64))?;
    }
    let Some(seed) = seed.or(said) else {
        return Ok(());
    };
    let (mut at, mut whole_until) = (HEADER_BYTES, HEADER_BYTES);
    // A header that claims a long body costs a look at all of it; made-up ones could stand everywhere.
    let mut effort = 16 * bytes.len();
    while let Some(rest) = bytes
        .get(at..)
        .filter(|rest| !rest.is_empty() && effort > 0)
    {
        let claimed = Header::decode(rest, seed).map_or(0, |header| header.body_bytes);
        effort = effort.saturating_sub(claimed);
        let record = whole_record(rest, seed);
        let decoded = record.and_then(|(header, body)| {
            let operations = record::decode(body, header.sequence)?;
            Some((header, body.len(), operations))
        });
        let Some((header, length, operations)) = decoded else {
            at += RECORD_ALIGNMENT;
            continue;
        };
        if at > whole_until {
            see(Found::Damage(whole_until as u64, at as u64))?;
        }
        see(Found::Batch(header.sequence, operations))?;
        at += RECORD_HEADER_BYTES + length.next_multiple_of(RECORD_ALIGNMENT);
        whole_until = at;
    }
    Ok(())
}

/// Whether a whole record stands at some multiple of the alignment in `bytes`.
pub(crate) fn holds_records(bytes: &[u8], seed: u64) -> bool {
    (0..bytes.len())
        .step_by(RECORD_ALIGNMENT)
        .filter(|&at| bytes[at..].starts_with(MARKER))
        .any(|at| whole_record(&bytes[at..], seed).is_some())
}

/// The record at the start of `bytes` with its body, if all of it is there and passes.
fn whole_record(bytes: &[u8], seed: u64) -> Option<(Header, &[u8])> {
    let header = Header::decode(bytes, seed)?;
    let padded = header
        .body_bytes
        .checked_next_multiple_of(RECORD_ALIGNMENT)?;
    let body = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES.checked_add(padded)?)?;
    if checksum(body, seed) != header.body_sum {
        return None;
    }
    let body = body.get(..header.body_bytes)?;
    Some((header, body))
}

/// Whether a later record says that the one at `position`, which `bytes` start with, was synced.
///
/// Without a later record that says so, the bad one may be a write that a crash interrupted: the
/// disk may have kept a later part of it and not the earlier.
fn was_synced(bytes: &[u8], seed: u64, position: u64) -> bool {
    (RECORD_ALIGNMENT..bytes.len())
        .step_by(RECORD_ALIGNMENT)
        .filter(|&at| bytes[at..].starts_with(MARKER))
        .filter_map(|at| Header::decode(&bytes[at..], seed))
        .any(|header| header.synced > position)
}
