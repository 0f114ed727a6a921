//! The fixed parts of a filter section, byte by byte. `docs/format.md` describes the same bytes.

use std::ops::Range;

use super::ReadError;
use crate::bytes::{u32_at, u64_at};
use crate::collection::FieldKind;

/// Name of the section in a segment.
pub(crate) const NAME: &str = "filter";
/// Version of its layout.
pub(crate) const VERSION: u32 = 1;

pub(super) const HEADER_BYTES: u64 = 16;
pub(super) const ENTRY_BYTES: u64 = 128;

/// Rows under one container of a roaring bitmap.
pub(super) const CONTAINER_ROWS: u32 = 1 << 16;

/// The longest text, in bytes, that is a key of an index; rows with longer ones are among the
/// others.
pub(super) const MAX_KEY: usize = 1024;

/// How the rows of values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For each value a bitmap: few values with many rows each.
    Bitmaps,
    /// All rows, by value and then by number: many values.
    Lists,
}

impl Form {
    /// Bytes of an entry of `starts`.
    pub(super) fn start_bytes(self) -> u64 {
        match self {
            Form::Bitmaps => 8,
            Form::Lists => 4,
        }
    }
}

/// What a group starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fields: u32,
    /// Number of rows; the first one follows the last of the group before.
    pub(super) rows: u32,
    /// Bytes of the group, these included.
    pub(super) length: u64,
}

impl Header {
    /// Bytes of a group of so many fields at least.
    pub(super) fn least_length(&self) -> u64 {
        HEADER_BYTES + u64::from(self.fields) * ENTRY_BYTES
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
        bytes.extend_from_slice(&self.fields.to_le_bytes());
        bytes.extend_from_slice(&self.rows.to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
        Some(Header {
            fields: u32_at(bytes, 0)?,
            rows: u32_at(bytes, 4)?,
            length: u64_at(bytes, 8)?,
        })
    }
}

/// Bytes of a group; read, they are bytes of the section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// What the directory says of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: FieldKind,
    pub(super) form: Form,
    /// Number of different values.
    pub(super) distinct: u64,
    /// The path, as text.
    pub(super) name: Span,
    /// Rows where the field is null or absent.
    pub(super) nulls: Span,
    /// Rows whose value is not in here: of another type, or too long.
    pub(super) others: Span,
    /// Where the rows of each value start in `rows`.
    pub(super) starts: Span,
    /// The values, ascending; of a text where it ends, for all but texts the value itself.
    pub(super) keys: Span,
    /// The texts, one after another.
    pub(super) texts: Span,
    pub(super) rows: Span,
}

impl Entry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            FieldKind::Int => 1_u8,
            FieldKind::Float => 2,
            FieldKind::Text => 3,
            FieldKind::Bool => 4,
        };
        let form = match self.form {
            Form::Bitmaps => 0,
            Form::Lists => 1,
        };
        let mut bytes = vec![kind, form, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&self.distinct.to_le_bytes());
        for span in self.spans() {
            bytes.extend_from_slice(&span.offset.to_le_bytes());
            bytes.extend_from_slice(&span.length.to_le_bytes());
        }
        bytes.resize(ENTRY_BYTES as usize, 0);
        bytes
    }

    /// Reads an entry of the group in `group` of the section and checks that everything it names
    /// lies in there, with room for `distinct` values.
    pub(super) fn decode(bytes: &[u8], group: &Range<u64>) -> Result<Entry, ReadError> {
        let (&[kind, form, ..], Some(distinct)) = (bytes, u64_at(bytes, 8)) else {
            return Err(ReadError::Malformed("an entry is cut short"));
        };
        let mut spans = [Span::default(); 7];
        for (span, at) in spans.iter_mut().zip((16..).step_by(16)) {
            let (Some(offset), Some(bytes)) = (u64_at(bytes, at), u64_at(bytes, at + 8)) else {
                return Err(ReadError::Malformed("an entry is cut short"));
            };
            let length = group.end - group.start;
            if offset.checked_add(bytes).is_none_or(|end| end > length) {
                return Err(ReadError::Malformed("an entry points outside of its group"));
            }
            *span = Span {
                offset: group.start + offset,
                length: bytes,
            };
        }
        let [name, nulls, others, starts, keys, texts, rows] = spans;
        let entry = Entry {
            kind: match kind {
                1 => FieldKind::Int,
                2 => FieldKind::Float,
                3 => FieldKind::Text,
                4 => FieldKind::Bool,
                _ => return Err(ReadError::Malformed("an entry is of an unknown kind")),
            },
            form: match form {
                0 => Form::Bitmaps,
                1 => Form::Lists,
                _ => return Err(ReadError::Malformed("an entry is of an unknown form")),
            },
            distinct,
            name,
            nulls,
            others,
            starts,
            keys,
            texts,
            rows,
        };
        let starts = distinct
            .checked_add(1)
            .and_then(|count| count.checked_mul(entry.form.start_bytes()));
        if distinct.checked_mul(8) != Some(keys.length) || starts != Some(entry.starts.length) {
            return Err(ReadError::Malformed(
                "an entry has not as many values as it says",
            ));
        }
        Ok(entry)
    }

    fn spans(&self) -> [Span; 7] {
        [
            self.name,
            self.nulls,
            self.others,
            self.starts,
            self.keys,
            self.texts,
            self.rows,
        ]
    }
}
