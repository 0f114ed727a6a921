//! What could stand at the cursor: verbs, options, collections, values, files, payload fields.

use super::sight::{Place, Sight, value_name};
use super::words::at_home;
use crate::output::typed;
use bitkin::{Collection, Database, FieldKind};
use clap::{Arg, Command, ValueHint};
use parking_lot::Mutex;
use reedline::{Completer, CompletionResult, Span, Suggestion};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{MAIN_SEPARATOR, PathBuf};
use std::sync::Arc;

/// The grammars, and the database while a prompt waits: what all that helps with typing looks at.
pub(super) struct Surroundings {
    /// Of lines; built.
    pub(super) grammar: Command,
    /// Of whole command lines; built.
    pub(super) whole: Command,
    /// None while a line runs.
    pub(super) database: Mutex<Option<Arc<Database>>>,
}

/// Rows whose payloads are looked at for fields that were not declared.
const ROWS_LOOKED_AT: usize = 100;

/// Levels of keys in payloads that are offered: `a.b.c`.
const LEVELS: usize = 3;

/// Files that are offered at most.
const FILES: usize = 1000;

/// What a condition is made of, beside fields.
const CONDITIONS: [(&str, &str); 10] = [
    ("and", "both"),
    ("between", "x BETWEEN 1 AND 9"),
    ("false", ""),
    ("ilike", "as LIKE, small and capital letters alike"),
    ("in", "x IN (1, 2)"),
    ("is", "x IS NULL, x IS NOT NULL, x IS TRUE"),
    ("like", "% for any text, _ for any character"),
    ("not", ""),
    ("null", "a field that is not there"),
    ("or", "either"),
];

/// Completes lines.
pub(super) struct Completion(pub(super) Arc<Surroundings>);

/// Something that could stand at the cursor.
struct Offer {
    /// In place of the word, or of a part of it.
    value: String,
    about: String,
    /// Where the part begins that it takes the place of, in the line.
    start: usize,
    /// More is to be typed at once.
    unfinished: bool,
}

impl Completer for Completion {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let line = line.get(..pos).unwrap_or(line);
        let offers = self.0.offers(line);
        let suggestions: Vec<Suggestion> = offers
            .into_iter()
            .map(|offer| Suggestion {
                value: offer.value,
                description: Some(offer.about).filter(|about| !about.is_empty()),
                span: Span::new(offer.start.min(pos), pos),
                append_whitespace: !offer.unfinished,
                ..Suggestion::default()
            })
            .collect();
        CompletionResult::fresh(suggestions)
    }
}

impl Surroundings {
    fn offers(&self, line: &str) -> Vec<Offer> {
        let sight = Sight::of(line, &self.grammar, &self.whole);
        let whole_words = |words: Vec<(String, String)>| {
            let offer = |(value, about): (String, String)| Offer {
                value: typed(value.as_ref()),
                about,
                start: sight.word.span.start,
                unfinished: false,
            };
            let fitting = words
                .into_iter()
                .filter(|(value, _)| value.starts_with(&sight.word.text));
            fitting.map(offer).collect::<Vec<Offer>>()
        };
        match sight.place {
            Place::Unknown => Vec::new(),
            Place::Option => whole_words(options(&sight)),
            Place::Verb(argument) => {
                let mut offers = whole_words(verbs(sight.command));
                offers.extend(
                    argument
                        .into_iter()
                        .flat_map(|argument| self.values(&sight, argument, 0)),
                );
                offers
            }
            Place::Value(argument, skip) => self.values(&sight, argument, skip),
        }
    }

