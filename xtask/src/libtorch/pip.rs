//! Fetching a wheel with the user's pip, whichever it is.
//!
//! Only `pip download` is used, told to fetch for CPython 3.12 on x86-64 Linux whatever it runs
//! on: nothing is installed, so an "externally managed" Python does not object, and the version of
//! the Python does not matter. The index, proxies and certificates are those that the user's pip
//! is configured for. The options are understood by pip 19.2 (2019) and newer; an older one is used
//! only to fetch a newer one, for the occasion.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::error::{Error, megabytes};
use super::pins::Wheel;

/// Executables called `name` in the folders of a PATH, in its order.
pub(crate) fn on_path(path: &OsStr, name: &str) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path)
        .map(move |dir| dir.join(name))
        .filter(|file| {
            file.metadata()
                .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
}

/// The oldest release that fetches for another Python than its own by exact platform tag.
const OLDEST: (u32, u32) = (19, 2);

/// A Python that has pip.
pub(crate) struct Pip {
    python: PathBuf,
    path: OsString,
    /// For messages, such as "pip 23.2.1".
    version: String,
    /// A wheel of pip to run instead of the installed pip.
    newer: Option<PathBuf>,
}

impl fmt::Display for Pip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.version, self.python.display())
    }
}

impl Pip {
    /// The first `python3` on PATH that has pip. A virtual environment without pip (some tools make
    /// such) thus does not hide the system's Python.
    pub(crate) fn find(path: &OsStr) -> Result<Pip, Error> {
        let mut without = None;
        for python in on_path(path, "python3") {
            let asked = Command::new(&python)
                .args(["-m", "pip", "--version"])
                .env("PATH", path)
                .stdin(Stdio::null())
                .output();
            let said = match asked {
                Ok(answer) if answer.status.success() => {
                    let said = String::from_utf8_lossy(&answer.stdout);
                    let version = said
                        .split(" from ")
                        .next()
                        .unwrap_or("pip")
                        .trim()
                        .to_owned();
                    return Ok(Pip {
                        python,
                        path: path.to_owned(),
                        version,
                        newer: None,
                    });
                }
                Ok(answer) => tail(&String::from_utf8_lossy(&answer.stderr), 5),
                Err(e) => e.to_string(),
            };
            without.get_or_insert(Error::NoPip { python, said });
        }
        Err(without.unwrap_or(Error::NoPython))
    }

    /// Whether this pip cannot fetch what is needed.
    pub(crate) fn is_old(&self) -> bool {
        let mut numbers = self
            .version
            .trim_start_matches("pip ")
            .split('.')
            .map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < OLDEST,
            _ => false,
        }
    }

    /// This Python with the pip in `wheel`, a wheel of pip, in place of the installed one.
    pub(crate) fn replaced_by(self, wheel: PathBuf) -> Pip {
        Pip {
            newer: Some(wheel),
            ..self
        }
    }

    /// Fetches `wheel` into `scratch`, an empty folder, and returns the file. Its content is still
    /// to be checked.
    pub(crate) fn fetch(&self, wheel: &Wheel, scratch: &Path) -> Result<PathBuf, Error> {
        let write = |name: &str, text: &str| {
            let file = scratch.join(name);
            fs::write(&file, text).map_err(Error::at("write", &file))?;
            Ok(file)
        };
        let requirements = write("requirements.txt", &(wheel.requirement() + "\n"))?;
        let (log, details) = (write("pip.txt", "")?, write("details.txt", "")?);
        let said = || {
            File::options()
                .append(true)
                .open(&log)
                .map_err(Error::at("open", &log))
        };
        let dir = |name| {
            let dir = scratch.join(name);
            fs::create_dir(&dir).map_err(Error::at("make", &dir))?;
            Ok(dir)
        };
        let (temporary, arrived) = (dir("tmp")?, dir("wheel")?);

        let mut pip = Command::new(&self.python);
        pip.args(["-m", "pip", "download", "--quiet", "--progress-bar", "off"]);
        pip.args(["--disable-pip-version-check", "--no-cache-dir", "--no-deps"]);
        pip.args(["--require-hashes", "--only-binary=:all:"]);
        if wheel.platform != "any" {
            pip.args([
                "--implementation",
                "cp",
                "--python-version",
                "312",
                "--abi",
                "cp312",
            ]);
            pip.args(["--platform", wheel.platform]);
        }
        // Only its detailed log says that a missing wheel is really a missing network.
        pip.arg("--log").arg(&details);
        pip.arg("--dest")
            .arg(&arrived)
            .arg("--requirement")
            .arg(&requirements);
        // pip writes to its temporary folder first: on the disk that was found to have room, where
        // the progress can be seen, and where it is removed with the rest.
        pip.env("TMPDIR", &temporary).env("PATH", &self.path);
        // Settings for installing that would get in the way of a mere download.
        pip.env("PIP_REQUIRE_VIRTUALENV", "0")
            .env_remove("PIP_CONSTRAINT");
        if let Some(newer) = &self.newer {
            pip.env("PYTHONPATH", newer);
        }
        pip.stdin(Stdio::null()).stdout(said()?).stderr(said()?);
        let mut child = pip.spawn().map_err(Error::at("run", &self.python))?;

        let mut progress = Progress::new(wheel);
        let status = loop {
            if let Some(status) = child
                .try_wait()
                .map_err(Error::at("wait for", &self.python))?
            {
                break status;
            }
            std::thread::sleep(Duration::from_millis(100));
            progress.show(largest_file(scratch));
        };
        progress.end();
        let text = |file: &Path| {
            let bytes = fs::read(file).map_err(Error::at("read", file))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let said = text(&log)?;
        if !status.success() {
            return Err(why(wheel, scratch, status, &said, &text(&details)?));
        }
        let mut files = fs::read_dir(&arrived)
            .map_err(Error::at("read", &arrived))?
            .flatten();
        files
            .next()
            .map(|found| found.path())
            .ok_or_else(|| Error::Pip {
                file: name(wheel),
                status: "it ended well but left no file".into(),
                said: tail(&said, 10),
            })
    }
}

