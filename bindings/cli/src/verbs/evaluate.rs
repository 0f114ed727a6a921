//! `bitkin eval`: measured by the training program, and made a page with `--html`.

mod claims;
mod report;

use self::report::{Reported, page_of};
use super::train;
use crate::destination::{Destination, cannot_write};
use crate::error::Failure;
use crate::output::{plain, say};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::PathBuf;

/// Runs `bitkin eval`.
///
/// # Errors
/// When the training program fails, or the page cannot be written.
pub(crate) fn run(arguments: &[OsString]) -> Result<(), Failure> {
    let (page, mut arguments) = parted(arguments)?;
    let Some(path) = page else {
        return train(&["eval"], &arguments);
    };
    // Before the work, not after it.
    let mut destination = Destination::new(&path)?;
    let failed = |error| Failure::new(format!("cannot keep what is measured: {error}"));
    let report = tempfile::NamedTempFile::new().map_err(failed)?;
    let command = command(&arguments);
    arguments.extend(["--report".into(), report.path().into()]);
    train(&["eval"], &arguments)?;
    let text = std::fs::read_to_string(report.path()).map_err(failed)?;
    let lines = text.lines().map(serde_json::from_str);
    let reported: Vec<Reported> = lines.collect::<Result<_, _>>().map_err(|error| {
        Failure::new(format!(
            "bitkin-train reports what is not understood: {error}"
        ))
        .advise("build both from the same source: cargo build --release --workspace")
    })?;
    let mut page = page_of(&reported)?;
    page.commands.push(command);
    let written = destination.write_all(page.html().as_bytes());
    written.map_err(|error| cannot_write(&path, error))?;
    destination
        .finish()
        .map_err(|error| cannot_write(&path, error))?;
    say(format!("{} shows it", plain(&path.display().to_string())));
    Ok(())
}

/// What `--html` says, and the training program's own arguments.
fn parted(arguments: &[OsString]) -> Result<(Option<PathBuf>, Vec<OsString>), Failure> {
    let (mut page, mut rest) = (None, Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let joined = argument
            .to_str()
            .and_then(|text| text.strip_prefix("--html="));
        page = match joined {
            Some(path) => Some(PathBuf::from(path)),
            None if argument == OsStr::new("--html") => {
                let path = arguments.next();
                Some(PathBuf::from(path.ok_or_else(|| {
                    Failure::usage("--html: the name of the page is missing")
                })?))
            }
            None => {
                rest.push(argument.clone());
                continue;
            }
        };
    }
    Ok((page, rest))
}

/// The command, as it was said.
fn command(arguments: &[OsString]) -> String {
    let words = arguments.iter().map(|word| word.to_string_lossy());
    let words: Vec<String> = words
        .map(|word| match word.contains(char::is_whitespace) {
            true => format!("'{word}'"),
            false => word.into_owned(),
        })
        .collect();
    format!("bitkin eval {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_the_programs_own_and_the_rest_is_passed_on() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let (page, rest) = parted(&words(&[
            "--bits", "16", "--html", "a.html", "--seeds", "2",
        ]))
        .unwrap();
        assert_eq!(page, Some(PathBuf::from("a.html")));
        assert_eq!(rest, words(&["--bits", "16", "--seeds", "2"]));
        let (page, rest) = parted(&words(&["--html=b c.html"])).unwrap();
        assert_eq!((page, rest.len()), (Some(PathBuf::from("b c.html")), 0));
        assert_eq!(
            parted(&words(&["--html"])).unwrap_err().code(),
            crate::error::USAGE
        );
        assert_eq!(parted(&words(&["--bits", "8"])).unwrap().0, None);
    }
}
