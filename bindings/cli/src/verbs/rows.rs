//! Rows from files, for `import` and `upsert`: `.npy` files of codes and ids, JSON lines, Parquet.

use super::{check_padding, failure, outside};
use crate::destination::is_standard;
use crate::error::Failure;
use crate::grammar::RowFiles;
use crate::interrupt;
use crate::output::{counted, grouped, say};
use crate::parquet_file::ParquetReader;
use crate::progress::Progress;
use bitkin::jsonl::{JsonlError, JsonlReader, JsonlReason, PayloadsReader};
use bitkin::npy::{CodesReader, IdsReader};
use bitkin::{Collection, RESERVED_ID, Snapshot};
use std::fs::File;
use std::io::{IsTerminal, Read, Seek};
use std::path::{Path, PathBuf};

/// Bytes of codes and ids in one commit, about.
const COMMIT: usize = 4 << 20;

/// Rows of JSON, and rows with payloads, in one commit.
const LINES: usize = 10_000;

/// What a file of rows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Npy,
    Jsonl,
    Parquet,
}

impl FileKind {
    /// By the end of a file's name.
    pub(crate) fn by_name(file: &Path) -> Option<FileKind> {
        let extension = file.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "npy" => FileKind::Npy,
            "jsonl" | "ndjson" | "json" => FileKind::Jsonl,
            "parquet" | "pq" => FileKind::Parquet,
            _ => return None,
        })
    }

    /// By its first bytes.
    fn by_content(file: &mut File) -> Option<FileKind> {
        let mut start = Vec::new();
        file.take(64).read_to_end(&mut start).ok()?;
        match start.as_slice() {
            [b'P', b'A', b'R', b'1', ..] => Some(FileKind::Parquet),
            [0x93, b'N', b'U', b'M', ..] => Some(FileKind::Npy),
            start if start.trim_ascii_start().first() == Some(&b'{') => Some(FileKind::Jsonl),
            _ => None,
        }
    }
}

/// Files with rows, all of which were checked.
pub(crate) struct Rows {
    reader: Reader,
    /// Whether the rows have ids.
    pub(crate) has_ids: bool,
    /// Number of rows.
    pub(crate) count: u64,
}

enum Reader {
    Npy {
        codes: CodesReader,
        ids: Option<IdsReader>,
        payloads: Option<PayloadsReader>,
    },
    Jsonl(JsonlReader),
    Parquet(Box<ParquetReader>),
}

/// Some of the rows.
#[derive(Default)]
pub(crate) struct Chunk {
    /// One a row, if the rows have ids.
    pub(crate) ids: Option<Vec<u64>>,
    /// Row-major.
    pub(crate) codes: Vec<u8>,
    /// JSON, one a row; empty if no row has any.
    pub(crate) payloads: Vec<Option<String>>,
    /// Number of rows.
    pub(crate) rows: u64,
}

impl Rows {
    /// Opens the files and checks every row, so that a bad one is told before the first is written; with
    /// `expect_new`, that no id is in the collection.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn open(
        files: &RowFiles,
        collection: &Collection,
        expect_new: bool,
    ) -> Result<Rows, Failure> {
        let input = Input::open(files)?;
        // Reading standard input cannot be asked to stop: until here Ctrl-C ended the process.
        interrupt::watch();
        let snapshot = collection.snapshot().map_err(failure)?;
        let mut ids = IdCheck {
            file: files.ids.as_ref().unwrap_or(&input.name),
            held: (expect_new && !snapshot.is_empty()).then_some(&snapshot),
            last: None,
            ascending: true,
        };
        let mut reader = input.reader(files, collection)?;
        let progress = Progress::new("checking", "rows", reader.expected());
        let (mut has_ids, mut count) = (false, 0);
        loop {
            interrupt::check(|| "stopped; nothing was written".to_owned())?;
            let chunk = reader.next()?;
            if chunk.rows == 0 {
                break;
            }
            check(&input.name, count, &chunk, collection)?;
            if let Some(some) = &chunk.ids {
                has_ids = true;
                ids.take(some)?;
            }
            count += chunk.rows;
            progress.set(count);
        }
        if !ids.ascending {
            let mut reader = input.reader(files, collection)?;
            let mut all = Vec::new();
            while let Some(some) = reader.next_ids()? {
                all.extend(some);
            }
            all.sort_unstable();
            ids.last = None;
            ids.ascending = true;
            ids.take(&all)?;
        }
        Ok(Rows {
            reader: input.reader(files, collection)?,
            has_ids,
            count,
        })
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// When a file cannot be read on.
    pub(crate) fn next(&mut self) -> Result<Chunk, Failure> {
        self.reader.next()
    }
}

/// The file with the rows: by its path, or, where that can be read only once, as a copy.
struct Input {
    name: PathBuf,
    kind: FileKind,
    file: Option<File>,
}

