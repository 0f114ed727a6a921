//! The lines of a file.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{JsonlError, JsonlReason};

/// The longest line, in bytes: so long that no row with a payload of any use is refused, and a file that has no
/// lines ends before it has filled the memory.
pub(super) const MAX_LINE: usize = 1 << 30;

pub(super) fn open(path: &Path) -> Result<File, JsonlError> {
    File::open(path).map_err(|error| JsonlError {
        path: path.to_owned(),
        line: 0,
        reason: JsonlReason::Io(error),
    })
}

/// The lines of a file that are not empty.
pub(super) struct Lines {
    pub(super) path: PathBuf,
    file: Box<dyn BufRead + Send>,
    /// Number of the line that was read last.
    pub(super) line: u64,
    /// That line.
    pub(super) text: Vec<u8>,
    /// The longest that one may be.
    most: usize,
}

impl Lines {
    pub(super) fn new(path: PathBuf, file: impl Read + Send + 'static) -> Self {
        Lines {
            path,
            file: Box::new(BufReader::with_capacity(1 << 16, file)),
            line: 0,
            text: Vec::new(),
            most: MAX_LINE,
        }
    }

    pub(super) fn error(&self, reason: JsonlReason) -> JsonlError {
        JsonlError {
            path: self.path.clone(),
            line: self.line,
            reason,
        }
    }

    /// Reads the next line that is not empty; false at the end.
    pub(super) fn next(&mut self) -> Result<bool, JsonlError> {
        loop {
            self.text.clear();
            self.line += 1;
            let mut limited = (&mut self.file).take(self.most as u64 + 1);
            let read = limited.read_until(b'\n', &mut self.text);
            if let Err(error) = read {
                return Err(self.error(JsonlReason::Io(error)));
            }
            if self.text.is_empty() {
                self.line -= 1;
                return Ok(false);
            }
            if self.text.len() > self.most {
                return Err(self.error(JsonlReason::TooLong));
            }
            if !self.text.iter().all(u8::is_ascii_whitespace) {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_does_not_end_is_told() {
        let next = |text: &'static [u8]| {
            let mut lines = Lines::new("f".into(), text);
            lines.most = 4;
            let found = lines.next();
            found.map(|_| lines.text).map_err(|error| error.to_string())
        };
        assert_eq!(next(b"123\n5678"), Ok(b"123\n".to_vec()));
        assert_eq!(next(b"1234"), Ok(b"1234".to_vec()));
        for long in [&b"12345"[..], b"     ", b"1234\n"] {
            let error = next(long).unwrap_err();
            assert!(
                error.starts_with("f, line 1: it is longer than "),
                "{error}"
            );
        }
    }
}
