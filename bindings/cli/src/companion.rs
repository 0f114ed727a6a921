//! Finding what is installed beside this program: the encoder library, the training program.

use crate::error::Failure;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How to get what is missing.
const ADVICE: &str = "build it with `cargo build --release -p bitkin-encoder` and leave it \
                      beside the bitkin program, or name it in";

/// Finds `name`: where the environment variable `variable` says, else in `folders`, which are
/// relative to the folder of this program. `what` names it in messages.
///
/// # Errors
/// When it is nowhere: the message lists where it was looked for, and how to get it.
pub(crate) fn find(
    variable: &str,
    name: &OsStr,
    folders: &[&str],
    what: &str,
) -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()
        .and_then(std::fs::canonicalize)
        .unwrap_or_default();
    let home = program.parent().unwrap_or(Path::new(""));
    look(std::env::var_os(variable).as_deref(), home, name, folders).map_err(|places| {
        let places: Vec<String> = places
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        Failure::new(format!(
            "{what} is not installed; looked for {}",
            places.join(", ")
        ))
        .advise(format!("{ADVICE} ${variable}"))
    })
}

fn look(
    chosen: Option<&OsStr>,
    home: &Path,
    name: &OsStr,
    folders: &[&str],
) -> Result<PathBuf, Vec<PathBuf>> {
    let places: Vec<PathBuf> = match chosen {
        // What the user names is meant: nothing else is tried in its place.
        Some(path) if !path.is_empty() => vec![PathBuf::from(path)],
        _ => folders
            .iter()
            .map(|folder| home.join(folder).join(name))
            .collect(),
    };
    match places.iter().find(|place| place.is_file()) {
        Some(place) => Ok(place.clone()),
        None => Err(places),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_and_is_not_second_guessed() {
        let home = tempfile::tempdir().unwrap();
        let beside = home.path().join("thing");
        std::fs::write(&beside, "").unwrap();
        let name = OsStr::new("thing");
        assert_eq!(
            look(None, home.path(), name, &["", "deps"]),
            Ok(beside.clone())
        );
        assert_eq!(
            look(Some(OsStr::new("")), home.path(), name, &[""]),
            Ok(beside.clone())
        );
        assert_eq!(
            look(Some(beside.as_os_str()), Path::new("/"), name, &[]),
            Ok(beside)
        );
        let missing = home.path().join("missing");
        assert_eq!(
            look(Some(missing.as_os_str()), home.path(), name, &[""]),
            Err(vec![missing.clone()])
        );
        assert_eq!(
            look(None, home.path(), OsStr::new("missing"), &["", "deps"]),
            Err(vec![missing.clone(), home.path().join("deps/missing")])
        );
    }
}
