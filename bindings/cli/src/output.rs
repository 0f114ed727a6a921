//! Standard output for results, standard error for messages.

use crate::error::Failure;
use std::io::{self, BufWriter, Write};

/// Where results go. Errors of a reader that went away become [`Failure::closed_pipe`].
pub(crate) struct Output(BufWriter<Box<dyn Write + Send>>);

impl Output {
    /// The process's standard output.
    pub(crate) fn stdout() -> Output {
        Output(BufWriter::new(Box::new(io::stdout())))
    }

    /// Writes one line.
    ///
    /// # Errors
    /// When the reader has gone or the disk behind it is full.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        writeln!(self.0, "{}", text.as_ref()).map_err(write_failure)
    }

    /// Makes everything written so far visible.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(write_failure)
    }

    /// Writes rows with aligned columns; see [`table`].
    ///
    /// # Errors
    /// As [`Output::line`].
    pub(crate) fn table(&mut self, head: &[Column], rows: &[Vec<String>]) -> Result<(), Failure> {
        table(head, rows)
            .iter()
            .try_for_each(|line| self.line(line))
    }
}

fn write_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::closed_pipe()
    } else {
        Failure::new(format!("cannot write to standard output: {error}"))
    }
}

/// A message to the user, on standard error. If that is closed there is nobody to tell.
pub(crate) fn say(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A text from outside, such as a file's name, fit for a line of a terminal: control characters
/// could move the cursor, or begin a line of their own.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// A word as one would type it at a shell.
pub(crate) fn typed(word: &std::ffi::OsStr) -> String {
    let word = word.to_string_lossy();
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+~".contains(c);
    // A tilde at the beginning would be the home.
    if !word.is_empty() && !word.starts_with('~') && word.chars().all(harmless) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// A column of a table.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// Names and texts, flush left.
    Text(&'static str),
    /// Numbers, flush right.
    Number(&'static str),
}

/// Lines with aligned columns, two spaces apart, under a head and a rule.
pub(crate) fn table(head: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    let title = |column: &Column| match *column {
        Column::Text(title) | Column::Number(title) => title.to_owned(),
    };
    let titles: Vec<String> = head.iter().map(title).collect();
    let width = |i: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(i))
            .chain(titles.get(i));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cell = |((cell, &width), column): ((&String, &usize), &Column)| match column {
            Column::Text(_) => format!("{cell:<width$}"),
            Column::Number(_) => format!("{cell:>width$}"),
        };
        let cells: Vec<String> = cells.iter().zip(&widths).zip(head).map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let rule: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
    let mut lines = vec![line(&titles), rule.join("  ")];
    lines.extend(rows.iter().map(|row| line(row)));
    lines
}

/// A whole number with commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes for people: three digits and a decimal unit.
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ if value < 9.995 => format!("{value:.2} {}", units[unit]),
        _ if value < 99.95 => format!("{value:.1} {}", units[unit]),
        _ => format!("{value:.0} {}", units[unit]),
    }
}

/// "1 picture", "2 pictures".
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        grouped(count),
        if count == 1 { "" } else { "s" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = vec![
            vec!["é".into(), "7".into()],
            vec!["long name".into(), "1,234".into()],
        ];
        let lines = table(&[Column::Text("name"), Column::Number("rows")], &rows);
        assert_eq!(
            lines,
            [
                "name        rows",
                "─────────  ─────",
                "é              7",
                "long name  1,234"
            ]
        );
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"].map(str::to_owned)
        );
        assert_eq!(
            [999, 1000, 12_345, 999_950, 3_000_000_000].map(bytes),
            ["999 B", "1.00 kB", "12.3 kB", "1.00 MB", "3.00 GB"].map(str::to_owned)
        );
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(0, "row"), "0 rows");
    }

    #[test]
    fn words_can_be_typed_again() {
        let words = ["a-b/c.d", "", "two words", "it's"].map(|word| typed(word.as_ref()));
        assert_eq!(words, ["a-b/c.d", "''", "'two words'", "'it'\\''s'"]);
    }

    #[test]
    fn texts_from_outside_stay_on_their_line() {
        assert_eq!(plain("a\u{1b}[2Jb\nc é"), "a\u{fffd}[2Jb\u{fffd}c é");
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut out = Output(BufWriter::new(Box::new(Gone)));
        out.line("kept in the buffer").unwrap();
        let failure = out.flush().unwrap_err();
        assert_eq!(
            (failure.code(), failure.speaks()),
            (crate::error::DONE, false)
        );
    }
}
