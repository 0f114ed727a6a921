//! The grammar of a shell's lines: the verbs of the command line, with the database put in.

use super::Command as Verb;
use clap::builder::StyledStr;
use clap::{ArgMatches, Command, FromArgMatches, Subcommand};
use std::ffi::OsString;
use std::path::Path;

/// The database in the examples of every verb's help, which a shell's lines do not name.
const IN_EXAMPLES: &str = " photos.bitkin";

/// Verbs that make no sense within a shell.
const OUTSIDE: [&str; 4] = ["demo", "shell", "completions", "man"];

/// What a line asks for.
#[derive(Debug, Subcommand)]
pub(crate) enum Request {
    /// A verb of the command line.
    #[command(flatten)]
    Verb(Box<Verb>),
    /// Leave the shell
    #[command(visible_alias = "quit")]
    Exit,
}

/// The grammar of lines typed in front of the database in `path`.
///
/// The argument that names the database becomes an option that nobody sees, with the path as its default: so
/// the first argument that is left is the collection, in usage and errors, too.
pub(crate) fn grammar(path: &Path) -> Command {
    let whole = Request::augment_subcommands(Command::new("bitkin"));
    let verbs = whole
        .get_subcommands()
        .filter(|verb| !OUTSIDE.contains(&verb.get_name()));
    let verbs: Vec<Command> = verbs.map(|verb| for_shell(verb.clone(), path)).collect();
    Command::new("bitkin")
        .multicall(true)
        .subcommand_required(true)
        .max_term_width(100)
        .subcommand_value_name("VERB")
        .subcommand_help_heading("Verbs")
        .help_template("{all-args}{after-help}")
        .subcommands(verbs)
        .after_help(
            "Arrow up and Ctrl-R find earlier lines, Tab completes, Ctrl-C cancels, Ctrl-D leaves.",
        )
}

fn for_shell(verb: Command, path: &Path) -> Command {
    let help = verb.get_after_help().map(StyledStr::to_string);
    let names_one = verb
        .get_arguments()
        .any(|argument| argument.get_id() == "database");
    let mut verb = verb.mut_subcommands(|below| for_shell(below, path));
    if let Some(help) = help {
        verb = verb.after_help(help.replace("  bitkin ", "  ").replace(IN_EXAMPLES, ""));
    }
    if !names_one {
        return verb;
    }
    let path = OsString::from(path);
    verb.mut_arg("database", |database| {
        database
            .long("database-of-this-shell")
            .hide(true)
            .required(false)
            .default_value(path)
    })
}

/// What the words of a line ask for.
///
/// # Errors
/// What is wrong with them, or help that they ask for.
pub(crate) fn parse(grammar: &Command, words: &[OsString]) -> Result<Request, clap::Error> {
    let matches: ArgMatches = grammar.clone().try_get_matches_from(words)?;
    Request::from_arg_matches(&matches).map_err(|error| error.format(&mut grammar.clone()))
}