impl Input {
    fn open(files: &RowFiles) -> Result<Input, Failure> {
        let path = &files.file;
        let standard = is_standard(path);
        let cannot = |error: std::io::Error| {
            let failure = Failure::new(format!("{}: {error}", path.display()));
            match error.kind() {
                std::io::ErrorKind::NotFound => {
                    failure.advise("is the name right? - reads standard input")
                }
                _ => failure,
            }
        };
        let regular = !standard && {
            let metadata = std::fs::metadata(path).map_err(cannot)?;
            if metadata.is_dir() {
                return Err(Failure::new(format!("{} is a directory", path.display()))
                    .advise("name a file of rows; bitkin ingest reads directories of pictures"));
            }
            metadata.is_file()
        };
        let mut file = if standard {
            if std::io::stdin().is_terminal() {
                say("reading rows as JSON lines from the terminal; Ctrl-D ends them");
            }
            spool(&mut std::io::stdin().lock()).map_err(cannot)?
        } else {
            let mut file = File::open(path).map_err(cannot)?;
            match regular {
                true => file,
                // It is read more than once, and a pipe would be empty the second time.
                false => spool(&mut file).map_err(cannot)?,
            }
        };
        let by_name = FileKind::by_name(path);
        let kind = match by_name {
            Some(kind) => kind,
            None => {
                let found = FileKind::by_content(&mut file);
                let empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
                match found {
                    Some(kind) => kind,
                    None if standard || empty && !regular => FileKind::Jsonl,
                    None => {
                        return Err(Failure::new(format!(
                            "{} is no file of rows, by its name and by its first bytes",
                            path.display()
                        ))
                        .advise("rows come as .npy, .jsonl or .parquet"));
                    }
                }
            }
        };
        if kind != FileKind::Npy {
            for (option, what) in [(&files.ids, "--ids"), (&files.payloads, "--payloads")] {
                if option.is_some() {
                    return Err(
                        Failure::usage(format!("{what} goes with a .npy file of codes")).advise(
                            "in JSON lines and Parquet, each row has its id and its payload",
                        ),
                    );
                }
            }
        } else if !regular {
            return Err(
                Failure::new(format!("{} is not a regular file", path.display()))
                    .advise("write the array to a file first; JSON lines and Parquet may be piped"),
            );
        }
        Ok(Input {
            name: match standard {
                true => PathBuf::from("standard input"),
                false => path.clone(),
            },
            kind,
            file: (kind != FileKind::Npy).then_some(file),
        })
    }

    /// A reader from the start.
    fn reader(&self, files: &RowFiles, collection: &Collection) -> Result<Reader, Failure> {
        let cannot =
            |error: std::io::Error| Failure::new(format!("{}: {error}", self.name.display()));
        let from_start = |file: &File| {
            let mut file = file.try_clone()?;
            file.rewind()?;
            Ok(file)
        };
        let file = self.file.as_ref().map(from_start).transpose();
        Ok(match (self.kind, file.map_err(cannot)?) {
            (FileKind::Jsonl, Some(file)) => {
                Reader::Jsonl(JsonlReader::new(&self.name, file, collection.bits()))
            }
            (FileKind::Parquet, Some(file)) => {
                Reader::Parquet(Box::new(ParquetReader::open(&self.name, file, collection)?))
            }
            _ => {
                let codes = CodesReader::open(&files.file).map_err(outside)?;
                super::check_width(&codes, &files.file, collection.bits())?;
                let ids = files.ids.as_ref().map(IdsReader::open);
                let ids = ids.transpose().map_err(outside)?;
                if let (Some(ids), Some(file)) = (&ids, &files.ids)
                    && ids.rows() != codes.rows()
                {
                    return Err(Failure::new(format!(
                        "{} has {} for {}",
                        file.display(),
                        counted(ids.rows(), "id"),
                        counted(codes.rows(), "code")
                    )));
                }
                let payloads = files.payloads.as_ref().map(PayloadsReader::open);
                Reader::Npy {
                    codes,
                    ids,
                    payloads: payloads.transpose().map_err(line)?,
                }
            }
        })
    }
}

/// A copy of what can be read only once, without a name.
fn spool(from: &mut impl Read) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    std::io::copy(from, &mut file)?;
    file.rewind()?;
    Ok(file)
}

impl Reader {
    /// Number of rows, if the file says it.
    fn expected(&self) -> Option<u64> {
        match self {
            Reader::Npy { codes, .. } => Some(codes.rows()),
            Reader::Jsonl(_) => None,
            Reader::Parquet(reader) => Some(reader.rows()),
        }
    }

