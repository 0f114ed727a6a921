//! Patterns of `LIKE` and `ILIKE`.

use std::str::Chars;

/// The longest pattern, in characters: matching takes text times pattern at worst.
pub(crate) const MAX_PATTERN: usize = 1000;

/// A pattern: `%` stands for any characters or none, `_` for exactly one.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pieces: Vec<Piece>,
    ignore_case: bool,
}

#[derive(Clone, Copy, Debug)]
enum Piece {
    Char(char),
    One,
    Any,
}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPattern {
    /// It ends in its escape character.
    EndsInEscape,
    /// It is longer than [`MAX_PATTERN`].
    TooLong,
}

impl Pattern {
    /// The pattern `text`, in which the character behind `escape` stands for itself.
    pub(crate) fn new(
        text: &str,
        escape: Option<char>,
        ignore_case: bool,
    ) -> Result<Pattern, BadPattern> {
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if pieces.len() == MAX_PATTERN {
                return Err(BadPattern::TooLong);
            }
            pieces.push(match c {
                c if Some(c) == escape => {
                    Piece::Char(chars.next().ok_or(BadPattern::EndsInEscape)?)
                }
                '%' => Piece::Any,
                '_' => Piece::One,
                c => Piece::Char(c),
            });
        }
        Ok(Pattern {
            pieces,
            ignore_case,
        })
    }

    /// What every text that matches begins with.
    pub(crate) fn prefix(&self) -> String {
        let literal = |piece: &Piece| match piece {
            Piece::Char(c) if !self.ignore_case => Some(*c),
            _ => None,
        };
        self.pieces.iter().map_while(literal).collect()
    }

    /// Whether the whole of `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut at = 0;
        // The last `%`, and the text from where its match would go on if it took one character
        // more. Earlier ones need no second try: what they took is as short as can be.
        let mut retry: Option<(usize, Chars<'_>)> = None;
        loop {
            match self.pieces.get(at) {
                Some(Piece::Any) => {
                    at += 1;
                    retry = Some((at, rest.clone()));
                    continue;
                }
                Some(piece) => {
                    let mut ahead = rest.clone();
                    if ahead.next().is_some_and(|c| self.fits(*piece, c)) {
                        rest = ahead;
                        at += 1;
                        continue;
                    }
                }
                None if rest.as_str().is_empty() => return true,
                None => {}
            }
            let Some((behind, from)) = &mut retry else {
                return false;
            };
            if from.next().is_none() {
                return false;
            }
            at = *behind;
            rest = from.clone();
        }
    }

    fn fits(&self, piece: Piece, c: char) -> bool {
        match piece {
            Piece::Char(wanted) if self.ignore_case => {
                wanted == c || wanted.to_lowercase().eq(c.to_lowercase())
            }
            Piece::Char(wanted) => wanted == c,
            Piece::One | Piece::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn like(text: &str, pattern: &str) -> bool {
        Pattern::new(pattern, Some('!'), false)
            .unwrap()
            .matches(text)
    }

    #[test]
    fn patterns_match_whole_texts() {
        for (text, pattern, expected) in [
            ("", "", true),
            ("", "%", true),
            ("", "_", false),
            ("cat", "cat", true),
            ("cat", "c_t", true),
            ("cat", "ca", false),
            ("cat", "at", false),
            ("cat", "%a%", true),
            ("cat", "%%t", true),
            ("abcabd", "%abd", true),
            ("abcabc", "%ab_", true),
            ("été", "_t_", true),
            ("50%", "50!%", true),
            ("500", "50!%", false),
            ("a!b", "a!!b", true),
            ("Cat", "cat", false),
        ] {
            assert_eq!(like(text, pattern), expected, "{text} like {pattern}");
        }
        let folded = Pattern::new("éT%", None, true).unwrap();
        assert!(folded.matches("ÉtÉ") && !folded.matches("e"));
        let bad = Pattern::new("a!", Some('!'), false).unwrap_err();
        assert_eq!(bad, BadPattern::EndsInEscape);
        let long = "_".repeat(MAX_PATTERN + 1);
        assert_eq!(
            Pattern::new(&long, None, false).unwrap_err(),
            BadPattern::TooLong
        );
    }

    #[test]
    fn the_prefix_ends_at_the_first_wildcard() {
        let prefix = |text, ignore| Pattern::new(text, Some('!'), ignore).unwrap().prefix();
        assert_eq!(prefix("ab!%c_d%", false), "ab%c");
        assert_eq!(prefix("%ab", false), "");
        assert_eq!(prefix("ab", true), "");
    }

    /// By trying every way that there is.
    fn naive(text: &[char], pattern: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|n| naive(&text[n..], rest)),
            Some((p, rest)) => text
                .split_first()
                .is_some_and(|(c, text)| (*p == '_' || p == c) && naive(text, rest)),
        }
    }

    proptest! {
        #[test]
        fn matching_is_that_of_all_ways(text in "[abé]{0,9}", pattern in "[abé%_]{0,7}") {
            let chars = |s: &str| s.chars().collect::<Vec<char>>();
            prop_assert_eq!(like(&text, &pattern), naive(&chars(&text), &chars(&pattern)));
        }
    }
}
