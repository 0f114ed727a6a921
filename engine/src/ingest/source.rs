//! Where pictures come from: directories, tar archives, single files.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::image::{ImageError, has_picture_magic, has_picture_name};

/// Files to be read, found and counted but not yet opened.
///
/// * A directory stands for every file below it, by ascending name, folder by folder. Symbolic
///   links to directories are not followed.
/// * A `.tar` archive stands for its regular files, in its order; `archive.tar:folder` for those
///   below a folder of it. Archives inside directories are not opened.
/// * A single file stands for itself.
///
/// The label of a picture is the name of the folder that it lies in.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    units: Vec<Unit>,
    count: u64,
}

#[derive(Clone, Debug)]
enum Unit {
    File {
        path: PathBuf,
        label: Option<String>,
        /// Named by the user, and so meant as a picture whatever it is called.
        named: bool,
    },
    Archive {
        path: PathBuf,
        wanted: Wanted,
    },
}

/// Which members of an archive.
#[derive(Clone, Debug)]
enum Wanted {
    All,
    /// Those below a folder, or of this very name.
    Below(String),
    /// Those of these names.
    Named(BTreeSet<String>),
}

/// A file that has been read.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) source: String,
    pub(super) label: Option<String>,
    /// The whole file, or why it is not used.
    pub(super) bytes: Result<Vec<u8>, ImageError>,
}

/// What the reader found at a place of the sources.
#[derive(Debug)]
pub(super) enum Found {
    File(SourceFile),
    Ignored(String),
}

impl Sources {
    /// Finds the files of `paths`, in the order given.
    ///
    /// # Errors
    /// [`Error::Io`] when a path does not exist or is no regular file (a pipe could keep the
    /// ingest waiting for ever), or a directory or the headers of an archive cannot be read. An
    /// archive that is cut off is no error yet: what it holds can still be read.
    pub fn open(paths: &[impl AsRef<Path>]) -> Result<Self, Error> {
        let mut sources = Sources::default();
        for path in paths {
            sources.add(path.as_ref())?;
        }
        Ok(sources)
    }

    /// Some members of an archive, by their names.
    ///
    /// # Errors
    /// As [`Sources::open`].
    pub(super) fn archive(path: &Path, names: BTreeSet<String>) -> Result<Self, Error> {
        let mut sources = Sources::default();
        sources.add_archive(path.to_owned(), Wanted::Named(names))?;
        Ok(sources)
    }

    /// Number of files, those that will turn out to be no pictures included.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(source) => {
                if let Some((archive, folder)) = archive_and_folder(path) {
                    return self.add_archive(archive, Wanted::Below(folder));
                }
                return Err(io_error(path)(source));
            }
        };
        if metadata.is_dir() {
            return self.add_directory(path);
        }
        if !metadata.is_file() {
            return Err(io_error(path)(not_regular()));
        }
        if has_extension(path, "tar") {
            return self.add_archive(path.to_owned(), Wanted::All);
        }
        let folder = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let label = folder_name(folder.unwrap_or(Path::new(".")));
        self.units.push(Unit::File {
            path: path.to_owned(),
            label,
            named: true,
        });
        self.count += 1;
        Ok(())
    }

    fn add_directory(&mut self, directory: &Path) -> Result<(), Error> {
        let label = folder_name(directory);
        let mut entries = fs::read_dir(directory)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(io_error(directory))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let kind = entry.file_type().map_err(io_error(&path))?;
            if kind.is_dir() {
                self.add_directory(&path)?;
            } else if kind.is_file() || fs::metadata(&path).is_ok_and(|target| target.is_file()) {
                self.units.push(Unit::File {
                    path,
                    label: label.clone(),
                    named: false,
                });
                self.count += 1;
            }
        }
        Ok(())
    }

    /// Reads the headers of the archive, to count its files.
    fn add_archive(&mut self, path: PathBuf, wanted: Wanted) -> Result<(), Error> {
        let file = File::open(&path).map_err(io_error(&path))?;
        let ended = Cell::new(false);
        let mut archive = tar::Archive::new(Watched::new(file, &ended));
        for entry in archive.entries_with_seek().map_err(io_error(&path))? {
            let entry = match entry {
                Ok(entry) => entry,
                // It is cut off. Reading tells, once all that comes before went in.
                Err(_) if ended.get() => break,
                Err(error) => return Err(io_error(&path)(error)),
            };
            self.count += u64::from(wanted.member(&entry).is_some());
        }
        self.units.push(Unit::Archive { path, wanted });
        Ok(())
    }

    /// Reads one file after the other. Files above `max_bytes` are not read.
    ///
    /// # Errors
    /// [`Error::Io`] when an archive cannot be read on or is cut off, and what `each` returns,
    /// which ends the reading. A single file that cannot be read is the file's own error.
    pub(super) fn read(
        &self,
        max_bytes: u64,
        each: &mut dyn FnMut(Found) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for unit in &self.units {
            match unit {
                Unit::File { path, label, named } => {
                    each(read_file(path, label.clone(), *named, max_bytes))?;
                }
                Unit::Archive { path, wanted } => {
                    read_archive(path, wanted, max_bytes, each)?;
                }
            }
        }
        Ok(())
    }
}