    fn next(&mut self) -> Result<Chunk, Failure> {
        match self {
            Reader::Npy {
                codes,
                ids,
                payloads,
            } => {
                let width = codes.row_bytes();
                let most = (COMMIT / (width + 8)).max(1);
                let most = if payloads.is_some() {
                    most.min(LINES)
                } else {
                    most
                };
                let codes = codes.read(most).map_err(outside)?;
                let rows = codes.len() / width;
                let ids = match ids {
                    Some(reader) if rows > 0 => Some(reader.read(rows).map_err(outside)?),
                    _ => None,
                };
                let payloads = match payloads {
                    Some(reader) => pair_up(reader, rows)?,
                    None => Vec::new(),
                };
                Ok(Chunk {
                    ids,
                    codes,
                    payloads,
                    rows: rows as u64,
                })
            }
            Reader::Jsonl(reader) => {
                let rows = reader.read(LINES).map_err(line)?;
                let some = rows.payloads.iter().any(Option::is_some);
                Ok(Chunk {
                    rows: rows.len() as u64,
                    ids: rows.ids,
                    codes: rows.codes,
                    payloads: if some { rows.payloads } else { Vec::new() },
                })
            }
            Reader::Parquet(reader) => reader.read(LINES),
        }
    }

    /// The next ids alone; `None` at the end.
    fn next_ids(&mut self) -> Result<Option<Vec<u64>>, Failure> {
        if let Reader::Npy { ids: Some(ids), .. } = self {
            let some = ids.read(COMMIT / 8).map_err(outside)?;
            return Ok(Some(some).filter(|ids| !ids.is_empty()));
        }
        Ok(self.next()?.ids.filter(|ids| !ids.is_empty()))
    }
}

/// The payloads of the next `rows` codes; there must be none left when there are no codes.
fn pair_up(reader: &mut PayloadsReader, rows: usize) -> Result<Vec<Option<String>>, Failure> {
    let payloads = reader.read(rows).map_err(line)?;
    // Of no rows it reads one, to see that there is none.
    if payloads.len() != rows {
        return Err(Failure::new(match rows {
            0 => "there are more payloads than codes",
            _ => "there are fewer payloads than codes",
        })
        .advise("the payloads' file has a line for each code: JSON, or null"));
    }
    match payloads.iter().any(Option::is_some) {
        true => Ok(payloads),
        false => Ok(Vec::new()),
    }
}

/// Refuses rows that the collection would refuse; the first one is number `first` of the file.
fn check(file: &Path, first: u64, chunk: &Chunk, collection: &Collection) -> Result<(), Failure> {
    let (file, bits) = (file.display(), collection.bits());
    if !bits.is_multiple_of(8) {
        for (row, code) in (first..).zip(chunk.codes.chunks_exact(collection.code_bytes())) {
            check_padding(code, bits, || format!("row {row} of {file}"))?;
        }
    }
    let payloads: Vec<Option<&str>> = chunk.payloads.iter().map(Option::as_deref).collect();
    bitkin::check_payloads(&payloads).map_err(|error| match error {
        bitkin::Error::InvalidPayload { row, reason } => Failure::new(format!(
            "the payload of row {} of {file} is not JSON: {reason}",
            grouped(first + row as u64)
        ))
        .advise("a payload is JSON as text, such as {\"year\": 2020}"),
        other => failure(other),
    })
}

fn line(error: JsonlError) -> Failure {
    let advice = match &error.reason {
        JsonlReason::NotJson(_) | JsonlReason::NotAnObject | JsonlReason::NoCode => {
            "a line is {\"id\": 7, \"code\": \"0f1e...\", \"payload\": {...}}, without line breaks"
        }
        JsonlReason::NotHexadecimal | JsonlReason::Width { .. } => {
            "a code is its bytes in the order they are stored, two hexadecimal digits each"
        }
        JsonlReason::PaddingBits(_) => "the unused high bits of the last byte must be zero",
        _ => return Failure::new(error.to_string()),
    };
    Failure::new(error.to_string()).advise(advice)
}

/// Refuses ids that cannot be, are there twice, or are taken. As long as they ascend, as those of an export do,
/// none has to be remembered.
struct IdCheck<'a> {
    file: &'a Path,
    /// The rows that must not have them.
    held: Option<&'a Snapshot>,
    last: Option<u64>,
    ascending: bool,
}

impl IdCheck<'_> {
    fn take(&mut self, ids: &[u64]) -> Result<(), Failure> {
        let file = self.file.display();
        for &id in ids {
            if id == RESERVED_ID {
                let text = format!("{file} has the id {RESERVED_ID}, which is reserved");
                return Err(Failure::new(text));
            }
            match self.last {
                Some(last) if last == id => {
                    return Err(Failure::new(format!("{file} has the id {id} twice")));
                }
                Some(last) if last > id => self.ascending = false,
                _ => {}
            }
            self.last = Some(id);
            let held = self.held.filter(|_| self.ascending);
            if let Some(snapshot) = held
                && snapshot.get(id).map_err(failure)?.is_some()
            {
                return Err(Failure::new(format!(
                    "the id {id} of {file} is already in the collection; nothing was inserted"
                ))
                .advise("bitkin upsert replaces rows that are there"));
            }
        }
        Ok(())
    }
}
