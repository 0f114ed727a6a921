//! What the tests of the program share: running it, and writing files for it.
#![allow(dead_code, reason = "each test program uses a part")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What a run of the program left.
pub(crate) struct Run {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl Run {
    /// The run went well.
    #[track_caller]
    pub(crate) fn good(self) -> Run {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self
    }

    /// The run failed with this code, said all of `words`, and printed no result.
    #[track_caller]
    pub(crate) fn bad(self, code: i32, words: &[&str]) -> Run {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        assert_eq!(self.out, "");
        self
    }

    /// Its standard output, every line of which is a JSON object.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| serde_json::from_str(line).expect("a line of JSON");
        self.out.lines().map(parse).collect()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A folder to work in, with the program at hand.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// An empty one.
    pub(crate) fn new() -> Place {
        Place {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program, about to be run here.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitkin"));
        command
            .current_dir(self.dir.path())
            .args(words)
            .stdin(Stdio::null());
        for variable in ["BITKIN_ENCODER", "BITKIN_TRAIN", "BITKIN_SIMD"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs a line of words without spaces in them.
    pub(crate) fn run(&self, line: &str) -> Run {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.command(&words).output().unwrap().into()
    }

    /// Writes packed codes as `.npy`.
    pub(crate) fn codes(&self, name: &str, width: usize, codes: &[u8]) {
        write_npy(
            &self.path(name),
            "|u1",
            &format!("({}, {width})", codes.len() / width),
            codes,
        );
    }

    /// Writes ids as `.npy`.
    pub(crate) fn ids(&self, name: &str, ids: &[u64]) {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        write_npy(
            &self.path(name),
            "<u8",
            &format!("({},)", ids.len()),
            &bytes,
        );
    }

    /// The bytes of every file below `name`, by path: to see that nothing changed.
    pub(crate) fn content(&self, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut files, mut folders) = (Vec::new(), vec![self.path(name)]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((path.clone(), std::fs::read(path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }
}

/// Writes a `.npy` file of version 1.
pub(crate) fn write_npy(path: &Path, descr: &str, shape: &str, data: &[u8]) {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}

/// Pseudo-random bytes, the same for a seed.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A PPM file of `side` by `side` pixels: waves whose lengths depend on the number, brightened by `light`.
pub(crate) fn waves(number: u32, side: u32, light: u32) -> Vec<u8> {
    let mut file = format!("P6\n{side} {side}\n255\n").into_bytes();
    for y in 0..side {
        for x in 0..side {
            let (u, v) = (x * 256 / side, y * 256 / side);
            let wave = u * (u + 90 * number) / 200 + v * v * (number + 1) / 400;
            let value = (wave % 256).abs_diff(128) + light;
            file.extend([value as u8; 3]);
        }
    }
    file
}
