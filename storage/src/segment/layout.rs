//! The fixed parts of a segment file, byte by byte: header, table of contents, footer.
//! `docs/format.md` describes the same bytes.

use crate::bytes::{Fields, checksum};
use crate::error::Error;
use crate::manifest::SegmentRecord;

/// Version of the segment format that this build reads and writes.
pub(super) const VERSION: u32 = 1;
/// Bytes under one checksum.
pub(super) const BLOCK: usize = 16 << 10;
pub(super) const HEADER_BYTES: usize = 128;
pub(super) const ENTRY_BYTES: usize = 64;
pub(super) const FOOTER_BYTES: usize = 64;
/// The most sections that a segment may have.
pub(super) const MAX_SECTIONS: u32 = 1024;
/// A reader that does not know a section of this flag must refuse the segment.
pub(super) const MUST_UNDERSTAND: u32 = 1;
/// Bytes of a section's name, at most.
pub(super) const MOST_NAME_BYTES: usize = NAME_BYTES - 1;

const HEADER_MAGIC: &[u8; 8] = b"BitkSeg\n";
const FOOTER_MAGIC: &[u8; 8] = b"BitkEnd\n";
const NAME_BYTES: usize = 32;

/// Ids of the rows: u64, ascending.
pub(super) const IDS: SectionKind = SectionKind {
    name: "ids",
    version: 1,
    flags: MUST_UNDERSTAND,
};
/// Codes of the rows, ceil(bits / 8) bytes each, in the order of the ids.
pub(super) const CODES: SectionKind = SectionKind {
    name: "codes",
    version: 1,
    flags: MUST_UNDERSTAND,
};
/// Where the payload of each row starts in [`PAYLOAD_BYTES`], and one entry more: u64, with
/// [`NO_PAYLOAD`](crate::run::NO_PAYLOAD) set for a row that has none.
pub(super) const PAYLOAD_OFFSETS: SectionKind = SectionKind {
    name: "payload.offsets",
    version: 1,
    flags: MUST_UNDERSTAND,
};
/// The payloads, one after another.
pub(super) const PAYLOAD_BYTES: SectionKind = SectionKind {
    name: "payload.bytes",
    version: 1,
    flags: MUST_UNDERSTAND,
};

/// The collection's name and properties, so that a segment can be read without a manifest: the length
/// of the name as u32, the name, and the properties.
pub(super) const COLLECTION: SectionKind = SectionKind {
    name: "collection",
    version: 1,
    flags: 0,
};
/// The [filter](super::filter) of ids.
pub(super) const ID_FILTER: SectionKind = SectionKind {
    name: "ids.filter",
    version: 1,
    flags: 0,
};

/// What a section holds: its name, and the version of its own layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SectionKind {
    pub(super) name: &'static str,
    pub(super) version: u32,
    /// [`MUST_UNDERSTAND`], or 0 for a section without which the segment is still read right.
    pub(super) flags: u32,
}

/// The sections that this crate writes. All others are the layer above's.
pub(super) const KNOWN: [SectionKind; 6] = [
    IDS,
    CODES,
    PAYLOAD_OFFSETS,
    PAYLOAD_BYTES,
    COLLECTION,
    ID_FILTER,
];

/// The name of segment `number`, relative to the database directory.
pub(crate) fn file_name(number: u64) -> String {
    format!("{}/{number:016}.seg", super::DIRECTORY)
}

/// What the first 128 bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    pub(super) collection: u32,
    pub(super) bits: u32,
    pub(super) rows: u64,
    pub(super) first_sequence: u64,
    pub(super) last_sequence: u64,
    pub(super) smallest_id: u64,
    pub(super) largest_id: u64,
}

