//! Whole files that are stored beside the rows, under the SHA-256 of their bytes.

use sha2::{Digest, Sha256};

use crate::disk::{Disk, list_if_there, read_from};
use crate::error::Error;
use crate::manifest::write_beside;

/// The name of the directory that holds them.
pub(crate) const DIRECTORY: &str = "models";
/// What a name ends in while its file is being written.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

/// The digest that a name promises, in hex.
pub(crate) fn digest_of_name(name: &str) -> Result<&str, Error> {
    name.strip_prefix(DIRECTORY)
        .and_then(|rest| rest.strip_prefix('/'))
        .filter(|hex| hex.len() == 64)
        .filter(|hex| hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
        .ok_or_else(|| Error::BadFileName {
            name: name.to_owned(),
        })
}

/// SHA-256 in lower-case hex.
fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// Stores the bytes, durably and whole or not at all. A whole file of this name is left as it is; a
/// damaged one is replaced.
pub(crate) fn put(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let expected = digest_of_name(name)?;
    let found = digest(bytes);
    if found != expected {
        return Err(Error::DigestMismatch {
            name: name.to_owned(),
            found,
        });
    }
    match read(disk, name) {
        Ok(_) => {
            return disk
                .sync_dir(DIRECTORY)
                .map_err(Error::io("sync", DIRECTORY));
        }
        Err(Error::NoSuchFile { .. } | Error::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    let temporary = format!("{name}{TEMPORARY_SUFFIX}");
    write_beside(disk, &temporary, bytes)?;
    disk.rename(&temporary, name)
        .map_err(Error::io("rename", &temporary))?;
    disk.sync_dir(DIRECTORY)
        .map_err(Error::io("sync", DIRECTORY))
}

/// The names of all stored files.
pub(crate) fn stored(disk: &dyn Disk) -> Result<Vec<String>, Error> {
    let names = list_if_there(disk, DIRECTORY)?;
    let names = names.into_iter().map(|name| format!("{DIRECTORY}/{name}"));
    Ok(names.filter(|name| digest_of_name(name).is_ok()).collect())
}

/// Reads a stored file and checks it against its name.
pub(crate) fn read(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, Error> {
    let expected = digest_of_name(name)?;
    let file = disk.open(name).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NoSuchFile {
            name: name.to_owned(),
        },
        _ => Error::io("open", name)(error),
    })?;
    let bytes = read_from(&*file, 0).map_err(Error::io("read", name))?;
    let found = digest(&bytes);
    if found != expected {
        return Err(Error::corrupt(name, 0, format!("its SHA-256 is {found}")));
    }
    Ok(bytes)
}
