//! Colours and hints of a line that is being typed.

use super::complete::Surroundings;
use super::sight::{Place, Sight, value_name};
use super::words::split;
use clap::{Arg, Command};
use nu_ansi_term::{Color, Style};
use reedline::{Highlighter, Hinter, History, SearchQuery, StyledText};
use std::sync::Arc;

/// Colours lines: verbs, options, quoted words; what cannot be right in red.
pub(super) struct Colours(pub(super) Arc<Surroundings>);

/// What a piece of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Plain,
    Verb,
    Option,
    Quoted,
    Comment,
    Wrong,
}

impl Piece {
    fn style(self) -> Style {
        match self {
            Piece::Plain => Style::new(),
            Piece::Verb => Color::Green.bold(),
            Piece::Option => Color::Cyan.normal(),
            Piece::Quoted => Color::Yellow.normal(),
            Piece::Comment => Color::DarkGray.normal(),
            Piece::Wrong => Color::Red.normal(),
        }
    }
}

impl Highlighter for Colours {
    fn highlight(&self, line: &str, cursor: usize) -> StyledText {
        let mut text = StyledText::new();
        for (piece, part) in self.0.pieces(line, cursor) {
            text.push((piece.style(), part.to_owned()));
        }
        text
    }
}

impl Surroundings {
    /// The line, in pieces; a word at the cursor that may still become right is not wrong yet.
    fn pieces<'l>(&self, line: &'l str, cursor: usize) -> Vec<(Piece, &'l str)> {
        let split = split(line);
        let mut pieces = Vec::new();
        let mut end = 0;
        let mut add = |piece, from: usize, to: usize| {
            if let (Some(gap), Some(part)) = (line.get(end..from), line.get(from..to)) {
                pieces.extend([(Piece::Plain, gap), (piece, part)]);
                end = to;
            }
        };
        for word in &split.words {
            let (start, stop) = (word.span.start, word.span.end);
            let sight = Sight::of(&line[..stop], &self.grammar, &self.whole);
            let may_grow = cursor == stop;
            let piece = match sight.place {
                Place::Verb(other) => {
                    let known = sight.command.find_subcommand(&word.text).is_some();
                    let begun = |verb: &Command| verb.get_name().starts_with(&word.text);
                    match known || word.text == self.whole.get_name() {
                        true => Piece::Verb,
                        false if other.is_some() || matches!(&*word.text, "-h" | "--help") => {
                            Piece::Plain
                        }
                        false if may_grow && sight.command.get_subcommands().any(begun) => {
                            Piece::Plain
                        }
                        false => Piece::Wrong,
                    }
                }
                Place::Option => match option_fits(sight.command, &word.text, may_grow) {
                    true => Piece::Option,
                    false => Piece::Wrong,
                },
                Place::Value(..) if word.text.starts_with("--") && !word.quoted => Piece::Option,
                Place::Value(..) if word.quoted => Piece::Quoted,
                Place::Unknown if !sight.command.has_subcommands() => Piece::Wrong,
                Place::Value(..) | Place::Unknown => Piece::Plain,
            };
            match split.open {
                Some((quote, at)) if word.span.contains(&at) => {
                    add(piece, start, at);
                    add(Piece::Wrong, at, at + quote.len_utf8());
                    add(Piece::Quoted, at + quote.len_utf8(), stop);
                }
                _ => add(piece, start, stop),
            }
        }
        add(
            Piece::Comment,
            split.comment.unwrap_or(line.len()),
            line.len(),
        );
        pieces.retain(|(_, part)| !part.is_empty());
        pieces
    }
}

/// Whether an option is one of the verb's, or may become one.
fn option_fits(verb: &Command, text: &str, may_grow: bool) -> bool {
    let name = text.strip_prefix("--");
    verb.get_arguments().any(|argument| match name {
        Some(name) => {
            let long = argument.get_long();
            long.is_some_and(|long| long == name || may_grow && long.starts_with(name))
        }
        None => {
            let short = text.chars().nth(1);
            short.is_none() && may_grow || short.is_some() && argument.get_short() == short
        }
    })
}

/// Shows, behind the cursor, how an earlier line went on; else what the verb wants.
pub(super) struct Hints {
    around: Arc<Surroundings>,
    /// How an earlier line went on: what the arrow to the right takes over.
    continued: String,
}

impl Hints {
    pub(super) fn new(around: Arc<Surroundings>) -> Hints {
        Hints {
            around,
            continued: String::new(),
        }
    }
}

impl Hinter for Hints {
    fn handle(
        &mut self,
        line: &str,
        pos: usize,
        history: &dyn History,
        use_ansi_coloring: bool,
        _cwd: &str,
    ) -> String {
        self.continued.clear();
        if line.is_empty() || pos < line.len() {
            return String::new();
        }
        let earlier = SearchQuery::last_with_prefix(line.to_owned(), history.session());
        let earlier = history.search(earlier).unwrap_or_default();
        let rest = earlier
            .first()
            .and_then(|item| item.command_line.strip_prefix(line));
        self.continued = rest.unwrap_or_default().to_owned();
        let shown = match self.continued.is_empty() {
            true => self.around.wanted(line),
            false => self.continued.clone(),
        };
        match use_ansi_coloring && !shown.is_empty() {
            true => Color::DarkGray.paint(shown).to_string(),
            false => shown,
        }
    }

    fn complete_hint(&self) -> String {
        self.continued.clone()
    }

    fn next_hint_token(&self) -> String {
        let text = self.continued.trim_start();
        let blanks = self.continued.len() - text.len();
        let word = text.find(char::is_whitespace).unwrap_or(text.len());
        self.continued[..blanks + word].to_owned()
    }
}

