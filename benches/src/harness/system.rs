//! The systems that are measured, and the processes in which they run.
//!
//! Every system is a process that takes the same commands (`peers/serve.py` describes them), so that
//! its memory is its own, and a crash or a hang is its own too. Bitkin and mih-rs have one in this
//! program, for the border of a native call; all others, and Bitkin again, are called from Python.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use bitkin_benches::Result;
use serde_json::{Value, json};

/// Settings of one search.
pub(crate) type Params = BTreeMap<String, u64>;

/// How a system is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Border {
    Native,
    Python,
}

impl Border {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Border::Native => "native",
            Border::Python => "python",
        }
    }
}

/// A system, and the settings that it is measured with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System {
    pub(crate) name: &'static str,
    pub(crate) border: Border,
    /// The setting that is swept, and its values; a system without is measured once.
    pub(crate) sweep: Option<(&'static str, &'static [u64])>,
    /// What it is built with, and the values of that, the usual one first: for each it has a process
    /// of its own. A quick run takes the first.
    pub(crate) builds: Option<(&'static str, &'static [u64])>,
    /// Rows beyond which it is not tried: what builds too slowly.
    pub(crate) most_rows: usize,
    /// What it is measured in.
    pub(crate) kinds: Kinds,
    /// Whether it has a call for many queries, and threads for it.
    pub(crate) batched: bool,
    /// Whether several threads may ask it at once.
    pub(crate) shared: bool,
    /// Whether it says of itself that it misses nothing.
    pub(crate) exact: bool,
}

/// Which searches a system is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinds {
    All,
    Nearest,
    /// Only of codes of eight bytes.
    Words,
}

const EF: &[u64] = &[10, 16, 32, 64, 128, 256, 512];
const PROBES: &[u64] = &[1, 4, 16, 64, 256];

const fn python(name: &'static str) -> System {
    System {
        name,
        border: Border::Python,
        sweep: None,
        builds: None,
        most_rows: usize::MAX,
        kinds: Kinds::All,
        batched: true,
        shared: true,
        exact: false,
    }
}

const fn exact(system: System) -> System {
    System {
        exact: true,
        ..system
    }
}

const fn native(name: &'static str) -> System {
    System {
        border: Border::Native,
        ..python(name)
    }
}

/// Every system. What is bounded in rows takes hours to build beyond them.
pub(crate) const SYSTEMS: [System; 12] = [
    exact(python("bitkin")),
    System {
        // 0: as the planner thinks best, which is what peers are compared with; 1: scans; 2: tables.
        sweep: Some(("way", &[0, 1, 2])),
        ..exact(native("bitkin-native"))
    },
    System {
        // Rows that are compared with a query at most: approximate search, with a certificate.
        sweep: Some(("candidates", &[100, 300, 1_000, 3_000, 10_000, 30_000])),
        ..native("bitkin-budget")
    },
    exact(python("faiss-flat")),
    System {
        sweep: Some(("nprobe", PROBES)),
        ..python("faiss-ivf")
    },
    System {
        sweep: Some(("ef", EF)),
        most_rows: 2_000_000,
        kinds: Kinds::Nearest,
        ..python("faiss-hnsw")
    },
    System {
        sweep: Some(("nflip", &[0, 1, 2])),
        builds: Some(("b", &[16, 20])),
        ..python("faiss-multihash")
    },
    System {
        kinds: Kinds::Nearest,
        shared: false,
        ..exact(python("usearch-exact"))
    },
    System {
        sweep: Some(("ef", EF)),
        most_rows: 2_000_000,
        kinds: Kinds::Nearest,
        // Every call of its module numbers its threads from 0, and they have their memory by number.
        shared: false,
        ..python("usearch-hnsw")
    },
    System {
        // 0: what it chooses by itself.
        builds: Some(("blocks", &[0, 3, 4, 5])),
        kinds: Kinds::Words,
        batched: false,
        ..exact(native("mih-rs"))
    },
    System {
        kinds: Kinds::Nearest,
        batched: false,
        ..exact(python("sqlite-vec"))
    },
    System {
        sweep: Some(("nprobes", &[0, 1, 4, 16, 64, 256])),
        most_rows: 2_000_000,
        kinds: Kinds::Nearest,
        batched: false,
        ..python("lancedb")
    },
];

impl System {
    pub(crate) fn named(name: &str) -> Result<System> {
        let found = SYSTEMS.iter().find(|system| system.name == name).copied();
        let known: Vec<&str> = SYSTEMS.iter().map(|system| system.name).collect();
        found.ok_or_else(|| {
            let known = known.join(", ");
            format!("there is no system named {name:?}; there are {known}").into()
        })
    }

    /// All that it is built with; with `quick`, the first.
    pub(crate) fn built_with(&self, quick: bool) -> Vec<Params> {
        let Some((name, values)) = self.builds else {
            return vec![Params::new()];
        };
        let values = if quick { &values[..1] } else { values };
        values
            .iter()
            .map(|value| Params::from([(name.to_owned(), *value)]))
            .collect()
    }

    /// All settings that it is measured with; with `quick`, every third.
    pub(crate) fn settings(&self, quick: bool) -> Vec<Params> {
        let Some((name, values)) = self.sweep else {
            return vec![Params::new()];
        };
        // Always the last, which finds most.
        let step = if quick && values.len() > 3 { 3 } else { 1 };
        let values = values.iter().rev().step_by(step).rev();
        values
            .map(|value| Params::from([(name.to_owned(), *value)]))
            .collect()
    }

