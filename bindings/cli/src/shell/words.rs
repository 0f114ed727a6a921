//! From a line to its words, as a POSIX shell splits it, with the places where they stand.
//!
//! Completion and highlighting look at lines that are not finished, so a quote may be open at the end; only
//! running such a line is an error.

use crate::error::Failure;
use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;

/// A word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Without its quotes and escapes.
    pub(super) text: String,
    /// Where it stands in the line, quotes included, in bytes.
    pub(super) span: Range<usize>,
    /// It has quotes or escapes.
    pub(super) quoted: bool,
}

/// What a line consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) words: Vec<Word>,
    /// The quote that is open at the end, and where it stands; a backslash without anything to escape
    /// counts, too.
    pub(super) open: Option<(char, usize)>,
    /// Where a comment begins.
    pub(super) comment: Option<usize>,
}

/// Splits a line. Single quotes keep everything; double quotes keep everything but `\` before `"`, `\`, `$`
/// and a backquote; elsewhere `\` keeps the next character. `#` at the beginning of a word begins a comment.
pub(super) fn split(line: &str) -> Split {
    let mut split = Split::default();
    let mut chars = line.char_indices().peekable();
    while let Some(&(start, first)) = chars.peek() {
        if first.is_ascii_whitespace() {
            chars.next();
            continue;
        }
        if first == '#' {
            split.comment = Some(start);
            break;
        }
        let (mut text, mut quoted) = (String::new(), false);
        let mut quote: Option<(char, usize)> = None;
        let mut end = line.len();
        while let Some(&(at, c)) = chars.peek() {
            match (quote, c) {
                (None, c) if c.is_ascii_whitespace() => {
                    end = at;
                    break;
                }
                (None, '\'' | '"') => (quote, quoted) = (Some((c, at)), true),
                (Some((open, _)), c) if c == open => quote = None,
                (None | Some(('"', _)), '\\') => {
                    chars.next();
                    let Some(&(_, next)) = chars.peek() else {
                        quote = quote.or(Some(('\\', at)));
                        quoted = true;
                        break;
                    };
                    if quote.is_some() && !matches!(next, '"' | '\\' | '$' | '`') {
                        text.push('\\');
                    }
                    text.push(next);
                    quoted = true;
                }
                (_, c) => text.push(c),
            }
            chars.next();
        }
        split.open = quote;
        split.words.push(Word {
            text,
            span: start..end,
            quoted,
        });
    }
    split
}

impl Split {
    /// The words of a line that is to be run.
    ///
    /// # Errors
    /// When a quote is open.
    pub(super) fn whole(self, line: &str) -> Result<Vec<OsString>, Failure> {
        match self.open {
            None => Ok(self
                .words
                .into_iter()
                .map(|word| word.meant(line))
                .collect()),
            Some(('\\', _)) => {
                Err(Failure::usage("the line ends in a backslash")
                    .advise("write \\\\ for a backslash"))
            }
            Some((quote, at)) => Err(Failure::usage(format!(
                "the quote {quote} at column {} is not closed",
                line[..at].chars().count() + 1
            ))
            .advise(format!(
                "write \\{quote} for the character itself, outside of quotes"
            ))),
        }
    }
}

impl Word {
    /// The word, with the user's home in place of `~/` that stands outside of quotes.
    fn meant(self, line: &str) -> OsString {
        let tilde = line
            .get(self.span)
            .is_some_and(|raw| raw == "~" || raw.starts_with("~/"));
        match at_home(&self.text) {
            Some(path) if tilde => path.into(),
            _ => self.text.into(),
        }
    }
}

/// The path that `~/...` stands for.
pub(super) fn at_home(path: &str) -> Option<PathBuf> {
    let rest = path.strip_prefix('~')?;
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty())?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(home.join(rest)),
        None => rest.is_empty().then_some(home),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::typed;
    use proptest::prelude::*;

    fn texts(line: &str) -> Vec<String> {
        split(line)
            .words
            .into_iter()
            .map(|word| word.text)
            .collect()
    }

    #[test]
    fn words_quotes_and_comments() {
        assert_eq!(
            texts(r#"search c --where "year > 2020 and a = 'b'""#)[3],
            "year > 2020 and a = 'b'"
        );
        assert_eq!(texts(r"a\ b 'c d'e # f"), ["a b", "c de"]);
        assert_eq!(texts("a#b '' \\#"), ["a#b", "", "#"]);
        assert_eq!(split("  # all of it").comment, Some(2));
        assert_eq!(split(" ab  'c' ").words[1].span, 5..8);
    }

    #[test]
    fn a_tilde_is_the_home() {
        let whole = |line: &str| split(line).whole(line).unwrap();
        let home = at_home("~").unwrap();
        assert_eq!(
            whole("~/a/'b c' ~"),
            [home.join("a/b c").into_os_string(), home.into()]
        );
        assert_eq!(whole("'~/a' ~b a~/ \\~/"), ["~/a", "~b", "a~/", "~/"]);
    }

    #[test]
    fn what_is_not_closed_is_named() {
        let says = |line: &str| split(line).whole(line).unwrap_err().to_string();
        assert!(says("get 'é \"b").contains("quote ' at column 5"));
        assert!(says("get \"é 'b").contains("quote \" at column 5"));
        assert!(says("get \\").contains("ends in a backslash"));
        assert_eq!(split("a 'b").words[1].text, "b");
    }

    proptest! {
        /// Another's splitter, which knows no places, as the judge.
        #[test]
        fn lines_are_split_as_a_shell_would(line in r#"[ab '"\\#$\t]{0,16}"#) {
            let ours = split(&line);
            let open = ours.open;
            let ours = ours.whole(&line).ok();
            if open.map(|(c, _)| c) != Some('\\') {
                let theirs = shell_words::split(&line).ok();
                let theirs = theirs.map(|words| words.into_iter().map(OsString::from).collect::<Vec<_>>());
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn spans_hold_the_words(line in r#"[ab é'"\\#]{0,16}"#) {
            for word in split(&line).words {
                let alone = split(&line[word.span.clone()]);
                prop_assert_eq!(&alone.words[0].text, &word.text);
            }
        }

        #[test]
        fn a_quoted_word_is_one_word(text in "\\PC{0,12}") {
            prop_assert_eq!(texts(&typed(text.as_ref())), [text]);
        }
    }
}