pub(super) fn read_file(path: &Path, label: Option<String>, named: bool, max_bytes: u64) -> Found {
    let source = path.to_string_lossy().into_owned();
    let read = || -> io::Result<Option<Result<Vec<u8>, ImageError>>> {
        let metadata = fs::metadata(path)?;
        // Whatever it was when it was found: opening a pipe would wait for a writer.
        if !metadata.is_file() {
            return Err(not_regular());
        }
        let mut file = File::open(path)?;
        let mut start = Vec::new();
        file.by_ref().take(16).read_to_end(&mut start)?;
        if !named && !has_picture_name(path) && !has_picture_magic(&start) {
            return Ok(None);
        }
        let length = metadata.len();
        if length > max_bytes {
            return Ok(Some(Err(ImageError::FileTooLarge {
                bytes: length,
                limit: max_bytes,
            })));
        }
        // A file that grows meanwhile is cut one byte above the limit, and then refused by it.
        file.take(max_bytes.saturating_add(1))
            .read_to_end(&mut start)?;
        Ok(Some(Ok(start)))
    };
    let bytes = match read() {
        Ok(None) => return Found::Ignored(source),
        Ok(Some(bytes)) => bytes,
        Err(error) => Err(ImageError::Undecodable {
            reason: error.to_string(),
        }),
    };
    Found::File(SourceFile {
        source,
        label,
        bytes,
    })
}

fn read_archive(
    path: &Path,
    wanted: &Wanted,
    max_bytes: u64,
    each: &mut dyn FnMut(Found) -> Result<(), Error>,
) -> Result<(), Error> {
    let file = File::open(path).map_err(io_error(path))?;
    let ended = Cell::new(false);
    let file = Watched::new(BufReader::with_capacity(1 << 16, file), &ended);
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek().map_err(io_error(path))? {
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(_) if ended.get() => return Err(io_error(path)(cut_off())),
            Err(error) => return Err(io_error(path)(error)),
        };
        let Some(member) = wanted.member(&entry) else {
            continue;
        };
        let source = format!("{}:{member}", path.to_string_lossy());
        let length = entry.size();
        let mut bytes = Vec::new();
        entry
            .by_ref()
            .take(16)
            .read_to_end(&mut bytes)
            .map_err(io_error(path))?;
        let member = Path::new(&member);
        if !has_picture_name(member) && !has_picture_magic(&bytes) {
            each(Found::Ignored(source))?;
            continue;
        }
        let label = member.parent().and_then(Path::file_name);
        let label = label.map(|name| name.to_string_lossy().into_owned());
        let bytes = if length > max_bytes {
            Err(ImageError::FileTooLarge {
                bytes: length,
                limit: max_bytes,
            })
        } else {
            entry.read_to_end(&mut bytes).map_err(io_error(path))?;
            if (bytes.len() as u64) < length {
                // Its rest, and whatever came behind it, is missing from the archive.
                return Err(io_error(path)(cut_off()));
            }
            Ok(bytes)
        };
        each(Found::File(SourceFile {
            source,
            label,
            bytes,
        }))?;
    }
    // At the end mark, a block of zeros was read last; without one, the end of the file.
    if ended.get() {
        return Err(io_error(path)(cut_off()));
    }
    Ok(())
}

/// Notes whether the last read met the end of the file: the tar reader itself takes that for the
/// end of the archive, so that one that is cut off looks whole.
struct Watched<'a, R> {
    inner: R,
    ended: &'a Cell<bool>,
}

impl<'a, R> Watched<'a, R> {
    fn new(inner: R, ended: &'a Cell<bool>) -> Self {
        Watched { inner, ended }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.ended.set(count == 0 && !into.is_empty());
        Ok(count)
    }
}

impl<R: Seek> Seek for Watched<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

fn cut_off() -> io::Error {
    let reason = "the archive is cut off: it has no end mark";
    io::Error::new(io::ErrorKind::UnexpectedEof, reason)
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

impl Wanted {
    /// The name of an archive's member, if it is a regular file and wanted.
    fn member<R: Read>(&self, entry: &tar::Entry<'_, R>) -> Option<String> {
        if !entry.header().entry_type().is_file() {
            return None;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let wanted = match self {
            Wanted::All => true,
            Wanted::Named(names) => names.contains(&name),
            Wanted::Below(folder) => {
                let relative = name.strip_prefix("./").unwrap_or(&name);
                let below = relative.strip_prefix(folder.as_str())?;
                below.is_empty() || below.starts_with('/')
            }
        };
        wanted.then_some(name)
    }
}

/// `archive.tar:folder`, if that is what a path that does not exist means.
fn archive_and_folder(path: &Path) -> Option<(PathBuf, String)> {
    let (archive, folder) = path.to_str()?.rsplit_once(".tar:")?;
    let archive = PathBuf::from(format!("{archive}.tar"));
    let folder = folder
        .trim_start_matches("./")
        .trim_end_matches('/')
        .to_owned();
    (archive.is_file() && !folder.is_empty()).then_some((archive, folder))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// The name of a directory, also of `.` and of `a/..`.
pub(super) fn folder_name(directory: &Path) -> Option<String> {
    let named = directory.file_name().map(ToOwned::to_owned);
    let name = named.or_else(|| {
        fs::canonicalize(directory)
            .ok()?
            .file_name()
            .map(Into::into)
    })?;
    Some(name.to_string_lossy().into_owned())
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io {
        path: path.to_owned(),
        source,
    }
}