    /// Whether it is there for codes of this width, and for radius search.
    pub(crate) fn suits(&self, bits: u32, radius: bool) -> bool {
        match self.kinds {
            Kinds::All => true,
            Kinds::Nearest => !radius,
            Kinds::Words => bits.div_ceil(8) == 8,
        }
    }

    /// How its process is started.
    pub(crate) fn command(&self, python: Option<&Path>, peers: &Path) -> Option<Command> {
        let mut command = match self.border {
            Border::Native => {
                let mut command = Command::new(std::env::current_exe().ok()?);
                command.arg("serve");
                command
            }
            Border::Python => {
                let mut command = Command::new(python?);
                command.arg(peers.join("serve.py"));
                command
            }
        };
        command.arg(self.name);
        Some(command)
    }
}

/// A system at work.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    input: ChildStdin,
    answers: Receiver<std::io::Result<String>>,
    /// Where what it prints goes.
    log: PathBuf,
    pub(crate) version: String,
    /// Whether it keeps rows safely as they are written.
    pub(crate) durable: bool,
    able: Value,
}

/// How the error of a system begins that is not installed.
pub(crate) const MISSING: &str = "it is not here";

/// Why a system gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// It is not installed.
    #[error("{MISSING}: {0}")]
    Missing(String),
    /// It said so itself.
    #[error("{0}")]
    Failed(String),
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("its process ended{}{}", if .0.is_empty() { "" } else { "; it said last: " }, .0)]
    Ended(String),
}

impl Peer {
    /// Starts a system in a folder of its own.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Result<Peer> {
        let said = std::fs::File::create(&log)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .map_err(|error| PeerError::Missing(error.to_string()))?;
        let input = child.stdin.take().ok_or("its input was asked for")?;
        let output = child.stdout.take().ok_or("its output was asked for")?;
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut peer = Peer {
            child,
            input,
            answers,
            log,
            version: String::new(),
            durable: false,
            able: Value::Null,
        };
        let able = peer.answer(Duration::from_secs(120))?;
        peer.version = able["version"].as_str().unwrap_or_default().to_owned();
        peer.durable = able["durable"] == json!(true);
        peer.able = able;
        Ok(peer)
    }

    /// Whether it knows a command that not all do.
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.able[verb] == json!(true)
    }

    /// Gives it a command and waits for the answer.
    pub(crate) fn ask(
        &mut self,
        command: &Value,
        patience: Duration,
    ) -> std::result::Result<Value, PeerError> {
        if writeln!(self.input, "{command}").is_err() {
            return Err(self.ended());
        }
        self.answer(patience)
    }

    fn answer(&mut self, patience: Duration) -> std::result::Result<Value, PeerError> {
        let line = match self.answers.recv_timeout(patience) {
            Ok(Ok(line)) => line,
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                return Err(PeerError::TimedOut(patience));
            }
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
        };
        let answer: Value = serde_json::from_str(&line).map_err(|_| PeerError::Failed(line))?;
        if let Some(missing) = answer["missing"].as_str() {
            return Err(PeerError::Missing(missing.to_owned()));
        }
        match answer["error"].as_str() {
            Some(error) => Err(PeerError::Failed(error.to_owned())),
            None => Ok(answer),
        }
    }

    fn ended(&self) -> PeerError {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        PeerError::Ended(last.unwrap_or_default().to_owned())
    }

    /// Bytes of memory that it holds, and how many of them are in no file; but for the file
    /// `except`: every system reads the rows from there, and none needs it any more.
    pub(crate) fn resident(&self, except: &Path) -> Option<[u64; 2]> {
        let except = except.canonicalize().ok()?;
        let except = except.to_str()?;
        let maps = std::fs::read_to_string(format!("/proc/{}/smaps", self.child.id())).ok()?;
        let (mut bytes, mut counts) = ([0, 0], true);
        for line in maps.lines() {
            // The first line of a mapping, which ends with its file: it starts with an address, all
            // others with a capital.
            if !line.starts_with(|c: char| c.is_ascii_uppercase()) {
                counts = !line.ends_with(except);
            }
            for (bytes, name) in bytes.iter_mut().zip(["Rss:", "Anonymous:"]) {
                if let (true, Some(kib)) = (counts, line.strip_prefix(name)) {
                    let kib = kib.trim().trim_end_matches(" kB").parse::<u64>();
                    *bytes += 1024 * kib.unwrap_or(0);
                }
            }
        }
        Some(bytes)
    }

    /// The most bytes that it ever held, all mapped files included.
    pub(crate) fn peak(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(1024 * kib)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes of all files in a folder.
pub(crate) fn bytes_on_disk(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    visit(folder, &mut |path| {
        bytes += path.symlink_metadata()?.len();
        Ok(())
    })?;
    Ok(bytes)
}

/// Makes the system forget what it keeps of the files in a folder, so that they are read from disk.
pub(crate) fn evict(folder: &Path) -> std::io::Result<()> {
    visit(folder, &mut |path| {
        let file = std::fs::File::open(path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    })
}

fn visit(folder: &Path, each: &mut dyn FnMut(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            visit(&path, each)?;
        } else {
            each(&path)?;
        }
    }
    Ok(())
}

/// Seconds that something took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let begin = Instant::now();
    let done = work();
    (done, begin.elapsed().as_secs_f64())
}