impl Header {
    /// The header of the segment that a manifest describes, of codes of `bits` bits.
    pub(super) fn of(record: &SegmentRecord, bits: u32) -> Header {
        Header {
            number: record.number,
            collection: record.collection,
            bits,
            rows: record.rows,
            first_sequence: record.first_sequence,
            last_sequence: record.last_sequence,
            smallest_id: record.smallest_id,
            largest_id: record.largest_id,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(HEADER_MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.collection.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.rows.to_le_bytes());
        bytes.extend_from_slice(&self.bits.to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        for field in [
            self.first_sequence,
            self.last_sequence,
            self.smallest_id,
            self.largest_id,
        ] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.resize(HEADER_BYTES - 8, 0);
        bytes.extend_from_slice(&checksum(&bytes, 0).to_le_bytes());
        bytes
    }

    pub(super) fn decode(file: &str, bytes: &[u8]) -> Result<Header, Error> {
        let damaged = |offset, what| Error::corrupt(file, offset, what);
        let short = || damaged(0, "the file ends within its header");
        let header = bytes.get(..HEADER_BYTES).ok_or_else(short)?;
        let mut fields = Fields::new(header);
        if fields.bytes(8) != Some(HEADER_MAGIC) {
            return Err(damaged(0, "it does not start as a segment does"));
        }
        let version = fields.u32().ok_or_else(short)?;
        if version != VERSION {
            return Err(unsupported(file, version));
        }
        let (covered, sum) = header.split_at(HEADER_BYTES - 8);
        if Fields::new(sum).u64() != Some(checksum(covered, 0)) {
            return Err(damaged(0, "the checksum of the header does not hold"));
        }
        let mut take = || -> Option<Header> {
            let collection = fields.u32()?;
            let number = fields.u64()?;
            let rows = fields.u64()?;
            let bits = fields.u32()?;
            let _reserved = fields.u32()?;
            Some(Header {
                number,
                collection,
                bits,
                rows,
                first_sequence: fields.u64()?,
                last_sequence: fields.u64()?,
                smallest_id: fields.u64()?,
                largest_id: fields.u64()?,
            })
        };
        take().ok_or_else(short)
    }
}

/// One entry of the table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) flags: u32,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Section {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENTRY_BYTES);
        bytes.extend_from_slice(self.name.as_bytes());
        bytes.resize(NAME_BYTES, 0);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.flags.to_le_bytes());
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.resize(ENTRY_BYTES, 0);
        bytes
    }

    pub(super) fn decode(entry: &[u8]) -> Option<Section> {
        let mut fields = Fields::new(entry);
        let name = fields.bytes(NAME_BYTES)?;
        let end = name.iter().position(|&b| b == 0).unwrap_or(NAME_BYTES);
        let name = std::str::from_utf8(name.get(..end)?).ok()?.to_owned();
        Some(Section {
            name,
            version: fields.u32()?,
            flags: fields.u32()?,
            offset: fields.u64()?,
            length: fields.u64()?,
        })
    }

    /// Bytes of the file that the section takes; `None` if they cannot be in any file.
    pub(super) fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.length)
    }
}

/// What the last 64 bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// Number of the segment, as in the header.
    pub(super) number: u64,
    pub(super) sections: u32,
    /// Where the table of contents starts.
    pub(super) contents: u64,
    /// Where the block checksums start; all bytes before are under them.
    pub(super) checksums: u64,
    /// Number of block checksums.
    pub(super) blocks: u64,
    /// Checksum of the table of contents.
    pub(super) contents_sum: u64,
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        bytes.extend_from_slice(FOOTER_MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.sections.to_le_bytes());
        for field in [
            self.contents,
            self.checksums,
            self.blocks,
            self.number,
            self.contents_sum,
        ] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&checksum(&bytes, self.number).to_le_bytes());
        bytes
    }

    /// Reads the end of a file of `length` bytes that must be segment `number`.
    pub(super) fn decode(
        file: &str,
        bytes: &[u8],
        length: u64,
        number: u64,
    ) -> Result<Footer, Error> {
        let at = length.saturating_sub(FOOTER_BYTES as u64);
        let damaged = |what| Error::corrupt(file, at, what);
        let mut fields = Fields::new(bytes);
        if fields.bytes(8) != Some(FOOTER_MAGIC) {
            return Err(damaged("it does not end as a segment does"));
        }
        let version = fields.u32().unwrap_or(0);
        if version != VERSION {
            return Err(unsupported(file, version));
        }
        let mut take = || -> Option<(Footer, u64)> {
            let sections = fields.u32()?;
            let (contents, checksums, blocks) = (fields.u64()?, fields.u64()?, fields.u64()?);
            let (number, contents_sum) = (fields.u64()?, fields.u64()?);
            let footer = Footer {
                number,
                sections,
                contents,
                checksums,
                blocks,
                contents_sum,
            };
            Some((footer, fields.u64()?))
        };
        let (footer, sum) = take().ok_or_else(|| damaged("the footer is too short"))?;
        let covered = bytes.get(..FOOTER_BYTES - 8).unwrap_or_default();
        if footer.number != number || sum != checksum(covered, number) {
            return Err(damaged("the checksum of the footer does not hold"));
        }
        Ok(footer)
    }
}

fn unsupported(file: &str, found: u32) -> Error {
    Error::UnsupportedVersion {
        file: file.to_owned(),
        found,
        supported: VERSION,
    }
}