    /// Values of an argument, of which the word has what follows its first `skip` bytes.
    fn values(&self, sight: &Sight<'_>, argument: &Arg, skip: usize) -> Vec<Offer> {
        let word = &sight.word;
        let begun = word.text.get(skip..).unwrap_or_default();
        let option = word.text.get(..skip).unwrap_or_default();
        let offer = |value: &str, about: &str| Offer {
            value: format!("{option}{}", quote_path(value)),
            about: about.to_owned(),
            start: word.span.start,
            unfinished: false,
        };
        let possible = argument.get_possible_values();
        if !possible.is_empty() && argument.get_action().takes_values() {
            let fitting = possible
                .iter()
                .filter(|value| value.get_name().starts_with(begun));
            let about = |value: &clap::builder::PossibleValue| {
                value
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            };
            return fitting
                .map(|value| offer(value.get_name(), &about(value)))
                .collect();
        }
        match argument.get_id().as_str() {
            "name" if sight.command.get_name() == "create" => Vec::new(),
            "name" => {
                let collections = self.collections();
                let fitting = collections.iter().filter(|c| c.name().starts_with(begun));
                fitting
                    .map(|c| {
                        offer(
                            c.name(),
                            &format!("{} rows of {} bits", c.len().unwrap_or(0), c.bits()),
                        )
                    })
                    .collect()
            }
            "filter" => self.condition(sight, begun),
            "index" => match begun.split_once(':') {
                Some((field, kind)) => ["int", "float", "text", "bool"]
                    .into_iter()
                    .filter(|known| known.starts_with(kind))
                    .map(|kind| offer(&format!("{field}:{kind}"), ""))
                    .collect(),
                None => Vec::new(),
            },
            _ => match argument.get_value_hint() {
                ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath => {
                    files(begun, argument)
                        .into_iter()
                        .map(|(path, is_dir)| match is_dir {
                            true => Offer {
                                value: format!("{option}{}", quote_begin(&path)),
                                unfinished: true,
                                ..offer(&path, "")
                            },
                            false => offer(&path, ""),
                        })
                        .collect()
                }
                _ => Vec::new(),
            },
        }
    }

    fn collections(&self) -> Vec<Collection> {
        let database = self.database.lock();
        let collections = database
            .as_ref()
            .and_then(|database| database.collections().ok());
        collections.unwrap_or_default()
    }

    /// Fields and words of a condition; `begun` is what there is of it.
    fn condition(&self, sight: &Sight<'_>, begun: &str) -> Vec<Offer> {
        let is_name = |c: char| c.is_alphanumeric() || "_.".contains(c);
        let tail = begun.trim_end_matches(is_name).len();
        let (before, tail) = begun.split_at(tail);
        if before.matches('\'').count() % 2 == 1 {
            return Vec::new(); // Within a text.
        }
        let word = &sight.word;
        // Names have no quotes or escapes, so the tail stands in the line as it is.
        let line_start = word.span.end.saturating_sub(tail.len());
        let opening = if word.quoted || !before.is_empty() {
            ""
        } else {
            "\""
        };
        let offer = |value: &str, about: String| Offer {
            value: format!("{opening}{value}"),
            about,
            start: line_start,
            unfinished: false,
        };
        let named = sight.value("name");
        let of_command_line = sight.value("database").is_some();
        let collections = if of_command_line {
            Vec::new()
        } else {
            self.collections()
        };
        let collections = collections
            .iter()
            .filter(|c| named.is_none_or(|name| c.name() == name));
        let mut fields = BTreeMap::new();
        collections.for_each(|collection| fields_of(collection, &mut fields));
        let mut offers: Vec<Offer> = fields
            .into_iter()
            .filter(|(field, _)| field.starts_with(tail))
            .map(|(field, about)| offer(&field, about))
            .collect();
        if !tail.is_empty() {
            let lower = tail.to_lowercase();
            let fitting = CONDITIONS
                .iter()
                .filter(|(word, _)| word.starts_with(&lower));
            offers.extend(fitting.map(|(word, about)| offer(word, (*about).to_owned())));
        }
        offers
    }
}

fn verbs(command: &Command) -> Vec<(String, String)> {
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut verbs: Vec<_> = verbs
        .map(|verb| (verb.get_name().to_owned(), about(verb.get_about())))
        .collect();
    verbs.sort();
    verbs
}

fn options(sight: &Sight<'_>) -> Vec<(String, String)> {
    let arguments = sight.command.get_arguments();
    let mut options: Vec<_> = arguments
        .filter(|argument| {
            !argument.is_positional() && !argument.is_hide_set() && !sight.has(argument)
        })
        .filter_map(|argument| {
            let name = match (argument.get_long(), argument.get_short()) {
                (Some(long), _) => format!("--{long}"),
                (None, short) => format!("-{}", short?),
            };
            let help = about(argument.get_help());
            Some(match argument.get_action().takes_values() {
                true => (name, format!("{}: {help}", value_name(argument))),
                false => (name, help),
            })
        })
        .collect();
    options.sort();
    options
}

