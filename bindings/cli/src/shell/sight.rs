//! What stands at the cursor of a line that is being typed, by the grammar: what completion and hints go by.

use super::words::{Word, split};
use clap::{Arg, ArgAction, Command};

/// A line up to the cursor, seen by the grammar.
pub(super) struct Sight<'a> {
    /// The verb, if there is one yet, or the grammar of all.
    pub(super) command: &'a Command,
    /// What the cursor is in.
    pub(super) place: Place<'a>,
    /// The word that is being typed; empty behind a space.
    pub(super) word: Word,
    /// The arguments that are there already, with their values.
    pub(super) given: Vec<(&'a Arg, String)>,
}

/// What is being typed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// A verb, or the argument that could stand in its place.
    Verb(Option<&'a Arg>),
    /// The name of an option.
    Option,
    /// The value of an argument; it begins so many bytes into the text of the word.
    Value(&'a Arg, usize),
    /// Nothing that the grammar knows.
    Unknown,
}

impl<'a> Sight<'a> {
    /// Sees what there is in `line`, which ends at the cursor. `whole` is the grammar of command lines, for lines
    /// that begin with its name.
    pub(super) fn of(line: &str, grammar: &'a Command, whole: &'a Command) -> Sight<'a> {
        let mut split = split(line);
        let typed = match split.words.last() {
            Some(last) if last.span.end == line.len() && split.comment.is_none() => {
                split.words.pop()
            }
            _ => None,
        };
        let word = typed.unwrap_or_else(|| Word {
            text: String::new(),
            span: line.len()..line.len(),
            quoted: false,
        });
        let mut words: &[Word] = &split.words;
        let mut walk = Walk::new(grammar);
        if let Some((first, rest)) = words.split_first()
            && first.text == whole.get_name()
        {
            (walk, words) = (Walk::new(whole), rest);
        }
        words.iter().for_each(|word| walk.take(&word.text));
        let place = match split.comment {
            None => walk.place(&word),
            Some(_) => Place::Unknown,
        };
        Sight {
            command: walk.command,
            place,
            word,
            given: walk.given,
        }
    }

    /// The value of the argument of this name.
    pub(super) fn value(&self, id: &str) -> Option<&str> {
        let found = self
            .given
            .iter()
            .find(|(argument, _)| argument.get_id() == id);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether the argument is there already, and may not come again.
    pub(super) fn has(&self, argument: &Arg) -> bool {
        let again = matches!(argument.get_action(), ArgAction::Append | ArgAction::Count);
        !again
            && self
                .given
                .iter()
                .any(|(given, _)| given.get_id() == argument.get_id())
    }
}

/// Goes through the words as the parser will.
struct Walk<'a> {
    command: &'a Command,
    given: Vec<(&'a Arg, String)>,
    /// An option that waits for its value.
    waiting: Option<&'a Arg>,
    positionals: usize,
    /// After `--` there are no options.
    options_over: bool,
    lost: bool,
}

impl<'a> Walk<'a> {
    fn new(command: &'a Command) -> Self {
        Walk {
            command,
            given: Vec::new(),
            waiting: None,
            positionals: 0,
            options_over: false,
            lost: false,
        }
    }

    fn take(&mut self, text: &str) {
        if let Some(option) = self.waiting.take() {
            self.given.push((option, text.to_owned()));
        } else if text == "--" {
            self.options_over = true;
        } else if self.is_option(text) {
            let (option, value) = self.option(text);
            match (option, value) {
                (Some(option), Some(value)) => self.given.push((option, value.to_owned())),
                (Some(option), None) if option.get_action().takes_values() => {
                    self.waiting = Some(option)
                }
                (Some(option), None) => self.given.push((option, String::new())),
                (None, _) => {}
            }
        } else if let Some(below) = self.below(text) {
            *self = Walk::new(below);
        } else if let Some(positional) = self.positional() {
            self.given.push((positional, text.to_owned()));
            self.positionals += 1;
        } else {
            self.lost = true;
        }
    }

    fn place(&self, word: &Word) -> Place<'a> {
        if let Some(option) = self.waiting {
            return Place::Value(option, 0);
        }
        if self.lost {
            return Place::Unknown;
        }
        if self.is_option(&word.text) {
            return match (word.text.find('='), self.option(&word.text)) {
                (Some(at), (Some(option), _)) => Place::Value(option, at + 1),
                (Some(_), _) => Place::Unknown,
                (None, _) => Place::Option,
            };
        }
        let positional = self.positional();
        match positional {
            _ if self.positionals == 0 && self.command.has_subcommands() => Place::Verb(positional),
            Some(positional) => Place::Value(positional, 0),
            None => Place::Unknown,
        }
    }

    fn is_option(&self, text: &str) -> bool {
        text.starts_with('-') && !self.options_over && !self.passes_on()
    }

    /// Everything goes to another program.
    fn passes_on(&self) -> bool {
        let positional = self.positional();
        positional.is_some_and(Arg::is_trailing_var_arg_set)
    }

    /// The option of that name, and the value that came with it.
    fn option<'t>(&self, text: &'t str) -> (Option<&'a Arg>, Option<&'t str>) {
        let mut arguments = self.command.get_arguments();
        if let Some(name) = text.strip_prefix("--") {
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (name, None),
            };
            return (
                arguments.find(|argument| argument.get_long() == Some(name)),
                value,
            );
        }
        let mut chars = text.trim_start_matches('-').chars();
        let short = chars.next();
        let option = arguments.find(|argument| short.is_some() && argument.get_short() == short);
        let value = chars.as_str().trim_start_matches('=');
        (option, Some(value).filter(|value| !value.is_empty()))
    }

    fn below(&self, text: &str) -> Option<&'a Command> {
        self.command
            .find_subcommand(text)
            .filter(|_| self.positionals == 0)
    }

    /// The positional argument that comes next; the last may take all that are left.
    fn positional(&self) -> Option<&'a Arg> {
        let mut all = self.command.get_positionals();
        let last = self.command.get_positionals().last();
        let many = last.filter(|last| {
            matches!(last.get_action(), ArgAction::Append) || last.is_trailing_var_arg_set()
        });
        all.nth(self.positionals).or(many)
    }
}

