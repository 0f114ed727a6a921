//! The private environment in which the peers are installed, once for each list of versions.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bitkin_benches::Result;
use xxhash_rust::xxh3::xxh3_64;

use super::codes::named;

/// Says what goes on to whoever waits.
pub(crate) type Say<'a> = &'a dyn Fn(&str);

/// The interpreter of the environment, with what could be installed. `None`, and a word why, if
/// there can be no environment: all systems that are called from Python are then left out.
pub(crate) fn prepare(root: &Path, cache: &Path, commit: &str, say: Say<'_>) -> Option<PathBuf> {
    match try_prepare(root, cache, commit, say) {
        Ok(python) => Some(python),
        Err(error) => {
            say(&format!("no system that is called from Python: {error}"));
            None
        }
    }
}

fn try_prepare(root: &Path, cache: &Path, commit: &str, say: Say<'_>) -> Result<PathBuf> {
    let python = environment(root, cache, say)?;
    let installed = python.with_file_name("bitkin-commit");
    let module = root.join("bindings/python");
    let fresh = std::fs::read_to_string(&installed).is_ok_and(|known| known == commit);
    if module.exists() && (!fresh || commit.ends_with('+')) {
        say("building the Python module");
        // What was built of another commit must not be measured as this one.
        let _ = std::fs::remove_file(&installed);
        let mut remove = Command::new(&python);
        run(remove.args(["-m", "pip", "uninstall", "--quiet", "--yes", "bitkin"]))?;
        let mut install = pip(&python);
        install
            .args(["--force-reinstall", "--no-deps"])
            .arg(&module);
        match run(&mut install) {
            Ok(()) => std::fs::write(&installed, commit).map_err(named(&installed))?,
            Err(error) => say(&format!("bitkin for Python is left out: {error}")),
        }
    }
    Ok(python)
}

/// The environment with the peers in it, and its interpreter.
pub(crate) fn environment(root: &Path, cache: &Path, say: Say<'_>) -> Result<PathBuf> {
    let list = root.join("benches/peers/requirements.txt");
    let text = std::fs::read_to_string(&list).map_err(named(&list))?;
    let folder = cache.join(format!("peers-{:016x}", xxh3_64(text.as_bytes())));
    let python = folder.join("bin/python");
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(python);
    }
    say("installing the peers into an environment of their own, once");
    let mut environment = Command::new("python3");
    run(environment.args(["-m", "venv"]).arg(&folder))?;
    let lines = text.lines().map(str::trim);
    let mut all = true;
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Err(error) = run(pip(&python).arg(line)) {
            say(&format!("{line} is left out: {error}"));
            all = false;
        }
    }
    // What is missing is tried again by the next run.
    if all {
        std::fs::write(&complete, "").map_err(named(&complete))?;
    }
    Ok(python)
}

fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    command.stdin(Stdio::null());
    command
}

/// Runs it; an error has the last line that it said.
fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(last
        .unwrap_or("it failed and did not say why")
        .to_owned()
        .into())
}

/// The commit that is measured, with `+` if files differ from it.
pub(crate) fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .current_dir(root)
            .args(arguments)
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain"]).is_none_or(|changes| !changes.is_empty());
    if changed { commit + "+" } else { commit }
}
