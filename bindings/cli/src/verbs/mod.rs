//! The verbs, and what they share: opening databases, finding collections, encoding pictures.

pub(crate) mod bench;
pub(crate) mod create;
pub(crate) mod dedupe;
pub(crate) mod delete;
pub(crate) mod evaluate;
pub(crate) mod export;
mod gallery;
pub(crate) mod get;
pub(crate) mod import;
pub(crate) mod ingest;
pub(crate) mod model;
pub(crate) mod paper;
mod prometheus;
pub(crate) mod rows;
pub(crate) mod search;
mod show;
pub(crate) mod stats;
pub(crate) mod upkeep;
pub(crate) mod verify;
mod watch;

use crate::error::Failure;
use crate::grammar::{Format, Line};
use crate::interrupt;
use crate::output::{plain, say, typed};
use crate::progress::busy;
use crate::session::{Handle, Session};
use crate::trainer::Trainer;
use bitkin::encoder::{Device, Encoder};
use bitkin::npy::{CodesReader, NpyError, NpyReason};
use bitkin::{Activity, Collection, Database, DatabaseOptions, ErrorKind, Problem};
use clap::CommandFactory;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// An error of the engine, as the user sees it.
pub(crate) fn failure(error: bitkin::Error) -> Failure {
    if let bitkin::Error::Stopped = error {
        return Failure::interrupted("stopped");
    }
    let failure = Failure::new(error.to_string());
    match is_full(&error) {
        true => failure.advise("make room on the disk of the database; what was committed is safe"),
        false => failure,
    }
}

/// Whether it is a disk that has no more room.
fn is_full(error: &bitkin::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            let kind = error.kind();
            use std::io::ErrorKind::{QuotaExceeded, StorageFull};
            return matches!(kind, StorageFull | QuotaExceeded);
        }
        source = error.source();
    }
    false
}

/// Tells what was done: as a message for people, or as a line of JSON on standard output.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn report(
    session: &mut Session,
    format: Format,
    facts: Value,
    text: &str,
) -> Result<(), Failure> {
    match format {
        Format::Json => session.out.line(facts.to_string()),
        Format::Table => {
            say(plain(text));
            Ok(())
        }
    }
}

/// Opens a database to read, beside whoever writes it.
///
/// # Errors
/// When there is none, or it cannot be read.
pub(crate) fn open_to_read(path: &Path) -> Result<Database, Failure> {
    expect_database(path)?;
    Database::open_read_only(path).map_err(|error| cannot_open(path, error))
}

/// Opens a database to write; `activity` watches its segments being written.
///
/// # Errors
/// When there is none, it cannot be opened, or another process writes it.
pub(crate) fn open_to_write(path: &Path, activity: &Activity) -> Result<Database, Failure> {
    expect_database(path)?;
    let options = DatabaseOptions::new().activity(activity.clone());
    options.open(path).map_err(|error| cannot_open(path, error))
}

/// Closes a database that was written, unless the session keeps it open: a merge that goes on behind may have
/// to come to a point where it can end.
///
/// # Errors
/// What storage reports of its last writes.
pub(crate) fn close(database: Handle) -> Result<(), Failure> {
    match database {
        Handle::Own(database) => busy("finishing", || database.close()).map_err(failure),
        Handle::Kept(_) => Ok(()),
    }
}

/// Why a database cannot be opened, and what to do about it.
fn cannot_open(path: &Path, error: bitkin::Error) -> Failure {
    let shown = typed(path.as_os_str());
    let advice = match error.kind() {
        ErrorKind::NotADatabase => {
            format!("bitkin create {shown} NAME --bits N makes one in an empty or new directory")
        }
        ErrorKind::Corrupt => {
            format!(
                "bitkin verify {shown} says what is damaged; bitkin repair {shown} NEW saves what is whole"
            )
        }
        ErrorKind::Locked => "search, get, stats and export work beside it".to_owned(),
        ErrorKind::UnknownFormat => {
            "use the version of bitkin that wrote it, or a newer one".to_owned()
        }
        ErrorKind::Disk if error.to_string().contains("denied") => {
            "its owner can give you the right to read it, and, to change it, to write".to_owned()
        }
        _ => return named(path, error),
    };
    named(path, error).advise(advice)
}

fn expect_database(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    let (shown, typed) = (path.display(), typed(path.as_os_str()));
    let there = path.try_exists();
    Err(match there {
        Ok(true) => Failure::new(format!("{shown} is no database: a database is a directory"))
            .advise("name the directory that bitkin create made"),
        Ok(false) => Failure::new(format!("{shown} does not exist")).advise(format!(
            "is the name right? bitkin create {typed} NAME --bits N makes a new one"
        )),
        Err(error) => Failure::new(format!("{shown}: {error}"))
            .advise("its owner can give you the right to read it"),
    })
}