/// What a value is called: `HEX`, `NAME`.
pub(super) fn value_name(argument: &Arg) -> String {
    match argument.get_value_names() {
        Some([name, ..]) => name.to_string(),
        _ => argument.get_id().as_str().to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{Line, shell::grammar};
    use clap::CommandFactory;
    use std::path::Path;

    fn seen(line: &str) -> String {
        let (mut grammar, mut whole) = (grammar(Path::new("db")), Line::command());
        grammar.build();
        whole.build();
        let sight = Sight::of(line, &grammar, &whole);
        let place = match sight.place {
            Place::Verb(None) => "verb".to_owned(),
            Place::Verb(Some(argument)) => format!("verb or {}", argument.get_id()),
            Place::Option => "option".to_owned(),
            Place::Value(argument, skip) => format!("{}[{skip}]", argument.get_id()),
            Place::Unknown => "unknown".to_owned(),
        };
        format!("{} {place} {:?}", sight.command.get_name(), sight.word.text)
    }

    #[test]
    fn the_cursor_is_where_the_grammar_says() {
        for (line, expected) in [
            ("", "bitkin verb \"\""),
            ("  sea", "bitkin verb \"sea\""),
            ("search ", "search name[0] \"\""),
            ("search 'my c", "search name[0] \"my c\""),
            ("search c --im", "search option \"--im\""),
            ("search c --image ", "search image[0] \"\""),
            ("search c --format=js", "search format[9] \"--format=js\""),
            ("search c -k ", "search k[0] \"\""),
            ("search c -k5 ", "search unknown \"\""),
            ("search --where \"year > ", "search filter[0] \"year > \""),
            ("search --image x ", "search name[0] \"\""),
            ("search c d ", "search unknown \"\""),
            ("get c ", "get id[0] \"\""),
            ("explain ", "explain verb or name \"\""),
            ("explain search ", "search name[0] \"\""),
            ("explain c --code ", "explain code[0] \"\""),
            ("ingest c a b ", "ingest sources[0] \"\""),
            ("model ", "model verb \"\""),
            ("model info x --f", "info option \"--f\""),
            ("help ", "help verb \"\""),
            ("help se", "help verb \"se\""),
            ("train --ba", "train arguments[0] \"--ba\""),
            ("bitkin search ", "search database[0] \"\""),
            ("bitkin search db ", "search name[0] \"\""),
            ("serch c", "bitkin unknown \"c\""),
            ("stats # c", "stats unknown \"\""),
        ] {
            assert_eq!(seen(line), expected, "{line}");
        }
    }
}
