//! Finished rounds in a file, so that a hyper-training that was interrupted goes on after them.
//!
//! A line that says what the file is, a line that names the training, and a record for each round, in any order:
//! its number, how many functions it has, their weights and thresholds, and a checksum. Records are appended; what
//! a kill leaves torn at the end is cut off.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::round::Functions;
use crate::error::Error;

const MAGIC: &str = "bitkin hyper-training 1\n";

/// Bytes of a record's checksum.
const CHECKSUM: usize = 8;

/// The file of a checkpoint, open at its end.
pub(super) struct Checkpoint {
    path: PathBuf,
    file: File,
}

impl Checkpoint {
    /// Opens the file, or begins it, for the training of that name; returns what is in it.
    pub(super) fn open(
        path: &Path,
        identity: &str,
        dim: usize,
    ) -> Result<(Checkpoint, BTreeMap<u32, Functions>), Error> {
        let io = |source| Error::Io {
            path: path.display().to_string(),
            source,
        };
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => drop(file.read_to_end(&mut bytes).map_err(io)?),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(io(e)),
        }
        let header = format!("{MAGIC}{identity}\n");
        let refused = |what: &str| {
            let path = path.display();
            Error::Data(format!(
                "{path} {what}: delete it to begin anew, or give another --checkpoint"
            ))
        };
        let mut rounds = BTreeMap::new();
        let mut whole = header.len();
        match bytes.strip_prefix(header.as_bytes()) {
            Some(mut rest) => {
                while let Some((number, functions, length)) = record(rest, dim) {
                    rounds.insert(number, functions);
                    rest = &rest[length..];
                    whole += length;
                }
            }
            // Killed before the header was written.
            None if header.as_bytes().starts_with(&bytes) => {}
            None if bytes.starts_with(MAGIC.as_bytes()) => {
                return Err(refused("is of a training with other options or pictures"));
            }
            None => return Err(refused("is no checkpoint of hyper-training")),
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(io)?;
        if bytes.len() < header.len() {
            file.write_all(header.as_bytes()).map_err(io)?;
        }
        file.set_len(whole as u64).map_err(io)?;
        file.seek(SeekFrom::Start(whole as u64)).map_err(io)?;
        let path = path.to_owned();
        Ok((Checkpoint { path, file }, rounds))
    }

    /// Adds finished rounds.
    pub(super) fn add(&mut self, rounds: &[(u32, Functions)]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for (number, functions) in rounds {
            let start = bytes.len();
            bytes.extend(number.to_le_bytes());
            bytes.extend((functions.thresholds.len() as u32).to_le_bytes());
            let values = functions.weights.iter().chain(&functions.thresholds);
            bytes.extend(values.flat_map(|value| value.to_le_bytes()));
            let digest = Sha256::digest(&bytes[start..]);
            bytes.extend(&digest[..CHECKSUM]);
        }
        self.file.write_all(&bytes).map_err(|source| Error::Io {
            path: self.path.display().to_string(),
            source,
        })
    }
}

/// The first record, and its length in bytes; none where it is not whole.
fn record(bytes: &[u8], dim: usize) -> Option<(u32, Functions, usize)> {
    let number = |place: usize| -> Option<u32> {
        Some(u32::from_le_bytes(
            bytes.get(place..place + 4)?.try_into().ok()?,
        ))
    };
    let (round, count) = (number(0)?, number(4)? as usize);
    let end = count.checked_mul(dim + 1)?.checked_mul(4)?.checked_add(8)?;
    let checksum = bytes.get(end..end.checked_add(CHECKSUM)?)?;
    if Sha256::digest(&bytes[..end])[..CHECKSUM] != *checksum {
        return None;
    }
    let values = bytes[8..end].chunks_exact(4);
    let values: Vec<f32> = values
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let (weights, thresholds) = values.split_at(count * dim);
    let functions = Functions {
        weights: weights.to_vec(),
        thresholds: thresholds.to_vec(),
    };
    Some((round, functions, end + CHECKSUM))
}