/// Takes a database away; the folder too, unless it was the user's.
fn discard(path: &Path, folder_too: bool) {
    if folder_too {
        let _ = std::fs::remove_dir_all(path);
        return;
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let entry = entry.path();
        // A link is taken away, never followed.
        let _ = std::fs::remove_file(&entry).or_else(|_| std::fs::remove_dir_all(&entry));
    }
}

pub(crate) fn is_empty_directory(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// An error with the file or database it is about, unless it names it itself.
pub(crate) fn named(path: &Path, error: impl std::fmt::Display) -> Failure {
    let (text, path) = (error.to_string(), path.display().to_string());
    Failure::new(if text.contains(&path) {
        text
    } else {
        format!("{path}: {text}")
    })
}

/// A line that says what is wrong with a file; `key` names what is wrong in JSON.
fn problem_line(format: Format, problem: &Problem, key: &str) -> String {
    let Problem { file, offset, what } = problem;
    match (format, offset) {
        (Format::Json, offset) => json!({"file": file, "offset": offset, key: what}).to_string(),
        (Format::Table, Some(offset)) => format!("{file}, byte {offset}: {what}"),
        (Format::Table, None) => format!("{file}: {what}"),
    }
}

/// The collection of that name; Ctrl-C stops what is read of it.
///
/// # Errors
/// When there is none; the message names those that exist.
pub(crate) fn collection(database: &Database, name: &str) -> Result<Collection, Failure> {
    let found = database.collection(name).map_err(|error| match &error {
        bitkin::Error::UnknownCollection { existing, .. } if existing.is_empty() => failure(error)
            .advise(format!(
                "bitkin create {} {} --bits N makes it",
                typed(database.path().as_os_str()),
                typed(name.as_ref())
            )),
        _ => failure(error),
    })?;
    Ok(found.stopped_by(interrupt::reads()))
}

/// The encoder of a collection: the one that is built in, or its model, loaded into the encoder library.
///
/// # Errors
/// When the collection has none, or the library or the model cannot be loaded.
pub(crate) fn encoder(collection: &Collection) -> Result<Arc<dyn Encoder>, Failure> {
    let encoder = collection.open_encoder(&[], Device::Auto);
    encoder.map_err(|error| match &error {
        bitkin::Error::NoModel { .. } => failure(error).advise(
            "give it codes (import, search --code), or create a collection with --model FILE or --encoder pdq",
        ),
        _ => failure(error),
    })
}

/// The code of one picture file, by the encoder of `collection`.
///
/// # Errors
/// When the file cannot be read, decoded or encoded.
pub(crate) fn encode_file(
    collection: &Collection,
    encoder: &dyn Encoder,
    path: &Path,
) -> Result<Vec<u8>, Failure> {
    let failed =
        |e: &dyn std::fmt::Display| Failure::new(format!("cannot encode {}: {e}", path.display()));
    let bytes = read_picture(path).map_err(|e| failed(&e))?;
    collection
        .encode_image(encoder, &bytes)
        .map_err(|e| failed(&e))
}

/// The bytes of a picture file. Only of a regular one: a pipe could keep the program waiting for
/// ever.
///
/// # Errors
/// When it is none, or cannot be read.
pub(crate) fn read_picture(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        let kind = std::io::ErrorKind::InvalidInput;
        return Err(std::io::Error::new(kind, "not a regular file"));
    }
    std::fs::read(path)
}

/// A text of a payload, fit for a line of a terminal; empty if there is none.
fn field(payload: &str, key: &str) -> String {
    let value: Value = serde_json::from_str(payload).unwrap_or_default();
    let text = value.get(key).and_then(Value::as_str).unwrap_or_default();
    plain(text)
}

/// Hands the arguments of a verb on to `bitkin-train`, which calls it by the last of its words. Its help comes
/// from there, too, and the examples from the grammar.
///
/// # Errors
/// When it is not installed, or fails.
pub(crate) fn train(verb: &[&str], arguments: &[OsString]) -> Result<(), Failure> {
    let words: Vec<OsString> = verb.last().into_iter().map(OsString::from).collect();
    let words = [words, arguments.to_vec()].concat();
    let helps = |word: &OsString| word == "--help" || word == "-h";
    if !arguments.iter().any(helps) {
        return Trainer::find()?.run(&words);
    }
    let mut command = Line::command();
    let described = verb.iter().try_fold(&mut command, |command, word| {
        command.find_subcommand_mut(word)
    });
    let trainer = Trainer::find();
    let help = match (&trainer, described) {
        (Ok(_), Some(command)) => command.get_after_help().map(ToString::to_string),
        (Err(_), Some(command)) => Some(command.render_help().to_string()),
        (_, None) => None,
    };
    if let Ok(trainer) = &trainer {
        trainer.run(&words)?;
        let _ = writeln!(io::stdout());
    }
    // Who reads help may stop in the middle of it.
    let _ = writeln!(io::stdout(), "{}", help.unwrap_or_default().trim_end());
    trainer.map(drop)
}

