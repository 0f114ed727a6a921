//! The second executable, `bitkin-train`: training and evaluation, which need libtorch.

use crate::error::{FAILED, Failure, USAGE};
use crate::interrupt;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The program, found but not started.
pub(crate) struct Trainer(PathBuf);

impl Trainer {
    /// Finds it: `$BITKIN_TRAIN`, else beside this program.
    ///
    /// # Errors
    /// When it is nowhere; the message says how to get it.
    pub(crate) fn find() -> Result<Trainer, Failure> {
        let name = OsString::from(format!("bitkin-train{}", std::env::consts::EXE_SUFFIX));
        let program = std::env::current_exe().and_then(std::fs::canonicalize);
        let home = program.unwrap_or_default();
        let home = home.parent().unwrap_or(Path::new(""));
        let places = match std::env::var_os("BITKIN_TRAIN") {
            // What the user names is meant: nothing else is tried in its place.
            Some(path) if !path.is_empty() => vec![PathBuf::from(path)],
            _ => ["", "..", "../libexec", "../lib/bitkin"]
                .map(|folder| home.join(folder).join(&name))
                .to_vec(),
        };
        match places.iter().find(|place| place.is_file()) {
            Some(place) => Ok(Trainer(place.clone())),
            None => Err(not_installed(&places)),
        }
    }

    /// Runs it with this program's own standard streams.
    ///
    /// # Errors
    /// When it cannot be started or does not end with code 0. Codes 1 and 2 become this
    /// program's, in silence: it has then said itself what is wrong.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<(), Failure> {
        let child = self.start(arguments, Stdio::inherit())?;
        self.outcome(wait(child).map_err(|e| self.failed(&e))?)
    }

    /// Runs it and returns what it prints; its messages go to this program's standard error.
    ///
    /// # Errors
    /// As [`Trainer::run`].
    pub(crate) fn ask<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String, Failure> {
        let mut child = self.start(arguments, Stdio::piped())?;
        let stdout = child.stdout.take();
        // Read while it runs: a full pipe would stop it for ever.
        let reader = std::thread::spawn(move || stdout.map(std::io::read_to_string));
        self.outcome(wait(child).map_err(|e| self.failed(&e))?)?;
        match reader.join() {
            Ok(Some(Ok(text))) => Ok(text),
            Ok(Some(Err(e))) => Err(self.failed(&e)),
            _ => Err(self.failed(&"its output is lost")),
        }
    }

    fn start<S: AsRef<OsStr>>(&self, arguments: &[S], stdout: Stdio) -> Result<Child, Failure> {
        Command::new(&self.0)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .spawn()
            .map_err(|e| self.failed(&e))
    }

    fn failed(&self, what: &dyn std::fmt::Display) -> Failure {
        Failure::new(format!("{} cannot be run: {what}", self.0.display()))
    }

    fn outcome(&self, status: ExitStatus) -> Result<(), Failure> {
        if interrupt::asked() {
            return Err(Failure::interrupted("stopped; nothing was written"));
        }
        match status.code() {
            Some(0) => Ok(()),
            // It has said itself what is wrong.
            Some(code @ (1 | 2)) => Err(Failure::silent(if code == 2 { USAGE } else { FAILED })),
            _ => Err(Failure::new(format!(
                "{} broke off: {status}",
                self.0.display()
            ))),
        }
    }
}

fn not_installed(places: &[PathBuf]) -> Failure {
    let places: Vec<String> = places
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    Failure::new(format!(
        "the training program is not installed; looked for {}",
        places.join(", ")
    ))
    .advise(
        "build it with `cargo build --release -p bitkin-encoder` and leave it beside the bitkin program, \
         or name it in $BITKIN_TRAIN",
    )
}

/// Waits for `child`. After Ctrl-C (which a terminal sends to both) it gets a moment to end by
/// itself.
fn wait(mut child: Child) -> std::io::Result<ExitStatus> {
    let mut asked_since = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupt::asked() {
            let since: &mut Instant = asked_since.get_or_insert_with(Instant::now);
            if since.elapsed() > Duration::from_secs(2) {
                child.kill()?;
                return child.wait();
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell() -> Trainer {
        Trainer("/bin/sh".into())
    }

    #[test]
    fn its_output_is_read_while_it_runs() {
        // More than a pipe holds.
        let text = shell().ask(&["-c", "yes row | head -n 100000"]).unwrap();
        assert_eq!(text.lines().count(), 100_000);
    }

    #[test]
    fn its_exit_code_is_passed_on_in_silence() {
        let failure = shell().run(&["-c", "exit 2"]).unwrap_err();
        assert_eq!((failure.code(), failure.speaks()), (2, false));
        let failure = shell().run(&["-c", "exit 101"]).unwrap_err();
        assert!(
            failure.code() == 1 && failure.to_string().contains("101"),
            "{failure}"
        );
        let failure = shell().ask(&["-c", "kill -9 $$"]).unwrap_err();
        assert!(failure.to_string().contains("signal"), "{failure}");
    }

    #[test]
    fn a_program_that_cannot_start_is_named() {
        let failure = Trainer("/nonexistent/train".into())
            .run(&["x"])
            .unwrap_err();
        assert!(
            failure.to_string().contains("/nonexistent/train"),
            "{failure}"
        );
    }
}