/// The first line of a help.
fn about(help: Option<&clap::builder::StyledStr>) -> String {
    let text = help.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// The fields of a collection's payloads: those that were declared, and those of some rows.
fn fields_of(collection: &Collection, fields: &mut BTreeMap<String, String>) {
    for row in collection.rows().into_iter().flatten().take(ROWS_LOOKED_AT) {
        let payload = row.ok().and_then(|row| row.payload);
        let payload = payload.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        if let Some(payload) = payload {
            keys(&payload, "", LEVELS, fields);
        }
    }
    for field in collection.index() {
        let kind = match field.kind {
            FieldKind::Int => "int",
            FieldKind::Float => "float",
            FieldKind::Text => "text",
            FieldKind::Bool => "bool",
            _ => "",
        };
        fields.insert(field.field.clone(), format!("{kind}, indexed"));
    }
}

/// Keys of an object, as a condition names them.
fn keys(value: &Value, above: &str, levels: usize, fields: &mut BTreeMap<String, String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let begins = key.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if levels == 0 || !begins || !key.chars().all(is_name) {
            continue; // A condition would need quotes for it.
        }
        let name = format!("{above}{key}");
        let kind = match value {
            Value::Object(_) => {
                keys(value, &format!("{name}."), levels - 1, fields);
                continue;
            }
            Value::Null => "",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(_) => "list",
        };
        fields.entry(name).or_insert_with(|| kind.to_owned());
    }
}

/// Files whose paths begin as `begun` does, and whether they are directories.
fn files(begun: &str, argument: &Arg) -> Vec<(String, bool)> {
    let (folder, name) = match begun.rfind(MAIN_SEPARATOR) {
        Some(at) => begun.split_at(at + 1),
        None => ("", begun),
    };
    let read = match folder {
        "" => PathBuf::from("."),
        folder => at_home(folder).unwrap_or_else(|| PathBuf::from(folder)),
    };
    let wants_dir = argument.get_value_hint() == ValueHint::DirPath;
    let wanted = extensions(argument);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(read)
        .into_iter()
        .flatten()
        .flatten()
        .take(100 * FILES)
    {
        let Ok(file) = entry.file_name().into_string() else {
            continue;
        };
        if !file.starts_with(name) || file.starts_with('.') && !name.starts_with('.') {
            continue;
        }
        let is_dir = entry.path().is_dir();
        let of_a_kind = wanted.is_empty()
            || wanted
                .iter()
                .any(|kind| file.to_lowercase().ends_with(kind.as_str()));
        if is_dir || !wants_dir && of_a_kind {
            let end = if is_dir { "/" } else { "" };
            files.push((format!("{folder}{file}{end}"), is_dir));
        }
    }
    files.sort();
    files.truncate(FILES);
    files
}

/// The extensions of files that an argument takes, by what it is called: none for `FILE`, which takes any.
fn extensions(argument: &Arg) -> Vec<String> {
    let name = value_name(argument);
    let kinds = name.split('|').map(|kind| kind.strip_prefix("FILE."));
    let kinds: Option<Vec<String>> = kinds.map(|kind| Some(format!(".{}", kind?))).collect();
    kinds.unwrap_or_default()
}

/// A path as it must be written to be read as it is; `~/` at its beginning stays what it is.
fn quote_path(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some("") => path.to_owned(),
        Some(rest) => format!("~/{}", typed(rest.as_ref())),
        None => typed(path.as_ref()),
    }
}

