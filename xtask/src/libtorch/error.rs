//! What can go wrong while libtorch is brought in, each with what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::pins::TORCH_VERSION;

/// Every message says what was wrong, where, and what to do.
#[derive(Debug)]
pub(crate) enum Error {
    /// No wheel exists for this machine; `found` names it.
    Platform { found: String },
    /// Neither XDG_CACHE_HOME nor HOME says where a cache may be.
    NoHome,
    /// No `python3` on PATH.
    NoPython,
    /// `python` is there but has no pip; `said` is its answer.
    NoPip { python: PathBuf, said: String },
    /// No C++ compiler on PATH.
    NoCompiler,
    /// The user's LIBTORCH cannot be right.
    OwnLibtorch { path: PathBuf, why: &'static str },
    /// `.libtorch` is the user's own and is not what is asked for.
    OwnFolder { path: PathBuf, why: &'static str },
    /// Less free room than the set-up needs at its peak, in bytes.
    LittleRoom {
        dir: PathBuf,
        needed: u64,
        free: u64,
    },
    /// The disk filled up, or a limit on file sizes or a quota was met, while writing.
    DiskFull { dir: PathBuf, said: String },
    /// pip could not reach its package index.
    Network { file: String, said: String },
    /// The index that pip is configured for does not have the wheel.
    NotServed { file: String, said: String },
    /// What arrived is not the wheel that is pinned.
    Checksum {
        file: String,
        expected: String,
        found: String,
    },
    /// pip failed in a way that is none of the above.
    Pip {
        file: String,
        status: String,
        said: String,
    },
    /// The right wheel, and yet it cannot be unpacked.
    Wheel { file: String, why: String },
    /// Anything else that the operating system refused.
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: `what` was being done to `path`. A full disk becomes [`Error::DiskFull`].
    pub(crate) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Error::DiskFull {
                dir: path,
                said: source.to_string(),
            },
            _ => Error::Io { what, path, source },
        }
    }
}

/// Megabytes, as download pages count them.
pub(crate) fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Platform { found } => write!(
                f,
                "there is no libtorch to fetch for {found}: the pinned wheels need x86-64 Linux \
                 with glibc 2.28 or newer.\nInstall libtorch {TORCH_VERSION} yourself and set \
                 LIBTORCH to its folder, or set LIBTORCH_USE_PYTORCH=1 to use that of the active \
                 Python. Packages without an encoder (bitkin, bitkin-storage, bitkin-cli) build \
                 with plain cargo and need none."
            ),
            Error::NoHome => write!(
                f,
                "there is no place for a cache: neither XDG_CACHE_HOME nor HOME is set to an \
                 absolute path. Set one of them."
            ),
            Error::NoPython => write!(
                f,
                "no python3 on PATH: libtorch is fetched with Python's pip.\nInstall it (Debian, \
                 Ubuntu: apt-get install python3 python3-pip; Fedora: dnf install python3-pip), \
                 or set LIBTORCH to a libtorch {TORCH_VERSION} of your own."
            ),
            Error::NoPip { python, said } => write!(
                f,
                "{} has no pip, with which libtorch is fetched.\nInstall it (Debian, Ubuntu: \
                 apt-get install python3-pip; Fedora: dnf install python3-pip; elsewhere: \
                 python3 -m ensurepip --user), or set LIBTORCH to a libtorch {TORCH_VERSION} of \
                 your own. It said:\n{said}",
                python.display()
            ),
            Error::NoCompiler => write!(
                f,
                "no C++ compiler: the bridge to libtorch is compiled on this machine.\nInstall \
                 one (Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++), or set \
                 CXX to yours."
            ),
            Error::OwnLibtorch { path, why } => write!(
                f,
                "LIBTORCH is set to {:?}, {why}.\nSet it to the absolute path of a libtorch \
                 {TORCH_VERSION} folder (one that holds include/ and lib/), or unset it to have \
                 libtorch fetched.",
                path
            ),
            Error::OwnFolder { path, why } => write!(
                f,
                "{} is not of this set-up's making, and {why}. It was left as it is.\nMove it \
                 away to have libtorch fetched, or set LIBTORCH to a folder of your own.",
                path.display()
            ),
            Error::LittleRoom { dir, needed, free } => write!(
                f,
                "not enough room in {}: {} MB are needed while libtorch is unpacked, {} MB are \
                 free.\nFree some, or set XDG_CACHE_HOME to a folder on another disk. Nothing was \
                 fetched.",
                dir.display(),
                megabytes(*needed),
                megabytes(*free)
            ),
            Error::DiskFull { dir, said } => write!(
                f,
                "no room left while writing {}: {said}\nFree some, or set XDG_CACHE_HOME to a \
                 folder on another disk, and run it again. What was half done is removed.",
                dir.display()
            ),
            Error::Network { file, said } => write!(
                f,
                "cannot fetch {file}: the package index could not be reached.\nCheck the network \
                 (and pip's proxy and index settings: python3 -m pip config list) and run it \
                 again, or set LIBTORCH to a libtorch {TORCH_VERSION} of your own. Nothing \
                 half-made is left. pip said:\n{said}"
            ),
            Error::NotServed { file, said } => write!(
                f,
                "cannot fetch {file}: the package index that pip uses does not offer it.\nIf pip \
                 is set to a mirror (python3 -m pip config list), use one that has it, or set \
                 LIBTORCH to a libtorch {TORCH_VERSION} of your own. pip said:\n{said}"
            ),
            Error::Checksum {
                file,
                expected,
                found,
            } => write!(
                f,
                "{file} is not what is pinned: SHA-256 {found} instead of {expected}.\nThe \
                 download was damaged or the index serves another file under this name; nothing \
                 of it was used. Run it again; if it stays so, do not use that index."
            ),
            Error::Pip { file, status, said } => write!(
                f,
                "pip did not fetch {file} ({status}). Nothing half-made is left; run it again, or \
                 set LIBTORCH to a libtorch {TORCH_VERSION} of your own. pip said:\n{said}"
            ),
            Error::Wheel { file, why } => write!(f, "cannot unpack {file}: {why}"),
            Error::Io { what, path, source } => {
                write!(f, "cannot {what} {}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
