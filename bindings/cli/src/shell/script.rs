//! Lines that nobody types while they run: of `-c`, or of standard input.

use super::{LONGEST, Next, Shell};
use crate::error::{DONE, Failure};
use crate::grammar::Shell as Arguments;
use crate::interrupt;
use std::io::{self, BufRead, Read, stdin};

/// Runs all lines, up to the first that fails.
///
/// # Errors
/// A silent one, with the exit code of the first line that failed.
pub(super) fn run(shell: &mut Shell<'_>, arguments: &Arguments) -> Result<(), Failure> {
    let mut first = DONE;
    let mut each = |line: &str| match shell.run(line) {
        Ok(next) => next,
        Err(failure) => {
            if first == DONE {
                first = failure.code();
            }
            match arguments.keep_going && !interrupt::asked() {
                true => Next::Line,
                false => Next::End,
            }
        }
    };
    if arguments.lines.is_empty() {
        let read_failed = |e| Failure::new(format!("cannot read standard input: {e}"));
        loop {
            // Locked for one line only: a verb may read what follows its own.
            let line = next_line(&mut stdin().lock()).map_err(read_failed)?;
            if line.is_none_or(|line| each(&line) == Next::End) {
                break;
            }
        }
    } else {
        let mut lines = arguments.lines.iter().flat_map(|lines| lines.lines());
        while lines.next().is_some_and(|line| each(line) == Next::Line) {}
    }
    match first {
        DONE => Ok(()),
        code => Err(Failure::silent(code)),
    }
}

/// The next line, without its end. Of one that is too long, as much as shows it. Bytes that are no text
/// become U+FFFD, which no line may hold.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let enough = LONGEST as u64 + 1;
    input.by_ref().take(enough).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    } else if bytes.len() as u64 == enough {
        input.skip_until(b'\n')?;
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_they_should() {
        let long = "x".repeat(3 * LONGEST);
        let text = format!("stats\r\n\n{long}\nget c 1");
        let mut input = text.as_bytes();
        let lines: Vec<String> = std::iter::from_fn(|| next_line(&mut input).unwrap()).collect();
        assert_eq!(
            (&*lines[0], &*lines[1], &*lines[3]),
            ("stats", "", "get c 1")
        );
        assert_eq!((lines[2].len(), lines.len()), (LONGEST + 1, 4));
        let mut input = &b"a\xffb\n"[..];
        assert_eq!(
            next_line(&mut input).unwrap().as_deref(),
            Some("a\u{fffd}b")
        );
    }
}
