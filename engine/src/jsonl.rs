//! Rows as JSON lines: `{"id": 7, "code": "0f1e", "payload": {"year": 2020}}`.
//!
//! A line is an object with a `code` (its bytes in the order in which they are stored, two
//! hexadecimal digits each) and, optionally, an `id` and a `payload`, which may be any JSON and
//! is kept as it is written; `null` is none. Either all lines have ids or none has. Empty lines
//! are passed over. A file is read line by line, so that its size does not matter. [`PayloadsReader`]
//! reads lines that are payloads alone, and [`JsonlWriter`] writes either kind.

mod lines;
mod row;
mod write;

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::filter::{Parser, check};

use self::lines::{Lines, MAX_LINE};
pub use self::write::JsonlWriter;

/// Bytes of codes and payloads that one `read` returns, about, whatever the rows asked for.
const MAX_CHUNK: usize = 16 << 20;

/// Why a file of JSON lines cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {reason}", path.display(), match line {
    0 => String::new(),
    line => format!(", line {line}"),
})]
pub struct JsonlError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 0 if the file could not even be opened.
    pub line: u64,
    /// What is wrong with it.
    pub reason: JsonlReason,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonlReason {
    /// The system could not read it.
    #[error(transparent)]
    Io(std::io::Error),
    /// It is too long.
    #[error("it is longer than {} MiB", MAX_LINE >> 20)]
    TooLong,
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// It is JSON, but no object.
    #[error("it is no object: a row is {{\"id\": 7, \"code\": \"0f1e\", \"payload\": {{...}}}}")]
    NotAnObject,
    /// It has a key that a row does not have.
    #[error("it has the key {0:?}; a row has id, code and payload")]
    UnknownKey(String),
    /// It has a key twice.
    #[error("it has {0:?} twice")]
    RepeatedKey(&'static str),
    /// Its id cannot be one.
    #[error("its id is no whole number from 0 to 18446744073709551614")]
    BadId,
    /// It has no code.
    #[error("it has no code")]
    NoCode,
    /// Its code is no text of hexadecimal digits.
    #[error("its code is no text of hexadecimal digits")]
    NotHexadecimal,
    /// Its code has another width than the collection's.
    #[error("its code has {found} hexadecimal digits; codes of {bits} bits have {expected}")]
    Width {
        /// Digits there.
        found: usize,
        /// Digits that a code has.
        expected: usize,
        /// Code width in bits.
        bits: u32,
    },
    /// Bits beyond the code width are set.
    #[error("its code sets bits beyond its width of {0} bits")]
    PaddingBits(u32),
    /// Some lines have ids and some have none.
    #[error(
        "it has {} id, the lines before it have {}: give all lines ids, or none",
        if *.has_id { "an" } else { "no" },
        if *.has_id { "none" } else { "one each" }
    )]
    MixedIds {
        /// Whether this line has one.
        has_id: bool,
    },
}

/// Some rows of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonlRows {
    /// One a row, if the file has ids.
    pub ids: Option<Vec<u64>>,
    /// Row-major.
    pub codes: Vec<u8>,
    /// JSON, one a row; `None` where a row has none.
    pub payloads: Vec<Option<String>>,
}

impl JsonlRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.payloads.len()
    }

    /// Whether there are none: the file has ended.
    pub fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }
}

/// Rows from a file of JSON lines.
pub struct JsonlReader {
    lines: Lines,
    bits: u32,
    /// Whether the rows so far had ids.
    ids: Option<bool>,
    parser: Parser,
}

impl JsonlReader {
    /// Opens a file of rows with codes of `bits` bits.
    ///
    /// # Errors
    /// [`JsonlReason::Io`].
    pub fn open(path: impl AsRef<Path>, bits: u32) -> Result<Self, JsonlError> {
        let path = path.as_ref();
        Ok(JsonlReader::new(path, lines::open(path)?, bits))
    }

    /// Reads from `file`, which messages call `path`.
    pub fn new(path: impl Into<PathBuf>, file: impl Read + Send + 'static, bits: u32) -> Self {
        JsonlReader {
            lines: Lines::new(path.into(), file),
            bits,
            ids: None,
            parser: Parser::new(),
        }
    }

    /// The next rows, at most `rows` (at least 1) of them; none at the end.
    ///
    /// # Errors
    /// [`JsonlError`] for the first line that cannot be used; the rows before it are lost.
    pub fn read(&mut self, rows: usize) -> Result<JsonlRows, JsonlError> {
        let mut found = JsonlRows::default();
        let mut bytes = 0;
        while found.len() < rows.max(1) && bytes < MAX_CHUNK && self.lines.next()? {
            let row = row::parse(&mut self.parser, &self.lines.text, self.bits)
                .map_err(|reason| self.lines.error(reason))?;
            match (self.ids, row.id) {
                (Some(false), Some(_)) => {
                    return Err(self.lines.error(JsonlReason::MixedIds { has_id: true }));
                }
                (Some(true), None) => {
                    return Err(self.lines.error(JsonlReason::MixedIds { has_id: false }));
                }
                (_, id) => self.ids = Some(id.is_some()),
            }
            if let Some(id) = row.id {
                found.ids.get_or_insert_default().push(id);
            }
            bytes += row.code.len() + row.payload.as_ref().map_or(0, String::len);
            found.codes.extend_from_slice(&row.code);
            found.payloads.push(row.payload);
        }
        Ok(found)
    }

    /// Number of the line that was read last, from 1.
    pub fn line(&self) -> u64 {
        self.lines.line
    }
}

impl std::fmt::Debug for JsonlReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonlReader")
            .field("path", &self.lines.path)
            .field("line", &self.lines.line)
            .finish_non_exhaustive()
    }
}

/// Payloads from a file with one a line, `null` for none: such as goes with codes in a `.npy` file.
pub struct PayloadsReader {
    lines: Lines,
    parser: Parser,
}

impl PayloadsReader {
    /// Opens a file.
    ///
    /// # Errors
    /// [`JsonlReason::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JsonlError> {
        let path = path.as_ref();
        Ok(PayloadsReader::new(path, lines::open(path)?))
    }

    /// Reads from `file`, which messages call `path`.
    pub fn new(path: impl Into<PathBuf>, file: impl Read + Send + 'static) -> Self {
        PayloadsReader {
            lines: Lines::new(path.into(), file),
            parser: Parser::new(),
        }
    }

    /// The next payloads, `rows` (at least 1) of them unless the file ends before; none at the end.
    ///
    /// # Errors
    /// [`JsonlError`] for the first line that is no JSON; the payloads before it are lost.
    pub fn read(&mut self, rows: usize) -> Result<Vec<Option<String>>, JsonlError> {
        let mut found = Vec::new();
        while found.len() < rows.max(1) && self.lines.next()? {
            let text = self.lines.text.trim_ascii();
            check(&mut self.parser, text)
                .map_err(|reason| self.lines.error(JsonlReason::NotJson(reason)))?;
            let text = match text {
                b"null" => None,
                // The parser has seen to that it is UTF-8.
                text => Some(String::from_utf8_lossy(text).into_owned()),
            };
            found.push(text);
        }
        Ok(found)
    }
}

impl std::fmt::Debug for PayloadsReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadsReader")
            .field("path", &self.lines.path)
            .field("line", &self.lines.line)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