/// The same of a directory, to which something will be added: a quote stays open.
fn quote_begin(path: &str) -> String {
    let mut quoted = quote_path(path);
    if quoted.ends_with('\'') {
        quoted.pop();
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{Line, shell};
    use bitkin::CollectionConfig;
    use clap::CommandFactory;
    use std::path::Path;

    fn surroundings(database: Option<Database>) -> Surroundings {
        let (mut grammar, mut whole) = (shell::grammar(Path::new("db")), Line::command());
        grammar.build();
        whole.build();
        Surroundings {
            grammar,
            whole,
            database: Mutex::new(database.map(Arc::new)),
        }
    }

    /// The lines that come of taking each offer.
    fn lines(surroundings: &Surroundings, line: &str) -> Vec<String> {
        let offers = surroundings.offers(line).into_iter();
        offers
            .map(|offer| format!("{}{}", &line[..offer.start], offer.value))
            .collect()
    }

    #[test]
    fn verbs_options_and_values() {
        let around = surroundings(None);
        assert_eq!(lines(&around, "sea"), ["search"]);
        assert_eq!(lines(&around, "help se"), ["help search"]);
        assert_eq!(lines(&around, "search c --im"), ["search c --image"]);
        assert_eq!(lines(&around, "search c --code 1 --co"), [""; 0]);
        assert_eq!(
            lines(&around, "search c --format "),
            ["search c --format table", "search c --format json"]
        );
        assert_eq!(lines(&around, "stats --format=j"), ["stats --format=json"]);
        assert_eq!(
            lines(&around, "create c --index year:"),
            ["int", "float", "text", "bool"]
                .map(|kind| { format!("create c --index year:{kind}") })
        );
        assert_eq!(lines(&around, "stats # s"), [""; 0]);
        assert!(lines(&around, "").contains(&"exit".to_owned()));
        assert!(!lines(&around, "").contains(&"demo".to_owned()));
        assert!(lines(&around, "bitkin ").contains(&"bitkin demo".to_owned()));
    }

    #[test]
    fn collections_and_fields() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::create(dir.path().join("db")).unwrap();
        let birds = CollectionConfig::bits(8).index("year", FieldKind::Int);
        let birds = database.create_collection("birds", birds).unwrap();
        let other = database
            .create_collection("my birds", CollectionConfig::bits(8))
            .unwrap();
        let payload = r#"{"label": "wren", "exif": {"iso": 100, "to": null}, "two words": 1}"#;
        birds
            .insert_with_payloads(Some(&[1]), &[0], &[Some(payload)])
            .unwrap();
        other
            .insert_with_payloads(Some(&[1]), &[0], &[Some(r#"{"size": 1}"#)])
            .unwrap();
        let around = surroundings(Some(database));
        assert_eq!(lines(&around, "get bi"), ["get birds"]);
        assert_eq!(lines(&around, "get m"), ["get 'my birds'"]);
        assert_eq!(lines(&around, "get 'my"), ["get 'my birds'"]);
        assert_eq!(lines(&around, "create bi"), [""; 0]);
        assert_eq!(lines(&around, "explain bi"), ["explain birds"]);
        assert_eq!(lines(&around, "explain s"), ["explain search"]);
        let fields = |start: &str, line: &str| {
            let lines = lines(&around, line);
            lines
                .iter()
                .map(|line| line.strip_prefix(start).unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let start = "search birds --where \"year > 2000 and ";
        assert_eq!(
            fields(start, start),
            ["exif.iso", "exif.to", "label", "year"]
        );
        assert_eq!(fields(start, &format!("{start}exif.i")), ["exif.iso"]);
        assert_eq!(fields(start, &format!("{start}l")), ["label", "like"]);
        assert_eq!(fields(start, &format!("{start}label = 'y")), [""; 0]);
        assert_eq!(
            lines(&around, "search birds --where ye"),
            ["search birds --where \"year"]
        );
        assert_eq!(
            lines(&around, "delete 'my birds' --where s"),
            ["delete 'my birds' --where \"size"]
        );
    }

    #[test]
    fn files_by_their_kind() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.npy", "b.jpg", "it's c.npy", ".hidden.npy"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("my folder")).unwrap();
        let (around, at) = (surroundings(None), dir.path().display());
        let start = format!("search c --queries {at}/");
        let files = lines(&around, &start);
        // As it must be typed; a quote of the directory stays open.
        assert_eq!(
            files,
            [
                format!("{start}a.npy"),
                format!("search c --queries '{at}/it'\\''s c.npy'"),
                format!("search c --queries '{at}/my folder/"),
            ]
        );
        let pictures = lines(&around, &format!("search c --image {at}/b"));
        assert_eq!(pictures, [format!("search c --image {at}/b.jpg")]);
        let folders = lines(&around, &format!("man {at}/"));
        assert_eq!(folders, [""; 0]);
    }
}
