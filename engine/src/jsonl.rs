//! Rows as JSON lines: `{"id": 7, "code": "0f1e", "payload": {"year": 2020}}`.
//!
//! A line is an object with a `code` (its bytes in the order in which they are stored, two
//! hexadecimal digits each) and, optionally, an `id` and a `payload`, which may be any JSON and
//! is kept as it is written; `null` is none. Either all lines have ids or none has. Empty lines
//! are passed over. A file is read line by line, so that its size does not matter. [`PayloadsReader`]
//! reads lines that are payloads alone, and [`JsonlWriter`] writes either kind.

mod write;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use simd_json::{Node, StaticNode};

use crate::filter::{Parser, check};

pub use self::write::JsonlWriter;

/// The longest line, in bytes.
const MAX_LINE: usize = 16 << 20;

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
        Ok(JsonlReader::new(path, open(path)?, bits))
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
            let row = self.row().map_err(|reason| self.lines.error(reason))?;
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

    fn row(&mut self) -> Result<JsonlRow, JsonlReason> {
        let (text, bits) = (&self.lines.text, self.bits);
        self.parser.parse(text, |parsed| {
            let (tape, buffers) = parsed.map_err(|e| JsonlReason::NotJson(e.to_string()))?;
            let Some(Node::Object { len, .. }) = tape.first() else {
                return Err(JsonlReason::NotAnObject);
            };
            let mut values = top_level(text, buffers.structural_indexes());
            let (mut id, mut code, mut payload) = (None, None, None);
            let mut at = 1;
            for _ in 0..*len {
                let (key, value) = (tape.get(at), tape.get(at + 1));
                let (Some(Node::String(key)), Some(value)) = (key, value) else {
                    return Err(JsonlReason::NotAnObject);
                };
                let written = values.next().unwrap_or_default();
                let repeated = match *key {
                    "id" => id.replace(read_id(value)?).is_some().then_some("id"),
                    "code" => code
                        .replace(read_code(value, bits)?)
                        .is_some()
                        .then_some("code"),
                    "payload" => {
                        let written = match value {
                            Node::Static(StaticNode::Null) => None,
                            _ => text.get(written).map(|bytes| bytes.trim_ascii().to_vec()),
                        };
                        payload.replace(written).is_some().then_some("payload")
                    }
                    other => {
                        return Err(JsonlReason::UnknownKey(other.chars().take(60).collect()));
                    }
                };
                if let Some(key) = repeated {
                    return Err(JsonlReason::RepeatedKey(key));
                }
                at += 2 + match value {
                    Node::Object { count, .. } | Node::Array { count, .. } => *count,
                    Node::String(_) | Node::Static(_) => 0,
                };
            }
            let payload = payload.flatten().map(String::from_utf8).transpose();
            Ok(JsonlRow {
                id,
                code: code.ok_or(JsonlReason::NoCode)?,
                // The whole line is UTF-8: the parser has seen to that.
                payload: payload.map_err(|e| JsonlReason::NotJson(e.to_string()))?,
            })
        })
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
        Ok(PayloadsReader::new(path, open(path)?))
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

fn open(path: &Path) -> Result<File, JsonlError> {
    File::open(path).map_err(|error| JsonlError {
        path: path.to_owned(),
        line: 0,
        reason: JsonlReason::Io(error),
    })
}

/// The lines of a file that are not empty.
struct Lines {
    path: PathBuf,
    file: Box<dyn BufRead + Send>,
    /// Number of the line that was read last.
    line: u64,
    text: Vec<u8>,
}

impl Lines {
    fn new(path: PathBuf, file: impl Read + Send + 'static) -> Self {
        Lines {
            path,
            file: Box::new(BufReader::with_capacity(1 << 16, file)),
            line: 0,
            text: Vec::new(),
        }
    }

    fn error(&self, reason: JsonlReason) -> JsonlError {
        JsonlError {
            path: self.path.clone(),
            line: self.line,
            reason,
        }
    }

    /// Reads the next line that is not empty; false at the end.
    fn next(&mut self) -> Result<bool, JsonlError> {
        loop {
            self.text.clear();
            self.line += 1;
            let mut limited = (&mut self.file).take(MAX_LINE as u64 + 1);
            let read = limited.read_until(b'\n', &mut self.text);
            if let Err(error) = read {
                return Err(self.error(JsonlReason::Io(error)));
            }
            if self.text.is_empty() {
                self.line -= 1;
                return Ok(false);
            }
            if self.text.len() > MAX_LINE {
                return Err(self.error(JsonlReason::TooLong));
            }
            if !self.text.iter().all(u8::is_ascii_whitespace) {
                return Ok(true);
            }
        }
    }
}

struct JsonlRow {
    id: Option<u64>,
    code: Vec<u8>,
    payload: Option<String>,
}

/// Where the values of the outermost object are written, in order, with the space around them;
/// `structure` are the places of the characters that JSON is made of, none of which lies in a
/// text.
fn top_level<'a>(
    text: &'a [u8],
    structure: &'a [u32],
) -> impl Iterator<Item = Range<usize>> + use<'a> {
    let mut depth = 0_usize;
    let mut start = 0;
    structure.iter().filter_map(move |&at| {
        let at = at as usize;
        match text.get(at)? {
            b'{' | b'[' => depth += 1,
            b':' if depth == 1 => start = at + 1,
            b',' if depth == 1 => return Some(start..at),
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(start..at);
                }
            }
            _ => {}
        }
        None
    })
}