/// Bytes as they are stored, two hexadecimal digits each.
pub(crate) fn hex(code: &[u8]) -> String {
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a code in hexadecimal.
///
/// # Errors
/// When it is no hexadecimal, or not as long as the codes of the collection.
pub(crate) fn parse_code(text: &str, bits: u32) -> Result<Vec<u8>, Failure> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    let Some(digits) = digits else {
        return Err(Failure::new(format!(
            "{text:?} is no code: not all of it is hexadecimal"
        )));
    };
    let expected = bits.div_ceil(8) as usize;
    if digits.len() != 2 * expected {
        return Err(Failure::new(format!(
            "the code has {} hexadecimal digits; codes of {bits} bits have {}",
            digits.len(),
            2 * expected
        )));
    }
    let code: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    check_padding(&code, bits, || "the code".to_owned())?;
    Ok(code)
}

/// The numbers and ranges of numbers, both ends included, of `1,2,5-9`; `what` they number.
///
/// # Errors
/// For a part that is neither.
pub(crate) fn parse_ranges(text: &str, what: &str) -> Result<Vec<(u64, u64)>, Failure> {
    let parse = |part: &str| {
        let part = part.trim();
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let bounds = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (bounds.0 <= bounds.1).then_some(bounds)
    };
    text.split(',')
        .map(|part| {
            parse(part).ok_or_else(|| {
                Failure::usage(format!("{part:?} is no {what} and no range of {what}s"))
                    .advise("write them as 1,2,5-9")
            })
        })
        .collect()
}

/// Refuses a code with bits set beyond its width.
fn check_padding(code: &[u8], bits: u32, what: impl FnOnce() -> String) -> Result<(), Failure> {
    let used = bits % 8;
    match code.last() {
        Some(last) if used != 0 && last >> used != 0 => Err(Failure::new(format!(
            "{} has bits set beyond its width of {bits}",
            what()
        ))
        .advise("the unused high bits of the last byte must be zero")),
        _ => Ok(()),
    }
}

/// Refuses a file of codes of another width than the collection's, or with bits set beyond it.
/// Reads all of it, so that a bad row is told before the first one is used.
///
/// # Errors
/// What is wrong with the file.
fn check_file(file: &Path, bits: u32) -> Result<(), Failure> {
    let mut codes = CodesReader::open(file).map_err(outside)?;
    check_width(&codes, file, bits)?;
    let expected = codes.row_bytes();
    if bits.is_multiple_of(8) {
        return Ok(());
    }
    let mut row = 0u64;
    while row < codes.rows() {
        let chunk = codes.read(1 << 16).map_err(outside)?;
        for code in chunk.chunks_exact(expected) {
            check_padding(code, bits, || format!("row {row} of {}", file.display()))?;
            row += 1;
        }
        if chunk.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Refuses a file of codes of another width than the collection's.
fn check_width(codes: &CodesReader, file: &Path, bits: u32) -> Result<(), Failure> {
    let (found, expected) = (codes.row_bytes(), bits.div_ceil(8) as usize);
    if found == expected {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} has {found} bytes a row; codes of {bits} bits have {expected}",
        file.display(),
    )))
}

/// What is wrong with a `.npy` file, and how to write a good one.
fn outside(error: NpyError) -> Failure {
    let advice = match &error.reason {
        NpyReason::NotNpy => "write it with numpy.save(FILE, array)",
        NpyReason::Dtype { expected, .. } if expected.starts_with("|u1") => {
            "pack the bits first: np.packbits(bits, axis=1, bitorder=\"little\")"
        }
        NpyReason::Shape { expected, .. } if expected.starts_with("(n, ") => {
            "codes are rows of ceil(bits / 8) bytes; a single one is code[None, :]"
        }
        _ => return Failure::new(error.to_string()),
    };
    Failure::new(error.to_string()).advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_codes_go_both_ways() {
        assert_eq!(parse_code("0fA1", 16).unwrap(), [0x0f, 0xa1]);
        assert_eq!(hex(&[0x0f, 0xa1]), "0fa1");
        let says = |text, bits, what: &str| {
            let error = parse_code(text, bits).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        says("0fa", 16, "3 hexadecimal digits; codes of 16 bits have 4");
        says("é1a2", 16, "not all of it");
        says("", 16, "0 hexadecimal digits");
        says("ff10", 12, "beyond its width of 12");
        assert!(parse_code("ff0f", 12).is_ok());
    }
}
