//! `bitkin completions` and `bitkin man`: what other programs make of the grammar.

use crate::error::Failure;
use crate::grammar::{Completions, Line, Man};
use crate::output::{counted, say};
use crate::session::Session;
use clap::{Command, CommandFactory};
use std::io;

/// Writes a script that makes a shell complete.
///
/// # Errors
/// When the reader has gone.
pub(crate) fn completions(session: &mut Session, arguments: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Line::command(), "bitkin", &mut script);
    session
        .out
        .line(String::from_utf8_lossy(&script).trim_end())
}

/// Writes manual pages.
///
/// # Errors
/// When the directory cannot be written.
pub(crate) fn man(arguments: &Man) -> Result<(), Failure> {
    let dir = &arguments.dir;
    let failed = |e: io::Error| Failure::new(format!("cannot write {}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut whole = Line::command();
    whole.build();
    let pages = pages(whole, "");
    for (name, command) in &pages {
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone())
            .render(&mut page)
            .map_err(failed)?;
        std::fs::write(dir.join(format!("{name}.1")), page).map_err(failed)?;
    }
    say(format!(
        "{} in {}",
        counted(pages.len() as u64, "page"),
        dir.display()
    ));
    Ok(())
}

/// A command and all that lie below it, under the names of their pages: `bitkin-model-info`.
fn pages(command: Command, above: &str) -> Vec<(String, Command)> {
    let name = format!("{above}{}", command.get_name());
    let below: Vec<Command> = command.get_subcommands().cloned().collect();
    let below = below
        .into_iter()
        .filter(|verb| verb.get_name() != "help" && !verb.is_hide_set());
    let below: Vec<_> = below
        .flat_map(|verb| pages(verb, &format!("{name}-")))
        .collect();
    let mut all = vec![(name.clone(), command.display_name(name))];
    all.extend(below);
    all
}