fn read_id(value: &Node<'_>) -> Result<u64, JsonlReason> {
    let id = match value {
        Node::Static(StaticNode::U64(id)) => Some(*id),
        Node::Static(StaticNode::I64(id)) => u64::try_from(*id).ok(),
        _ => None,
    };
    id.filter(|&id| id != crate::RESERVED_ID)
        .ok_or(JsonlReason::BadId)
}

fn read_code(value: &Node<'_>, bits: u32) -> Result<Vec<u8>, JsonlReason> {
    let Node::String(text) = value else {
        return Err(JsonlReason::NotHexadecimal);
    };
    let digit = |c: char| c.to_digit(16).map(|digit| digit as u8);
    let digits: Option<Vec<u8>> = text.chars().map(digit).collect();
    let digits = digits.ok_or(JsonlReason::NotHexadecimal)?;
    let (found, expected) = (digits.len(), 2 * bits.div_ceil(8) as usize);
    if found != expected {
        return Err(JsonlReason::Width {
            found,
            expected,
            bits,
        });
    }
    let pairs = digits.as_chunks::<2>().0.iter();
    let code: Vec<u8> = pairs.map(|[high, low]| high << 4 | low).collect();
    let used = bits % 8;
    if used != 0 && code.last().is_some_and(|last| last >> used != 0) {
        return Err(JsonlReason::PaddingBits(bits));
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: impl Into<Vec<u8>>) -> Result<JsonlRows, JsonlError> {
        JsonlReader::new("f.jsonl", std::io::Cursor::new(text.into()), 12).read(1000)
    }

    fn refuses(text: impl Into<Vec<u8>>, line: u64, words: &str) {
        let error = read(text).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.line, line, "{message}");
        assert!(message.contains(words), "{message}");
        assert!(
            message.starts_with(&format!("f.jsonl, line {line}: ")),
            "{message}"
        );
    }

    #[test]
    fn lines_are_rows() {
        let text = concat!(
            "{\"id\": 18446744073709551614, \"code\": \"Ff0f\", \"payload\": {\"a\": 1e0, \"b\": \"},\"}}\r\n",
            "\n  \n",
            "{\"payload\":null,\"code\":\"0000\",\"id\":0}\n",
            "{ \"payload\" : [ 1 , {\"x\":\"\\u00e9\"} ] , \"id\":3,\"code\":\"0102\"}",
        );
        let rows = read(text).unwrap();
        assert_eq!(rows.ids.as_deref(), Some(&[u64::MAX - 1, 0, 3][..]));
        assert_eq!(rows.codes, [0xff, 0x0f, 0, 0, 1, 2]);
        let payloads: Vec<Option<&str>> = rows.payloads.iter().map(Option::as_deref).collect();
        assert_eq!(
            payloads,
            [
                Some("{\"a\": 1e0, \"b\": \"},\"}"),
                None,
                Some("[ 1 , {\"x\":\"\\u00e9\"} ]")
            ]
        );
        let none = read("{\"code\": \"0102\"}\n").unwrap();
        assert_eq!((none.ids, none.payloads), (None, vec![None]));
        assert!(read("").unwrap().is_empty());
        assert!(read(" \n\n").unwrap().is_empty());
    }

    #[test]
    fn rows_come_in_pieces() {
        let text = "{\"id\": 1, \"code\": \"0000\"}\n".repeat(10);
        let mut reader = JsonlReader::new("f", std::io::Cursor::new(text.into_bytes()), 12);
        let sizes: Vec<usize> = (0..5).map(|_| reader.read(4).unwrap().len()).collect();
        assert_eq!((sizes, reader.line()), (vec![4, 4, 2, 0, 0], 10));
    }

    #[test]
    fn payloads_may_stand_alone() {
        let read = |text: &'static [u8], rows| {
            PayloadsReader::new("p.jsonl", std::io::Cursor::new(text)).read(rows)
        };
        let text = b" {\"a\": 1} \n\nnull\n\"x\"";
        let found = read(text, 10).unwrap();
        let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
        assert_eq!(found, [Some("{\"a\": 1}"), None, Some("\"x\"")]);
        assert_eq!(read(text, 2).unwrap().len(), 2);
        for bad in [&b"1\n{"[..], b"1\n1 2", b"1\n\"\xff\""] {
            let error = read(bad, 10).unwrap_err().to_string();
            assert!(
                error.starts_with("p.jsonl, line 2: it is not JSON"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_row_is_told_with_its_line() {
        let good = "{\"id\": 1, \"code\": \"0000\"}\n";
        let after = |line: &str| format!("{good}\n{line}\n{good}");
        refuses(after("{\"id\": 1"), 3, "not JSON");
        refuses(after("7"), 3, "no object");
        refuses(
            after("{\"id\": 1, \"code\": \"0000\", \"paylod\": 1}"),
            3,
            "\"paylod\"",
        );
        refuses(
            after("{\"id\": 1, \"id\": 1, \"code\": \"0000\"}"),
            3,
            "\"id\" twice",
        );
        for id in [
            "-1",
            "1.0",
            "18446744073709551615",
            "18446744073709551616",
            "\"1\"",
            "null",
        ] {
            refuses(
                after(&format!("{{\"id\": {id}, \"code\": \"0000\"}}")),
                3,
                "its id",
            );
        }
        refuses(after("{\"id\": 2}"), 3, "no code");
        refuses(after("{\"id\": 2, \"code\": \"00g0\"}"), 3, "hexadecimal");
        refuses(after("{\"id\": 2, \"code\": 7}"), 3, "hexadecimal");
        refuses(
            after("{\"id\": 2, \"code\": \"000000\"}"),
            3,
            "6 hexadecimal digits",
        );
        refuses(
            after("{\"id\": 2, \"code\": \"0010\"}"),
            3,
            "beyond its width of 12",
        );
        refuses(after("{\"code\": \"0000\"}"), 3, "all lines ids, or none");
        refuses(
            "{\"code\": \"0000\"}\n{\"id\": 1, \"code\": \"0000\"}",
            2,
            "an id",
        );
        refuses(
            b"{\"code\": \"0000\", \"payload\": \"\xff\"}".to_vec(),
            1,
            "not JSON",
        );
        refuses("[".repeat(100_000), 1, "not JSON");
        let endless = std::io::repeat(b' ').take(MAX_LINE as u64 + 2);
        let error = JsonlReader::new("f", endless, 12).read(1).unwrap_err();
        assert!(matches!(error.reason, JsonlReason::TooLong), "{error}");
        let missing = JsonlReader::open("/nonexistent/x.jsonl", 12).unwrap_err();
        let message = missing.to_string();
        assert!(message.starts_with("/nonexistent/x.jsonl: "), "{message}");
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<i64>().prop_map(|n| n.to_string()),
            any::<f32>()
                .prop_filter("finite", |n| n.is_finite())
                .prop_map(|n| format!("{n:e}")),
            "[a-z{}:,\\[\\]\"\\\\é ]{0,8}".prop_map(|s| serde_json::to_string(&s).unwrap()),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|v| format!("[ {} ]", v.join(", "))),
                prop::collection::vec(("[a-c:\"]{0,2}", inner), 0..4).prop_map(|v| {
                    let pair = |(k, v): &(String, String)| {
                        format!("{} : {v}", serde_json::to_string(k).unwrap())
                    };
                    format!("{{{}}}", v.iter().map(pair).collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        /// Payloads come out letter by letter, wherever they stand in their line.
        #[test]
        fn payloads_are_kept_as_they_are_written(payload in json(), first: bool) {
            let line = match first {
                true => format!("{{\"payload\":{payload},\"code\":\"0000\"}}"),
                false => format!("{{\"code\":\"0000\" , \"payload\": {payload} }}"),
            };
            let rows = read(line).unwrap();
            let expected = (payload != "null").then_some(payload);
            prop_assert_eq!(&rows.payloads[0], &expected);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(bytes);
        }

        #[test]
        fn no_mutation_panics(at in 0usize..60, byte: u8) {
            let mut line = b"{\"id\": 12, \"payload\": {\"a\": [1, \"x\"]}, \"code\": \"0000\"}\n".to_vec();
            let at = at % line.len();
            line[at] = byte;
            let _ = read(line);
        }
    }
}