impl Surroundings {
    /// What is still to be said, as usage lines write it; only behind a space.
    fn wanted(&self, line: &str) -> String {
        if !line.ends_with(' ') {
            return String::new();
        }
        let sight = Sight::of(line, &self.grammar, &self.whole);
        if !sight.word.text.is_empty() || sight.word.quoted {
            return String::new();
        }
        let Place::Value(next, _) = sight.place else {
            return match sight.place {
                Place::Unknown if !sight.command.has_subcommands() => groups(&sight).join(" "),
                _ => String::new(),
            };
        };
        if !next.is_positional() {
            return value_name(next);
        }
        let positionals = sight
            .command
            .get_positionals()
            .filter(|argument| !sight.has(argument));
        let named = |argument: &Arg| match argument.is_required_set() {
            true => value_name(argument),
            false => format!("[{}]", value_name(argument)),
        };
        let mut wanted: Vec<String> = positionals.map(named).collect();
        wanted.extend(groups(&sight));
        wanted.join(" ")
    }
}

/// Groups of options of which one is still missing: `--code HEX | --image FILE`.
fn groups(sight: &Sight<'_>) -> Vec<String> {
    let verb = sight.command;
    let missing = verb.get_groups().filter(|group| group.is_required_set());
    let texts = missing.filter_map(|group| {
        let members = || {
            group
                .get_args()
                .filter_map(|id| verb.get_arguments().find(|a| a.get_id() == id))
        };
        if members().any(|member| sight.has(member)) {
            return None;
        }
        let text = |member: &Arg| {
            let long = member.get_long()?;
            Some(match member.get_action().takes_values() {
                true => format!("--{long} {}", value_name(member)),
                false => format!("--{long}"),
            })
        };
        let texts: Vec<String> = members().filter_map(text).collect();
        (!texts.is_empty()).then(|| texts.join(" | "))
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{Line, shell};
    use clap::CommandFactory;
    use parking_lot::Mutex;
    use reedline::{FileBackedHistory, HistoryItem};
    use std::path::Path;

    fn surroundings() -> Surroundings {
        let (mut grammar, mut whole) = (shell::grammar(Path::new("db")), Line::command());
        grammar.build();
        whole.build();
        Surroundings {
            grammar,
            whole,
            database: Mutex::new(None),
        }
    }

    #[test]
    fn pieces_are_what_they_are() {
        use Piece::{Comment, Option, Plain, Quoted, Verb, Wrong};
        let around = surroundings();
        let pieces = |line: &str| {
            let pieces = around.pieces(line, line.len());
            let text: String = pieces.iter().map(|(_, part)| *part).collect();
            assert_eq!(text, line);
            let pieces = pieces
                .into_iter()
                .filter(|(_, part)| !part.trim().is_empty());
            pieces
                .map(|(piece, part)| (piece, part.to_owned()))
                .collect::<Vec<_>>()
        };
        let is = |line: &str, expected: &[(Piece, &str)]| {
            let expected: Vec<_> = expected
                .iter()
                .map(|(p, t)| (*p, (*t).to_owned()))
                .collect();
            assert_eq!(pieces(line), expected, "{line}");
        };
        is(
            "search c -k 5",
            &[(Verb, "search"), (Plain, "c"), (Option, "-k"), (Plain, "5")],
        );
        is("sear", &[(Plain, "sear")]);
        is("sear c", &[(Wrong, "sear"), (Plain, "c")]);
        is(
            "get c --for",
            &[(Verb, "get"), (Plain, "c"), (Option, "--for")],
        );
        is(
            "get c --fro",
            &[(Verb, "get"), (Plain, "c"), (Wrong, "--fro")],
        );
        is(
            "get 'c d' # x",
            &[(Verb, "get"), (Quoted, "'c d'"), (Comment, "# x")],
        );
        is("get 'é", &[(Verb, "get"), (Wrong, "'"), (Quoted, "é")]);
        is(
            "get c 1 2",
            &[(Verb, "get"), (Plain, "c"), (Plain, "1"), (Wrong, "2")],
        );
        is(
            "explain search c",
            &[(Verb, "explain"), (Verb, "search"), (Plain, "c")],
        );
        is(
            "bitkin get db",
            &[(Verb, "bitkin"), (Verb, "get"), (Plain, "db")],
        );
    }

    #[test]
    fn hints_say_what_is_missing_unless_the_history_knows() {
        let around = Arc::new(surroundings());
        let mut history = FileBackedHistory::new(9).unwrap();
        history
            .save(HistoryItem::from_command_line("get birds 42"))
            .unwrap();
        let mut hints = Hints::new(Arc::clone(&around));
        let mut hint = |line: &str| hints.handle(line, line.len(), &history, false, "");
        assert_eq!(hint("get b"), "irds 42");
        assert_eq!(hint("get c "), "ID");
        assert_eq!(
            hint("search "),
            "NAME --code HEX | --image FILE | --queries FILE.npy | --like DIR|FILE"
        );
        assert_eq!(
            hint("search c "),
            "--code HEX | --image FILE | --queries FILE.npy | --like DIR|FILE"
        );
        assert_eq!(hint("search c --code "), "HEX");
        assert_eq!(hint("search c --code ff "), "");
        assert_eq!(hint("stats "), "[NAME]");
        assert_eq!(hint(""), "");
        hints.handle("get", 3, &history, false, "");
        assert_eq!(
            (hints.next_hint_token(), hints.complete_hint()),
            (" birds".into(), " birds 42".into())
        );
    }
}