fn name(wheel: &Wheel) -> String {
    format!("{} {}", wheel.project, wheel.version)
}

/// Reads from pip's own words why it failed: from what it `said`, and from the `details` of its log.
/// They are its interface here, since it has but one exit code.
fn why(wheel: &Wheel, scratch: &Path, status: ExitStatus, said: &str, details: &str) -> Error {
    let any = |words: &[&str]| {
        words
            .iter()
            .any(|w| said.contains(w) || details.contains(w))
    };
    let file = name(wheel);
    if any(&[
        "No space left on device",
        "Disk quota exceeded",
        "File too large",
        "[Errno 28]",
    ]) {
        return Error::DiskFull {
            dir: scratch.to_path_buf(),
            said: tail(said, 1),
        };
    }
    if any(&["DO NOT MATCH THE HASHES"]) {
        let found = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("Got"))
            .map_or("(see pip's words)", str::trim);
        return Error::Checksum {
            file,
            expected: wheel.sha256.clone(),
            found: found.into(),
        };
    }
    // Asked before "No matching distribution", with which pip ends its complaints about a network.
    if any(&[
        "NewConnectionError",
        "ConnectTimeout",
        "ReadTimeout",
        "Read timed out",
        "ConnectionResetError",
        "Connection aborted",
        "Connection broken",
        "IncompleteRead",
        "incomplete-download",
        "Max retries exceeded",
        "name resolution",
        "Network is unreachable",
        "Connection refused",
        "ProxyError",
        "SSLError",
        "CERTIFICATE_VERIFY_FAILED",
    ]) {
        return Error::Network {
            file,
            said: tail(said, 4),
        };
    }
    if any(&["No matching distribution found"]) {
        return Error::NotServed {
            file,
            said: tail(said, 4),
        };
    }
    let status = match (status.code(), status.signal()) {
        (_, Some(signal)) => format!("it was ended by signal {signal}"),
        (code, None) => format!("exit code {}", code.unwrap_or(-1)),
    };
    Error::Pip {
        file,
        status,
        said: tail(said, 10),
    }
}

/// The last `lines` lines of a text that say anything.
fn tail(text: &str, lines: usize) -> String {
    let spoken: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    spoken[spoken.len().saturating_sub(lines)..].join("\n")
}

/// Size of the largest file under `dir`. pip keeps two copies for a while, so a sum would lie.
fn largest_file(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => largest_file(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .max()
        .unwrap_or(0)
}

/// A line that tells how far a download is: rewritten on a terminal, else a new one now and then.
struct Progress {
    label: String,
    total: u64,
    terminal: bool,
    every: Duration,
    last: Instant,
}

impl Progress {
    fn new(wheel: &Wheel) -> Progress {
        let terminal = io::stderr().is_terminal();
        let mut progress = Progress {
            label: name(wheel),
            total: wheel.bytes,
            terminal,
            every: if terminal {
                Duration::from_millis(200)
            } else {
                Duration::from_secs(5)
            },
            last: Instant::now(),
        };
        if terminal {
            progress.print(0);
        } else {
            eprintln!("  {}: {} MB", progress.label, megabytes(progress.total));
        }
        progress
    }

    fn show(&mut self, bytes: u64) {
        if self.last.elapsed() >= self.every {
            self.print(bytes.min(self.total));
        }
    }

    fn print(&mut self, bytes: u64) {
        self.last = Instant::now();
        let (start, end) = if self.terminal {
            ("\r", "\x1b[K")
        } else {
            ("", "\n")
        };
        let (here, all) = (bytes / 1_000_000, megabytes(self.total));
        eprint!("{start}  {}: {here} of {all} MB{end}", self.label);
    }

    /// Leaves the cursor at the start of a line.
    fn end(&mut self) {
        if self.terminal {
            eprintln!();
        }
    }
}
