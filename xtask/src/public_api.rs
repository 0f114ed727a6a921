//! The chore that compares what the library offers with the listing that is checked in: so that no change of
//! it goes unseen.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::process::{Command, ExitCode, Stdio};

use crate::cargo;

/// The listing, in the checkout.
const LISTING: &str = "engine/public-api.txt";

/// Compares the two, and fails if they differ; or writes the listing.
pub(crate) fn public_api(write: bool) -> Result<ExitCode, Box<dyn Error>> {
    let tool = || {
        let mut tool = Command::new("rustup");
        // The listing is made from what only the nightly compiler tells.
        tool.args(["run", "nightly", "cargo", "public-api"])
            .current_dir(cargo::checkout());
        tool
    };
    let version = tool().arg("--version").output();
    if !version.is_ok_and(|version| version.status.success()) {
        eprintln!(
            "left out: it takes `rustup toolchain install nightly` and `cargo +nightly install --locked \
             cargo-public-api`"
        );
        return Ok(ExitCode::SUCCESS);
    }
    // Without what the compiler derives for every type.
    let listed = tool()
        .args(["--package", "bitkin", "-sss"])
        .stderr(Stdio::inherit())
        .output()?;
    if !listed.status.success() {
        return Err("cargo public-api failed".into());
    }
    let now = String::from_utf8(listed.stdout)?;
    let path = cargo::checkout().join(LISTING);
    if write {
        fs::write(&path, now)?;
        return Ok(ExitCode::SUCCESS);
    }
    let before = fs::read_to_string(&path)?;
    let changes = changes(&before, &now);
    if changes.is_empty() {
        eprintln!("as {LISTING} says");
        return Ok(ExitCode::SUCCESS);
    }
    for change in &changes {
        eprintln!("{change}");
    }
    Err(format!(
        "the library offers something else than {LISTING} says; if that is meant, write it anew with \
         `cargo xtask public-api --write`"
    )
    .into())
}

/// Lines that went, with a `-`, and lines that came, with a `+`.
fn changes(before: &str, now: &str) -> Vec<String> {
    let (before, now): (BTreeSet<&str>, BTreeSet<&str>) =
        (before.lines().collect(), now.lines().collect());
    let gone = before.difference(&now).map(|line| format!("- {line}"));
    let come = now.difference(&before).map(|line| format!("+ {line}"));
    gone.chain(come).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_and_what_came_is_said() {
        assert_eq!(changes("a\nb\n", "b\na\n"), [""; 0]);
        assert_eq!(changes("a\nb\n", "b\nc\n"), ["- a", "+ c"]);
    }
}
