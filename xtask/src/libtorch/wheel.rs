//! A wheel on disk: is it the pinned one, and out come the members that are needed.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::error::Error;
use super::pins::Wheel;

/// Checks the SHA-256 of `file`. pip was told to as well, but what is unpacked here will run in the
/// user's processes, and pip may be anything that answers to `python3 -m pip`.
pub(crate) fn verify(file: &Path, wheel: &Wheel) -> Result<(), Error> {
    let found = sha256(file).map_err(Error::at("read", file))?;
    if found == wheel.sha256 {
        return Ok(());
    }
    Err(Error::Checksum {
        file: name(file),
        expected: wheel.sha256.clone(),
        found,
    })
}

/// Writes the members that `wheel` keeps under `into`, at their paths in the wheel.
pub(crate) fn unpack(file: &Path, wheel: &Wheel, into: &Path) -> Result<(), Error> {
    let broken = |why: String| Error::Wheel {
        file: name(file),
        why,
    };
    let opened = File::open(file).map_err(Error::at("open", file))?;
    let mut archive =
        ZipArchive::new(BufReader::new(opened)).map_err(|e| broken(format!("no zip: {e}")))?;
    let mut kept = 0;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(|e| broken(e.to_string()))?;
        let called = member
            .name()
            .map_err(|e| broken(e.to_string()))?
            .into_owned();
        if member.is_dir() || !(wheel.keep)(&called) {
            continue;
        }
        // A name that leads out of the folder is refused, not mended.
        let Some(relative) = member.enclosed_name() else {
            return Err(broken(format!("it has a member {called:?}")));
        };
        let target = into.join(relative);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(Error::at("make", parent))?;
        }
        let mut out = File::create(&target).map_err(Error::at("make", &target))?;
        // Reading to the end checks the member's own checksum.
        io::copy(&mut member, &mut out).map_err(Error::at("write", &target))?;
        let mode = if target.to_string_lossy().contains(".so") {
            0o755
        } else {
            0o644
        };
        out.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(Error::at("set the permissions of", &target))?;
        kept += 1;
    }
    if kept == 0 {
        return Err(broken("it has no member that is needed".into()));
    }
    Ok(())
}

/// Lower-case hexadecimal SHA-256 of a file's content.
pub(crate) fn sha256(file: &Path) -> io::Result<String> {
    let mut opened = File::open(file)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match opened.read(&mut block)? {
            0 => break,
            read => hash.update(&block[..read]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn name(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
