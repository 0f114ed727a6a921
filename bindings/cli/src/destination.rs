//! Files that are written whole or not at all.

use crate::error::Failure;
use crate::interrupt::{self, Unfinished};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file being written: beside its place, under another name, until [`Destination::finish`] puts it there.
/// Dropped before that, nothing is left of it, and what was in its place stays.
pub(crate) struct Destination {
    to: To,
    written: u64,
}

enum To {
    Beside {
        file: BufWriter<NamedTempFile>,
        place: PathBuf,
        /// For a second Ctrl-C, which ends the process at once.
        _unfinished: Unfinished,
    },
    /// Standard output, a pipe, a device: what has no place to be put in.
    Straight(BufWriter<Box<dyn Write + Send>>),
}

impl Destination {
    /// A new file at `path`, in place of one that is there; `-` is standard output.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub(crate) fn new(path: &Path) -> Result<Destination, Failure> {
        let to = if is_standard(path) {
            straight(io::stdout())
        } else {
            To::at(path).map_err(|error| cannot_write(path, error))?
        };
        Ok(Destination { to, written: 0 })
    }

    /// Puts the file in its place, on disk. Returns its bytes.
    ///
    /// # Errors
    /// When the last of it cannot be written; nothing is left of it then.
    pub(crate) fn finish(self) -> io::Result<u64> {
        match self.to {
            To::Straight(mut out) => out.flush()?,
            To::Beside { file, place, .. } => {
                let file = file.into_inner().map_err(|error| error.into_error())?;
                file.as_file().sync_all()?;
                file.persist(place).map_err(|error| error.error)?;
            }
        }
        Ok(self.written)
    }
}

impl To {
    fn at(path: &Path) -> io::Result<To> {
        if let Ok(there) = std::fs::metadata(path)
            && !there.is_file()
        {
            if there.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            let file = std::fs::OpenOptions::new().write(true).open(path)?;
            return Ok(straight(file));
        }
        // Behind a link it is the linked file that is replaced, not the link.
        let place = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        let folder = place.parent().filter(|p| !p.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        #[cfg(unix)]
        {
            // As any new file, less what the user's mask takes away.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
        Ok(To::Beside {
            _unfinished: interrupt::unfinished(file.path()),
            file: BufWriter::with_capacity(1 << 18, file),
            place,
        })
    }
}

fn straight(out: impl Write + Send + 'static) -> To {
    To::Straight(BufWriter::with_capacity(1 << 18, Box::new(out)))
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.to {
            To::Beside { file, .. } => file.write(bytes)?,
            To::Straight(out) => out.write(bytes)?,
        };
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Beside { file, .. } => file.flush(),
            To::Straight(out) => out.flush(),
        }
    }
}

/// Whether a path means standard input or standard output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Why a file could not be written, and what to do about it.
pub(crate) fn cannot_write(path: &Path, error: io::Error) -> Failure {
    let standard = is_standard(path);
    if standard && error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::closed_pipe();
    }
    let name = match standard {
        true => "standard output".to_owned(),
        false => path.display().to_string(),
    };
    // The name of the temporary, which tempfile adds, says nothing to the user.
    let reason = error.to_string();
    let reason = reason.split(" at path ").next().unwrap_or_default();
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "nothing is left of it; make room there, or name a file on another disk"
        }
        io::ErrorKind::NotFound => "make its folder first",
        io::ErrorKind::IsADirectory => "name a file in it",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "name a file in a folder of your own"
        }
        _ => return Failure::new(format!("cannot write {name}: {reason}")),
    };
    Failure::new(format!("cannot write {name}: {reason}")).advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_is_there_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a b.txt");
        std::fs::write(&path, "old").unwrap();
        let mut file = Destination::new(&path).unwrap();
        file.write_all(b"half").unwrap();
        file.flush().unwrap();
        assert_eq!(names(dir.path()).len(), 2);
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a b.txt"]);
        let mut file = Destination::new(&path).unwrap();
        file.write_all(b"whole").unwrap();
        assert_eq!(file.finish().unwrap(), 5);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(dir.path()), ["a b.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_devices_are_written_straight() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let mut file = Destination::new(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        Destination::new(Path::new("/dev/null"))
            .unwrap()
            .finish()
            .unwrap();
        assert!(Path::new("/dev/null").exists());
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let says = |path: &Path, words: &str| {
            let Err(failure) = Destination::new(path) else {
                panic!("{} was written", path.display());
            };
            assert!(failure.to_string().contains(words), "{failure}");
        };
        says(dir.path(), "name a file in it");
        says(&dir.path().join("no/file"), "make its folder first");
    }
}
