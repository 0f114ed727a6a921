//! Tests of the grammar.

use super::*;
use clap::CommandFactory;
use clap::error::ErrorKind;
use std::ffi::OsString;

fn parse(line: &str) -> Result<Command, clap::Error> {
    Line::try_parse_from(line.split_whitespace()).map(|line| line.command)
}

#[test]
fn the_grammar_is_sound() {
    Line::command().debug_assert();
}

#[test]
fn every_verb_has_a_help_with_examples() {
    fn walk(command: &clap::Command, above: &str) -> usize {
        let mut count = 0;
        for verb in command.get_subcommands() {
            let name = format!("{above} {}", verb.get_name());
            let help = verb.clone().render_help().to_string();
            // What is put before another verb has that one's.
            let has =
                help.contains(&format!("Examples:\n  {name}")) || name == "bitkin explain search";
            assert!(has, "{name}: {help}");
            count += 1 + walk(verb, &name);
        }
        count
    }
    let count = walk(&Line::command(), "bitkin");
    assert!(count > 28, "{count}");
    // In a shell, too.
    let shell = shell::grammar(std::path::Path::new("photos.bitkin"));
    for verb in shell
        .get_subcommands()
        .filter(|verb| verb.get_name() != "exit")
    {
        let help = verb.clone().render_help().to_string();
        let example = format!("Examples:\n  {}", verb.get_name());
        assert!(help.contains(&example), "{help}");
    }
}

/// The command lines among the examples of a verb's help, without what a shell does with them.
fn examples(verb: &clap::Command) -> Vec<String> {
    let help = verb
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let lines = help
        .split_once("Examples:\n")
        .map(|(_, lines)| lines.to_owned());
    let lines = lines.unwrap_or_default();
    // Some say what they do, further to the right.
    let lines = lines
        .lines()
        .filter_map(|line| line.trim().split("   ").next());
    let commands = lines.filter_map(|line| {
        let parts = line.trim().split(['|', '<', '>']);
        // Conditions hold such signs, too, within quotes.
        match line.contains('"') {
            true => Some(line.trim().to_owned()),
            false => parts
                .map(str::trim)
                .find(|part| part.starts_with("bitkin "))
                .map(str::to_owned),
        }
    });
    commands.collect()
}

#[test]
fn every_example_is_understood() {
    let shell = shell::grammar(std::path::Path::new("photos.bitkin"));
    let mut count = 0;
    let whole = Line::command();
    let mut verbs = vec![&whole];
    while let Some(verb) = verbs.pop() {
        verbs.extend(verb.get_subcommands());
        for example in examples(verb) {
            let words = shell_words::split(&example).unwrap();
            let parsed = Line::try_parse_from(&words);
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
    for verb in shell.get_subcommands() {
        let help = verb
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(!help.contains(" photos.bitkin"), "{help}");
        let lines = help
            .split_once("Examples:\n")
            .map_or("", |(_, lines)| lines);
        for line in lines
            .lines()
            .filter(|line| !line.contains(['|', '>']) || line.contains('"'))
        {
            let words = shell_words::split(line).unwrap();
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            let parsed = shell::parse(&shell, &words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }
}

#[test]
fn a_whole_search_can_be_explained() {
    for line in [
        "bitkin explain db c --code ff -k 3",
        "bitkin explain search db c --code ff -k 3",
    ] {
        let Ok(Command::Explain(explain)) = parse(line) else {
            panic!("no explanation: {line}");
        };
        let search = explain.search().unwrap();
        assert_eq!((&*search.name, search.wanted.k), ("c", 3));
    }
    assert!(parse("bitkin explain db").is_err());
    assert!(parse("bitkin explain").is_err());
}

#[test]
fn k_and_radius_exclude_each_other() {
    assert!(parse("bitkin search db c --code ff -k 3").is_ok());
    assert!(parse("bitkin search db c --code ff --radius 3").is_ok());
    let both = parse("bitkin search db c --code ff --radius 3 -k 3").unwrap_err();
    assert_eq!(both.kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn a_search_has_exactly_one_kind_of_query() {
    let none = parse("bitkin search db c").unwrap_err();
    assert_eq!(none.kind(), ErrorKind::MissingRequiredArgument);
    let two = parse("bitkin search db c --code ff --image x.png").unwrap_err();
    assert_eq!(two.kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn a_collection_has_exactly_one_kind_of_code() {
    assert!(parse("bitkin create db c").is_err());
    assert!(parse("bitkin create db c --bits 8 --model m").is_err());
    assert!(parse("bitkin create db c --bits 7").is_err());
    assert!(parse("bitkin create db c --bits 65537").is_err());
    assert!(parse("bitkin create db c --bits 65536").is_ok());
}

#[test]
fn a_delete_has_exactly_one_kind_of_rows() {
    assert!(parse("bitkin delete db c").is_err());
    assert!(parse("bitkin delete db c --ids 1 --where ok").is_err());
    assert!(parse("bitkin delete db c --ids 1,4-6").is_ok());
    assert!(parse("bitkin delete db c --where ok").is_ok());
}

/// `-1` was taken for an option, with the advice to write it behind `--`.
#[test]
fn negative_numbers_are_values_that_cannot_be() {
    for line in [
        "get db c -1",
        "search db c --code ff -k -1",
        "dedupe db c --radius -1",
    ] {
        let error = parse(&format!("bitkin {line}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ValueValidation, "{error}");
    }
    assert!(
        parse("bitkin delete db c --ids -1").is_ok(),
        "the verb says what is wrong"
    );
}

#[test]
fn fields_are_declared_with_their_kinds() {
    let field = index_field("a:b.\"c\":float");
    assert!(field.is_ok_and(|field| field.field == "a:b.\"c\""));
    for bad in ["year", "year:integer", ":int", "a..b:int"] {
        assert!(index_field(bad).is_err(), "{bad}");
    }
}

#[test]
fn training_takes_its_own_options() {
    let Ok(Command::Train(passed)) = parse("bitkin train --base b --help -x") else {
        panic!("not a train command");
    };
    assert_eq!(passed.arguments, ["--base", "b", "--help", "-x"]);
}
