//! Writing rows as JSON lines.

use std::borrow::Cow;
use std::io::{self, Write};

/// Writes rows as [`JsonlReader`](super::JsonlReader) reads them: ids, codes and payloads come back as
/// they were. (Line breaks between the parts of a payload become spaces, and a payload `null` none.)
#[derive(Debug)]
pub struct JsonlWriter<W> {
    out: W,
    /// The hexadecimal digits of a code.
    digits: Vec<u8>,
}

impl<W: Write> JsonlWriter<W> {
    /// Writes to `out`, in small pieces: it should have a buffer.
    pub fn new(out: W) -> Self {
        JsonlWriter {
            out,
            digits: Vec::new(),
        }
    }

    /// Writes a row: its payload is JSON.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&mut self, id: u64, code: &[u8], payload: Option<&str>) -> io::Result<()> {
        self.digits.clear();
        for byte in code {
            for digit in [byte >> 4, byte & 15] {
                self.digits.push(b"0123456789abcdef"[usize::from(digit)]);
            }
        }
        write!(self.out, "{{\"id\":{id},\"code\":\"")?;
        self.out.write_all(&self.digits)?;
        self.out.write_all(b"\"")?;
        if let Some(payload) = payload {
            self.out.write_all(b",\"payload\":")?;
            self.out.write_all(in_a_line(payload).as_bytes())?;
        }
        self.out.write_all(b"}\n")
    }

    /// Writes a payload alone, `null` if there is none: what [`PayloadsReader`](super::PayloadsReader)
    /// reads.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_payload(&mut self, payload: Option<&str>) -> io::Result<()> {
        let payload = in_a_line(payload.unwrap_or("null"));
        self.out.write_all(payload.as_bytes())?;
        self.out.write_all(b"\n")
    }

    /// Gives `out` back, flushed.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// JSON without line breaks. In texts they are escaped already; between the parts they mean nothing.
fn in_a_line(json: &str) -> Cow<'_, str> {
    match json.contains(['\n', '\r']) {
        true => Cow::Owned(json.replace(['\n', '\r'], " ")),
        false => Cow::Borrowed(json),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{JsonlReader, PayloadsReader};
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    #[test]
    fn a_line_break_in_a_text_is_no_json() {
        // What `in_a_line` relies on: a payload with one cannot have been inserted.
        assert!(crate::check_payloads(&[Some("\"a\nb\"")]).is_err());
        assert!(crate::check_payloads(&[Some("\"a\rb\"")]).is_err());
        assert!(crate::check_payloads(&[Some("[1,\n2]"), None]).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            rows in prop::collection::vec(
                (0..u64::MAX, any::<[u8; 3]>(), prop::option::of("[ -~é\u{7f}\u{2028}]{0,20}")),
                0..20,
            ),
            pretty: bool,
        ) {
            let json = |text: &String| {
                let value = serde_json::json!({"a": [text, 1], "b": text});
                match pretty {
                    true => serde_json::to_string_pretty(&value).unwrap(),
                    false => value.to_string(),
                }
            };
            let payloads: Vec<Option<String>> =
                rows.iter().map(|(_, _, text)| text.as_ref().map(json)).collect();
            let (mut lines, mut alone) = (JsonlWriter::new(Vec::new()), JsonlWriter::new(Vec::new()));
            for ((id, code, _), payload) in rows.iter().zip(&payloads) {
                lines.write(*id, code, payload.as_deref()).unwrap();
                alone.write_payload(payload.as_deref()).unwrap();
            }
            let expected: Vec<Option<String>> = payloads
                .into_iter()
                .map(|payload| payload.map(|payload| payload.replace('\n', " ")))
                .collect();
            let file = Cursor::new(lines.finish().unwrap());
            let read = JsonlReader::new("f", file, 24).read(100).unwrap();
            prop_assert_eq!(
                read.ids.unwrap_or_default(),
                rows.iter().map(|row| row.0).collect::<Vec<_>>()
            );
            prop_assert_eq!(read.codes, rows.iter().flat_map(|row| row.1).collect::<Vec<_>>());
            prop_assert_eq!(&read.payloads, &expected);
            let file = Cursor::new(alone.finish().unwrap());
            prop_assert_eq!(PayloadsReader::new("f", file).read(100).unwrap(), expected);
        }
    }
}
